"""``Function``: differentiable operations of the user's own, as in PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight.autograd import grad_mode
from rushlight.autograd.base import TensorBase, wrap
from rushlight.autograd.inplace import check_in_place, check_writable
from rushlight.autograd.node import Node, edge_of
from rushlight.autograd.sums import sum_to

if TYPE_CHECKING:
    from rushlight.dtypes import Array
    from rushlight.tensor import Tensor

__all__ = ["Function"]


class Function(Node):
    """Base class of differentiable operations written in Python (PyTorch's ``Function``).

    A subclass defines two static methods. ``forward(ctx, *args)`` gets what :meth:`apply` was
    given and returns a tensor or a tuple; inside, nothing is recorded. ``backward(ctx, *grads)``
    gets the gradient of each output and returns one gradient, or None, per argument of forward.
    Alternatively ``forward(*args)`` may leave `ctx` to ``setup_context(ctx, inputs, output)``.

    Examples
    --------
    >>> import rushlight
    >>> class Square(rushlight.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x * x
    ...
    ...     @staticmethod
    ...     def backward(ctx, grad):
    ...         (x,) = ctx.saved_tensors
    ...         return 2 * x * grad
    >>> x = rushlight.tensor([3.0], requires_grad=True)
    >>> Square.apply(x).backward()
    >>> x.grad
    tensor([6.])
    """

    forward: Callable[..., Any]
    backward: Callable[..., Any]
    setup_context: Callable[..., Any] | None = None

    needs_input_grad: tuple[bool, ...] = ()
    _materialize = True
    _dirty: tuple[TensorBase, ...] = ()
    _excluded: tuple[TensorBase, ...] = ()
    _to_save: tuple[TensorBase | None, ...] = ()
    _argument_count = 0

    @classmethod
    def name(cls) -> str:
        """Return the name that ``grad_fn=<...>`` prints."""
        return f"{cls.__name__}Backward"

    # -- what forward may call on ctx -------------------------------------------------------

    def save_for_backward(self, *tensors: TensorBase | None) -> None:
        """Keep inputs or outputs of forward for backward, where :attr:`saved_tensors` has them.

        They are kept as they are when forward returns.

        Raises
        ------
        TypeError
            When something else than a tensor or None is given: set it as an attribute of `ctx`.
        """
        for each in tensors:
            if each is not None and not isinstance(each, TensorBase):
                raise TypeError(
                    f"save_for_backward: expected tensors or None, but got {type(each).__name__}"
                )
        self._to_save = tensors

    @property
    def saved_tensors(self) -> tuple[Tensor, ...]:
        """What was given to :meth:`save_for_backward`, as tensors outside the graph.

        They share memory and version with the originals.

        Raises
        ------
        RuntimeError
            When they were freed by an earlier backward, or changed in place since.
        """
        arrays = self.saved
        found: list[Any] = []
        for array, (_, storage, _) in zip(arrays, self._saved or (), strict=True):
            found.append(None if array is None else wrap(array))
            if storage is not None:
                found[-1]._use_storage(storage)
        return tuple(found)

    def mark_dirty(self, *tensors: TensorBase) -> None:
        """Declare the inputs that forward changed in place and returns."""
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors: TensorBase) -> None:
        """Declare outputs that have no gradient."""
        self._excluded = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Set whether backward gets zeros (the default) or None for an output without gradient."""
        self._materialize = value

    # -- the two directions -----------------------------------------------------------------

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Run ``forward`` on `args` and record the operation where a gradient is required."""
        if grad_mode.state.tape is not None:
            return grad_mode.state.tape.call(cls.apply, cls, args)
        node = cls()
        tracked = grad_mode.state.enabled and node.track(args)
        node.needs_input_grad = tuple([edge_of(arg) is not None for arg in args])
        node._argument_count = len(args)
        with grad_mode.no_grad():
            if cls.setup_context is None:
                result = cls.forward(node, *args)
            else:
                result = cls.forward(*args)
                cls.setup_context(node, args, result)
        single = not isinstance(result, tuple)
        outputs = [node._output(each, args, tracked) for each in ((result,) if single else result)]
        if tracked:
            node.save(*node._to_save)
            node._attach_differentiable(outputs)
        # Outputs among these refer to the node: keeping them would be a cycle.
        node._to_save = node._dirty = node._excluded = ()
        return outputs[0] if single else tuple(outputs)

    def _output(self, value: Any, args: Sequence[Any], tracked: bool) -> Any:
        """Return a result of forward as the tensor that the caller gets."""
        if not isinstance(value, TensorBase):
            if tracked and value is not None:
                raise TypeError(
                    f"{type(self).__name__}.forward must return tensors, got {type(value).__name__}"
                )
            return value
        if any(value is each for each in self._dirty):
            check_writable(value, self.name())
            if tracked:
                check_in_place(value, self.name())
                if value._base is not None:
                    raise RuntimeError(
                        f"{self.name()}: a view cannot be changed in place by a Function while "
                        "operations are recorded; pass a clone()"
                    )
                value._storage.rebased += 1
            value._bump_version()
            return value
        if any(value is each for each in args):
            # An input returned as it is: a view, so that the input itself keeps its history.
            view = wrap(value._array)
            view._become_view_of(value)
            return view
        return value

    def _attach_differentiable(self, outputs: Sequence[Any]) -> None:
        excluded = {id(each) for each in self._excluded}
        tensors = [each if isinstance(each, TensorBase) else None for each in outputs]
        self.outputs = tuple(
            ((), np.dtype(bool)) if each is None else (each._array.shape, each._array.dtype)
            for each in tensors
        )
        for index, each in enumerate(tensors):
            if each is not None and each._array.dtype.kind == "f" and id(each) not in excluded:
                each._node, each._output_index, each._requires_grad = self, index, True

    def run(self, grads: list[Array | None]) -> tuple[Array | None, ...]:
        """Return what the user's ``backward`` gives for the gradients of the outputs, checked."""
        self.check_not_released()
        tensors: list[Tensor | None] = []
        for value, (shape, dtype) in zip(grads, self.outputs, strict=True):
            if value is None and self._materialize:
                value = np.zeros(shape, dtype)
            elif value is not None:
                value = value.copy()  # backward may change it, and others may hold it
            tensors.append(None if value is None else wrap(value))
        result = type(self).backward(self, *tensors)
        results = result if isinstance(result, tuple) else (result,)
        if (
            any(each is not None for each in results[self._argument_count :])
            or len(results) < self._argument_count
        ):
            raise RuntimeError(
                f"{self.name()}: backward returned {len(results)} gradients, but forward took "
                f"{self._argument_count} arguments"
            )
        return tuple(
            self._checked(number, each, edge)
            for number, (each, edge) in enumerate(zip(results, self.edges, strict=False))
        )

    def _checked(self, number: int, value: Any, edge: Any) -> Array | None:
        """Return a gradient from the user's backward as an array that fits its input."""
        if value is None or edge is None:
            return None
        if not isinstance(value, TensorBase):
            raise TypeError(
                f"{self.name()}: gradient {number} must be a Tensor or None, but got "
                f"{type(value).__name__}"
            )
        if isinstance(edge, tuple):
            shape, dtype = edge[0].outputs[edge[1]]
        else:
            shape, dtype = edge._array.shape, edge._array.dtype
        try:
            array = sum_to(value._array, shape, dtype)
        except ValueError:
            raise RuntimeError(
                f"{self.name()}: gradient {number} has shape {list(value._array.shape)}, but "
                f"the input has shape {list(shape)}"
            ) from None
        # A view, so that the walk never takes memory that the user may hold for its own.
        return array.view()
