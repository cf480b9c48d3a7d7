"""Matrix products and the linear layer, on the packed GEMM."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rushlight import _core
from rushlight.autograd.base import TensorBase, wrap
from rushlight.autograd.primitive import Primitive
from rushlight.autograd.sums import sum_to
from rushlight.dtypes import Array
from rushlight.errors import OperationError
from rushlight.ops._common import Scalar, array_of, refuse
from rushlight.ops.clamped import RELU, BehindClamp, BehindRelu
from rushlight.ops.elementwise import add, mul
from rushlight.ops.prepared import Clamp, cache_of, clamp_of, optional_array

if TYPE_CHECKING:
    from rushlight.tensor import Tensor

__all__ = ["addmm", "bmm", "dot", "linear", "matmul", "mm", "mv", "outer"]


class Linear(Primitive):
    warns = False

    @classmethod
    def name(cls) -> str:
        return "AddmmBackward0"

    clamp: Clamp = None

    def forward(self, src: Tensor, weight: Tensor, bias: Tensor | None) -> Array:
        self.save(src, weight)
        cache, version = cache_of(weight)
        shift = None if bias is None else bias._array
        return _core.linear(
            src._array, weight._array, shift, cache, version, None, None, self.clamp
        )

    def backward(self, grad: Array) -> tuple[Array | None, ...]:
        src, weight = self.saved[:2]
        return _core.linear_backward(src, weight, grad, *self.needs_input_grad[:3])


class LinearRelu(BehindRelu, Linear):
    """Linear and the relu behind it."""


class LinearClamp(BehindClamp, Linear):
    """Linear and the relu6, say, behind it."""


class MatMul(Primitive):
    """Matrices, or stacks of matrices whose leading dimensions broadcast."""

    @classmethod
    def name(cls) -> str:
        return "MmBackward0"

    def forward(self, a: Tensor, b: Tensor) -> Array:
        if self._saved is not None:
            need_a, need_b = self.needs_input_grad
            self.save(a if need_b else None, b if need_a else None)
            self._likes = [(each._array.shape, each._array.dtype) for each in (a, b)]
        return product(a._array, b._array)

    def backward(self, grad: Array) -> tuple[Array | None, Array | None]:
        x, y = self.saved
        need_a, need_b = self.needs_input_grad
        return (
            sum_to(product(grad, y.swapaxes(-1, -2)), *self._likes[0]) if need_a else None,
            sum_to(product(x.swapaxes(-1, -2), grad), *self._likes[1]) if need_b else None,
        )


def product(x: Array, y: Array) -> Array:
    """Return the matrix product of arrays of two or more dimensions; integers go to NumPy."""
    if x.dtype.kind != "f":
        return np.asarray(np.matmul(x, y))
    if x.ndim == y.ndim == 2:
        return _core.matmul(x, y)
    lead = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    stacks = [
        np.broadcast_to(each, lead + each.shape[-2:]).reshape(-1, *each.shape[-2:])
        if each.size
        else np.zeros((int(np.prod(lead)), *each.shape[-2:]), each.dtype)
        for each in (x, y)
    ]
    return _core.matmul(*stacks).reshape(*lead, x.shape[-2], y.shape[-1])


def _operands(a: object, b: object, operation: str) -> tuple[Array, Array]:
    x, y = array_of(a, operation), array_of(b, operation, "other")
    if x.dtype != y.dtype:
        raise TypeError(
            f"{operation}: both tensors must have one dtype, but got {x.dtype} and {y.dtype}"
        )
    return x, y


def matmul(input: Tensor, other: Tensor) -> Tensor:
    """Return the matrix product (PyTorch's and NumPy's ``@``).

    Parameters
    ----------
    input : Tensor
        [..., m, k], or [k] for a row.
    other : Tensor
        [..., k, n], or [k] for a column. Leading dimensions broadcast.

    Raises
    ------
    TypeError, ValueError
        For different types, 0-d tensors, or sizes that do not fit.
    """
    x, y = _operands(input, other, "matmul")
    if not x.ndim or not y.ndim:
        raise OperationError("matmul: both tensors must have at least 1 dimension")
    left = input.unsqueeze(0) if x.ndim == 1 else input
    right = other.unsqueeze(1) if y.ndim == 1 else other
    if left._array.shape[-1] != right._array.shape[-2]:
        raise OperationError(
            f"matmul: shapes {list(x.shape)} and {list(y.shape)} do not fit: the last size of the "
            f"first must equal the {'only' if y.ndim == 1 else 'second last'} size of the second"
        )
    try:
        np.broadcast_shapes(left._array.shape[:-2], right._array.shape[:-2])
    except ValueError:
        raise OperationError(
            f"matmul: the leading sizes of {list(x.shape)} and {list(y.shape)} do not broadcast"
        ) from None
    result: Tensor = MatMul.apply(left, right)
    if y.ndim == 1:
        result = result.squeeze(-1)
    return result.squeeze(-1 if y.ndim == 1 else -2) if x.ndim == 1 else result


def _require_ndim(operation: str, ndim: int, *tensors: object) -> None:
    for each in tensors:
        array = array_of(each, operation)
        if array.ndim != ndim:
            raise OperationError(
                f"{operation}: tensors must have {ndim} dimensions, but got {list(array.shape)}"
            )


def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """Return the product of two matrices, [m, k] and [k, n]."""
    _require_ndim("mm", 2, input, mat2)
    return matmul(input, mat2)


def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """Return the products of two stacks of matrices, [b, m, k] and [b, k, n]."""
    _require_ndim("bmm", 3, input, mat2)
    if input._array.shape[0] != mat2._array.shape[0]:
        raise OperationError(
            f"bmm: stacks of {input._array.shape[0]} and {mat2._array.shape[0]} matrices differ"
        )
    return matmul(input, mat2)


def mv(input: Tensor, vec: Tensor) -> Tensor:
    """Return the product of a matrix [m, k] and a vector [k]."""
    _require_ndim("mv", 2, input)
    _require_ndim("mv", 1, vec)
    return matmul(input, vec)


def dot(input: Tensor, other: Tensor) -> Tensor:
    """Return the inner product of two vectors."""
    _require_ndim("dot", 1, input, other)
    return matmul(input, other)


def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """Return the matrix of products of two vectors, [n] and [m]."""
    _require_ndim("outer", 1, input, vec2)
    return mul(input.unsqueeze(1), vec2.unsqueeze(0))


def addmm(
    input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Scalar = 1, alpha: Scalar = 1
) -> Tensor:
    """Return ``beta * input + alpha * (mat1 @ mat2)``."""
    result = mm(mat1, mat2)
    return add(mul(input, beta) if beta != 1 else input, result, alpha=alpha)


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``input @ weight.T + bias`` (PyTorch's ``linear``).

    Parameters
    ----------
    input : Tensor
        [..., in_features], float32 or float64.
    weight : Tensor
        [out_features, in_features].
    bias : Tensor, optional
        [out_features].

    Returns
    -------
    Tensor
        [..., out_features].

    Raises
    ------
    TypeError, ValueError
        For other types, or shapes that do not fit.
    """
    return clamped_linear(input, weight, bias, None)


def clamped_linear(input: Tensor, weight: Tensor, bias: Tensor | None, clamp: Clamp) -> Tensor:
    """Return :func:`linear`, moved into the range `clamp` unless that is None."""
    if not isinstance(input, TensorBase):
        refuse(input, "linear", "input")
    if not isinstance(weight, TensorBase):
        refuse(weight, "linear", "weight")
    if bias is not None and not isinstance(bias, TensorBase):
        refuse(bias, "linear", "bias", "a Tensor or None")
    if clamp is None:
        return Linear.apply(input, weight, bias)
    kind = LinearRelu if clamp is RELU else LinearClamp
    return kind.apply(input, weight, bias, clamp)


def linear_fused(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *,
    scale: Tensor | None = None,
    residual: Tensor | None = None,
    activation: str | tuple[float, float] | None = None,
) -> Tensor:
    """Return ``activation(scale * linear(input, weight) + bias + residual)`` in one pass.

    As :func:`rushlight.ops.conv.conv2d_fused`: for inference, outside any graph.
    """
    cache, version = cache_of(weight)
    dst = _core.linear(
        input._array,
        weight._array,
        optional_array(bias),
        cache,
        version,
        optional_array(scale),
        optional_array(residual),
        clamp_of(activation, "linear"),
    )
    return wrap(dst)
