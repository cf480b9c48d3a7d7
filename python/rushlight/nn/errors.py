"""Naming the module in which an error was raised."""

from __future__ import annotations

import itertools
import sys
from typing import Any

from rushlight.nn.parameter import is_lazy
from rushlight.tensor import Tensor

__all__ = ["name_module"]

_TRAIL = "_rushlight_trail"


def name_module(error: BaseException, module: Any, args: tuple[Any, ...]) -> None:
    """Add to `error` where it was raised: ``in layer2.0.conv1 (Conv2d), given (1, 3, 8, 8)``.

    Every module that the error passes on its way out calls this, innermost first, and the path
    grows by a step each time. So it is complete at the outermost, and a call that succeeds
    pays nothing. The type of the error stays as it is.
    """
    fields = vars(error)
    if _TRAIL in fields:
        inner, path, what, old = fields[_TRAIL]
        step = _name_of(inner, module)
        path = f"{step}.{path}" if path else step
        note = f"in {path} ({what}"
    else:
        path, old = "", None
        what = f"{type(module).__name__}), given {', '.join(map(_describe, args)) or 'nothing'}"
        note = f"in {what.replace(')', '', 1)}"
    fields[_TRAIL] = (id(module), path, what, note)
    _write(error, old, note)


def _name_of(inner: int, module: Any) -> str:
    """Return the path from `module` to the module with this id, or ``?`` for one not registered."""
    found = itertools.chain(module._modules.items(), module.named_modules())
    return next((name for name, each in found if id(each) == inner), "?")


def _describe(value: object) -> str:
    if isinstance(value, Tensor) and not is_lazy(value):
        return str(tuple(value.shape))
    return type(value).__name__


def _write(error: BaseException, old: str | None, note: str) -> None:
    """Put `note` in the place of the `old` one: among the notes, or after the message."""
    if sys.version_info >= (3, 11):
        notes = getattr(error, "__notes__", ())
        if old in notes:
            notes[notes.index(old)] = note
        else:
            error.add_note(note)
    elif error.args and isinstance(error.args[0], str) and not isinstance(error, LookupError):
        # Notes came with Python 3.11. A LookupError keeps its argument: it is the key.
        text = error.args[0].removesuffix(f"\n{old}")
        error.args = (f"{text}\n{note}", *error.args[1:])
