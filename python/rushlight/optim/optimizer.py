"""The base of the optimizers: parameter groups, state, hooks and checkpoints."""

from __future__ import annotations

import copy
import functools
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np

from rushlight.autograd.grad_mode import enable_grad
from rushlight.autograd.hooks import HookDict, RemovableHandle
from rushlight.ops.creation import as_tensor
from rushlight.optim.flat import FlatGradients
from rushlight.optim.fused import by_type, check_target
from rushlight.tensor import Tensor

__all__ = ["Optimizer"]

Group: TypeAlias = "dict[str, Any]"
Params: TypeAlias = "Iterable[Tensor] | Iterable[Group] | Iterable[tuple[str, Tensor]]"
Closure: TypeAlias = "Callable[[], Any]"

_UNORDERED = (
    "optimizer parameters need to be organized in ordered collections: the order of a set "
    "changes between runs. Please use a list instead."
)


def _with_hooks(step: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a ``step`` method so that the hooks run around it, once per outermost call."""

    @functools.wraps(step)
    def wrapped(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        if type(self).step is not wrapped:  # reached through super().step()
            return step(self, *args, **kwargs)
        self._opt_called = True  # the schedulers warn when they are asked before
        call: tuple[Any, ...] = (self, *args)
        for hook in list(self._step_pre_hooks.values()):
            changed = hook(self, call, kwargs)
            if changed is None:
                continue
            if not (isinstance(changed, tuple) and len(changed) == 2):
                raise RuntimeError(
                    f"{type(self).__name__}.step: a pre-hook must return None or a tuple of new "
                    f"(args, kwargs), but got {changed!r}"
                )
            call, kwargs = changed
        result = step(*call, **kwargs)
        for hook in list(self._step_post_hooks.values()):
            hook(self, call, kwargs)
        return result

    return wrapped


def _add_hook(hooks: HookDict, hook: Callable[..., Any], prepend: bool) -> RemovableHandle:
    before = list(hooks.items()) if prepend else []
    handle = RemovableHandle.add(hooks, hook)
    for key, other in before:
        hooks[key] = hooks.pop(key, other)
    return handle


def _split_names(group: Group) -> None:
    """Take (name, parameter) pairs apart: the names go to ``group["param_names"]``."""
    entries = group["params"]
    pairs = [isinstance(each, tuple) and len(each) == 2 for each in entries]
    if not any(pairs):
        return
    if not all(pairs):
        raise ValueError(
            "all optimizer params should be with/without names. Some param names are missing"
        )
    group["param_names"] = [name for name, _ in entries]
    group["params"] = [param for _, param in entries]


class Optimizer:
    """Base class of the optimizers.

    A subclass hands its default options to ``__init__`` and defines `_update`, or, as in
    PyTorch, a ``step`` of its own over `param_groups` and `state`.

    Parameters
    ----------
    params : iterable of Tensor, of (str, Tensor) or of dict
        The parameters, with their names or without, or groups of them: dicts with the key
        ``"params"`` and options that differ from `defaults`.
    defaults : dict
        Options of the groups that do not set their own.

    Raises
    ------
    TypeError
        When `params` is a single tensor, a set, or holds something else than tensors.
    ValueError
        When there is no parameter, one is not a leaf or in two groups, or an option is invalid.
    """

    # State that has one element per element of the parameter; checked when a state is loaded.
    _elementwise_state: tuple[str, ...] = ()
    _opt_called = False
    _flat: list[FlatGradients]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "step" in cls.__dict__:
            cls.step = _with_hooks(cls.__dict__["step"])  # type: ignore[method-assign]  # the point

    def __init__(self, params: Params, defaults: dict[str, Any]) -> None:
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or "
                f"dicts, but got a {type(params).__name__}"
            )
        if isinstance(params, (set, frozenset)):
            raise TypeError(_UNORDERED)
        self.defaults = defaults
        self.state: defaultdict[Any, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[Group] = []
        self._make_hooks()
        entries: list[Any] = list(params)
        if not entries:
            raise ValueError("optimizer got an empty parameter list")
        for group in entries if isinstance(entries[0], dict) else [{"params": entries}]:
            self.add_param_group(group)

    def add_param_group(self, param_group: Group) -> None:
        """Add a group of parameters: a dict with ``"params"`` and the group's own options.

        The dict is copied. Nothing is added when an error is raised.

        Raises
        ------
        TypeError
            When `param_group` is no dict or its parameters are not tensors in an ordered
            collection.
        KeyError
            When ``"params"`` is missing.
        ValueError
            When a parameter is not a leaf or in another group, or an option is invalid.
        """
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        params = param_group["params"]
        if isinstance(params, (set, frozenset)):
            raise TypeError(_UNORDERED)
        group = {**param_group, "params": [params] if isinstance(params, Tensor) else list(params)}
        _split_names(group)
        self._check_params(group["params"])
        for name, default in self.defaults.items():
            group.setdefault(name, default)
        self._check_group(group)
        if any(("param_names" in other) != ("param_names" in group) for other in self.param_groups):
            raise ValueError(
                "all optimizer params should be with/without names. Some param names are missing"
            )
        self.param_groups.append(group)

    def _check_params(self, params: list[Any]) -> None:
        for param in params:
            if not isinstance(param, Tensor):
                raise TypeError(
                    "optimizer can only optimize Tensors, "
                    f"but one of the params is {type(param).__name__}"
                )
            if not (param.is_leaf or param.retains_grad):
                raise ValueError("can't optimize a non-leaf Tensor")
        new = {id(param) for param in params}
        if len(new) != len(params):
            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters: "
                "each step updates them more than once",
                stacklevel=4,
            )
        if any(id(param) in new for group in self.param_groups for param in group["params"]):
            raise ValueError("some parameters appear in more than one parameter group")

    def _check_group(self, group: Group) -> None:
        """Raise when the options of `group` are invalid; for subclasses."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters, or fill them with zeros."""
        for group in self.param_groups:
            for param in group["params"]:
                if set_to_none or param.grad is None:
                    param.grad = None
                else:
                    param.grad = param.grad.detach()
                    param.grad.zero_()

    @_with_hooks
    def step(self, closure: Closure | None = None) -> Any:
        """Update every parameter that has a gradient.

        Parameters
        ----------
        closure : callable, optional
            Called first, with gradients enabled, to compute the loss and its gradients again.

        Returns
        -------
        object
            What `closure` returned, or None.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        for group in self.param_groups:
            for params in by_type(group["params"]):
                for param in params:
                    if not param._array.flags.carray:
                        check_target(type(self).__name__, param)
                self._update(params, group)
        return loss

    def _update(self, params: list[Tensor], group: Group) -> None:
        """Update parameters of `group`, which are of one type and have gradients."""
        raise NotImplementedError(f"{type(self).__name__} defines neither step nor _update")

    def flat_grads(self) -> list[Tensor]:
        """Return the gradients of each group as one flat tensor, for an allreduce, say.

        A parameter's ``grad`` becomes a view of its group's tensor, in the order of the group: a
        change of the one is a change of the other, and the gradients are copied once. Parameters
        without a gradient get zeros. With ``zero_grad(set_to_none=False)`` the views stay, and
        backward adds into the flat tensors without any copy.

        Returns
        -------
        list of Tensor
            A 1-d tensor for each group with parameters, the same ones at every call.

        Raises
        ------
        ValueError
            When the parameters of a group differ in element type.
        """
        groups = [group["params"] for group in self.param_groups if group["params"]]
        kept = [each for each in self._flat if any(each.fits(params) for params in groups)]
        self._flat = [
            next((each for each in kept if each.fits(params)), None) or FlatGradients(list(params))
            for params in groups
        ]
        return [each.gather() for each in self._flat]

    # -- hooks ------------------------------------------------------------------------------

    def _make_hooks(self) -> None:
        self._flat = []
        self._step_pre_hooks, self._step_post_hooks = HookDict(), HookDict()
        self._state_pre_hooks, self._state_post_hooks = HookDict(), HookDict()
        self._load_pre_hooks, self._load_post_hooks = HookDict(), HookDict()

    def register_step_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` before each step.

        A tuple ``(args, kwargs)`` that it returns replaces the arguments of ``step``; `args`
        starts with the optimizer.
        """
        return RemovableHandle.add(self._step_pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable[..., None]) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` after each step."""
        return RemovableHandle.add(self._step_post_hooks, hook)

    def register_state_dict_pre_hook(
        self, hook: Callable[[Optimizer], None], prepend: bool = False
    ) -> RemovableHandle:
        """Call ``hook(optimizer)`` before :meth:`state_dict` reads the state."""
        return _add_hook(self._state_pre_hooks, hook, prepend)

    def register_state_dict_post_hook(
        self, hook: Callable[[Optimizer, dict[str, Any]], Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call ``hook(optimizer, state_dict)``; what it returns, if not None, is the state."""
        return _add_hook(self._state_post_hooks, hook, prepend)

    def register_load_state_dict_pre_hook(
        self, hook: Callable[[Optimizer, dict[str, Any]], Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call ``hook(optimizer, state_dict)`` with a copy of the dict before it is loaded.

        What the hook returns, if not None, is loaded instead.
        """
        return _add_hook(self._load_pre_hooks, hook, prepend)

    def register_load_state_dict_post_hook(
        self, hook: Callable[[Optimizer], None], prepend: bool = False
    ) -> RemovableHandle:
        """Call ``hook(optimizer)`` after :meth:`load_state_dict`."""
        return _add_hook(self._load_post_hooks, hook, prepend)

    # -- checkpoints ------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return the state in PyTorch's layout: parameters are numbered in order of the groups.

        Returns
        -------
        dict
            ``"state"`` maps a parameter's number to its state, whose tensors are not copied;
            ``"param_groups"`` lists the options of each group with the numbers in ``"params"``.
        """
        for hook in list(self._state_pre_hooks.values()):
            hook(self)
        numbers: dict[int, int] = {}
        groups = []
        for group in self.param_groups:
            for param in group["params"]:
                numbers.setdefault(id(param), len(numbers))
            groups.append({**group, "params": [numbers[id(param)] for param in group["params"]]})
        state = {
            numbers[id(key)] if isinstance(key, Tensor) else key: value
            for key, value in self.state.items()
        }
        result: dict[str, Any] = {"state": state, "param_groups": groups}
        for hook in list(self._state_post_hooks.values()):
            changed = hook(self, result)
            result = result if changed is None else changed
        return result

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Load a state that :meth:`state_dict` returned; its tensors are copied.

        Nothing is changed when an error is raised.

        Raises
        ------
        KeyError
            When ``"state"`` or ``"param_groups"`` is missing.
        ValueError
            When the groups, their sizes, the shape of a state or an option do not fit.
        """
        state_dict = dict(state_dict)
        for hook in list(self._load_pre_hooks.values()):
            changed = hook(self, state_dict)
            state_dict = state_dict if changed is None else changed
        groups = self._groups_from(state_dict["param_groups"])
        params = {
            number: param
            for saved, group in zip(state_dict["param_groups"], groups, strict=True)
            for number, param in zip(saved["params"], group["params"], strict=True)
        }
        state: defaultdict[Any, dict[str, Any]] = defaultdict(dict)
        for number, values in state_dict["state"].items():
            param = params.get(number)
            if param is None:
                state[number] = values
            else:
                state[param] = {
                    name: self._state_from(param, name, value) for name, value in values.items()
                }
        self.param_groups, self.state = groups, state
        for hook in list(self._load_post_hooks.values()):
            hook(self)

    def _groups_from(self, saved: list[Group]) -> list[Group]:
        if len(saved) != len(self.param_groups):
            raise ValueError(
                "loaded state dict has a different number of parameter groups: "
                f"{len(saved)}, but the optimizer has {len(self.param_groups)}"
            )
        result = []
        for index, (group, own) in enumerate(zip(saved, self.param_groups, strict=True)):
            if len(group["params"]) != len(own["params"]):
                raise ValueError(
                    "loaded state dict contains a parameter group that doesn't match the size of "
                    f"optimizer's group: group {index} has {len(group['params'])} parameters, "
                    f"expected {len(own['params'])}"
                )
            options = copy.deepcopy({key: group[key] for key in group if key != "params"})
            # Options that the saved state does not know keep this optimizer's defaults.
            merged = {**self.defaults, **options, "params": list(own["params"])}
            if "param_names" in own:  # names are this model's, whatever the saved one's were
                merged["param_names"] = list(own["param_names"])
            self._check_group(merged)
            result.append(merged)
        return result

    def _state_from(self, param: Tensor, name: str, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: self._state_from(param, key, item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(self._state_from(param, name, item) for item in value)
        if isinstance(value, np.ndarray) or (
            not isinstance(value, (Tensor, np.generic)) and hasattr(value, "__array__")
        ):
            value = as_tensor(np.array(value.__array__()))  # PyTorch's own tensors come so
        if not isinstance(value, Tensor):
            return value
        if name in self._elementwise_state and value.shape != param.shape:
            raise ValueError(
                f"loaded state dict: {name} has shape {list(value.shape)}, "
                f"but its parameter has shape {list(param.shape)}"
            )
        own = value.detach().clone()
        # The step count stays float32 whatever the parameter's type, as PyTorch stores it.
        if name != "step" and own.dtype.is_floating_point and param.dtype.is_floating_point:
            own = own.to(param.dtype)
        return own

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("defaults", "state", "param_groups")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._make_hooks()

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for index, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {index}")
            lines += [f"    {key}: {group[key]}" for key in sorted(group) if key != "params"]
            lines.append("")
        return "\n".join(lines[:-1]) + "\n)"
