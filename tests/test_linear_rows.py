"""linear for every number of rows: each way to compute it, against float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rushlight import _core

TYPES = [np.float32, np.float64]
ROWS = [1, 2, 3, 4, 5, 8, 9, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65]


def _operands(rows: int, ic: int, oc: int, dtype: Any) -> tuple[Any, ...]:
    rng = np.random.default_rng(rows)
    shapes = ((rows, ic), (oc, ic), (oc,), (rows, oc))
    return tuple(rng.standard_normal(shape).astype(dtype) for shape in shapes)


def _close(found: Any, exact: Any) -> None:
    bound = 2e-6 if found.dtype == np.float32 else 1e-14
    assert found.shape == exact.shape
    assert np.abs(found - exact).max() <= bound * np.sqrt(exact.size) * np.abs(exact).max()


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("ic", "oc"), [(67, 101), (520, 33)])
@pytest.mark.parametrize("rows", ROWS)
def test_forward_and_backward(rows: int, ic: int, oc: int, dtype: Any, isa: str) -> None:
    src, weight, bias, diff = _operands(rows, ic, oc, dtype)
    x, w, b, d = (each.astype(np.float64) for each in (src, weight, bias, diff))
    found = _core.linear(src, weight, bias)
    _close(found, x @ w.T + b)
    _close(
        _core.linear(src, weight, bias, None, 0, None, diff, (-5.0, 9.0)),
        np.clip(x @ w.T + b + d, -5, 9),
    )
    gradients = _core.linear_backward(src, weight, diff, True, True, True)
    for gradient, exact in zip(gradients, (d @ w, d.T @ x, d.sum(0)), strict=True):
        _close(gradient, exact)
    cache = _core.WeightCache()
    for _ in range(3):  # fresh, packed, and packed before
        np.testing.assert_array_equal(_core.linear(src, weight, bias, cache, 0), found)
    _core.set_num_threads(1)
    np.testing.assert_array_equal(_core.linear(src, weight, bias), found)
    again = _core.linear_backward(src, weight, diff, True, True, True)
    for gradient, other in zip(again, gradients, strict=True):
        np.testing.assert_array_equal(gradient, other)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("plane", [1, 2, 3])
@pytest.mark.parametrize("images", [1, 7, 16, 33, 40])
def test_pointwise_convolutions_of_small_planes(
    images: int, plane: int, dtype: Any, isa: str
) -> None:
    rng = np.random.default_rng(images)
    src = rng.standard_normal((images, 21, plane, plane)).astype(dtype)
    weight = rng.standard_normal((29, 21, 1, 1)).astype(dtype)
    for stride in (1, 2):
        geometry = ((stride, stride), (0, 0), (1, 1), 1)
        _core.set_conv_algorithm("chwn")
        found = _core.conv2d(src, weight, None, *geometry)
        diff = rng.standard_normal(found.shape).astype(dtype)
        back = _core.conv2d_backward(src, weight, diff, *geometry, True, False, False)[0]
        seen = src[:, :, ::stride, ::stride].astype(np.float64)
        filters = weight[:, :, 0, 0].astype(np.float64)
        _close(found, np.einsum("nchw,oc->nohw", seen, filters))
        exact = np.zeros(src.shape)
        exact[:, :, ::stride, ::stride] = np.einsum("nohw,oc->nchw", diff, filters)
        _close(back, exact)
