"""The graph: a node per recorded operation."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from rushlight.autograd.base import Storage, TensorBase, wrap
from rushlight.autograd.hooks import HookDict

if TYPE_CHECKING:
    from rushlight.autograd.blocked import Blocked
    from rushlight.dtypes import Array

__all__ = ["Edge", "Node", "edge_of", "next_sequence", "run_hooks"]

# Where the gradient of an input goes: an output of the node that made it, a leaf, or nowhere.
Edge: TypeAlias = "tuple[Node, int] | TensorBase | None"
_Saved: TypeAlias = "tuple[Array | Blocked | None, Storage | None, int]"

# The number of a new node, larger than that of every node before it.
next_sequence = itertools.count().__next__


class AccumulateGrad:
    """The end of a graph as it is shown: where the gradients of a leaf, `variable`, add up."""

    next_functions: tuple[()] = ()

    def __init__(self, variable: TensorBase) -> None:
        self.variable = variable

    def name(self) -> str:
        """Return what PyTorch calls it."""
        return "AccumulateGrad"


def _visible(edge: Edge) -> tuple[Node | AccumulateGrad | None, int]:
    """Return an edge of the graph as PyTorch shows it."""
    if isinstance(edge, tuple):
        return edge
    return (None if edge is None else AccumulateGrad(edge)), 0


class Node:
    """One recorded operation: edges to the makers of its inputs, and what backward needs.

    `sequence` grows with creation. A node is always younger than the nodes that made its inputs,
    so falling sequence numbers are a topological order, and the backward walk needs no sorting.
    """

    sequence = 0
    edges: tuple[Edge, ...] = ()
    outputs: tuple[tuple[tuple[int, ...], np.dtype[Any]], ...] = ()
    _saved: list[_Saved] | None = None
    _released = False
    _hooks: dict[int, HookDict] | None = None
    _retained: list[tuple[int, weakref.ReferenceType[TensorBase]]] | None = None
    # The array, or the blocks, that an operation writes into while it runs in place.
    out: Array | None = None
    out_blocks: Blocked | None = None
    # Whether its gradient may still wait in front of a clamp; see clamped.py.
    absorbs_clamps = False
    # Whether it takes images in blocks of channels as gradients; see TensorBase._blocks.
    takes_blocks = False
    # Whether `run` leaves NumPy's warnings, of overflow and the like, to the walk to silence.
    warns = True

    @classmethod
    def name(cls) -> str:
        """Return the name that ``grad_fn=<...>`` prints."""
        return f"{cls.__name__}Backward0"

    def __repr__(self) -> str:
        return f"<{self.name()} object at {id(self):#x}>"

    @property
    def next_functions(self) -> tuple[tuple[Node | AccumulateGrad | None, int], ...]:
        """The nodes of the inputs with their output indices; None where no gradient goes."""
        return tuple([_visible(edge) for edge in self.edges])

    @property
    def needs_input_grad(self) -> tuple[bool, ...]:
        """Which of the arguments need a gradient."""
        return tuple([edge is not None for edge in self.edges])

    # -- recording --------------------------------------------------------------------------

    def track(self, args: Sequence[object]) -> bool:
        """Note which arguments need gradients; return whether this operation is recorded.

        Asked only where recording is on.
        """
        edges: list[Edge] = []
        tracked = False
        for arg in args:
            # As edge_of, without a call per argument.
            edge: Edge = None
            if isinstance(arg, TensorBase) and (
                arg._requires_grad if arg._base is None else arg.requires_grad
            ):
                edge = arg if arg._node is None else (arg._node, arg._output_index)
                tracked = True
            edges.append(edge)
        if tracked:
            self.edges = tuple(edges)
            self.sequence = next_sequence()
            self._saved = []
        return tracked

    def attach(self, result: TensorBase, index: int = 0) -> None:
        """Make this node the maker of `result`, its output `index`, unless that is not floating."""
        array = result._blocks or result._array
        dtype = array.dtype
        self.outputs += ((array.shape, dtype),)
        if dtype.kind == "f":
            result._node = self
            result._output_index = index
            result._requires_grad = True

    # -- what backward needs ----------------------------------------------------------------

    def save(self, *values: TensorBase | Array | None) -> None:
        """Keep tensors or arrays for backward; a tensor with the version that it has now."""
        saved = self._saved
        if saved is None:
            return
        for value in values:
            if not isinstance(value, TensorBase):
                saved.append((value, None, 0))
                continue
            array = (value._blocks or value._array) if self.takes_blocks else value._array
            if array is (self.out_blocks or self.out):
                # About to be overwritten by this very operation: keep what it was.
                saved.append((array.copy(), None, 0))
            else:
                storage = value._storage_state or value._storage
                saved.append((array, storage, storage.version))

    @property
    def saved(self) -> list[Any]:
        """The arrays that were kept, in order.

        Raises
        ------
        RuntimeError
            When they were freed by an earlier backward, or changed in place since.
        """
        if self._released:
            self.check_not_released()
        arrays = []
        for array, storage, version in self._saved or ():
            if storage is not None and storage.version != version and array is not None:
                raise RuntimeError(
                    f"{self.name()}: a tensor of shape {list(array.shape)} that backward needs was "
                    f"changed in place: it is at version {storage.version}, expected {version}, "
                    "so it was modified by an inplace operation since it was saved"
                )
            arrays.append(array)
        return arrays

    def check_not_released(self) -> None:
        """Raise RuntimeError when an earlier backward freed what this node had saved."""
        if self._released:
            raise RuntimeError(
                f"{self.name()}: backward through the graph a second time, but its saved tensors "
                "were freed by the first; call the first with retain_graph=True"
            )

    def release(self) -> None:
        """Free what was saved; called by the walk as soon as the node is done."""
        if self._saved:
            self._released = True
            self._saved = None

    # -- hooks ------------------------------------------------------------------------------

    def hooks_of(self, index: int) -> HookDict:
        """Return the hooks on the gradient of output `index`."""
        if self._hooks is None:
            self._hooks = {}
        return self._hooks.setdefault(index, HookDict())

    def retain(self, index: int, tensor: weakref.ReferenceType[TensorBase]) -> None:
        """Let the walk store the gradient of output `index` on `tensor`."""
        if self._retained is None:
            self._retained = []
        self._retained.append((index, tensor))

    def hand_over(self, tensor: TensorBase, heir: Node) -> None:
        """Let `heir`, which changed `tensor` in place, keep its gradient instead of this node."""
        self._retained = [each for each in self._retained or () if each[1]() is not tensor]
        heir.retain(0, weakref.ref(tensor))

    def finish(self, grads: list[Array | None]) -> None:
        """Run the hooks on the complete gradients of the outputs, and keep retained ones."""
        for index, hooks in (self._hooks or {}).items():
            grads[index] = run_hooks(hooks, grads[index])
        for index, reference in self._retained or ():
            tensor, grad = reference(), grads[index]
            if tensor is not None and grad is not None:
                before = tensor._grad
                tensor._grad = wrap(grad.copy() if before is None else before._array + grad)

    def run(self, grads: list[Array | None]) -> tuple[Array | None, ...]:
        """Return the gradients of the inputs, given those of the outputs."""
        raise NotImplementedError


def run_hooks(hooks: dict[int, Callable[..., Any]], grad: Array | None) -> Array | None:
    """Pass `grad` through `hooks` in order; what a hook returns replaces it."""
    if grad is None or not hooks:
        return grad
    # A hook may change in place what it gets, which others may hold too.
    tensor = wrap(grad.copy())
    for hook in tuple(hooks.values()):
        result = hook(tensor)
        if result is None:
            continue
        if not isinstance(result, TensorBase):
            raise TypeError(
                f"a tensor hook must return a Tensor or None, but got {type(result).__name__}"
            )
        array = result._array
        if array.shape != grad.shape or array.dtype != grad.dtype:
            raise RuntimeError(
                f"a tensor hook returned a gradient of {array.dtype} and shape "
                f"{list(array.shape)}, expected {grad.dtype} and shape {list(grad.shape)}"
            )
        tensor = wrap(result._array)
    return tensor._array


def edge_of(value: object) -> Edge:
    """Return where the gradient of an argument goes: to its maker, to the leaf, or nowhere."""
    if not isinstance(value, TensorBase):
        return None
    # The property looks up what a view missed; others are spared the call.
    if not (value._requires_grad if value._base is None else value.requires_grad):
        return None
    return value if value._node is None else (value._node, value._output_index)
