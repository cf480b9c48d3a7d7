"""The marks of ``torch.jit`` that model files carry: nothing is scripted, so they mark nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

__all__ = ["Final", "export", "ignore", "is_scripting", "is_tracing", "unused"]

F = TypeVar("F", bound=Callable[..., Any])


def is_scripting() -> bool:
    """Return False."""
    return False


def is_tracing() -> bool:
    """Return False."""
    return False


def export(fn: F) -> F:
    """Return `fn` as it is."""
    return fn


def unused(fn: F) -> F:
    """Return `fn` as it is."""
    return fn


def ignore(drop: bool | F = False, **kwargs: Any) -> Any:
    """Return the decorated function as it is; with or without arguments."""
    if callable(drop):
        return drop
    return lambda fn: fn


def _overload_method(fn: F) -> F:
    """Return `fn` as it is; model files use the name as PyTorch has it."""
    return fn
