"""Convolution of images and sequences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from rushlight import _core
from rushlight.autograd.base import TensorBase, wrap
from rushlight.autograd.blocked import Blocked
from rushlight.autograd.primitive import Primitive
from rushlight.dtypes import Array
from rushlight.errors import OperationError
from rushlight.ops._common import array_of, as_index, refuse, renamed
from rushlight.ops.clamped import RELU, BehindClamp, BehindRelu
from rushlight.ops.padding import pad
from rushlight.ops.prepared import Clamp, cache_of, clamp_of, optional_array

if TYPE_CHECKING:
    from rushlight.tensor import Tensor

__all__ = ["conv1d", "conv2d"]

IntOne: TypeAlias = "int | Sequence[int]"
IntPair: TypeAlias = "int | Sequence[int]"
# Weight, bias, mean, variance and eps of a batch norm.
Norm: TypeAlias = "tuple[Tensor | None, Tensor | None, Tensor, Tensor, float]"


# Where the result of conv2d may be in blocks of channels: where the images are already, or have few
# channels; or also where it takes turning them, which pays when a gradient comes back the same way.
_KEPT, _ANY = 1, 2


class Conv2d(Primitive):
    warns = False
    takes_blocks = True
    clamp: Clamp = None

    @classmethod
    def name(cls) -> str:
        return "ConvolutionBackward0"

    def forward(
        self,
        src: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: tuple[int, int],
        padding: tuple[int, int],
        dilation: tuple[int, int],
        groups: int,
    ) -> Array | Blocked:
        recorded = self._saved is not None
        if recorded:
            self.save(src, weight)
            self._geometry = stride, padding, dilation, groups
        cache, version = cache_of(weight)
        return _core.conv2d(
            src._blocks or src._array,
            weight._array,
            None if bias is None else bias._array,
            stride,
            padding,
            dilation,
            groups,
            cache,
            version,
            None,  # arguments by position: names take as long as a tiny kernel
            None,
            self.clamp,
            _ANY if recorded else _KEPT,
        )

    def backward(self, grad: Array | Blocked) -> tuple[Array | Blocked | None, ...]:
        src, weight = self.saved[:2]
        return _core.conv2d_backward(src, weight, grad, *self._geometry, *self.needs_input_grad[:3])


class Conv2dRelu(BehindRelu, Conv2d):
    """Conv2d and the relu behind it."""


class Conv2dClamp(BehindClamp, Conv2d):
    """Conv2d and the relu6, say, behind it."""


def pair(value: Any, operation: str, name: str) -> tuple[int, int]:
    """Return an argument given as one int or as two, as two ints.

    Raises
    ------
    TypeError, ValueError
        For anything else.
    """
    if type(value) is tuple and len(value) == 2 and type(value[0]) is type(value[1]) is int:
        return value
    if isinstance(value, (tuple, list)):
        if len(value) == 1:
            value = (value[0], value[0])
        if len(value) != 2:
            raise OperationError(f"{operation}: {name} must be one int or two, but got {value}")
        return as_index(value[0], operation, name), as_index(value[1], operation, name)
    single = as_index(value, operation, name)
    return single, single


def single(value: Any, operation: str, name: str) -> int:
    """Return an argument given as one int, or as a sequence of one, as an int.

    Raises
    ------
    TypeError, ValueError
        For anything else.
    """
    if isinstance(value, (tuple, list)):
        if len(value) != 1:
            raise OperationError(f"{operation}: {name} must be one int, but got {value}")
        value = value[0]
    return as_index(value, operation, name)


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: IntPair = 1,
    padding: IntPair | str = 0,
    dilation: IntPair = 1,
    groups: int = 1,
) -> Tensor:
    """Return the 2-d cross-correlation of images with filters (PyTorch's ``conv2d``).

    Parameters
    ----------
    input : Tensor
        [n, in_channels, h, w], or one image [in_channels, h, w]; float32 or float64.
    weight : Tensor
        [out_channels, in_channels / groups, kh, kw].
    bias : Tensor, optional
        [out_channels].
    stride, dilation : int or pair of int
        Steps of the window, and between its elements, in rows and columns.
    padding : int, pair of int, "valid" or "same"
        Zeros added on both sides of rows and columns; "same" keeps the size at stride 1.
    groups : int
        Number of groups of channels that are convolved separately.

    Returns
    -------
    Tensor
        [n, out_channels, oh, ow] with ``oh = (h + 2 padding - dilation (kh - 1) - 1) // stride +
        1``.

    Raises
    ------
    TypeError, ValueError
        For other types, shapes that do not fit, or arguments out of range.
    """
    return clamped_conv2d(input, weight, bias, stride, padding, dilation, groups)


def clamped_conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: IntPair,
    padding: IntPair | str,
    dilation: IntPair,
    groups: int,
    clamp: Clamp = None,
) -> Tensor:
    """Return :func:`conv2d`, moved into the range `clamp` unless that is None."""
    if not isinstance(input, TensorBase):
        refuse(input, "conv2d", "input")
    if not isinstance(weight, TensorBase):
        refuse(weight, "conv2d", "weight")
    if bias is not None and not isinstance(bias, TensorBase):
        refuse(bias, "conv2d", "bias", "a Tensor or None")
    strides, steps = pair(stride, "conv2d", "stride"), pair(dilation, "conv2d", "dilation")
    if isinstance(padding, str):
        input, pads = _named_padding(input, weight, padding, strides, steps)
    else:
        pads = pair(padding, "conv2d", "padding")
    if input._blocks is None and input._array.ndim == 3:
        batch = input.unsqueeze(0)
        return clamped_conv2d(batch, weight, bias, strides, pads, steps, groups, clamp).squeeze(0)
    if clamp is None:
        return Conv2d.apply(input, weight, bias, strides, pads, steps, groups)
    kind = Conv2dRelu if clamp is RELU else Conv2dClamp
    return kind.apply(input, weight, bias, strides, pads, steps, groups, clamp)


def normed_conv2d(
    input: Tensor,
    weight: Tensor,
    stride: IntPair,
    padding: IntPair,
    dilation: IntPair,
    groups: int,
    norm: Norm,
    clamp: Clamp,
) -> Tensor:
    """Return :func:`conv2d`, normalised as batch norm does in evaluation, outside any graph.

    To the bits of the two one after the other.
    """
    factor, start, mean, var, eps = norm
    scale, shift = _core.batch_norm_factors(
        optional_array(factor), optional_array(start), mean._array, var._array, eps
    )
    cache, version = cache_of(weight)
    dst = _core.conv2d(
        input._blocks or input._array,
        weight._array,
        shift,
        pair(stride, "conv2d", "stride"),
        pair(padding, "conv2d", "padding"),
        pair(dilation, "conv2d", "dilation"),
        groups,
        cache,
        version,
        scale,
        None,
        clamp,
        _KEPT,
    )
    return wrap(dst)


def conv2d_fused(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
    *,
    scale: Tensor | None = None,
    residual: Tensor | None = None,
    activation: str | tuple[float, float] | None = None,
) -> Tensor:
    """Return ``activation(scale * conv2d(input, weight) + bias + residual)`` in one pass.

    For inference: the result is outside any graph. What a graph compiler replaces a chain of
    operations by.

    Parameters
    ----------
    input, weight, bias, stride, padding, dilation, groups
        As in :func:`conv2d`, a batch and pairs only.
    scale : Tensor, optional
        [out_channels].
    residual : Tensor, optional
        Of the shape of the result.
    activation : str or pair of float, optional
        "relu", "relu6", or the range that values are moved into.

    Raises
    ------
    TypeError, ValueError
        As :func:`conv2d`, and for a residual or scale that does not fit.
    """
    cache, version = cache_of(weight)
    dst = _core.conv2d(
        input._array,
        weight._array,
        optional_array(bias),
        stride,
        padding,
        dilation,
        groups,
        cache,
        version,
        optional_array(scale),
        optional_array(residual),
        clamp_of(activation, "conv2d"),
    )
    return wrap(dst)


def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: IntOne = 1,
    padding: IntOne | str = 0,
    dilation: IntOne = 1,
    groups: int = 1,
) -> Tensor:
    """Return the cross-correlation of sequences with filters (PyTorch's ``conv1d``).

    Parameters
    ----------
    input : Tensor
        [n, in_channels, length] or [in_channels, length]; float32 or float64.
    weight : Tensor
        [out_channels, in_channels / groups, k].
    bias : Tensor, optional
        [out_channels].
    stride, dilation, padding, groups
        As in :func:`conv2d`, in one dimension.

    Returns
    -------
    Tensor
        [n, out_channels, length'].

    Raises
    ------
    TypeError, ValueError
        For other types, shapes that do not fit, or arguments out of range.
    """
    x, filters = array_of(input, "conv1d"), array_of(weight, "conv1d", "weight")
    if x.ndim not in (2, 3) or filters.ndim != 3:
        raise OperationError(
            "conv1d: input must be [n, c, length] or [c, length] and weight have 3 dimensions, but "
            f"their shapes are {list(x.shape)} and {list(filters.shape)}"
        )
    pads = padding if isinstance(padding, str) else (0, single(padding, "conv1d", "padding"))
    step = 1, single(stride, "conv1d", "stride")
    spread = 1, single(dilation, "conv1d", "dilation")
    with renamed("conv2d", "conv1d"):
        dst = conv2d(input.unsqueeze(-2), weight.unsqueeze(-2), bias, step, pads, spread, groups)
    return dst.squeeze(-2)


def _named_padding(
    input: Tensor, weight: Tensor, name: str, stride: tuple[int, int], dilation: tuple[int, int]
) -> tuple[Tensor, tuple[int, int]]:
    """Return the input and the symmetric padding for "valid" and "same"."""
    if name == "valid":
        return input, (0, 0)
    if name != "same":
        raise OperationError(f"conv2d: padding must be 'valid', 'same' or ints, but got {name!r}")
    if stride != (1, 1):
        raise OperationError(f"conv2d: padding='same' needs stride 1, but got {stride}")
    if weight._array.ndim != 4:
        raise OperationError(
            f"conv2d: weight must have 4 dimensions, got {list(weight._array.shape)}"
        )
    total = [
        step * (extent - 1) for step, extent in zip(dilation, weight._array.shape[2:], strict=True)
    ]
    low = total[0] // 2, total[1] // 2
    extra = total[0] % 2, total[1] % 2
    if extra != (0, 0):
        # An even kernel needs one more row or column, which goes to the end, as in PyTorch.
        input = pad(input, (0, extra[1], 0, extra[0]))
    return input, low
