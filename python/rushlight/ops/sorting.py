"""Extremes and order: max, argmax, topk, sort."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rushlight.autograd.base import TensorBase, wrap
from rushlight.autograd.primitive import Primitive
from rushlight.autograd.tape import followed
from rushlight.dtypes import Array
from rushlight.errors import OperationError
from rushlight.ops._common import Dims, array_of, reduced_shape, wrap_dim, wrap_dims
from rushlight.ops.elementwise import maximum, minimum

if TYPE_CHECKING:
    from rushlight.tensor import Tensor

__all__ = ["amax", "amin", "argmax", "argmin", "argsort", "max", "min", "sort", "topk"]


class _Result(NamedTuple):
    values: Tensor
    indices: Tensor


class max_result(_Result):
    """The largest elements and where they were: ``values`` and ``indices``."""

    __slots__ = ()


class min_result(_Result):
    """The smallest elements and where they were: ``values`` and ``indices``."""

    __slots__ = ()


class sort_result(_Result):
    """Elements in order and where they were: ``values`` and ``indices``."""

    __slots__ = ()


class topk_result(_Result):
    """The largest or smallest elements and where they were: ``values`` and ``indices``."""

    __slots__ = ()


class Extreme(Primitive):
    """amax and amin: elements that tie share the gradient equally."""

    def forward(self, a: Tensor, dims: tuple[int, ...], keepdim: bool, largest: bool) -> Array:
        x = a._array
        self._kept = reduced_shape(x.shape, dims)
        self._dims = dims
        found = np.asarray((x.max if largest else x.min)(axis=dims, keepdims=keepdim))
        self.save(a, found)
        return found

    def backward(self, grad: Array) -> tuple[Array, None, None, None]:
        x, found = self.saved
        hits = x == found.reshape(self._kept)
        share = grad.reshape(self._kept) / hits.sum(axis=self._dims, keepdims=True)
        return np.asarray(hits * share, x.dtype), None, None, None


class TakeAlong(Primitive):
    """The elements at `indices` along `dim`: values of max, min, sort and topk."""

    def forward(self, a: Tensor, indices: Array, dim: int) -> Array:
        self._shape, self._dim = a._array.shape, dim
        self.save(indices)
        return np.take_along_axis(a._array, indices, dim)

    def backward(self, grad: Array) -> tuple[Array, None, None]:
        full = np.zeros(self._shape, grad.dtype)
        # Each index names another element, so a plain write loses nothing.
        np.put_along_axis(full, self.saved[0], grad, self._dim)
        return full, None, None


def _nonempty(array: Array, dims: tuple[int, ...], operation: str) -> None:
    if any(array.shape[axis] == 0 for axis in dims) or (not dims and array.size == 0):
        raise OperationError(
            f"{operation}: no elements to choose from in shape {list(array.shape)}"
        )


@followed
def _along(input: Tensor, dim: int, keepdim: bool, name: str) -> tuple[Tensor, Tensor]:
    """Return values and indices of max or min along one dimension."""
    array = array_of(input, name)
    axis = wrap_dim(dim, array.ndim, name)
    if not array.ndim:
        return input.clone(), wrap(np.zeros((), np.int64))
    _nonempty(array, (axis,), name)
    picks = (array.argmax if name == "max" else array.argmin)(axis=axis)
    indices = np.expand_dims(picks, axis)
    values = TakeAlong.apply(input, indices, axis)
    if keepdim:
        return values, wrap(indices)
    return values.squeeze(axis), wrap(np.asarray(picks))


def max(input: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    """Return the largest element; with `dim`, ``(values, indices)`` along it.

    ``max(input, other)`` is :func:`maximum`. NaN wins.

    Raises
    ------
    ValueError
        When there is no element.
    """
    if isinstance(dim, TensorBase):
        return maximum(input, dim)  # type: ignore[arg-type]  # every instance is a Tensor
    if dim is None:
        return _whole(input, True, "max")
    return max_result(*_along(input, dim, keepdim, "max"))


def min(input: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    """Return the smallest element; with `dim`, ``(values, indices)`` along it; see :func:`max`."""
    if isinstance(dim, TensorBase):
        return minimum(input, dim)  # type: ignore[arg-type]  # every instance is a Tensor
    if dim is None:
        return _whole(input, False, "min")
    return min_result(*_along(input, dim, keepdim, "min"))


def _whole(input: Tensor, largest: bool, name: str) -> Tensor:
    array = array_of(input, name)
    dims = tuple(range(array.ndim))
    _nonempty(array, dims, name)
    return Extreme.apply(input, dims, False, largest)


def amax(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Return the largest elements over `dim`; those that tie share the gradient."""
    array = array_of(input, "amax")
    dims = wrap_dims(dim, array.ndim, "amax")
    _nonempty(array, dims, "amax")
    return Extreme.apply(input, dims, keepdim, True)


def amin(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Return the smallest elements over `dim`; those that tie share the gradient."""
    array = array_of(input, "amin")
    dims = wrap_dims(dim, array.ndim, "amin")
    _nonempty(array, dims, "amin")
    return Extreme.apply(input, dims, keepdim, False)


@followed
def _arg(input: Tensor, dim: int | None, keepdim: bool, name: str) -> Tensor:
    array = array_of(input, name)
    axis = None if dim is None else wrap_dim(dim, array.ndim, name)
    _nonempty(array, () if axis is None or not array.ndim else (axis,), name)
    find: Any = array.argmax if name == "argmax" else array.argmin
    if not array.ndim:
        return wrap(np.zeros((), np.int64))
    return wrap(np.asarray(find(axis=axis, keepdims=keepdim)))


def argmax(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Return the index of the first largest element along `dim`, or of the flattened input."""
    return _arg(input, dim, keepdim, "argmax")


def argmin(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Return the index of the first smallest element along `dim`, or of the flattened input."""
    return _arg(input, dim, keepdim, "argmin")


def _order(array: Array, axis: int, descending: bool) -> Array:
    """Return the indices that sort `array`; equal elements keep their order, NaN is largest."""
    if not descending:
        return np.argsort(array, axis=axis, kind="stable")
    # Sorting the reversed array and reversing the result keeps ties in their first order.
    back = np.argsort(np.flip(array, axis), axis=axis, kind="stable")
    return array.shape[axis] - 1 - np.flip(back, axis)


@followed
def sort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = True) -> Any:
    """Return ``(values, indices)`` sorted along `dim`; always stable."""
    array = array_of(input, "sort")
    axis = wrap_dim(dim, array.ndim, "sort")
    if not array.ndim:
        return sort_result(input.clone(), wrap(np.zeros((), np.int64)))
    indices = np.ascontiguousarray(_order(array, axis, descending))
    return sort_result(TakeAlong.apply(input, indices, axis), wrap(indices))


def argsort(input: Tensor, dim: int = -1, descending: bool = False) -> Tensor:
    """Return the indices that sort `input` along `dim`."""
    return sort(input, dim, descending).indices


def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    """Return ``(values, indices)`` of the `k` largest (or smallest) along `dim`, in order.

    Raises
    ------
    ValueError
        When `k` is negative or more than there are.
    """
    array = array_of(input, "topk")
    axis = wrap_dim(dim, array.ndim, "topk")
    extent = array.shape[axis] if array.ndim else 1
    if not 0 <= k <= extent:
        raise OperationError(f"topk: k must be in [0, {extent}], but got {k}")
    values, indices = sort(input, dim, largest)
    key = (slice(None),) * axis + (slice(0, k),)
    return topk_result(values[key], indices[key]) if array.ndim else topk_result(values, indices)
