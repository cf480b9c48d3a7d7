"""Losses as modules."""

from __future__ import annotations

from typing import ClassVar

from rushlight.nn import functional as F
from rushlight.nn.functional.loss import reduction_name
from rushlight.nn.module import Module
from rushlight.nn.slots import buffer_slot
from rushlight.tensor import Tensor

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CosineEmbeddingLoss",
    "CrossEntropyLoss",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "MSELoss",
    "MarginRankingLoss",
    "NLLLoss",
    "SmoothL1Loss",
    "TripletMarginLoss",
]


class _Loss(Module):
    """A loss with a reduction: "mean", "sum" or "none" (`size_average` and `reduce` are old)."""

    _operation: ClassVar[str] = "loss"

    def __init__(
        self, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"
    ) -> None:
        super().__init__()
        self.reduction = reduction_name(size_average, reduce, reduction, self._operation)


class _WeightedLoss(_Loss):
    """A loss with weights, which are a buffer: they move with the module, and are saved."""

    weight: Tensor | None = buffer_slot()

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)


class MSELoss(_Loss):
    """The squared differences, reduced.

    Parameters
    ----------
    size_average, reduce : bool, optional
        Older spelling of `reduction`.
    reduction : {"mean", "sum", "none"}

    Raises
    ------
    ValueError
        For an unknown reduction.
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Map two tensors of one shape to a number, or to their shape without reduction."""
        return F.mse_loss(input, target, reduction=self.reduction)


class L1Loss(_Loss):
    """The absolute differences, reduced; see :class:`MSELoss`."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Map two tensors of one shape to a number, or to their shape without reduction."""
        return F.l1_loss(input, target, reduction=self.reduction)


class NLLLoss(_WeightedLoss):
    """The negative log-likelihood of target classes, given log-probabilities.

    Parameters
    ----------
    weight : Tensor, optional
        [c]; factor of each class, and its share in the mean.
    ignore_index : int
        Target that counts nothing.
    reduction : {"mean", "sum", "none"}
    size_average, reduce : bool, optional
        Older spelling of `reduction`.

    Raises
    ------
    ValueError
        For an unknown reduction.
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Map [n, c, ...] and int64 [n, ...] to a number, or to [n, ...] without reduction."""
        return F.nll_loss(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
        )


class CrossEntropyLoss(NLLLoss):
    """The cross entropy of logits and targets.

    Parameters
    ----------
    weight : Tensor, optional
        [c]; factor of each class, and its share in the mean.
    ignore_index : int
        Target index that counts nothing.
    reduction : {"mean", "sum", "none"}
    label_smoothing : float
        Share of the target spread over all classes, in [0, 1].
    size_average, reduce : bool, optional
        Older spelling of `reduction`.

    Raises
    ------
    ValueError
        For an unknown reduction, or a smoothing out of range.
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(weight, size_average, ignore_index, reduce, reduction)
        if not 0.0 <= label_smoothing <= 1.0:
            raise ValueError(
                f"CrossEntropyLoss: label_smoothing must be between 0 and 1, but got "
                f"{label_smoothing}"
            )
        self.label_smoothing = label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Map logits [n, c, ...] and int64 [n, ...], or probabilities [n, c, ...], to a loss."""
        return F.cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class SmoothL1Loss(_Loss):
    """The absolute differences, rounded off below `beta`; see :class:`MSELoss`.

    Parameters
    ----------
    size_average, reduce : bool, optional
        Older spelling of `reduction`.
    reduction : {"mean", "sum", "none"}
    beta : float
        A difference d below it counts ``d * d / (2 * beta)``, others ``d - beta / 2``.

    Raises
    ------
    ValueError
        For an unknown reduction, or a negative beta.

    References
    ----------
    Girshick, "Fast R-CNN", 2015.
    """

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        beta: float = 1.0,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        if not beta >= 0:
            raise ValueError(f"SmoothL1Loss: beta must be 0 or more, but got {beta}")
        self.beta = beta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Map two tensors of one shape to a number, or to their shape without reduction."""
        return F.smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)


class HuberLoss(_Loss):
    """Half the squared differences, straight from `delta` on.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
    delta : float
        A difference d above it counts ``delta * (d - delta / 2)``; above 0.

    Raises
    ------
    ValueError
        For an unknown reduction, or a delta that is not above 0.

    References
    ----------
    Huber, "Robust Estimation of a Location Parameter", 1964.
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction=reduction)
        if not delta > 0:
            raise ValueError(f"HuberLoss: delta must be above 0, but got {delta}")
        self.delta = delta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Map two tensors of one shape to a number, or to their shape without reduction."""
        return F.huber_loss(input, target, reduction=self.reduction, delta=self.delta)


class BCELoss(_WeightedLoss):
    """The cross entropy of yes-or-no probabilities.

    Parameters
    ----------
    weight : Tensor, optional
        Factor of each element, broadcast to the input.
    size_average, reduce : bool, optional
        Older spelling of `reduction`.
    reduction : {"mean", "sum", "none"}

    Raises
    ------
    ValueError
        For an unknown reduction.
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Map probabilities and wanted ones, of one shape, to a number or to their shape."""
        return F.binary_cross_entropy(input, target, self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(_WeightedLoss):
    """:class:`BCELoss` of the sigmoid of its input, without overflow.

    Parameters
    ----------
    weight, size_average, reduce, reduction
        As in :class:`BCELoss`.
    pos_weight : Tensor, optional
        Factor of the part of each element that the target is 1 for, broadcast to the input.

    Raises
    ------
    ValueError
        For an unknown reduction.
    """

    pos_weight: Tensor | None = buffer_slot()

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Map logits and wanted probabilities, of one shape, to a number or to their shape."""
        return F.binary_cross_entropy_with_logits(
            input, target, self.weight, reduction=self.reduction, pos_weight=self.pos_weight
        )


class KLDivLoss(_Loss):
    """The Kullback-Leibler divergence of the target from the input.

    Parameters
    ----------
    size_average, reduce : bool, optional
        Older spelling of `reduction`.
    reduction : {"mean", "batchmean", "sum", "none"}
        "batchmean" is the divergence per sample; "mean" divides by the number of elements.
    log_target : bool
        Whether the target comes as logarithms too.

    Raises
    ------
    ValueError
        For an unknown reduction.
    """

    _operation = "kl_div"

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        log_target: bool = False,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.log_target = log_target

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Map log-probabilities and probabilities to a number, or to their shape."""
        return F.kl_div(input, target, reduction=self.reduction, log_target=self.log_target)


class MarginRankingLoss(_Loss):
    """``max(0, -target * (input1 - input2) + margin)``, reduced; see :class:`MSELoss`."""

    def __init__(
        self,
        margin: float = 0.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        """Map scores, and 1 or -1 for which is to be larger, to a number or to their shape."""
        return F.margin_ranking_loss(input1, input2, target, self.margin, reduction=self.reduction)


class CosineEmbeddingLoss(_Loss):
    """How far the cosines of pairs are from what they should be; see :class:`MSELoss`.

    Parameters
    ----------
    margin : float
        What the cosine of an unlike pair may be, from -1 to 1.
    """

    def __init__(
        self,
        margin: float = 0.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        """Map [n, d] twice, and [n] of 1 (alike) or -1 (unlike), to a number or to [n]."""
        return F.cosine_embedding_loss(
            input1, input2, target, self.margin, reduction=self.reduction
        )


class TripletMarginLoss(_Loss):
    """By how much negatives fail to be farther from anchors than positives.

    Parameters
    ----------
    margin : float
        How much farther they are to be; above 0.
    p, eps : float
        Which norm distances are, and what is added to differences.
    swap : bool
        Take the distance of positive and negative where it is the smaller one.
    size_average, reduce : bool, optional
        Older spelling of `reduction`.
    reduction : {"mean", "sum", "none"}

    Raises
    ------
    ValueError
        For an unknown reduction, or a margin that is not above 0.

    References
    ----------
    Balntas et al., "Learning Shallow Convolutional Feature Descriptors with Triplet Losses", 2016.
    """

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        if not margin > 0:
            raise ValueError(f"TripletMarginLoss: margin must be above 0, but got {margin}")
        self.margin = margin
        self.p = p
        self.eps = eps
        self.swap = swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """Map three times [n, features] to a number, or to [n] without reduction."""
        return F.triplet_margin_loss(
            anchor,
            positive,
            negative,
            self.margin,
            self.p,
            self.eps,
            self.swap,
            reduction=self.reduction,
        )
