"""A compiled net for one kind of call: plans, and between them the operations that none knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import TypeAlias

import numpy as np

from rushlight import _core
from rushlight.compiler.emission import emit
from rushlight.compiler.graph import Graph, Node, Value
from rushlight.compiler.homes import resolve
from rushlight.compiler.passes import run_call
from rushlight.dtypes import Array

__all__ = ["Program", "Timing"]

_Values: TypeAlias = "dict[Value, Array]"


@dataclass(eq=False)
class _Segment:
    """Nodes that one plan runs, in one call of the core."""

    plan: _core.Plan
    steps: list[Node]
    inputs: list[Value]
    outputs: list[Value]


@dataclass
class Timing:
    """When a node ran, in seconds since the call began, and for how long."""

    node: Node
    start: float
    seconds: float


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

    @staticmethod
    def build(graph: Graph, weights: _core.PlanWeights) -> Program:
        """Make plans of what plans can run."""
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
            plan, steps = emit(group, inputs, outputs, weights)
            program.parts.append(_Segment(plan, steps, inputs, outputs))
            if len(groups) == 1 and (inputs, outputs) == (graph.inputs, graph.outputs):
                program._only_plan = plan
        return program

    @property
    def plan_bytes(self) -> int:
        """Bytes that a running call needs beside weights, arguments and results."""
        sizes = [
            part.plan.arena_bytes + part.plan.workspace_bytes
            for part in self.parts
            if isinstance(part, _Segment)
        ]
        return max(sizes, default=0)

    def run(
        self,
        arrays: Sequence[Array],
        out: Sequence[Array] | None = None,
        timings: list[Timing] | None = None,
    ) -> list[Array]:
        """Return what the net makes of its inputs.

        Parameters
        ----------
        arrays : sequence of ndarray
            The inputs.
        out : sequence of ndarray, optional
            Where the results go, dense and apart from the inputs; new memory by default.
        timings : list, optional
            Gets the time of each node.
        """
        plan = self._only_plan
        if plan is not None and timings is None:
            return plan.run(arrays, out)
        values: _Values = dict(zip(self.graph.inputs, arrays, strict=True))
        begin = perf_counter()
        for part in self.parts:
            start = perf_counter() - begin
            if isinstance(part, _Segment):
                _run_segment(part, values, start, timings)
                continue
            values.update(zip(part.outputs, _run_node(part, values), strict=True))
            if timings is not None:
                timings.append(Timing(part, start, perf_counter() - begin - start))
        results = [values[each] for each in self.graph.outputs]
        if out is None:
            return results
        for place, result in zip(out, results, strict=True):
            np.copyto(place, result)
        return list(out)


def _run_segment(
    part: _Segment, values: _Values, start: float, timings: list[Timing] | None
) -> None:
    given = [np.ascontiguousarray(values[each]) for each in part.inputs]
    values.update(zip(part.outputs, part.plan.run(given), strict=True))
    if timings is None:
        return
    for node, seconds in zip(part.steps, part.plan.times(), strict=True):
        timings.append(Timing(node, start, seconds))
        start += seconds


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
