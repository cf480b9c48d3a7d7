"""Where the values of a plan lie: one arena, in which memory is used again when it is free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Span", "arrange"]

_ALIGNMENT = 64


@dataclass(eq=False)
class Span:
    """Bytes that are needed from one step of a plan to another, both included."""

    nbytes: int
    first: int
    last: int
    offset: int = 0


def arrange(spans: Sequence[Span]) -> int:
    """Give every span an offset such that those needed at one time do not overlap.

    Larger ones first, each at the lowest offset that is free while it is needed.

    Returns
    -------
    int
        Bytes of the whole arena.
    """
    placed: list[Span] = []
    total = 0
    for span in sorted(spans, key=lambda each: (-each.nbytes, each.first)):
        span.offset = 0
        for other in placed:  # by offset
            if other.last < span.first or span.last < other.first:
                continue
            if span.offset + span.nbytes <= other.offset:
                break
            span.offset = max(span.offset, _aligned(other.offset + other.nbytes))
        placed.append(span)
        placed.sort(key=lambda each: each.offset)
        total = max(total, _aligned(span.offset + span.nbytes))
    return total


def _aligned(offset: int) -> int:
    return -(-offset // _ALIGNMENT) * _ALIGNMENT
