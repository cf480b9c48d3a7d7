"""An operation of your own, with its gradient, checked against finite differences.

Softplus with a straight formula for its derivative, and a rounding whose gradient passes straight
through (Bengio et al., "Estimating or Propagating Gradients Through Stochastic Neurons", 2013).
"""

from __future__ import annotations

from typing import Any

import rushlight
from rushlight import Tensor
from rushlight.autograd import Function, gradcheck


class Softplus(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return rushlight.log1p(rushlight.exp(-x.abs())) + x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grad * rushlight.sigmoid(x)


class Round(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return rushlight.round(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


def main() -> None:
    x = rushlight.randn(3, 4, dtype=rushlight.float64, requires_grad=True)
    print("softplus:", gradcheck(Softplus.apply, (x,)))
    Round.apply(x).sum().backward()
    print("straight through:", x.grad)


if __name__ == "__main__":
    main()
