"""Choosing layouts: images in blocks of channels where kernels for them exist.

A value is plain unless the node that makes it can make blocks; who cannot read blocks gets a copy,
so that every conversion is a node of the graph.
"""

from __future__ import annotations

import numpy as np

from rushlight import _core
from rushlight.compiler.graph import Graph, Node, Value

__all__ = ["choose_layouts"]


def choose_layouts(graph: Graph) -> None:
    """Let convolutions and what lies between them work on blocks of channels."""
    layouts = _Layouts()
    for node in graph.nodes:
        layouts.visit(node)
    graph.nodes = layouts.nodes
    graph.outputs = [layouts.read(each, blocked=False) for each in graph.outputs]


class _Layouts:
    """The pass over the nodes, with the copies in other layouts made so far."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self._copies: dict[Value, Value] = {}

    def visit(self, node: Node) -> None:
        """Append a node, in blocks if that can be, after the conversions that it needs."""
        wanted = self._inputs_in_blocks(node)
        if wanted is None:
            node.inputs = [self.read(each, blocked=False) for each in node.inputs]
        else:
            node.inputs = [
                self.read(each, blocked=block)
                for each, block in zip(node.inputs, wanted, strict=True)
            ]
            if not _is_mean(node):
                node.output.block = _core.channel_block(node.output.dtype)
        self.nodes.append(node)

    def read(self, value: Value, blocked: bool) -> Value:
        """Return a value in a layout."""
        if bool(value.block) == blocked:
            return value
        if value not in self._copies:
            kind = "to_blocked" if blocked else "to_plain"
            node = Node("reorder", [value], settings={"kind": kind})
            self.nodes.append(node)
            copy = node.makes(value.shape, value.dtype)
            copy.block = _core.channel_block(value.dtype) if blocked else 0
            self._copies[value] = copy
        return self._copies[value]

    def _inputs_in_blocks(self, node: Node) -> list[bool] | None:
        """Return which inputs a node reads in blocks where it works on them; None where not."""
        if node.op not in _OPERATIONS or not (len(node.output.shape) == 4 or _is_mean(node)):
            return None
        first = node.inputs[0]
        if node.op == "conv2d":
            return self._convolution(node)
        if node.op == "affine":
            spread = node.settings["scale"] is None and node.settings["shift"] is None
            return (
                [True] * len(node.inputs)
                if first.block and (spread or node.settings["axis"] == 1)
                else None
            )
        if node.op == "binary":
            return self._binary(node)
        if node.op == "cat":
            return self._concatenation(node)
        if node.op == "pool" and node.settings["kind"] == "adaptive_avg" and not _is_mean(node):
            return None
        return [True] if first.block else None

    def _convolution(self, node: Node) -> list[bool] | None:
        src = node.inputs[0]
        others = [True] * (len(node.inputs) - 1)
        plain = not src.block and algorithm(node, src_blocked=False) is not None
        if plain:
            return [False, *others]
        return [True, *others] if algorithm(node, src_blocked=True) is not None else None

    def _binary(self, node: Node) -> list[bool] | None:
        """Products and sums with an image of the same size, or of one pixel."""
        a, b = node.inputs
        shape = node.output.shape
        if node.settings["function"] == "div" or not a.block or a.shape != shape:
            return None  # lanes that no channel uses may hold zeros
        fits = b.shape in (shape, (*shape[:2], 1, 1)) and b.constant is None
        return [True, True] if fits else None

    def _concatenation(self, node: Node) -> list[bool] | None:
        block = _core.channel_block(node.output.dtype)
        whole = all(each.shape[1] % block == 0 for each in node.inputs)
        blocked = all(each.block for each in node.inputs)
        return (
            [True] * len(node.inputs) if node.settings["axis"] == 1 and whole and blocked else None
        )


_OPERATIONS = ("affine", "binary", "cat", "conv2d", "pointwise", "pool")


def _is_mean(node: Node) -> bool:
    """Return whether a node makes the mean of each plane."""
    if node.op != "pool" or node.settings["kind"] != "adaptive_avg":
        return False
    if len(node.inputs[0].shape) != 4:
        return False
    if "dims" in node.settings:
        return bool(node.settings["dims"] == 2)
    return node.output.shape[2:] == (1, 1)


def algorithm(node: Node, src_blocked: bool) -> str | None:
    """Return how a convolution on blocks is computed; None where there is no kernel for it."""
    done, src = node.settings, node.inputs[0]
    return _core.blocked_conv2d_algorithm(
        src.shape,
        done["weight"].array.shape,
        done["stride"],
        done["padding"],
        done["dilation"],
        done["groups"],
        np.dtype(src.dtype),
        src_blocked,
    )
