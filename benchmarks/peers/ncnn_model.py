"""A graph as ncnn's param text and weight file.

As pnnx does, batch norms are folded into the convolution before them and a relu becomes the
activation of the layer before it; a value that is used twice goes through a Split layer.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from benchmarks.graph import Array, Graph, Node
from benchmarks.turns import Skip

__all__ = ["folded", "ncnn_files"]

# Activation types of Convolution and InnerProduct, with their parameters.
ACTIVATIONS = {"relu": "9=1", "relu6": "9=3 -23310=2,0.0,6.0"}
PLAIN = {"relu": "ReLU", "sigmoid": "Sigmoid", "silu": "Swish"}
FIXED = {
    "relu6": ("Clip", "0=0.0 1=6.0"),
    "hardswish": ("HardSwish", "0=0.166666667 1=0.5"),
    "hardsigmoid": ("HardSigmoid", "0=0.166666667 1=0.5"),
    "log_softmax": ("Softmax", "0=0 1=1"),
    "flatten": ("Flatten", ""),
    "avg_pool2d": ("Pooling", "0=1 4=1"),
    "add": ("BinaryOp", "0=0"),
    "mul": ("BinaryOp", "0=2"),
    "cat": ("Concat", "0=0"),
}


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _fold_norm(conv: Node, norm: Node) -> Node:
    w = {name: np.asarray(value, np.float64) for name, value in norm.weights.items()}
    weight, bias = conv.weights["weight"], conv.weights.get("bias")
    assert weight is not None
    scale = w["weight"] / np.sqrt(w["running_var"] + norm.attributes["eps"])
    shift = w["bias"] + scale * ((0 if bias is None else bias) - w["running_mean"])
    weights: dict[str, Array | None] = {
        "weight": (weight * scale[:, None, None, None]).astype(np.float32),
        "bias": shift.astype(np.float32),
    }
    return Node(norm.name, conv.op, conv.inputs, conv.attributes, weights)


def folded(graph: Graph) -> Graph:
    """Return the graph with norms and activations folded into what comes before them."""
    nodes: dict[str, Node] = {}
    for node in graph.nodes:
        before = nodes.get(node.inputs[0])
        alone = before is not None and len(graph.users(before.name)) == 1
        if before and alone and node.op == "batch_norm" and before.op == "conv2d":
            del nodes[before.name]
            nodes[node.name] = _fold_norm(before, node)
        elif (
            before
            and alone
            and node.op in ACTIVATIONS
            and before.op in ("conv2d", "linear")
            and "activation" not in before.attributes
        ):
            del nodes[before.name]
            attributes = {**before.attributes, "activation": node.op}
            nodes[node.name] = Node(node.name, before.op, before.inputs, attributes, before.weights)
        else:
            nodes[node.name] = node
    return Graph(list(nodes.values()), graph.input)


class _Writer:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.blobs = 0
        self.vectors: set[str] = set()  # values that global pooling left without a plane
        self.weights: list[bytes] = []

    def layer(self, kind: str, name: str, inputs: list[str], outputs: list[str], rest: str) -> None:
        self.blobs += len(outputs)
        counts = f"{len(inputs)} {len(outputs)}"
        blobs = " ".join([*inputs, *outputs])
        self.lines.append(f"{kind} {name} {counts} {blobs} {rest}".rstrip())

    def floats(self, values: Array, tagged: bool = False) -> None:
        if tagged:
            self.weights.append(struct.pack("<I", 0))  # raw float32 follows
        self.weights.append(np.ascontiguousarray(values, "<f4").tobytes())

    def write(self, node: Node, inputs: list[str], output: str) -> None:
        a = node.attributes
        if node.op == "avg_pool2d" or self.vectors.issuperset(node.inputs):
            self.vectors.add(node.name)
        if node.op == "linear" or (node.op == "conv2d" and node.name in self.vectors):
            self.product(node, inputs, output)
        elif node.op == "conv2d":
            self.convolution(node, inputs, output)
        elif node.op == "max_pool2d":
            (kh, kw), (sh, sw), (ph, pw) = (
                _pair(a[key]) for key in ("kernel_size", "stride", "padding")
            )
            mode = 0 if a["ceil_mode"] else 1
            rest = f"0=0 1={kw} 11={kh} 2={sw} 12={sh} 3={pw} 13={ph} 5={mode}"
            self.layer("Pooling", node.name, inputs, [output], rest)
        elif node.op == "subsample":
            rest = f"0=0 1=1 2={a['stride']} 5=1"
            self.layer("Pooling", node.name, inputs, [output], rest)
        elif node.op == "pad_channels":
            rest = f"4=0 5=0.0 7={a['channels']} 8={a['channels']}"
            self.layer("Padding", node.name, inputs, [output], rest)
        elif node.op == "log_softmax":
            self.layer("Softmax", node.name, inputs, [f"{output}.p"], FIXED[node.op][1])
            self.layer("UnaryOp", f"{node.name}.log", [f"{output}.p"], [output], "0=8")
        elif node.op in PLAIN:
            self.layer(PLAIN[node.op], node.name, inputs, [output], "")
        elif node.op in FIXED:
            kind, rest = FIXED[node.op]
            self.layer(kind, node.name, inputs, [output], rest)
        else:
            raise Skip(f"no ncnn layer is known here for {node.op}")

    def product(self, node: Node, inputs: list[str], output: str) -> None:
        """Write a linear layer, or a convolution of a value without a plane, which is one."""
        weight, bias = node.weights["weight"], node.weights.get("bias")
        assert weight is not None
        rest = f"0={weight.shape[0]} 1={int(bias is not None)} 2={weight.size} "
        rest += ACTIVATIONS.get(node.attributes.get("activation", ""), "")
        self.layer("InnerProduct", node.name, inputs, [output], rest)
        self.floats(weight, tagged=True)
        if bias is not None:
            self.floats(bias)

    def convolution(self, node: Node, inputs: list[str], output: str) -> None:
        weight, bias = node.weights["weight"], node.weights.get("bias")
        assert weight is not None
        a, (oc, _, kh, kw) = node.attributes, weight.shape
        (sh, sw), (ph, pw), (dh, dw) = (_pair(a[k]) for k in ("stride", "padding", "dilation"))
        rest = f"0={oc} 1={kw} 11={kh} 2={dw} 12={dh} 3={sw} 13={sh} 4={pw} 14={ph} "
        rest += f"5={int(bias is not None)} 6={weight.size} "
        kind = "Convolution"
        if a["groups"] > 1:
            kind, rest = "ConvolutionDepthWise", f"{rest}7={a['groups']} "
        rest += ACTIVATIONS.get(a.get("activation", ""), "")
        self.layer(kind, node.name, inputs, [output], rest)
        self.floats(weight, tagged=True)
        if bias is not None:
            self.floats(bias)


def ncnn_files(graph: Graph) -> tuple[str, bytes]:
    """Return the param text and the bytes of the weight file."""
    graph = folded(graph)
    writer = _Writer()
    copies: dict[str, list[str]] = {}

    def share(name: str) -> None:
        users = sum(node.inputs.count(name) for node in graph.nodes)
        if users > 1:
            copies[name] = [f"{name}.{i}" for i in range(users)]
            writer.layer("Split", f"{name}.split", [name], list(copies[name]), "")

    writer.layer("Input", graph.input, [], [graph.input], "")
    share(graph.input)
    for node in graph.nodes:
        inputs = [copies[name].pop() if name in copies else name for name in node.inputs]
        writer.write(node, inputs, node.name)
        share(node.name)
    head = f"7767517\n{len(writer.lines)} {writer.blobs}\n"
    return head + "\n".join(writer.lines) + "\n", b"".join(writer.weights)
