"""Losses with PyTorch's arguments: `reduction`, and the older `size_average` and `reduce`."""

from __future__ import annotations

import warnings

from rushlight import ops
from rushlight.ops.loss import check_reduction
from rushlight.tensor import Tensor

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cosine_embedding_loss",
    "cross_entropy",
    "kl_div",
    "l1_loss",
    "margin_ranking_loss",
    "mse_loss",
    "nll_loss",
    "smooth_l1_loss",
    "triplet_margin_loss",
]


def reduction_name(
    size_average: bool | None, reduce: bool | None, reduction: str, operation: str = "loss"
) -> str:
    """Return the reduction that a loss was asked for, in the old spelling or the new.

    Raises
    ------
    ValueError
        For an unknown one.
    """
    if size_average is not None or reduce is not None:
        warnings.warn(
            "size_average and reduce are deprecated, use reduction", UserWarning, stacklevel=3
        )
        if reduce is False:
            return "none"
        return "sum" if size_average is False else "mean"
    # One loss has a fourth reduction: the divergence per sample.
    if not (reduction == "batchmean" and operation == "kl_div"):
        check_reduction(operation, reduction)
    return reduction


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return the negative log-likelihood of target classes; see :func:`rushlight.ops.nll_loss`."""
    name = reduction_name(size_average, reduce, reduction, "nll_loss")
    return ops.nll_loss(input, target, weight, ignore_index, name)


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Return the cross entropy of logits; see :func:`rushlight.ops.cross_entropy`."""
    name = reduction_name(size_average, reduce, reduction, "cross_entropy")
    return ops.cross_entropy(input, target, weight, ignore_index, name, label_smoothing)


def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """Return the squared differences, weighted and reduced; see :func:`rushlight.ops.mse_loss`."""
    name = reduction_name(size_average, reduce, reduction, "mse_loss")
    return ops.mse_loss(input, target, name, weight)


def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """Return the absolute differences, weighted and reduced; see :func:`rushlight.ops.mse_loss`."""
    name = reduction_name(size_average, reduce, reduction, "l1_loss")
    return ops.l1_loss(input, target, name, weight)


def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """Return the absolute differences, rounded off; see :func:`rushlight.ops.smooth_l1_loss`."""
    name = reduction_name(size_average, reduce, reduction, "smooth_l1_loss")
    return ops.smooth_l1_loss(input, target, name, beta)


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return the cross entropy of probabilities; see :func:`rushlight.ops.binary_cross_entropy`."""
    name = reduction_name(size_average, reduce, reduction, "binary_cross_entropy")
    return ops.binary_cross_entropy(input, target, weight, name)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Return :func:`binary_cross_entropy` of ``sigmoid(input)``, without overflow."""
    name = reduction_name(size_average, reduce, reduction, "binary_cross_entropy_with_logits")
    return ops.binary_cross_entropy_with_logits(input, target, weight, name, pos_weight)


def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """Return the Kullback-Leibler divergence; see :func:`rushlight.ops.kl_div`."""
    name = reduction_name(size_average, reduce, reduction, "kl_div")
    return ops.kl_div(input, target, name, log_target)


def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return ``max(0, -target * (input1 - input2) + margin)``, reduced."""
    name = reduction_name(size_average, reduce, reduction, "margin_ranking_loss")
    return ops.margin_ranking_loss(input1, input2, target, margin, name)


def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return what cosines are off; see :func:`rushlight.ops.cosine_embedding_loss`."""
    name = reduction_name(size_average, reduce, reduction, "cosine_embedding_loss")
    return ops.cosine_embedding_loss(input1, input2, target, margin, name)


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return by how much negatives are too near; see :func:`rushlight.ops.triplet_margin_loss`."""
    name = reduction_name(size_average, reduce, reduction, "triplet_margin_loss")
    return ops.triplet_margin_loss(anchor, positive, negative, margin, p, eps, swap, name)
