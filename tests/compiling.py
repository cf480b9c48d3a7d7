"""What the tests of ``rushlight.compile`` share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import rushlight as rl
from rushlight import nn


def settled(module: nn.Module) -> nn.Module:
    """Return the module in evaluation mode with statistics that a training would leave."""
    for each in module.modules():
        if isinstance(each, (nn.BatchNorm2d, nn.BatchNorm1d)):
            each.running_mean.normal_(0, 0.1)
            each.running_var.uniform_(0.5, 1.5)
            each.weight.data.uniform_(0.5, 1.5)
            each.bias.data.normal_(0, 0.1)
    return module.eval()


def same(found: Any, expected: Any, bound: float = 1e-4) -> None:
    assert found.dtype == expected.dtype
    assert tuple(found.shape) == tuple(expected.shape)
    a, b = (each.detach().clone().numpy().astype(np.float64) for each in (found, expected))
    if a.size:
        np.testing.assert_allclose(a, b, rtol=0, atol=bound * max(np.abs(b).max(), 1e-30))


def check(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
    """Compare two calls of the compiled module with the module; return the compiled one."""
    compiled = rl.compile(module)
    with rl.no_grad():
        expected = module(*args, **kwargs)
        for _ in range(2):
            same(compiled(*args, **kwargs), expected)
    assert compiled.explain().rows is not None
    return compiled


class Of(nn.Module):
    """A module of a function, with layers as attributes."""

    def __init__(self, function: Callable[..., Any], **layers: Any) -> None:
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.function = function
        self.eval()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(self, *args, **kwargs)
