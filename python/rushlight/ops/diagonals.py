"""Diagonals and triangles of matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight.autograd.primitive import Primitive
from rushlight.dtypes import Array
from rushlight.errors import OperationError
from rushlight.ops._common import array_of, as_index, wrap_dim

if TYPE_CHECKING:
    from rushlight.tensor import Tensor

__all__ = ["diag", "diag_embed", "diagonal", "trace", "tril", "triu"]


def _view(matrices: Array, offset: int) -> Array:
    """Return the diagonals of the last two dimensions as a view that can be written."""
    above, below = max(offset, 0), max(-offset, 0)
    rows, cols = matrices.shape[-2:]
    count = max(min(rows - below, cols - above), 0)
    square = matrices[..., below : below + count, above : above + count]
    return np.einsum("...ii->...i", square)


class Diagonal(Primitive):
    """The diagonals of the last two dimensions."""

    is_view = True

    def forward(self, a: Tensor, offset: int) -> Array:
        self._shape, self._offset = a._array.shape, offset
        return _view(a._array, offset)

    def backward(self, grad: Array) -> tuple[Array, None]:
        result = np.zeros(self._shape, grad.dtype)
        _view(result, self._offset)[...] = grad
        return result, None


class DiagEmbed(Primitive):
    """Matrices, zero but for a diagonal that is the last dimension of the input."""

    def forward(self, a: Tensor, offset: int) -> Array:
        self._offset = offset
        *lead, count = a._array.shape
        extent = count + abs(offset)
        result = np.zeros((*lead, extent, extent), a._array.dtype)
        _view(result, offset)[...] = a._array
        return result

    def backward(self, grad: Array) -> tuple[Array, None]:
        return _view(grad, self._offset), None


class Triangle(Primitive):
    """Keep one triangle of the last two dimensions: `keep` is numpy.tril or numpy.triu."""

    def forward(self, a: Tensor, diagonal: int, keep: Any) -> Array:
        self._diagonal, self._keep = diagonal, keep
        return np.asarray(keep(a._array, diagonal))

    def backward(self, grad: Array) -> tuple[Array, None, None]:
        return np.asarray(self._keep(grad, self._diagonal)), None, None


def _require_matrices(input: Tensor, name: str) -> None:
    if array_of(input, name).ndim < 2:
        raise OperationError(f"{name}: input must have at least 2 dimensions, but has {input.ndim}")


def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """Return a view of the diagonals over two dimensions (PyTorch's ``diagonal``).

    Parameters
    ----------
    input : Tensor
        At least 2 dimensions.
    offset : int
        0 for the main diagonal, above 0 for one above it, below 0 for one below it.
    dim1, dim2 : int
        The dimensions of rows and columns.

    Returns
    -------
    Tensor
        The other dimensions, then the diagonal.

    Raises
    ------
    IndexError, TypeError, ValueError
        For a dimension out of range, one dimension named twice, or a tensor of fewer than 2.
    """
    _require_matrices(input, "diagonal")
    at = as_index(offset, "diagonal", "offset")
    rows = wrap_dim(dim1, input._array.ndim, "diagonal")
    cols = wrap_dim(dim2, input._array.ndim, "diagonal")
    if rows == cols:
        raise OperationError(f"diagonal: dim1 and dim2 must differ, but both are {rows}")
    others = [each for each in range(input._array.ndim) if each not in (rows, cols)]
    return Diagonal.apply(input.permute(*others, rows, cols), at)


def diag_embed(input: Tensor, offset: int = 0) -> Tensor:
    """Return matrices of zeros but for the diagonal at `offset`: the last dimension of `input`.

    Raises
    ------
    TypeError, ValueError
        For an `offset` that is no int, or a 0-d tensor.
    """
    if not array_of(input, "diag_embed").ndim:
        raise OperationError("diag_embed: input must have at least 1 dimension, but has 0")
    return DiagEmbed.apply(input, as_index(offset, "diag_embed", "offset"))


def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """Return the matrix with a vector on its diagonal, or a copy of the diagonal of a matrix.

    Raises
    ------
    TypeError, ValueError
        For a `diagonal` that is no int, or a tensor of neither 1 nor 2 dimensions.
    """
    ndim = array_of(input, "diag").ndim
    if ndim not in (1, 2):
        raise OperationError(f"diag: input must have 1 or 2 dimensions, but has {ndim}")
    offset = as_index(diagonal, "diag", "diagonal")
    return DiagEmbed.apply(input, offset) if ndim == 1 else Diagonal.apply(input, offset).clone()


def trace(input: Tensor) -> Tensor:
    """Return the sum of the main diagonal of a matrix.

    Raises
    ------
    TypeError, ValueError
        For what is no tensor of 2 dimensions.
    """
    if array_of(input, "trace").ndim != 2:
        raise OperationError(f"trace: input must have 2 dimensions, but has {input.ndim}")
    return Diagonal.apply(input, 0).sum()


def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """Return the lower triangle of the last two dimensions, zeros elsewhere."""
    _require_matrices(input, "tril")
    return Triangle.apply(input, diagonal, np.tril)


def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """Return the upper triangle of the last two dimensions, zeros elsewhere."""
    _require_matrices(input, "triu")
    return Triangle.apply(input, diagonal, np.triu)
