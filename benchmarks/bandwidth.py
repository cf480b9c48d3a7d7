"""Operations that only move memory, as a share of what the machine can move.

``python -m benchmarks bandwidth [--threads 1 2]``. float32, 64 MiB. The yardstick `limit` copies
as many bytes as the row reads and writes, or, where next to nothing is written, reads as many: in
the same process layout, with the same threads, in turns.
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

SHAPE = (8, 128, 128, 128)
COUNT = 8 * 128 * 128 * 128
FEATURES = 4096

# By row: arrays of COUNT elements that are read and that are written.
ROWS = {
    "relu": (1.0, 1.0),
    "add": (2.0, 1.0),
    "batch norm, eval": (1.0, 1.0),
    "max_pool2d, 2x2": (1.0, 0.25),
    "avg_pool2d, 2x2": (1.0, 0.25),
    "avg_pool2d, whole image": (1.0, 0.0),
    "softmax, 1024": (1.0, 1.0),
    "linear, 1 row, 4096->4096": (1.0, 0.0),
    "linear, 2 rows, 4096->4096": (1.0, 0.0),
}


def _limit(name: str, threads: int) -> Case:
    core = importlib.import_module("rushlight._core")
    core.set_num_threads(threads)
    reads, writes = ROWS[name]
    if writes == 0:
        source = np.ones(COUNT, np.float32)
        return lambda: core.probe_read(source)
    # A copy of n elements reads n and writes n.
    source = np.ones(int(COUNT * (reads + writes) / 2), np.float32)
    return lambda: core.probe_copy(source)


def _operation(name: str, engine: Any, functional: Any, x: Any) -> Callable[[], Any]:
    source = engine.tensor(x)
    if name == "relu":
        return lambda: engine.relu(source)
    if name == "add":
        other = engine.tensor(x)
        return lambda: source + other
    if name.startswith("batch norm"):
        mean, var, weight, bias = (engine.rand(SHAPE[1]) + 0.5 for _ in range(4))
        return lambda: functional.batch_norm(source, mean, var, weight, bias)
    if name.startswith("softmax"):
        rows = source.reshape(-1, 1024)
        return lambda: functional.softmax(rows, dim=1)
    if name.startswith("linear"):
        matrix = source.reshape(FEATURES, FEATURES)
        row = engine.rand(int(name.split()[1]), FEATURES)
        return lambda: functional.linear(row, matrix)
    if "whole" in name:
        return lambda: functional.adaptive_avg_pool2d(source, 1)
    pool = functional.max_pool2d if name.startswith("max") else functional.avg_pool2d
    return lambda: pool(source, 2)


def _expected(name: str, x: Any) -> Any:
    wide = x.astype(np.float64)
    halves = wide.reshape(*SHAPE[:2], 64, 2, 64, 2)
    return {
        "relu": lambda: np.maximum(wide, 0),
        "add": lambda: wide + wide,
        "max_pool2d, 2x2": lambda: halves.max((3, 5)),
        "avg_pool2d, 2x2": lambda: halves.mean((3, 5)),
        "avg_pool2d, whole image": lambda: wide.mean((2, 3), keepdims=True),
    }.get(name, lambda: None)()


def _case(library: str, threads: int, name: str) -> Case:
    if library == "limit":
        return _limit(name, threads)
    engine = importlib.import_module(library)
    functional = importlib.import_module(f"{library}.nn.functional")
    engine.set_num_threads(threads)
    engine.set_grad_enabled(False)
    x = np.random.default_rng(0).standard_normal(SHAPE, np.float32)
    run = _operation(name, engine, functional, x)
    expected = _expected(name, x)
    if expected is not None:
        check(np.asarray(run()), expected)
    return run


def prepare(library: str, threads: int) -> Rows:
    """Return the rows."""
    return {name: functools.partial(_case, library, threads, name) for name in ROWS}


QUESTION = Question(
    "bandwidth",
    "operations that only move memory, float32, 64 MiB",
    ("rushlight", "torch", "limit"),
    yardsticks=("limit",),
)


def main(arguments: list[str]) -> None:
    """Print the table."""
    answer(QUESTION, arguments)
