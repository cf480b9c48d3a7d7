"""ncnn: param and bin written from the graph as its converter pnnx would, float32 throughout."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import ncnn
import numpy as np

from benchmarks.graph import Array, Graph
from benchmarks.peers import Runner
from benchmarks.peers.ncnn_model import ncnn_files
from benchmarks.turns import Skip

_threads = 1


def start(threads: int) -> None:
    global _threads
    _threads = threads


def _options(net: Any) -> None:
    net.opt.num_threads = _threads
    net.opt.use_vulkan_compute = False
    for width in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage", "bf16_packed"):
        setattr(net.opt, f"use_{width}", False)


def network(graph: Graph, x: Array) -> Runner:
    """Return an extractor's run: ncnn's images have no batch."""
    if x.shape[0] != 1:
        raise Skip("no batch")
    net = ncnn.Net()
    _options(net)
    param, weights = ncnn_files(graph)
    with tempfile.TemporaryDirectory() as folder:
        paths = Path(folder, "net.param"), Path(folder, "net.bin")
        paths[0].write_text(param, encoding="ascii")
        paths[1].write_bytes(weights)
        if net.load_param(str(paths[0])) != 0 or net.load_model(str(paths[1])) != 0:
            raise Skip("the net does not load")
    source = ncnn.Mat(np.ascontiguousarray(x[0])).clone()

    def run() -> Any:
        extractor = net.create_extractor()
        extractor.input(graph.input, source)
        code, result = extractor.extract(graph.output)
        if code != 0:
            raise RuntimeError(f"ncnn: extract gave {code}")
        return result

    return Runner(run, lambda result: np.array(result)[None])
