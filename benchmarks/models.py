"""Whole nets, eager, beside PyTorch, ONNX Runtime, OpenVINO and ncnn.

``python -m benchmarks models [--threads 1 2] [--peers ...] [--rows ...]``. float32, evaluation
mode, no recording for backward, the same weights for all. Each output is checked against float64
before it is timed. At the end, peak memory of a ResNet-18 beside what it must hold.
"""

from __future__ import annotations

import functools
from typing import Any

from benchmarks import memory, nets
from benchmarks.peers import adapter
from benchmarks.question import Question, answer, options_of
from benchmarks.reference import check
from benchmarks.turns import Case, Rows

# By row: the name in rushlight.models and the shape of the images.
NETS: dict[str, tuple[str, tuple[int, ...]]] = {
    "ResNet-18, 224": ("resnet18", (1, 3, 224, 224)),
    "ResNet-50, 224": ("resnet50", (1, 3, 224, 224)),
    "ResNet-20 (CIFAR), 32": ("resnet20", (1, 3, 32, 32)),
    "VGG-11, 224": ("vgg11", (1, 3, 224, 224)),
    "MobileNetV2, 224": ("mobilenet_v2", (1, 3, 224, 224)),
    "SqueezeNet 1.1, 224": ("squeezenet1_1", (1, 3, 224, 224)),
    "MNIST example net, 28": ("mnist_net", (1, 1, 28, 28)),
    "MLP 784-256-128-10": ("mlp", (1, 784)),
}
LARGEST_ERROR = 2e-4  # of the root mean square of the output: errors add up through the layers


def _case(peer: Any, name: str, shape: tuple[int, ...]) -> Case:
    x = nets.inputs(shape)
    if hasattr(peer, "network"):
        runner = peer.network(nets.graph_of(name, shape), x)
    elif peer.engine.__name__ == "rushlight":
        runner = peer.module(nets.in_rushlight(name, shape), x)
    else:
        runner = peer.module(nets.in_torch(name, shape), x)
    check(runner.array(runner.run()), nets.in_float64(name, shape), LARGEST_ERROR)
    return runner.run  # type: ignore[no-any-return]


def prepare(library: str, threads: int) -> Rows:
    """Return the rows; each builds its net in this library."""
    peer = adapter(library, threads)
    return {row: functools.partial(_case, peer, *net) for row, net in NETS.items()}


QUESTION = Question("models", "whole nets, float32, batch 1, eager in evaluation mode")


def main(arguments: list[str]) -> None:
    """Print the table, and what a ResNet-18 needs of memory."""
    parser = options_of(QUESTION)
    parser.add_argument("--no-memory", action="store_true", help="leave peak memory out")
    options = parser.parse_args(arguments)
    results = answer(QUESTION, options)
    if not options.no_memory:
        print(memory.report("resnet18", (1, 3, 224, 224), results[0].libraries))
