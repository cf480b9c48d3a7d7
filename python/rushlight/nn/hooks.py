"""Hooks around a module's call: registration, the call that runs them, hooks on gradients.

A module without hooks never comes here: `Module.__call__` looks at one flag, `_hooked`. It is
set on a module by its first hook and on the class by the first global hook, and cleared by the
next call that finds nothing to run.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from rushlight.autograd import Function, is_grad_enabled
from rushlight.autograd.hooks import HookDict, RemovableHandle
from rushlight.nn.changes import changes
from rushlight.tensor import Tensor

__all__ = [
    "HookedCall",
    "ModuleHandle",
    "register_module_backward_hook",
    "register_module_buffer_registration_hook",
    "register_module_forward_hook",
    "register_module_forward_pre_hook",
    "register_module_full_backward_hook",
    "register_module_full_backward_pre_hook",
    "register_module_module_registration_hook",
    "register_module_parameter_registration_hook",
]

Hook = Callable[..., Any]
Flags = dict[int, bool]
T = TypeVar("T")


class ModuleHandle(RemovableHandle):
    """Removes a hook of a module; survives pickling and deepcopy together with the module."""

    def __init__(self, hooks: HookDict, key: int, flags: Iterable[Flags] = ()) -> None:
        super().__init__(hooks, key)
        self._flags = tuple(flags)

    def remove(self) -> None:
        """Remove the hook if it is still there."""
        super().remove()
        for flags in self._flags:
            flags.pop(self.id, None)

    def __getstate__(self) -> tuple[HookDict | None, int, tuple[Flags, ...]]:
        """Hold the hooks themselves, which a copy of the module copies too."""
        return self.hooks_dict_ref(), self.id, self._flags

    def __setstate__(self, state: tuple[HookDict | None, int, tuple[Flags, ...]]) -> None:
        """Refer to the copied hooks; where they are gone there is nothing to remove."""
        hooks, key, flags = state
        self.__init__(HookDict() if hooks is None else hooks, key, flags)  # type: ignore[misc]  # as pickle makes it


def add_hook(
    hooks: HookDict, hook: Hook, prepend: bool = False, flags: Iterable[tuple[Flags, bool]] = ()
) -> ModuleHandle:
    """Put `hook` last (or first) among `hooks`, note its flags that are set, return its handle.

    Raises
    ------
    TypeError
        When `hook` cannot be called.
    """
    if not callable(hook):
        raise TypeError(f"a hook must be callable, but got {type(hook).__name__}")
    changes.count += 1
    before = list(hooks.items()) if prepend else []
    key = RemovableHandle.add(hooks, hook).id
    for each, other in before:
        del hooks[each]
        hooks[each] = other
    flags = tuple(flags)
    for names, is_set in flags:
        if is_set:
            names[key] = True
    return ModuleHandle(hooks, key, [names for names, _ in flags])


class _GlobalHooks:
    """The hooks that every module runs."""

    def __init__(self) -> None:
        self.forward_pre = HookDict()
        self.forward = HookDict()
        self.backward_pre = HookDict()
        self.backward = HookDict()
        self.with_kwargs: Flags = {}
        self.always_called: Flags = {}
        self.is_full: bool | None = None
        self.registration = {"buffer": HookDict(), "module": HookDict(), "parameter": HookDict()}

    def any_call(self) -> bool:
        return bool(self.forward_pre or self.forward or self.backward_pre or self.backward)


GLOBAL = _GlobalHooks()


def registered(kind: str, module: object, name: str, value: T) -> T:
    """Return what the global registration hooks make of a buffer, module or parameter."""
    for hook in tuple(GLOBAL.registration[kind].values()):
        result = hook(module, name, value)
        if result is not None:
            value = result
    return value


class HookedCall:
    """The part of :class:`Module` that keeps and runs the hooks around a call."""

    _hooked = False
    _forward_pre_hooks: HookDict
    _forward_pre_hooks_with_kwargs: Flags
    _forward_hooks: HookDict
    _forward_hooks_with_kwargs: Flags
    _forward_hooks_always_called: Flags
    _backward_pre_hooks: HookDict
    _backward_hooks: HookDict
    _is_full_backward_hook: bool | None
    forward: Callable[..., Any]

    def _init_hooks(self) -> None:
        self.__dict__.update(
            _forward_pre_hooks=HookDict(),
            _forward_pre_hooks_with_kwargs={},
            _forward_hooks=HookDict(),
            _forward_hooks_with_kwargs={},
            _forward_hooks_always_called={},
            _backward_pre_hooks=HookDict(),
            _backward_hooks=HookDict(),
            _is_full_backward_hook=None,
        )

    # -- registration -----------------------------------------------------------------------

    def register_forward_pre_hook(
        self, hook: Hook, *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, args)`` before every forward; what it returns replaces `args`.

        With `with_kwargs` the hook is called with ``(module, args, kwargs)`` and returns None or
        ``(args, kwargs)``. With `prepend` it runs before the hooks registered so far.
        """
        self.__dict__["_hooked"] = True
        flags = [(self._forward_pre_hooks_with_kwargs, with_kwargs)]
        return add_hook(self._forward_pre_hooks, hook, prepend, flags)

    def register_forward_hook(
        self,
        hook: Hook,
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> RemovableHandle:
        """Call ``hook(module, args, output)`` after every forward; a result replaces `output`.

        With `with_kwargs` the hook is called with ``(module, args, kwargs, output)``; with
        `always_call` also when the call fails, with the output so far, or None.
        """
        self.__dict__["_hooked"] = True
        flags = [
            (self._forward_hooks_with_kwargs, with_kwargs),
            (self._forward_hooks_always_called, always_call),
        ]
        return add_hook(self._forward_hooks, hook, prepend, flags)

    def register_full_backward_pre_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(module, grad_output)`` when the gradients of the outputs are there.

        What it returns replaces `grad_output`, a tuple with one entry per output.
        """
        self.__dict__["_hooked"] = True
        return add_hook(self._backward_pre_hooks, hook, prepend)

    def register_full_backward_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(module, grad_input, grad_output)`` when the inputs' gradients are there.

        What it returns replaces `grad_input`, a tuple with one entry per positional argument:
        None for what is no tensor or requires no gradient.

        Raises
        ------
        RuntimeError
            When the module has hooks of :meth:`register_backward_hook`.
        """
        return self._add_backward_hook(hook, prepend, full=True)

    def register_backward_hook(self, hook: Hook) -> RemovableHandle:
        """Do what :meth:`register_full_backward_hook` does: the older name, deprecated in PyTorch.

        Raises
        ------
        RuntimeError
            When the module has full backward hooks: PyTorch does not mix the two.
        """
        return self._add_backward_hook(hook, False, full=False)

    def _add_backward_hook(self, hook: Hook, prepend: bool, full: bool) -> RemovableHandle:
        check_not_mixed(self._is_full_backward_hook, full, f"{type(self).__name__}: a module")
        self.__dict__.update(_hooked=True, _is_full_backward_hook=full)
        return add_hook(self._backward_hooks, hook, prepend)

    # -- the call ---------------------------------------------------------------------------

    def _call_with_hooks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run the hooks in PyTorch's order around forward: global ones first, each kind in turn."""
        self._forget_removed_hooks()
        result: Any = None
        ran: set[int] = set()
        try:
            args, kwargs = self._run_pre_hooks(args, kwargs)
            gradients = _GradientHooks(self)
            if gradients.wanted:
                args = gradients.tap_inputs(args)
            result = self.forward(*args, **kwargs)
            for key, hook in (*GLOBAL.forward.items(), *self._forward_hooks.items()):
                ran.add(key)
                changed = self._run_forward_hook(key, hook, args, kwargs, result)
                result = result if changed is None else changed
            return gradients.tap_outputs(result) if gradients.wanted else result
        except Exception:
            self._run_always_called(ran, args, kwargs, result)
            raise

    def _forget_removed_hooks(self) -> None:
        """Clear the flags that led here when the hooks behind them are gone."""
        if not (
            self._forward_pre_hooks
            or self._forward_hooks
            or self._backward_pre_hooks
            or self._backward_hooks
        ):
            self.__dict__.pop("_hooked", None)
        if HookedCall._hooked and not GLOBAL.any_call():
            HookedCall._hooked = False

    def _run_pre_hooks(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        for key, hook in (*GLOBAL.forward_pre.items(), *self._forward_pre_hooks.items()):
            if key in self._forward_pre_hooks_with_kwargs:
                changed = hook(self, args, kwargs)
                if changed is None:
                    continue
                if not (isinstance(changed, tuple) and len(changed) == 2):
                    raise RuntimeError(
                        "forward pre-hook must return None or a tuple of (new_args, new_kwargs), "
                        f"but got {changed}."
                    )
                args, kwargs = changed
            else:
                changed = hook(self, args)
                if changed is not None:
                    args = changed if isinstance(changed, tuple) else (changed,)
        return args, kwargs

    def _run_forward_hook(
        self, key: int, hook: Hook, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
    ) -> Any:
        if key in self._forward_hooks_with_kwargs or key in GLOBAL.with_kwargs:
            return hook(self, args, kwargs, result)
        return hook(self, args, result)

    def _run_always_called(
        self, ran: set[int], args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
    ) -> None:
        """After an error, run the `always_call` hooks that did not run; their errors only warn."""
        for key, hook in (*GLOBAL.forward.items(), *self._forward_hooks.items()):
            wanted = key in self._forward_hooks_always_called or key in GLOBAL.always_called
            if not wanted or key in ran:
                continue
            try:
                changed = self._run_forward_hook(key, hook, args, kwargs, result)
                result = result if changed is None else changed
            except Exception as error:  # the first error is the one to report
                warnings.warn(
                    "a forward hook with always_call=True raised an error that is silenced, "
                    f"because another error was raised before it: {error}",
                    stacklevel=3,
                )


class _Tap(Function):
    """Hand tensors on as they are; give their gradients to a callback on the way back."""

    @staticmethod
    def forward(ctx: Any, callback: Hook, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.callback = callback
        ctx.set_materialize_grads(False)
        # Views taken here, where nothing is recorded, refuse to be changed in place afterwards,
        # as in PyTorch: the change would go past the tap.
        return tuple(tensor.view_as(tensor) for tensor in tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        return (None, *ctx.callback(grads))


class _GradientHooks:
    """The backward hooks of one call: they need to know what arrived at its outputs.

    Two taps stand around forward. When the gradients of all outputs are there the outer one runs
    the pre-hooks; when those of all inputs are there the inner one runs the hooks.
    """

    def __init__(self, module: HookedCall) -> None:
        self._module = module
        self._pre_hooks = (*GLOBAL.backward_pre.values(), *module._backward_pre_hooks.values())
        self._hooks = (*GLOBAL.backward.values(), *module._backward_hooks.values())
        self.wanted = bool(self._pre_hooks or self._hooks)
        self._input_count = 0
        self._inputs: list[int] = []
        self._output_count = 0
        self._outputs: list[int] = []
        self._grad_output: tuple[Tensor | None, ...] = ()

    def tap_inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        self._input_count = len(args)
        args, self._inputs = _tap(args, self._input_grads)
        return args

    def tap_outputs(self, result: Any) -> Any:
        if not isinstance(result, (Tensor, tuple)):
            warnings.warn(
                f"for backward hooks to run, the output of {type(self._module).__name__} should be "
                f"a Tensor or a tuple of Tensors, but it is a {type(result).__name__}",
                stacklevel=4,
            )
            return result
        outputs = result if isinstance(result, tuple) else (result,)
        self._output_count = len(outputs)
        tapped, self._outputs = _tap(outputs, self._output_grads)
        if not isinstance(result, tuple):
            return tapped[0]
        # A named tuple takes its fields one by one.
        return type(result)(*tapped) if hasattr(result, "_fields") else type(result)(tapped)

    def _output_grads(self, grads: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
        grad_output = _spread(grads, self._outputs, self._output_count)
        for hook in self._pre_hooks:
            changed = hook(self._module, grad_output)
            if changed is not None:
                grad_output = _checked(changed, grad_output, "pre hook", "grad_output")
        self._grad_output = grad_output
        if not self._inputs:
            self._run_without_inputs()
        return tuple(grad_output[index] for index in self._outputs)

    def _input_grads(self, grads: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
        grad_input = _spread(grads, self._inputs, self._input_count)
        for hook in self._hooks:
            changed = hook(self._module, grad_input, self._grad_output)
            if changed is not None:
                grad_input = _checked(changed, grad_input, "hook", "grad_input")
        return tuple(grad_input[index] for index in self._inputs)

    def _run_without_inputs(self) -> None:
        nothing = (None,) * self._input_count
        for hook in self._hooks:
            changed = hook(self._module, nothing, self._grad_output)
            if changed is not None and any(each is not None for each in changed):
                raise RuntimeError(
                    "a backward hook of a module where no input requires gradient must return "
                    "None, or None for each input"
                )


def _tap(values: tuple[Any, ...], callback: Hook) -> tuple[tuple[Any, ...], list[int]]:
    """Tap those of `values` that require gradients; return all, and where the tapped are."""
    if not is_grad_enabled():
        return values, []
    places = [
        index
        for index, value in enumerate(values)
        if isinstance(value, Tensor) and value.requires_grad
    ]
    if not places:
        return values, []
    result = list(values)
    for index, value in zip(
        places, _Tap.apply(callback, *[values[index] for index in places]), strict=True
    ):
        result[index] = value
    return tuple(result), places


def _spread(
    grads: tuple[Tensor | None, ...], places: list[int], count: int
) -> tuple[Tensor | None, ...]:
    result: list[Tensor | None] = [None] * count
    for index, grad in zip(places, grads, strict=True):
        result[index] = grad
    return tuple(result)


def _checked(changed: Any, expected: tuple[Any, ...], hook: str, name: str) -> tuple[Any, ...]:
    result = changed if isinstance(changed, tuple) else (changed,)
    if len(result) != len(expected):
        raise RuntimeError(
            f"Backward {hook} returned an invalid number of {name}, got {len(result)}, but "
            f"expected {len(expected)}"
        )
    return result


def check_not_mixed(is_full: bool | None, full: bool, owner: str) -> None:
    """Raise RuntimeError where regular and full backward hooks would meet."""
    if is_full is not None and is_full is not full:
        raise RuntimeError(f"{owner} takes regular or full backward hooks, not both; use full ones")


def _add_global(
    hooks: HookDict, hook: Hook, flags: Iterable[tuple[Flags, bool]] = ()
) -> RemovableHandle:
    HookedCall._hooked = True
    return add_hook(hooks, hook, flags=flags)


def register_module_forward_pre_hook(hook: Hook) -> RemovableHandle:
    """Call ``hook(module, args)`` before the forward of every module."""
    return _add_global(GLOBAL.forward_pre, hook)


def register_module_forward_hook(
    hook: Hook, *, with_kwargs: bool = False, always_call: bool = False
) -> RemovableHandle:
    """Call ``hook(module, args, output)`` after the forward of every module."""
    flags = [(GLOBAL.with_kwargs, with_kwargs), (GLOBAL.always_called, always_call)]
    return _add_global(GLOBAL.forward, hook, flags)


def register_module_full_backward_pre_hook(hook: Hook) -> RemovableHandle:
    """Call ``hook(module, grad_output)`` for every module, before its backward."""
    return _add_global(GLOBAL.backward_pre, hook)


def register_module_full_backward_hook(hook: Hook) -> RemovableHandle:
    """Call ``hook(module, grad_input, grad_output)`` for every module, after its backward."""
    return _add_global_backward(hook, full=True)


def register_module_backward_hook(hook: Hook) -> RemovableHandle:
    """Do what :func:`register_module_full_backward_hook` does: the older name."""
    return _add_global_backward(hook, full=False)


def _add_global_backward(hook: Hook, full: bool) -> RemovableHandle:
    if not GLOBAL.backward:
        GLOBAL.is_full = None
    check_not_mixed(GLOBAL.is_full, full, "every module together")
    GLOBAL.is_full = full
    return _add_global(GLOBAL.backward, hook)


def register_module_buffer_registration_hook(hook: Hook) -> RemovableHandle:
    """Call ``hook(module, name, buffer)`` when a buffer is registered; a result replaces it."""
    return add_hook(GLOBAL.registration["buffer"], hook)


def register_module_module_registration_hook(hook: Hook) -> RemovableHandle:
    """Call ``hook(module, name, submodule)`` when a module is registered; a result replaces it."""
    return add_hook(GLOBAL.registration["module"], hook)


def register_module_parameter_registration_hook(hook: Hook) -> RemovableHandle:
    """Call ``hook(module, name, param)`` when a parameter is registered; a result replaces it."""
    return add_hook(GLOBAL.registration["parameter"], hook)
