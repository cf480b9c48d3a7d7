"""Losses on probabilities and their logarithms."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight.autograd.primitive import Primitive
from rushlight.autograd.sums import sum_to
from rushlight.dtypes import Array
from rushlight.errors import OperationError
from rushlight.ops import special
from rushlight.ops._common import quiet
from rushlight.ops.checks import floating_of, same_type
from rushlight.ops.elementwise import div, mul
from rushlight.ops.loss import check_reduction, reduced
from rushlight.ops.reduction import sum

if TYPE_CHECKING:
    from rushlight.tensor import Tensor

__all__ = ["binary_cross_entropy", "binary_cross_entropy_with_logits", "kl_div"]


class BinaryCrossEntropy(Primitive):
    """Logarithms end at -100, as in PyTorch, so that no loss is infinite."""

    def forward(self, input: Tensor, target: Tensor) -> Array:
        self.save(input, target)
        x, t = np.atleast_1d(input._array), np.atleast_1d(target._array)
        with quiet():
            below, above = np.maximum(np.log(x), -100), np.maximum(np.log1p(-x), -100)
            return ((t - 1) * above - t * below).reshape(input._array.shape)

    def backward(self, grad: Array) -> tuple[Array | None, Array | None]:
        shape, (x, t, g) = grad.shape, map(np.atleast_1d, (*self.saved, grad))
        need_input, need_target = self.needs_input_grad
        diff_input = diff_target = None
        with quiet():
            if need_input:
                diff_input = (g * (x - t) / np.maximum((1 - x) * x, 1e-12)).reshape(shape)
            if need_target:
                logit = np.maximum(np.log1p(-x), -100) - np.maximum(np.log(x), -100)
                diff_target = (g * logit).reshape(shape)
        return diff_input, diff_target


class BinaryCrossEntropyWithLogits(Primitive):
    def forward(self, input: Tensor, target: Tensor, pos_weight: Tensor | None) -> Array:
        self.save(input, target, pos_weight)
        x, t, factor = self._raised(input._array, target._array, pos_weight)
        with quiet():
            return np.asarray((1 - t) * x + factor * special.softplus(-x)).reshape(
                input._array.shape
            )

    @staticmethod
    def _raised(x: Array, t: Array, pos_weight: Any) -> tuple[Array, Array, Any]:
        """Return at least 1-d arrays, and the factor of the logarithms."""
        x, t = np.atleast_1d(x), np.atleast_1d(t)
        weights = getattr(pos_weight, "_array", pos_weight)
        return x, t, 1 if weights is None else 1 + (weights - 1) * t

    def backward(self, grad: Array) -> tuple[Array | None, ...]:
        raw, target, weights = self.saved
        shape, g = grad.shape, np.atleast_1d(grad)
        x, t, factor = self._raised(raw, target, weights)
        need_input, need_target, need_weight = self.needs_input_grad
        found: list[Array | None] = [None, None, None]
        with quiet():
            if need_input:
                found[0] = (g * ((1 - t) - factor * special.logistic(-x))).reshape(shape)
            if need_target:
                slope = -x if weights is None else (weights - 1) * special.softplus(-x) - x
                found[1] = (g * slope).reshape(shape)
            if need_weight:
                each = g * t * special.softplus(-x)
                found[2] = sum_to(each.reshape(shape), weights.shape, weights.dtype)
        return tuple(found)


class KlDiv(Primitive):
    def forward(self, input: Tensor, target: Tensor, log_target: bool) -> Array:
        self.save(input, target)
        self._log_target = log_target
        x, t = input._array, target._array
        with quiet():
            if log_target:
                return np.asarray(np.exp(t) * (t - x))
            return np.asarray(_times_log(t) - t * x)

    def backward(self, grad: Array) -> tuple[Array | None, Array | None, None]:
        x, t = self.saved
        need_input, need_target, _ = self.needs_input_grad
        diff_input = diff_target = None
        with quiet():
            share = np.exp(t) if self._log_target else t
            if need_input:
                diff_input = sum_to(np.asarray(-grad * share), x.shape, x.dtype)
            if need_target:
                slope = share * (t - x + 1) if self._log_target else np.log(t) + 1 - x
                diff_target = sum_to(np.asarray(grad * slope), t.shape, t.dtype)
        return diff_input, diff_target, None


def _times_log(t: Array) -> Array:
    """Return ``t * log(t)``, 0 at 0."""
    return t * np.log(np.where(t == 0, t.dtype.type(1), t))


def _check_same_shape(operation: str, input: Array, target: Array) -> None:
    if input.shape != target.shape:
        raise OperationError(
            f"{operation}: target must have the shape {list(input.shape)} of input, but has "
            f"{list(target.shape)}"
        )


def _check_broadcast(operation: str, name: str, value: Tensor | None, shape: Any) -> None:
    """Raise unless a tensor broadcasts to a shape."""
    if value is None:
        return
    given = floating_of(value, operation, name).shape
    try:
        fits = np.broadcast_shapes(given, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise OperationError(
            f"{operation}: {name} must broadcast to the shape {list(shape)} of input, but has "
            f"{list(given)}"
        )


def _weighted(each: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    return reduced(each if weight is None else mul(each, weight), reduction)


def binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, reduction: str = "mean"
) -> Tensor:
    """Return the cross entropy of yes-or-no probabilities (PyTorch's ``binary_cross_entropy``).

    Parameters
    ----------
    input : Tensor
        Probabilities, in [0, 1]; float32 or float64.
    target : Tensor
        Wanted probabilities, of the shape and type of `input`.
    weight : Tensor, optional
        Factor of each element, broadcast to `input`. The mean is over elements.
    reduction : {"mean", "sum", "none"}

    Returns
    -------
    Tensor
        Logarithms count -100 at least.

    Raises
    ------
    TypeError, ValueError
        For other types, shapes that do not fit, an unknown reduction, or values out of [0, 1].
    """
    name = "binary_cross_entropy"
    check_reduction(name, reduction)
    same_type(name, input=input, target=target)
    _check_same_shape(name, input._array, target._array)
    _check_broadcast(name, "weight", weight, input._array.shape)
    for key, each in (("input", input._array), ("target", target._array)):
        if not np.all((each >= 0) & (each <= 1)):
            bad = each[~((each >= 0) & (each <= 1))].reshape(-1)[0]
            raise OperationError(f"{name}: {key} must hold numbers in [0, 1], but holds {bad}")
    return _weighted(BinaryCrossEntropy.apply(input, target), weight, reduction)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Return the binary cross entropy of ``sigmoid(input)``, without overflow.

    Parameters
    ----------
    input : Tensor
        Logits; float32 or float64.
    target : Tensor
        Wanted probabilities, of the shape and type of `input`.
    weight : Tensor, optional
        Factor of each element, broadcast to `input`. The mean is over elements.
    reduction : {"mean", "sum", "none"}
    pos_weight : Tensor, optional
        Factor of the part of each element that `target` is 1 for, broadcast to `input`.

    Raises
    ------
    TypeError, ValueError
        For other types, shapes that do not fit, or an unknown reduction.
    """
    name = "binary_cross_entropy_with_logits"
    check_reduction(name, reduction)
    same_type(name, input=input, target=target, pos_weight=pos_weight)
    _check_same_shape(name, input._array, target._array)
    _check_broadcast(name, "weight", weight, input._array.shape)
    _check_broadcast(name, "pos_weight", pos_weight, input._array.shape)
    each = BinaryCrossEntropyWithLogits.apply(input, target, pos_weight)
    return _weighted(each, weight, reduction)


def kl_div(
    input: Tensor, target: Tensor, reduction: str = "mean", log_target: bool = False
) -> Tensor:
    """Return the Kullback-Leibler divergence of `target` from `input` (PyTorch's ``kl_div``).

    Parameters
    ----------
    input : Tensor
        Log-probabilities; float32 or float64.
    target : Tensor
        Probabilities, or with `log_target` their logarithms; broadcast with `input`.
    reduction : {"mean", "batchmean", "sum", "none"}
        "batchmean" divides the sum by the first dimension of `input`, which is the divergence;
        "mean" divides by the number of elements, with a warning.
    log_target : bool

    Raises
    ------
    TypeError, ValueError
        For other types, shapes that do not broadcast, or an unknown reduction.
    """
    if reduction != "batchmean":
        check_reduction("kl_div", reduction)
    same_type("kl_div", input=input, target=target)
    if reduction == "mean":
        warnings.warn(
            "kl_div: reduction 'mean' divides by the number of elements; 'batchmean' gives the "
            "divergence",
            UserWarning,
            stacklevel=2,
        )
    shape = input._array.shape
    try:
        np.broadcast_shapes(shape, target._array.shape)
    except ValueError:
        raise OperationError(
            f"kl_div: shapes {list(shape)} and {list(target._array.shape)} of input and target do "
            "not broadcast"
        ) from None
    each = KlDiv.apply(input, target, bool(log_target))
    if reduction == "batchmean":
        return div(sum(each), shape[0] if shape else 1)
    return reduced(each, reduction)
