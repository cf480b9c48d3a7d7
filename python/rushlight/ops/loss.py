"""Losses."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from rushlight import _core
from rushlight.autograd.base import TensorBase, wrap
from rushlight.autograd.primitive import Primitive
from rushlight.dtypes import Array
from rushlight.errors import OperationError
from rushlight.ops._common import array_of, refuse
from rushlight.ops.activation import log_softmax
from rushlight.ops.checks import check_shapes
from rushlight.ops.elementwise import add, div, mul, sub
from rushlight.ops.reduction import mean, sum
from rushlight.ops.unary import abs, square

if TYPE_CHECKING:
    from rushlight.tensor import Tensor

__all__ = ["cross_entropy", "l1_loss", "mse_loss", "nll_loss"]

Reduction: TypeAlias = Literal["none", "mean", "sum"]
_REDUCTIONS = ("none", "mean", "sum")


class NllLoss(Primitive):
    def forward(
        self,
        src: Tensor,
        target: Tensor,
        weight: Tensor | None,
        ignore_index: int,
        reduction: Reduction,
    ) -> Array:
        self.save(target, weight)
        loss, total_weight = _core.nll_loss(
            src._array,
            target._array,
            None if weight is None else weight._array,
            ignore_index,
            reduction,
        )
        self._rest = (ignore_index, reduction, total_weight, src._array.shape)
        return loss

    def backward(self, grad: Array) -> tuple[Array | None, ...]:
        target, weight = self.saved
        diff_src = _core.nll_loss_backward(grad, target, weight, *self._rest)
        return diff_src, None, None, None, None


def check_reduction(operation: str, reduction: object) -> None:
    """Raise ValueError when `reduction` is not "none", "mean" or "sum"."""
    if reduction not in _REDUCTIONS:
        raise OperationError(
            f"{operation}: reduction must be one of {_REDUCTIONS}, got {reduction!r}"
        )


def _class_target(target: Any, operation: str) -> Array:
    array = array_of(target, operation, "target")
    if array.dtype != np.int64:
        raise TypeError(f"{operation}: target must be int64 class indices, but got {array.dtype}")
    return array


def _check_batch(src: Array, target: Array, operation: str) -> None:
    expected = src.shape[:1] + src.shape[2:] if src.ndim > 1 else ()
    if target.shape != expected:
        raise OperationError(
            f"{operation}: target must have shape {list(expected)} for input of shape "
            f"{list(src.shape)}, but has {list(target.shape)}"
        )


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Return the negative log-likelihood of the target classes (PyTorch's ``nll_loss``).

    Parameters
    ----------
    input : Tensor
        Log-probabilities [n, c], [n, c, ...] or [c]; float32 or float64.
    target : Tensor
        int64 class indices [n], [n, ...] or a single one.
    weight : Tensor, optional
        [c]; factor of each class, and its share in the mean.
    ignore_index : int
        Target that counts nothing.
    reduction : {"mean", "sum", "none"}

    Raises
    ------
    IndexError
        For a target outside [0, c).
    TypeError, ValueError
        For other types, shapes that do not fit, or an unknown reduction.
    """
    check_reduction("nll_loss", reduction)
    src, labels = array_of(input, "nll_loss"), _class_target(target, "nll_loss")
    if not src.ndim:
        raise OperationError("nll_loss: input must have a dimension of classes, but is 0-d")
    _check_batch(src, labels, "nll_loss")
    if weight is not None:
        array_of(weight, "nll_loss", "weight")
    if src.ndim == 1:
        batch, label = input.unsqueeze(0), target.reshape(1)
        loss = NllLoss.apply(batch, label, weight, ignore_index, reduction)
        return loss.reshape(()) if reduction == "none" else loss
    return NllLoss.apply(input, target, weight, ignore_index, reduction)


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Return the cross entropy of logits and targets (PyTorch's ``cross_entropy``).

    Parameters
    ----------
    input : Tensor
        Logits [n, c], [n, c, ...] or [c]; float32 or float64.
    target : Tensor
        int64 class indices as in :func:`nll_loss`, or probabilities of the shape and type of
        `input`.
    weight : Tensor, optional
        [c]; factor of each class.
    ignore_index : int
        Target index that counts nothing.
    reduction : {"mean", "sum", "none"}
    label_smoothing : float
        Share of the target spread over all classes, in [0, 1].

    Raises
    ------
    IndexError, TypeError, ValueError
        As :func:`nll_loss`, and for a smoothing out of range.
    """
    check_reduction("cross_entropy", reduction)
    if not 0.0 <= label_smoothing <= 1.0:
        raise OperationError(
            f"cross_entropy: label_smoothing must be between 0 and 1, but got {label_smoothing}"
        )
    src = array_of(input, "cross_entropy")
    logp = log_softmax(input, 1 if src.ndim > 1 else 0)
    if isinstance(target, TensorBase) and target._array.dtype.kind == "f":
        return _soft_target(logp, target, weight, reduction, label_smoothing)
    hard = nll_loss(logp, target, weight, ignore_index, reduction)
    if label_smoothing == 0.0:
        return hard
    labels = _class_target(target, "cross_entropy")
    smooth = _smoothed(logp, labels, weight, ignore_index, reduction)
    return add(mul(hard, 1.0 - label_smoothing), mul(smooth, label_smoothing))


def _per_class(weight: Tensor, ndim: int) -> Tensor:
    """Return class weights shaped to multiply [n, c, ...] or [c]."""
    return weight.reshape(-1, *(1,) * (ndim - 2)) if ndim > 1 else weight


def _smoothed(
    logp: Tensor, labels: Array, weight: Tensor | None, ignore_index: int, reduction: str
) -> Tensor:
    """Return the cross entropy against the uniform distribution."""
    ndim, axis = logp.dim(), 1 if logp.dim() > 1 else 0
    scaled = logp if weight is None else mul(logp, _per_class(weight, ndim))
    kept = labels != ignore_index
    each = mul(sum(scaled, axis), -1.0 / logp.shape[axis]).masked_fill(wrap(~kept), 0.0)
    if reduction == "none":
        return each
    total = sum(each)
    if reduction == "sum":
        return total
    share = float(kept.sum() if weight is None else weight._array[labels[kept]].sum())
    return mul(total, 1.0 / share if share else float("nan"))


def _soft_target(
    logp: Tensor, target: Tensor, weight: Tensor | None, reduction: str, smoothing: float
) -> Tensor:
    """Return the cross entropy against probabilities."""
    if target.shape != logp.shape:
        raise OperationError(
            f"cross_entropy: probabilities must have the input's shape {list(logp.shape)}, but "
            f"have {list(target.shape)}"
        )
    ndim, axis = logp.dim(), 1 if logp.dim() > 1 else 0
    if smoothing:
        target = add(mul(target, 1.0 - smoothing), smoothing / logp.shape[axis])
    terms = mul(logp, target)
    if weight is not None:
        terms = mul(terms, _per_class(weight, ndim))
    each = sum(terms, axis).neg()
    if reduction == "none":
        return each
    total = sum(each)
    return total if reduction == "sum" else mul(total, 1.0 / max(each.numel(), 1))


def reduced(each: Tensor, reduction: str) -> Tensor:
    """Return the mean or the sum of the losses, or the losses themselves."""
    if reduction == "none":
        return each
    return mean(each) if reduction == "mean" else sum(each)


def difference(input: Any, target: Any, reduction: str, operation: str) -> Tensor:
    """Return ``input - target``, with a warning where their shapes differ.

    Raises
    ------
    TypeError, ValueError
        For arguments that are no tensors, or an unknown reduction.
    """
    check_reduction(operation, reduction)
    for name, value in (("input", input), ("target", target)):
        if not isinstance(value, TensorBase):
            refuse(value, operation, name)
    if input._array.shape != target._array.shape:
        warnings.warn(
            f"{operation}: target of shape {list(target._array.shape)} is broadcast against input "
            f"of shape {list(input._array.shape)}, which is rarely meant",
            UserWarning,
            stacklevel=3,
        )
    return sub(input, target)


def _weighted(
    each: Tensor, weight: Tensor | None, input: Tensor, reduction: str, operation: str
) -> Tensor:
    """Return losses times their weights, reduced; a mean is over the weights."""
    if weight is None:
        return reduced(each, reduction)
    check_shapes(operation, {"weight": weight}, array_of(input, operation).shape, "input")
    total = reduced(mul(each, weight), "none" if reduction == "none" else "sum")
    return div(total, sum(weight)) if reduction == "mean" else total


def mse_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", weight: Tensor | None = None
) -> Tensor:
    """Return the mean (or sum, or each) of the squared differences.

    Parameters
    ----------
    input, target : Tensor
        Of one shape; another one of `target` is broadcast with a warning.
    reduction : {"mean", "sum", "none"}
    weight : Tensor, optional
        Of the shape of `input`; factor of each element. The mean is then over the weights.

    Raises
    ------
    TypeError, ValueError
        For arguments that are no tensors, shapes that do not fit, or an unknown reduction.
    """
    each = square(difference(input, target, reduction, "mse_loss"))
    return _weighted(each, weight, input, reduction, "mse_loss")


def l1_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", weight: Tensor | None = None
) -> Tensor:
    """Return the mean (or sum, or each) of the absolute differences; see :func:`mse_loss`."""
    each = abs(difference(input, target, reduction, "l1_loss"))
    return _weighted(each, weight, input, reduction, "l1_loss")
