"""Whether the machine gives all it has.

The processors of a shared or virtual machine are at times two halves of one core, far apart, or
someone else's: a second here, a minute there. What is timed meanwhile says little about a library.
So many small jobs of known work, which need all threads and a quick word between them, are timed
before and after a turn, and a turn that had less than the best machine seen so far is taken again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from rushlight import _core

__all__ = ["Steady"]

T = TypeVar("T")

ENOUGH = 0.85  # of the best speed seen so far
PAUSE = 0.1  # seconds until the next try: after some idleness threads may land elsewhere
PATIENCE = 10.0  # seconds of tries until a turn counts as it is
IN_ALL = 900.0  # seconds spent on trying again, of all turns together
JOBS = 300
MULTIPLY_ADDS = 200_000  # of a job: about a microsecond of two cores


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
        self._left = IN_ALL
        self.disturbed = 0
        for _ in range(20):
            self._is_fast()
            time.sleep(PAUSE)

    def _is_fast(self) -> bool:
        speed = 0.0
        for _ in range(4):  # the first wakes the threads
            start = time.perf_counter()
            for _ in range(JOBS):
                _core.probe_multiply_adds(MULTIPLY_ADDS)
            speed = max(speed, 1.0 / (time.perf_counter() - start))
        self._best = max(self._best, speed)
        return speed >= ENOUGH * self._best

    def turn(self, function: Callable[[], T]) -> T:
        """Return the function's result of a turn that the machine did not disturb."""
        began = time.monotonic()
        while True:
            fast = self._is_fast()
            start = time.monotonic()
            if fast:
                result = function()
                if self._is_fast():
                    break
            if start - began > min(PATIENCE, self._left):
                self.disturbed += 1
                start = time.monotonic()
                result = function()
                break
            time.sleep(PAUSE)
        self._left -= start - began
        return result
