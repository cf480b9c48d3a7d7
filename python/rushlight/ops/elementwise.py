"""Arithmetic element by element, with broadcasting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight.autograd.base import TensorBase
from rushlight.autograd.inplace import check_place
from rushlight.autograd.primitive import Primitive
from rushlight.dtypes import Array
from rushlight.errors import OperationError
from rushlight.ops._common import NUMBERS, Operand, Scalar, quiet, refuse, result_dtype
from rushlight.ops.binary import Add, Binary, Div, Mul, Sub, compute_dtype, kept

if TYPE_CHECKING:
    from rushlight.tensor import Tensor

__all__ = [
    "add", "add_", "clamp", "clamp_", "clip", "div", "div_", "divide", "floor_divide",
    "floor_divide_", "maximum", "minimum", "mul", "mul_", "multiply", "pow", "pow_",
    "remainder", "remainder_", "rsub", "sub", "sub_", "subtract", "true_divide", "where",
]  # fmt: skip


class Pow(Binary):
    def forward(self, a: Operand, b: Operand) -> Array:
        x, y = self.operands(a, b)
        dtype = compute_dtype(a, b) or x.dtype
        if dtype.kind == "i" and np.any(np.asarray(y) < 0):
            raise OperationError("pow: integers to negative integer powers are not integers")
        if self._saved is not None:
            self.save(kept(a, True), kept(b, True))
        with quiet():
            return np.power(x, y, out=self.out, dtype=dtype)

    def backward(self, grad: Array) -> tuple[Array | None, Array | None]:
        x, y = self.saved
        need_a, need_b = self.needs_input_grad
        with quiet():
            by_base = grad * np.where(y == 0, 0, y * np.power(x, y - 1.0)) if need_a else None
            # 0 to the power of 0 or more has slope 0 in the exponent.
            flat = (x == 0) & (y >= 0)
            by_exponent = (
                grad * np.where(flat, 0, np.power(x, y) * np.log(np.where(flat, 1, x)))
                if need_b
                else None
            )
        return (
            None if by_base is None else self.fit(0, by_base),
            None if by_exponent is None else self.fit(1, by_exponent),
        )


class Remainder(Binary):
    def forward(self, a: Operand, b: Operand) -> Array:
        x, y = self.operands(a, b)
        dtype = compute_dtype(a, b) or x.dtype
        _refuse_integer_zero("remainder", y, dtype)
        if self._saved is not None:
            self.save(kept(a, True), kept(b, True))
        with quiet():
            return np.remainder(x, y, dtype=dtype)

    def backward(self, grad: Array) -> tuple[Array | None, Array | None]:
        x, y = self.saved
        need_a, need_b = self.needs_input_grad
        with quiet():
            return (
                self.fit(0, grad) if need_a else None,
                self.fit(1, np.asarray(-grad * np.floor_divide(x, y))) if need_b else None,
            )


class FloorDivide(Binary):
    def forward(self, a: Operand, b: Operand) -> Array:
        x, y = self.operands(a, b)
        dtype = compute_dtype(a, b) or x.dtype
        _refuse_integer_zero("floor_divide", y, dtype)
        with quiet():
            return np.floor_divide(x, y, dtype=dtype)

    def backward(self, grad: Array) -> tuple[Array | None, Array | None]:
        need_a, need_b = self.needs_input_grad
        flat = np.zeros_like(grad)
        return self.fit(0, flat) if need_a else None, self.fit(1, flat) if need_b else None


class _Extremum(Binary):
    """maximum and minimum: a tie gives each operand half of the gradient; NaN wins."""

    ufunc: Any = np.maximum

    def forward(self, a: Operand, b: Operand) -> Array:
        x, y = self.operands(a, b)
        if self._saved is not None:
            self.save(kept(a, True), kept(b, True))
        return type(self).ufunc(x, y, out=self.out, dtype=compute_dtype(a, b))

    def backward(self, grad: Array) -> tuple[Array | None, Array | None]:
        x, y = self.saved
        tie = (x == y) * grad.dtype.type(0.5)
        wins_a = (x > y) if self.ufunc is np.maximum else (x < y)
        wins_b = (x < y) if self.ufunc is np.maximum else (x > y)
        need_a, need_b = self.needs_input_grad
        return (
            self.fit(0, np.asarray(grad * (wins_a + tie))) if need_a else None,
            self.fit(1, np.asarray(grad * (wins_b + tie))) if need_b else None,
        )


class Maximum(_Extremum):
    pass


class Minimum(_Extremum):
    ufunc = np.minimum


class Where(Binary):
    def forward(self, condition: Tensor, a: Operand, b: Operand) -> Array:
        mask, x, y = self.operands(condition, a, b)
        self.save(condition)
        dtype = compute_dtype(a, b) or x.dtype
        return np.where(mask, np.asarray(x, dtype), np.asarray(y, dtype))

    def backward(self, grad: Array) -> tuple[Array | None, ...]:
        (mask,) = self.saved
        _, need_a, need_b = self.needs_input_grad
        zero = grad.dtype.type(0)
        return (
            None,
            self.fit(1, np.where(mask, grad, zero)) if need_a else None,
            self.fit(2, np.where(mask, zero, grad)) if need_b else None,
        )


class Clamp(Primitive):
    def forward(self, a: Tensor, low: Scalar | None, high: Scalar | None) -> Array:
        x = a._array
        if self._saved is not None:
            inside = np.ones(x.shape, bool)
            if low is not None:
                inside &= x >= low
            if high is not None:
                inside &= x <= high
            self.save(inside)
        bounds = [bound for bound in (low, high) if bound is not None]
        dtype = max((result_dtype(a, bound) for bound in bounds), key=lambda each: each.kind == "f")
        if self.out is not None:
            check_place(self.out, x.shape, dtype, "clamp_")
        return np.clip(x, low, high, out=self.out, dtype=dtype)  # type: ignore[arg-type]  # out may be None

    def backward(self, grad: Array) -> tuple[Array, None, None]:
        return grad * self.saved[0], None, None


def _refuse_integer_zero(operation: str, y: Any, dtype: np.dtype[Any]) -> None:
    if dtype.kind in "ib" and not np.all(y):
        raise ZeroDivisionError(f"{operation}: integer division by zero")


def _scaled(other: Operand, alpha: Scalar) -> Operand:
    return other if alpha == 1 else mul(other, alpha)  # type: ignore[arg-type]  # mul takes numbers too


def add(input: Tensor, other: Operand, *, alpha: Scalar = 1) -> Tensor:
    """Return ``input + alpha * other``.

    Parameters
    ----------
    input : Tensor
    other : Tensor or number
        Broadcast with `input`.
    alpha : number
        Factor of `other`.

    Raises
    ------
    TypeError, ValueError
        When `other` is no tensor or number, or the shapes do not broadcast.
    """
    # The comparison stands here to spare the usual case a call.
    return Add.apply(input, other if alpha == 1 else _scaled(other, alpha))


def add_(input: Tensor, other: Operand, *, alpha: Scalar = 1) -> Tensor:
    """Add ``alpha * other`` to `input` in place and return it."""
    return Add.apply_(input, _scaled(other, alpha))


def sub(input: Tensor, other: Operand, *, alpha: Scalar = 1) -> Tensor:
    """Return ``input - alpha * other``; see :func:`add`."""
    return Sub.apply(input, _scaled(other, alpha))


def sub_(input: Tensor, other: Operand, *, alpha: Scalar = 1) -> Tensor:
    """Subtract ``alpha * other`` from `input` in place and return it."""
    return Sub.apply_(input, _scaled(other, alpha))


def rsub(input: Tensor, other: Operand) -> Tensor:
    """Return ``other - input``."""
    return Sub.apply(other, input)


def mul(input: Tensor, other: Operand) -> Tensor:
    """Return ``input * other``, with broadcasting."""
    return Mul.apply(input, other)


def mul_(input: Tensor, other: Operand) -> Tensor:
    """Multiply `input` by `other` in place and return it."""
    return Mul.apply_(input, other)


def div(input: Tensor, other: Operand, *, rounding_mode: str | None = None) -> Tensor:
    """Return ``input / other``; integers give float32.

    Parameters
    ----------
    input : Tensor
    other : Tensor or number
        Broadcast with `input`. Division by zero gives inf or nan.
    rounding_mode : {None, "floor", "trunc"}
        Round the quotient to an integer value.

    Raises
    ------
    ValueError
        For an unknown rounding mode.
    """
    if rounding_mode is None:
        return Div.apply(input, other)
    if rounding_mode == "floor":
        return floor_divide(input, other)
    if rounding_mode == "trunc":
        quotient = Div.apply(input, other)
        return quotient.sign() * quotient.abs().floor()
    raise OperationError(
        f"div: rounding_mode must be None, 'floor' or 'trunc', not {rounding_mode!r}"
    )


def div_(input: Tensor, other: Operand) -> Tensor:
    """Divide `input` by `other` in place and return it."""
    return Div.apply_(input, other)


def floor_divide(input: Tensor, other: Operand) -> Tensor:
    """Return the quotient rounded down; its slope is 0 everywhere."""
    return FloorDivide.apply(input, other)


def floor_divide_(input: Tensor, other: Operand) -> Tensor:
    """Divide `input` by `other` and round down, in place, and return it."""
    return FloorDivide.apply_(input, other)


def remainder(input: Tensor, other: Operand) -> Tensor:
    """Return Python's ``input % other``: the result has the sign of `other`."""
    return Remainder.apply(input, other)


def remainder_(input: Tensor, other: Operand) -> Tensor:
    """Replace `input` by the remainder of its division by `other` and return it."""
    return Remainder.apply_(input, other)


def pow(input: Operand, exponent: Operand) -> Tensor:
    """Return `input` to the power of `exponent`, with broadcasting.

    Raises
    ------
    ValueError
        For integers and a negative integer exponent.
    """
    return Pow.apply(input, exponent)


def pow_(input: Tensor, exponent: Operand) -> Tensor:
    """Raise `input` to the power of `exponent` in place and return it."""
    return Pow.apply_(input, exponent)


def maximum(input: Tensor, other: Tensor) -> Tensor:
    """Return the larger of both element by element; NaN wins, ties share the gradient."""
    return Maximum.apply(input, other)


def minimum(input: Tensor, other: Tensor) -> Tensor:
    """Return the smaller of both element by element; NaN wins, ties share the gradient."""
    return Minimum.apply(input, other)


def where(condition: Tensor, input: Operand, other: Operand) -> Tensor:
    """Return `input` where `condition` is true and `other` elsewhere, with broadcasting.

    Raises
    ------
    TypeError
        When `condition` is no bool tensor.
    """
    if not isinstance(condition, TensorBase) or condition._array.dtype != np.bool_:
        refuse(condition, "where", "condition", "a bool Tensor")
    return Where.apply(condition, input, other)


def clamp(input: Tensor, min: Scalar | None = None, max: Scalar | None = None) -> Tensor:
    """Return `input` limited to [`min`, `max`]; the gradient is 0 outside.

    Raises
    ------
    ValueError
        When neither bound is given.
    """
    _check_bounds(min, max)
    return Clamp.apply(input, min, max)


def clamp_(input: Tensor, min: Scalar | None = None, max: Scalar | None = None) -> Tensor:
    """Limit `input` to [`min`, `max`] in place and return it."""
    _check_bounds(min, max)
    return Clamp.apply_(input, min, max)


def _check_bounds(low: Scalar | None, high: Scalar | None) -> None:
    if low is None and high is None:
        raise OperationError("clamp: at least one of min and max must be given")
    for name, bound in (("min", low), ("max", high)):
        if bound is not None and not isinstance(bound, NUMBERS):
            refuse(bound, "clamp", name, "a number or None")


clip = clamp
multiply = mul
subtract = sub
divide = div
true_divide = div
