"""Transposed convolution: the gradient of a convolution, taken as a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rushlight import _core
from rushlight.autograd.primitive import Primitive
from rushlight.dtypes import Array
from rushlight.errors import OperationError
from rushlight.ops._common import as_index, renamed
from rushlight.ops.checks import same_type
from rushlight.ops.conv import IntOne, IntPair, pair, single

if TYPE_CHECKING:
    from rushlight.tensor import Tensor

__all__ = ["conv_transpose1d", "conv_transpose2d"]

_Pair = tuple[int, int]


class _Geometry(NamedTuple):
    """The settings of the convolution that this one transposes, in the order that _core takes."""

    stride: _Pair
    padding: _Pair
    dilation: _Pair
    groups: int

    def output_size(self, size: _Pair, kernel: _Pair, extra: _Pair) -> _Pair:
        rows, columns = (
            (size[i] - 1) * self.stride[i]
            - 2 * self.padding[i]
            + self.dilation[i] * (kernel[i] - 1)
            + extra[i]
            + 1
            for i in (0, 1)
        )
        return rows, columns


class ConvTranspose2d(Primitive):
    @classmethod
    def name(cls) -> str:
        return "ConvolutionBackward0"

    def forward(
        self, src: Tensor, weight: Tensor, bias: Tensor | None, geometry: _Geometry, extra: _Pair
    ) -> Array:
        self.save(src, weight)
        x, filters = src._array, weight._array
        self._geometry = geometry
        # A step or more of extra rows are rows that the convolution makes outputs of, all 0 here.
        self._more = extra[0] // geometry.stride[0], extra[1] // geometry.stride[1]
        size = geometry.output_size(x.shape[2:], filters.shape[2:], extra)
        # Only the shape of this one counts.
        shape = (len(x), filters.shape[1] * geometry.groups, *size)
        dst_like = _core.empty(shape, x.dtype, "conv_transpose2d")
        dst, _, _ = _core.conv2d_backward(
            dst_like, filters, self._grown(x), *geometry, True, False, False
        )
        assert isinstance(dst, np.ndarray)
        if bias is not None:
            dst += bias._array.reshape(-1, 1, 1)
        return dst

    def _grown(self, x: Array) -> Array:
        if self._more == (0, 0):
            return x
        return np.pad(x, ((0, 0), (0, 0), (0, self._more[0]), (0, self._more[1])))

    def backward(self, grad: Array) -> tuple[Array | None, ...]:
        x, weight = self.saved
        need_src, need_weight, need_bias = self.needs_input_grad[:3]
        diff_src = diff_weight = diff_bias = None
        if need_src:
            whole = _core.conv2d(grad, weight, None, *self._geometry)
            assert isinstance(whole, np.ndarray)
            diff_src = whole[:, :, : x.shape[2], : x.shape[3]]
        if need_weight:
            _, diff_weight, _ = _core.conv2d_backward(
                grad, weight, self._grown(x), *self._geometry, False, True, False
            )
        if need_bias:
            diff_bias = grad.sum(axis=(0, 2, 3), dtype=np.float64).astype(grad.dtype)
        return diff_src, diff_weight, diff_bias, None, None


def _check_shapes(x: Array, weight: Array, bias: Array | None, groups: int) -> None:
    if x.ndim != 4 or weight.ndim != 4:
        raise OperationError(
            "conv_transpose2d: input must be [n, c, h, w] or [c, h, w] and weight have 4 "
            f"dimensions, but their shapes are {list(x.shape)} and {list(weight.shape)}"
        )
    if groups < 1 or weight.shape[0] % groups:
        raise OperationError(
            f"conv_transpose2d: groups must divide the {weight.shape[0]} input channels of weight, "
            f"but is {groups}"
        )
    if x.shape[1] != weight.shape[0]:
        raise OperationError(
            f"conv_transpose2d: weight has {weight.shape[0]} input channels, but input has "
            f"{x.shape[1]}"
        )
    if min(x.shape[2:]) < 1 or min(weight.shape[2:]) < 1:
        raise OperationError(
            "conv_transpose2d: the spatial sizes of input and weight must be at least 1, but "
            f"their shapes are {list(x.shape)} and {list(weight.shape)}"
        )
    channels = weight.shape[1] * groups
    if bias is not None and bias.shape != (channels,):
        raise OperationError(
            f"conv_transpose2d: bias must have shape [{channels}], as weight has output channels, "
            f"but has {list(bias.shape)}"
        )


def _check_settings(geometry: _Geometry, extra: _Pair) -> None:
    for name, values, least in (
        ("stride", geometry.stride, 1),
        ("padding", geometry.padding, 0),
        ("dilation", geometry.dilation, 1),
        ("output_padding", extra, 0),
    ):
        if min(values) < least:
            raise OperationError(
                f"conv_transpose2d: {name} must be at least {least}, but got {values}"
            )
        if max(values) >= 2**31:
            raise OperationError(f"conv_transpose2d: {name} must be below 2**31, but got {values}")
    for more, step, spread in zip(extra, geometry.stride, geometry.dilation, strict=True):
        if more >= max(step, spread):
            raise OperationError(
                "conv_transpose2d: output_padding must be smaller than stride or dilation, but "
                f"output_padding is {extra}, stride {geometry.stride} and dilation "
                f"{geometry.dilation}"
            )


def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: IntPair = 1,
    padding: IntPair = 0,
    output_padding: IntPair = 0,
    groups: int = 1,
    dilation: IntPair = 1,
) -> Tensor:
    """Spread images through filters: what ``conv2d``'s gradient does (``conv_transpose2d``).

    Parameters
    ----------
    input : Tensor
        [n, in_channels, h, w], or one image [in_channels, h, w]; float32 or float64.
    weight : Tensor
        [in_channels, out_channels / groups, kh, kw].
    bias : Tensor, optional
        [out_channels].
    stride : int or pair of int
        Distance in the result between neighbours of the input, in rows and columns.
    padding : int or pair of int
        Rows and columns cut off on both sides of the result.
    output_padding : int or pair of int
        Rows and columns added at the end of the result; smaller than stride or dilation.
    groups : int
        Number of groups of channels that are treated separately.
    dilation : int or pair of int
        Steps between the elements of a filter.

    Returns
    -------
    Tensor
        [n, out_channels, oh, ow] with ``oh = (h - 1) stride - 2 padding + dilation (kh - 1) +
        output_padding + 1``.

    Raises
    ------
    TypeError, ValueError
        For other types, shapes that do not fit, or arguments out of range.

    References
    ----------
    Zeiler et al., "Deconvolutional Networks", 2010.
    """
    name = "conv_transpose2d"
    same_type(name, input=input, weight=weight, bias=bias)
    geometry = _Geometry(
        pair(stride, name, "stride"),
        pair(padding, name, "padding"),
        pair(dilation, name, "dilation"),
        as_index(groups, name, "groups"),
    )
    extra = pair(output_padding, name, "output_padding")
    batch = input.unsqueeze(0) if input._array.ndim == 3 else input
    x, filters = batch._array, weight._array
    _check_shapes(x, filters, None if bias is None else bias._array, geometry.groups)
    _check_settings(geometry, extra)
    size = geometry.output_size(x.shape[2:], filters.shape[2:], extra)
    if min(size) < 1:
        raise OperationError(
            f"{name}: the result would be {size[0]} x {size[1]} for input of shape "
            f"{list(input._array.shape)}, weight of shape {list(filters.shape)} and padding "
            f"{geometry.padding}"
        )
    dst = ConvTranspose2d.apply(batch, weight, bias, geometry, extra)
    return dst if batch is input else dst.squeeze(0)


def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: IntOne = 1,
    padding: IntOne = 0,
    output_padding: IntOne = 0,
    groups: int = 1,
    dilation: IntOne = 1,
) -> Tensor:
    """Spread sequences through filters; :func:`conv_transpose2d` in one dimension.

    Parameters
    ----------
    input : Tensor
        [n, in_channels, length] or [in_channels, length]; float32 or float64.
    weight : Tensor
        [in_channels, out_channels / groups, k].
    bias : Tensor, optional
        [out_channels].
    stride, padding, output_padding, groups, dilation
        As in :func:`conv_transpose2d`, in one dimension.

    Raises
    ------
    TypeError, ValueError
        For other types, shapes that do not fit, or arguments out of range.
    """
    name = "conv_transpose1d"
    same_type(name, input=input, weight=weight, bias=bias)
    if input._array.ndim not in (2, 3) or weight._array.ndim != 3:
        raise OperationError(
            f"{name}: input must be [n, c, length] or [c, length] and weight have 3 dimensions, "
            f"but their shapes are {list(input._array.shape)} and {list(weight._array.shape)}"
        )
    settings: list[Any] = [
        (1, single(stride, name, "stride")),
        (0, single(padding, name, "padding")),
        (0, single(output_padding, name, "output_padding")),
        groups,
        (1, single(dilation, name, "dilation")),
    ]
    with renamed("conv_transpose2d", name):
        dst = conv_transpose2d(input.unsqueeze(-2), weight.unsqueeze(-2), bias, *settings)
    return dst.squeeze(-2)
