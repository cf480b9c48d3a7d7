"""Reading and writing by index: PyTorch's rules, views and copies, gradients, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import rushlight as rl

# An index as text, which both engines evaluate with their own `T` (tensor), and the shape that
# it selects from a tensor of shape [3, 4, 5].
INDICES = [
    ("0", (4, 5)),
    ("-1", (4, 5)),
    ("...", (3, 4, 5)),
    ("()", (3, 4, 5)),
    ("None", (1, 3, 4, 5)),
    (":", (3, 4, 5)),
    ("1:", (2, 4, 5)),
    ("::2", (2, 4, 5)),
    ("5:", (0, 4, 5)),
    ("-2:-1", (1, 4, 5)),
    ("0, 1, 2", ()),
    ("..., 0", (3, 4)),
    ("0, ..., 0", (4,)),
    ("None, 0, None, 1:3", (1, 1, 2, 5)),
    (":, None, 1, 2:", (3, 1, 3)),
    ("T(1)", (4, 5)),
    ("T(1):T(3)", (2, 4, 5)),
    ("[0, 2]", (2, 4, 5)),
    ("[]", (0, 4, 5)),
    ("[[0, 1], [2, 2]]", (2, 2, 4, 5)),
    ("T([0, 2, 0, 0])", (4, 4, 5)),
    ("T([-1, 0])", (2, 4, 5)),
    ("T([[0], [1]]), T([0, 3])", (2, 2, 5)),
    (":, [0, 1]", (3, 2, 5)),
    (":, [0], [1, 2]", (3, 2)),
    ("[0], :, [1, 2]", (2, 4)),
    ("..., [1, 2]", (3, 4, 2)),
    ("[0, 1], ..., [1, 2]", (2, 4)),
    # Ints go first: NumPy would broadcast them against the arrays and move the dimension.
    ("0, :, [1, 2]", (4, 2)),
    ("[0, 1], :, 1", (2, 4)),
    ("[0, 1], None, 1", (2, 1, 5)),
    ("T(0), :, [1, 2]", (4, 2)),
    ("0, [1, 2]", (2, 5)),
    ("None, [0, 1], None, [1, 1]", (2, 1, 1, 5)),
    ("T([True, False, True])", (2, 4, 5)),
    ("[True, False, True]", (2, 4, 5)),
    (":, T([True, False, True, True]), 0", (3, 3)),
    ("M", (30,)),
    ("0, M[0]", (10,)),
    ("M[..., 0], 1:3", (6, 2)),
    ("True", (1, 3, 4, 5)),
    ("False", (0, 3, 4, 5)),
    ("True, 0", (1, 4, 5)),
]
# PyTorch still takes a list of lists for a tuple, and warns that it will not.
LIKE_PYTORCH = [each for each in INDICES if each[0] != "[[0, 1], [2, 2]]"]
# Which of several values a repeated index keeps is nobody's promise.
WRITABLE = [each for each in LIKE_PYTORCH if each[0] not in ("T([0, 2, 0, 0])", "False")]


def _key(library: Any, text: str) -> Any:
    mask = library.arange(60).reshape(3, 4, 5) % 2 == 0
    return eval(f"_Grab()[{text}]", {"T": library.tensor, "M": mask, "_Grab": _Grab})


class _Grab:
    def __getitem__(self, key: Any) -> Any:
        return key


def _cube(library: Any, **options: Any) -> Any:
    return library.arange(60, dtype=library.float64, **options).reshape(3, 4, 5)


@pytest.mark.parametrize(("text", "shape"), INDICES)
def test_shape(text: str, shape: tuple[int, ...]) -> None:
    assert _cube(rl)[_key(rl, text)].shape == shape


@pytest.mark.parametrize(("text", "shape"), LIKE_PYTORCH)
def test_reads_as_pytorch(text: str, shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = [], []
    for library, found in ((rl, ours), (torch, theirs)):
        x = _cube(library).requires_grad_()
        part = x[_key(library, text)]
        weight = library.arange(part.numel(), dtype=part.dtype).reshape(part.shape) + 1
        (part * weight).sum().backward()
        found += [part.tolist(), x.grad.tolist()]
    assert ours == theirs


@pytest.mark.parametrize(("text", "shape"), WRITABLE)
def test_writes_as_pytorch(text: str, shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    results = []
    for library in (rl, torch):
        x, key = _cube(library).requires_grad_(), _key(library, text)
        value = (library.arange(int(np.prod(shape)), dtype=library.float64) + 100).reshape(shape)
        value.requires_grad_()
        y = x * 2
        y[key] = value
        y[key] += 1
        (y * _cube(library)).sum().backward()
        with library.no_grad():
            z = _cube(library)
            z[key] = -1
        results.append((y.tolist(), x.grad.tolist(), value.grad.tolist(), z.tolist()))
    assert results[0] == results[1]


@pytest.mark.parametrize(
    ("text", "view"),
    [
        ("0", True),
        ("1:, ::2", True),
        ("None, ...", True),
        ("T(1)", True),
        ("0, 1, 2", True),
        ("[0, 1]", False),
        ("M", False),
        ("0, [1]", False),
        ("True", False),
    ],
)
def test_views_and_copies(text: str, view: bool) -> None:
    x = _cube(rl)
    part = x[_key(rl, text)]
    part.fill_(-1)
    assert bool((x == -1).any()) == view
    assert x._version == (1 if view else 0)


def test_a_repeated_index_adds_up_its_gradients() -> None:
    x = rl.zeros(3, requires_grad=True)
    x[rl.tensor([1, 1, 2, 1])].sum().backward()
    assert x.grad.tolist() == [0.0, 3.0, 1.0]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (7, [[7.0, 7.0], [0.0, 0.0]]),
        (rl.tensor(7), [[7.0, 7.0], [0.0, 0.0]]),
        (rl.tensor([1.5, 2.5]), [[1.5, 2.5], [0.0, 0.0]]),
        (rl.tensor([[3]]), [[3.0, 3.0], [0.0, 0.0]]),
        (True, [[1.0, 1.0], [0.0, 0.0]]),
        (np.float32(2), [[2.0, 2.0], [0.0, 0.0]]),
    ],
)
def test_written_values_are_converted_and_broadcast(value: Any, expected: Any) -> None:
    x = rl.zeros(2, 2)
    x[0] = value
    assert x.tolist() == expected
    assert x._version == 1


def test_gradient_of_a_broadcast_value() -> None:
    value = rl.tensor([[2.0]], requires_grad=True)
    x = rl.zeros(3, 2)
    x[1:] = value
    (x * rl.tensor([[1.0], [2.0], [4.0]])).sum().backward()
    assert x.requires_grad
    assert value.grad.tolist() == [[12.0]]


@pytest.mark.parametrize(
    ("index", "error", "words"),
    [
        (5, IndexError, "index 5 is out of bounds.*size 3"),
        (-4, IndexError, "index -4 is out of bounds.*size 3"),
        ((0, 0, 0, 0), IndexError, "too many indices"),
        ((..., ...), IndexError, "ellipsis"),
        (rl.tensor([3]), IndexError, "out of bounds.*size 3"),
        (rl.tensor([True]), IndexError, "boolean index did not match"),
        (rl.tensor([1.0]), IndexError, "index.*int64 or bool.*float32"),
        (1.5, TypeError, "index.*float"),
        ("a", TypeError, "index.*str"),
        ({0}, TypeError, "index.*set"),
        ([0.5], IndexError, "index.*integers or masks.*float64"),
        (slice(None, None, -1), ValueError, "step.*positive.*-1"),
        (slice(None, None, 0), ValueError, "step.*positive.*0"),
    ],
)
def test_bad_indices(index: Any, error: type[Exception], words: str) -> None:
    x = _cube(rl)
    with pytest.raises(error, match=words):
        x[index]
    with pytest.raises(error, match=words):
        x[index] = 0.0
    assert x.tolist() == _cube(rl).tolist()
    assert x._version == 0


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        (rl.zeros(3), ValueError, r"setitem.*\[3\].*\[4, 5\]"),
        (rl.zeros(2, 4, 5), ValueError, r"setitem.*\[2, 4, 5\].*\[4, 5\]"),
        ("a", TypeError, "setitem: value.*str"),
        (np.zeros(5), TypeError, "setitem: value.*ndarray.*from_numpy"),
        ([0.0], TypeError, "setitem: value.*list"),
    ],
)
def test_bad_values(value: Any, error: type[Exception], words: str) -> None:
    x = _cube(rl)
    with pytest.raises(error, match=words):
        x[0] = value


def test_a_0d_tensor() -> None:
    x = rl.tensor(3.0)
    assert (x[...].tolist(), x[()].tolist(), x[None].tolist()) == (3.0, 3.0, [3.0])
    assert x[rl.tensor(True)].tolist() == [3.0]
    x[...] = 4.0
    assert x.item() == 4.0
    with pytest.raises(IndexError, match="too many indices"):
        x[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda x, index, mask: x[index],
        lambda x, index, mask: x.gather(0, index),
        lambda x, index, mask: x.index_select(0, index),
        lambda x, index, mask: x.scatter(0, index, 1.0),
        lambda x, index, mask: x[mask],
        lambda x, index, mask: x.masked_fill(mask, 0.0),
        lambda x, index, mask: x.masked_select(mask),
        lambda x, index, mask: rl.where(mask, x, 0.0),
    ],
)
def test_an_index_changed_before_backward_is_noticed(change: Any) -> None:
    x = rl.ones(3, requires_grad=True)
    index, mask = rl.tensor([0, 2]), rl.tensor([True, False, True])
    result = change(x, index, mask).sum()
    index.zero_()
    mask.fill_(False)
    with pytest.raises(RuntimeError, match="changed in place"):
        result.backward()


def test_scatter_is_one_hot_and_differentiable() -> None:
    labels = rl.tensor([[2], [0]])
    assert rl.zeros(2, 3).scatter_(1, labels, 1.0).tolist() == [[0, 0, 1], [1, 0, 0]]
    x = rl.zeros(2, 3, requires_grad=True)
    source = rl.tensor([[5.0, 9.0], [6.0, 9.0]], requires_grad=True)
    y = x.scatter(1, labels, source)
    (y * rl.arange(6.0).reshape(2, 3)).sum().backward()
    assert y.tolist() == [[0, 0, 5], [6, 0, 0]]
    assert x.grad.tolist() == [[0, 1, 0], [0, 4, 5]]
    assert source.grad.tolist() == [[2, 0], [3, 0]]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: x.gather(0, rl.tensor([3])), ValueError, "gather: index of shape"),
        (lambda x: x.gather(1, rl.tensor([[4]])), IndexError, "gather: index 4.*size 3"),
        (lambda x: x.gather(0, rl.tensor([[0.0]])), TypeError, "gather: index.*int64.*float32"),
        (lambda x: x.scatter(1, rl.tensor([[-1]]), 0.0), IndexError, "scatter: index -1.*size 3"),
        (lambda x: x.scatter(1, rl.tensor([[0]]), rl.zeros(1)), ValueError, "scatter.*src"),
        (lambda x: x.scatter(1, rl.tensor([[0]]), rl.tensor([[1]])), TypeError, "scatter.*int64"),
        (lambda x: x.scatter(1, rl.tensor([[0]]), "a"), TypeError, "scatter: src.*str"),
        (lambda x: x.index_select(0, rl.tensor([2])), IndexError, "index_select: index 2.*size 2"),
        (lambda x: x.index_select(0, rl.tensor([[0]])), ValueError, "index_select.*1-d"),
        (lambda x: x.take(rl.tensor([6])), IndexError, "take: index 6.*size 6"),
        (lambda x: x.masked_fill(x, 0.0), TypeError, "masked_fill: mask must be bool"),
        (lambda x: x.masked_fill(rl.tensor([True] * 4), 0.0), ValueError, "masked_fill.*mask"),
        (lambda x: x.masked_fill_(rl.ones(2, 2, 3).bool(), 0), ValueError, "masked_fill_.*mask"),
        (lambda x: x.masked_select(rl.tensor([True])[0:0]), ValueError, "masked_select.*mask"),
    ],
)
def test_bad_picks(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call(rl.zeros(2, 3))


def test_a_larger_mask_expands_the_input() -> None:
    x = rl.ones(2, requires_grad=True)
    y = x.masked_fill(rl.tensor([[True, False], [False, False]]), 0.0)
    y.sum().backward()
    assert y.tolist() == [[0.0, 1.0], [1.0, 1.0]]
    assert x.grad.tolist() == [1.0, 2.0]


def test_nan_is_no_integer() -> None:
    x = rl.tensor([1, 2])
    with pytest.raises(ValueError, match=r"setitem.*NaN to integer"):
        x[0] = float("nan")
    x[0] = rl.tensor(2.7)
    assert x.tolist() == [2, 2]
