"""The kernels of arithmetic, sums and activations: accuracy, types, aliases, threads."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import rushlight
from rushlight import _core
from rushlight.nn import functional as F

ISAS = _core.isas()
# Units in the last place of float32 that a result may be off, where the exact one is normal.
BOUND = {"exp": 2, "sigmoid": 3, "tanh": 4}


def _exact(name: str, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    wide = x.astype(np.longdouble)
    with np.errstate(all="ignore"):
        if name == "exp":
            return np.exp(wide)
        if name == "sigmoid":
            return 1 / (1 + np.exp(-wide))
        return np.tanh(wide)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", BOUND)
def test_smooth_functions_are_accurate(name: str, dtype: Any, isa: str) -> None:
    _core.set_isa(isa)
    rng = np.random.default_rng(0)
    x = np.concatenate([
        np.linspace(-90, 90, 40_001), np.linspace(-1, 1, 20_001), rng.standard_normal(1001) * 1e-3,
    ]).astype(dtype)  # fmt: skip
    found, exact = getattr(_core, name)(x), _exact(name, x)
    info = np.finfo(dtype)
    normal = (np.abs(exact) >= info.tiny) & (exact <= info.max) & (x > -87) & (x < 88)
    error = np.abs(found[normal] - exact[normal]) / np.spacing(np.abs(exact[normal]).astype(dtype))
    assert error.max() <= BOUND[name]


@pytest.mark.parametrize("isa", ISAS)
def test_smooth_functions_at_the_ends(isa: str) -> None:
    _core.set_isa(isa)
    ends = np.array([-np.inf, np.inf, np.nan, -0.0, 0.0, -800, 800], np.float32)
    np.testing.assert_array_equal(_core.exp(ends), [0, np.inf, np.nan, 1, 1, 0, np.inf])
    np.testing.assert_array_equal(_core.sigmoid(ends), [0, 1, np.nan, 0.5, 0.5, 0, 1])
    tanh = _core.tanh(ends)
    np.testing.assert_array_equal(tanh, [-1, 1, np.nan, 0, 0, -1, 1])
    assert np.signbit(tanh[3])
    assert not np.signbit(tanh[4])


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gelu_is_accurate_in_both_tails(dtype: Any, isa: str) -> None:
    _core.set_isa(isa)
    x = np.linspace(-12, 12, 5001).astype(dtype)
    cdf = np.array([0.5 * math.erfc(-each / math.sqrt(2)) for each in x.astype(float)])
    error = np.abs(_core.gelu(x) / x - cdf)[x != 0]
    bound = 3e-7 if dtype == np.float32 else 1e-15
    assert error.max() <= bound
    # Relative to a tail that is tiny, each rounding of x * x / 2 counts.
    near = (x != 0) & (cdf > np.finfo(dtype).tiny)
    assert (np.abs(_core.gelu(x) / x / cdf - 1))[near].max() <= bound * 90


@pytest.mark.parametrize("size", [1, 15, 16, 17, 1000])
@pytest.mark.parametrize("name", ["silu", "hardswish", "tanh", "gelu"])
def test_lanes_at_the_end_are_like_the_others(name: str, size: int) -> None:
    x = np.random.default_rng(0).standard_normal(2000).astype(np.float32)
    whole = getattr(_core, name)(x)
    assert np.array_equal(getattr(_core, name)(x[:size].copy()), whole[:size])


@pytest.mark.parametrize("function", [F.silu, F.hardswish, F.leaky_relu, F.relu6, F.elu])
@pytest.mark.parametrize("strided", [False, True])
def test_activation_in_place(function: Any, strided: bool) -> None:
    x = rushlight.randn(6, 10)
    x = x.t() if strided else x
    expected = function(x.clone())
    assert function(x, inplace=True) is x
    assert rushlight.equal(x, expected)
    leaf = rushlight.randn(50, requires_grad=True)
    function(leaf).sum().backward()
    wanted, leaf.grad = leaf.grad, None
    function(leaf * 1, inplace=True).sum().backward()
    np.testing.assert_allclose(leaf.grad.numpy(), wanted.numpy(), rtol=1e-6)


# -- arithmetic -------------------------------------------------------------------------------

PAIRS = [
    ((), ()), ((5,), ()), ((3, 4), (3, 4)), ((3, 4), (4,)), ((3, 1), (1, 4)), ((2, 3, 4), (3, 1)),
    ((2, 3, 5, 7), (3, 1, 1)), ((2, 1, 5, 1), (1, 3, 1, 7)), ((0, 3), (3,)), ((40_000,), (40_000,)),
    ((3, 40_000), (3, 1)), ((1, 20_000), (4, 1)), ((7, 33, 129), (33, 129)),
]  # fmt: skip


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", ["add", "sub", "mul", "div"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arithmetic_broadcasts(name: str, dtype: Any, isa: str) -> None:
    _core.set_isa(isa)
    ufunc = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide}[name]
    rng = np.random.default_rng(1)
    for shapes in PAIRS:
        a, b = (rng.standard_normal(shape).astype(dtype) for shape in shapes)
        for x, y in ((a, b), (b, a), (a, 2.5), (3, a)):
            found = getattr(_core, name)(x, y)
            expected = np.asarray(ufunc(x, y))
            assert found.shape == expected.shape
            assert found.dtype == dtype
            np.testing.assert_array_equal(found, expected)


def test_arithmetic_of_slices_and_what_is_left_to_numpy() -> None:
    x = np.arange(120, dtype=np.float32).reshape(4, 5, 6)
    for a, b in ((x[:, 1:], x[:, :-1]), (x[::2], x[1::2]), (x[::-1], x), (x[:, :1], x[:1])):
        np.testing.assert_array_equal(_core.add(a, b), a + b)
    transposed = x.transpose(2, 0, 1)
    for a, b in (
        (transposed, transposed), (x, x.astype(np.float64)), (x.astype(np.int64), 1), (x, True),
        (x, np.zeros(7, np.float32)), (x[..., ::2], x[..., 1::2]), (x, 10**400), (x, "1"), (1, 2),
    ):  # fmt: skip
        assert _core.add(a, b) is NotImplemented
    strided = rushlight.from_numpy(x).permute(2, 0, 1)
    assert (strided + strided).stride() == strided.stride()


@pytest.mark.parametrize("index", [np.s_[:1], np.s_[::-1], np.s_[0], np.s_[3:4], np.s_[:, :1]])
def test_arithmetic_in_place_on_memory_that_overlaps(index: Any) -> None:
    x = np.random.default_rng(2).standard_normal((40, 30)).astype(np.float32)
    expected = x + x[index]
    tensor = rushlight.from_numpy(x)
    tensor += rushlight.from_numpy(x[index])
    np.testing.assert_array_equal(x, expected)


def test_arithmetic_leaves_shifted_memory_to_numpy() -> None:
    x = np.arange(20, dtype=np.float32)
    assert _core.add(x[1:], x[:-1], x[1:]) is NotImplemented
    assert _core.add(x[1:], 1.0, x[1:]) is not NotImplemented


# -- sums -------------------------------------------------------------------------------------

SUMS = [
    ((), [None]), ((7,), [None, (0,)]), ((5, 6), [None, (0,), (1,), ()]),
    ((2, 3, 4, 5), [None, (0, 2, 3), (1,), (0, 1), (2, 3), (0, 2), (1, 3), (3,)]),
    ((3, 0, 2), [None, (1,), (0,)]), ((1, 1, 9, 1), [(1, 2), (0,)]), ((300_001,), [None]),
    ((5, 200_000), [(0,), (1,), None]), ((70_000, 3), [(0,), (1,)]),
    ((9, 300, 17, 19), [(0, 2, 3)]),
]  # fmt: skip


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sums(dtype: Any, isa: str) -> None:
    _core.set_isa(isa)
    rng = np.random.default_rng(3)
    for shape, choices in SUMS:
        x = rng.standard_normal(shape).astype(dtype)
        for dims in choices:
            for keep in (False, True):
                exact = x.astype(np.longdouble).sum(axis=dims, keepdims=keep)
                found = _core.sum(x, dims, keep, 4.0)
                assert found.shape == exact.shape
                size = np.abs(x.astype(np.float64)).sum(axis=dims, keepdims=keep)
                bound = np.finfo(dtype).eps * 2 * (size + 1)
                assert (np.abs(found * 4 - exact) <= bound).all(), (shape, dims)


def test_sums_of_many_are_no_worse_than_numpys() -> None:
    for dtype in (np.float32, np.float64):
        x = np.random.default_rng(4).random(3_000_000).astype(dtype)
        exact = math.fsum(x.tolist())
        assert abs(float(_core.sum(x, None, False, 1.0)) - exact) <= abs(float(x.sum()) - exact)


def test_sums_of_the_infinite() -> None:
    for values, expected in (
        ([np.inf, 1], np.inf),
        ([np.inf, -np.inf], np.nan),
        ([np.nan], np.nan),
    ):
        found = rushlight.tensor(values * 3000).sum().item()
        assert found == expected or (math.isnan(found) and math.isnan(expected))
    assert math.isnan(rushlight.zeros(0).mean().item())
    assert rushlight.zeros(0).sum().item() == 0


@pytest.mark.parametrize("call", [
    lambda x: x + x[:1], lambda x: x.sum(), lambda x: x.sum(0), lambda x: x.sum((0, 2)),
    F.silu, F.gelu, lambda x: x.expand(2, *x.shape).sum(0), lambda x: F.softmax(x, 1),
])  # fmt: skip
def test_same_bits_for_any_number_of_threads(call: Any) -> None:
    x = rushlight.randn(37, 120, 131)
    results = []
    for threads in (1, 2, 5):
        _core.set_num_threads(threads)
        leaf = x.clone().requires_grad_()
        y = call(leaf)
        y.backward(rushlight.ones_like(y) * 0.3)
        results.append((y.detach().numpy().tobytes(), leaf.grad.numpy().tobytes()))
    assert results[0] == results[1] == results[2]


def test_refusals_name_the_operation() -> None:
    x = np.zeros((2, 3), np.float32)
    with pytest.raises(ValueError, match=r"sum: dims must be different dimensions from 0 to 1"):
        _core.sum(x, (2,), False, 1.0)
    with pytest.raises(ValueError, match=r"expand: src of shape \(2, 3\) cannot be expanded"):
        _core.expand(x, (3, 3))
    with pytest.raises(TypeError, match=r"silu: src must be float32 or float64, got int64"):
        _core.silu(np.zeros(3, np.int64))
    with pytest.raises(ValueError, match=r"silu_backward: diff_dst has shape \(3,\)"):
        _core.silu_backward(x, np.zeros(3, np.float32))
