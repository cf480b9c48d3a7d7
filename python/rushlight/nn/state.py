"""State dicts: a module's tensors by name, and putting them back.

Loading is all or nothing. Where no subclass or hook has a say, everything is checked before
anything is copied; elsewhere what was copied is taken back when an error turns up later.
"""

from __future__ import annotations

import copy
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rushlight.autograd.hooks import HookDict, RemovableHandle
from rushlight.nn.hooks import Flags, Hook, add_hook
from rushlight.nn.loading import _IncompatibleKeys, by_child, copy_into, mismatch
from rushlight.nn.parameter import Parameter, is_lazy, without_shape
from rushlight.nn.walk import Walk
from rushlight.tensor import Tensor

__all__ = ["StateDict"]

_EXTRA_STATE = "_extra_state"
# What a load tells `_load_from_state_dict` beside the metadata of the file.
_ASSIGN = "assign_to_params_buffers"
_UNDO = "undo"

_Undo = list[Callable[[], None]]


class StateDict:
    """The part of :class:`Module` that writes and reads state dicts."""

    _version = 1
    _parameters: dict[str, Any]
    _buffers: dict[str, Any]
    _modules: dict[str, Any]
    _non_persistent_buffers_set: set[str]
    _state_dict_pre_hooks: HookDict
    _state_dict_hooks: HookDict
    _state_dict_hooks_in_place: Flags
    _load_state_dict_pre_hooks: HookDict
    _load_state_dict_pre_hooks_with_module: Flags
    _load_state_dict_post_hooks: HookDict

    def _init_state_hooks(self) -> None:
        self.__dict__.update(
            _state_dict_pre_hooks=HookDict(),
            _state_dict_hooks=HookDict(),
            _state_dict_hooks_in_place={},
            _load_state_dict_pre_hooks=HookDict(),
            _load_state_dict_pre_hooks_with_module={},
            _load_state_dict_post_hooks=HookDict(),
        )

    # -- hooks ------------------------------------------------------------------------------

    def register_state_dict_pre_hook(self, hook: Hook) -> RemovableHandle:
        """Call ``hook(module, prefix, keep_vars)`` before ``state_dict`` reads this module."""
        return add_hook(self._state_dict_pre_hooks, hook)

    def register_state_dict_post_hook(self, hook: Hook) -> RemovableHandle:
        """Call ``hook(module, state_dict, prefix, local_metadata)`` after ``state_dict`` read it.

        The hook changes the state dict in place; returning one is a RuntimeError.
        """
        return add_hook(
            self._state_dict_hooks, hook, flags=[(self._state_dict_hooks_in_place, True)]
        )

    def _register_state_dict_hook(self, hook: Hook) -> RemovableHandle:
        """Register a post-hook whose result, if any, replaces the state dict."""
        return add_hook(self._state_dict_hooks, hook)

    def register_load_state_dict_pre_hook(self, hook: Hook) -> RemovableHandle:
        """Call `hook` before ``load_state_dict`` fills this module.

        Its arguments are ``(module, state_dict, prefix, local_metadata, strict, missing_keys,
        unexpected_keys, error_msgs)``; it may change the state dict and the lists.
        """
        return self._register_load_state_dict_pre_hook(hook, with_module=True)

    def _register_load_state_dict_pre_hook(
        self, hook: Hook, with_module: bool = False
    ) -> RemovableHandle:
        flags = [(self._load_state_dict_pre_hooks_with_module, with_module)]
        return add_hook(self._load_state_dict_pre_hooks, hook, flags=flags)

    def register_load_state_dict_post_hook(self, hook: Hook) -> RemovableHandle:
        """Call ``hook(module, incompatible_keys)`` after ``load_state_dict`` filled this module.

        The hook may change the lists of `incompatible_keys` in place: names that it removes are
        no longer errors, names that it adds are.
        """
        return add_hook(self._load_state_dict_post_hooks, hook)

    # -- extra state ------------------------------------------------------------------------

    def get_extra_state(self) -> Any:
        """Return what ``state_dict`` shall store beside parameters and buffers; for subclasses.

        Raises
        ------
        RuntimeError
            When the class does not define it.
        """
        raise RuntimeError(f"{type(self).__name__} does not define get_extra_state()")

    def set_extra_state(self, state: Any) -> None:
        """Take back what :meth:`get_extra_state` returned; for subclasses.

        Raises
        ------
        RuntimeError
            When the class does not define it.
        """
        raise RuntimeError(f"{type(self).__name__} does not define set_extra_state()")

    # -- writing ----------------------------------------------------------------------------

    def state_dict(
        self,
        *args: Any,
        destination: Any = None,
        prefix: str = "",
        keep_vars: bool = False,
    ) -> Any:
        """Return parameters and persistent buffers by name, in order of registration.

        Parameters
        ----------
        destination : mapping, optional
            Where to put them; a new OrderedDict by default, with the version of each module in
            its attribute ``_metadata``.
        prefix : str
            Put before every name.
        keep_vars : bool
            Store the parameters themselves instead of detached tensors that share their memory.

        Returns
        -------
        OrderedDict
            Tensors by name.
        """
        if args:
            warnings.warn(
                "state_dict: positional arguments are deprecated, use destination=, prefix= and "
                "keep_vars=",
                FutureWarning,
                stacklevel=2,
            )
            given = dict(zip(("destination", "prefix", "keep_vars"), args, strict=False))
            destination = given.get("destination", destination)
            prefix = given.get("prefix", prefix)
            keep_vars = given.get("keep_vars", keep_vars)
        if destination is None:
            destination = OrderedDict()
            destination._metadata = OrderedDict()
        metadata = {"version": self._version}
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]] = metadata
        if self._state_dict_pre_hooks:
            for hook in tuple(self._state_dict_pre_hooks.values()):
                hook(self, prefix, keep_vars)
        self._save_to_state_dict(destination, prefix, keep_vars)
        if self._modules:
            with Walk(self, "state_dict", id(destination)) as children:
                for name, child in children:
                    child.state_dict(
                        destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars
                    )
        if self._state_dict_hooks:
            return self._run_state_dict_hooks(destination, prefix, metadata)
        return destination

    def _run_state_dict_hooks(self, destination: Any, prefix: str, metadata: dict[str, Any]) -> Any:
        for key, hook in tuple(self._state_dict_hooks.items()):
            result = hook(self, destination, prefix, metadata)
            if result is not None:
                if key in self._state_dict_hooks_in_place:
                    raise RuntimeError("state_dict post-hook must return None")
                destination = result
        return destination

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        """Put this module's own tensors, not those of its children, into `destination`."""
        for name, value in self._parameters.items():
            if value is not None:
                destination[prefix + name] = value if keep_vars else value.detach()
        if self._buffers:
            passing = self._non_persistent_buffers_set
            for name, value in self._buffers.items():
                if value is not None and name not in passing:
                    destination[prefix + name] = value if keep_vars else value.detach()
        if type(self).get_extra_state is not StateDict.get_extra_state:
            destination[prefix + _EXTRA_STATE] = self.get_extra_state()

    def _own_state(self) -> Iterator[tuple[str, Tensor]]:
        for name, value in self._parameters.items():
            if value is not None:
                yield name, value
        for name, value in self._buffers.items():
            if value is not None and name not in self._non_persistent_buffers_set:
                yield name, value

    # -- reading ----------------------------------------------------------------------------

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> _IncompatibleKeys:
        """Copy tensors from `state_dict` into this module and its descendants.

        Parameters
        ----------
        state_dict : mapping
            Tensors by name, as from :meth:`state_dict`.
        strict : bool
            Whether a name that only one side has is an error.
        assign : bool
            Put the tensors themselves in the place of the module's, instead of copying values
            into them. Their dtype counts then; ``requires_grad`` stays the module's.

        Returns
        -------
        _IncompatibleKeys
            ``(missing_keys, unexpected_keys)``.

        Raises
        ------
        RuntimeError
            When something does not fit. All that does not is listed, and nothing was changed;
            PyTorch has copied what fits by then.
        TypeError
            When `state_dict` is no mapping.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
        load = _Load(state_dict, assign)
        if load.is_plain(self):
            load.check(self, load.state, "")
            load.raise_errors(self, strict)
            load.fill_checked()
            return load.keys
        try:
            load.fill(self, load.state, "")
            load.raise_errors(self, strict)
        except BaseException:
            for step in reversed(load.undo):
                step()
            raise
        return load.keys

    def _load_from_state_dict(
        self,
        state_dict: Any,
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Fill this module's own tensors, not those of its children; for subclasses to extend.

        What does not fit is added to the three lists instead of raised. A subclass that renames
        old keys does it in `state_dict`, guided by ``local_metadata.get("version")``, and then
        calls this one.
        """
        for key, hook in tuple(self._load_state_dict_pre_hooks.items()):
            first = (self,) if key in self._load_state_dict_pre_hooks_with_module else ()
            hook(
                *first,
                state_dict,
                prefix,
                local_metadata,
                strict,
                missing_keys,
                unexpected_keys,
                error_msgs,
            )
        self._upgrade_state(state_dict, prefix, local_metadata.get("version"))
        fitting = self._fitting_state(state_dict, prefix, strict, missing_keys, error_msgs)
        assign, undo = local_metadata.get(_ASSIGN, False), local_metadata.get(_UNDO)
        for name, value in fitting.items():
            self._take_state(name, value, assign, undo)
        if strict:
            # Afterwards: the extra state may have brought the child that a key belongs to.
            unexpected_keys += self._unknown_state(state_dict, prefix)

    def _upgrade_state(self, state_dict: Any, prefix: str, version: int | None) -> None:
        """Bring the entries of an older version of this class up to date; for built-in layers."""

    def _fitting_state(
        self,
        state_dict: Mapping[str, Any],
        prefix: str,
        strict: bool,
        missing_keys: list[str],
        error_msgs: list[str],
    ) -> dict[str, Any]:
        """Return the entries that fit this module by name; note in the lists what does not."""
        own = dict(self._own_state())
        fitting: dict[str, Any] = {}
        for name, current in own.items():
            key = prefix + name
            if key not in state_dict:
                if strict:
                    missing_keys.append(key)
                continue
            value = state_dict[key]
            problem = mismatch(key, current, value)
            if problem is None:
                fitting[name] = value
            else:
                error_msgs.append(problem)
        takes_extra = type(self).set_extra_state is not StateDict.set_extra_state
        key = prefix + _EXTRA_STATE
        if takes_extra and key in state_dict:
            fitting[_EXTRA_STATE] = state_dict[key]
        elif takes_extra and strict:
            missing_keys.append(key)
        return fitting

    def _unknown_state(self, state_dict: Mapping[str, Any], prefix: str) -> Iterator[str]:
        """Yield the keys below `prefix` that neither this module nor a child has a place for."""
        known = {name for name, _ in self._own_state()}
        if type(self).set_extra_state is not StateDict.set_extra_state:
            known.add(_EXTRA_STATE)
        for key in state_dict:
            if key.startswith(prefix):
                name, dot, _ = key[len(prefix) :].partition(".")
                if name not in (self._modules if dot else known):
                    yield key

    def _take_state(self, name: str, value: Any, assign: bool, undo: _Undo | None) -> None:
        """Put an entry that fits in its place; note in `undo`, if given, how to take it back."""
        if name == _EXTRA_STATE:
            if undo is not None and type(self).get_extra_state is not StateDict.get_extra_state:
                before = copy.deepcopy(self.get_extra_state())
                undo.append(lambda: self.set_extra_state(before))
            self.set_extra_state(value)
            return
        holder = self._parameters if name in self._parameters else self._buffers
        current: Tensor = holder[name]
        if not assign:
            if is_lazy(value):
                return
            if is_lazy(current):
                if undo is not None:
                    undo.append(without_shape(current))
                current.materialize(value.shape)  # type: ignore[attr-defined]  # it is lazy
            elif undo is not None:
                backup = current.detach().clone()
                undo.append(lambda: copy_into(current, backup))
            copy_into(current, value)
            return
        if isinstance(current, Parameter):
            if isinstance(value, Parameter):
                value.requires_grad_(current.requires_grad)
            else:
                value = Parameter(value, requires_grad=current.requires_grad)
        if undo is not None:
            undo.append(lambda: holder.__setitem__(name, current))
        holder[name] = value


class _Load:
    """One call of ``load_state_dict``: what it found, and what it did."""

    def __init__(self, source: Mapping[str, Any], assign: bool) -> None:
        self.keys = _IncompatibleKeys([], [])
        self.errors: list[str] = []
        self.undo: _Undo = []
        self._checked: list[tuple[StateDict, dict[str, Any]]] = []
        self._assign = assign
        self._metadata: Mapping[str, Any] = getattr(source, "_metadata", None) or {}
        # A copy: hooks and subclasses may rename keys in it.
        self.state: Any = OrderedDict(source)
        vars(self.state)["_metadata"] = self._metadata

    def is_plain(self, root: Any) -> bool:
        """Return whether no hook or subclass below `root` has a say in loading."""
        return all(
            type(module)._load_from_state_dict is StateDict._load_from_state_dict
            and type(module).set_extra_state is StateDict.set_extra_state
            and not module._load_state_dict_pre_hooks
            and not module._load_state_dict_post_hooks
            # What has no shape yet fits anything, until it is there twice.
            and not any(is_lazy(value) for _, value in module._own_state())
            for module in root.modules()
        )

    def check(self, module: StateDict, state: Any, prefix: str) -> None:
        """Collect what does not fit below `module`; nothing is changed."""
        module._upgrade_state(state, prefix, self._version(prefix))
        missing, unexpected = self.keys
        fitting = module._fitting_state(state, prefix, True, missing, self.errors)
        unexpected += module._unknown_state(state, prefix)
        if not self._assign:
            self.errors += [
                f"{prefix}{name} is read-only memory and cannot take values from checkpoint"
                for name, current in module._own_state()
                if name in fitting and not current._array.flags.writeable
            ]
        self._checked.append((module, fitting))
        self._descend(module, state, prefix, self.check)

    def fill_checked(self) -> None:
        """Fill all that was checked: nothing can go wrong any more."""
        for module, fitting in self._checked:
            for name, value in fitting.items():
                module._take_state(name, value, self._assign, None)

    def fill(self, module: StateDict, state: Any, prefix: str) -> None:
        """Fill `module` and its descendants with what fits, collect what does not."""
        metadata = {**self._metadata.get(prefix[:-1], {}), _ASSIGN: self._assign, _UNDO: self.undo}
        module._load_from_state_dict(state, prefix, metadata, True, *self.keys, self.errors)
        self._descend(module, state, prefix, self.fill)
        for hook in tuple(module._load_state_dict_post_hooks.values()):
            if hook(module, self.keys) is not None:
                raise RuntimeError(
                    "a hook of register_load_state_dict_post_hook must return None; it can "
                    "change the lists of incompatible_keys in place"
                )

    def _version(self, prefix: str) -> int | None:
        version: int | None = self._metadata.get(prefix[:-1], {}).get("version")
        return version

    def _descend(
        self,
        module: StateDict,
        state: Mapping[str, Any],
        prefix: str,
        visit: Callable[[Any, Any, str], None],
    ) -> None:
        with Walk(module, "load_state_dict", id(self)) as children:
            parts = by_child(state, prefix) if children else {}
            for name, child in children:
                visit(child, parts.get(name, OrderedDict()), f"{prefix}{name}.")

    def raise_errors(self, module: StateDict, strict: bool) -> None:
        """Raise the report, in PyTorch's form, if there is anything to report."""
        report = list(self.errors)
        if strict:
            # Missing keys first, as people and programs expect to read it.
            for kind, names in (
                ("Unexpected", self.keys.unexpected_keys),
                ("Missing", self.keys.missing_keys),
            ):
                if names:
                    quoted = ", ".join(f'"{name}"' for name in names)
                    report.insert(0, f"{kind} key(s) in state_dict: {quoted}. ")
        if report:
            listed = "\n\t".join(report)
            raise RuntimeError(
                f"Error(s) in loading state_dict for {type(module).__name__}:\n\t{listed}"
            )
