"""Where the time goes: of the steps of a plan, or of the operations of eager code."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

from rushlight.autograd.node import Node as GradNode
from rushlight.autograd.tape import Tape

__all__ = ["Event", "Profile", "profile"]


class Event(NamedTuple):
    """One operation: its name, when it began (seconds since the profile began), how long it took.

    `thread` is the id of the Python thread that called it, `details` what else is known of it.
    """

    name: str
    start: float
    seconds: float
    thread: int
    details: dict[str, str]


class Profile:
    """Events in order; prints as a table of the names, the longest first.

    Attributes
    ----------
    events : list of Event
    """

    def __init__(self, events: Sequence[Event] = ()) -> None:
        self.events = list(events)

    @property
    def seconds(self) -> float:
        """Of all events."""
        return sum(event.seconds for event in self.events)

    def totals(self) -> list[tuple[str, int, float]]:
        """Return (name, calls, seconds) of each name, the longest first."""
        found: dict[str, tuple[int, float]] = {}
        for event in self.events:
            calls, seconds = found.get(event.name, (0, 0.0))
            found[event.name] = calls + 1, seconds + event.seconds
        rows = [(name, calls, seconds) for name, (calls, seconds) in found.items()]
        return sorted(rows, key=lambda row: -row[2])

    def __repr__(self) -> str:
        whole = self.seconds or 1.0
        rows = [
            (name, str(calls), f"{seconds * 1e3:.3f}", f"{100 * seconds / whole:.1f}")
            for name, calls, seconds in self.totals()
        ]
        table = [("Operation", "Calls", "ms", "%"), *rows]
        table.append(("all", str(len(self.events)), f"{self.seconds * 1e3:.3f}", ""))
        widths = [max(len(line[column]) for line in table) for column in range(4)]
        return "\n".join(
            "  ".join(
                [line[0].ljust(widths[0])]
                + [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
            ).rstrip()
            for line in table
        )

    def export_chrome_trace(self, path: str | os.PathLike[str]) -> None:
        """Write the events to a file that ``chrome://tracing`` and Perfetto show.

        Parameters
        ----------
        path : str or path
            JSON in the trace event format, "complete" events in microseconds.
        """
        events = [
            {
                "name": event.name,
                "ph": "X",
                "ts": event.start * 1e6,
                "dur": event.seconds * 1e6,
                "pid": os.getpid(),
                "tid": event.thread,
                "args": event.details,
            }
            for event in self.events
        ]
        Path(path).write_text(json.dumps({"traceEvents": events}), encoding="utf-8")


class profile(Profile, Tape):
    """Time the operations of eager code inside a ``with`` block, backward included.

    Each operation of this thread becomes an event, named as its node in the graph is. What the
    operation does inside counts as one.

    Examples
    --------
    >>> with rushlight.profile() as prof:
    ...     loss = model(images).sum()
    ...     loss.backward()
    >>> print(prof)  # doctest: +SKIP
    >>> prof.export_chrome_trace("trace.json")  # doctest: +SKIP
    """

    def __init__(self) -> None:
        super().__init__()
        self._began = perf_counter()

    def __enter__(self) -> profile:
        """Start to follow what this thread runs."""
        super().__enter__()
        self._began = perf_counter()
        return self

    def note(self, run: Callable[..., Any], operation: Any, args: tuple[Any, ...]) -> Any:
        """Run an operation and keep its time."""
        start = perf_counter()
        result = run(*args)
        seconds = perf_counter() - start
        name, details = _described(operation, args)
        self.events.append(
            Event(name, start - self._began, seconds, threading.get_ident(), details)
        )
        return result


def _described(operation: Any, args: tuple[Any, ...]) -> tuple[str, dict[str, str]]:
    if isinstance(operation, GradNode):
        return operation.name(), {}
    if isinstance(operation, type) and issubclass(operation, GradNode):
        name = operation.name().removesuffix("0").removesuffix("Backward")
    else:
        name = str(operation.__name__).lstrip("_")
    shapes = [str(list(each.shape)) for each in args if hasattr(each, "shape")]
    return name, {"shapes": ", ".join(shapes)}
