"""Matrix products as a share of the machine's peak, beside PyTorch and NumPy.

``python -m benchmarks gemm [--threads 1 2]``. float32. The yardstick `peak` computes as many
multiply-adds in registers, with the same vectors and the same threads, and takes its turns too.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.question import Question, answer
from benchmarks.reference import check
from benchmarks.turns import Case, Rows

Size = tuple[int, int, int]
SQUARES: list[Size] = [(n, n, n) for n in (192, 256, 384, 512, 768, 1024, 1536)]
ODD: list[Size] = [
    (base + dm, base + dn, base + dk)
    for base in (256, 768)
    for dm, dn, dk in ((1, 1, 1), (-1, -1, -1), (1, 0, 0), (0, 1, 0), (0, 0, 1))
]
SIZES = {f"{m} x {n} x {k}": (m, n, k) for m, n, k in SQUARES + ODD}


def _product(library: str, threads: int, a: Any, b: Any) -> Callable[[], Any]:
    if library == "numpy":
        return lambda: a @ b
    engine = importlib.import_module(library)
    engine.set_num_threads(threads)
    engine.set_grad_enabled(False)
    x, y = engine.tensor(a), engine.tensor(b)
    return lambda: engine.mm(x, y)


def _case(library: str, threads: int, size: Size) -> Case:
    m, n, k = size
    if library == "peak":
        core = importlib.import_module("rushlight._core")
        core.set_num_threads(threads)
        return lambda: core.probe_multiply_adds(m * n * k)
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(shape, np.float32) for shape in ((m, k), (k, n)))
    run = _product(library, threads, a, b)
    check(np.asarray(run()), a.astype(np.float64) @ b.astype(np.float64))
    return run


def prepare(library: str, threads: int) -> Rows:
    """Return the rows: M x N x K."""
    return {name: functools.partial(_case, library, threads, size) for name, size in SIZES.items()}


def _operations(name: str) -> float:
    m, n, k = SIZES[name]
    return 2.0 * m * n * k


QUESTION = Question(
    "gemm",
    "matrix products M x N x K, float32",
    ("rushlight", "torch", "numpy", "peak"),
    yardsticks=("peak",),
    operations=_operations,
)


def main(arguments: list[str]) -> None:
    """Print the table."""
    answer(QUESTION, arguments)
