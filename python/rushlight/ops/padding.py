"""Padding with a constant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from rushlight.autograd.node import Primitive
from rushlight.dtypes import Array
from rushlight.ops._common import array_of, as_shape

if TYPE_CHECKING:
    from rushlight.tensor import Tensor

__all__ = ["pad"]


class ConstantPad(Primitive):
    def forward(self, a: Tensor, widths: tuple[tuple[int, int], ...], value: float) -> Array:
        x = a._array
        # A negative width cuts elements off.
        keep = tuple(
            slice(max(-low, 0), extent - max(-high, 0))
            for (low, high), extent in zip(widths, x.shape, strict=True)
        )
        self._shape, self._keep = x.shape, keep
        grow = [(max(low, 0), max(high, 0)) for low, high in widths]
        self._inner = tuple(
            slice(low, low + len(range(*part.indices(extent))))
            for (low, _), part, extent in zip(grow, keep, x.shape, strict=True)
        )
        return np.pad(x[keep], grow, constant_values=value)

    def backward(self, grad: Array) -> tuple[Array, None, None]:
        full = np.zeros(self._shape, grad.dtype)
        full[self._keep] = grad[self._inner]
        return full, None, None


def pad(
    input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Tensor:
    """Return `input` with `value` added around it (PyTorch's ``pad``).

    Parameters
    ----------
    input : Tensor
    pad : sequence of int
        (low, high) widths from the last dimension backwards; negative widths cut off.
    mode : str
        "constant", the only mode here.
    value : float, optional
        0 by default.

    Raises
    ------
    ValueError
        For another mode, an odd number of widths, more than the dimensions take, or widths that
        cut off more than there is.
    """
    if mode != "constant":
        raise ValueError(f"pad: mode must be 'constant', but got {mode!r}")
    array = array_of(input, "pad")
    widths = as_shape((pad,), "pad")
    if len(widths) % 2 or len(widths) > 2 * array.ndim:
        raise ValueError(
            f"pad: pad must hold up to {2 * array.ndim} widths in pairs for shape "
            f"{list(array.shape)}, but got {list(widths)}"
        )
    pairs = [widths[at : at + 2] for at in range(0, len(widths), 2)]
    ordered = tuple((0, 0) for _ in range(array.ndim - len(pairs))) + tuple(
        (low, high) for low, high in reversed(pairs)
    )
    for axis, (low, high) in enumerate(ordered):
        if (
            array.shape[axis] + low + high < 0
            or -low > array.shape[axis]
            or -high > array.shape[axis]
        ):
            raise ValueError(
                f"pad: widths {low} and {high} cut more than the {array.shape[axis]} elements of "
                f"dimension {axis}"
            )
    return ConstantPad.apply(input, ordered, 0.0 if value is None else value)
