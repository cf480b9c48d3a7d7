"""Files in the idx format, the one of MNIST, and folders of them."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from typing import IO, Any, Literal, TypeAlias

import numpy as np

from rushlight.data.dataset import TensorDataset
from rushlight.dtypes import Array
from rushlight.ops.creation import from_numpy

__all__ = ["mnist_folder", "read_idx"]

Path: TypeAlias = "str | os.PathLike[str]"

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_CHUNK = 1 << 20
# Deflate codes up to 258 bytes in two bits: no gzip file holds more per byte of its own.
_MOST_PER_BYTE = 1032

_NAMES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def read_idx(path: Path) -> Array:
    """Read an idx file, plain or gzipped, into an array.

    Parameters
    ----------
    path : str or os.PathLike
        The file; gzip is recognised by its content, not by its name.

    Returns
    -------
    numpy.ndarray
        A new array of the file's shape and type, in native byte order.

    Raises
    ------
    OSError
        When the file cannot be read.
    ValueError
        When it is no idx file, truncated, longer than its header says or damaged; the text names
        the file and what was expected. No more memory is taken than the file can fill.
    """
    name = os.fspath(path)
    with open(name, "rb") as raw:
        size = os.fstat(raw.fileno()).st_size
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        if not packed:
            return _read(raw, name, size)
        with gzip.GzipFile(fileobj=raw) as unpacked:
            try:
                return _read(unpacked, name, size * _MOST_PER_BYTE)
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise ValueError(f"{name}: damaged gzip file: {error}") from error


def _read(stream: IO[bytes] | gzip.GzipFile, name: str, most: int) -> Array:
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _TYPES or magic[3] == 0:
        raise ValueError(
            f"{name}: not an idx file: expected the bytes 00 00, a type (08 to 0e) and a number "
            f"of dimensions, but got {magic.hex(' ') or 'an empty file'}"
        )
    dtype, ndim = np.dtype(_TYPES[magic[2]]), magic[3]
    sizes = stream.read(4 * ndim)
    if len(sizes) < 4 * ndim:
        raise ValueError(
            f"{name}: truncated idx file: expected {4 * ndim} bytes of sizes, but got {len(sizes)}"
        )
    shape = tuple(int.from_bytes(sizes[at : at + 4], "big") for at in range(0, 4 * ndim, 4))
    count = math.prod(shape) * dtype.itemsize
    where = f"shape {list(shape)} needs {count} bytes of data"
    if 4 + 4 * ndim + count > most:
        raise ValueError(f"{name}: truncated idx file: {where}, more than the file can hold")
    data = bytearray()
    while len(data) < count and (part := stream.read(min(_CHUNK, count - len(data)))):
        data += part
    if len(data) < count:
        raise ValueError(f"{name}: truncated idx file: {where}, but got {len(data)}")
    if stream.read(1):
        raise ValueError(f"{name}: {where}, but more bytes follow")
    try:
        array: Array = np.frombuffer(data, dtype).reshape(shape)
    except ValueError as error:  # more dimensions than NumPy has, or sizes beside a zero
        raise ValueError(f"{name}: unusable idx shape {list(shape)}: {error}") from error
    return array.astype(dtype.newbyteorder("="), copy=False)


def mnist_folder(path: Path, split: Literal["train", "test"] = "train") -> TensorDataset:
    """Return one part of a folder with the four files of MNIST, plain or with ``.gz``.

    Parameters
    ----------
    path : str or os.PathLike
        Folder with ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte`` and, for the test
        part, the same names with ``t10k`` for ``train``. Fashion-MNIST and others come so too.
    split : {"train", "test"}, default "train"
        Which part.

    Returns
    -------
    TensorDataset
        Images, float32 [n, 1, height, width] from 0 to 1, and labels, int64 [n].

    Raises
    ------
    OSError
        When the folder or a file is missing or cannot be read.
    ValueError
        When `split` is something else or a file is not what its name says.
    """
    if split not in _NAMES:
        raise ValueError(f'mnist_folder: split must be "train" or "test", but got {split!r}')
    folder = os.fspath(path)
    image_file, label_file = (_find(folder, name) for name in _NAMES[split])
    images = _expect(read_idx(image_file), image_file, 3, "images")
    labels = _expect(read_idx(label_file), label_file, 1, "labels")
    if len(images) != len(labels):
        raise ValueError(
            f"{label_file}: expected a label for each of {len(images)} images, "
            f"but got {len(labels)}"
        )
    scaled = images[:, None].astype(np.float32)
    scaled /= 255
    return TensorDataset(from_numpy(scaled), from_numpy(labels.astype(np.int64)))


def _find(folder: str, name: str) -> str:
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"{folder}: no such folder")
    for candidate in (name, f"{name}.gz"):
        found = os.path.join(folder, candidate)
        if os.path.isfile(found):
            return found
    raise FileNotFoundError(f"{folder}: expected a file {name} or {name}.gz")


def _expect(array: Any, name: str, ndim: int, what: str) -> Array:
    if array.dtype != np.uint8 or array.ndim != ndim:
        raise ValueError(
            f"{name}: expected {what} as unsigned bytes in {ndim} dimensions, "
            f"but got {array.dtype} in {array.ndim}"
        )
    checked: Array = array
    return checked
