"""Parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable

from rushlight.ops import cat
from rushlight.tensor import Tensor

__all__ = ["parameters_to_vector", "vector_to_parameters"]


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """Return all elements of `parameters` in one 1-d tensor, in order."""
    return cat([each.reshape(-1) for each in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Replace the values of `parameters` by the elements of `vec`, in order.

    Parameters
    ----------
    vec : Tensor
        1-d, with at least as many elements as the parameters have together.
    parameters : iterable of Tensor
        What to fill.

    Raises
    ------
    TypeError, ValueError
        When `vec` is no tensor, or too short; nothing was changed then.
    """
    if not isinstance(vec, Tensor):
        raise TypeError(f"vector_to_parameters: vec must be a Tensor, got {type(vec).__name__}")
    targets = list(parameters)
    needed = sum(each.numel() for each in targets)
    if vec.numel() < needed:
        raise ValueError(
            f"vector_to_parameters: vec must have at least {needed} elements, but has {vec.numel()}"
        )
    start = 0
    for each in targets:
        end = start + each.numel()
        each.data = vec[start:end].reshape(each.shape).detach()
        start = end
