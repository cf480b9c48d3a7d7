"""Containers of modules: lists and dicts that a module can see into."""

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any, overload

from rushlight.nn.changes import changes
from rushlight.nn.module import Module
from rushlight.nn.neighbours import run
from rushlight.tensor import Tensor

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["ModuleDict", "ModuleList", "Sequential", "items_of", "pairs_of", "position"]


def position(index: Any, length: int) -> int:
    """Return an index counted from the front: the one place where containers count.

    Raises
    ------
    IndexError, TypeError
        When it is out of range, or no integer.
    """
    number = operator.index(index)
    if not -length <= number < length:
        raise IndexError(f"index {number} is out of range")
    return number % length


def items_of(values: object, owner: str) -> list[Any]:
    """Return what ``extend`` was given as a list, or raise TypeError."""
    if not isinstance(values, Iterable) or isinstance(values, Tensor):
        raise TypeError(
            f"{owner} should be called with an iterable, but got {type(values).__name__}"
        )
    return list(values)


def pairs_of(values: object, owner: str) -> list[tuple[str, Any]]:
    """Return what ``update`` was given, a mapping or pairs, as pairs."""
    if isinstance(values, Mapping) or hasattr(values, "items"):
        return list(values.items())
    if not isinstance(values, Iterable):
        raise TypeError(
            f"{owner}.update should be called with an iterable of key/value pairs, but got "
            f"{type(values).__name__}"
        )
    pairs = []
    for number, each in enumerate(values):
        if not isinstance(each, Iterable):
            raise TypeError(
                f"{owner} update sequence element #{number} should be Iterable; is "
                f"{type(each).__name__}"
            )
        pair = tuple(each)
        if len(pair) != 2:
            raise ValueError(
                f"{owner} update sequence element #{number} has length {len(pair)}; 2 is required"
            )
        pairs.append(pair)
    return pairs


class _ModuleSequence(Module):
    """What :class:`Sequential` and :class:`ModuleList` share: submodules by position."""

    def _key(self, index: Any) -> str:
        return list(self._modules)[position(index, len(self))]

    def _renumber(self, modules: Iterable[Module | None]) -> None:
        self._modules = {str(number): module for number, module in enumerate(modules)}

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._modules.values())

    @overload
    def __getitem__(self, idx: slice) -> Self: ...
    @overload
    def __getitem__(self, idx: int) -> Any: ...
    def __getitem__(self, idx: int | slice) -> Any:
        if isinstance(idx, slice):
            return self._sliced(idx)
        return self._modules[self._key(idx)]

    def _sliced(self, part: slice) -> Self:
        raise NotImplementedError

    def __setitem__(self, idx: int, module: Module | None) -> None:
        setattr(self, self._key(idx), module)

    def __delitem__(self, idx: int | slice) -> None:
        rest = list(self._modules.values())
        del rest[idx if isinstance(idx, slice) else position(idx, len(self))]
        self._renumber(rest)

    def append(self, module: Module | None) -> Self:
        """Add a module at the end and return the container."""
        number = len(self)
        # A slice of a Sequential keeps its names, so the next number may be taken.
        while str(number) in self._modules:
            number += 1
        self.add_module(str(number), module)
        return self

    def extend(self, modules: Iterable[Module | None]) -> Self:
        """Add modules at the end and return the container.

        Raises
        ------
        TypeError
            When `modules` cannot be iterated, or holds something else than modules.
        """
        for module in items_of(modules, f"{type(self).__name__}.extend"):
            self.append(module)
        return self

    def _insert(self, index: int, module: Module | None) -> None:
        self.append(module)
        rest = list(self._modules.values())
        rest.insert(index, rest.pop())
        self._renumber(rest)

    def pop(self, key: int | slice) -> Any:
        """Remove and return the module (or, for a slice, a container of modules) at `key`."""
        found = self[key]
        del self[key]
        return found


class Sequential(_ModuleSequence):
    """Modules that are called one after the other, each with the output of the one before.

    Parameters
    ----------
    *args : Module
        The modules, or one OrderedDict of modules by name.

    Examples
    --------
    >>> import rushlight.nn as nn
    >>> nn.Sequential(nn.Linear(4, 8), nn.ReLU())
    Sequential(
      (0): Linear(in_features=4, out_features=8, bias=True)
      (1): ReLU()
    )
    """

    def __init__(self, *args: Any) -> None:
        super().__init__()
        if len(args) == 1 and isinstance(args[0], OrderedDict):
            for name, module in args[0].items():
                self.add_module(name, module)
        else:
            self.extend(args)

    def forward(self, input: Any) -> Any:
        """Pass `input` through all modules in order."""
        return run(input, *self)

    def _sliced(self, part: slice) -> Self:
        return type(self)(OrderedDict(list(self._modules.items())[part]))

    def insert(self, index: int, module: Module) -> Self:
        """Put `module` before position `index` and return the container.

        Raises
        ------
        AssertionError
            When `module` is no module: PyTorch's exception type.
        IndexError
            When `index` is out of range.
        """
        if not isinstance(module, Module):
            raise AssertionError(f"module should be of type: {Module}")
        if not -len(self) <= index <= len(self):
            raise IndexError(f"Index out of range: {index}")
        self._insert(index, module)
        return self

    def __add__(self, other: Sequential) -> Sequential:
        _require_sequential(other)
        return Sequential(*self, *other)

    def __iadd__(self, other: Sequential) -> Self:
        _require_sequential(other)
        return self.extend(other)

    def __mul__(self, other: int) -> Sequential:
        return Sequential(*_repeated(self, other))

    def __rmul__(self, other: int) -> Sequential:
        return self * other

    def __imul__(self, other: int) -> Self:
        return self.extend(_repeated(self, other)[len(self) :])


def _require_sequential(other: object) -> None:
    if not isinstance(other, Sequential):
        raise ValueError(
            f"add operator supports only objects of Sequential class, but {type(other)} is given."
        )


def _repeated(modules: Sequential, factor: int) -> list[Module]:
    if not isinstance(factor, int):
        raise TypeError(f"unsupported operand type(s) for *: {type(modules)} and {type(factor)}")
    if factor <= 0:
        raise ValueError(f"Non-positive multiplication factor {factor} for {type(modules)}")
    return list(modules) * factor


class ModuleList(_ModuleSequence):
    """Modules in a list. It calls none of them: the module that holds it does.

    Parameters
    ----------
    modules : iterable of Module, optional
        The modules to start with. None may stand for one left out.
    """

    def __init__(self, modules: Iterable[Module | None] | None = None) -> None:
        super().__init__()
        if modules is not None:
            self.extend(modules)

    def _sliced(self, part: slice) -> Self:
        return type(self)(list(self._modules.values())[part])

    def insert(self, index: int, module: Module | None) -> None:
        """Put `module` before position `index`, like ``list.insert``: any integer is allowed."""
        self._insert(operator.index(index), module)

    def __add__(self, other: Iterable[Module | None]) -> ModuleList:
        return ModuleList(chain(self, other))

    def __iadd__(self, other: Iterable[Module | None]) -> Self:
        return self.extend(other)

    def _children_text(self) -> Iterator[tuple[str, str]]:
        """Print equal neighbours once: ``(0-2): 3 x ReLU()``."""
        start = 0
        for text, group in groupby(text for _, text in super()._children_text()):
            count = len(list(group))
            if count == 1:
                yield str(start), text
            else:
                yield f"{start}-{start + count - 1}", f"{count} x {text}"
            start += count


class ModuleDict(Module):
    """Modules by name, in order of insertion.

    Parameters
    ----------
    modules : mapping or iterable of pairs, optional
        The modules to start with.
    """

    def __init__(self, modules: Mapping[str, Module | None] | Iterable[Any] | None = None) -> None:
        super().__init__()
        if modules is not None:
            self.update(modules)

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __contains__(self, key: str) -> bool:
        return key in self._modules

    def __getitem__(self, key: str) -> Any:
        return self._modules[key]

    def __setitem__(self, key: str, module: Module | None) -> None:
        self.add_module(key, module)

    def __delitem__(self, key: str) -> None:
        changes.count += 1
        del self._modules[key]

    def clear(self) -> None:
        """Remove all modules."""
        changes.count += 1
        self._modules.clear()

    def pop(self, key: str) -> Any:
        """Remove and return the module called `key`."""
        changes.count += 1
        return self._modules.pop(key)

    def keys(self) -> KeysView[str]:
        """Return the names."""
        return self._modules.keys()

    def values(self) -> ValuesView[Any]:
        """Return the modules."""
        return self._modules.values()

    def items(self) -> ItemsView[str, Any]:
        """Return names and modules."""
        return self._modules.items()

    def update(self, modules: Mapping[str, Module | None] | Iterable[Any]) -> None:
        """Add the modules of a mapping or of pairs; those of the same name are replaced.

        Raises
        ------
        TypeError, ValueError
            When `modules` is neither.
        """
        for key, module in pairs_of(modules, "ModuleDict"):
            self[key] = module
