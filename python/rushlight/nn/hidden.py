"""A warning where modules or parameters sit in plain lists, tuples or dicts of a module.

Nothing looks for them there: they are not trained, not saved and not moved. `Module.__setattr__`
notes the names of attributes that may hold some, and `named_parameters`, which an optimizer is
made with, looks at those attributes once it has walked the tree.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

__all__ = ["HiddenModuleWarning", "may_hide", "warn_hidden"]

# Long collections are those of numbers, and are to cost nothing: the first elements tell.
_LOOKED_AT = 64
_DEPTH = 4

_warned: WeakKeyDictionary[type, set[str]] = WeakKeyDictionary()


class HiddenModuleWarning(UserWarning):
    """A Module or Parameter in a plain list, tuple or dict, where nothing finds it.

    ``warnings.filterwarnings("ignore", category=rushlight.nn.HiddenModuleWarning)`` silences it.
    """


class _Found(NamedTuple):
    path: str
    value: Any


def may_hide(value: object, kinds: tuple[type, ...]) -> bool:
    """Return whether an attribute that is this list, tuple or dict is worth looking at later."""
    # What a list or dict holds can change; what a tuple holds directly cannot.
    return type(value) is not tuple or any(
        isinstance(each, (*kinds, list, tuple, dict)) for each in value
    )


def warn_hidden(root: Any, suspects: list[Any], prefix: str, kinds: tuple[type, ...]) -> None:
    """Warn of what the noted attributes of `suspects`, modules below `root`, hide.

    Once for each class and attribute, and not of what is registered elsewhere below `root` or
    contains it, as a reference to a parent does.
    """
    for owner in suspects:
        for name in sorted(owner._plain_attributes):
            value, done = vars(owner).get(name), _warned.setdefault(type(owner), set())
            if name in done or type(value) not in (list, tuple, dict):
                continue
            found = list(_inside(value, name, kinds, _DEPTH))
            if found:
                known = _registered(root)
                found = [each for each in found if not _is_known(each.value, known, root)]
            if found:
                done.add(name)
                path = next(
                    path for path, each in root.named_modules(prefix=prefix) if each is owner
                )
                _warn(owner, f"{path}.{name}" if path else name, value, found)


def _inside(value: Any, path: str, kinds: tuple[type, ...], depth: int) -> Iterator[_Found]:
    """Yield the modules and parameters in a collection and the collections in it."""
    pairs = value.items() if type(value) is dict else enumerate(value)
    for key, each in list(islice(pairs, _LOOKED_AT)):
        if isinstance(each, kinds):
            yield _Found(f"{path}[{key!r}]", each)
        elif depth and type(each) in (list, tuple, dict):
            yield from _inside(each, f"{path}[{key!r}]", kinds, depth - 1)


def _registered(root: Any) -> set[int]:
    modules = list(root.modules())
    return {id(each) for each in modules} | {
        id(each) for module in modules for each in module._parameters.values()
    }


def _is_known(value: Any, known: set[int], root: Any) -> bool:
    return id(value) in known or (
        hasattr(value, "modules") and any(each is root for each in value.modules())
    )


def _warn(owner: Any, path: str, value: object, found: list[_Found]) -> None:
    kind = "Module" if hasattr(found[0].value, "modules") else "Parameter"
    fix = f"nn.{kind}{'Dict' if type(value) is dict else 'List'}"
    others = f" and {len(found) - 1} more" if len(found) > 1 else ""
    warnings.warn(
        f"{type(owner).__name__}: self.{path.rpartition('.')[2]} (at {path!r}) is a plain "
        f"{type(value).__name__} that holds {found[0].path} ({type(found[0].value).__name__})"
        f"{others}, which parameters() and state_dict() do not see: no optimizer trains it. Make "
        f"it an {fix}. If it is meant, silence this with warnings.filterwarnings('ignore', "
        "category=rushlight.nn.HiddenModuleWarning)",
        HiddenModuleWarning,
        stacklevel=_outside(),
    )


def _outside() -> int:
    """Return the stack level, as seen from the caller, of the code that uses this package."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("rushlight."):
        frame, level = frame.f_back, level + 1
    return level
