"""Slow, plain NumPy in float64: what the kernels are checked against."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Pair = tuple[int, int]


def padded(x: Array, padding: Pair, value: float = 0.0) -> Array:
    (ph, pw) = padding
    return np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)), constant_values=value)


def conv2d(
    x: Array,
    w: Array,
    b: Array | None = None,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> Array:
    """Cross-correlation, one output pixel at a time."""
    n, _, h, width = x.shape
    oc, icg, kh, kw = w.shape
    oh = (h + 2 * padding[0] - dilation[0] * (kh - 1) - 1) // stride[0] + 1
    ow = (width + 2 * padding[1] - dilation[1] * (kw - 1) - 1) // stride[1] + 1
    source, out = padded(x, padding), np.zeros((n, oc, oh, ow))
    ocg = oc // groups
    for group, row, column in itertools.product(range(groups), range(oh), range(ow)):
        rows = slice(row * stride[0], row * stride[0] + dilation[0] * (kh - 1) + 1, dilation[0])
        cols = slice(
            column * stride[1], column * stride[1] + dilation[1] * (kw - 1) + 1, dilation[1]
        )
        window = source[:, group * icg : (group + 1) * icg, rows, cols]
        filters = w[group * ocg : (group + 1) * ocg]
        out[:, group * ocg : (group + 1) * ocg, row, column] = np.einsum(
            "nchw,ochw->no", window, filters
        )
    return out if b is None else out + b[:, None, None]


def linear(x: Array, w: Array, b: Array | None = None) -> Array:
    return x @ w.T if b is None else x @ w.T + b


def _channels(values: Array, ndim: int) -> Array:
    return values.reshape(1, -1, *(1,) * (ndim - 2))


def batch_norm_train(
    x: Array, w: Array | None = None, b: Array | None = None, eps: float = 1e-5
) -> Array:
    axes = (0, *range(2, x.ndim))
    mean, var = x.mean(axis=axes), x.var(axis=axes)
    return batch_norm_eval(x, mean, var, w, b, eps)


def batch_norm_eval(
    x: Array,
    mean: Array,
    var: Array,
    w: Array | None = None,
    b: Array | None = None,
    eps: float = 1e-5,
) -> Array:
    y = (x - _channels(mean, x.ndim)) / np.sqrt(_channels(var, x.ndim) + eps)
    y = y if w is None else y * _channels(w, x.ndim)
    return y if b is None else y + _channels(b, x.ndim)


def pooled_size(extent: int, kernel: int, stride: int, pad: int, dilation: int, ceil: bool) -> int:
    span = extent + 2 * pad - dilation * (kernel - 1) - 1
    size = (-(-span // stride) if ceil else span // stride) + 1
    # The last window must start inside the image or the padding before it.
    return size - 1 if ceil and (size - 1) * stride >= extent + pad else size


def max_pool2d(
    x: Array,
    kernel: Pair,
    stride: Pair | None = None,
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    ceil: bool = False,
) -> Array:
    stride = stride or kernel
    sizes = [
        pooled_size(x.shape[2 + i], kernel[i], stride[i], padding[i], dilation[i], ceil)
        for i in range(2)
    ]
    out = np.empty((*x.shape[:2], *sizes))
    for row, column in np.ndindex(*sizes):
        at = [
            range(
                start := position * stride[i] - padding[i],
                start + dilation[i] * (kernel[i] - 1) + 1,
                dilation[i],
            )
            for i, position in enumerate((row, column))
        ]
        rows, cols = ([p for p in at[i] if 0 <= p < x.shape[2 + i]] for i in range(2))
        out[:, :, row, column] = x[:, :, rows][:, :, :, cols].max(axis=(2, 3))
    return out


def avg_pool2d(
    x: Array,
    kernel: Pair,
    stride: Pair | None = None,
    padding: Pair = (0, 0),
    ceil: bool = False,
    count_include_pad: bool = True,
    divisor: int | None = None,
) -> Array:
    stride = stride or kernel
    sizes = [
        pooled_size(x.shape[2 + i], kernel[i], stride[i], padding[i], 1, ceil) for i in range(2)
    ]
    out = np.empty((*x.shape[:2], *sizes))
    for row, column in np.ndindex(*sizes):
        spans = []
        for i, position in enumerate((row, column)):
            low = position * stride[i] - padding[i]
            # Ceil mode may reach over the padding after the image: that part counts nothing.
            spans.append((low, min(low + kernel[i], x.shape[2 + i] + padding[i])))
        inside = [(max(a, 0), min(b, x.shape[2 + i])) for i, (a, b) in enumerate(spans)]
        (top, bottom), (left, right) = inside
        counted = spans if count_include_pad else inside
        count = divisor or (counted[0][1] - counted[0][0]) * (counted[1][1] - counted[1][0])
        out[:, :, row, column] = x[:, :, top:bottom, left:right].sum(axis=(2, 3)) / count
    return out


def adaptive_pool2d(x: Array, size: Pair, reduce: Any) -> Array:
    out = np.empty((*x.shape[:2], *size))
    for row, column in np.ndindex(*size):
        (top, bottom), (left, right) = (
            (i * x.shape[2 + axis] // size[axis], -(-(i + 1) * x.shape[2 + axis] // size[axis]))
            for axis, i in enumerate((row, column))
        )
        out[:, :, row, column] = reduce(x[:, :, top:bottom, left:right], axis=(2, 3))
    return out


def log_softmax(x: Array, axis: int) -> Array:
    shifted = x - x.max(axis=axis, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True)))


def nll_loss(
    logp: Array,
    target: Array,
    weight: Array | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Array:
    weight = np.ones(logp.shape[1]) if weight is None else weight
    each, total = np.zeros(target.shape), 0.0
    for place in np.ndindex(*target.shape):
        label = target[place]
        if label != ignore_index:
            each[place] = -weight[label] * logp[(place[0], label, *place[1:])]
            total += weight[label]
    if reduction == "none":
        return each
    return np.asarray(each.sum() / total if reduction == "mean" else each.sum())
