"""The safetensors format: a JSON header and the bytes of the tensors, and nothing to execute.

Format: https://github.com/huggingface/safetensors (8 bytes with the length of the header, the
header, the data). Reading trusts nothing: every number is checked against the file first.
"""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import IO, Any, NamedTuple

import numpy as np

from rushlight.dtypes import Array
from rushlight.serialization.elements import BY_CODE, Element, refuse_type
from rushlight.serialization.errors import Refused, show
from rushlight.serialization.json_scanner import Scanner
from rushlight.serialization.source import Source
from rushlight.serialization.specs import (
    MAX_DIMS,
    Block,
    StorageSpec,
    TensorSpec,
    check_extent,
)

__all__ = ["HEADER_LIMIT", "METADATA_KEY", "prepare", "read_header"]

HEADER_LIMIT = 100_000_000
METADATA_KEY = "__metadata__"

_ENTRY_COST = 2048  # bytes of memory for a tensor with all that belongs to it, at most
_TEXT_COST = 512
_LONGEST_ENTRY = 4096  # bytes of JSON: a type, up to 64 sizes and two offsets
# Widest first, so that every tensor in the file is aligned; the order of the format's own library.
_FILE_ORDER = (
    *("U64", "I64", "F64", "F32", "U32", "I32", "BF16", "F16", "U16", "I16", "I8", "U8", "BOOL"),
)
# What the format has and this engine does not: to be told apart from a damaged header.
_OTHER_CODES = {
    *("F4", "F6_E2M3", "F6_E3M2", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"),
    "C64",
}


# -- writing --------------------------------------------------------------------------------


def prepare(
    arrays: Mapping[str, tuple[Element, Array]], metadata: Mapping[str, str] | None
) -> Callable[[IO[bytes]], None]:
    """Return what writes `arrays`, each in the element type beside it.

    Raises
    ------
    TypeError, ValueError
        As :func:`rushlight.save`.
    """
    ordered = sorted(
        arrays.items(), key=lambda entry: (_FILE_ORDER.index(entry[1][0].code), entry[0])
    )
    header = _header_of(ordered, metadata)

    def write(out: IO[bytes]) -> None:
        out.write(len(header).to_bytes(8, "little"))
        out.write(header)
        for _, (element, array) in ordered:
            flat = np.ascontiguousarray(array, element.stored).reshape(-1)
            if flat.size:
                out.write(flat.view(np.uint8).data)

    return write


def _header_of(
    arrays: Iterable[tuple[str, tuple[Element, Array]]], metadata: Mapping[str, str] | None
) -> bytes:
    header: dict[str, Any] = {}
    if metadata is not None:
        for key, text in metadata.items():
            if not isinstance(key, str) or not isinstance(text, str):
                raise TypeError(f"save: metadata must map str to str, but got {key!r}: {text!r}")
        header[METADATA_KEY] = dict(metadata)
    end = 0
    for key, (element, array) in arrays:
        begin, end = end, end + array.size * element.itemsize
        header[key] = {
            "dtype": element.code,
            "shape": list(array.shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":"))
    try:
        encoded = text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"save: a key or metadata cannot be written as UTF-8: {error}") from None
    encoded += b" " * (-len(encoded) % 8)  # the data start at a multiple of 8
    if len(encoded) > HEADER_LIMIT:
        raise ValueError(
            f"save: the header has {len(encoded)} bytes, the format allows {HEADER_LIMIT}"
        )
    return encoded


# -- reading --------------------------------------------------------------------------------


class _Entry(NamedTuple):
    name: str
    element: Element
    shape: tuple[int, ...]
    begin: int
    end: int
    place: int  # of its description in the file


def read_header(source: Source) -> tuple[OrderedDict[str, TensorSpec], dict[str, str]]:
    """Return the tensors in the order of their data, and the text stored beside them.

    Raises
    ------
    CheckpointError
        When the header or the file is not what the format asks for.
    """
    length = int.from_bytes(source.read(0, 8, "the length of the header"), "little")
    if length > HEADER_LIMIT:
        raise source.error(f"a header of {length} bytes; the format allows {HEADER_LIMIT}", 0)
    data = source.read(8, length, "the header")
    scanner = Scanner(data, lambda count: source.spend(count, "the header"))
    entries: dict[str, _Entry] = {}
    metadata: dict[str, str] | None = None
    try:
        for key in scanner.entries():
            if key == METADATA_KEY:
                if metadata is not None:
                    raise Refused(f"the key {METADATA_KEY} appears twice")
                metadata = _metadata(scanner, source)
                continue
            if key in entries:
                raise Refused(f"the key {show(key)} appears twice")
            source.spend(_ENTRY_COST, "a tensor", 8 + scanner.at)
            entries[key] = _entry(key, scanner, source.size)
        scanner.end()
    except Refused as error:
        raise source.error(str(error), 8 + scanner.at) from None
    ordered = sorted(entries.values(), key=lambda entry: (entry.begin, entry.end))
    _check_cover(ordered, 8 + length, source)
    specs = OrderedDict((entry.name, _spec(entry, 8 + length)) for entry in ordered)
    for entry in ordered:
        source.spend(entry.end - entry.begin, "a tensor")
    return specs, metadata or {}


def _metadata(scanner: Scanner, source: Source) -> dict[str, str]:
    found: dict[str, str] = {}
    try:
        for key in scanner.entries():
            source.spend(_TEXT_COST, "metadata", 8 + scanner.at)
            if key in found:
                raise Refused(f"the key {show(key)} appears twice")
            found[key] = scanner.text()
    except Refused as error:
        raise Refused(f"{METADATA_KEY} must map strings to strings: {error}") from None
    return found


def _entry(key: str, scanner: Scanner, file_size: int) -> _Entry:
    where, place = f"tensor {show(key)}", 8 + scanner.at
    try:
        value = scanner.flat_object(_LONGEST_ENTRY)
    except Refused as error:
        raise Refused(f"{where}: {error}") from None
    if value.keys() != {"dtype", "shape", "data_offsets"}:
        raise Refused(f"{where}: expected an object with dtype, shape and data_offsets")
    code, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(code, str) or not (code in BY_CODE or code in _OTHER_CODES):
        raise Refused(f"{where}: unknown dtype {show(code)}")
    if code in _OTHER_CODES:
        raise Refused(f"{where}: {refuse_type(code)}")
    element = BY_CODE[code]
    if not _whole_numbers(shape):
        raise Refused(
            f"{where}: shape must be a list of up to {MAX_DIMS} whole numbers, but is {shape!r:.80}"
        )
    if not _whole_numbers(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise Refused(f"{where}: data_offsets must be a begin and an end, but are {offsets!r:.80}")
    begin, end = offsets
    if math.prod(shape) * element.itemsize != end - begin:
        raise Refused(f"{where}: {code} of shape {shape!r:.80} does not fill {end - begin} bytes")
    if begin == end:
        check_extent(tuple(shape), element, file_size)
    return _Entry(key, element, tuple(shape), begin, end, place)


def _whole_numbers(value: object) -> bool:
    # The bounds keep the product of a long list of long numbers from taking minutes.
    return (
        isinstance(value, list)
        and len(value) <= MAX_DIMS
        and all(type(number) is int and 0 <= number < 1 << 63 for number in value)
    )


def _check_cover(entries: list[_Entry], start: int, source: Source) -> None:
    """Refuse holes, overlaps and bytes that belong to no tensor."""
    at = 0
    for entry in entries:
        if entry.begin != at:
            raise source.error(
                f"tensor {show(entry.name)} begins at byte {entry.begin} of the data, expected "
                f"{at}: overlaps and holes are not allowed",
                entry.place,
            )
        at = entry.end
    size = source.size - start
    if at != size:
        what = "truncated" if at > size else "bytes left over"
        raise source.error(f"{what}: the tensors take {at} bytes, but the data have {size}", start)


def _spec(entry: _Entry, start: int) -> TensorSpec:
    storage = StorageSpec(entry.name, entry.element, math.prod(entry.shape))
    storage.block = Block(start + entry.begin, storage.nbytes)
    strides = [1]
    for size in reversed(entry.shape[1:]):
        strides.append(strides[-1] * size)
    return TensorSpec(storage, 0, entry.shape, tuple(reversed(strides[: len(entry.shape)])))
