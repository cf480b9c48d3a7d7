"""The bases of the activations: functions of one tensor, element by element."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight.autograd.primitive import Primitive
from rushlight.dtypes import Array
from rushlight.ops._common import form_of, quiet
from rushlight.ops.checks import floating_of

if TYPE_CHECKING:
    from rushlight.autograd.blocked import Blocked
    from rushlight.tensor import Tensor

__all__: list[str] = []


class Pointwise(Primitive):
    """A function of each element, with settings, and what it does to a gradient, in NumPy.

    Both get arrays of at least one dimension, so that they need not care for NumPy's scalars.
    In place, what was there before is copied first, unless the result tells enough.
    """

    # Whether `gradient` gets the results instead of the arguments.
    from_result = False

    @staticmethod
    def value(x: Array, *settings: Any) -> Array:
        """Return the function of each element."""
        raise NotImplementedError

    @staticmethod
    def gradient(grad: Array, at: Array, *settings: Any) -> Array:
        """Return the gradient before the function, given that after it."""
        raise NotImplementedError

    def forward(self, a: Tensor, *settings: Any) -> Array:
        x = a._array
        self._settings = settings
        if self.from_result:
            self.saves_output = True
        else:
            self.save(a)
        with quiet():
            return self.value(np.atleast_1d(x), *settings).reshape(x.shape)

    def backward(self, grad: Array) -> tuple[Array | None, ...]:
        at, settings = self.saved[0], self._settings
        with quiet():
            found = self.gradient(np.atleast_1d(grad), np.atleast_1d(at), *settings)
        return (found.reshape(grad.shape), *(None,) * len(settings))


class Native(Primitive):
    """A function of each element, with up to two settings, on a kernel.

    `kernel` and `gradient_kernel` belong together: the latter takes the gradient at the argument,
    or at the result where `saves_output` is set. It may take blocks, whose lanes without a channel
    are zero, if it leaves zeros zeros.
    """

    warns = False
    kernel: Callable[..., Any]
    gradient_kernel: Callable[..., Any]
    settings: tuple[float, ...] = ()

    def forward(self, a: Tensor, *settings: float) -> Array | Blocked:
        if self._saved is not None:
            self.settings = settings
            if not self.saves_output:
                self.save(a)
        array = (a._blocks or a._array) if self.takes_blocks else a._array
        return self.kernel(array, self.out_blocks or self.out, *settings)

    def backward(self, grad: Array | Blocked) -> tuple[Array | Blocked | None, ...]:
        settings = self.settings
        found = self.gradient_kernel(self.saved[0], grad, *settings)
        return (found, *(None,) * len(settings))


def applied(
    operation: type[Primitive], name: str, input: Any, inplace: bool, *settings: Any
) -> Tensor:
    """Run an activation on a floating tensor, in its place where asked for.

    Raises
    ------
    TypeError
        For anything else than a floating tensor.
    """
    if form_of(input, name).dtype.kind != "f":
        floating_of(input, name)  # refuses it
    return (operation.apply_ if inplace else operation.apply)(input, *settings)
