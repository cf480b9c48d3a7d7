"""Losses as modules."""

from __future__ import annotations

from rushlight.nn import functional as F
from rushlight.nn.module import Module
from rushlight.nn.slots import buffer_slot
from rushlight.tensor import Tensor

__all__ = ["CrossEntropyLoss", "L1Loss", "MSELoss", "NLLLoss"]


class _Loss(Module):
    """A loss with a reduction: "mean", "sum" or "none" (`size_average` and `reduce` are old)."""

    def __init__(
        self, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"
    ) -> None:
        super().__init__()
        self.reduction = F.reduction_name(size_average, reduce, reduction)


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


class NLLLoss(_Loss):
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

    weight: Tensor | None = buffer_slot()

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)
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
