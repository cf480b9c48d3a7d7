"""Pooling layers."""

from __future__ import annotations

from typing import Any

from rushlight.nn import functional as F
from rushlight.nn.checks import at_least, pair_at_least
from rushlight.nn.module import Module
from rushlight.tensor import Tensor

__all__ = ["AdaptiveAvgPool2d", "AdaptiveMaxPool2d", "AvgPool2d", "MaxPool2d"]

IntPair = int | tuple[int, int]
SizePair = int | None | tuple[int | None, int | None]


class _Pool2d(Module):
    """A window that moves over the image; arguments are kept as they were given."""

    def __init__(
        self,
        kernel_size: IntPair,
        stride: IntPair | None,
        padding: IntPair,
        ceil_mode: bool,
        dilation: IntPair = 1,
    ) -> None:
        super().__init__()
        owner = type(self).__name__
        kernel = pair_at_least(1, kernel_size, owner, "kernel_size")
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        pair_at_least(1, self.stride, owner, "stride")
        steps = pair_at_least(1, dilation, owner, "dilation")
        widths = pair_at_least(0, padding, owner, "padding")
        if any(
            width > (step * (extent - 1) + 1) // 2
            for extent, step, width in zip(kernel, steps, widths, strict=True)
        ):
            raise ValueError(
                f"{owner}: padding must be at most half of the window, but got "
                f"padding={padding} and kernel_size={kernel_size}"
            )
        self.padding = padding
        self.ceil_mode = ceil_mode

    def extra_repr(self) -> str:
        """Return the window."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxPool2d(_Pool2d):
    """The maximum of each window; NaN wins.

    Parameters
    ----------
    kernel_size, stride, dilation : int or pair of int
        Size of the window, its steps (its size by default), and steps between its elements.
    padding : int or pair of int
        Rows and columns of -inf on both sides, at most half of the window.
    return_indices : bool
        Return also the flat position of each maximum in its plane.
    ceil_mode : bool
        Round the output size up: the last windows may reach over the edge.

    Raises
    ------
    TypeError, ValueError
        For arguments of other types or out of range.
    """

    def __init__(
        self,
        kernel_size: IntPair,
        stride: IntPair | None = None,
        padding: IntPair = 0,
        dilation: IntPair = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, dilation)
        self.dilation = dilation
        self.return_indices = return_indices

    def forward(self, input: Tensor) -> Any:
        """Map [n, c, h, w] to [n, c, oh, ow]; one image may come without n."""
        return F.max_pool2d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            self.ceil_mode,
            self.return_indices,
        )

    def extra_repr(self) -> str:
        """Return the arguments."""
        return f"{super().extra_repr()}, dilation={self.dilation}, ceil_mode={self.ceil_mode}"


class AvgPool2d(_Pool2d):
    """The mean of each window.

    Parameters
    ----------
    kernel_size, stride, padding, ceil_mode
        As in :class:`MaxPool2d`, with zeros for padding.
    count_include_pad : bool
        Count the padding among the values of a window.
    divisor_override : int, optional
        What to divide the sums by instead of the count.

    Raises
    ------
    TypeError, ValueError
        For arguments of other types or out of range.
    """

    def __init__(
        self,
        kernel_size: IntPair,
        stride: IntPair | None = None,
        padding: IntPair = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode)
        if divisor_override == 0:
            raise ValueError("AvgPool2d: divisor_override must not be 0")
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def forward(self, input: Tensor) -> Tensor:
        """Map [n, c, h, w] to [n, c, oh, ow]; one image may come without n."""
        return F.avg_pool2d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )


class _AdaptivePool2d(Module):
    """Windows laid out for a given output size."""

    def __init__(self, output_size: SizePair) -> None:
        super().__init__()
        owner = type(self).__name__
        sizes = output_size if isinstance(output_size, (tuple, list)) else (output_size,)
        if len(sizes) > 2:
            raise ValueError(f"{owner}: output_size must be one size or two, but got {output_size}")
        for size in sizes:
            if size is not None:
                at_least(0, size, owner, "output_size")
        self.output_size = output_size

    def extra_repr(self) -> str:
        """Return the size."""
        return f"output_size={self.output_size}"


class AdaptiveAvgPool2d(_AdaptivePool2d):
    """The means of windows laid out for an output of ``output_size`` rows and columns.

    Parameters
    ----------
    output_size : int, None or pair of them
        Rows and columns of the result; None keeps the input's.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Map [n, c, h, w] to [n, c, *output_size]; one image may come without n."""
        return F.adaptive_avg_pool2d(input, self.output_size)


class AdaptiveMaxPool2d(_AdaptivePool2d):
    """The maxima of windows laid out for an output of ``output_size`` rows and columns.

    Parameters
    ----------
    output_size : int, None or pair of them
        Rows and columns of the result; None keeps the input's.
    return_indices : bool
        Return also the flat position of each maximum in its plane.
    """

    def __init__(self, output_size: SizePair, return_indices: bool = False) -> None:
        super().__init__(output_size)
        self.return_indices = return_indices

    def forward(self, input: Tensor) -> Any:
        """Map [n, c, h, w] to [n, c, *output_size]; one image may come without n."""
        return F.adaptive_max_pool2d(input, self.output_size, self.return_indices)
