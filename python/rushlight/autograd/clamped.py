"""A gradient that waits in front of a clamp, for a kernel that does both in one pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from rushlight.autograd.blocked import Blocked

if TYPE_CHECKING:
    from rushlight.dtypes import Array

__all__ = ["ClampedGradient", "alike", "plain"]

Value = TypeVar("Value")
Gradient: TypeAlias = "Array | Blocked | ClampedGradient"


class ClampedGradient:
    """The gradient before a clamp (relu, relu6), given that behind it.

    The node of a clamp hands it to a node that ``absorbs_clamps``, as batch norm in training does;
    on all other ways it is made an array first.

    Attributes
    ----------
    grad : array or Blocked
        The gradient behind the clamp, which nobody may change.
    limits : tuple of float
        The result's smallest and largest value; NaN for none.
    """

    __slots__ = ("_kernel", "_result", "_settings", "grad", "limits")

    def __init__(
        self,
        grad: Array | Blocked,
        limits: tuple[float, float],
        kernel: Callable[..., Array | Blocked],
        result: Array | Blocked,
        settings: tuple[float, ...] = (),
    ) -> None:
        self.grad = grad
        self.limits = limits
        self._kernel = kernel
        self._result = result
        self._settings = settings

    def before(self) -> Array | Blocked:
        """Return the gradient before the clamp, in the layout that it has."""
        return self._kernel(self._result, self.grad, *self._settings)


def plain(value: Value | ClampedGradient | Blocked) -> Value | Array:
    """Return a gradient as an array, and anything else as it is."""
    found: Any = value.before() if isinstance(value, ClampedGradient) else value
    return found.plain() if isinstance(found, Blocked) else found


def alike(first: Gradient, second: Gradient) -> tuple[Array | Blocked, Array | Blocked]:
    """Return two gradients of one shape in one layout: blocked where both are."""
    a, b = (
        each.before() if isinstance(each, ClampedGradient) else each for each in (first, second)
    )
    return (a, b) if type(a) is type(b) else (plain(a), plain(b))
