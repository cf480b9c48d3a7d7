"""Peak memory of one inference, and how soon it comes, each library in a fresh process.

The peak is the growth of the resident set, from before the net is loaded from a file (the library
is imported) to its highest point while the net runs three times. `rushlight` is a compiled net that
lets the parameters go (``release_source=True``). Loading is what a library does with the file, the
first call the first inference, in which Rushlight compiles; both with one thread.
"""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["report"]

ROOT = Path(__file__).resolve().parent.parent
LIBRARIES = ("rushlight", "eager", "torch", "onnxruntime", "openvino", "ncnn")
MIB = 2**20


def must_hold(name: str, shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the bytes of the weights, and those of the activations at the widest point.

    Counted as eager execution must hold them: at each operation its output and all that it or a
    later one still needs, the input of a residual block for instance.
    """
    from benchmarks import nets

    graph = nets.graph_of(name, shape)
    weights = sum(w.nbytes for node in graph.nodes for w in node.weights.values() if w is not None)
    size = {graph.input: 4 * math.prod(shape)}
    size.update({node.name: 4 * math.prod(node.shape) for node in graph.nodes})
    last = {source: node.name for node in graph.nodes for source in node.inputs}
    alive, most = {graph.input}, 0
    for node in graph.nodes:
        alive.add(node.name)
        most = max(most, sum(size[name] for name in alive))
        alive -= {source for source in node.inputs if last[source] == node.name}
    return weights, most


def report(name: str, shape: tuple[int, ...], libraries: list[str]) -> str:
    """Return a line per library: its peak beside what eager execution must hold."""
    weights, activations = must_hold(name, shape)
    needed = weights + activations
    lines = [
        f"peak memory of {name}: weights {weights / MIB:.1f} MiB + activations"
        f" {activations / MIB:.1f} MiB = {needed / MIB:.1f} MiB; growth while the net is loaded and"
        " runs, and the whole process"
    ]
    with tempfile.TemporaryDirectory() as folder:
        _write_files(name, shape, Path(folder))
        for library in libraries:
            if library not in LIBRARIES:
                continue
            command = [sys.executable, "-m", "benchmarks.memory", library, name, folder]
            command += map(str, shape)
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
            peak, whole, loading, first = map(float, done.stdout.split()[-4:])
            lines.append(
                f"  {library:<12} {peak / MIB:7.1f} MiB, {peak / needed:.2f} times that; process"
                f" {whole / MIB:7.1f} MiB; loading {loading:.2f} s, first call {first:.2f} s"
            )
    return "\n".join(lines)


def _write_files(name: str, shape: tuple[int, ...], folder: Path) -> None:
    """Write the net as each library reads it."""
    import rushlight
    from benchmarks import nets

    rushlight.save(nets.in_rushlight(name, shape).state_dict(), folder / "net.safetensors")
    graph = nets.graph_of(name, shape)
    try:
        from benchmarks.peers.onnx_model import onnx_bytes

        (folder / "net.onnx").write_bytes(onnx_bytes(graph, shape))
    except ImportError:
        pass
    from benchmarks.peers.ncnn_model import ncnn_files

    param, weights = ncnn_files(graph)
    (folder / "net.param").write_text(param, encoding="ascii")
    (folder / "net.bin").write_bytes(weights)


def _status(field: str) -> int:
    """Return a field of this process's status, in bytes."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {field}")


def _module(library: str, name: str, folder: Path) -> Callable[[Any], Any]:
    """Return a net of modules with the weights of the file."""
    if library == "torch":
        import safetensors.torch

        from benchmarks.nets import ported

        net = ported().get_model(name)
        net.load_state_dict(safetensors.torch.load_file(folder / "net.safetensors"))
        return net.eval()  # type: ignore[no-any-return]
    import rushlight
    from rushlight import models

    with rushlight.nn.init.skipped():
        net = models.get_model(name)
    net.load_state_dict(rushlight.load(folder / "net.safetensors"), assign=True)
    net.eval()
    return rushlight.compile(net, release_source=True) if library == "rushlight" else net


def _runner(library: str, name: str, folder: Path, shape: tuple[int, ...]) -> Callable[[], Any]:
    from benchmarks.peers import adapter

    x = np.random.default_rng(1).standard_normal(shape, np.float32)
    if library in ("rushlight", "eager", "torch"):
        peer = adapter(library, 1)
        net = _module(library, name, folder)
        source = peer.engine.from_numpy(x)
        return lambda: net(source)
    return adapter(library, 1).from_files(folder, x)  # type: ignore[no-any-return]


def _measure(
    library: str, name: str, folder: Path, shape: tuple[int, ...]
) -> tuple[int, int, float, float]:
    """Return bytes that were added at the peak, bytes in all, and seconds to load and to call."""
    from benchmarks.peers import adapter

    adapter(library, 1)
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts afresh
    start = time.perf_counter()
    run = _runner(library, name, folder, shape)
    loaded = time.perf_counter()
    run()
    first = time.perf_counter() - loaded
    for _ in range(2):
        run()
    return _status("VmHWM") - before, _status("VmHWM"), loaded - start, first


if __name__ == "__main__":
    print(*_measure(sys.argv[1], sys.argv[2], Path(sys.argv[3]), tuple(map(int, sys.argv[4:]))))
