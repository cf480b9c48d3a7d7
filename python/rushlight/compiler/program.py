"""A compiled net for one kind of call: plans, and between them the operations that none knows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, TypeAlias

import numpy as np

from rushlight import _core
from rushlight.compiler.emission import emit
from rushlight.compiler.graph import Constant, Graph, Node, Value
from rushlight.compiler.homes import resolve
from rushlight.compiler.passes import run_call
from rushlight.dtypes import Array

__all__ = ["Program"]

_Values: TypeAlias = "dict[Value, Array]"


@dataclass(eq=False)
class _Segment:
    """Nodes that one plan runs, in one call of the core."""

    plan: _core.Plan
    steps: list[Node]
    inputs: list[Value]
    outputs: list[Value]


@dataclass(eq=False)
class Program:
    """What a graph became.

    Attributes
    ----------
    graph : Graph
    parts : list
        Segments, and nodes that Python runs, in order.
    """

    graph: Graph
    parts: list[_Segment | Node] = field(default_factory=list)
    # Set where it is all there is to do, on the inputs and results as they come.
    _only_plan: _core.Plan | None = None
    _eager_times: dict[Node, float] = field(default_factory=dict)

    @staticmethod
    def build(
        graph: Graph,
        weights: _core.PlanWeights,
        used: Callable[[Constant], None] | None = None,
    ) -> Program:
        """Make plans of what plans can run; `used` as in :func:`emit`."""
        program = Program(graph)
        groups = _grouped(graph.nodes)
        for number, group in enumerate(groups):
            if isinstance(group, Node):
                program.parts.append(group)
                continue
            made = {value for node in group for value in node.outputs}
            read = [resolve(each)[0] for node in group for each in node.inputs]
            inputs = [each for each in dict.fromkeys(read) if _comes_from_outside(each, made)]
            later = {
                resolve(each)[0]
                for other in groups[number + 1 :]
                for node in ([other] if isinstance(other, Node) else other)
                for each in node.inputs
            }
            outputs = [each for each in graph.outputs if each in made]
            outputs += [each for each in later if each in made and each not in outputs]
            plan, steps = emit(group, inputs, outputs, weights, used)
            program.parts.append(_Segment(plan, steps, inputs, outputs))
            if len(groups) == 1 and (inputs, outputs) == (graph.inputs, graph.outputs):
                program._only_plan = plan
        return program

    def nodes(self) -> list[Node]:
        """Return what runs, in order."""
        return [
            node
            for part in self.parts
            for node in ([part] if isinstance(part, Node) else dict.fromkeys(part.steps))
        ]

    def times(self) -> dict[Node, float]:
        """Return the seconds of each node in the last run; nothing before the first."""
        found: dict[Node, float] = {}
        for part in self.parts:
            if isinstance(part, _Segment):
                for node, seconds in zip(part.steps, part.plan.times(), strict=True):
                    found[node] = found.get(node, 0.0) + seconds
            elif part in self._eager_times:
                found[part] = self._eager_times[part]
        return {node: seconds for node, seconds in found.items() if seconds > 0}

    @property
    def only_plan(self) -> _core.Plan | None:
        """The plan that is all there is to do, on inputs and results as they come."""
        return self._only_plan if self.graph.portions == 1 else None

    @property
    def plan_bytes(self) -> int:
        """Bytes that a running call needs beside weights, arguments and results."""
        sizes = [
            part.plan.arena_bytes + part.plan.workspace_bytes
            for part in self.parts
            if isinstance(part, _Segment)
        ]
        return max(sizes, default=0)

    def run(self, arrays: Sequence[Array], out: Sequence[Array] | None = None) -> list[Array]:
        """Return what the net makes of its inputs.

        Parameters
        ----------
        arrays : sequence of ndarray
            The inputs.
        out : sequence of ndarray, optional
            Where the results go, dense and apart from the inputs; new memory by default.
        """
        portions = self.graph.portions
        if portions == 1:
            return self._run_once(arrays, out)
        results = list(out) if out is not None else [np.empty(*each) for each in self.results]
        for number in range(portions):
            given = [_part(each, number, portions) for each in arrays]
            self._run_once(given, [_part(each, number, portions) for each in results])
        return results

    @property
    def results(self) -> list[tuple[tuple[int, ...], np.dtype[Any]]]:
        """Shapes and types of what a call returns."""
        k = self.graph.portions
        return [
            (each.shape if k == 1 else (k * each.shape[0], *each.shape[1:]), each.dtype)
            for each in self.graph.outputs
        ]

    def _run_once(self, arrays: Sequence[Array], out: Sequence[Array] | None) -> list[Array]:
        if self._only_plan is not None:
            return self._only_plan.run(arrays, out)
        values: _Values = dict(zip(self.graph.inputs, arrays, strict=True))
        for part in self.parts:
            if isinstance(part, _Segment):
                given = [np.asarray(values[each], order="C") for each in part.inputs]
                values.update(zip(part.outputs, part.plan.run(given), strict=True))
            else:
                start = perf_counter()
                values.update(zip(part.outputs, _run_node(part, values), strict=True))
                self._eager_times[part] = perf_counter() - start
        results = [values[each] for each in self.graph.outputs]
        if out is None:
            return results
        for place, result in zip(out, results, strict=True):
            np.copyto(place, result)
        return list(out)


def _part(array: Array, number: int, parts: int) -> Array:
    """Return one of so many equal parts of a batch."""
    size = len(array) // parts
    return array[number * size : (number + 1) * size]


def _grouped(nodes: Sequence[Node]) -> list[list[Node] | Node]:
    """Return runs of nodes that one plan can hold, and single nodes that none can."""
    groups: list[list[Node] | Node] = []
    for node in nodes:
        if node.op == "view":
            continue  # whoever reads it looks through it
        if not _is_for_plans(node):
            groups.append(node)
        elif groups and isinstance(groups[-1], list):
            groups[-1].append(node)
        else:
            groups.append([node])
    return groups


def _is_for_plans(node: Node) -> bool:
    used = node.inputs + node.outputs
    return node.op != "call" and all(each.dtype.kind == "f" and each.size for each in used)


def _comes_from_outside(value: Value, made: set[Value]) -> bool:
    return value.constant is None and value not in made


def _array(value: Value, values: _Values) -> Array:
    """Return the array of a value: of a view, one that shares memory with its base."""
    if value.constant is not None:
        return value.constant.array
    base, region = resolve(value)
    if base is value:
        return values[value]
    whole = np.ascontiguousarray(_array(base, values)).reshape(-1)
    steps = [step * whole.itemsize for step in region.steps]
    return np.lib.stride_tricks.as_strided(whole[region.offset :], region.sizes, steps)


def _run_node(node: Node, values: _Values) -> list[Array]:
    arrays = [_array(each, values) for each in node.inputs]
    if node.op == "call":
        return run_call(node, arrays)
    if node.op == "copy":
        return [np.array(arrays[0], order="C")]
    assert node.op == "write", node.op
    whole = np.array(arrays[0], order="C")
    region = node.settings["region"]
    steps = [step * whole.itemsize for step in region.steps]
    flat = whole.reshape(-1)[region.offset :]
    np.lib.stride_tricks.as_strided(flat, region.sizes, steps)[...] = arrays[1]
    return [whole]
