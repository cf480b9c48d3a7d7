"""A network as a list of nodes, from which ONNX models and ncnn nets are made.

Small on purpose: it holds what the questions' networks need. Names of operations and attributes
are PyTorch's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Graph", "Node"]

Array = NDArray[np.float32]


@dataclass
class Node:
    """One operation; its output has its name.

    ``conv2d`` (stride, padding, dilation, groups; weight, bias), ``batch_norm`` (eps; weight, bias,
    running_mean, running_var), ``linear`` (weight, bias), ``max_pool2d`` (kernel_size, stride,
    padding, ceil_mode), ``avg_pool2d`` (over the whole image), ``relu``, ``relu6``, ``sigmoid``,
    ``hardswish``, ``hardsigmoid``, ``silu``, ``log_softmax`` (dim 1), ``flatten`` (from dim 1),
    ``add``, ``mul``, ``cat`` (dim 1), ``subsample`` (every stride-th row and column),
    ``pad_channels`` (that many zeros before and after).
    """

    name: str
    op: str
    inputs: list[str]
    attributes: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, Array | None] = field(default_factory=dict)
    shape: tuple[int, ...] = ()  # of the output, where it is known


@dataclass
class Graph:
    """Nodes in the order in which they run; the last one gives the output."""

    nodes: list[Node]
    input: str = "x"

    @property
    def output(self) -> str:
        return self.nodes[-1].name

    def users(self, name: str) -> list[Node]:
        """Return the nodes that take the output of `name`."""
        return [node for node in self.nodes if name in node.inputs]
