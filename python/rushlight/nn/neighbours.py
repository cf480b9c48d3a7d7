"""Neighbours in a ``Sequential`` that run as one: a layer and the relu behind it, and more.

Alone, a clamp costs a pass over memory of its own, forward and backward, and a node of the graph;
so does, in evaluation without gradients, a batch norm behind a convolution. Nobody can tell the
difference but by time: the results are the same to the bit, what is between them is seen by no
one, and modules with hooks, of a class of the user's or with another ``forward`` run one by one,
as they do while somebody follows the operations (the compiler, the profiler).
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
from rushlight.ops.prepared import Clamp
from rushlight.tensor import Tensor

__all__ = ["run"]

Forward: TypeAlias = Callable[..., Any]

# The classes with the forward that they had here, in case somebody replaces it.
_NORMS = BatchNorm1d, BatchNorm2d
_LAYERS: dict[type, Forward] = {kind: kind.forward for kind in (*_NORMS, Conv2d, Linear)}
_CLAMPS: dict[type, Forward] = {kind: kind.forward for kind in (Hardtanh, ReLU, ReLU6)}


def run(input: Any, *modules: Any) -> Any:
    """Return ``modules[-1](... modules[0](input))``."""
    at, count = 0, len(modules)
    while at < count:
        module, behind = modules[at], modules[at + 1] if at + 1 < count else None
        kind = type(behind)
        output, taken = None, 2
        if kind is BatchNorm2d and type(module) is Conv2d:
            if recording.direct:
                last = modules[at + 2] if at + 2 < count else None
                clamp = _clamp_of(last)
                output = _convolve_and_normalize(module, behind, clamp, input)
                taken = 2 if clamp is None else 3
        elif kind in _CLAMPS:
            output = _clamp_behind(module, behind, input)
        if output is None:
            output, taken = module(input), 1
        input = output
        at += taken
    return input


def _convolve_and_normalize(layer: Any, norm: Any, clamp: Clamp, input: Any) -> Tensor | None:
    """Return ``norm(layer(input))`` in the range `clamp`, or None where they run one by one."""
    if norm.training or not (_is_plain(layer, _LAYERS) and _is_plain(norm, _LAYERS)):
        return None
    if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        return None
    if layer.bias is not None or not isinstance(input, Tensor) or input.ndim != 4:
        return None
    eps, values = norm.eps, norm._tensors()
    if type(eps) is not float or not eps >= 0 or not _fit(layer.weight, *values):
        return None
    try:
        output: Tensor = layer._normed(input, (*values, eps), clamp)
        return output
    except Exception as error:  # as in Module.__call__
        name_module(error, layer, (input,))
        raise


def _fit(weight: Any, factor: Any, start: Any, mean: Any, var: Any) -> bool:
    """Return whether a batch norm has running statistics, and all it has is of the filters.

    What does not fit is for the layer or the batch norm to refuse.
    """
    if not isinstance(weight, Tensor) or mean is None or var is None:
        return False
    dtype, shape = weight._array.dtype, weight._array.shape[:1]
    for each in (factor, start, mean, var):
        if each is None:
            continue
        if not isinstance(each, Tensor):
            return False
        if each._array.dtype != dtype or each._array.shape != shape:
            return False
    return True


def _clamp_behind(layer: Any, behind: Any, input: Any) -> Tensor | None:
    """Return ``behind(layer(input))``, or None where the two have to run one by one."""
    if type(layer) not in _LAYERS or recording.tape is not None:
        return None
    clamp = _clamp_of(behind)
    if clamp is None or not _is_plain(layer, _LAYERS):
        return None
    if type(layer) is Conv2d and getattr(input, "ndim", 4) != 4:
        return None  # one image is made a batch, and the result one image again
    if type(layer) in _NORMS and not layer.training and recording.enabled:
        return None  # backward computes the clamp again, by statistics of the batch only
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


def _clamp_of(module: Any) -> Clamp:
    """Return what a module moves values into that does nothing else, or None."""
    return _range_of(module) if type(module) in _CLAMPS and _is_plain(module, _CLAMPS) else None


def _range_of(module: Any) -> tuple[float, float] | None:
    """Return what a clamp moves values into, if zeros stay zeros there."""
    if type(module) is ReLU:
        return RELU
    if type(module) is ReLU6:
        return RELU6
    low, high = module.min_val, module.max_val
    fits = type(low) is type(high) is float and low <= 0 <= high
    return (low, high) if fits else None
