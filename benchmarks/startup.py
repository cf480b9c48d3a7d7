"""What it costs to have an engine: import time in a fresh process, and installed size.

``python -m benchmarks startup`` prints a row per library that is installed here. Each import runs
in a process of its own; the libraries take turns, and the median over the rounds is printed.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks.peers import installed

LIBRARIES = ("numpy", "rushlight", "torch", "onnxruntime", "openvino", "ncnn")


def import_seconds(name: str) -> float:
    """Return the seconds that ``import name`` takes in a new process."""
    clock = "time.perf_counter()"
    code = f"import time; start = {clock}; import {name}; print({clock} - start)"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(result.stdout.split()[-1])


def installed_bytes(name: str) -> int:
    """Return the size of the package's folders, byte code left out."""
    spec = importlib.util.find_spec(name)
    assert spec is not None
    folders = {Path(os.path.realpath(place)) for place in spec.submodule_search_locations or ()}
    return sum(
        path.stat().st_size
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    )


def main(arguments: list[str]) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks startup", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="imports of each library (default 7)")
    rounds = parser.parse_args(arguments).rounds
    present, missing = installed(LIBRARIES)
    times: dict[str, list[float]] = {name: [] for name in present}
    for _ in range(rounds + 1):
        for name in present:
            times[name].append(import_seconds(name))
    print(f"{'library':<12} {'import, ms':>11} {'min .. max':>14} {'size, MB':>9}")
    for name in present:
        counted = [1e3 * seconds for seconds in times[name][1:]]  # the first fills the disk cache
        span = f"{min(counted):.0f} .. {max(counted):.0f}"
        size = installed_bytes(name) / 1e6
        print(f"{name:<12} {statistics.median(counted):>11.0f} {span:>14} {size:>9.1f}")
    if missing:
        print(f"not installed: {', '.join(missing)}")
