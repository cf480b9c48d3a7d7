"""How tensors print: the layout that PyTorch users know, and that they parse."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from rushlight.dtypes import Array

if TYPE_CHECKING:
    from rushlight.tensor import Tensor

__all__ = ["set_printoptions", "tensor_repr"]


class _Options:
    precision = 4
    threshold: float = 1000
    edgeitems = 3
    linewidth = 80
    sci_mode: bool | None = None


_options = _Options()

# Precision, threshold and edge items of PyTorch's profiles.
_PROFILES: dict[str, tuple[int, float, int]] = {
    "default": (4, 1000, 3),
    "short": (2, 1000, 2),
    "full": (4, math.inf, 3),
}


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Set how tensors print; what is left out stays, except `sci_mode`, where None means auto.

    Parameters
    ----------
    precision : int, optional
        Digits after the point (4 at first).
    threshold : int or inf, optional
        Elements above which only the edges print (1000 at first).
    edgeitems : int, optional
        Elements printed at each edge (3 at first).
    linewidth : int, optional
        Characters in a line (80 at first).
    profile : {"default", "short", "full"}, optional
        Where to start from: as at first, with 2 digits, or with every element.
    sci_mode : bool, optional
        Force or forbid scientific notation.

    Raises
    ------
    ValueError
        For an unknown profile.
    """
    if profile is not None:
        if profile not in _PROFILES:
            raise ValueError(
                f"set_printoptions: profile must be one of {tuple(_PROFILES)}, but got {profile!r}"
            )
        _options.precision, _options.threshold, _options.edgeitems = _PROFILES[profile]
        _options.linewidth = 80
    for name, value in (
        ("precision", precision),
        ("threshold", threshold),
        ("edgeitems", edgeitems),
        ("linewidth", linewidth),
    ):
        if value is not None:
            setattr(_options, name, value)
    _options.sci_mode = sci_mode


class _Formatter:
    """The number format that fits all the elements that will print."""

    def __init__(self, shown: Array) -> None:
        self._floating = shown.dtype.kind == "f"
        self._whole, self._scientific = True, False
        if not self._floating:
            self.width = max((len(str(value)) for value in shown.reshape(-1).tolist()), default=1)
            return
        values = shown[np.isfinite(shown) & (shown != 0)].astype(np.float64)
        self.width = 1
        if values.size:
            self._choose(values)
            self.width = max(len(self._text(value)) for value in values.tolist())

    def _choose(self, values: Array) -> None:
        sizes = np.abs(values)
        low, high = sizes.min(), sizes.max()
        self._whole = bool((values == np.ceil(values)).all())
        with np.errstate(over="ignore"):
            wide = bool(high / low > 1000.0 or high > 1.0e8)
        self._scientific = wide or (not self._whole and bool(low < 1.0e-4))
        if _options.sci_mode is not None:
            self._scientific = _options.sci_mode

    def _text(self, value: float) -> str:
        if self._scientific:
            return f"{value:.{_options.precision}e}"
        if self._whole:
            return f"{value:.0f}" + ("." if math.isfinite(value) else "")
        return f"{value:.{_options.precision}f}"

    def format(self, value: float | int | bool) -> str:
        """Return one element, right-aligned to the common width."""
        return (self._text(value) if self._floating else str(value)).rjust(self.width)


def _edges(array: Array) -> Array:
    """Return the elements that print when only the edges do."""
    for axis, extent in enumerate(array.shape):
        if extent > 2 * _options.edgeitems:
            keep = np.r_[: _options.edgeitems, extent - _options.edgeitems : extent]
            array = array.take(keep, axis)
    return array


def _row(array: Array, indent: int, shorten: bool, formatter: _Formatter) -> str:
    edge = _options.edgeitems
    if shorten and len(array) > 2 * edge:
        head, tail = array[:edge].tolist(), array[len(array) - edge :].tolist()
        texts = [*map(formatter.format, head), " ...", *map(formatter.format, tail)]
    else:
        texts = [formatter.format(value) for value in array.tolist()]
    per_line = max(1, (_options.linewidth - indent) // (formatter.width + 2))
    lines = [", ".join(texts[at : at + per_line]) for at in range(0, len(texts), per_line)]
    return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"


def _block(array: Array, indent: int, shorten: bool, formatter: _Formatter) -> str:
    if array.ndim == 0:
        return formatter.format(array.item())
    if array.ndim == 1:
        return _row(array, indent, shorten, formatter)
    edge, extent = _options.edgeitems, len(array)
    if shorten and extent > 2 * edge:
        at = [*range(edge), None, *range(extent - edge, extent)]
    else:
        at = [*range(extent)]
    parts = [
        "..." if index is None else _block(array[index], indent + 1, shorten, formatter)
        for index in at
    ]
    return "[" + ("," + "\n" * (array.ndim - 1) + " " * (indent + 1)).join(parts) + "]"


def _suffixes(tensor: Tensor, array: Array) -> list[str]:
    found = []
    if array.size == 0 and array.ndim != 1:
        found.append(f"size={tuple(array.shape)}")
    usual = array.dtype == np.float32 or (array.dtype.kind in "ib" and array.size > 0)
    if not usual:
        found.append(f"dtype={tensor.dtype}")
    if tensor.grad_fn is not None:
        found.append(f"grad_fn=<{tensor.grad_fn.name()}>")
    elif tensor.requires_grad:
        found.append("requires_grad=True")
    return found


def tensor_repr(tensor: Tensor) -> str:
    """Return ``tensor([...], ...)`` as PyTorch prints it."""
    array, prefix = tensor._array, "tensor("
    if array.size == 0:
        text = prefix + "[]"
    else:
        shorten = array.size > _options.threshold
        formatter = _Formatter(_edges(array) if shorten else array)
        text = prefix + _block(array, len(prefix), shorten, formatter)
    used = len(text) - text.rfind("\n") + 1
    for suffix in _suffixes(tensor, array):
        if used + len(suffix) + 2 > _options.linewidth:
            text += ",\n" + " " * len(prefix) + suffix
            used = len(prefix) + len(suffix)
        else:
            text += ", " + suffix
            used += len(suffix) + 2
    return text + ")"
