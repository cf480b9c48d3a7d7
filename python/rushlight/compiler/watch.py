"""Knowing that what a plan was made of is still so: values of tensors, structure of modules."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from rushlight.autograd.base import TensorBase, writes
from rushlight.compiler.graph import Constant
from rushlight.dtypes import Array
from rushlight.nn.changes import changes
from rushlight.nn.module import Module

__all__ = ["Structure", "Watch"]


class Watch:
    """The tensors behind the constants of a net, each with the version that was read."""

    def __init__(self) -> None:
        self._watched: list[tuple[Any, ...]] = []
        self._exported: list[tuple[TensorBase, Any]] = []
        self._constants: dict[int, Constant] = {}
        self._seen: object = self  # the last write when all was compared

    def add(self, constants: Iterable[Constant]) -> None:
        """Watch the tensors of constants whose arrays were just read."""
        for constant in constants:
            tensor = constant.tensor
            if tensor is None or id(tensor) in self._constants:
                continue
            self._constants[id(tensor)] = constant
            storage = tensor._storage
            storage.watched = True
            self._watched.append(
                (tensor, tensor._array, storage, storage.version, storage.exported)
            )
            if storage.exported:
                # Its memory can change without a count: what it holds is compared.
                self._exported.append((tensor, _bits(tensor._array).copy()))

    def is_stale(self) -> bool:
        """Return whether one of the tensors may hold other values than were read."""
        last = writes.last  # before looking: what is written later is not overlooked
        if last is not self._seen:
            if self._has_changed():
                return True
            self._seen = last
        return bool(self._exported) and any(
            not np.array_equal(_bits(tensor._array), bits) for tensor, bits in self._exported
        )

    def _has_changed(self) -> bool:
        for tensor, array, storage, version, exported in self._watched:
            if (
                tensor._array is not array
                or storage.version != version
                or storage.exported is not exported
            ):
                return True
        return False


def _bits(array: Array) -> Array:
    """Return floats as integers, which NaN equal themselves as and which compare faster."""
    return array.view(f"u{array.itemsize}") if array.dtype.kind == "f" else array


class Structure:
    """What a module and those below it are, as far as a forward can see it.

    Attributes
    ----------
    training : bool
        Whether one of them is in training mode.
    """

    def __init__(self, module: Module) -> None:
        self._count = changes.count
        self._module = module
        # Kept, so that nothing else gets the ids in the print.
        self._kept: list[Any] = []
        self._print = self._read(self._kept)
        self.training = any(each.training for each in module.modules())

    def has_changed(self) -> bool:
        """Return whether anything differs from what it was."""
        if changes.count == self._count:
            return False
        count = changes.count
        if self._read([]) != self._print:
            return True
        self._count = count  # another module changed
        return False

    def _read(self, kept: list[Any]) -> list[Any]:
        found: list[Any] = []
        for name, module in self._module.named_modules(remove_duplicate=False):
            found.append((name, id(module), type(module)))
            for holder in (module._parameters, module._buffers):
                found += [(key, id(each)) for key, each in holder.items()]
                kept += holder.values()
            for key, value in vars(module).items():
                if key not in ("_parameters", "_buffers", "_modules"):
                    found.append(key)
                    found += _plain(value, kept)
            kept.append(module)
        return found


_PLAIN = (int, float, str, bool, type(None))


def _plain(value: Any, kept: list[Any]) -> list[Any]:
    """Return settings as they are, in containers too; other objects as their ids, and `kept`."""
    found: list[Any] = []
    seen: set[int] = set()  # a container may hold itself
    left = [value]
    while left:
        each = left.pop()
        if isinstance(each, _PLAIN):
            found.append((type(each), each))
            continue
        kept.append(each)
        if id(each) in seen or not isinstance(each, (tuple, list, dict)):
            found.append(id(each))
            continue
        seen.add(id(each))
        parts = [part for item in each.items() for part in item] if isinstance(each, dict) else each
        found.append((type(each), len(parts)))
        left += parts
    return found
