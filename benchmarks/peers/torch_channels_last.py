"""PyTorch, eager, in inference mode, weights and images with their channels last."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from benchmarks.peers import Runner, torch_eager
from benchmarks.turns import Skip

engine = torch
__all__ = ["engine", "module", "nn", "start"]

start = torch_eager.start


def module(net: Any, x: Any) -> Runner:
    """Return the module's call in evaluation mode."""
    if x.ndim != 4:
        raise Skip("no images")
    return torch_eager.module(net, x, torch.channels_last)
