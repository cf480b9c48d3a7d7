"""Arithmetic made of other operations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rushlight.errors import OperationError
from rushlight.ops._common import Operand, Scalar, array_of, as_index, wrap_dim
from rushlight.ops.elementwise import add, add_, div, mul, sub
from rushlight.ops.shape import narrow

if TYPE_CHECKING:
    from rushlight.tensor import Tensor

__all__ = ["addcdiv", "addcdiv_", "addcmul", "addcmul_", "diff", "lerp", "lerp_"]


def lerp(input: Tensor, end: Tensor, weight: Operand) -> Tensor:
    """Return ``input + weight * (end - input)``."""
    return add(input, mul(sub(end, input), weight))


def lerp_(input: Tensor, end: Tensor, weight: Operand) -> Tensor:
    """Move `input` towards `end` by the share `weight`, in place, and return it."""
    return add_(input, mul(sub(end, input), weight))


def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Scalar = 1) -> Tensor:
    """Return ``input + value * tensor1 * tensor2``."""
    return add(input, mul(tensor1, tensor2), alpha=value)


def addcmul_(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Scalar = 1) -> Tensor:
    """Add ``value * tensor1 * tensor2`` to `input` in place and return it."""
    return add_(input, mul(tensor1, tensor2), alpha=value)


def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Scalar = 1) -> Tensor:
    """Return ``input + value * tensor1 / tensor2``."""
    return add(input, div(tensor1, tensor2), alpha=value)


def addcdiv_(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Scalar = 1) -> Tensor:
    """Add ``value * tensor1 / tensor2`` to `input` in place and return it."""
    return add_(input, div(tensor1, tensor2), alpha=value)


def diff(input: Tensor, n: int = 1, dim: int = -1) -> Tensor:
    """Return the differences of neighbours along `dim`, taken `n` times.

    Raises
    ------
    ValueError
        When `input` is 0-d or `n` is negative.
    """
    ndim = array_of(input, "diff").ndim
    if not ndim or as_index(n, "diff", "n") < 0:
        raise OperationError(f"diff: needs 1 or more dimensions and n >= 0, got {ndim} and n={n}")
    axis = wrap_dim(dim, ndim, "diff")
    for _ in range(n):
        length = max(input._array.shape[axis] - 1, 0)
        start = min(1, input._array.shape[axis])
        input = sub(narrow(input, axis, start, length), narrow(input, axis, 0, length))
    return input
