"""Counting and finding elements; none of it has a gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight.autograd.base import wrap
from rushlight.autograd.tape import followed, inspect
from rushlight.errors import OperationError
from rushlight.ops._common import Dims, array_of, as_index, wrap_dims
from rushlight.ops.indexing import nonzero

if TYPE_CHECKING:
    from rushlight.tensor import Tensor

__all__ = ["argwhere", "bincount", "count_nonzero", "isin", "unique"]


def argwhere(input: Tensor) -> Tensor:
    """Return the indices of the nonzero elements, one row each, as int64."""
    return nonzero(input)


@followed
def count_nonzero(input: Tensor, dim: Dims = None) -> Tensor:
    """Return the number of elements that are not zero, over all dimensions or over `dim`."""
    array = array_of(input, "count_nonzero")
    axes = wrap_dims(dim, array.ndim, "count_nonzero")
    return wrap(np.asarray(np.count_nonzero(array, axis=axes), dtype=np.int64))


def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """Return how often each number from 0 up appears.

    Parameters
    ----------
    input : Tensor
        1-d int64, no element negative.
    weights : Tensor, optional
        What each element counts for, in the shape of `input`.
    minlength : int
        The least length of the result.

    Returns
    -------
    Tensor
        int64, or float64 sums of `weights`.

    Raises
    ------
    TypeError, ValueError
        For other types, negative numbers, or shapes that do not fit.
    """
    inspect("bincount", input)
    array = array_of(input, "bincount")
    least = as_index(minlength, "bincount", "minlength")
    if array.dtype != np.int64:
        raise TypeError(f"bincount: input must be int64, but got {array.dtype}")
    if array.ndim != 1 or (array < 0).any() or least < 0:
        raise OperationError(
            "bincount: input must be 1-d without negative elements and minlength not negative, but "
            f"got shape {list(array.shape)}, least element {array.min(initial=0)} and {least}"
        )
    shares = None if weights is None else array_of(weights, "bincount", "weights")
    if shares is not None and shares.shape != array.shape:
        raise OperationError(
            f"bincount: weights must have the shape {list(array.shape)} of input, but have "
            f"{list(shares.shape)}"
        )
    counts = np.bincount(array, shares, least)
    return wrap(counts.astype(np.int64 if shares is None else np.float64, copy=False))


@followed
def isin(elements: Tensor, test_elements: Tensor) -> Tensor:
    """Return a mask, true where an element is one of `test_elements`."""
    return wrap(
        np.isin(array_of(elements, "isin"), array_of(test_elements, "isin", "test_elements"))
    )


def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """Return the distinct elements in ascending order (PyTorch's ``unique``).

    Parameters
    ----------
    input : Tensor
        Any shape.
    sorted : bool
        The result is always sorted.
    return_inverse : bool
        Whether to return, too, where each element stands in the result: int64, shape of `input`.
    return_counts : bool
        Whether to return, too, how often each appears: int64.
    dim : int, optional
        Compare the entries along this dimension instead of elements.

    Returns
    -------
    Tensor or tuple of Tensor
        The distinct elements, then what was asked for.
    """
    inspect("unique", input)
    array = array_of(input, "unique")
    axis = None if dim is None else wrap_dims(dim, array.ndim, "unique")[0]
    values, inverse, counts = np.unique(array, return_inverse=True, return_counts=True, axis=axis)
    shape = array.shape if axis is None else (array.shape[axis],)
    found = [wrap(values)]
    if return_inverse:
        found.append(wrap(inverse.reshape(shape).astype(np.int64, copy=False)))
    if return_counts:
        found.append(wrap(counts.astype(np.int64, copy=False)))
    return tuple(found) if len(found) > 1 else found[0]
