"""From the nodes of a graph to the steps of a plan."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rushlight import _core
from rushlight.compiler.graph import Constant, Node, Value, digest
from rushlight.compiler.homes import Homes, resolve
from rushlight.compiler.views import Region, collapsed, dense_steps, spread_steps
from rushlight.dtypes import Array

__all__ = ["emit"]


def emit(
    nodes: Sequence[Node],
    inputs: Sequence[Value],
    outputs: Sequence[Value],
    weights: _core.PlanWeights,
    used: Callable[[Constant], None] | None = None,
) -> tuple[_core.Plan, list[Node]]:
    """Make a plan of nodes.

    Parameters
    ----------
    nodes : sequence of Node
        Those that plans have steps for, in order.
    inputs, outputs : sequence of Value
        What the plan is given and what it returns.
    weights : PlanWeights
        Holds the weights that kernels prepare, for this plan and others of the same net.
    used : callable, optional
        Told of each weight when its steps are made.

    Returns
    -------
    plan : Plan
    steps : list of Node
        The node that each step belongs to.
    """
    homes = Homes(nodes, inputs, outputs)
    plan = _core.Plan(
        homes.arena_bytes,
        [(_as_array(each), each.dtype) for each in inputs],
        [(_as_array(each), each.dtype) for each in outputs],
    )
    emitter = _Emitter(plan, homes, weights)
    steps: list[Node] = []
    for node in nodes:
        _STEPS[node.op](emitter, node)
        steps += [node] * (plan.steps - len(steps))
        if used is not None:
            for part in node.parts:
                if "weight" in part.settings:
                    used(part.settings["weight"])
    return plan, steps


def _as_array(value: Value) -> tuple[int, ...]:
    """Return the shape in which a value enters or leaves a plan: blocks as they are stored."""
    return (value.stored,) if value.block else value.shape


class _Emitter:
    """A plan under construction, and where its values lie."""

    def __init__(self, plan: _core.Plan, homes: Homes, weights: _core.PlanWeights) -> None:
        self.plan = plan
        self.homes = homes
        self.weights = weights

    def place(self, value: Value) -> Any:
        """Return where a value lies, as plans take it."""
        return self.homes.place(value)

    def epilogue(self, node: Node) -> tuple[Any, ...]:
        """Return what stands behind the sums of a node whose weight has its factors in it."""
        done, block = node.settings, node.output.block
        other = self.place(node.inputs[1]) if len(node.inputs) > 1 else None
        last = done.get("clamp")
        if block:  # where kernels take functions
            last = last or done.get("activation")
        return None, _filled_up(_cast(done["shift"], node), block), other, last

    def activate(self, node: Node) -> None:
        """Add the step of an activation where the kernel before takes none."""
        activation, out = node.settings.get("activation"), node.output
        if activation is not None and not out.block:
            function, a, b = activation
            place = self.place(out)
            self.plan.pointwise(function, place, place, out.stored, out.dtype, a, b)

    def copy(self, src: Value, dst: Value, to: Region) -> None:
        """Copy a value, or what it is a view of, into a part of another."""
        base, region = resolve(src)
        sizes, (read, written) = collapsed(src.shape, region.steps, to.steps)
        self.plan.copy(
            self.homes.place_at(dst, to.offset),
            self.homes.place_at(base, region.offset),
            sizes,
            read,
            written,
            dst.dtype,
        )


def _cast(values: Array | None, node: Node) -> Array | None:
    return None if values is None else values.astype(node.output.dtype)


def _filled_up(values: Array | None, block: int) -> Array | None:
    """Return a value per channel with zeros that fill up the last block."""
    if values is None or not block:
        return values
    return np.pad(values, (0, -len(values) % block))


def _folded(node: Node, lead: int) -> tuple[Array, str]:
    """Return the weight of a product with its factors multiplied in, and a name for it."""
    weight, scale = node.settings["weight"], node.settings["scale"]
    if scale is None:
        return np.ascontiguousarray(weight.array), weight.name
    factors = scale.reshape(-1, *(1,) * (lead - 1))
    return (weight.array * factors).astype(weight.array.dtype), f"{weight.name} * {digest(scale)}"


def _conv2d(to: _Emitter, node: Node) -> None:
    weight, name = _folded(node, 4)
    done, src = node.settings, node.inputs[0]
    sizes = (done["stride"], done["padding"], done["dilation"], done["groups"])
    places = (to.place(node.output), to.place(src))
    epilogue = to.epilogue(node)
    if node.output.block:
        to.plan.blocked_conv2d(
            *places, src.shape, weight, *sizes, epilogue, to.weights, name, bool(src.block)
        )
    else:
        to.plan.conv2d(*places, src.shape, weight, *sizes, epilogue, to.weights, name)
    to.activate(node)


def _pair(to: _Emitter, node: Node) -> None:
    first, second = (_part_of_pair(to, each) for each in node.parts)
    src = node.inputs[0]
    to.plan.blocked_pair(to.place(node.output), to.place(src), src.shape, first, second, to.weights)


def _part_of_pair(to: _Emitter, part: Node) -> tuple[Any, ...]:
    weight, name = _folded(part, 4)
    done = part.settings
    sizes = (done["stride"], done["padding"], done["dilation"], done["groups"])
    return weight, *sizes, to.epilogue(part), name


def _linear(to: _Emitter, node: Node) -> None:
    weight, name = _folded(node, 2)
    src = node.inputs[0]
    rows = src.size // weight.shape[1]
    to.plan.linear(
        to.place(node.output), to.place(src), rows, weight, to.epilogue(node), to.weights, name
    )
    to.activate(node)


def _affine(to: _Emitter, node: Node) -> None:
    done, out = node.settings, node.output
    scale = _filled_up(_cast(done["scale"], node), out.block)
    shift, other, clamp = to.epilogue(node)[1:]
    if scale is not None and shift is None:  # which kernels ask for
        shift = np.zeros_like(scale)
    if out.block:
        places = (to.place(out), to.place(node.inputs[0]))
        to.plan.blocked_affine(*places, _planes(out), out.dtype, (scale, shift, other, clamp))
        return
    if scale is None and shift is None:
        sizes = (1, 1, out.size)
    else:
        axis = done["axis"]
        sizes = (math.prod(out.shape[:axis]), out.shape[axis], math.prod(out.shape[axis + 1 :]))
    to.plan.affine(
        to.place(out), to.place(node.inputs[0]), sizes, out.dtype, (scale, shift, other, clamp)
    )


def _pointwise(to: _Emitter, node: Node) -> None:
    done, out = node.settings, node.output
    src = to.place(node.inputs[0])
    to.plan.pointwise(
        done["function"], to.place(out), src, out.stored, out.dtype, done["a"], done["b"]
    )


def _planes(value: Value) -> tuple[int, int, int]:
    """Return an image's sizes as (n, channels, pixels)."""
    n, c, *plane = value.shape
    return n, c, math.prod(plane)


def _reorder(to: _Emitter, node: Node) -> None:
    src, out = node.inputs[0], node.output
    to.plan.reorder(node.settings["kind"], to.place(out), to.place(src), _planes(src), out.dtype)


def _binary(to: _Emitter, node: Node) -> None:
    out = node.output
    if out.block:
        _blocked_binary(to, node)
        return
    bases = [resolve(each) for each in node.inputs]
    steps = [spread_steps(each, out.shape) for each in node.inputs]
    # The result is dense: its steps must merge wherever those of the operands do.
    sizes, (x, y, _) = collapsed(out.shape, *steps, dense_steps(out.shape))
    a, b = [to.homes.place_at(base, region.offset) for base, region in bases]
    to.plan.binary(node.settings["function"], to.place(out), a, b, sizes, x, y, out.dtype)


def _blocked_binary(to: _Emitter, node: Node) -> None:
    """Add a step whose second operand is an image of the same size, or one pixel for all."""
    out = node.output
    a, b = node.inputs
    sizes: tuple[int, ...] = (out.stored,)
    x: tuple[int, ...] = (1,)
    y: tuple[int, ...] = (1,)
    if a.shape != b.shape:
        block, pixels = out.block, math.prod(out.shape[2:])
        sizes = (out.stored // (block * pixels), pixels, block)
        x, y = (block * pixels, block, 1), (block, 0, 1)
    places = (to.place(out), to.place(a), to.place(b))
    to.plan.binary(node.settings["function"], *places, sizes, x, y, out.dtype)


def _blocked_pool(to: _Emitter, node: Node) -> None:
    done, src, out = node.settings, node.inputs[0], node.output
    places = (to.place(out), to.place(src))
    if done["kind"] == "adaptive_avg":
        to.plan.reorder("mean", *places, _planes(src), out.dtype)
        return
    counted = (done.get("count_include_pad", True), done.get("divisor", 0))
    to.plan.blocked_pool(
        done["kind"], *places, src.shape, out.shape[2:], done["windows"], *counted, out.dtype
    )


def _pool(to: _Emitter, node: Node) -> None:
    done, src, out = node.settings, node.inputs[0], node.output
    if src.block:
        _blocked_pool(to, node)
        return
    dims = done.get("dims", 2)
    lead = len(src.shape) - dims
    planes, inner = math.prod(src.shape[:lead]), src.shape[lead:]
    rows, columns = math.prod(inner[:-1]), inner[-1]
    plane = (1, 1) if "dims" in done else out.shape[lead:]
    to.plan.pool(
        done["kind"],
        to.place(out),
        to.place(src),
        (planes, rows, columns),
        plane,
        done["windows"],
        done.get("count_include_pad", True),
        done.get("divisor", 0),
        out.dtype,
    )


def _log_softmax(to: _Emitter, node: Node) -> None:
    axis, out = node.settings["axis"], node.output
    sizes = (math.prod(out.shape[:axis]), out.shape[axis], math.prod(out.shape[axis + 1 :]))
    to.plan.log_softmax(to.place(out), to.place(node.inputs[0]), sizes, out.dtype)


def _matmul(to: _Emitter, node: Node) -> None:
    a, b = node.inputs
    out = node.output
    sizes = (math.prod(out.shape[:-2]), out.shape[-2], out.shape[-1], a.shape[-1])
    to.plan.matmul(to.place(out), to.place(a), to.place(b), sizes, out.dtype)


def _cat(to: _Emitter, node: Node) -> None:
    axis, out = node.settings["axis"], node.output
    if out.block:
        _blocked_cat(to, node)
        return
    steps = dense_steps(out.shape)
    start = 0
    for part in node.inputs:
        if part.size and not to.homes.is_inside(part, out):
            to.copy(part, out, Region(start * steps[axis], part.shape, steps))
        start += part.shape[axis]


def _blocked_cat(to: _Emitter, node: Node) -> None:
    """Parts hold whole blocks, so that those of one image lie in a row."""
    out = node.output
    n, image, start = out.shape[0], out.stored // out.shape[0], 0
    for part in node.inputs:
        size = part.stored // n
        if not to.homes.is_inside(part, out):
            to.plan.copy(
                to.homes.place_at(out, start),
                to.place(part),
                (n, size),
                (size, 1),
                (image, 1),
                out.dtype,
            )
        start += size


def _pad(to: _Emitter, node: Node) -> None:
    src, out = node.inputs[0], node.output
    steps = dense_steps(out.shape)
    offset = sum(low * step for (low, _), step in zip(node.settings["widths"], steps, strict=True))
    to.plan.fill(to.place(out), out.size, node.settings["value"], out.dtype)
    to.copy(src, out, Region(offset, src.shape, steps))


def _copy(to: _Emitter, node: Node) -> None:
    to.copy(node.inputs[0], node.output, Region.whole(node.output.shape))


def _write(to: _Emitter, node: Node) -> None:
    whole, part = node.inputs
    out = node.output
    if math.prod(whole.shape) == out.size:
        to.copy(whole, out, Region.whole(whole.shape))
    to.copy(part, out, node.settings["region"])


_STEPS: dict[str, Callable[[_Emitter, Node], None]] = {
    "affine": _affine,
    "binary": _binary,
    "cat": _cat,
    "conv2d": _conv2d,
    "copy": _copy,
    "linear": _linear,
    "log_softmax": _log_softmax,
    "matmul": _matmul,
    "pad": _pad,
    "pair": _pair,
    "pointwise": _pointwise,
    "pool": _pool,
    "reorder": _reorder,
    "write": _write,
}
