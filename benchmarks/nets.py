"""Whole nets in every library: the same weights, from Rushlight's model files.

PyTorch runs those very files with its own imports in place of Rushlight's; the runtimes that want
a graph get it by tracing PyTorch's module with ``torch.fx``.
"""

from __future__ import annotations

import functools
import importlib
import operator
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import rushlight
import rushlight.models
from benchmarks.graph import Graph, Node
from benchmarks.turns import Skip

__all__ = ["graph_of", "in_float64", "in_rushlight", "in_torch", "inputs", "ported"]

# What an import line says in Rushlight's model files, and what it says for PyTorch.
IMPORTS = {
    r"from rushlight\.models\b": "from nets_for_torch",
    r"from rushlight\.(tensor|ops|serialization) import": "from torch import",
    r"from rushlight\.nn\b": "from torch.nn",
    r"from rushlight import nn$": "from torch import nn",
}


def inputs(shape: tuple[int, ...]) -> Any:
    """Return images from a normal distribution, the same for every library."""
    return np.random.default_rng(1).standard_normal(shape, np.float32)


def in_rushlight(name: str, shape: tuple[int, ...]) -> Any:
    """Return the net, in evaluation mode, with batch norms that have seen a batch."""
    if name not in rushlight.models.list_models():
        raise Skip("rushlight.models has no such net")
    rushlight.manual_seed(0)
    net = rushlight.models.get_model(name)
    rng = np.random.default_rng(2)
    for module in net.modules():
        if isinstance(module, rushlight.nn.BatchNorm2d):
            module.momentum = 1.0  # the running statistics become this batch's
    batch = rng.standard_normal((4, *shape[1:]), np.float32)
    with rushlight.no_grad():
        net.train()
        net(rushlight.tensor(batch))
    return net.eval()


def in_float64(name: str, shape: tuple[int, ...]) -> Any:
    """Return the net's output for `inputs`, computed by Rushlight in float64."""
    net = in_rushlight(name, shape).double()
    with rushlight.no_grad():
        return net(rushlight.tensor(inputs(shape)).double()).numpy()


@functools.cache
def ported() -> Any:
    folder = tempfile.TemporaryDirectory()
    package = Path(folder.name, "nets_for_torch")
    package.mkdir()
    for path in Path(rushlight.models.__file__).parent.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        for pattern, replacement in IMPORTS.items():
            text = re.sub(f"^{pattern}", replacement, text, flags=re.MULTILINE)
        (package / path.name).write_text(text, encoding="utf-8")
    sys.path.insert(0, folder.name)
    try:
        return importlib.import_module("nets_for_torch")
    finally:
        sys.path.remove(folder.name)
        folder.cleanup()


def in_torch(name: str, shape: tuple[int, ...]) -> Any:
    """Return PyTorch's module with the weights of `in_rushlight`."""
    try:
        import torch
    except ImportError as error:
        raise Skip("whole nets come from PyTorch's tracer, and PyTorch is not installed") from error
    state = in_rushlight(name, shape).state_dict()
    net = ported().get_model(name)
    net.load_state_dict({key: torch.tensor(value.numpy()) for key, value in state.items()})
    return net.eval()


def _arrays(module: Any, *names: str) -> dict[str, Any]:
    found = {name: getattr(module, name) for name in names}
    return {n: None if v is None else v.detach().numpy().copy() for n, v in found.items()}


def _module_node(name: str, module: Any, sources: list[str]) -> Node | None:
    """Return the node of a leaf module; None where it passes its input on."""
    kind = type(module).__name__
    if kind in ("Dropout", "Dropout2d", "Identity"):
        return None
    if kind == "Conv2d":
        keys = ("stride", "padding", "dilation", "groups")
        attributes = {key: getattr(module, key) for key in keys}
        return Node(name, "conv2d", sources, attributes, _arrays(module, "weight", "bias"))
    if kind == "BatchNorm2d":
        weights = _arrays(module, "weight", "bias", "running_mean", "running_var")
        return Node(name, "batch_norm", sources, {"eps": module.eps}, weights)
    if kind == "Linear":
        return Node(name, "linear", sources, {}, _arrays(module, "weight", "bias"))
    if kind == "MaxPool2d":
        keys = ("kernel_size", "stride", "padding", "ceil_mode")
        return Node(name, "max_pool2d", sources, {key: getattr(module, key) for key in keys})
    plain = {
        "ReLU": "relu",
        "ReLU6": "relu6",
        "Hardswish": "hardswish",
        "Hardsigmoid": "hardsigmoid",
        "SiLU": "silu",
        "Sigmoid": "sigmoid",
        "Flatten": "flatten",
    }
    if kind in plain:
        return Node(name, plain[kind], sources)
    if kind == "AdaptiveAvgPool2d":
        return Node(name, "adaptive_avg_pool2d", sources, {"output_size": module.output_size})
    raise Skip(f"no node is known for {kind}")


def _function_node(name: str, function: str, call: Any, sources: list[str]) -> Node | None:
    if function == "dropout":
        return None
    if function in ("relu", "add", "mul", "flatten", "log_softmax", "relu_"):
        return Node(name, function.rstrip("_"), sources)
    if function == "getitem":
        steps = [part.step or 1 for part in call.args[1]]
        return Node(name, "subsample", sources, {"stride": steps[-1]})
    if function == "pad":
        return Node(name, "pad_channels", sources, {"channels": call.args[1][-1]})
    if function == "cat":
        return Node(name, "cat", [str(node) for node in call.args[0]])
    if function == "adaptive_avg_pool2d":
        return Node(name, function, sources, {"output_size": call.args[1]})
    if function in ("max_pool2d", "fn"):  # the latter is what torch.fx sees of F.max_pool2d
        given = dict(zip(("kernel_size", "stride", "padding"), call.args[1:], strict=False))
        settings = {"stride": None, "padding": 0, "ceil_mode": False, **call.kwargs, **given}
        settings["stride"] = settings["stride"] or settings["kernel_size"]
        keys = ("kernel_size", "stride", "padding", "ceil_mode")
        return Node(name, "max_pool2d", sources, {key: settings[key] for key in keys})
    raise Skip(f"no node is known for {function}")


def _resolve_pooling(node: Node, image: tuple[int, ...]) -> Node | None:
    """An adaptive pooling is one over the whole image, or none at all."""
    size = node.attributes["output_size"]
    size = (size, size) if isinstance(size, int) else tuple(size)
    if size == image:
        return None
    if size != (1, 1):
        raise Skip(f"adaptive pooling from {image} to {size}")
    return Node(node.name, "avg_pool2d", node.inputs)


def graph_of(name: str, shape: tuple[int, ...]) -> Graph:
    """Return the net as a graph with the same weights."""
    net = in_torch(name, shape)
    import torch.fx
    from torch.fx.passes.shape_prop import ShapeProp

    traced = torch.fx.symbolic_trace(net)
    with torch.no_grad():
        ShapeProp(traced).propagate(torch.zeros(shape))
    nodes: list[Node] = []
    same: dict[str, str] = {}  # nodes that pass their input on
    modules = dict(traced.named_modules())
    for call in traced.graph.nodes:
        if call.op == "placeholder":
            same[call.name] = "x"
            continue
        if call.op == "output":
            break
        sources = [str(node) for node in call.all_input_nodes]
        if call.op == "call_module":
            node = _module_node(call.name, modules[call.target], sources)
        else:
            target = call.target
            function = target if isinstance(target, str) else target.__name__
            names = {operator.iadd: "add", operator.imul: "mul"}
            node = _function_node(call.name, names.get(target, function), call, sources)
        if node is not None and node.op == "adaptive_avg_pool2d":
            before = call.all_input_nodes[0].meta["tensor_meta"].shape
            node = _resolve_pooling(node, tuple(before[2:]))
        if node is None:
            same[call.name] = same.get(sources[0], sources[0])
        else:
            node.shape = tuple(call.meta["tensor_meta"].shape)
            node.inputs = [same.get(source, source) for source in node.inputs]
            nodes.append(node)
    return Graph(nodes)
