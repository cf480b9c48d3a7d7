"""What the fused steps share: checked options, and calls in place on arrays of any layout."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real
from typing import Any

from rushlight.dtypes import Array
from rushlight.tensor import Tensor

__all__: list[str] = []


def number(value: Any, what: str) -> float:
    """Return a real number or a tensor with one element as a float; TypeError for the rest."""
    if isinstance(value, Tensor) and value.numel() == 1:
        return float(value.item())
    if isinstance(value, Real):
        return float(value)
    raise TypeError(f"{what} must be a number, but got {type(value).__name__}")


def check_at_least_zero(optimizer: str, what: str, argument: str, value: Any) -> None:
    """Refuse what is negative, infinite or NaN: it would spoil every parameter at once."""
    if not 0.0 <= number(value, f"{optimizer}: {argument}") < math.inf:
        raise ValueError(f"Invalid {what}: {value} ({optimizer}: {argument} is finite and >= 0)")


def check_modes(optimizer: str, group: dict[str, Any]) -> None:
    """Refuse the one of PyTorch's modes that would change results and does not exist here."""
    if group["differentiable"]:
        raise ValueError(f"{optimizer}: differentiable=True is not supported")


def check_target(optimizer: str, param: Tensor) -> None:
    """Refuse a parameter whose memory cannot be updated in place."""
    array = param._array
    if array.flags.carray:
        return
    where = f"{optimizer}: a parameter of shape {list(array.shape)}"
    if not array.flags.writeable:
        raise ValueError(f"{where} is read-only, expected writable memory")
    if any(
        size > 1 and stride == 0 for size, stride in zip(array.shape, array.strides, strict=True)
    ):
        raise RuntimeError(
            f"{where} is expanded: several of its elements are one place in memory, "
            "use clone() before optimizing it"
        )


def call_in_place(
    kernel: Callable[..., None],
    param: Tensor,
    grad: Array,
    state: list[Tensor | None],
    **options: Any,
) -> None:
    """Run ``kernel(param, grad, *state, **options)``, which updates `param` and `state`.

    The kernels work on C-contiguous, aligned arrays only. Another layout is computed in a copy
    that is written back.
    """
    targets = [param, *state]
    arrays = [
        None if each is None else each._array if each._array.flags.carray else each._array.copy("C")
        for each in targets
    ]
    kernel(arrays[0], grad, *arrays[1:], **options)
    for target, array in zip(targets, arrays, strict=True):
        if target is not None:
            if array is not target._array:
                target._array[...] = array
            target._bump_version()
