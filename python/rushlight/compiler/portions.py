"""Large batches a few images at a time, so that what lies between two steps stays in caches."""

from __future__ import annotations

from collections.abc import Callable

from rushlight.compiler.graph import Graph, Node, Value

__all__ = ["take_portions"]

# Bytes. A step that moves more than the first at once is worth a cut; portions move at most the
# second; and the weights, which every portion reads anew, must be at most the third.
_LARGE, _PORTION, _WEIGHTS = 16 << 20, 8 << 20, 24 << 20


def take_portions(graph: Graph) -> None:
    """Let plans be for a part of the batch where images do not meet and fewer move faster."""
    sizes = {each.shape[0] if each.shape else 0 for each in (*graph.inputs, *graph.outputs)}
    if len(sizes) != 1 or min(sizes) < 2:
        return
    n = sizes.pop()
    moved = max((_bytes_moved(node) for node in graph.nodes), default=0)
    if moved <= _LARGE or _weight_bytes(graph) > _WEIGHTS or not _keeps_apart(graph, n):
        return
    image = moved // n
    most, fewest = max(1, _PORTION // image), _PORTION // (8 * image)
    # Down to an eighth: crumbs cost more than they save.
    for m in range(min(most, n // 2), max(0, fewest - 1), -1):
        if n % m == 0:
            return _cut(graph, n, m)


def _bytes_moved(node: Node) -> int:
    values = [each for each in (*node.inputs, *node.outputs) if each.constant is None]
    return 0 if node.op == "view" else sum(each.nbytes for each in values)


def _weight_bytes(graph: Graph) -> int:
    products = [node for node in graph.nodes if "weight" in node.settings]
    return sum(node.settings["weight"].array.nbytes for node in products)


# -- which images meet ------------------------------------------------------------------------


def _keeps_apart(graph: Graph, n: int) -> bool:
    """Return whether every result is made image by image: [i, ...] of each input alone."""
    batched = set(graph.inputs)
    for node in graph.nodes:
        rule = _RULES.get(node.op)
        if rule is None or len(node.outputs) != 1 or node.output.shape[:1] != (n,):
            return False
        if node.output.dtype.kind != "f" or not rule(node, batched, n):
            return False
        batched.add(node.output)
    return all(each in batched for each in graph.outputs)


def _all_batched(node: Node, batched: set[Value], n: int) -> bool:
    return all(each in batched for each in node.inputs)


def _along_an_axis(node: Node, batched: set[Value], n: int) -> bool:
    return node.settings["axis"] >= 1 and _all_batched(node, batched, n)


def _affine(node: Node, batched: set[Value], n: int) -> bool:
    same = all(each.shape == node.output.shape for each in node.inputs)
    spread = node.settings["scale"] is None and node.settings["shift"] is None
    return same and (spread or node.settings["axis"] >= 1) and _all_batched(node, batched, n)


def _binary(node: Node, batched: set[Value], n: int) -> bool:
    dims = len(node.output.shape)

    def fits(value: Value) -> bool:
        if value in batched:
            return len(value.shape) == dims and value.shape[0] == n
        alike = len(value.shape) < dims or value.shape[0] == 1  # for all images
        return value.constant is not None and alike

    return all(map(fits, node.inputs))


def _planes(node: Node, batched: set[Value], n: int) -> bool:
    dims = node.settings.get("dims", 2)
    return len(node.inputs[0].shape) - dims >= 1 and _all_batched(node, batched, n)


def _rows(node: Node, batched: set[Value], n: int) -> bool:
    return len(node.inputs[0].shape) >= 2 and _all_batched(node, batched, n)


def _view(node: Node, batched: set[Value], n: int) -> bool:
    """Each image of a view must lie inside the image of the same number."""
    region, base = node.settings["region"], node.inputs[0]
    if base not in batched or region.sizes[:1] != (n,):
        return False
    image = base.size // n
    inner = zip(region.sizes[1:], region.steps[1:], strict=True)
    reach = sum((size - 1) * max(step, 0) for size, step in inner)
    return bool(region.steps[0] == image and region.offset + reach < image)


_RULES: dict[str, Callable[[Node, set[Value], int], bool]] = {
    "affine": _affine,
    "binary": _binary,
    "cat": _along_an_axis,
    "conv2d": _all_batched,
    "copy": _all_batched,
    "linear": _rows,
    "log_softmax": _along_an_axis,
    "pointwise": _all_batched,
    "pool": _planes,
    "view": _view,
}


# -- the cut ----------------------------------------------------------------------------------


def _cut(graph: Graph, n: int, m: int) -> None:
    """Make all values that depend on the inputs those of m images."""
    fresh: dict[Value, Value] = {}
    for value in graph.inputs:
        fresh[value] = Value((m, *value.shape[1:]), value.dtype)
    for node in graph.nodes:
        node.inputs = [fresh.get(each, each) for each in node.inputs]
        value = node.output
        node.outputs = []
        fresh[value] = node.makes((m, *value.shape[1:]), value.dtype)
        if node.op == "view":
            region = node.settings["region"]
            node.settings["region"] = region._replace(sizes=(m, *region.sizes[1:]))
    graph.inputs = [fresh[each] for each in graph.inputs]
    graph.outputs = [fresh[each] for each in graph.outputs]
    graph.portions = n // m
