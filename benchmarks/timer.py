"""How a call is timed: enough calls to a sample, several samples, their median."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from typing import Any

__all__ = ["seconds_per_call"]


def seconds_per_call(function: Callable[[], Any], budget: float = 0.1, samples: int = 7) -> float:
    """Return the median time of a call, in seconds.

    The number of calls in a sample is chosen so that all samples take about `budget` seconds; calls
    that take longer are sampled three times.
    Python's garbage collector is off meanwhile: it would charge one call for the rubbish of many.
    """
    function()  # the other libraries had the caches
    start = time.perf_counter()
    function()
    once = max(time.perf_counter() - start, 1e-7)
    calls = max(1, int(budget / samples / once))
    samples = max(min(samples, 3), min(samples, int(budget / once)))  # a call longer than all of it
    gc.collect()
    gc.disable()
    try:
        found = []
        for _ in range(samples):
            start = time.perf_counter()
            for _ in range(calls):
                function()
            found.append((time.perf_counter() - start) / calls)
    finally:
        gc.enable()
    return statistics.median(found)
