"""A graph as an ONNX model in memory, for the runtimes that read ONNX."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from benchmarks.graph import Graph, Node

__all__ = ["onnx_bytes"]

OPSET, IR_VERSION = 17, 8
PLAIN = {
    "relu": "Relu",
    "sigmoid": "Sigmoid",
    "add": "Add",
    "mul": "Mul",
    "avg_pool2d": "GlobalAveragePool",
}


def _pair(value: Any) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)


class _Writer:
    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, name: str, value: Any) -> str:
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self.nodes.append(helper.make_node(kind, inputs, [output], output, **attributes))

    def weights(self, node: Node, *names: str) -> list[str]:
        found = [(name, node.weights.get(name)) for name in names]
        return [self.constant(f"{node.name}.{n}", value) for n, value in found if value is not None]

    def extra(self, name: str, *values: Any) -> list[str]:
        """Return the names of constants that an operation takes as inputs."""
        arrays = [np.asarray(value) for value in values]
        return [self.constant(f"{name}.{i}", array) for i, array in enumerate(arrays)]

    def write(self, node: Node) -> None:
        a, inputs, name = node.attributes, node.inputs, node.name
        if node.op in PLAIN:
            self.add(PLAIN[node.op], inputs, name)
        elif node.op == "conv2d":
            self.add(
                "Conv",
                inputs + self.weights(node, "weight", "bias"),
                name,
                strides=_pair(a["stride"]),
                pads=_pair(a["padding"]) * 2,
                dilations=_pair(a["dilation"]),
                group=a["groups"],
            )
        elif node.op == "batch_norm":
            weights = self.weights(node, "weight", "bias", "running_mean", "running_var")
            self.add("BatchNormalization", inputs + weights, name, epsilon=a["eps"])
        elif node.op == "linear":
            weights = self.weights(node, "weight", "bias")
            self.add("Gemm", inputs + weights, name, transB=1)
        elif node.op == "max_pool2d":
            self.add(
                "MaxPool",
                inputs,
                name,
                kernel_shape=_pair(a["kernel_size"]),
                strides=_pair(a["stride"]),
                pads=_pair(a["padding"]) * 2,
                ceil_mode=int(a["ceil_mode"]),
            )
        else:
            self.write_rest(node)

    def write_rest(self, node: Node) -> None:
        inputs, name = node.inputs, node.name
        if node.op == "flatten":
            self.add("Flatten", inputs, name, axis=1)
        elif node.op == "cat":
            self.add("Concat", inputs, name, axis=1)
        elif node.op == "log_softmax":
            self.add("LogSoftmax", inputs, name, axis=1)
        elif node.op == "relu6":
            low, high = np.array(0, np.float32), np.array(6, np.float32)
            self.add("Clip", [*inputs, *self.extra(name, low, high)], name)
        elif node.op == "subsample":
            step = node.attributes["stride"]
            starts, ends, axes, steps = [0, 0], [2**31, 2**31], [2, 3], [step, step]
            self.add("Slice", [*inputs, *self.extra(name, starts, ends, axes, steps)], name)
        elif node.op == "pad_channels":
            count = node.attributes["channels"]
            widths = [0, count, 0, 0, 0, count, 0, 0]
            self.add("Pad", [*inputs, *self.extra(name, widths)], name)
        elif node.op == "hardswish":
            self.add("HardSwish", inputs, name)
        elif node.op == "hardsigmoid":
            self.add("HardSigmoid", inputs, name, alpha=1 / 6, beta=0.5)
        elif node.op == "silu":
            self.add("Sigmoid", inputs, f"{name}.sigmoid")
            self.add("Mul", [*inputs, f"{name}.sigmoid"], name)
        else:
            raise ValueError(f"no ONNX operation is known for {node.op}")


def onnx_bytes(graph: Graph, shape: tuple[int, ...]) -> bytes:
    """Return the model, with its input shape fixed, as a file's bytes."""
    writer = _Writer()
    for node in graph.nodes:
        writer.write(node)
    source = helper.make_tensor_value_info(graph.input, TensorProto.FLOAT, shape)
    target = helper.make_tensor_value_info(graph.output, TensorProto.FLOAT, None)
    body = helper.make_graph(writer.nodes, "net", [source], [target], writer.constants)
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(body, opset_imports=[opset], ir_version=IR_VERSION)
    return bytes(model.SerializeToString())
