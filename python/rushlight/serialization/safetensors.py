"""The safetensors format: a JSON header and the bytes of the tensors, and nothing to execute.

Format: https://github.com/huggingface/safetensors (8 bytes with the length of the header, the
header, the data). Reading trusts nothing: every number is checked against the file first.
"""

from __future__ import annotations

import io
import json
import math
import os
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import nullcontext
from typing import IO, Any, NamedTuple, TypeAlias

import numpy as np

from rushlight.autograd.base import wrap
from rushlight.dtypes import Array
from rushlight.serialization.files import atomic_writer
from rushlight.tensor import Tensor

__all__ = ["load", "load_metadata", "save"]

Target: TypeAlias = "str | os.PathLike[str] | IO[bytes]"

_HEADER_LIMIT = 100_000_000
_MAX_DIMS = 64  # NumPy's own limit
_METADATA = "__metadata__"
_DTYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
    "I64": np.dtype("<i8"),
    "BOOL": np.dtype("?"),
}
_CODES = {dtype.newbyteorder("="): code for code, dtype in _DTYPES.items()}
# Widest first, so that every tensor in the file is aligned; the order of the format's own library.
_FILE_ORDER = ("I64", "F64", "F32", "BOOL")
# What the format has and this engine does not: to be told apart from a damaged header.
_OTHER_DTYPES = {
    *("F4", "F6_E2M3", "F6_E3M2", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"),
    *("U8", "I8", "I16", "U16", "F16", "BF16", "I32", "U32", "C64", "U64"),
}


def save(
    state_dict: Mapping[str, Tensor], path: Target, metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors by name to a safetensors file, which appears whole or not at all.

    Tensors that share memory are written as separate copies.

    Parameters
    ----------
    state_dict : mapping of str to Tensor
        What ``Module.state_dict()`` returns. Nested values have no place in the format.
    path : str, os.PathLike or binary file object
        Where to write. An existing file is replaced when the new one is complete.
    metadata : mapping of str to str, optional
        Text to store beside the tensors; :func:`load_metadata` reads it.

    Raises
    ------
    TypeError
        When a key is no string or a value no tensor.
    ValueError
        When a key is ``"__metadata__"`` or cannot be encoded, or the header grows over 100 MB.
    OSError
        When the file cannot be written.
    """
    if not isinstance(path, (str, os.PathLike)) and not hasattr(path, "write"):
        raise TypeError(
            f"save: path must be a path or a binary file object, but got {type(path).__name__}"
        )
    arrays = _arrays_of(state_dict)
    header = _header_of(arrays, metadata)
    with atomic_writer(path) if isinstance(path, (str, os.PathLike)) else nullcontext(path) as out:
        out.write(len(header).to_bytes(8, "little"))
        out.write(header)
        for code, array in arrays.values():
            flat = np.ascontiguousarray(array, _DTYPES[code]).reshape(-1)
            if flat.size:
                out.write(flat.view(np.uint8).data)


def load(path: Target) -> OrderedDict[str, Tensor]:
    """Read the tensors of a safetensors file.

    Parameters
    ----------
    path : str, os.PathLike or binary file object
        What to read; a file object is read from where it stands to its end.

    Returns
    -------
    OrderedDict of str to Tensor
        In the order of the data; every tensor is writable and owns its memory.

    Raises
    ------
    OSError
        When the file cannot be read.
    TypeError
        When a tensor is of a type other than float32, float64, int64 or bool.
    ValueError
        When the file is truncated, damaged or no safetensors file. No more memory is taken than
        the file fills.
    """
    name = _name_of(path)
    tensors: OrderedDict[str, Tensor] = OrderedDict()
    with _opened(path) as stream:
        entries, _ = _read_header(stream, name)
        for entry in entries:
            tensors[entry.name] = wrap(_read_array(stream, entry, name))
    return tensors


def load_metadata(path: Target) -> dict[str, str]:
    """Read the text that was stored beside the tensors; errors as :func:`load`."""
    with _opened(path) as stream:
        return _read_header(stream, _name_of(path))[1]


# -- writing --------------------------------------------------------------------------------


def _arrays_of(state_dict: Mapping[str, Tensor]) -> dict[str, tuple[str, Array]]:
    if not isinstance(state_dict, Mapping):
        raise TypeError(
            f"save: expected a mapping of names to tensors, but got {type(state_dict).__name__}"
        )
    found = []
    for key, value in state_dict.items():
        if not isinstance(key, str):
            raise TypeError(f"save: keys must be strings, but got {key!r}")
        if key == _METADATA:
            raise ValueError(f"save: the key {key!r} is reserved; use metadata=")
        if not isinstance(value, Tensor):
            raise TypeError(
                f"save: {key!r} must be a Tensor, but got {type(value).__name__}; "
                "safetensors holds a flat mapping of names to tensors"
            )
        found.append((key, _CODES[value._array.dtype], value._array))
    found.sort(key=lambda entry: (_FILE_ORDER.index(entry[1]), entry[0]))
    return {key: (code, array) for key, code, array in found}


def _header_of(
    arrays: Mapping[str, tuple[str, Array]], metadata: Mapping[str, str] | None
) -> bytes:
    header: dict[str, Any] = {}
    if metadata is not None:
        for key, text in metadata.items():
            if not isinstance(key, str) or not isinstance(text, str):
                raise TypeError(f"save: metadata must map str to str, but got {key!r}: {text!r}")
        header[_METADATA] = dict(metadata)
    end = 0
    for key, (code, array) in arrays.items():
        begin, end = end, end + array.nbytes
        header[key] = {"dtype": code, "shape": list(array.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":"))
    try:
        encoded = text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"save: a key or metadata cannot be written as UTF-8: {error}") from None
    encoded += b" " * (-len(encoded) % 8)  # the data start at a multiple of 8
    if len(encoded) > _HEADER_LIMIT:
        raise ValueError(
            f"save: the header has {len(encoded)} bytes, the format allows {_HEADER_LIMIT}"
        )
    return encoded


# -- reading --------------------------------------------------------------------------------


class _Entry(NamedTuple):
    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    begin: int
    end: int


def _name_of(path: Target) -> str:
    if isinstance(path, (str, os.PathLike)):
        return os.fspath(path)
    return str(getattr(path, "name", None) or "safetensors data")


def _opened(path: Target) -> Any:
    """Return a context with a stream that can seek."""
    if isinstance(path, (str, os.PathLike)):
        return open(path, "rb")
    if not hasattr(path, "readinto"):
        raise TypeError(
            f"load: path must be a path or a binary file object, but got {type(path).__name__}"
        )
    if path.seekable():
        return nullcontext(path)
    return io.BytesIO(path.read())


def _read_header(stream: IO[bytes], name: str) -> tuple[list[_Entry], dict[str, str]]:
    start = stream.tell()
    size = stream.seek(0, os.SEEK_END) - start
    stream.seek(start)
    if size < 8:
        raise ValueError(f"{name}: not a safetensors file: it has {size} bytes, expected 8 or more")
    length = int.from_bytes(_read_exactly(stream, 8, name), "little")
    if length > _HEADER_LIMIT:
        raise ValueError(
            f"{name}: not a safetensors file: it announces a header of {length} bytes, the format "
            f"allows {_HEADER_LIMIT}"
        )
    if length > size - 8:
        raise ValueError(
            f"{name}: truncated: it announces a header of {length} bytes, but has {size - 8}"
        )
    header = _parse(_read_exactly(stream, length, name), name)
    metadata = header.pop(_METADATA, {})
    if not isinstance(metadata, dict) or any(type(text) is not str for text in metadata.values()):
        raise ValueError(f"{name}: {_METADATA} must map strings to strings")
    entries = [_entry(key, value, name) for key, value in header.items()]
    entries.sort(key=lambda entry: (entry.begin, entry.end))
    _check_cover(entries, size - 8 - length, name)
    return entries, metadata


def _read_exactly(stream: IO[bytes], count: int, name: str) -> bytes:
    data = stream.read(count)
    if len(data) != count:
        raise ValueError(f"{name}: truncated: expected {count} more bytes, but got {len(data)}")
    return data


def _parse(encoded: bytes, name: str) -> dict[str, Any]:
    if not encoded.startswith(b"{"):
        raise ValueError(f"{name}: not a safetensors file: its header does not start with '{{'")
    try:
        header = json.loads(
            encoded.decode(), object_pairs_hook=_without_duplicates, parse_constant=_refuse_constant
        )
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name}: the header is no valid JSON: {error}") from None
    checked: dict[str, Any] = header
    return checked


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key appears twice")
    return result


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


def _entry(key: str, value: Any, name: str) -> _Entry:
    where = f"{name}: tensor {key!r}"
    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{where}: expected an object with dtype, shape and data_offsets")
    code, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(code, str) or not (code in _DTYPES or code in _OTHER_DTYPES):
        raise ValueError(f"{where}: unknown dtype {code!r:.80}")
    if code not in _DTYPES:
        raise TypeError(f"{where} is of type {code}, expected one of {', '.join(_DTYPES)}")
    if not _whole_numbers(shape):
        raise ValueError(
            f"{where}: shape must be a list of up to {_MAX_DIMS} whole numbers, "
            f"but got {shape!r:.80}"
        )
    if not _whole_numbers(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise ValueError(
            f"{where}: data_offsets must be a begin and an end, but got {offsets!r:.80}"
        )
    begin, end = offsets
    needed = math.prod(shape) * _DTYPES[code].itemsize
    if needed != end - begin:
        raise ValueError(
            f"{where}: {code} of shape {shape!r:.80} does not fill {end - begin} bytes"
        )
    return _Entry(key, _DTYPES[code], tuple(shape), begin, end)


def _whole_numbers(value: object) -> bool:
    # The bounds keep the product of a long list of long numbers from taking minutes.
    return (
        isinstance(value, list)
        and len(value) <= _MAX_DIMS
        and all(type(number) is int and 0 <= number < 1 << 63 for number in value)
    )


def _check_cover(entries: list[_Entry], size: int, name: str) -> None:
    """Refuse holes, overlaps and bytes that belong to no tensor."""
    at = 0
    for entry in entries:
        if entry.begin != at:
            raise ValueError(
                f"{name}: tensor {entry.name!r} begins at byte {entry.begin}, expected {at}"
            )
        at = entry.end
    if at != size:
        what = "truncated" if at > size else "bytes left over"
        raise ValueError(f"{name}: {what}: the tensors take {at} bytes, but the file has {size}")


def _read_array(stream: IO[bytes], entry: _Entry, name: str) -> Array:
    where = f"{name}: tensor {entry.name!r}"
    try:
        array: Array = np.empty(entry.shape, entry.dtype)
    except ValueError as error:  # more dimensions than NumPy has, or huge sizes beside a zero
        raise ValueError(f"{where}: unusable shape {list(entry.shape)!r:.80}: {error}") from None
    raw = array.reshape(-1).view(np.uint8)
    if raw.size:
        view = memoryview(raw)  # type: ignore[arg-type]  # arrays have the buffer protocol
        done = 0
        while done < len(view):
            count = stream.readinto(view[done:])  # type: ignore[attr-defined]  # IO lacks it in typeshed
            if not count:
                raise ValueError(f"{where}: truncated: the file ended before its data did")
            done += count
    if entry.dtype == np.bool_ and raw.size and raw.max() > 1:
        raise ValueError(f"{where}: BOOL data must be bytes 0 and 1")
    return array.astype(entry.dtype.newbyteorder("="), copy=False)
