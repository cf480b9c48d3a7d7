"""Smooth activations: gelu, silu, elu, softplus and kin."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from rushlight.dtypes import Array
from rushlight.ops import special
from rushlight.ops.checks import number
from rushlight.ops.pointwise import Pointwise, applied

if TYPE_CHECKING:
    from rushlight.tensor import Tensor

__all__ = ["elu", "elu_", "gelu", "logsigmoid", "silu", "softplus", "softsign"]

_SQRT_2_OVER_PI = math.sqrt(2 / math.pi)
_CUBIC = 0.044715


class Elu(Pointwise):
    @staticmethod
    def value(x: Array, alpha: float) -> Array:
        return special.select(x > 0, x, alpha * np.expm1(x))

    @staticmethod
    def gradient(grad: Array, at: Array, alpha: float) -> Array:
        return special.select(at <= 0, grad * (alpha * np.exp(at)), grad)


class Gelu(Pointwise):
    @staticmethod
    def value(x: Array) -> Array:
        return x * special.normal_cdf(x)

    @staticmethod
    def gradient(grad: Array, at: Array) -> Array:
        return grad * (special.normal_cdf(at) + at * special.normal_pdf(at))


class TanhGelu(Pointwise):
    @classmethod
    def name(cls) -> str:
        return "GeluBackward0"

    @staticmethod
    def value(x: Array) -> Array:
        return 0.5 * x * (1 + np.tanh(_SQRT_2_OVER_PI * (x + _CUBIC * (x * x * x))))

    @staticmethod
    def gradient(grad: Array, at: Array) -> Array:
        square = at * at
        bend = np.tanh(_SQRT_2_OVER_PI * at * (1 + _CUBIC * square))
        slope = _SQRT_2_OVER_PI * (1 + 3 * _CUBIC * square)
        return grad * (0.5 * (1 + bend) + 0.5 * at * (1 - bend * bend) * slope)


class Silu(Pointwise):
    @staticmethod
    def value(x: Array) -> Array:
        return x * special.logistic(x)

    @staticmethod
    def gradient(grad: Array, at: Array) -> Array:
        share = special.logistic(at)
        return grad * share * (1 + at * (1 - share))


class Softplus(Pointwise):
    @staticmethod
    def value(x: Array, beta: float, threshold: float) -> Array:
        scaled = x * beta
        return np.where(scaled > threshold, x, special.softplus(scaled) / beta)

    @staticmethod
    def gradient(grad: Array, at: Array, beta: float, threshold: float) -> Array:
        scaled = at * beta
        return np.where(scaled > threshold, grad, grad * special.logistic(scaled))


class LogSigmoid(Pointwise):
    @staticmethod
    def value(x: Array) -> Array:
        return -special.softplus(-x)

    @staticmethod
    def gradient(grad: Array, at: Array) -> Array:
        return grad * special.logistic(-at)


class Softsign(Pointwise):
    @staticmethod
    def value(x: Array) -> Array:
        return x / (1 + np.abs(x))

    @staticmethod
    def gradient(grad: Array, at: Array) -> Array:
        return grad / np.square(1 + np.abs(at))


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """Return `input` above 0 and ``alpha * (exp(input) - 1)`` below.

    Parameters
    ----------
    input : Tensor
        float32 or float64.
    alpha : float
        What the result tends to far below 0, with its sign changed.
    inplace : bool
        Change `input` itself.

    Raises
    ------
    TypeError
        For anything else than a floating tensor.

    References
    ----------
    Clevert et al., "Fast and Accurate Deep Network Learning by Exponential Linear Units", 2015.
    """
    return applied(Elu, "elu", input, inplace, number(alpha, "elu", "alpha"))


def elu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """Replace `input` by its :func:`elu` and return it."""
    return elu(input, alpha, inplace=True)


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """Return `input` times the probability that a standard normal variable is below it.

    Parameters
    ----------
    input : Tensor
        float32 or float64.
    approximate : {"none", "tanh"}
        The exact function, accurate in both tails, or its approximation by a hyperbolic tangent.

    Raises
    ------
    TypeError, ValueError
        For anything else than a floating tensor, or an unknown approximation.

    References
    ----------
    Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016.
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f"gelu: approximate must be 'none' or 'tanh', but got {approximate!r}")
    return applied(Gelu if approximate == "none" else TanhGelu, "gelu", input, False)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """Return ``input * sigmoid(input)``, also called swish.

    Parameters
    ----------
    input : Tensor
        float32 or float64.
    inplace : bool
        Change `input` itself.

    Raises
    ------
    TypeError
        For anything else than a floating tensor.

    References
    ----------
    Elfwing et al., "Sigmoid-Weighted Linear Units for Neural Network Function Approximation in
    Reinforcement Learning", 2017.
    """
    return applied(Silu, "silu", input, inplace)


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """Return ``log(1 + exp(beta * input)) / beta``, a smooth relu.

    Parameters
    ----------
    input : Tensor
        float32 or float64.
    beta : float
        Sharpness of the bend, not 0.
    threshold : float
        Above ``beta * input`` of this, the result is `input` itself.

    Raises
    ------
    TypeError, ValueError
        For anything else than a floating tensor; for a `beta` of 0.
    """
    sharpness = number(beta, "softplus", "beta")
    if sharpness == 0:
        raise ValueError("softplus: beta must not be 0")
    limit = number(threshold, "softplus", "threshold")
    return applied(Softplus, "softplus", input, False, sharpness, limit)


def logsigmoid(input: Tensor) -> Tensor:
    """Return the logarithm of the sigmoid, without overflow; float32 or float64."""
    return applied(LogSigmoid, "logsigmoid", input, False)


def softsign(input: Tensor) -> Tensor:
    """Return ``input / (1 + abs(input))``; float32 or float64."""
    return applied(Softsign, "softsign", input, False)
