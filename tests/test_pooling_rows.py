"""Pooling over rows longer than any vector: every width, stride and kernel, NaN and infinities."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import reference
from rushlight import _core

Pair = tuple[int, int]
WINDOWS = [
    (kernel, stride, padding)
    for kernel, stride in itertools.product((1, 2, 3, 4, 5), (1, 2, 3))
    for padding in (0, kernel // 2)
]


def _images(width: int, dtype: Any) -> Any:
    """Return planes with NaN, infinities and rows of nothing but minus infinity."""
    rng = np.random.default_rng(width)
    src = rng.standard_normal((2, 2, 9, width)).astype(dtype)
    src[0, 1, 3, width // 2] = np.nan
    src[0, 1, 6, width - 1] = np.inf
    src[1, 0, 2:7] = -np.inf
    return src


def _largest(
    src: Any, kernel: int, stride: int, padding: int, dilation: int = 1
) -> tuple[Any, Any]:
    """Return the maxima and where the first of them stands; a later NaN wins over an earlier."""
    (n, c, h, w), span = src.shape, (kernel - 1) * dilation + 1
    oh, ow = ((size + 2 * padding - span) // stride + 1 for size in (h, w))
    best = np.full((n, c, oh, ow), -np.inf, src.dtype)
    where = np.full((n, c, oh, ow), -1)
    for i, j, oy, ox in np.ndindex(n, c, oh, ow):
        for ky, kx in np.ndindex(kernel, kernel):
            y = oy * stride - padding + ky * dilation
            x = ox * stride - padding + kx * dilation
            if not (0 <= y < h and 0 <= x < w):
                continue
            value = src[i, j, y, x]
            if where[i, j, oy, ox] < 0 or value > best[i, j, oy, ox] or np.isnan(value):
                best[i, j, oy, ox], where[i, j, oy, ox] = value, y * w + x
    return best, where


@pytest.mark.parametrize("width", [16, 33, 70])
@pytest.mark.parametrize(("kernel", "stride", "padding"), WINDOWS)
def test_max(width: int, kernel: int, stride: int, padding: int) -> None:
    isa = _core.isa()
    for dtype in (np.float32, np.float64):
        src = _images(width, dtype)
        best, where = _largest(src, kernel, stride, padding)
        for name in _core.isas():
            _core.set_isa(name)
            window = ((kernel, kernel), (stride, stride), (padding, padding), (1, 1), False)
            found, indices = _core.max_pool2d(src, *window)
            np.testing.assert_array_equal(found, best, err_msg=name)
            np.testing.assert_array_equal(indices, where, err_msg=name)
        _core.set_isa(isa)


@pytest.mark.parametrize("width", [16, 33, 70])
@pytest.mark.parametrize(("kernel", "stride", "padding"), WINDOWS)
@pytest.mark.parametrize("include", [True, False])
def test_avg(width: int, kernel: int, stride: int, padding: int, include: bool, isa: str) -> None:
    src = np.random.default_rng(0).standard_normal((2, 2, 9, width)).astype(np.float32)
    pairs: tuple[Pair, Pair, Pair] = ((kernel, kernel), (stride, stride), (padding, padding))
    expected = reference.avg_pool2d(src.astype(np.float64), *pairs, False, include)
    found = _core.avg_pool2d(src, *pairs, False, include, None)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_ceil_mode_on_long_rows(isa: str) -> None:
    src = np.random.default_rng(0).standard_normal((1, 2, 8, 70)).astype(np.float32)
    pairs: tuple[Pair, Pair, Pair] = ((3, 3), (2, 2), (0, 0))
    expected = reference.avg_pool2d(src.astype(np.float64), *pairs, True)
    np.testing.assert_allclose(
        _core.avg_pool2d(src, *pairs, True, True, None), expected, rtol=1e-5, atol=1e-6
    )
    expected = reference.max_pool2d(src.astype(np.float64), *pairs, ceil=True)
    np.testing.assert_array_equal(_core.max_pool2d(src, *pairs, (1, 1), True)[0], expected)


@pytest.mark.parametrize("width", [1, 3, 5, 12, 24, 31])
@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(2, 1, 4), (2, 2, 4), (3, 2, 2)])
def test_max_of_windows_with_gaps(width: int, kernel: int, stride: int, dilation: int) -> None:
    src = np.random.default_rng(0).standard_normal((2, 3, 5, width)).astype(np.float32)
    padding = ((kernel - 1) * dilation + 1) // 2
    best, where = _largest(src, kernel, stride, padding, dilation)
    isa = _core.isa()
    for name in _core.isas():
        _core.set_isa(name)
        steps = (stride, stride), (padding, padding), (dilation, dilation)
        found, indices = _core.max_pool2d(src, (kernel, kernel), *steps, False)
        np.testing.assert_array_equal(found, best, err_msg=name)
        np.testing.assert_array_equal(indices, where, err_msg=name)
    _core.set_isa(isa)
