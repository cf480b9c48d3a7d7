"""Writes a zip archive of stored entries, whose bytes begin at multiples of 64."""

from __future__ import annotations

import struct
import zlib
from typing import IO, NamedTuple

__all__ = ["ArchiveWriter"]

_ALIGNMENT = 64
_UTF8 = 0x800  # the flag that says how names are encoded
_FIRST_DAY = 0x21  # 1980-01-01: the same contents give the same bytes
_LONG, _LONG_COUNT = 0xFFFFFFFF, 0xFFFF
_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")


class _Written(NamedTuple):
    name: bytes
    crc: int
    size: int
    header: int


class ArchiveWriter:
    """Writes entries one after the other to `out`, and at last the directory."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out, self._at = out, 0
        self._entries: list[_Written] = []

    def add(self, name: str, data: memoryview) -> None:
        """Write an entry; `data` are bytes."""
        encoded, size, crc = name.encode(), len(data), zlib.crc32(data)
        self._entries.append(_Written(encoded, crc, size, self._at))
        extra = struct.pack("<2H2Q", 1, 16, size, size) if size >= _LONG else b""
        # Padding in an extra field of the kind that PyTorch uses.
        padding = -(self._at + _LOCAL.size + len(encoded) + len(extra) + 4) % _ALIGNMENT
        extra += struct.pack("<2s H", b"FB", padding) + bytes(padding)
        short = min(size, _LONG)
        self._write(
            _LOCAL.pack(
                *(b"PK\x03\x04", _version(size), _UTF8, 0, 0, _FIRST_DAY),
                *(crc, short, short, len(encoded), len(extra)),
            )
            + encoded
            + extra
        )
        self._write(data)

    def finish(self) -> None:
        """Write the directory."""
        start = self._at
        for entry in self._entries:
            self._write(_central(entry))
        size, count = self._at - start, len(self._entries)
        if start + size >= _LONG or count >= _LONG_COUNT:
            self._write(
                struct.pack("<4sQ2H2L", b"PK\x06\x06", 44, 45, 45, 0, 0)
                + struct.pack("<4Q", count, count, size, start)
                + struct.pack("<4sLQL", b"PK\x06\x07", 0, start + size, 1)
            )
        short_count = min(count, _LONG_COUNT)
        self._write(
            struct.pack(
                "<4s4H2LH",
                *(b"PK\x05\x06", 0, 0, short_count, short_count),
                *(min(size, _LONG), min(start, _LONG), 0),
            )
        )

    def _write(self, data: bytes | memoryview) -> None:
        self._out.write(data)
        self._at += len(data)


def _version(size: int) -> int:
    return 45 if size >= _LONG else 20


def _central(entry: _Written) -> bytes:
    numbers = [entry.size, entry.size] if entry.size >= _LONG else []
    if entry.header >= _LONG:
        numbers.append(entry.header)
    extra = struct.pack(f"<2H{len(numbers)}Q", 1, 8 * len(numbers), *numbers) if numbers else b""
    short, version = min(entry.size, _LONG), 45 if numbers else 20
    return (
        _CENTRAL.pack(
            *(b"PK\x01\x02", version, version, _UTF8, 0, 0, _FIRST_DAY),
            *(entry.crc, short, short, len(entry.name), len(extra)),
            *(0, 0, 0, 0, min(entry.header, _LONG)),
        )
        + entry.name
        + extra
    )
