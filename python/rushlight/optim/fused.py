"""What the fused steps share: checked options, and calls in place on arrays of any layout."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any, TypeAlias

from rushlight import dtypes
from rushlight.dtypes import Array
from rushlight.ops.creation import full, zeros_like
from rushlight.tensor import Tensor

__all__: list[str] = []

Make: TypeAlias = Callable[[Tensor], Tensor]


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
    if group.get("differentiable"):
        raise ValueError(f"{optimizer}: differentiable=True is not supported")


def check_target(optimizer: str, param: Tensor) -> None:
    """Refuse a parameter whose memory cannot be updated in place."""
    array = param._array
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
    params: list[Tensor],
    *states: list[Tensor] | None,
    **options: Any,
) -> None:
    """Run ``kernel(params, grads, *states, **options)``, which updates all but the gradients.

    The kernels work on C-contiguous, aligned arrays only. Another layout is computed in a copy
    that is written back.
    """
    copies: list[tuple[Array, Array]] = []
    changed = [tensors for tensors in (params, *states) if tensors is not None]
    kernel(
        _places(params, copies),
        [param._grad._array for param in params],  # type: ignore[union-attr]  # by_type asked
        *(None if state is None else _places(state, copies) for state in states),
        **options,
    )
    for array, copy in copies:
        array[...] = copy
    for tensors in changed:
        for tensor in tensors:
            tensor._bump_version()


def _places(tensors: list[Tensor], copies: list[tuple[Array, Array]]) -> list[Array]:
    """Return the arrays of the tensors, or `copies` that are laid out as kernels need them."""
    arrays = [tensor._array for tensor in tensors]
    for index, array in enumerate(arrays):
        if not array.flags.carray:
            arrays[index] = array.copy("C")
            copies.append((array, arrays[index]))
    return arrays


def by_type(params: list[Tensor]) -> list[list[Tensor]]:
    """Return the parameters that have a gradient, in lists that can take a step at once.

    Those of a list have one element type, and none is twice in a list.
    """
    found: dict[tuple[Any, int], list[Tensor]] = {}
    times: dict[int, int] = {}
    for param in params:
        if param._grad is not None:
            times[id(param)] = time = times.get(id(param), 0) + 1
            found.setdefault((param._array.dtype, time), []).append(param)
    return list(found.values())


def kept(
    state: Mapping[Any, dict[str, Any]], params: list[Tensor], name: str, make: Make = zeros_like
) -> list[Tensor]:
    """Return the state `name` of each parameter, made where there is none yet."""
    result = []
    for param in params:
        own = state[param]
        found = own.get(name)
        if found is None:
            found = own[name] = make(param)
        result.append(found)
    return result


def step_counts(state: Mapping[Any, dict[str, Any]], params: list[Tensor]) -> list[Tensor]:
    """Return the tensors that count the steps of each parameter; the kernels move them on."""
    for param in params:
        own = state[param]
        count = own.get("step", 0)
        if not isinstance(count, Tensor):  # a new state, or a count from an early PyTorch
            own["step"] = zero_count(param).fill_(float(count))
    return [state[param]["step"] for param in params]


def zero_count(param: Tensor) -> Tensor:
    """Return a count of no steps: float32 whatever the parameter's type, as PyTorch keeps it."""
    return full((), 0.0, dtype=dtypes.float32)
