"""``rushlight info``: what runs here."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from rushlight.config import show_config

if TYPE_CHECKING:
    from rushlight.cli.common import Commands

__all__ = ["add"]


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("info", help="show version, instruction set, threads and memory")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    print(show_config())
    return 0
