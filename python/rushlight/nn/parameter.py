"""The two kinds of tensor that a module registers when they are assigned to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from rushlight.dtypes import dtype as DType
from rushlight.dtypes import float32, float64
from rushlight.nn.checks import check_device
from rushlight.ops import empty
from rushlight.tensor import Tensor

__all__ = ["Buffer", "Parameter", "UninitializedBuffer", "UninitializedParameter", "is_lazy"]

# A method of the class below hides the name `type`.
_TensorType: TypeAlias = type[Tensor]


class Parameter(Tensor):
    """A tensor that a module owns and an optimizer changes (PyTorch's ``nn.Parameter``).

    Parameters
    ----------
    data : Tensor, optional
        Values; the parameter shares their memory. An empty tensor by default.
    requires_grad : bool
        Whether ``backward`` computes a gradient for it.

    Raises
    ------
    AttributeError
        When `data` is not a tensor.
    RuntimeError
        When a gradient is required of integers or a mask.
    """

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = True) -> Parameter:
        """Share the memory of `data`, outside any graph."""
        if data is None:
            data = empty(0)
        _check_tensor(cls, data)
        return Tensor._make_subclass(cls, data, requires_grad)  # type: ignore[no-any-return]

    def __init__(self, data: Tensor | None = None, requires_grad: bool = True) -> None:
        """Do nothing: all was done on creation."""

    def __repr__(self) -> str:
        """Show what a tensor shows, under a line of its own."""
        return "Parameter containing:\n" + super().__repr__()

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        """Copy the values; the gradient stays behind, as in PyTorch."""
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.detach().clone(), self.requires_grad)
        return memo[id(self)]  # type: ignore[no-any-return]


class Buffer(Tensor):
    """A tensor that belongs to a module's state but is not trained (PyTorch's ``nn.Buffer``).

    Parameters
    ----------
    data : Tensor, optional
        Values; the buffer shares their memory. An empty tensor by default.
    persistent : bool
        Whether ``state_dict`` contains it.
    """

    persistent: bool

    def __new__(cls, data: Tensor | None = None, *, persistent: bool = True) -> Buffer:
        """Share the memory of `data`, outside any graph."""
        if data is None:
            data = empty(0)
        _check_tensor(cls, data)
        made: Buffer = Tensor._make_subclass(cls, data, data.requires_grad)
        made.persistent = persistent
        return made

    def __init__(self, data: Tensor | None = None, *, persistent: bool = True) -> None:
        """Do nothing: all was done on creation."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Buffer:
        """Copy the values and whether they persist."""
        copied: Buffer = super().__deepcopy__(memo)  # type: ignore[assignment]  # of this type
        copied.persistent = self.persistent
        return copied


class UninitializedTensor(Tensor):
    """What uninitialized parameters and buffers share: a dtype, and neither shape nor values.

    It turns into an ordinary parameter or buffer in its place, so that whoever holds it, such as
    an optimizer, holds that one then. Until then, what needs values raises ValueError.
    """

    cls_to_become: _TensorType = Tensor
    _dtype: DType

    @classmethod
    def _make(cls, requires_grad: bool, device: object, dtype: DType | None) -> Any:
        check_device(device)
        made = object.__new__(cls)
        made._dtype = empty(0, dtype=dtype).dtype
        made.requires_grad = requires_grad
        return made

    def materialize(
        self, shape: int | Sequence[int], device: object = None, dtype: DType | None = None
    ) -> None:
        """Take a shape and memory without values, and become an ordinary parameter or buffer.

        Parameters
        ----------
        shape : int or sequence of int
        device : optional
            Must be the CPU.
        dtype : dtype, optional
            That of this tensor by default.
        """
        check_device(device)
        array = empty(shape, dtype=self._dtype if dtype is None else dtype)._array
        del self._dtype
        self.__class__ = self.cls_to_become  # type: ignore[assignment]  # it changes its kind
        self._array = array

    @property
    def _array(self) -> Any:
        raise ValueError(
            f"attempted to use an uninitialized parameter or buffer ({type(self).__name__}): call "
            "the module once, so that the input tells the shape"
        )

    @_array.setter
    def _array(self, value: Any) -> None:
        raise ValueError(f"{type(self).__name__}: use materialize() to give it a shape")

    @property
    def shape(self) -> Any:
        """The shape, which is not known yet: RuntimeError."""
        raise RuntimeError(
            "Can't access the shape of an uninitialized parameter or buffer: call the module "
            "once, so that the input tells it"
        )

    def size(self, dim: Any = None) -> Any:
        """Raise as :attr:`shape` does."""
        return self.shape

    @property
    def dtype(self) -> DType:
        """The element type that it will have."""
        return self._dtype

    @property
    def requires_grad(self) -> bool:
        """Whether ``backward`` will compute a gradient for it."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self._requires_grad = bool(value)

    @property
    def data(self) -> Tensor:
        """The tensor itself; assigning another uninitialized one takes over its dtype."""
        return self

    @data.setter
    def data(self, value: Tensor) -> None:
        if not isinstance(value, UninitializedTensor):
            raise ValueError(f"{type(self).__name__}: use materialize() to give it a shape")
        self._dtype = value.dtype

    def detach(self) -> Tensor:
        """Return the tensor itself: there is nothing to detach."""
        return self

    def to(self, *args: Any, **kwargs: Any) -> Any:
        """Return an uninitialized tensor of another dtype."""
        dtype = empty(0, dtype=self._dtype).to(*args, **kwargs).dtype
        return type(self)._make(self.requires_grad, None, dtype)

    def type(self, dtype: Any = None) -> Any:
        """Return an uninitialized tensor of another dtype."""
        return self.to(dtype)

    def float(self) -> Tensor:
        """Return an uninitialized tensor of float32."""
        return self.to(float32)  # type: ignore[no-any-return]

    def double(self) -> Tensor:
        """Return an uninitialized tensor of float64."""
        return self.to(float64)  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        if id(self) not in memo:
            memo[id(self)] = type(self)._make(self.requires_grad, None, self._dtype)
        return memo[id(self)]

    def __reduce_ex__(self, protocol: Any) -> Any:
        return type(self)._make, (self.requires_grad, None, self._dtype)


class UninitializedParameter(UninitializedTensor, Parameter):
    """A parameter whose shape is not known yet; what lazy layers start with.

    Parameters
    ----------
    requires_grad : bool
        Whether ``backward`` will compute a gradient for it.
    device : optional
        Must be the CPU.
    dtype : dtype, optional
        float32 by default.
    """

    cls_to_become = Parameter

    def __new__(
        cls, requires_grad: bool = True, device: object = None, dtype: DType | None = None
    ) -> UninitializedParameter:
        """Note what is known."""
        return cls._make(requires_grad, device, dtype)  # type: ignore[no-any-return]

    def __init__(
        self, requires_grad: bool = True, device: object = None, dtype: DType | None = None
    ) -> None:
        """Do nothing: all was done on creation."""


class UninitializedBuffer(UninitializedTensor, Buffer):
    """A buffer whose shape is not known yet; see :class:`UninitializedParameter`."""

    def __new__(
        cls,
        requires_grad: bool = False,
        device: object = None,
        dtype: DType | None = None,
        persistent: bool = True,
    ) -> UninitializedBuffer:
        """Note what is known."""
        made: UninitializedBuffer = cls._make(requires_grad, device, dtype)
        made.persistent = persistent
        return made

    def __init__(
        self,
        requires_grad: bool = False,
        device: object = None,
        dtype: DType | None = None,
        persistent: bool = True,
    ) -> None:
        """Do nothing: all was done on creation."""


def is_lazy(param: object) -> bool:
    """Return whether a parameter or buffer is an uninitialized one."""
    return isinstance(param, UninitializedTensor)


def without_shape(tensor: Any) -> Callable[[], None]:
    """Return what makes an uninitialized tensor, materialized in the meantime, one again."""
    kind, fields = type(tensor), dict(vars(tensor))

    def restore() -> None:
        tensor.__class__ = kind
        vars(tensor).clear()
        vars(tensor).update(fields)

    return restore


def filled(shape: tuple[int, ...], dtype: DType | None) -> Parameter:
    """Return a parameter of uninitialised memory, for a layer that initialises it at once."""
    return Parameter(empty(shape, dtype=dtype))


def _check_tensor(cls: type, data: object) -> None:
    if not isinstance(data, Tensor):
        # PyTorch's exception type: there, `data.detach()` fails.
        raise AttributeError(
            f"{cls.__name__}: data must be a Tensor, but got {type(data).__name__}"
        )
