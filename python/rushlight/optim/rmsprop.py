"""RMSprop."""

from __future__ import annotations

from rushlight import _core
from rushlight.optim.fused import (
    call_in_place,
    check_at_least_zero,
    check_modes,
    kept,
    step_counts,
)
from rushlight.optim.optimizer import Group, Optimizer, Params
from rushlight.tensor import Tensor

__all__ = ["RMSprop"]


class RMSprop(Optimizer):
    """Gradients over the root of their running mean square, as ``torch.optim.RMSprop``.

    Parameters
    ----------
    params : iterable of Tensor, of (str, Tensor) or of dict
        Parameters, named or not, or parameter groups.
    lr : float or Tensor, default 1e-2
        Learning rate.
    alpha : float, default 0.99
        Decay of the running means.
    eps : float, default 1e-8
        Added to the root of the mean square.
    weight_decay : float, default 0
        Added to the gradient as this times the parameter.
    momentum : float, default 0
        Share of the last update that is added to the next.
    centered : bool, default False
        Subtract the square of the mean gradient from the mean square: an estimate of the variance
        (Graves, "Generating sequences with recurrent neural networks", 2013).
    capturable, foreach : bool, optional
        Accepted for PyTorch's sake; every step is fused.
    maximize : bool, default False
        Climb instead of descend.
    differentiable : bool, default False
        Must be False.

    Raises
    ------
    ValueError
        When an option is negative, infinite or NaN.

    References
    ----------
    Hinton, "Neural networks for machine learning", lecture 6, 2012.
    """

    _elementwise_state = ("square_avg", "grad_avg", "momentum_buffer")

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "capturable": capturable,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
        }
        self._check_group(defaults)
        super().__init__(params, defaults)

    def _check_group(self, group: Group) -> None:
        check_at_least_zero("RMSprop", "learning rate", "lr", group["lr"])
        check_at_least_zero("RMSprop", "epsilon value", "eps", group["eps"])
        check_at_least_zero("RMSprop", "momentum value", "momentum", group["momentum"])
        check_at_least_zero("RMSprop", "weight_decay value", "weight_decay", group["weight_decay"])
        check_at_least_zero("RMSprop", "alpha value", "alpha", group["alpha"])
        check_modes("RMSprop", group)

    def _update(self, params: list[Tensor], group: Group) -> None:
        state = self.state
        steps = step_counts(state, params)
        square = kept(state, params, "square_avg")
        buffer = kept(state, params, "momentum_buffer") if group["momentum"] > 0 else None
        average = kept(state, params, "grad_avg") if group["centered"] else None
        call_in_place(
            _core.rmsprop_step,
            params,
            square,
            average,
            buffer,
            steps,
            lr=float(group["lr"]),
            alpha=float(group["alpha"]),
            eps=float(group["eps"]),
            weight_decay=float(group["weight_decay"]),
            momentum=float(group["momentum"]),
            maximize=bool(group["maximize"]),
        )
