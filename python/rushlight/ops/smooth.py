"""Smooth activations: gelu, silu, elu, softplus and kin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rushlight import _core
from rushlight.dtypes import Array
from rushlight.errors import OperationError
from rushlight.ops import special
from rushlight.ops.checks import number
from rushlight.ops.pointwise import Native, Pointwise, applied

if TYPE_CHECKING:
    from rushlight.tensor import Tensor

__all__ = ["elu", "elu_", "gelu", "logsigmoid", "silu", "softplus", "softsign"]


class Elu(Native):
    takes_blocks = True
    kernel, gradient_kernel = _core.elu, _core.elu_backward


class Gelu(Native):
    takes_blocks = True
    kernel, gradient_kernel = _core.gelu, _core.gelu_backward


class TanhGelu(Native):
    takes_blocks = True
    kernel, gradient_kernel = _core.gelu_tanh, _core.gelu_tanh_backward

    @classmethod
    def name(cls) -> str:
        return "GeluBackward0"


class Silu(Native):
    takes_blocks = True
    kernel, gradient_kernel = _core.silu, _core.silu_backward


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
        raise OperationError(f"gelu: approximate must be 'none' or 'tanh', but got {approximate!r}")
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
        raise OperationError("softplus: beta must not be 0")
    limit = number(threshold, "softplus", "threshold")
    return applied(Softplus, "softplus", input, False, sharpness, limit)


def logsigmoid(input: Tensor) -> Tensor:
    """Return the logarithm of the sigmoid, without overflow; float32 or float64."""
    return applied(LogSigmoid, "logsigmoid", input, False)


def softsign(input: Tensor) -> Tensor:
    """Return ``input / (1 + abs(input))``; float32 or float64."""
    return applied(Softsign, "softsign", input, False)
