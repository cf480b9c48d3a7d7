"""Trigonometric functions, their inverses, and kin that NumPy has, with their derivatives."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from rushlight.autograd.primitive import Primitive
from rushlight.autograd.sums import sum_to
from rushlight.dtypes import Array
from rushlight.errors import OperationError
from rushlight.ops._common import array_of, floating, quiet
from rushlight.ops.unary import Floating

if TYPE_CHECKING:
    from rushlight.tensor import Tensor

__all__ = [
    "acos", "asin", "atan", "atan2", "cosh", "expm1", "log10", "sinh", "tan",
]  # fmt: skip

_LN10 = float(np.log(10.0))


class _Function(Floating):
    """A NumPy function and its derivative."""

    function: ClassVar[np.ufunc]

    @staticmethod
    def derivative(x: Array) -> Array:
        raise NotImplementedError

    def forward(self, a: Tensor) -> Array:
        self.save(a)
        with quiet():
            return type(self).function(self.source(a))

    def backward(self, grad: Array) -> Array:
        with quiet():
            return grad * type(self).derivative(self.saved[0])


class Tan(_Function):
    function = np.tan

    @staticmethod
    def derivative(x: Array) -> Array:
        return 1 / np.square(np.cos(x))


class Asin(_Function):
    function = np.arcsin

    @staticmethod
    def derivative(x: Array) -> Array:
        return 1 / np.sqrt(1 - x * x)


class Acos(_Function):
    function = np.arccos

    @staticmethod
    def derivative(x: Array) -> Array:
        return -1 / np.sqrt(1 - x * x)


class Atan(_Function):
    function = np.arctan

    @staticmethod
    def derivative(x: Array) -> Array:
        return 1 / (1 + x * x)


class Sinh(_Function):
    function = np.sinh

    @staticmethod
    def derivative(x: Array) -> Array:
        return np.cosh(x)


class Cosh(_Function):
    function = np.cosh

    @staticmethod
    def derivative(x: Array) -> Array:
        return np.sinh(x)


class Expm1(_Function):
    function = np.expm1

    @staticmethod
    def derivative(x: Array) -> Array:
        return np.exp(x)


class Log10(_Function):
    function = np.log10

    @staticmethod
    def derivative(x: Array) -> Array:
        return 1 / (x * x.dtype.type(_LN10))


class Atan2(Primitive):
    def forward(self, a: Tensor, b: Tensor) -> Array:
        self.save(a, b)
        return np.arctan2(floating(a._array), floating(b._array))

    def backward(self, grad: Array) -> tuple[Array, Array]:
        y, x = self.saved
        with quiet():
            scaled = grad / (x * x + y * y)
            to_y, to_x = scaled * x, scaled * -y
        return sum_to(to_y, y.shape, y.dtype), sum_to(to_x, x.shape, x.dtype)


def tan(input: Tensor) -> Tensor:
    """Return the tangent of each element, in radians."""
    return Tan.apply(input)


def asin(input: Tensor) -> Tensor:
    """Return the inverse sine of each element, in radians; NaN outside [-1, 1]."""
    return Asin.apply(input)


def acos(input: Tensor) -> Tensor:
    """Return the inverse cosine of each element, in radians; NaN outside [-1, 1]."""
    return Acos.apply(input)


def atan(input: Tensor) -> Tensor:
    """Return the inverse tangent of each element, in radians."""
    return Atan.apply(input)


def atan2(input: Tensor, other: Tensor) -> Tensor:
    """Return the angle of the points with ordinates `input` and abscissas `other`, in radians.

    Raises
    ------
    TypeError, ValueError
        For what are no tensors, or shapes that do not broadcast.
    """
    y, x = array_of(input, "atan2"), array_of(other, "atan2", "other")
    try:
        np.broadcast_shapes(y.shape, x.shape)
    except ValueError:
        raise OperationError(
            f"atan2: shapes {list(y.shape)} and {list(x.shape)} do not broadcast"
        ) from None
    return Atan2.apply(input, other)


def sinh(input: Tensor) -> Tensor:
    """Return the hyperbolic sine of each element."""
    return Sinh.apply(input)


def cosh(input: Tensor) -> Tensor:
    """Return the hyperbolic cosine of each element."""
    return Cosh.apply(input)


def expm1(input: Tensor) -> Tensor:
    """Return ``exp(input) - 1``, accurate near 0."""
    return Expm1.apply(input)


def log10(input: Tensor) -> Tensor:
    """Return the decimal logarithm of each element."""
    return Log10.apply(input)
