"""The report as text: a row per case, ratios in the last columns, geometric means last."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from benchmarks.machine import describe

if TYPE_CHECKING:
    from benchmarks.question import Result
    from benchmarks.turns import Row

__all__ = ["OURS", "Table", "fastest_peer", "geometric_mean", "ratio_to"]

OURS = "rushlight"
SCALE = {"ms": 1e3, "us": 1e6}
PYTORCH = ("torch", "torch_cl")


def geometric_mean(values: Iterable[float]) -> float:
    """Return the geometric mean; NaN of nothing."""
    logs = [math.log(value) for value in values]
    return math.exp(sum(logs) / len(logs)) if logs else math.nan


def fastest_peer(row: Row, peers: Iterable[str]) -> str | None:
    """Return which of the peers has the best time in this row."""
    timed = [name for name in peers if name in row.seconds]
    return min(timed, key=lambda name: min(row.seconds[name]), default=None)


def ratio_to(row: Row, library: str | None) -> float | None:
    """Return the library's time over Rushlight's: above 1, Rushlight is faster."""
    ours = row.best(OURS)
    theirs = row.best(library) if library else None
    return theirs / ours if ours and theirs else None


class Table:
    """Cuts one result into lines."""

    def __init__(self, result: Result, markdown: bool = False) -> None:
        self.result = result
        self.markdown = markdown
        limits = result.question.yardsticks
        self.columns = result.libraries
        self.limits = [name for name in self.columns if name in limits]
        self.peers = [name for name in self.columns if name != OURS and name not in limits]
        self.pytorch = [name for name in self.peers if name in PYTORCH]

    def title(self) -> str:
        r = self.result
        machine = describe(r.libraries)
        place = f"{machine['processor']}, {machine['cpus']} CPUs, {machine['instructions']}"
        return (
            f"{r.question.about}\n{place}. Threads: {r.threads}. Best of {r.rounds} medians,"
            f" in {r.question.unit}; spread: worst over best round, of the library with the widest."
            + ("\n" if self.markdown else "")
        )

    def _line(self, name: str, cells: list[str]) -> str:
        if self.markdown:
            return f"| {' | '.join([name.replace('|', ' '), *cells])} |"
        return f"{name:<34}" + "".join(f"{cell:>13}" for cell in cells)

    def head(self) -> str:
        cells = [*self.columns, "spread"]
        if self.peers:
            cells += ["fastest peer", "peer / ours"]
        if self.pytorch and len(self.peers) > 1:
            cells.append("torch / ours")
        cells += [f"% of {name}" for name in self.limits]
        if self.result.question.operations:
            cells.append("GFLOP/s")
        rule = f"\n|---|{'---:|' * len(cells)}" if self.markdown else ""
        return self._line("", cells) + rule

    def line(self, row: Row) -> str:
        """Return a row: times, spread, ratios."""
        scale = SCALE[self.result.question.unit]
        cells = []
        for name in self.columns:
            best = row.best(name)
            cells.append("-" if best is None else f"{scale * best:.3f}")
        spreads = [max(times) / min(times) for times in row.seconds.values()]
        cells.append(f"{100 * (max(spreads) - 1):.0f} %" if spreads else "")
        if self.peers:
            fastest = fastest_peer(row, self.peers)
            cells += [fastest or "-", _ratio(ratio_to(row, fastest))]
        if self.pytorch and len(self.peers) > 1:
            cells.append(_ratio(ratio_to(row, fastest_peer(row, self.pytorch))))
        for limit in self.limits:
            ratio = ratio_to(row, limit)
            cells.append("-" if ratio is None else f"{100 * ratio:.1f}")
        operations, best = self.result.question.operations, row.best(OURS)
        if operations:
            cells.append("-" if best is None else f"{operations(row.name) / best / 1e9:.1f}")
        return self._line(row.name, cells)

    def foot(self) -> str:
        """Return the geometric means, and who is absent where."""
        rows = self.result.rows
        lines = []
        groups = {name: [name] for name in self.peers}
        if len(self.pytorch) > 1:
            groups["PyTorch's better mode"] = self.pytorch
        if len(self.peers) > 1:
            groups["the fastest peer of each row"] = self.peers
        for title, names in groups.items():
            ratios = [ratio_to(row, fastest_peer(row, names)) for row in rows]
            known = [ratio for ratio in ratios if ratio is not None]
            if known:
                mean, lost = geometric_mean(known), sum(ratio < 1 for ratio in known)
                lines.append(
                    f"{title} / ours: geometric mean {mean:.2f} over {len(known)} rows,"
                    f" slower than it on {lost}"
                )
        absent: dict[tuple[str, str], list[str]] = {}
        for row in rows:
            for name, reason in row.absent.items():
                absent.setdefault((name, reason), []).append(row.name)
        for (name, reason), where in absent.items():
            lines.append(f"{name}: {reason}: {'; '.join(where)}")
        disturbed = [f"{row.name} ({row.disturbed})" for row in rows if row.disturbed]
        if disturbed:
            lines.append(f"turns for which the machine never gave its best: {'; '.join(disturbed)}")
        if self.result.missing:
            lines.append(f"not installed: {', '.join(self.result.missing)}")
        gap = "\n" if self.markdown else ""
        return gap + "\n".join(f"- {line}" if self.markdown else line for line in lines) + "\n"


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
