"""The element types of files, and what they become in a tensor.

A tensor holds float32, float64, int64 or bool. float16 and bfloat16 become float32, and integers
of other widths become int64; both keep every value exactly. An unsigned 64-bit integer that int64
cannot hold is refused, and so are complex numbers, quantized types and floats of 8 bits or less.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from rushlight.dtypes import Array
from rushlight.serialization.errors import Refused

__all__ = [
    "BY_CODE",
    "BY_NAME",
    "UNTYPED",
    "Element",
    "check_values",
    "element_of",
    "read_values",
    "refuse_type",
]

_CHUNK = 1 << 20  # bytes that are converted at a time, while they are in the cache


class Element(NamedTuple):
    """An element type of a file.

    `code` is its name in safetensors, `stored` the NumPy type of its little-endian bytes (the
    bits of bfloat16 are those of an integer), `target` that of the tensor.
    """

    name: str
    code: str
    stored: np.dtype[Any]
    target: np.dtype[Any]

    @property
    def itemsize(self) -> int:
        """Bytes in an element of the file."""
        return self.stored.itemsize


def _element(name: str, code: str, stored: str, target: str) -> Element:
    return Element(name, code, np.dtype(stored), np.dtype(target))


_ELEMENTS = (
    _element("float32", "F32", "<f4", "=f4"),
    _element("float64", "F64", "<f8", "=f8"),
    _element("int64", "I64", "<i8", "=i8"),
    _element("bool", "BOOL", "?", "?"),
    _element("float16", "F16", "<f2", "=f4"),
    _element("bfloat16", "BF16", "<u2", "=f4"),
    _element("uint8", "U8", "u1", "=i8"),
    _element("int8", "I8", "i1", "=i8"),
    _element("int16", "I16", "<i2", "=i8"),
    _element("uint16", "U16", "<u2", "=i8"),
    _element("int32", "I32", "<i4", "=i8"),
    _element("uint32", "U32", "<u4", "=i8"),
    _element("uint64", "U64", "<u8", "=i8"),
)
BY_NAME = {each.name: each for each in _ELEMENTS}
BY_CODE = {each.code: each for each in _ELEMENTS}
# Bytes whose type stands beside each tensor.
UNTYPED = _element("untyped", "", "u1", "=i8")
_OWN = {each.target: each for each in _ELEMENTS[:4]}

VALID = "floats of 16 to 64 bits, integers and bool"


def refuse_type(name: str) -> Refused:
    """Return the error for an element type that no tensor holds."""
    return Refused(f"elements of type {name} are not supported; {VALID} are")


def element_of(array: Array) -> Element:
    """Return the element type of a tensor's array."""
    return _OWN[array.dtype]


Fill = Callable[[int, memoryview], None]
"""What puts the bytes from an offset on into a view."""


def read_values(fill: Fill, count: int, element: Element, *, big_endian: bool, raw: bool) -> Array:
    """Return `count` elements as a flat array of the tensor's type.

    Where nothing is to be converted, the bytes go where they stay; otherwise a chunk of them at a
    time goes through a small buffer.

    Parameters
    ----------
    fill : callable
        ``fill(offset, view)`` puts bytes of the data, in order, into a view.
    count : int
    element : Element
    big_endian : bool
        The order of the bytes in an element.
    raw : bool
        Keep the stored type instead.

    Raises
    ------
    Refused
        When a value is none of the type, or does not fit.
    """
    stored = element.stored.newbyteorder(">") if big_endian else element.stored
    target = element.stored.newbyteorder("=") if raw else element.target
    values = np.empty(count, target)
    if target == stored:
        fill(0, _bytes_of(values))
        check_values(values, element, raw)
        return values
    step = _CHUNK // element.itemsize
    buffer = np.empty(min(step, count), stored)
    for start in range(0, count, step):
        part = buffer[: count - start]
        fill(start * element.itemsize, _bytes_of(part))
        check_values(part, element, raw)
        _convert(part, values[start : start + step], element, raw)
    return values


def _bytes_of(array: Array) -> memoryview:
    return memoryview(array.view(np.uint8))  # type: ignore[arg-type]  # arrays have the protocol


def check_values(values: Array, element: Element, raw: bool) -> None:
    """Raise Refused where a stored value is none of the type, or does not fit the tensor's."""
    if not values.size:
        return
    if element.name == "bool" and values.view(np.uint8).max() > 1:
        raise Refused("elements of type bool must be bytes 0 and 1")
    if element.name == "uint64" and not raw and values.max() >> np.uint64(63):
        raise Refused("an element of type uint64 is too large for int64")


def _convert(part: Array, into: Array, element: Element, raw: bool) -> None:
    if element.name == "bfloat16" and not raw:
        bits = into.view(np.uint32)
        bits[...] = part
        bits <<= np.uint32(16)
    else:
        into[...] = part
