"""VGG, with and without batch norm.

References
----------
Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2014
(https://arxiv.org/abs/1409.1556).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rushlight import nn
from rushlight.models.blocks import he_normal_, initialise, small_normal_
from rushlight.models.registry import Weights, build, register_model
from rushlight.tensor import Tensor

__all__ = [
    "VGG",
    "vgg11",
    "vgg11_bn",
    "vgg13",
    "vgg13_bn",
    "vgg16",
    "vgg16_bn",
    "vgg19",
    "vgg19_bn",
]

# Channels of the five stages.
_WIDTHS = (64, 128, 256, 512, 512)


class VGG(nn.Module):
    """Convolutions, then three linear layers.

    Parameters
    ----------
    features : Module
        Maps images to [n, 512, h, w].
    num_classes : int
        Size of the output.
    init_weights : bool
        Draw initial values for deep nets; layers keep their own otherwise.
    dropout : float
        Probability of a zero after the first two linear layers.
    """

    def __init__(
        self,
        features: nn.Module,
        num_classes: int = 1000,
        init_weights: bool = True,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.features = features
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(4096, num_classes),
        )
        if init_weights:
            initialise(self, nn.Conv2d, he_normal_)
            initialise(self, nn.Linear, small_normal_)

    def forward(self, x: Tensor) -> Tensor:
        """Map images [n, 3, h, w] of at least 32 x 32 to scores [n, num_classes]."""
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


def _features(convolutions: Sequence[int], batch_norm: bool) -> nn.Sequential:
    """Return five stages of so many 3x3 convolutions, each stage ending in pooling."""
    layers: list[nn.Module] = []
    inputs = 3
    for count, outputs in zip(convolutions, _WIDTHS, strict=True):
        for _ in range(count):
            layers.append(nn.Conv2d(inputs, outputs, kernel_size=3, padding=1))
            if batch_norm:
                layers.append(nn.BatchNorm2d(outputs))
            layers.append(nn.ReLU(inplace=True))
            inputs = outputs
        layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
    return nn.Sequential(*layers)


def _vgg(
    convolutions: Sequence[int], batch_norm: bool, weights: Weights | None, options: dict[str, Any]
) -> VGG:
    return build(weights, VGG, _features(convolutions, batch_norm), **options)


@register_model
def vgg11(*, weights: Weights | None = None, **options: Any) -> VGG:
    """VGG-11; `weights` is a file, `options` are those of :class:`VGG` after `features`."""
    return _vgg((1, 1, 2, 2, 2), False, weights, options)


@register_model
def vgg11_bn(*, weights: Weights | None = None, **options: Any) -> VGG:
    """VGG-11 with batch norm; see :func:`vgg11`."""
    return _vgg((1, 1, 2, 2, 2), True, weights, options)


@register_model
def vgg13(*, weights: Weights | None = None, **options: Any) -> VGG:
    """VGG-13; see :func:`vgg11`."""
    return _vgg((2, 2, 2, 2, 2), False, weights, options)


@register_model
def vgg13_bn(*, weights: Weights | None = None, **options: Any) -> VGG:
    """VGG-13 with batch norm; see :func:`vgg11`."""
    return _vgg((2, 2, 2, 2, 2), True, weights, options)


@register_model
def vgg16(*, weights: Weights | None = None, **options: Any) -> VGG:
    """VGG-16; see :func:`vgg11`."""
    return _vgg((2, 2, 3, 3, 3), False, weights, options)


@register_model
def vgg16_bn(*, weights: Weights | None = None, **options: Any) -> VGG:
    """VGG-16 with batch norm; see :func:`vgg11`."""
    return _vgg((2, 2, 3, 3, 3), True, weights, options)


@register_model
def vgg19(*, weights: Weights | None = None, **options: Any) -> VGG:
    """VGG-19; see :func:`vgg11`."""
    return _vgg((2, 2, 4, 4, 4), False, weights, options)


@register_model
def vgg19_bn(*, weights: Weights | None = None, **options: Any) -> VGG:
    """VGG-19 with batch norm; see :func:`vgg11`."""
    return _vgg((2, 2, 4, 4, 4), True, weights, options)
