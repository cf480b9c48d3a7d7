"""What a file says about its tensors, checked, before any of their data is read.

Reading a file makes a tree of lists, tuples and dicts with a :class:`TensorSpec` where a tensor
will be. Only when all of it was checked is memory taken for the data.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from rushlight.serialization.elements import UNTYPED, Element
from rushlight.serialization.errors import Refused, show
from rushlight.serialization.source import ALLOWANCE

__all__ = [
    "MAX_DIMS",
    "Block",
    "DtypeSpec",
    "StorageSpec",
    "StorageView",
    "TensorSpec",
    "tensor_spec",
]

MAX_DIMS = 64 if int(np.__version__.split(".")[0]) >= 2 else 32  # NumPy's own limit
_LARGEST = 2**63 - 1


class Block(NamedTuple):
    """Bytes in the file: `size` of them, which take `packed` where they are deflated."""

    offset: int
    size: int
    packed: int | None = None
    crc: int = 0


class StorageSpec:
    """A piece of memory that tensors share.

    `announced` counts the elements of the type that it is first said to have; `block` is where its
    bytes are, once that is known.
    """

    __slots__ = ("announced", "big_endian", "block", "element", "key", "nbytes")

    def __init__(
        self, key: str, element: Element, announced: int, big_endian: bool = False
    ) -> None:
        self.key, self.element, self.announced = key, element, announced
        self.nbytes = announced * element.itemsize
        self.big_endian = big_endian
        self.block: Block | None = None

    @property
    def count(self) -> int:
        """The number of elements."""
        return self.nbytes // self.element.itemsize

    def retype(self, element: Element) -> None:
        """Take the element type with which untyped bytes are used; there can be one only."""
        if self.element is UNTYPED:
            self.element = element
        elif element is not self.element:
            raise Refused(
                f"storage {show(self.key)} is used as {element.name} and as {self.element.name}"
            )


class StorageView(NamedTuple):
    """A part of a storage, in bytes."""

    storage: StorageSpec
    start: int
    nbytes: int


class DtypeSpec(NamedTuple):
    """An element type as a value: what ``torch.float16`` in a checkpoint becomes."""

    element: Element


class TensorSpec(NamedTuple):
    """A strided view of a storage; offset and strides count elements.

    `parameter` tells a parameter from a tensor.
    """

    storage: StorageSpec
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    requires_grad: bool = False
    parameter: bool = False

    @property
    def numel(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all elements in the type that the file has."""
        return self.numel * self.storage.element.itemsize

    @property
    def is_contiguous(self) -> bool:
        """Whether the elements lie in row-major order without gaps."""
        expected = 1
        for size, stride in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if size != 1 and stride != expected:
                return not self.numel
            expected *= size
        return True


def tensor_spec(
    view: StorageView, offset: Any, shape: Any, strides: Any, requires_grad: Any, file_size: int
) -> TensorSpec:
    """Check what a file says about a tensor against its storage.

    Raises
    ------
    Refused
        When a number is none, is negative or reaches outside the storage.
    """
    if not _all_whole((offset,)) or not _all_whole(shape) or not _all_whole(strides):
        raise Refused(
            "offset, shape and strides of a tensor must be whole numbers from 0 on, at most "
            f"{MAX_DIMS} each, but are {show(offset)}, {show(shape)} and {show(strides)}"
        )
    if len(shape) != len(strides):
        raise Refused(f"a tensor has {len(shape)} dimensions, but {len(strides)} strides")
    if type(requires_grad) is not bool:
        raise Refused(f"requires_grad must be a bool, but is {show(requires_grad)}")
    element = view.storage.element
    if requires_grad and element.target.kind != "f":
        raise Refused(f"a tensor of {element.name} cannot require a gradient")
    check_extent(shape, element, file_size)
    end = offset + 1 + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    available = view.nbytes // element.itemsize
    if (offset if 0 in shape else end) > available:
        raise Refused(
            f"a tensor of shape {list(shape)!r:.80}, strides {list(strides)!r:.80} and offset "
            f"{offset} does not fit the {available} elements of storage {show(view.storage.key)}"
        )
    if view.start % element.itemsize:
        raise Refused(f"storage {show(view.storage.key)} is cut inside an element")
    start = view.start // element.itemsize + offset
    return TensorSpec(view.storage, start, tuple(shape), tuple(strides), requires_grad)


def check_extent(shape: tuple[int, ...], element: Element, file_size: int) -> None:
    """Refuse a tensor that no memory granted to the file could hold.

    One that is expanded is larger than its storage: loading it takes nothing, using it may copy it.
    """
    whole = math.prod(max(size, 1) for size in shape) * element.itemsize
    limit = _LARGEST // 8 if 0 in shape else file_size + ALLOWANCE
    if whole > limit:
        raise Refused(f"a tensor of shape {list(shape)!r:.80} would take {whole} bytes")


def _all_whole(values: Any) -> bool:
    return (
        isinstance(values, tuple)
        and len(values) <= MAX_DIMS
        and all(type(value) is int and 0 <= value <= _LARGEST for value in values)
    )
