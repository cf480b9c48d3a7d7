"""A file of any of the formats, taken apart and checked, with no tensor read yet."""

from __future__ import annotations

from typing import Any, NamedTuple

from rushlight.serialization import torch_reader
from rushlight.serialization.safetensors import HEADER_LIMIT, read_header
from rushlight.serialization.source import Source

__all__ = ["Contents", "read_contents"]

_START = 512


class Contents(NamedTuple):
    """What is in a file: its format, a tree with specs for tensors, and the text beside them."""

    format: str
    root: Any
    metadata: dict[str, str]


def read_contents(source: Source) -> Contents:
    """Find out the format and read everything but the data of the tensors.

    Raises
    ------
    CheckpointError
        When the file is of no known format, damaged, or holds what is not allowed.
    """
    start = bytearray(min(_START, source.size))
    source.read_into(0, memoryview(start), "the start of the file")
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return Contents("PyTorch, zip", *torch_reader.read_zip(source))
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= HEADER_LIMIT:
        return Contents("safetensors", *read_header(source))
    if start[:1] == b"\x80":
        return Contents("PyTorch, legacy", *torch_reader.read_legacy(source))
    if start[257:262] == b"ustar":
        raise source.error("a tar archive, as PyTorch wrote before 0.1.10, is not supported")
    raise source.error(
        "no checkpoint: neither safetensors nor PyTorch's formats start like this"
        if start
        else "no checkpoint: the file is empty",
        0,
    )
