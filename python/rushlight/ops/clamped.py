"""Operations with a clamp behind them, in one pass: what a layer and its relu become."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rushlight import _core
from rushlight.autograd.primitive import Primitive

if TYPE_CHECKING:
    from rushlight.autograd.blocked import Blocked
    from rushlight.dtypes import Array
    from rushlight.ops.prepared import Clamp

__all__ = ["RELU", "RELU6", "BehindClamp", "BehindRelu"]

# The smallest and the largest value; NaN for none.
RELU, RELU6 = (0.0, math.nan), (0.0, 6.0)


class BehindClamp(Primitive):
    """Mixed in before an operation whose kernel moves its results into the range `clamp`.

    To users the operation is the clamp: that is what made the result.
    """

    saves_output = True
    clamp: Clamp

    @classmethod
    def name(cls) -> str:
        """Return the name that ``grad_fn=<...>`` prints."""
        return "HardtanhBackward0"

    def forward(self, *args: Any) -> Any:
        """Run the operation on the arguments but the last, which is the range."""
        *others, self.clamp = args
        return super().forward(*others)

    def backward(self, grad: Any) -> Any:
        """Return the gradients of the operation, given that behind the clamp."""
        # An operation that does not save its result finds the clamp's gradient by itself.
        return super().backward(self._before(grad) if self.saves_output else grad)

    def _before(self, grad: Array | Blocked) -> Array | Blocked:
        assert self.clamp is not None
        return _core.hardtanh_backward(self.saved[-1], grad, *self.clamp)


class BehindRelu(BehindClamp):
    """The same with a relu."""

    @classmethod
    def name(cls) -> str:
        """Return the name that ``grad_fn=<...>`` prints."""
        return "ReluBackward0"

    def _before(self, grad: Array | Blocked) -> Array | Blocked:
        return _core.relu_backward(self.saved[-1], grad)
