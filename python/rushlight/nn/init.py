"""Initial values: PyTorch's ``torch.nn.init``. All functions fill a tensor and return it."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, cast

import numpy as np

from rushlight.autograd import no_grad
from rushlight.ops import Generator, as_tensor, default_generator, randperm
from rushlight.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import ParamSpec

    _P = ParamSpec("_P")

__all__ = [
    "calculate_gain",
    "constant_",
    "dirac_",
    "eye_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "normal_",
    "ones_",
    "orthogonal_",
    "sparse_",
    "trunc_normal_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
    "zeros_",
]

_LINEAR = (
    "linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d",
    "conv_transpose3d", "sigmoid",
)  # fmt: skip
_GAINS = {
    **dict.fromkeys(_LINEAR, 1.0),
    "tanh": 5.0 / 3,
    "relu": math.sqrt(2.0),
    "selu": 3.0 / 4,
}
# Where the normal density has fallen from its value by more than a double can resolve.
_TAIL = 8.6


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Return by how much weights grow to make up for what a nonlinearity takes from the variance.

    Parameters
    ----------
    nonlinearity : str
        Name of the function that follows, such as ``"relu"`` or ``"leaky_relu"``.
    param : float, optional
        Slope of ``"leaky_relu"``, 0.01 by default.

    Raises
    ------
    ValueError
        For an unknown name, or a slope that is no number.
    """
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        if isinstance(slope, bool) or not isinstance(slope, (int, float)):
            raise ValueError(f"negative_slope {param} not a valid number")
        return math.sqrt(2.0 / (1 + slope**2))
    if nonlinearity not in _GAINS:
        raise ValueError(f"Unsupported nonlinearity {nonlinearity}")
    return _GAINS[nonlinearity]


# -- simple fills ---------------------------------------------------------------------------

_skipping = ContextVar("_skipping", default=False)


@contextmanager
def skipped() -> Iterator[None]:
    """Leave tensors as they are: no function of this module fills anything inside."""
    token = _skipping.set(True)
    try:
        yield
    finally:
        _skipping.reset(token)


def _fills(fill: Callable[_P, Tensor]) -> Callable[_P, Tensor]:
    """Make `fill` work outside any graph, and not at all inside :func:`skipped`."""

    @functools.wraps(fill)
    def filled(*args: _P.args, **kwargs: _P.kwargs) -> Tensor:
        if _skipping.get():
            return cast("Tensor", args[0] if args else kwargs["tensor"])
        with no_grad():
            return fill(*args, **kwargs)

    return filled


@_fills
def uniform_(
    tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill with uniform numbers from [`a`, `b`)."""
    return tensor.uniform_(a, b, generator=generator)


@_fills
def normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill with normal numbers."""
    return tensor.normal_(mean, std, generator=generator)


@_fills
def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with one value."""
    return tensor.fill_(val)


@_fills
def ones_(tensor: Tensor) -> Tensor:
    """Fill with ones."""
    return tensor.fill_(1.0)


@_fills
def zeros_(tensor: Tensor) -> Tensor:
    """Fill with zeros."""
    return tensor.zero_()


@_fills
def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> Tensor:
    """Fill with normal numbers of which only those within [`a`, `b`] are taken.

    Parameters
    ----------
    tensor : Tensor
        float32 or float64.
    mean, std : float
        Of the normal distribution before it is cut.
    a, b : float
        Bounds of the values.
    generator : Generator, optional
        Source of the random numbers.

    Raises
    ------
    ValueError
        When `std` is not positive, a number is not finite, or the bounds are in wrong order.
    """
    if not 0 < std < math.inf or not math.isfinite(mean) or not a <= b:
        raise ValueError(
            "trunc_normal_: needs a finite mean, a finite std > 0 and a <= b, but got "
            f"mean={mean}, std={std}, a={a}, b={b}"
        )
    random = (default_generator if generator is None else generator).numpy
    values = _truncated(random, (a - mean) / std, (b - mean) / std, tensor.numel())
    _put(tensor, (values * std + mean).clip(a, b))
    return tensor


def _truncated(
    random: np.random.Generator, low: float, high: float, count: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Return standard normal numbers within [low, high], by drawing until enough are accepted."""
    if 0.5 * (math.erf(high / math.sqrt(2)) - math.erf(low / math.sqrt(2))) < 0.25:
        # Too few normal numbers would fit. Uniform ones, accepted by their density relative to
        # its maximum, do; in a long tail only where there is any density left.
        mode = min(max(low, 0.0), high)
        low, high = max(low, mode - _TAIL), min(high, mode + _TAIL)
    else:
        mode = math.nan
    found = np.empty(0)
    while found.size < count:
        wanted = 2 * (count - found.size) + 16
        if math.isnan(mode):
            drawn = random.standard_normal(wanted)
            drawn = drawn[(drawn >= low) & (drawn <= high)]
        else:
            drawn = random.uniform(low, high, wanted)
            drawn = drawn[random.random(wanted) <= np.exp((mode**2 - drawn**2) / 2)]
        found = np.concatenate([found, drawn])
    return found[:count]


# -- by the number of inputs and outputs ----------------------------------------------------


def _calculate_fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    """Return how many values a unit of the layer reads, and how many units read a value."""
    if tensor.dim() < 2:
        raise ValueError(
            "Fan in and fan out can not be computed for tensor with fewer than 2 dimensions, but "
            f"got shape {tuple(tensor.shape)}"
        )
    window = math.prod(tensor.shape[2:])
    return tensor.shape[1] * window, tensor.shape[0] * window


def _calculate_correct_fan(tensor: Tensor, mode: str) -> int:
    names = ["fan_in", "fan_out"]
    if not isinstance(mode, str) or mode.lower() not in names:
        raise ValueError(f"Mode {mode} not supported, please use one of {names}")
    return _calculate_fan_in_and_fan_out(tensor)[names.index(mode.lower())]


def xavier_uniform_(
    tensor: Tensor, gain: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill with uniform numbers within ``gain * sqrt(6 / (fan_in + fan_out))``.

    References
    ----------
    Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural
    networks", 2010.
    """
    bound = math.sqrt(3.0) * _xavier_std(tensor, gain)
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with normal numbers of deviation ``gain * sqrt(2 / (fan_in + fan_out))``."""
    return normal_(tensor, 0.0, _xavier_std(tensor, gain), generator)


def _xavier_std(tensor: Tensor, gain: float) -> float:
    fans = sum(_calculate_fan_in_and_fan_out(tensor))
    return gain * math.sqrt(2.0 / fans) if fans else 0.0


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Fill with uniform numbers within ``gain * sqrt(3 / fan)``.

    Parameters
    ----------
    tensor : Tensor
        Weights [out, in, ...].
    a : float
        Slope of the leaky ReLU that follows.
    mode : {"fan_in", "fan_out"}
        Whether the variance is kept forwards or backwards.
    nonlinearity : str
        What follows; see :func:`calculate_gain`.
    generator : Generator, optional
        Source of the random numbers.

    Raises
    ------
    ValueError
        For fewer than 2 dimensions, or an unknown mode or nonlinearity.

    References
    ----------
    He et al., "Delving Deep into Rectifiers", 2015.
    """
    if _warn_if_empty(tensor):
        return tensor
    bound = math.sqrt(3.0) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Fill with normal numbers of deviation ``gain / sqrt(fan)``; see :func:`kaiming_uniform_`."""
    if _warn_if_empty(tensor):
        return tensor
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity), generator)


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    fan = _calculate_correct_fan(tensor, mode)
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)


def _warn_if_empty(tensor: Tensor) -> bool:
    if 0 in tensor.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", UserWarning, stacklevel=3)
        return True
    return False


# -- matrices with a structure --------------------------------------------------------------


def _require_dims(tensor: Tensor, least: int, most: int | None = None) -> None:
    if tensor.dim() < least or (most is not None and tensor.dim() > most):
        many = "or more" if most is None else f"to {most}" if most > least else ""
        raise ValueError(
            f"Only tensors with {least} {many} dimensions are supported, but got shape "
            f"{tuple(tensor.shape)}".replace("  ", " ")
        )


def _put(tensor: Tensor, values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> None:
    tensor.copy_(as_tensor(values.reshape(tensor.shape)))


@_fills
def eye_(tensor: Tensor) -> Tensor:
    """Fill a matrix with the identity.

    Raises
    ------
    ValueError
        When `tensor` is no matrix.
    """
    _require_dims(tensor, 2, 2)
    _put(tensor, np.eye(*tensor.shape))
    return tensor


@_fills
def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Fill the weights of a convolution so that it passes its channels through.

    Parameters
    ----------
    tensor : Tensor
        [out_channels, in_channels / groups, ...] with 1 to 3 window dimensions.
    groups : int
        Groups of channels of the convolution.

    Raises
    ------
    ValueError
        For other dimensions, or when `groups` does not divide the output channels.
    """
    _require_dims(tensor, 3, 5)
    if groups < 1 or tensor.shape[0] % groups:
        raise ValueError(
            f"dirac_: dim 0 must be divisible by groups, but got {tensor.shape[0]} and {groups}"
        )
    values = np.zeros(tensor.shape)
    per_group = tensor.shape[0] // groups
    centre = tuple(extent // 2 for extent in tensor.shape[2:])
    for channel in range(min(per_group, tensor.shape[1])):
        for group in range(groups):
            index = (group * per_group + channel, channel, *centre)
            values[index] = 1
    _put(tensor, values)
    return tensor


@_fills
def orthogonal_(tensor: Tensor, gain: float = 1, generator: Generator | None = None) -> Tensor:
    """Fill with `gain` times a matrix of orthonormal rows or columns, whichever are fewer.

    Parameters
    ----------
    tensor : Tensor
        [rows, ...]; the dimensions after the first count as columns.
    gain : float
        Factor.
    generator : Generator, optional
        Source of the random numbers.

    Raises
    ------
    ValueError
        For fewer than 2 dimensions.

    References
    ----------
    Saxe et al., "Exact solutions to the nonlinear dynamics of learning in deep linear neural
    networks", 2013.
    """
    _require_dims(tensor, 2)
    if not tensor.numel():
        return tensor
    random = (default_generator if generator is None else generator).numpy
    rows, columns = tensor.shape[0], tensor.numel() // tensor.shape[0]
    tall = random.standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(tall)
    # The signs make the distribution uniform over all such matrices.
    q *= np.sign(np.diagonal(r))
    _put(tensor, gain * (q.T if rows < columns else q))
    return tensor


@_fills
def sparse_(
    tensor: Tensor, sparsity: float, std: float = 0.01, generator: Generator | None = None
) -> Tensor:
    """Fill a matrix with normal numbers, of which a share of each column is zero.

    Parameters
    ----------
    tensor : Tensor
        [rows, columns].
    sparsity : float
        Share of each column that is zero, rounded up to whole rows.
    std : float
        Deviation of the others.
    generator : Generator, optional
        Source of the random numbers.

    Raises
    ------
    ValueError
        When `tensor` is no matrix, or the share is not between 0 and 1.

    References
    ----------
    Martens, "Deep learning via Hessian-free optimization", 2010.
    """
    _require_dims(tensor, 2, 2)
    if not 0 <= sparsity <= 1:
        raise ValueError(f"sparse_: sparsity must be between 0 and 1, but got {sparsity}")
    rows, columns = tensor.shape
    zeros = math.ceil(sparsity * rows)
    tensor.normal_(0, std, generator=generator)
    for column in range(columns):
        tensor[randperm(rows, generator=generator)[:zeros], column] = 0
    return tensor


# -- the names of before 2018 -----------------------------------------------------------------


def _deprecated(fill: Callable[_P, Tensor]) -> Callable[_P, Tensor]:
    """Return `fill` under its name without the underscore: it warns, and fills in place too."""
    old, new = fill.__name__.rstrip("_"), fill.__name__

    @functools.wraps(fill)
    def renamed(*args: _P.args, **kwargs: _P.kwargs) -> Tensor:
        warnings.warn(
            f"nn.init.{old} is deprecated in favour of nn.init.{new}", FutureWarning, stacklevel=2
        )
        return fill(*args, **kwargs)

    renamed.__name__ = renamed.__qualname__ = old
    renamed.__doc__ = f"Do what :func:`{new}` does: the older name, deprecated as in PyTorch."
    return renamed


constant = _deprecated(constant_)
dirac = _deprecated(dirac_)
eye = _deprecated(eye_)
kaiming_normal = _deprecated(kaiming_normal_)
kaiming_uniform = _deprecated(kaiming_uniform_)
normal = _deprecated(normal_)
orthogonal = _deprecated(orthogonal_)
sparse = _deprecated(sparse_)
uniform = _deprecated(uniform_)
xavier_normal = _deprecated(xavier_normal_)
xavier_uniform = _deprecated(xavier_uniform_)
