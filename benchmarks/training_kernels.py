"""The kernels of a training step one by one: the gradients, and batch norm with its statistics.

Part of ``python -m benchmarks training``. Both libraries are asked through autograd, so that each
pays for its own walk of a graph with one node.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

Case = Callable[[], Any]


class Shape(NamedTuple):
    """A convolution of a network in training: batch, channels, size of the image, window."""

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
        window = f"{kind}{self.kernel}x{self.kernel}{step}"
        return f"{window}, {self.ic}->{self.oc}, {self.size}, batch {self.n}"


CONVOLUTIONS = [
    Shape(128, 3, 16, 32, 3),
    Shape(128, 16, 16, 32, 3),
    Shape(128, 16, 32, 32, 3, 2),
    Shape(128, 32, 32, 16, 3),
    Shape(128, 64, 64, 8, 3),
    Shape(16, 64, 64, 16, 3),
    Shape(16, 512, 512, 2, 3),
    Shape(16, 144, 24, 16, 1),
    Shape(16, 144, 144, 16, 3, 1, 144),
    Shape(16, 144, 144, 16, 3, 2, 144),
    Shape(64, 32, 64, 26, 3),
]
IMAGES = [(128, 16, 32, 32), (128, 64, 8, 8), (16, 64, 32, 32), (16, 384, 4, 4)]


def _gradient(leaves: list[Any], result: Any, grad: Any) -> Any:
    """Return ``backward`` of a graph that stays, without adding up gradients."""

    def run() -> None:
        for leaf in leaves:
            leaf.grad = None
        result.backward(grad, retain_graph=True)

    return run


def _convolutions(engine: Any, functional: Any, laid: Callable[[Any], Any]) -> dict[str, Case]:
    cases: dict[str, Case] = {}
    for shape in CONVOLUTIONS:
        x = laid(engine.randn(shape.n, shape.ic, shape.size, shape.size))
        w = laid(engine.randn(shape.oc, shape.ic // shape.groups, shape.kernel, shape.kernel))
        geometry = {
            "stride": shape.stride,
            "padding": shape.kernel // 2,
            "groups": shape.groups,
        }
        for leaf, name in ((x, "d_src"), (w, "d_weight")):
            if name == "d_src" and shape.ic == 3:
                continue  # the images of a first layer need no gradient
            # A leaf of its own, so that only this gradient is computed.
            own = leaf.detach().requires_grad_()
            result = functional.conv2d(
                *((own, w) if name == "d_src" else (x, own)), None, **geometry
            )
            grad = laid(engine.randn(*result.shape))
            cases[f"conv2d {name} {shape}"] = _gradient([own], result, grad)
    return cases


def _norms(engine: Any, functional: Any, laid: Callable[[Any], Any]) -> dict[str, Case]:
    cases: dict[str, Case] = {}
    for dims in IMAGES:
        x = laid(engine.randn(*dims)).requires_grad_()
        w, b = (engine.randn(dims[1]).requires_grad_() for _ in range(2))
        mean, var = engine.zeros(dims[1]), engine.ones(dims[1])
        forward = functools.partial(functional.batch_norm, x, mean, var, w, b, True)
        result = forward()
        grad, name = laid(engine.randn(*dims)), "x".join(map(str, dims))
        cases[f"batch norm forward {name}"] = forward
        cases[f"batch norm backward {name}"] = _gradient([x, w, b], result, grad)
    return cases


def _others(engine: Any, functional: Any, laid: Callable[[Any], Any]) -> dict[str, Case]:
    cases: dict[str, Case] = {}
    for title, dims, function in (
        ("relu", (128, 16, 32, 32), functional.relu),
        ("max pool 2x2", (64, 64, 24, 24), lambda x: functional.max_pool2d(x, 2)),
        ("max pool 3x3 s2", (16, 64, 32, 32), lambda x: functional.max_pool2d(x, 3, 2, 1)),
        ("global average", (128, 64, 8, 8), lambda x: functional.adaptive_avg_pool2d(x, 1)),
    ):
        x = laid(engine.randn(*dims)).requires_grad_()
        result = function(x)
        grad = laid(engine.randn(*result.shape))
        name = "x".join(map(str, dims))
        cases[f"{title} forward {name}"] = functools.partial(function, x)
        cases[f"{title} backward {name}"] = _gradient([x], result, grad)
    for n, classes in ((128, 10), (128, 1000)):
        scores = engine.randn(n, classes).requires_grad_()
        labels = engine.randint(0, classes, (n,))
        cases[f"cross entropy forward and backward {n}x{classes}"] = functools.partial(
            _cross_entropy, functional, scores, labels
        )
    return cases


def _cross_entropy(functional: Any, scores: Any, labels: Any) -> None:
    scores.grad = None
    functional.cross_entropy(scores, labels).backward()


def prepare(library: str, threads: int) -> dict[str, Case]:
    """Return the cases; the two libraries share every name that is used here."""
    base, _, layout = library.partition("-")
    engine = importlib.import_module(base)
    functional = importlib.import_module(f"{base}.nn.functional")
    engine.set_num_threads(threads)
    engine.manual_seed(0)

    def laid(tensor: Any) -> Any:
        return tensor.contiguous(memory_format=engine.channels_last) if layout else tensor

    return {
        **_convolutions(engine, functional, laid),
        **_norms(engine, functional, laid),
        **_others(engine, functional, laid),
    }
