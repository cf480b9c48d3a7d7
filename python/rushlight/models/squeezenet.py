"""SqueezeNet.

References
----------
Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model
size", 2016 (https://arxiv.org/abs/1602.07360). Version 1.1 is from the authors' repository, and
needs less than half the work of 1.0.
"""

from __future__ import annotations

from typing import Any

from rushlight import nn
from rushlight.models.blocks import in_turn, initialise, small_normal_
from rushlight.models.registry import Weights, build, register_model
from rushlight.ops import cat
from rushlight.tensor import Tensor

__all__ = ["Fire", "SqueezeNet", "squeezenet1_0", "squeezenet1_1"]

# Squeezed and expanded channels of the eight Fire modules.
_FIRES = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))
# Of each version: channels and window of the first convolution, and the Fire modules that a
# pooling comes before.
_VERSIONS = {"1_0": (96, 7, (0, 3, 7)), "1_1": (64, 3, (0, 2, 4))}


class Fire(nn.Module):
    """A 1x1 convolution to few channels, then 1x1 and 3x3 ones side by side.

    Parameters
    ----------
    inplanes, squeeze_planes : int
        Channels of the input, and between the convolutions.
    expand1x1_planes, expand3x3_planes : int
        Channels of the two halves of the output.
    """

    def __init__(
        self, inplanes: int, squeeze_planes: int, expand1x1_planes: int, expand3x3_planes: int
    ) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inplanes, squeeze_planes, kernel_size=1)
        self.squeeze_activation = nn.ReLU(inplace=True)
        self.expand1x1 = nn.Conv2d(squeeze_planes, expand1x1_planes, kernel_size=1)
        self.expand1x1_activation = nn.ReLU(inplace=True)
        self.expand3x3 = nn.Conv2d(squeeze_planes, expand3x3_planes, kernel_size=3, padding=1)
        self.expand3x3_activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map [n, inplanes, h, w] to [n, expand1x1_planes + expand3x3_planes, h, w]."""
        x = in_turn(x, self.squeeze, self.squeeze_activation)
        halves = [
            in_turn(x, self.expand1x1, self.expand1x1_activation),
            in_turn(x, self.expand3x3, self.expand3x3_activation),
        ]
        return cat(halves, 1)


class SqueezeNet(nn.Module):
    """A convolution, eight Fire modules with pooling between, and a convolution as classifier.

    Parameters
    ----------
    version : {"1_0", "1_1"}
        Of the net.
    num_classes : int
        Size of the output.
    dropout : float
        Probability of a zero before the classifier.

    Raises
    ------
    ValueError
        For another version.
    """

    def __init__(self, version: str = "1_0", num_classes: int = 1000, dropout: float = 0.5) -> None:
        super().__init__()
        if version not in _VERSIONS:
            raise ValueError(f"SqueezeNet: version must be '1_0' or '1_1', but got {version!r}")
        self.num_classes = num_classes
        inputs, window, pooled = _VERSIONS[version]
        layers: list[nn.Module] = [
            nn.Conv2d(3, inputs, kernel_size=window, stride=2),
            nn.ReLU(inplace=True),
        ]
        for number, (squeezed, expanded) in enumerate(_FIRES):
            if number in pooled:
                layers.append(nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True))
            layers.append(Fire(inputs, squeezed, expanded, expanded))
            inputs = 2 * expanded
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Conv2d(inputs, num_classes, kernel_size=1),
            nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d((1, 1)),
        )
        initialise(self.features, nn.Conv2d, nn.init.kaiming_uniform_)
        initialise(self.classifier, nn.Conv2d, small_normal_)

    def forward(self, x: Tensor) -> Tensor:
        """Map images [n, 3, h, w] of at least 21 x 21 to scores [n, num_classes]."""
        return self.classifier(self.features(x)).flatten(1)


@register_model
def squeezenet1_0(*, weights: Weights | None = None, **options: Any) -> SqueezeNet:
    """SqueezeNet 1.0; `weights` is a file, `options` are those of :class:`SqueezeNet`."""
    return build(weights, SqueezeNet, "1_0", **options)


@register_model
def squeezenet1_1(*, weights: Weights | None = None, **options: Any) -> SqueezeNet:
    """SqueezeNet 1.1; see :func:`squeezenet1_0`."""
    return build(weights, SqueezeNet, "1_1", **options)
