"""``Primitive``: the base of the built-in operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight.autograd.base import TensorBase, wrap
from rushlight.autograd.grad_mode import state as recording
from rushlight.autograd.inplace import check_in_place, check_place, check_writable, rebase
from rushlight.autograd.node import Node

if TYPE_CHECKING:
    from rushlight.dtypes import Array
    from rushlight.tensor import Tensor

__all__ = ["Primitive"]


class Primitive(Node):
    """A built-in differentiable operation.

    A subclass defines ``forward(self, *args)``, which gets the tensors and values of `apply` and
    returns an array (or a tuple of them), and ``backward(self, *grads)``, which gets an array
    per output and returns an array or None per argument. What backward returns must be fresh
    memory, the incoming gradient itself, or a view: the walk copies the latter two where they
    would become a leaf's gradient.
    """

    is_view = False
    # Of a clamp: whether its argument was as the operation before left it.
    follows = False
    # Whether backward needs the result: it is then the last of `saved`.
    saves_output = False

    forward: Callable[..., Any]
    backward: Callable[..., Any]

    @classmethod
    def apply(cls, first: Any, /, *others: Any) -> Tensor:
        """Run the operation on its arguments and record it where one requires a gradient."""
        # A single argument travels without a tuple: unpacking one takes as long as a tiny kernel.
        node = cls()
        if recording.direct and not node.is_view:
            return wrap(node.forward(first, *others) if others else node.forward(first))
        if recording.tape is not None:
            return recording.tape.call(cls.apply, cls, (first, *others))
        tracked = recording.enabled and node.track((first, *others))
        result = wrap(node.forward(first, *others) if others else node.forward(first))
        if node.is_view and np.may_share_memory(result._array, first._array):
            result._become_view_of(first)
        if tracked:
            node.attach(result)
            if node.saves_output:
                node.save(result)
        return result

    @classmethod
    def apply_many(cls, *args: Any) -> tuple[Tensor, ...]:
        """As :meth:`apply`, for an operation whose forward returns a tuple."""
        if recording.tape is not None:
            return recording.tape.call(cls.apply_many, cls, args)
        node = cls()
        tracked = recording.enabled and node.track(args)
        results = tuple([wrap(each) for each in node.forward(*args)])
        if tracked:
            for index, each in enumerate(results):
                node.attach(each, index)
        return results

    @classmethod
    def apply_(cls, target: TensorBase, *args: Any) -> Tensor:
        """Run the operation and put its result in the place of `target`, its first argument."""
        if recording.tape is not None:
            return recording.tape.call(cls.apply_, cls, (target, *args))
        operation = f"{cls.__name__.lower()}_"
        node = cls()
        place = target._blocks if cls.works_in_blocks(target, *args) else None
        if place is None:
            check_writable(target, operation)
        tracked = recording.enabled and node.track((target, *args))
        if tracked:
            check_in_place(target, operation)
        if place is None:
            node.out = target._array
        else:
            node.out_blocks = place
        array = node.forward(target, *args)
        if place is None and array is not target._array:
            check_place(target._array, array.shape, array.dtype, operation)
            np.copyto(target._array, array, casting="same_kind")
        node.out = node.out_blocks = None
        target._bump_version()
        if tracked:
            rebase(target, node)
            if node.saves_output:
                node.save(target)
        return target  # type: ignore[return-value]  # every instance is a Tensor

    @classmethod
    def works_in_blocks(cls, target: TensorBase, *args: Any) -> bool:
        """Return whether it writes into the blocks of `target` in place, if that has any."""
        return cls.takes_blocks

    @property
    def is_absorbed(self) -> bool:
        """Whether what this node of a clamp returns may be a :class:`ClampedGradient`."""
        edge = self.edges[0]
        return type(edge) is tuple and edge[0].absorbs_clamps and self.follows

    def note_follows(self, src: TensorBase) -> None:
        """Note whether the argument was changed in place since it was made."""
        state = src._storage_state
        self.follows = state is None or state.version == 0

    def run(self, grads: list[Array | None]) -> tuple[Array | None, ...]:
        """Return the gradients of the inputs; an output that got none counts as zeros."""
        if len(grads) > 1:  # the only output of a node that runs has a gradient
            for index, (shape, dtype) in enumerate(self.outputs):
                if grads[index] is None and dtype.kind == "f":
                    grads[index] = np.zeros(shape, dtype)
        result = self.backward(*grads)
        return result if type(result) is tuple else (result,)
