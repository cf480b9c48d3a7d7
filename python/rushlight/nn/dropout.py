"""Dropout layers."""

from __future__ import annotations

from rushlight.nn import functional as F
from rushlight.nn.checks import probability
from rushlight.nn.module import Module
from rushlight.tensor import Tensor

__all__ = ["Dropout", "Dropout2d"]


class Dropout(Module):
    """In training, zero elements at probability `p` and scale the others by ``1 / (1 - p)``.

    Parameters
    ----------
    p : float
        Probability of a zero.
    inplace : bool
        Change the input itself.

    Raises
    ------
    ValueError
        When `p` is not between 0 and 1.
    """

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        self.p = probability(p, type(self).__name__)
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Map any shape to itself."""
        return F.dropout(input, self.p, self.training, self.inplace)

    def extra_repr(self) -> str:
        """Return the arguments."""
        return f"p={self.p}, inplace={self.inplace}"


class Dropout2d(Dropout):
    """In training, zero whole channels of [n, c, h, w]; see :class:`Dropout`."""

    def forward(self, input: Tensor) -> Tensor:
        """Map [n, c, h, w] to itself."""
        return F.dropout2d(input, self.p, self.training, self.inplace)
