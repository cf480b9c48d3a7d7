"""The backward walk: youngest node first, on a heap, without recursion."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from rushlight.autograd import grad_mode
from rushlight.autograd.base import TensorBase, wrap
from rushlight.autograd.node import Node, run_hooks

if TYPE_CHECKING:
    from rushlight.dtypes import Array
    from rushlight.tensor import Tensor

__all__ = ["backward", "grad"]

_NO_CREATE_GRAPH = "create_graph=True is not supported: gradients are not themselves recorded"


class _Walk:
    """The gradients of one backward call on their way to the leaves."""

    __slots__ = (
        "_heap", "_own", "_pending", "_reach", "_run", "_wanted_leaves", "captured", "fresh",
        "leaves",
    )  # fmt: skip

    def __init__(
        self, wanted: Sequence[TensorBase] | None, reach: set[Node] | None, run: set[Node] | None
    ) -> None:
        self._heap: list[tuple[int, Node]] = []
        self._pending: dict[Node, list[Array | None]] = {}
        # Arrays that a sum made here: nobody else sees them, so the next sum may reuse them.
        self._own: set[int] = set()
        # Where `wanted` restricts the walk: the nodes to deliver to, and those to run.
        self._reach = reach
        self._run = run
        self.leaves: dict[TensorBase, Array] = {}
        self.fresh: dict[TensorBase, bool] = {}
        self.captured: dict[tuple[Node, int], Array | None] = {
            (each._node, each._output_index): None
            for each in wanted or ()
            if each._node is not None
        }
        self._wanted_leaves = (
            None if wanted is None else {each for each in wanted if each._node is None}
        )

    def deliver(self, edge: tuple[Node, int], value: Array) -> None:
        """Add `value` to what has arrived at an output of a node."""
        node, index = edge
        if self._reach is not None and node not in self._reach:
            return
        arrived = self._pending.get(node)
        if arrived is None:
            arrived = self._pending[node] = [None] * len(node.outputs)
            heapq.heappush(self._heap, (-node.sequence, node))
        before = arrived[index]
        arrived[index] = value if before is None else self._sum(before, value)

    def deliver_leaf(self, leaf: TensorBase, value: Array, fresh: bool) -> None:
        """Add `value` to what has arrived at a leaf; `fresh` says that no one else holds it."""
        if self._wanted_leaves is None or leaf in self._wanted_leaves:
            before = self.leaves.get(leaf)
            self.leaves[leaf] = value if before is None else self._sum(before, value)
            self.fresh[leaf] = fresh or before is not None

    def _sum(self, before: Array, value: Array) -> Array:
        if id(before) in self._own:
            np.add(before, value, out=before)
            return before
        total: Array = np.asarray(before + value)
        self._own.add(id(total))
        return total

    def run(self, retain_graph: bool) -> None:
        """Visit nodes from the youngest to the oldest until no gradient is under way."""
        while self._heap:
            _, node = heapq.heappop(self._heap)
            grads = self._pending.pop(node)
            if self._own:
                self._own.difference_update(map(id, grads))
            if node._hooks or node._retained:
                node.finish(grads)
            if self.captured:
                self._capture(node, grads)
            if self._run is None or node in self._run:
                self._pass_on(node, grads)
                if not retain_graph:
                    node.release()

    def _pass_on(self, node: Node, grads: list[Array | None]) -> None:
        """Run the node and send the gradients of its inputs on their way."""
        results = node.run(grads)
        for edge, value in zip(node.edges, results, strict=False):
            if edge is None or value is None:
                continue
            if isinstance(edge, tuple):
                self.deliver(edge, value)
            else:
                self.deliver_leaf(edge, value, _is_fresh(value, grads, results))

    def _capture(self, node: Node, grads: list[Array | None]) -> None:
        for index, value in enumerate(grads):
            if (node, index) in self.captured:
                self.captured[node, index] = value


def _is_fresh(value: Array, grads: Sequence[Array | None], results: Sequence[Array | None]) -> bool:
    """Return whether `value` owns its memory alone: no view, and handed to nobody else."""
    if isinstance(value.base, np.ndarray):
        return False
    seen = 0
    for each in results:
        seen += each is value
    for each in grads:
        seen += each is value
    return seen == 1


def _roots(
    tensors: Sequence[TensorBase], gradients: Sequence[TensorBase | None], operation: str
) -> list[tuple[TensorBase, Array]]:
    """Pair each tensor with the gradient that the walk starts from, checked."""
    if len(tensors) != len(gradients):
        raise ValueError(
            f"{operation}: got {len(tensors)} tensors but {len(gradients)} gradients for them"
        )
    pairs = []
    for number, (tensor, gradient) in enumerate(zip(tensors, gradients, strict=True)):
        if not isinstance(tensor, TensorBase):
            raise TypeError(f"{operation}: expected tensors, but got {type(tensor).__name__}")
        if not tensor.requires_grad:
            raise RuntimeError(
                f"{operation}: tensor {number} does not require a gradient and has no grad_fn"
            )
        pairs.append((tensor, _root_gradient(tensor, gradient, operation)))
    return pairs


def _root_gradient(tensor: TensorBase, gradient: TensorBase | None, operation: str) -> Array:
    array = tensor._array
    if gradient is None:
        if array.size != 1:
            raise RuntimeError(
                f"{operation}: a gradient can be left out only for a tensor of one element, but "
                f"this one has shape {list(array.shape)}"
            )
        return np.array(1, array.dtype).reshape(array.shape)
    if not isinstance(gradient, TensorBase):
        raise TypeError(
            f"{operation}: gradient must be a Tensor or None, but got {type(gradient).__name__}"
        )
    if gradient._array.shape != array.shape:
        raise RuntimeError(
            f"{operation}: gradient has shape {list(gradient._array.shape)}, but the tensor has "
            f"shape {list(array.shape)}"
        )
    return gradient._array.astype(array.dtype)


def _restrict(
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
    roots: list[tuple[TensorBase, Array]], retain_graph: bool, wanted: Sequence[TensorBase] | None
) -> _Walk:
    reach, run = (None, None) if wanted is None else _restrict([root for root, _ in roots], wanted)
    walk = _Walk(wanted, reach, run)
    # Gradients overflow in silence, as everything else does.
    with grad_mode.no_grad(), np.errstate(all="ignore"):
        for tensor, value in roots:
            if tensor._node is None:
                walk.deliver_leaf(tensor, value, True)
            else:
                walk.deliver((tensor._node, tensor._output_index), value)
        walk.run(retain_graph)
        for leaf, value in walk.leaves.items():
            if leaf._hooks:
                changed = run_hooks(leaf._hooks, value)
                # The hook may have kept what it was given.
                walk.fresh[leaf] = False
                walk.leaves[leaf] = value if changed is None else changed
    return walk


def _accumulate(leaf: TensorBase, value: Array, fresh: bool) -> None:
    """Add `value` to the leaf's gradient; a fresh array becomes the gradient itself."""
    before = leaf._grad
    if before is None:
        leaf._grad = wrap(value if fresh and value.flags.writeable else value.copy())
    elif before._array.flags.writeable and 0 not in before._array.strides:
        np.add(before._array, value, out=before._array)
        before._bump_version()
    else:
        # A gradient that the user set and that cannot be written, such as an expanded one.
        leaf._grad = wrap(before._array + value)
    for hook in tuple((leaf._post_hooks or {}).values()):
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
    wanted = None if inputs is None else _inputs(inputs, "backward")
    walk = _walk(_roots(tensors, grad_tensors, "backward"), bool(retain_graph), wanted)
    for leaf, value in walk.leaves.items():
        _accumulate(leaf, value, walk.fresh[leaf])
    for each in wanted or ():
        if each._node is not None:
            captured = walk.captured[each._node, each._output_index]
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
    walk = _walk(_roots(outputs, grad_outputs, "grad"), bool(retain_graph), wanted)
    results: list[Tensor | None] = []
    for number, each in enumerate(wanted):
        found = (
            walk.leaves.get(each)
            if each._node is None
            else walk.captured[each._node, each._output_index]
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
