"""Walks over nested lists, tuples and dicts, without recursion.

What a file describes may be a million levels deep, contain itself, or name one list a billion
times over. So depth is bounded, cycles are refused, and each container is entered once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

from rushlight.serialization.errors import Refused

__all__ = ["MAX_DEPTH", "METADATA", "SCALARS", "leaves", "rebuild"]

MAX_DEPTH = 200
METADATA = "_metadata"  # the versions of a module's parts, an attribute of its state dict
SCALARS = (type(None), bool, int, float, str, bytes)

_MISSING = object()


def rebuild(
    root: object, leaf: Callable[[Any], Any], finish: Callable[[Any], None] | None = None
) -> Any:
    """Return a copy of a tree with its leaves replaced, each object once.

    Parameters
    ----------
    root : object
        Lists, tuples and dicts, in each other, of anything else.
    leaf : callable
        Given a leaf that is no plain Python value, returns what takes its place.
    finish : callable, optional
        Called with each new dict, which it may change.

    Raises
    ------
    Refused
        When the tree contains itself or is deeper than 200 levels.
    """
    done: dict[int, Any] = {}

    def result(node: Any) -> Any:
        if type(node) in SCALARS:
            return node
        found = done.get(id(node), _MISSING)
        if found is _MISSING:
            found = done[id(node)] = leaf(node)
        return found

    entered: set[int] = set()  # the containers on the way from the root to here
    stack = [root] if _is_container(root) else []
    while stack:
        node = stack[-1]
        if id(node) in done:
            stack.pop()
        elif id(node) in entered:
            done[id(node)] = _copy(node, result, finish)
            entered.remove(id(node))
            stack.pop()
        else:
            entered.add(id(node))
            stack += [each for each in _inner(node, entered) if id(each) not in done]
    return result(root)


def leaves(root: object) -> Iterator[tuple[str, Any]]:
    """Yield the leaves with their places: keys and indices, joined by dots.

    A container that is in several places is entered in the first one. Errors as :func:`rebuild`.
    """
    if not _is_container(root):
        yield "", root
        return
    entered, seen = {id(root)}, {id(root)}
    levels: list[tuple[str, int, Iterator[tuple[Any, Any]]]] = [("", id(root), _entries(root))]
    while levels:
        prefix, number, entries = levels[-1]
        entry = next(entries, None)
        if entry is None:
            levels.pop()
            entered.remove(number)
            continue
        key, value = entry
        if not _is_container(value):
            yield f"{prefix}{key}", value
            continue
        _check_way(value, entered)
        if id(value) not in seen:
            seen.add(id(value))
            entered.add(id(value))
            levels.append((f"{prefix}{key}.", id(value), _entries(value)))


def _is_container(node: object) -> bool:
    # Named tuples are leaves.
    return isinstance(node, (list, tuple, dict)) and not hasattr(node, "_fields")


def _entries(node: Any) -> Iterator[tuple[Any, Any]]:
    return iter(node.items()) if isinstance(node, dict) else enumerate(node)


def _inner(node: Any, entered: set[int]) -> list[Any]:
    """Return the containers in a container."""
    values = list(node.values()) if isinstance(node, dict) else list(node)
    values.append(getattr(node, METADATA, None))
    found = [each for each in values if _is_container(each)]
    for each in found:
        _check_way(each, entered)
    return found


def _check_way(node: Any, entered: set[int]) -> None:
    if id(node) in entered:
        raise Refused("a value contains itself")
    if len(entered) >= MAX_DEPTH:
        raise Refused(f"values are nested deeper than {MAX_DEPTH} levels")


def _copy(node: Any, result: Callable[[Any], Any], finish: Callable[[Any], None] | None) -> Any:
    if isinstance(node, dict):
        copied: Any = OrderedDict() if isinstance(node, OrderedDict) else {}
        for key, value in node.items():
            copied[key] = result(value)
        if hasattr(node, METADATA):
            setattr(copied, METADATA, result(getattr(node, METADATA)))
        if finish is not None:
            finish(copied)
        return copied
    values = [result(each) for each in node]
    return values if isinstance(node, list) else type(node)(values)
