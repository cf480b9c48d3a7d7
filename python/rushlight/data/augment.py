"""Augmentation of whole batches of images, on NumPy arrays, with random numbers of one source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from rushlight.dtypes import Array
from rushlight.ops.creation import from_numpy
from rushlight.ops.random import default_generator
from rushlight.tensor import Tensor

if TYPE_CHECKING:
    from rushlight.ops.random import Generator

__all__ = ["Augment", "normalize", "random_crop", "random_flip"]


def _checked(images: Array, function: str) -> Array:
    if not isinstance(images, np.ndarray) or images.ndim != 4:
        found = getattr(images, "shape", type(images).__name__)
        raise ValueError(f"{function}: images must be an array [n, c, h, w], but got {found}")
    return images


def _source(generator: Generator | None) -> np.random.Generator:
    return (default_generator if generator is None else generator).numpy


def random_crop(images: Array, padding: int, generator: Generator | None = None) -> Array:
    """Shift each image by up to `padding` pixels both ways; what comes in is zero.

    Parameters
    ----------
    images : numpy.ndarray
        [n, c, h, w].
    padding : int
        Largest shift, in pixels.
    generator : Generator, optional
        Source of the shifts, the default generator unless given.

    Returns
    -------
    numpy.ndarray
        A new array of the same shape: crops of the images with `padding` zeros on all sides.

    Raises
    ------
    ValueError
        When `images` has no four dimensions or `padding` is negative.
    """
    n, c, h, w = _checked(images, "random_crop").shape
    if padding < 0:
        raise ValueError(f"random_crop: padding must not be negative, but got {padding}")
    starts = _source(generator).integers(0, 2 * padding + 1, (n, 2))
    padded = np.zeros((n, c, h + 2 * padding, w + 2 * padding), images.dtype)
    padded[:, :, padding : padding + h, padding : padding + w] = images
    result = np.empty_like(images, order="C")
    for index, (top, left) in enumerate(starts.tolist()):
        result[index] = padded[index, :, top : top + h, left : left + w]
    return result


def random_flip(images: Array, p: float = 0.5, generator: Generator | None = None) -> Array:
    """Mirror each image, left to right, with probability `p`.

    Parameters
    ----------
    images : numpy.ndarray
        [n, c, h, w].
    p : float, default 0.5
        Probability.
    generator : Generator, optional
        Source of the draws, the default generator unless given.

    Returns
    -------
    numpy.ndarray
        A new array of the same shape.

    Raises
    ------
    ValueError
        When `images` has no four dimensions or `p` is not from 0 to 1.
    """
    _checked(images, "random_flip")
    if not 0 <= p <= 1:
        raise ValueError(f"random_flip: p must be from 0 to 1, but got {p}")
    chosen = _source(generator).random(len(images)) < p
    result: Array = images.copy()
    result[chosen] = images[chosen, :, :, ::-1]
    return result


def normalize(images: Array, mean: Sequence[float], std: Sequence[float]) -> Array:
    """Subtract a mean from each channel and divide it by a standard deviation.

    Parameters
    ----------
    images : numpy.ndarray
        [n, c, h, w], floating point.
    mean, std : sequence of float
        One value per channel, or one for all; `std` without zeros.

    Returns
    -------
    numpy.ndarray
        A new array of the same shape and type.

    Raises
    ------
    ValueError
        When a shape does not fit or a standard deviation is zero.
    """
    channels = _checked(images, "normalize").shape[1]
    found = []
    for name, values in (("mean", mean), ("std", std)):
        array = np.asarray(values, images.dtype).reshape(-1)
        if len(array) not in (1, channels):
            raise ValueError(
                f"normalize: {name} needs 1 or {channels} values, but got {len(array)}"
            )
        found.append(array.reshape(1, -1, 1, 1))
    if not np.all(found[1]):
        raise ValueError(f"normalize: std must not be zero, but got {std}")
    result: Array = (images - found[0]) / found[1]
    return result


class Augment:
    """Random crops and flips of a batch, and normalisation: call it with the images.

    Draws come from the generator in the thread that calls: the same seed, the same images, at any
    number of workers of a loader.

    Parameters
    ----------
    crop : int, default 0
        Largest shift in pixels, see :func:`random_crop`.
    flip : float, default 0.0
        Probability of a mirror image, see :func:`random_flip`.
    mean, std : sequence of float, optional
        See :func:`normalize`; both or none.
    generator : Generator, optional
        Source of the draws, the default generator unless given.

    Raises
    ------
    ValueError
        When only one of `mean` and `std` is given.
    """

    def __init__(
        self,
        crop: int = 0,
        flip: float = 0.0,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        generator: Generator | None = None,
    ) -> None:
        if (mean is None) != (std is None):
            raise ValueError("Augment: mean and std belong together, but only one was given")
        self.crop, self.flip = crop, flip
        self.mean, self.std = mean, std
        self.generator = generator

    def __call__(self, images: Tensor) -> Tensor:
        """Return a new tensor [n, c, h, w]."""
        array = images._array
        if self.crop:
            array = random_crop(array, self.crop, self.generator)
        if self.flip:
            array = random_flip(array, self.flip, self.generator)
        if self.mean is not None and self.std is not None:
            array = normalize(array, self.mean, self.std)
        return from_numpy(array if array is not images._array else array.copy())
