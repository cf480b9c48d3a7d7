"""Copies, conversions between element types, and writes of whole tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight import dtypes
from rushlight.autograd.base import TensorBase
from rushlight.autograd.primitive import Primitive
from rushlight.autograd.sums import sum_to
from rushlight.dtypes import Array
from rushlight.errors import OperationError
from rushlight.ops._common import NUMBERS, Scalar, array_of, quiet, refuse

if TYPE_CHECKING:
    from rushlight.tensor import Tensor

__all__ = ["clone", "contiguous", "copy_", "fill_", "zero_"]


class Clone(Primitive):
    def forward(self, a: Tensor) -> Array:
        return array_of(a, "clone").copy(order="C")

    def backward(self, grad: Array) -> Array:
        return grad


class Cast(Primitive):
    @classmethod
    def name(cls) -> str:
        return "ToCopyBackward0"

    def forward(self, a: Tensor, dtype: np.dtype[Any]) -> Array:
        self._from = a._array.dtype
        with quiet():
            return a._array.astype(dtype)

    def backward(self, grad: Array) -> tuple[Array, None]:
        return grad.astype(self._from), None


class Fill(Primitive):
    """Write a value, or an array that broadcasts, into every element."""

    def forward(self, a: Tensor, value: Any) -> Array:
        assert self.out is not None
        with quiet():
            self.out[...] = value
        return self.out

    def backward(self, grad: Array) -> tuple[Array, None]:
        return np.zeros_like(grad), None


class Copy(Primitive):
    def forward(self, a: Tensor, source: Tensor) -> Array:
        assert self.out is not None
        array = source._array
        self._like = (array.shape, array.dtype)
        try:
            # "unsafe" allows float to int, as PyTorch's copy_ does.
            with quiet():
                np.copyto(self.out, array, casting="unsafe")
        except ValueError:
            raise OperationError(
                f"copy_: a source of shape {list(array.shape)} does not broadcast to the "
                f"shape {list(self.out.shape)} of the tensor that is written"
            ) from None
        return self.out

    def backward(self, grad: Array) -> tuple[Array | None, Array | None]:
        need_target, need_source = self.needs_input_grad
        return (
            np.zeros_like(grad) if need_target else None,
            sum_to(grad, *self._like) if need_source else None,
        )


def clone(input: Tensor, *, memory_format: Any = None) -> Tensor:
    """Return a copy in memory of its own, inside the graph; `memory_format` is a hint."""
    dtypes.check_memory_format(memory_format, "clone")
    return Clone.apply(input)


def contiguous(input: Tensor, memory_format: Any = None) -> Tensor:
    """Return `input` itself if its memory is in row-major order, else a copy that is.

    `memory_format` is accepted for ported code: results are in row-major order here.
    """
    dtypes.check_memory_format(memory_format, "contiguous")
    return input if array_of(input, "contiguous").flags.c_contiguous else clone(input)


def cast(input: Tensor, dtype: Any) -> Tensor:
    """Return `input` with elements of `dtype`: itself if they are already, else a copy.

    Raises
    ------
    TypeError
        When `dtype` is not float32, float64, int64 or bool.
    """
    target = dtypes.as_dtype(dtype).numpy
    return input if array_of(input, "to").dtype == target else Cast.apply(input, target)


def copy_(input: Tensor, src: Tensor) -> Tensor:
    """Write the elements of `src`, converted and broadcast, into `input` and return it.

    Raises
    ------
    ValueError
        When the shape of `src` does not broadcast to that of `input`.
    """
    if not isinstance(src, TensorBase):
        refuse(src, "copy_", "src")
    return Copy.apply_(input, src)


def fill_(input: Tensor, value: Scalar | Tensor) -> Tensor:
    """Write `value` into every element of `input` and return it."""
    if isinstance(value, TensorBase):
        if value._array.ndim:
            refuse(value, "fill_", "value", "a number or a 0-d Tensor")
        value = value._array.item()
    elif not isinstance(value, NUMBERS):
        refuse(value, "fill_", "value", "a number or a 0-d Tensor")
    return Fill.apply_(input, value)


def zero_(input: Tensor) -> Tensor:
    """Write zeros into every element of `input` and return it."""
    return Fill.apply_(input, 0)
