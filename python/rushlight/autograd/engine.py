"""The backward walk: youngest node first, on a heap, without recursion."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight.autograd.base import TensorBase, wrap
from rushlight.autograd.blocked import Blocked
from rushlight.autograd.clamped import Gradient, alike, plain
from rushlight.autograd.grad_mode import state as mode
from rushlight.autograd.hooks import HookDict
from rushlight.autograd.node import Node, edge_of, run_hooks
from rushlight.autograd.sums import add

if TYPE_CHECKING:
    from rushlight.dtypes import Array
    from rushlight.tensor import Tensor

__all__ = ["backward", "grad"]

_NO_CREATE_GRAPH = "create_graph=True is not supported: gradients are not themselves recorded"


class _Walk:
    """The gradients of one backward call on their way to the leaves."""

    __slots__ = ("_heap", "_own", "_pending", "_target", "leaves")

    def __init__(self, target: _Target | None) -> None:
        self._heap: list[tuple[int, Node]] = []
        self._pending: dict[Node, list[Any]] = {}
        # Arrays that a sum made here: nobody else sees them, so the next sum may reuse them.
        self._own: set[int] = set()
        self._target = target
        # What has arrived at each leaf, and whether no one else holds that array.
        self.leaves: dict[TensorBase, tuple[Array, bool]] = {}

    def deliver(self, edge: tuple[Node, int], value: Gradient) -> None:
        """Add `value` to what has arrived at an output of a node."""
        node, index = edge
        arrived = self._pending.get(node)
        if arrived is None:
            if self._target is not None and node not in self._target.reach:
                return
            arrived = self._pending[node] = [None] * len(node.outputs)
            heappush(self._heap, (-node.sequence, node))
        if type(value) is not np.ndarray and not node.takes_blocks:
            value = plain(value)
        before = arrived[index]
        arrived[index] = value if before is None else self._sum(before, value)

    def deliver_leaf(self, leaf: TensorBase, value: Array, fresh: bool) -> None:
        """Add `value` to what has arrived at a leaf; `fresh` says that no one else holds it."""
        if self._target is not None and leaf not in self._target.leaves:
            return
        before = self.leaves.get(leaf)
        self.leaves[leaf] = (
            (value, fresh) if before is None else (self._sum(before[0], value), True)
        )

    def _sum(self, before: Gradient, value: Gradient) -> Any:
        a, b = alike(before, value)
        if a is not before:
            self._own.discard(id(before))  # it goes, and its id may come back as another's
        elif id(a) in self._own:
            return add(a, b, a)
        total = add(a, b)
        self._own.add(id(total))
        return total

    def run(self, retain_graph: bool) -> None:
        """Visit nodes from the youngest to the oldest until no gradient is under way."""
        heap, pending, own, target = self._heap, self._pending, self._own, self._target
        silence: np.errstate | None = None
        recording, tape = mode.enabled, mode.tape
        mode.set_enabled(False)
        try:
            while heap:
                node = heappop(heap)[1]
                grads = pending.pop(node)
                if own:
                    own.difference_update(map(id, grads))
                if node._hooks or node._retained or target is not None:
                    grads = [plain(grad) for grad in grads]
                if node._hooks or node._retained:
                    node.finish(grads)
                if target is not None and not target.passes(node, grads):
                    continue
                if silence is None and node.warns:
                    # Gradients overflow in silence, as everything else does.
                    silence = np.errstate(all="ignore")
                    silence.__enter__()
                results = node.run(grads) if tape is None else tape.call(node.run, node, (grads,))
                for edge, value in zip(node.edges, results):  # noqa: B905  # the keyword takes time
                    if edge is None or value is None:
                        continue
                    if type(edge) is tuple:
                        self.deliver(edge, value)
                    else:
                        value = plain(value)
                        self.deliver_leaf(edge, value, _is_fresh(value, grads, results))  # type: ignore[arg-type]  # no tuple
                if not retain_graph:
                    node.release()
            for leaf in self.leaves:
                if leaf._hooks:
                    self._run_hooks(leaf, leaf._hooks)
        finally:
            mode.set_enabled(recording)
            if silence is not None:
                silence.__exit__(None, None, None)

    def _run_hooks(self, leaf: TensorBase, hooks: HookDict) -> None:
        value = self.leaves[leaf][0]
        changed = run_hooks(hooks, value)
        # The hook may have kept what it was given.
        self.leaves[leaf] = value if changed is None else changed, False


class _Target:
    """What a walk is restricted to: the way from the roots to the tensors that are asked for."""

    def __init__(self, roots: Sequence[TensorBase], wanted: Sequence[TensorBase]) -> None:
        self.leaves = {each for each in wanted if each._node is None}
        # The nodes to deliver to, and those of them to run.
        self.reach, self._run = _between(roots, wanted)
        self.captured: dict[tuple[Node, int], Array | None] = {
            (each._node, each._output_index): None for each in wanted if each._node is not None
        }

    def passes(self, node: Node, grads: Sequence[Array | None]) -> bool:
        """Keep the gradients that were asked for; return whether the walk goes on from here."""
        for index, value in enumerate(grads):
            if (node, index) in self.captured:
                self.captured[node, index] = value
        return node in self._run


def _is_fresh(value: Array, grads: Sequence[Array | None], results: Sequence[Array | None]) -> bool:
    """Return whether `value` owns its memory alone: no view, and handed to nobody else."""
    if isinstance(value.base, np.ndarray):
        return False
    if len(results) == 1 == len(grads):
        return value is not grads[0]
    return sum([each is value for each in (*results, *grads)]) == 1


# The gradient that a walk starts from at a number. Read-only: nobody may keep it for their own.
_ONE = {dtype: np.ones((), dtype) for dtype in (np.dtype(np.float32), np.dtype(np.float64))}
for _one in _ONE.values():
    _one.flags.writeable = False


def _root_gradient(
    number: int, tensor: TensorBase, gradient: TensorBase | None, operation: str
) -> Array | Blocked:
    """Return the gradient that the walk starts from at a tensor, checked."""
    if not isinstance(tensor, TensorBase):
        raise TypeError(f"{operation}: expected tensors, but got {type(tensor).__name__}")
    if edge_of(tensor) is None:
        raise RuntimeError(
            f"{operation}: tensor {number} does not require a gradient and has no grad_fn"
        )
    array = tensor._blocks or tensor._array
    if gradient is None:
        if math.prod(array.shape) != 1:
            raise RuntimeError(
                f"{operation}: a gradient can be left out only for a tensor of one element, but "
                f"this one has shape {list(array.shape)}"
            )
        return _ONE[array.dtype] if not array.ndim else np.ones(array.shape, array.dtype)
    if not isinstance(gradient, TensorBase):
        raise TypeError(
            f"{operation}: gradient must be a Tensor or None, but got {type(gradient).__name__}"
        )
    given = gradient._blocks or gradient._array
    if given.shape != array.shape:
        raise RuntimeError(
            f"{operation}: gradient has shape {list(given.shape)}, but the tensor has shape "
            f"{list(array.shape)}"
        )
    return given if given.dtype == array.dtype else gradient._array.astype(array.dtype)


def _between(
    roots: Iterable[TensorBase], wanted: Sequence[TensorBase]
) -> tuple[set[Node], set[Node]]:
    """Return the nodes that a gradient for `wanted` must reach, and those it must pass."""
    seen: set[Node] = set()
    stack = [root._node for root in roots if root._node is not None]
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            stack.extend(edge[0] for edge in node.edges if isinstance(edge, tuple))
    leaves = {each for each in wanted if each._node is None}
    reach = {each._node for each in wanted if each._node is not None}
    run: set[Node] = set()
    for node in sorted(seen, key=lambda each: each.sequence):
        if any((e[0] in reach) if isinstance(e, tuple) else (e in leaves) for e in node.edges):
            run.add(node)
            reach.add(node)
    return reach, run


def _walk(
    tensors: Sequence[TensorBase],
    gradients: Sequence[TensorBase | None],
    operation: str,
    retain_graph: bool | None,
    target: _Target | None,
) -> dict[TensorBase, tuple[Array, bool]]:
    """Carry the gradients of `tensors` to the leaves, or to a target."""
    if len(tensors) != len(gradients):
        raise ValueError(
            f"{operation}: got {len(tensors)} tensors but {len(gradients)} gradients for them"
        )
    # All are checked before the first sets out.
    roots = [
        (tensor, _root_gradient(number, tensor, gradient, operation))
        for number, (tensor, gradient) in enumerate(zip(tensors, gradients, strict=True))
    ]
    walk = _Walk(target)
    for tensor, value in roots:
        node = tensor._node
        if node is None:
            walk.deliver_leaf(tensor, plain(value), False)
        else:
            walk.deliver((node, tensor._output_index), value)
    walk.run(bool(retain_graph))
    return walk.leaves


def _accumulate(leaf: TensorBase, value: Array, fresh: bool) -> None:
    """Add `value` to the leaf's gradient; a fresh array becomes the gradient itself."""
    before = leaf._grad
    if before is None:
        leaf._grad = wrap(value if fresh and value.flags.writeable else value.copy())
    elif before._array.flags.writeable and 0 not in before._array.strides:
        add(before._array, value, before._array)
        before._bump_version()
    else:
        # A gradient that the user set and that cannot be written, such as an expanded one.
        leaf._grad = wrap(add(before._array, value))
    if leaf._post_hooks:
        for hook in tuple(leaf._post_hooks.values()):
            hook(leaf)


def backward(
    tensors: TensorBase | Sequence[TensorBase],
    grad_tensors: TensorBase | Sequence[TensorBase | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: TensorBase | Sequence[TensorBase] | None = None,
) -> None:
    """Add the gradients of `tensors` to the :attr:`grad` of the leaves they depend on.

    The leaves are written after the whole walk: an error on the way leaves every gradient as it
    was.

    Parameters
    ----------
    tensors : Tensor or sequence of Tensor
        What to differentiate.
    grad_tensors : Tensor or sequence, optional
        Gradient for each, of its shape; may be left out for tensors of one element.
    retain_graph : bool, optional
        Keep what was saved, so that a second backward can follow.
    create_graph : bool
        Must be False: gradients of gradients are not supported.
    inputs : Tensor or sequence of Tensor, optional
        Tensors to accumulate into; all leaves by default.

    Raises
    ------
    RuntimeError
        When a tensor requires no gradient, the graph was freed, a saved tensor was changed in
        place, or a shape does not fit.
    """
    if create_graph:
        raise RuntimeError(f"backward: {_NO_CREATE_GRAPH}")
    tensors = (tensors,) if isinstance(tensors, TensorBase) else tuple(tensors)
    if grad_tensors is None or isinstance(grad_tensors, TensorBase):
        grad_tensors = (grad_tensors,) * len(tensors)
    wanted = () if inputs is None else _inputs(inputs, "backward")
    target = _Target(tensors, wanted) if wanted else None
    leaves = _walk(tensors, grad_tensors, "backward", retain_graph, target)
    given = [each._array for each in grad_tensors if each is not None and each._blocks is None]
    for leaf, (value, fresh) in leaves.items():
        # A leaf's own gradient may have been given: it is about to change.
        if not fresh and any(np.may_share_memory(value, each) for each in given):
            leaves[leaf] = value.copy(), True
    for leaf, (value, fresh) in leaves.items():
        _accumulate(leaf, value, fresh)
    for each in wanted:
        if target is not None and each._node is not None:
            captured = target.captured[each._node, each._output_index]
            if captured is not None:
                _accumulate(each, captured, False)


def grad(
    outputs: TensorBase | Sequence[TensorBase],
    inputs: TensorBase | Sequence[TensorBase],
    grad_outputs: TensorBase | Sequence[TensorBase | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """Return the gradients of `outputs` with respect to `inputs`; no :attr:`grad` is touched.

    Parameters
    ----------
    outputs, inputs : Tensor or sequence of Tensor
        What to differentiate, and by what.
    grad_outputs : Tensor or sequence, optional
        Gradient for each output, of its shape; may be left out for tensors of one element.
    retain_graph : bool, optional
        Keep what was saved, so that a second backward can follow.
    create_graph : bool
        Must be False: gradients of gradients are not supported.
    allow_unused : bool
        Return None for an input that no output depends on, instead of raising.

    Raises
    ------
    RuntimeError
        As :func:`backward`, and for an unused input.
    """
    if create_graph:
        raise RuntimeError(f"grad: {_NO_CREATE_GRAPH}")
    outputs, wanted = _as_tuple(outputs), _inputs(inputs, "grad")
    if grad_outputs is None or isinstance(grad_outputs, TensorBase):
        grad_outputs = (grad_outputs,) * len(outputs)
    target = _Target(outputs, wanted)
    leaves = _walk(outputs, grad_outputs, "grad", retain_graph, target)
    results: list[Tensor | None] = []
    for number, each in enumerate(wanted):
        found = (
            leaves.get(each, (None,))[0]
            if each._node is None
            else target.captured[each._node, each._output_index]
        )
        if found is None and not allow_unused:
            raise RuntimeError(
                f"grad: no output depends on input {number}; pass allow_unused=True to get None"
            )
        results.append(None if found is None else wrap(found.copy()))
    return tuple(results)


def _as_tuple(tensors: TensorBase | Sequence[TensorBase]) -> tuple[TensorBase, ...]:
    return (tensors,) if isinstance(tensors, TensorBase) else tuple(tensors)


def _inputs(inputs: TensorBase | Sequence[TensorBase], operation: str) -> tuple[TensorBase, ...]:
    """Return the tensors to differentiate by, checked."""
    wanted = _as_tuple(inputs)
    if not wanted:
        raise RuntimeError(f"{operation}: inputs must not be empty")
    for number, each in enumerate(wanted):
        if not isinstance(each, TensorBase):
            raise TypeError(
                f"{operation}: inputs must be Tensors, but number {number} is {type(each).__name__}"
            )
        if not each.requires_grad:
            raise RuntimeError(f"{operation}: input {number} does not require a gradient")
    return wanted
