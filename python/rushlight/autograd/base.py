"""The part of a tensor that autograd knows: an array, its version, its place in the graph."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight import dtypes
from rushlight.autograd import grad_mode
from rushlight.autograd.blocked import Blocked
from rushlight.autograd.hooks import HookDict, RemovableHandle

if TYPE_CHECKING:
    from rushlight.autograd.node import Node
    from rushlight.dtypes import Array
    from rushlight.tensor import Tensor

__all__ = ["Storage", "TensorBase", "wrap", "writes"]


class Storage:
    """What the views of one piece of memory share.

    `version` counts in-place changes, `rebased` those of them that were recorded in a graph: a
    view taken before one must look up its history again. `exported` is set once a writable array
    was handed out (``.numpy()``): from then on the memory can change without a count. `prepared`
    is where operations keep what they made of the memory as of one version. `watched` is set once
    somebody relies on :data:`writes` to hear of changes.
    """

    # Class attributes until they change: a storage is made for most results that backward needs.
    version = 0
    rebased = 0
    exported = False
    watched = False
    prepared: Any = None

    def note_change(self) -> None:
        """Tell who watches that the memory has changed, is another, or may change unseen."""
        if self.watched:
            writes.last = object()


class _Writes:
    """The last change of any watched storage: another object each time.

    A count that two threads raise at once could come back to what somebody has seen.
    """

    last: object = None


writes = _Writes()


class _ArrayHolder:
    """The one field that every tensor sets, outside the dict: most results need no dict at all."""

    __slots__ = ("_array",)

    _array: Array


class TensorBase(_ArrayHolder):
    """An array with autograd's fields; :class:`rushlight.Tensor` adds the operators.

    The fields are class attributes until they differ from their defaults, which keeps the
    creation of a tensor, done once per operation, at a single attribute.
    """

    _requires_grad = False
    _grad: Tensor | None = None
    _node: Node | None = None
    _output_index = 0
    _base: TensorBase | None = None
    _base_rebased: int | None = 0
    _retained: bool = False
    _hooks: HookDict | None = None
    _post_hooks: HookDict | None = None
    _storage_state: Storage | None = None
    # What convolutions hand to each other, in the place of an array that nobody has asked for yet:
    # `_array` is made of it then, and from then on all there is. An operation that can do with
    # either reads ``x._blocks or x._array``.
    _blocks: Blocked | None = None

    if not TYPE_CHECKING:  # which would take any name for an attribute

        def __getattr__(self, name: str) -> Any:
            # Reached for `_array` too, while it is not set.
            if name == "_array" and self._blocks is not None:
                return self._turned()
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _turned(self) -> Array:
        """Return the array that is made of the blocks, and forget those."""
        blocks = self._blocks
        if blocks is not None:  # else another thread was faster
            array = blocks.shared_plain()  # the same for every thread that gets here
            self._array = array
            self._blocks = None
        return self._array

    # -- storage and versions ---------------------------------------------------------------

    @property
    def _storage(self) -> Storage:
        found = self._storage_state
        if found is None:
            # Made when first asked for; setdefault is atomic, so two threads get the same one.
            found = self.__dict__.setdefault("_storage_state", Storage())
        return found

    @property
    def _version(self) -> int:
        return self._storage.version

    def _bump_version(self) -> None:
        """Count one in-place change of the memory behind this tensor and all its views."""
        storage = self._storage
        storage.version += 1
        if storage.watched:
            storage.note_change()

    def _share_storage(self, other: TensorBase) -> None:
        self._use_storage(other._storage)

    def _use_storage(self, storage: Storage) -> None:
        self._storage_state = storage

    def _become_view_of(self, source: TensorBase) -> None:
        self._share_storage(source)
        self._base = source if source._base is None else source._base
        # A view taken under no_grad stays outside the graph, whatever happens to its base.
        self._base_rebased = self._storage.rebased if grad_mode.state.enabled else None

    def _refresh(self) -> None:
        """Look up a view's history again if its base was changed in place and recorded since."""
        if self._base is not None and self._base_rebased not in (None, self._storage.rebased):
            _follow_base(self)

    # -- place in the graph -----------------------------------------------------------------

    @property
    def requires_grad(self) -> bool:
        """Whether ``backward`` computes a gradient for this tensor."""
        self._refresh()
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self._refresh()
        if self._node is not None:
            if not value:
                raise RuntimeError(
                    "requires_grad: only a leaf can be set to False; this tensor was made by "
                    f"{self._node.name()}, use detach() for a tensor outside the graph"
                )
            return
        if value and not dtypes.of(self._blocks or self._array).is_floating_point:
            raise RuntimeError(
                "requires_grad: only float32 and float64 tensors can require gradients, "
                f"but this one is {self._array.dtype}"
            )
        self._requires_grad = bool(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set :attr:`requires_grad` and return the tensor."""
        self.requires_grad = requires_grad
        return self  # type: ignore[return-value]  # every instance is a Tensor

    @property
    def is_leaf(self) -> bool:
        """True for a tensor that no recorded operation made."""
        self._refresh()
        return self._node is None

    @property
    def grad_fn(self) -> Node | None:
        """The recorded operation that made this tensor, or None."""
        self._refresh()
        return self._node

    @property
    def grad(self) -> Tensor | None:
        """The gradient that ``backward`` accumulated, or None."""
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, TensorBase):
                raise TypeError(f"grad must be a Tensor or None, but got {type(value).__name__}")
            if value is self:
                raise RuntimeError("grad: a tensor cannot be its own gradient")
            if value._array.shape != self._array.shape:
                raise RuntimeError(
                    f"grad: a gradient of shape {list(value._array.shape)} does not fit a tensor "
                    f"of shape {list(self._array.shape)}"
                )
            if value._array.dtype != self._array.dtype:
                raise RuntimeError(
                    f"grad: a gradient of {value._array.dtype} does not fit a tensor of "
                    f"{self._array.dtype}"
                )
        self._grad = value

    @property
    def retains_grad(self) -> bool:
        """True for a non-leaf whose gradient ``backward`` keeps."""
        return self._retained and self._node is not None

    def retain_grad(self) -> None:
        """Make ``backward`` keep the gradient of a non-leaf in :attr:`grad`.

        Raises
        ------
        RuntimeError
            When the tensor does not require a gradient.
        """
        if not self.requires_grad:
            raise RuntimeError("retain_grad: the tensor does not require a gradient")
        if self._node is None or self._retained:
            return
        self._retained = True
        self._node.retain(self._output_index, weakref.ref(self))

    # -- hooks ------------------------------------------------------------------------------

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
        """Call `hook` with the gradient of this tensor whenever one is computed.

        What the hook returns, if not None, replaces the gradient.

        Raises
        ------
        RuntimeError
            When the tensor does not require a gradient.
        """
        if not self.requires_grad:
            raise RuntimeError("register_hook: the tensor does not require a gradient")
        if self._node is not None:
            return RemovableHandle.add(self._node.hooks_of(self._output_index), hook)
        if self._hooks is None:
            self._hooks = HookDict()
        return RemovableHandle.add(self._hooks, hook)

    def register_post_accumulate_grad_hook(self, hook: Callable[[Tensor], None]) -> RemovableHandle:
        """Call `hook` with this leaf after its :attr:`grad` was updated by ``backward``.

        Raises
        ------
        RuntimeError
            When the tensor is not a leaf, or does not require a gradient.
        """
        if not self.is_leaf:
            raise RuntimeError("register_post_accumulate_grad_hook: the tensor is not a leaf")
        if not self._requires_grad:
            raise RuntimeError(
                "register_post_accumulate_grad_hook: the tensor does not require a gradient"
            )
        if self._post_hooks is None:
            self._post_hooks = HookDict()
        return RemovableHandle.add(self._post_hooks, hook)

    # -- outside the graph ------------------------------------------------------------------

    def detach(self) -> Tensor:
        """Return a tensor outside the graph that shares this one's memory and version."""
        result = _new(_tensor_type)
        result._array = self._array
        result._storage_state = self._storage_state or self._storage
        return result  # type: ignore[return-value]  # every instance is a Tensor

    def detach_(self) -> Tensor:
        """Take this tensor out of the graph that made it and return it."""
        if self._base is not None:
            raise RuntimeError("detach_: a view cannot be detached in place, use detach()")
        self._node = None
        self._requires_grad = False
        return self  # type: ignore[return-value]  # every instance is a Tensor


_tensor_type: type[TensorBase] = TensorBase
# Looked up once: wrap() runs for every result.
_new, _ndarray = object.__new__, np.ndarray
_follow_base: Callable[[TensorBase], None]


def set_tensor_type(cls: type[TensorBase]) -> None:
    """Make `cls` the type of every result; called once, by the module that defines Tensor."""
    global _tensor_type
    _tensor_type = cls


def set_view_follower(function: Callable[[TensorBase], None]) -> None:
    """Make `function` what looks up a view's history; called once, by the module of the graph."""
    global _follow_base
    _follow_base = function


def wrap(array: Array | Blocked) -> Tensor:
    """Return a tensor over `array`, outside any graph, sharing its memory."""
    result = _new(_tensor_type)
    if type(array) is _ndarray:
        result._array = array
    elif type(array) is Blocked:
        result._blocks = array
    else:
        result._array = np.asarray(array)
    return result  # type: ignore[return-value]  # tensor.py registers Tensor
