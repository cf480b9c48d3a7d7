"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Sequence

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

__all__ = ["Adam", "AdamW"]


class Adam(Optimizer):
    """Adam, as ``torch.optim.Adam`` (Kingma and Ba, "Adam: a method for stochastic optimization").

    Parameters
    ----------
    params : iterable of Tensor or of dict
        Parameters or parameter groups.
    lr : float or Tensor, default 1e-3
        Learning rate.
    betas : (float, float), default (0.9, 0.999)
        Decay of the running mean of the gradient and of its square, each in [0, 1).
    eps : float, default 1e-8
        Added to the root of the second moment.
    weight_decay : float, default 0
        Added to the gradient as this times the parameter, or taken from the parameter directly
        with `decoupled_weight_decay`.
    amsgrad : bool, default False
        Divide by the largest second moment so far (Reddi et al., "On the convergence of Adam and
        beyond").
    maximize : bool, default False
        Climb instead of descend.
    foreach, capturable, fused : bool, optional
        Accepted for PyTorch's sake; every step is fused.
    differentiable : bool, default False
        Must be False.
    decoupled_weight_decay : bool, default False
        What makes it :class:`AdamW`.

    Raises
    ------
    ValueError
        When an option is negative, infinite or NaN, or a beta is not in [0, 1).
    """

    _elementwise_state = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        self._check_group(defaults)
        super().__init__(params, defaults)

    def _check_group(self, group: Group) -> None:
        name = type(self).__name__
        check_at_least_zero(name, "learning rate", "lr", group["lr"])
        check_at_least_zero(name, "epsilon value", "eps", group["eps"])
        check_at_least_zero(name, "weight_decay value", "weight_decay", group["weight_decay"])
        betas = group["betas"]
        if not isinstance(betas, Sequence) or isinstance(betas, str) or len(betas) != 2:
            raise ValueError(f"{name}: betas must be a pair of numbers, but got {betas!r}")
        for index, beta in enumerate(betas):
            if not 0.0 <= number(beta, f"{name}: betas[{index}]") < 1.0:
                raise ValueError(f"Invalid beta parameter at index {index}: {beta}")
        check_modes(name, group)

    def _update(self, params: list[Tensor], group: Group) -> None:
        largest = "max_exp_avg_sq" if group["amsgrad"] else None
        beta1, beta2 = group["betas"]
        call_in_place(
            _core.adam_step,
            params,
            kept(self.state, params, "exp_avg"),
            kept(self.state, params, "exp_avg_sq"),
            None if largest is None else kept(self.state, params, largest),
            step_counts(self.state, params),
            lr=float(group["lr"]),
            beta1=float(beta1),
            beta2=float(beta2),
            eps=float(group["eps"]),
            weight_decay=float(group["weight_decay"]),
            decoupled=bool(group["decoupled_weight_decay"]),
            maximize=bool(group["maximize"]),
        )


class AdamW(Adam):
    """Adam with decoupled weight decay, as ``torch.optim.AdamW``.

    The parameter shrinks by ``lr * weight_decay`` of itself before each step (Loshchilov and
    Hutter, "Decoupled weight decay regularization"). Parameters and errors are those of
    :class:`Adam`; the default of `weight_decay` is 0.01.
    """

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )

    def _check_group(self, group: Group) -> None:
        # A state that Adam saved says False here; loading it does not turn AdamW into Adam.
        group["decoupled_weight_decay"] = True
        super()._check_group(group)
