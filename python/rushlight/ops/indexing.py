"""Reading and writing by index: ``x[...]``, ``x[...] = y``, gather, masks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rushlight.autograd.base import TensorBase, wrap
from rushlight.autograd.grad_mode import state as mode
from rushlight.autograd.primitive import Primitive
from rushlight.autograd.sums import broadcasts, sum_to
from rushlight.autograd.tape import followed, inspect
from rushlight.dtypes import Array
from rushlight.errors import OperationError
from rushlight.ops._common import NUMBERS, Scalar, array_of, quiet, refuse, wrap_dim

if TYPE_CHECKING:
    from rushlight.tensor import Tensor

__all__ = [
    "index_select", "masked_fill", "masked_fill_", "masked_select", "nonzero",
    "take",
]  # fmt: skip

_BASIC = (int, slice, type(None), type(Ellipsis), np.integer)


class Key(NamedTuple):
    """An index as NumPy takes it: ``array[view][picks]``, the second only where it is not None.

    `tensors` are those in the index, which backward needs unchanged.
    """

    view: tuple[Any, ...]
    picks: tuple[Any, ...] | None
    tensors: tuple[TensorBase, ...]

    def read(self, array: Array) -> Array:
        """Return what the index selects: a view, or a copy where there are picks."""
        part = array[self.view]
        return part if self.picks is None else np.asarray(part[self.picks])

    def write(self, array: Array, value: Any) -> None:
        """Put `value` where the index points to."""
        array[self.view][self.picks or ...] = value


def as_key(index: Any) -> Key:
    """Return an index in the form that reads and writes arrays.

    Raises
    ------
    IndexError, TypeError, ValueError
        For floats as indices, tensors that are neither int64 nor bool, and negative steps.
    """
    parts = index if isinstance(index, tuple) else (index,)
    found = [_key_part(part) for part in parts]
    tensors = tuple([part for part in parts if isinstance(part, TensorBase)])
    basic = [isinstance(part, _BASIC) and not isinstance(part, bool) for part in found]
    if all(basic):
        # Without the dots NumPy returns a scalar, not a view, for an int in every dimension.
        return Key(tuple(found) if Ellipsis in found else (*found, Ellipsis), None, tensors)
    # PyTorch takes ints first; NumPy would broadcast them against the arrays.
    view: list[Any] = []
    picks: list[Any] = []
    for part, plain in zip(found, basic, strict=True):
        if not plain:
            array = np.asarray(part)
            # A mask picks from as many dimensions as it has (a lone bool from none).
            view += [slice(None)] * (array.ndim if array.dtype.kind == "b" else 1)
            picks.append(part)
            continue
        view.append(part)
        if not isinstance(part, (int, np.integer)):
            picks.append(part if part is Ellipsis else slice(None))
    return Key((*view,) if Ellipsis in view else (*view, Ellipsis), tuple(picks), tensors)


def _key_part(part: Any) -> Any:
    if isinstance(part, TensorBase):
        array = part._array
        if array.dtype.kind == "f":
            raise IndexError(f"index: tensors as indices must be int64 or bool, got {array.dtype}")
        return array if array.ndim or array.dtype.kind == "b" else int(array)
    if isinstance(part, slice):
        if part.step is not None and part.step <= 0:
            raise OperationError(
                f"index: the step of a slice must be positive, but got {part.step}"
            )
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

    def forward(self, a: Tensor, key: Key) -> Array:
        self._key, self._shape = key, a._array.shape
        self.save(*key.tensors)
        return key.read(array_of(a, "index"))

    def backward(self, grad: Array) -> tuple[Array, None]:
        _require_unchanged(self)
        full, key = np.zeros(self._shape, grad.dtype), self._key
        if key.picks is None:
            full[key.view] = grad
        else:
            # An index may name an element twice: every mention adds its gradient.
            np.add.at(full[key.view], key.picks, grad)
        return full, None


class SetItem(Primitive):
    def forward(self, a: Tensor, value: Any, key: Key) -> Array:
        assert self.out is not None
        source = value._array if isinstance(value, TensorBase) else value
        self._key, self._like = key, (np.shape(source), getattr(source, "dtype", None))
        self.save(*key.tensors)
        try:
            with quiet():
                key.write(self.out, source)
        except ValueError as error:
            if not isinstance(source, np.ndarray):
                raise OperationError(f"setitem: {error}") from None
            raise OperationError(
                f"setitem: a value of shape {list(source.shape)} does not broadcast to the "
                f"shape {list(key.read(self.out).shape)} of what is written"
            ) from None
        return self.out

    def backward(self, grad: Array) -> tuple[Array | None, Array | None, None]:
        _require_unchanged(self)
        need_target, need_value, _ = self.needs_input_grad
        to_value = None
        if need_value:
            part, (shape, dtype) = self._key.read(grad), self._like
            assert dtype is not None
            # A value may have leading dimensions of size 1 that the target lacks.
            lead = len(shape) - part.ndim
            to_value = sum_to(part.reshape((1,) * max(lead, 0) + part.shape), shape, dtype)
        to_target = None
        if need_target:
            to_target = grad.copy()
            self._key.write(to_target, 0)
        return to_target, to_value, None


class MaskedFill(Primitive):
    def forward(self, a: Tensor, mask: Tensor, value: Scalar) -> Array:
        self.save(mask)
        if self.out is not None:
            self.out[np.broadcast_to(mask._array, self.out.shape)] = value
            return self.out
        return np.where(mask._array, a._array.dtype.type(value), a._array)

    def backward(self, grad: Array) -> tuple[Array, None, None]:
        return np.where(self.saved[0], grad.dtype.type(0), grad), None, None


def getitem(input: Tensor, index: Any) -> Tensor:
    """Return ``input[index]``: a view for ints, slices, ``...`` and None; a copy otherwise.

    Raises
    ------
    IndexError, TypeError, ValueError
        For an index out of range or of a wrong type, or a slice with a negative step.
    """
    parts = index if isinstance(index, tuple) else (index,)
    if mode.tape is not None:
        tensors = [part for part in parts if isinstance(part, TensorBase)]
        # What a mask selects has a size that depends on its values.
        inspect("index", *[part for part in tensors if part._array.dtype.kind == "b"])
        if tensors:
            return _pick(input, index)
    return GetItem.apply(input, as_key(index))


@followed
def _pick(input: Tensor, index: Any) -> Tensor:
    """Return ``input[index]`` for an index with tensors, whose values a tape must not keep."""
    return GetItem.apply(input, as_key(index))


def setitem(input: Tensor, index: Any, value: Any) -> None:
    """Write `value`, converted and broadcast, to ``input[index]``.

    Raises
    ------
    IndexError, TypeError, ValueError
        For a bad index, a value that is no tensor or number, or shapes that do not broadcast.
    """
    key = as_key(index)
    if not isinstance(value, (TensorBase, *NUMBERS)):
        refuse(value, "setitem", "value", "a Tensor or a number")
    SetItem.apply_(input, value, key)


def _require_unchanged(node: Primitive) -> None:
    """Raise RuntimeError when a tensor in the index was changed since; reading checks it."""
    _ = node.saved


def index_array(index: object, operation: str) -> Array:
    array = array_of(index, operation, "index")
    if array.dtype != np.int64:
        raise TypeError(f"{operation}: index must be int64, but got {array.dtype}")
    return array


def check_range(index: Array, extent: int, operation: str) -> None:
    if index.size and not (index.min() >= 0 and index.max() < extent):
        bad = index[(index < 0) | (index >= extent)].reshape(-1)[0]
        raise IndexError(f"{operation}: index {bad} is out of range for size {extent}")


def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """Return the entries of `input` along `dim` that the 1-d int64 `index` lists, as a copy."""
    source, picks = array_of(input, "index_select"), index_array(index, "index_select")
    axis = wrap_dim(dim, source.ndim, "index_select")
    if picks.ndim != 1:
        raise OperationError(f"index_select: index must be 1-d, but has {picks.ndim} dimensions")
    check_range(picks, source.shape[axis], "index_select")
    return getitem(input, (slice(None),) * axis + (index,))


def take(input: Tensor, index: Tensor) -> Tensor:
    """Return the elements of the flattened `input` that `index` names, in its shape."""
    picks = index_array(index, "take")
    check_range(picks, array_of(input, "take").size, "take")
    return getitem(input.reshape(-1), index)


def _mask(mask: Tensor, input: Tensor, operation: str) -> Tensor:
    """Return `mask`, checked to be a mask that broadcasts to `input`."""
    array, shape = array_of(mask, operation, "mask"), array_of(input, operation).shape
    if array.dtype != np.bool_:
        raise TypeError(f"{operation}: mask must be bool, but got {array.dtype}")
    if not broadcasts(array.shape, shape):
        raise OperationError(
            f"{operation}: mask of shape {list(array.shape)} does not broadcast to the shape "
            f"{list(shape)} of input"
        )
    return mask


def masked_fill(input: Tensor, mask: Tensor, value: Scalar) -> Tensor:
    """Return `input` with `value` where `mask` (bool, broadcast) is true."""
    shapes = array_of(input, "masked_fill").shape, array_of(mask, "masked_fill", "mask").shape
    if not broadcasts(shapes[1], shapes[0]) and broadcasts(*shapes):
        input = input.expand(shapes[1])
    return MaskedFill.apply(input, _mask(mask, input, "masked_fill"), value)


def masked_fill_(input: Tensor, mask: Tensor, value: Scalar) -> Tensor:
    """Write `value` where `mask` (bool, broadcast) is true and return `input`."""
    return MaskedFill.apply_(input, _mask(mask, input, "masked_fill_"), value)


def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """Return the elements where `mask` (bool, broadcast) is true, in one dimension."""
    shape = array_of(input, "masked_select").shape
    return getitem(input, _mask(mask, input, "masked_select").expand(shape))


def nonzero(input: Tensor) -> Tensor:
    """Return the indices of the nonzero elements, one row each, as int64."""
    inspect("nonzero", input)
    return wrap(np.argwhere(array_of(input, "nonzero")).astype(np.int64))
