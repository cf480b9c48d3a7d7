"""See what a model does: its table, the shapes that flow, the graph that autograd records."""

from __future__ import annotations

from typing import Any

import rushlight
from rushlight import Tensor, nn


def graph(node: Any, depth: int = 0) -> None:
    """Print the operations behind a tensor, the last one first."""
    if node is None:
        return
    print("  " * depth + node.name())
    for inner, _ in node.next_functions:
        graph(inner, depth + 1)


def main() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(256, 2)
    )
    x = rushlight.randn(3, 1, 8, 8)

    print(rushlight.summary(model, (3, 1, 8, 8)))

    def show(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        print(f"{type(module).__name__}: {list(inputs[0].shape)} -> {list(output.shape)}")

    handles = [each.register_forward_hook(show) for each in model.children()]
    loss = model(x).square().mean()
    for handle in handles:
        handle.remove()

    graph(loss.grad_fn)
    loss.backward()
    for name, parameter in model.named_parameters():
        gradient = parameter.grad
        assert gradient is not None
        print(f"{name}: largest gradient {gradient.abs().max().item():.4f}")


if __name__ == "__main__":
    main()
