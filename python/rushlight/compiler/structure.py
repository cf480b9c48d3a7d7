"""Arguments and results as trees: tuples, lists and dicts with tensors at the ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rushlight.autograd.base import TensorBase

__all__ = ["leaves_of", "signature", "tree_map"]


def tree_map(function: Callable[[TensorBase], Any], tree: Any) -> Any:
    """Return the tree with what `function` makes of each tensor; named tuples stay their kind."""
    if isinstance(tree, TensorBase):
        return function(tree)
    kind = type(tree)
    if isinstance(tree, tuple):
        parts = [tree_map(function, each) for each in tree]
        return kind(*parts) if hasattr(tree, "_fields") else kind(parts)
    if isinstance(tree, list):
        return kind([tree_map(function, each) for each in tree])
    if isinstance(tree, dict):
        return kind((name, tree_map(function, each)) for name, each in tree.items())
    return tree


def leaves_of(tree: Any) -> list[TensorBase]:
    """Return the tensors of a tree, in order."""
    found: list[TensorBase] = []
    tree_map(found.append, tree)
    return found


def signature(tree: Any) -> Any:
    """Return what tells one kind of call from another, to look plans up by.

    Shapes and types of tensors, kinds of containers, and other values as they are; one that
    cannot be hashed counts as itself alone.
    """
    if isinstance(tree, TensorBase):
        array = tree._array
        return (array.shape, array.dtype.char)
    if isinstance(tree, (tuple, list)):
        return (type(tree), *[signature(each) for each in tree])
    if isinstance(tree, dict):
        return (type(tree), *[(name, signature(each)) for name, each in tree.items()])
    try:
        hash(tree)
    except TypeError:
        return (type(tree), id(tree))
    return (type(tree), tree)
