"""ncnn: param and bin written from the graph as its converter pnnx would, float32 throughout."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
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


def _loaded(folder: Path) -> Any:
    net = ncnn.Net()
    _options(net)
    for load, name in ((net.load_param, "net.param"), (net.load_model, "net.bin")):
        if load(str(folder / name)) != 0:
            raise Skip("the net does not load")
    return net


def _run(net: Any, names: tuple[str, str], source: Any) -> Any:
    extractor = net.create_extractor()
    extractor.input(names[0], source)
    code, result = extractor.extract(names[1])
    if code != 0:
        raise RuntimeError(f"ncnn: extract gave {code}")
    return result


def from_files(folder: Path, x: Array) -> Callable[[], Any]:
    """Return a run of the net in ``net.param`` and ``net.bin``."""
    net = _loaded(folder)
    names = (net.input_names()[0], net.output_names()[0])
    source = ncnn.Mat(np.ascontiguousarray(x[0])).clone()
    return lambda: _run(net, names, source)


def network(graph: Graph, x: Array) -> Runner:
    """Return an extractor's run: ncnn's images have no batch."""
    if x.shape[0] != 1:
        raise Skip("no batch")
    param, weights = ncnn_files(graph)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "net.param").write_text(param, encoding="ascii")
        Path(folder, "net.bin").write_bytes(weights)
        net = _loaded(Path(folder))
    source = ncnn.Mat(np.ascontiguousarray(x[0])).clone()
    names = (graph.input, graph.output)
    return Runner(lambda: _run(net, names, source), lambda result: np.array(result)[None])
