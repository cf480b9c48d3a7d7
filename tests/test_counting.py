"""Counting, scattering and grids beyond the values and gradients of cases.py."""

from __future__ import annotations

import pytest

import rushlight
from rushlight import Tensor


def test_unique() -> None:
    x = rushlight.tensor([[3, 1], [1, 2]])
    values, places, counts = x.unique(return_inverse=True, return_counts=True)
    assert values.tolist() == [1, 2, 3]
    assert places.tolist() == [[2, 0], [0, 1]]
    assert counts.tolist() == [2, 1, 1]
    rows = rushlight.unique(rushlight.tensor([[1, 2], [0, 5], [1, 2]]), dim=0)
    assert rows.tolist() == [[0, 5], [1, 2]]


def test_bincount() -> None:
    x = rushlight.tensor([0, 3, 3])
    assert rushlight.bincount(x, minlength=6).tolist() == [1, 0, 0, 2, 0, 0]
    weighted = rushlight.bincount(x, rushlight.tensor([0.5, 1.0, 2.0]))
    assert weighted.tolist() == [0.5, 0.0, 0.0, 3.0]
    for wrong in (rushlight.tensor([-1]), rushlight.tensor([[1]])):
        with pytest.raises(ValueError, match="bincount: input must be 1-d without negative"):
            rushlight.bincount(wrong)
    with pytest.raises(TypeError, match="bincount: input must be int64"):
        rushlight.bincount(rushlight.ones(2))
    with pytest.raises(ValueError, match="bincount: weights must have the shape"):
        rushlight.bincount(x, rushlight.ones(2))


def test_count_nonzero_and_isin() -> None:
    x = rushlight.tensor([[0, 2], [3, 0]])
    assert rushlight.count_nonzero(x).item() == 2
    assert x.count_nonzero(0).tolist() == [1, 1]
    assert rushlight.isin(x, rushlight.tensor([2, 9])).tolist() == [[False, True], [False, False]]
    assert rushlight.argwhere(x).tolist() == [[0, 1], [1, 0]]


def test_adding_in_place_counts_repeats() -> None:
    x = rushlight.zeros(3)
    version = x._version
    assert x.index_add_(0, rushlight.tensor([1, 1]), rushlight.ones(2)) is x
    x.scatter_add_(0, rushlight.tensor([2, 2, 0]), rushlight.tensor([1.0, 2.0, 4.0]))
    assert x.tolist() == [4.0, 2.0, 3.0]
    assert x._version == version + 2


@pytest.mark.parametrize(
    ("index", "source", "error", "words"),
    [
        (rushlight.tensor([3]), rushlight.ones(1, 2), IndexError, "index 3 is out of range"),
        (rushlight.tensor([0]), rushlight.ones(2, 2), ValueError, r"source of shape \[1, 2\]"),
        (rushlight.tensor([0.0]), rushlight.ones(1, 2), TypeError, "index must be int64"),
        (rushlight.tensor([0]), rushlight.ones(1, 2).double(), TypeError, "src must be float32"),
    ],
)
def test_index_add_refuses(
    index: Tensor, source: Tensor, error: type[Exception], words: str
) -> None:
    x = rushlight.zeros(3, 2)
    with pytest.raises(error, match=words):
        x.index_add_(0, index, source)
    assert x.sum().item() == 0


def test_diagonal_is_a_view() -> None:
    x = rushlight.zeros(3, 3)
    x.diagonal().fill_(2.0)
    assert rushlight.trace(x).item() == 6
    assert rushlight.diag(x).tolist() == [2.0] * 3
    with pytest.raises(ValueError, match="dim1 and dim2 must differ"):
        x.diagonal(0, 1, -1)
    with pytest.raises(ValueError, match="diag: input must have 1 or 2 dimensions"):
        rushlight.diag(rushlight.ones(1, 1, 1))


def test_repeat_interleave_refuses() -> None:
    x = rushlight.arange(3)
    assert x.repeat_interleave(2).tolist() == [0, 0, 1, 1, 2, 2]
    for wrong in (-1, rushlight.tensor([1, 2]), rushlight.tensor([1, -1, 2])):
        with pytest.raises(ValueError, match="repeats must be one number or 3, none negative"):
            x.repeat_interleave(wrong)
    with pytest.raises(TypeError, match="repeats must be int64"):
        x.repeat_interleave(rushlight.ones(3))


def test_grids_refuse() -> None:
    with pytest.raises(ValueError, match="indexing must be 'ij' or 'xy'"):
        rushlight.meshgrid(rushlight.ones(2), indexing="ji")
    with pytest.raises(ValueError, match="meshgrid: tensor 0 must be 1-d"):
        rushlight.meshgrid(rushlight.ones(2, 2))
    with pytest.raises(ValueError, match=r"broadcast_tensors: shapes \[2\], \[3\] do not"):
        rushlight.broadcast_tensors(rushlight.ones(2), rushlight.ones(3))
