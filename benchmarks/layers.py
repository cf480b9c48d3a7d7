"""conv2d forward, layer by layer, beside PyTorch, ONNX Runtime, OpenVINO and ncnn.

``python -m benchmarks layers [--threads 1 2] [--peers ...] [--rows ...]``. float32, weights and
inputs from a normal distribution. Each result is checked against float64 before it is timed.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from benchmarks.graph import Graph, Node
from benchmarks.peers import Runner, adapter
from benchmarks.question import Question, answer
from benchmarks.reference import check, conv2d
from benchmarks.turns import Case, Rows


class Layer(NamedTuple):
    """A convolution: batch, channels in and out, size of the image, and how the window moves."""

    n: int
    ic: int
    oc: int
    size: int
    kernel: int
    stride: int = 1
    groups: int = 1
    dilation: int = 1

    @property
    def padding(self) -> int:
        return self.kernel // 2 * self.dilation

    @property
    def operations(self) -> float:
        """Two per multiply-add."""
        out = (self.size + 2 * self.padding - self.dilation * (self.kernel - 1) - 1) // self.stride
        taps = self.ic // self.groups * self.kernel**2
        return 2.0 * self.n * self.oc * taps * (out + 1) ** 2

    def __str__(self) -> str:
        kind = "depthwise " if self.groups == self.ic > 1 else ""
        marks = f" s{self.stride}" if self.stride > 1 else ""
        marks += f" d{self.dilation}" if self.dilation > 1 else ""
        marks += f" g{self.groups}" if 1 < self.groups < self.ic else ""
        batch = f", batch {self.n}" if self.n > 1 else ""
        kernel = f"{self.kernel}x{self.kernel}"
        return f"{kind}{kernel}{marks}, {self.ic}->{self.oc}, {self.size}{batch}"


LAYERS = [
    # of ResNet, MobileNetV2 and small nets
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
    # odd numbers of channels
    Layer(1, 3, 17, 56, 1),
    Layer(1, 17, 30, 56, 1),
    Layer(1, 30, 100, 56, 1),
    Layer(1, 100, 17, 28, 1),
    Layer(1, 3, 17, 56, 3),
    Layer(1, 17, 30, 56, 3),
    Layer(1, 30, 100, 28, 3),
    Layer(1, 100, 100, 28, 3),
    # other windows
    Layer(1, 32, 64, 28, 5),
    Layer(1, 64, 64, 28, 5),
    Layer(1, 64, 64, 28, 3, dilation=2),
    Layer(1, 256, 256, 28, 3, dilation=4),
    Layer(1, 128, 128, 56, 3, groups=32),
    Layer(1, 256, 256, 28, 3, 2, groups=32),
    Layer(1, 240, 240, 28, 5, groups=240),
    Layer(1, 256, 512, 56, 1, 2),
    # batches
    Layer(8, 64, 64, 56, 3),
    Layer(8, 128, 128, 28, 3, 2),
    Layer(8, 256, 64, 56, 1),
    Layer(8, 144, 144, 28, 3, groups=144),
    Layer(8, 3, 16, 32, 3),
    Layer(32, 16, 16, 32, 3),
    Layer(32, 32, 32, 16, 3),
    Layer(32, 16, 32, 32, 3, 2),
    Layer(32, 128, 256, 14, 1),
]
BY_NAME = {str(layer): layer for layer in LAYERS}


def _runner(peer: Any, layer: Layer, x: Any, weight: Any) -> Runner:
    settings = {
        "stride": layer.stride,
        "padding": layer.padding,
        "dilation": layer.dilation,
        "groups": layer.groups,
    }
    if hasattr(peer, "network"):
        node = Node("y", "conv2d", ["x"], settings, {"weight": weight})
        return peer.network(Graph([node]), x)  # type: ignore[no-any-return]
    net = peer.nn.Conv2d(layer.ic, layer.oc, layer.kernel, bias=False, **settings)
    net.load_state_dict({"weight": peer.engine.tensor(weight)})
    return peer.module(net, x)  # type: ignore[no-any-return]


def _case(peer: Any, layer: Layer) -> Case:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((layer.n, layer.ic, layer.size, layer.size), np.float32)
    shape = (layer.oc, layer.ic // layer.groups, layer.kernel, layer.kernel)
    weight = rng.standard_normal(shape, np.float32)
    runner = _runner(peer, layer, x, weight)
    expected = conv2d(x, weight, layer.stride, layer.padding, layer.dilation, layer.groups)
    check(runner.array(runner.run()), expected)
    return runner.run


def prepare(library: str, threads: int) -> Rows:
    """Return the rows; each builds its layer in this library."""
    peer = adapter(library, threads)
    return {name: functools.partial(_case, peer, layer) for name, layer in BY_NAME.items()}


QUESTION = Question(
    "layers",
    "conv2d forward, float32, layer by layer",
    operations=lambda name: BY_NAME[name].operations,
)


def main(arguments: list[str]) -> None:
    """Print the table."""
    answer(QUESTION, arguments)
