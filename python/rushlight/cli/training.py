"""What ``rushlight train`` shows and keeps: the bar, the log, the curve, the checkpoint."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from rushlight.cli.common import UsageError, reason
from rushlight.serialization import CheckpointError, load, save

if TYPE_CHECKING:
    from rich.console import Console

    from rushlight.train import Progress

__all__ = ["Book", "bar", "check_plot", "line", "read_checkpoint", "write_checkpoint"]

COLUMNS = ("epoch", "lr", "loss", "accuracy", "held_out_accuracy", "seconds", "images_per_second")


class Book:
    """The rows of a run, one for each epoch, and their CSV file.

    Rows of a run that is continued come from its checkpoint; the file is written anew with them.
    """

    def __init__(self, path: str | None, rows: list[dict[str, float]]) -> None:
        self.rows = rows
        self._path = path
        self._write()

    def add(self, row: dict[str, float]) -> None:
        """Note an epoch."""
        self.rows.append(row)
        self._write()

    def _write(self) -> None:
        if self._path is None:
            return
        try:
            with open(self._path, "w", newline="", encoding="utf-8") as stream:
                writer = csv.DictWriter(stream, COLUMNS)
                writer.writeheader()
                writer.writerows(self.rows)
        except OSError as error:
            raise UsageError(reason(error)) from None

    def draw(self, path: str) -> None:
        """Draw loss and accuracies over the epochs into a picture."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8, 4), layout="constrained")
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2)
        epochs = [row["epoch"] for row in self.rows]
        left.plot(epochs, [row["loss"] for row in self.rows], marker=".")
        left.set(xlabel="epoch", ylabel="training loss")
        for key, label in (("accuracy", "training"), ("held_out_accuracy", "held out")):
            right.plot(epochs, [100 * row[key] for row in self.rows], marker=".", label=label)
        right.set(xlabel="epoch", ylabel="accuracy, %")
        right.legend()
        try:
            figure.savefig(path, format="png", dpi=120)
        except OSError as error:
            raise UsageError(reason(error)) from None


def check_plot() -> None:
    """Raise UsageError where matplotlib is missing."""
    try:
        import matplotlib  # noqa: F401  # asked for before the work that it shows
    except ImportError:
        raise UsageError('--plot needs matplotlib: pip install "rushlight[plot]"') from None


def write_checkpoint(state: dict[str, Any], path: str) -> None:
    """Write a state, nested dicts of tensors and numbers, in PyTorch's format."""
    try:
        save(state, path, format="torch")
    except OSError as error:
        raise UsageError(reason(error)) from None


def read_checkpoint(path: str) -> dict[str, Any]:
    """Read what :func:`write_checkpoint` wrote; nothing in the file is executed."""
    try:
        state: dict[str, Any] = load(path)
    except OSError as error:
        raise UsageError(reason(error)) from None
    except CheckpointError as error:
        raise UsageError(str(error)) from None
    if not isinstance(state, dict) or not {"training", "rows", "model"} <= state.keys():
        raise UsageError(f"{path}: is no checkpoint of rushlight train")
    return state


def line(progress: Progress, epochs: int) -> str:
    """Return an epoch in words."""
    width = len(str(epochs))
    return (
        f"epoch {progress.epoch:{width}}/{epochs}  loss {progress.loss:.4f}  "
        f"accuracy {progress.accuracy:7.2%}"
    )


def bar(console: Console, epochs: int) -> Any:
    """Return a context that gives the function which moves the bar, or does nothing."""
    if not console.is_terminal:
        return nullcontext(lambda progress: None)
    return _terminal_bar(console, epochs)


@contextmanager
def _terminal_bar(console: Console, epochs: int) -> Iterator[Callable[[Progress], None]]:
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
    )
    started, images = time.monotonic(), 0
    with Bar(*columns, console=console, transient=True) as shown:
        task = shown.add_task("epoch 1", speed="")

        def show(progress: Progress) -> None:
            nonlocal images
            images += progress.images
            shown.update(
                task,
                description=line(progress, epochs),
                completed=(progress.epoch - 1) * progress.batches + progress.batch,
                total=epochs * progress.batches,
                speed=f"{images / max(time.monotonic() - started, 1e-9):,.0f} images/s",
            )

        yield show
