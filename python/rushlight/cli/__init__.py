"""The command line: a module per sub-command, each with ``add(commands)``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rushlight.cli import convert, info, inspect, predict, train
from rushlight.cli.common import EXAMPLES, INTERRUPTED, Parser, UsageError
from rushlight.config import __version__

__all__ = ["main"]

_COMMANDS = (train, predict, inspect, convert, info)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments, ``sys.argv[1:]`` unless given.

    Returns
    -------
    int
        The exit status: 0, 2 for a wrong use or input, 130 after Ctrl-C.
    """
    options = _parser().parse_args(argv)
    try:
        status: int = options.run(options)
    except UsageError as error:
        print(f"rushlight: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("rushlight: interrupted", file=sys.stderr)
        return INTERRUPTED
    return status


def _parser() -> Parser:
    parser = Parser(
        prog="rushlight",
        description="A small CPU engine with the module system of torch.nn.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"rushlight {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", dest="command", required=True)
    for each in _COMMANDS:
        each.add(commands)
    return parser
