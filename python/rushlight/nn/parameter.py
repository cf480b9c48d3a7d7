"""The two kinds of tensor that a module registers when they are assigned to it."""

from __future__ import annotations

from typing import Any

from rushlight.dtypes import dtype as DType
from rushlight.ops import empty
from rushlight.tensor import Tensor

__all__ = ["Buffer", "Parameter"]


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


def filled(shape: tuple[int, ...], dtype: DType | None) -> Parameter:
    """Return a parameter of uninitialised memory, for a layer that initialises it at once."""
    return Parameter(empty(shape, dtype=dtype))


def _check_tensor(cls: type, data: object) -> None:
    if not isinstance(data, Tensor):
        # PyTorch's exception type: there, `data.detach()` fails.
        raise AttributeError(
            f"{cls.__name__}: data must be a Tensor, but got {type(data).__name__}"
        )
