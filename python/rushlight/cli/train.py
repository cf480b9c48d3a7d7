"""``rushlight train``: a small conv net on handwritten digits, from images to checked weights."""

from __future__ import annotations

import argparse
import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

from rushlight.cli.common import EXAMPLES, INTERRUPTED, UsageError, Whole, check_output, reason
from rushlight.config import get_num_threads, set_num_threads
from rushlight.data import TensorDataset, digits, mnist_folder
from rushlight.ops.random import manual_seed
from rushlight.serialization import load, save
from rushlight.train import DigitNet, Progress, count_right, train

if TYPE_CHECKING:
    from rich.console import Console

    from rushlight.cli.common import Commands

__all__ = ["Settings", "add", "run"]

_OUT = "rushlight-digits.safetensors"
_EPOCHS, _FOLDER_EPOCHS = 16, 3
_MOST_THREADS = 1024
_LEAST_SIDE = 4  # pixels: the net halves an image twice


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
    option("--data", metavar="FOLDER", help="MNIST-format idx files instead of the bundled digits")
    option(
        "--epochs",
        type=Whole(1),
        metavar="N",
        help=f"passes over the data ({_EPOCHS}, or {_FOLDER_EPOCHS} with --data)",
    )
    option("--lr", type=_rate, default=3e-3, metavar="RATE", help="highest learning rate (0.003)")
    option("--batch-size", type=Whole(1), default=64, metavar="N", help="samples in a batch (64)")
    option("--seed", type=Whole(0), default=0, metavar="N", help="start of the random numbers (0)")
    option(
        "--threads",
        type=Whole(1, _MOST_THREADS),
        metavar="N",
        help="threads (one per available CPU)",
    )
    option("--out", default=_OUT, metavar="FILE", help=f"where the weights go ({_OUT})")
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
    return run(
        Settings(
            data=options.data,
            epochs=options.epochs or default_epochs,
            lr=options.lr,
            batch_size=options.batch_size,
            seed=options.seed,
            threads=options.threads,
            out=options.out,
        )
    )


class Settings(NamedTuple):
    """What ``rushlight train`` was asked to do; `data` None means the bundled digits."""

    data: str | None
    epochs: int
    lr: float
    batch_size: int
    seed: int
    threads: int | None
    out: str


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
    check_output(settings.out)
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


def _datasets(folder: str | None) -> tuple[TensorDataset, TensorDataset]:
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
    if min(shape) < _LEAST_SIDE:
        raise UsageError(f"{folder}: images of at least {_LEAST_SIDE}x{_LEAST_SIDE} are needed")
    if not len(training) or not len(held_out):
        raise UsageError(f"{folder}: there are no images in it")
    return training, held_out


def _save(model: DigitNet, out: str) -> None:
    try:
        save(model.state_dict(), out)
    except OSError as error:
        raise UsageError(reason(error)) from None
