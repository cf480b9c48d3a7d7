"""DenseNet.

References
----------
Huang et al., "Densely Connected Convolutional Networks", 2016 (https://arxiv.org/abs/1608.06993).
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from rushlight import nn
from rushlight.models.blocks import initialise
from rushlight.models.registry import Weights, build, register_model
from rushlight.nn import functional as F
from rushlight.ops import cat
from rushlight.tensor import Tensor

__all__ = ["DenseNet", "densenet121", "densenet161", "densenet169", "densenet201"]


class DenseLayer(nn.Module):
    """Batch norm, ReLU and a 1x1 convolution; then the same with 3x3.

    Parameters
    ----------
    inputs, growth_rate, bn_size : int
        Channels of the input; of the output; channels between, in units of `growth_rate`.
    drop_rate : float
        Probability of a zero in the output.
    """

    def __init__(self, inputs: int, growth_rate: int, bn_size: int, drop_rate: float) -> None:
        super().__init__()
        between = bn_size * growth_rate
        self.norm1 = nn.BatchNorm2d(inputs)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(inputs, between, kernel_size=1, bias=False)
        self.norm2 = nn.BatchNorm2d(between)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(between, growth_rate, kernel_size=3, padding=1, bias=False)
        self.drop_rate = drop_rate

    def forward(self, x: Tensor) -> Tensor:
        """Map [n, inputs, h, w] to [n, growth_rate, h, w]."""
        x = self.conv1(self.relu1(self.norm1(x)))
        x = self.conv2(self.relu2(self.norm2(x)))
        return F.dropout(x, self.drop_rate, self.training) if self.drop_rate > 0 else x


class DenseBlock(nn.ModuleDict):
    """Layers each of which sees the input and what all layers before it found."""

    def __init__(
        self, count: int, inputs: int, growth_rate: int, bn_size: int, drop_rate: float
    ) -> None:
        super().__init__()
        for number in range(count):
            seen = inputs + number * growth_rate
            self[f"denselayer{number + 1}"] = DenseLayer(seen, growth_rate, bn_size, drop_rate)

    def forward(self, x: Tensor) -> Tensor:
        """Map [n, inputs, h, w] to [n, inputs + count * growth_rate, h, w]."""
        for layer in self.values():
            x = cat([x, layer(x)], 1)
        return x


class Transition(nn.Sequential):
    """Batch norm, ReLU, a 1x1 convolution, and the mean of 2x2 pixels."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv = nn.Conv2d(inputs, outputs, kernel_size=1, bias=False)
        self.pool = nn.AvgPool2d(kernel_size=2, stride=2)


class DenseNet(nn.Module):
    """A stem, dense blocks with transitions between, the mean over the image and a linear layer.

    Parameters
    ----------
    growth_rate : int
        Channels that each layer adds.
    block_config : sequence of int
        Layers of each block.
    num_init_features : int
        Channels of the first convolution.
    bn_size : int
        Channels between the two convolutions of a layer, in units of `growth_rate`.
    drop_rate : float
        Probability of a zero after each layer.
    num_classes : int
        Size of the output.
    memory_efficient : bool
        Must be False: nothing is computed anew in the backward pass to save memory.

    Raises
    ------
    ValueError
        When `memory_efficient` is True.

    Notes
    -----
    The names of the files that torchvision publishes (``norm.1`` for ``norm1``) are understood
    when a state dict is loaded.
    """

    def __init__(
        self,
        growth_rate: int = 32,
        block_config: Sequence[int] = (6, 12, 24, 16),
        num_init_features: int = 64,
        bn_size: int = 4,
        drop_rate: float = 0,
        num_classes: int = 1000,
        memory_efficient: bool = False,
    ) -> None:
        super().__init__()
        if memory_efficient:
            raise ValueError("DenseNet: memory_efficient=True is not supported")
        width = num_init_features
        parts: OrderedDict[str, nn.Module] = OrderedDict(
            conv0=nn.Conv2d(3, width, kernel_size=7, stride=2, padding=3, bias=False),
            norm0=nn.BatchNorm2d(width),
            relu0=nn.ReLU(inplace=True),
            pool0=nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
        )
        for number, count in enumerate(block_config, 1):
            parts[f"denseblock{number}"] = DenseBlock(count, width, growth_rate, bn_size, drop_rate)
            width += count * growth_rate
            if number < len(block_config):
                parts[f"transition{number}"] = Transition(width, width // 2)
                width //= 2
        parts["norm5"] = nn.BatchNorm2d(width)
        self.features = nn.Sequential(parts)
        self.classifier = nn.Linear(width, num_classes)
        initialise(self, nn.Conv2d, nn.init.kaiming_normal_)
        initialise(self, nn.Linear)
        self.register_load_state_dict_pre_hook(_rename)

    def forward(self, x: Tensor) -> Tensor:
        """Map images [n, 3, h, w] to scores [n, num_classes]; 224 x 224 is usual."""
        x = F.relu(self.features(x), inplace=True)
        return self.classifier(F.adaptive_avg_pool2d(x, (1, 1)).flatten(1))


def _rename(module: nn.Module, state_dict: dict[str, Any], prefix: str, *_: object) -> None:
    """Write ``norm1`` for ``norm.1`` and the like, as layers were named before 2017."""
    for name in [each for each in state_dict if each.startswith(prefix)]:
        new = re.sub(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)", r"\1\2", name)
        if new != name:
            state_dict[new] = state_dict.pop(name)


@register_model
def densenet121(*, weights: Weights | None = None, **options: Any) -> DenseNet:
    """DenseNet-121; `weights` is a file, `options` are those of :class:`DenseNet`."""
    return build(weights, DenseNet, **options)


@register_model
def densenet161(*, weights: Weights | None = None, **options: Any) -> DenseNet:
    """DenseNet-161; see :func:`densenet121`."""
    shape = {"growth_rate": 48, "block_config": (6, 12, 36, 24), "num_init_features": 96}
    return build(weights, DenseNet, **{**shape, **options})


@register_model
def densenet169(*, weights: Weights | None = None, **options: Any) -> DenseNet:
    """DenseNet-169; see :func:`densenet121`."""
    return build(weights, DenseNet, **{"block_config": (6, 12, 32, 32), **options})


@register_model
def densenet201(*, weights: Weights | None = None, **options: Any) -> DenseNet:
    """DenseNet-201; see :func:`densenet121`."""
    return build(weights, DenseNet, **{"block_config": (6, 12, 48, 32), **options})
