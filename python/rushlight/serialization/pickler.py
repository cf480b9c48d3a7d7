"""Writes the pickle of a PyTorch checkpoint: protocol 2, with the names of PyTorch's functions."""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any, NamedTuple

from rushlight.dtypes import Size, device, dtype
from rushlight.serialization.elements import Element
from rushlight.serialization.storages import Placed
from rushlight.serialization.torch_globals import STORAGES
from rushlight.serialization.tree import METADATA, SCALARS

__all__ = ["Pickler", "TensorRecord"]

_STORAGE_OF = {element: storage for storage, element in STORAGES.items()}


class TensorRecord(NamedTuple):
    """What the pickle says about a tensor; its storage has `numel` elements."""

    element: Element
    numel: int
    placed: Placed
    requires_grad: bool
    parameter: bool


class _Opcodes(bytes):
    """Opcodes among the values that wait to be written."""


class _Global(str):
    """The name of a global among them."""

    __slots__ = ()


class _Remember(int):
    """The ``id`` of what was just written, which gets an entry in the memo."""


_MARK, _TUPLE, _TUPLE1, _TUPLE3 = map(_Opcodes, (b"(", b"t", b"\x85", b"\x87"))
_REDUCE, _PERSISTENT = _Opcodes(b"R"), _Opcodes(b"Q")
_LIST, _APPENDS = _Opcodes(b"]"), _Opcodes(b"e")
_DICT, _SETITEMS, _BUILD = _Opcodes(b"}"), _Opcodes(b"u"), _Opcodes(b"b")
_NEW_ORDERED_DICT = (_Global("collections.OrderedDict"), _Opcodes(b")"), _REDUCE)


class Pickler:
    """Writes one value; `records` describe its tensors, by ``id``.

    What is not yet written waits on a stack, so that nesting costs no recursion.
    """

    def __init__(self, records: dict[int, TensorRecord]) -> None:
        self._records = records
        self._out = bytearray(b"\x80\x02")
        self._memo: dict[str | int, int] = {}  # entries of texts, and of objects by id

    def dump(self, obj: Any) -> bytearray:
        """Return the pickle of `obj`, which contains neither itself nor values of other types.

        Raises
        ------
        TypeError, ValueError
            When a key of a dict is of another type than str, int, bool and None, the versions of
            an OrderedDict are none, or a text cannot be encoded.
        """
        waiting: list[Any] = [obj]
        while waiting:
            value = waiting.pop()
            if isinstance(value, _Opcodes):
                self._out += value
            elif isinstance(value, _Remember):
                self._remember(int(value))
            elif isinstance(value, str) and not isinstance(value, device):
                self._text(value)
            elif isinstance(value, (int, float)) or value is None:
                self._out += _scalar(value)
            elif id(value) in self._memo:
                self._recall(id(value))
            else:
                waiting += reversed([*self._parts(value), _Remember(id(value))])
        self._out += b"."
        return self._out

    def _remember(self, key: str | int) -> None:
        number = self._memo.setdefault(key, len(self._memo))
        self._out += b"q%c" % number if number < 256 else b"r" + struct.pack("<I", number)

    def _recall(self, key: str | int) -> None:
        number = self._memo[key]
        self._out += b"h%c" % number if number < 256 else b"j" + struct.pack("<I", number)

    def _text(self, text: str) -> None:
        key = f"{type(text).__name__} {text}"
        if key in self._memo:
            self._recall(key)
            return
        if isinstance(text, _Global):
            module, _, name = text.rpartition(".")
            self._out += f"c{module}\n{name}\n".encode()
        else:
            try:
                encoded = text.encode()
            except UnicodeEncodeError as error:
                raise ValueError(f"save: a text cannot be written as UTF-8: {error}") from None
            self._out += b"X" + struct.pack("<I", len(encoded)) + encoded
        self._remember(key)

    def _parts(self, value: Any) -> Iterable[Any]:
        """Return what an object consists of: values and opcodes in the order of writing."""
        record = self._records.get(id(value))
        if record is not None:
            return _tensor_parts(record)
        if isinstance(value, device):
            return _Global("torch.device"), _text_of(value), _TUPLE1, _REDUCE
        if isinstance(value, dtype):
            return (_Global(f"torch.{value.name}"),)
        if isinstance(value, Size):
            return _Global("torch.Size"), *_tuple_parts(value), _TUPLE1, _REDUCE
        if isinstance(value, tuple):
            return _tuple_parts(value)
        if isinstance(value, list):
            return _LIST, _MARK, *value, _APPENDS
        return _dict_parts(value)


def _tuple_parts(values: Iterable[Any]) -> tuple[Any, ...]:
    return _MARK, *values, _TUPLE


def _text_of(value: device) -> str:
    return str.__str__(value)


def _dict_parts(value: dict[Any, Any]) -> Iterable[Any]:
    entries: list[Any] = []
    for key, each in value.items():
        if type(key) not in (str, int, bool, type(None)):
            raise TypeError(
                f"save: keys must be of type str, int, bool or None, but got {key!r:.80}"
            )
        entries += (key, each)
    if not isinstance(value, OrderedDict):
        return _DICT, _MARK, *entries, _SETITEMS
    state: tuple[Any, ...] = ()
    if hasattr(value, METADATA):
        state = _DICT, _MARK, METADATA, _versions(getattr(value, METADATA)), _SETITEMS, _BUILD
    return *_NEW_ORDERED_DICT, _MARK, *entries, _SETITEMS, *state


def _versions(metadata: Any) -> Any:
    """Return the versions of a module's parts, which are plain values in dicts."""
    if not isinstance(metadata, dict) or not all(
        isinstance(part, dict) and all(type(each) in SCALARS for each in part.values())
        for part in metadata.values()
    ):
        raise TypeError(f"save: the attribute {METADATA} of a state dict must map names to dicts")
    return metadata


def _tensor_parts(record: TensorRecord) -> Iterable[Any]:
    storage = _STORAGE_OF.get(record.element.name)
    placed = record.placed
    # Types without a storage class are stored as bytes, with their type beside the tensor.
    count = record.numel if storage else record.numel * record.element.itemsize
    identifier = (
        "storage",
        _Global(f"torch.{storage}" if storage else "torch.storage.UntypedStorage"),
        str(placed.storage),
        "cpu",
        count,
    )
    parts = (
        _Global(f"torch._utils._rebuild_tensor_v{2 if storage else 3}"),
        _MARK,
        *(*_tuple_parts(identifier), _PERSISTENT),
        placed.offset,
        *_tuple_parts(placed.shape),
        *_tuple_parts(placed.strides),
        record.requires_grad and not record.parameter,
        *_NEW_ORDERED_DICT,
        *(() if storage else (_Global(f"torch.{record.element.name}"),)),
        _TUPLE,
        _REDUCE,
    )
    if not record.parameter:
        return parts
    return (
        *(_Global("torch._utils._rebuild_parameter"), *parts, record.requires_grad),
        *(*_NEW_ORDERED_DICT, _TUPLE3, _REDUCE),
    )


def _scalar(value: bool | int | float | None) -> bytes:
    if value is None:
        return b"N"
    if isinstance(value, bool):
        return b"\x88" if value else b"\x89"
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    if 0 <= value < 256:
        return b"K%c" % value
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    encoded = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    if len(encoded) > 64:
        raise ValueError("save: an integer of more than 64 bytes")
    return b"\x8a%c" % len(encoded) + encoded
