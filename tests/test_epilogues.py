"""What conv2d and linear do to their sums in the last step, beside float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import reference
import rushlight as rl
from rushlight import _core
from rushlight.ops.conv import conv2d_fused
from rushlight.ops.linear import linear_fused
from test_conv_algorithms import BOUND, SHAPES, Shape, _accepts, _check, _inputs

CLAMPS = {None: None, "relu": (0.0, np.inf), "range": (-0.5, 0.75)}
NAMES = [
    "square",
    "odd",
    "one output",
    "one row",
    "many tiles",
    "many images",
    "deep",
    "deep with many tiles",
    "few channels",
    "groups",
    "depthwise",
    "depthwise x2",
    "depthwise stride 3",
    "depthwise uneven",
    "stride",
    "1x1",
    "empty batch",
]
PAIRS = [
    pytest.param(algorithm, SHAPES[name], id=f"{algorithm}-{name}")
    for algorithm in _core.conv_algorithms()
    for name in NAMES
    if _accepts(algorithm, SHAPES[name])
]


def _expected(sums: Any, shift: Any, scale: Any, residual: Any, clamp: Any, axis: int) -> Any:
    shape = [1] * sums.ndim
    shape[axis] = -1
    if scale is not None:
        sums = sums * scale.reshape(shape)
    if shift is not None:
        sums = sums + shift.reshape(shape)
    if residual is not None:
        sums = sums + residual
    return sums if clamp is None else np.clip(sums, *clamp)


def _combinations(channels: int, shape: Any, dtype: Any) -> Any:
    """Yield every subset of shift, scale and residual, each with every clamp."""
    rng = np.random.default_rng(3)
    arrays = [rng.standard_normal(size).astype(dtype) for size in (channels, channels, shape)]
    for chosen in range(8):
        parts = [each if chosen >> bit & 1 else None for bit, each in enumerate(arrays)]
        for clamp in CLAMPS.values():
            yield *parts, clamp


def _wide(each: Any) -> Any:
    return None if each is None else each.astype(np.float64)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("algorithm", "shape"), PAIRS)
def test_conv2d(algorithm: str, shape: Shape, dtype: Any, isa: str) -> None:
    src, weight, _, window = _inputs(shape, dtype)
    sums = reference.conv2d(_wide(src), _wide(weight), None, *window)
    rms = float(np.sqrt(np.mean(np.square(sums)))) if sums.size else 1.0
    bound = rms * (BOUND if dtype == np.float32 else 1e-13)
    _core.set_conv_algorithm(algorithm)
    for shift, scale, residual, clamp in _combinations(shape.weight[0], sums.shape, dtype):
        found = _core.conv2d(src, weight, shift, *window, None, 0, scale, residual, clamp)
        expected = _expected(sums, _wide(shift), _wide(scale), _wide(residual), clamp, 1)
        assert found.shape == expected.shape
        largest = 1.0 if scale is None else float(np.abs(scale).max())
        assert np.abs(found - expected).max(initial=0) <= bound * max(1.0, largest)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rows", [0, 1, 2, 3, 4, 9, 33])
@pytest.mark.parametrize(("ic", "oc"), [(5, 3), (64, 70), (300, 33), (1, 1)])
def test_linear(rows: int, ic: int, oc: int, dtype: Any, isa: str) -> None:
    rng = np.random.default_rng(0)
    src, weight = (rng.standard_normal(size).astype(dtype) for size in ((rows, ic), (oc, ic)))
    sums = _wide(src) @ _wide(weight).T
    for shift, scale, residual, clamp in _combinations(oc, sums.shape, dtype):
        found = _core.linear(src, weight, shift, None, 0, scale, residual, clamp)
        expected = _expected(sums, _wide(shift), _wide(scale), _wide(residual), clamp, 1)
        if sums.size:
            _check(found, expected, 1e-4 if dtype == np.float32 else 1e-12)


@pytest.mark.parametrize("algorithm", _core.conv_algorithms())
def test_relu_lets_nan_pass_and_keeps_infinities_in_range(algorithm: str) -> None:
    shape = SHAPES[{"depthwise": "depthwise", "chwn": "few pixels"}.get(algorithm, "square")]
    src, weight, bias, window = _inputs(shape)
    bias[:3] = np.nan, np.inf, -np.inf
    _core.set_conv_algorithm(algorithm)
    found = _core.conv2d(src, weight, bias, *window, None, 0, None, None, (0.0, np.inf))
    assert np.isnan(found[:, 0]).all()
    assert np.isposinf(found[:, 1]).all()
    assert (found[:, 2] == 0).all()


def test_the_functions_beside_conv2d_and_linear() -> None:
    x, w, b = rl.randn(2, 6, 8, 8), rl.randn(4, 6, 3, 3), rl.randn(4)
    scale, residual = rl.randn(4), rl.randn(2, 4, 8, 8)
    window = (1, 1), (1, 1), (1, 1), 1
    sums = rl.nn.functional.conv2d(x, w, None, *window) * scale.reshape(1, -1, 1, 1)
    sums = sums + b.reshape(1, -1, 1, 1) + residual
    for activation, expected in {
        None: sums,
        "relu": sums.clamp(min=0),
        "relu6": sums.clamp(0, 6),
        (-1.0, 0.5): sums.clamp(-1.0, 0.5),
    }.items():
        found = conv2d_fused(
            x, w, b, *window, scale=scale, residual=residual, activation=activation
        )
        assert rl.allclose(found, expected, atol=1e-4)
    rows, matrix = rl.randn(5, 6), rl.randn(4, 6)
    found = linear_fused(rows, matrix, b, activation="relu")
    assert rl.allclose(found, rl.nn.functional.linear(rows, matrix, b).relu(), atol=1e-5)


def test_a_scale_without_a_shift() -> None:
    scale = rl.randn(20)
    per_channel = scale.reshape(1, -1, 1, 1)
    for channels in (3, 16):  # which give blocks of channels and planes
        x, w = rl.randn(2, channels, 8, 8), rl.randn(20, channels, 3, 3)
        window = (1, 1), (1, 1), (1, 1), 1
        expected = rl.nn.functional.conv2d(x, w, None, *window) * per_channel
        assert rl.allclose(conv2d_fused(x, w, None, *window, scale=scale), expected, atol=1e-4)
        # As a graph compiler leaves it: a product that no weight has taken in.
        fast = rl.compile(rl.nn.Sequential(rl.nn.ReLU(), Scaled(rl.randn(channels, 1, 1))))
        with rl.no_grad():
            assert rl.allclose(fast(x), fast.module(x), atol=1e-6)


class Scaled(rl.nn.Module):
    def __init__(self, factor: rl.Tensor) -> None:
        super().__init__()
        self.register_buffer("factor", factor)

    def forward(self, x: rl.Tensor) -> rl.Tensor:
        return x * self.factor


def test_what_is_refused() -> None:
    x, w, window = rl.randn(1, 2, 4, 4), rl.randn(3, 2, 3, 3), ((1, 1), (0, 0), (1, 1), 1)
    with pytest.raises(ValueError, match=r"conv2d: scale has shape \(2,\), expected \(3,\)"):
        conv2d_fused(x, w, None, *window, scale=rl.ones(2))
    with pytest.raises(ValueError, match=r"conv2d: residual has shape .*expected \(1, 3, 2, 2\)"):
        conv2d_fused(x, w, None, *window, residual=rl.ones(1, 3, 4, 4))
    with pytest.raises(TypeError, match=r"conv2d: residual is float64, but src is float32"):
        conv2d_fused(x, w, None, *window, residual=rl.ones(1, 3, 2, 2).double())
    with pytest.raises(ValueError, match=r"conv2d: activation must be .*'gelu'"):
        conv2d_fused(x, w, None, *window, activation="gelu")
    with pytest.raises(TypeError, match="conv2d: clamp must be None or a pair"):
        _core.conv2d(x.numpy(), w.numpy(), None, *window, clamp=(1.0,))  # type: ignore[arg-type]
