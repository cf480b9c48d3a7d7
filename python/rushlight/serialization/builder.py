"""From specs to tensors: the one pass over the data."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from rushlight import dtypes
from rushlight.autograd.base import wrap
from rushlight.dtypes import Array, device
from rushlight.nn.parameter import Parameter
from rushlight.serialization.archive import Inflater
from rushlight.serialization.elements import Element, check_values, read_values
from rushlight.serialization.errors import Refused, show
from rushlight.serialization.source import Source
from rushlight.serialization.specs import DtypeSpec, StorageSpec, TensorSpec
from rushlight.tensor import Tensor

__all__ = ["Builder", "RawTensor"]


class RawTensor(NamedTuple):
    """A tensor in the element type of the file, as it is carried from one format to another."""

    element: Element
    array: Array
    requires_grad: bool
    parameter: bool


class Builder:
    """Makes the tensors of one file.

    Tensors that share a storage in the file share memory, and the count of its changes.

    Parameters
    ----------
    source : Source
    mmap : bool
        Let tensors lie in a private map of the file where nothing has to be converted.
    raw : bool
        Make a :class:`RawTensor` of each instead.
    """

    def __init__(self, source: Source, *, mmap: bool = False, raw: bool = False) -> None:
        self._source, self._raw = source, raw
        self._map = source.mapped() if mmap else None
        self._arrays: dict[StorageSpec, Array] = {}
        self._first: dict[StorageSpec, Tensor] = {}

    def leaf(self, value: Any) -> Any:
        """Return what a leaf of the file's tree stands for; raise Refused for what is no value."""
        if isinstance(value, TensorSpec):
            return self._raw_tensor(value) if self._raw else self._tensor(value)
        if isinstance(value, DtypeSpec):
            return dtypes.as_dtype(value.element.target)
        if isinstance(value, device):
            return value
        raise Refused(f"{show(value)} where a tensor or a plain value should be")

    def once(self, spec: TensorSpec) -> Tensor:
        """Return a tensor, and forget it where its memory is its own."""
        tensor = self._tensor(spec)
        if self._map is None or not np.may_share_memory(tensor._array, self._map):
            del self._arrays[spec.storage], self._first[spec.storage]
        return tensor

    def _raw_tensor(self, spec: TensorSpec) -> RawTensor:
        return RawTensor(
            spec.storage.element, self._array(spec), spec.requires_grad, spec.parameter
        )

    def _tensor(self, spec: TensorSpec) -> Tensor:
        tensor = wrap(self._array(spec))
        first = self._first.setdefault(spec.storage, tensor)
        if first is not tensor:
            tensor._share_storage(first)
        if spec.parameter:
            return Parameter(tensor, spec.requires_grad)
        if spec.requires_grad:
            tensor.requires_grad = True
        return tensor

    def _array(self, spec: TensorSpec) -> Array:
        flat = self._arrays.get(spec.storage)
        if flat is None:
            flat = self._arrays[spec.storage] = self._read(spec.storage)
        if not spec.numel:
            return np.empty(spec.shape, flat.dtype)
        size = flat.itemsize
        strides = tuple(step * size for step in spec.strides)
        view: Array = np.ndarray(spec.shape, flat.dtype, flat, spec.offset * size, strides)
        return view

    def _read(self, storage: StorageSpec) -> Array:
        assert storage.block is not None
        try:
            flat = self._mapped(storage)
            if flat is None:
                flat = self._copied(storage)
        except Refused as error:
            raise self._source.error(str(error), storage.block.offset) from None
        return flat

    def _mapped(self, storage: StorageSpec) -> Array | None:
        """Return the storage where it lies in the map, or None when it has to be copied."""
        element, block = storage.element, storage.block
        assert block is not None
        stored = element.stored.newbyteorder(">") if storage.big_endian else element.stored
        if (
            self._map is None
            or block.packed is not None
            or block.offset % stored.itemsize
            or not (stored.isnative if self._raw else stored == element.target)
        ):
            return None
        flat = self._map[block.offset : block.offset + block.size].view(stored)
        check_values(flat, element, self._raw)
        return flat

    def _copied(self, storage: StorageSpec) -> Array:
        source, block = self._source, storage.block
        assert block is not None
        what = f"storage {show(storage.key)}"
        if block.packed is None:
            start = block.offset

            def fill(offset: int, view: memoryview) -> None:
                source.read_into(start + offset, view, what)
        else:
            inflater = Inflater(source, block, what)

            def fill(offset: int, view: memoryview) -> None:
                inflater.fill(view)

        return read_values(
            fill, storage.count, storage.element, big_endian=storage.big_endian, raw=self._raw
        )
