"""ResNet, ResNeXt and Wide ResNet for ImageNet.

References
----------
He et al., "Deep Residual Learning for Image Recognition", 2015 (https://arxiv.org/abs/1512.03385).
Xie et al., "Aggregated Residual Transformations for Deep Neural Networks", 2016
(https://arxiv.org/abs/1611.05431).
Zagoruyko and Komodakis, "Wide Residual Networks", 2016 (https://arxiv.org/abs/1605.07146).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from rushlight import nn
from rushlight.models.blocks import he_normal_, in_turn, initialise
from rushlight.models.registry import Weights, build, register_model
from rushlight.tensor import Tensor

__all__ = [
    "BasicBlock",
    "Bottleneck",
    "ResNet",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "wide_resnet50_2",
    "wide_resnet101_2",
]


def _conv3x3(
    inputs: int, outputs: int, stride: int = 1, groups: int = 1, dilation: int = 1
) -> nn.Conv2d:
    """Return a 3x3 convolution without bias that keeps the size at stride 1."""
    return nn.Conv2d(
        inputs,
        outputs,
        kernel_size=3,
        stride=stride,
        padding=dilation,
        dilation=dilation,
        groups=groups,
        bias=False,
    )


def _conv1x1(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel_size=1, stride=stride, bias=False)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut.

    Parameters
    ----------
    inplanes, planes : int
        Channels of the input and of the output.
    stride : int
        Of the first convolution.
    downsample : Module, optional
        What brings the shortcut to the shape of the output.
    groups, base_width, dilation : int
        1, 64 and 1: only :class:`Bottleneck` knows others.
    norm_layer : callable, optional
        Makes a normalisation of so many channels; ``nn.BatchNorm2d`` unless given.

    Raises
    ------
    ValueError
        For other groups, width or dilation.
    """

    expansion: ClassVar[int] = 1

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        groups: int = 1,
        base_width: int = 64,
        dilation: int = 1,
        norm_layer: Callable[..., nn.Module] | None = None,
    ) -> None:
        super().__init__()
        if (groups, base_width, dilation) != (1, 64, 1):
            raise ValueError(
                "BasicBlock: needs groups=1, base_width=64 and dilation=1, but got "
                f"groups={groups}, base_width={base_width} and dilation={dilation}"
            )
        norm = norm_layer or nn.BatchNorm2d
        self.conv1 = _conv3x3(inplanes, planes, stride)
        self.bn1 = norm(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = _conv3x3(planes, planes)
        self.bn2 = norm(planes)
        self.downsample = downsample
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Map [n, inplanes, h, w] to [n, planes, h / stride, w / stride]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = in_turn(x, self.conv1, self.bn1, self.relu, self.conv2, self.bn2)
        out += shortcut
        return self.relu(out)


class Bottleneck(nn.Module):
    """A 3x3 convolution between 1x1 convolutions that narrow and widen, beside a shortcut.

    The stride is that of the 3x3 convolution, as in torchvision ("ResNet V1.5"), and not of the
    first one as in the paper.

    Parameters
    ----------
    inplanes : int
        Channels of the input.
    planes : int
        A fourth of the channels of the output.
    stride : int
        Of the 3x3 convolution.
    downsample : Module, optional
        What brings the shortcut to the shape of the output.
    groups, base_width : int
        The 3x3 convolution has ``planes * base_width // 64`` channels in each of `groups` groups.
    dilation : int
        Of the 3x3 convolution.
    norm_layer : callable, optional
        Makes a normalisation of so many channels; ``nn.BatchNorm2d`` unless given.
    """

    expansion: ClassVar[int] = 4

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        groups: int = 1,
        base_width: int = 64,
        dilation: int = 1,
        norm_layer: Callable[..., nn.Module] | None = None,
    ) -> None:
        super().__init__()
        norm = norm_layer or nn.BatchNorm2d
        width = int(planes * (base_width / 64)) * groups
        self.conv1 = _conv1x1(inplanes, width)
        self.bn1 = norm(width)
        self.conv2 = _conv3x3(width, width, stride, groups, dilation)
        self.bn2 = norm(width)
        self.conv3 = _conv1x1(width, planes * self.expansion)
        self.bn3 = norm(planes * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Map [n, inplanes, h, w] to [n, 4 * planes, h / stride, w / stride]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = in_turn(x, self.conv1, self.bn1, self.relu, self.conv2, self.bn2, self.relu)
        out = in_turn(out, self.conv3, self.bn3)
        out += shortcut
        return self.relu(out)


class ResNet(nn.Module):
    """A stem, four stages of residual blocks, the mean over the image and a linear layer.

    Parameters
    ----------
    block : type
        :class:`BasicBlock` or :class:`Bottleneck`.
    layers : sequence of int
        Number of blocks of each of the four stages.
    num_classes : int
        Size of the output.
    zero_init_residual : bool
        Start the last normalisation of each block at zero, so that blocks pass their input on.
    groups, width_per_group : int
        Groups of the 3x3 convolutions, and channels in each, in the first stage.
    replace_stride_with_dilation : sequence of 3 bool, optional
        Whether the last three stages dilate instead of halving the image.
    norm_layer : callable, optional
        Makes a normalisation of so many channels; ``nn.BatchNorm2d`` unless given.

    Raises
    ------
    ValueError
        When there are not four stages, or `replace_stride_with_dilation` has not three elements.

    Notes
    -----
    Names, shapes and initial values are those of ``torchvision.models.ResNet``.
    """

    def __init__(
        self,
        block: type[BasicBlock | Bottleneck],
        layers: Sequence[int],
        num_classes: int = 1000,
        zero_init_residual: bool = False,
        groups: int = 1,
        width_per_group: int = 64,
        replace_stride_with_dilation: Sequence[bool] | None = None,
        norm_layer: Callable[..., nn.Module] | None = None,
    ) -> None:
        super().__init__()
        dilate = list(replace_stride_with_dilation or [False] * 3)
        if len(layers) != 4 or len(dilate) != 3:
            raise ValueError(
                "ResNet: needs 4 layers, and 3 elements of replace_stride_with_dilation if given, "
                f"but got layers={layers} and {replace_stride_with_dilation}"
            )
        self.groups, self.base_width = groups, width_per_group
        self.inplanes, self.dilation = 64, 1
        self._norm_layer = norm_layer or nn.BatchNorm2d

        self.conv1 = nn.Conv2d(3, self.inplanes, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = self._norm_layer(self.inplanes)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.layer1 = self._make_layer(block, 64, layers[0])
        self.layer2 = self._make_layer(block, 128, layers[1], 2, dilate[0])
        self.layer3 = self._make_layer(block, 256, layers[2], 2, dilate[1])
        self.layer4 = self._make_layer(block, 512, layers[3], 2, dilate[2])
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(512 * block.expansion, num_classes)
        self._initialise(zero_init_residual)

    def _make_layer(
        self,
        block: type[BasicBlock | Bottleneck],
        planes: int,
        count: int,
        stride: int = 1,
        dilate: bool = False,
    ) -> nn.Sequential:
        """Return a stage: its first block changes the size, the others keep it."""
        outputs = planes * block.expansion
        first_dilation = self.dilation
        if dilate:
            self.dilation, stride = self.dilation * stride, 1
        downsample = None
        if stride != 1 or self.inplanes != outputs:
            downsample = nn.Sequential(
                _conv1x1(self.inplanes, outputs, stride), self._norm_layer(outputs)
            )
        common: dict[str, Any] = {
            "groups": self.groups,
            "base_width": self.base_width,
            "norm_layer": self._norm_layer,
        }
        first = block(self.inplanes, planes, stride, downsample, dilation=first_dilation, **common)
        rest = (block(outputs, planes, dilation=self.dilation, **common) for _ in range(1, count))
        self.inplanes = outputs
        return nn.Sequential(first, *rest)

    def _initialise(self, zero_init_residual: bool) -> None:
        initialise(self, nn.Conv2d, he_normal_)
        for module in self.modules():
            if zero_init_residual and isinstance(module, (BasicBlock, Bottleneck)):
                last = module.bn3 if isinstance(module, Bottleneck) else module.bn2
                if isinstance(last.weight, nn.Parameter):
                    nn.init.zeros_(last.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map images [n, 3, h, w] to scores [n, num_classes]; 224 x 224 is usual."""
        x = in_turn(x, self.conv1, self.bn1, self.relu, self.maxpool)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).flatten(1))


@register_model
def resnet18(*, weights: Weights | None = None, **options: Any) -> ResNet:
    """ResNet-18; `weights` is a file, `options` are those of :class:`ResNet`."""
    return build(weights, ResNet, BasicBlock, [2, 2, 2, 2], **options)


@register_model
def resnet34(*, weights: Weights | None = None, **options: Any) -> ResNet:
    """ResNet-34; `weights` is a file, `options` are those of :class:`ResNet`."""
    return build(weights, ResNet, BasicBlock, [3, 4, 6, 3], **options)


@register_model
def resnet50(*, weights: Weights | None = None, **options: Any) -> ResNet:
    """ResNet-50; `weights` is a file, `options` are those of :class:`ResNet`."""
    return build(weights, ResNet, Bottleneck, [3, 4, 6, 3], **options)


@register_model
def resnet101(*, weights: Weights | None = None, **options: Any) -> ResNet:
    """ResNet-101; `weights` is a file, `options` are those of :class:`ResNet`."""
    return build(weights, ResNet, Bottleneck, [3, 4, 23, 3], **options)


@register_model
def resnet152(*, weights: Weights | None = None, **options: Any) -> ResNet:
    """ResNet-152; `weights` is a file, `options` are those of :class:`ResNet`."""
    return build(weights, ResNet, Bottleneck, [3, 8, 36, 3], **options)


@register_model
def resnext50_32x4d(*, weights: Weights | None = None, **options: Any) -> ResNet:
    """ResNeXt-50 with 32 groups of 4 channels; see :func:`resnet50`."""
    options = {"groups": 32, "width_per_group": 4, **options}
    return build(weights, ResNet, Bottleneck, [3, 4, 6, 3], **options)


@register_model
def resnext101_32x8d(*, weights: Weights | None = None, **options: Any) -> ResNet:
    """ResNeXt-101 with 32 groups of 8 channels; see :func:`resnet101`."""
    options = {"groups": 32, "width_per_group": 8, **options}
    return build(weights, ResNet, Bottleneck, [3, 4, 23, 3], **options)


@register_model
def wide_resnet50_2(*, weights: Weights | None = None, **options: Any) -> ResNet:
    """Wide ResNet-50, of twice as many channels in the 3x3 convolutions; see :func:`resnet50`."""
    options = {"width_per_group": 128, **options}
    return build(weights, ResNet, Bottleneck, [3, 4, 6, 3], **options)


@register_model
def wide_resnet101_2(*, weights: Weights | None = None, **options: Any) -> ResNet:
    """Wide ResNet-101, of twice as many channels in the 3x3 convolutions; see :func:`resnet101`."""
    options = {"width_per_group": 128, **options}
    return build(weights, ResNet, Bottleneck, [3, 4, 23, 3], **options)
