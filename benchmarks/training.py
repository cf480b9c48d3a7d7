"""A training step beside PyTorch's: time, losses, memory, and the kernels that only training needs.

``python -m benchmarks training [--threads 1 2] [--parts ...] [--rows ...]`` trains the networks of
training_nets.py: forward, cross entropy, backward and a step of SGD with momentum and weight decay.
PyTorch runs with contiguous images and with channels last. Before anything is timed, the losses of
the first 20 steps from the same weights on the same batches are compared, dropout switched off.
"""

from __future__ import annotations

import argparse
import functools
import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.question import Question, answer, options_of
from benchmarks.training_nets import NETS, build
from benchmarks.turns import Case, Rows, Skip

LIBRARIES = ("rushlight", "torch", "torch_cl")
PARTS = ("losses", "steps", "kernels", "memory")


def engine_of(library: str) -> Any:
    """Return the package of a library, which its layouts share."""
    return importlib.import_module(
        "rushlight" if library == "planes" else library.removesuffix("_cl")
    )


class Step:
    """One network in one library, and what happens in a step of its training."""

    def __init__(self, library: str, name: str) -> None:
        self.engine = engine_of(library)
        self._functional = importlib.import_module(f"{self.engine.__name__}.nn.functional")
        self.engine.manual_seed(0)
        self.net = build(self.engine, name)
        self._last = library.endswith("_cl")
        if self._last:
            if len(NETS[name].shape) != 3:
                raise Skip("no images")
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


def _case(library: str, name: str) -> Case:
    step = Step(library, name)
    return functools.partial(step, *step.batch(*next(batches(name))))


def prepare(library: str, threads: int) -> Rows:
    """Return a step of each network."""
    engine_of(library).set_num_threads(threads)
    return {name: functools.partial(_case, library, name) for name in NETS}


QUESTION = Question("training", "one training step, float32", libraries=LIBRARIES)
KERNELS = Question(
    "training_kernels",
    "kernels of a training step, float32",
    libraries=("rushlight", "planes", *LIBRARIES[1:]),
    yardsticks=("planes",),
)


def options() -> argparse.ArgumentParser:
    """Return the options of all questions, and which parts are asked for."""
    parser = options_of(QUESTION)
    parser.set_defaults(threads=[1, 2])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="all unless given")
    return parser


def main(arguments: list[str]) -> None:
    """Print the parts that were asked for."""
    chosen = options().parse_args(arguments)
    # The child processes run that module, and it imports this one.
    facts = importlib.import_module("benchmarks.training_facts")
    if "losses" in chosen.parts:
        facts.print_losses(chosen)
    for question, part in ((QUESTION, "steps"), (KERNELS, "kernels")):
        if part in chosen.parts:
            answer(question, _for_part(chosen, part))
    if "memory" in chosen.parts:
        facts.print_memory(chosen)


def _for_part(chosen: argparse.Namespace, part: str) -> argparse.Namespace:
    """Return the options, with the part's name in the names of the files to write."""
    own = argparse.Namespace(**vars(chosen))
    for name in ("json", "plot"):
        path = getattr(chosen, name)
        setattr(own, name, path and path.with_stem(f"{path.stem}-{part}"))
    return own
