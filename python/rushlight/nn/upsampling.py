"""Layers that change the size of images: interpolation, and channels traded for pixels."""

from __future__ import annotations

from rushlight.nn import functional as F
from rushlight.nn.checks import at_least
from rushlight.nn.module import Module
from rushlight.tensor import Tensor

__all__ = ["ChannelShuffle", "PixelShuffle", "PixelUnshuffle", "Upsample"]

_MODES = ("nearest", "nearest-exact", "linear", "bilinear", "bicubic")


class Upsample(Module):
    """Images or sequences in another size.

    Parameters
    ----------
    size : int or tuple of int, optional
        The spatial size of the result.
    scale_factor : float or tuple of float, optional
        Instead of `size`: what the size is multiplied by, and then rounded down.
    mode : {"nearest", "nearest-exact", "linear", "bilinear", "bicubic"}
        "linear" is for sequences, "bilinear" and "bicubic" for images.
    align_corners : bool, optional
        For the linear and cubic modes: whether the outermost elements keep their places, rather
        than the outer edges of the outermost elements.
    recompute_scale_factor : bool, optional
        Take the distance of source elements from the two sizes, not from `scale_factor`.

    Raises
    ------
    ValueError
        For another mode, or unless one of `size` and `scale_factor` is given.
    """

    def __init__(
        self,
        size: int | tuple[int, ...] | None = None,
        scale_factor: float | tuple[float, ...] | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        super().__init__()
        if mode not in _MODES:
            raise ValueError(f"Upsample: mode must be one of {_MODES}, but got {mode!r}")
        if (size is None) == (scale_factor is None):
            raise ValueError(
                f"Upsample: one of size and scale_factor must be given, but got size={size} and "
                f"scale_factor={scale_factor}"
            )
        self.size = size
        self.scale_factor = (
            tuple(float(factor) for factor in scale_factor)
            if isinstance(scale_factor, (tuple, list))
            else None
            if scale_factor is None
            else float(scale_factor)
        )
        self.mode = mode
        self.align_corners = align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input: Tensor) -> Tensor:
        """Map [n, c, h, w] to [n, c, oh, ow], or [n, c, length] to [n, c, length']."""
        return F.interpolate(
            input,
            self.size,
            self.scale_factor,
            self.mode,
            self.align_corners,
            self.recompute_scale_factor,
        )

    def extra_repr(self) -> str:
        """Return the size or the factor, and the mode."""
        size = f"size={self.size}"
        if self.scale_factor is not None:
            size = f"scale_factor={self.scale_factor}"
        return f"{size}, mode={self.mode!r}"


class PixelShuffle(Module):
    """Spread groups of r * r channels over blocks of r by r pixels, r being `upscale_factor`.

    References
    ----------
    Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel
    Convolutional Neural Network", 2016.
    """

    def __init__(self, upscale_factor: int) -> None:
        super().__init__()
        self.upscale_factor = at_least(1, upscale_factor, "PixelShuffle", "upscale_factor")

    def forward(self, input: Tensor) -> Tensor:
        """Map [..., c * r * r, h, w] to [..., c, h * r, w * r]."""
        return F.pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self) -> str:
        """Return the factor."""
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """Gather blocks of r by r pixels into channels; undoes :class:`PixelShuffle`."""

    def __init__(self, downscale_factor: int) -> None:
        super().__init__()
        self.downscale_factor = at_least(1, downscale_factor, "PixelUnshuffle", "downscale_factor")

    def forward(self, input: Tensor) -> Tensor:
        """Map [..., c, h * r, w * r] to [..., c * r * r, h, w]."""
        return F.pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self) -> str:
        """Return the factor."""
        return f"downscale_factor={self.downscale_factor}"


class ChannelShuffle(Module):
    """Mix the channels of `groups` groups: the first one of each group, then the second ones.

    References
    ----------
    Zhang et al., "ShuffleNet: An Extremely Efficient Convolutional Neural Network for Mobile
    Devices", 2017.
    """

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = at_least(1, groups, "ChannelShuffle", "groups")

    def forward(self, input: Tensor) -> Tensor:
        """Map [n, c, ...] to itself."""
        return F.channel_shuffle(input, self.groups)

    def extra_repr(self) -> str:
        """Return the groups."""
        return f"groups={self.groups}"
