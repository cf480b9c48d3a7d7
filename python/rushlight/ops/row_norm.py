"""Normalisation of each sample: over its features, its groups of channels, or to length 1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight.autograd.primitive import Primitive
from rushlight.dtypes import Array
from rushlight.errors import OperationError
from rushlight.ops._common import as_index, as_shape, quiet
from rushlight.ops.checks import check_shapes, floating_of, number, same_type
from rushlight.ops.elementwise import clamp, div
from rushlight.ops.reduction import norm
from rushlight.ops.shape import reshape

if TYPE_CHECKING:
    from rushlight.tensor import Tensor

__all__ = ["group_norm", "layer_norm", "normalize"]


class _RowNorm(Primitive):
    """Give each row of a matrix mean 0 and variance 1, then scale and shift.

    `rows` is the shape of the matrix, `layout` the shape (outer, k, inner) of the same elements
    in which weight and bias, of k elements, belong to the middle.
    """

    def forward(
        self,
        src: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        rows: tuple[int, int],
        layout: tuple[int, int, int],
        eps: float,
    ) -> Array:
        x = src._array
        self._rows, self._layout = rows, layout
        with quiet():
            normal, rstd = _standardised(x.reshape(rows), eps)
            self.save(weight, rstd)
            if weight is None and bias is None:
                self.saves_output = True
                return normal.reshape(x.shape)
            self.save(normal)
            dst = normal.reshape(layout)
            if weight is not None:
                dst = dst * weight._array.reshape(1, -1, 1)
            if bias is not None:
                dst = dst + bias._array.reshape(1, -1, 1)
        return dst.reshape(x.shape)

    def backward(self, grad: Array) -> tuple[Array | None, ...]:
        weight, rstd, normal = self.saved
        need_src, need_weight, need_bias = self.needs_input_grad[:3]
        diff = grad.reshape(self._layout)
        diff_src = diff_weight = diff_bias = None
        with quiet():
            if need_weight:
                diff_weight = _summed(diff * normal.reshape(self._layout))
            if need_bias:
                diff_bias = _summed(diff)
            if need_src:
                scaled = diff if weight is None else diff * weight.reshape(1, -1, 1)
                matrix = scaled.reshape(self._rows), normal.reshape(self._rows)
                diff_src = _standardised_backward(*matrix, rstd).reshape(grad.shape)
        return diff_src, diff_weight, diff_bias, None, None, None


def _standardised(x: Array, eps: float) -> tuple[Array, Array]:
    """Return the rows with mean 0 and variance 1, and what they were multiplied by.

    The mean is taken off before anything is squared, and sums run in float64.
    """
    if not x.size:
        return np.zeros(x.shape, x.dtype), np.zeros((len(x), 1), x.dtype)
    normal = x - x.mean(axis=1, dtype=np.float64, keepdims=True)
    normal = normal.astype(x.dtype, copy=False)
    variance = np.square(normal).mean(axis=1, dtype=np.float64, keepdims=True)
    rstd = (1 / np.sqrt(variance + eps)).astype(x.dtype)
    normal *= rstd
    return normal, rstd


def _standardised_backward(grad: Array, normal: Array, rstd: Array) -> Array:
    if not grad.size:
        return np.zeros_like(grad)
    along = (grad * normal).mean(axis=1, keepdims=True)
    diff = grad - grad.mean(axis=1, keepdims=True)
    diff -= normal * along
    diff *= rstd
    return diff


def _summed(values: Array) -> Array:
    """Return the sums of [outer, k, inner] for each of the k."""
    return values.sum(axis=(0, 2), dtype=np.float64).astype(values.dtype)


class LayerNorm(_RowNorm):
    @classmethod
    def name(cls) -> str:
        return "NativeLayerNormBackward0"


class GroupNorm(_RowNorm):
    @classmethod
    def name(cls) -> str:
        return "NativeGroupNormBackward0"


def layer_norm(
    input: Tensor,
    normalized_shape: int | Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise the last dimensions of each sample (PyTorch's ``layer_norm``).

    Parameters
    ----------
    input : Tensor
        [..., *normalized_shape], float32 or float64.
    normalized_shape : int or sequence of int
        The last dimensions, over which mean and variance are taken.
    weight, bias : Tensor, optional
        Of shape `normalized_shape`; factor and shift of the result.
    eps : float
        Added to the variance.

    Raises
    ------
    TypeError, ValueError
        For other types, or shapes that do not fit.

    References
    ----------
    Ba, Kiros and Hinton, "Layer Normalization", 2016.
    """
    same_type("layer_norm", input=input, weight=weight, bias=bias)
    given, shape = input._array.shape, as_shape((normalized_shape,), "layer_norm")
    if not shape or given[len(given) - len(shape) :] != shape or len(shape) > len(given):
        raise OperationError(
            f"layer_norm: input must end in normalized_shape {list(shape)}, of 1 dimension or "
            f"more, but has shape {list(given)}"
        )
    check_shapes("layer_norm", {"weight": weight, "bias": bias}, shape, "normalized_shape")
    if len(shape) > 1:
        weight, bias = (None if each is None else reshape(each, -1) for each in (weight, bias))
    rows, width = math.prod(given[: len(given) - len(shape)]), math.prod(shape)
    layout = (rows, width, 1)
    return LayerNorm.apply(
        input, weight, bias, (rows, width), layout, number(eps, "layer_norm", "eps")
    )


def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise groups of channels of each sample (PyTorch's ``group_norm``).

    Parameters
    ----------
    input : Tensor
        [n, c, ...], float32 or float64.
    num_groups : int
        Number of groups that the c channels are split into.
    weight, bias : Tensor, optional
        [c]; factor and shift of the result.
    eps : float
        Added to the variance.

    Raises
    ------
    TypeError, ValueError
        For other types, shapes that do not fit, channels that do not split evenly, or a single
        value to take statistics of.

    References
    ----------
    Wu and He, "Group Normalization", 2018.
    """
    same_type("group_norm", input=input, weight=weight, bias=bias)
    shape, groups = input._array.shape, as_index(num_groups, "group_norm", "num_groups")
    if len(shape) < 2:
        raise OperationError(f"group_norm: input must be [n, c, ...], but has shape {list(shape)}")
    if groups < 1 or shape[1] % groups:
        raise OperationError(
            f"group_norm: num_groups must divide the {shape[1]} channels of input, but is {groups}"
        )
    affine = {"weight": weight, "bias": bias}
    check_shapes("group_norm", affine, shape[1:2], "input has channels")
    n, c, inner = shape[0], shape[1], math.prod(shape[2:])
    width = c // groups * inner
    if n * width == 1:
        raise OperationError(
            "group_norm: statistics need more than 1 value per group, but input has shape "
            f"{list(shape)} and num_groups is {groups}"
        )
    rows = (n * groups, width)
    return GroupNorm.apply(
        input, weight, bias, rows, (n, c, inner), number(eps, "group_norm", "eps")
    )


def normalize(input: Tensor, p: float = 2.0, dim: Any = 1, eps: float = 1e-12) -> Tensor:
    """Return `input` divided by its norm along `dim` (PyTorch's ``normalize``).

    Parameters
    ----------
    input : Tensor
        float32 or float64.
    p : float
        Which norm: the root of the sum of absolute values to the power of p.
    dim : int or tuple of int
        Dimensions that the norm is taken over.
    eps : float
        Least divisor.

    Raises
    ------
    IndexError, TypeError
        For a dimension out of range, or anything else than a floating tensor.
    """
    floating_of(input, "normalize")
    size = norm(input, number(p, "normalize", "p"), dim, keepdim=True)
    return div(input, clamp(size, min=number(eps, "normalize", "eps")))
