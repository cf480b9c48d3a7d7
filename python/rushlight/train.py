"""A small conv net for images of handwritten digits, and its training."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from rushlight import nn
from rushlight.autograd import no_grad
from rushlight.data import DataLoader, TensorDataset
from rushlight.nn import functional as F
from rushlight.optim import AdamW
from rushlight.tensor import Tensor

__all__ = ["DigitNet", "Progress", "count_right", "train"]


class DigitNet(nn.Module):
    """Two convolutions, each with batch norm, ReLU and 2x2 pooling, then a linear layer.

    Parameters
    ----------
    height, width : int
        Size of the images in pixels, at least 4 each.
    classes : int
        Number of classes.
    """

    def __init__(self, height: int, width: int, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 32, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Linear(64 * (height // 4) * (width // 4), classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the scores [n, classes] of `images` [n, 1, height, width]."""
        scores: Tensor = self.classifier(self.features(images).flatten(1))
        return scores


class Progress(NamedTuple):
    """Where a training run stands after a batch; counts start at 1.

    `loss` and `accuracy` (0 to 1) are means over the samples of the epoch so far.
    """

    epoch: int
    batch: int
    batches: int
    loss: float
    accuracy: float


def train(
    model: nn.Module, dataset: TensorDataset, *, epochs: int, lr: float, batch_size: int
) -> Iterator[Progress]:
    """Train `model` and yield after each batch; whoever stops asking stops the training.

    AdamW with cross entropy. The learning rate rises to `lr` over the first tenth of the steps
    and falls to zero along half a cosine. The same seed gives the same bits at any thread count.
    """
    loader = DataLoader(dataset, batch_size=batch_size, shuffle=True)
    optimizer = AdamW(model.parameters(), lr=lr)
    steps = epochs * len(loader)
    step = 0
    for epoch in range(1, epochs + 1):
        model.train()
        seen, right, total_loss = 0, 0, 0.0
        for batch, (images, labels) in enumerate(loader, 1):
            for group in optimizer.param_groups:
                group["lr"] = lr * _schedule(step, steps)
            step += 1
            scores = model(images)
            loss = F.cross_entropy(scores, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen += len(labels)
            right += _right(scores, labels)
            total_loss += loss.item() * len(labels)
            yield Progress(epoch, batch, len(loader), total_loss / seen, right / seen)


def _schedule(step: int, steps: int) -> float:
    """Return the part of the highest learning rate for `step` (from 0) of `steps`."""
    warm_up = max(1.0, steps / 10)
    return min(1.0, (step + 1) / warm_up) * (1 + math.cos(math.pi * step / steps)) / 2


def _right(scores: Tensor, labels: Tensor) -> int:
    return int((scores.argmax(1) == labels).sum().item())


def count_right(model: nn.Module, dataset: TensorDataset) -> int:
    """Return how many samples of `dataset` the model, set to evaluation, classifies rightly."""
    model.eval()
    with no_grad():
        return sum(
            _right(model(images), labels) for images, labels in DataLoader(dataset, batch_size=256)
        )
