"""ResNet for CIFAR: 32 x 32 images and few parameters.

References
----------
He et al., "Deep Residual Learning for Image Recognition", 2015, section 4.2
(https://arxiv.org/abs/1512.03385).
"""

from __future__ import annotations

import re
from typing import Any

from rushlight import nn
from rushlight.models.blocks import he_normal_, in_turn, initialise
from rushlight.models.registry import Weights, build, register_model
from rushlight.nn import functional as F
from rushlight.tensor import Tensor

__all__ = ["CifarBlock", "CifarResNet", "resnet20", "resnet32", "resnet44", "resnet56", "resnet110"]


class PaddedShortcut(nn.Module):
    """Option A: every second pixel, with channels of zeros before and after.

    Parameters
    ----------
    stride : int
        Of the pixels that are kept, in both directions.
    channels : int
        Added on each side.
    """

    def __init__(self, stride: int, channels: int) -> None:
        super().__init__()
        self.stride, self.channels = stride, channels

    def forward(self, x: Tensor) -> Tensor:
        """Map [n, c, h, w] to [n, c + 2 * channels, h / stride, w / stride]."""
        kept = x[:, :, :: self.stride, :: self.stride]
        return F.pad(kept, (0, 0, 0, 0, self.channels, self.channels))

    def extra_repr(self) -> str:
        """Return the arguments."""
        return f"stride={self.stride}, channels={self.channels}"


class CifarBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut.

    Parameters
    ----------
    inplanes, planes : int
        Channels of the input and of the output.
    stride : int
        Of the first convolution.
    downsample : Module, optional
        What brings the shortcut to the shape of the output.
    """

    def __init__(
        self, inplanes: int, planes: int, stride: int = 1, downsample: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inplanes, planes, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """Map [n, inplanes, h, w] to [n, planes, h / stride, w / stride]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = in_turn(x, self.conv1, self.bn1, self.relu, self.conv2, self.bn2)
        out += shortcut
        return self.relu(out)


class CifarResNet(nn.Module):
    """A 3x3 convolution, three stages of 16, 32 and 64 channels, the mean and a linear layer.

    Parameters
    ----------
    blocks : int
        Blocks of a stage; the net has ``6 * blocks + 2`` layers with weights.
    num_classes : int
        Size of the output.
    shortcut : {"A", "B"}
        What a shortcut does where the shape changes. "A", the paper's choice for CIFAR: pad the
        channels with zeros, no parameters. "B": a 1x1 convolution and batch norm, as torchvision's
        nets and most published weights have it.

    Raises
    ------
    ValueError
        For another shortcut.

    Notes
    -----
    Parameters are named as in torchvision's ResNet (and in the weights of
    chenyaofo/pytorch-cifar-models, option B). The names of akamaster/pytorch_resnet_cifar10
    (``linear``, ``shortcut``) are understood when a state dict is loaded.
    """

    def __init__(self, blocks: int, num_classes: int = 10, shortcut: str = "A") -> None:
        super().__init__()
        if shortcut not in ("A", "B"):
            raise ValueError(f"CifarResNet: shortcut must be 'A' or 'B', but got {shortcut!r}")
        self.shortcut = shortcut
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = self._stage(16, 16, blocks, 1)
        self.layer2 = self._stage(16, 32, blocks, 2)
        self.layer3 = self._stage(32, 64, blocks, 2)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(64, num_classes)
        self.register_load_state_dict_pre_hook(_rename)
        initialise(self, nn.Conv2d, he_normal_)

    def _stage(self, inplanes: int, planes: int, blocks: int, stride: int) -> nn.Sequential:
        first = CifarBlock(inplanes, planes, stride, self._downsample(inplanes, planes, stride))
        return nn.Sequential(first, *(CifarBlock(planes, planes) for _ in range(1, blocks)))

    def _downsample(self, inplanes: int, planes: int, stride: int) -> nn.Module | None:
        if stride == 1 and inplanes == planes:
            return None
        if self.shortcut == "A":
            return PaddedShortcut(stride, (planes - inplanes) // 2)
        return nn.Sequential(
            nn.Conv2d(inplanes, planes, 1, stride=stride, bias=False), nn.BatchNorm2d(planes)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map images [n, 3, h, w] to scores [n, num_classes]; 32 x 32 is usual."""
        x = in_turn(x, self.conv1, self.bn1, self.relu)
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(self.avgpool(x).flatten(1))


def _rename(module: nn.Module, state_dict: dict[str, Any], prefix: str, *_: object) -> None:
    """Give the entries of akamaster's weights the names that they have here."""
    for name in [each for each in state_dict if each.startswith(prefix)]:
        own = name[len(prefix) :].replace(".shortcut.", ".downsample.")
        own = re.sub(r"^linear\.", "fc.", own)
        if prefix + own != name:
            state_dict[prefix + own] = state_dict.pop(name)


@register_model
def resnet20(*, weights: Weights | None = None, **options: Any) -> CifarResNet:
    """ResNet-20 for CIFAR; `weights` is a file, `options` are those of :class:`CifarResNet`."""
    return build(weights, CifarResNet, 3, **options)


@register_model
def resnet32(*, weights: Weights | None = None, **options: Any) -> CifarResNet:
    """ResNet-32 for CIFAR; see :func:`resnet20`."""
    return build(weights, CifarResNet, 5, **options)


@register_model
def resnet44(*, weights: Weights | None = None, **options: Any) -> CifarResNet:
    """ResNet-44 for CIFAR; see :func:`resnet20`."""
    return build(weights, CifarResNet, 7, **options)


@register_model
def resnet56(*, weights: Weights | None = None, **options: Any) -> CifarResNet:
    """ResNet-56 for CIFAR; see :func:`resnet20`."""
    return build(weights, CifarResNet, 9, **options)


@register_model
def resnet110(*, weights: Weights | None = None, **options: Any) -> CifarResNet:
    """ResNet-110 for CIFAR; see :func:`resnet20`."""
    return build(weights, CifarResNet, 18, **options)
