"""Compare what backward computes with finite differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rushlight.autograd import engine, grad_mode
from rushlight.autograd.base import TensorBase, wrap
from rushlight.dtypes import Array

__all__ = ["gradcheck"]


def gradcheck(
    func: Callable[..., Any],
    inputs: TensorBase | Sequence[Any],
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """Check the gradients of `func` at `inputs` against central differences.

    Parameters
    ----------
    func : callable
        Takes the inputs; returns a tensor or a tuple of tensors.
    inputs : Tensor or sequence
        Those that require gradients must be float64 and not overlap in memory.
    eps : float
        Step of the central difference.
    atol, rtol : float
        Absolute and relative tolerance.
    raise_exception : bool
        Raise on a mismatch; otherwise return False.

    Returns
    -------
    bool
        True when every element of the Jacobian agrees.

    Raises
    ------
    ValueError
        When no input or no output requires a gradient, or an input that does is not float64.
    RuntimeError
        On a mismatch, naming output, input, element and both values.
    """
    args = (inputs,) if isinstance(inputs, TensorBase) else tuple(inputs)
    checked = [
        (number, each)
        for number, each in enumerate(args)
        if isinstance(each, TensorBase) and each._requires_grad
    ]
    if not checked:
        raise ValueError("gradcheck: no input requires a gradient")
    for number, each in checked:
        if each._array.dtype != np.float64:
            raise ValueError(
                f"gradcheck: input {number} is {each._array.dtype}, but finite differences need "
                "float64"
            )
    outputs = _outputs(func, args)
    if not any(output._requires_grad for output in outputs):
        raise ValueError("gradcheck: no output requires a gradient")
    for index, output in enumerate(outputs):
        if not output._requires_grad:
            continue
        for number, each in checked:
            analytic = _analytic(func, args, index, each)
            numeric = _numeric(func, args, index, each, eps)
            bad = np.argwhere(~np.isclose(analytic, numeric, rtol, atol, equal_nan=True))
            if len(bad):
                if not raise_exception:
                    return False
                row, column = bad[0]
                raise RuntimeError(
                    f"gradcheck: d output {index}[{row}] / d input {number}[{column}] (flat "
                    f"positions) is {analytic[row, column]} by backward, but "
                    f"{numeric[row, column]} by differences; {len(bad)} of {analytic.size} differ"
                )
    return True


def _outputs(func: Callable[..., Any], args: Sequence[Any]) -> tuple[TensorBase, ...]:
    result = func(*args)
    results = (result,) if isinstance(result, TensorBase) else tuple(result)
    return tuple(each for each in results if each._array.dtype.kind == "f")


def _analytic(func: Callable[..., Any], args: Sequence[Any], index: int, by: TensorBase) -> Array:
    """Return d output / d `by` as [output elements, input elements], one backward per row."""
    size = _outputs(func, args)[index]._array.size
    jacobian = np.zeros((size, by._array.size))
    for row in range(size):
        output = _outputs(func, args)[index]
        seed = np.zeros(output._array.shape)
        seed.reshape(-1)[row] = 1.0
        (found,) = engine.grad(output, by, wrap(seed), allow_unused=True)
        if found is not None:
            jacobian[row] = found._array.reshape(-1)
    return jacobian


def _numeric(
    func: Callable[..., Any], args: Sequence[Any], index: int, by: TensorBase, eps: float
) -> Array:
    """Return d output / d `by` by central differences, moving one input element at a time."""
    columns = []
    with grad_mode.no_grad():
        for position in np.ndindex(by._array.shape):
            kept = by._array[position]
            values = []
            for step in (eps, -eps):
                by._array[position] = kept + step
                by._bump_version()
                values.append(_outputs(func, args)[index]._array.astype(np.float64).reshape(-1))
            by._array[position] = kept
            by._bump_version()
            columns.append((values[0] - values[1]) / (2 * eps))
    size = _outputs(func, args)[index]._array.size
    return np.stack(columns, axis=1) if columns else np.zeros((size, 0))
