"""GoogLeNet, also called Inception v1.

References
----------
Szegedy et al., "Going Deeper with Convolutions", 2014 (https://arxiv.org/abs/1409.4842).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from rushlight import nn
from rushlight.models.blocks import in_turn
from rushlight.models.registry import Weights, load_state, register_model
from rushlight.nn import functional as F
from rushlight.ops import cat
from rushlight.tensor import Tensor

__all__ = ["GoogLeNet", "GoogLeNetOutputs", "googlenet"]

# Mean and deviation of ImageNet's channels, by which images are normalised in torchvision.
_MEANS, _STDS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class GoogLeNetOutputs(NamedTuple):
    """Scores [n, num_classes] of the net and of its auxiliary classifiers, in training."""

    logits: Tensor
    aux_logits2: Tensor | None
    aux_logits1: Tensor | None


class BasicConv2d(nn.Module):
    """A convolution without bias, a batch norm and a ReLU; `options` are the convolution's."""

    def __init__(self, in_channels: int, out_channels: int, **options: Any) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, bias=False, **options)
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        """Map [n, in_channels, h, w] to [n, out_channels, oh, ow]."""
        return F.relu(in_turn(x, self.conv, self.bn), inplace=True)


class Inception(nn.Module):
    """Four branches side by side: 1x1; 1x1 and 3x3; the same again; pooling and 1x1.

    Parameters
    ----------
    in_channels : int
        Channels of the input.
    ch1x1, ch3x3, ch5x5, pool_proj : int
        Channels of the four parts of the output.
    ch3x3red, ch5x5red : int
        Channels within the second and the third branch.

    Notes
    -----
    The third branch has a 3x3 window where the paper has 5x5: so do torchvision's net and weights.
    """

    def __init__(
        self,
        in_channels: int,
        ch1x1: int,
        ch3x3red: int,
        ch3x3: int,
        ch5x5red: int,
        ch5x5: int,
        pool_proj: int,
    ) -> None:
        super().__init__()
        self.branch1 = BasicConv2d(in_channels, ch1x1, kernel_size=1)
        self.branch2 = nn.Sequential(
            BasicConv2d(in_channels, ch3x3red, kernel_size=1),
            BasicConv2d(ch3x3red, ch3x3, kernel_size=3, padding=1),
        )
        self.branch3 = nn.Sequential(
            BasicConv2d(in_channels, ch5x5red, kernel_size=1),
            BasicConv2d(ch5x5red, ch5x5, kernel_size=3, padding=1),
        )
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(kernel_size=3, stride=1, padding=1, ceil_mode=True),
            BasicConv2d(in_channels, pool_proj, kernel_size=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map [n, in_channels, h, w] to [n, the sum of the four parts, h, w]."""
        branches = (self.branch1, self.branch2, self.branch3, self.branch4)
        return cat([branch(x) for branch in branches], 1)


class InceptionAux(nn.Module):
    """A classifier from the middle of the net, that brings gradients there in training.

    Parameters
    ----------
    in_channels, num_classes : int
        Channels of the input, size of the output.
    dropout : float
        Probability of a zero between the linear layers.
    """

    def __init__(self, in_channels: int, num_classes: int, dropout: float = 0.7) -> None:
        super().__init__()
        self.conv = BasicConv2d(in_channels, 128, kernel_size=1)
        self.fc1 = nn.Linear(128 * 4 * 4, 1024)
        self.fc2 = nn.Linear(1024, num_classes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map [n, in_channels, h, w] to [n, num_classes]."""
        x = self.conv(F.adaptive_avg_pool2d(x, (4, 4))).flatten(1)
        return self.fc2(self.dropout(F.relu(self.fc1(x), inplace=True)))


class GoogLeNet(nn.Module):
    """Three convolutions, nine Inception modules, the mean over the image and a linear layer.

    Parameters
    ----------
    num_classes : int
        Size of the output.
    aux_logits : bool
        Have two auxiliary classifiers, which are used in training.
    transform_input : bool
        Take images normalised by ImageNet's means and deviations, as torchvision's other nets do,
        and bring them from -1 to 1, as the published weights need it.
    init_weights : bool, optional
        Draw initial values of deviation 0.01; True unless given. Layers keep their own otherwise.
    dropout, dropout_aux : float
        Probability of a zero before the last layer of the net and of the auxiliary classifiers.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        aux_logits: bool = True,
        transform_input: bool = False,
        init_weights: bool | None = None,
        dropout: float = 0.2,
        dropout_aux: float = 0.7,
    ) -> None:
        super().__init__()
        self.aux_logits, self.transform_input = aux_logits, transform_input
        self.conv1 = BasicConv2d(3, 64, kernel_size=7, stride=2, padding=3)
        self.maxpool1 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.conv2 = BasicConv2d(64, 64, kernel_size=1)
        self.conv3 = BasicConv2d(64, 192, kernel_size=3, padding=1)
        self.maxpool2 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.inception3a = Inception(192, 64, 96, 128, 16, 32, 32)
        self.inception3b = Inception(256, 128, 128, 192, 32, 96, 64)
        self.maxpool3 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.inception4a = Inception(480, 192, 96, 208, 16, 48, 64)
        self.inception4b = Inception(512, 160, 112, 224, 24, 64, 64)
        self.inception4c = Inception(512, 128, 128, 256, 24, 64, 64)
        self.inception4d = Inception(512, 112, 144, 288, 32, 64, 64)
        self.inception4e = Inception(528, 256, 160, 320, 32, 128, 128)
        self.maxpool4 = nn.MaxPool2d(2, stride=2, ceil_mode=True)
        self.inception5a = Inception(832, 256, 160, 320, 32, 128, 128)
        self.inception5b = Inception(832, 384, 192, 384, 48, 128, 128)
        self.aux1 = InceptionAux(512, num_classes, dropout_aux) if aux_logits else None
        self.aux2 = InceptionAux(528, num_classes, dropout_aux) if aux_logits else None
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(1024, num_classes)
        if init_weights is None or init_weights:
            for module in self.modules():
                if isinstance(module, (nn.Conv2d, nn.Linear)):
                    nn.init.trunc_normal_(module.weight, mean=0.0, std=0.01, a=-2, b=2)

    def forward(self, x: Tensor) -> Any:
        """Map images [n, 3, h, w] to scores [n, num_classes]; 224 x 224 is usual.

        In training with auxiliary classifiers, return :class:`GoogLeNetOutputs`.
        """
        x = _from_minus_one_to_one(x) if self.transform_input else x
        x = self.maxpool1(self.conv1(x))
        x = self.maxpool2(self.conv3(self.conv2(x)))
        x = self.maxpool3(self.inception3b(self.inception3a(x)))
        x = self.inception4a(x)
        first = self.aux1(x) if self.training and self.aux1 is not None else None
        x = self.inception4d(self.inception4c(self.inception4b(x)))
        second = self.aux2(x) if self.training and self.aux2 is not None else None
        x = self.maxpool4(self.inception4e(x))
        x = self.inception5b(self.inception5a(x))
        scores = self.fc(self.dropout(self.avgpool(x).flatten(1)))
        if self.training and self.aux_logits:
            return GoogLeNetOutputs(scores, second, first)
        return scores


def _from_minus_one_to_one(x: Tensor) -> Tensor:
    """Undo ImageNet's normalisation of [n, 3, h, w], and bring 0 to 1 to -1 to 1."""
    channels = [
        x[:, channel : channel + 1] * (std / 0.5) + (mean - 0.5) / 0.5
        for channel, (mean, std) in enumerate(zip(_MEANS, _STDS, strict=True))
    ]
    return cat(channels, 1)


@register_model
def googlenet(*, weights: Weights | None = None, **options: Any) -> GoogLeNet:
    """GoogLeNet; `weights` is a file, `options` are those of :class:`GoogLeNet`.

    With weights, as in torchvision, ``transform_input`` is True and ``aux_logits`` False unless
    given: the auxiliary classifiers of the file are then left out.
    """
    if weights is None:
        return GoogLeNet(**options)
    defaults = {"transform_input": True, "aux_logits": False}
    model = nn.utils.skip_init(GoogLeNet, **{**defaults, **options})
    state = load_state(weights)
    if not model.aux_logits:
        for name in [each for each in state if each.startswith(("aux1.", "aux2."))]:
            del state[name]
    model.load_state_dict(state)
    return model
