"""Padding with a constant, or with what is inside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from rushlight import _core
from rushlight.autograd.primitive import Primitive
from rushlight.dtypes import Array
from rushlight.errors import OperationError
from rushlight.ops._common import NUMBERS, array_of, as_shape, refuse

if TYPE_CHECKING:
    from rushlight.tensor import Tensor

__all__ = ["pad"]

_BORDERS = ("reflect", "replicate", "circular")


class ConstantPad(Primitive):
    def forward(self, a: Tensor, widths: tuple[tuple[int, int], ...], value: float) -> Array:
        x = a._array
        # A negative width cuts elements off.
        keep = tuple(
            slice(max(-low, 0), extent - max(-high, 0))
            for (low, high), extent in zip(widths, x.shape, strict=True)
        )
        self._shape, self._keep = x.shape, keep
        kept = x[keep]
        self._inner = tuple(
            slice(max(low, 0), max(low, 0) + extent)
            for (low, _), extent in zip(widths, kept.shape, strict=True)
        )
        shape = tuple(
            part.stop + max(high, 0) for part, (_, high) in zip(self._inner, widths, strict=True)
        )
        return _framed(kept, shape, self._inner, value)

    def backward(self, grad: Array) -> tuple[Array, None, None]:
        return _framed(grad[self._inner], self._shape, self._keep, 0), None, None


def _framed(x: Array, shape: tuple[int, ...], inner: tuple[slice, ...], value: float) -> Array:
    """Return an array of `shape` that holds `x` at `inner` and `value` elsewhere."""
    result = _core.empty(shape, x.dtype, "pad")
    around: list[slice] = []
    for part, extent in zip(inner, shape, strict=True):
        if part.start > 0:
            result[tuple([*around, slice(part.start)])] = value
        if part.stop < extent:
            result[tuple([*around, slice(part.stop, None)])] = value
        around.append(part)
    result[inner] = x
    return result


class BorderPad(Primitive):
    """Padding with what is inside: each element of the result is one of the input."""

    def forward(self, a: Tensor, widths: tuple[tuple[int, int], ...], mode: str) -> Array:
        result, self._shape, self._widths = a._array, a._array.shape, widths
        self._sources = [
            _sources(extent, low, high, mode)
            for (low, high), extent in zip(widths, self._shape, strict=True)
        ]
        for axis, (low, high) in enumerate(widths):
            if low or high:
                result = result.take(self._sources[axis], axis)
        return result.copy() if result is a._array else result

    def backward(self, grad: Array) -> tuple[Array, None, None]:
        for axis in reversed(range(grad.ndim)):
            low, high = self._widths[axis]
            if low or high:
                grad = self._folded(grad, axis, max(low, 0), max(high, 0))
        return grad, None, None

    def _folded(self, grad: Array, axis: int, low: int, high: int) -> Array:
        """Add the gradients of what is in the border to those of where it came from."""
        shape, sources = list(grad.shape), self._sources[axis]
        shape[axis] = self._shape[axis]
        result = np.zeros(shape, grad.dtype)
        full, part, end = result.swapaxes(0, axis), grad.swapaxes(0, axis), len(sources) - high
        if end > low:
            full[sources[low] : sources[end - 1] + 1] = part[low:end]
        for place in (*range(min(low, end)), *range(max(low, end), len(sources))):
            full[sources[place]] += part[place]
        return result


def _sources(extent: int, low: int, high: int, mode: str) -> Array:
    """Return where in a dimension each element of the padded one comes from."""
    at = np.arange(-low, extent + high)
    if mode == "replicate":
        return np.clip(at, 0, extent - 1)
    if mode == "reflect":
        last = extent - 1
        return last - np.abs(last - np.abs(at))
    # What negative widths cut off does not come back from the other side.
    start, stop = max(-low, 0), extent - max(-high, 0)
    return start + (at - start) % max(stop - start, 1)


def pad(
    input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Tensor:
    """Return `input` with a border around it (PyTorch's ``pad``).

    Parameters
    ----------
    input : Tensor
        Any shape for a constant; otherwise the last 1, 2 or 3 dimensions are padded, behind [n, c]
        or [c].
    pad : sequence of int
        (low, high) widths from the last dimension backwards; negative widths cut off.
    mode : {"constant", "reflect", "replicate", "circular"}
        What the border holds: `value`, the inside mirrored at its outermost elements, those
        elements, or the inside continued from the other end.
    value : float, optional
        The constant, 0 by default.

    Raises
    ------
    TypeError, ValueError
        For other types; for another mode, an odd number of widths, more or fewer than the mode
        takes, or widths that the input is too small for.
    """
    array, widths = array_of(input, "pad"), as_shape((pad,), "pad")
    if value is not None and not isinstance(value, NUMBERS):
        refuse(value, "pad", "value", "a number or None")
    if mode != "constant" and mode not in _BORDERS:
        raise OperationError(f"pad: mode must be 'constant' or one of {_BORDERS}, but got {mode!r}")
    if len(widths) % 2 or len(widths) > 2 * array.ndim:
        raise OperationError(
            f"pad: pad must hold up to {2 * array.ndim} widths in pairs for shape "
            f"{list(array.shape)}, but got {list(widths)}"
        )
    pairs = [widths[at : at + 2] for at in range(0, len(widths), 2)]
    ordered = tuple((0, 0) for _ in range(array.ndim - len(pairs))) + tuple(
        (low, high) for low, high in reversed(pairs)
    )
    if mode != "constant":
        _check_border(array.shape, ordered, len(pairs), mode, value)
        return BorderPad.apply(input, ordered, mode)
    for axis, (low, high) in enumerate(ordered):
        extent = array.shape[axis]
        if extent + low + high < 0 or -low > extent or -high > extent:
            raise OperationError(
                f"pad: widths {low} and {high} cut more than the {extent} elements of "
                f"dimension {axis}"
            )
    return ConstantPad.apply(input, ordered, 0.0 if value is None else value)


def _check_border(
    shape: tuple[int, ...],
    widths: tuple[tuple[int, int], ...],
    count: int,
    mode: str,
    value: float | None,
) -> None:
    if value:
        raise OperationError(f"pad: mode {mode!r} takes no value, but got {value}")
    if count not in (1, 2, 3) or len(shape) - count not in (1, 2):
        raise OperationError(
            f"pad: mode {mode!r} takes 2, 4 or 6 widths for an input with 1 or 2 more dimensions "
            f"than are padded, but got {2 * count} for shape {list(shape)}"
        )
    for axis in range(len(shape) - count, len(shape)):
        extent, (low, high) = shape[axis], widths[axis]
        most = {"reflect": extent - 1, "circular": extent}.get(mode, max(low, high, 0))
        if max(low, high) > most or not extent or extent + low + high < 1:
            raise OperationError(
                f"pad: {mode} widths for dimension {axis} of {extent} elements must be at most "
                f"{most} and leave an element, but are {low} and {high}"
            )
