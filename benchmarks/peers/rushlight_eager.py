"""Rushlight, without recording for backward: eager modules, and compiled ones."""

from __future__ import annotations

from typing import Any

import rushlight
from benchmarks.peers import Runner
from rushlight import nn

engine = rushlight
__all__ = ["compiled", "engine", "module", "nn", "start"]


def start(threads: int) -> None:
    rushlight.set_num_threads(threads)
    rushlight.manual_seed(0)
    rushlight.set_grad_enabled(False)


def module(net: Any, x: Any) -> Runner:
    """Return the module's call in evaluation mode.

    The array is asked for: a convolution's result may still be in blocks of channels.
    """
    net.eval()
    source = rushlight.tensor(x)
    return Runner(lambda: net(source)._array, lambda array: array)


def compiled(net: Any, x: Any) -> Runner:
    """Return the compiled module's call."""
    return module(rushlight.compile(net), x)
