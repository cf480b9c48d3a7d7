"""CIFAR-10 in its binary version."""

from __future__ import annotations

import os
from typing import Literal

import numpy as np

from rushlight.data.dataset import TensorDataset
from rushlight.data.idx import Path
from rushlight.dtypes import Array
from rushlight.ops.creation import from_numpy

__all__ = ["cifar10_folder", "read_cifar10"]

_PIXELS = 3 * 32 * 32
_FILES = {
    "train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
    "test": ("test_batch.bin",),
}


def read_cifar10(path: Path) -> tuple[Array, Array]:
    """Read one file of CIFAR-10's binary version.

    Parameters
    ----------
    path : str or os.PathLike
        Records of one byte for the label and 3,072 for the image.

    Returns
    -------
    images : numpy.ndarray
        uint8 [n, 3, 32, 32], red, green and blue.
    labels : numpy.ndarray
        uint8 [n], from 0 to 9.

    Raises
    ------
    OSError
        When the file cannot be read.
    ValueError
        When it does not consist of such records.
    """
    name = os.fspath(path)
    data = np.fromfile(name, np.uint8)
    if not len(data) or len(data) % (_PIXELS + 1):
        raise ValueError(
            f"{name}: expected records of {_PIXELS + 1} bytes, but the file has {len(data)} bytes"
        )
    records = data.reshape(-1, _PIXELS + 1)
    labels = records[:, 0].copy()
    if labels.max() > 9:
        raise ValueError(f"{name}: expected labels from 0 to 9, but got {labels.max()}")
    return records[:, 1:].reshape(-1, 3, 32, 32), labels


def cifar10_folder(path: Path, split: Literal["train", "test"] = "train") -> TensorDataset:
    """Return one part of a folder with the binary files of CIFAR-10.

    Parameters
    ----------
    path : str or os.PathLike
        Folder with ``data_batch_1.bin`` to ``data_batch_5.bin`` and ``test_batch.bin``.
    split : {"train", "test"}, default "train"
        Which part.

    Returns
    -------
    TensorDataset
        Images, float32 [n, 3, 32, 32] from 0 to 1, and labels, int64 [n] from 0 to 9.

    Raises
    ------
    OSError
        When a file is missing or cannot be read.
    ValueError
        When `split` is something else or a file is not what its name says.

    References
    ----------
    Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
    """
    if split not in _FILES:
        raise ValueError(f'cifar10_folder: split must be "train" or "test", but got {split!r}')
    parts = [read_cifar10(os.path.join(os.fspath(path), name)) for name in _FILES[split]]
    images = np.concatenate([part[0] for part in parts]).astype(np.float32)
    images /= 255
    labels = np.concatenate([part[1] for part in parts]).astype(np.int64)
    return TensorDataset(from_numpy(images), from_numpy(labels))
