"""Several libraries, each in a process of its own, taking turns.

Inside one process the spinning threads of one runtime slow the next. So a parent starts a worker
per library and, row by row, tells them in turn to time it, round after round: what slows the
machine for a while slows them all. A turn during which the machine gave less than its best is
taken again (`steady.Steady`).

A question is a module of this package with ``prepare(library, threads)``, which returns the rows
in their order: by name, a function that builds the row's case. A case is a function without
arguments: the call that is timed. Building raises `Skip` where the library cannot answer the row,
and `Wrong` where its result fails the check, which comes before any timing.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.steady import Steady
from benchmarks.timer import seconds_per_call

__all__ = ["Case", "Row", "Rows", "Skip", "Worker", "Wrong", "take_turns"]

ROOT = Path(__file__).resolve().parent.parent
PAUSE = 0.03  # seconds between two turns, until the threads of the last one sleep

Case = Callable[[], Any]
Rows = dict[str, Callable[[], Case]]


class Skip(Exception):
    """The library has no answer to this row; the text says why."""


class Wrong(Exception):
    """The library's result is wrong; the text says by how much."""


class Row:
    """What came of one row: seconds of each round by library, and why a library has none.

    `disturbed` counts turns that the machine did not give its best at any try.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.seconds: dict[str, list[float]] = {}
        self.absent: dict[str, str] = {}
        self.disturbed = 0

    def best(self, library: str) -> float | None:
        """Return the best round's median, in seconds."""
        return min(self.seconds[library]) if library in self.seconds else None


class Worker:
    """A process that builds and times the rows of one library when it is told to."""

    def __init__(self, question: str, library: str, threads: int) -> None:
        command = [sys.executable, "-m", "benchmarks.turns", question, library, str(threads)]
        # NumPy's library reads its number of threads when it is loaded, and only there.
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": str(threads)}
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.name = library
        self.rows: list[str] = self._read()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the worker of {self.name} ended: see the error above")
        return json.loads(line)

    def ask(self, order: str, row: str, value: float = 0.0) -> Any:
        """Send an order (build, time or drop), and return the answer."""
        assert self._process.stdin is not None
        print(json.dumps([order, row, value]), file=self._process.stdin, flush=True)
        return self._read()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def take_turns(
    question: str,
    libraries: Iterable[str],
    threads: int,
    rounds: int,
    budget: float,
    wanted: Callable[[str], bool] = lambda row: True,
) -> Iterator[Row]:
    """Yield row after row: each library's median of each round; a first round warms up.

    A row is built just before it is timed and dropped after it, so that no library holds the
    memory of the whole table.
    """
    steady = Steady(threads)
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(question, name, threads)) for name in libraries]
        names = dict.fromkeys(name for worker in workers for name in worker.rows if wanted(name))
        for name in names:
            row = Row(name)
            ready = []
            for worker in workers:
                reason = worker.ask("build", name)
                if reason is None:
                    ready.append(worker)
                else:
                    row.absent[worker.name] = reason
            for worker in ready:
                worker.ask("time", name, budget / 4)  # warms up
            before = steady.disturbed
            for _ in range(rounds):
                for worker in ready:
                    ask = functools.partial(worker.ask, "time", name, budget)
                    row.seconds.setdefault(worker.name, []).append(steady.turn(ask))
                    time.sleep(PAUSE)
            row.disturbed = steady.disturbed - before
            for worker in ready:
                worker.ask("drop", name)
            yield row


def _build(rows: Rows, name: str, cases: dict[str, Case]) -> str | None:
    if name not in rows:
        return "no such row"
    try:
        cases[name] = rows[name]()
    except Skip as error:
        return str(error)
    except Wrong as error:
        return f"wrong: {error}"
    return None


def _serve(question: str, library: str, threads: int) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not look like an answer
    rows: Rows = importlib.import_module(f"benchmarks.{question}").prepare(library, threads)
    cases: dict[str, Case] = {}
    answer: Any = list(rows)
    print(json.dumps(answer), file=answers, flush=True)
    for line in sys.stdin:
        order, name, value = json.loads(line)
        if order == "build":
            answer = _build(rows, name, cases)
        elif order == "time":
            answer = seconds_per_call(cases[name], value)
        else:
            answer = cases.pop(name, None) and None
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    # As the module that the questions import: their Skip must be the Skip that is caught here.
    importlib.import_module("benchmarks.turns")._serve(sys.argv[1], sys.argv[2], int(sys.argv[3]))
