"""The libraries that stand side by side, one adapter each.

An adapter is a module with ``start(threads)``, called once before anything else, and with the
functions that the questions ask for: ``graph(graph, x)`` (a small network, from which each library
makes what it runs) or, for the two that share PyTorch's module system, ``engine`` and ``nn``.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

__all__ = ["ADAPTERS", "ALL", "Runner", "adapter", "installed"]

# By library: the package that must be there, and the adapter.
ADAPTERS = {
    "rushlight": ("rushlight", "rushlight_eager"),
    "eager": ("rushlight", "rushlight_eager"),  # beside compiled nets, which are "rushlight" there
    "torch": ("torch", "torch_eager"),
    "torch_cl": ("torch", "torch_channels_last"),
    "onnxruntime": ("onnxruntime", "onnx_runtime"),
    "openvino": ("openvino", "open_vino"),
    "ncnn": ("ncnn", "ncnn_extractor"),
    # Yardsticks, which come with Rushlight and need no adapter.
    "peak": ("rushlight", ""),
    "limit": ("rushlight", ""),
    "planes": ("rushlight", ""),  # kernels on images as the user gives them
}
ALL = ("rushlight", "torch", "torch_cl", "onnxruntime", "openvino", "ncnn")


class Runner(NamedTuple):
    """What is timed, and how its result becomes a NumPy array (not timed)."""

    run: Callable[[], Any]
    array: Callable[[Any], Any]


def installed(libraries: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return which libraries are there and which are missing."""
    libraries = list(libraries)
    package = {name: ADAPTERS.get(name, (name,))[0] for name in libraries}
    there = [name for name in libraries if importlib.util.find_spec(package[name]) is not None]
    return there, [name for name in libraries if name not in there]


def adapter(library: str, threads: int) -> Any:
    """Return the adapter's module, started."""
    module = importlib.import_module(f"benchmarks.peers.{ADAPTERS[library][1]}")
    module.start(threads)
    return module
