"""The command line: ``rushlight train`` and ``rushlight info``."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from typing import NoReturn

from rushlight.config import __version__, show_config
from rushlight.train import INTERRUPTED, Settings, UsageError, run

__all__ = ["main"]

_OUT = "rushlight-digits.safetensors"
_EPOCHS, _FOLDER_EPOCHS = 16, 3
_MOST_THREADS = 1024

_EXAMPLES = """\
examples:
  rushlight train                        train on the bundled digits, a few seconds
  rushlight train --epochs 20 --seed 1 --out weights.safetensors
  rushlight train --data mnist/          train-images-idx3-ubyte[.gz] and kin in a folder
  rushlight info                         version, instruction set, threads, memory
"""


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, without the usage before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


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
        return _train(options) if options.command == "train" else _info()
    except UsageError as error:
        print(f"rushlight: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("rushlight: interrupted", file=sys.stderr)
        return INTERRUPTED


def _train(options: argparse.Namespace) -> int:
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


def _info() -> int:
    print(show_config())
    return 0


def _parser() -> _Parser:
    parser = _Parser(
        prog="rushlight",
        description="A small CPU engine with the module system of torch.nn.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"rushlight {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", dest="command", required=True)
    commands.add_parser("info", help="show version, instruction set, threads and memory")
    train = commands.add_parser(
        "train",
        help="train a small conv net on handwritten digits",
        description="Train a small conv net on handwritten digits, test it on held-out ones, save "
        "its weights and check that they load.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = train.add_argument
    add("--data", metavar="FOLDER", help="MNIST-format idx files instead of the bundled digits")
    add(
        "--epochs",
        type=_Whole(1),
        metavar="N",
        help=f"passes over the data ({_EPOCHS}, or {_FOLDER_EPOCHS} with --data)",
    )
    add("--lr", type=_rate, default=3e-3, metavar="RATE", help="highest learning rate (0.003)")
    add("--batch-size", type=_Whole(1), default=64, metavar="N", help="samples in a batch (64)")
    add("--seed", type=_Whole(0), default=0, metavar="N", help="start of the random numbers (0)")
    add(
        "--threads",
        type=_Whole(1, _MOST_THREADS),
        metavar="N",
        help="threads (one per available CPU)",
    )
    add("--out", default=_OUT, metavar="FILE", help=f"where the weights go ({_OUT})")
    return parser


class _Whole:
    """An argument type: a whole number from `least` to `most`."""

    def __init__(self, least: int, most: int = 2**63 - 1) -> None:
        self._least, self._most = least, most

    def __call__(self, text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = self._least - 1
        if value < self._least:
            raise argparse.ArgumentTypeError(
                f"expected a whole number of at least {self._least}, but got {text!r}"
            )
        if value > self._most:
            raise argparse.ArgumentTypeError(f"expected at most {self._most}, but got {text!r}")
        return value


def _rate(text: str) -> float:
    expected = f"expected a number greater than 0, but got {text!r}"
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(expected) from None
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(expected)
    return value
