"""EfficientNet, B0 to B7.

References
----------
Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", 2019
(https://arxiv.org/abs/1905.11946).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from rushlight import nn
from rushlight.models.blocks import (
    Conv2dNormActivation,
    SqueezeExcitation,
    StochasticDepth,
    he_normal_,
    initialise,
    make_divisible,
)
from rushlight.models.registry import Weights, build, register_model
from rushlight.tensor import Tensor

__all__ = [
    "EfficientNet",
    "MBConvConfig",
    "efficientnet_b0",
    "efficientnet_b1",
    "efficientnet_b2",
    "efficientnet_b3",
    "efficientnet_b4",
    "efficientnet_b5",
    "efficientnet_b6",
    "efficientnet_b7",
]


class MBConvConfig(NamedTuple):
    """A stage: expansion, window and stride, channels before and after, number of blocks."""

    expand_ratio: float
    kernel: int
    stride: int
    input_channels: int
    out_channels: int
    num_layers: int

    def scaled(self, width: float, depth: float) -> MBConvConfig:
        """Return the stage with more channels and more blocks."""
        return self._replace(
            input_channels=make_divisible(self.input_channels * width),
            out_channels=make_divisible(self.out_channels * width),
            num_layers=math.ceil(self.num_layers * depth),
        )


_STAGES = (
    MBConvConfig(1, 3, 1, 32, 16, 1),
    MBConvConfig(6, 3, 2, 16, 24, 2),
    MBConvConfig(6, 5, 2, 24, 40, 2),
    MBConvConfig(6, 3, 2, 40, 80, 3),
    MBConvConfig(6, 5, 1, 80, 112, 3),
    MBConvConfig(6, 5, 2, 112, 192, 4),
    MBConvConfig(6, 3, 1, 192, 320, 1),
)


class MBConv(nn.Module):
    """Widen by a 1x1 convolution, filter each channel, scale the channels, narrow by a linear 1x1.

    Parameters
    ----------
    cnf : MBConvConfig
        What it does; its number of blocks does not matter here. Where input and output have one
        shape, the input is added.
    stochastic_depth_prob : float
        Probability in training that a sample is passed on as it is.
    norm_layer : callable
        Makes a normalisation of so many channels.

    Raises
    ------
    ValueError
        For another stride than 1 or 2.
    """

    def __init__(
        self,
        cnf: MBConvConfig,
        stochastic_depth_prob: float,
        norm_layer: Callable[..., nn.Module],
    ) -> None:
        super().__init__()
        if cnf.stride not in (1, 2):
            raise ValueError(f"MBConv: stride must be 1 or 2, but got {cnf.stride}")
        inputs, outputs = cnf.input_channels, cnf.out_channels
        self.use_res_connect = cnf.stride == 1 and inputs == outputs
        wide = make_divisible(inputs * cnf.expand_ratio)
        common: dict[str, Any] = {"norm_layer": norm_layer, "activation_layer": nn.SiLU}
        layers: list[nn.Module] = []
        if wide != inputs:
            layers.append(Conv2dNormActivation(inputs, wide, 1, **common))
        layers.append(
            Conv2dNormActivation(wide, wide, cnf.kernel, stride=cnf.stride, groups=wide, **common)
        )
        activation = partial(nn.SiLU, inplace=True)
        layers.append(SqueezeExcitation(wide, max(1, inputs // 4), activation=activation))
        common["activation_layer"] = None
        layers.append(Conv2dNormActivation(wide, outputs, 1, **common))
        self.block = nn.Sequential(*layers)
        self.stochastic_depth = StochasticDepth(stochastic_depth_prob, "row")
        self.out_channels = outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map [n, input_channels, h, w] to [n, out_channels, h / stride, w / stride]."""
        return self.stochastic_depth(self.block(x)) + x if self.use_res_connect else self.block(x)


class EfficientNet(nn.Module):
    """A convolution, stages of blocks, a 1x1 convolution, the mean and a linear layer.

    Parameters
    ----------
    inverted_residual_setting : sequence of MBConvConfig
        The stages.
    dropout : float
        Probability of a zero before the linear layer.
    stochastic_depth_prob : float
        Probability that a block is passed by, of the block after the last; it grows evenly.
    num_classes : int
        Size of the output.
    norm_layer : callable, optional
        Makes a normalisation of so many channels; ``nn.BatchNorm2d`` unless given.
    last_channel : int, optional
        Channels of the last convolution; four times those of the last stage unless given.

    Raises
    ------
    ValueError
        When there are no stages.
    """

    def __init__(
        self,
        inverted_residual_setting: Sequence[MBConvConfig],
        dropout: float,
        stochastic_depth_prob: float = 0.2,
        num_classes: int = 1000,
        norm_layer: Callable[..., nn.Module] | None = None,
        last_channel: int | None = None,
    ) -> None:
        super().__init__()
        stages = list(inverted_residual_setting)
        if not stages:
            raise ValueError("EfficientNet: inverted_residual_setting must not be empty")
        norm = norm_layer or nn.BatchNorm2d
        common: dict[str, Any] = {"norm_layer": norm, "activation_layer": nn.SiLU}
        first, last = stages[0].input_channels, stages[-1].out_channels
        width = last_channel or 4 * last
        self.features = nn.Sequential(
            Conv2dNormActivation(3, first, 3, stride=2, **common),
            *_blocks(stages, stochastic_depth_prob, norm),
            Conv2dNormActivation(last, width, 1, **common),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout, inplace=True), nn.Linear(width, num_classes)
        )
        bound = 1 / math.sqrt(num_classes)
        initialise(self, nn.Conv2d, he_normal_)
        initialise(self, nn.Linear, partial(nn.init.uniform_, a=-bound, b=bound))

    def forward(self, x: Tensor) -> Tensor:
        """Map images [n, 3, h, w] to scores [n, num_classes]; B0 was trained on 224 x 224."""
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


def _blocks(
    stages: Sequence[MBConvConfig], most: float, norm: Callable[..., nn.Module]
) -> list[nn.Sequential]:
    """Return the stages, whose blocks are passed by more and more often."""
    total = sum(stage.num_layers for stage in stages)
    found, before = [], 0
    for stage in stages:
        rest = stage._replace(input_channels=stage.out_channels, stride=1)
        blocks = (
            MBConv(rest if number else stage, most * (before + number) / total, norm)
            for number in range(stage.num_layers)
        )
        found.append(nn.Sequential(*blocks))
        before += stage.num_layers
    return found


def _efficientnet(
    width: float,
    depth: float,
    dropout: float,
    weights: Weights | None,
    options: dict[str, Any],
) -> EfficientNet:
    stages = [stage.scaled(width, depth) for stage in _STAGES]
    return build(weights, EfficientNet, stages, **{"dropout": dropout, **options})


@register_model
def efficientnet_b0(*, weights: Weights | None = None, **options: Any) -> EfficientNet:
    """EfficientNet-B0.

    `weights` is a file, `options` are those of :class:`EfficientNet` after the stages.
    """
    return _efficientnet(1.0, 1.0, 0.2, weights, options)


@register_model
def efficientnet_b1(*, weights: Weights | None = None, **options: Any) -> EfficientNet:
    """EfficientNet-B1, for 240 x 240 pixels; see :func:`efficientnet_b0`."""
    return _efficientnet(1.0, 1.1, 0.2, weights, options)


@register_model
def efficientnet_b2(*, weights: Weights | None = None, **options: Any) -> EfficientNet:
    """EfficientNet-B2, for 288 x 288 pixels; see :func:`efficientnet_b0`."""
    return _efficientnet(1.1, 1.2, 0.3, weights, options)


@register_model
def efficientnet_b3(*, weights: Weights | None = None, **options: Any) -> EfficientNet:
    """EfficientNet-B3, for 300 x 300 pixels; see :func:`efficientnet_b0`."""
    return _efficientnet(1.2, 1.4, 0.3, weights, options)


@register_model
def efficientnet_b4(*, weights: Weights | None = None, **options: Any) -> EfficientNet:
    """EfficientNet-B4, for 380 x 380 pixels; see :func:`efficientnet_b0`."""
    return _efficientnet(1.4, 1.8, 0.4, weights, options)


def _wide_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=0.001, momentum=0.01)


@register_model
def efficientnet_b5(*, weights: Weights | None = None, **options: Any) -> EfficientNet:
    """EfficientNet-B5, for 456 x 456 pixels; see :func:`efficientnet_b0`."""
    return _efficientnet(1.6, 2.2, 0.4, weights, {"norm_layer": _wide_norm, **options})


@register_model
def efficientnet_b6(*, weights: Weights | None = None, **options: Any) -> EfficientNet:
    """EfficientNet-B6, for 528 x 528 pixels; see :func:`efficientnet_b0`."""
    return _efficientnet(1.8, 2.6, 0.5, weights, {"norm_layer": _wide_norm, **options})


@register_model
def efficientnet_b7(*, weights: Weights | None = None, **options: Any) -> EfficientNet:
    """EfficientNet-B7, for 600 x 600 pixels; see :func:`efficientnet_b0`."""
    return _efficientnet(2.0, 3.1, 0.5, weights, {"norm_layer": _wide_norm, **options})
