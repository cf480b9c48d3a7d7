"""How long 100 MB of weights take to load, and how much memory, beside PyTorch and safetensors.

``python -m benchmarks loading`` writes the files once, then loads each in a new process per round;
the ways take turns. Time is that of the load alone, memory the growth of the peak meanwhile.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

_PROLOGUE = """
import sys, time
def peak():  # of this process alone; what getrusage says includes the parent's
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024
path = sys.argv[1]
"""
_EPILOGUE = """
before, start = peak(), time.perf_counter()
state = load(path)
seconds = time.perf_counter() - start
print(seconds, peak() - before)
"""
_TORCH_COPY = "{k: v.clone() for k, v in torch.load(p, mmap=True, weights_only=True).items()}"
# name: the file, the package that is needed, and the load.
WAYS = {
    "rushlight .pt": ("a.pt", "rushlight", "from rushlight import load"),
    "torch .pt": ("a.pt", "torch", "from torch import load"),
    "torch .pt, mmap and copy": ("a.pt", "torch", f"import torch\nload = lambda p: {_TORCH_COPY}"),
    "rushlight .safetensors": ("a.safetensors", "rushlight", "from rushlight import load"),
    "safetensors .safetensors": (
        "a.safetensors",
        "safetensors",
        "from safetensors.numpy import load_file as load",
    ),
}


def measure(path: Path, code: str) -> tuple[float, float]:
    """Return seconds and megabytes of one load in a new process."""
    command = [sys.executable, "-c", _PROLOGUE + code + _EPILOGUE, str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, megabytes = result.stdout.split()[-2:]
    return float(seconds), float(megabytes)


def main(arguments: list[str]) -> None:
    """Print the table."""
    import rushlight as rl

    parser = argparse.ArgumentParser(prog="benchmarks loading", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="loads of each (default 7)")
    rounds = parser.parse_args(arguments).rounds
    state = {f"layer{n}.weight": rl.randn(512, 512) for n in range(100)}
    found: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("a.pt", "a.safetensors"):
            rl.save(state, Path(folder) / name)
        for turn in range(rounds + 1):
            for way, (name, package, code) in WAYS.items():
                if importlib.util.find_spec(package) is not None:
                    measured = measure(Path(folder) / name, code)
                    if turn:  # the first fills the disk cache
                        found.setdefault(way, []).append(measured)
    print(f"{'100 MiB of float32':<26} {'ms':>8} {'min .. max':>16} {'peak, MiB':>10}")
    for way, measured_ways in found.items():
        times = [1e3 * seconds for seconds, _ in measured_ways]
        memory = statistics.median(megabytes for _, megabytes in measured_ways)
        span = f"{min(times):.0f} .. {max(times):.0f}"
        print(f"{way:<26} {statistics.median(times):>8.0f} {span:>16} {memory:>10.0f}")
