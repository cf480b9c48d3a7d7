"""The reverse of broadcasting."""

from __future__ import annotations

from typing import Any

import numpy as np

from rushlight.dtypes import Array

__all__ = ["broadcasts", "sum_to"]


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
            raise ValueError(f"{list(shape)} does not broadcast to {list(array.shape)}")
        lead = array.ndim - len(shape)
        inner = (lead + axis for axis, extent in enumerate(shape) if extent == 1)
        array = np.asarray(array.sum(axis=(*range(lead), *inner))).reshape(shape)
    return array if array.dtype == dtype else array.astype(dtype)
