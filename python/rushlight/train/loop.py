"""The training loop: batches in, steps out, and a state from which it goes on bit by bit."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from rushlight import nn
from rushlight.autograd import no_grad
from rushlight.data import DataLoader, Dataset
from rushlight.nn import functional as F
from rushlight.ops.random import get_rng_state, set_rng_state
from rushlight.optim import AdamW
from rushlight.optim.lr_scheduler import LambdaLR
from rushlight.tensor import Tensor
from rushlight.train.schedules import SCHEDULES

__all__ = ["Progress", "Training", "count_right", "train"]


class Progress(NamedTuple):
    """Where a training run stands after a batch; counts start at 1.

    `loss` and `accuracy` (0 to 1) are means over the samples of the epoch so far; `lr` is the
    learning rate of the batch, `images` its size.
    """

    epoch: int
    batch: int
    batches: int
    loss: float
    accuracy: float
    lr: float
    images: int


class Training:
    """AdamW with cross entropy over the epochs of a dataset.

    Iterating trains: it yields a :class:`Progress` after each batch, and whoever stops asking
    stops the training. The same seed gives the same bits at any thread count, and a new training
    with the state of an old one goes on to the same bits as the old one would have.

    Parameters
    ----------
    model : Module
        Takes images and returns scores [n, classes].
    dataset : Dataset
        Pairs of an image and a label.
    epochs : int
        Passes over the dataset.
    lr : float
        The highest learning rate.
    batch_size : int
        Samples in a batch.
    schedule : {"cosine", "linear", "step", "constant"}, default "cosine"
        How the learning rate changes over the run.
    """

    def __init__(
        self,
        model: nn.Module,
        dataset: Dataset[Any],
        *,
        epochs: int,
        lr: float,
        batch_size: int,
        schedule: str = "cosine",
    ) -> None:
        self.model = model
        self.epochs = epochs
        self.loader = DataLoader(dataset, batch_size=batch_size, shuffle=True)
        self.optimizer = AdamW(model.parameters(), lr=lr)
        steps, factor = max(1, epochs * len(self.loader)), SCHEDULES[schedule]
        self.scheduler = LambdaLR(self.optimizer, lambda step: factor(step, steps))
        self._settings = {"lr": lr, "batch_size": batch_size, "schedule": schedule}
        self._settings["epochs"], self._settings["samples"] = epochs, len(self.loader.dataset)  # type: ignore[arg-type]  # a loader that shuffles needs one
        self._epoch = 1
        self._sums = {"seen": 0, "right": 0, "loss": 0.0}

    def __iter__(self) -> Iterator[Progress]:
        batches = len(self.loader)
        while self._epoch <= self.epochs:
            self.model.train()
            for images, labels in self.loader:
                yield self._step(images, labels, batches)
                self.model.train()
            self._epoch += 1
            self._sums = {"seen": 0, "right": 0, "loss": 0.0}

    def _step(self, images: Tensor, labels: Tensor, batches: int) -> Progress:
        lr = float(self.scheduler.get_last_lr()[0])
        scores = self.model(images)
        loss = F.cross_entropy(scores, labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.scheduler.step()
        sums, count = self._sums, len(labels)
        sums["seen"] += count
        sums["right"] += _right(scores, labels)
        sums["loss"] += loss.item() * count
        means = sums["loss"] / sums["seen"], sums["right"] / sums["seen"]
        return Progress(self._epoch, self.loader.state_dict()["given"], batches, *means, lr, count)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the rest of the training depends on, in tensors and numbers."""
        scheduler = {**self.scheduler.state_dict(), "lr_lambdas": [None]}
        loader = self.loader.state_dict()
        return {
            "settings": dict(self._settings),
            "model": dict(self.model.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": scheduler,
            "loader": {key: value for key, value in loader.items() if value is not None},
            "random": get_rng_state(),
            "epoch": self._epoch,
            "sums": dict(self._sums),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state, the random numbers of the default generator included.

        Raises
        ------
        ValueError
            When the state is of a training with other settings.
        KeyError
            When something is missing in it.
        """
        for name, own in self._settings.items():
            if state["settings"].get(name) != own:
                raise ValueError(
                    f"the saved training has {name} {state['settings'].get(name)}, not {own}"
                )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        loader = {"start": None, **state["loader"]}
        self.loader.load_state_dict(loader)
        self._epoch, self._sums = int(state["epoch"]), copy.deepcopy(dict(state["sums"]))
        set_rng_state(state["random"])


def train(
    model: nn.Module,
    dataset: Dataset[Any],
    *,
    epochs: int,
    lr: float,
    batch_size: int,
    schedule: str = "cosine",
) -> Iterator[Progress]:
    """Train `model` and yield after each batch; see :class:`Training`."""
    return iter(
        Training(model, dataset, epochs=epochs, lr=lr, batch_size=batch_size, schedule=schedule)
    )


def _right(scores: Tensor, labels: Tensor) -> int:
    return int((scores.argmax(1) == labels).sum().item())


def count_right(model: nn.Module, dataset: Dataset[Any]) -> int:
    """Return how many samples of `dataset` the model, set to evaluation, classifies rightly."""
    model.eval()
    with no_grad():
        return sum(
            _right(model(images), labels) for images, labels in DataLoader(dataset, batch_size=256)
        )
