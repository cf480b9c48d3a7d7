"""The run behind ``rushlight train``: a small conv net on images of handwritten digits."""

from __future__ import annotations

import math
import os
import signal
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

from rushlight import nn
from rushlight.autograd import no_grad
from rushlight.config import get_num_threads, set_num_threads
from rushlight.data import DataLoader, TensorDataset, digits, mnist_folder
from rushlight.nn import functional as F
from rushlight.ops.random import manual_seed
from rushlight.optim import AdamW
from rushlight.serialization import load, save
from rushlight.serialization.files import check_writable
from rushlight.tensor import Tensor

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["DigitNet", "Progress", "Settings", "UsageError", "count_right", "run", "train"]

INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C ended

_LEAST_SIDE = 4  # pixels: the net halves an image twice


class UsageError(Exception):
    """Something that the user can put right, said in one line."""


class Settings(NamedTuple):
    """What ``rushlight train`` was asked to do; `data` None means the bundled digits."""

    data: str | None
    epochs: int
    lr: float
    batch_size: int
    seed: int
    threads: int | None
    out: str


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


# -- training -------------------------------------------------------------------------------


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


@contextmanager
def _catch_interrupt() -> Iterator[Callable[[], bool]]:
    """Turn Ctrl-C inside the block into a flag; yields the function that reads it.

    No training step is cut in two that way. A second Ctrl-C interrupts at once.
    """
    pressed = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)


# -- the command ----------------------------------------------------------------------------


def run(settings: Settings) -> int:
    """Train, save, and check the saved weights in a new model, telling each step on stdout.

    Returns
    -------
    int
        The exit status: 0, or 130 after Ctrl-C in training, which saves what was trained so far.

    Raises
    ------
    UsageError
        When rich is missing, the data cannot be read or the weights cannot be written.
    """
    started = time.monotonic()
    console = _console()
    _check_output(settings.out)
    training, held_out = _datasets(settings.data)
    if settings.threads is not None:
        set_num_threads(settings.threads)
    manual_seed(settings.seed)
    height, width = training.tensors[0].shape[2:]
    classes = max(10, int(training.tensors[1].max().item()) + 1)
    model = DigitNet(height, width, classes)
    _describe(console, model, training, held_out)
    with _catch_interrupt() as interrupted:
        last = _fit(console, model, training, settings, interrupted)
        _save(model, settings.out)
        if interrupted():
            reached = f"in epoch {last.epoch} of {settings.epochs}" if last else "before it began"
            _say(console, f"interrupted {reached}; what was trained so far is in {settings.out}")
            return INTERRUPTED
    return _confirm(
        console, model, DigitNet(height, width, classes), held_out, settings.out, started
    )


def _console() -> Console:
    try:
        from rich.console import Console
    except ImportError:
        raise UsageError('this command needs rich: pip install "rushlight[cli]"') from None
    return Console(highlight=False)


def _say(console: Console, text: str) -> None:
    # Where lines are wrapped to some assumed width, paths and trees cannot be copied.
    console.print(text, markup=False, soft_wrap=True)


def _describe(
    console: Console, model: DigitNet, training: TensorDataset, held_out: TensorDataset
) -> None:
    height, width = training.tensors[0].shape[2:]
    threads = get_num_threads()
    _say(console, str(model))
    _say(console, f"{sum(each.numel() for each in model.parameters()):,} parameters")
    _say(
        console,
        f"{len(training):,} images of {height}x{width} pixels, {len(held_out):,} held out; "
        f"{threads} thread{'s' * (threads != 1)}",
    )


def _fit(
    console: Console,
    model: DigitNet,
    dataset: TensorDataset,
    settings: Settings,
    interrupted: Callable[[], bool],
) -> Progress | None:
    """Train until done or interrupted; a bar on a terminal, a line per epoch everywhere."""
    last: Progress | None = None
    with _bar(console, settings.epochs) as show:
        for last in train(
            model,
            dataset,
            epochs=settings.epochs,
            lr=settings.lr,
            batch_size=settings.batch_size,
        ):
            show(last)
            if last.batch == last.batches:
                _say(console, _line(last, settings.epochs))
            if interrupted():
                break
    return last


def _line(progress: Progress, epochs: int) -> str:
    width = len(str(epochs))
    return (
        f"epoch {progress.epoch:{width}}/{epochs}  loss {progress.loss:.4f}  "
        f"accuracy {progress.accuracy:7.2%}"
    )


def _bar(console: Console, epochs: int) -> Any:
    """Return a context that gives the function which moves the bar, or does nothing."""
    if not console.is_terminal:
        return nullcontext(lambda progress: None)
    return _terminal_bar(console, epochs)


@contextmanager
def _terminal_bar(console: Console, epochs: int) -> Iterator[Callable[[Progress], None]]:
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("epoch 1")

        def show(progress: Progress) -> None:
            done = (progress.epoch - 1) * progress.batches + progress.batch
            bar.update(
                task,
                description=_line(progress, epochs),
                completed=done,
                total=epochs * progress.batches,
            )

        yield show


def _confirm(
    console: Console,
    model: DigitNet,
    fresh: DigitNet,
    held_out: TensorDataset,
    out: str,
    started: float,
) -> int:
    right, total = count_right(model, held_out), len(held_out)
    _say(console, f"held-out accuracy {right / total:.2%} ({right} of {total})")
    fresh.load_state_dict(load(out))
    again = count_right(fresh, held_out)
    if again != right:
        raise RuntimeError(f"{out}: the loaded weights get {again} of {total} right, not {right}")
    _say(console, f"saved {out} ({os.path.getsize(out):,} bytes)")
    _say(console, f"a new model with the saved weights: {again} of {total}, the same")
    _say(console, f"{time.monotonic() - started:.1f} s")
    return 0


# -- input and output -----------------------------------------------------------------------


def _datasets(folder: str | None) -> tuple[TensorDataset, TensorDataset]:
    if folder is None:
        return digits("train"), digits("test")
    try:
        training, held_out = mnist_folder(folder, "train"), mnist_folder(folder, "test")
    except OSError as error:
        raise UsageError(_reason(error)) from None
    except ValueError as error:
        raise UsageError(str(error)) from None
    shape, other = training.tensors[0].shape[2:], held_out.tensors[0].shape[2:]
    if shape != other:
        raise UsageError(f"{folder}: training images are {list(shape)}, test images {list(other)}")
    if min(shape) < _LEAST_SIDE:
        raise UsageError(f"{folder}: images of at least {_LEAST_SIDE}x{_LEAST_SIDE} are needed")
    if not len(training) or not len(held_out):
        raise UsageError(f"{folder}: there are no images in it")
    return training, held_out


def _check_output(out: str) -> None:
    try:
        if os.path.exists(out) and not stat.S_ISREG(os.stat(out).st_mode):
            raise UsageError(f"{out}: is not a file, and the weights need one")
        check_writable(out)
    except OSError as error:
        raise UsageError(_reason(error)) from None


def _save(model: DigitNet, out: str) -> None:
    try:
        save(model.state_dict(), out)
    except OSError as error:
        raise UsageError(_reason(error)) from None


def _reason(error: OSError) -> str:
    if error.filename is None or error.strerror is None:
        return str(error)
    return f"{error.filename}: {error.strerror}"
