"""Changing the size of images: interpolation, and channels traded for pixels or mixed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight.autograd.primitive import Primitive
from rushlight.dtypes import Array
from rushlight.errors import OperationError
from rushlight.ops._common import array_of, as_index, quiet
from rushlight.ops.checks import floating_of, number
from rushlight.ops.shape import permute, reshape

if TYPE_CHECKING:
    from rushlight.tensor import Tensor

__all__ = ["channel_shuffle", "interpolate", "pixel_shuffle", "pixel_unshuffle"]

# Number of dimensions that each mode takes.
_MODES = {
    "nearest": (3, 4), "nearest-exact": (3, 4), "linear": (3,), "bilinear": (4,), "bicubic": (4,),
}  # fmt: skip


class UpsampleNearest(Primitive):
    def forward(self, a: Tensor, sources: tuple[Array, ...]) -> Array:
        x = a._array
        self._shape, self._sources = x.shape, sources
        for axis, source in enumerate(sources, 2):
            x = x.take(source, axis)
        return x

    def backward(self, grad: Array) -> tuple[Array, None]:
        for axis, source in reversed(list(enumerate(self._sources, 2))):
            grad = _gathered(grad, source, self._shape[axis], axis)
        return grad, None


class UpsampleLinear(Primitive):
    def forward(self, a: Tensor, taps: tuple[tuple[Array, Array], ...]) -> Array:
        x = a._array
        self._shape, self._taps = x.shape, taps
        with quiet():
            for axis, (low, share) in reversed(list(enumerate(taps, 2))):
                weight = _along(share, axis, x.ndim)
                high = np.minimum(low + 1, x.shape[axis] - 1)
                x = x.take(low, axis) * (1 - weight) + x.take(high, axis) * weight
        return x

    def backward(self, grad: Array) -> tuple[Array, None]:
        with quiet():
            for axis, (low, share) in enumerate(self._taps, 2):
                extent, weight = self._shape[axis], _along(share, axis, grad.ndim)
                high = np.minimum(low + 1, extent - 1)
                below = _gathered(grad * (1 - weight), low, extent, axis)
                below += _gathered(grad * weight, high, extent, axis)
                grad = below
        return grad, None


class UpsampleCubic(Primitive):
    def forward(self, a: Tensor, taps: tuple[tuple[tuple[Array, Array], ...], ...]) -> Array:
        x = a._array
        self._shape, self._taps = x.shape, taps
        with quiet():
            for axis, around in reversed(list(enumerate(taps, 2))):
                parts = [x.take(at, axis) * _along(w, axis, x.ndim) for at, w in around]
                x = np.add.reduce(parts)
        return x

    def backward(self, grad: Array) -> tuple[Array, None]:
        with quiet():
            for axis, around in enumerate(self._taps, 2):
                extent = self._shape[axis]
                parts = [
                    _gathered(grad * _along(w, axis, grad.ndim), at, extent, axis)
                    for at, w in around
                ]
                grad = np.add.reduce(parts)
        return grad, None


def _along(values: Array, axis: int, ndim: int) -> Array:
    """Return a vector shaped to multiply along one dimension."""
    return values.reshape(-1, *(1,) * (ndim - axis - 1))


def _gathered(grad: Array, source: Array, extent: int, axis: int) -> Array:
    """Return the sums of the gradients that belong to each source, which never falls."""
    starts = np.flatnonzero(np.diff(source, prepend=-1))
    counts = np.diff(starts, append=source.size)
    sums = grad.take(starts, axis)
    rows, places = sums.swapaxes(0, axis), grad.swapaxes(0, axis)
    for nth in range(1, int(counts.max())):
        more = counts > nth
        if more.all():
            sums += grad.take(starts + nth, axis)
        else:
            rows[more] += places[starts[more] + nth]
    if starts.size == extent:
        return sums
    shape = list(grad.shape)
    shape[axis] = extent
    result = np.zeros(shape, grad.dtype)
    result.swapaxes(0, axis)[source[starts]] = rows
    return result


def _nearest_sources(
    size: int, target: int, factor: float | None, shift: float, whole: bool, dtype: np.dtype[Any]
) -> Array:
    """Return the source of each element, rounded as PyTorch rounds it.

    With `whole`, sizes that are the same or double count as a factor of 1 or 2.
    """
    if whole and target in (size, 2 * size):
        return np.arange(target) // (target // size)
    kind, at = dtype.type, np.arange(target).astype(dtype)
    scale = kind(size) / kind(target) if factor is None else kind(1 / factor)
    place = (at + kind(shift)) * scale
    # PyTorch's floor takes float32: a float64 place just below an integer is that integer.
    return np.minimum(np.floor(place.astype(np.float32)).astype(np.int64), size - 1)


def _linear_taps(
    size: int, target: int, factor: float | None, corners: bool, dtype: np.dtype[Any]
) -> tuple[Array, Array]:
    """Return the lower source of each element, and the share of the one above it."""
    kind, at = dtype.type, np.arange(target).astype(dtype)
    if size == target:
        return np.arange(target), np.zeros(target, dtype)
    if corners:
        place = at * (kind(size - 1) / kind(target - 1) if target > 1 else kind(0))
    else:
        scale = kind(size) / kind(target) if factor is None else kind(1 / factor)
        place = np.maximum(scale * (at + kind(0.5)) - kind(0.5), 0)
    low = np.minimum(place.astype(np.int64), size - 1)
    return low, np.clip(place - low, 0, 1).astype(dtype)


_BEND = -0.75  # of the cubic at its outer samples; PyTorch's choice


def _cubic_taps(
    size: int, target: int, factor: float | None, corners: bool, dtype: np.dtype[Any]
) -> tuple[tuple[Array, Array], ...]:
    """Return the four sources of each element and their weights (Keys 1981)."""
    kind, at = dtype.type, np.arange(target).astype(dtype)
    if corners:
        place = at * (kind(size - 1) / kind(target - 1) if target > 1 else kind(0))
    else:
        scale = kind(size) / kind(target) if factor is None else kind(1 / factor)
        place = scale * (at + kind(0.5)) - kind(0.5)
    low = np.floor(place)
    share = place - low
    first = low.astype(np.int64)

    def near(d: Array) -> Array:
        return ((_BEND + 2) * d - (_BEND + 3)) * d * d + 1

    def far(d: Array) -> Array:
        return ((_BEND * d - 5 * _BEND) * d + 8 * _BEND) * d - 4 * _BEND

    weights = far(share + 1), near(share), near(1 - share), far(2 - share)
    return tuple(
        (np.clip(first + step, 0, size - 1), weight.astype(dtype))
        for step, weight in enumerate(weights, -1)
    )


def interpolate(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Return images or sequences in another size (PyTorch's ``interpolate``).

    Parameters
    ----------
    input : Tensor
        [n, c, h, w] or [n, c, length]; float32 or float64.
    size : int or sequence of int, optional
        The spatial size of the result.
    scale_factor : float or sequence of float, optional
        Instead of `size`: what the size is multiplied by, and then rounded down.
    mode : {"nearest", "nearest-exact", "linear", "bilinear", "bicubic"}
        "linear" is for sequences, "bilinear" and "bicubic" for images.
    align_corners : bool, optional
        For the linear and cubic modes: whether the outermost elements keep their places, rather
        than the outer edges of the outermost elements (the default).
    recompute_scale_factor : bool, optional
        Take the distance of source elements from the two sizes, not from `scale_factor`.
    antialias : bool
        Only False is supported.

    Raises
    ------
    TypeError, ValueError
        For other types; for sizes, factors or a mode that do not fit the input.
    """
    x = floating_of(input, "interpolate")
    if mode not in _MODES or x.ndim not in _MODES[mode]:
        takes = ", ".join(f"{name!r} ({'/'.join(map(str, of))}-d)" for name, of in _MODES.items())
        raise OperationError(
            f"interpolate: mode must be one of {takes}, but got {mode!r} for a {x.ndim}-d input"
        )
    smooth = mode in ("linear", "bilinear", "bicubic")
    if align_corners is not None and not smooth:
        raise OperationError(
            f"interpolate: mode {mode!r} takes no align_corners, got {align_corners}"
        )
    if antialias:
        raise OperationError("interpolate: antialias must be False, which is all that is supported")
    space = x.shape[2:]
    target, factors = _target(space, size, scale_factor, recompute_scale_factor)
    if min(space) < 1 or min(target) < 1:
        raise OperationError(
            f"interpolate: sizes must be at least 1, but the input is {list(space)} and the "
            f"result {list(target)}"
        )
    along = list(zip(space, target, factors, strict=True))
    corners = bool(align_corners)
    if mode == "bicubic":
        around = tuple(_cubic_taps(*each, corners, x.dtype) for each in along)
        return UpsampleCubic.apply(input, around)
    if smooth:
        taps = tuple(_linear_taps(*each, corners, x.dtype) for each in along)
        return UpsampleLinear.apply(input, taps)
    shift = 0.5 if mode == "nearest-exact" else 0.0
    whole = not shift and x.ndim == 4
    sources = tuple(_nearest_sources(*each, shift, whole, x.dtype) for each in along)
    return UpsampleNearest.apply(input, sources)


def _target(
    space: tuple[int, ...], size: Any, scale_factor: Any, recompute: bool | None
) -> tuple[list[int], list[float | None]]:
    """Return the size of the result, and the factors that source places are found with."""
    if (size is None) == (scale_factor is None):
        raise OperationError(
            "interpolate: one of size and scale_factor must be given, but got "
            f"size={size} and scale_factor={scale_factor}"
        )
    nothing: list[float | None] = [None] * len(space)
    if scale_factor is None:
        if recompute:
            raise OperationError("interpolate: recompute_scale_factor needs scale_factor, not size")
        sizes = _per_dimension(size, len(space), "size")
        return [as_index(each, "interpolate", "size") for each in sizes], nothing
    factors: list[float | None] = []
    target = []
    for extent, each in zip(
        space, _per_dimension(scale_factor, len(space), "scale_factor"), strict=True
    ):
        factor = number(each, "interpolate", "scale_factor")
        if not 0 < factor < math.inf:
            raise OperationError(
                f"interpolate: scale_factor must be positive, but got {scale_factor}"
            )
        target.append(math.floor(extent * factor))
        factors.append(factor)
    return target, nothing if recompute else factors


def _per_dimension(value: Any, count: int, name: str) -> list[Any]:
    if not isinstance(value, (tuple, list)):
        return [value] * count
    if len(value) != count:
        raise OperationError(
            f"interpolate: {name} must be one number or {count}, one per spatial dimension of "
            f"input, but got {value}"
        )
    return list(value)


def _shuffle_shape(input: Any, factor: object, operation: str, name: str) -> tuple[Array, int]:
    array, step = array_of(input, operation), as_index(factor, operation, name)
    if array.ndim < 3:
        raise OperationError(
            f"{operation}: input must be [..., c, h, w], but is {list(array.shape)}"
        )
    if step < 1:
        raise OperationError(f"{operation}: {name} must be at least 1, but got {step}")
    return array, step


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """Spread groups of r * r channels over blocks of r by r pixels.

    Parameters
    ----------
    input : Tensor
        [..., c * r * r, h, w], any type.
    upscale_factor : int
        r.

    Returns
    -------
    Tensor
        [..., c, h * r, w * r].

    Raises
    ------
    TypeError, ValueError
        For other types, or channels that do not split into groups.

    References
    ----------
    Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel
    Convolutional Neural Network", 2016.
    """
    array, r = _shuffle_shape(input, upscale_factor, "pixel_shuffle", "upscale_factor")
    *lead, c, h, w = array.shape
    if c % (r * r):
        raise OperationError(f"pixel_shuffle: {r} * {r} does not divide the {c} channels of input")
    split = reshape(input, *lead, c // (r * r), r, r, h, w)
    front, n = range(len(lead)), len(lead)
    mixed = permute(split, *front, n, n + 3, n + 1, n + 4, n + 2)
    return reshape(mixed, *lead, c // (r * r), h * r, w * r)


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """Gather blocks of r by r pixels into r * r channels; undoes :func:`pixel_shuffle`.

    Parameters
    ----------
    input : Tensor
        [..., c, h * r, w * r], any type.
    downscale_factor : int
        r.

    Returns
    -------
    Tensor
        [..., c * r * r, h, w].

    Raises
    ------
    TypeError, ValueError
        For other types, or sizes that do not split into blocks.
    """
    array, r = _shuffle_shape(input, downscale_factor, "pixel_unshuffle", "downscale_factor")
    *lead, c, h, w = array.shape
    if h % r or w % r:
        raise OperationError(f"pixel_unshuffle: {r} does not divide the size {h} x {w} of input")
    split = reshape(input, *lead, c, h // r, r, w // r, r)
    front, n = range(len(lead)), len(lead)
    mixed = permute(split, *front, n, n + 2, n + 4, n + 1, n + 3)
    return reshape(mixed, *lead, c * r * r, h // r, w // r)


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """Mix the channels of groups: first the first one of each group, then the second ones.

    Parameters
    ----------
    input : Tensor
        [n, c, ...] with at least one dimension after the channels, any type.
    groups : int
        Number of groups; must divide the channels.

    Returns
    -------
    Tensor
        The shape of `input`.

    Raises
    ------
    TypeError, ValueError
        For other types or dimensions, or channels that do not split into groups.

    References
    ----------
    Zhang et al., "ShuffleNet: An Extremely Efficient Convolutional Neural Network for Mobile
    Devices", 2017.
    """
    shape = array_of(input, "channel_shuffle").shape
    count = as_index(groups, "channel_shuffle", "groups")
    if len(shape) < 3:
        raise OperationError(f"channel_shuffle: input must be [n, c, ...], but is {list(shape)}")
    if count < 1 or shape[1] % count:
        raise OperationError(
            "channel_shuffle: groups must be at least 1 and divide the channels of input, but got "
            f"groups={count} and {shape[1]} channels"
        )
    n, c, *rest = shape
    return reshape(reshape(input, n, count, c // count, *rest).transpose(1, 2), *shape)
