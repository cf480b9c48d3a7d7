"""``rushlight train``: a small net on handwritten digits, from images to checked weights."""

from __future__ import annotations

import argparse
import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

from rushlight import nn
from rushlight.cli.common import EXAMPLES, INTERRUPTED, UsageError, Whole, check_output, reason
from rushlight.cli.training import (
    Book,
    bar,
    check_plot,
    line,
    read_checkpoint,
    write_checkpoint,
)
from rushlight.config import get_num_threads, set_num_threads
from rushlight.data import TensorDataset, digits, mnist_folder
from rushlight.ops.random import manual_seed
from rushlight.serialization import load, save
from rushlight.train import PRESETS, SCHEDULES, Preset, Progress, Training, count_right

if TYPE_CHECKING:
    from rich.console import Console

    from rushlight.cli.common import Commands

__all__ = ["Settings", "add", "run"]

_OUT = "rushlight-digits.safetensors"
_EPOCHS, _FOLDER_EPOCHS = 16, 3
_MOST_THREADS = 1024


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "train",
        help="train a small conv net on handwritten digits",
        description="Train a small conv net on handwritten digits, test it on held-out ones, save "
        "its weights and check that they load.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    option = parser.add_argument
    option(
        "--model",
        choices=PRESETS,
        default="digits",
        help="the net: a small one, PyTorch's MNIST example, ResNet-20 or linear layers (digits)",
    )
    option("--data", metavar="FOLDER", help="MNIST-format idx files instead of the bundled digits")
    option(
        "--epochs",
        type=Whole(1),
        metavar="N",
        help=f"passes over the data ({_EPOCHS}, or {_FOLDER_EPOCHS} with --data)",
    )
    option("--lr", type=_rate, default=3e-3, metavar="RATE", help="highest learning rate (0.003)")
    option(
        "--schedule",
        choices=SCHEDULES,
        default="cosine",
        help="how the learning rate goes on from there (cosine)",
    )
    option(
        "--patience",
        type=Whole(1),
        metavar="N",
        help="stop after N epochs without a better held-out accuracy, and keep the best weights",
    )
    option("--batch-size", type=Whole(1), default=64, metavar="N", help="samples in a batch (64)")
    option("--seed", type=Whole(0), default=0, metavar="N", help="start of the random numbers (0)")
    option(
        "--threads",
        type=Whole(1, _MOST_THREADS),
        metavar="N",
        help="threads (one per available CPU)",
    )
    option("--out", default=_OUT, metavar="FILE", help=f"where the weights go ({_OUT})")
    option("--log", metavar="FILE", help="a row for each epoch, as CSV")
    option("--plot", metavar="FILE", help="the training curve, as PNG (needs matplotlib)")
    option("--checkpoint", metavar="FILE", help="what --resume needs, after each epoch and Ctrl-C")
    option("--resume", metavar="FILE", help="go on from a checkpoint, to the same bits")
    parser.set_defaults(run=_run)


def _rate(text: str) -> float:
    expected = f"expected a number greater than 0, but got {text!r}"
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(expected) from None
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(expected)
    return value


def _run(options: argparse.Namespace) -> int:
    default_epochs = _EPOCHS if options.data is None else _FOLDER_EPOCHS
    given = {name: getattr(options, name) for name in Settings._fields}
    return run(Settings(**{**given, "epochs": options.epochs or default_epochs}))


class Settings(NamedTuple):
    """What ``rushlight train`` was asked to do; `data` None means the bundled digits."""

    data: str | None
    epochs: int
    lr: float
    batch_size: int
    seed: int
    threads: int | None
    out: str
    model: str = "digits"
    schedule: str = "cosine"
    patience: int | None = None
    log: str | None = None
    plot: str | None = None
    checkpoint: str | None = None
    resume: str | None = None


def run(settings: Settings) -> int:
    """Train, save, and check the saved weights in a new model, telling each step on stdout.

    Returns
    -------
    int
        The exit status: 0, or 130 after Ctrl-C in training, which saves what was trained so far.

    Raises
    ------
    UsageError
        When rich or matplotlib is missing, the data or the checkpoint cannot be read or does not
        fit, or a file cannot be written.
    """
    started = time.monotonic()
    console = _console()
    for path in (settings.out, settings.log, settings.plot, settings.checkpoint):
        if path is not None:
            check_output(path)
    if settings.plot is not None:
        check_plot()
    resumed = None if settings.resume is None else read_checkpoint(settings.resume)
    training, held_out = _datasets(settings.data, PRESETS[settings.model])
    if settings.threads is not None:
        set_num_threads(settings.threads)
    manual_seed(settings.seed)
    model = _model(settings, training)
    work = _Run(console, model, training, held_out, settings, resumed)
    _describe(console, model, training, held_out)
    with _catch_interrupt() as interrupted:
        last = work.fit(interrupted)
        _save(model, settings.out)
        if settings.plot is not None:
            work.book.draw(settings.plot)
        if interrupted():
            reached = f"in epoch {last.epoch} of {settings.epochs}" if last else "before it began"
            _say(console, f"interrupted {reached}; what was trained so far is in {settings.out}")
            return INTERRUPTED
    return _confirm(console, model, _model(settings, training), held_out, settings.out, started)


def _model(settings: Settings, training: TensorDataset) -> nn.Module:
    channels, height, width = training.tensors[0].shape[1:]
    classes = max(10, int(training.tensors[1].max().item()) + 1)
    return PRESETS[settings.model].make(channels, height, width, classes)


class _Run:
    """The epochs of one run, and what is noted of them."""

    def __init__(
        self,
        console: Console,
        model: nn.Module,
        dataset: TensorDataset,
        held_out: TensorDataset,
        settings: Settings,
        resumed: dict[str, Any] | None,
    ) -> None:
        self._console, self._model, self._held_out = console, model, held_out
        self._settings = settings
        self._training = Training(
            model,
            dataset,
            epochs=settings.epochs,
            lr=settings.lr,
            batch_size=settings.batch_size,
            schedule=settings.schedule,
        )
        self._best: dict[str, Any] = {"accuracy": -1.0, "epoch": 0}
        rows: list[dict[str, float]] = []
        if resumed is not None:
            rows = self._resume(resumed)
        self.book = Book(settings.log, rows)

    def _resume(self, saved: dict[str, Any]) -> list[dict[str, float]]:
        path, settings = self._settings.resume, self._settings
        if saved["model"] != settings.model:
            raise UsageError(f"{path}: is of the model {saved['model']}, not {settings.model}")
        try:
            self._training.load_state_dict(saved["training"])
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise UsageError(f"{path}: {error}") from None
        self._best = saved["best"]
        return list(saved["rows"])

    def fit(self, interrupted: Callable[[], bool]) -> Progress | None:
        """Train until done, stopped or interrupted; a line per epoch, a bar on a terminal."""
        last: Progress | None = None
        began, images = time.monotonic(), 0
        with bar(self._console, self._settings.epochs) as show:
            for last in self._training:
                show(last)
                images += last.images
                if last.batch == last.batches:
                    self._end_epoch(last, time.monotonic() - began, images)
                    began, images = time.monotonic(), 0
                    if self._is_stuck(last):
                        break
                if interrupted():
                    self._checkpoint()
                    break
        if self._settings.patience is not None and "weights" in self._best:
            self._model.load_state_dict(self._best["weights"])
            self._tell(f"best weights: those of epoch {self._best['epoch']}")
        return last

    def _tell(self, text: str) -> None:
        _say(self._console, text)

    def _end_epoch(self, last: Progress, seconds: float, images: int) -> None:
        settings = self._settings
        text = line(last, settings.epochs)
        if settings.patience or settings.log or settings.plot:
            accuracy = count_right(self._model, self._held_out) / len(self._held_out)
            text += f"  held out {accuracy:7.2%}"
            self.book.add(
                {
                    "epoch": last.epoch,
                    "lr": last.lr,
                    "loss": last.loss,
                    "accuracy": last.accuracy,
                    "held_out_accuracy": accuracy,
                    "seconds": round(seconds, 3),
                    "images_per_second": round(images / max(seconds, 1e-9), 1),
                }
            )
            if accuracy > self._best["accuracy"]:
                self._best = {"accuracy": accuracy, "epoch": last.epoch}
                if settings.patience:
                    state = self._model.state_dict()
                    self._best["weights"] = {name: each.clone() for name, each in state.items()}
        self._tell(text)
        self._checkpoint()

    def _is_stuck(self, last: Progress) -> bool:
        patience = self._settings.patience
        if patience is None or last.epoch - self._best["epoch"] < patience:
            return False
        self._tell(f"no better held-out accuracy for {patience} epochs: stopped")
        return True

    def _checkpoint(self) -> None:
        if self._settings.checkpoint is None:
            return
        state = {
            "training": self._training.state_dict(),
            "model": self._settings.model,
            "best": self._best,
            "rows": self.book.rows,
        }
        write_checkpoint(state, self._settings.checkpoint)


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
    console: Console, model: nn.Module, training: TensorDataset, held_out: TensorDataset
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


def _confirm(
    console: Console,
    model: nn.Module,
    fresh: nn.Module,
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


# -- input and output -----------------------------------------------------------------------


def _datasets(folder: str | None, preset: Preset) -> tuple[TensorDataset, TensorDataset]:
    if folder is None:
        return digits("train"), digits("test")
    try:
        training, held_out = mnist_folder(folder, "train"), mnist_folder(folder, "test")
    except OSError as error:
        raise UsageError(reason(error)) from None
    except ValueError as error:
        raise UsageError(str(error)) from None
    shape, other = training.tensors[0].shape[2:], held_out.tensors[0].shape[2:]
    if shape != other:
        raise UsageError(f"{folder}: training images are {list(shape)}, test images {list(other)}")
    least = preset.least_side
    if min(shape) < least:
        raise UsageError(f"{folder}: images of at least {least}x{least} are needed")
    if preset.square and shape[0] != shape[1]:
        raise UsageError(f"{folder}: this model needs square images, but they are {list(shape)}")
    if not len(training) or not len(held_out):
        raise UsageError(f"{folder}: there are no images in it")
    return training, held_out


def _save(model: nn.Module, out: str) -> None:
    try:
        save(model.state_dict(), out)
    except OSError as error:
        raise UsageError(reason(error)) from None
