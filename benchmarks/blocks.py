"""Images as Rushlight's layers hand them to each other: in blocks of channels."""

from __future__ import annotations

from rushlight import Tensor, zeros
from rushlight.autograd.base import wrap
from rushlight.autograd.blocked import Blocked
from rushlight.autograd.primitive import Primitive
from rushlight.dtypes import Array

__all__ = ["images", "tracked"]

FEW_CHANNELS = 4  # that convolutions read as they lie


def images(tensor: Tensor) -> Tensor:
    """Return images in blocks of channels, and any other tensor as it is."""
    if tensor.ndim != 4 or tensor.shape[1] <= FEW_CHANNELS:
        return tensor
    return wrap(Blocked(tensor.numpy()))


class _End(Primitive):
    """Takes the gradient of its first argument, in whatever layout, and lets it go no further."""

    takes_blocks = True

    def forward(self, src: Tensor, _: Tensor) -> Array | Blocked:
        return src._blocks or src._array

    def backward(self, grad: Array | Blocked) -> tuple[None, None]:
        return None, None


def tracked(tensor: Tensor) -> Tensor:
    """Return images that need a gradient as the result of a layer does."""
    return _End.apply(tensor, zeros(1).requires_grad_())
