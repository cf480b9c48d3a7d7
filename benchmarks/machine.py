"""The machine and the versions that figures belong to."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

from benchmarks.peers import ADAPTERS

__all__ = ["describe", "processor"]


def processor() -> str:
    """Return the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    named = {key.strip(): value.strip() for key, value in fields.items()}
    return named.get("model name") or platform.machine()


def _instructions() -> str:
    import rushlight

    text = str(rushlight.show_config())
    line = next(line for line in text.splitlines() if line.startswith("instruction set"))
    return line.removeprefix("instruction set").split("(")[0].strip()


def describe(libraries: list[str]) -> dict[str, object]:
    """Return what a reader needs to place the figures."""
    versions = {}
    for name in libraries:
        package = ADAPTERS.get(name, (name,))[0]
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor": processor(),
        "cpus": cpus,
        "instructions": _instructions(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "versions": versions,
    }
