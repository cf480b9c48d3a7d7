"""The handwritten digits that come with the package."""

from __future__ import annotations

import os
from typing import Literal

import numpy as np

from rushlight.data.dataset import TensorDataset
from rushlight.dtypes import Array
from rushlight.ops.creation import from_numpy

__all__ = ["digits"]

_FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "digits.npz")
_LEVELS = 16  # the file counts the dark pixels of 4x4 blocks: 0 to 16


def digits(split: Literal["train", "test"] = "train") -> TensorDataset:
    """Return the bundled digits: 1,797 handwritten digits of 8x8 pixels in two fixed parts.

    In order of the file, every fifth image of each digit is held out as ``"test"`` (355 images),
    the others are ``"train"`` (1,442): the parts are the same everywhere and in every run.

    Parameters
    ----------
    split : {"train", "test"}, default "train"
        Which part.

    Returns
    -------
    TensorDataset
        Images, float32 [n, 1, 8, 8] from 0 to 1, and labels, int64 [n] from 0 to 9.

    Raises
    ------
    ValueError
        When `split` is something else.

    References
    ----------
    E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning
    Repository, 1998, https://doi.org/10.24432/C50P49, CC BY 4.0; see digits.LICENSE.md.
    """
    if split not in ("train", "test"):
        raise ValueError(f'digits: split must be "train" or "test", but got {split!r}')
    with np.load(_FILE, allow_pickle=False) as archive:
        images, labels = archive["images"], archive["labels"]
    chosen = _held_out(labels) == (split == "test")
    scaled = images[chosen][:, None].astype(np.float32) / np.float32(_LEVELS)
    return TensorDataset(from_numpy(scaled), from_numpy(labels[chosen].astype(np.int64)))


def _held_out(labels: Array) -> Array:
    """Return a mask of every fifth image of each digit."""
    mask = np.zeros(labels.shape, np.bool_)
    for label in np.unique(labels):
        mask[np.flatnonzero(labels == label)[4::5]] = True
    return mask
