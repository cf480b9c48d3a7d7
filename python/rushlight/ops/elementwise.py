"""Arithmetic element by element, with broadcasting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight.autograd.base import TensorBase
from rushlight.autograd.broadcast import sum_to
from rushlight.autograd.inplace import check_place
from rushlight.autograd.primitive import Primitive
from rushlight.dtypes import Array
from rushlight.ops._common import NUMBERS, Operand, Scalar, quiet, refuse, result_dtype

if TYPE_CHECKING:
    from rushlight.tensor import Tensor

__all__ = [
    "add", "add_", "clamp", "clamp_", "clip", "div", "div_", "divide", "floor_divide",
    "floor_divide_", "maximum", "minimum", "mul", "mul_", "multiply", "pow", "pow_",
    "remainder", "remainder_", "rsub", "sub", "sub_", "subtract", "true_divide", "where",
]  # fmt: skip


class Binary(Primitive):
    """An operation on two operands, each a tensor or a number, that broadcast."""

    _like: tuple[tuple[tuple[int, ...], np.dtype[Any]] | None, ...] = ()
    # What integers are divided as.
    _integers_as: np.dtype[Any] | None = None

    def operands(self, *values: Any) -> tuple[Any, ...]:
        """Return the arrays or numbers of the operands, noting where gradients must fit."""
        found = [
            value._array if isinstance(value, TensorBase) else self._number(value)
            for value in values
        ]
        if self._saved is not None:
            self._like = tuple(
                [(x.shape, x.dtype) if isinstance(x, np.ndarray) else None for x in found]
            )
        first, last = found[0], found[-1]
        # Two tensors of one shape, the usual case, are spared the search for a common one.
        if not (
            len(found) == 2
            and type(first) is type(last) is np.ndarray
            and first.shape == last.shape
        ):
            self._check_broadcast(found)
        if self.out is not None:
            self._check_place(values, found, self.out)
        return tuple(found)

    def _number(self, value: Any) -> Any:
        if not isinstance(value, NUMBERS):
            refuse(value, type(self).__name__.lower(), "other", "a Tensor or a number")
        return value

    def _check_place(self, values: tuple[Any, ...], found: list[Any], out: Array) -> None:
        """Raise where the result of an operation in place does not fit its target."""
        shapes = [x.shape for x in found if isinstance(x, np.ndarray)]
        shape = (
            out.shape if shapes.count(out.shape) == len(shapes) else np.broadcast_shapes(*shapes)
        )
        dtype = out.dtype
        if dtype.kind != "f":  # which takes every result
            dtype = result_dtype(*values)
            if dtype.kind != "f" and self._integers_as is not None:
                dtype = self._integers_as
        check_place(out, shape, dtype, f"{type(self).__name__.lower()}_")

    def _check_broadcast(self, found: list[Any]) -> None:
        shapes = [x.shape for x in found if isinstance(x, np.ndarray)]
        if len(shapes) < 2 or shapes[0] == shapes[-1] == shapes[1]:
            return
        try:
            np.broadcast_shapes(*shapes)
        except ValueError:
            text = " and ".join(str(list(shape)) for shape in shapes)
            raise ValueError(
                f"{type(self).__name__.lower()}: shapes {text} do not broadcast: sizes must be "
                "equal, or one of them 1, counted from the last dimension"
            ) from None

    def fit(self, index: int, grad: Array) -> Array:
        """Return a gradient summed and cast to what operand `index` was."""
        like = self._like[index]
        assert like is not None
        return sum_to(grad, *like)


def _dtype(a: Any, b: Any) -> np.dtype[Any] | None:
    """Return the type to compute in, or None where NumPy's own choice is the right one."""
    if isinstance(a, TensorBase) and isinstance(b, TensorBase) and a._array.dtype == b._array.dtype:
        return None
    return result_dtype(a, b)


class Add(Binary):
    def forward(self, a: Operand, b: Operand) -> Array:
        x, y = self.operands(a, b)
        with quiet():
            return np.add(x, y, out=self.out, dtype=_dtype(a, b))

    def backward(self, grad: Array) -> tuple[Array | None, Array | None]:
        need_a, need_b = self.needs_input_grad
        return self.fit(0, grad) if need_a else None, self.fit(1, grad) if need_b else None


class Sub(Binary):
    def forward(self, a: Operand, b: Operand) -> Array:
        x, y = self.operands(a, b)
        dtype = _dtype(a, b)
        if (dtype or x.dtype).kind == "b":
            raise TypeError("sub: masks cannot be subtracted, use the ^ or ~ operator")
        with quiet():
            return np.subtract(x, y, out=self.out, dtype=dtype)

    def backward(self, grad: Array) -> tuple[Array | None, Array | None]:
        need_a, need_b = self.needs_input_grad
        return (
            self.fit(0, grad) if need_a else None,
            np.negative(self.fit(1, grad)) if need_b else None,
        )


class Mul(Binary):
    def forward(self, a: Operand, b: Operand) -> Array:
        x, y = self.operands(a, b)
        if self._saved is not None:
            need_a, need_b = self.needs_input_grad
            self.save(_kept(a, need_b), _kept(b, need_a))
        with quiet():
            return np.multiply(x, y, out=self.out, dtype=_dtype(a, b))

    def backward(self, grad: Array) -> tuple[Array | None, Array | None]:
        x, y = self.saved
        need_a, need_b = self.needs_input_grad
        return (
            self.fit(0, np.asarray(grad * y)) if need_a else None,
            self.fit(1, np.asarray(grad * x)) if need_b else None,
        )


class Div(Binary):
    _integers_as = np.dtype(np.float32)

    def forward(self, a: Operand, b: Operand) -> Array:
        x, y = self.operands(a, b)
        if self._saved is not None:
            _, need_b = self.needs_input_grad
            self.save(_kept(a, need_b), _kept(b, True))
        dtype = _dtype(a, b) or x.dtype
        with quiet():
            return np.true_divide(x, y, out=self.out, dtype=dtype if dtype.kind == "f" else "f4")

    def backward(self, grad: Array) -> tuple[Array | None, Array | None]:
        x, y = self.saved
        need_a, need_b = self.needs_input_grad
        with quiet():
            return (
                self.fit(0, np.asarray(grad / y)) if need_a else None,
                self.fit(1, np.asarray(-grad * x / (y * y))) if need_b else None,
            )


class Pow(Binary):
    def forward(self, a: Operand, b: Operand) -> Array:
        x, y = self.operands(a, b)
        dtype = _dtype(a, b) or x.dtype
        if dtype.kind == "i" and np.any(np.asarray(y) < 0):
            raise ValueError("pow: integers to negative integer powers are not integers")
        if self._saved is not None:
            self.save(_kept(a, True), _kept(b, True))
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
        dtype = _dtype(a, b) or x.dtype
        _refuse_integer_zero("remainder", y, dtype)
        if self._saved is not None:
            self.save(_kept(a, True), _kept(b, True))
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
        dtype = _dtype(a, b) or x.dtype
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
            self.save(_kept(a, True), _kept(b, True))
        return type(self).ufunc(x, y, out=self.out, dtype=_dtype(a, b))

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
        dtype = _dtype(a, b) or x.dtype
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


def _kept(value: Operand, needed: bool) -> Any:
    """Return an operand in the form that ``save`` keeps, or None where backward does not ask."""
    if not needed:
        return None
    return value if isinstance(value, TensorBase) else np.asarray(value)


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
    return Add.apply(input, _scaled(other, alpha))


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
    raise ValueError(f"div: rounding_mode must be None, 'floor' or 'trunc', not {rounding_mode!r}")


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
        raise ValueError("clamp: at least one of min and max must be given")
    for name, bound in (("min", low), ("max", high)):
        if bound is not None and not isinstance(bound, NUMBERS):
            refuse(bound, "clamp", name, "a number or None")


clip = clamp
multiply = mul
subtract = sub
divide = div
true_divide = div
