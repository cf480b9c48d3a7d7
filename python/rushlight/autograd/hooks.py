"""The handle that removes a hook."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Any

__all__ = ["HookDict", "RemovableHandle"]

_ids = itertools.count()


class HookDict(dict[int, Callable[..., Any]]):
    """A dict of hooks in order of registration that a handle can refer to weakly."""


class RemovableHandle:
    """Removes a registered hook: call :meth:`remove`, or use it as a context manager.

    Removing twice does nothing, and so does removing after the owner of the hook is gone.
    """

    def __init__(self, hooks: HookDict, key: int) -> None:
        self.id = key
        self.hooks_dict_ref = weakref.ref(hooks)

    @classmethod
    def add(cls, hooks: HookDict, hook: Callable[..., Any]) -> RemovableHandle:
        """Append `hook` to `hooks` and return its handle."""
        key = next(_ids)
        hooks[key] = hook
        return cls(hooks, key)

    def remove(self) -> None:
        """Remove the hook if it is still there."""
        hooks = self.hooks_dict_ref()
        if hooks is not None:
            hooks.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.remove()
