"""Finding what is below a module: by path, and by walking over the tree."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Set
from typing import TYPE_CHECKING, Any

from rushlight.nn.hidden import may_hide, warn_hidden
from rushlight.nn.parameter import Parameter
from rushlight.tensor import Tensor

if TYPE_CHECKING:
    # For annotations only: module.py builds on this file.
    from rushlight.nn.module import Module

__all__ = ["Tree"]


class Tree:
    """The part of :class:`Module` that finds submodules, parameters and buffers."""

    _parameters: dict[str, Any]
    _buffers: dict[str, Any]
    _modules: dict[str, Any]
    # Names of attributes that are plain lists, tuples or dicts; see hidden.py.
    _plain_attributes: Set[str] = frozenset()

    def _note_plain(self, name: str, value: object) -> None:
        if may_hide(value, _KINDS):
            self.__dict__["_plain_attributes"] = {*self._plain_attributes, name}

    # -- finding things by path -------------------------------------------------------------

    def get_submodule(self, target: str) -> Module:
        """Return the module at a path such as ``"layer1.0.conv"``; ``""`` is the module itself.

        Raises
        ------
        AttributeError
            When there is nothing at the path, or no module.
        """
        module: Any = self
        for name in target.split(".") if target else ():
            if not hasattr(module, name):
                raise AttributeError(f"{type(module).__name__} has no attribute `{name}`")
            module = getattr(module, name)
            if not isinstance(module, Tree):
                raise AttributeError(f"`{name}` is not an nn.Module")
        return module  # type: ignore[no-any-return]

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Put `module` at a path; with `strict` only where there is a module already.

        Raises
        ------
        AttributeError
            When the parent does not exist, or something that is no module has the name.
        ValueError
            When `target` is empty or `module` is no module.
        """
        if not target:
            raise ValueError("Cannot set the submodule without a target name!")
        if not isinstance(module, Tree):
            raise ValueError(f"`module` is not an nn.Module, found {type(module)}")
        path, _, name = target.rpartition(".")
        parent = self.get_submodule(path)
        if strict or hasattr(parent, name):
            parent.get_submodule(name)
        setattr(parent, name, module)

    def get_parameter(self, target: str) -> Parameter:
        """Return the parameter at a path such as ``"layer1.0.conv.weight"``.

        Raises
        ------
        AttributeError
            When there is nothing at the path, or no parameter.
        """
        _, found = self._at(target)
        if not isinstance(found, Parameter):
            raise AttributeError(f"`{target}` is not an nn.Parameter")
        return found

    def get_buffer(self, target: str) -> Tensor:
        """Return the buffer at a path such as ``"layer1.0.bn.running_mean"``.

        Raises
        ------
        AttributeError
            When there is nothing at the path, or no buffer.
        """
        owner, found = self._at(target)
        if not any(found is buffer for buffer in owner._buffers.values()):
            raise AttributeError(f"`{target}` is not a buffer")
        buffer: Tensor = found
        return buffer

    def _at(self, target: str) -> tuple[Module, Any]:
        path, _, name = target.rpartition(".")
        owner = self.get_submodule(path)
        if not hasattr(owner, name):
            raise AttributeError(f"{type(owner).__name__} has no attribute `{name}`")
        return owner, getattr(owner, name)

    # -- traversal --------------------------------------------------------------------------

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """Yield this module and all below it with their paths, parents before children.

        Parameters
        ----------
        memo : set of Module, optional
            Modules to leave out; those that are yielded are added.
        prefix : str
            Path of this module itself.
        remove_duplicate : bool
            Whether a module that is found twice is yielded once. If not it is yielded under
            each path, but never inside itself.
        """
        memo = set() if memo is None else memo
        root: Any = self
        if remove_duplicate:
            if root in memo:
                return
            memo.add(root)
        yield prefix, root
        # Without the memo it is the modules above that must not be entered again.
        seen = memo if remove_duplicate else {root}
        stack = [(root, f"{prefix}." if prefix else "", iter(list(root._modules.items())))]
        while stack:
            parent, start, items = stack[-1]
            for name, child in items:
                if child is None or child in seen:
                    continue
                if remove_duplicate:
                    seen.add(child)
                path = start + name
                yield path, child
                if child._modules:
                    seen.add(child)
                    stack.append((child, f"{path}.", iter(list(child._modules.items()))))
                    break
            else:
                stack.pop()
                if not remove_duplicate:
                    seen.discard(parent)

    def modules(self, remove_duplicate: bool = True) -> Iterator[Module]:
        """Yield this module and all below it, parents before children."""
        for _, module in self.named_modules(remove_duplicate=remove_duplicate):
            yield module

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield the direct submodules with their names, each module once."""
        seen = set()
        for name, child in self._modules.items():
            if child is not None and child not in seen:
                seen.add(child)
                yield name, child

    def children(self) -> Iterator[Module]:
        """Yield the direct submodules, each once."""
        for _, child in self.named_children():
            yield child

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Yield parameters with their paths.

        Parameters
        ----------
        prefix : str
            Put before every path, with a dot.
        recurse : bool
            Whether those of the modules below are included.
        remove_duplicate : bool
            Whether a parameter that is shared is yielded once.

        Warns
        -----
        HiddenModuleWarning
            At the end, when an attribute of a module is a plain list, tuple or dict that holds
            modules or parameters.
        """
        suspects: list[Module] = []

        def members(module: Module) -> Iterable[tuple[str, Parameter | None]]:
            if module._plain_attributes:
                suspects.append(module)
            return module._parameters.items()

        yield from self._named_members(members, prefix, recurse, remove_duplicate)
        if suspects and recurse:
            warn_hidden(self, suspects, prefix, _KINDS)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Yield parameters, each once: what an optimizer takes."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Yield buffers with their paths; the arguments are those of :meth:`named_parameters`."""
        return self._named_members(_buffers_of, prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Yield buffers, each once."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def _named_members(
        self,
        get_members_fn: Callable[[Module], Iterable[tuple[str, Any]]],
        prefix: str = "",
        recurse: bool = True,
        remove_duplicate: bool = True,
    ) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        owners: Iterable[tuple[str, Any]] = (
            self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
            if recurse
            else [(prefix, self)]
        )
        for path, owner in owners:
            for name, member in get_members_fn(owner):
                if member is None or id(member) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(member))
                yield (f"{path}.{name}" if path else name), member


def _buffers_of(module: Module) -> Iterable[tuple[str, Tensor | None]]:
    return module._buffers.items()


# What is registered when it is an attribute, and lost in a list.
_KINDS = (Tree, Parameter)
