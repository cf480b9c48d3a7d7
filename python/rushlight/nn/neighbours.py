"""Two neighbours in a ``Sequential`` that run as one: a layer, and the relu behind it.

Alone, a clamp costs a pass over memory of its own, forward and backward, and a node of the graph.
Nobody can tell the difference but by time: the results are the same to the bit, what is between the
two is seen by no one, and modules with hooks, of a class of the user's or with another ``forward``
run one by one, as they do while somebody follows the operations (the compiler, the profiler).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from rushlight.autograd.grad_mode import state as recording
from rushlight.nn.activation import Hardtanh, ReLU, ReLU6
from rushlight.nn.batchnorm import BatchNorm1d, BatchNorm2d
from rushlight.nn.conv import Conv2d
from rushlight.nn.errors import name_module
from rushlight.nn.linear import Linear
from rushlight.nn.module import Module
from rushlight.ops.clamped import RELU, RELU6
from rushlight.tensor import Tensor

__all__ = ["run_together"]

Forward: TypeAlias = Callable[..., Any]

# The classes with the forward that they had here, in case somebody replaces it.
_NORMS = BatchNorm1d, BatchNorm2d
_LAYERS: dict[type, Forward] = {kind: kind.forward for kind in (*_NORMS, Conv2d, Linear)}
_CLAMPS: dict[type, Forward] = {kind: kind.forward for kind in (Hardtanh, ReLU, ReLU6)}


def run_together(layer: Any, behind: Any, input: Any) -> Tensor | None:
    """Return ``behind(layer(input))``, or None where the two have to run one by one."""
    if type(behind) not in _CLAMPS or type(layer) not in _LAYERS or recording.tape is not None:
        return None
    if not (_is_plain(layer, _LAYERS) and _is_plain(behind, _CLAMPS)):
        return None
    if type(layer) is Conv2d and getattr(input, "ndim", 4) != 4:
        return None  # one image is made a batch, and the result one image again
    if type(layer) in _NORMS and not layer.training and recording.enabled:
        return None  # backward computes the clamp again, by statistics of the batch only
    clamp = _range_of(behind)
    if clamp is None:
        return None
    try:
        output: Tensor = layer._clamped(input, clamp)
        return output
    except Exception as error:  # as in Module.__call__
        name_module(error, layer, (input,))
        raise


def _is_plain(module: Module, forwards: dict[type, Forward]) -> bool:
    """Return whether a call of the module does what its class does, and nothing else."""
    kind = type(module)
    return (
        not module._hooked
        and "forward" not in module.__dict__
        and kind.forward is forwards[kind]
        and kind.__call__ is Module.__call__
    )


def _range_of(module: Any) -> tuple[float, float] | None:
    """Return what a clamp moves values into, if zeros stay zeros there."""
    if type(module) is ReLU:
        return RELU
    if type(module) is ReLU6:
        return RELU6
    low, high = module.min_val, module.max_val
    fits = type(low) is type(high) is float and low <= 0 <= high
    return (low, high) if fits else None
