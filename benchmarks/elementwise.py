"""Activations, arithmetic and sums on large tensors, which memory limits, beside PyTorch.

``python -m benchmarks elementwise``; the row "copy" is what memory gives at best.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from benchmarks.question import Question, answer
from benchmarks.turns import Rows

SHAPE = (16, 64, 56, 56)  # 12.8 MB in float32
ACTIVATIONS = (
    "relu", "relu6", "leaky_relu", "hardswish", "hardsigmoid", "sigmoid", "tanh", "silu", "gelu",
)  # fmt: skip


def prepare(library: str, threads: int) -> Rows:
    """Return the rows; the two libraries share every name that is used here."""
    engine = importlib.import_module(library)
    functional = importlib.import_module(f"{library}.nn.functional")
    engine.set_num_threads(threads)
    engine.manual_seed(0)
    engine.set_grad_enabled(False)
    x, y = engine.randn(*SHAPE), engine.randn(*SHAPE)
    channels = engine.randn(SHAPE[1], 1, 1)

    def both_ways(function: Callable[..., Any]) -> Callable[[], Any]:
        leaf = x.clone().requires_grad_()
        with engine.enable_grad():
            result = function(leaf)
        return lambda: engine.autograd.grad(result, leaf, y, retain_graph=True)

    cases: dict[str, Callable[[], Any]] = {
        "copy": x.clone,
        "x + y": lambda: x + y,
        "x * 2": lambda: x * 2,
        "x * channels": lambda: x * channels,
        "x.sum()": x.sum,
        "x.sum((0, 2, 3))": lambda: x.sum((0, 2, 3)),
        "x.mean((2, 3))": lambda: x.mean((2, 3)),
        "exp(x)": x.exp,
    }
    for name in ACTIVATIONS:
        function = getattr(functional, name)
        cases[name] = lambda function=function: function(x)
    rows: Rows = {name: lambda case=case: case for name, case in cases.items()}
    for name in ACTIVATIONS:
        function = getattr(functional, name)
        rows[f"{name} backward"] = lambda function=function: both_ways(function)
    return rows


QUESTION = Question(
    "elementwise",
    "elementwise work on 3.2 million elements",
    ("rushlight", "torch"),
)


def main(arguments: list[str]) -> None:
    """Print the table."""
    answer(QUESTION, arguments)
