"""The four element types of a tensor and how they mix, the shape type, the device.

float32 is the fast type, float64 works everywhere, int64 holds labels and indices, bool holds
masks. Nothing else is accepted: a silent cast would hide a mistake.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

__all__ = ["Size", "device", "dtype", "float32", "float64", "int64"]

if TYPE_CHECKING:
    import numpy.typing as npt

    Array: TypeAlias = npt.NDArray[Any]
else:
    # numpy.typing takes as long to import as all of this package.
    Array = np.ndarray


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
VALID = "float32, float64, int64 or bool"


def named(name: str) -> dtype:
    """Return the dtype called `name`; the inverse of ``dtype.name``, used by pickle."""
    return _BY_NAME[name]


def of(array: Any) -> dtype:
    """Return the dtype of an array that a tensor may hold.

    Raises
    ------
    TypeError
        When the array's type is none of the four.
    """
    found = _BY_NUMPY.get(array.dtype)
    if found is None:
        raise TypeError(f"a tensor holds {VALID}, but got an array of {array.dtype}")
    return found


def as_dtype(value: object, where: str = "dtype") -> dtype:
    """Return `value` as a :class:`dtype`; NumPy's and Python's own types are accepted.

    Python's ``float`` is float64, as in NumPy and PyTorch.

    Raises
    ------
    TypeError
        When `value` names no element type, or one that a tensor does not hold.
    """
    if isinstance(value, dtype):
        return value
    try:
        found = _BY_NUMPY.get(np.dtype(value))  # type: ignore[call-overload]  # any object may come
    except TypeError:
        found = None
    if found is None or value is None:
        raise TypeError(f"{where} must be {VALID}, but got {value!r}")
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

    def __add__(self, other: Any) -> Size:
        return Size(tuple.__add__(self, other))

    def __radd__(self, other: tuple[int, ...]) -> Size:
        # Asked first where a list is extended by a shape, which is the list's affair.
        return Size(tuple.__add__(other, self)) if isinstance(other, tuple) else NotImplemented

    def __repr__(self) -> str:
        return f"rushlight.Size([{', '.join(map(str, self))}])"

    def __getitem__(self, index: Any) -> Any:
        found = tuple.__getitem__(self, index)
        return Size(found) if isinstance(index, slice) else found


class memory_format:
    """The order of a tensor's elements in memory, as ported code asks for it: a hint.

    Results are always in row-major order; kernels rearrange what they need.
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"rushlight.{self.name}"

    def __reduce__(self) -> str:
        return self.name


contiguous_format = memory_format("contiguous_format")
channels_last = memory_format("channels_last")
preserve_format = memory_format("preserve_format")


def check_memory_format(value: object, operation: str) -> None:
    """Raise TypeError unless `value` is a memory format or None."""
    if value is not None and not isinstance(value, memory_format):
        raise TypeError(
            f"{operation}: memory_format must be one of rushlight.contiguous_format, channels_last "
            f"and preserve_format, but got {value!r}"
        )


class device(str):
    """Where a tensor lives: always ``"cpu"``; made to accept what ported code passes.

    Raises
    ------
    ValueError
        For another device.
    """

    __slots__ = ()

    def __new__(cls, type: object = "cpu", index: int | None = None) -> device:
        """Return the CPU, or raise."""
        if str(type).split(":")[0] != "cpu":
            raise ValueError(f"device: there is only 'cpu', but got {type!r}")
        return super().__new__(cls, "cpu")

    @property
    def type(self) -> str:
        """The kind of device."""
        return "cpu"

    @property
    def index(self) -> None:  # type: ignore[override]  # PyTorch's name; str.index is of no use here
        """The number of the device; the CPU has none."""
        return None

    def __repr__(self) -> str:
        return "device(type='cpu')"
