"""The directory of a zip archive: names and places of its entries, trusted in nothing.

Format: APPNOTE.TXT of PKWARE, with the 64-bit records. PyTorch's archives are plain ones: entries
stored as they are, aligned to 64 bytes.
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import NamedTuple

from rushlight.serialization.source import Source
from rushlight.serialization.specs import Block

__all__ = ["MAGIC", "Inflater", "read_directory"]

MAGIC = b"PK\x03\x04"

_ENTRY_COST = 512  # bytes of memory for what is kept of one
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_LONGEST_COMMENT = 0xFFFF
_STORED, _DEFLATED = 0, 8
_ENCRYPTED = 0x1 | 0x40
_CHUNK = 1 << 18
_ABSOLUTE = re.compile(r"[/\\]|[A-Za-z]:[/\\]")


class _Entry(NamedTuple):
    name: str
    method: int
    crc: int
    packed: int
    size: int
    header: int


def read_directory(source: Source) -> dict[str, Block]:
    """Return where the bytes of each entry lie, by name.

    Raises
    ------
    CheckpointError
        When the archive is damaged; when a name is absolute, leads out of the archive or stands
        there twice; when entries overlap, are encrypted or packed by other methods than deflate.
    """
    offset, size, count = _find_directory(source)
    source.spend(count * _ENTRY_COST + size, f"a zip directory of {count} entries", offset)
    entries = _read_entries(source, offset, size, count)
    blocks: dict[str, Block] = {}
    end, previous = 0, ""
    for entry in sorted(entries, key=lambda each: each.header):
        if entry.header < end:
            raise source.error(
                f"zip entries {previous!r:.80} and {entry.name!r:.80} overlap", entry.header
            )
        blocks[entry.name] = _block(source, entry)
        end, previous = blocks[entry.name].offset + entry.packed, entry.name
    if end > offset:
        raise source.error(f"zip entry {previous!r:.80} overlaps the directory", offset)
    return blocks


def _find_directory(source: Source) -> tuple[int, int, int]:
    """Return offset, size and number of entries of the central directory."""
    tail = max(0, source.size - _END.size - _LONGEST_COMMENT)
    data = source.read(tail, source.size - tail, "the end of the zip archive")
    at = data.rfind(b"PK\x05\x06", 0, len(data) - _END.size + 4)
    if at < 0:
        raise source.error("truncated: a zip archive without its directory", source.size)
    _, disk, first_disk, here, count, size, offset, _ = _END.unpack_from(data, at)
    end = tail + at
    if 0xFFFF in (disk, first_disk, here, count) or 0xFFFFFFFF in (size, offset):
        end, disk, first_disk, here, count, size, offset = _find_directory64(source, end)
    if disk or first_disk or here != count:
        raise source.error("a zip archive in several parts is not supported", end)
    if offset + size > end:
        raise source.error(
            f"the zip directory of {size} bytes at {offset} reaches behind its end", tail + at
        )
    return offset, size, count


def _find_directory64(source: Source, end: int) -> tuple[int, ...]:
    """Return what the 64-bit record says: its place, disks, counts, size and offset."""
    at = end - _LOCATOR.size
    if at < 0:
        raise source.error("damaged: the 64-bit record of the zip archive is missing", end)
    mark, disk, place, disks = _LOCATOR.unpack(source.read(at, _LOCATOR.size, "the zip locator"))
    if mark != b"PK\x06\x07" or disk or disks > 1 or place + _END64.size > at:
        raise source.error("damaged: the locator of the zip directory is wrong", at)
    record = _END64.unpack(source.read(place, _END64.size, "the 64-bit zip record"))
    mark, _, _, _, disk, first_disk, here, count, size, offset = record
    if mark != b"PK\x06\x06":
        raise source.error("damaged: the 64-bit record of the zip directory is wrong", place)
    return place, disk, first_disk, here, count, size, offset


def _read_entries(source: Source, offset: int, size: int, count: int) -> list[_Entry]:
    data = source.read(offset, size, "the zip directory")
    entries: list[_Entry] = []
    names: set[str] = set()
    at = 0
    for _ in range(count):
        if at + _CENTRAL.size > size:
            raise source.error("damaged: the zip directory ends too early", offset + at)
        fields = _CENTRAL.unpack_from(data, at)
        mark, _, _, flags, method, _, _, crc, packed, full, n, extra, comment = fields[:13]
        disk, header = fields[13], fields[16]
        start = at + _CENTRAL.size
        stop = start + n + extra + comment
        if mark != b"PK\x01\x02" or stop > size:
            raise source.error("damaged: an entry of the zip directory is wrong", offset + at)
        name = _name(source, bytes(data[start : start + n]), offset + at)
        if name in names:
            raise source.error(f"zip entry {name!r:.80} stands there twice", offset + at)
        if flags & _ENCRYPTED:
            raise source.error(f"zip entry {name!r:.80} is encrypted", offset + at)
        sizes = _sizes64(bytes(data[start + n : start + n + extra]), full, packed, header)
        if sizes is None or disk not in (0, 0xFFFF):
            raise source.error(f"damaged: the sizes of zip entry {name!r:.80}", offset + at)
        full, packed, header = sizes
        if method not in (_STORED, _DEFLATED) or (method == _STORED and packed != full):
            raise source.error(
                f"zip entry {name!r:.80} is packed by method {method}, sizes {packed} and {full}; "
                "stored and deflated ones are read",
                offset + at,
            )
        names.add(name)
        entries.append(_Entry(name, method, crc, packed, full, header))
        at = stop
    if at != size:
        raise source.error("damaged: bytes left over in the zip directory", offset + at)
    return entries


def _name(source: Source, encoded: bytes, offset: int) -> str:
    try:
        name = encoded.decode()
    except UnicodeDecodeError:
        raise source.error(f"the zip entry name {encoded!r:.80} is no UTF-8", offset) from None
    if not name or _ABSOLUTE.match(name) or ".." in re.split(r"[/\\]", name) or "\0" in name:
        raise source.error(f"unsafe name {name!r:.80} of a zip entry", offset)
    return name


def _sizes64(extra: bytes, full: int, packed: int, header: int) -> tuple[int, int, int] | None:
    """Take the numbers that did not fit 32 bits from the extra field; None where they lack."""
    wanted = [value == 0xFFFFFFFF for value in (full, packed, header)]
    if not any(wanted):
        return full, packed, header
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            if length < 8 * sum(wanted) or at + 4 + length > len(extra):
                return None
            longer = iter(struct.unpack_from(f"<{sum(wanted)}Q", extra, at + 4))
            found = [
                next(longer) if is_long else value
                for is_long, value in zip(wanted, (full, packed, header), strict=True)
            ]
            return found[0], found[1], found[2]
        at += 4 + length
    return None


def _block(source: Source, entry: _Entry) -> Block:
    what = f"zip entry {entry.name!r:.80}"
    source.check(entry.header, _LOCAL.size, what)
    header = bytearray(_LOCAL.size)
    source.read_into(entry.header, memoryview(header), what)
    mark, _, _, method, _, _, _, _, _, n, extra = _LOCAL.unpack(header)
    if mark != MAGIC or method != entry.method:
        raise source.error(f"damaged: the header of {what}", entry.header)
    offset = entry.header + _LOCAL.size + n + extra
    source.check(offset, entry.packed, what)
    return Block(offset, entry.size, entry.packed if entry.method == _DEFLATED else None, entry.crc)


class Inflater:
    """Unpacks a deflated entry from its start to its end, and checks length and checksum."""

    def __init__(self, source: Source, block: Block, what: str) -> None:
        assert block.packed is not None
        self._source, self._block, self._what = source, block, what
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self._buffer = memoryview(bytearray(min(_CHUNK, block.packed)))
        self._read = self._done = self._crc = 0

    def fill(self, view: memoryview) -> None:
        """Put the next bytes into `view`; with the last ones, check that these are all."""
        at = 0
        while at < len(view):
            out = self._next(min(_CHUNK, len(view) - at))
            if not out:
                raise self._damaged("ends too early")
            view[at : at + len(out)] = out
            at += len(out)
        self._done += len(view)
        if self._done == self._block.size:
            if self._next(1) or not self._inflater.eof:
                raise self._damaged("unpacks to more than is announced")
            if self._crc != self._block.crc:
                raise self._damaged("does not have the checksum that is announced")

    def _next(self, most: int) -> bytes:
        """Return up to `most` bytes; none at the end."""
        pending: bytes | memoryview = self._inflater.unconsumed_tail
        while not self._inflater.eof:
            if not pending:
                pending = self._buffer[: (self._block.packed or 0) - self._read]
                self._source.read_into(self._block.offset + self._read, pending, self._what)
                self._read += len(pending)
            exhausted = not pending
            try:
                out = self._inflater.decompress(pending, most)
            except zlib.error as error:
                raise self._damaged(str(error)) from None
            if out or exhausted:
                self._crc = zlib.crc32(out, self._crc)
                return out
            pending = self._inflater.unconsumed_tail
        return b""

    def _damaged(self, reason: str) -> Exception:
        return self._source.error(f"damaged: {self._what} {reason}", self._block.offset)
