"""Checks of constructor arguments, shared by the layers."""

from __future__ import annotations

from typing import Any

from rushlight.dtypes import dtype as DType
from rushlight.ops._common import as_index
from rushlight.tensor import Tensor

__all__ = ["at_least", "check_device", "ints_at_least", "probability", "target_dtype"]


def at_least(least: int, value: Any, owner: str, name: str) -> int:
    """Return an argument as an int.

    Raises
    ------
    TypeError, ValueError
        When it is no integer, or below `least`.
    """
    number = as_index(value, owner, name)
    if number < least:
        raise ValueError(f"{owner}: {name} must be {least} or more, but got {number}")
    return number


def ints_at_least(least: int, count: int, value: Any, owner: str, name: str) -> tuple[int, ...]:
    """Return an argument given as one int, or as `count` of them, as `count` ints.

    Raises
    ------
    TypeError, ValueError
        When it is neither, or one is below `least`.
    """
    given = value if isinstance(value, (tuple, list)) else (value,)
    if len(given) not in (1, count):
        expected = {1: "one int", 2: "one int or two"}.get(count, f"one int or {count}")
        raise ValueError(f"{owner}: {name} must be {expected}, but got {value}")
    numbers = tuple(as_index(each, owner, name) for each in given)
    if min(numbers) < least:
        raise ValueError(f"{owner}: {name} must be {least} or more, but got {value}")
    return numbers * count if len(numbers) == 1 else numbers


def probability(value: float, owner: str) -> float:
    """Return `value`, or raise ValueError when it is not between 0 and 1 (NaN included)."""
    if not 0 <= value <= 1:
        raise ValueError(f"{owner}: dropout probability has to be between 0 and 1, but got {value}")
    return value


def check_device(device: object) -> None:
    """Raise RuntimeError for a device other than the CPU; None stands for it."""
    if device is not None and str(device).split(":")[0] != "cpu":
        raise RuntimeError(f"device must be 'cpu', the only one there is, but got {device!r}")


def target_dtype(*args: Any, **kwargs: Any) -> DType | None:
    """Return the dtype that the arguments of ``Module.to`` ask for, or None.

    Raises
    ------
    RuntimeError
        For another device than the CPU, and for an argument ``copy``.
    TypeError
        For unknown arguments, and a dtype that is not floating point.
    """
    if "copy" in kwargs:
        raise RuntimeError(".to() does not accept copy argument")
    unknown = kwargs.keys() - {"device", "dtype", "tensor", "non_blocking", "memory_format"}
    if unknown:
        raise TypeError(f"Module.to: unknown arguments {sorted(unknown)}")
    dtype = kwargs.get("dtype")
    first, *rest = args or (kwargs.get("tensor"),)
    if isinstance(first, Tensor):
        dtype = first.dtype
    elif isinstance(first, DType):
        dtype = first
    elif isinstance(first, bool) or not isinstance(first, (str, int, type(None))):
        raise TypeError(f"Module.to: expected a dtype, device or tensor, but got {first!r}")
    else:
        check_device(first)
        if rest:
            dtype = rest.pop(0)
    if len(rest) > 1 or not all(isinstance(each, bool) for each in rest):
        raise TypeError(f"Module.to: after dtype comes non_blocking, a bool, but got {rest}")
    check_device(kwargs.get("device"))
    if dtype is not None and not (isinstance(dtype, DType) and dtype.is_floating_point):
        raise TypeError(
            f"nn.Module.to only accepts floating point dtypes, but got desired dtype={dtype}"
        )
    return dtype
