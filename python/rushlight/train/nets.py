"""The nets of ``rushlight train`` by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from rushlight import models, nn
from rushlight.tensor import Tensor

__all__ = ["PRESETS", "DigitNet", "Preset"]


class DigitNet(nn.Module):
    """Two convolutions, each with batch norm, ReLU and 2x2 pooling, then a linear layer.

    Parameters
    ----------
    height, width : int
        Size of the images in pixels, at least 4 each.
    classes : int
        Number of classes.
    channels : int, default 1
        Channels of the images.
    """

    def __init__(self, height: int, width: int, classes: int, channels: int = 1) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, 32, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Linear(64 * (height // 4) * (width // 4), classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the scores [n, classes] of `images` [n, channels, height, width]."""
        scores: Tensor = self.classifier(self.features(images).flatten(1))
        return scores


class Preset(NamedTuple):
    """A net by name.

    `make` takes channels, height, width and classes; `least_side` is the smallest image in pixels
    that it takes, `square` whether images must be.
    """

    make: Callable[[int, int, int, int], nn.Module]
    least_side: int
    square: bool = False


PRESETS = {
    "digits": Preset(
        lambda channels, height, width, classes: DigitNet(height, width, classes, channels), 4
    ),
    "lenet": Preset(
        lambda channels, height, width, classes: models.lenet(
            num_classes=classes, in_channels=channels, size=height
        ),
        6,
        square=True,
    ),
    "resnet20": Preset(
        lambda channels, height, width, classes: _ThreeChannels(
            models.resnet20(num_classes=classes), channels
        ),
        4,
    ),
    "mlp": Preset(
        lambda channels, height, width, classes: models.mlp(
            in_features=channels * height * width, num_classes=classes
        ),
        1,
    ),
}


class _ThreeChannels(nn.Module):
    """A net for colour images on images of `channels` channels: grey ones are repeated."""

    def __init__(self, net: nn.Module, channels: int) -> None:
        super().__init__()
        self.net = net
        self._repeats = 1 if channels == 3 else 3

    def forward(self, images: Tensor) -> Tensor:
        """Return the scores [n, classes]."""
        result: Tensor = self.net(images if self._repeats == 1 else images.repeat(1, 3, 1, 1))
        return result
