"""Samplers: iterables of indices, drawn when a pass begins."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight.ops.random import default_generator, randint, randperm

if TYPE_CHECKING:
    from rushlight.ops.random import Generator

__all__ = [
    "BatchSampler",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "SubsetRandomSampler",
    "WeightedRandomSampler",
]


class Sampler:
    """Base of samplers, as ``torch.utils.data.Sampler``: ``__iter__`` gives indices."""

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError(f"{type(self).__name__} does not define __iter__")


class SequentialSampler(Sampler):
    """The indices in order."""

    def __init__(self, data_source: Sized) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler):
    """The indices in a new order at every pass.

    Parameters
    ----------
    data_source : sized
        What the indices are for.
    replacement : bool, default False
        Draw each index on its own: some come twice, others not at all.
    num_samples : int, optional
        How many to draw, as many as there are unless given.
    generator : Generator, optional
        Source of the draws, the default generator unless given.

    Raises
    ------
    ValueError
        When `num_samples` is no positive integer.
    """

    def __init__(
        self,
        data_source: Sized,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: Generator | None = None,
    ) -> None:
        if num_samples is not None and (not isinstance(num_samples, int) or num_samples < 1):
            raise ValueError(f"num_samples should be a positive integer, but got {num_samples!r}")
        self.data_source = data_source
        self.replacement = replacement
        self._num_samples = num_samples
        self.generator = generator

    @property
    def num_samples(self) -> int:
        """How many indices a pass has."""
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self) -> Iterator[int]:
        count, wanted = len(self.data_source), self.num_samples
        if count == 0:
            return iter(())
        if self.replacement:
            drawn = randint(0, count, (wanted,), generator=self.generator)
            return iter(drawn.tolist())
        order: list[int] = []
        while len(order) < wanted:
            order += randperm(count, generator=self.generator).tolist()
        return iter(order[:wanted])

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler):
    """Given indices, in a new order at every pass."""

    def __init__(self, indices: Sequence[int], generator: Generator | None = None) -> None:
        self.indices = indices
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        order = randperm(len(self.indices), generator=self.generator).tolist()
        return iter([self.indices[index] for index in order])

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler):
    """Indices with probabilities in proportion to `weights`.

    Parameters
    ----------
    weights : sequence of float
        One for each index, not negative; they need not add up to 1.
    num_samples : int
        How many to draw.
    replacement : bool, default True
        Whether an index may come twice.
    generator : Generator, optional
        Source of the draws, the default generator unless given.

    Raises
    ------
    ValueError
        When a weight is negative or not finite, all are zero, `num_samples` is no positive
        integer, or without replacement more are asked for than have a weight.
    """

    def __init__(
        self,
        weights: Sequence[float],
        num_samples: int,
        replacement: bool = True,
        generator: Generator | None = None,
    ) -> None:
        values = np.asarray(weights, np.float64)
        if values.ndim != 1 or not np.all(np.isfinite(values)) or np.any(values < 0):
            raise ValueError("weights should be a 1-d sequence of finite numbers of at least 0")
        if not isinstance(num_samples, int) or num_samples < 1:
            raise ValueError(f"num_samples should be a positive integer, but got {num_samples!r}")
        positive = int(np.count_nonzero(values))
        if positive == 0 or (not replacement and num_samples > positive):
            raise ValueError(
                f"{num_samples} samples cannot be drawn from {positive} indices with a weight"
            )
        self.weights = values
        self.num_samples = num_samples
        self.replacement = replacement
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        source = (default_generator if self.generator is None else self.generator).numpy
        chosen = source.choice(
            len(self.weights),
            self.num_samples,
            self.replacement,
            self.weights / self.weights.sum(),
        )
        return iter(chosen.tolist())

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler):
    """Lists of `batch_size` indices of another sampler; a last one may be shorter.

    Raises
    ------
    ValueError
        When `batch_size` is no positive integer.
    """

    def __init__(self, sampler: Iterable[Any], batch_size: int, drop_last: bool) -> None:
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise ValueError(f"batch_size should be a positive integer, but got {batch_size!r}")
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last

    def __iter__(self) -> Iterator[list[Any]]:
        return self._grouped(iter(self.sampler))

    def _grouped(self, indices: Iterator[Any]) -> Iterator[list[Any]]:
        batch: list[Any] = []
        for index in indices:
            batch.append(index)
            if len(batch) == self.batch_size:
                yield batch
                batch = []
        if batch and not self.drop_last:
            yield batch

    def __len__(self) -> int:
        count = len(self.sampler)  # type: ignore[arg-type]  # a sampler need not have a length
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)
