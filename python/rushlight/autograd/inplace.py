"""In-place changes: what is refused, and how a change of a view becomes one of its base."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight.autograd.base import TensorBase, set_view_follower
from rushlight.autograd.node import Node, edge_of, next_sequence
from rushlight.errors import OperationError

if TYPE_CHECKING:
    from rushlight.dtypes import Array

__all__ = ["check_in_place", "check_place", "check_writable", "rebase"]


def check_writable(target: TensorBase, operation: str) -> None:
    """Raise RuntimeError when `target` cannot be changed in place."""
    array = target._array
    if (
        array.size
        and 0 in array.strides
        and any(
            extent > 1 and stride == 0
            for extent, stride in zip(array.shape, array.strides, strict=True)
        )
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
    base = target._base
    if base is None:
        return
    if base._node is None and base._requires_grad:
        raise RuntimeError(
            f"{operation}: a view of a leaf that requires a gradient cannot be changed in place "
            "while operations are recorded; use no_grad()"
        )
    if target._base_rebased is None or base._storage is not target._storage:
        raise RuntimeError(
            f"{operation}: a view taken under no_grad, or before its base got other data, cannot "
            "be changed in place while operations are recorded; take the view again"
        )


def check_place(place: Array, shape: tuple[int, ...], dtype: np.dtype[Any], operation: str) -> None:
    """Raise ValueError or TypeError when a result cannot be stored in the array `place`."""
    if shape != place.shape:
        raise OperationError(
            f"{operation}: a result of shape {list(shape)} cannot take the place of a tensor of "
            f"shape {list(place.shape)}"
        )
    if not np.can_cast(dtype, place.dtype, "same_kind"):
        raise TypeError(
            f"{operation}: a result of {dtype} cannot be stored in a tensor of {place.dtype}"
        )


# -- views ------------------------------------------------------------------------------------


class _Region:
    """Where the memory of a view lies inside that of its base."""

    def __init__(self, base: TensorBase, view: TensorBase) -> None:
        whole, part = base._array, view._array
        self._whole = whole.shape, whole.strides
        self._part = part.shape, part.strides
        self._dtype = whole.dtype
        start = part.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
        self._offset = start if part.size else 0

    def blank(self) -> tuple[Array, Array]:
        """Return zeros laid out like the base, and the view of them."""
        shape, strides = self._whole
        extent = sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
        memory = np.zeros(max(extent, 0) // self._dtype.itemsize + 1, self._dtype)
        part_shape, part_strides = self._part
        return (
            np.ndarray(shape, self._dtype, memory, 0, strides),
            np.ndarray(part_shape, self._dtype, memory, self._offset, part_strides),
        )


class StridedView(Node):
    """A view, seen as a piece of its base's memory rather than as the operations that took it."""

    @classmethod
    def name(cls) -> str:
        """Return the name that ``grad_fn=<...>`` prints."""
        return "AsStridedBackward0"

    def __init__(self, base: TensorBase, view: TensorBase) -> None:
        self._region = _Region(base, view)
        self.edges = (edge_of(base),)
        self.sequence = next_sequence()

    def run(self, grads: list[Array | None]) -> tuple[Array | None, ...]:
        """Return the gradient of the base: zero outside the view."""
        full, part = self._region.blank()
        part[...] = grads[0]
        return (full,)


class ViewWrite(Node):
    """An operation that ran in place on a view, seen as one on the base (PyTorch's CopySlices)."""

    @classmethod
    def name(cls) -> str:
        """Return the name that ``grad_fn=<...>`` prints."""
        return "CopySlices"

    def __init__(self, base: TensorBase, view: TensorBase, operation: Node) -> None:
        self._region = _Region(base, view)
        self._operation = operation
        self.edges = (edge_of(base), *operation.edges[1:])
        self.sequence = next_sequence()

    def run(self, grads: list[Array | None]) -> tuple[Array | None, ...]:
        """Return the gradient of the base, passed through the operation inside the view."""
        full, part = self._region.blank()
        full[...] = grads[0]
        before, *others = self._operation.run([part.copy()])
        part[...] = 0 if before is None else before
        return (full, *others)

    def release(self) -> None:
        """Free what the operation saved."""
        self._operation.release()


def rebase(target: TensorBase, node: Node) -> None:
    """Make `node`, which changed `target` in place, its maker; through the base for a view."""
    base = target._base
    target._storage.rebased += 1
    if base is None:
        _take_over(target, node)
        return
    node.outputs = ((target._array.shape, target._array.dtype),)
    # The view itself, like every other view of the base, looks its history up when next used.
    _take_over(base, ViewWrite(base, target, node))


def _take_over(target: TensorBase, node: Node) -> None:
    if target._retained and target._node is not None:
        target._node.hand_over(target, node)
    node.outputs = ()
    node.attach(target)


def _follow_base(view: TensorBase) -> None:
    """Give a view of a tensor that was changed in place the history that it has now."""
    base = view._base
    assert base is not None
    view._base_rebased = view._storage.rebased
    if base._requires_grad and base._storage is view._storage:
        _take_over(view, StridedView(base, view))


set_view_follower(_follow_base)
