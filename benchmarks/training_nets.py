"""Networks, each written once for every library that has the modules of ``torch.nn``.

``build(engine, name)`` makes one with the classes of `engine`, so that two libraries train the same
network, layer for layer.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["NETS", "Net", "build"]


class Net(NamedTuple):
    """A network, and the batch that it is trained on: images [n, *shape] of `classes` classes."""

    make: Callable[[Any], Any]
    n: int
    shape: tuple[int, ...]
    classes: int


def _conv(nn: Any, ic: int, oc: int, kernel: int, stride: int = 1, groups: int = 1) -> list[Any]:
    padding = kernel // 2
    conv = nn.Conv2d(ic, oc, kernel, stride, padding, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(oc)]


def _residual(nn: Any, body: Any, shortcut: Any, relu: bool) -> Any:
    """Return a module for ``body(x) + shortcut(x)``, with a relu behind it where asked for."""

    class Residual(nn.Module):  # type: ignore[misc]  # the library is chosen when this runs
        def __init__(self) -> None:
            super().__init__()
            self.body, self.shortcut = body, shortcut
            self.relu = nn.ReLU() if relu else nn.Identity()

        def forward(self, x: Any) -> Any:
            return self.relu(self.body(x) + self.shortcut(x))

    return Residual()


def _basic_block(nn: Any, ic: int, oc: int, stride: int) -> Any:
    body = nn.Sequential(
        *_conv(nn, ic, oc, 3, stride), nn.ReLU(inplace=True), *_conv(nn, oc, oc, 3)
    )
    changed = stride != 1 or ic != oc
    shortcut = nn.Sequential(*_conv(nn, ic, oc, 1, stride)) if changed else nn.Identity()
    return _residual(nn, body, shortcut, relu=True)


def _resnet(nn: Any, stem: list[Any], widths: list[int], blocks: int, classes: int) -> Any:
    layers, width = list(stem), widths[0]
    for number, oc in enumerate(widths):
        for block in range(blocks):
            layers.append(_basic_block(nn, width, oc, 2 if number and not block else 1))
            width = oc
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes)]
    return nn.Sequential(*layers, *head)


def resnet20(nn: Any) -> Any:
    """He et al., 2015, section 4.2: ResNet-20 for images of 32x32, with projection shortcuts."""
    stem = [*_conv(nn, 3, 16, 3), nn.ReLU(inplace=True)]
    return _resnet(nn, stem, [16, 32, 64], 3, 10)


def resnet18(nn: Any) -> Any:
    """He et al., 2015, table 1: ResNet-18."""
    stem = [*_conv(nn, 3, 64, 7, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    return _resnet(nn, stem, [64, 128, 256, 512], 2, 1000)


def _inverted(nn: Any, ic: int, oc: int, stride: int, expansion: int) -> Any:
    width = ic * expansion
    wide = [*_conv(nn, ic, width, 1), nn.ReLU6(inplace=True)] if expansion > 1 else []
    depthwise = [*_conv(nn, width, width, 3, stride, width), nn.ReLU6(inplace=True)]
    body = nn.Sequential(*wide, *depthwise, *_conv(nn, width, oc, 1))
    return _residual(nn, body, nn.Identity(), relu=False) if stride == 1 and ic == oc else body


def mobilenet_v2(nn: Any) -> Any:
    """Sandler et al., 2018, table 2: MobileNetV2."""
    layers = [*_conv(nn, 3, 32, 3, 2), nn.ReLU6(inplace=True)]
    width = 32
    for expansion, oc, count, stride in (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ):
        for index in range(count):
            layers.append(_inverted(nn, width, oc, 1 if index else stride, expansion))
            width = oc
    layers += [*_conv(nn, width, 1280, 1), nn.ReLU6(inplace=True)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(1280, 1000)]
    return nn.Sequential(*layers, *head)


def mnist(nn: Any) -> Any:
    """The network of PyTorch's MNIST example."""
    convolutions = [nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU()]
    pooled = [nn.MaxPool2d(2), nn.Dropout(0.25), nn.Flatten(), nn.Linear(9216, 128), nn.ReLU()]
    return nn.Sequential(*convolutions, *pooled, nn.Dropout(0.5), nn.Linear(128, 10))


def mlp(nn: Any) -> Any:
    """Three linear layers, 784-256-128-10."""
    layers = [nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10)]
    return nn.Sequential(*layers)


NETS = {
    "ResNet-20, batch 128, 32 px": Net(resnet20, 128, (3, 32, 32), 10),
    "ResNet-18, batch 16, 64 px": Net(resnet18, 16, (3, 64, 64), 1000),
    "MNIST net, batch 64": Net(mnist, 64, (1, 28, 28), 10),
    "MobileNetV2, batch 16, 64 px": Net(mobilenet_v2, 16, (3, 64, 64), 1000),
    "MLP, batch 64": Net(mlp, 64, (784,), 10),
}


def build(engine: Any, name: str) -> Any:
    """Return the network `name` of :data:`NETS`, made of the modules of `engine`."""
    return NETS[name].make(importlib.import_module(f"{engine.__name__}.nn"))
