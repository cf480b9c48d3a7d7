"""Peak memory of one inference, each library in a fresh process.

The peak is the growth of the resident set, from before the net is built (the library is imported
and has run something small) to its highest point while the net runs three times.
"""

from __future__ import annotations

import importlib
import math
import subprocess
import sys
from pathlib import Path

__all__ = ["report"]

ROOT = Path(__file__).resolve().parent.parent
LIBRARIES = ("rushlight", "torch")
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
    """Return a line per library: its peak beside what it must hold."""
    weights, activations = must_hold(name, shape)
    needed = weights + activations
    lines = [
        f"peak memory of {name}: weights {weights / MIB:.1f} MiB + activations"
        f" {activations / MIB:.1f} MiB = {needed / MIB:.1f} MiB"
    ]
    for library in LIBRARIES:
        if library not in libraries:
            continue
        words = [library, name, *map(str, shape)]
        command = [sys.executable, "-m", "benchmarks.memory", *words]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        peak = int(done.stdout.split()[-1])
        lines.append(f"  {library}: {peak / MIB:.1f} MiB, {peak / needed:.2f} times that")
    return "\n".join(lines)


def _status(field: str) -> int:
    """Return a field of this process's status, in bytes."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {field}")


def _measure(library: str, name: str, shape: tuple[int, ...]) -> int:
    from benchmarks.peers import adapter

    peer = adapter(library, 1)
    if library == "rushlight":
        builder = importlib.import_module("rushlight.models").get_model
    else:
        builder = importlib.import_module("benchmarks.nets").ported().get_model
    small = peer.nn.Conv2d(3, 8, 3).eval()
    small(peer.engine.zeros(1, 3, 16, 16))
    before = _status("VmRSS")
    net = builder(name).eval()
    x = peer.engine.rand(*shape)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts afresh
    for _ in range(3):
        net(x)
    return _status("VmHWM") - before


if __name__ == "__main__":
    print(_measure(sys.argv[1], sys.argv[2], tuple(map(int, sys.argv[3:]))))
