"""What the sub-commands share: errors in one line, argument types."""

from __future__ import annotations

import argparse
import os
import stat
from typing import TYPE_CHECKING, NoReturn

from rushlight.serialization.files import check_writable

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    # What ``add_subparsers`` returns; each module adds its own command to it.
    Commands: TypeAlias = argparse._SubParsersAction[Any]
    Command: TypeAlias = Callable[[argparse.Namespace], int]

__all__ = ["EXAMPLES", "INTERRUPTED", "Parser", "UsageError", "Whole", "check_output", "reason"]

INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C ended

EXAMPLES = """\
examples:
  rushlight train                        train on the bundled digits, a few seconds
  rushlight train --epochs 20 --seed 1 --out weights.safetensors
  rushlight train --data mnist/          train-images-idx3-ubyte[.gz] and kin in a folder
  rushlight inspect checkpoint.pth       names, types and shapes of the tensors in a file
  rushlight convert in.pth out.safetensors --key state_dict --strip-prefix module.
  rushlight info                         version, instruction set, threads, memory
"""


class UsageError(Exception):
    """Something that the user can put right, said in one line."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, without the usage before it."""

    def error(self, message: str) -> NoReturn:
        """End the program with status 2 and one line."""
        self.exit(2, f"{self.prog}: error: {message}\n")


class Whole:
    """An argument type: a whole number from `least` to `most`."""

    def __init__(self, least: int, most: int = 2**63 - 1) -> None:
        self._least, self._most = least, most

    def __call__(self, text: str) -> int:
        """Return the number."""
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


def check_output(out: str) -> None:
    """Raise UsageError where `out` cannot be written, before the work that fills it."""
    try:
        if os.path.exists(out) and not stat.S_ISREG(os.stat(out).st_mode):
            raise UsageError(f"{out}: is not a file, and the weights need one")
        check_writable(out)
    except OSError as error:
        raise UsageError(reason(error)) from None


def reason(error: OSError) -> str:
    """Return the file and what the system says about it."""
    if error.filename is None or error.strerror is None:
        return str(error)
    return f"{error.filename}: {error.strerror}"
