"""Folders of image files, a folder per class."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from rushlight.data.dataset import Dataset
from rushlight.data.idx import Path
from rushlight.ops.creation import from_numpy
from rushlight.tensor import Tensor

__all__ = ["ImageFolder", "read_image"]

_ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


def read_image(path: Path, size: tuple[int, int] | None = None) -> Tensor:
    """Read an image file.

    Parameters
    ----------
    path : str or os.PathLike
        A file in a format that Pillow reads.
    size : (int, int), optional
        Height and width to which the image is scaled (bilinear).

    Returns
    -------
    Tensor
        float32 [3, height, width] from 0 to 1: red, green and blue.

    Raises
    ------
    ImportError
        When Pillow is missing: ``pip install "rushlight[images]"``.
    OSError
        When the file cannot be read or is no image.
    """
    try:
        from PIL import Image
    except ImportError:
        raise ImportError(
            'read_image: this needs Pillow: pip install "rushlight[images]"'
        ) from None
    with Image.open(os.fspath(path)) as image:
        colours = image.convert("RGB")
        if size is not None:
            colours = colours.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        pixels = np.asarray(colours, np.float32)
    return from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)) / np.float32(255))


class ImageFolder(Dataset[tuple[Any, int]]):
    """Image files in a folder per class, as ``torchvision.datasets.ImageFolder``.

    Files are read when they are asked for. Classes are numbered in the order of their names.

    Parameters
    ----------
    root : str or os.PathLike
        Folder whose folders are the classes; files may lie in folders of those.
    transform : callable, optional
        Called with each image, a float32 tensor [3, height, width] from 0 to 1.
    target_transform : callable, optional
        Called with each label.
    size : (int, int), optional
        Height and width to which images are scaled: a batch needs one size.

    Attributes
    ----------
    classes : list of str
        The names.
    class_to_idx : dict of str to int
        The label of each name.
    samples : list of (str, int)
        The files and their labels, in order.

    Raises
    ------
    FileNotFoundError
        When there is no folder, no class in it, or a class without an image.
    """

    def __init__(
        self,
        root: Path,
        transform: Callable[[Tensor], Any] | None = None,
        target_transform: Callable[[int], Any] | None = None,
        *,
        size: tuple[int, int] | None = None,
    ) -> None:
        self.root = os.fspath(root)
        self.transform = transform
        self.target_transform = target_transform
        self.size = size
        if not os.path.isdir(self.root):
            raise FileNotFoundError(f"{self.root}: no such folder")
        self.classes = sorted(entry.name for entry in os.scandir(self.root) if entry.is_dir())
        if not self.classes:
            raise FileNotFoundError(f"{self.root}: expected a folder for each class")
        self.class_to_idx = {name: label for label, name in enumerate(self.classes)}
        self.samples: list[tuple[str, int]] = []
        for name, label in self.class_to_idx.items():
            files = _image_files(os.path.join(self.root, name))
            if not files:
                raise FileNotFoundError(f"{os.path.join(self.root, name)}: there are no images")
            self.samples += [(file, label) for file in files]
        self.targets = [label for _, label in self.samples]

    def __getitem__(self, index: Any) -> tuple[Any, int]:
        path, label = self.samples[index]
        image: Any = read_image(path, self.size)
        if self.transform is not None:
            image = self.transform(image)
        return image, label if self.target_transform is None else self.target_transform(label)

    def __len__(self) -> int:
        return len(self.samples)


def _image_files(folder: str) -> list[str]:
    found = []
    for place, folders, files in os.walk(folder):
        folders.sort()
        found += [os.path.join(place, name) for name in files if name.lower().endswith(_ENDINGS)]
    return sorted(found)
