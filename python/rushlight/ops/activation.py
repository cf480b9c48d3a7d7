"""relu, softmax and log-softmax."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight import _core
from rushlight.autograd.base import TensorBase
from rushlight.autograd.node import Primitive
from rushlight.dtypes import Array
from rushlight.ops._common import array_of, refuse, wrap_dim
from rushlight.ops.copying import cast

if TYPE_CHECKING:
    from rushlight.tensor import Tensor

__all__ = ["log_softmax", "relu", "relu_", "softmax"]


class Relu(Primitive):
    def forward(self, src: Tensor) -> Array:
        self.save_output()
        out = self.out
        if out is None:
            return _core.relu(src._array)
        if out.flags.c_contiguous and out.flags.aligned:
            _core.relu_(out)
            return out
        return _core.relu(out)

    def backward(self, diff_dst: Array) -> Array:
        return _core.relu_backward(self.saved[0], diff_dst)


class LogSoftmax(Primitive):
    def forward(self, src: Tensor, dim: int) -> Array:
        self._dim = dim
        self.save_output()
        return _core.log_softmax(src._array, dim)

    def backward(self, diff_dst: Array) -> tuple[Array, None]:
        return _core.log_softmax_backward(self.saved[0], diff_dst, self._dim), None


class Softmax(Primitive):
    def forward(self, src: Tensor, dim: int) -> Array:
        self._dim = dim
        self.save_output()
        dst = _core.log_softmax(src._array, dim)
        return np.exp(dst, out=dst)

    def backward(self, diff_dst: Array) -> tuple[Array, None]:
        (dst,) = self.saved
        if not dst.ndim:
            return np.zeros_like(dst), None
        weighted = diff_dst * dst
        return weighted - dst * weighted.sum(axis=self._dim, keepdims=True), None


def relu(input: Tensor) -> Tensor:
    """Return ``max(input, 0)``; NaN and -0.0 stay as they are.

    Parameters
    ----------
    input : Tensor
        Any shape; float32 or float64 on the kernel, int64 through NumPy.

    Raises
    ------
    TypeError
        For masks and anything that is no tensor.
    """
    if isinstance(input, TensorBase) and input._array.dtype.kind == "i":
        return input.clamp(min=0)
    if not isinstance(input, TensorBase):
        refuse(input, "relu", "input")
    return Relu.apply(input)


def relu_(input: Tensor) -> Tensor:
    """Replace negative elements of `input` by 0 and return it; see :func:`relu`."""
    if array_of(input, "relu_").dtype.kind == "i":
        return input.clamp_(min=0)
    return Relu.apply_(input)


def _softmax(operation: type[Primitive], input: Any, dim: int, dtype: Any, name: str) -> Tensor:
    axis = wrap_dim(dim, array_of(input, name).ndim, name)
    return operation.apply(input if dtype is None else cast(input, dtype), axis)


def log_softmax(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """Return the logarithm of :func:`softmax`, without overflow.

    Parameters
    ----------
    input : Tensor
        float32 or float64.
    dim : int
        Dimension whose exponentials sum to 1.
    dtype : dtype, optional
        Convert the input first.

    Raises
    ------
    IndexError, TypeError
        For a dimension out of range, or integers.
    """
    return _softmax(LogSoftmax, input, dim, dtype, "log_softmax")


def softmax(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """Return exponentials divided by their sum along `dim`; see :func:`log_softmax`."""
    return _softmax(Softmax, input, dim, dtype, "softmax")
