"""OpenVINO: latency mode, float32 throughout, input and output tensors set beforehand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openvino

from benchmarks.graph import Array, Graph
from benchmarks.peers import Runner
from benchmarks.peers.onnx_model import onnx_bytes

_core: Any = None
_settings: dict[str, Any] = {}


def start(threads: int) -> None:
    global _core
    _core = openvino.Core()
    _settings.update(
        {
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",  # processors with AMX would use bfloat16
        }
    )


def from_files(folder: Path, x: Array) -> Callable[[], Any]:
    """Return a run of the net in ``net.onnx``."""
    model = _core.compile_model(str(folder / "net.onnx"), "CPU", _settings)
    request = model.create_infer_request()
    request.set_input_tensor(openvino.Tensor(x))
    return lambda: request.infer(share_inputs=True, share_outputs=True)


def network(graph: Graph, x: Array) -> Runner:
    """Return an inference request's call."""
    model = _core.read_model(onnx_bytes(graph, x.shape))
    request = _core.compile_model(model, "CPU", _settings).create_infer_request()
    request.set_input_tensor(openvino.Tensor(x))  # a copy, which OpenVINO owns
    return Runner(
        lambda: request.infer(share_inputs=True, share_outputs=True),
        lambda _: np.array(request.get_output_tensor().data),
    )
