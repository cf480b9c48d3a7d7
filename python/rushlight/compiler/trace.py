"""Recording a module once for one kind of call, and making sure that the record holds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from rushlight import _core
from rushlight.autograd.base import TensorBase, wrap
from rushlight.autograd.grad_mode import no_grad
from rushlight.compiler.errors import CompileError
from rushlight.compiler.graph import Constant, Graph, Node, Slot
from rushlight.compiler.recorder import Recorder
from rushlight.compiler.structure import leaves_of, tree_map
from rushlight.dtypes import Array
from rushlight.nn.hooks import HookedCall
from rushlight.nn.module import Module

__all__ = ["Trace", "trace"]


@dataclass
class Trace:
    """A forward as a graph.

    Attributes
    ----------
    graph : Graph
        Its outputs are the results, then the new values of the inputs in `written`.
    result : tree
        What the forward returns, with a slot in the place of each tensor.
    written : list of int
        The inputs, by number, that the forward changed in place.
    constants : list of Constant
    looked : bool
        Whether the forward looked at values of constants, so that it has to be recorded again
        when one of them changes.
    """

    graph: Graph
    result: Any
    written: list[int]
    constants: list[Constant]
    looked: bool


def trace(module: Module, args: Any, kwargs: Any, ignore_hooks: bool, lean: bool = False) -> Trace:
    """Record a forward; `lean` as in :class:`Recorder`.

    Raises
    ------
    CompileError
        When what it runs depends on the values of its inputs, or hooks would run.
    """
    check_arguments((args, kwargs))
    with _without_hooks(module, ignore_hooks):
        found, recorder = _record(module, args, kwargs, lean)
        if recorder.strangers:
            # Made by the forward: from shapes and settings, or from values behind our back?
            _compare(recorder, _record(module, *_other_values(args, kwargs))[1])
    return found


def _record(module: Module, args: Any, kwargs: Any, lean: bool = False) -> tuple[Trace, Recorder]:
    named: list[tuple[str, TensorBase]] = [*module.named_parameters(remove_duplicate=False)]
    named += module.named_buffers(remove_duplicate=False)
    paths = {id(each): path for path, each in reversed([*module.named_modules()])}
    recorder = Recorder({id(each): name for name, each in reversed(named)}, paths, lean)
    args, kwargs = tree_map(_copied, (args, kwargs))
    given = leaves_of((args, kwargs))
    with ExitStack() as stack:
        stack.enter_context(no_grad())
        stack.enter_context(recorder)
        for each in given:
            recorder.add_input(each)
        inputs = [recorder.now(each) for each in given]
        result = module(*args, **kwargs)
        outputs = leaves_of(result)
        written = [
            number for number, each in enumerate(given) if recorder.now(each) is not inputs[number]
        ]
        graph = recorder.graph([*outputs, *(given[number] for number in written)])
    numbers = iter(range(len(outputs)))
    template = tree_map(lambda _: Slot(next(numbers)), result)
    _check_result(template)
    if lean:
        del args, kwargs, given, result, outputs
        _core.empty_cache()
    constants = [each.constant for each in recorder.constants if each.constant is not None]
    return Trace(graph, template, written, constants, recorder.looked), recorder


def _copied(tensor: TensorBase) -> TensorBase:
    return wrap(np.array(tensor._array, order="C"))


def _other_values(args: Any, kwargs: Any) -> Any:
    def other(tensor: TensorBase) -> TensorBase:
        array = tensor._array
        if array.dtype.kind == "f":
            return wrap(array * array.dtype.type(0.75) + array.dtype.type(0.125))
        return wrap(np.flip(array))

    return tree_map(other, (args, kwargs))


def _compare(one: Recorder, other: Recorder) -> None:
    """Raise CompileError where two records of different values differ."""
    if [_shown(each) for each in one.nodes] != [_shown(each) for each in other.nodes]:
        raise CompileError(
            "compile: the forward runs other operations when its inputs have other values"
        )
    if one.changed.keys() & other.changed.keys():
        raise CompileError(
            "compile: the forward changes in place a tensor that outlives it and that is neither "
            "a parameter nor a buffer"
        )
    for a, b in zip(one.strangers, other.strangers, strict=True):
        if not np.array_equal(_contents(a), _contents(b), equal_nan=_is_floating(a)):
            raise CompileError(
                "compile: the forward makes a tensor from values of its inputs in a way that "
                f"cannot be followed, such as through NumPy: {_whose(one, a)}"
            )


def _shown(node: Node) -> Any:
    return (node.op, *node.fused, *[(each.shape, each.dtype) for each in node.outputs])


def _contents(stranger: Constant | Array) -> Array:
    return stranger.array if isinstance(stranger, Constant) else stranger


def _is_floating(stranger: Constant | Array) -> bool:
    return _contents(stranger).dtype.kind == "f"


def _whose(recorder: Recorder, stranger: Constant | Array) -> str:
    """Return which operation reads a stranger."""
    for node in recorder.nodes:
        if any(each.constant is stranger for each in node.inputs):
            place = f" in {node.module}" if node.module else ""
            return f"read by {node.fused[0]}{place}"
    return f"of shape {list(_contents(stranger).shape)}"


# -- what can be looked at --------------------------------------------------------------------

_SETTINGS = (int, float, complex, str, bytes, type(None), np.generic, slice, range, type)


def check_arguments(tree: Any) -> None:
    """Raise CompileError for an argument that may hold tensors out of sight."""
    bad = _stranger(tree)
    if bad is not None:
        raise CompileError(
            "compile: arguments may be tensors, numbers, strings and None, in tuples, lists and "
            f"dicts, but got {type(bad).__name__}"
        )


def _check_result(tree: Any) -> None:
    bad = _stranger(tree)
    if bad is not None:
        raise CompileError(
            "compile: a forward may return tensors, numbers, strings and None, in tuples, lists "
            f"and dicts, but got {type(bad).__name__}"
        )


def _stranger(tree: Any) -> Any:
    if isinstance(tree, (tuple, list)):
        return next((bad for bad in map(_stranger, tree) if bad is not None), None)
    if isinstance(tree, dict):
        return _stranger(list(tree.values()))
    return None if isinstance(tree, (TensorBase, Slot, *_SETTINGS)) else tree


@contextmanager
def _without_hooks(module: Module, ignore: bool) -> Iterator[None]:
    """Refuse hooks, or leave them out inside."""
    hooked = [each for each in module.modules() if "_hooked" in vars(each)]
    if not ignore:
        _refuse_hooks(module)
    everywhere, HookedCall._hooked = HookedCall._hooked, False
    for each in hooked:
        vars(each)["_hooked"] = False
    try:
        yield
    finally:
        HookedCall._hooked = everywhere
        for each in hooked:
            vars(each)["_hooked"] = True


def _refuse_hooks(module: Module) -> None:
    for path, each in module.named_modules():
        if each._forward_hooks or each._forward_pre_hooks:
            place = f"module '{path}' ({type(each).__name__})" if path else "the module itself"
            raise CompileError(
                f"compile: {place} has forward hooks, which a plan would not run; remove them, or "
                "pass ignore_hooks=True"
            )
    if HookedCall._hooked:
        raise CompileError(
            "compile: there are forward hooks on all modules, which a plan would not run; remove "
            "them, or pass ignore_hooks=True"
        )
