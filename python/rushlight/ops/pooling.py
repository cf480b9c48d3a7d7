"""Pooling of images: the maximum or the mean of windows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rushlight import _core
from rushlight.autograd.base import TensorBase
from rushlight.autograd.blocked import Blocked
from rushlight.autograd.grad_mode import state as recording
from rushlight.autograd.primitive import Primitive
from rushlight.dtypes import Array
from rushlight.errors import OperationError
from rushlight.ops._common import refuse
from rushlight.ops.conv import IntPair, pair

if TYPE_CHECKING:
    from rushlight.tensor import Tensor

__all__ = ["adaptive_avg_pool2d", "adaptive_max_pool2d", "avg_pool2d", "max_pool2d"]


class _WithIndices(Primitive):
    """A maximum of windows: values, and where in the plane each came from."""

    kernel: Any

    def forward(self, src: Tensor, *geometry: Any) -> tuple[Array, Array]:
        dst, indices = type(self).kernel(src._array, *geometry)
        if self._saved is not None:
            self.save(indices)
            self._shape, self._extra = src._array.shape, len(geometry)
        return dst, indices

    def backward(self, grad: Array, _: None) -> tuple[Array | None, ...]:
        (indices,) = self.saved
        diff_src = _core.max_pool2d_backward(grad, indices, self._shape)
        return (diff_src, *(None,) * self._extra)


class MaxPool2DWithIndices(_WithIndices):
    kernel = staticmethod(_core.max_pool2d)


class MaxPool2D(Primitive):
    """A maximum of windows of images in blocks of channels, without indices."""

    takes_blocks = True
    saves_output = True

    @classmethod
    def name(cls) -> str:
        return "MaxPool2DWithIndicesBackward0"

    def forward(self, src: Tensor, *geometry: Any) -> Blocked:
        assert src._blocks is not None
        self.save(src)
        self._geometry = geometry
        return _core.max_pool2d_blocked(src._blocks, *geometry)

    def backward(self, grad: Array | Blocked) -> tuple[Blocked | None, ...]:
        src, dst = self.saved
        diff_src = _core.max_pool2d_blocked_backward(src, dst, grad, *self._geometry)
        return (diff_src, *(None,) * len(self._geometry))


class AdaptiveMaxPool2D(_WithIndices):
    kernel = staticmethod(_core.adaptive_max_pool2d)


class AvgPool2D(Primitive):
    def forward(self, src: Tensor, *geometry: Any) -> Array:
        self._shape, self._geometry = src._array.shape, geometry
        return _core.avg_pool2d(src._array, *geometry)

    def backward(self, grad: Array) -> tuple[Array | None, ...]:
        diff_src = _core.avg_pool2d_backward(grad, self._shape, *self._geometry)
        return (diff_src, *(None,) * len(self._geometry))


class AdaptiveAvgPool2D(Primitive):
    _blocked = False

    def forward(self, src: Tensor, output_size: tuple[int, int]) -> Array:
        if src._blocks is not None and output_size == (1, 1):
            self._blocked = True
            self._shape = src._blocks.shape
            return _core.global_mean(src._blocks)
        self._shape = src._array.shape
        return _core.adaptive_avg_pool2d(src._array, output_size)

    def backward(self, grad: Array) -> tuple[Array | Blocked, None]:
        if self._blocked:
            return _core.global_mean_backward(grad, self._shape), None
        return _core.adaptive_avg_pool2d_backward(grad, self._shape), None


def _batched(input: Any, operation: str) -> tuple[Tensor, bool]:
    """Return the input as [n, c, h, w], and whether a single image [c, h, w] was given."""
    if not isinstance(input, TensorBase):
        refuse(input, operation, "input")
    if input._blocks is not None:
        return input, False  # type: ignore[return-value]  # every instance is a Tensor
    if input._array.ndim not in (3, 4):
        raise OperationError(
            f"{operation}: input must be [n, c, h, w] or [c, h, w], but has shape "
            f"{list(input._array.shape)}"
        )
    single = input._array.ndim == 3
    return (input.unsqueeze(0) if single else input), single  # type: ignore[attr-defined,return-value]  # every instance is a Tensor


def max_pool2d(
    input: Tensor,
    kernel_size: IntPair,
    stride: IntPair | None = None,
    padding: IntPair = 0,
    dilation: IntPair = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Return the maximum of each window (PyTorch's ``max_pool2d``); NaN wins.

    Parameters
    ----------
    input : Tensor
        [n, c, h, w] or [c, h, w], float32 or float64.
    kernel_size : int or pair of int
        Rows and columns of the window.
    stride : int or pair of int, optional
        Steps of the window; `kernel_size` by default.
    padding : int or pair of int
        Rows and columns of -inf added on both sides, at most half of the window.
    dilation : int or pair of int
        Steps between the elements of a window.
    ceil_mode : bool
        Round the output size up: the last windows may reach over the edge.
    return_indices : bool
        Return also the flat position of each maximum in its plane, as int64.

    Returns
    -------
    Tensor or tuple of Tensor
        [n, c, oh, ow].

    Raises
    ------
    TypeError, ValueError
        For other types, or arguments out of range.
    """
    batch, single = _batched(input, "max_pool2d")
    kernel = pair(kernel_size, "max_pool2d", "kernel_size")
    geometry = (
        kernel,
        kernel if stride is None else pair(stride, "max_pool2d", "stride"),
        pair(padding, "max_pool2d", "padding"),
        pair(dilation, "max_pool2d", "dilation"),
        ceil_mode,
    )
    # What follows operations knows the maximum with its indices.
    if batch._blocks is not None and recording.tape is None and not return_indices:
        return MaxPool2D.apply(batch, *geometry)
    dst, indices = MaxPool2DWithIndices.apply_many(batch, *geometry)
    return _unbatched(dst, indices, single, return_indices)


def _unbatched(dst: Tensor, indices: Tensor, single: bool, both: bool) -> Any:
    if single:
        dst = dst.squeeze(0)
    if not both:
        return dst
    return dst, indices.squeeze(0) if single else indices


def avg_pool2d(
    input: Tensor,
    kernel_size: IntPair,
    stride: IntPair | None = None,
    padding: IntPair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Return the mean of each window (PyTorch's ``avg_pool2d``).

    Parameters
    ----------
    input : Tensor
        [n, c, h, w] or [c, h, w], float32 or float64.
    kernel_size, stride, padding, ceil_mode
        As in :func:`max_pool2d`, with zeros for padding.
    count_include_pad : bool
        Count the padding among the values of a window.
    divisor_override : int, optional
        What to divide the sums by instead of the count.

    Returns
    -------
    Tensor
        [n, c, oh, ow].

    Raises
    ------
    TypeError, ValueError
        For other types, or arguments out of range.
    """
    batch, single = _batched(input, "avg_pool2d")
    kernel = pair(kernel_size, "avg_pool2d", "kernel_size")
    dst: Tensor = AvgPool2D.apply(
        batch,
        kernel,
        kernel if stride is None else pair(stride, "avg_pool2d", "stride"),
        pair(padding, "avg_pool2d", "padding"),
        ceil_mode,
        count_include_pad,
        divisor_override,
    )
    return dst.squeeze(0) if single else dst


def _output_size(input: Tensor, value: Any, operation: str) -> tuple[int, int]:
    """Return the size asked for, with None standing for the size of the input."""
    sizes = list(value) if isinstance(value, (tuple, list)) else [value, value]
    if len(sizes) != 2:
        raise OperationError(f"{operation}: output_size must be one size or two, but got {value}")
    given = [
        have if want is None else want
        for want, have in zip(sizes, (input._blocks or input._array).shape[2:], strict=True)
    ]
    return pair(given, operation, "output_size")


def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """Return the means of windows laid out for a given output size.

    Parameters
    ----------
    input : Tensor
        [n, c, h, w] or [c, h, w], float32 or float64.
    output_size : int, None or pair of them
        Rows and columns of the result; None keeps the input's.

    Returns
    -------
    Tensor
        [n, c, *output_size]; window ``i`` covers rows from ``i h // oh`` to
        ``ceil((i + 1) h / oh)``.

    Raises
    ------
    TypeError, ValueError
        For other types, or a negative size.
    """
    batch, single = _batched(input, "adaptive_avg_pool2d")
    size = _output_size(batch, output_size, "adaptive_avg_pool2d")
    dst: Tensor = AdaptiveAvgPool2D.apply(batch, size)
    return dst.squeeze(0) if single else dst


def adaptive_max_pool2d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Return the maxima of windows laid out as in :func:`adaptive_avg_pool2d`."""
    batch, single = _batched(input, "adaptive_max_pool2d")
    size = _output_size(batch, output_size, "adaptive_max_pool2d")
    dst, indices = AdaptiveMaxPool2D.apply_many(batch, size)
    return _unbatched(dst, indices, single, return_indices)
