"""Recording a forward: the operations that it runs, as nodes of a graph."""

from __future__ import annotations

import functools
import os
import sys
import weakref
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np

from rushlight import _core
from rushlight.autograd.base import TensorBase
from rushlight.autograd.node import Node as GradNode
from rushlight.autograd.primitive import Primitive
from rushlight.autograd.tape import Tape
from rushlight.compiler.errors import CompileError
from rushlight.compiler.graph import Constant, Graph, Node, Slot, Value
from rushlight.compiler.structure import leaves_of, tree_map
from rushlight.compiler.views import region_of
from rushlight.dtypes import Array

__all__ = ["Recorder"]

# Frames of these folders are not the user's.
_PACKAGE = os.path.dirname(os.path.dirname(__file__)) + os.sep
_OURS = tuple(_PACKAGE + part for part in ("autograd", "ops", "compiler", "nn", "tensor.py"))


class _Memory:
    """A piece of memory that recorded tensors lie in.

    `whole` is all of it as a value, `generation` counts the changes in place: what was known of
    other tensors in it before one is looked up in `whole` again. Whoever lies in it keeps the array
    that owns it alive.
    """

    def __init__(self, root: Array) -> None:
        self._root = weakref.ref(root)
        self.whole: Value | None = None
        self.generation = 0

    @property
    def root(self) -> Array:
        """The array that owns the memory."""
        root = self._root()
        assert root is not None
        return root


class _Known:
    """What a tensor's array stands for."""

    def __init__(self, memory: _Memory, value: Value) -> None:
        self.memory = memory
        self.value = value
        self.generation = memory.generation


class Recorder(Tape):
    """Turns the operations that run into nodes.

    Parameters
    ----------
    state : dict of int to str
        Names of the module's parameters and buffers by their ids.
    modules : dict of int to str
        Paths of its modules by their ids.
    lean : bool
        Return what each operation needed beside its result to the system at once.

    Attributes
    ----------
    nodes : list of Node
    constants : list of Value
        What the operations read that none of them made, parameters included.
    strangers : list of Constant or ndarray
        Those constants that the module's state does not hold, and arrays among the arguments:
        made by the forward itself, maybe from values that should have been recorded.
    looked : bool
        Whether Python saw values of constants, or of what depends on them alone.
    changed : dict of int to ndarray
        Those of them that were changed in place, by id.
    """

    def __init__(self, state: dict[int, str], modules: dict[int, str], lean: bool = False) -> None:
        self.nodes: list[Node] = []
        self.constants: list[Value] = []
        self.strangers: list[Constant | Array] = []
        self.changed: dict[int, Array] = {}
        self.looked = False
        self._fixed: set[Value] = set()  # made of constants alone
        self._state = state
        self._modules = modules
        self._lean = lean
        self._known: dict[int, _Known] = {}
        self._memories: dict[int, _Memory] = {}
        self._inputs: list[Value] = []
        self._kept: list[Any] = []
        self._ends: list[weakref.ref[Array]] = []

    # -- what the compiler asks ---------------------------------------------------------------

    def add_input(self, tensor: TensorBase) -> None:
        """Note an argument of the module; its memory must be its own and dense."""
        value = Value.of(tensor._array)
        self._inputs.append(value)
        self._learn(tensor._array, value)

    def graph(self, results: list[TensorBase]) -> Graph:
        """Return what was recorded, with the values of `results` as outputs."""
        return Graph(self._inputs, self.nodes, [self._value(each) for each in results])

    def now(self, tensor: TensorBase) -> Value:
        """Return the value that a tensor has at this point."""
        return self._value(tensor)

    # -- what operations tell -----------------------------------------------------------------

    def note(self, run: Callable[..., Any], operation: Any, args: tuple[Any, ...]) -> Any:
        """Run an operation and add a node for it."""
        if isinstance(operation, GradNode):
            raise self._error("a backward inside the forward cannot be compiled")
        in_place = getattr(run, "__name__", "") == "apply_"
        kwargs = run.keywords if isinstance(run, functools.partial) else {}
        inputs: list[Value] = []
        template = self._template((args, kwargs), inputs)
        target = args[0] if in_place else None
        if target is not None:
            self._before_change(target)
        versions = [each._version for each in leaves_of((args, kwargs))]
        result = run(*args)
        if self._lean:
            _core.empty_cache()
        changed = [each._version for each in leaves_of((args, kwargs))] != versions
        if changed and not in_place:
            raise self._error(f"{_name_of(operation)} changes an argument in place")
        node = Node(
            "call",
            inputs,
            settings={"operation": operation, "run": _kind(run, operation), "args": template},
            module=self._module(),
            fused=[_name_of(operation)],
        )
        self.nodes.append(node)
        fixed = bool(inputs) and all(each.constant or each in self._fixed for each in inputs)
        if target is None:
            for tensor in leaves_of(result):
                self._learn(tensor._array, node.makes(tensor._array.shape, tensor._array.dtype))
        else:
            self._change(target, node.makes(target._array.shape, target._array.dtype))
        if fixed:
            self._fixed.update(node.outputs)
        return result

    def inspect(self, tensor: Any, operation: str) -> None:
        """Refuse to show Python values that depend on the inputs."""
        if not isinstance(tensor, TensorBase):
            return
        self.looked = True
        if self._depends(tensor._array):
            raise self._error(
                f"{operation}() looks at values that depend on the inputs, and what follows may "
                "depend on what it sees"
            )

    # -- arguments ----------------------------------------------------------------------------

    def _template(self, tree: Any, inputs: list[Value]) -> Any:
        """Return arguments with a slot in the place of each tensor, whose value `inputs` gets."""

        def noted(leaf: Any) -> Any:
            if isinstance(leaf, np.ndarray):
                self.strangers.append(leaf)
                return leaf
            inputs.append(self._value(leaf))
            return Slot(len(inputs) - 1)

        return tree_map(noted, tree, (TensorBase, np.ndarray))

    def _value(self, tensor: TensorBase) -> Value:
        """Return what the array of a tensor stands for now."""
        array = tensor._array
        known = self._known.get(id(array))
        if known is not None and known.generation == known.memory.generation:
            return known.value
        memory = self._memories.get(id(_root(array)))
        if memory is None:
            return self._constant(tensor)
        # A view that no operation made, or one of memory that changed since.
        return self._learn(array, self._read(memory, array)).value

    def _constant(self, tensor: TensorBase) -> Value:
        array = tensor._array
        name = self._state.get(id(tensor))
        if name is None:
            constant = Constant.stranger("constant", array, tensor)
            self.strangers.append(constant)
        else:
            constant = Constant(name, array, tensor)
        value = Value.of(array, constant)
        self._kept.append(tensor)
        self.constants.append(value)
        return self._learn(array, value).value

    def _depends(self, array: Array) -> bool:
        memory = self._memories.get(id(_root(array)))
        if memory is None:
            return False
        known = self._known.get(id(array))
        value = memory.whole if known is None else known.value
        return value is None or (value.constant is None and value not in self._fixed)

    # -- memory -------------------------------------------------------------------------------

    def _memory(self, array: Array) -> _Memory:
        root = _root(array)
        key = id(root)
        if key not in self._memories:
            self._memories[key] = _Memory(root)
            self._forget_with(root, self._memories)
        return self._memories[key]

    def _forget_with(self, array: Array, notes: dict[int, Any]) -> None:
        """Drop what is noted under the id of an array when it goes: another may get the id."""
        key = id(array)
        self._ends.append(weakref.ref(array, lambda _: notes.pop(key, None)))

    def _learn(self, array: Array, value: Value) -> _Known:
        memory = self._memory(array)
        if memory.whole is None and _covers(array, memory.root):
            memory.whole = value
        if id(array) not in self._known:
            self._forget_with(array, self._known)
        known = self._known[id(array)] = _Known(memory, value)
        return known

    def _read(self, memory: _Memory, array: Array) -> Value:
        """Return an array as a part of the memory that it lies in."""
        region = region_of(array, memory.root)
        if memory.whole is None or region is None:
            raise self._error("a view of memory that was not recorded as a whole")
        node = Node("view", [memory.whole], settings={"region": region}, module=self._module())
        self.nodes.append(node)
        return node.makes(array.shape, array.dtype)

    def _before_change(self, target: TensorBase) -> None:
        """Refuse a change of the module's own state; keep what a stranger held before."""
        value = self._value(target)
        memory = self._memory(target._array)
        if value.constant is None and (memory.whole is None or memory.whole.constant is None):
            return
        whole = memory.whole if value.constant is None else value
        assert whole is not None
        constant = whole.constant
        assert constant is not None
        if constant.tensor is not None:
            if id(constant.tensor) in self._state:
                raise self._error(f"{constant.name} is changed in place")
            self.changed[id(constant.array)] = constant.array
            constant.array, constant.tensor = constant.array.copy(), None

    def _change(self, target: TensorBase, value: Value) -> None:
        array = target._array
        memory = self._memory(array)
        if _covers(array, memory.root):
            memory.whole = value
        else:
            region = region_of(array, memory.root)
            if memory.whole is None or region is None:
                raise self._error("a change in place of memory that was not recorded as a whole")
            node = Node(
                "write", [memory.whole, value], settings={"region": region}, module=self._module()
            )
            self.nodes.append(node)
            memory.whole = node.makes(memory.whole.shape, memory.whole.dtype)
        memory.generation += 1
        self._learn(array, value)

    # -- where --------------------------------------------------------------------------------

    def _module(self) -> str:
        frame: FrameType | None = sys._getframe()
        while frame is not None:
            owner = frame.f_locals.get("self") if frame.f_code.co_name == "forward" else None
            if owner is not None and id(owner) in self._modules:
                return self._modules[id(owner)]
            frame = frame.f_back
        return ""

    def _error(self, what: str) -> CompileError:
        return CompileError(f"compile: {what}{_user_line()}")


def _user_line() -> str:
    """Return where in the user's code this is."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_code.co_filename.startswith(_OURS):
        frame = frame.f_back
    if frame is None:
        return ""
    code = frame.f_code
    return f" (in {code.co_name}, {code.co_filename}:{frame.f_lineno})"


def _root(array: Array) -> Array:
    """Return the array that owns the memory of `array`, or is the last known to share it."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _covers(array: Array, root: Array) -> bool:
    """Return whether both are the same elements in the same row-major order."""
    return (
        array.size == root.size
        and array.dtype == root.dtype
        and array.flags.c_contiguous
        and root.flags.c_contiguous
    )


def _kind(run: Callable[..., Any], operation: Any) -> str:
    """Return how to run an operation again: the name of a method, or "" for a function."""
    primitive = isinstance(operation, type) and issubclass(operation, (Primitive, GradNode))
    return str(getattr(run, "__name__", "apply")) if primitive else ""


def _name_of(operation: Any) -> str:
    return str(getattr(operation, "__name__", operation)).lstrip("_").lower()
