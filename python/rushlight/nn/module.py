"""``Module``: named parameters, buffers and submodules, found again in order.

A module's state is three dicts in order of registration, `_parameters`, `_buffers` and
`_modules`. They are filled by assigning an attribute, by ``register_*`` and by ``add_module``,
and read by attribute access. What a module does with them beside its own forward has files of
its own: `tree.py` finds what is below a module, `hidden.py` warns of what it cannot find,
`hooks.py` runs hooks around a call, `state.py` writes and loads state dicts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from rushlight import dtypes
from rushlight.autograd import no_grad
from rushlight.dtypes import dtype as DType
from rushlight.nn.changes import changes
from rushlight.nn.checks import check_device, target_dtype
from rushlight.nn.errors import name_module
from rushlight.nn.hooks import HookedCall, registered
from rushlight.nn.parameter import Buffer, Parameter
from rushlight.nn.printing import framed, indented, type_name
from rushlight.nn.state import StateDict
from rushlight.nn.tree import Tree
from rushlight.nn.walk import Walk
from rushlight.ops import empty_like
from rushlight.tensor import Tensor

__all__ = ["Module"]

if TYPE_CHECKING:
    from typing import ParamSpec, Protocol, TypeVar

    from typing_extensions import Self

    _P = ParamSpec("_P")
    _R = TypeVar("_R", covariant=True)

    class HasForward(Protocol[_P, _R]):
        """What a module is to a type checker that looks at a call of it."""

        def forward(self, *args: _P.args, **kwargs: _P.kwargs) -> _R:
            """Compute the output."""


class Module(HookedCall, StateDict, Tree):
    """Base class of all layers and models.

    A subclass calls ``super().__init__()``, assigns parameters and submodules as attributes and
    defines ``forward``. Calling the module runs ``forward`` and the hooks around it.

    Attributes
    ----------
    training : bool
        True until :meth:`eval` is called; layers such as dropout look at it.

    Examples
    --------
    >>> import rushlight.nn as nn
    >>> class Net(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.linear = nn.Linear(4, 2)
    ...
    ...     def forward(self, x):
    ...         return self.linear(x)
    >>> [name for name, _ in Net().named_parameters()]
    ['linear.weight', 'linear.bias']
    """

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]

    dump_patches = False
    call_super_init = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Set up empty state; arguments are only for classes with ``call_super_init``."""
        if (args or kwargs) and not self.call_super_init:
            raise TypeError(
                f"{type(self).__name__}.__init__() takes no arguments, but got "
                f"{', '.join([*map(repr, args), *kwargs])}"
            )
        self.__dict__.update(
            training=True,
            _parameters={},
            _buffers={},
            _modules={},
            _non_persistent_buffers_set=set(),
        )
        self._init_hooks()
        self._init_state_hooks()
        if self.call_super_init:
            super().__init__(*args, **kwargs)

    # -- the call ---------------------------------------------------------------------------

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the output; every subclass that is called defines it."""
        raise NotImplementedError(
            f'Module [{type(self).__name__}] is missing the required "forward" function'
        )

    if TYPE_CHECKING:

        @property
        def __call__(self: HasForward[_P, _R]) -> Callable[_P, _R]:
            """Run :meth:`forward`: type checkers see its arguments and its result."""
            raise NotImplementedError
    else:

        def __call__(self, *args, **kwargs):
            """Run :meth:`forward` with the hooks around it."""
            try:
                if self._hooked:
                    return self._call_with_hooks(args, kwargs)
                # The empty dict would be copied.
                return self.forward(*args, **kwargs) if kwargs else self.forward(*args)
            except Exception as error:  # it goes on, with the path of this module added
                name_module(error, self, args)
                raise

    # -- registration -----------------------------------------------------------------------

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter, or None for one that the module does without.

        Raises
        ------
        KeyError
            When the name is empty, has a dot, or is an attribute already.
        TypeError
            When `param` is neither a Parameter nor None.
        ValueError
            When `param` is the result of a recorded operation.
        """
        self._check_name("parameter", name, self.__dict__.get("_parameters"))
        if param is not None:
            if not isinstance(param, Parameter):
                raise TypeError(
                    f"cannot assign '{type_name(param)}' object to parameter '{name}' "
                    "(rushlight.nn.Parameter or None required)"
                )
            if not param.is_leaf:
                raise ValueError(
                    f"cannot assign non-leaf tensor to parameter '{name}': a parameter is made "
                    "explicitly; compute what depends on others in forward()"
                )
            param = registered("parameter", self, name, param)
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that belongs to the state of the module without being trained.

        Parameters
        ----------
        name : str
            Attribute under which it is found.
        tensor : Tensor or None
            The buffer; None keeps the name free for one.
        persistent : bool
            Whether ``state_dict`` contains it.

        Raises
        ------
        KeyError
            When the name is empty, has a dot, or is an attribute already.
        TypeError
            When `tensor` is neither a Tensor nor None.
        """
        self._check_name("buffer", name, self.__dict__.get("_buffers"))
        if tensor is not None:
            if not isinstance(tensor, Tensor):
                raise TypeError(
                    f"cannot assign '{type_name(tensor)}' object to buffer '{name}' "
                    "(rushlight.Tensor or None required)"
                )
            tensor = registered("buffer", self, name, tensor)
        self._buffers[name] = tensor
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a submodule, or None for one that the module does without.

        Raises
        ------
        KeyError
            When the name is empty, has a dot, or is an attribute already.
        TypeError
            When `module` is neither a Module nor None.
        """
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{type_name(module)} is not a Module subclass")
        self._check_name("module", name, self.__dict__.get("_modules"))
        self._modules[name] = None if module is None else registered("module", self, name, module)

    def register_module(self, name: str, module: Module | None) -> None:
        """Do what :meth:`add_module` does."""
        self.add_module(name, module)

    def _check_name(self, kind: str, name: object, holder: dict[str, Any] | None) -> None:
        changes.count += 1
        if holder is None:
            raise AttributeError(f"cannot assign {kind} before Module.__init__() call")
        if not isinstance(name, str):
            raise TypeError(f"{kind} name should be a string. Got {type_name(name)}")
        if "." in name:
            raise KeyError(f'{kind} name can\'t contain ".", got: {name}')
        if not name:
            raise KeyError(f'{kind} name can\'t be empty string ""')
        if name not in holder and hasattr(self, name):
            raise KeyError(f"attribute '{name}' already exists")

    # -- attributes -------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        """Find parameters, buffers and submodules, which are no ordinary attributes."""
        fields = self.__dict__
        for holder in ("_parameters", "_buffers", "_modules"):
            if holder in fields and name in fields[holder]:
                return fields[holder][name]
        if isinstance(getattr(type(self), name, None), property):
            # The property itself raised AttributeError: let it say what it missed.
            return object.__getattribute__(self, name)
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __setattr__(self, name: str, value: Any) -> None:
        """Register parameters, modules and buffers; keep a registered name to its kind."""
        fields = self.__dict__
        changes.count += 1
        if isinstance(value, Parameter):
            self._make_room(name, "parameter", "_buffers", "_modules")
            self.register_parameter(name, value)
        elif name in fields.get("_parameters", ()):
            self._refuse(value, f"parameter '{name}' (rushlight.nn.Parameter or None expected)")
            self._parameters[name] = None
        elif isinstance(value, Module):
            self._make_room(name, "module", "_parameters", "_buffers")
            self._modules[name] = registered("module", self, name, value)
        elif name in fields.get("_modules", ()):
            self._refuse(value, f"child module '{name}' (rushlight.nn.Module or None expected)")
            self._modules[name] = None
        elif isinstance(value, Buffer):
            self._assign_buffer(name, value, value.persistent)
        elif name in fields.get("_buffers", ()):
            if not isinstance(value, Tensor):
                self._refuse(value, f"buffer '{name}' (rushlight.Tensor or None expected)")
            self._assign_buffer(name, value, name not in self._non_persistent_buffers_set)
        else:
            super().__setattr__(name, value)
            if type(value) in (list, tuple, dict) and name not in _OWN_FIELDS:
                self._note_plain(name, value)

    def _assign_buffer(self, name: str, value: Tensor | None, persistent: bool) -> None:
        # Ported subclasses may have a `register_buffer` without the later argument.
        if persistent:
            self.register_buffer(name, value)
        else:
            self.register_buffer(name, value, persistent)

    def _make_room(self, name: str, kind: str, *holders: str) -> None:
        """Drop what an assignment of another kind replaces."""
        if "_parameters" not in self.__dict__:
            raise AttributeError(f"cannot assign {kind} before Module.__init__() call")
        self.__dict__.pop(name, None)
        for holder in holders:
            self.__dict__[holder].pop(name, None)
        self._non_persistent_buffers_set.discard(name)

    def _refuse(self, value: object, target: str) -> None:
        if value is not None:
            raise TypeError(f"cannot assign '{type_name(value)}' as {target}")

    def __delattr__(self, name: str) -> None:
        """Remove a parameter, buffer, submodule or ordinary attribute."""
        changes.count += 1
        for holder in (self._parameters, self._buffers, self._modules):
            if name in holder:
                del holder[name]
                self._non_persistent_buffers_set.discard(name)
                return
        super().__delattr__(name)

    def __dir__(self) -> list[str]:
        """List what attribute access finds; the numbered items of containers are left out."""
        names = {*super().__dir__(), *self._parameters, *self._buffers, *self._modules}
        return sorted(name for name in names if not name[:1].isdigit())

    def __getstate__(self) -> dict[str, Any]:
        """Pickle all attributes but the notes of :meth:`__setattr__`."""
        state = self.__dict__.copy()
        state.pop("_plain_attributes", None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore what was pickled; hooks that an older pickle has no place for get one."""
        self._init_hooks()
        self._init_state_hooks()
        self.__dict__.update(state)
        for name in state.keys() - _OWN_FIELDS:
            if type(state[name]) in (list, tuple, dict):
                self._note_plain(name, state[name])

    # -- changing all of it -----------------------------------------------------------------

    def apply(self, fn: Callable[[Module], Any]) -> Self:
        """Call `fn` on every module, children before parents, and return this module."""
        with Walk(self, "apply", id(fn)) as children:
            for child in dict.fromkeys(child for _, child in children):
                child.apply(fn)
        fn(self)
        return self

    def train(self, mode: bool = True) -> Self:
        """Set :attr:`training` here and below, and return this module.

        Raises
        ------
        ValueError
            When `mode` is no bool.
        """
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        with Walk(self, "train", mode) as children:
            for _, child in children:
                child.train(mode)
        return self

    def eval(self) -> Self:
        """Leave training mode, here and below, and return this module."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set ``requires_grad`` of all parameters and return this module."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters, or fill them with zeros."""
        for parameter in self.parameters():
            if set_to_none or parameter.grad is None:
                parameter.grad = None
            else:
                parameter.grad.detach_()
                parameter.grad.zero_()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Replace parameters' values, their gradients, and buffers by what `fn` makes of them."""
        if recurse:
            with Walk(self, "_apply", id(fn)) as children:
                for _, child in children:
                    child._apply(fn)
        for parameter in self._parameters.values():
            if parameter is None:
                continue
            grad = parameter.grad
            with no_grad():
                parameter.data = fn(parameter.data)
                if grad is not None:
                    parameter.grad = fn(grad).requires_grad_(grad.requires_grad)
        changes.count += 1
        for name, buffer in self._buffers.items():
            if buffer is not None:
                self._buffers[name] = fn(buffer)
        return self

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Convert floating-point parameters and buffers.

        Called as ``to(dtype)``, ``to(device)`` or ``to(tensor)``, whose dtype counts.

        Raises
        ------
        RuntimeError
            For a device that is not the CPU, and for an argument ``copy``.
        TypeError
            For a dtype that is not floating point.
        """
        dtype = target_dtype(*args, **kwargs)
        if dtype is None:
            return self
        return self._apply(lambda t: t.to(dtype) if t.dtype.is_floating_point else t)

    def type(self, dst_type: DType | str) -> Self:
        """Convert all parameters and buffers to a dtype, integer buffers too."""
        return self._apply(lambda t: t.type(dst_type))

    def float(self) -> Self:
        """Convert floating-point parameters and buffers to float32."""
        return self.to(dtypes.float32)

    def double(self) -> Self:
        """Convert floating-point parameters and buffers to float64."""
        return self.to(dtypes.float64)

    def cpu(self) -> Self:
        """Return the module: the CPU is where it is."""
        return self

    def to_empty(self, *, device: str | None, recurse: bool = True) -> Self:
        """Give parameters and buffers fresh memory without values."""
        check_device(device)
        return self._apply(empty_like, recurse=recurse)

    # -- printing ---------------------------------------------------------------------------

    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """Return what stands between the brackets when the module is printed; for subclasses."""
        return ""

    def __repr__(self) -> str:
        """Print the tree of modules."""
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        lines += [f"({name}): {indented(text)}" for name, text in self._children_text()]
        return framed(self._get_name(), lines, one_line=not self._modules)

    def _children_text(self) -> Iterator[tuple[str, str]]:
        with Walk(self, "repr") as children:
            visited = dict(children)
            for name, child in self._modules.items():
                cut = child is not None and name not in visited
                yield name, f"{child._get_name()}(...)" if cut and child else repr(child)


# What every module has; all else was set by a subclass or from outside.
_OWN_FIELDS = frozenset(vars(Module()))
