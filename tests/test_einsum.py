"""Errors of einsum; cases.py holds its values and gradients."""

from __future__ import annotations

import numpy as np
import pytest

import rushlight


@pytest.mark.parametrize(
    ("equation", "operands", "words"),
    [
        ("ij,jk->ik", 2, "'j' is 3 in one operand and 2 in another"),
        ("ij->iz", 1, "the result's 'z' is in no operand"),
        ("i1->i", 1, "expected letters and one '...' at most, but got 'i1'"),
        ("ij->ii", 1, "a letter appears twice in the result 'ii'"),
        ("...i...->i", 1, "one '...' at most"),
        ("ijk->i", 1, "'ijk' does not fit operand 0, which has 2 dimensions"),
        ("ij,kl->", 3, "expected 2 operands but got 3"),
        ("ii", 1, "'i' is 2 and 3 in one operand"),
        ("ij->i->j", 1, "expected letters"),
    ],
)
def test_refused(equation: str, operands: int, words: str) -> None:
    with pytest.raises(ValueError, match="einsum: ") as caught:
        rushlight.einsum(equation, *[rushlight.ones(2, 3)] * operands)
    assert words in str(caught.value)


def test_wrong_types() -> None:
    x = rushlight.ones(2)
    with pytest.raises(TypeError, match="equation must be a str"):
        rushlight.einsum(x, "i")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="one dtype, but got float32 and float64"):
        rushlight.einsum("i,i", x, x.double())
    with pytest.raises(TypeError, match="operand 1"):
        rushlight.einsum("i,i", x, np.ones(2))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least one operand"):
        rushlight.einsum("i", [])


def test_integers_empty_sums_and_a_sequence() -> None:
    outer = rushlight.einsum("i,j->ij", rushlight.arange(3), rushlight.arange(2))
    assert outer.dtype is rushlight.int64
    assert outer.tolist() == [[0, 0], [0, 1], [0, 2]]
    empty = rushlight.einsum("ij,jk->ik", [rushlight.ones(2, 0), rushlight.ones(0, 3)])
    assert empty.tolist() == [[0.0] * 3] * 2
    assert rushlight.einsum(",->", rushlight.tensor(2.0), rushlight.tensor(3.0)).item() == 6


def test_size_one_broadcasts() -> None:
    x, y = rushlight.ones(2, 1), rushlight.arange(6.0).reshape(3, 2)
    result = rushlight.einsum("ij,jk->ik", x, y)
    assert result.tolist() == [[6.0, 9.0]] * 2
