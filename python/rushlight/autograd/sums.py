"""Sums of gradients: of several that meet, and over the dimensions that were broadcast."""

from __future__ import annotations

from typing import Any

import numpy as np

from rushlight import _core
from rushlight.dtypes import Array
from rushlight.errors import OperationError

__all__ = ["add", "broadcasts", "sum_to"]


def add(a: Any, b: Any, out: Any = None) -> Any:
    """Return the sum of two arrays, or blocks, of one shape and type, in `out` if that is given."""
    total = _core.add(a, b, out)
    if total is NotImplemented:
        with np.errstate(all="ignore"):
            total = np.asarray(np.add(a, b, out=out))
    return total


def broadcasts(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    """Return whether an array of `shape` broadcasts to exactly `target`."""
    try:
        return np.broadcast_shapes(shape, target) == target
    except ValueError:
        return False


def sum_to(array: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Sum `array` over the axes along which `shape` was broadcast to get its shape.

    Raises
    ------
    ValueError
        When `shape` does not broadcast to the shape of `array`.
    """
    if array.shape != shape:
        if not broadcasts(shape, array.shape):
            raise OperationError(f"{list(shape)} does not broadcast to {list(array.shape)}")
        lead = array.ndim - len(shape)
        axes = *range(lead), *(lead + axis for axis, extent in enumerate(shape) if extent == 1)
        if array.dtype.kind == "f":
            array = _core.sum(array, axes, False, 1.0).reshape(shape)
        else:
            array = np.asarray(array.sum(axis=axes)).reshape(shape)
    return array if array.dtype == dtype else array.astype(dtype)
