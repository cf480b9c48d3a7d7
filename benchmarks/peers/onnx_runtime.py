"""ONNX Runtime: the CPU provider, input and output bound to memory that is there already."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime

from benchmarks.graph import Array, Graph
from benchmarks.peers import Runner
from benchmarks.peers.onnx_model import onnx_bytes

_options: Any = None


def start(threads: int) -> None:
    global _options
    onnxruntime.set_default_logger_severity(3)
    _options = onnxruntime.SessionOptions()
    _options.intra_op_num_threads = threads
    _options.inter_op_num_threads = 1
    _options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL


def from_files(folder: Path, x: Array) -> Callable[[], Any]:
    """Return a run of the net in ``net.onnx``."""
    path = str(folder / "net.onnx")
    session = onnxruntime.InferenceSession(path, _options, providers=["CPUExecutionProvider"])
    source = {session.get_inputs()[0].name: x}
    return lambda: session.run(None, source)


def network(graph: Graph, x: Array) -> Runner:
    """Return the session's run with bound memory."""
    model = onnx_bytes(graph, x.shape)
    session = onnxruntime.InferenceSession(model, _options, providers=["CPUExecutionProvider"])
    source = onnxruntime.OrtValue.ortvalue_from_numpy(x)
    binding = session.io_binding()
    binding.bind_ortvalue_input(graph.input, source)
    result = session.run(None, {graph.input: x})[0]
    target = onnxruntime.OrtValue.ortvalue_from_numpy(result)
    binding.bind_ortvalue_output(graph.output, target)
    return Runner(lambda: session.run_with_iobinding(binding), lambda _: target.numpy())
