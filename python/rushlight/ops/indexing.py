"""Reading and writing by index: ``x[...]``, ``x[...] = y``, gather, masks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight.autograd.base import TensorBase, wrap
from rushlight.autograd.broadcast import sum_to
from rushlight.autograd.node import Primitive
from rushlight.dtypes import Array
from rushlight.ops._common import NUMBERS, Scalar, array_of, refuse, wrap_dim

if TYPE_CHECKING:
    from rushlight.tensor import Tensor

__all__ = [
    "gather", "index_select", "masked_fill", "masked_fill_", "masked_select", "nonzero", "take",
    "tril", "triu",
]  # fmt: skip

_BASIC = (int, slice, type(None), type(Ellipsis), np.integer)


def as_key(index: Any) -> tuple[Any, bool]:
    """Return an index as NumPy takes it, and whether it selects a view.

    Raises
    ------
    IndexError, TypeError, ValueError
        For floats as indices, tensors that are neither int64 nor bool, and negative steps.
    """
    parts = index if isinstance(index, tuple) else (index,)
    found = tuple([_key_part(part) for part in parts])
    basic = all(isinstance(part, _BASIC) and not isinstance(part, bool) for part in found)
    if basic and Ellipsis not in found:
        # Without it NumPy returns a scalar, not a view, where every dimension gets an index.
        found = (*found, Ellipsis)
    return found, basic


def _key_part(part: Any) -> Any:
    if isinstance(part, TensorBase):
        array = part._array
        if array.dtype.kind == "f":
            raise IndexError(f"index: tensors as indices must be int64 or bool, got {array.dtype}")
        return array if array.ndim or array.dtype.kind == "b" else int(array)
    if isinstance(part, slice):
        if part.step is not None and part.step <= 0:
            raise ValueError(f"index: the step of a slice must be positive, but got {part.step}")
        return slice(*map(_plain, (part.start, part.stop, part.step)))
    if isinstance(part, (*_BASIC, bool, np.bool_)):
        return part
    if isinstance(part, (list, np.ndarray, range)):
        array = np.asarray([_plain(each) for each in part])
        if array.size == 0:
            array = array.astype(np.int64)
        if array.dtype.kind not in "iub":
            raise IndexError(f"index: indices must be integers or masks, got {array.dtype}")
        return array
    raise TypeError(
        "index: expected ints, slices, ..., None, lists, int64 or bool tensors, but got "
        f"{type(part).__name__}"
    )


def _plain(value: Any) -> Any:
    """Return a tensor used inside a slice or a list as what NumPy takes."""
    return value._array[()] if isinstance(value, TensorBase) else value


class GetItem(Primitive):
    is_view = True

    @classmethod
    def name(cls) -> str:
        return "SliceBackward0"

    def forward(self, a: Tensor, key: Any, basic: bool) -> Array:
        self._key, self._basic, self._shape = key, basic, a._array.shape
        return np.asarray(a._array[key])

    def backward(self, grad: Array) -> tuple[Array, None, None]:
        full = np.zeros(self._shape, grad.dtype)
        if self._basic:
            full[self._key] = grad
        else:
            # An index may name an element twice: every mention adds its gradient.
            np.add.at(full, self._key, grad)
        return full, None, None


class SetItem(Primitive):
    def forward(self, a: Tensor, value: Any, key: Any) -> Array:
        assert self.out is not None
        source = value._array if isinstance(value, TensorBase) else value
        self._key, self._like = key, (np.shape(source), getattr(source, "dtype", None))
        self.out[key] = source
        return self.out

    def backward(self, grad: Array) -> tuple[Array | None, Array | None, None]:
        need_target, need_value, _ = self.needs_input_grad
        to_value = None
        if need_value:
            part, (shape, dtype) = np.asarray(grad[self._key]), self._like
            assert dtype is not None
            # A value may have leading dimensions of size 1 that the target lacks.
            lead = len(shape) - part.ndim
            to_value = sum_to(part.reshape((1,) * max(lead, 0) + part.shape), shape, dtype)
        to_target = None
        if need_target:
            to_target = grad.copy()
            to_target[self._key] = 0
        return to_target, to_value, None


class Gather(Primitive):
    def forward(self, a: Tensor, dim: int, index: Array) -> Array:
        self._shape, self._dim = a._array.shape, dim
        grid = list(np.ogrid[tuple(slice(extent) for extent in index.shape)])
        if grid:
            grid[dim] = index
        self._key = tuple(grid)
        return np.asarray(a._array[self._key])

    def backward(self, grad: Array) -> tuple[Array, None, None]:
        full = np.zeros(self._shape, grad.dtype)
        np.add.at(full, self._key, grad)
        return full, None, None


class MaskedFill(Primitive):
    def forward(self, a: Tensor, mask: Array, value: Scalar) -> Array:
        self.save(mask)
        if self.out is not None:
            self.out[np.broadcast_to(mask, self.out.shape)] = value
            return self.out
        return np.where(mask, a._array.dtype.type(value), a._array)

    def backward(self, grad: Array) -> tuple[Array, None, None]:
        return np.where(self.saved[0], grad.dtype.type(0), grad), None, None


class Triangle(Primitive):
    """Keep one triangle of the last two dimensions: `keep` is numpy.tril or numpy.triu."""

    def forward(self, a: Tensor, diagonal: int, keep: Any) -> Array:
        self._diagonal, self._keep = diagonal, keep
        return np.asarray(keep(a._array, diagonal))

    def backward(self, grad: Array) -> tuple[Array, None, None]:
        return np.asarray(self._keep(grad, self._diagonal)), None, None


def getitem(input: Tensor, index: Any) -> Tensor:
    """Return ``input[index]``: a view for ints, slices, ``...`` and None; a copy otherwise.

    Raises
    ------
    IndexError, TypeError, ValueError
        For an index out of range or of a wrong type, or a slice with a negative step.
    """
    key, basic = as_key(index)
    return GetItem.apply(input, key, basic)


def setitem(input: Tensor, index: Any, value: Any) -> None:
    """Write `value`, converted and broadcast, to ``input[index]``.

    Raises
    ------
    IndexError, TypeError, ValueError
        For a bad index, a value that is no tensor or number, or shapes that do not broadcast.
    """
    key, _ = as_key(index)
    if not isinstance(value, (TensorBase, *NUMBERS)):
        refuse(value, "setitem", "value", "a Tensor or a number")
    SetItem.apply_(input, value, key)


def _index_array(index: object, operation: str) -> Array:
    array = array_of(index, operation, "index")
    if array.dtype != np.int64:
        raise TypeError(f"{operation}: index must be int64, but got {array.dtype}")
    return array


def _check_range(index: Array, extent: int, operation: str) -> None:
    if index.size and not (index.min() >= 0 and index.max() < extent):
        bad = index[(index < 0) | (index >= extent)].reshape(-1)[0]
        raise IndexError(f"{operation}: index {bad} is out of range for size {extent}")


def gather(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """Return ``input`` picked along `dim` by `index`, which has as many dimensions.

    Raises
    ------
    IndexError, ValueError
        For an index out of range, or a shape of `index` that does not fit in `input`.
    """
    source, picks = array_of(input, "gather"), _index_array(index, "gather")
    axis = wrap_dim(dim, source.ndim, "gather")
    fits = source.ndim == picks.ndim and all(
        small <= large
        for at, (small, large) in enumerate(zip(picks.shape, source.shape, strict=True))
        if at != axis
    )
    if not fits:
        raise ValueError(
            f"gather: index of shape {list(picks.shape)} does not fit input of shape "
            f"{list(source.shape)} outside dimension {axis}"
        )
    _check_range(picks, source.shape[axis] if source.ndim else 1, "gather")
    return Gather.apply(input, axis, picks)


def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """Return the entries of `input` along `dim` that the 1-d int64 `index` lists, as a copy."""
    source, picks = array_of(input, "index_select"), _index_array(index, "index_select")
    axis = wrap_dim(dim, source.ndim, "index_select")
    if picks.ndim != 1:
        raise ValueError(f"index_select: index must be 1-d, but has {picks.ndim} dimensions")
    _check_range(picks, source.shape[axis], "index_select")
    return getitem(input, (slice(None),) * axis + (index,))


def take(input: Tensor, index: Tensor) -> Tensor:
    """Return the elements of the flattened `input` that `index` names, in its shape."""
    picks = _index_array(index, "take")
    _check_range(picks, array_of(input, "take").size, "take")
    return getitem(input.reshape(-1), index)


def _mask(mask: object, operation: str) -> Array:
    array = array_of(mask, operation, "mask")
    if array.dtype != np.bool_:
        raise TypeError(f"{operation}: mask must be bool, but got {array.dtype}")
    return array


def masked_fill(input: Tensor, mask: Tensor, value: Scalar) -> Tensor:
    """Return `input` with `value` where `mask` (bool, broadcast) is true."""
    array_of(input, "masked_fill")
    return MaskedFill.apply(input, _mask(mask, "masked_fill"), value)


def masked_fill_(input: Tensor, mask: Tensor, value: Scalar) -> Tensor:
    """Write `value` where `mask` (bool, broadcast) is true and return `input`."""
    return MaskedFill.apply_(input, _mask(mask, "masked_fill_"), value)


def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """Return the elements where `mask` (bool, broadcast) is true, in one dimension."""
    shape = array_of(input, "masked_select").shape
    return getitem(input, wrap(np.broadcast_to(_mask(mask, "masked_select"), shape)))


def nonzero(input: Tensor) -> Tensor:
    """Return the indices of the nonzero elements, one row each, as int64."""
    return wrap(np.argwhere(array_of(input, "nonzero")).astype(np.int64))


def _triangle(input: Tensor, diagonal: int, keep: Any, name: str) -> Tensor:
    if array_of(input, name).ndim < 2:
        raise ValueError(f"{name}: input must have at least 2 dimensions, but has {input.ndim}")
    return Triangle.apply(input, diagonal, keep)


def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """Return the lower triangle of the last two dimensions, zeros elsewhere."""
    return _triangle(input, diagonal, np.tril, "tril")


def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """Return the upper triangle of the last two dimensions, zeros elsewhere."""
    return _triangle(input, diagonal, np.triu, "triu")
