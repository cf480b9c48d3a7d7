"""What the operation files share: argument checks, type rules, dimension arithmetic."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

import numpy as np

from rushlight import dtypes
from rushlight.autograd.base import TensorBase
from rushlight.dtypes import Array
from rushlight.errors import OperationError

if TYPE_CHECKING:
    from rushlight.autograd.blocked import Blocked
    from rushlight.tensor import Tensor

Scalar: TypeAlias = "bool | int | float"
Operand: TypeAlias = "Tensor | bool | int | float"
Dims: TypeAlias = "int | Sequence[int] | None"

NUMBERS = (bool, int, float, np.bool_, np.integer, np.floating)

# inf and nan come in silence, as in PyTorch: `with quiet():`.
quiet = partial(np.errstate, all="ignore")


def array_of(value: Any, operation: str, name: str = "input") -> Array:
    """Return the array of a tensor argument, or raise TypeError for anything else."""
    if isinstance(value, TensorBase):
        return value._array
    refuse(value, operation, name)


def form_of(value: Any, operation: str, name: str = "input") -> Array | Blocked:
    """Return what a tensor argument holds, an array or blocks, or raise TypeError."""
    if isinstance(value, TensorBase):
        return value._blocks or value._array
    refuse(value, operation, name)


def refuse(value: object, operation: str, name: str, expected: str = "a Tensor") -> NoReturn:
    """Raise the TypeError for an argument of the wrong type."""
    hint = "; use rushlight.from_numpy()" if isinstance(value, np.ndarray) else ""
    raise TypeError(f"{operation}: {name} must be {expected}, but got {type(value).__name__}{hint}")


def floating(array: Array) -> Array:
    """Return `array`, with integers and masks as float32: what exp, mean and kin work on."""
    return array if array.dtype.kind == "f" else array.astype(np.float32)


def as_index(value: object, operation: str, name: str) -> int:
    """Return `value` as a plain int, or raise TypeError."""
    try:
        return operator.index(value)  # type: ignore[arg-type]  # any object may come
    except TypeError:
        refuse(value, operation, name, "an int")


def as_shape(sizes: Sequence[Any], operation: str) -> tuple[int, ...]:
    """Return a shape given as ``f(2, 3)`` or ``f((2, 3))``; -1 is left for the caller."""
    if len(sizes) == 1 and not hasattr(sizes[0], "__index__"):
        if not isinstance(sizes[0], Iterable):
            refuse(sizes[0], operation, "size", "ints")
        sizes = tuple(sizes[0])
    return tuple(as_index(size, operation, "size") for size in sizes)


def checked_shape(sizes: Sequence[Any], operation: str) -> tuple[int, ...]:
    """Return a shape for new memory: no negative extent, and a count that fits 63 bits."""
    shape = as_shape(sizes, operation)
    count = 1
    for extent in shape:
        if extent < 0:
            raise OperationError(f"{operation}: size has a negative extent {extent}: {list(shape)}")
        # A size of 0 does not excuse its neighbours.
        count *= max(extent, 1)
    if count > (2**63 - 1) // 8:
        raise OperationError(f"{operation}: size {list(shape)} has too many elements for memory")
    return shape


def wrap_dim(dim: object, ndim: int, operation: str) -> int:
    """Return a dimension counted from the front; a 0-d tensor counts as 1-d, as in PyTorch."""
    index = as_index(dim, operation, "dim")
    extent = max(ndim, 1)
    if not -extent <= index < extent:
        raise IndexError(
            f"{operation}: dim must be in [{-extent}, {extent - 1}] for a tensor of {ndim} "
            f"dimensions, but got {index}"
        )
    return index % extent


def wrap_dims(dim: Dims, ndim: int, operation: str) -> tuple[int, ...]:
    """Return the dimensions to reduce, counted from the front; None and () mean all."""
    if dim is None or (not isinstance(dim, int) and hasattr(dim, "__len__") and len(dim) == 0):
        return tuple(range(ndim))
    dims = dim if isinstance(dim, (tuple, list)) else (dim,)
    found = tuple(wrap_dim(each, ndim, operation) for each in dims)
    if len(set(found)) != len(found):
        raise OperationError(f"{operation}: dim names a dimension twice: {tuple(dims)}")
    return found if ndim else ()


def result_dtype(a: Any, b: Any) -> np.dtype[Any]:
    """Return the element type of ``a op b`` by PyTorch's rules.

    Tensors with dimensions decide; 0-d tensors and then Python numbers count only where they are
    of a higher kind (bool < integer < floating) than what decides.
    """
    groups: list[list[dtypes.dtype]] = [[], [], []]
    for value in (a, b):
        if isinstance(value, TensorBase):
            groups[0 if value._array.ndim else 1].append(dtypes.of(value._array))
        else:
            groups[2].append(dtypes.of_scalar(value))
    result: dtypes.dtype | None = None
    for group in groups:
        for each in group:
            if result is None or (group is groups[0] and len(group) == 2):
                result = each if result is None else dtypes.promote(result, each)
            elif group is groups[1] and len(group) == 2:
                result = dtypes.promote(result, each)
            elif min(each.rank, 2) > min(result.rank, 2):
                result = each
    assert result is not None
    return result.numpy


def reduced_shape(shape: tuple[int, ...], dims: tuple[int, ...]) -> tuple[int, ...]:
    """Return `shape` with 1 in the reduced dimensions: it broadcasts back to the input."""
    return tuple(1 if axis in dims else extent for axis, extent in enumerate(shape))


class renamed:
    """Let errors that start with the name of one operation start with that of another.

    For an operation that is done by another: ``with renamed("conv2d", "conv1d"):``.
    """

    def __init__(self, inner: str, outer: str) -> None:
        self._inner, self._outer = f"{inner}:", f"{outer}:"

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        """Raise the error again under the name of the outer operation."""
        text = str(error)
        if isinstance(error, (TypeError, ValueError)) and text.startswith(self._inner):
            raise type(error)(self._outer + text[len(self._inner) :]) from None
