"""What one library says about its training, in a process of its own: losses, and memory."""

from __future__ import annotations

import argparse
import importlib
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers import installed
from benchmarks.training import LIBRARIES, Step, batches, engine_of
from benchmarks.training_nets import NETS, build
from benchmarks.turns import ROOT, Skip

LOSS_STEPS = {"float32": 20, "float64": 3}  # float64 takes PyTorch long
FLOAT32_DIFFERENCE, FLOAT64_DIFFERENCE = 1e-5, 1e-6  # of a loss, relative
MEMORY_NET = "ResNet-20, batch 128, 32 px"
WARM_UP, COUNTED, GROWTH_STEPS = 5, 20, 200


def _ask(fact: str, library: str, threads: int, *arguments: str) -> Any:
    command = [sys.executable, "-m", "benchmarks.training_facts", fact, library, str(threads)]
    result = subprocess.run([*command, *arguments], cwd=ROOT, capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"{library}: no {fact}: {result.stderr}")
    return json.loads(result.stdout)


# -- losses ---------------------------------------------------------------------------------


def export_weights(folder: str) -> None:
    """Write the initial weights of every network, which all libraries start from."""
    engine = importlib.import_module("rushlight")
    engine.manual_seed(1)
    for number, name in enumerate(NETS):
        state = build(engine, name).state_dict()
        arrays = {key: value.numpy() for key, value in state.items()}
        np.savez(Path(folder, f"{number}.npz"), **arrays)


def losses(library: str, folder: str, dtype: str) -> dict[str, list[float]]:
    """Return the losses of the first steps of each network."""
    found = {}
    for number, name in enumerate(NETS):
        try:
            step = Step(library, name)
        except Skip:
            continue
        with np.load(Path(folder, f"{number}.npz")) as arrays:
            step.net.load_state_dict(
                {key: step.engine.from_numpy(arrays[key]) for key in arrays.files}
            )
        step.net.to(getattr(step.engine, dtype))
        for module in step.net.modules():
            if isinstance(module, step.engine.nn.Dropout):
                module.p = 0.0
        data = batches(name)
        found[name] = []
        for _ in range(LOSS_STEPS[dtype]):
            images, labels = next(data)
            found[name].append(step(*step.batch(images.astype(dtype), labels)).item())
    return found


def _difference(own: list[float], peer: list[float]) -> float:
    return float(np.max(np.abs(np.array(own) / np.array(peer) - 1)))


def print_losses(options: argparse.Namespace) -> None:
    """Print the last loss and the largest difference to PyTorch, in float32 and float64.

    Batch norm over few values doubles a difference at every step, so that PyTorch's two memory
    formats soon differ in float32. float64 shows that the same is computed.

    Raises
    ------
    RuntimeError
        When Rushlight's losses are further from PyTorch's than rounding explains.
    """
    (libraries, _), threads, kinds = installed(LIBRARIES), options.threads[-1], tuple(LOSS_STEPS)
    with tempfile.TemporaryDirectory() as folder:
        export_weights(folder)
        found = {
            (name, dtype): _ask("losses", name, threads, folder, dtype)
            for name in libraries
            for dtype in kinds
        }
    steps = " and ".join(f"{count} ({dtype})" for dtype, count in LOSS_STEPS.items())
    print(f"losses of the first {steps} steps from the same weights, threads {threads}: first and")
    print("last, and the largest relative difference to PyTorch's contiguous run in either type")
    for net in NETS:
        print(net)
        differences = {
            (name, dtype): _difference(found[name, dtype][net], found["torch", dtype][net])
            for name in libraries
            for dtype in kinds
            if "torch" in libraries and net in found[name, dtype]
        }
        for name in libraries:
            if net not in found[name, "float32"]:
                continue
            own = found[name, "float32"][net]
            cells = [f"{differences[name, dtype]:>10.1e}" for dtype in kinds if differences]
            print(f"  {name:<22}{own[0]:>10.5f}{own[-1]:>10.5f}{''.join(cells)}")
        if differences:
            _check_differences(net, differences)
    print()


def _check_differences(net: str, found: dict[tuple[str, str], float]) -> None:
    allowed = {
        "float32": FLOAT32_DIFFERENCE + 4 * found.get(("torch_cl", "float32"), 0.0),
        "float64": FLOAT64_DIFFERENCE,
    }
    for dtype, most in allowed.items():
        if not found["rushlight", dtype] <= most:
            raise RuntimeError(
                f"{net}: losses in {dtype} differ from PyTorch's by "
                f"{found['rushlight', dtype]:.1e}, expected at most {most:.1e}"
            )


# -- memory ---------------------------------------------------------------------------------


def _resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as stream:
        return int(stream.read().split()[1]) * resource.getpagesize()


def memory(library: str) -> dict[str, float]:
    """Return page faults per step, peak memory, and its growth over many steps, in bytes."""
    step = Step(library, MEMORY_NET)
    images, labels = step.batch(*next(batches(MEMORY_NET)))
    before = _resident()
    for _ in range(WARM_UP):
        step(images, labels).item()
    settled, faults = _resident(), resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(COUNTED):
        step(images, labels).item()
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
    for _ in range(GROWTH_STEPS - COUNTED):
        step(images, labels).item()
    # ru_maxrss starts from the parent's size before exec; VmHWM does not.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = int(status.split("VmHWM:")[1].split()[0]) * 1024
    return {
        "faults": faults / COUNTED,
        "before": before,
        "peak": peak,
        "growth": _resident() / settled - 1,
    }


def print_memory(options: argparse.Namespace) -> None:
    """Print a row per library."""
    (libraries, _), threads = installed(LIBRARIES), options.threads[-1]
    if not sys.platform.startswith("linux"):
        print("memory: read from /proc, which this system does not have")
        return
    print(f"{MEMORY_NET}, threads {threads}: minor page faults per step after {WARM_UP} steps, MiB")
    print(f"before the first step and at the peak, growth over {GROWTH_STEPS} steps")
    for library in libraries:
        found = _ask("memory", library, threads)
        print(
            f"  {library:<22}{found['faults']:>10.1f}{found['before'] / 2**20:>10.1f}"
            f"{found['peak'] / 2**20:>10.1f}{found['growth']:>10.2%}"
        )
    print()


if __name__ == "__main__":
    fact, chosen, count, *rest = sys.argv[1:]
    engine_of(chosen).set_num_threads(int(count))
    print(json.dumps({"losses": losses, "memory": memory}[fact](chosen, *rest)))
