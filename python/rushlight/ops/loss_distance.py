"""Losses and similarities that measure distances."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight.autograd.base import wrap
from rushlight.autograd.primitive import Primitive
from rushlight.autograd.sums import sum_to
from rushlight.dtypes import Array
from rushlight.errors import OperationError
from rushlight.ops import special
from rushlight.ops._common import array_of, quiet, wrap_dim
from rushlight.ops.checks import check_shapes, floating_of, number
from rushlight.ops.elementwise import add, clamp, div, minimum, mul, rsub, sub, where
from rushlight.ops.loss import check_reduction, difference, reduced
from rushlight.ops.pointwise import Pointwise
from rushlight.ops.reduction import norm, sum
from rushlight.ops.unary import abs, neg, sqrt, square

if TYPE_CHECKING:
    from rushlight.tensor import Tensor

__all__ = [
    "cosine_embedding_loss", "cosine_similarity", "huber_loss", "margin_ranking_loss",
    "pairwise_distance", "smooth_l1_loss", "triplet_margin_loss",
]  # fmt: skip


class SmoothL1(Pointwise):
    @staticmethod
    def value(x: Array, beta: float) -> Array:
        size = np.abs(x)
        return special.select(size < beta, 0.5 * size * size / beta, size - 0.5 * beta)

    @staticmethod
    def gradient(grad: Array, at: Array, beta: float) -> Array:
        return grad * np.clip(at / beta, -1, 1)


class Huber(Pointwise):
    @staticmethod
    def value(x: Array, delta: float) -> Array:
        size = np.abs(x)
        straight = delta * (size - 0.5 * delta)
        return special.select(size <= delta, 0.5 * size * size, straight)

    @staticmethod
    def gradient(grad: Array, at: Array, delta: float) -> Array:
        return grad * np.clip(at, -delta, delta)


class CosineSimilarity(Primitive):
    def forward(self, a: Tensor, b: Tensor, dim: int, eps: float) -> Array:
        self.save(a, b)
        self._dim, self._eps = dim, eps
        x, y = np.broadcast_arrays(a._array, b._array)
        with quiet():
            units = x / self._divisor(self._length(x)) * (y / self._divisor(self._length(y)))
            return np.asarray(units.sum(axis=dim))

    def _length(self, x: Array) -> Array:
        return np.sqrt(np.square(x).sum(axis=self._dim, keepdims=True))

    def _divisor(self, length: Array) -> Array:
        return np.maximum(length, length.dtype.type(self._eps))

    def backward(self, grad: Array) -> tuple[Array | None, Array | None, None, None]:
        x, y = self.saved
        spread, (wide_x, wide_y) = np.expand_dims(grad, self._dim), np.broadcast_arrays(x, y)
        need_x, need_y = self.needs_input_grad[:2]
        with quiet():
            return (
                sum_to(spread * self._slope(wide_x, wide_y), x.shape, x.dtype) if need_x else None,
                sum_to(spread * self._slope(wide_y, wide_x), y.shape, y.dtype) if need_y else None,
                None,
                None,
            )

    def _slope(self, x: Array, other: Array) -> Array:
        """Return the slope by `x`: what the other vector, of length 1, adds across it."""
        length = self._length(x)
        divisor = self._divisor(length)
        unit = other / self._divisor(self._length(other))
        cosine = (x / divisor * unit).sum(axis=self._dim, keepdims=True)
        # As in PyTorch, the length counts as variable below eps too.
        along = np.where(length == 0, 0, x / length)
        return np.asarray((unit - cosine * along) / divisor)


def smooth_l1_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", beta: float = 1.0
) -> Tensor:
    """Return the absolute differences, rounded off at 0 (PyTorch's ``smooth_l1_loss``).

    Parameters
    ----------
    input, target : Tensor
        float32 or float64, of one shape; another one of `target` is broadcast with a warning.
    reduction : {"mean", "sum", "none"}
    beta : float
        A difference d below it counts ``d * d / (2 * beta)``, others ``d - beta / 2``.

    Raises
    ------
    TypeError, ValueError
        For other types, shapes that do not broadcast, an unknown reduction or a negative beta.

    References
    ----------
    Girshick, "Fast R-CNN", 2015.
    """
    width = number(beta, "smooth_l1_loss", "beta")
    if not width >= 0:
        raise OperationError(f"smooth_l1_loss: beta must be at least 0, but got {beta}")
    _check_floating("smooth_l1_loss", input=input, target=target)
    apart = difference(input, target, reduction, "smooth_l1_loss")
    return reduced(SmoothL1.apply(apart, width) if width else abs(apart), reduction)


def huber_loss(
    input: Tensor,
    target: Tensor,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: Tensor | None = None,
) -> Tensor:
    """Return half the squared differences, straight from `delta` on (PyTorch's ``huber_loss``).

    Parameters
    ----------
    input, target : Tensor
        float32 or float64, of one shape; another one of `target` is broadcast with a warning.
    reduction : {"mean", "sum", "none"}
    delta : float
        A difference d above it counts ``delta * (d - delta / 2)``; above 0.
    weight : Tensor, optional
        Of the shape of `input`; factor of each element. The mean is over elements.

    Raises
    ------
    TypeError, ValueError
        For other types, shapes that do not fit, an unknown reduction or a delta of 0 or less.

    References
    ----------
    Huber, "Robust Estimation of a Location Parameter", 1964.
    """
    width = number(delta, "huber_loss", "delta")
    if not width > 0:
        raise OperationError(f"huber_loss: delta must be above 0, but got {delta}")
    _check_floating("huber_loss", input=input, target=target)
    each = Huber.apply(difference(input, target, reduction, "huber_loss"), width)
    if weight is not None:
        _check_floating("huber_loss", weight=weight)
        check_shapes("huber_loss", {"weight": weight}, input._array.shape, "input")
        each = mul(each, weight)
    return reduced(each, reduction)


def _check_floating(operation: str, **tensors: Any) -> None:
    for name, each in tensors.items():
        floating_of(each, operation, name)


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """Return the cosine of the angle between vectors (PyTorch's ``cosine_similarity``).

    Parameters
    ----------
    x1, x2 : Tensor
        float32 or float64, of one type; broadcast with each other.
    dim : int
        Dimension that holds the vectors.
    eps : float
        Least length that is divided by.

    Returns
    -------
    Tensor
        Of the shape of both, without `dim`.

    Raises
    ------
    IndexError, TypeError, ValueError
        For a dimension out of range, other types, or shapes that do not broadcast.
    """
    name = "cosine_similarity"
    x, y = floating_of(x1, name, "x1"), floating_of(x2, name, "x2")
    try:
        ndim = len(np.broadcast_shapes(x.shape, y.shape))
    except ValueError:
        raise OperationError(
            f"{name}: shapes {list(x.shape)} and {list(y.shape)} of x1 and x2 do not broadcast"
        ) from None
    axis = wrap_dim(dim, ndim, name)
    return CosineSimilarity.apply(x1, x2, axis, number(eps, name, "eps"))


def pairwise_distance(
    x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """Return the distances of vectors in the last dimension (PyTorch's ``pairwise_distance``).

    Parameters
    ----------
    x1, x2 : Tensor
        [..., features], broadcast with each other; float32 or float64.
    p : float
        Which norm the distance is.
    eps : float
        Added to the differences, so that no distance is 0.
    keepdim : bool
        Keep the last dimension, of size 1.

    Raises
    ------
    TypeError, ValueError
        For other types, or shapes that do not broadcast.
    """
    _check_floating("pairwise_distance", x1=x1, x2=x2)
    apart = add(sub(x1, x2), number(eps, "pairwise_distance", "eps"))
    return norm(apart, number(p, "pairwise_distance", "p"), -1, keepdim)


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """Return how far negatives fail to be farther than positives (``triplet_margin_loss``).

    Parameters
    ----------
    anchor, positive, negative : Tensor
        [n, features] or [features], float32 or float64.
    margin : float
        By how much the distance to the negative is to exceed that to the positive; above 0.
    p, eps
        As in :func:`pairwise_distance`.
    swap : bool
        Take the distance of positive and negative where it is the smaller one.
    reduction : {"mean", "sum", "none"}

    Raises
    ------
    TypeError, ValueError
        For other types, shapes that do not broadcast, an unknown reduction or a margin of 0 or
        less.

    References
    ----------
    Balntas et al., "Learning Shallow Convolutional Feature Descriptors with Triplet Losses", 2016.
    """
    name = "triplet_margin_loss"
    check_reduction(name, reduction)
    given = {"anchor": anchor, "positive": positive, "negative": negative}
    dims = {floating_of(each, name, key).ndim for key, each in given.items()}
    if len(dims) > 1:
        raise OperationError(f"{name}: inputs must have equally many dimensions, but have {dims}")
    gap = number(margin, name, "margin")
    if not gap > 0:
        raise OperationError(f"{name}: margin must be above 0, but got {margin}")
    near = pairwise_distance(anchor, positive, p, eps)
    far = pairwise_distance(anchor, negative, p, eps)
    if swap:
        far = minimum(far, pairwise_distance(positive, negative, p, eps))
    return reduced(clamp(add(sub(near, far), gap), min=0), reduction)


def cosine_embedding_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, reduction: str = "mean"
) -> Tensor:
    """Return how far the cosines of pairs are from 1, or above `margin` where they must not be.

    Parameters
    ----------
    input1, input2 : Tensor
        [n, d], or one pair of [d]; float32 or float64.
    target : Tensor
        [n], or one number: 1 where the loss is 1 less the cosine, -1 where it is the cosine less
        `margin`, at least 0.
    margin : float
    reduction : {"mean", "sum", "none"}

    Raises
    ------
    TypeError, ValueError
        For other types, shapes that do not fit, or an unknown reduction.
    """
    name = "cosine_embedding_loss"
    check_reduction(name, reduction)
    limit = number(margin, name, "margin")
    shape = floating_of(input1, name, "input1").shape
    _check_floating(name, input2=input2)
    labels = array_of(target, name, "target")
    check_shapes(name, {"input2": input2}, shape, "input1")
    check_shapes(name, {"target": target}, shape[:-1], "input1 without its last dimension")
    if not 1 <= len(shape) <= 2:
        raise OperationError(f"{name}: inputs must be [n, d] or [d], but have shape {list(shape)}")
    # As in PyTorch: so little that it counts for vectors of length 0 only.
    lengths = [add(sum(square(each), -1), 1e-12) for each in (input1, input2)]
    cosine = div(sum(mul(input1, input2), -1), sqrt(mul(*lengths)))
    alike, apart = rsub(cosine, 1), clamp(sub(cosine, limit), min=0)
    zero = wrap(np.zeros((), input1._array.dtype))
    each = where(wrap(np.asarray(labels == -1)), apart, zero)
    return reduced(where(wrap(np.asarray(labels == 1)), alike, each), reduction)


def margin_ranking_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, reduction: str = "mean"
) -> Tensor:
    """Return ``max(0, -target * (input1 - input2) + margin)``, reduced.

    Parameters
    ----------
    input1, input2 : Tensor
        float32 or float64.
    target : Tensor
        1 where `input1` is to be the larger, -1 where `input2` is.
    margin : float
    reduction : {"mean", "sum", "none"}

    Raises
    ------
    TypeError, ValueError
        For other types, shapes that differ, or an unknown reduction.
    """
    name = "margin_ranking_loss"
    check_reduction(name, reduction)
    shapes = [
        array_of(each, name, key).shape
        for key, each in (("input1", input1), ("input2", input2), ("target", target))
    ]
    if len({len(shape) for shape in shapes}) > 1:
        text = ", ".join(str(list(shape)) for shape in shapes)
        raise OperationError(f"{name}: inputs must have equally many dimensions, but are {text}")
    gap = number(margin, name, "margin")
    return reduced(clamp(add(neg(mul(target, sub(input1, input2))), gap), min=0), reduction)
