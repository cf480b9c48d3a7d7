"""How tensors print: fixed texts, PyTorch's where it is installed, and the options."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import rushlight as rl
from rushlight.nn import Parameter

NAN, INF = math.nan, math.inf


@pytest.fixture(autouse=True)
def _default_options() -> Iterator[None]:
    yield
    rl.set_printoptions(profile="default")


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (lambda: rl.tensor(1), "tensor(1)"),
        (lambda: rl.tensor(2.5), "tensor(2.5000)"),
        (lambda: rl.tensor(True), "tensor(True)"),
        (lambda: rl.tensor([1.0, 2.0]), "tensor([1., 2.])"),
        (lambda: rl.tensor([1.0, 2.5]), "tensor([1.0000, 2.5000])"),
        (lambda: rl.tensor([-0.0, 0.0]), "tensor([-0., 0.])"),
        (lambda: rl.tensor([1, -20, 300]), "tensor([  1, -20, 300])"),
        (lambda: rl.tensor([True, False]), "tensor([ True, False])"),
        (lambda: rl.tensor([NAN, INF, -INF]), "tensor([nan, inf, -inf])"),
        (lambda: rl.tensor([NAN, 1.5]), "tensor([   nan, 1.5000])"),
        (lambda: rl.tensor([INF, 1.0]), "tensor([inf, 1.])"),
        (lambda: rl.tensor([1e-5, 1.0]), "tensor([1.0000e-05, 1.0000e+00])"),
        (lambda: rl.tensor([1e10]), "tensor([1.0000e+10])"),
        (lambda: rl.tensor([1e-3, 1.0]), "tensor([0.0010, 1.0000])"),
        (lambda: rl.tensor([0.5], dtype=rl.float64), "tensor([0.5000], dtype=rushlight.float64)"),
        (lambda: rl.tensor([]), "tensor([])"),
        (lambda: rl.zeros(0, 3), "tensor([], size=(0, 3))"),
        (lambda: rl.zeros(0, dtype=rl.int64), "tensor([], dtype=rushlight.int64)"),
        (lambda: rl.tensor([[1, 2], [3, 4]]), "tensor([[1, 2],\n        [3, 4]])"),
        (
            lambda: rl.arange(8).reshape(2, 2, 2),
            "tensor([[[0, 1],\n         [2, 3]],\n\n        [[4, 5],\n         [6, 7]]])",
        ),
        (
            lambda: rl.arange(2000),
            "tensor([   0,    1,    2,  ..., 1997, 1998, 1999])",
        ),
        (lambda: rl.tensor([1.0], requires_grad=True), "tensor([1.], requires_grad=True)"),
        (
            lambda: rl.tensor([1.0], requires_grad=True) * 2,
            "tensor([2.], grad_fn=<MulBackward0>)",
        ),
        (
            lambda: rl.tensor([1.0], dtype=rl.float64, requires_grad=True),
            "tensor([1.], dtype=rushlight.float64, requires_grad=True)",
        ),
        (
            lambda: Parameter(rl.ones(2)),
            "Parameter containing:\ntensor([1., 1.], requires_grad=True)",
        ),
    ],
)
def test_fixed_texts(made: Any, text: str) -> None:
    assert repr(made()) == text
    assert str(made()) == text


def test_edges_of_a_matrix() -> None:
    lines = repr(rl.zeros(40, 40)).split("\n")
    assert lines[0] == "tensor([[0., 0., 0.,  ..., 0., 0., 0.],"
    assert lines[3] == "        ...,"
    assert len(lines) == 7


@pytest.mark.parametrize(
    ("options", "made", "text"),
    [
        ({"precision": 2}, lambda: rl.tensor([1.23456]), "tensor([1.23])"),
        ({"sci_mode": True}, lambda: rl.tensor([1.5]), "tensor([1.5000e+00])"),
        ({"sci_mode": False}, lambda: rl.tensor([1e-3, 9.0]), "tensor([0.0010, 9.0000])"),
        ({"threshold": 3}, lambda: rl.arange(8), "tensor([0, 1, 2,  ..., 5, 6, 7])"),
        ({"threshold": 3, "edgeitems": 1}, lambda: rl.arange(8), "tensor([0,  ..., 7])"),
        ({"linewidth": 20}, lambda: rl.arange(6), "tensor([0, 1, 2, 3,\n        4, 5])"),
        ({"profile": "short"}, lambda: rl.tensor([1.23456]), "tensor([1.23])"),
        ({"profile": "short", "precision": 1}, lambda: rl.tensor([1.23]), "tensor([1.2])"),
    ],
)
def test_options(options: dict[str, Any], made: Any, text: str) -> None:
    rl.set_printoptions(**options)
    assert repr(made()) == text


def test_the_full_profile_prints_everything() -> None:
    rl.set_printoptions(profile="full")
    assert "..." not in repr(rl.arange(3000))
    with pytest.raises(ValueError, match=r"profile.*full.*nonsense"):
        rl.set_printoptions(profile="nonsense")


SHAPES = [
    (), (1,), (0,), (0, 3), (1, 0), (3,), (30,), (5, 7), (2, 3, 4), (1001,), (40, 40), (3, 20, 30),
    (2, 1, 3, 2),
]  # fmt: skip


def _arrays(shape: tuple[int, ...], kind: str) -> Iterator[np.ndarray[Any, Any]]:
    """Yield arrays of one shape whose numbers ask for different formats."""
    rng = np.random.default_rng(len(shape) * 1000 + sum(shape))
    for scale in (1, 1e-6, 100, 1e6, 1e12):
        drawn = np.asarray(rng.standard_normal(shape) * scale)
        yield (drawn > 0) if kind == "?" else drawn.astype(kind)
        if kind[0] != "f" or drawn.size < 2:
            continue
        yield np.round(drawn).astype(kind)
        for special in ([NAN], [NAN, -INF], [0.0, INF]):
            mixed = drawn.astype(kind)
            mixed.reshape(-1)[: len(special)] = special
            yield mixed
        yield np.full(shape, scale, kind)
        yield np.where(drawn > 0, NAN, -INF).astype(kind)
        yield (drawn * np.logspace(-4, 4, drawn.size).reshape(shape)).astype(kind)


@pytest.mark.parametrize("kind", ["f4", "f8", "i8", "?"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_prints_as_pytorch(shape: tuple[int, ...], kind: str) -> None:
    torch = pytest.importorskip("torch")
    for array in _arrays(shape, kind):
        ours = repr(rl.tensor(array)).replace("rushlight.", "torch.")
        theirs = repr(torch.tensor(array))
        if kind == "f8":
            # The longer name of the type may take a line of its own.
            ours, theirs = " ".join(ours.split()), " ".join(theirs.split())
        assert ours == theirs


@pytest.mark.parametrize(
    "options",
    [
        {"precision": 2},
        {"precision": 8, "linewidth": 120},
        {"threshold": 5, "edgeitems": 1},
        {"linewidth": 40},
        {"sci_mode": True},
        {"sci_mode": False},
        {"profile": "short"},
        {"profile": "full", "linewidth": 200},
    ],
    ids=str,
)
def test_prints_as_pytorch_with_options(options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    try:
        rl.set_printoptions(**options)
        torch.set_printoptions(**options)
        for shape in [(), (30,), (2, 3, 4), (40, 40)]:
            for array in _arrays(shape, "f4"):
                ours = repr(rl.tensor(array, requires_grad=True)).replace("rushlight.", "torch.")
                assert ours == repr(torch.tensor(array, requires_grad=True))
    finally:
        torch.set_printoptions(profile="default")
