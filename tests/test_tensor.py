"""Creation, element types, conversion, sharing with NumPy, and what Python asks of a tensor."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import rushlight as rl
from rushlight import Tensor
from rushlight.nn import Parameter

ALL = [rl.float32, rl.float64, rl.int64, rl.bool]
NAMES = [each.name for each in ALL]


# -- creation -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "dtype", "shape"),
    [
        (1, rl.int64, ()),
        (1.5, rl.float32, ()),
        (True, rl.bool, ()),
        ([], rl.float32, (0,)),
        ([[], []], rl.float32, (2, 0)),
        ([1, 2], rl.int64, (2,)),
        ([1, 2.5], rl.float32, (2,)),
        ([True, 2], rl.int64, (2,)),
        (((1.0,), (2.0,)), rl.float32, (2, 1)),
        (range(3), rl.int64, (3,)),
        (np.float64(1), rl.float64, ()),
        ([np.float64(1)], rl.float64, (1,)),
        (np.float32(1), rl.float32, ()),
        (np.zeros((2, 3)), rl.float64, (2, 3)),
        (np.zeros(2, bool), rl.bool, (2,)),
    ],
)
def test_type_and_shape_of_data(data: Any, dtype: Any, shape: tuple[int, ...]) -> None:
    made = rl.tensor(data)
    assert made.dtype is dtype
    assert made.shape == shape
    np.testing.assert_array_equal(made.numpy(), np.asarray(data))


@pytest.mark.parametrize("dtype", ALL, ids=NAMES)
@pytest.mark.parametrize("data", [[0, 1, 2], [0.0, 1.5], [True, False]])
def test_an_explicit_type_converts(data: Any, dtype: Any) -> None:
    made = rl.tensor(data, dtype=dtype)
    assert made.dtype is dtype
    assert made.tolist() == np.array(data).astype(dtype.numpy).tolist()


def test_an_explicit_type_takes_what_a_tensor_does_not_hold() -> None:
    image = np.array([[0, 255]], np.uint8)
    assert rl.tensor(image, dtype=rl.float32).tolist() == [[0.0, 255.0]]
    with pytest.raises(TypeError, match=r"uint8.*dtype="):
        rl.tensor(image)


def test_tensor_copies_and_nests_tensors() -> None:
    source = rl.tensor([1.0, 2.0])
    made = rl.tensor(source)
    made[0] = 5.0
    assert source.tolist() == [1.0, 2.0]
    assert rl.tensor([source, source]).tolist() == [[1.0, 2.0]] * 2
    assert rl.tensor([source[0], 3.0]).tolist() == [1.0, 3.0]


@pytest.mark.parametrize(
    ("made", "expected", "dtype"),
    [
        (lambda: rl.zeros(2, 3), np.zeros((2, 3)), rl.float32),
        (lambda: rl.zeros((2, 3), dtype=rl.int64), np.zeros((2, 3)), rl.int64),
        (lambda: rl.zeros(rl.Size([2])), np.zeros(2), rl.float32),
        (lambda: rl.zeros([]), np.zeros(()), rl.float32),
        (lambda: rl.ones(np.int64(2), 1), np.ones((2, 1)), rl.float32),
        (lambda: rl.full((2,), 3), np.full(2, 3), rl.int64),
        (lambda: rl.full((2,), 3.5), np.full(2, 3.5), rl.float32),
        (lambda: rl.full((1,), True), np.full(1, True), rl.bool),
        (lambda: rl.full((2,), 3, dtype=rl.float64), np.full(2, 3), rl.float64),
        (lambda: rl.arange(4), np.arange(4), rl.int64),
        (lambda: rl.arange(4.0), np.arange(4), rl.float32),
        (lambda: rl.arange(1, 2, 0.25), np.arange(1, 2, 0.25), rl.float32),
        (lambda: rl.arange(5, 1, -2), np.arange(5, 1, -2), rl.int64),
        (lambda: rl.arange(3, 3), np.arange(0), rl.int64),
        (lambda: rl.arange(3, dtype=rl.float64), np.arange(3), rl.float64),
        (lambda: rl.linspace(0, 1, 5), np.linspace(0, 1, 5), rl.float32),
        (lambda: rl.linspace(1, 0, 1), np.ones(1), rl.float32),
        (lambda: rl.eye(2), np.eye(2), rl.float32),
        (lambda: rl.eye(2, 3, dtype=rl.bool), np.eye(2, 3), rl.bool),
        (lambda: rl.zeros_like(rl.tensor([1, 2])), np.zeros(2), rl.int64),
        (lambda: rl.ones_like(rl.tensor([1, 2]), dtype=rl.bool), np.ones(2), rl.bool),
        (lambda: rl.full_like(rl.tensor([1.0]), 7), np.full(1, 7), rl.float32),
        (lambda: Tensor([1, 2]), np.array([1, 2]), rl.float32),
        (lambda: Tensor(), np.zeros(0), rl.float32),
        (lambda: rl.tensor([1, 2]).new_zeros(2, 1), np.zeros((2, 1)), rl.int64),
        (lambda: rl.tensor([1, 2]).new_ones((2,)), np.ones(2), rl.int64),
        (lambda: rl.tensor([1.0]).new_tensor([1, 2]), np.array([1, 2]), rl.float32),
        (lambda: rl.tensor([True]).new_full((2,), 1.0), np.ones(2), rl.bool),
        (lambda: rl.tensor([1]).new_full((2,), 2, dtype=rl.float64), np.full(2, 2), rl.float64),
    ],
)
def test_creation(made: Any, expected: Any, dtype: Any) -> None:
    result = made()
    assert result.dtype is dtype
    assert result.requires_grad is False
    np.testing.assert_array_equal(result.numpy(), expected)


@pytest.mark.parametrize("dtype", ALL, ids=NAMES)
def test_empty_has_shape_and_type(dtype: Any) -> None:
    for made in (rl.empty(2, 3, dtype=dtype), rl.empty_like(rl.zeros(2, 3, dtype=dtype))):
        assert made.shape == (2, 3)
        assert made.dtype is dtype
    assert rl.zeros(1, dtype=dtype).new_empty(4).dtype is dtype


@pytest.mark.parametrize(
    "make",
    [
        lambda **k: rl.tensor([1.0], **k),
        lambda **k: rl.zeros(2, **k),
        lambda **k: rl.ones(2, **k),
        lambda **k: rl.empty(2, **k),
        lambda **k: rl.full((2,), 1.0, **k),
        lambda **k: rl.rand(2, **k),
        lambda **k: rl.randn(2, **k),
        lambda **k: rl.zeros_like(rl.ones(2), **k),
        lambda **k: rl.randn_like(rl.ones(2), **k),
        lambda **k: rl.arange(2.0, **k),
        lambda **k: rl.linspace(0, 1, 2, **k),
        lambda **k: rl.eye(2, **k),
    ],
)
def test_creation_takes_requires_grad_and_device(make: Any) -> None:
    assert make(requires_grad=True).requires_grad
    assert make(device="cpu").device == rl.device("cpu")
    with pytest.raises(ValueError, match=r"only 'cpu'.*cuda"):
        make(device="cuda")


def test_as_tensor_shares_where_it_can() -> None:
    array = np.zeros(2)
    shared, converted = rl.as_tensor(array), rl.as_tensor(array, dtype=rl.float32)
    shared[0] = 1.0
    assert array[0] == 1.0
    assert converted.dtype is rl.float32
    assert converted[0].item() == 0.0
    assert rl.as_tensor(shared) is shared
    assert rl.as_tensor([1]).dtype is rl.int64


# -- element types --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (float, rl.float64),
        (int, rl.int64),
        (bool, rl.bool),
        (np.float32, rl.float32),
        ("float64", rl.float64),
        (np.dtype("int64"), rl.int64),
        (rl.long, rl.int64),
        (rl.double, rl.float64),
        (rl.float, rl.float32),
    ],
)
def test_names_of_types(value: Any, dtype: Any) -> None:
    assert rl.zeros(1, dtype=value).dtype is dtype
    assert rl.ones(1, dtype=rl.float32).to(dtype=value).dtype is dtype


@pytest.mark.parametrize("value", ["float16", np.int32, complex, "nonsense", 3, object()])
def test_other_types_are_refused(value: Any) -> None:
    with pytest.raises(TypeError, match=r"dtype must be float32, float64, int64 or bool"):
        rl.zeros(1, dtype=value)


# What PyTorch gives for `a * b`: "f8[]" is a 0-d tensor, "2.5" a number.
PROMOTION = [
    ("f4", "f8", "f8"),
    ("f4", "i8", "f4"),
    ("f4", "b1", "f4"),
    ("i8", "b1", "i8"),
    ("f8", "i8", "f8"),
    ("f4", "f8[]", "f4"),
    ("i8", "f8[]", "f8"),
    ("i8", "f4[]", "f4"),
    ("b1", "i8[]", "i8"),
    ("f4", "i8[]", "f4"),
    ("f4[]", "f8[]", "f8"),
    ("f8[]", "i8[]", "f8"),
    ("f4", "2.5", "f4"),
    ("f8", "2.5", "f8"),
    ("i8", "2.5", "f4"),
    ("b1", "2.5", "f4"),
    ("b1", "2", "i8"),
    ("i8", "2", "i8"),
    ("f8[]", "2", "f8"),
    ("i8[]", "2.5", "f4"),
    ("i8", "True", "i8"),
]
_CODES = {"f4": "float32", "f8": "float64", "i8": "int64", "b1": "bool"}


def _operand(library: Any, code: str) -> Any:
    if code[:2] not in _CODES:
        return {"2.5": 2.5, "2": 2, "True": True}[code]
    dtype = getattr(library, _CODES[code[:2]])
    return library.ones(() if code.endswith("[]") else (3,), dtype=dtype)


@pytest.mark.parametrize(("a", "b", "expected"), PROMOTION)
def test_promotion(a: str, b: str, expected: str) -> None:
    x, y = _operand(rl, a), _operand(rl, b)
    for result in (x * y, y * x, rl.where(rl.tensor(True), x, y)):
        assert result.dtype.name == _CODES[expected]


@pytest.mark.parametrize(("a", "b", "expected"), PROMOTION)
def test_promotion_is_that_of_pytorch(a: str, b: str, expected: str) -> None:
    torch = pytest.importorskip("torch")
    result = _operand(torch, a) * _operand(torch, b)
    assert str(result.dtype) == f"torch.{_CODES[expected]}"


@pytest.mark.parametrize(
    ("result", "dtype"),
    [
        (lambda: rl.tensor([1]) / 2, rl.float32),
        (lambda: rl.tensor([1]) / rl.tensor([2]), rl.float32),
        (lambda: rl.tensor([3]) // 2, rl.int64),
        (lambda: rl.tensor([True]) + rl.tensor([True]), rl.bool),
        (lambda: rl.tensor([True]).sum(), rl.int64),
        (lambda: rl.tensor([1]).exp(), rl.float32),
        (lambda: rl.tensor([2]) ** 2, rl.int64),
        (lambda: rl.tensor([2]) ** 0.5, rl.float32),
        (lambda: rl.tensor([1, 2]).clamp(min=1.5), rl.float32),
        (lambda: np.float64(2) * rl.ones(1), rl.float32),
        (lambda: rl.tensor([1.0]) == 1, rl.bool),
    ],
)
def test_type_of_results(result: Any, dtype: Any) -> None:
    assert result().dtype is dtype


def test_a_0d_tensor_does_not_widen_a_comparison() -> None:
    assert (rl.tensor([0.1]) == rl.tensor(0.1, dtype=rl.float64)).item()
    assert not (rl.tensor([0.1]) == rl.tensor([0.1], dtype=rl.float64)).item()


@pytest.mark.parametrize("method", ["float", "double", "long", "int", "bool"])
@pytest.mark.parametrize("dtype", ALL, ids=NAMES)
def test_conversion_methods(method: str, dtype: Any) -> None:
    target = {"float": "float32", "double": "float64", "bool": "bool"}.get(method, "int64")
    source = rl.tensor([0, 1, 1], dtype=dtype)
    result = getattr(source, method)()
    assert result.dtype.name == target
    assert (result is source) == (dtype.name == target)
    assert result.tolist() == [0, 1, 1]


def test_to() -> None:
    x = rl.tensor([1.5, -2.5])
    other = rl.zeros(1, dtype=rl.int64)
    assert x.to("cpu") is x.to(rl.device("cpu"), rl.float32) is x.to(x) is x.cpu() is x
    assert x.to(other).tolist() == x.to(rl.int64).tolist() == x.type_as(other).tolist() == [1, -2]
    assert x.to("cpu", rl.float64, non_blocking=True).dtype is rl.float64
    copied = x.to(rl.float32, copy=True)
    assert copied is not x
    assert copied.tolist() == x.tolist()
    assert (x.type(), x.type(rl.bool).tolist()) == ("rushlight.FloatTensor", [True, True])
    with pytest.raises(TypeError, match="memory"):
        x.to(memory=3)


def test_conversion_is_differentiable_and_silent() -> None:
    x = rl.tensor([1.0, 2.0], requires_grad=True)
    (x.double() * 3).sum().backward()
    assert x.grad.dtype is rl.float32
    assert x.grad.tolist() == [3.0, 3.0]
    assert rl.tensor([1e300], dtype=rl.float64).float().tolist() == [float("inf")]
    assert rl.tensor([float("nan")]).long().dtype is rl.int64


# -- what it is -----------------------------------------------------------------------------


def test_properties() -> None:
    x = rl.zeros(2, 3, 4, dtype=rl.float64)
    assert (x.shape, x.size(), x.size(-1), x.size(0)) == ((2, 3, 4), (2, 3, 4), 4, 2)
    assert x.ndim == x.dim() == x.ndimension() == 3
    assert x.numel() == x.nelement() == rl.numel(x) == x.shape.numel() == 24
    assert (x.itemsize, x.element_size(), x.nbytes) == (8, 8, 192)
    assert (x.stride(), x.stride(1), x.transpose(0, 2).stride()) == ((12, 4, 1), 4, (1, 4, 12))
    assert (x.is_contiguous(), x.transpose(0, 1).is_contiguous()) == (True, False)
    assert (x[1].data_ptr() - x.data_ptr(), x[:, 1].stride()) == (96, (12, 1))
    assert (x.is_cuda, x.device.type, x.device.index, str(x.device)) == (False, "cpu", None, "cpu")
    assert (x.is_floating_point(), x.bool().is_floating_point()) == (True, False)
    assert (rl.is_tensor(x), rl.is_tensor(np.zeros(1))) == (True, False)
    assert (x.is_leaf, x.grad_fn, x.grad, x.requires_grad) == (True, None, None, False)


def test_size_is_a_tuple_that_stays_a_size() -> None:
    size = rl.zeros(2, 3).shape
    assert repr(size) == "rushlight.Size([2, 3])"
    assert isinstance(size, tuple)
    for made in (size[:1], size + (4,), (4,) + size, pickle.loads(pickle.dumps(size))):  # noqa: RUF005
        assert type(made) is rl.Size
    assert ((4,) + size, size + (4,)) == ((4, 2, 3), (2, 3, 4))  # noqa: RUF005
    rows, columns = size
    assert (rows, columns, size[-1]) == (2, 3, 3)


@pytest.mark.parametrize("dtype", ALL, ids=NAMES)
def test_types_survive_copies(dtype: Any) -> None:
    assert pickle.loads(pickle.dumps(dtype)) is copy.deepcopy(dtype) is copy.copy(dtype) is dtype
    assert repr(dtype) == f"rushlight.{dtype.name}"
    assert dtype.is_floating_point == dtype.name.startswith("float")


def test_devices() -> None:
    assert rl.device("cpu") == rl.device("cpu", 0) == rl.device(type="cpu") == "cpu"
    assert repr(rl.device("cpu")) == "device(type='cpu')"
    for name in ("cuda", "cuda:0", "mps"):
        with pytest.raises(ValueError, match="only 'cpu'"):
            rl.device(name)
        with pytest.raises(ValueError, match="only 'cpu'"):
            rl.zeros(1).to(name)


# -- what Python asks of it -----------------------------------------------------------------


def test_numbers() -> None:
    assert (rl.tensor(2).item(), type(rl.tensor([[2]]).item())) == (2, int)
    assert (int(rl.tensor(2.7)), float(rl.tensor([2])), bool(rl.tensor([0.0]))) == (2, 2.0, False)
    assert [10, 20, 30][rl.tensor(1)] == 20
    assert list(range(rl.tensor([2]))) == [0, 1]
    assert f"{rl.tensor(1.25):.1f} {rl.tensor(3)}" == "1.2 3"
    assert rl.tensor([[1, 2], [3, 4]]).tolist() == [[1, 2], [3, 4]]
    assert rl.tensor(1.5).tolist() == 1.5


def test_sequence_protocol() -> None:
    x = rl.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    rows = list(x)
    assert len(x) == len(rows) == 2
    assert [row.tolist() for row in reversed(x)] == [[3.0, 4.0], [1.0, 2.0]]
    assert (2.0 in x, 5.0 in x) == (True, False)
    rows[1].sum().backward()
    assert x.grad.tolist() == [[0.0, 0.0], [1.0, 1.0]]
    first, second = x
    assert (first.tolist(), second.tolist()) == ([1.0, 2.0], [3.0, 4.0])


def test_identity_decides_in_dicts_and_none_is_no_tensor() -> None:
    x, y = rl.tensor([1.0]), rl.tensor([1.0])
    assert len({x, y}) == 2
    assert {x: 1, y: 2}[y] == 2
    assert (x == None, x != None) == (False, True)  # noqa: E711
    assert (x is None or x) is x


def test_subclasses_and_constructor() -> None:
    assert isinstance(Parameter(rl.zeros(1)), Tensor)
    assert type(Parameter(rl.zeros(1)) * 2) is Tensor
    assert Tensor(2, 3).shape == (2, 3)


# -- NumPy ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["f4", "f8", "i8", "?"])
def test_memory_is_shared_both_ways(dtype: str) -> None:
    array = np.zeros((2, 3), dtype)
    x = rl.from_numpy(array)
    x[0, 0] = 1
    array[1, 2] = 1
    assert x.sum().item() == array.sum() == 2
    back = x.numpy()
    back[0, 1] = 1
    assert x[0, 1].item() == 1
    assert np.shares_memory(np.asarray(x), array)


def test_the_shape_of_the_array_is_not_that_of_the_tensor() -> None:
    array = np.zeros((2, 3))
    x = rl.from_numpy(array)
    for other in (array, x.numpy(), np.asarray(x)):
        if hasattr(other, "_set_shape"):  # where NumPy deprecates the assignment
            other._set_shape((6,))
        else:
            other.shape = (6,)
    assert x.shape == (2, 3)


def test_strided_and_read_only_arrays() -> None:
    base = np.arange(12.0).reshape(3, 4)
    x = rl.from_numpy(base[::-1, ::2])
    assert x.tolist() == base[::-1, ::2].tolist()
    assert (x * 1).tolist() == x.contiguous().tolist() == x.tolist()
    frozen = np.zeros(2)
    frozen.flags.writeable = False
    y = rl.from_numpy(frozen)
    assert (y + 1).tolist() == [1.0, 1.0]
    with pytest.raises(RuntimeError, match=r"add_.*read-only"):
        y.add_(1)


def test_numpy_functions_take_tensors() -> None:
    x = rl.tensor([1.0, 3.0])
    np.testing.assert_allclose(x, [1.0, 3.0])
    assert np.concatenate([x, x]).tolist() == [1.0, 3.0, 1.0, 3.0]
    assert np.mean([x[0], x[1]]) == 2.0
    assert np.array(x, dtype=np.int64).tolist() == [1, 3]
    copied = np.array(x)
    copied[0] = 7.0
    assert x[0].item() == 1.0


def test_numpy_needs_a_detached_tensor() -> None:
    x = rl.tensor([1.0], requires_grad=True)
    for call in (x.numpy, (x * 2).numpy, lambda: np.asarray(x)):
        with pytest.raises(RuntimeError, match=r"numpy.*detach"):
            call()
    assert x.detach().numpy().tolist() == x.numpy(force=True).tolist() == [1.0]
