"""Datasets: an object with ``__getitem__`` and ``__len__``."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from rushlight.ops.random import randperm
from rushlight.tensor import Tensor

if TYPE_CHECKING:
    from rushlight.ops.random import Generator

__all__ = ["ConcatDataset", "Dataset", "Subset", "TensorDataset", "random_split"]

T_co = TypeVar("T_co", covariant=True)


class Dataset(Generic[T_co]):
    """Base of datasets, as ``torch.utils.data.Dataset``: samples by index, and a length."""

    def __getitem__(self, index: Any) -> T_co:
        """Return the sample at `index`."""
        raise NotImplementedError(f"{type(self).__name__} does not define __getitem__")

    def __add__(self, other: Dataset[T_co]) -> ConcatDataset[T_co]:
        return ConcatDataset([self, other])


class TensorDataset(Dataset[tuple[Tensor, ...]]):
    """Samples along the first dimension of tensors.

    Parameters
    ----------
    *tensors : Tensor
        Tensors with the same ``size(0)``.

    Raises
    ------
    TypeError
        When an argument is not a tensor.
    ValueError
        When there is no tensor, one has no dimension, or the sizes differ.
    """

    tensors: tuple[Tensor, ...]

    def __init__(self, *tensors: Tensor) -> None:
        for tensor in tensors:
            if not isinstance(tensor, Tensor):
                raise TypeError(f"TensorDataset: expected tensors, but got {type(tensor).__name__}")
        if not tensors or any(tensor.dim() == 0 for tensor in tensors):
            raise ValueError("TensorDataset: expected tensors with at least one dimension")
        sizes = [tensor.shape[0] for tensor in tensors]
        if len(set(sizes)) != 1:
            raise ValueError(f"TensorDataset: size mismatch between tensors, first sizes {sizes}")
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(tensor[index] for tensor in self.tensors)

    def __len__(self) -> int:
        return len(self.tensors[0])


class Subset(Dataset[T_co]):
    """The samples of `dataset` at `indices`, in that order."""

    def __init__(self, dataset: Dataset[T_co], indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = indices

    def __getitem__(self, index: Any) -> T_co:
        return self.dataset[self.indices[index]]

    def __len__(self) -> int:
        return len(self.indices)


class ConcatDataset(Dataset[T_co]):
    """Datasets one after the other, as ``torch.utils.data.ConcatDataset``.

    Raises
    ------
    ValueError
        When there is none.
    """

    def __init__(self, datasets: Iterable[Dataset[T_co]]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise ValueError("datasets should not be an empty iterable")
        sizes = [len(each) for each in self.datasets]  # type: ignore[arg-type]  # those with one
        self.cumulative_sizes = list(itertools.accumulate(sizes))

    def __getitem__(self, index: Any) -> T_co:
        position = index + len(self) if index < 0 else index
        if not 0 <= position < len(self):
            raise IndexError(f"index {index} is out of range for {len(self)} samples")
        number = bisect_right(self.cumulative_sizes, position)
        before = self.cumulative_sizes[number - 1] if number else 0
        return self.datasets[number][position - before]

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]


def random_split(
    dataset: Dataset[T_co],
    lengths: Sequence[int | float],
    generator: Generator | None = None,
) -> list[Subset[T_co]]:
    """Split a dataset at random into parts that do not overlap.

    Parameters
    ----------
    dataset : Dataset
        A dataset with a length.
    lengths : sequence of int or of float
        The lengths of the parts, or fractions that add up to 1; what rounding down leaves over
        goes to the parts one by one from the first.
    generator : Generator, optional
        Source of the permutation, the default generator unless given.

    Raises
    ------
    ValueError
        When a length is negative or the lengths do not add up to the dataset's.
    """
    total = len(dataset)  # type: ignore[arg-type]  # a Dataset need not have a length, as in PyTorch
    counts = _part_sizes(total, list(lengths))
    order: list[int] = randperm(total, generator=generator).tolist()
    ends = list(itertools.accumulate(counts))
    return [
        Subset(dataset, order[end - count : end]) for count, end in zip(counts, ends, strict=True)
    ]


def _part_sizes(total: int, lengths: list[int | float]) -> list[int]:
    if any(not length >= 0 for length in lengths):
        raise ValueError(f"random_split: lengths must not be negative, but got {lengths}")
    if math.isclose(sum(lengths), 1):
        counts = [math.floor(total * fraction) for fraction in lengths]
        for extra in range(total - sum(counts)):
            counts[extra % len(counts)] += 1
        return counts
    if not all(isinstance(length, int) for length in lengths) or sum(lengths) != total:
        raise ValueError(
            f"random_split: lengths {lengths} are neither whole numbers that add up to the "
            f"{total} samples of the dataset nor fractions that add up to 1"
        )
    return [int(length) for length in lengths]
