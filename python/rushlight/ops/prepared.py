"""What conv2d and linear take beside their tensors: the weight's cache, and an epilogue."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from rushlight import _core
from rushlight.errors import OperationError

if TYPE_CHECKING:
    from rushlight.dtypes import Array
    from rushlight.tensor import Tensor

__all__ = ["Clamp", "cache_of", "clamp_of", "optional_array"]

Clamp: TypeAlias = "tuple[float, float] | None"

_CLAMPS: dict[str | None, Clamp] = {
    None: None,
    "relu": (0.0, float("inf")),
    "relu6": (0.0, 6.0),
}


def cache_of(weight: Tensor) -> tuple[_core.WeightCache | None, int]:
    """Return where kernels keep the prepared form of a weight, and the version that it is of.

    Only memory whose every change is counted has one: not that which was handed out as a
    writable array. The result of a recorded operation has none either, for the next step makes
    another.
    """
    if weight._node is not None:
        return None, 0
    storage = weight._storage
    if storage.exported:
        storage.prepared = None
        return None, 0
    cache: _core.WeightCache | None = storage.prepared
    if cache is None:
        cache = storage.prepared = _core.WeightCache()
    return cache, storage.version


def optional_array(tensor: Tensor | None) -> Array | None:
    """Return the array of a tensor that may be left out."""
    return None if tensor is None else tensor._array


def clamp_of(activation: str | tuple[float, float] | None, operation: str) -> Clamp:
    """Return the range that an activation keeps values in: a name, or the range itself.

    Raises
    ------
    ValueError
        For another name.
    """
    if isinstance(activation, tuple):
        return activation
    if activation not in _CLAMPS:
        raise OperationError(
            f"{operation}: activation must be None, 'relu', 'relu6' or a pair (low, high), but got "
            f"{activation!r}"
        )
    return _CLAMPS[activation]
