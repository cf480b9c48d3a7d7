"""Rows of a table by index, and classes as vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight.autograd.base import wrap
from rushlight.autograd.inplace import check_writable
from rushlight.autograd.primitive import Primitive
from rushlight.autograd.tape import followed
from rushlight.dtypes import Array
from rushlight.errors import OperationError
from rushlight.ops._common import array_of, as_index, quiet
from rushlight.ops.checks import floating_of, number

if TYPE_CHECKING:
    from rushlight.tensor import Tensor

__all__ = ["embedding", "one_hot"]


class Embedding(Primitive):
    def forward(
        self, weight: Tensor, indices: Tensor, padding_idx: int | None, by_frequency: bool
    ) -> Array:
        self.save(indices)
        self._shape = weight._array.shape
        self._padding_idx, self._by_frequency = padding_idx, by_frequency
        return weight._array[indices._array]

    def backward(self, grad: Array) -> tuple[Array, None, None, None]:
        picks = self.saved[0].reshape(-1)
        result = np.zeros(self._shape, grad.dtype)
        # Equal indices side by side, so that each row is written once.
        order = np.argsort(picks, kind="stable")
        picks = picks[order]
        starts = np.flatnonzero(np.diff(picks, prepend=-1))
        if starts.size:
            each = grad.reshape(picks.size, self._shape[1])[order]
            sums = np.add.reduceat(each, starts, axis=0)
            if self._by_frequency:
                counts = np.diff(starts, append=picks.size)
                sums /= counts[:, None].astype(grad.dtype)
            result[picks[starts]] = sums
        if self._padding_idx is not None:
            result[self._padding_idx] = 0
        return result, None, None, None


def _indices(input: Any, operation: str, name: str = "input") -> Array:
    array = array_of(input, operation, name)
    if array.dtype != np.int64:
        raise TypeError(f"{operation}: {name} must be int64, but got {array.dtype}")
    return array


def _shorten(weight: Tensor, rows: Array, max_norm: float, norm_type: float) -> None:
    """Scale those of the rows that are longer than `max_norm` down to it, in place."""
    check_writable(weight, "embedding")
    found = np.unique(rows)
    part = weight._array[found]
    with quiet():
        lengths = np.linalg.norm(part, norm_type, axis=1, keepdims=True)
        # PyTorch's guard against a division by 0.
        short = part * (max_norm / (lengths + 1e-7)).astype(part.dtype)
    weight._array[found] = np.where(lengths > max_norm, short, part)
    weight._bump_version()


def _row_to_skip(padding_idx: int | None, count: int) -> int | None:
    if padding_idx is None:
        return None
    row = as_index(padding_idx, "embedding", "padding_idx")
    if not -count <= row < count:
        raise OperationError(
            f"embedding: padding_idx must be in [{-count}, {count - 1}] for {count} rows of "
            f"weight, but got {row}"
        )
    return row % count


@followed
def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Return the rows of a table that indices name (PyTorch's ``embedding``).

    Parameters
    ----------
    input : Tensor
        int64 indices of any shape, in [0, rows).
    weight : Tensor
        [rows, features], float32 or float64.
    padding_idx : int, optional
        Row that gets no gradient; negative counts from the end.
    max_norm : float, optional
        Longer rows among those named are first scaled down to this length, in `weight` itself and
        outside the graph.
    norm_type : float
        Which norm that length is.
    scale_grad_by_freq : bool
        Divide the gradient of each row by how often it is named.
    sparse : bool
        Only False is supported.

    Returns
    -------
    Tensor
        [*input.shape, features].

    Raises
    ------
    IndexError
        For an index out of range.
    TypeError, ValueError
        For other types, a weight that is no matrix, or a padding index out of range.
    """
    picks, table = _indices(input, "embedding"), floating_of(weight, "embedding", "weight")
    if table.ndim != 2:
        raise OperationError(
            f"embedding: weight must be a matrix, but has shape {list(table.shape)}"
        )
    if sparse:
        raise OperationError("embedding: sparse must be False, sparse gradients are not supported")
    skipped = _row_to_skip(padding_idx, len(table))
    if picks.size and not (picks.min() >= 0 and picks.max() < len(table)):
        bad = picks[(picks < 0) | (picks >= len(table))].reshape(-1)[0]
        raise IndexError(f"embedding: index {bad} is out of range for {len(table)} rows of weight")
    if max_norm is not None and picks.size:
        longest = number(max_norm, "embedding", "max_norm")
        _shorten(weight, picks, longest, number(norm_type, "embedding", "norm_type"))
    return Embedding.apply(weight, input, skipped, bool(scale_grad_by_freq))


@followed
def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """Return vectors that are 1 at the class and 0 elsewhere (PyTorch's ``one_hot``).

    Parameters
    ----------
    tensor : Tensor
        int64 classes of any shape, 0 or more.
    num_classes : int
        Length of the vectors; -1 for the largest class plus 1.

    Returns
    -------
    Tensor
        int64, [*tensor.shape, num_classes].

    Raises
    ------
    TypeError, ValueError
        For other types, a class out of range, or a number of classes that cannot be inferred.
    """
    classes = _indices(tensor, "one_hot", "tensor")
    count = as_index(num_classes, "one_hot", "num_classes")
    if count == -1:
        if not classes.size:
            raise OperationError("one_hot: num_classes cannot be inferred from an empty tensor")
        count = int(classes.max()) + 1
    elif count < 1:
        raise OperationError(f"one_hot: num_classes must be at least 1, or -1, but got {count}")
    if classes.size and not (classes.min() >= 0 and classes.max() < count):
        bad = classes[(classes < 0) | (classes >= count)].reshape(-1)[0]
        raise OperationError(f"one_hot: classes must be in [0, {count}), but got {bad}")
    result = np.zeros((*classes.shape, count), np.int64)
    np.put_along_axis(result, classes[..., None], 1, axis=-1)
    return wrap(result)
