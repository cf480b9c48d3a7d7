"""From recorded calls to the operations that a plan has steps for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rushlight.autograd.base import wrap
from rushlight.compiler.graph import Graph, Node, Slot, Value
from rushlight.compiler.views import Region, reshaped
from rushlight.dtypes import Array
from rushlight.ops.activation import (
    Hardsigmoid,
    Hardswish,
    Hardtanh,
    LeakyRelu,
    LogSoftmax,
    Relu,
    Relu6,
    Softmax,
    SteepLeakyRelu,
)
from rushlight.ops.binary import Add, Div, Mul, Sub
from rushlight.ops.combining import Cat
from rushlight.ops.conv import Conv2d
from rushlight.ops.elementwise import Clamp
from rushlight.ops.indexing import GetItem
from rushlight.ops.linear import Linear, MatMul
from rushlight.ops.norm import BatchNorm
from rushlight.ops.padding import ConstantPad
from rushlight.ops.pooling import AdaptiveAvgPool2D, AvgPool2D, MaxPool2DWithIndices
from rushlight.ops.reduction import Mean
from rushlight.ops.shape import Expand, Permute, Reshape
from rushlight.ops.smooth import Elu, Gelu, Silu, TanhGelu
from rushlight.ops.unary import Exp, Sigmoid, Tanh

__all__ = ["lower"]

_INFINITY = float("inf")
_POINTWISE = {
    Elu: "elu",
    Exp: "exp",
    Gelu: "gelu",
    TanhGelu: "gelu_tanh",
    Hardsigmoid: "hardsigmoid",
    Hardswish: "hardswish",
    LeakyRelu: "leaky_relu",
    SteepLeakyRelu: "leaky_relu",
    Sigmoid: "sigmoid",
    Silu: "silu",
    Tanh: "tanh",
}
_BINARY = {Add: "add", Sub: "sub", Mul: "mul", Div: "div"}
_VIEWS = (Permute, Expand, GetItem)


def lower(graph: Graph) -> None:
    """Put operations of plans in the place of the recorded calls that have one."""
    lowering = _Lowering(graph)
    for node in graph.nodes:
        lowering.visit(node)
    graph.nodes = lowering.nodes
    graph.replace(lowering.changes)


class _Lowering:
    """The pass over the nodes, with what the views among them stand for."""

    def __init__(self, graph: Graph) -> None:
        self.nodes: list[Node] = []
        self.changes: dict[Value, Value] = {}
        self._counts = graph.counts()
        self._regions: dict[Value, tuple[Value, Region]] = {}

    def visit(self, node: Node) -> None:
        """Append what takes the place of a node, or the node itself."""
        node.inputs = [self.changes.get(each, each) for each in node.inputs]
        found = self._lowered(node) if _is_native(node) else None
        if found is None:
            self.nodes.append(node)
        elif found is not node.output:
            self.changes[node.output] = found

    def _lowered(self, node: Node) -> Value | None:
        """Return the value that is the node's output, made by nodes that plans know."""
        if node.op == "view":
            return self._view(node, node.inputs[0], node.settings["region"])
        if node.op != "call":
            self.nodes.append(node)
            return node.output
        operation = node.settings["operation"]
        if operation is Reshape:
            return self._reshape(node)
        if operation in _VIEWS:
            return self._strided(node)
        rule = _RULES.get(operation)
        return None if rule is None else rule(self, node, _arguments(node))

    def add(
        self, source: Node, op: str, inputs: list[Value], name: str = "", **settings: Any
    ) -> Value:
        """Append a node in the place of `source`; return its output."""
        fused = [name] if name else list(source.fused)
        node = Node(op, inputs, [], settings, source.module, fused)
        self.nodes.append(node)
        return node.makes(source.output.shape, source.output.dtype)

    def unused(self, value: Value) -> bool:
        """Return whether nobody reads a value."""
        return not self._counts.get(value)

    # -- views --------------------------------------------------------------------------------

    def _region(self, value: Value) -> tuple[Value, Region]:
        return self._regions.get(value) or (value, Region.whole(value.shape))

    def _view(self, node: Node, base: Value, region: Region) -> Value:
        if region == Region.whole(base.shape):
            return base
        inner, outer = self._region(base)
        if inner is not base:
            if not outer.is_dense:
                # What the region names is the dense form of a view: it has to be made.
                base = self._copy(node, base)
            else:
                base, region = inner, region._replace(offset=region.offset + outer.offset)
        value = self.add(node, "view", [base], region=region)
        self._regions[value] = base, region
        return value

    def _copy(self, node: Node, value: Value) -> Value:
        copy = Node("copy", [value], [], {}, node.module)
        self.nodes.append(copy)
        return copy.makes(value.shape, value.dtype)

    def _reshape(self, node: Node) -> Value:
        source = node.inputs[0]
        base, region = self._region(source)
        found = reshaped(region, node.output.shape)
        if found is None:
            base = self._copy(node, source)
            found = Region.whole(node.output.shape)
        return self._renamed(node, base, found)

    def _strided(self, node: Node) -> Value | None:
        """Let NumPy say what the operation makes of an array laid out like its input."""
        args, _ = node.settings["args"]
        key = args[1]
        if node.settings["operation"] is GetItem and (key.picks is not None or key.tensors):
            return None
        base, region = self._region(node.inputs[0])
        fake = region.fake(base.dtype)
        view: Array = node.settings["operation"]().forward(wrap(fake), *args[1:])
        item = base.dtype.itemsize
        start = view.__array_interface__["data"][0] - fake.__array_interface__["data"][0]
        steps = tuple(step // item for step in view.strides)
        if any(step < 0 for step in steps):
            return None
        found = Region(region.offset + start // item, view.shape, steps)
        return self._renamed(node, base, found)

    def _renamed(self, node: Node, base: Value, region: Region) -> Value:
        if region == Region.whole(base.shape):
            return base
        value = self.add(node, "view", [base], region=region)
        self._regions[value] = base, region
        return value


def _is_native(node: Node) -> bool:
    """Return whether plans can hold what the node reads and makes."""
    used = node.inputs + node.outputs[:1]
    return all(each.dtype.kind == "f" and each.size for each in used)


def _arguments(node: Node) -> list[Any]:
    """Return the recorded arguments: values for tensors, the rest as it is."""
    args, _ = node.settings["args"]
    return [node.inputs[each.number] if isinstance(each, Slot) else each for each in args]


# -- a rule for each operation ----------------------------------------------------------------


def _conv2d(to: _Lowering, node: Node, args: list[Any]) -> Value | None:
    src, weight, bias, stride, padding, dilation, groups = args
    if weight.constant is None or not _optional(bias):
        return None
    return to.add(
        node,
        "conv2d",
        [src],
        weight=weight.constant,
        scale=None,
        shift=_float64(bias),
        stride=tuple(stride),
        padding=tuple(padding),
        dilation=tuple(dilation),
        groups=groups,
    )


def _linear(to: _Lowering, node: Node, args: list[Any]) -> Value | None:
    src, weight, bias = args
    if weight.constant is None or not _optional(bias):
        return None
    return to.add(node, "linear", [src], weight=weight.constant, scale=None, shift=_float64(bias))


def _matmul(to: _Lowering, node: Node, args: list[Any]) -> Value | None:
    a, b = args
    if b.constant is not None and len(b.shape) == 2:
        turned = Value.constant_of(f"{b.constant.name}.T", np.ascontiguousarray(b.constant.array.T))
        return to.add(node, "linear", [a], weight=turned.constant, scale=None, shift=None)
    if len(a.shape) != len(b.shape) or a.shape[:-2] != b.shape[:-2]:
        return None
    return to.add(node, "matmul", [a, b])


def _batch_norm(to: _Lowering, node: Node, args: list[Any]) -> Value | None:
    src, weight, bias, mean, var, training, _, eps = args
    if training or not all(map(_optional, (weight, bias, mean, var))) or len(src.shape) < 2:
        return None
    scale = 1.0 / np.sqrt(var.constant.array.astype(np.float64) + eps)
    if weight is not None:
        scale *= weight.constant.array
    shift = -mean.constant.array.astype(np.float64) * scale
    if bias is not None:
        shift += bias.constant.array
    return to.add(node, "affine", [src], axis=1, scale=scale, shift=shift)


def _clamped(low: float, high: float) -> Callable[[_Lowering, Node, list[Any]], Value]:
    def rule(to: _Lowering, node: Node, args: list[Any]) -> Value:
        return _clamp(to, node, [args[0], low, high])

    return rule


def _clamp(to: _Lowering, node: Node, args: list[Any]) -> Value:
    src, low, high = args
    clamp = (-_INFINITY if low is None else low, _INFINITY if high is None else high)
    return to.add(node, "affine", [src], axis=0, scale=None, shift=None, clamp=clamp)


def _pointwise(to: _Lowering, node: Node, args: list[Any]) -> Value:
    a, b = (*args[1:], 0.0, 0.0)[:2]
    return to.add(
        node, "pointwise", args[:1], function=_POINTWISE[node.settings["operation"]], a=a, b=b
    )


def _binary(to: _Lowering, node: Node, args: list[Any]) -> Value | None:
    name, out = _BINARY[node.settings["operation"]], node.output
    values = [each if isinstance(each, Value) else _number(each, out.dtype) for each in args]
    if any(each.dtype != out.dtype for each in values):
        return None
    a, b = values
    if b.constant is None and a.constant is not None and name in ("add", "mul"):
        a, b = b, a
    if b.constant is not None and a.shape == out.shape:
        found = _per_channel(name, b.constant.array, out.shape)
        if found is not None:
            axis, scale, shift = found
            return to.add(node, "affine", [a], axis=axis, scale=scale, shift=shift)
    if name == "add" and a.shape == b.shape == out.shape and a is not b:
        return to.add(node, "affine", [a, b], axis=0, scale=None, shift=None)
    return to.add(node, "binary", [a, b], function=name)


def _per_channel(
    name: str, factor: Array, shape: tuple[int, ...]
) -> tuple[int, Array | None, Array | None] | None:
    """Return (axis, scale, shift) where an operand differs along one dimension at most."""
    padded = (1,) * (len(shape) - factor.ndim) + factor.shape
    wide = [axis for axis, size in enumerate(padded) if size != 1]
    if len(wide) > 1 or len(padded) != len(shape) or not shape:
        return None
    axis = wide[0] if wide else min(1, len(shape) - 1)
    values = np.broadcast_to(factor.reshape(-1), (shape[axis],)).astype(np.float64)
    if name in ("add", "sub"):
        return axis, None, values if name == "add" else -values
    if name == "div":
        with np.errstate(all="ignore"):
            values = 1.0 / values
    return (axis, values, None) if np.isfinite(values).all() else None


def _max_pool(to: _Lowering, node: Node, args: list[Any]) -> Value | None:
    src, kernel, stride, padding, dilation, _ = args
    if not to.unused(node.outputs[1]):
        return None
    windows = [*kernel, *stride, *padding, *dilation]
    return to.add(node, "pool", [src], "max_pool2d", kind="max", windows=windows)


def _avg_pool(to: _Lowering, node: Node, args: list[Any]) -> Value:
    src, kernel, stride, padding, _, count_include_pad, divisor = args
    return to.add(
        node,
        "pool",
        [src],
        "avg_pool2d",
        kind="avg",
        windows=[*kernel, *stride, *padding, 1, 1],
        count_include_pad=bool(count_include_pad),
        divisor=divisor or 0,
    )


def _adaptive_avg_pool(to: _Lowering, node: Node, args: list[Any]) -> Value:
    src: Value = args[0]
    if src.shape == node.output.shape:  # each mean is of one element
        return src
    return to.add(node, "pool", [src], "adaptive_avg_pool2d", kind="adaptive_avg", windows=[])


def _mean(to: _Lowering, node: Node, args: list[Any]) -> Value | None:
    src, dims, _, dtype = args
    ndim = len(src.shape)
    trailing = tuple(range(ndim - len(dims), ndim))
    if not dims or tuple(sorted(dims)) != trailing or dtype not in (None, src.dtype):
        return None
    return to.add(node, "pool", [src], "mean", kind="adaptive_avg", windows=[], dims=len(dims))


def _log_softmax(to: _Lowering, node: Node, args: list[Any]) -> Value | None:
    src, axis = args
    if not src.shape:
        return None
    value = to.add(node, "log_softmax", [src], axis=axis % len(src.shape))
    if node.settings["operation"] is LogSoftmax:
        return value
    value.node.fused = ["softmax"]  # type: ignore[union-attr]  # just made
    return to.add(node, "pointwise", [value], function="exp", a=0.0, b=0.0)


def _cat(to: _Lowering, node: Node, args: list[Any]) -> Value | None:
    dim, *parts = args
    if any(each.dtype != node.output.dtype for each in parts):
        return None
    return to.add(node, "cat", parts, axis=dim % len(node.output.shape))


def _pad(to: _Lowering, node: Node, args: list[Any]) -> Value | None:
    src, widths, value = args
    if any(width < 0 for pair in widths for width in pair):
        return None
    return to.add(node, "pad", [src], widths=tuple(map(tuple, widths)), value=float(value))


def _optional(value: Value | None) -> bool:
    """Return whether an argument is known now, or left out."""
    return value is None or value.constant is not None


def _float64(value: Value | None) -> Array | None:
    if value is None or value.constant is None:
        return None
    return value.constant.array.astype(np.float64)


def _number(value: Any, dtype: np.dtype[Any]) -> Value:
    return Value.constant_of(repr(value), np.asarray(value, dtype))


_RULES: dict[Any, Callable[[_Lowering, Node, list[Any]], Value | None]] = {
    Conv2d: _conv2d,
    Linear: _linear,
    MatMul: _matmul,
    BatchNorm: _batch_norm,
    Relu: _clamped(0.0, _INFINITY),
    Relu6: _clamp,
    Hardtanh: _clamp,
    Clamp: _clamp,
    MaxPool2DWithIndices: _max_pool,
    AvgPool2D: _avg_pool,
    AdaptiveAvgPool2D: _adaptive_avg_pool,
    Mean: _mean,
    LogSoftmax: _log_softmax,
    Softmax: _log_softmax,
    Cat: _cat,
    ConstantPad: _pad,
    **dict.fromkeys(_POINTWISE, _pointwise),
    **dict.fromkeys(_BINARY, _binary),
}
