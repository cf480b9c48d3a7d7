"""The graph that the compiler works on: nodes in the order in which they run, values between them.

Nothing is changed in place: a node makes new values. A value is dense, in row-major order,
whatever the tensor was that it stands for.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from rushlight.autograd.base import TensorBase
    from rushlight.dtypes import Array

__all__ = ["Constant", "Graph", "Node", "Slot", "Value", "digest"]


def digest(array: Array) -> str:
    """Return a short text that differs where shapes, types or contents of arrays do."""
    found = hashlib.blake2b(f"{array.shape}{array.dtype.str}".encode(), digest_size=12)
    found.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return found.hexdigest()


@dataclass(eq=False)
class Constant:
    """What a value is when it does not depend on the inputs.

    Attributes
    ----------
    name : str
        Stands for the contents: two constants of one name are equal.
    array : ndarray
    tensor : Tensor or None
        The tensor whose memory `array` is, for a parameter, a buffer and the like.
    is_named : bool
        Whether the module's state has it by this name; others are named after what they hold.
    """

    name: str
    array: Array
    tensor: TensorBase | None = None
    is_named: bool = True

    @staticmethod
    def stranger(label: str, array: Array, tensor: TensorBase | None = None) -> Constant:
        """Return a constant that the module's state does not hold."""
        return Constant(f"{label} {digest(array)}", array, tensor, False)

    def read_again(self) -> None:
        """Take over what the tensor holds now."""
        if self.tensor is not None:
            self.array = self.tensor._array
            if not self.is_named:
                label = self.name.rpartition(" ")[0]
                self.name = f"{label} {digest(self.array)}"


@dataclass(eq=False)
class Value:
    """An input of the net, a constant, or what a node makes.

    `block` is 0, or how many channels stand together in each pixel of an image: [n, c, h, w] is
    then stored as [n, blocks, h, w, block], the last block filled up.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    node: Node | None = None
    constant: Constant | None = None
    block: int = 0

    @staticmethod
    def of(array: Array, constant: Constant | None = None) -> Value:
        """Return a value of the shape and type of an array."""
        return Value(array.shape, array.dtype, None, constant)

    @staticmethod
    def constant_of(name: str, array: Array) -> Value:
        """Return a constant that the compiler itself computed."""
        return Value.of(array, Constant(name, array))

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def stored(self) -> int:
        """The number of elements in memory, those that fill up blocks included."""
        if not self.block:
            return self.size
        n, c, *plane = self.shape
        return n * -(-c // self.block) * self.block * math.prod(plane)

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return self.stored * self.dtype.itemsize


@dataclass(frozen=True)
class Slot:
    """Stands in the arguments of a recorded call for the input of the node with this number."""

    number: int


@dataclass(eq=False)
class Node:
    """One operation.

    Attributes
    ----------
    op : str
        Its name; "call" for one that is run as it was recorded.
    settings : dict
        What it takes beside `inputs`.
    module : str
        Path of the module whose forward called it.
    fused : list of str
        The operations that it does, in order.
    """

    op: str
    inputs: list[Value]
    outputs: list[Value] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    module: str = ""
    fused: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.fused = self.fused or [self.op]

    @property
    def parts(self) -> tuple[Node, ...]:
        """The nodes that a pair was made of; else the node itself."""
        parts: tuple[Node, ...] = self.settings.get("parts", (self,))
        return parts

    @property
    def output(self) -> Value:
        """The only output, or the first."""
        return self.outputs[0]

    def makes(self, shape: Sequence[int], dtype: np.dtype[Any]) -> Value:
        """Add an output and return it."""
        value = Value(tuple(shape), dtype, self)
        self.outputs.append(value)
        return value


class Graph:
    """A net as recorded, or as a pass left it.

    Attributes
    ----------
    inputs, outputs : list of Value
    nodes : list of Node
        In an order in which they can run.
    portions : int
        How many times it runs, each time on the next part of every input's batch.
    """

    portions = 1

    def __init__(
        self, inputs: Sequence[Value], nodes: Sequence[Node], outputs: Sequence[Value]
    ) -> None:
        self.inputs = list(inputs)
        self.nodes = list(nodes)
        self.outputs = list(outputs)

    def counts(self) -> dict[Value, int]:
        """Return how often each value is read, by nodes and as a result."""
        found: dict[Value, int] = {}
        for value in self._reads():
            found[value] = found.get(value, 0) + 1
        return found

    def _reads(self) -> Iterator[Value]:
        for node in self.nodes:
            yield from node.inputs
        yield from self.outputs

    def replace(self, changes: dict[Value, Value]) -> None:
        """Let everyone read other values instead; a replacement may be replaced in turn."""

        def final(value: Value) -> Value:
            while value in changes:
                value = changes[value]
            return value

        if changes:
            for node in self.nodes:
                node.inputs = [final(each) for each in node.inputs]
            self.outputs = [final(each) for each in self.outputs]

    def copy(self) -> Graph:
        """Return a graph with nodes of its own, whose inputs and constants are the same values."""
        fresh: dict[Value, Value] = {}
        nodes = []
        for node in self.nodes:
            inputs = [fresh.get(each, each) for each in node.inputs]
            twin = Node(node.op, inputs, [], dict(node.settings), node.module, list(node.fused))
            for value in node.outputs:
                fresh[value] = twin.makes(value.shape, value.dtype)
            nodes.append(twin)
        return Graph(self.inputs, nodes, [fresh.get(each, each) for each in self.outputs])

    def __str__(self) -> str:
        names = {value: f"x{number}" for number, value in enumerate(self.inputs)}

        def name(value: Value) -> str:
            if value.constant is not None:
                return value.constant.name
            return names.setdefault(value, f"v{len(names)}")

        lines = [f"inputs: {', '.join(f'{names[each]} {_type(each)}' for each in self.inputs)}"]
        for node in self.nodes:
            made = ", ".join(f"{name(each)} {_type(each)}" for each in node.outputs)
            settings = ", ".join(
                f"{key}={node.settings[key]}"
                for key, plain in _SHOWN.items()
                if node.settings.get(key, plain) != plain
            )
            read = ", ".join(map(name, node.inputs))
            lines.append(f"{made} = {' + '.join(node.fused)}({read}) {settings}".rstrip())
        lines.append(f"outputs: {', '.join(map(name, self.outputs))}")
        return "\n".join(lines)


# The settings that are printed, where they differ from these.
_SHOWN: dict[str, Any] = {
    "stride": (1, 1),
    "padding": (0, 0),
    "dilation": (1, 1),
    "groups": 1,
    "clamp": None,
    "region": None,
    "layout": None,
}


def _type(value: Value) -> str:
    blocks = f" in blocks of {value.block}" if value.block else ""
    return f"{value.dtype}{list(value.shape)}{blocks}"
