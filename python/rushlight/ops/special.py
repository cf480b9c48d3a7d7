"""Functions that NumPy lacks, on arrays of one dimension or more."""

from __future__ import annotations

import math

import numpy as np

from rushlight.dtypes import Array
from rushlight.ops._common import quiet

__all__: list[str] = []

# (1 + 2 z) exp(z^2) erfc(z) for z >= 0 is smooth in s = (z - k) / (z + k), which runs from -1 to 1
# (Shepherd and Laframboise, "Chebyshev approximation of (1 + 2x) exp(x^2) erfc x in 0 <= x < inf",
# Math. Comp. 36, 1981). The Chebyshev series, computed with 60 digits and written in powers of s
# from the highest down, ends where the rest is below 5e-18 (float64) and 6e-9 (float32). The sum
# of the absolute coefficients is 1.8, so that powers of s are as accurate as the series.
_K = 3.75
_ERFC = {
    np.dtype(np.float64): (
        4.2514714447963895e-10, 3.1114333809799254e-10, -5.1739902140113095e-09,
        -3.744210080962018e-09, 3.8675334242222354e-08, 2.3263508708859124e-08,
        -2.5866850716155884e-07, -5.7218230603224086e-08, 1.751637648849062e-06,
        -9.73559896736775e-07, -1.1444146237700524e-05, 2.238423915508223e-05,
        5.164909889268241e-05, -0.0002901540805408417, 0.0002937136655913448,
        0.0017556258528952954, -0.009746579558029276, 0.028362277418956406,
        -0.05869339858963677, 0.09230432116037748, -0.10880393014174886, 0.0822767384901452,
        0.0035854154854644293, -0.14024059858554697, 1.2375126308378275,
    ),
    np.dtype(np.float32): (
        2.2046718905694024e-05, -0.00022411674674416022, 0.00033016745627228067,
        0.001675912217981131, -0.009770087183368234, 0.02840925236412726, -0.05868544049363111,
        0.09229076959130378, -0.10880522754949953, 0.08227841998347046, 0.00358549531406309,
        -0.1402406583213864, 1.2375126300326993,
    ),
}  # fmt: skip


def erfc(z: Array) -> Array:
    """Return the complementary error function of elements that are 0 or more.

    Parameters
    ----------
    z : Array
        float32 or float64, at least one dimension.

    Returns
    -------
    Array
        Within 1e-15 (float64) or 3e-7 (float32) of the true value; relative to it the error
        grows with ``z * z`` roundings.
    """
    highest, *others = _ERFC[z.dtype]
    with quiet():
        s = 1 - (2 * _K) / (z + _K)
        series = np.full_like(z, highest)
        for coefficient in others:
            series *= s
            series += coefficient
        series *= np.exp(-z * z)
        return np.divide(series, 1 + 2 * z, out=series)


def normal_cdf(x: Array) -> Array:
    """Return the probability that a standard normal variable is below each element.

    Both tails are accurate: nothing is subtracted from 1 below 0.
    """
    tail = erfc(np.abs(x) * math.sqrt(0.5))
    tail *= 0.5
    # The tail itself below 0, and 1 minus the tail above.
    return np.subtract(~np.signbit(x), np.copysign(tail, x), dtype=x.dtype)


def normal_pdf(x: Array) -> Array:
    """Return the density of the standard normal distribution."""
    with quiet():
        return np.exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi))


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
