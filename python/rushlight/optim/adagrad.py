"""Adagrad."""

from __future__ import annotations

from rushlight import _core
from rushlight.ops.creation import full_like
from rushlight.optim.fused import (
    call_in_place,
    check_at_least_zero,
    check_modes,
    kept,
    number,
    step_counts,
    zero_count,
)
from rushlight.optim.optimizer import Group, Optimizer, Params
from rushlight.tensor import Tensor

__all__ = ["Adagrad"]


class Adagrad(Optimizer):
    """Gradients over the root of the sum of all their squares, as ``torch.optim.Adagrad``.

    Parameters
    ----------
    params : iterable of Tensor, of (str, Tensor) or of dict
        Parameters, named or not, or parameter groups.
    lr : float or Tensor, default 1e-2
        Learning rate.
    lr_decay : float, default 0
        After `t` steps the learning rate is ``lr / (1 + t * lr_decay)``.
    weight_decay : float, default 0
        Added to the gradient as this times the parameter.
    initial_accumulator_value : float, default 0
        What the sums of squares start from.
    eps : float, default 1e-10
        Added to the root of the sum.
    foreach, fused : bool, optional
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
    Duchi, Hazan and Singer, "Adaptive subgradient methods", 2011.
    """

    _elementwise_state = ("sum",)

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "fused": fused,
        }
        self._check_group(defaults)
        super().__init__(params, defaults)

    def add_param_group(self, param_group: Group) -> None:
        """Add a group; the sums of its parameters start at once, as in PyTorch."""
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        for param in group["params"]:
            self.state[param]["step"] = zero_count(param)
            self._sums([param], group)

    def _sums(self, params: list[Tensor], group: Group) -> list[Tensor]:
        start = number(group["initial_accumulator_value"], "Adagrad: initial_accumulator_value")
        return kept(self.state, params, "sum", lambda param: full_like(param, start))

    def _check_group(self, group: Group) -> None:
        check_at_least_zero("Adagrad", "learning rate", "lr", group["lr"])
        check_at_least_zero("Adagrad", "lr_decay value", "lr_decay", group["lr_decay"])
        check_at_least_zero("Adagrad", "weight_decay value", "weight_decay", group["weight_decay"])
        name = "initial_accumulator_value"
        check_at_least_zero("Adagrad", f"{name} value", name, group[name])
        check_at_least_zero("Adagrad", "epsilon value", "eps", group["eps"])
        check_modes("Adagrad", group)

    def _update(self, params: list[Tensor], group: Group) -> None:
        call_in_place(
            _core.adagrad_step,
            params,
            self._sums(params, group),
            step_counts(self.state, params),
            lr=float(group["lr"]),
            lr_decay=float(group["lr_decay"]),
            eps=float(group["eps"]),
            weight_decay=float(group["weight_decay"]),
            maximize=bool(group["maximize"]),
        )
