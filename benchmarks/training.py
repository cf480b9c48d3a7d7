"""A training step beside PyTorch's: time, losses, memory, and the kernels that only training needs.

``python -m benchmarks training`` trains the networks of nets.py: forward, cross entropy, backward
and a step of SGD with momentum and weight decay. PyTorch runs twice, with contiguous images and
with channels last; ratios are to the faster of the two. Before anything is timed, the losses of the
first 20 steps from the same weights on the same batches are compared, dropout switched off.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.nets import NETS, build
from benchmarks.turns import Worker, take_turns

LIBRARIES = ("rushlight", "torch", "torch-channels-last")
PARTS = ("losses", "steps", "kernels", "memory")


class Step:
    """One network in one library, and what happens in a step of its training."""

    def __init__(self, library: str, name: str) -> None:
        base, _, layout = library.partition("-")
        self.engine = importlib.import_module(base)
        self._functional = importlib.import_module(f"{base}.nn.functional")
        self.engine.manual_seed(0)
        self.net = build(self.engine, name)
        self._last = bool(layout) and len(NETS[name].shape) == 3
        if self._last:
            self.net.to(memory_format=self.engine.channels_last)
        options = {"lr": 0.001, "momentum": 0.9, "weight_decay": 1e-4}
        self._optimizer = self.engine.optim.SGD(self.net.parameters(), **options)

    def batch(self, images: Any, labels: Any) -> tuple[Any, Any]:
        """Return arrays as tensors, the images in the memory format of this library."""
        tensor = self.engine.from_numpy(images)
        if self._last:
            tensor = tensor.contiguous(memory_format=self.engine.channels_last)
        return tensor, self.engine.from_numpy(labels)

    def __call__(self, images: Any, labels: Any) -> Any:
        """Take a step and return the loss."""
        self._optimizer.zero_grad()
        loss = self._functional.cross_entropy(self.net(images), labels)
        loss.backward()
        self._optimizer.step()
        return loss


def batches(name: str, seed: int = 0) -> Iterator[tuple[Any, Any]]:
    """Yield batches without end: noise around one pattern per class."""
    net, rng = NETS[name], np.random.default_rng(seed)
    patterns = rng.standard_normal((10, *net.shape), np.float32)
    while True:
        labels = rng.integers(0, 10, net.n)
        yield patterns[labels] + rng.standard_normal((net.n, *net.shape), np.float32), labels


def prepare(library: str, threads: int) -> dict[str, Callable[[], Any]]:
    """Return a step of each network."""
    importlib.import_module(library.partition("-")[0]).set_num_threads(threads)
    cases: dict[str, Callable[[], Any]] = {}
    for name in NETS:
        step = Step(library, name)
        images, labels = step.batch(*next(batches(name)))
        cases[name] = lambda step=step, images=images, labels=labels: step(images, labels)
    return cases


def table(question: str, libraries: list[str], threads: int, rounds: int, only: str) -> None:
    """Print a row per case: the best of the rounds' medians, and the ratio to the best peer."""
    workers = [Worker(question, library, threads) for library in libraries]
    chosen = [case for case in workers[0].cases if only in case]
    for worker in workers:
        worker.cases = chosen
    found = take_turns(workers, rounds)
    for worker in workers:
        worker.__exit__(None, None, None)
    width = 2 + max(len(case) for case in found)
    print(f"{question}: best of {rounds} medians, in ms, threads {threads} (worst in brackets)")
    print(" " * width + "".join(f"{name:>24}" for name in libraries) + f"{'ratio':>8}")
    ratios = []
    for case, times in found.items():
        cells = "".join(
            f"{1e3 * min(times[name]):>13.3f} {f'({1e3 * max(times[name]):.3f})':>10}"
            for name in libraries
        )
        peers = [min(times[name]) for name in libraries if name != "rushlight"]
        if peers:
            ratios.append(min(times["rushlight"]) / min(peers))
            cells += f"{ratios[-1]:>8.2f}"
        print(f"{case:<{width}}{cells}")
    if ratios:
        mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
        print(f"geometric mean of rushlight / best peer: {mean:.2f} (below 1: rushlight is faster)")
    print()


def main(arguments: list[str]) -> None:
    """Print the parts that were asked for."""
    parser = argparse.ArgumentParser(prog="benchmarks training", description=__doc__)
    add = parser.add_argument
    add("--threads", type=int, nargs="+", default=[1, 2], help="thread counts to time (1 2)")
    add("--rounds", type=int, default=5, help="turns of each library (5)")
    add("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to measure (everything)")
    add("--only", default="", metavar="TEXT", help="cases with TEXT in their name")
    options = parser.parse_args(arguments)
    # The child processes run that module, and import this one from there.
    facts = importlib.import_module("benchmarks.training_facts")
    present = [
        name for name in LIBRARIES if importlib.util.find_spec(name.partition("-")[0]) is not None
    ]
    if "losses" in options.parts:
        facts.print_losses(present, options.threads[-1], options.only)
    for question, part in (("training", "steps"), ("training_kernels", "kernels")):
        if part in options.parts:
            for threads in options.threads:
                table(question, present, threads, options.rounds, options.only)
    if "memory" in options.parts:
        facts.print_memory(present, options.threads[-1])
    if len(present) < len(LIBRARIES):
        print("not installed: torch")
