"""Pairs: a pointwise convolution and the depthwise one behind it, computed band by band.

The image between the two, the largest of a net for small machines, is never made.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rushlight import _core
from rushlight.compiler.graph import Graph, Node, Value

__all__ = ["join_pairs"]


def join_pairs(graph: Graph) -> None:
    """Let pointwise convolutions whose results only a depthwise one reads be part of that."""
    counts = graph.counts()
    joined: set[Node] = set()
    nodes = []
    for node in graph.nodes:
        first = _first_of(node, counts)
        if first is not None:
            joined.add(first)
            node = _pair(first, node)
        nodes.append(node)
    graph.nodes = [node for node in nodes if node not in joined]


def _first_of(second: Node, counts: dict[Value, int]) -> Node | None:
    """Return the pointwise convolution that a depthwise one can take in."""
    if second.op != "conv2d" or not second.output.block:
        return None
    between = second.inputs[0]
    first = between.node
    if first is None or first.op != "conv2d" or len(first.inputs) > 1 or counts[between] > 1:
        return None
    if not between.block or not first.inputs[0].block:
        return None
    return first if _fit(first, second) else None


def _fit(first: Node, second: Node) -> bool:
    dtype = np.dtype(second.output.dtype)
    return _core.blocked_pairs(_sizes(first), _sizes(second), dtype)


def _sizes(node: Node) -> tuple[Any, ...]:
    done = node.settings
    settings = (done["stride"], done["padding"], done["dilation"], done["groups"])
    return node.inputs[0].shape, done["weight"].array.shape, *settings


def _pair(first: Node, second: Node) -> Node:
    """Return the node of both, which makes the value that the second made.

    Both read values in blocks, which no later pass replaces: the parts' inputs stay true.
    """
    pair = Node(
        "pair",
        [first.inputs[0], *second.inputs[1:]],
        second.outputs,
        {"parts": (first, second)},
        f"{first.module}, {second.module}",
        [*first.fused, *second.fused],
    )
    second.output.node = pair
    return pair
