"""The four element types of a tensor, how they mix, and the shape type.

float32 is the fast type, float64 works everywhere, int64 holds labels and indices, bool holds
masks. Nothing else is accepted: a silent cast would hide a mistake.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Size", "dtype", "float32", "float64", "int64"]

Array = npt.NDArray[Any]


class dtype:
    """An element type of :class:`rushlight.Tensor`; compare with ``is`` or ``==``.

    Attributes
    ----------
    name : str
        Name without the package, such as ``"float32"``.
    numpy : numpy.dtype
        The NumPy dtype of the array behind a tensor of this type.
    is_floating_point : bool
        True for float32 and float64: the types that can require gradients.
    itemsize : int
        Bytes in an element.
    """

    __slots__ = ("is_floating_point", "itemsize", "name", "numpy", "rank")

    def __init__(self, name: str, numpy_name: str, rank: int) -> None:
        self.name = name
        self.numpy: np.dtype[Any] = np.dtype(numpy_name)
        self.is_floating_point = self.numpy.kind == "f"
        self.itemsize = self.numpy.itemsize
        self.rank = rank

    def __repr__(self) -> str:
        return f"rushlight.{self.name}"

    def __reduce__(self) -> tuple[Any, ...]:
        return named, (self.name,)


bool_ = dtype("bool", "bool", 0)
int64 = dtype("int64", "int64", 1)
float32 = dtype("float32", "float32", 2)
float64 = dtype("float64", "float64", 3)

ALL = (float32, float64, int64, bool_)
_BY_NUMPY = {each.numpy: each for each in ALL}
_BY_NAME = {each.name: each for each in ALL}
_VALID = "float32, float64, int64 or bool"


def named(name: str) -> dtype:
    """Return the dtype called `name`; the inverse of ``dtype.name``, used by pickle."""
    return _BY_NAME[name]


def of(array: Array) -> dtype:
    """Return the dtype of an array that a tensor may hold.

    Raises
    ------
    TypeError
        When the array's type is none of the four.
    """
    found = _BY_NUMPY.get(array.dtype)
    if found is None:
        raise TypeError(f"a tensor holds {_VALID}, but got an array of {array.dtype}")
    return found


def as_dtype(value: object, where: str = "dtype") -> dtype:
    """Return `value` as a :class:`dtype`; NumPy types and ``float``, ``int``, ``bool`` are accepted.

    Raises
    ------
    TypeError
        When `value` names no element type, or one that a tensor does not hold.
    """
    if isinstance(value, dtype):
        return value
    if value is float:
        return float32
    try:
        found = _BY_NUMPY.get(np.dtype(value))  # type: ignore[call-overload]  # any object may come
    except TypeError:
        found = None
    if found is None or value is None:
        raise TypeError(f"{where} must be {_VALID}, but got {value!r}")
    return found


def promote(a: dtype, b: dtype) -> dtype:
    """Return the type that holds values of both: bool < int64 < float32 < float64."""
    return a if a.rank >= b.rank else b


def of_scalar(value: object) -> dtype:
    """Return the type a Python number takes on its own: bool, int64 or float32."""
    if isinstance(value, (bool, np.bool_)):
        return bool_
    if isinstance(value, (int, np.integer)):
        return int64
    return float32


class Size(tuple[int, ...]):
    """The shape of a tensor: a tuple that prints as ``rushlight.Size([2, 3])``."""

    __slots__ = ()

    def numel(self) -> int:
        """Return the number of elements of a tensor of this shape."""
        count = 1
        for extent in self:
            count *= extent
        return count

    def __repr__(self) -> str:
        return f"rushlight.Size([{', '.join(map(str, self))}])"

    def __getitem__(self, index: Any) -> Any:
        found = tuple.__getitem__(self, index)
        return Size(found) if isinstance(index, slice) else found
