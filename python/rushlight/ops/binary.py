"""The base of operations on two operands that broadcast, and arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight import _core
from rushlight.autograd.base import TensorBase
from rushlight.autograd.blocked import Blocked
from rushlight.autograd.inplace import check_place
from rushlight.autograd.primitive import Primitive
from rushlight.autograd.sums import sum_to
from rushlight.dtypes import Array
from rushlight.errors import OperationError
from rushlight.ops._common import NUMBERS, Operand, quiet, refuse, result_dtype

if TYPE_CHECKING:
    pass

__all__: list[str] = []


class Binary(Primitive):
    """An operation on two operands, each a tensor or a number, that broadcast."""

    _like: tuple[tuple[tuple[int, ...], np.dtype[Any]] | None, ...] = ()
    # What integers are divided as.
    _integers_as: np.dtype[Any] | None = None

    def operands(self, *values: Any) -> tuple[Any, ...]:
        """Return the arrays or numbers of the operands, noting where gradients must fit."""
        found = [
            value._array if isinstance(value, TensorBase) else self._number(value)
            for value in values
        ]
        if self._saved is not None:
            self.note(found)
        first, last = found[0], found[-1]
        # Two tensors of one shape, the usual case, are spared the search for a common one.
        if not (
            len(found) == 2
            and type(first) is type(last) is np.ndarray
            and first.shape == last.shape
        ):
            self._check_broadcast(found)
        if self.out is not None:
            self._check_place(values, found, self.out)
        return tuple(found)

    def note(self, operands: Sequence[Any]) -> None:
        """Note the shapes and types that gradients must have."""
        self._like = tuple(
            [(x.shape, x.dtype) if isinstance(x, (np.ndarray, Blocked)) else None for x in operands]
        )

    def _number(self, value: Any) -> Any:
        if not isinstance(value, NUMBERS):
            refuse(value, type(self).__name__.lower(), "other", "a Tensor or a number")
        return value

    def _check_place(self, values: tuple[Any, ...], found: list[Any], out: Array) -> None:
        """Raise where the result of an operation in place does not fit its target."""
        shapes = [x.shape for x in found if isinstance(x, np.ndarray)]
        shape = (
            out.shape if shapes.count(out.shape) == len(shapes) else np.broadcast_shapes(*shapes)
        )
        dtype = out.dtype
        if dtype.kind != "f":  # which takes every result
            dtype = result_dtype(*values)
            if dtype.kind != "f" and self._integers_as is not None:
                dtype = self._integers_as
        check_place(out, shape, dtype, f"{type(self).__name__.lower()}_")

    def _check_broadcast(self, found: list[Any]) -> None:
        shapes = [x.shape for x in found if isinstance(x, np.ndarray)]
        if len(shapes) < 2 or shapes[0] == shapes[-1] == shapes[1]:
            return
        try:
            np.broadcast_shapes(*shapes)
        except ValueError:
            text = " and ".join(str(list(shape)) for shape in shapes)
            raise OperationError(
                f"{type(self).__name__.lower()}: shapes {text} do not broadcast: sizes must be "
                "equal, or one of them 1, counted from the last dimension"
            ) from None

    def fit(self, index: int, grad: Any) -> Any:
        """Return a gradient summed and cast to what operand `index` was."""
        like = self._like[index]
        assert like is not None
        if isinstance(grad, Blocked) and grad.shape != like[0]:
            grad = grad.plain()
        return sum_to(grad, *like)


def compute_dtype(a: Any, b: Any) -> np.dtype[Any] | None:
    """Return the type to compute in, or None where NumPy's own choice is the right one."""
    if isinstance(a, TensorBase) and isinstance(b, TensorBase) and a._array.dtype == b._array.dtype:
        return None
    return result_dtype(a, b)


class Arithmetic(Binary):
    """Add, subtract, multiply, divide: kernels where they take the operands, else NumPy."""

    kernel: Any
    ufunc: Any
    warns = False
    # Whether it joins operands in blocks where no gradient is asked for.
    joins_blocks = False

    def forward(self, a: Operand, b: Operand) -> Any:
        x: Any = (a._blocks or a._array) if isinstance(a, TensorBase) else a
        y: Any = (b._blocks or b._array) if isinstance(b, TensorBase) else b
        if type(x) is Blocked or type(y) is Blocked:
            x, y = self._alike(a, b, x, y)
        found = self.kernel(x, y, self.out_blocks or self.out)
        if found is NotImplemented:
            x, y = self.operands(a, b)
            found = self.by_numpy(x, y, compute_dtype(a, b) or x.dtype)
        elif self._saved is not None:
            self.note((x, y))
        return found

    def _alike(self, a: Operand, b: Operand, x: Any, y: Any) -> tuple[Any, Any]:
        """Return operands in blocks, where this operation joins them, else as arrays or numbers."""
        joins = self.takes_blocks or (self.joins_blocks and self._saved is None)
        if joins and self.out is None and _fit_blocks(x, y):
            return (
                x if type(x) is Blocked else Blocked(x),
                y if type(y) is Blocked else Blocked(y),
            )
        return (
            a._array if isinstance(a, TensorBase) else a,
            b._array if isinstance(b, TensorBase) else b,
        )

    @classmethod
    def works_in_blocks(cls, target: TensorBase, *args: Any) -> bool:
        """Return whether the other operand fits the blocks of `target`."""
        (other,) = args
        if not cls.takes_blocks or target._blocks is None or not isinstance(other, TensorBase):
            return False
        return _fit_blocks(target._blocks, other._blocks or other._array)

    def by_numpy(self, x: Any, y: Any, dtype: np.dtype[Any]) -> Any:
        """Return what NumPy makes of the operands, computing in `dtype`."""
        with quiet():
            return self.ufunc(x, y, out=self.out, dtype=dtype)


def _fit_blocks(x: Any, y: Any) -> bool:
    """Return whether both are images of one shape and type; the second may have a single pixel."""
    if not (isinstance(x, (np.ndarray, Blocked)) and isinstance(y, (np.ndarray, Blocked))):
        return False
    if x.dtype != y.dtype or x.ndim != 4 or y.ndim != 4:
        return False
    single = type(x) is Blocked and y.shape == (*x.shape[:2], 1, 1)
    return bool(x.shape == y.shape or single)


def _calculated(operation: type[Arithmetic], x: Any, y: Any) -> Array:
    """Return an operation on arrays or numbers that broadcast, for the gradients."""
    found = operation.kernel(x, y)
    if found is NotImplemented:
        with quiet():
            found = np.asarray(operation.ufunc(x, y))
    return found


class Add(Arithmetic):
    kernel, ufunc = _core.add, np.add
    takes_blocks = True

    def backward(self, grad: Array) -> tuple[Array | None, Array | None]:
        need_a, need_b = self.needs_input_grad
        return self.fit(0, grad) if need_a else None, self.fit(1, grad) if need_b else None


class Sub(Arithmetic):
    kernel, ufunc = _core.sub, np.subtract

    def by_numpy(self, x: Any, y: Any, dtype: np.dtype[Any]) -> Any:
        """Refuse masks, as NumPy does."""
        if dtype.kind == "b":
            raise TypeError("sub: masks cannot be subtracted, use the ^ or ~ operator")
        return super().by_numpy(x, y, dtype)

    def backward(self, grad: Array) -> tuple[Array | None, Array | None]:
        need_a, need_b = self.needs_input_grad
        return (
            self.fit(0, grad) if need_a else None,
            np.negative(self.fit(1, grad)) if need_b else None,
        )


class Mul(Arithmetic):
    kernel, ufunc = _core.mul, np.multiply
    joins_blocks = True

    def forward(self, a: Operand, b: Operand) -> Any:
        if self._saved is not None:
            need_a, need_b = self.needs_input_grad
            self.save(kept(a, need_b), kept(b, need_a))
        return super().forward(a, b)

    def backward(self, grad: Array) -> tuple[Array | None, Array | None]:
        x, y = self.saved
        need_a, need_b = self.needs_input_grad
        return (
            self.fit(0, _calculated(Mul, grad, y)) if need_a else None,
            self.fit(1, _calculated(Mul, grad, x)) if need_b else None,
        )


class Div(Arithmetic):
    kernel, ufunc = _core.div, np.true_divide
    _integers_as = np.dtype(np.float32)

    def forward(self, a: Operand, b: Operand) -> Any:
        if self._saved is not None:
            _, need_b = self.needs_input_grad
            self.save(kept(a, need_b), kept(b, True))
        return super().forward(a, b)

    def by_numpy(self, x: Any, y: Any, dtype: np.dtype[Any]) -> Any:
        """Divide integers as float32."""
        return super().by_numpy(x, y, dtype if dtype.kind == "f" else np.dtype(np.float32))

    def backward(self, grad: Array) -> tuple[Array | None, Array | None]:
        x, y = self.saved
        need_a, need_b = self.needs_input_grad
        by_a = _calculated(Div, grad, y) if need_a else None
        by_b = None
        if need_b:
            with quiet():
                by_b = np.asarray(-grad * x / (y * y))
        return (
            None if by_a is None else self.fit(0, by_a),
            None if by_b is None else self.fit(1, by_b),
        )


def kept(value: Operand, needed: bool) -> Any:
    """Return an operand in the form that ``save`` keeps, or None where backward does not ask."""
    if not needed:
        return None
    return value if isinstance(value, TensorBase) else np.asarray(value)
