"""The places of values: in the arena of a plan, in its arguments and in its results."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from rushlight.compiler.graph import Node, Value
from rushlight.compiler.memory import Span, arrange
from rushlight.compiler.views import Region
from rushlight.dtypes import Array

__all__ = ["Homes", "resolve"]

_ARENA, _INPUT, _OUTPUT = 1, 2, 3


def resolve(value: Value) -> tuple[Value, Region]:
    """Return what a value is a view of, and which part; itself where it is none."""
    if value.node is not None and value.node.op == "view":
        return value.node.inputs[0], value.node.settings["region"]
    return value, Region.whole(value.shape)


class Homes:
    """Decides where each value of a plan lies.

    Parts of a concatenation are made where they belong if they lie there in a row, and what
    changes elements one by one does so in place where nobody reads them again.

    Attributes
    ----------
    arena_bytes : int
    """

    def __init__(
        self, nodes: Sequence[Node], inputs: Sequence[Value], outputs: Sequence[Value]
    ) -> None:
        self._inputs = {value: number for number, value in enumerate(inputs)}
        self._outputs = {value: number for number, value in enumerate(outputs)}
        self._inside: dict[Value, tuple[Value, int]] = {}  # owner and offset, in bytes
        self._made = {value: at for at, node in enumerate(nodes) for value in node.outputs}
        self._last = self._last_uses(nodes)
        for at, node in enumerate(nodes):
            if node.op == "cat":
                self._place_parts(node)
            elif node.op in ("affine", "binary", "pointwise"):
                self._share(node, at)
        self._spans = self._make_spans()
        self.arena_bytes = arrange(list(self._spans.values()))

    # -- what emission asks -------------------------------------------------------------------

    def place(self, value: Value) -> Any:
        """Return the place of a dense value or dense view."""
        base, region = resolve(value)
        return self.place_at(base, region.offset)

    def place_at(self, value: Value, elements: int) -> Any:
        """Return the place so many elements behind the start of a value."""
        if value.constant is not None:
            return _tail(value.constant.array, elements)
        owner, offset = self._owner(value)
        offset += elements * value.dtype.itemsize
        if owner in self._inputs:
            return (_INPUT, self._inputs[owner], offset)
        if owner in self._outputs:
            return (_OUTPUT, self._outputs[owner], offset)
        return (_ARENA, 0, self._spans[owner].offset + offset)

    def is_inside(self, part: Value, whole: Value) -> bool:
        """Return whether a part of a concatenation is made where it belongs."""
        return self._inside.get(part, (None, 0))[0] is whole

    # -- decisions ----------------------------------------------------------------------------

    def _owner(self, value: Value) -> tuple[Value, int]:
        """Return in whose memory a value lies, and how many bytes behind its start."""
        offset = 0
        while value in self._inside:
            value, more = self._inside[value]
            offset += more
        return value, offset

    def _last_uses(self, nodes: Sequence[Node]) -> dict[Value, int]:
        last = dict(self._made)
        for at, node in enumerate(nodes):
            for value in node.inputs:
                last[resolve(value)[0]] = at
        return last

    def _place_parts(self, node: Node) -> None:
        """Let what is concatenated be made in the result, where the parts lie behind each other."""
        axis, out = node.settings["axis"], node.output
        if math.prod(out.shape[:axis]) != 1:
            return
        offset = 0
        for part in node.inputs:
            free = (
                part in self._made
                and part not in self._inside
                and part not in self._outputs
                and sum(each is part for each in node.inputs) == 1
            )
            if free:
                self._inside[part] = out, offset
            offset += part.nbytes

    def _share(self, node: Node, at: int) -> None:
        """Let a node work in place on an input that nobody reads later."""
        out = node.output
        if out in self._outputs:
            return
        bases = [resolve(each)[0] for each in node.inputs]
        for value in node.inputs:
            owner, _ = self._owner(value)
            if (
                value in self._made
                and owner is value
                and bases.count(value) == 1  # the other operand may be another view of it
                and value.shape == out.shape
                and value not in self._outputs
                and value.block == out.block
                and self._last_of(value) == at
            ):
                self._inside[value] = out, 0
                return

    def _last_of(self, owner: Value) -> int:
        """Return when anything that lies in the memory of a value is read last."""
        return max(last for value, last in self._last.items() if self._owner(value)[0] is owner)

    def _make_spans(self) -> dict[Value, Span]:
        spans: dict[Value, Span] = {}
        for value, made in self._made.items():
            owner, _ = self._owner(value)
            if owner in self._outputs or owner in self._inputs:
                continue
            last = self._last[value]
            span = spans.setdefault(owner, Span(owner.nbytes, made, last))
            span.first, span.last = min(span.first, made), max(span.last, last)
        return spans


def _tail(array: Array, elements: int) -> Array:
    """Return a constant from an element on."""
    flat = np.ascontiguousarray(array)
    return flat if not elements else flat.reshape(-1)[elements:]
