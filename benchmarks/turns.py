"""Several libraries, each in a process of its own, taking turns.

Inside one process the spinning threads of one runtime slow the next. So a parent starts a worker
per library and tells them one by one which case to time, round after round: what slows the machine
for a while slows them all.

A question is a module of this package with ``prepare(library, threads)``, which returns the cases
by name, as functions without arguments.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.timer import seconds_per_call

__all__ = ["Worker", "installed", "take_turns"]

ROOT = Path(__file__).resolve().parent.parent


def installed(libraries: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Return which libraries are there and which are missing."""
    present = [name for name in libraries if importlib.util.find_spec(name) is not None]
    return present, [name for name in libraries if name not in present]


class Worker:
    """A process that times the cases of one library when it is told to."""

    def __init__(self, question: str, library: str, threads: int) -> None:
        command = [sys.executable, "-m", "benchmarks.turns", question, library, str(threads)]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.name = library
        self.cases: list[str] = self._read()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the worker of {self.name} ended: see the error above")
        return json.loads(line)

    def seconds(self, case: str) -> float:
        """Return the median time of a call of `case` in this turn."""
        assert self._process.stdin is not None
        print(case, file=self._process.stdin, flush=True)
        return float(self._read())

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


def take_turns(workers: list[Worker], rounds: int) -> dict[str, dict[str, list[float]]]:
    """Return, by case and library, the median of each round; the first round warms up."""
    found: dict[str, dict[str, list[float]]] = {}
    for turn in range(rounds + 1):
        for case in workers[0].cases:
            for worker in workers:
                seconds = worker.seconds(case)
                if turn:
                    found.setdefault(case, {}).setdefault(worker.name, []).append(seconds)
                time.sleep(0.01)
    return found


def _serve(question: str, library: str, threads: int) -> None:
    cases = importlib.import_module(f"benchmarks.{question}").prepare(library, threads)
    print(json.dumps(list(cases)), flush=True)
    for line in sys.stdin:
        print(json.dumps(seconds_per_call(cases[line.rstrip("\n")])), flush=True)


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2], int(sys.argv[3]))
