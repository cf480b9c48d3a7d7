"""Modules without initial values."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from rushlight.nn.init import skipped
from rushlight.nn.module import Module

__all__ = ["skip_init"]

_P = ParamSpec("_P")
_Module = TypeVar("_Module", bound=Module)


def skip_init(module_cls: Callable[_P, _Module], *args: _P.args, **kwargs: _P.kwargs) -> _Module:
    """Build a module whose parameters hold whatever was in memory.

    This saves the time of drawing initial values that a state dict will replace.

    Parameters
    ----------
    module_cls : type
        A :class:`Module`.
    *args, **kwargs
        Arguments of its constructor.

    Raises
    ------
    TypeError
        When `module_cls` is no subclass of :class:`Module`.

    Notes
    -----
    Values that a constructor sets without :mod:`rushlight.nn.init` are there.
    """
    given: object = module_cls
    if not (isinstance(given, type) and issubclass(given, Module)):
        raise TypeError(f"skip_init: expected a subclass of Module, but got {module_cls!r}")
    with skipped():
        return module_cls(*args, **kwargs)
