"""Functions that NumPy lacks, on arrays of one dimension or more."""

from __future__ import annotations

import numpy as np

from rushlight.dtypes import Array
from rushlight.ops._common import quiet

__all__: list[str] = []


def logistic(x: Array) -> Array:
    """Return ``1 / (1 + exp(-x))``; 0 where the exponential overflows."""
    with quiet():
        return 1 / (1 + np.exp(-x))


def softplus(x: Array) -> Array:
    """Return ``log(1 + exp(x))``."""
    with quiet():
        return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


_BITS = {np.dtype(np.float32): np.int32, np.dtype(np.float64): np.int64}


def select(mask: Array, a: Array, b: Array) -> Array:
    """Return elements of `a` where `mask` is true and of `b` elsewhere; all of one shape.

    What ``np.where`` returns, bit by bit instead of with a branch per element: three times as
    fast for the masks of activations, which no processor can predict.
    """
    kind = _BITS[a.dtype]
    below = b.view(kind)
    bits = a.view(kind) ^ below
    bits &= -mask.astype(kind)
    bits ^= below
    return bits.view(a.dtype)


def kept(mask: Array, a: Array) -> Array:
    """Return elements of `a` where `mask` is true, and 0 elsewhere; see :func:`select`."""
    kind = _BITS[a.dtype]
    return (a.view(kind) & -mask.astype(kind)).view(a.dtype)
