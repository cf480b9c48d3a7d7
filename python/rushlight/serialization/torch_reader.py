"""PyTorch's two formats: the zip archive since 1.6, and the stream of pickles before.

An archive holds ``data.pkl``, a pickle whose tensors refer to storages by key, and each storage as
``data/KEY``. The older stream holds the pickles of a magic number, a protocol number, facts about
the writer, the object, and the list of the storages' keys; then the storages, each after its
number of elements, little-endian.
"""

from __future__ import annotations

from typing import Any

from rushlight.serialization.archive import Inflater, read_directory
from rushlight.serialization.elements import UNTYPED
from rushlight.serialization.errors import Refused, show
from rushlight.serialization.machine import Machine, NeedsMore
from rushlight.serialization.source import Source
from rushlight.serialization.specs import Block, StorageSpec, StorageView
from rushlight.serialization.torch_globals import Allowed, StorageType

__all__ = ["read_legacy", "read_zip"]

_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_LARGEST = 2**63 - 1
_WINDOW = 1 << 18  # bytes of a stream that are read at first: most pickles end there
_STORAGE_COST = 1024  # bytes of memory for what is known of a storage, and its array
_RECORD_LIMIT = 64


class _Storages:
    """The storages that a pickle refers to, by key."""

    def __init__(self, source: Source, big_endian: bool = False) -> None:
        self.by_key: dict[str, StorageSpec] = {}
        self._source, self._big_endian = source, big_endian

    def refer(self, identifier: Any) -> StorageView:
        """Return what a persistent identifier of a pickle refers to."""
        if type(identifier) is not tuple or not identifier or identifier[0] != "storage":
            kind = identifier[0] if type(identifier) is tuple and identifier else identifier
            raise Refused(f"a persistent identifier of kind {show(kind)}; only storages are read")
        if len(identifier) not in (5, 6):
            raise Refused(f"a storage described by {len(identifier)} values")
        _, kind, key, location, count = identifier[:5]
        if (
            not isinstance(kind, StorageType)
            or type(key) is not str
            or type(location) is not str
            or type(count) is not int
            or not 0 <= count <= _LARGEST
        ):
            raise Refused(f"a storage that is described by {', '.join(map(show, identifier))}")
        nbytes = count * kind.element.itemsize
        storage = self.by_key.get(key)
        if storage is None:
            self._source.spend(_STORAGE_COST, "a storage")
            storage = self.by_key[key] = StorageSpec(key, kind.element, count, self._big_endian)
        elif kind.element is not UNTYPED:
            storage.retype(kind.element)
        if storage.nbytes != nbytes:
            raise Refused(f"storage {show(key)} has {storage.nbytes} bytes and {nbytes}")
        return _part(storage, identifier[5] if len(identifier) == 6 else None)


def _part(storage: StorageSpec, view: Any) -> StorageView:
    """Return the part of a storage that a view of it, as old versions wrote them, describes."""
    if view is None:
        return StorageView(storage, 0, storage.nbytes)
    if type(view) is not tuple or len(view) != 3 or any(type(n) is not int for n in view[1:]):
        raise Refused("a view of a storage is described by something else than three values")
    _, start, count = view
    if start < 0 or count < 0 or start + count > storage.count:
        raise Refused(f"a view of {count} elements at {start} reaches outside its storage")
    size = storage.element.itemsize
    return StorageView(storage, start * size, count * size)


# -- the archive ----------------------------------------------------------------------------


def read_zip(source: Source) -> tuple[Any, dict[str, str]]:
    """Return the tree of a zip archive and what its small records say."""
    blocks = read_directory(source)
    prefix = _prefix(source, blocks)
    records = {
        name: _record(source, blocks.get(prefix + name), name) for name in ("version", "byteorder")
    }
    order = records["byteorder"] or "little"
    if order not in ("little", "big"):
        raise source.error(f"the byte order is {show(order)}; little and big are known")
    pickle = blocks[f"{prefix}data.pkl"]
    data = _read_block(source, pickle, "data.pkl")
    storages = _Storages(source, order == "big")
    machine = Machine(source, data, pickle.offset, Allowed(source.size).find, storages.refer)
    try:
        root, end = machine.run()
    except NeedsMore:
        raise source.error("truncated: data.pkl ends inside a value", pickle.offset) from None
    if end != len(data):
        raise source.error("damaged: data.pkl goes on behind its end", pickle.offset + end)
    for key, storage in storages.by_key.items():
        storage.block = _storage_block(source, blocks.get(f"{prefix}data/{key}"), storage)
    return root, {name: text for name, text in records.items() if text is not None}


def _prefix(source: Source, blocks: dict[str, Block]) -> str:
    """Return the folder in the archive that holds everything, with its slash."""
    found = [name for name in blocks if name == "data.pkl" or name.endswith("/data.pkl")]
    found = [name for name in found if name.count("/") <= 1]
    if len(found) != 1:
        raise source.error(
            f"no PyTorch checkpoint: a zip archive with {len(found)} entries called data.pkl"
        )
    return found[0].removesuffix("data.pkl")


def _record(source: Source, block: Block | None, name: str) -> str | None:
    if block is None:
        return None
    if block.size > _RECORD_LIMIT:
        raise source.error(f"the record {name} has {block.size} bytes", block.offset)
    return _read_block(source, block, name).decode("ascii", "replace").strip()


def _read_block(source: Source, block: Block, what: str) -> bytearray:
    if block.packed is None:
        return source.read(block.offset, block.size, what)
    source.spend(block.size, f"{what}, inflated,", block.offset)
    data = bytearray(block.size)
    Inflater(source, block, what).fill(memoryview(data))
    return data


def _storage_block(source: Source, block: Block | None, storage: StorageSpec) -> Block:
    what = f"storage {show(storage.key)}"
    if block is None:
        raise source.error(f"{what} is missing in the archive")
    if block.size != storage.nbytes:
        raise source.error(
            f"{what} has {block.size} bytes, but {storage.nbytes} are announced", block.offset
        )
    source.spend(block.size, what, block.offset)
    return block


# -- the stream -----------------------------------------------------------------------------


def read_legacy(source: Source) -> tuple[Any, dict[str, str]]:
    """Return the tree of the older format and what its first pickles say."""
    window = _WINDOW
    while True:
        window = min(window, source.size)
        data = source.read(0, window, "the pickles")
        try:
            return _read_stream(source, data)
        except NeedsMore:
            if window == source.size:
                raise source.error("truncated: the file ends inside a pickle", window) from None
            window *= 4


def _read_stream(source: Source, data: bytearray) -> tuple[Any, dict[str, str]]:
    storages = _Storages(source)
    machine = Machine(source, data, 0, Allowed(source.size).find, storages.refer)
    number, at = machine.run()
    if number != _MAGIC_NUMBER:
        raise source.error("a pickle, but none that PyTorch's save wrote", 0)
    protocol, at = machine.run(at)
    if protocol != _PROTOCOL:
        raise source.error(f"the legacy format's version is {show(protocol)}, not {_PROTOCOL}", at)
    _, at = machine.run(at)  # facts about the writer's machine, which the data do not depend on
    root, at = machine.run(at)
    keys, at = machine.run(at)
    if type(keys) is not list or any(type(key) is not str for key in keys):
        raise source.error("the keys of the storages are no list of texts", at)
    if len(set(keys)) != len(keys) or set(keys) != storages.by_key.keys():
        raise source.error("the keys of the storages are not those of the tensors", at)
    for key in keys:
        at = _place(source, storages.by_key[key], at)
    return root, {"protocol": str(protocol)}


def _place(source: Source, storage: StorageSpec, at: int) -> int:
    """Note where the bytes of a storage lie; return where they end."""
    what = f"storage {show(storage.key)}"
    head = bytearray(8)
    source.read_into(at, memoryview(head), f"the size of {what}")
    count = int.from_bytes(head, "little", signed=True)
    if count != storage.announced:
        raise source.error(
            f"{what} has {count} elements, but {storage.announced} are announced", at
        )
    source.check(at + 8, storage.nbytes, what)
    source.spend(storage.nbytes, what, at + 8)
    storage.block = Block(at + 8, storage.nbytes)
    return at + 8 + storage.nbytes
