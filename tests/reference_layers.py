"""Slow, plain NumPy in float64 for the rows of ``cases_layers.py``."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

import reference as ref
from reference import Array, Pair


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def gelu(x: Array) -> Array:
    return x * 0.5 * np.vectorize(math.erfc)(-x / math.sqrt(2))


def tanh_gelu(x: Array) -> Array:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def layer_norm(x: Array, w: Any = 1.0, b: Any = 0.0, dims: int = 1) -> Array:
    axes = tuple(range(-dims, 0))
    mean, var = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    return np.asarray((x - mean) / np.sqrt(var + 1e-5) * w + b)


def group_norm(x: Array, groups: int, w: Any = None, b: Any = None) -> Array:
    flat = layer_norm(x.reshape(len(x), groups, -1)).reshape(x.shape)
    trail = (1,) * (x.ndim - 2)
    flat = flat if w is None else flat * w.reshape(-1, *trail)
    return flat if b is None else flat + b.reshape(-1, *trail)


def conv1d(x: Array, w: Array, b: Any = None, s: int = 1, p: int = 0, d: int = 1) -> Array:
    return ref.conv2d(x[:, :, None], w[:, :, None], b, (1, s), (0, p), (1, d))[:, :, 0]


def conv_transpose2d(
    x: Array,
    w: Array,
    b: Array | None = None,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    extra: Pair = (0, 0),
    groups: int = 1,
    dilation: Pair = (1, 1),
) -> Array:
    """Each pixel of the input adds its filter, scaled, to the output."""
    n, ic, h, width = x.shape
    _, ocg, kh, kw = w.shape
    full = np.zeros(
        (
            n,
            ocg * groups,
            (h - 1) * stride[0] + dilation[0] * (kh - 1) + 1 + extra[0],
            (width - 1) * stride[1] + dilation[1] * (kw - 1) + 1 + extra[1],
        )
    )
    for c, row, column, i, j in itertools.product(*map(range, (ic, h, width, kh, kw))):
        first = c // (ic // groups) * ocg
        full[
            :,
            first : first + ocg,
            row * stride[0] + i * dilation[0],
            column * stride[1] + j * dilation[1],
        ] += x[:, c, row, column][:, None] * w[c, :, i, j]
    rows, cols = full.shape[2] - padding[0], full.shape[3] - padding[1]
    # The extra rows come after the padding was cut off.
    out = full[:, :, padding[0] : rows, padding[1] : cols]
    return out if b is None else out + b[:, None, None]


def pool1d(x: Array, pool: Any, kernel: int, stride: int, pad: int = 0, **options: Any) -> Array:
    return np.asarray(pool(x[:, :, None], (1, kernel), (1, stride), (0, pad), **options)[:, :, 0])


def interpolate_linear(
    x: Array, size: tuple[int, ...], corners: bool, factors: Any = None
) -> Array:
    """One axis after the other, one output position at a time."""
    for axis, target in enumerate(size, 2):
        extent = x.shape[axis]
        scale = extent / target if factors is None else 1 / factors[axis - 2]
        parts = []
        for place in range(target):
            if corners:
                at = place * (extent - 1) / (target - 1) if target > 1 else 0.0
            else:
                at = max((place + 0.5) * scale - 0.5, 0.0)
            low = min(int(at), extent - 1)
            high, share = min(low + 1, extent - 1), at - low
            parts.append(x.take(low, axis) * (1 - share) + x.take(high, axis) * share)
        x = np.stack(parts, axis)
    return x


def interpolate_nearest(x: Array, size: tuple[int, ...], shift: float = 0.0) -> Array:
    for axis, target in enumerate(size, 2):
        at = [int((place + shift) * x.shape[axis] / target) for place in range(target)]
        x = x.take(at, axis)
    return x


def pixel_shuffle(x: Array, r: int) -> Array:
    n, c, h, w = x.shape
    out = np.zeros((n, c // (r * r), h * r, w * r))
    for channel, row, column in np.ndindex(*out.shape[1:]):
        source = channel * r * r + row % r * r + column % r
        out[:, channel, row, column] = x[:, source, row // r, column // r]
    return out


def pixel_unshuffle(x: Array, r: int) -> Array:
    n, c, h, w = x.shape
    out = np.zeros((n, c * r * r, h // r, w // r))
    for channel, row, column in np.ndindex(c, h, w):
        target = channel * r * r + row % r * r + column % r
        out[:, target, row // r, column // r] = x[:, channel, row, column]
    return out


def channel_shuffle(x: Array, groups: int) -> Array:
    per_group = x.shape[1] // groups
    return x[:, [group * per_group + at for at in range(per_group) for group in range(groups)]]


def cross_entropy_of(p: Array, t: Array, w: Any = 1.0, positive: Any = 1.0) -> Array:
    """Binary cross entropy, element by element."""
    return np.asarray(-w * (positive * t * np.log(p) + (1 - t) * np.log(1 - p)))


def smooth_l1(d: Array, beta: float) -> Array:
    d = np.abs(d)
    return np.where(d < beta, d * d / (2 * beta), d - beta / 2)


def cosine(x: Array, y: Array, axis: int) -> Array:
    x, y = np.broadcast_arrays(x, y)
    lengths = np.sqrt((x * x).sum(axis)) * np.sqrt((y * y).sum(axis))
    return np.asarray((x * y).sum(axis) / lengths)


def distance(x: Array, y: Array, p: float = 2.0) -> Array:
    return np.asarray((np.abs(x - y + 1e-6) ** p).sum(-1) ** (1 / p))
