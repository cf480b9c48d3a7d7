"""What is done to a graph before it becomes a plan: one function for each thing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rushlight.autograd.base import wrap
from rushlight.autograd.grad_mode import no_grad
from rushlight.compiler.graph import Constant, Graph, Node, Value, digest
from rushlight.compiler.layouts import choose_layouts
from rushlight.compiler.lowering import lower
from rushlight.compiler.pairs import join_pairs
from rushlight.compiler.portions import take_portions
from rushlight.compiler.structure import filled, leaves_of
from rushlight.compiler.views import collapsed, spread_steps
from rushlight.dtypes import Array
from rushlight.ops.copying import Clone

__all__ = ["PASSES", "optimise", "run_call"]

# Constants are folded only up to this size: a net that fills large tensors keeps doing so.
_MAX_FOLDED = 1 << 26


def optimise(graph: Graph) -> None:
    """Run all passes over a graph."""
    for each in PASSES:
        each(graph)


# -- on the graph as recorded ------------------------------------------------------------------


def drop_identities(graph: Graph) -> None:
    """Take out what returns its input: nothing is changed in place, so a copy is one too."""
    changes = {}
    kept = []
    for node in graph.nodes:
        if node.op == "call" and node.settings["operation"] is Clone:
            changes[node.output] = node.inputs[0]
        else:
            kept.append(node)
    graph.nodes = kept
    graph.replace(changes)


def fold_constants(graph: Graph) -> None:
    """Run now what depends on constants only."""
    changes: dict[Value, Value] = {}
    kept = []
    for node in graph.nodes:
        node.inputs = [changes.get(each, each) for each in node.inputs]
        if not _is_constant(node):
            kept.append(node)
            continue
        arrays = [each.constant.array for each in node.inputs if each.constant is not None]
        names = ", ".join(each.constant.name for each in node.inputs if each.constant is not None)
        for value, array in zip(node.outputs, run_call(node, arrays), strict=True):
            constant = Constant.stranger(f"{node.fused[0]}({names})", array)
            changes[value] = Value.of(array, constant)
    graph.nodes = kept
    graph.replace(changes)


def _is_constant(node: Node) -> bool:
    return (
        node.op == "call"
        and bool(node.inputs)
        and all(each.constant is not None for each in node.inputs)
        and sum(each.size for each in node.outputs) <= _MAX_FOLDED
        # Whatever draws numbers draws others in the next call.
        and "random" not in getattr(node.settings["operation"], "__module__", "")
    )


def run_call(node: Node, arrays: list[Array]) -> list[Array]:
    """Run a node as it was recorded on arrays in the place of its inputs; return its outputs."""
    tensors = [wrap(each) for each in arrays]
    args, kwargs = filled(node.settings["args"], tensors.__getitem__)
    operation, method = node.settings["operation"], node.settings["run"]
    if method == "apply_":  # which must not change what others read
        args = (wrap(args[0]._array.copy()), *args[1:])
    with no_grad():
        result = getattr(operation, method)(*args) if method else operation(*args, **kwargs)
    return [each._array for each in leaves_of(result)]


def dead_code(graph: Graph) -> None:
    """Take out what nobody reads."""
    needed = set(graph.outputs)
    kept = []
    for node in reversed(graph.nodes):
        if any(each in needed for each in node.outputs):
            needed.update(node.inputs)
            kept.append(node)
    graph.nodes = kept[::-1]


def common_subexpressions(graph: Graph) -> None:
    """Compute once what is computed twice from the same values."""
    seen: dict[Any, Node] = {}
    changes: dict[Value, Value] = {}
    kept = []
    for node in graph.nodes:
        node.inputs = [changes.get(each, each) for each in node.inputs]
        if node.op == "call":  # maybe a random one
            kept.append(node)
            continue
        key = (node.op, *map(_identity, node.inputs), _key(node))
        twin = seen.setdefault(key, node)
        if twin is node:
            kept.append(node)
        else:
            changes.update(zip(node.outputs, twin.outputs, strict=True))
    graph.nodes = kept
    graph.replace(changes)


def _identity(value: Value) -> Any:
    return id(value) if value.constant is None else value.constant.name


def _key(node: Node) -> str:
    """Return the settings of a node as text that differs where they do."""
    return repr([(name, _text(each)) for name, each in sorted(node.settings.items())])


def _text(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return digest(value)
    if isinstance(value, Constant):
        return value.name
    if isinstance(value, (tuple, list)):
        return [_text(each) for each in value]
    if isinstance(value, dict):
        return [(name, _text(each)) for name, each in value.items()]
    return value


# -- on operations of plans ---------------------------------------------------------------------


def fuse_padding(graph: Graph) -> None:
    """Let a convolution pad with zeros what was padded before it, where both sides are equal."""
    for node in graph.nodes:
        source = node.inputs[0].node if node.inputs else None
        if node.op != "conv2d" or source is None or source.op != "pad" or source.settings["value"]:
            continue
        outer, inner, rows, columns = source.settings["widths"]
        if outer == inner == (0, 0) and rows[0] == rows[1] and columns[0] == columns[1]:
            padding = node.settings["padding"]
            node.settings["padding"] = (padding[0] + rows[0], padding[1] + columns[0])
            node.inputs[0] = source.inputs[0]
            node.fused = ["pad", *node.fused]


def fuse_epilogues(graph: Graph) -> None:
    """Put what follows a product into its epilogue: factors and shifts, a sum, an activation.

    A batch norm so becomes part of the weights, which are multiplied in float64.
    """
    counts = graph.counts()
    kept: list[Node] = []
    changes: dict[Value, Value] = {}
    for node in graph.nodes:
        node.inputs = [changes.get(each, each) for each in node.inputs]
        producer = _producer(node, counts)
        if producer is None:
            kept.append(node)
            continue
        # It moves to the place of its successor, where everything that this one reads is there.
        kept.remove(producer)
        merged = _merged(producer, node)
        kept.append(merged)
        counts[merged.output] = counts.get(node.output, 0)
        changes[node.output] = merged.output
    graph.nodes = kept
    graph.replace(changes)


_PRODUCTS = ("conv2d", "linear", "affine")


def _producer(node: Node, counts: dict[Value, int]) -> Node | None:
    """Return the node that can do what `node` does, after its own work; the last of several."""
    if node.op not in ("affine", "pointwise"):
        return None
    found = None
    for value in node.inputs:
        maker = value.node
        fits = maker is not None and maker.op in _PRODUCTS and counts.get(value) == 1
        if fits and maker is not None and _accepts(maker, node, value):
            found = maker
    return found


def _accepts(maker: Node, node: Node, value: Value) -> bool:
    done = maker.settings
    if done.get("clamp") is not None or done.get("activation") is not None:
        return False
    if node.op == "pointwise":
        return maker.op != "affine"
    scaled = _is_scaled(node)
    has_residual = len(maker.inputs) > 1
    if scaled and (has_residual or not _same_channels(maker, node, value)):
        return False
    if len(node.inputs) > 1:
        other = node.inputs[1] if node.inputs[0] is value else node.inputs[0]
        # A sum is the same from both sides, unless one of them is scaled first.
        return not has_residual and other is not value and (node.inputs[0] is value or not scaled)
    return True


def _same_channels(maker: Node, node: Node, value: Value) -> bool:
    """Return whether factors of `node` are along the channels of what `maker` makes."""
    axis = node.settings["axis"]
    if maker.op == "conv2d":
        return bool(axis == 1)
    if maker.op == "linear":
        return bool(axis == len(value.shape) - 1)
    return bool(not _is_scaled(maker) or maker.settings["axis"] == axis)


def _is_scaled(node: Node) -> bool:
    return node.settings["scale"] is not None or node.settings["shift"] is not None


def _merged(maker: Node, node: Node) -> Node:
    settings = dict(maker.settings)
    inputs = list(maker.inputs)
    if node.op == "pointwise":
        settings["activation"] = tuple(node.settings[each] for each in ("function", "a", "b"))
    else:
        settings["scale"] = _product(settings["scale"], node.settings["scale"])
        settings["shift"] = _sum(
            _product(settings["shift"], node.settings["scale"], both=True), node.settings["shift"]
        )
        if maker.op == "affine" and _is_scaled(node):
            settings["axis"] = node.settings["axis"]
        settings["clamp"] = node.settings.get("clamp")
        inputs += [each for each in node.inputs if each is not maker.output]
    merged = Node(maker.op, inputs, [], settings, maker.module, [*maker.fused, *node.fused])
    merged.makes(node.output.shape, node.output.dtype)
    return merged


def _product(a: Array | None, b: Array | None, both: bool = False) -> Array | None:
    """Return a * b where None is 1; with `both`, None where `a` is."""
    if a is None:
        return None if both else b
    return a if b is None else a * b


def _sum(a: Array | None, b: Array | None) -> Array | None:
    if a is None:
        return b
    return a if b is None else a + b


def use_linear(graph: Graph) -> None:
    """Let a pointwise convolution of single pixels be the matrix product that it is."""
    for node in graph.nodes:
        if node.op != "conv2d" or node.inputs[0].shape[2:] != (1, 1) or node.settings["groups"] > 1:
            continue
        weight = node.settings["weight"]
        if weight.array.shape[2:] != (1, 1) or node.output.shape[2:] != (1, 1):
            continue
        matrix = weight.array.reshape(weight.array.shape[:2])
        node.op = "linear"
        node.settings["weight"] = Constant(f"{weight.name} as a matrix", matrix)


def copy_results(graph: Graph) -> None:
    """Give every result memory of its own: a view, an input or a constant is copied."""
    seen: set[Value] = set()
    for number, value in enumerate(graph.outputs):
        owned = value.node is not None and _makes_memory(value.node) and value not in seen
        seen.add(value)
        if not owned:
            node = Node("copy", [value])
            graph.nodes.append(node)
            graph.outputs[number] = node.makes(value.shape, value.dtype)


def _makes_memory(node: Node) -> bool:
    """Return whether results of a node share no memory with what it reads."""
    if node.op != "call":
        return node.op != "view"
    return bool(node.settings["run"]) and not getattr(node.settings["operation"], "is_view", True)


def make_dense(graph: Graph) -> None:
    """Copy views whose elements do not lie in a row for those who cannot read them as they lie."""
    copies: dict[Value, Value] = {}
    nodes = []
    for node in graph.nodes:
        for number, value in enumerate(node.inputs):
            if _reads_as_it_lies(node, value):
                continue
            if value not in copies:
                copy = Node("copy", [value], module=node.module)
                nodes.append(copy)
                copies[value] = copy.makes(value.shape, value.dtype)
            node.inputs[number] = copies[value]
        nodes.append(node)
    graph.nodes = nodes


def _reads_as_it_lies(node: Node, value: Value) -> bool:
    maker = value.node
    if maker is None or maker.op != "view" or maker.settings["region"].is_dense:
        return True
    if node.op == "binary":
        steps = spread_steps(value, node.output.shape)
        return collapsed(node.output.shape, steps)[1][0][-1] in (0, 1)
    return node.op in ("copy", "cat", "pad", "write", "view", "call")


PASSES: list[Callable[[Graph], None]] = [
    drop_identities,
    fold_constants,
    dead_code,
    lower,
    common_subexpressions,
    fuse_padding,
    dead_code,
    fuse_epilogues,
    dead_code,
    use_linear,
    take_portions,
    choose_layouts,
    join_pairs,
    copy_results,
    make_dense,
]
