"""Pooling of sequences: that of images of one row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rushlight.errors import OperationError
from rushlight.ops._common import array_of, renamed
from rushlight.ops.conv import IntOne, single
from rushlight.ops.pooling import adaptive_avg_pool2d, adaptive_max_pool2d, avg_pool2d, max_pool2d

if TYPE_CHECKING:
    from rushlight.tensor import Tensor

__all__ = ["adaptive_avg_pool1d", "adaptive_max_pool1d", "avg_pool1d", "max_pool1d"]


def _as_image(input: Tensor, operation: str) -> Tensor:
    """Return [n, c, 1, length] for [n, c, length], [c, 1, length] for [c, length]."""
    shape = array_of(input, operation).shape
    if len(shape) not in (2, 3):
        raise OperationError(
            f"{operation}: input must be [n, c, length] or [c, length], but has shape {list(shape)}"
        )
    return input.unsqueeze(-2)


def _unimaged(result: Any) -> Any:
    """Return values, or values and indices, without their one row."""
    if isinstance(result, tuple):
        return tuple(each.squeeze(-2) for each in result)
    return result.squeeze(-2)


def max_pool1d(
    input: Tensor,
    kernel_size: IntOne,
    stride: IntOne | None = None,
    padding: IntOne = 0,
    dilation: IntOne = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Return the maximum of each window of a sequence (PyTorch's ``max_pool1d``); NaN wins.

    Parameters
    ----------
    input : Tensor
        [n, c, length] or [c, length], float32 or float64.
    kernel_size, stride, padding, dilation, ceil_mode
        As in :func:`max_pool2d`, in one dimension.
    return_indices : bool
        Return also the position of each maximum, as int64.

    Raises
    ------
    TypeError, ValueError
        For other types, or arguments out of range.
    """
    name, image = "max_pool1d", _as_image(input, "max_pool1d")
    kernel = single(kernel_size, name, "kernel_size")
    step = kernel if stride is None else single(stride, name, "stride")
    pads = 0, single(padding, name, "padding")
    spread = 1, single(dilation, name, "dilation")
    with renamed("max_pool2d", name):
        result = max_pool2d(image, (1, kernel), (1, step), pads, spread, ceil_mode, return_indices)
    return _unimaged(result)


def avg_pool1d(
    input: Tensor,
    kernel_size: IntOne,
    stride: IntOne | None = None,
    padding: IntOne = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """Return the mean of each window of a sequence (PyTorch's ``avg_pool1d``).

    Parameters
    ----------
    input : Tensor
        [n, c, length] or [c, length], float32 or float64.
    kernel_size, stride, padding, ceil_mode, count_include_pad
        As in :func:`avg_pool2d`, in one dimension.

    Raises
    ------
    TypeError, ValueError
        For other types, or arguments out of range.
    """
    name, image = "avg_pool1d", _as_image(input, "avg_pool1d")
    kernel = single(kernel_size, name, "kernel_size")
    step = kernel if stride is None else single(stride, name, "stride")
    pads = 0, single(padding, name, "padding")
    with renamed("avg_pool2d", name):
        result = avg_pool2d(image, (1, kernel), (1, step), pads, ceil_mode, count_include_pad)
    return result.squeeze(-2)


def adaptive_avg_pool1d(input: Tensor, output_size: IntOne) -> Tensor:
    """Return the means of windows laid out for a given length.

    Parameters
    ----------
    input : Tensor
        [n, c, length] or [c, length], float32 or float64.
    output_size : int
        Length of the result.

    Raises
    ------
    TypeError, ValueError
        For other types, or a negative length.
    """
    name, image = "adaptive_avg_pool1d", _as_image(input, "adaptive_avg_pool1d")
    with renamed("adaptive_avg_pool2d", name):
        return adaptive_avg_pool2d(image, (1, single(output_size, name, "output_size"))).squeeze(-2)


def adaptive_max_pool1d(input: Tensor, output_size: IntOne, return_indices: bool = False) -> Any:
    """Return the maxima of windows laid out as in :func:`adaptive_avg_pool1d`.

    With `return_indices` also the position of each maximum, as int64.
    """
    name, image = "adaptive_max_pool1d", _as_image(input, "adaptive_max_pool1d")
    size = 1, single(output_size, name, "output_size")
    with renamed("adaptive_max_pool2d", name):
        return _unimaged(adaptive_max_pool2d(image, size, return_indices))
