"""ShuffleNetV2.

References
----------
Ma et al., "ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design", 2018
(https://arxiv.org/abs/1807.11164).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rushlight import nn
from rushlight.models.registry import Weights, build, register_model
from rushlight.ops import cat
from rushlight.tensor import Tensor

__all__ = [
    "ShuffleNetV2",
    "shufflenet_v2_x0_5",
    "shufflenet_v2_x1_0",
    "shufflenet_v2_x1_5",
    "shufflenet_v2_x2_0",
]


def _pointwise(inputs: int, outputs: int) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, kernel_size=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    ]


def _depthwise(channels: int, stride: int) -> list[nn.Module]:
    return [
        nn.Conv2d(
            channels,
            channels,
            kernel_size=3,
            stride=stride,
            padding=1,
            groups=channels,
            bias=False,
        ),
        nn.BatchNorm2d(channels),
    ]


class InvertedResidual(nn.Module):
    """Two branches, side by side, whose channels are then mixed.

    At stride 1 the first branch passes half of the channels on; at stride 2 both see all.

    Parameters
    ----------
    inp, oup : int
        Channels of input and output, even; equal at stride 1.
    stride : int
        1 or 2.

    Raises
    ------
    ValueError
        For another stride, or channels that do not fit it.
    """

    def __init__(self, inp: int, oup: int, stride: int) -> None:
        super().__init__()
        if stride not in (1, 2) or oup % 2 or (stride == 1 and inp != oup):
            raise ValueError(
                "InvertedResidual: needs stride 1 or 2, an even oup, and at stride 1 inp = oup, "
                f"but got inp={inp}, oup={oup}, stride={stride}"
            )
        self.stride = stride
        half = oup // 2
        self.branch1 = nn.Sequential(
            *([*_depthwise(inp, stride), *_pointwise(inp, half)] if stride > 1 else [])
        )
        self.branch2 = nn.Sequential(
            *_pointwise(inp if stride > 1 else half, half),
            *_depthwise(half, stride),
            *_pointwise(half, half),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map [n, inp, h, w] to [n, oup, h / stride, w / stride]."""
        first, second = x.chunk(2, 1) if self.stride == 1 else (x, x)
        return nn.functional.channel_shuffle(cat([self.branch1(first), self.branch2(second)], 1), 2)


class ShuffleNetV2(nn.Module):
    """A convolution, pooling, three stages of shuffled blocks, a 1x1 convolution, a linear layer.

    Parameters
    ----------
    stages_repeats : sequence of 3 int
        Blocks of each stage.
    stages_out_channels : sequence of 5 int
        Channels of the first convolution, of the stages and of the last convolution.
    num_classes : int
        Size of the output.
    inverted_residual : callable
        Makes a block.

    Raises
    ------
    ValueError
        For other numbers of stages.
    """

    def __init__(
        self,
        stages_repeats: Sequence[int],
        stages_out_channels: Sequence[int],
        num_classes: int = 1000,
        inverted_residual: Callable[..., nn.Module] = InvertedResidual,
    ) -> None:
        super().__init__()
        if len(stages_repeats) != 3 or len(stages_out_channels) != 5:
            raise ValueError(
                "ShuffleNetV2: needs 3 stages_repeats and 5 stages_out_channels, but got "
                f"{stages_repeats} and {stages_out_channels}"
            )
        first, *widths, last = stages_out_channels
        self.conv1 = nn.Sequential(
            nn.Conv2d(3, first, kernel_size=3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(inplace=True),
        )
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        stages = []
        for inputs, width, count in zip([first, *widths[:2]], widths, stages_repeats, strict=True):
            rest = (inverted_residual(width, width, 1) for _ in range(1, count))
            stages.append(nn.Sequential(inverted_residual(inputs, width, 2), *rest))
        self.stage2, self.stage3, self.stage4 = stages
        self.conv5 = nn.Sequential(*_pointwise(widths[-1], last))
        self.fc = nn.Linear(last, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images [n, 3, h, w] to scores [n, num_classes]; 224 x 224 is usual."""
        x = self.maxpool(self.conv1(x))
        x = self.conv5(self.stage4(self.stage3(self.stage2(x))))
        return self.fc(x.mean([2, 3]))


def _shufflenet(
    widths: Sequence[int], weights: Weights | None, options: dict[str, Any]
) -> ShuffleNetV2:
    return build(weights, ShuffleNetV2, [4, 8, 4], widths, **options)


@register_model
def shufflenet_v2_x0_5(*, weights: Weights | None = None, **options: Any) -> ShuffleNetV2:
    """ShuffleNetV2 of half width; see :func:`shufflenet_v2_x1_0`."""
    return _shufflenet([24, 48, 96, 192, 1024], weights, options)


@register_model
def shufflenet_v2_x1_0(*, weights: Weights | None = None, **options: Any) -> ShuffleNetV2:
    """ShuffleNetV2; `weights` is a file, `options` are those after the channels."""
    return _shufflenet([24, 116, 232, 464, 1024], weights, options)


@register_model
def shufflenet_v2_x1_5(*, weights: Weights | None = None, **options: Any) -> ShuffleNetV2:
    """ShuffleNetV2 of one and a half times the width; see :func:`shufflenet_v2_x1_0`."""
    return _shufflenet([24, 176, 352, 704, 1024], weights, options)


@register_model
def shufflenet_v2_x2_0(*, weights: Weights | None = None, **options: Any) -> ShuffleNetV2:
    """ShuffleNetV2 of twice the width; see :func:`shufflenet_v2_x1_0`."""
    return _shufflenet([24, 244, 488, 976, 2048], weights, options)
