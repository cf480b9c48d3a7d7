"""Whole nets, compiled and eager, beside PyTorch, ONNX Runtime, OpenVINO and ncnn.

``python -m benchmarks models [--threads 1 2] [--peers ...] [--rows ...]``. float32, evaluation
mode, no recording for backward, the same weights for all. Each output is checked against float64
before it is timed. `rushlight` is ``rushlight.compile(net)``, `eager` the net itself, which counts
as no peer. At the end, peak memory of a ResNet-18 beside what it must hold, and of a ResNet-50,
with the time that loading and the first call take.
"""

from __future__ import annotations

import functools
from typing import Any

from benchmarks import memory, nets
from benchmarks.peers import ALL, adapter
from benchmarks.question import Question, Result, answer, options_of
from benchmarks.reference import check
from benchmarks.table import fastest_peer, geometric_mean
from benchmarks.turns import Case, Rows

# By row: the name in rushlight.models and the shape of one image.
_NETS: dict[str, tuple[str, tuple[int, ...]]] = {
    "ResNet-18, 224": ("resnet18", (3, 224, 224)),
    "ResNet-50, 224": ("resnet50", (3, 224, 224)),
    "ResNet-20 (CIFAR), 32": ("resnet20", (3, 32, 32)),
    "VGG-11, 224": ("vgg11", (3, 224, 224)),
    "MobileNetV2, 224": ("mobilenet_v2", (3, 224, 224)),
    "SqueezeNet 1.1, 224": ("squeezenet1_1", (3, 224, 224)),
    "EfficientNet-B0, 224": ("efficientnet_b0", (3, 224, 224)),
    "MNIST example net, 28": ("mnist_net", (1, 28, 28)),
    "MLP 784-256-128-10": ("mlp", (784,)),
}
BATCHES = (1, 8)
NETS = {
    row if n == 1 else f"{row}, batch {n}": (name, (n, *shape))
    for n in BATCHES
    for row, (name, shape) in _NETS.items()
}
LARGEST_ERROR = 2e-4  # of the root mean square of the output: errors add up through the layers


def _case(library: str, peer: Any, name: str, shape: tuple[int, ...]) -> Case:
    x = nets.inputs(shape)
    if hasattr(peer, "network"):
        runner = peer.network(nets.graph_of(name, shape), x)
    elif library == "rushlight":
        runner = peer.compiled(nets.in_rushlight(name, shape), x)
    elif peer.engine.__name__ == "rushlight":
        runner = peer.module(nets.in_rushlight(name, shape), x)
    else:
        runner = peer.module(nets.in_torch(name, shape), x)
    check(runner.array(runner.run()), nets.in_float64(name, shape), LARGEST_ERROR)
    return runner.run  # type: ignore[no-any-return]


def prepare(library: str, threads: int) -> Rows:
    """Return the rows; each builds its net in this library."""
    peer = adapter(library, threads)
    return {row: functools.partial(_case, library, peer, *net) for row, net in NETS.items()}


QUESTION = Question(
    "models",
    "whole nets, float32, in evaluation mode",
    libraries=("rushlight", "eager", *ALL[1:]),
    yardsticks=("eager",),
)


def _eager_means(result: Result) -> str:
    """Return how the eager nets stand to the peers."""
    lines = []
    peers = [name for name in result.libraries if name not in QUESTION.libraries[:2]]
    groups = {name: [name] for name in peers}
    groups["the fastest peer of each row"] = peers
    for title, names in groups.items():
        ratios = []
        for row in result.rows:
            fastest, eager = fastest_peer(row, names), row.best("eager")
            if fastest is not None and eager is not None:
                ratios.append(min(row.seconds[fastest]) / eager)
        if ratios:
            mean = geometric_mean(ratios)
            lines.append(f"{title} / eager: geometric mean {mean:.2f} over {len(ratios)} rows")
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    """Print the table, and what a ResNet-18 needs of memory."""
    parser = options_of(QUESTION)
    parser.add_argument("--no-memory", action="store_true", help="leave peak memory out")
    options = parser.parse_args(arguments)
    results = answer(QUESTION, options)
    for result in results:
        print(f"threads: {result.threads}", _eager_means(result), "", sep="\n")
    if not options.no_memory:
        for name in ("resnet18", "resnet50"):
            print(memory.report(name, (1, 3, 224, 224), results[0].libraries))
