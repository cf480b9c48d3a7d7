"""Comparisons and logic: results are masks, outside the graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight.autograd.base import TensorBase, wrap
from rushlight.autograd.tape import followed, inspect
from rushlight.dtypes import Array
from rushlight.errors import OperationError
from rushlight.ops._common import NUMBERS, Operand, array_of, quiet, refuse, result_dtype
from rushlight.ops.copying import copy_

if TYPE_CHECKING:
    from rushlight.tensor import Tensor

__all__ = [
    "allclose", "bitwise_and", "bitwise_not", "bitwise_or", "bitwise_xor", "eq", "equal", "ge",
    "gt", "is_floating_point", "is_tensor", "isclose", "isfinite", "isinf", "isnan", "le",
    "logical_and", "logical_not", "logical_or", "logical_xor", "lt", "ne",
]  # fmt: skip


def _operand(value: object, operation: str) -> Any:
    if isinstance(value, TensorBase):
        return value._array
    if isinstance(value, NUMBERS):
        return value
    refuse(value, operation, "other", "a Tensor or a number")


@followed
def _binary(ufunc: Callable[..., Any], name: str, input: object, other: object) -> Tensor:
    x, y = _operand(input, name), _operand(other, name)
    if isinstance(input, TensorBase) and isinstance(other, TensorBase) and x.dtype != y.dtype:
        # A 0-d tensor does not widen the comparison, as it does not widen arithmetic.
        dtype = result_dtype(input, other)
        x, y = x.astype(dtype, copy=False), y.astype(dtype, copy=False)
    try:
        with quiet():
            return wrap(np.asarray(ufunc(x, y)))
    except ValueError:
        raise OperationError(
            f"{name}: shapes {list(np.shape(x))} and {list(np.shape(y))} do not broadcast"
        ) from None


def eq(input: Tensor, other: Operand) -> Tensor:
    """Return the mask where both are equal, with broadcasting; NaN equals nothing."""
    return _binary(np.equal, "eq", input, other)


def ne(input: Tensor, other: Operand) -> Tensor:
    """Return the mask where both differ, with broadcasting."""
    return _binary(np.not_equal, "ne", input, other)


def lt(input: Tensor, other: Operand) -> Tensor:
    """Return the mask where ``input < other``, with broadcasting."""
    return _binary(np.less, "lt", input, other)


def le(input: Tensor, other: Operand) -> Tensor:
    """Return the mask where ``input <= other``, with broadcasting."""
    return _binary(np.less_equal, "le", input, other)


def gt(input: Tensor, other: Operand) -> Tensor:
    """Return the mask where ``input > other``, with broadcasting."""
    return _binary(np.greater, "gt", input, other)


def ge(input: Tensor, other: Operand) -> Tensor:
    """Return the mask where ``input >= other``, with broadcasting."""
    return _binary(np.greater_equal, "ge", input, other)


def logical_and(input: Tensor, other: Operand) -> Tensor:
    """Return the mask where both are nonzero."""
    return _binary(np.logical_and, "logical_and", input, other)


def logical_or(input: Tensor, other: Operand) -> Tensor:
    """Return the mask where at least one is nonzero."""
    return _binary(np.logical_or, "logical_or", input, other)


def logical_xor(input: Tensor, other: Operand) -> Tensor:
    """Return the mask where exactly one is nonzero."""
    return _binary(np.logical_xor, "logical_xor", input, other)


@followed
def logical_not(input: Tensor) -> Tensor:
    """Return the mask where `input` is zero."""
    return wrap(np.asarray(np.logical_not(array_of(input, "logical_not"))))


def _bitwise(ufunc: Callable[..., Any], name: str, input: object, other: object) -> Tensor:
    for value in (input, other):
        if np.asarray(_operand(value, name)).dtype.kind == "f":
            raise TypeError(f"{name}: works on bool and int64 tensors, but got floating values")
    return _binary(ufunc, name, input, other)


def bitwise_and(input: Tensor, other: Operand) -> Tensor:
    """Return ``input & other`` of masks or integers."""
    return _bitwise(np.bitwise_and, "bitwise_and", input, other)


def bitwise_and_(input: Tensor, other: Operand) -> Tensor:
    """Replace `input` by ``input & other`` and return it."""
    return copy_(input, bitwise_and(input, other))


def bitwise_or(input: Tensor, other: Operand) -> Tensor:
    """Return ``input | other`` of masks or integers."""
    return _bitwise(np.bitwise_or, "bitwise_or", input, other)


def bitwise_or_(input: Tensor, other: Operand) -> Tensor:
    """Replace `input` by ``input | other`` and return it."""
    return copy_(input, bitwise_or(input, other))


def bitwise_xor(input: Tensor, other: Operand) -> Tensor:
    """Return ``input ^ other`` of masks or integers."""
    return _bitwise(np.bitwise_xor, "bitwise_xor", input, other)


def bitwise_xor_(input: Tensor, other: Operand) -> Tensor:
    """Replace `input` by ``input ^ other`` and return it."""
    return copy_(input, bitwise_xor(input, other))


@followed
def bitwise_not(input: Tensor) -> Tensor:
    """Return ``~input`` of a mask or integers."""
    array = array_of(input, "bitwise_not")
    if array.dtype.kind == "f":
        raise TypeError("bitwise_not: works on bool and int64 tensors, but got floating values")
    return wrap(np.asarray(np.invert(array)))


@followed
def _test(function: Callable[[Array], Any], name: str, input: Tensor) -> Tensor:
    return wrap(np.asarray(function(array_of(input, name))))


def isnan(input: Tensor) -> Tensor:
    """Return the mask of NaN elements."""
    return _test(np.isnan, "isnan", input)


def isinf(input: Tensor) -> Tensor:
    """Return the mask of infinite elements."""
    return _test(np.isinf, "isinf", input)


def isfinite(input: Tensor) -> Tensor:
    """Return the mask of elements that are neither infinite nor NaN."""
    return _test(np.isfinite, "isfinite", input)


@followed
def isclose(
    input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Tensor:
    """Return the mask where ``|input - other| <= atol + rtol * |other|``."""
    x, y = array_of(input, "isclose"), array_of(other, "isclose", "other")
    return wrap(np.asarray(np.isclose(x, y, rtol, atol, equal_nan)))


def allclose(
    input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> bool:
    """Return whether :func:`isclose` holds everywhere."""
    inspect("allclose", input, other)
    return bool(isclose(input, other, rtol, atol, equal_nan)._array.all())


def equal(input: Tensor, other: Tensor) -> bool:
    """Return whether both have the same shape and elements; NaN equals nothing."""
    inspect("equal", input, other)
    x, y = array_of(input, "equal"), array_of(other, "equal", "other")
    return x.shape == y.shape and bool((x == y).all())


def is_tensor(obj: object) -> bool:
    """Return whether `obj` is a tensor."""
    return isinstance(obj, TensorBase)


def is_floating_point(input: Tensor) -> bool:
    """Return whether the elements are float32 or float64."""
    return array_of(input, "is_floating_point").dtype.kind == "f"
