"""Convolution layers."""

from __future__ import annotations

from typing import Any

from rushlight.dtypes import dtype as DType
from rushlight.nn import functional as F
from rushlight.nn.checks import at_least, check_device, pair_at_least
from rushlight.nn.linear import default_weights
from rushlight.nn.module import Module
from rushlight.nn.parameter import Parameter, filled
from rushlight.nn.slots import parameter_slot
from rushlight.tensor import Tensor

__all__ = ["Conv2d"]

_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")

IntPair = int | tuple[int, int]


class Conv2d(Module):
    """Cross-correlation of images with learned filters.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of input and output.
    kernel_size, stride, dilation : int or pair of int
        Size of the filters, steps of the window, steps between its elements.
    padding : int, pair of int, "same" or "valid"
        What is added on both sides of rows and columns; "same" keeps the size at stride 1.
    groups : int
        Number of groups of channels that are convolved separately; divides both counts.
    bias : bool
        Whether something is added to each channel.
    padding_mode : {"zeros", "reflect", "replicate", "circular"}
        What stands in the padding.
    device : optional
        Must be the CPU.
    dtype : dtype, optional
        float32 by default.

    Attributes
    ----------
    weight : Parameter
        [out_channels, in_channels / groups, kh, kw], uniform within ``1 / sqrt(fan_in)``.
    bias : Parameter or None
        [out_channels], uniform within the same bounds.

    Raises
    ------
    TypeError, ValueError
        For arguments of other types or out of range.
    """

    weight: Parameter = parameter_slot()
    bias: Parameter | None = parameter_slot()

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntPair,
        stride: IntPair = 1,
        padding: IntPair | str = 0,
        dilation: IntPair = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        check_device(device)
        self.in_channels = at_least(0, in_channels, "Conv2d", "in_channels")
        self.out_channels = at_least(0, out_channels, "Conv2d", "out_channels")
        self.groups = at_least(1, groups, "Conv2d", "groups")
        self.kernel_size = pair_at_least(1, kernel_size, "Conv2d", "kernel_size")
        self.stride = pair_at_least(1, stride, "Conv2d", "stride")
        self.dilation = pair_at_least(1, dilation, "Conv2d", "dilation")
        self.padding: str | tuple[int, int] = (
            padding if isinstance(padding, str) else pair_at_least(0, padding, "Conv2d", "padding")
        )
        self.padding_mode = padding_mode
        self._check()
        shape = (self.out_channels, self.in_channels // self.groups, *self.kernel_size)
        self.weight = filled(shape, dtype)
        self.register_parameter("bias", filled((self.out_channels,), dtype) if bias else None)
        self.reset_parameters()

    def _check(self) -> None:
        for name in ("in_channels", "out_channels"):
            if getattr(self, name) % self.groups:
                raise ValueError(
                    f"Conv2d: {name} must be divisible by groups, but got {getattr(self, name)} "
                    f"and groups={self.groups}"
                )
        if isinstance(self.padding, str):
            if self.padding not in ("same", "valid"):
                raise ValueError(
                    f"Conv2d: Invalid padding string {self.padding!r}, should be one of "
                    "'same', 'valid'"
                )
            if self.padding == "same" and self.stride != (1, 1):
                raise ValueError(
                    "Conv2d: padding='same' is not supported for strided convolutions, but got "
                    f"stride={self.stride}"
                )
        if self.padding_mode not in _PADDING_MODES:
            raise ValueError(
                f"Conv2d: padding_mode must be one of {_PADDING_MODES}, but got "
                f"padding_mode={self.padding_mode!r}"
            )

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        default_weights(self.weight, self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """Map [n, in_channels, h, w] to [n, out_channels, oh, ow]; one image may come without n."""
        padding = self.padding
        if self.padding_mode != "zeros":
            input, padding = F.pad(input, self._widths(), mode=self.padding_mode), (0, 0)
        return F.conv2d(
            input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups
        )

    def _widths(self) -> list[int]:
        """Return the padding as ``F.pad`` takes it: columns first, low and high."""
        if self.padding == "valid":
            return [0, 0, 0, 0]
        if not isinstance(self.padding, str):
            rows, columns = self.padding
            return [columns, columns, rows, rows]
        widths: list[int] = []
        for extent, step in zip(reversed(self.kernel_size), reversed(self.dilation), strict=True):
            total = step * (extent - 1)
            widths += [total // 2, total - total // 2]
        return widths

    def extra_repr(self) -> str:
        """Return the arguments, leaving out most that have their default values."""
        parts = [
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}"
        ]
        defaults = {"padding": (0, 0), "dilation": (1, 1), "groups": 1}
        parts += [
            f"{name}={getattr(self, name)}"
            for name, default in defaults.items()
            if getattr(self, name) != default
        ]
        if self.bias is None:
            parts.append("bias=False")
        if self.padding_mode != "zeros":
            parts.append(f"padding_mode={self.padding_mode}")
        return ", ".join(parts)
