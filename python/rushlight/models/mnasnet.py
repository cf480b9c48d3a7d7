"""MNASNet.

References
----------
Tan et al., "MnasNet: Platform-Aware Neural Architecture Search for Mobile", 2018
(https://arxiv.org/abs/1807.11626).
"""

from __future__ import annotations

from functools import partial
from typing import Any

from rushlight import nn
from rushlight.models.blocks import he_normal_, initialise, make_divisible
from rushlight.models.registry import Weights, build, register_model
from rushlight.tensor import Tensor

__all__ = ["MNASNet", "mnasnet0_5", "mnasnet0_75", "mnasnet1_0", "mnasnet1_3"]

# The paper's 0.9997 is the share of the old value; PyTorch counts the new one's.
_MOMENTUM = 1 - 0.9997
# Of each stage: channels, window, stride of the first block, expansion, blocks.
_STAGES = (
    (24, 3, 2, 3, 3),
    (40, 5, 2, 3, 3),
    (80, 5, 2, 6, 3),
    (96, 3, 1, 6, 2),
    (192, 5, 2, 6, 4),
    (320, 3, 1, 6, 1),
)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, momentum=_MOMENTUM)


def _convolution(
    inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    """Return a convolution, a batch norm and a ReLU."""
    return [
        nn.Conv2d(
            inputs,
            outputs,
            kernel,
            stride=stride,
            padding=kernel // 2,
            groups=groups,
            bias=False,
        ),
        _norm(outputs),
        nn.ReLU(inplace=True),
    ]


class InvertedResidual(nn.Module):
    """Widen by a 1x1 convolution, filter each channel, narrow by a linear 1x1.

    Parameters
    ----------
    in_ch, out_ch : int
        Channels of input and output. Where they are equal, and the stride is 1, the input is added.
    kernel_size, stride : int
        Of the convolution between.
    expansion_factor : int
        How many times wider the middle is.
    """

    def __init__(
        self, in_ch: int, out_ch: int, kernel_size: int, stride: int, expansion_factor: int
    ) -> None:
        super().__init__()
        self.apply_residual = stride == 1 and in_ch == out_ch
        wide = in_ch * expansion_factor
        self.layers = nn.Sequential(
            *_convolution(in_ch, wide),
            *_convolution(wide, wide, kernel_size, stride, groups=wide),
            nn.Conv2d(wide, out_ch, 1, bias=False),
            _norm(out_ch),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map [n, in_ch, h, w] to [n, out_ch, h / stride, w / stride]."""
        return self.layers(x) + x if self.apply_residual else self.layers(x)


class MNASNet(nn.Module):
    """The net called B1, without squeeze-and-excitation.

    Parameters
    ----------
    alpha : float
        Factor of all numbers of channels but the last.
    num_classes : int
        Size of the output.
    dropout : float
        Probability of a zero before the linear layer.

    Raises
    ------
    ValueError
        When `alpha` is not positive.

    Notes
    -----
    Weights that torchvision saved before its version 0.5, whose first layers have the same width
    at any `alpha`, load too: the model takes their shape.
    """

    _version = 2

    def __init__(self, alpha: float, num_classes: int = 1000, dropout: float = 0.2) -> None:
        super().__init__()
        if alpha <= 0:
            raise ValueError(f"MNASNet: alpha must be greater than 0, but got {alpha}")
        self.alpha, self.num_classes = alpha, num_classes
        widths = [make_divisible(channels * alpha) for channels, *_ in _STAGES]
        layers = _stem(make_divisible(32 * alpha), make_divisible(16 * alpha), widths[0])
        for inputs, outputs, (_, *stage) in zip(widths, widths[1:], _STAGES[1:], strict=False):
            layers.append(_stack(inputs, outputs, *stage))
        self.layers = nn.Sequential(*layers, *_convolution(widths[-1], 1280))
        self.classifier = nn.Sequential(
            nn.Dropout(dropout, inplace=True), nn.Linear(1280, num_classes)
        )
        initialise(self, nn.Conv2d, he_normal_)
        fill = partial(nn.init.kaiming_uniform_, mode="fan_out", nonlinearity="sigmoid")
        initialise(self, nn.Linear, fill)
        self.register_load_state_dict_pre_hook(_take_old_stem)

    def forward(self, x: Tensor) -> Tensor:
        """Map images [n, 3, h, w] to scores [n, num_classes]; 224 x 224 is usual."""
        return self.classifier(self.layers(x).mean([2, 3]))


def _stem(first: int, second: int, third: int) -> list[nn.Module]:
    """Return the layers up to and with the first stage, of so many channels."""
    return [
        *_convolution(3, first, 3, stride=2),
        *_convolution(first, first, 3, groups=first),
        nn.Conv2d(first, second, 1, bias=False),
        _norm(second),
        _stack(second, third, *_STAGES[0][1:]),
    ]


def _stack(
    inputs: int, outputs: int, kernel: int, stride: int, expansion: int, count: int
) -> nn.Sequential:
    rest = (InvertedResidual(outputs, outputs, kernel, 1, expansion) for _ in range(1, count))
    return nn.Sequential(InvertedResidual(inputs, outputs, kernel, stride, expansion), *rest)


def _take_old_stem(
    module: MNASNet,
    state_dict: dict[str, Any],
    prefix: str,
    local_metadata: dict[str, Any],
    *_: object,
) -> None:
    """Give the model the stem of version 1 when the weights are of that version."""
    if local_metadata.get("version") == 1 and module.alpha != 1:
        stem = _stem(32, 16, make_divisible(_STAGES[0][0] * module.alpha))
        for index, layer in enumerate(stem):
            module.layers[index] = layer
        module._version = 1


@register_model
def mnasnet0_5(*, weights: Weights | None = None, **options: Any) -> MNASNet:
    """MNASNet of half width; `weights` is a file, `options` are those of :class:`MNASNet`."""
    return build(weights, MNASNet, 0.5, **options)


@register_model
def mnasnet0_75(*, weights: Weights | None = None, **options: Any) -> MNASNet:
    """MNASNet of three fourths of the width; see :func:`mnasnet0_5`."""
    return build(weights, MNASNet, 0.75, **options)


@register_model
def mnasnet1_0(*, weights: Weights | None = None, **options: Any) -> MNASNet:
    """MNASNet; see :func:`mnasnet0_5`."""
    return build(weights, MNASNet, 1.0, **options)


@register_model
def mnasnet1_3(*, weights: Weights | None = None, **options: Any) -> MNASNet:
    """MNASNet of 1.3 times the width; see :func:`mnasnet0_5`."""
    return build(weights, MNASNet, 1.3, **options)
