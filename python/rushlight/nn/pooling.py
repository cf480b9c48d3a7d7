"""Pooling layers."""

from __future__ import annotations

from typing import Any, ClassVar

from rushlight.nn import functional as F
from rushlight.nn.checks import at_least, ints_at_least
from rushlight.nn.module import Module
from rushlight.tensor import Tensor

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AvgPool1d",
    "AvgPool2d",
    "MaxPool1d",
    "MaxPool2d",
]

IntOne = int | tuple[int]
IntPair = int | tuple[int, int]
SizePair = int | None | tuple[int | None, int | None]


class _PoolNd(Module):
    """A window that moves over the input; arguments are kept as they were given."""

    _ndim: ClassVar[int] = 2

    def __init__(
        self, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool, dilation: Any = 1
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        kernel = self._sized(1, kernel_size, "kernel_size")
        self._sized(1, self.stride, "stride")
        steps = self._sized(1, dilation, "dilation")
        widths = self._sized(0, padding, "padding")
        if any(
            width > (step * (extent - 1) + 1) // 2
            for extent, step, width in zip(kernel, steps, widths, strict=True)
        ):
            raise ValueError(
                f"{type(self).__name__}: padding must be at most half of the window, but got "
                f"padding={padding} and kernel_size={kernel_size}"
            )

    def _sized(self, least: int, value: Any, name: str) -> tuple[int, ...]:
        return ints_at_least(least, self._ndim, value, type(self).__name__, name)

    def extra_repr(self) -> str:
        """Return the window."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class _MaxPoolNd(_PoolNd):
    """The largest of each window, and where it was."""

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, dilation)
        self.dilation = dilation
        self.return_indices = return_indices

    def extra_repr(self) -> str:
        """Return the arguments."""
        return f"{super().extra_repr()}, dilation={self.dilation}, ceil_mode={self.ceil_mode}"


class MaxPool2d(_MaxPoolNd):
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
        super().__init__(kernel_size, stride, padding, dilation, return_indices, ceil_mode)

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


class MaxPool1d(_MaxPoolNd):
    """The maximum of each window of a sequence; see :class:`MaxPool2d`."""

    _ndim = 1

    def __init__(
        self,
        kernel_size: IntOne,
        stride: IntOne | None = None,
        padding: IntOne = 0,
        dilation: IntOne = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__(kernel_size, stride, padding, dilation, return_indices, ceil_mode)

    def forward(self, input: Tensor) -> Any:
        """Map [n, c, length] to [n, c, length']; one sequence may come without n."""
        return F.max_pool1d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            self.ceil_mode,
            self.return_indices,
        )


class AvgPool2d(_PoolNd):
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


class AvgPool1d(_PoolNd):
    """The mean of each window of a sequence; see :class:`AvgPool2d`.

    Sizes are kept as tuples of one number, as in PyTorch.
    """

    _ndim = 1

    def __init__(
        self,
        kernel_size: IntOne,
        stride: IntOne | None = None,
        padding: IntOne = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode)
        for name, least in (("kernel_size", 1), ("stride", 1), ("padding", 0)):
            setattr(self, name, self._sized(least, getattr(self, name), name))
        self.count_include_pad = count_include_pad

    def forward(self, input: Tensor) -> Tensor:
        """Map [n, c, length] to [n, c, length']; one sequence may come without n."""
        return F.avg_pool1d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
        )


class _AdaptivePoolNd(Module):
    """Windows laid out for a given output size."""

    _ndim: ClassVar[int] = 2

    def __init__(self, output_size: Any) -> None:
        super().__init__()
        owner = type(self).__name__
        sizes = output_size if isinstance(output_size, (tuple, list)) else (output_size,)
        if len(sizes) not in (1, self._ndim):
            expected = "one size or two" if self._ndim == 2 else "one size"
            raise ValueError(f"{owner}: output_size must be {expected}, but got {output_size}")
        for size in sizes:
            # A sequence has nothing that None could keep.
            if size is not None or self._ndim == 1:
                at_least(0, size, owner, "output_size")
        self.output_size = output_size

    def extra_repr(self) -> str:
        """Return the size."""
        return f"output_size={self.output_size}"


class AdaptiveAvgPool2d(_AdaptivePoolNd):
    """The means of windows laid out for an output of ``output_size`` rows and columns.

    Parameters
    ----------
    output_size : int, None or pair of them
        Rows and columns of the result; None keeps the input's.
    """

    def __init__(self, output_size: SizePair) -> None:
        super().__init__(output_size)

    def forward(self, input: Tensor) -> Tensor:
        """Map [n, c, h, w] to [n, c, *output_size]; one image may come without n."""
        return F.adaptive_avg_pool2d(input, self.output_size)


class AdaptiveMaxPool2d(_AdaptivePoolNd):
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


class AdaptiveAvgPool1d(_AdaptivePoolNd):
    """The means of windows laid out for an output of `output_size` elements."""

    _ndim = 1

    def __init__(self, output_size: IntOne) -> None:
        super().__init__(output_size)

    def forward(self, input: Tensor) -> Tensor:
        """Map [n, c, length] to [n, c, output_size]; one sequence may come without n."""
        return F.adaptive_avg_pool1d(input, self.output_size)


class AdaptiveMaxPool1d(_AdaptivePoolNd):
    """The maxima of windows laid out for an output of `output_size` elements.

    With `return_indices` also where each maximum was.
    """

    _ndim = 1

    def __init__(self, output_size: IntOne, return_indices: bool = False) -> None:
        super().__init__(output_size)
        self.return_indices = return_indices

    def forward(self, input: Tensor) -> Any:
        """Map [n, c, length] to [n, c, output_size]; one sequence may come without n."""
        return F.adaptive_max_pool1d(input, self.output_size, self.return_indices)
