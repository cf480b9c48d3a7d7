"""What all questions share: the options, the run in turns, and where the result goes."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.chart import draw
from benchmarks.machine import describe
from benchmarks.peers import ALL, installed
from benchmarks.table import Table
from benchmarks.turns import Row, take_turns

__all__ = ["Question", "Result", "answer", "options_of"]


@dataclass(frozen=True)
class Question:
    """One table.

    Attributes
    ----------
    name : str
        The module of this package whose ``prepare`` answers.
    about : str
        The first line of the report.
    libraries : tuple of str
        Whom it can ask, Rushlight first.
    yardsticks : tuple of str
        Those among them that are no library but a limit of the machine, such as its peak.
    unit : str
        ``"ms"`` or ``"us"``.
    operations : callable, optional
        Floating-point operations of a row, by its name; given, a column shows GFLOP/s.
    """

    name: str
    about: str
    libraries: tuple[str, ...] = ALL
    yardsticks: tuple[str, ...] = ()
    unit: str = "ms"
    operations: Callable[[str], float] | None = None


@dataclass
class Result:
    """The rows of one run with one number of threads."""

    question: Question
    threads: int
    rounds: int
    libraries: list[str]  # those that are installed
    missing: list[str]
    rows: list[Row]

    def as_json(self) -> dict[str, Any]:
        return {
            "question": self.question.name,
            "threads": self.threads,
            "rounds": self.rounds,
            "missing": self.missing,
            "machine": describe(self.libraries),
            "rows": [{"name": r.name, "seconds": r.seconds, "absent": r.absent} for r in self.rows],
        }


def options_of(question: Question) -> argparse.ArgumentParser:
    """Return a parser with the options that all questions have."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks {question.name}", description=question.about
    )
    add = parser.add_argument
    add("--threads", type=int, nargs="+", default=[1], help="threads of each library (1); a list")
    add("--peers", nargs="*", help=f"whom to ask beside Rushlight; all: {question.libraries[1:]}")
    add("--rows", nargs="*", help="only rows whose names hold one of these texts")
    add("--rounds", type=int, default=5, help="turns of each library (5)")
    add("--budget", type=float, default=0.1, help="seconds of a turn (0.1)")
    add("--json", type=Path, help="write all figures to this file")
    add("--plot", type=Path, help="draw a chart into this file (needs matplotlib)")
    add("--markdown", action="store_true", help="print the table as Markdown")
    return parser


def answer(question: Question, arguments: list[str] | argparse.Namespace) -> list[Result]:
    """Run, print a table for each number of threads, and write the files that are asked for."""
    if isinstance(arguments, argparse.Namespace):
        options = arguments
    else:
        options = options_of(question).parse_args(arguments)
    libraries = list(question.libraries)
    if options.peers is not None:
        unknown = sorted(set(options.peers) - set(libraries))
        if unknown:
            raise SystemExit(f"--peers: {', '.join(unknown)}: expected some of {libraries[1:]}")
        libraries = [libraries[0], *options.peers]
    present, missing = installed(libraries)

    def wanted(name: str) -> bool:
        return options.rows is None or any(text in name for text in options.rows)

    results = []
    for threads in options.threads:
        result = Result(question, threads, options.rounds, present, missing, [])
        table = Table(result, markdown=options.markdown)
        print(table.title(), table.head(), sep="\n", flush=True)
        rounds, budget = options.rounds, options.budget
        for row in take_turns(question.name, present, threads, rounds, budget, wanted):
            result.rows.append(row)
            print(table.line(row), flush=True)
        print(table.foot(), flush=True)
        results.append(result)
    if options.json:
        options.json.write_text(json.dumps([result.as_json() for result in results], indent=1))
    if options.plot:
        draw(results, options.plot)
    return results
