"""New tensors from data, sizes and values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight import _core, dtypes
from rushlight.autograd.base import TensorBase, wrap
from rushlight.autograd.tape import inspect
from rushlight.dtypes import Array
from rushlight.errors import OperationError
from rushlight.ops._common import NUMBERS, Scalar, array_of, as_index, checked_shape, quiet, refuse

if TYPE_CHECKING:
    from rushlight.tensor import Tensor

__all__ = [
    "arange", "as_tensor", "empty", "empty_like", "eye", "from_numpy", "full", "full_like",
    "linspace", "ones", "ones_like", "tensor", "zeros", "zeros_like",
]  # fmt: skip

DTypeLike = Any

_HELD = frozenset(each.numpy for each in dtypes.ALL)


def finish(array: Array, requires_grad: bool, device: object = None) -> Tensor:
    """Return a new leaf over `array`; ValueError for another device than the CPU."""
    if device is not None:
        dtypes.device(device)
    result = wrap(array)
    if requires_grad:
        result.requires_grad = True
    return result


def numpy_dtype(dtype: DTypeLike | None, default: dtypes.dtype, operation: str) -> Any:
    """Return the NumPy type for a ``dtype=`` argument."""
    return (default if dtype is None else dtypes.as_dtype(dtype, f"{operation}: dtype")).numpy


def _inferred(data: Any) -> Array:
    """Return Python or NumPy data as an array of one of the four types, by PyTorch's rules."""
    if isinstance(data, np.ndarray):
        if data.dtype.kind in "iuf" and data.dtype not in _HELD:
            raise TypeError(
                f"tensor: a tensor holds {dtypes.VALID}, but got an array of {data.dtype}; pass "
                "dtype= to convert it"
            )
        dtypes.of(data)
        return data
    try:
        array = np.asarray(data)
    except ValueError as error:
        raise OperationError(f"tensor: the nested sequences differ in length: {error}") from None
    if array.dtype == np.float64 and not _holds_float64(data):
        return array.astype(np.float32)
    if array.dtype.kind in "OUSV":
        raise TypeError(f"tensor: data must hold numbers, but got {array.dtype} from {data!r:.80}")
    dtypes.of(array)
    return array


def _holds_float64(data: Any) -> bool:
    """Return whether data holds NumPy's float64 values, which keep their type, as its first."""
    while isinstance(data, (list, tuple)) and data:
        data = data[0]
    return isinstance(data, (np.ndarray, np.float64))


def tensor(
    data: Any, *, dtype: DTypeLike | None = None, requires_grad: bool = False, device: Any = None
) -> Tensor:
    """Return a new tensor with a copy of `data`.

    Parameters
    ----------
    data : number, nested sequence, ndarray or Tensor
        Python floats give float32, ints int64, bools bool; arrays keep their type.
    dtype : dtype, optional
        Element type of the result.
    requires_grad : bool
        Whether ``backward`` computes its gradient.
    device : optional
        Accepted for ported code; there is only the CPU.

    Raises
    ------
    TypeError
        When the data are no numbers, or of a type that a tensor does not hold.
    ValueError
        When nested sequences differ in length.
    """
    if isinstance(data, TensorBase):
        inspect("tensor", data)
        data = data._array
    elif isinstance(data, (list, tuple)):
        data = _unwrapped(data)
    if dtype is not None and isinstance(data, np.ndarray):
        # An explicit dtype converts what a tensor cannot hold, such as uint8 images.
        array = _convertible(data)
    elif dtype is not None:
        array = np.asarray(data)
        if array.dtype.kind in "OUSV":
            _inferred(data)
    else:
        array = _inferred(data)
    target = array.dtype if dtype is None else dtypes.as_dtype(dtype, "tensor: dtype").numpy
    with quiet():
        return finish(np.array(array, target, order="C"), requires_grad, device)


def _unwrapped(data: Any) -> Any:
    """Return nested sequences with the tensors in them as numbers or arrays."""
    if isinstance(data, (list, tuple)):
        return [_unwrapped(each) for each in data]
    if isinstance(data, TensorBase):
        inspect("tensor", data)
        return data._array
    return data


def _convertible(data: Array) -> Array:
    if data.dtype.kind not in "biuf":
        raise TypeError(f"tensor: data must hold real numbers, but got an array of {data.dtype}")
    return data


def as_tensor(data: Any, *, dtype: DTypeLike | None = None, device: Any = None) -> Tensor:
    """Return `data` as a tensor, sharing memory where type and layout allow; see :func:`tensor`."""
    if device is not None:
        dtypes.device(device)
    if isinstance(data, TensorBase):
        return data if dtype is None else data.to(dtype)  # type: ignore[attr-defined,return-value]  # every instance is a Tensor
    if isinstance(data, np.ndarray) and (
        dtype is None or dtypes.as_dtype(dtype).numpy == data.dtype
    ):
        return from_numpy(data)
    return tensor(data, dtype=dtype)


def from_numpy(array: Array) -> Tensor:
    """Return a tensor that shares the memory of `array`: a write to one shows in the other.

    A read-only array gives a tensor that cannot be changed in place.

    Raises
    ------
    TypeError
        When `array` is no ndarray or holds a type that a tensor does not (byte-swapped types
        included).
    """
    if not isinstance(array, np.ndarray):
        refuse(array, "from_numpy", "array", "an ndarray")
    dtypes.of(array)
    # An array of its own: whoever assigns a shape to `array` does not change the tensor's.
    result = wrap(np.asarray(array).view())
    # Whoever holds the array can write to it unseen.
    result._storage.exported = True
    return result


def empty(
    *size: Any, dtype: DTypeLike | None = None, requires_grad: bool = False, device: Any = None
) -> Tensor:
    """Return a tensor of shape `size` whose elements are not initialised; see :func:`zeros`."""
    shape = checked_shape(size, "empty")
    array = _core.empty(shape, numpy_dtype(dtype, dtypes.float32, "empty"))
    return finish(array, requires_grad, device)


def zeros(
    *size: Any, dtype: DTypeLike | None = None, requires_grad: bool = False, device: Any = None
) -> Tensor:
    """Return a tensor of zeros.

    Parameters
    ----------
    *size : int or sequence of int
        Shape, as ``zeros(2, 3)`` or ``zeros((2, 3))``.
    dtype : dtype, optional
        float32 by default.
    requires_grad : bool
        Whether ``backward`` computes its gradient.
    device : optional
        Accepted for ported code; there is only the CPU.

    Raises
    ------
    ValueError
        For a negative or overflowing size.
    """
    shape = checked_shape(size, "zeros")
    array = np.zeros(shape, numpy_dtype(dtype, dtypes.float32, "zeros"))
    return finish(array, requires_grad, device)


def ones(
    *size: Any, dtype: DTypeLike | None = None, requires_grad: bool = False, device: Any = None
) -> Tensor:
    """Return a tensor of ones; see :func:`zeros`."""
    shape = checked_shape(size, "ones")
    array = np.ones(shape, numpy_dtype(dtype, dtypes.float32, "ones"))
    return finish(array, requires_grad, device)


def full(
    size: Sequence[int],
    fill_value: Scalar,
    *,
    dtype: DTypeLike | None = None,
    requires_grad: bool = False,
    device: Any = None,
) -> Tensor:
    """Return a tensor of shape `size` filled with `fill_value`, whose type it takes by default."""
    shape = checked_shape((size,), "full")
    target = numpy_dtype(dtype, dtypes.of_scalar(fill_value), "full")
    return finish(_filled(shape, fill_value, target, "full"), requires_grad, device)


def _filled(shape: tuple[int, ...], value: Scalar, target: np.dtype[Any], name: str) -> Array:
    array = _core.empty(shape, target, name)
    np.copyto(array, value, casting="unsafe")  # as np.full, in memory that kernels read faster
    return array


def _like(
    input: Tensor,
    value: Scalar,
    dtype: DTypeLike | None,
    requires_grad: bool,
    device: object,
    name: str,
) -> Tensor:
    source = array_of(input, name)
    target = numpy_dtype(dtype, dtypes.of(source), name)
    return finish(_filled(source.shape, value, target, name), requires_grad, device)


def zeros_like(
    input: Tensor,
    *,
    dtype: DTypeLike | None = None,
    requires_grad: bool = False,
    device: Any = None,
    memory_format: Any = None,
) -> Tensor:
    """Return zeros of the shape and, by default, the type of `input`."""
    dtypes.check_memory_format(memory_format, "zeros_like")
    return _like(input, 0, dtype, requires_grad, device, "zeros_like")


def ones_like(
    input: Tensor,
    *,
    dtype: DTypeLike | None = None,
    requires_grad: bool = False,
    device: Any = None,
    memory_format: Any = None,
) -> Tensor:
    """Return ones of the shape and, by default, the type of `input`."""
    dtypes.check_memory_format(memory_format, "ones_like")
    return _like(input, 1, dtype, requires_grad, device, "ones_like")


def full_like(
    input: Tensor,
    fill_value: Scalar,
    *,
    dtype: DTypeLike | None = None,
    requires_grad: bool = False,
    device: Any = None,
    memory_format: Any = None,
) -> Tensor:
    """Return `fill_value` in the shape and, by default, the type of `input`."""
    dtypes.check_memory_format(memory_format, "full_like")
    return _like(input, fill_value, dtype, requires_grad, device, "full_like")


def empty_like(
    input: Tensor,
    *,
    dtype: DTypeLike | None = None,
    requires_grad: bool = False,
    device: Any = None,
    memory_format: Any = None,
) -> Tensor:
    """Return an uninitialised tensor of the shape and, by default, the type of `input`."""
    dtypes.check_memory_format(memory_format, "empty_like")
    source = array_of(input, "empty_like")
    target = numpy_dtype(dtype, dtypes.of(source), "empty_like")
    return finish(_core.empty(source.shape, target), requires_grad, device)


def arange(
    start: Scalar,
    end: Scalar | None = None,
    step: Scalar = 1,
    *,
    dtype: DTypeLike | None = None,
    requires_grad: bool = False,
    device: Any = None,
) -> Tensor:
    """Return the numbers from `start` (0 if only one bound is given) to before `end`.

    Raises
    ------
    ValueError
        When `step` is 0 or leads away from `end`.
    """
    if end is None:
        start, end = 0, start
    for name, value in (("start", start), ("end", end), ("step", step)):
        if not isinstance(value, NUMBERS):
            refuse(value, "arange", name, "a number")
    if step == 0 or (end != start and (step > 0) != (end > start)):
        raise OperationError(f"arange: step {step} does not lead from {start} to {end}")
    whole = all(dtypes.of_scalar(each) is not dtypes.float32 for each in (start, end, step))
    target = numpy_dtype(dtype, dtypes.int64 if whole else dtypes.float32, "arange")
    if max(abs(start), abs(end), abs(step)) >= 2**63 and whole:
        raise OperationError(
            f"arange: integers must fit 64 bits, got {start}, {end} and step {step}"
        )
    # NumPy counts in floating point, and a count that is too large wraps to an empty result.
    if end != start:
        count = (end - start) / step
        if not math.isfinite(count):
            raise OperationError(
                f"arange: no finite number of steps of {step} from {start} to {end}"
            )
        checked_shape((math.ceil(count),), "arange")
    return finish(np.arange(start, end, step).astype(target), requires_grad, device)


def linspace(
    start: float,
    end: float,
    steps: int,
    *,
    dtype: DTypeLike | None = None,
    requires_grad: bool = False,
    device: Any = None,
) -> Tensor:
    """Return `steps` numbers at equal distances from `start` to `end`, both included."""
    target = numpy_dtype(dtype, dtypes.float32, "linspace")
    if as_index(steps, "linspace", "steps") < 0:
        raise OperationError(f"linspace: steps must be 0 or more, but got {steps}")
    return finish(np.linspace(start, end, steps).astype(target), requires_grad, device)


def eye(
    n: int,
    m: int | None = None,
    *,
    dtype: DTypeLike | None = None,
    requires_grad: bool = False,
    device: Any = None,
) -> Tensor:
    """Return an `n` by `m` matrix (`m` = `n` by default) with ones on the diagonal."""
    rows, columns = checked_shape((n, n if m is None else m), "eye")
    return finish(
        np.eye(rows, columns, dtype=numpy_dtype(dtype, dtypes.float32, "eye")),
        requires_grad,
        device,
    )
