"""Adadelta."""

from __future__ import annotations

from rushlight import _core
from rushlight.optim.fused import (
    call_in_place,
    check_at_least_zero,
    check_modes,
    kept,
    number,
    step_counts,
)
from rushlight.optim.optimizer import Group, Optimizer, Params
from rushlight.tensor import Tensor

__all__ = ["Adadelta"]


class Adadelta(Optimizer):
    """Steps scaled by the ratio of past steps to past gradients, as ``torch.optim.Adadelta``.

    Parameters
    ----------
    params : iterable of Tensor, of (str, Tensor) or of dict
        Parameters, named or not, or parameter groups.
    lr : float or Tensor, default 1.0
        Factor on each step.
    rho : float, default 0.9
        Decay of the running means of squares, from 0 to 1.
    eps : float, default 1e-6
        Added under both roots.
    weight_decay : float, default 0
        Added to the gradient as this times the parameter.
    foreach, capturable : bool, optional
        Accepted for PyTorch's sake; every step is fused.
    maximize : bool, default False
        Climb instead of descend.
    differentiable : bool, default False
        Must be False.

    Raises
    ------
    ValueError
        When an option is negative, infinite or NaN, or `rho` is above 1.

    References
    ----------
    Zeiler, "ADADELTA: an adaptive learning rate method", 2012.
    """

    _elementwise_state = ("square_avg", "acc_delta")

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "capturable": capturable,
            "foreach": foreach,
            "differentiable": differentiable,
        }
        self._check_group(defaults)
        super().__init__(params, defaults)

    def _check_group(self, group: Group) -> None:
        check_at_least_zero("Adadelta", "learning rate", "lr", group["lr"])
        if not 0.0 <= number(group["rho"], "Adadelta: rho") <= 1.0:
            raise ValueError(f"Invalid rho value: {group['rho']} (Adadelta: rho is from 0 to 1)")
        check_at_least_zero("Adadelta", "epsilon value", "eps", group["eps"])
        check_at_least_zero("Adadelta", "weight_decay value", "weight_decay", group["weight_decay"])
        check_modes("Adadelta", group)

    def _update(self, params: list[Tensor], group: Group) -> None:
        steps = step_counts(self.state, params)
        call_in_place(
            _core.adadelta_step,
            params,
            kept(self.state, params, "square_avg"),
            kept(self.state, params, "acc_delta"),
            steps,
            lr=float(group["lr"]),
            rho=float(group["rho"]),
            eps=float(group["eps"]),
            weight_decay=float(group["weight_decay"]),
            maximize=bool(group["maximize"]),
        )
