"""Random numbers: generators, random tensors, dropout."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight import dtypes
from rushlight.autograd.base import TensorBase, wrap
from rushlight.autograd.primitive import Primitive
from rushlight.autograd.tape import followed
from rushlight.dtypes import Array
from rushlight.errors import OperationError
from rushlight.ops._common import array_of, as_index, checked_shape, quiet, refuse
from rushlight.ops.copying import Fill
from rushlight.ops.creation import DTypeLike, finish, numpy_dtype

if TYPE_CHECKING:
    from rushlight.tensor import Tensor

__all__ = [
    "Generator", "bernoulli", "bernoulli_", "default_generator", "dropout", "feature_dropout",
    "get_rng_state", "initial_seed", "manual_seed", "normal", "normal_", "rand", "rand_like",
    "randint", "randn", "randn_like", "random_", "randperm", "seed", "set_rng_state", "uniform_",
]  # fmt: skip


class Generator:
    """A source of random numbers (NumPy's PCG64): the same seed, the same numbers.

    Parameters
    ----------
    device : optional
        Accepted for ported code; there is only the CPU.
    """

    def __init__(self, device: Any = None) -> None:
        self._seed = 0

    @property
    def numpy(self) -> np.random.Generator:
        """NumPy's generator, made when first used: numpy.random is slow to import."""
        found = self.__dict__.get("_made")
        if found is None:
            made = np.random.Generator(np.random.PCG64(self._seed % 2**64))
            # Atomic: threads that come at once get the same one.
            found = self.__dict__.setdefault("_made", made)
        return found

    def manual_seed(self, seed: int) -> Generator:
        """Start again from `seed` and return the generator.

        Raises
        ------
        ValueError
            When `seed` does not fit 64 bits.
        """
        value = as_index(seed, "manual_seed", "seed")
        if not -(2**63) <= value < 2**64:
            raise OperationError(f"manual_seed: seed must fit 64 bits, but got {value}")
        self._seed = value
        self.__dict__.pop("_made", None)
        return self

    def initial_seed(self) -> int:
        """Return the seed that the generator started from."""
        return self._seed

    def seed(self) -> int:
        """Start from a seed taken from the system's entropy, and return it."""
        value = int.from_bytes(os.urandom(8), "little")
        self.manual_seed(value)
        return value

    def get_state(self) -> Tensor:
        """Return the state as an int64 tensor of 6 numbers."""
        state = self.numpy.bit_generator.state
        words = [
            part
            for value in (state["state"]["state"], state["state"]["inc"])
            for part in (value >> 64, value & (2**64 - 1))
        ]
        words += [state["has_uint32"], state["uinteger"]]
        return wrap(np.array(words, np.uint64).view(np.int64))

    def set_state(self, state: Tensor) -> Generator:
        """Continue from what :meth:`get_state` returned.

        Raises
        ------
        ValueError
            When `state` is no such tensor.
        """
        array = array_of(state, "set_state", "state")
        if array.dtype != np.int64 or array.shape != (6,):
            raise OperationError(
                f"set_state: state must be an int64 tensor of shape [6], but got {array.dtype} of "
                f"shape {list(array.shape)}"
            )
        words = [int(word) for word in array.astype(np.int64).view(np.uint64)]
        self.numpy.bit_generator.state = {
            "bit_generator": "PCG64",
            "state": {"state": words[0] << 64 | words[1], "inc": words[2] << 64 | words[3]},
            "has_uint32": words[4],
            "uinteger": words[5],
        }
        return self


default_generator = Generator()
default_generator.seed()


def manual_seed(seed: int) -> Generator:
    """Seed the generator that is used where none is given, and return it."""
    return default_generator.manual_seed(seed)


def seed() -> int:
    """Seed the default generator from the system's entropy, and return the seed."""
    return default_generator.seed()


def initial_seed() -> int:
    """Return the seed that the default generator started from."""
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """Return the state of the default generator."""
    return default_generator.get_state()


def set_rng_state(state: Tensor) -> None:
    """Continue the default generator from what :func:`get_rng_state` returned."""
    default_generator.set_state(state)


def _source(generator: Generator | None) -> np.random.Generator:
    if generator is None:
        return default_generator.numpy
    if not isinstance(generator, Generator):
        refuse(generator, "random", "generator", "a rushlight.Generator or None")
    return generator.numpy


def _floating(dtype: DTypeLike | None, operation: str) -> Any:
    target = numpy_dtype(dtype, dtypes.float32, operation)
    if target.kind != "f":
        raise TypeError(f"{operation}: dtype must be float32 or float64, but got {target}")
    return target


def rand(
    *size: Any,
    generator: Generator | None = None,
    dtype: DTypeLike | None = None,
    requires_grad: bool = False,
    device: Any = None,
) -> Tensor:
    """Return a tensor of shape `size`, uniform in [0, 1)."""
    shape = checked_shape(size, "rand")
    return finish(
        np.asarray(_source(generator).random(shape, _floating(dtype, "rand"))),
        requires_grad,
        device,
    )


def randn(
    *size: Any,
    generator: Generator | None = None,
    dtype: DTypeLike | None = None,
    requires_grad: bool = False,
    device: Any = None,
) -> Tensor:
    """Return a tensor of shape `size` from the normal distribution with mean 0 and variance 1."""
    shape = checked_shape(size, "randn")
    return finish(
        np.asarray(_source(generator).standard_normal(shape, _floating(dtype, "randn"))),
        requires_grad,
        device,
    )


def rand_like(
    input: Tensor,
    *,
    dtype: DTypeLike | None = None,
    requires_grad: bool = False,
    device: Any = None,
) -> Tensor:
    """Return a uniform tensor of the shape and, by default, the type of `input`."""
    array = array_of(input, "rand_like")
    kind = dtypes.of(array) if dtype is None else dtype
    return rand(array.shape, dtype=kind, requires_grad=requires_grad, device=device)


def randn_like(
    input: Tensor,
    *,
    dtype: DTypeLike | None = None,
    requires_grad: bool = False,
    device: Any = None,
) -> Tensor:
    """Return a standard normal tensor of the shape and, by default, the type of `input`."""
    array = array_of(input, "randn_like")
    kind = dtypes.of(array) if dtype is None else dtype
    return randn(array.shape, dtype=kind, requires_grad=requires_grad, device=device)


def randint(
    low: int = 0,
    high: Any = None,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: DTypeLike | None = None,
    device: Any = None,
) -> Tensor:
    """Return integers from `low` to before `high`: ``randint(high, size)`` starts at 0.

    Raises
    ------
    ValueError
        When the range is empty.
    """
    if size is None:
        high, size = None, high
    if high is None:
        low, high = 0, low
    low, high = as_index(low, "randint", "low"), as_index(high, "randint", "high")
    if low >= high:
        raise OperationError(f"randint: no integer is in [{low}, {high})")
    shape = checked_shape((size,), "randint")
    target = numpy_dtype(dtype, dtypes.int64, "randint")
    numbers = np.asarray(_source(generator).integers(low, high, shape)).astype(target)
    return finish(numbers, False, device)


def randperm(n: int, *, generator: Generator | None = None, device: Any = None) -> Tensor:
    """Return the integers from 0 to before `n` in random order."""
    (count,) = checked_shape((n,), "randperm")
    return finish(_source(generator).permutation(count).astype(np.int64), False, device)


def normal(
    mean: Any, std: Any = 1.0, size: Any = None, *, generator: Generator | None = None
) -> Tensor:
    """Return normal numbers; `mean` and `std` are numbers with a `size`, or tensors that broadcast.

    Raises
    ------
    ValueError
        When `std` is negative.
    """
    mean = mean._array if isinstance(mean, TensorBase) else mean
    std = std._array if isinstance(std, TensorBase) else std
    if np.any(np.less(std, 0)):
        raise OperationError("normal: std must be 0 or more")
    shape = (
        np.broadcast_shapes(np.shape(mean), np.shape(std))
        if size is None
        else checked_shape((size,), "normal")
    )
    kinds = {each.dtype for each in (mean, std) if isinstance(each, np.ndarray)}
    target = np.float64 if np.dtype(np.float64) in kinds else np.float32
    return wrap(np.asarray(_source(generator).standard_normal(shape) * std + mean, target))


def bernoulli(input: Tensor, *, generator: Generator | None = None) -> Tensor:
    """Return 1 with the probability that each element of `input` gives, else 0."""
    array = array_of(input, "bernoulli")
    if array.size and not (array.min() >= 0 and array.max() <= 1):
        raise OperationError("bernoulli: probabilities must be between 0 and 1")
    return wrap((_source(generator).random(array.shape) < array).astype(array.dtype))


# -- in place: used by initialisation, outside the graph ------------------------------------


def _floating_target(input: Tensor, operation: str) -> Array:
    array = array_of(input, operation)
    if array.dtype.kind != "f":
        raise TypeError(f"{operation}: input must be float32 or float64, but got {array.dtype}")
    return array


def uniform_(
    input: Tensor, a: float = 0.0, b: float = 1.0, *, generator: Generator | None = None
) -> Tensor:
    """Fill `input` with uniform numbers from [`a`, `b`) and return it.

    Raises
    ------
    ValueError
        When `a` is above `b`.
    """
    if not a <= b:
        raise OperationError(f"uniform_: a must not be above b, but got a={a}, b={b}")
    array = _floating_target(input, "uniform_")
    # Drawn in the target's type: rounding a float64 below 1 could give 1.
    drawn = _source(generator).random(array.shape, array.dtype)
    drawn *= b - a
    drawn += a
    return Fill.apply_(input, drawn)


def normal_(
    input: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None
) -> Tensor:
    """Fill `input` with normal numbers and return it.

    Raises
    ------
    ValueError
        When `std` is negative.
    """
    if not std >= 0:
        raise OperationError(f"normal_: std must be 0 or more, but got {std}")
    array = _floating_target(input, "normal_")
    drawn = _source(generator).standard_normal(array.shape, array.dtype)
    drawn *= std
    drawn += mean
    return Fill.apply_(input, drawn)


def random_(
    input: Tensor,
    from_: int = 0,
    to: int | None = None,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Fill `input` with whole numbers and return it: ``random_()``, ``(to)`` or ``(from, to)``.

    Parameters
    ----------
    input : Tensor
        Any type.
    from_ : int
        The least number; the bound `to` where it is the only argument.
    to : int, optional
        A number above all that are drawn. By default as many are possible as the type counts
        without gaps: up to 2**24 for float32, 2**53 for float64, 2**63 - 1 for int64, 1 for masks.

    Raises
    ------
    ValueError
        When there is no number from `from_` to before `to`.
    """
    array = array_of(input, "random_")
    low, high = as_index(from_, "random_", "from"), to
    if to is not None:
        high = as_index(to, "random_", "to")
    elif low:
        low, high = 0, low
    top = {"float32": 2**24, "float64": 2**53, "int64": 2**63 - 1, "bool": 1}[array.dtype.name]
    last = top if high is None else high - 1
    if not -(2**63) <= low <= last < 2**63:
        raise OperationError(
            f"random_: needs from < to within 64 bits, but got {low} and {last + 1}"
        )
    drawn = _source(generator).integers(low, last, array.shape, np.int64, endpoint=True)
    return Fill.apply_(input, drawn)


def bernoulli_(input: Tensor, p: float = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Fill `input` with 1 at probability `p`, else 0, and return it."""
    check_probability("bernoulli_", p)
    shape = array_of(input, "bernoulli_").shape
    return Fill.apply_(input, _source(generator).random(shape) < p)


# -- dropout ----------------------------------------------------------------------------------


class Dropout(Primitive):
    def forward(self, a: Tensor, mask: Array) -> Array:
        self.save(mask)
        with quiet():
            return np.multiply(a._array, mask, out=self.out)

    def backward(self, grad: Array) -> tuple[Array, None]:
        return grad * self.saved[0], None


def check_probability(operation: str, p: float) -> None:
    """Raise ValueError when `p` is not between 0 and 1 (NaN included)."""
    if not 0.0 <= p <= 1.0:
        raise OperationError(f"{operation}: p must be between 0 and 1, but got {p}")


def _dropped(
    input: Tensor, p: float, training: bool, inplace: bool, shape: tuple[int, ...], name: str
) -> Tensor:
    check_probability(name, p)
    _floating_target(input, name)
    if not training or p == 0.0:
        return input
    return _drop(input, p, inplace, shape)


@followed
def _drop(input: Tensor, p: float, inplace: bool, shape: tuple[int, ...]) -> Tensor:
    """Multiply by a mask that is drawn anew in each call."""
    keep = default_generator.numpy.random(shape, np.float32) >= p
    scale = 0.0 if p == 1.0 else 1.0 / (1.0 - p)
    mask = keep * input._array.dtype.type(scale)
    return Dropout.apply_(input, mask) if inplace else Dropout.apply(input, mask)


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zero elements at probability `p` and scale the others by ``1 / (1 - p)``.

    Parameters
    ----------
    input : Tensor
    p : float
        Probability of a zero.
    training : bool
        When False, return `input` as it is.
    inplace : bool
        Change `input` itself.

    Raises
    ------
    ValueError
        When `p` is not between 0 and 1.

    References
    ----------
    Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", 2014.
    """
    return _dropped(input, p, training, inplace, array_of(input, "dropout").shape, "dropout")


def feature_dropout(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Zero whole channels of an [n, c, ...] tensor at probability `p`; see :func:`dropout`."""
    shape = array_of(input, "feature_dropout").shape
    if len(shape) < 2:
        raise OperationError(f"feature_dropout: input must be [n, c, ...], but got {list(shape)}")
    per_channel = shape[:2] + (1,) * (len(shape) - 2)
    return _dropped(input, p, training, inplace, per_channel, "feature_dropout")
