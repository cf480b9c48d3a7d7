"""Layers without state: PyTorch's ``torch.nn.functional`` over :mod:`rushlight.ops`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from rushlight import ops
from rushlight.ops import (
    adaptive_avg_pool2d,
    adaptive_max_pool2d,
    avg_pool2d,
    batch_norm,
    conv2d,
    dropout,
    flatten,
    linear,
    max_pool2d,
    relu_,
    sigmoid,
    tanh,
)
from rushlight.ops.loss import check_reduction
from rushlight.tensor import Tensor

__all__ = [
    "adaptive_avg_pool2d",
    "adaptive_max_pool2d",
    "avg_pool2d",
    "batch_norm",
    "conv2d",
    "cross_entropy",
    "dropout",
    "dropout2d",
    "flatten",
    "l1_loss",
    "linear",
    "log_softmax",
    "max_pool2d",
    "mse_loss",
    "nll_loss",
    "pad",
    "relu",
    "relu_",
    "sigmoid",
    "softmax",
    "tanh",
]


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """Return ``max(input, 0)``, in the memory of `input` with `inplace`."""
    return ops.relu_(input) if inplace else ops.relu(input)


def dropout2d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Zero whole channels of [n, c, h, w] at probability `p`; see :func:`dropout`."""
    return ops.feature_dropout(input, p, training, inplace)


def softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Tensor:
    """Return exponentials divided by their sum along `dim`.

    Parameters
    ----------
    input : Tensor
        float32 or float64.
    dim : int, optional
        Dimension that sums to 1. Leaving it out is deprecated.
    dtype : dtype, optional
        Convert the input first.
    """
    return ops.softmax(input, _chosen_dim("softmax", input, dim, _stacklevel), dtype=dtype)


def log_softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Tensor:
    """Return the logarithm of :func:`softmax`, without overflow."""
    return ops.log_softmax(input, _chosen_dim("log_softmax", input, dim, _stacklevel), dtype=dtype)


def _chosen_dim(name: str, input: Tensor, dim: int | None, stacklevel: int) -> int:
    if dim is not None:
        return dim
    warnings.warn(
        f"{name}: leaving out dim is deprecated; pass the dimension to sum over",
        UserWarning,
        stacklevel=stacklevel,
    )
    # PyTorch's choice: the classes of [c], [n, c], [c, h, w] and [n, c, h, w].
    return 0 if input.dim() in (0, 1, 3) else 1


def reduction_name(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    """Return the reduction that a loss was asked for, in the old spelling or the new.

    Raises
    ------
    ValueError
        For an unknown one.
    """
    if size_average is not None or reduce is not None:
        warnings.warn(
            "size_average and reduce are deprecated, use reduction", UserWarning, stacklevel=3
        )
        if reduce is False:
            return "none"
        return "sum" if size_average is False else "mean"
    check_reduction("loss", reduction)
    return reduction


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return the negative log-likelihood of target classes; see :func:`rushlight.ops.nll_loss`."""
    name = reduction_name(size_average, reduce, reduction)
    return ops.nll_loss(input, target, weight, ignore_index, name)


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Return the cross entropy of logits; see :func:`rushlight.ops.cross_entropy`."""
    name = reduction_name(size_average, reduce, reduction)
    return ops.cross_entropy(input, target, weight, ignore_index, name, label_smoothing)


def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return the squared differences, reduced."""
    return ops.mse_loss(input, target, reduction_name(size_average, reduce, reduction))


def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return the absolute differences, reduced."""
    return ops.l1_loss(input, target, reduction_name(size_average, reduce, reduction))


# NumPy's names of PyTorch's ways to fill a border from what is inside.
_BORDERS = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def pad(
    input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Tensor:
    """Return `input` with a border (PyTorch's ``pad``).

    Parameters
    ----------
    input : Tensor
    pad : sequence of int
        (low, high) widths from the last dimension backwards; negative widths cut off, with a
        constant only.
    mode : {"constant", "reflect", "replicate", "circular"}
        What stands in the border.
    value : float, optional
        The constant, 0 by default.

    Raises
    ------
    ValueError
        For another mode, or widths that do not fit.
    """
    if mode == "constant":
        return ops.pad(input, pad, mode, value)
    if mode not in _BORDERS:
        raise ValueError(f"pad: mode must be 'constant' or one of {[*_BORDERS]}, but got {mode!r}")
    if len(pad) % 2 or len(pad) > 2 * input.dim():
        raise ValueError(
            f"pad: pad must hold up to {2 * input.dim()} widths in pairs, but got {list(pad)}"
        )
    for place in range(len(pad) // 2):
        widths = pad[2 * place], pad[2 * place + 1]
        dim = input.dim() - 1 - place
        if widths != (0, 0):
            input = ops.index_select(input, dim, _border(input.shape[dim], widths, mode))
    return input


def _border(extent: int, widths: tuple[int, int], mode: str) -> Tensor:
    """Return where in a dimension each element of the padded one comes from."""
    limit = {"reflect": extent - 1, "circular": extent}.get(mode, max(widths))
    if min(widths) < 0 or max(widths) > limit or not extent:
        raise ValueError(
            f"pad: {mode} widths must be from 0 to {limit} for a dimension of {extent}, but got "
            f"{list(widths)}"
        )
    return ops.as_tensor(np.pad(np.arange(extent), widths, mode=_BORDERS[mode]))  # type: ignore[call-overload]  # a name known by the table
