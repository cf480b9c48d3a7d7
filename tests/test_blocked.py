"""Kernels on images in blocks of channels, each as the step of a plan, beside float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import reference
from rushlight import _core
from test_conv_algorithms import SHAPES, Shape

BOUND = 2e-5  # of the output's root mean square, in float32
TYPES = [np.float32, np.float64]

EXTRA = {
    "first layer": Shape((2, 3, 23, 21), (20, 7, 7), stride=(2, 2), padding=(3, 3)),
    "first layer, stride 1": Shape((1, 3, 9, 34), (17, 3, 3)),
    "first layer, unpadded": Shape((1, 4, 9, 10), (8, 2, 3), stride=(1, 2), padding=(0, 0)),
    "pointwise": Shape((2, 30, 7, 9), (100, 1, 1), padding=(0, 0)),
    "pointwise, many channels": Shape((1, 300, 5, 13), (33, 1, 1), padding=(0, 0)),
    "pointwise, stride": Shape((1, 24, 13, 14), (40, 1, 1), stride=(2, 2), padding=(0, 0)),
    "five": Shape((1, 17, 13, 14), (31, 5, 5), padding=(2, 2)),
    "stride 3": Shape((1, 17, 13, 14), (31, 3, 3), stride=(3, 3)),
    "dilated": Shape((1, 17, 13, 14), (31, 3, 3), padding=(2, 2), dilation=(2, 2)),
    "uneven": Shape((2, 20, 13, 14), (10, 2, 3), (2, 1), (1, 0), (1, 2)),
    "depthwise 5x5": Shape((2, 17, 9, 23), (17, 5, 5), padding=(2, 2), groups=17),
    "depthwise 5x5 stride": Shape((2, 33, 9, 23), (33, 5, 5), (2, 2), (2, 2), groups=33),
    "depthwise unpadded": Shape((1, 17, 9, 23), (17, 3, 3), padding=(0, 0), groups=17),
    "groups of 2": Shape((2, 24, 9, 23), (24, 3, 3), groups=12),
    "groups of 4": Shape((2, 40, 14, 9), (40, 3, 3), stride=(2, 2), groups=10),
    "groups of 8": Shape((1, 40, 9, 14), (40, 3, 3), padding=(2, 2), dilation=(2, 2), groups=5),
    "groups of 16": Shape((2, 64, 9, 14), (64, 3, 3), groups=4),
    "groups of 32": Shape((1, 64, 14, 14), (128, 5, 5), padding=(2, 2), groups=2),
    "groups that grow": Shape((2, 20, 9, 8), (40, 3, 2), padding=(1, 0), groups=20),
    "groups that shrink": Shape((1, 64, 9, 8), (32, 1, 3), padding=(0, 1), groups=16),
    "groups of 3": Shape((1, 48, 9, 8), (48, 3, 3), groups=16),
    "wide image": Shape((1, 16, 70, 90), (32, 3, 3)),
    "few tiles": Shape((1, 40, 14, 14), (50, 3, 3)),
}


def plan_of(
    add: Callable[[Any, Any, Any], None], x: Any, out: tuple[int, ...], blocked: int
) -> Any:
    """Run steps on x in blocks: `add(plan, source, result)`; return the result, plain.

    The values of x are blocked where `blocked` has bit 1, and the result where it has bit 2.
    """
    item, lanes = x.dtype.itemsize, _core.channel_block(x.dtype)

    def nbytes(shape: tuple[int, ...]) -> int:
        n, c, *rest = shape
        size = n * (-(-c // lanes) * lanes) * int(np.prod(rest, dtype=np.int64)) * item
        return -(-size // 64) * 64

    arena = nbytes(x.shape) + nbytes(out)
    plan = _core.Plan(arena, [(x.shape, x.dtype)], [(out, x.dtype)])
    source, result = (1, 0, 0), (1, 0, nbytes(x.shape))
    if blocked & 1:
        n, c, h, w = x.shape
        plan.reorder("to_blocked", source, (2, 0, 0), (n, c, h * w), x.dtype)
    else:
        source = (2, 0, 0)
    if not blocked & 2:
        result = (3, 0, 0)
    add(plan, source, result)
    if blocked & 2:
        n, c, h, w = out
        plan.reorder("to_plain", (3, 0, 0), result, (n, c, h * w), x.dtype)
    return plan.run([x])[0]


def padded(values: Any) -> Any:
    """Return a value per channel, with those that fill the last block."""
    if values is None:
        return None
    lanes = _core.channel_block(values.dtype)
    return np.pad(values, (0, -len(values) % lanes), constant_values=7.0)


def conv(x: Any, w: Any, shape: Shape, epilogue: Any, plain: bool) -> Any:
    n, _, ih, iw = x.shape
    oh, ow = (
        (size + 2 * p - d * (k - 1) - 1) // s + 1
        for size, p, d, k, s in zip(
            (ih, iw), shape.padding, shape.dilation, w.shape[2:], shape.stride, strict=True
        )
    )
    scale, shift, clamp = epilogue

    def add(plan: Any, source: Any, result: Any) -> None:
        plan.blocked_conv2d(
            result, source, x.shape, w, shape.stride, shape.padding, shape.dilation, shape.groups,
            (padded(scale), padded(shift), None, clamp), _core.PlanWeights(), "w", not plain,
        )  # fmt: skip

    return plan_of(add, x, (n, len(w), oh, ow), 2 if plain else 3)


def case(shape: Shape, dtype: Any) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    oc, kh, kw = shape.weight
    weight = (oc, shape.src[1] // shape.groups, kh, kw)
    return rng.standard_normal(shape.src).astype(dtype), rng.standard_normal(weight).astype(dtype)


def algorithm(x: Any, w: Any, s: Shape, plain: bool) -> str | None:
    sizes = (s.stride, s.padding, s.dilation, s.groups)
    return _core.blocked_conv2d_algorithm(x.shape, w.shape, *sizes, x.dtype, not plain)


def close(found: Any, sums: Any, limits: tuple[float, float]) -> None:
    """Compare with exact sums, which the result is limited of: errors are those of the sums."""
    assert found.shape == sums.shape
    error = np.abs(found - np.clip(sums, *limits)).max(initial=0)
    rms = float(np.sqrt(np.mean(np.square(sums)))) if sums.size else 1.0
    assert error <= (BOUND if found.dtype == np.float32 else 1e-12) * max(rms, 1e-30)


ALL = {**SHAPES, **EXTRA}


@pytest.mark.parametrize("winograd", [True, False])
@pytest.mark.parametrize("plain", [False, True], ids=["blocked", "plain"])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", ALL)
def test_conv2d(name: str, dtype: Any, plain: bool, winograd: bool, isa: str) -> None:
    shape = ALL[name]
    _core.set_winograd(winograd)
    x, w = case(shape, dtype)
    kind = algorithm(x, w, shape, plain)
    if kind is None:
        with pytest.raises(ValueError, match="no blocked kernel"):
            conv(x, w, shape, (None, None, None), plain)
        return
    assert "winograd" not in kind or winograd
    rng = np.random.default_rng(1)
    scale, shift = (rng.standard_normal(len(w)).astype(dtype) for _ in range(2))
    found = conv(x, w, shape, (scale, shift, (-1.5, 2.5)), plain)
    exact = reference.conv2d(
        x.astype(np.float64), w.astype(np.float64), None, *shape[2:5], shape.groups
    )
    exact = exact * scale[:, None, None].astype(np.float64) + shift[:, None, None]
    close(found, exact, (-1.5, 2.5))


def test_windows_far_apart_are_left_to_others() -> None:
    far = 2**31
    sizes = ((far, far), (far, far), (1, 1), 1)
    x, w = np.ones((1, 16, 3, 3), np.float32), np.ones((16, 16, 3, 3), np.float32)
    assert _core.blocked_conv2d_algorithm(x.shape, w.shape, *sizes, x.dtype, True) is None
    assert _core.conv2d(x, w, None, *sizes).shape == (1, 16, 3, 3)


FUNCTIONS = [("silu", 0.0, 0.0), ("hardswish", 0.0, 0.0), ("leaky_relu", 0.1, 0.0), ("gelu", 0, 0)]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda each: each[0])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", ["odd", "many tiles", "first layer", "pointwise", "depthwise 5x5"])
def test_conv2d_with_a_function(name: str, dtype: Any, function: Any, isa: str) -> None:
    """As the function of what the convolution makes alone."""
    shape = ALL[name]
    x, w = case(shape, dtype)
    rng = np.random.default_rng(1)
    scale, shift = (rng.standard_normal(len(w)).astype(dtype) for _ in range(2))
    plain = name == "first layer"
    sums = conv(x, w, shape, (scale, shift, None), plain)
    found = conv(x, w, shape, (scale, shift, function), plain)
    expected = getattr(_core, function[0])(sums, None, *function[1:])
    np.testing.assert_allclose(found, expected, 1e-6, 1e-6)


def test_affine_with_a_function(isa: str) -> None:
    x = np.random.default_rng(0).standard_normal((2, 19, 5, 7)).astype(np.float32)

    def add(plan: Any, source: Any, result: Any) -> None:
        epilogue = (None, None, source, ("silu", 0.0, 0.0))
        plan.blocked_affine(result, source, (2, 19, 35), x.dtype, epilogue)

    np.testing.assert_allclose(plan_of(add, x, x.shape, 3), _core.silu(x + x), 1e-6, 1e-6)


def test_every_algorithm_is_met() -> None:
    found = {
        algorithm(*case(shape, np.float32), shape, plain)
        for shape in ALL.values()
        for plain in (False, True)
    }
    names = ("direct", "depthwise", "winograd2", "winograd4")
    assert found >= {None, *(f"blocked {name}" for name in names)}


@pytest.mark.parametrize("name", ["odd", "first layer", "pointwise", "depthwise 5x5", "deep"])
def test_same_bits_for_any_thread_count(name: str) -> None:
    shape = ALL[name]
    x, w = case(shape, np.float32)
    plain = name == "first layer"
    results = []
    for threads in (1, 2, 5):
        _core.set_num_threads(threads)
        results.append(conv(x, w, shape, (None, None, None), plain))
    assert all(np.array_equal(results[0], each) for each in results[1:])


@pytest.mark.parametrize("channels", [1, 3, 16, 17, 40])
@pytest.mark.parametrize("dtype", TYPES)
def test_layouts_and_back(dtype: Any, channels: int, isa: str) -> None:
    x = np.random.default_rng(0).standard_normal((2, channels, 9, 13)).astype(dtype)

    def add(plan: Any, source: Any, result: Any) -> None:
        plan.blocked_affine(result, source, (2, channels, 117), x.dtype, (None,) * 4)

    assert np.array_equal(plan_of(add, x, x.shape, 3), x)


@pytest.mark.parametrize("dtype", TYPES)
def test_affine_with_residual(dtype: Any, isa: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 19, 5, 7)).astype(dtype)
    scale, shift = (rng.standard_normal(19).astype(dtype) for _ in range(2))

    def add(plan: Any, source: Any, result: Any) -> None:
        epilogue = (padded(scale), padded(shift), source, (0.0, float("inf")))
        plan.blocked_affine(result, source, (2, 19, 35), x.dtype, epilogue)

    factors, shifts = scale[:, None, None], shift[:, None, None]
    expected = np.maximum(x.astype(np.float64) * factors + shifts + x, 0)
    np.testing.assert_allclose(plan_of(add, x, x.shape, 3), expected, 1e-5, 1e-6)


WINDOWS = [
    ((3, 3, 2, 2, 1, 1, 1, 1), (8, 9)),
    ((2, 2, 2, 2, 0, 0, 1, 1), (7, 8)),
    ((3, 2, 1, 3, 1, 0, 2, 1), (13, 5)),
    ((3, 3, 1, 1, 1, 1, 3, 3), (11, 12)),  # the first window's first column is not the leftmost
    ((5, 5, 3, 3, 2, 2, 3, 3), (3, 3)),
    ((3, 3, 2, 2, 0, 0, 1, 1), (7, 8)),  # as with ceil_mode: the last window reaches over
]


@pytest.mark.parametrize(
    ("kind", "windows", "out"),
    [("max", *each) for each in WINDOWS] + [("avg", *each) for each in WINDOWS if each[0][6] == 1],
)
@pytest.mark.parametrize("dtype", TYPES)
def test_pooling(
    dtype: Any, kind: Any, windows: tuple[int, ...], out: tuple[int, int], isa: str
) -> None:
    x = np.random.default_rng(0).standard_normal((2, 21, 15, 16)).astype(dtype)
    results = []
    for blocked in (True, False):

        def add(plan: Any, source: Any, result: Any, blocked: bool = blocked) -> None:
            if blocked:
                plan.blocked_pool(kind, result, source, x.shape, out, windows, True, 0, x.dtype)
            else:
                plan.pool(kind, result, source, (42, 15, 16), out, windows, True, 0, x.dtype)

        results.append(plan_of(add, x, (2, 21, *out), 3 if blocked else 0))
    np.testing.assert_allclose(*results, 1e-6, 1e-6)


@pytest.mark.parametrize("size", [(1, 1), (7, 7), (56, 57)])
@pytest.mark.parametrize("dtype", TYPES)
def test_mean(dtype: Any, size: tuple[int, int], isa: str) -> None:
    x = (3 + np.random.default_rng(0).standard_normal((2, 21, *size))).astype(dtype)

    def add(plan: Any, source: Any, result: Any) -> None:
        plan.reorder("mean", result, source, (2, 21, size[0] * size[1]), x.dtype)

    found = plan_of(add, x, (2, 21, 1, 1), 1)
    np.testing.assert_allclose(found, x.astype(np.float64).mean((2, 3), keepdims=True), 1e-6)


def test_bad_steps_are_refused() -> None:
    plan = _core.Plan(64, [((1, 3, 4, 4), np.dtype("f4"))], [((1, 3, 4, 4), np.dtype("f4"))])
    with pytest.raises(ValueError, match="unknown function 'square'"):
        plan.blocked_affine(
            (3, 0, 0), (2, 0, 0), (1, 1, 1), np.dtype("f4"), (None, None, None, ("square", 0, 0))
        )
    with pytest.raises(ValueError, match="reorder: unknown kind"):
        plan.reorder("sideways", (3, 0, 0), (2, 0, 0), (1, 3, 16), np.dtype("f4"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="src"):
        plan.reorder("to_plain", (3, 0, 0), (2, 0, 0), (1, 3, 16), np.dtype("f4"))
    with pytest.raises(ValueError, match="windows"):
        plan.blocked_pool(
            "max", (3, 0, 0), (1, 0, 0), (1, 3, 4, 4), (2, 2), (3, 3), True, 0, np.dtype("f4")
        )
