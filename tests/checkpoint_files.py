"""Makes PyTorch's files byte by byte, right and wrong ones, without PyTorch."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

STORED = Path(__file__).parent / "checkpoints"

MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
LEGACY_HEAD = MAGIC + b"\x80\x02M\xe9\x03." + b"\x80\x02}."


def text(value: str) -> bytes:
    """Return the opcode that pushes a text."""
    encoded = value.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def number(value: int) -> bytes:
    """Return the opcode that pushes an integer."""
    encoded = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(encoded)]) + encoded


def call(name: str, *args: bytes) -> bytes:
    """Return the opcodes that call a global."""
    module, _, short = name.rpartition(".")
    return f"c{module}\n{short}\n".encode() + b"(" + b"".join(args) + b"tR"


def values(*numbers: int) -> bytes:
    """Return the opcodes that push a tuple of integers."""
    return b"(" + b"".join(map(number, numbers)) + b"t"


def storage(
    key: str = "0", kind: str = "FloatStorage", count: int = 6, legacy: bool = False
) -> bytes:
    """Return the opcodes that refer to a storage."""
    module = "torch.storage" if kind == "UntypedStorage" else "torch"
    name = f"c{module}\n{kind}\n".encode()
    end = b"NtQ" if legacy else b"tQ"
    return b"(" + text("storage") + name + text(key) + text("cpu") + number(count) + end


ORDERED = b"ccollections\nOrderedDict\n)R"


def tensor(
    shape: tuple[int, ...] = (2, 3),
    strides: tuple[int, ...] = (3, 1),
    offset: int = 0,
    of: bytes | None = None,
) -> bytes:
    """Return the opcodes that make a tensor."""
    return call(
        "torch._utils._rebuild_tensor_v2",
        *(storage() if of is None else of, number(offset), values(*shape), values(*strides)),
        *(b"\x89", ORDERED),
    )


def pickled(body: bytes) -> bytes:
    """Return a pickle of protocol 2."""
    return b"\x80\x02" + body + b"."


DATA = struct.pack("<6f", *range(6))


def archive(
    pickle: bytes,
    data: Mapping[str, bytes] | None = None,
    *,
    folder: str = "archive/",
    byteorder: bytes | None = b"little",
    method: int = zipfile.ZIP_STORED,
) -> bytes:
    """Return a zip archive as PyTorch lays it out, but written by Python's library."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as file:
        file.writestr(f"{folder}data.pkl", pickle)
        if byteorder is not None:
            file.writestr(f"{folder}byteorder", byteorder)
        for key, content in ({"0": DATA} if data is None else data).items():
            file.writestr(f"{folder}data/{key}", content)
        file.writestr(f"{folder}version", b"3\n")
    return out.getvalue()


def legacy(body: bytes, keys: bytes = b"]", data: bytes = b"") -> bytes:
    """Return a file of the older format."""
    return LEGACY_HEAD + pickled(body) + pickled(keys) + data


def legacy_data(content: bytes = DATA, count: int = 6) -> bytes:
    """Return a storage as the older format writes it."""
    return struct.pack("<q", count) + content


def repacked(content: bytes, method: int, swap: Mapping[str, int] | None = None) -> bytes:
    """Return an archive packed anew; `swap` gives the bytes in an element by storage key.

    With it, the elements are turned round and the archive says that they are big-endian.
    """
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w", method) as new:
        for info in old.infolist():
            data = old.read(info)
            folder, _, key = info.filename.rpartition("/")
            if swap is not None and folder.endswith("/data"):
                size = swap[key]
                parts = [data[at : at + size][::-1] for at in range(0, len(data), size)]
                data = b"".join(parts)
            if swap is not None and key == "byteorder":
                data = b"big"
            new.writestr(info.filename, data)
    return out.getvalue()
