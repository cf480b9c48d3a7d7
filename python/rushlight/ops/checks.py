"""Checks of arguments that several families share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight.dtypes import Array
from rushlight.errors import OperationError
from rushlight.ops._common import array_of, refuse

if TYPE_CHECKING:
    from rushlight.tensor import Tensor

__all__: list[str] = []


def floating_of(value: Any, operation: str, name: str = "input") -> Array:
    """Return the array of a floating tensor.

    Raises
    ------
    TypeError
        For anything else.
    """
    array = array_of(value, operation, name)
    if array.dtype.kind != "f":
        raise TypeError(f"{operation}: {name} must be float32 or float64, but got {array.dtype}")
    return array


def number(value: object, operation: str, name: str) -> float:
    """Return a setting as a float, or raise TypeError."""
    if isinstance(value, (bool, int, float, np.floating, np.integer)):
        return float(value)
    refuse(value, operation, name, "a number")


def same_type(operation: str, **tensors: Any) -> None:
    """Raise TypeError unless all are floating tensors of one type; None is left out."""
    given = {name: each for name, each in tensors.items() if each is not None}
    types = {name: floating_of(each, operation, name).dtype for name, each in given.items()}
    if len(set(types.values())) > 1:
        text = ", ".join(f"{name} {dtype}" for name, dtype in types.items())
        raise TypeError(f"{operation}: all tensors must have one type, but got {text}")


def check_shapes(
    operation: str, tensors: dict[str, Tensor | None], shape: tuple[int, ...], source: str
) -> None:
    """Raise ValueError unless all have `shape`, which is that of `source`; None is left out."""
    for name, each in tensors.items():
        if each is not None and each._array.shape != shape:
            raise OperationError(
                f"{operation}: {name} must have shape {list(shape)}, as {source}, but has "
                f"{list(each._array.shape)}"
            )
