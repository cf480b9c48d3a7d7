"""MobileNetV3, large and small.

References
----------
Howard et al., "Searching for MobileNetV3", 2019 (https://arxiv.org/abs/1905.02244).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from rushlight import nn
from rushlight.models.blocks import (
    Conv2dNormActivation,
    SqueezeExcitation,
    he_normal_,
    initialise,
    make_divisible,
    small_normal_,
)
from rushlight.models.registry import Weights, build, register_model
from rushlight.tensor import Tensor

__all__ = ["InvertedResidualConfig", "MobileNetV3", "mobilenet_v3_large", "mobilenet_v3_small"]


class InvertedResidualConfig(NamedTuple):
    """A block: channels, window of the depthwise convolution, activation "RE" or "HS"."""

    input_channels: int
    kernel: int
    expanded_channels: int
    out_channels: int
    use_se: bool
    activation: str
    stride: int
    dilation: int = 1


def _hard_squeeze_excitation(inputs: int, squeezed: int) -> SqueezeExcitation:
    return SqueezeExcitation(inputs, squeezed, scale_activation=nn.Hardsigmoid)


class InvertedResidual(nn.Module):
    """Widen by a 1x1 convolution, filter each channel, scale the channels, narrow by a linear 1x1.

    Parameters
    ----------
    cnf : InvertedResidualConfig
        What it does. Where input and output have one shape, the input is added.
    norm_layer : callable
        Makes a normalisation of so many channels.
    se_layer : callable
        Makes what scales so many channels by way of so many fewer.

    Raises
    ------
    ValueError
        For another stride than 1 or 2.
    """

    def __init__(
        self,
        cnf: InvertedResidualConfig,
        norm_layer: Callable[..., nn.Module],
        se_layer: Callable[..., nn.Module] = _hard_squeeze_excitation,
    ) -> None:
        super().__init__()
        if cnf.stride not in (1, 2):
            raise ValueError(f"InvertedResidual: stride must be 1 or 2, but got {cnf.stride}")
        self.use_res_connect = cnf.stride == 1 and cnf.input_channels == cnf.out_channels
        self.out_channels = cnf.out_channels
        wide = cnf.expanded_channels
        common: dict[str, Any] = {
            "norm_layer": norm_layer,
            "activation_layer": nn.Hardswish if cnf.activation == "HS" else nn.ReLU,
        }
        layers: list[nn.Module] = []
        if wide != cnf.input_channels:
            layers.append(Conv2dNormActivation(cnf.input_channels, wide, 1, **common))
        layers.append(
            Conv2dNormActivation(
                wide,
                wide,
                cnf.kernel,
                # A dilated block sees as much as the stride would have let it see.
                stride=1 if cnf.dilation > 1 else cnf.stride,
                dilation=cnf.dilation,
                groups=wide,
                **common,
            )
        )
        if cnf.use_se:
            layers.append(se_layer(wide, make_divisible(wide // 4)))
        common["activation_layer"] = None
        self.block = nn.Sequential(
            *layers, Conv2dNormActivation(wide, cnf.out_channels, 1, **common)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map [n, input_channels, h, w] to [n, out_channels, h / stride, w / stride]."""
        return self.block(x) + x if self.use_res_connect else self.block(x)


class MobileNetV3(nn.Module):
    """A convolution, inverted residuals, a 1x1 convolution and two linear layers.

    Parameters
    ----------
    inverted_residual_setting : sequence of InvertedResidualConfig
        The blocks.
    last_channel : int
        Features between the linear layers.
    num_classes : int
        Size of the output.
    block : callable, optional
        Makes a block; :class:`InvertedResidual` unless given.
    norm_layer : callable, optional
        Makes a normalisation of so many channels; batch norm with ``eps=0.001, momentum=0.01``
        unless given.
    dropout : float
        Probability of a zero between the linear layers.

    Raises
    ------
    ValueError
        When there are no blocks.
    """

    def __init__(
        self,
        inverted_residual_setting: Sequence[InvertedResidualConfig],
        last_channel: int,
        num_classes: int = 1000,
        block: Callable[..., nn.Module] | None = None,
        norm_layer: Callable[..., nn.Module] | None = None,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        settings = list(inverted_residual_setting)
        if not settings:
            raise ValueError("MobileNetV3: inverted_residual_setting must not be empty")
        block = block or InvertedResidual
        norm = norm_layer or partial(nn.BatchNorm2d, eps=0.001, momentum=0.01)
        common: dict[str, Any] = {"norm_layer": norm, "activation_layer": nn.Hardswish}
        first, last = settings[0].input_channels, settings[-1].out_channels
        self.features = nn.Sequential(
            Conv2dNormActivation(3, first, 3, stride=2, **common),
            *(block(setting, norm) for setting in settings),
            Conv2dNormActivation(last, 6 * last, 1, **common),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            nn.Linear(6 * last, last_channel),
            nn.Hardswish(inplace=True),
            nn.Dropout(dropout, inplace=True),
            nn.Linear(last_channel, num_classes),
        )
        initialise(self, nn.Conv2d, he_normal_)
        initialise(self, nn.Linear, small_normal_)

    def forward(self, x: Tensor) -> Tensor:
        """Map images [n, 3, h, w] to scores [n, num_classes]; 224 x 224 is usual."""
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


# Of each block: window, expanded and output channels, squeeze-and-excitation, activation, stride.
_LARGE = (
    (3, 16, 16, False, "RE", 1),
    (3, 64, 24, False, "RE", 2),
    (3, 72, 24, False, "RE", 1),
    (5, 72, 40, True, "RE", 2),
    (5, 120, 40, True, "RE", 1),
    (5, 120, 40, True, "RE", 1),
    (3, 240, 80, False, "HS", 2),
    (3, 200, 80, False, "HS", 1),
    (3, 184, 80, False, "HS", 1),
    (3, 184, 80, False, "HS", 1),
    (3, 480, 112, True, "HS", 1),
    (3, 672, 112, True, "HS", 1),
    (5, 672, 160, True, "HS", 2),
    (5, 960, 160, True, "HS", 1),
    (5, 960, 160, True, "HS", 1),
)
_SMALL = (
    (3, 16, 16, True, "RE", 2),
    (3, 72, 24, False, "RE", 2),
    (3, 88, 24, False, "RE", 1),
    (5, 96, 40, True, "HS", 2),
    (5, 240, 40, True, "HS", 1),
    (5, 240, 40, True, "HS", 1),
    (5, 120, 48, True, "HS", 1),
    (5, 144, 48, True, "HS", 1),
    (5, 288, 96, True, "HS", 2),
    (5, 576, 96, True, "HS", 1),
    (5, 576, 96, True, "HS", 1),
)
_Blocks = Sequence[tuple[int, int, int, bool, str, int]]


def _mobilenet_v3(
    blocks: _Blocks,
    last_channel: int,
    *,
    width_mult: float = 1.0,
    reduced_tail: bool = False,
    dilated: bool = False,
    **options: Any,
) -> MobileNetV3:
    """Build a net; the tail, which may be halved or dilated, is its last three blocks."""

    def adjusted(channels: int, in_tail: bool) -> int:
        halved = channels // 2 if in_tail and reduced_tail else channels
        return make_divisible(halved * width_mult)

    settings = []
    inputs = adjusted(16, False)
    for number, (kernel, expanded, outputs, use_se, activation, stride) in enumerate(blocks):
        left = len(blocks) - number
        settings.append(
            InvertedResidualConfig(
                inputs,
                kernel,
                adjusted(expanded, left < 3),
                adjusted(outputs, left <= 3),
                use_se,
                activation,
                stride,
                2 if dilated and left <= 3 else 1,
            )
        )
        inputs = settings[-1].out_channels
    return MobileNetV3(settings, adjusted(last_channel, True), **options)


@register_model
def mobilenet_v3_large(*, weights: Weights | None = None, **options: Any) -> MobileNetV3:
    """MobileNetV3-Large.

    `weights` is a file; `options` are those of :class:`MobileNetV3` after `last_channel`, and
    ``width_mult`` (1.0), ``reduced_tail`` and ``dilated`` (False).
    """
    return build(weights, _mobilenet_v3, _LARGE, 1280, **options)


@register_model
def mobilenet_v3_small(*, weights: Weights | None = None, **options: Any) -> MobileNetV3:
    """MobileNetV3-Small; see :func:`mobilenet_v3_large`."""
    return build(weights, _mobilenet_v3, _SMALL, 1024, **options)
