"""A gradient that waits in front of a clamp, for a kernel that does both in one pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rushlight.dtypes import Array

__all__ = ["ClampedGradient", "plain"]

Value = TypeVar("Value")


class ClampedGradient:
    """The gradient before a clamp (relu, relu6), given that behind it.

    The node of a clamp hands it to a node that ``absorbs_clamps``, as batch norm in training does;
    on all other ways it is made an array first.

    Attributes
    ----------
    grad : array
        The gradient behind the clamp, which nobody may change.
    limits : tuple of float
        The result's smallest and largest value; NaN for none.
    """

    __slots__ = ("_kernel", "_result", "_settings", "grad", "limits")

    def __init__(
        self,
        grad: Array,
        limits: tuple[float, float],
        kernel: Callable[..., Array],
        result: Array,
        settings: tuple[float, ...] = (),
    ) -> None:
        self.grad = grad
        self.limits = limits
        self._kernel = kernel
        self._result = result
        self._settings = settings

    def plain(self) -> Array:
        """Return the gradient before the clamp."""
        return self._kernel(self._result, self.grad, *self._settings)


def plain(value: Value | ClampedGradient) -> Value | Array:
    """Return a gradient as an array, and anything else as it is."""
    return value.plain() if isinstance(value, ClampedGradient) else value
