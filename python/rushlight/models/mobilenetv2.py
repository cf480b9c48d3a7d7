"""MobileNetV2.

References
----------
Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018
(https://arxiv.org/abs/1801.04381).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rushlight import nn
from rushlight.models.blocks import (
    Conv2dNormActivation,
    he_normal_,
    initialise,
    make_divisible,
    small_normal_,
)
from rushlight.models.registry import Weights, build, register_model
from rushlight.tensor import Tensor

__all__ = ["MobileNetV2", "mobilenet_v2"]

# Of each stage: expansion, channels, blocks, stride of the first one.
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class InvertedResidual(nn.Module):
    """Widen by a 1x1 convolution, filter each channel by 3x3, narrow by a linear 1x1.

    Parameters
    ----------
    inp, oup : int
        Channels of input and output. Where they are equal, and the stride is 1, the input is added.
    stride : int
        Of the 3x3 convolution, 1 or 2.
    expand_ratio : int
        How many times wider the middle is; nothing is widened at 1.
    norm_layer : callable, optional
        Makes a normalisation of so many channels; ``nn.BatchNorm2d`` unless given.

    Raises
    ------
    ValueError
        For another stride.
    """

    def __init__(
        self,
        inp: int,
        oup: int,
        stride: int,
        expand_ratio: int,
        norm_layer: Callable[..., nn.Module] | None = None,
    ) -> None:
        super().__init__()
        if stride not in (1, 2):
            raise ValueError(f"InvertedResidual: stride must be 1 or 2, but got {stride}")
        norm = norm_layer or nn.BatchNorm2d
        self.stride = stride
        self.use_res_connect = stride == 1 and inp == oup
        self.out_channels = oup
        wide = round(inp * expand_ratio)
        common: dict[str, Any] = {"norm_layer": norm, "activation_layer": nn.ReLU6}
        layers: list[nn.Module] = []
        if expand_ratio != 1:
            layers.append(Conv2dNormActivation(inp, wide, 1, **common))
        self.conv = nn.Sequential(
            *layers,
            Conv2dNormActivation(wide, wide, 3, stride=stride, groups=wide, **common),
            nn.Conv2d(wide, oup, kernel_size=1, bias=False),
            norm(oup),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map [n, inp, h, w] to [n, oup, h / stride, w / stride]."""
        return x + self.conv(x) if self.use_res_connect else self.conv(x)


class MobileNetV2(nn.Module):
    """A convolution, stages of inverted residuals, a 1x1 convolution and a linear layer.

    Parameters
    ----------
    num_classes : int
        Size of the output.
    width_mult : float
        Factor of all numbers of channels.
    inverted_residual_setting : sequence of (expansion, channels, blocks, stride), optional
        The stages; those of the paper unless given.
    round_nearest : int
        What divides all numbers of channels.
    block : callable, optional
        Makes a block; :class:`InvertedResidual` unless given.
    norm_layer : callable, optional
        Makes a normalisation of so many channels; ``nn.BatchNorm2d`` unless given.
    dropout : float
        Probability of a zero before the linear layer.

    Raises
    ------
    ValueError
        When a stage has not four numbers, or there is none.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        width_mult: float = 1.0,
        inverted_residual_setting: Sequence[Sequence[int]] | None = None,
        round_nearest: int = 8,
        block: Callable[..., nn.Module] | None = None,
        norm_layer: Callable[..., nn.Module] | None = None,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        block, norm = block or InvertedResidual, norm_layer or nn.BatchNorm2d
        stages = _STAGES if inverted_residual_setting is None else inverted_residual_setting
        if not stages or any(len(stage) != 4 for stage in stages):
            raise ValueError(
                "MobileNetV2: inverted_residual_setting needs one or more stages of 4 numbers, "
                f"but got {inverted_residual_setting}"
            )
        common: dict[str, Any] = {"norm_layer": norm, "activation_layer": nn.ReLU6}
        inputs = make_divisible(32 * width_mult, round_nearest)
        self.last_channel = make_divisible(1280 * max(1.0, width_mult), round_nearest)
        layers: list[nn.Module] = [Conv2dNormActivation(3, inputs, 3, stride=2, **common)]
        for expansion, channels, count, stride in stages:
            outputs = make_divisible(channels * width_mult, round_nearest)
            for number in range(count):
                step = 1 if number else stride
                layers.append(block(inputs, outputs, step, expansion, norm_layer=norm))
                inputs = outputs
        layers.append(Conv2dNormActivation(inputs, self.last_channel, 1, **common))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(self.last_channel, num_classes)
        )
        initialise(self, nn.Conv2d, he_normal_)
        initialise(self, nn.Linear, small_normal_)

    def forward(self, x: Tensor) -> Tensor:
        """Map images [n, 3, h, w] to scores [n, num_classes]; 224 x 224 is usual."""
        x = nn.functional.adaptive_avg_pool2d(self.features(x), (1, 1))
        return self.classifier(x.flatten(1))


@register_model
def mobilenet_v2(*, weights: Weights | None = None, **options: Any) -> MobileNetV2:
    """MobileNetV2; `weights` is a file, `options` are those of :class:`MobileNetV2`."""
    return build(weights, MobileNetV2, **options)
