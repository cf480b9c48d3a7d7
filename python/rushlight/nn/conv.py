"""Convolution layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from rushlight.dtypes import dtype as DType
from rushlight.nn import functional as F
from rushlight.nn.checks import at_least, check_device, ints_at_least
from rushlight.nn.linear import default_weights
from rushlight.nn.module import Module
from rushlight.nn.parameter import Parameter, filled
from rushlight.nn.slots import parameter_slot
from rushlight.ops.conv import Norm, clamped_conv2d, normed_conv2d
from rushlight.ops.prepared import Clamp
from rushlight.tensor import Tensor

__all__ = ["Conv1d", "Conv2d", "ConvTranspose1d", "ConvTranspose2d"]

_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")

IntOne = int | tuple[int]
IntPair = int | tuple[int, int]


class _ConvNd(Module):
    """What convolutions share; they differ in the function, the dimensions and the weight.

    Settings are kept as tuples of one number per dimension.
    """

    transposed: ClassVar[bool] = False
    _ndim: ClassVar[int]
    _function: ClassVar[Callable[..., Tensor]]
    _new_parameter = staticmethod(filled)

    weight: Parameter = parameter_slot()
    bias: Parameter | None = parameter_slot()

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        sizes: dict[str, Any],
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any,
        dtype: DType | None,
    ) -> None:
        super().__init__()
        check_device(device)
        owner = type(self).__name__
        self.in_channels = at_least(0, in_channels, owner, "in_channels")
        self.out_channels = at_least(0, out_channels, owner, "out_channels")
        self.groups = at_least(1, groups, owner, "groups")
        self.kernel_size = self._sized(1, "kernel_size", sizes)
        self.stride = self._sized(1, "stride", sizes)
        self.dilation = self._sized(1, "dilation", sizes)
        self.output_padding = self._sized(0, "output_padding", sizes)
        self.padding: str | tuple[int, ...] = (
            sizes["padding"]
            if isinstance(sizes["padding"], str)
            else self._sized(0, "padding", sizes)
        )
        self.padding_mode = padding_mode
        self._check()
        weight_shape, bias_shape = self._shapes()
        self.weight = self._new_parameter(weight_shape, dtype)
        self.register_parameter("bias", self._new_parameter(bias_shape, dtype) if bias else None)
        self.reset_parameters()

    def _sized(self, least: int, name: str, sizes: dict[str, Any]) -> tuple[int, ...]:
        return ints_at_least(least, self._ndim, sizes.get(name, 0), type(self).__name__, name)

    def _check(self) -> None:
        owner = type(self).__name__
        self._check_groups()
        if isinstance(self.padding, str):
            if self.padding not in ("same", "valid"):
                raise ValueError(
                    f"{owner}: Invalid padding string {self.padding!r}, should be one of "
                    "'same', 'valid'"
                )
            if self.padding == "same" and max(self.stride) > 1:
                raise ValueError(
                    f"{owner}: padding='same' is not supported for strided convolutions, but got "
                    f"stride={self.stride}"
                )
        if self.padding_mode not in _PADDING_MODES:
            raise ValueError(
                f"{owner}: padding_mode must be one of {_PADDING_MODES}, but got "
                f"padding_mode={self.padding_mode!r}"
            )

    def _check_groups(self) -> None:
        for name in ("in_channels", "out_channels"):
            if getattr(self, name) % self.groups:
                raise ValueError(
                    f"{type(self).__name__}: {name} must be divisible by groups, but got "
                    f"{getattr(self, name)} and groups={self.groups}"
                )

    def _shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        shape = (self.out_channels, self.in_channels // self.groups, *self.kernel_size)
        return shape, (self.out_channels,)

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        default_weights(self.weight, self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """Map [n, in_channels, ...] to [n, out_channels, ...]; one sample may come without n."""
        return self._convolved(input)

    def _convolved(self, input: Tensor, *clamp: Clamp) -> Tensor:
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            input, padding = F.pad(input, self._widths(), mode=self.padding_mode), 0
        sizes = self.stride, padding, self.dilation, self.groups
        return self._function(input, self.weight, self.bias, *sizes, *clamp)

    def _widths(self) -> list[int]:
        """Return the padding as ``F.pad`` takes it: the last dimension first, low and high."""
        widths: list[int] = []
        for place in reversed(range(self._ndim)):
            if isinstance(self.padding, str):
                same = self.padding == "same"
                total = self.dilation[place] * (self.kernel_size[place] - 1) if same else 0
                widths += [total // 2, total - total // 2]
            else:
                widths += [self.padding[place], self.padding[place]]
        return widths

    def extra_repr(self) -> str:
        """Return the arguments, leaving out most that have their default values."""
        parts = [
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}"
        ]
        zeros, ones = (0,) * self._ndim, (1,) * self._ndim
        defaults = {"padding": zeros, "dilation": ones, "output_padding": zeros, "groups": 1}
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


class Conv2d(_ConvNd):
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

    _ndim = 2
    _function = staticmethod(clamped_conv2d)

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
        sizes = dict(kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation)
        super().__init__(
            in_channels, out_channels, sizes, groups, bias, padding_mode, device, dtype
        )

    def _clamped(self, input: Tensor, clamp: Clamp) -> Tensor:
        """Compute the output, moved into the range `clamp`; see neighbours.py."""
        return self._convolved(input, clamp)

    def _normed(self, input: Tensor, norm: Norm, clamp: Clamp) -> Tensor:
        """Compute the output, normalised and moved into the range `clamp`; see neighbours.py."""
        sizes: tuple[Any, Any, Any] = self.stride, self.padding, self.dilation
        return normed_conv2d(input, self.weight, *sizes, self.groups, norm, clamp)


class Conv1d(_ConvNd):
    """Cross-correlation of sequences with learned filters; see :class:`Conv2d`.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of input and output.
    kernel_size, stride, dilation, padding, groups, bias, padding_mode, device, dtype
        As in :class:`Conv2d`, in one dimension.

    Attributes
    ----------
    weight : Parameter
        [out_channels, in_channels / groups, k].
    bias : Parameter or None
        [out_channels].
    """

    _ndim = 1
    _function = staticmethod(F.conv1d)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOne,
        stride: IntOne = 1,
        padding: IntOne | str = 0,
        dilation: IntOne = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: DType | None = None,
    ) -> None:
        sizes = dict(kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation)
        super().__init__(
            in_channels, out_channels, sizes, groups, bias, padding_mode, device, dtype
        )


class _ConvTransposeNd(_ConvNd):
    """A convolution run backwards: its output has the size that would be its input."""

    transposed = True

    def _check(self) -> None:
        owner = type(self).__name__
        if isinstance(self.padding, str):
            raise ValueError(f"{owner}: padding must be given in numbers, got {self.padding!r}")
        if self.padding_mode != "zeros":
            raise ValueError(f"{owner}: padding_mode must be 'zeros', got {self.padding_mode!r}")
        super()._check()
        for extra, step, spread in zip(
            self.output_padding, self.stride, self.dilation, strict=True
        ):
            if extra >= max(step, spread):
                raise ValueError(
                    f"{owner}: output_padding must be smaller than stride or dilation, but got "
                    f"output_padding={self.output_padding}, stride={self.stride} and "
                    f"dilation={self.dilation}"
                )

    def _shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        shape = (self.in_channels, self.out_channels // self.groups, *self.kernel_size)
        return shape, (self.out_channels,)

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """Map [n, in_channels, ...] to [n, out_channels, ...]; one sample may come without n.

        Parameters
        ----------
        input : Tensor
        output_size : sequence of int, optional
            Which of the sizes that lead back to that of the input the result shall have; it
            takes the place of `output_padding`. Batch and channels may be named or left out.

        Raises
        ------
        ValueError
            When the size cannot be reached.
        """
        extra = self.output_padding
        if output_size is not None:
            extra = self._extra(tuple(input.shape), tuple(output_size))
        return self._function(
            input,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            extra,
            self.groups,
            self.dilation,
        )

    def _extra(self, shape: tuple[int, ...], wanted: tuple[int, ...]) -> tuple[int, ...]:
        """Return the output padding that leads to a size."""
        owner, ndim = type(self).__name__, self._ndim
        if len(wanted) not in (ndim, len(shape)):
            raise ValueError(
                f"{owner}: output_size must have {ndim} or {len(shape)} sizes for input of shape "
                f"{list(shape)}, but got {list(wanted)}"
            )
        assert not isinstance(self.padding, str)
        least = tuple(
            (extent - 1) * step - 2 * width + spread * (window - 1) + 1
            for extent, step, width, spread, window in zip(
                shape[-ndim:],
                self.stride,
                self.padding,
                self.dilation,
                self.kernel_size,
                strict=True,
            )
        )
        extra = tuple(size - low for size, low in zip(wanted[-ndim:], least, strict=True))
        if any(not 0 <= more < step for more, step in zip(extra, self.stride, strict=True)):
            most = [low + step - 1 for low, step in zip(least, self.stride, strict=True)]
            raise ValueError(
                f"{owner}: output_size must be from {list(least)} to {most} for input of shape "
                f"{list(shape)}, but got {list(wanted)}"
            )
        return extra


class ConvTranspose2d(_ConvTransposeNd):
    """Images spread through learned filters: the gradient of a :class:`Conv2d`, as a layer.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of input and output.
    kernel_size : int or pair of int
        Size of the filters.
    stride : int or pair of int
        Distance in the output between neighbours of the input.
    padding : int or pair of int
        Rows and columns cut off on both sides of the output.
    output_padding : int or pair of int
        Rows and columns added at the end of the output; smaller than stride or dilation.
    groups : int
        Number of groups of channels that are treated separately; divides both counts.
    bias : bool
        Whether something is added to each channel.
    dilation : int or pair of int
        Steps between the elements of a filter.
    padding_mode : {"zeros"}
        Nothing else is possible.
    device : optional
        Must be the CPU.
    dtype : dtype, optional
        float32 by default.

    Attributes
    ----------
    weight : Parameter
        [in_channels, out_channels / groups, kh, kw], uniform as in PyTorch.
    bias : Parameter or None
        [out_channels].

    Raises
    ------
    TypeError, ValueError
        For arguments of other types or out of range.
    """

    _ndim = 2
    _function = staticmethod(F.conv_transpose2d)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntPair,
        stride: IntPair = 1,
        padding: IntPair = 0,
        output_padding: IntPair = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: IntPair = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: DType | None = None,
    ) -> None:
        sizes = dict(kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation)
        sizes["output_padding"] = output_padding
        super().__init__(
            in_channels, out_channels, sizes, groups, bias, padding_mode, device, dtype
        )


class ConvTranspose1d(_ConvTransposeNd):
    """Sequences spread through learned filters; :class:`ConvTranspose2d` in one dimension."""

    _ndim = 1
    _function = staticmethod(F.conv_transpose1d)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOne,
        stride: IntOne = 1,
        padding: IntOne = 0,
        output_padding: IntOne = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: IntOne = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: DType | None = None,
    ) -> None:
        sizes = dict(kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation)
        sizes["output_padding"] = output_padding
        super().__init__(
            in_channels, out_channels, sizes, groups, bias, padding_mode, device, dtype
        )
