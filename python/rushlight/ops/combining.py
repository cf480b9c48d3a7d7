"""Tensors side by side, and as the axes of a grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from rushlight import _core
from rushlight.autograd.base import TensorBase
from rushlight.autograd.blocked import Blocked
from rushlight.autograd.primitive import Primitive
from rushlight.dtypes import Array
from rushlight.errors import OperationError
from rushlight.ops._common import array_of, as_index, refuse, wrap_dim
from rushlight.ops.creation import tensor
from rushlight.ops.indexing import index_select
from rushlight.ops.shape import unsqueeze

if TYPE_CHECKING:
    from rushlight.tensor import Tensor

__all__ = [
    "broadcast_tensors", "cat", "concat", "concatenate", "hstack", "meshgrid",
    "repeat_interleave", "stack", "vstack",
]  # fmt: skip


class Cat(Primitive):
    def forward(self, dim: int, *tensors: Tensor) -> Array | Blocked:
        blocks = [each._blocks for each in tensors]
        if dim == 1 and self._saved is None and None not in blocks:
            joined = _core.join_blocks(blocks)
            if joined is not None:
                return joined
        arrays = [each._array for each in tensors]
        self._dim, self._types = dim, [each.dtype for each in arrays]
        self._ends = [int(each) for each in np.cumsum([each.shape[dim] for each in arrays])]
        return np.concatenate(arrays, axis=dim)

    def backward(self, grad: Array) -> tuple[Array | None, ...]:
        parts = np.split(grad, self._ends[:-1], axis=self._dim)
        fitted = [
            part.astype(kind, copy=False) for part, kind in zip(parts, self._types, strict=True)
        ]
        return None, *fitted


def _tensors(tensors: Sequence[Tensor], operation: str) -> list[Tensor]:
    found = list(tensors)
    if not found:
        raise OperationError(
            f"{operation}: expected at least one tensor, but the sequence is empty"
        )
    for each in found:
        if not isinstance(each, TensorBase):
            refuse(each, operation, "tensors", "a sequence of Tensors")
    return found


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Return `tensors` joined along an existing dimension.

    Parameters
    ----------
    tensors : sequence of Tensor
        Their shapes agree except in `dim`.
    dim : int

    Raises
    ------
    ValueError
        For an empty sequence or shapes that do not fit.
    """
    found = _tensors(tensors, "cat")
    first = (found[0]._blocks or found[0]._array).shape
    axis = wrap_dim(dim, len(first), "cat")
    for number, each in enumerate(found):
        shape = (each._blocks or each._array).shape
        if not shape or (
            shape[:axis] + shape[axis + 1 :] != first[:axis] + first[axis + 1 :]
            or len(shape) != len(first)
        ):
            raise OperationError(
                f"cat: tensor {number} has shape {list(shape)}, which must be that of the first, "
                f"{list(first)}, except in dimension {axis}"
            )
    return Cat.apply(axis, *found)


concat = concatenate = cat


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Return `tensors` of one shape joined along a new dimension `dim`.

    Raises
    ------
    ValueError
        For an empty sequence or different shapes.
    """
    found = _tensors(tensors, "stack")
    shapes = {each._array.shape for each in found}
    if len(shapes) > 1:
        raise OperationError(
            f"stack: shapes must be equal, but got {[list(each._array.shape) for each in found]}"
        )
    axis = wrap_dim(dim, found[0]._array.ndim + 1, "stack")
    return cat([unsqueeze(each, axis) for each in found], axis)


def _sequence(tensors: tuple[Tensor | Sequence[Tensor], ...], operation: str) -> list[Tensor]:
    """Return tensors that were given one by one, or as one sequence."""
    if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
        tensors = tuple(tensors[0])
    for index, each in enumerate(tensors):
        array_of(each, operation, f"tensor {index}")
    return list(tensors)  # type: ignore[arg-type]  # array_of has refused the rest


def broadcast_tensors(*tensors: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return views of `tensors`, all of the shape that they broadcast to.

    Raises
    ------
    TypeError, ValueError
        For what are no tensors, or shapes that do not broadcast.
    """
    found = _sequence(tensors, "broadcast_tensors")
    shapes = [each._array.shape for each in found]
    try:
        shape = np.broadcast_shapes(*shapes)
    except ValueError:
        text = ", ".join(str(list(each)) for each in shapes)
        raise OperationError(f"broadcast_tensors: shapes {text} do not broadcast") from None
    return tuple([each.expand(shape) for each in found])


def meshgrid(*tensors: Tensor | Sequence[Tensor], indexing: str = "ij") -> tuple[Tensor, ...]:
    """Return the coordinates of the grid that 1-d tensors span, a tensor per axis.

    Parameters
    ----------
    *tensors : Tensor
        The positions along each axis: 1-d, or 0-d for a single one.
    indexing : {"ij", "xy"}
        Whether the first axis runs along rows or, as in plots, along columns.

    Returns
    -------
    tuple of Tensor
        Views, each of the sizes of all `tensors`.

    Raises
    ------
    TypeError, ValueError
        For what are no tensors, more than one dimension, or another `indexing`.
    """
    if indexing not in ("ij", "xy"):
        raise OperationError(f"meshgrid: indexing must be 'ij' or 'xy', but got {indexing!r}")
    found = _sequence(tensors, "meshgrid")
    for index, each in enumerate(found):
        if each._array.ndim > 1:
            raise OperationError(f"meshgrid: tensor {index} must be 1-d, but has {each.ndim}")
    sizes = [each._array.size for each in found]
    grids = []
    for axis, each in enumerate(found):
        shape = [1] * len(found)
        shape[axis] = sizes[axis]
        grid = each.reshape(shape).expand(sizes)
        grids.append(grid.transpose(0, 1) if indexing == "xy" and len(found) > 1 else grid)
    return tuple(grids)


def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """Return `tensors` joined along columns: dimension 1, or 0 where they have but one."""
    found = [each.reshape(1) if not each.ndim else each for each in _sequence((tensors,), "hstack")]
    return cat(found, 1 if found and found[0]._array.ndim > 1 else 0)


def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """Return `tensors` joined along rows; 1-d tensors are rows."""
    found = _sequence((tensors,), "vstack")
    return cat([each.reshape(1, -1) if each._array.ndim < 2 else each for each in found], 0)


def repeat_interleave(input: Tensor, repeats: int | Tensor, dim: int | None = None) -> Tensor:
    """Return `input` with each entry along `dim` repeated.

    Parameters
    ----------
    input : Tensor
        Flattened first where `dim` is None.
    repeats : int or Tensor
        How often, for all entries or (int64) for each.
    dim : int, optional
        The dimension whose entries are repeated.

    Raises
    ------
    IndexError, TypeError, ValueError
        For negative counts, or a number of them that does not fit.
    """
    array_of(input, "repeat_interleave")
    if dim is None:
        input, dim = input.reshape(-1), 0
    axis = wrap_dim(dim, input._array.ndim, "repeat_interleave")
    extent = input._array.shape[axis]
    counts = (
        np.asarray(as_index(repeats, "repeat_interleave", "repeats"))
        if isinstance(repeats, int)
        else array_of(repeats, "repeat_interleave", "repeats")
    )
    if counts.dtype != np.int64:
        raise TypeError(f"repeat_interleave: repeats must be int64, but got {counts.dtype}")
    if counts.ndim > 1 or (counts.ndim and counts.size not in (1, extent)) or (counts < 0).any():
        raise OperationError(
            f"repeat_interleave: repeats must be one number or {extent}, none negative, but got "
            f"{counts.tolist()}"
        )
    return index_select(input, axis, tensor(np.repeat(np.arange(extent), counts)))
