"""``explain``: the steps of a compiled net as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from rushlight import _core
from rushlight.compiler.graph import Node, Value
from rushlight.compiler.layouts import algorithm
from rushlight.compiler.program import Program

__all__ = ["Explanation", "Row", "explain"]


class Row(NamedTuple):
    """One node of a compiled net.

    Attributes
    ----------
    path : str
        The module whose forward called it.
    operations : str
        What it does, in order; "eager" before what Python runs as the module would.
    algorithm : str
        How the kernel does it, where there is a choice.
    shapes : str
        Of what it reads (constants left out) and makes.
    multiply_adds, nbytes : int
        Work, and bytes of its operands, weights and results.
    seconds : float or None
        Of the last run; None before the first.
    """

    path: str
    operations: str
    algorithm: str
    shapes: str
    multiply_adds: int
    nbytes: int
    seconds: float | None

    @property
    def gflops(self) -> float | None:
        """Multiplications and additions per nanosecond in the last run."""
        if not self.seconds or not self.multiply_adds:
            return None
        return 2e-9 * self.multiply_adds / self.seconds


_HEADINGS = (
    "Module", "Operations", "Algorithm", "Shapes", "Multiply-adds", "Memory", "Time", "GFLOP/s",
)  # fmt: skip


class Explanation:
    """The rows of a compiled net and their totals; prints as a table, in notebooks too.

    Attributes
    ----------
    rows : list of Row
    arena_bytes : int
        What a running call needs beside weights, arguments and results.
    weight_bytes : int
        Weights in the form that kernels read, of all plans of the net.
    portions : int
        How many parts a large batch runs in, one after the other; rows are those of the last.
    """

    def __init__(
        self, rows: Sequence[Row], arena_bytes: int, weight_bytes: int, portions: int = 1
    ) -> None:
        self.rows = list(rows)
        self.portions = portions
        self.arena_bytes = arena_bytes
        self.weight_bytes = weight_bytes

    @property
    def seconds(self) -> float:
        """Of all rows in the last run."""
        return sum(row.seconds or 0.0 for row in self.rows)

    def __repr__(self) -> str:
        table = [_HEADINGS, *map(_cells, self.rows)]
        widths = [max(len(line[column]) for line in table) for column in range(len(_HEADINGS))]
        lines = [_line(line, widths) for line in table]
        return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:], *self._totals()])

    def _totals(self) -> list[str]:
        total = Row("", "", "", "", sum(row.multiply_adds for row in self.rows), 0, self.seconds)
        time = f", {_time(total.seconds)}" if total.seconds else ""
        rate = f", {total.gflops:.1f} GFLOP/s" if total.gflops else ""
        what = f"{len(self.rows)} steps, {_count(total.multiply_adds)} multiply-adds{time}{rate}"
        if self.portions > 1:
            what = f"the last of {self.portions} portions of the batch: {what}"
        return [
            what,
            f"arena {_bytes(self.arena_bytes)}, prepared weights {_bytes(self.weight_bytes)}",
        ]

    def _repr_html_(self) -> str:
        """Return a table; every text in it is escaped."""
        head = "".join(f"<th>{escape(each)}</th>" for each in _HEADINGS)
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in _cells(row)) + "</tr>"
            for row in self.rows
        )
        foot = "<br>".join(map(escape, self._totals()))
        return (
            '<div class="rushlight-explain" style="font-family: monospace">'
            f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{foot}</div>"
        )


def explain(program: Program, weights: _core.PlanWeights) -> Explanation:
    """Return the table of a program, with the times of its last run."""
    times = program.times()
    rows = [_row(node, times.get(node)) for node in program.nodes()]
    return Explanation(rows, program.plan_bytes, weights.bytes, program.graph.portions)


def _row(node: Node, seconds: float | None) -> Row:
    read = [each for each in node.inputs if each.constant is None]
    weights = [part.settings["weight"] for part in node.parts if "weight" in part.settings]
    shapes = f"{' '.join(map(_shape, read))} -> {' '.join(map(_shape, node.outputs))}"
    nbytes = sum(each.nbytes for each in (*node.inputs, *node.outputs))
    return Row(
        node.module,
        ("eager " if node.op == "call" else "") + " + ".join(node.fused),
        _algorithm(node),
        shapes,
        sum(map(_multiply_adds, node.parts)),
        nbytes + sum(weight.array.nbytes for weight in weights),
        seconds,
    )


def _algorithm(node: Node) -> str:
    if node.op == "pair":
        return "blocked pair"
    if node.op != "conv2d":
        return ""
    done, src = node.settings, node.inputs[0]
    if node.output.block:
        return algorithm(node, src_blocked=bool(src.block)) or ""
    sizes = (done["stride"], done["padding"], done["dilation"], done["groups"])
    return _core.conv2d_algorithm(src.shape, done["weight"].array.shape, *sizes, src.dtype)


def _multiply_adds(node: Node) -> int:
    """Return the multiply-adds of a product; 0 for what has none to speak of."""
    if node.op in ("conv2d", "linear"):
        per_channel = math.prod(node.settings["weight"].array.shape[1:])
        return int(node.output.size * per_channel)
    if node.op == "matmul":
        return node.output.size * node.inputs[0].shape[-1]
    return 0


def _shape(value: Value) -> str:
    return "x".join(map(str, value.shape)) or "()"


def _cells(row: Row) -> tuple[str, ...]:
    rate = row.gflops
    return (
        row.path,
        row.operations,
        row.algorithm,
        row.shapes,
        _count(row.multiply_adds) if row.multiply_adds else "",
        _bytes(row.nbytes),
        "" if row.seconds is None else _time(row.seconds),
        "" if rate is None else f"{rate:.1f}",
    )


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    left = [cell.ljust(width) for cell, width in zip(cells[:4], widths[:4], strict=True)]
    right = [cell.rjust(width) for cell, width in zip(cells[4:], widths[4:], strict=True)]
    return "  ".join([*left, *right]).rstrip()


def _count(number: float) -> str:
    for unit in ("", "k", "M", "G"):
        if number < 1000 or unit == "G":
            break
        number /= 1000
    return f"{number:.0f}{unit}" if number >= 100 or not unit else f"{number:.2g}{unit}"


def _bytes(number: float) -> str:
    return f"{number / 2**20:.1f} MiB" if number >= 2**19 else f"{number / 2**10:.1f} KiB"


def _time(seconds: float | None) -> str:
    seconds = seconds or 0.0
    return f"{seconds * 1e3:.2f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.1f} us"
