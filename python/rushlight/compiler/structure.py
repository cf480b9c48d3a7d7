"""Arguments and results as trees: tuples, lists and dicts with tensors at the ends."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from rushlight.autograd.base import TensorBase
from rushlight.compiler.graph import Slot

__all__ = ["filled", "leaves_of", "signature", "tree_map"]


def tree_map(
    function: Callable[[Any], Any], tree: Any, leaf: type | tuple[type, ...] = TensorBase
) -> Any:
    """Return the tree with what `function` makes of each leaf; containers stay of their kind.

    Parameters
    ----------
    function : callable
    tree : leaf, or tuple, list or dict of trees, or anything else, which stays as it is
    leaf : type or tuple of type
        What leaves are; tensors by default.
    """
    if isinstance(tree, leaf):
        return function(tree)
    if isinstance(tree, (tuple, list)):
        parts = [tree_map(function, each, leaf) for each in tree]
        return _of_kind(tree, parts)
    if isinstance(tree, dict):
        items = {name: tree_map(function, each, leaf) for name, each in tree.items()}
        if type(tree) is dict:
            return items
        twin = copy.copy(tree)  # with its order, default factory or whatever it has
        for name, each in items.items():
            twin[name] = each
        return twin
    return tree


def _of_kind(tree: Any, parts: list[Any]) -> Any:
    kind = type(tree)
    if kind is list:
        return parts
    if isinstance(tree, list):
        twin = copy.copy(tree)
        twin[:] = parts
        return twin
    return kind._make(parts) if hasattr(kind, "_make") else kind(parts)


def filled(template: Any, fill: Callable[[int], Any]) -> Any:
    """Return a recorded tree with what `fill` gives for the number of each slot."""
    return tree_map(lambda slot: fill(slot.number), template, Slot)


def leaves_of(tree: Any) -> list[TensorBase]:
    """Return the tensors of a tree, in order."""
    if isinstance(tree, TensorBase):
        return [tree]
    parts = tree.values() if isinstance(tree, dict) else tree
    if not isinstance(tree, (tuple, list, dict)):
        return []
    return [leaf for each in parts for leaf in leaves_of(each)]


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
    if isinstance(tree, float):
        return (type(tree), repr(tree))  # zeros have signs, and NaN is not equal to itself
    try:
        hash(tree)
    except TypeError:
        return (type(tree), id(tree))
    return (type(tree), tree)
