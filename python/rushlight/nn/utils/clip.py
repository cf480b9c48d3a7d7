"""Clipping of gradients."""

from __future__ import annotations

import math
from collections.abc import Iterable

from rushlight.autograd import no_grad
from rushlight.ops import stack, tensor
from rushlight.tensor import Tensor

__all__ = ["clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "get_total_norm"]


def _gradients(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    tensors = [parameters] if isinstance(parameters, Tensor) else parameters
    return [each.grad for each in tensors if each.grad is not None]


@no_grad()
def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale the gradients down in place until their norm, taken together, is at most `max_norm`.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
        Those without a gradient are passed over.
    max_norm : float
        Largest norm allowed.
    norm_type : float
        Order of the norm; ``math.inf`` takes the largest element.
    error_if_nonfinite : bool
        Raise where the norm is infinite or not a number.
    foreach : bool, optional
        Accepted for ported code, without effect.

    Returns
    -------
    Tensor
        The norm before scaling, 0-d.

    Raises
    ------
    RuntimeError
        When the norm is not finite and `error_if_nonfinite` is set.
    """
    tensors = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    total = get_total_norm(_gradients(tensors), norm_type, error_if_nonfinite)
    clip_grads_with_norm_(tensors, max_norm, total)
    return total


@no_grad()
def get_total_norm(
    tensors: Tensor | Iterable[Tensor],
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Return the norm of all `tensors`, taken together, as if they were one vector.

    The first half of :func:`clip_grad_norm_`, whose arguments it has.

    Raises
    ------
    RuntimeError
        When the norm is not finite and `error_if_nonfinite` is set.
    """
    given = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    if not given:
        return tensor(0.0)
    order = float(norm_type)
    total = stack([each.norm(order) for each in given]).norm(order)
    if error_if_nonfinite and not math.isfinite(total.item()):
        raise RuntimeError(
            f"The total norm of order {order} for gradients from `parameters` is non-finite, so it "
            "cannot be clipped; set error_if_nonfinite=False to scale by it anyway"
        )
    return total


@no_grad()
def clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    total_norm: Tensor,
    foreach: bool | None = None,
) -> None:
    """Scale gradients whose norm is `total_norm` down in place until it is at most `max_norm`.

    The second half of :func:`clip_grad_norm_`, whose arguments it has.
    """
    # The small number keeps the result below max_norm after rounding, as in PyTorch.
    factor = max_norm / (total_norm + 1e-6)
    if not factor.item() >= 1.0:
        for each in _gradients(parameters):
            each.mul_(factor)


@no_grad()
def clip_grad_value_(
    parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None
) -> None:
    """Clip each element of the gradients in place to ``[-clip_value, clip_value]``.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
        Those without a gradient are passed over.
    clip_value : float
        Largest magnitude allowed.
    foreach : bool, optional
        Accepted for ported code, without effect.
    """
    bound = float(clip_value)
    for each in _gradients(parameters):
        each.clamp_(-bound, bound)
