"""Sums, means and other values taken over dimensions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight import _core, dtypes
from rushlight.autograd.base import wrap
from rushlight.autograd.primitive import Primitive
from rushlight.autograd.tape import followed
from rushlight.dtypes import Array
from rushlight.errors import OperationError
from rushlight.ops._common import (
    Dims,
    array_of,
    floating,
    quiet,
    reduced_shape,
    wrap_dim,
    wrap_dims,
)

if TYPE_CHECKING:
    from rushlight.tensor import Tensor

__all__ = [
    "all", "any", "cumsum", "logsumexp", "mean", "norm", "prod", "std", "std_mean", "sum", "var",
    "var_mean",
]  # fmt: skip


class _Reduction(Primitive):
    """A reduction over `dims` whose gradient spreads back over them."""

    def note(self, array: Array, dims: tuple[int, ...]) -> None:
        self._shape, self._dims, self._dtype = array.shape, dims, array.dtype

    @property
    def _count(self) -> int:
        return math.prod([self._shape[axis] for axis in self._dims])

    def spread(self, value: Array) -> Array:
        """Return a reduced value with 1 in the reduced dimensions, to broadcast."""
        return value.reshape(reduced_shape(self._shape, self._dims))

    def fill(self, value: Array) -> Array:
        """Return a reduced value repeated over the reduced dimensions, in memory of its own."""
        if value.ndim:
            value = self.spread(value)
        full = _core.expand(value, self._shape)
        return full if full.dtype == self._dtype else full.astype(self._dtype)


class Sum(_Reduction):
    warns = False

    def forward(self, a: Tensor, dims: tuple[int, ...] | None, keepdim: bool, dtype: Any) -> Array:
        x = a._array
        if self._saved is not None:
            self.note(x, tuple(range(x.ndim)) if dims is None else dims)
        return _total(x, dims, keepdim, dtype)

    def backward(self, grad: Array) -> tuple[Array, None, None, None]:
        return self.fill(grad), None, None, None


class Mean(_Reduction):
    warns = False

    def forward(self, a: Tensor, dims: tuple[int, ...], keepdim: bool, dtype: Any) -> Array:
        self.note(a._array, dims)
        return _total(a._array, dims, keepdim, dtype, self._count)

    def backward(self, grad: Array) -> tuple[Array, None, None, None]:
        with quiet():
            share = np.asarray(grad / grad.dtype.type(self._count))
        return self.fill(share), None, None, None


def _total(
    x: Array, dims: tuple[int, ...] | None, keepdim: bool, dtype: Any, count: int = 1
) -> Array:
    """Return the sum in `dtype`, by default the type of `x`, divided by `count`."""
    if x.dtype.kind == "f" and dtype in (None, x.dtype):
        return _core.sum(x, dims, keepdim, count)
    with quiet():
        total = np.asarray(x.sum(axis=dims, keepdims=keepdim, dtype=dtype))
        return total if count == 1 else np.asarray(total / total.dtype.type(count))


class Prod(_Reduction):
    def forward(self, a: Tensor, dims: tuple[int, ...], keepdim: bool) -> Array:
        self.note(a._array, dims)
        self.save(a)
        with quiet():
            return np.asarray(a._array.prod(axis=dims, keepdims=keepdim))

    def backward(self, grad: Array) -> tuple[Array, None, None]:
        (x,) = self.saved
        # The product of all others, also where an element is 0: prefix times suffix products.
        moved = np.moveaxis(x, self._dims, tuple(range(-len(self._dims), 0))) if self._dims else x
        flat = moved.reshape(*moved.shape[: moved.ndim - len(self._dims)], -1)
        ones = np.ones_like(flat[..., :1])
        before = np.cumprod(np.concatenate([ones, flat[..., :-1]], -1), -1)
        after = np.cumprod(np.concatenate([ones, flat[..., :0:-1]], -1), -1)[..., ::-1]
        others = (before * after).reshape(moved.shape)
        if self._dims:
            others = np.moveaxis(others, tuple(range(-len(self._dims), 0)), self._dims)
        return np.asarray(self.spread(grad) * others), None, None


class Var(_Reduction):
    def forward(self, a: Tensor, dims: tuple[int, ...], keepdim: bool, correction: float) -> Array:
        self.note(a._array, dims)
        self.save(a)
        self._freedom = max(self._count - correction, 0)
        with quiet():
            mean = a._array.mean(axis=dims, keepdims=True)
            squares = np.square(a._array - mean).sum(axis=dims, keepdims=keepdim)
            return np.asarray(squares / squares.dtype.type(self._freedom))

    def backward(self, grad: Array) -> tuple[Array, None, None, None]:
        (x,) = self.saved
        with quiet():
            centred = x - x.mean(axis=self._dims, keepdims=True)
            scale = grad.dtype.type(2) / grad.dtype.type(self._freedom)
            return np.asarray(self.spread(grad) * scale * centred), None, None, None


class Std(Var):
    def forward(self, a: Tensor, dims: tuple[int, ...], keepdim: bool, correction: float) -> Array:
        self._root = np.sqrt(super().forward(a, dims, keepdim, correction))
        return self._root

    def backward(self, grad: Array) -> tuple[Array, None, None, None]:
        # Where all values are equal there is a kink; its slope counts as 0, as in PyTorch.
        root = np.where(self._root == 0, np.inf, self._root)
        return super().backward(grad / (2 * root))


class Norm(_Reduction):
    def forward(self, a: Tensor, p: float, dims: tuple[int, ...], keepdim: bool) -> Array:
        self.note(a._array, dims)
        self._p = p
        self.save(a)
        size = np.abs(a._array)
        with quiet():
            result = np.asarray(_norm(size, p, dims))
        self.save(result)
        return (
            result
            if keepdim
            else result.reshape(
                [extent for axis, extent in enumerate(size.shape) if axis not in dims]
            )
        )

    def backward(self, grad: Array) -> tuple[Array, None, None, None]:
        x, norm = self.saved
        p, size = self._p, np.abs(x)
        with quiet():
            if p in (math.inf, -math.inf):
                hits = size == norm
                slope = np.sign(x) * hits / hits.sum(axis=self._dims, keepdims=True)
            elif p == 0:
                slope = np.zeros_like(x)
            else:
                slope = np.sign(x) * np.power(size / norm, p - 1)
                slope = np.where((norm == 0) | (size == 0), 0, slope)
        return np.asarray(self.spread(grad) * slope, x.dtype), None, None, None


def _norm(size: Array, p: float, dims: tuple[int, ...]) -> Array:
    if p == math.inf:
        return np.asarray(size.max(axis=dims, keepdims=True))
    if p == -math.inf:
        return np.asarray(size.min(axis=dims, keepdims=True))
    if p == 0:
        return np.asarray((size != 0).sum(axis=dims, keepdims=True, dtype=size.dtype))
    if p == 2:
        return np.asarray(np.sqrt(np.square(size).sum(axis=dims, keepdims=True)))
    return np.asarray(np.power(np.power(size, p).sum(axis=dims, keepdims=True), 1 / p))


class LogSumExp(_Reduction):
    def forward(self, a: Tensor, dims: tuple[int, ...], keepdim: bool) -> Array:
        x = floating(a._array)
        self.note(x, dims)
        with quiet():
            top = x.max(axis=dims, keepdims=True, initial=-np.inf)
            top = np.where(np.isfinite(top), top, 0)
            result = np.log(np.exp(x - top).sum(axis=dims, keepdims=True)) + top
        self.save(a, result)
        return (
            result
            if keepdim
            else result.reshape([extent for axis, extent in enumerate(x.shape) if axis not in dims])
        )

    def backward(self, grad: Array) -> tuple[Array, None, None]:
        x, result = self.saved
        with quiet():
            return np.asarray(self.spread(grad) * np.exp(x - result)), None, None


class CumSum(Primitive):
    def forward(self, a: Tensor, dim: int) -> Array:
        self._dim = dim
        return np.asarray(np.cumsum(a._array, axis=dim)).reshape(a._array.shape)

    def backward(self, grad: Array) -> tuple[Array, None]:
        if not grad.ndim:
            return grad, None
        return np.flip(np.cumsum(np.flip(grad, self._dim), self._dim), self._dim), None


def _sum_dtype(array: Array, dtype: Any) -> np.dtype[Any] | None:
    """Return the type to sum in, or None for that of the array."""
    if dtype is not None:
        return dtypes.as_dtype(dtype).numpy
    return np.dtype(np.int64) if array.dtype.kind == "b" else None


def sum(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Return the sum over `dim`, or over everything.

    Parameters
    ----------
    input : Tensor
        Masks are summed as int64.
    dim : int or sequence of int, optional
    keepdim : bool
        Keep the reduced dimensions with size 1.
    dtype : dtype, optional
        Type to sum in and to return.
    """
    array = array_of(input, "sum")
    if dim is None and dtype is None and array.dtype.kind == "f":
        return Sum.apply(input, None, keepdim, None)
    dims = None if dim is None else wrap_dims(dim, array.ndim, "sum")
    return Sum.apply(input, dims, keepdim, _sum_dtype(array, dtype))


def _needs_floating(input: Tensor, operation: str, dtype: Any = None) -> Array:
    array = array_of(input, operation)
    if array.dtype.kind != "f" and dtype is None:
        raise TypeError(
            f"{operation}: input must be float32 or float64, but got {array.dtype}; convert it, "
            "as in input.float()"
        )
    return array


def mean(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Return the mean over `dim`, or over everything; nan of nothing.

    Raises
    ------
    TypeError
        For integers and masks, unless `dtype` says what to compute in.
    """
    array = _needs_floating(input, "mean", dtype)
    dims = wrap_dims(dim, array.ndim, "mean")
    return Mean.apply(input, dims, keepdim, _sum_dtype(array, dtype))


def prod(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Return the product over `dim`, or over everything."""
    dims = wrap_dims(dim, array_of(input, "prod").ndim, "prod")
    return Prod.apply(input, dims, keepdim)


def var(
    input: Tensor,
    dim: Dims = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """Return the variance over `dim`, or over everything.

    Parameters
    ----------
    input : Tensor
        float32 or float64.
    dim : int or sequence of int, optional
    unbiased : bool
        Divide by the count less one (Bessel's correction).
    keepdim : bool
        Keep the reduced dimensions with size 1.
    correction : float, optional
        What to take from the count instead; overrides `unbiased`.
    """
    dims = wrap_dims(dim, _needs_floating(input, "var").ndim, "var")
    less = float(unbiased) if correction is None else correction
    return Var.apply(input, dims, keepdim, less)


def std(
    input: Tensor,
    dim: Dims = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """Return the standard deviation over `dim`, or over everything; see :func:`var`."""
    dims = wrap_dims(dim, _needs_floating(input, "std").ndim, "std")
    less = float(unbiased) if correction is None else correction
    return Std.apply(input, dims, keepdim, less)


def var_mean(
    input: Tensor, dim: Dims = None, unbiased: bool = True, keepdim: bool = False
) -> tuple[Tensor, Tensor]:
    """Return :func:`var` and :func:`mean` of `input`."""
    return var(input, dim, unbiased, keepdim), mean(input, dim, keepdim)


def std_mean(
    input: Tensor, dim: Dims = None, unbiased: bool = True, keepdim: bool = False
) -> tuple[Tensor, Tensor]:
    """Return :func:`std` and :func:`mean` of `input`."""
    return std(input, dim, unbiased, keepdim), mean(input, dim, keepdim)


def norm(input: Tensor, p: float | str = 2, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Return the `p`-norm over `dim`, or over everything; "fro" is 2."""
    dims = wrap_dims(dim, _needs_floating(input, "norm").ndim, "norm")
    if isinstance(p, str) and p not in ("fro", "inf"):
        raise OperationError(f"norm: p must be a number, 'fro' or 'inf', but got {p!r}")
    order = 2.0 if p == "fro" else float(p)
    return Norm.apply(input, order, dims, keepdim)


def logsumexp(input: Tensor, dim: Dims, keepdim: bool = False) -> Tensor:
    """Return the logarithm of the sum of exponentials over `dim`, without overflow."""
    dims = wrap_dims(dim, array_of(input, "logsumexp").ndim, "logsumexp")
    return LogSumExp.apply(input, dims, keepdim)


def cumsum(input: Tensor, dim: int) -> Tensor:
    """Return the running sum along `dim`."""
    return CumSum.apply(input, wrap_dim(dim, array_of(input, "cumsum").ndim, "cumsum"))


@followed
def all(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Return whether every element over `dim` is nonzero, as a mask."""
    array = array_of(input, "all")
    return wrap(np.asarray(array.all(axis=wrap_dims(dim, array.ndim, "all"), keepdims=keepdim)))


@followed
def any(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Return whether some element over `dim` is nonzero, as a mask."""
    array = array_of(input, "any")
    return wrap(np.asarray(array.any(axis=wrap_dims(dim, array.ndim, "any"), keepdims=keepdim)))
