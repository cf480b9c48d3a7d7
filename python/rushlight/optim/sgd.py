"""Stochastic gradient descent."""

from __future__ import annotations

from rushlight import _core
from rushlight.optim.fused import (
    call_in_place,
    check_at_least_zero,
    check_modes,
    kept,
    number,
)
from rushlight.optim.optimizer import Group, Optimizer, Params
from rushlight.tensor import Tensor

__all__ = ["SGD"]


class SGD(Optimizer):
    """Stochastic gradient descent with momentum and Nesterov momentum, as ``torch.optim.SGD``.

    With gradient :math:`g` plus ``weight_decay`` times the parameter, the buffer becomes
    ``momentum * buffer + (1 - dampening) * g`` (at first `g` itself) and the parameter moves by
    ``-lr * buffer``, or by ``-lr * (g + momentum * buffer)`` with `nesterov` (Sutskever et al.,
    "On the importance of initialization and momentum in deep learning", 2013).

    Parameters
    ----------
    params : iterable of Tensor or of dict
        Parameters or parameter groups.
    lr : float or Tensor, default 1e-3
        Learning rate.
    momentum, dampening, weight_decay : float, default 0
        See above.
    nesterov : bool, default False
        Needs a momentum and zero dampening.
    maximize : bool, default False
        Climb instead of descend.
    foreach, fused : bool, optional
        Accepted for PyTorch's sake; every step is fused.
    differentiable : bool, default False
        Must be False.

    Raises
    ------
    ValueError
        When an option is negative, infinite or NaN, or `nesterov` lacks what it needs.
    """

    _elementwise_state = ("momentum_buffer",)

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        self._check_group(defaults)
        super().__init__(params, defaults)

    def _check_group(self, group: Group) -> None:
        check_at_least_zero("SGD", "learning rate", "lr", group["lr"])
        check_at_least_zero("SGD", "momentum value", "momentum", group["momentum"])
        check_at_least_zero("SGD", "weight_decay value", "weight_decay", group["weight_decay"])
        dampening = number(group["dampening"], "SGD: dampening")
        if not -float("inf") < dampening < float("inf"):
            raise ValueError(f"Invalid dampening value: {dampening} (SGD: dampening is finite)")
        if group["nesterov"] and (group["momentum"] == 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        check_modes("SGD", group)

    def _update(self, params: list[Tensor], group: Group) -> None:
        buffers: list[Tensor] | None = None
        fresh = [False] * len(params)
        if group["momentum"] != 0:
            fresh = [self.state[param].get("momentum_buffer") is None for param in params]
            buffers = kept(self.state, params, "momentum_buffer")
        call_in_place(
            _core.sgd_step,
            params,
            buffers,
            fresh=fresh,
            lr=float(group["lr"]),
            momentum=float(group["momentum"]),
            dampening=float(group["dampening"]),
            weight_decay=float(group["weight_decay"]),
            nesterov=bool(group["nesterov"]),
            maximize=bool(group["maximize"]),
        )
