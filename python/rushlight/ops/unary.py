"""Functions of one tensor, element by element."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight import _core
from rushlight.autograd.primitive import Primitive
from rushlight.dtypes import Array
from rushlight.ops._common import array_of, floating, quiet

if TYPE_CHECKING:
    from rushlight.tensor import Tensor

__all__ = [
    "abs", "abs_", "ceil", "cos", "exp", "exp_", "floor", "log", "log1p", "log2", "neg", "neg_",
    "reciprocal", "round", "rsqrt", "sigmoid", "sigmoid_", "sign", "sin", "sqrt", "sqrt_",
    "square", "tanh", "tanh_",
]  # fmt: skip


class Floating(Primitive):
    """A function whose result is floating: integers and masks are taken as float32."""

    def source(self, a: Tensor) -> Array:
        x = array_of(a, type(self).__name__.lower())
        if self.out is not None and x.dtype.kind != "f":
            raise TypeError(
                f"{type(self).__name__.lower()}_: a floating result cannot be stored in a tensor "
                f"of {x.dtype}"
            )
        return floating(x)


class _Native(Floating):
    """A function on a kernel, whose gradient is taken at the result."""

    saves_output = True
    warns = False
    kernel: Callable[..., Any]
    gradient_kernel: Callable[..., Any]

    def forward(self, a: Tensor) -> Array:
        return self.kernel(self.source(a), self.out)

    def backward(self, grad: Array) -> Array:
        return self.gradient_kernel(self.saved[0], grad)


class Exp(_Native):
    kernel, gradient_kernel = _core.exp, _core.exp_backward


class Sigmoid(_Native):
    kernel, gradient_kernel = _core.sigmoid, _core.sigmoid_backward


class Tanh(_Native):
    kernel, gradient_kernel = _core.tanh, _core.tanh_backward


class Log(Floating):
    def forward(self, a: Tensor) -> Array:
        self.save(a)
        with quiet():
            return np.log(self.source(a), out=self.out)

    def backward(self, grad: Array) -> Array:
        with quiet():
            return grad / self.saved[0]


class Log2(Floating):
    def forward(self, a: Tensor) -> Array:
        self.save(a)
        with quiet():
            return np.log2(self.source(a), out=self.out)

    def backward(self, grad: Array) -> Array:
        with quiet():
            return grad / (self.saved[0] * np.log(2.0).astype(grad.dtype))


class Log1p(Floating):
    def forward(self, a: Tensor) -> Array:
        self.save(a)
        with quiet():
            return np.log1p(self.source(a), out=self.out)

    def backward(self, grad: Array) -> Array:
        with quiet():
            return grad / (self.saved[0] + 1)


class Sqrt(Floating):
    saves_output = True

    def forward(self, a: Tensor) -> Array:
        with quiet():
            return np.sqrt(self.source(a), out=self.out)

    def backward(self, grad: Array) -> Array:
        with quiet():
            return grad / (2 * self.saved[0])


class Rsqrt(Floating):
    saves_output = True

    def forward(self, a: Tensor) -> Array:
        with quiet():
            return 1 / np.sqrt(self.source(a))

    def backward(self, grad: Array) -> Array:
        (y,) = self.saved
        with quiet():
            return grad * y * y * y * grad.dtype.type(-0.5)


class Reciprocal(Floating):
    saves_output = True

    def forward(self, a: Tensor) -> Array:
        with quiet():
            return 1 / self.source(a)

    def backward(self, grad: Array) -> Array:
        (y,) = self.saved
        with quiet():
            return -grad * y * y


class Sin(Floating):
    def forward(self, a: Tensor) -> Array:
        self.save(a)
        with quiet():
            return np.sin(self.source(a), out=self.out)

    def backward(self, grad: Array) -> Array:
        with quiet():
            return grad * np.cos(self.saved[0])


class Cos(Floating):
    def forward(self, a: Tensor) -> Array:
        self.save(a)
        with quiet():
            return np.cos(self.source(a), out=self.out)

    def backward(self, grad: Array) -> Array:
        with quiet():
            return -grad * np.sin(self.saved[0])


class Neg(Primitive):
    def forward(self, a: Tensor) -> Array:
        x = array_of(a, "neg")
        if x.dtype.kind == "b":
            raise TypeError("neg: a mask has no negative, use the ~ operator")
        return np.negative(x, out=self.out)

    def backward(self, grad: Array) -> Array:
        return np.negative(grad)


class Abs(Primitive):
    def forward(self, a: Tensor) -> Array:
        self.save(a)
        return np.abs(array_of(a, "abs"), out=self.out)

    def backward(self, grad: Array) -> Array:
        return grad * np.sign(self.saved[0])


class Square(Primitive):
    def forward(self, a: Tensor) -> Array:
        self.save(a)
        with quiet():
            return np.square(array_of(a, "square"), out=self.out)

    def backward(self, grad: Array) -> Array:
        return grad * (2 * self.saved[0])


class _Step(Primitive):
    """A function with slope 0 wherever it has one."""

    ufunc: np.ufunc

    def forward(self, a: Tensor, *args: Any) -> Array:
        x = array_of(a, type(self).__name__.lower())
        return x.copy() if x.dtype.kind == "i" else np.asarray(type(self).ufunc(x))

    def backward(self, grad: Array) -> Array:
        return np.zeros_like(grad)


class Floor(_Step):
    ufunc = np.floor


class Ceil(_Step):
    ufunc = np.ceil


class Sign(_Step):
    ufunc = np.sign

    def forward(self, a: Tensor, *args: Any) -> Array:
        x = array_of(a, "sign")
        return x.copy() if x.dtype.kind == "b" else np.asarray(np.sign(x))


class Round(_Step):
    def forward(self, a: Tensor, *args: Any) -> Array:
        return np.asarray(np.round(array_of(a, "round"), args[0]))

    def backward(self, grad: Array) -> Any:
        return np.zeros_like(grad), None


def exp(input: Tensor) -> Tensor:
    """Return e to the power of each element."""
    return Exp.apply(input)


def exp_(input: Tensor) -> Tensor:
    """Replace each element by e to its power and return `input`."""
    return Exp.apply_(input)


def log(input: Tensor) -> Tensor:
    """Return the natural logarithm; nan below 0, -inf at 0."""
    return Log.apply(input)


def log2(input: Tensor) -> Tensor:
    """Return the logarithm to base 2; nan below 0, -inf at 0."""
    return Log2.apply(input)


def log1p(input: Tensor) -> Tensor:
    """Return ``log(1 + input)``, accurate for small elements."""
    return Log1p.apply(input)


def sqrt(input: Tensor) -> Tensor:
    """Return the square root; nan below 0."""
    return Sqrt.apply(input)


def sqrt_(input: Tensor) -> Tensor:
    """Replace each element by its square root and return `input`."""
    return Sqrt.apply_(input)


def rsqrt(input: Tensor) -> Tensor:
    """Return ``1 / sqrt(input)``."""
    return Rsqrt.apply(input)


def reciprocal(input: Tensor) -> Tensor:
    """Return ``1 / input``."""
    return Reciprocal.apply(input)


def sin(input: Tensor) -> Tensor:
    """Return the sine of each element, in radians."""
    return Sin.apply(input)


def cos(input: Tensor) -> Tensor:
    """Return the cosine of each element, in radians."""
    return Cos.apply(input)


def tanh(input: Tensor) -> Tensor:
    """Return the hyperbolic tangent of each element."""
    return Tanh.apply(input)


def tanh_(input: Tensor) -> Tensor:
    """Replace each element by its hyperbolic tangent and return `input`."""
    return Tanh.apply_(input)


def sigmoid(input: Tensor) -> Tensor:
    """Return ``1 / (1 + exp(-input))``."""
    return Sigmoid.apply(input)


def sigmoid_(input: Tensor) -> Tensor:
    """Replace each element by its sigmoid and return `input`."""
    return Sigmoid.apply_(input)


def neg(input: Tensor) -> Tensor:
    """Return ``-input``."""
    return Neg.apply(input)


def neg_(input: Tensor) -> Tensor:
    """Negate `input` in place and return it."""
    return Neg.apply_(input)


def abs(input: Tensor) -> Tensor:
    """Return the absolute value of each element."""
    return Abs.apply(input)


def abs_(input: Tensor) -> Tensor:
    """Replace each element by its absolute value and return `input`."""
    return Abs.apply_(input)


def square(input: Tensor) -> Tensor:
    """Return the square of each element."""
    return Square.apply(input)


def sign(input: Tensor) -> Tensor:
    """Return -1, 0 or 1 by the sign of each element."""
    return Sign.apply(input)


def floor(input: Tensor) -> Tensor:
    """Return the largest integer value not above each element."""
    return Floor.apply(input)


def ceil(input: Tensor) -> Tensor:
    """Return the smallest integer value not below each element."""
    return Ceil.apply(input)


def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """Return each element rounded to `decimals` places, halves to even."""
    return Round.apply(input, decimals)
