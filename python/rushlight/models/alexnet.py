"""AlexNet, in the version of one column.

References
----------
Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014
(https://arxiv.org/abs/1404.5997).
"""

from __future__ import annotations

from typing import Any

from rushlight import nn
from rushlight.models.registry import Weights, build, register_model
from rushlight.tensor import Tensor

__all__ = ["AlexNet", "alexnet"]


class AlexNet(nn.Module):
    """Five convolutions and three linear layers.

    Parameters
    ----------
    num_classes : int
        Size of the output.
    dropout : float
        Probability of a zero before the first two linear layers.
    """

    def __init__(self, num_classes: int = 1000, dropout: float = 0.5) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, kernel_size=11, stride=4, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(64, 192, kernel_size=5, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(192, 384, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(384, 256, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(256, 256, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2),
        )
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(256 * 6 * 6, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Linear(4096, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map images [n, 3, h, w] of at least 63 x 63 to scores [n, num_classes]."""
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


@register_model
def alexnet(*, weights: Weights | None = None, **options: Any) -> AlexNet:
    """AlexNet; `weights` is a file, `options` are those of :class:`AlexNet`."""
    return build(weights, AlexNet, **options)
