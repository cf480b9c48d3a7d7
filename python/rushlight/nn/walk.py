"""Recursive walks over modules that end on cycles."""

from __future__ import annotations

from threading import get_ident
from types import TracebackType
from typing import Any, ClassVar

__all__ = ["Walk"]


class Walk:
    """The named children to visit next on a walk, without those it is already inside.

    A module may come to contain itself. Methods that call themselves on the children and may be
    overridden in between (``train``, ``apply``, ``state_dict``, ``__repr__``) cannot hand a memo
    on, so the modules that a walk is inside are kept here, by thread and by `walk`: the name of
    the method with whatever tells one walk from another.

    Examples
    --------
    >>> with Walk(module, "train", mode) as children:  # doctest: +SKIP
    ...     for name, child in children:
    ...         child.train(mode)
    """

    __slots__ = ("_entered", "_module", "_walk")

    _inside: ClassVar[set[tuple[object, ...]]] = set()

    def __init__(self, module: Any, *walk: object) -> None:
        self._module = module
        self._walk = (get_ident(), *walk)
        self._entered = False

    def __enter__(self) -> list[tuple[str, Any]]:
        if not self._module._modules:
            return []
        inside, walk = self._inside, self._walk
        here = (*walk, id(self._module))
        if here not in inside:
            inside.add(here)
            self._entered = True
        # A module without children cannot be one that the walk is inside.
        return [
            (name, child)
            for name, child in self._module._modules.items()
            if child is not None and not (child._modules and (*walk, id(child)) in inside)
        ]

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._entered:
            self._inside.discard((*self._walk, id(self._module)))
