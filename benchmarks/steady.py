"""Whether the machine gives all it has.

A shared or virtual machine's processors are at times two halves of one core, or someone else's: a
second here, a minute there. What is timed meanwhile says nothing about a library. So a fixed
number of multiply-adds is timed before and after a turn, and a turn that was not given the best
speed seen so far is taken again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from rushlight import _core

__all__ = ["Steady"]

T = TypeVar("T")

ENOUGH = 0.88  # of the best speed seen so far
PATIENCE = 40  # tries before a turn counts as it is
PROBE = 50_000_000  # multiply-adds: about a millisecond of one core
PAUSE = 0.1  # seconds until the next try: after some idleness threads may land elsewhere


class Steady:
    """Runs turns while the machine is as fast as it has ever been.

    Attributes
    ----------
    disturbed : int
        Turns that counted although the machine was slow at every try.
    """

    def __init__(self, threads: int) -> None:
        _core.set_num_threads(threads)
        self._best = 0.0
        self.disturbed = 0
        for _ in range(20):
            self._is_fast()
            time.sleep(PAUSE / 4)

    def _is_fast(self) -> bool:
        speed = 0.0
        for _ in range(3):  # the first wakes the threads
            start = time.perf_counter()
            _core.probe_multiply_adds(PROBE)
            speed = max(speed, PROBE / (time.perf_counter() - start))
        self._best = max(self._best, speed)
        return speed >= ENOUGH * self._best

    def turn(self, function: Callable[[], T]) -> T:
        """Return the function's result of a turn that the machine did not disturb."""
        result = None
        for _ in range(PATIENCE):
            if self._is_fast():
                result = function()
                if self._is_fast():
                    return result
            time.sleep(PAUSE)
        self.disturbed += 1
        return function() if result is None else result
