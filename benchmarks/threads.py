"""What threads cost where they cannot help.

``python -m benchmarks threads``: the time to share out a piece of work among idle threads, and a
convolution on one thread and on two, on an idle machine and while another process keeps one
processor busy. The two take turns call by call; the mean over all calls counts, because stalls are
rare and long. Also: a convolution of denormal numbers beside the same of ordinary ones, and eight
Python threads that call one compiled ResNet-20 beside one thread that has all processors.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import rushlight
import rushlight.models
from benchmarks.machine import processor
from benchmarks.timer import seconds_per_call
from rushlight import _core

SPIN = "import os\nos.sched_setaffinity(0, {max(os.sched_getaffinity(0))})\nwhile True: pass"


def _on(threads: int, function: Callable[[], Any], calls: int) -> float:
    rushlight.set_num_threads(threads)
    function()
    start = time.perf_counter()
    for _ in range(calls):
        function()
    return (time.perf_counter() - start) / calls


def _one_and_two(function: Callable[[], Any], rounds: int) -> tuple[float, float]:
    calls = max(1, int(0.02 / _on(1, function, 3)))
    found = [(_on(1, function, calls), _on(2, function, calls)) for _ in range(rounds)]
    ones, twos = zip(*found, strict=True)
    return statistics.mean(ones), statistics.mean(twos)


def _conv(size: int, channels: int, scale: float = 1.0) -> Callable[[], Any]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, channels, size, size), np.float32) * np.float32(scale)
    w = rng.standard_normal((channels, channels, 3, 3), np.float32)
    source, weight = rushlight.tensor(x), rushlight.tensor(w)
    return lambda: rushlight.nn.functional.conv2d(source, weight, padding=1)


def _dispatch() -> float:
    """Return what two threads take longer than half of what one takes, in seconds."""
    count = 65536  # the smallest work that is shared out
    times = []
    for threads in (1, 2):
        rushlight.set_num_threads(threads)
        times.append(
            min(
                seconds_per_call(lambda: _core.probe_multiply_adds(count), 0.1, 21)
                for _ in range(5)
            )
        )
    return times[1] - times[0] / 2


def _many_callers(callers: int, calls: int) -> tuple[float, float, int]:
    """Return the calls per second of one Python thread and of many, and how many were wrong."""
    net = rushlight.compile(rushlight.models.get_model("resnet20").eval())
    inputs = [rushlight.randn(1, 3, 32, 32) for _ in range(callers)]
    expected = [net(x).numpy() for x in inputs]
    wrong: list[int] = []

    def call(number: int, count: int) -> None:
        rushlight.set_grad_enabled(False)
        for _ in range(count):
            if not np.array_equal(net(inputs[number]).numpy(), expected[number]):
                wrong.append(number)

    call(0, calls // 10)
    rates = []
    for threads in (1, callers):
        workers = [
            threading.Thread(target=call, args=(each, calls // threads)) for each in range(threads)
        ]
        start = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        rates.append(calls / (time.perf_counter() - start))
    return rates[0], rates[1], len(wrong)


def main(arguments: list[str]) -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks threads", description=__doc__)
    parser.add_argument("--rounds", type=int, default=40, help="turns of each (40)")
    rounds = parser.parse_args(arguments).rounds
    rushlight.set_grad_enabled(False)
    cases = {
        "conv2d 3x3, 8->8, 16": _conv(16, 8),
        "conv2d 3x3, 64->64, 28": _conv(28, 64),
        "conv2d 3x3, 64->64, 56": _conv(56, 64),
        "conv2d 3x3, 128->128, 56": _conv(56, 128),
    }
    print(f"{processor()}, {os.cpu_count()} CPUs")
    print(f"dispatch to an idle pool: {1e6 * _dispatch():.1f} us")
    for title, load in (("idle machine", False), ("one processor busy", True)):
        print(f"{title + ', us':<34}{'1 thread':>12}{'2 threads':>12}{'2 / 1':>8}")
        other = subprocess.Popen([sys.executable, "-c", SPIN]) if load else None
        try:
            for name, case in cases.items():
                one, two = _one_and_two(case, rounds)
                print(
                    f"  {name:<32}{1e6 * one:>12.1f}{1e6 * two:>12.1f}{two / one:>8.2f}", flush=True
                )
        finally:
            if other is not None:
                other.kill()
                other.wait()
    rushlight.set_num_threads(1)
    for channels, name in ((64, "Winograd"), (3, "products")):
        plain, tiny = _conv(56, channels), _conv(56, channels, 1e-39)
        pairs = [(seconds_per_call(plain, 0.03), seconds_per_call(tiny, 0.03)) for _ in range(10)]
        ratio = min(b for _, b in pairs) / min(a for a, _ in pairs)
        print(f"conv2d of denormal numbers / of ordinary ones, {name}: {ratio:.2f}")
    rushlight.set_num_threads(os.cpu_count() or 1)
    one, many, wrong = _many_callers(8, 10000)
    print(
        f"10,000 calls of a compiled ResNet-20: one Python thread {one:.0f} per second, 8 together"
        f" {many:.0f}, ratio {many / one:.2f}; wrong results: {wrong}"
    )
