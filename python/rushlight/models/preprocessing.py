"""From images to what nets take: the transforms that published weights were trained with."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rushlight.ops import from_numpy
from rushlight.tensor import Tensor

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Preprocessing", "preprocessing"]

# Pillow's number for bilinear interpolation, which weighs all pixels that shrink into one.
_BILINEAR = 2
_CIFAR = ("resnet20", "resnet32", "resnet44", "resnet56", "resnet110")
_MNIST = ("lenet", "mlp", "mnist_net")


class Preprocessing(NamedTuple):
    """Resize, cut out the centre, and normalise each channel.

    The defaults are those of torchvision's first weights for ImageNet. One mean makes grey images.

    Parameters
    ----------
    resize_size : int
        Shorter side of the image after bilinear resizing, in pixels.
    crop_size : int
        Side of the square in its centre, in pixels.
    mean, std : tuple of float
        Of each channel: the one is subtracted from values between 0 and 1, the other divides.
    """

    resize_size: int = 256
    crop_size: int = 224
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)

    def __call__(self, image: Image) -> Tensor:
        """Return an image of Pillow as a float32 tensor [channels, crop_size, crop_size]."""
        image = image.convert("RGB" if len(self.mean) == 3 else "L")
        shorter = min(image.size)
        width, height = (int(self.resize_size * side / shorter) for side in image.size)
        image = image.resize((width, height), _BILINEAR)
        left, top = (round((side - self.crop_size) / 2) for side in (width, height))
        image = image.crop((left, top, left + self.crop_size, top + self.crop_size))
        values = np.asarray(image, dtype=np.float32) / 255
        values = values.reshape(self.crop_size, self.crop_size, len(self.mean)).transpose(2, 0, 1)
        mean, std = (np.array(each, np.float32)[:, None, None] for each in (self.mean, self.std))
        return from_numpy(np.ascontiguousarray((values - mean) / std))

    def __str__(self) -> str:
        """Return the steps in words."""
        colours = "RGB" if len(self.mean) == 3 else "grey"
        mean, std = (", ".join(map(str, each)) for each in (self.mean, self.std))
        return (
            f"{colours}, shorter side to {self.resize_size} (bilinear, antialiased), centre "
            f"{self.crop_size}x{self.crop_size}, 0 to 1, minus {mean}, divided by {std}"
        )


def preprocessing(name: str) -> Preprocessing:
    """Return what images of the data set that the model `name` is made for go through."""
    if name in _MNIST:
        return Preprocessing(28, 28, (0.1307,), (0.3081,))
    if name in _CIFAR:
        return Preprocessing(32, 32, (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
    return Preprocessing()
