"""Views and copies with another shape: reshape, transpose, cat and kin."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight.autograd.primitive import Primitive
from rushlight.autograd.sums import sum_to
from rushlight.dtypes import Array
from rushlight.errors import OperationError
from rushlight.ops._common import (
    array_of,
    as_index,
    as_shape,
    checked_shape,
    wrap_dim,
    wrap_dims,
)

if TYPE_CHECKING:
    from rushlight.tensor import Tensor

__all__ = [
    "broadcast_to", "chunk", "expand", "expand_as", "flatten",
    "flip", "movedim", "narrow", "numel", "permute", "ravel", "repeat", "reshape", "roll",
    "select", "split", "squeeze", "swapaxes", "t", "tile", "transpose", "unbind",
    "unflatten", "unsqueeze", "view", "view_as",
]  # fmt: skip


class Reshape(Primitive):
    is_view = True

    @classmethod
    def name(cls) -> str:
        return "ViewBackward0"

    def forward(self, a: Tensor, shape: tuple[int, ...]) -> Array:
        self._shape = a._array.shape
        return a._array.reshape(shape)

    def backward(self, grad: Array) -> tuple[Array, None]:
        return grad.reshape(self._shape), None


class Permute(Primitive):
    is_view = True

    def forward(self, a: Tensor, dims: tuple[int, ...]) -> Array:
        self._inverse = tuple(int(each) for each in np.argsort(dims))
        return a._array.transpose(dims)

    def backward(self, grad: Array) -> tuple[Array, None]:
        return grad.transpose(self._inverse), None


class Expand(Primitive):
    is_view = True

    def forward(self, a: Tensor, shape: tuple[int, ...]) -> Array:
        self._like = (a._array.shape, a._array.dtype)
        return np.broadcast_to(a._array, shape)

    def backward(self, grad: Array) -> tuple[Array, None]:
        return sum_to(grad, *self._like), None


class Flip(Primitive):
    def forward(self, a: Tensor, dims: tuple[int, ...]) -> Array:
        self._dims = dims
        return np.flip(a._array, dims).copy()

    def backward(self, grad: Array) -> tuple[Array, None]:
        return np.flip(grad, self._dims), None


class Roll(Primitive):
    def forward(self, a: Tensor, shifts: tuple[int, ...], dims: tuple[int, ...] | None) -> Array:
        self._shifts, self._dims = shifts, dims
        return np.roll(a._array, shifts if dims else shifts[0], dims)

    def backward(self, grad: Array) -> tuple[Array, None, None]:
        back = tuple(-each for each in self._shifts)
        return np.roll(grad, back if self._dims else back[0], self._dims), None, None


class Repeat(Primitive):
    def forward(self, a: Tensor, counts: tuple[int, ...]) -> Array:
        shape = (1,) * (len(counts) - a._array.ndim) + a._array.shape
        self._shape, self._counts, self._source = shape, counts, a._array.shape
        return np.tile(a._array, counts)

    def backward(self, grad: Array) -> tuple[Array, None]:
        pairs = [extent for pair in zip(self._counts, self._shape, strict=True) for extent in pair]
        summed = grad.reshape(pairs).sum(axis=tuple(range(0, len(pairs), 2)))
        return np.asarray(summed).reshape(self._source), None


def _resolve(sizes: Sequence[Any], source: tuple[int, ...], operation: str) -> tuple[int, ...]:
    """Return the target shape with its -1 filled in, checked against the element count."""
    wanted = as_shape(sizes, operation)
    shape, count, known = list(wanted), math.prod(source), 1
    for extent in shape:
        if extent < -1:
            raise OperationError(f"{operation}: size {extent} is negative in shape {shape}")
        known *= 1 if extent == -1 else extent
    if shape.count(-1) > 1:
        raise OperationError(f"{operation}: only one size can be -1, but got shape {shape}")
    if -1 in shape:
        if known == 0:
            raise OperationError(
                f"{operation}: -1 is ambiguous beside a size of 0 in shape {shape}"
            )
        shape[shape.index(-1)] = count // known
        known *= count // known
    if known != count:
        raise OperationError(
            f"{operation}: shape {list(wanted)} does not fit a tensor of {count} elements "
            f"({list(source)})"
        )
    return tuple(shape)


def reshape(input: Tensor, *shape: Any) -> Tensor:
    """Return the elements in another shape: a view where the memory allows, else a copy.

    Parameters
    ----------
    input : Tensor
    *shape : int or sequence of int
        Sizes; one may be -1 and is worked out.

    Raises
    ------
    ValueError
        When the sizes do not multiply to the number of elements.
    """
    return Reshape.apply(input, _resolve(shape, array_of(input, "reshape").shape, "reshape"))


def view(input: Tensor, *shape: Any) -> Tensor:
    """Return the elements in another shape, always as a view; see :func:`reshape`.

    Raises
    ------
    ValueError
        When the sizes do not fit, or the memory cannot be viewed in this shape without a copy.
    """
    array = array_of(input, "view")
    target = _resolve(shape, array.shape, "view")
    if (
        array.size
        and not array.flags.c_contiguous
        and not np.may_share_memory(array.reshape(target), array)
    ):
        raise OperationError(
            f"view: the memory of this tensor (shape {list(array.shape)}) cannot be viewed as "
            f"{list(target)} without a copy; use reshape()"
        )
    return Reshape.apply(input, target)


def view_as(input: Tensor, other: Tensor) -> Tensor:
    """Return a view of `input` in the shape of `other`."""
    return view(input, array_of(other, "view_as", "other").shape)


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Return `input` with the dimensions from `start_dim` to `end_dim` joined into one.

    Raises
    ------
    IndexError, ValueError
        For a dimension out of range, or a start after the end.
    """
    shape = array_of(input, "flatten").shape
    first = wrap_dim(start_dim, len(shape), "flatten")
    last = wrap_dim(end_dim, len(shape), "flatten")
    if first > last:
        raise OperationError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim}")
    if not shape:
        return reshape(input, 1)
    joined = math.prod(shape[first : last + 1])
    return Reshape.apply(input, (*shape[:first], joined, *shape[last + 1 :]))


def numel(input: Tensor) -> int:
    """Return the number of elements."""
    return array_of(input, "numel").size


def ravel(input: Tensor) -> Tensor:
    """Return the elements in one dimension."""
    return flatten(input)


def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """Return `input` with dimension `dim` split into `sizes`, one of which may be -1."""
    shape = array_of(input, "unflatten").shape
    axis = wrap_dim(dim, len(shape), "unflatten")
    inner = _resolve((sizes,), (shape[axis],), "unflatten")
    return Reshape.apply(input, (*shape[:axis], *inner, *shape[axis + 1 :]))


def squeeze(input: Tensor, dim: Any = None) -> Tensor:
    """Return `input` without its dimensions of size 1: all, or those of `dim` that are 1."""
    shape = array_of(input, "squeeze").shape
    dims = wrap_dims(dim, len(shape), "squeeze") if len(shape) else ()
    kept = tuple(e for axis, e in enumerate(shape) if axis not in dims or e != 1)
    return Reshape.apply(input, kept)


def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """Return `input` with a dimension of size 1 inserted at `dim`."""
    shape = array_of(input, "unsqueeze").shape
    axis = wrap_dim(dim, len(shape) + 1, "unsqueeze")
    return Reshape.apply(input, (*shape[:axis], 1, *shape[axis:]))


def permute(input: Tensor, *dims: Any) -> Tensor:
    """Return a view with the dimensions in the order of `dims`.

    Raises
    ------
    ValueError
        When `dims` does not name every dimension once.
    """
    ndim = array_of(input, "permute").ndim
    order = tuple(wrap_dim(each, ndim, "permute") for each in as_shape(dims, "permute"))
    if sorted(order) != list(range(ndim)):
        raise OperationError(
            f"permute: dims must name each of {ndim} dimensions once, got {list(order)}"
        )
    return Permute.apply(input, order)


def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Return a view with two dimensions exchanged."""
    ndim = array_of(input, "transpose").ndim
    order = list(range(ndim))
    a, b = wrap_dim(dim0, ndim, "transpose"), wrap_dim(dim1, ndim, "transpose")
    if ndim:
        order[a], order[b] = order[b], order[a]
    return Permute.apply(input, tuple(order))


swapaxes = transpose


def movedim(input: Tensor, source: int, destination: int) -> Tensor:
    """Return a view with dimension `source` moved to `destination`."""
    ndim = array_of(input, "movedim").ndim
    order = [each for each in range(ndim) if each != wrap_dim(source, ndim, "movedim")]
    order.insert(wrap_dim(destination, ndim, "movedim"), wrap_dim(source, ndim, "movedim"))
    return Permute.apply(input, tuple(order))


def t(input: Tensor) -> Tensor:
    """Return the transpose of a matrix; a tensor of fewer dimensions as it is.

    Raises
    ------
    ValueError
        For more than two dimensions.
    """
    ndim = array_of(input, "t").ndim
    if ndim > 2:
        raise OperationError(f"t: input must have at most 2 dimensions, but has {ndim}")
    return transpose(input, 0, 1) if ndim == 2 else input


def expand(input: Tensor, *sizes: Any) -> Tensor:
    """Return a view that repeats dimensions of size 1 without copying; -1 keeps a size.

    Raises
    ------
    ValueError
        When the sizes do not broadcast from the shape of `input`.
    """
    shape = array_of(input, "expand").shape
    wanted = as_shape(sizes, "expand")
    lead = len(wanted) - len(shape)
    target = tuple(
        shape[axis - lead] if extent == -1 and axis >= lead else extent
        for axis, extent in enumerate(wanted)
    )
    fits = lead >= 0 and all(
        have == want or have == 1 for have, want in zip(shape, target[lead:], strict=True)
    )
    if not fits or any(extent < 0 for extent in target):
        raise OperationError(f"expand: shape {list(shape)} does not expand to {list(wanted)}")
    if math.prod(target) == math.prod(shape):
        # Nothing is repeated: a plain view, which can be written to.
        return Reshape.apply(input, target)
    return Expand.apply(input, target)


def expand_as(input: Tensor, other: Tensor) -> Tensor:
    """Return `input` expanded to the shape of `other`."""
    return expand(input, array_of(other, "expand_as", "other").shape)


def broadcast_to(input: Tensor, size: Sequence[int]) -> Tensor:
    """Return `input` expanded to `size`."""
    return expand(input, size)


def repeat(input: Tensor, *repeats: Any) -> Tensor:
    """Return copies of `input` side by side, `repeats` of them along each dimension.

    Raises
    ------
    ValueError
        When there are fewer counts than dimensions, or one is negative.
    """
    counts = as_shape(repeats, "repeat")
    if len(counts) < array_of(input, "repeat").ndim or any(each < 0 for each in counts):
        raise OperationError(
            f"repeat: repeats must be {input.ndim} or more counts of 0 or more, got {list(counts)}"
        )
    shape = (1,) * (len(counts) - input._array.ndim) + input._array.shape
    checked_shape(tuple(n * extent for n, extent in zip(counts, shape, strict=True)), "repeat")
    checked_shape(counts, "repeat")
    return Repeat.apply(input, counts)


def tile(input: Tensor, dims: Sequence[int]) -> Tensor:
    """Return copies of `input` side by side; missing leading counts are 1."""
    counts = as_shape((dims,), "tile")
    return repeat(input, (1,) * (array_of(input, "tile").ndim - len(counts)) + counts)


def flip(input: Tensor, *dims: Any) -> Tensor:
    """Return a copy with the order along `dims` reversed."""
    given = as_shape(dims, "flip")
    return Flip.apply(input, wrap_dims(given, array_of(input, "flip").ndim, "flip"))


def roll(input: Tensor, shifts: Any, dims: Any = None) -> Tensor:
    """Return a copy shifted by `shifts` along `dims`, wrapping around; flattened without `dims`."""
    moves = as_shape((shifts,), "roll")
    axes = None
    if dims is not None:
        axes = wrap_dims(as_shape((dims,), "roll"), array_of(input, "roll").ndim, "roll")
    if len(moves) != (1 if axes is None else len(axes)):
        raise OperationError(f"roll: got {len(moves)} shifts for {len(axes or (0,))} dimensions")
    return Roll.apply(input, moves, axes)


def narrow(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """Return a view of `length` elements along `dim` from `start` on."""
    shape = array_of(input, "narrow").shape
    axis = wrap_dim(dim, len(shape), "narrow")
    begin = as_index(start, "narrow", "start")
    begin += shape[axis] if begin < 0 else 0
    if length < 0 or begin < 0 or begin + length > shape[axis]:
        raise OperationError(
            f"narrow: start {start} and length {length} are out of range for size {shape[axis]}"
        )
    return input[(slice(None),) * axis + (slice(begin, begin + length),)]


def select(input: Tensor, dim: int, index: int) -> Tensor:
    """Return a view of `input` at `index` along `dim`, without that dimension."""
    axis = wrap_dim(dim, array_of(input, "select").ndim, "select")
    return input[(slice(None),) * axis + (as_index(index, "select", "index"),)]


def split(input: Tensor, split_size: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Return views of consecutive parts along `dim`.

    Parameters
    ----------
    input : Tensor
    split_size : int or sequence of int
        Size of each part (the last may be smaller), or the sizes, which must add up.
    dim : int

    Raises
    ------
    ValueError
        When the sizes are not positive or do not add up.
    """
    shape = array_of(input, "split").shape
    axis = wrap_dim(dim, len(shape), "split")
    extent = shape[axis]
    if isinstance(split_size, (list, tuple)):
        sizes = as_shape((split_size,), "split")
        if sum(sizes) != extent or any(size < 0 for size in sizes):
            raise OperationError(f"split: sizes {list(sizes)} do not add up to {extent}")
    else:
        size = as_index(split_size, "split", "split_size")
        if size <= 0:
            raise OperationError(f"split: split_size must be positive, but got {size}")
        sizes = tuple(min(size, extent - at) for at in range(0, max(extent, 1), size))
    starts = [sum(sizes[:number]) for number in range(len(sizes))]
    return tuple(narrow(input, axis, at, n) for at, n in zip(starts, sizes, strict=True))


def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """Return at most `chunks` views of equal size along `dim`; the last may be smaller."""
    shape = array_of(input, "chunk").shape
    if as_index(chunks, "chunk", "chunks") <= 0:
        raise OperationError(f"chunk: chunks must be positive, but got {chunks}")
    extent = shape[wrap_dim(dim, len(shape), "chunk")]
    return split(input, max(1, -(-extent // chunks)), dim)


def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """Return views of `input` at every index along `dim`."""
    shape = array_of(input, "unbind").shape
    axis = wrap_dim(dim, len(shape), "unbind")
    return tuple(select(input, axis, index) for index in range(shape[axis] if shape else 0))
