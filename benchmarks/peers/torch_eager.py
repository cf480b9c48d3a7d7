"""PyTorch, eager, in inference mode and its usual layout."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from benchmarks.peers import Runner

engine = torch
__all__ = ["engine", "module", "nn", "start"]

_inference = torch.inference_mode()


def start(threads: int) -> None:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    _inference.__enter__()


def module(net: Any, x: Any, layout: Any = torch.contiguous_format) -> Runner:
    """Return the module's call in evaluation mode."""
    net = net.eval().to(memory_format=layout)
    source = (
        torch.from_numpy(x).contiguous(memory_format=layout) if x.ndim == 4 else torch.tensor(x)
    )
    return Runner(lambda: net(source), lambda result: result.contiguous().numpy())
