"""The graph: a node per recorded operation, and ``Primitive``, the base of the built-in ones."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import ReferenceType

import numpy as np

from rushlight import dtypes
from rushlight.autograd import grad_mode
from rushlight.autograd.base import Storage, TensorBase, wrap
from rushlight.autograd.hooks import HookDict

if TYPE_CHECKING:
    from rushlight.dtypes import Array
    from rushlight.tensor import Tensor

__all__ = ["Edge", "Node", "Primitive"]

# Where the gradient of an input goes: an output of the node that made it, a leaf, or nowhere.
Edge: TypeAlias = "tuple[Node, int] | TensorBase | None"
_Saved: TypeAlias = "tuple[Array | None, Storage | None, int]"

_sequence = itertools.count()


class Node:
    """One recorded operation: edges to the makers of its inputs, and what backward needs.

    `sequence` grows with creation. A node is always younger than the nodes that made its inputs,
    so falling sequence numbers are a topological order, and the backward walk needs no sorting.
    """

    sequence = 0
    edges: tuple[Edge, ...] = ()
    needs_input_grad: tuple[bool, ...] = ()
    outputs: tuple[tuple[tuple[int, ...], np.dtype[Any]], ...] = ()
    _saved: list[_Saved] | None = None
    _released = False
    _hooks: dict[int, HookDict] | None = None
    _retained: list[tuple[int, ReferenceType[TensorBase]]] | None = None

    @classmethod
    def name(cls) -> str:
        """Return the name that ``grad_fn=<...>`` prints."""
        return f"{cls.__name__}Backward0"

    def __repr__(self) -> str:
        return f"<{self.name()} object at {id(self):#x}>"

    @property
    def next_functions(self) -> tuple[tuple[object, int], ...]:
        """The nodes of the inputs with their output indices; a leaf stands for itself."""
        return tuple(edge if isinstance(edge, tuple) else (edge, 0) for edge in self.edges)

    # -- recording --------------------------------------------------------------------------

    def track(self, args: Sequence[object]) -> bool:
        """Note which arguments need gradients; return whether this operation is recorded."""
        if not grad_mode.state.enabled:
            return False
        needs = tuple([isinstance(arg, TensorBase) and arg._requires_grad for arg in args])
        if True not in needs:
            return False
        self.needs_input_grad = needs
        self.edges = tuple([edge_of(arg) for arg in args])
        self.sequence = next(_sequence)
        self._saved = []
        return True

    def attach(self, results: Sequence[TensorBase]) -> None:
        """Make this node the maker of `results`; those that are not floating stay outside."""
        self.outputs = tuple([(each._array.shape, each._array.dtype) for each in results])
        for index, each in enumerate(results):
            if each._array.dtype.kind == "f":
                each._node = self
                each._output_index = index
                each._requires_grad = True

    # -- what backward needs ----------------------------------------------------------------

    def save(self, *values: TensorBase | Array | None) -> None:
        """Keep tensors or arrays for backward; a tensor with the version that it has now."""
        if self._saved is None:
            return
        for value in values:
            if isinstance(value, TensorBase):
                storage = value._storage
                self._saved.append((value._array, storage, storage.version))
            else:
                self._saved.append((value, None, 0))

    @property
    def saved(self) -> tuple[Any, ...]:
        """The arrays that were kept, in order.

        Raises
        ------
        RuntimeError
            When they were freed by an earlier backward, or changed in place since.
        """
        self.check_not_released()
        for array, storage, version in self._saved or ():
            if storage is not None and storage.version != version and array is not None:
                raise RuntimeError(
                    f"{self.name()}: a tensor of shape {list(array.shape)} that backward needs was "
                    f"changed in place: it is at version {storage.version}, expected {version}"
                )
        return tuple([entry[0] for entry in self._saved or ()])

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

    def retain(self, index: int, tensor: ReferenceType[TensorBase]) -> None:
        """Let the walk store the gradient of output `index` on `tensor`."""
        if self._retained is None:
            self._retained = []
        self._retained.append((index, tensor))

    def finish(self, grads: list[Array | None]) -> None:
        """Run the hooks on the complete gradients of the outputs, and keep retained ones."""
        for index, hooks in (self._hooks or {}).items():
            grads[index] = run_hooks(hooks, grads[index])
        for index, reference in self._retained or ():
            tensor, grad = reference(), grads[index]
            if tensor is not None and grad is not None:
                tensor._grad = wrap(grad.copy())

    def run(self, grads: list[Array | None]) -> tuple[Array | None, ...]:
        """Return the gradients of the inputs, given those of the outputs."""
        raise NotImplementedError


def run_hooks(hooks: dict[int, Callable[..., Any]], grad: Array | None) -> Array | None:
    """Pass `grad` through `hooks` in order; what a hook returns replaces it."""
    if grad is None or not hooks:
        return grad
    tensor = wrap(grad)
    for hook in tuple(hooks.values()):
        result = hook(tensor)
        if result is None:
            continue
        if not isinstance(result, TensorBase):
            raise TypeError(f"a tensor hook must return a Tensor or None, got {type(result)}")
        if result._array.shape != grad.shape:
            raise RuntimeError(
                f"a tensor hook returned a gradient of shape {list(result._array.shape)}, "
                f"expected {list(grad.shape)}"
            )
        tensor = wrap(result._array)
    return tensor._array


def edge_of(value: object) -> Edge:
    """Return where the gradient of an argument goes: to its maker, to the leaf, or nowhere."""
    if not isinstance(value, TensorBase) or not value._requires_grad:
        return None
    if value._node is None:
        return value
    if value._base is not None and value._base_rebased != value._storage.rebased:
        raise RuntimeError(
            f"a view made by {value._node.name()} is used after the tensor it views was changed in "
            "place; take the view again"
        )
    return value._node, value._output_index


class Primitive(Node):
    """A built-in differentiable operation.

    A subclass defines ``forward(self, *args)``, which gets the tensors and values of `apply` and
    returns an array (or a tuple of them), and ``backward(self, *grads)``, which gets an array
    per output and returns an array or None per argument. What backward returns must be fresh
    memory, the incoming gradient itself, or a view: the walk copies the latter two where they
    would become a leaf's gradient.
    """

    is_view = False
    out: Array | None = None
    _saves_output = False

    forward: Callable[..., Any]
    backward: Callable[..., Any]

    @classmethod
    def apply(cls, *args: Any) -> Tensor:
        """Run the operation on `args` and record it where one of them requires a gradient."""
        node = cls()
        tracked = node.track(args)
        result = wrap(node.forward(*args))
        if cls.is_view and np.may_share_memory(result._array, args[0]._array):
            result._become_view_of(args[0])
        if tracked:
            node.attach((result,))
            if node._saves_output:
                node.save(result)
        return result

    @classmethod
    def apply_many(cls, *args: Any) -> tuple[Tensor, ...]:
        """As :meth:`apply`, for an operation whose forward returns a tuple."""
        node = cls()
        tracked = node.track(args)
        results = tuple([wrap(each) for each in node.forward(*args)])
        if tracked:
            node.attach(results)
        return results

    @classmethod
    def apply_(cls, target: TensorBase, *args: Any) -> Tensor:
        """Run the operation and put its result in the place of `target`, its first argument."""
        operation = f"{cls.__name__.lower()}_"
        check_writable(target, operation)
        node = cls()
        tracked = node.track((target, *args))
        if tracked:
            check_in_place(target, operation)
        node.out = target._array
        array = node.forward(target, *args)
        if array is not target._array:
            check_fits(target, array, operation)
            np.copyto(target._array, array, casting="same_kind")
        target._bump_version()
        if tracked:
            target._storage.rebased += 1
            node.attach((target,))
            if node._saves_output:
                node.save(target)
        return target  # type: ignore[return-value]  # every instance is a Tensor

    def save_output(self) -> None:
        """Keep the result of this operation, once it is there, as the last of `saved`."""
        self._saves_output = True

    def run(self, grads: list[Array | None]) -> tuple[Array | None, ...]:
        for index, (shape, dtype) in enumerate(self.outputs):
            if grads[index] is None and dtype.kind == "f":
                grads[index] = np.zeros(shape, dtype)
        result = self.backward(*grads)
        return result if type(result) is tuple else (result,)


def check_writable(target: TensorBase, operation: str) -> None:
    """Raise RuntimeError when `target` cannot be changed in place."""
    array = target._array
    if array.size and 0 in array.strides and any(
        extent > 1 and stride == 0
        for extent, stride in zip(array.shape, array.strides, strict=True)
    ):
        raise RuntimeError(
            f"{operation}: several elements of the tensor to change in place share one memory "
            "location (it was expanded); use clone() first"
        )
    if not array.flags.writeable:
        raise RuntimeError(f"{operation}: the tensor to change in place is read-only memory")


def check_in_place(target: TensorBase, operation: str) -> None:
    """Raise RuntimeError when changing `target` in place cannot be recorded."""
    if target._node is None and target._requires_grad:
        raise RuntimeError(
            f"{operation}: a leaf that requires a gradient cannot be changed in place while "
            "operations are recorded; use no_grad()"
        )
    if target._base is not None:
        raise RuntimeError(
            f"{operation}: a view cannot be changed in place while operations are recorded; assign "
            "to the tensor it views (base[index] = ...), or work on a clone()"
        )


def check_fits(target: TensorBase, array: Array, operation: str) -> None:
    """Raise when a result cannot take the place of `target`."""
    if array.shape != target._array.shape:
        raise RuntimeError(
            f"{operation}: a result of shape {list(array.shape)} cannot take the place of a tensor "
            f"of shape {list(target._array.shape)}"
        )
    if not np.can_cast(array.dtype, target._array.dtype, "same_kind"):
        raise RuntimeError(
            f"{operation}: a result of {dtypes.of(array)} cannot be stored in a tensor of "
            f"{dtypes.of(target._array)}"
        )
