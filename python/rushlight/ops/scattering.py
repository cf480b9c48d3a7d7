"""Reading and writing along a dimension by an index of as many dimensions, or of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight.autograd.base import TensorBase
from rushlight.autograd.primitive import Primitive
from rushlight.dtypes import Array
from rushlight.errors import OperationError
from rushlight.ops._common import NUMBERS, Operand, Scalar, array_of, quiet, refuse, wrap_dim
from rushlight.ops.elementwise import mul
from rushlight.ops.indexing import check_range, index_array

if TYPE_CHECKING:
    from rushlight.tensor import Tensor

__all__ = [
    "gather", "index_add", "index_add_", "scatter", "scatter_", "scatter_add", "scatter_add_",
]  # fmt: skip


def along(index: Array, dim: int) -> tuple[Array, ...]:
    """Return the key that picks by `index` along `dim` and straight through elsewhere."""
    grid = list(np.ogrid[tuple(slice(extent) for extent in index.shape)])
    if grid:
        grid[dim] = index
    return tuple(grid)


class Gather(Primitive):
    def forward(self, a: Tensor, dim: int, index: Tensor) -> Array:
        self._shape, self._dim = a._array.shape, dim
        self.save(index)
        return np.asarray(a._array[along(index._array, dim)])

    def backward(self, grad: Array) -> tuple[Array, None, None]:
        full = np.zeros(self._shape, grad.dtype)
        np.add.at(full, along(self.saved[0], self._dim), grad)
        return full, None, None


class Scatter(Primitive):
    """Write a number, or the start of a tensor, to where an index along `dim` points."""

    adds = False

    def forward(self, a: Tensor, dim: int, index: Tensor, source: Any) -> Array:
        result = a._array.copy() if self.out is None else self.out
        self._dim = dim
        self.save(index)
        if isinstance(source, TensorBase):
            self._source = source._array.shape
            source = source._array[tuple(slice(extent) for extent in index._array.shape)]
        key = along(index._array, dim)
        with quiet():
            if self.adds:
                np.add.at(result, key, source)
            else:
                result[key] = source
        return result

    def backward(self, grad: Array) -> tuple[Array | None, None, None, Array | None]:
        need_target, _, _, need_source = self.needs_input_grad
        (index,) = self.saved
        key = along(index, self._dim)
        to_target, to_source = None, None
        if need_target:
            to_target = grad
            if not self.adds:
                to_target = grad.copy()
                to_target[key] = 0
        if need_source:
            to_source = np.zeros(self._source, grad.dtype)
            to_source[tuple(slice(extent) for extent in index.shape)] = grad[key]
        return to_target, None, None, to_source


class ScatterAdd(Scatter):
    """Add instead of writing: where an index names a place twice, both count."""

    adds = True


def check_along(source: Array, picks: Array, axis: int, operation: str) -> None:
    """Raise where `picks` does not index `source` along `axis`."""
    fits = source.ndim == picks.ndim and all(
        small <= large
        for at, (small, large) in enumerate(zip(picks.shape, source.shape, strict=True))
        if at != axis
    )
    if not fits:
        raise OperationError(
            f"{operation}: index of shape {list(picks.shape)} does not fit input of shape "
            f"{list(source.shape)} outside dimension {axis}"
        )
    check_range(picks, source.shape[axis] if source.ndim else 1, operation)


def gather(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """Return ``input`` picked along `dim` by `index`, which has as many dimensions.

    Raises
    ------
    IndexError, ValueError
        For an index out of range, or a shape of `index` that does not fit in `input`.
    """
    source, picks = array_of(input, "gather"), index_array(index, "gather")
    axis = wrap_dim(dim, source.ndim, "gather")
    check_along(source, picks, axis, "gather")
    return Gather.apply(input, axis, index)


def _checked_scatter(
    input: Tensor, dim: int, index: Tensor, src: Operand, operation: str
) -> tuple[int, Tensor, Operand]:
    target, picks = array_of(input, operation), index_array(index, operation)
    axis = wrap_dim(dim, target.ndim, operation)
    check_along(target, picks, axis, operation)
    if isinstance(src, TensorBase):
        shape, dtype = src._array.shape, src._array.dtype
        if len(shape) != picks.ndim or any(np.greater(picks.shape, shape)):
            raise OperationError(
                f"{operation}: index of shape {list(picks.shape)} does not fit src of shape "
                f"{list(shape)}"
            )
        if dtype != target.dtype:
            raise TypeError(f"{operation}: src must be {target.dtype} as input is, but is {dtype}")
    elif not isinstance(src, NUMBERS):
        refuse(src, operation, "src", "a Tensor or a number")
    return axis, index, src


def scatter(input: Tensor, dim: int, index: Tensor, src: Operand) -> Tensor:
    """Return `input` with `src` written to where the int64 `index` points along `dim`.

    The inverse of :func:`gather`; ``zeros(n, c).scatter(1, labels.unsqueeze(1), 1.0)`` is one-hot.

    Raises
    ------
    IndexError, TypeError, ValueError
        For an index out of range, other types, or shapes that do not fit.
    """
    return Scatter.apply(input, *_checked_scatter(input, dim, index, src, "scatter"))


def scatter_(input: Tensor, dim: int, index: Tensor, src: Operand) -> Tensor:
    """Write `src` to where `index` points along `dim` and return `input`; see :func:`scatter`."""
    return Scatter.apply_(input, *_checked_scatter(input, dim, index, src, "scatter_"))


def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """Return `input` with `src` added to where the int64 `index` points along `dim`.

    Raises
    ------
    IndexError, TypeError, ValueError
        For an index out of range, other types, or shapes that do not fit.
    """
    array_of(src, "scatter_add", "src")
    return ScatterAdd.apply(input, *_checked_scatter(input, dim, index, src, "scatter_add"))


def scatter_add_(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """Add `src` to where `index` points along `dim`, in place; see :func:`scatter_add`."""
    array_of(src, "scatter_add_", "src")
    return ScatterAdd.apply_(input, *_checked_scatter(input, dim, index, src, "scatter_add_"))


def _checked_rows(
    input: Tensor, dim: int, index: Tensor, source: Tensor, alpha: Scalar, operation: str
) -> tuple[int, Tensor, Operand]:
    """Return :func:`scatter_add`'s arguments for an index of one dimension."""
    target, rows = array_of(input, operation), array_of(source, operation, "source")
    picks = index_array(index, operation)
    axis = wrap_dim(dim, target.ndim, operation)
    wanted = (*target.shape[:axis], picks.size, *target.shape[axis + 1 :])
    if picks.ndim != 1 or rows.shape != wanted:
        raise OperationError(
            f"{operation}: index must be 1-d and source of shape {list(wanted)}, but their shapes "
            f"are {list(picks.shape)} and {list(rows.shape)}"
        )
    scaled = source if alpha == 1 else mul(source, alpha)
    spread = index.reshape([-1 if at == axis else 1 for at in range(target.ndim)])
    return _checked_scatter(input, axis, spread.expand(wanted), scaled, operation)


def index_add(
    input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Scalar = 1
) -> Tensor:
    """Return `input` with the entries of ``alpha * source`` along `dim` added to those in `index`.

    Raises
    ------
    IndexError, TypeError, ValueError
        For an index out of range, other types, or shapes that do not fit.
    """
    return ScatterAdd.apply(input, *_checked_rows(input, dim, index, source, alpha, "index_add"))


def index_add_(
    input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Scalar = 1
) -> Tensor:
    """Add entries of ``alpha * source`` to those of `input`, in place; see :func:`index_add`."""
    return ScatterAdd.apply_(input, *_checked_rows(input, dim, index, source, alpha, "index_add_"))
