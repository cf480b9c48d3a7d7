"""conv2d forward, layer by layer, beside PyTorch.

``python -m benchmarks layers [--threads N] [--rounds N]``. float32, weights and inputs from a
normal distribution. Each library checks its results against its own float64 ones before it is
timed.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from benchmarks.turns import Worker, installed, take_turns

LIBRARIES = ("rushlight", "torch")
LARGEST_ERROR = 2e-5  # of the root mean square of the output


class Layer(NamedTuple):
    """A convolution: batch, channels in and out, size of the image, and how the window moves."""

    n: int
    ic: int
    oc: int
    size: int
    kernel: int
    stride: int = 1
    groups: int = 1

    def __str__(self) -> str:
        kind = "depthwise " if self.groups == self.ic > 1 else ""
        step = f" s{self.stride}" if self.stride > 1 else ""
        batch = f", batch {self.n}" if self.n > 1 else ""
        kernel = f"{self.kernel}x{self.kernel}"
        return f"{kind}{kernel}{step}, {self.ic}->{self.oc}, {self.size}{batch}"


LAYERS = [
    Layer(1, 3, 64, 224, 7, 2),
    Layer(1, 64, 64, 56, 3),
    Layer(1, 64, 128, 56, 3, 2),
    Layer(1, 128, 128, 28, 3),
    Layer(1, 256, 256, 14, 3),
    Layer(1, 512, 512, 7, 3),
    Layer(1, 64, 256, 56, 1),
    Layer(1, 256, 64, 56, 1),
    Layer(1, 512, 128, 28, 1),
    Layer(1, 144, 144, 56, 3, 1, 144),
    Layer(1, 144, 144, 56, 3, 2, 144),
    Layer(1, 3, 32, 224, 3, 2),
    Layer(16, 10, 10, 32, 3),
    Layer(32, 64, 64, 32, 3),
]


def _checked(engine: Any, conv: Callable[..., Any], x: Any, w: Any, name: str) -> None:
    narrow, wide = conv(x, w).double(), conv(x.double(), w.double())
    error = float(((narrow - wide).abs().max() / (wide * wide).mean().sqrt()).item())
    if not error <= LARGEST_ERROR:
        raise RuntimeError(f"{engine.__name__}, {name}: error {error:.1e} of the output's rms")


def prepare(library: str, threads: int) -> dict[str, Callable[[], Any]]:
    """Return the cases; the two libraries share every name that is used here."""
    engine = importlib.import_module(library)
    functional = importlib.import_module(f"{library}.nn.functional")
    engine.set_num_threads(threads)
    engine.manual_seed(0)
    engine.set_grad_enabled(False)
    cases: dict[str, Callable[[], Any]] = {}
    for layer in LAYERS:
        x = engine.randn(layer.n, layer.ic, layer.size, layer.size)
        w = engine.randn(layer.oc, layer.ic // layer.groups, layer.kernel, layer.kernel)
        conv = functools.partial(
            functional.conv2d,
            stride=layer.stride,
            padding=layer.kernel // 2,
            groups=layer.groups,
        )
        _checked(engine, conv, x, w, str(layer))
        cases[str(layer)] = functools.partial(conv, x, w)
    return cases


def main(arguments: list[str]) -> None:
    """Print a row per layer: the best of the rounds' medians, and their ratio."""
    parser = argparse.ArgumentParser(prog="benchmarks layers", description=__doc__)
    parser.add_argument("--threads", type=int, default=1, help="threads of each library (1)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each library (5)")
    options = parser.parse_args(arguments)
    present, missing = installed(LIBRARIES)
    workers = [Worker("layers", library, options.threads) for library in present]
    found = take_turns(workers, options.rounds)
    for worker in workers:
        worker.__exit__(None, None, None)
    print(f"best of {options.rounds} medians, in ms, threads {options.threads} (worst in brackets)")
    print(f"{'':<32}" + "".join(f"{name:>20}" for name in present) + f"{'ratio':>8}")
    ratios = []
    for case, times in found.items():
        cells = "".join(
            f"{1e3 * min(times[name]):>11.3f} {f'({1e3 * max(times[name]):.3f})':>8}"
            for name in present
        )
        if "torch" in present:
            ratios.append(min(times["torch"]) / min(times["rushlight"]))
            cells += f"{ratios[-1]:>8.2f}"
        print(f"{case:<32}{cells}")
    if ratios:
        mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
        print(f"geometric mean of torch / rushlight: {mean:.2f} (above 1: rushlight is faster)")
    if missing:
        print(f"not installed: {', '.join(missing)}")
