"""``Tensor``: a NumPy array with autograd, and PyTorch's operators and methods."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, TypeAlias, cast

from rushlight import dtypes, formatting, ops
from rushlight.autograd import engine
from rushlight.autograd.base import TensorBase, set_tensor_type
from rushlight.autograd.tape import inspect
from rushlight.dtypes import Array, Size, device
from rushlight.ops import compare
from rushlight.ops._common import wrap_dim
from rushlight.ops.copying import cast as convert
from rushlight.ops.methods import TensorMethods

__all__ = ["Tensor", "device"]


CPU = device()

# The methods of the same names hide these types in annotations of the class.
_bool: TypeAlias = bool
_float: TypeAlias = float
_device: TypeAlias = device
_int: TypeAlias = int


class Tensor(TensorMethods, TensorBase):
    """An n-dimensional array of one element type that autograd can follow.

    Made by :func:`rushlight.tensor`, :func:`rushlight.from_numpy` and the other creation
    functions; ``Tensor(data)`` itself copies numbers as float32. Methods are those of PyTorch and
    share their documentation with the functions of the same name.
    """

    # NumPy gives way to the operators below, which say what they take.
    __array_ufunc__ = None
    __hash__ = object.__hash__

    def __new__(cls, *data: Any) -> Tensor:
        """Return an instance whose array the caller sets."""
        return object.__new__(cls)

    def __init__(self, *data: Any) -> None:
        if len(data) == 1 and not isinstance(data[0], int):
            self._array = ops.tensor(data[0], dtype=dtypes.float32)._array
        else:
            self._array = ops.zeros(*(data or (0,)))._array

    @staticmethod
    def _make_subclass(cls: type[Any], data: Tensor, requires_grad: _bool = False) -> Any:
        """Return an instance of a subclass of Tensor that shares the memory of `data`."""
        result = object.__new__(cls)
        result._array = data._array
        result._share_storage(data)
        result.requires_grad = requires_grad
        return result

    # -- what it is -------------------------------------------------------------------------

    @property
    def shape(self) -> Size:
        """The sizes, as a tuple."""
        return Size((self._blocks or self._array).shape)

    def size(self, dim: _int | None = None) -> Any:
        """Return the shape, or its entry `dim`."""
        shape = (self._blocks or self._array).shape
        return Size(shape) if dim is None else shape[wrap_dim(dim, len(shape), "size")]

    @property
    def ndim(self) -> _int:
        """The number of dimensions."""
        return (self._blocks or self._array).ndim

    def dim(self) -> _int:
        """Return the number of dimensions."""
        return (self._blocks or self._array).ndim

    ndimension = dim

    def numel(self) -> _int:
        """Return the number of elements."""
        return self._array.size

    nelement = numel

    @property
    def dtype(self) -> dtypes.dtype:
        """The element type."""
        return dtypes.of(self._blocks or self._array)

    @property
    def device(self) -> _device:
        """Where the tensor lives: the CPU."""
        return CPU

    is_cuda = False
    layout = "strided"

    @property
    def itemsize(self) -> _int:
        """Bytes in an element."""
        return self._array.itemsize

    @property
    def nbytes(self) -> _int:
        """Bytes in all elements."""
        return self._array.nbytes

    def element_size(self) -> _int:
        """Return the bytes in an element."""
        return self._array.itemsize

    def stride(self, dim: _int | None = None) -> Any:
        """Return the steps, in elements, between neighbours in each dimension, or in `dim`."""
        steps = tuple(each // self._array.itemsize for each in self._array.strides)
        return steps if dim is None else steps[dim]

    def data_ptr(self) -> _int:
        """Return the address of the first element."""
        return int(self._array.__array_interface__["data"][0])

    def is_contiguous(self, memory_format: Any = None) -> _bool:
        """Return whether the memory is without gaps, in row-major order or in the given one."""
        dtypes.check_memory_format(memory_format, "is_contiguous")
        if memory_format is dtypes.channels_last:
            return self._array.ndim == 4 and self._array.transpose(0, 2, 3, 1).flags.c_contiguous
        return self._array.flags.c_contiguous

    def is_floating_point(self) -> _bool:
        """Return whether the elements are float32 or float64."""
        return (self._blocks or self._array).dtype.kind == "f"

    # -- in and out -------------------------------------------------------------------------

    def numpy(self, *, force: _bool = False) -> Array:
        """Return the array behind the tensor: a write to one shows in the other.

        Parameters
        ----------
        force : bool
            Detach first where a gradient is required.

        Raises
        ------
        RuntimeError
            When the tensor requires a gradient and `force` is not set.
        """
        if self.requires_grad and not force:
            raise RuntimeError(
                "numpy: the tensor requires a gradient, which the array would lose; use "
                "detach().numpy()"
            )
        inspect("numpy", self)
        # From now on the memory can change without a bump of the version.
        storage = self._storage
        if not storage.exported:
            storage.exported = True
            storage.note_change()
        # An array of its own: its shape may be assigned without changing the tensor's.
        view: Array = self._array.view()
        return view

    def __array__(self, dtype: Any = None, copy: _bool | None = None) -> Array:
        array = self.numpy()
        if dtype is not None and array.dtype != dtype:
            return array.astype(dtype)
        return array.copy() if copy else array

    def item(self) -> Any:
        """Return the only element as a Python number.

        Raises
        ------
        RuntimeError
            When there is not exactly one.
        """
        if self._array.size != 1:
            raise RuntimeError(
                f"item: needs a tensor of one element, but this one has shape {list(self.shape)}"
            )
        inspect("item", self)
        return self._array.item()

    def tolist(self) -> Any:
        """Return the elements as nested lists of Python numbers, or one number."""
        inspect("tolist", self)
        return self._array.tolist()

    def __bool__(self) -> _bool:
        if self._array.size != 1:
            raise RuntimeError(
                "bool: the truth of a tensor with other than one element is ambiguous (shape "
                f"{list(self.shape)}); use any() or all()"
            )
        inspect("bool", self)
        return bool(self._array.item())

    def __int__(self) -> _int:
        return int(self.item())

    def __float__(self) -> _float:
        return float(self.item())

    def __index__(self) -> _int:
        if self._array.dtype.kind == "f" or self._array.size != 1:
            raise TypeError(
                f"only an integer tensor of one element is an index, not {self.dtype} of shape "
                f"{list(self.shape)}"
            )
        inspect("index", self)
        return int(self._array.item())

    def __len__(self) -> _int:
        if not self._array.ndim:
            raise TypeError("len() of a 0-d tensor")
        return len(self._array)

    def __iter__(self) -> Iterator[Tensor]:
        if not self._array.ndim:
            raise TypeError("iteration over a 0-d tensor")
        return iter(ops.unbind(self))

    def __contains__(self, value: Any) -> _bool:
        inspect("in", self)
        return bool(compare.eq(self, value)._array.any())

    def __repr__(self) -> str:
        return formatting.tensor_repr(self)

    def __format__(self, spec: str) -> str:
        return (
            format(self._array.item(), spec) if not self._array.ndim else super().__format__(spec)
        )

    def __copy__(self) -> Tensor:
        # A leaf on the same memory, which must share its version too.
        result: Tensor = _rebuild(type(self), self._array, self.requires_grad, _user_fields(self))
        result._share_storage(self)
        return result

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if not self.is_leaf:
            raise RuntimeError(
                "deepcopy: only leaves can be copied, but this tensor was made by "
                f"{self.grad_fn}; use detach() or clone()"
            )
        if id(self) in memo:
            return cast("Tensor", memo[id(self)])
        result: Tensor = _rebuild(type(self), self._array.copy(), self._requires_grad, {})
        memo[id(self)] = result
        vars(result).update(copy.deepcopy(_user_fields(self), memo))
        if self._grad is not None:
            result._grad = self._grad.__deepcopy__(memo)
        return result

    def __reduce_ex__(self, protocol: Any) -> Any:
        # As in PyTorch, what comes back is a leaf, also where this tensor is not. The array is
        # handed out (protocol 5 can pass its memory on), but not for writing.
        array = self._array.view()
        array.flags.writeable = False
        return _unpickle, (type(self), array, self.requires_grad, _user_fields(self))

    # -- data and gradient ------------------------------------------------------------------

    @property
    def data(self) -> Tensor:
        """The same memory outside the graph; assignment replaces the memory."""
        return self.detach()

    @data.setter
    def data(self, value: Tensor) -> None:
        if not isinstance(value, TensorBase):
            raise TypeError(f"data must be a Tensor, but got {type(value).__name__}")
        if self.requires_grad and value._array.dtype.kind != "f":
            raise RuntimeError("data: a tensor that requires a gradient must stay floating")
        before = self._storage
        self._array = value._array
        self._blocks = None
        self._share_storage(value)
        before.note_change()
        self._base = None

    def backward(
        self,
        gradient: TensorBase | None = None,
        retain_graph: _bool | None = None,
        create_graph: _bool = False,
        inputs: Any = None,
    ) -> None:
        """Compute the gradients of this tensor and add them to the leaves' :attr:`grad`.

        Parameters
        ----------
        gradient : Tensor, optional
            Gradient with respect to this tensor, of its shape; 1 for a tensor of one element.
        retain_graph : bool, optional
            Keep what was saved, so that a second backward can follow.
        create_graph : bool
            Must be False: gradients of gradients are not supported.
        inputs : Tensor or sequence of Tensor, optional
            Tensors to accumulate into; all leaves by default.

        Raises
        ------
        RuntimeError
            When nothing requires a gradient, the graph was freed by an earlier call, or a saved
            tensor was changed in place since.
        """
        engine.backward((self,), (gradient,), retain_graph, create_graph, inputs)

    # -- element type -----------------------------------------------------------------------

    def to(
        self,
        *args: Any,
        dtype: Any = None,
        device: Any = None,
        non_blocking: _bool = False,
        copy: _bool = False,
        memory_format: Any = None,
    ) -> Tensor:
        """Return the tensor with elements of a dtype: ``to(dtype)``, ``to("cpu")``, ``to(other)``.

        The tensor itself is returned where nothing changes, unless `copy` is set; `non_blocking`
        and `memory_format` are accepted for ported code.

        Raises
        ------
        TypeError, ValueError
            For a type that a tensor does not hold, or a device other than the CPU.
        """
        dtypes.check_memory_format(memory_format, "to")
        for each in args:
            if isinstance(each, TensorBase):
                dtype = dtypes.of(each._array)
            elif isinstance(each, str):
                device = each
            elif not isinstance(each, bool):
                dtype = each
        if device is not None:
            _device(device)
        result = self if dtype is None else convert(self, dtype)
        return ops.clone(self) if copy and result is self else result

    def type(self, dtype: Any = None) -> Any:
        """Return the tensor with elements of `dtype`; the type's name without one."""
        if dtype is None:
            return f"rushlight.{_TYPE_NAMES[self.dtype.name]}"
        return convert(self, dtype)

    def float(self) -> Tensor:
        """Return the tensor as float32."""
        return convert(self, dtypes.float32)

    def double(self) -> Tensor:
        """Return the tensor as float64."""
        return convert(self, dtypes.float64)

    def long(self) -> Tensor:
        """Return the tensor as int64; fractions are cut off."""
        return convert(self, dtypes.int64)

    def int(self) -> Tensor:
        """Return the tensor as int64, the one integer type here (int32 in PyTorch)."""
        return convert(self, dtypes.int64)

    def bool(self) -> Tensor:
        """Return the mask of nonzero elements."""
        return convert(self, dtypes.bool_)

    def type_as(self, other: Tensor) -> Tensor:
        """Return the tensor with the element type of `other`."""
        return convert(self, other.dtype)

    def cpu(self) -> Tensor:
        """Return the tensor itself: there is only the CPU."""
        return self

    # -- new tensors of the same type -------------------------------------------------------

    def new_tensor(self, data: Any, *, dtype: Any = None, requires_grad: Any = False) -> Tensor:
        """Return a new tensor with a copy of `data`, of this tensor's type by default."""
        return ops.tensor(data, dtype=dtype or self.dtype, requires_grad=requires_grad)

    def new_zeros(self, *size: Any, dtype: Any = None, requires_grad: Any = False) -> Tensor:
        """Return zeros of this tensor's type by default."""
        return ops.zeros(*size, dtype=dtype or self.dtype, requires_grad=requires_grad)

    def new_ones(self, *size: Any, dtype: Any = None, requires_grad: Any = False) -> Tensor:
        """Return ones of this tensor's type by default."""
        return ops.ones(*size, dtype=dtype or self.dtype, requires_grad=requires_grad)

    def new_empty(self, *size: Any, dtype: Any = None, requires_grad: Any = False) -> Tensor:
        """Return an uninitialised tensor of this tensor's type by default."""
        return ops.empty(*size, dtype=dtype or self.dtype, requires_grad=requires_grad)

    def new_full(self, size: Any, fill_value: Any, *, dtype: Any = None) -> Tensor:
        """Return `fill_value` in shape `size`, of this tensor's type by default."""
        return ops.full(size, fill_value, dtype=dtype or self.dtype)


_TYPE_NAMES = {
    "float32": "FloatTensor",
    "float64": "DoubleTensor",
    "int64": "LongTensor",
    "bool": "BoolTensor",
}


_OWN_FIELDS = frozenset(TensorBase.__annotations__) | {
    "_output_index",
    "_requires_grad",
}


def _user_fields(tensor: Tensor) -> dict[str, Any]:
    """Return the attributes that users, and not autograd, set on a tensor."""
    return {name: each for name, each in vars(tensor).items() if name not in _OWN_FIELDS}


def _unpickle(cls: type[Any], array: Array, requires_grad: _bool, fields: dict[str, Any]) -> Any:
    """Return a leaf over what pickle read, in memory that no buffer of the reader shares."""
    owned = array if array.flags.owndata and array.flags.writeable else array.copy()
    return _rebuild(cls, owned, requires_grad, fields)


def _rebuild(cls: type[Any], array: Array, requires_grad: _bool, fields: dict[str, Any]) -> Any:
    """Return a leaf over `array`; what copies are made with."""
    result = object.__new__(cls)
    result._array = array
    result._requires_grad = requires_grad
    vars(result).update(fields)
    return result


set_tensor_type(Tensor)
