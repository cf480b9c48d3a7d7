"""Layers that put a border around images."""

from __future__ import annotations

from typing import ClassVar

from rushlight.nn import functional as F
from rushlight.nn.module import Module
from rushlight.ops._common import as_index
from rushlight.tensor import Tensor

__all__ = ["ConstantPad2d", "ReflectionPad2d", "ReplicationPad2d", "ZeroPad2d"]

Widths = int | tuple[int, int, int, int]


class _Pad2d(Module):
    """A border of given widths; what stands in it is up to the class."""

    _mode: ClassVar[str] = "constant"

    def __init__(self, padding: Widths) -> None:
        super().__init__()
        owner = type(self).__name__
        given = padding if isinstance(padding, (tuple, list)) else (padding,) * 4
        if len(given) != 4:
            raise ValueError(f"{owner}: padding must be one int or four, but got {padding}")
        widths = tuple(as_index(each, owner, "padding") for each in given)
        if self._mode == "reflect" and min(widths) < 0:
            raise ValueError(f"{owner}: padding must be 0 or more, but got {padding}")
        self.padding = widths

    def forward(self, input: Tensor) -> Tensor:
        """Map [n, c, h, w] to [n, c, h + top + bottom, w + left + right]."""
        return F.pad(input, self.padding, self._mode)

    def extra_repr(self) -> str:
        """Return the widths."""
        return f"{self.padding}"


class ConstantPad2d(_Pad2d):
    """A border of one value.

    Parameters
    ----------
    padding : int or four of them
        Widths on the left, right, top and bottom; negative ones cut off.
    value : float
        What stands in the border.

    Raises
    ------
    TypeError, ValueError
        For widths that are no integers, or not one or four.
    """

    def __init__(self, padding: Widths, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        """Map [n, c, h, w] to [n, c, h + top + bottom, w + left + right]."""
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        """Return the widths and the value."""
        return f"padding={self.padding}, value={self.value}"


class ZeroPad2d(ConstantPad2d):
    """A border of zeros; see :class:`ConstantPad2d`."""

    def __init__(self, padding: Widths) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        """Return the widths."""
        return f"{self.padding}"


class ReflectionPad2d(_Pad2d):
    """A border that mirrors the image at its outermost rows and columns.

    Parameters
    ----------
    padding : int or four of them
        Widths on the left, right, top and bottom, each smaller than the image.

    Raises
    ------
    TypeError, ValueError
        For widths that are no integers from 0, or not one or four.
    """

    _mode = "reflect"


class ReplicationPad2d(_Pad2d):
    """A border that repeats the outermost rows and columns; see :class:`ReflectionPad2d`.

    Negative widths cut off.
    """

    _mode = "replicate"
