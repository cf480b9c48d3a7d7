"""Nets for handwritten digits and other small images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rushlight import nn
from rushlight.models.registry import Weights, build, register_model
from rushlight.nn import functional as F
from rushlight.tensor import Tensor

__all__ = ["MLP", "MnistNet", "lenet", "mlp", "mnist_net"]


class MnistNet(nn.Module):
    """The net of PyTorch's MNIST example: two convolutions, pooling, two linear layers, dropout.

    Parameters
    ----------
    num_classes : int
        Size of the output.
    in_channels : int
        Channels of the images.
    size : int
        Height and width of the images in pixels, at least 6.

    Raises
    ------
    ValueError
        For smaller images.

    Notes
    -----
    Its output is log-probabilities, as in the example, which trains with ``F.nll_loss``;
    ``F.cross_entropy`` gives the same loss.
    """

    def __init__(self, num_classes: int = 10, in_channels: int = 1, size: int = 28) -> None:
        super().__init__()
        if size < 6:
            raise ValueError(f"MnistNet: size must be at least 6 pixels, but got {size}")
        self.conv1 = nn.Conv2d(in_channels, 32, 3)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.dropout1 = nn.Dropout(0.25)
        self.dropout2 = nn.Dropout(0.5)
        self.fc1 = nn.Linear(64 * ((size - 4) // 2) ** 2, 128)
        self.fc2 = nn.Linear(128, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images [n, in_channels, size, size] to log-probabilities [n, num_classes]."""
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        x = self.dropout1(F.max_pool2d(x, 2)).flatten(1)
        x = self.dropout2(F.relu(self.fc1(x)))
        return F.log_softmax(self.fc2(x), dim=1)


class MLP(nn.Sequential):
    """Linear layers with ReLU between them, on flattened images.

    Parameters
    ----------
    in_features : int
        Pixels times channels.
    hidden_features : sequence of int
        Sizes of the layers between.
    num_classes : int
        Size of the output.
    dropout : float
        Probability of a zero after each ReLU; 0, and no such layer, by default.
    """

    def __init__(
        self,
        in_features: int = 784,
        hidden_features: Sequence[int] = (256, 128),
        num_classes: int = 10,
        dropout: float = 0.0,
    ) -> None:
        layers: list[nn.Module] = [nn.Flatten()]
        for width in hidden_features:
            layers += [nn.Linear(in_features, width), nn.ReLU(inplace=True)]
            if dropout > 0:
                layers.append(nn.Dropout(dropout))
            in_features = width
        super().__init__(*layers, nn.Linear(in_features, num_classes))


@register_model
def mnist_net(*, weights: Weights | None = None, **options: Any) -> MnistNet:
    """Net of PyTorch's MNIST example; `options` are those of :class:`MnistNet`."""
    return build(weights, MnistNet, **options)


@register_model
def lenet(*, weights: Weights | None = None, **options: Any) -> MnistNet:
    """Return :func:`mnist_net`, a descendant of LeNet, under its short name."""
    return mnist_net(weights=weights, **options)


@register_model
def mlp(*, weights: Weights | None = None, **options: Any) -> MLP:
    """Layers of 784, 256, 128 and 10 features; `options` are those of :class:`MLP`."""
    return build(weights, MLP, **options)
