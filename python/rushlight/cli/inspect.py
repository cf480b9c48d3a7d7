"""``rushlight inspect``: what is in a file of weights, without loading it."""

from __future__ import annotations

import argparse
import math
import os
from typing import TYPE_CHECKING, Any

from rushlight.cli.common import UsageError, reason
from rushlight.serialization import CheckpointError, inspect
from rushlight.serialization.loading import Inspection

if TYPE_CHECKING:
    from rushlight.cli.common import Commands

__all__ = ["add"]

_LONGEST = 200  # characters of a value or a text that are shown


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "inspect",
        help="show what is in a file of weights, without loading it",
        description="Show names, element types, shapes and sizes of the tensors in a safetensors "
        "or PyTorch file, the other values in it, and its metadata. Nothing in it is executed.",
    )
    parser.add_argument("file", metavar="FILE", help=".safetensors, .pt or .pth")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    try:
        found = inspect(options.file)
        size = os.path.getsize(options.file)
    except OSError as error:
        raise UsageError(reason(error)) from None
    except CheckpointError as error:
        raise UsageError(str(error)) from None
    _print_table(found)
    for title, values in (("values", found.values), ("metadata", found.metadata)):
        if values:
            print(f"\n{title}")
            for name, value in values.items():
                print(f"  {_shown(name)}: {_shown(value)}")
    numbers = sum(math.prod(each.shape) for each in found.tensors.values())
    print(
        f"\n{os.path.basename(options.file)}: {found.format}, {size:,} bytes, "
        f"{len(found.tensors):,} tensors, {numbers:,} elements"
    )
    return 0


def _rows(found: Inspection) -> list[tuple[str, str, str, str]]:
    return [
        (_shown(name), each.dtype, str(list(each.shape)), f"{each.nbytes:,}")
        for name, each in found.tensors.items()
    ]


def _print_table(found: Inspection) -> None:
    """Print a table with rich on a terminal, and a plain one elsewhere."""
    head = ("name", "type", "shape", "bytes")
    rows = _rows(found)
    if not rows:
        return
    console = _terminal()
    if console is None:
        widths = [max(len(row[column]) for row in (head, *rows)) for column in range(3)]
        size_width = max(len(row[3]) for row in (head, *rows))
        for row in (head, *rows):
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=False))
            print(f"{'  '.join(cells)}  {row[3].rjust(size_width)}")
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for name in head:
        table.add_column(name, justify="right" if name == "bytes" else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)


def _terminal() -> Any:
    """Return rich's console, if rich is there and writes to a terminal."""
    try:
        from rich.console import Console
    except ImportError:
        return None
    console = Console(highlight=False)
    return console if console.is_terminal else None


def _shown(value: object) -> str:
    """Return a value in one printable line: names in a file may contain anything."""
    text = str(value)[:_LONGEST]
    return text if text.isprintable() else repr(text)[1:-1]
