"""The kernels of a training step one by one: the gradients, and batch norm with its statistics.

Part of ``python -m benchmarks training``. Both libraries are asked through autograd, so that each
pays for its own walk of a graph with one node. Images lie as layers hand them to each other, in
either library: those of `rushlight` in blocks of channels, those of `torch_cl` channels last; those
of `planes`, which is Rushlight too, and of `torch` as the user gives them.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

from benchmarks.training import engine_of
from benchmarks.turns import Case, Rows


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


class Layout(NamedTuple):
    """How a library is given its images and its weights."""

    images: Callable[[Any], Any]
    weights: Callable[[Any], Any]
    # Makes of images what needs a gradient, which goes no further.
    tracked: Callable[[Any], Any]


def _as_it_is(tensor: Any) -> Any:
    return tensor


def _layout(library: str, engine: Any) -> Layout:
    if library == "rushlight":
        blocks = importlib.import_module("benchmarks.blocks")  # which imports Rushlight
        return Layout(blocks.images, _as_it_is, blocks.tracked)
    if library.endswith("_cl"):

        def last(tensor: Any) -> Any:
            return tensor.contiguous(memory_format=engine.channels_last)

        return Layout(last, last, lambda x: x.requires_grad_())
    return Layout(_as_it_is, _as_it_is, lambda x: x.requires_grad_())


def _gradient(leaves: list[Any], result: Any, grad: Any) -> Any:
    """Return ``backward`` of a graph that stays, without adding up gradients."""

    def run() -> None:
        for leaf in leaves:
            leaf.grad = None
        result.backward(grad, retain_graph=True)

    return run


def _convolution(engine: Any, functional: Any, laid: Layout, shape: Shape, of: str) -> Case:
    x = laid.images(engine.randn(shape.n, shape.ic, shape.size, shape.size))
    window = shape.kernel, shape.kernel
    w = laid.weights(engine.randn(shape.oc, shape.ic // shape.groups, *window))
    # One of them, so that only this gradient is computed.
    if of == "d_src":
        x = laid.tracked(x)
    else:
        w.requires_grad_()
    settings = {"stride": shape.stride, "padding": shape.kernel // 2, "groups": shape.groups}
    result = functional.conv2d(x, w, None, **settings)
    return _gradient([x, w], result, laid.images(engine.randn(*result.shape)))


def _norm(engine: Any, functional: Any, laid: Layout, dims: tuple[int, ...], of: str) -> Case:
    x = laid.tracked(laid.images(engine.randn(*dims)))
    w, b = (engine.randn(dims[1]).requires_grad_() for _ in range(2))
    mean, var = engine.zeros(dims[1]), engine.ones(dims[1])
    forward = functools.partial(functional.batch_norm, x, mean, var, w, b, True)
    if of == "forward":
        return forward
    return _gradient([x, w, b], forward(), laid.images(engine.randn(*dims)))


OTHERS: dict[str, Any] = {
    "relu": ((128, 16, 32, 32), lambda functional, x: functional.relu(x)),
    "max pool 2x2": ((64, 64, 24, 24), lambda functional, x: functional.max_pool2d(x, 2)),
    "max pool 3x3 s2": ((16, 64, 32, 32), lambda functional, x: functional.max_pool2d(x, 3, 2, 1)),
    "global average": (
        (128, 64, 8, 8),
        lambda functional, x: functional.adaptive_avg_pool2d(x, 1),
    ),
}


def _other(engine: Any, functional: Any, laid: Layout, title: str, of: str) -> Case:
    dims, function = OTHERS[title]
    x = laid.tracked(laid.images(engine.randn(*dims)))
    result = function(functional, x)
    if of == "forward":
        return functools.partial(function, functional, x)
    return _gradient([x], result, laid.images(engine.randn(*result.shape)))


def _cross_entropy(engine: Any, functional: Any, laid: Layout, classes: int) -> Case:
    scores = engine.randn(128, classes).requires_grad_()
    labels = engine.randint(0, classes, (128,))

    def run() -> None:
        scores.grad = None
        functional.cross_entropy(scores, labels).backward()

    return run


def prepare(library: str, threads: int) -> Rows:
    """Return the rows; the two libraries share every name that is used here."""
    engine = engine_of(library)
    functional = importlib.import_module(f"{engine.__name__}.nn.functional")
    engine.set_num_threads(threads)
    engine.manual_seed(0)
    laid = _layout(library, engine)
    made = {
        **{
            f"conv2d {of} {shape}": (_convolution, shape, of)
            for shape in CONVOLUTIONS
            for of in ("d_src", "d_weight")
            if not (of == "d_src" and shape.ic == 3)  # images need no gradient
        },
        **{
            f"batch norm {of} {'x'.join(map(str, dims))}": (_norm, dims, of)
            for dims in IMAGES
            for of in ("forward", "backward")
        },
        **{
            f"{title} {of} {'x'.join(map(str, OTHERS[title][0]))}": (_other, title, of)
            for title in OTHERS
            for of in ("forward", "backward")
        },
        **{
            f"cross entropy forward and backward 128x{classes}": (_cross_entropy, classes)
            for classes in (10, 1000)
        },
    }
    return {
        name: functools.partial(make, engine, functional, laid, *rest)
        for name, (make, *rest) in made.items()
    }
