"""Activations whose arguments differ from those of the operation behind them."""

from __future__ import annotations

import warnings
from typing import Any

from rushlight import ops
from rushlight.tensor import Tensor

__all__ = ["log_softmax", "relu", "softmax"]


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """Return ``max(input, 0)``, in the memory of `input` with `inplace`."""
    return ops.relu_(input) if inplace else ops.relu(input)


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
