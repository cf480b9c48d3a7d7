"""What a call costs where there is next to nothing to compute, beside PyTorch.

``python -m benchmarks overhead``
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from benchmarks.question import Question, answer
from benchmarks.turns import Rows


def _resnet_sized(nn: Any) -> Any:
    """Return a tree with as many modules, parameters and levels as a ResNet-50 (nothing runs)."""

    def block(width: int, downsample: bool) -> Any:
        parts = {}
        for number in (1, 2, 3):
            parts[f"conv{number}"] = nn.Conv2d(width, width, 1, bias=False)
            parts[f"bn{number}"] = nn.BatchNorm2d(width)
        parts["relu"] = nn.ReLU()
        if downsample:
            shortcut = nn.Conv2d(width, width, 1, bias=False), nn.BatchNorm2d(width)
            parts["downsample"] = nn.Sequential(*shortcut)
        return nn.ModuleDict(parts)

    layers = {
        f"layer{number}": nn.Sequential(*(block(4, index == 0) for index in range(count)))
        for number, count in enumerate((3, 4, 6, 3), 1)
    }
    stem = {"conv1": nn.Conv2d(3, 4, 7, bias=False), "bn1": nn.BatchNorm2d(4), "relu": nn.ReLU()}
    head = {"maxpool": nn.MaxPool2d(2), "avgpool": nn.AdaptiveAvgPool2d(1), "fc": nn.Linear(4, 10)}
    return nn.ModuleDict({**stem, **head, **layers})


def prepare(library: str, threads: int) -> Rows:
    """Return the rows; the two libraries share every name that is used here."""
    engine = importlib.import_module(library)
    nn = importlib.import_module(f"{library}.nn")
    engine.set_num_threads(threads)
    engine.manual_seed(0)
    leaf = engine.rand(16, requires_grad=True)
    flat, row = engine.rand(16), engine.rand(1, 16)
    image = engine.rand(1, 4, 8, 8)
    relu, linear = nn.ReLU(), nn.Linear(16, 16)
    conv, norm = nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4).eval()
    tree = _resnet_sized(nn)

    # Off for all but backward: the switch itself would show beside calls of a microsecond.
    engine.set_grad_enabled(False)

    def backward() -> None:
        with engine.enable_grad():
            engine.relu(leaf).sum().backward()

    cases: dict[str, Callable[[], Any]] = {
        "nn.ReLU()(x), 16": lambda: relu(flat),
        "Linear(16, 16), 1 row": lambda: linear(row),
        "Conv2d(4, 4, 3), 8x8": lambda: conv(image),
        "BatchNorm2d(4) eval, 8x8": lambda: norm(image),
        "relu(x).sum().backward(), 16": backward,
        "x + x, 16": lambda: flat + flat,
        "list(named_modules())": lambda: list(tree.named_modules()),
        "list(parameters())": lambda: list(tree.parameters()),
        "state_dict()": tree.state_dict,
    }
    # Built at once: a case costs nothing to keep.
    return {name: lambda case=case: case for name, case in cases.items()}


QUESTION = Question(
    "overhead", "calls with next to nothing to compute", ("rushlight", "torch"), unit="us"
)


def main(arguments: list[str]) -> None:
    """Print the table."""
    answer(QUESTION, arguments)
