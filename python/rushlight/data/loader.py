"""The loader: batches of a dataset, made here or ahead of time by threads."""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

import numpy as np

from rushlight.data.dataset import Dataset, Subset, TensorDataset
from rushlight.ops.combining import stack
from rushlight.ops.creation import as_tensor, tensor
from rushlight.ops.random import default_generator, randperm
from rushlight.tensor import Tensor

if TYPE_CHECKING:
    from rushlight.ops.random import Generator

__all__ = ["DataLoader", "default_collate"]

T_co = TypeVar("T_co", covariant=True)
Collate: TypeAlias = "Callable[[Any], Any]"
Fetch: TypeAlias = "Callable[[Any], Any]"


def default_collate(batch: list[Any]) -> Any:
    """Turn a list of samples into a batch, as ``torch.utils.data.default_collate``.

    Tensors and arrays are stacked along a new first dimension, numbers become a tensor (float64
    for Python floats), mappings and sequences are collated inside, strings stay a list.

    Raises
    ------
    TypeError
        When the samples are of another type.
    ValueError
        When sequences differ in length.
    """
    first = batch[0]
    if isinstance(first, Tensor):
        return stack(batch)
    if isinstance(first, np.ndarray):
        return stack([as_tensor(each) for each in batch])
    if isinstance(first, (bool, int, float, np.generic)):
        return tensor(np.asarray(batch))
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, Mapping):
        return {key: default_collate([sample[key] for sample in batch]) for key in first}
    if isinstance(first, Sequence):
        if any(len(sample) != len(first) for sample in batch):
            raise ValueError("default_collate: each sample of a batch must have the same length")
        columns = [default_collate(list(column)) for column in zip(*batch, strict=True)]
        # A namedtuple keeps its type; other tuples become lists, as in PyTorch.
        return type(first)(*columns) if hasattr(first, "_fields") else columns
    raise TypeError(
        "default_collate: samples must hold tensors, arrays, numbers, strings, mappings or "
        f"sequences, but got {type(first).__name__}"
    )


class DataLoader(Generic[T_co]):
    """Iterate over a dataset in batches, as ``torch.utils.data.DataLoader``, with threads.

    The order of the samples is drawn in the thread that iterates, when it starts, so it is the
    same for a seed at any `num_workers`.

    Parameters
    ----------
    dataset : Dataset
        An object with ``__getitem__`` and ``__len__``.
    batch_size : int or None, default 1
        Samples in a batch; None gives the samples themselves, one by one.
    shuffle : bool, default False
        Draw a new order for every pass.
    sampler : iterable of indices, optional
        The order of the samples, instead of `shuffle`.
    batch_sampler : iterable of lists of indices, optional
        The batches, instead of `batch_size`, `shuffle`, `sampler` and `drop_last`.
    num_workers : int, default 0
        Threads that make batches ahead of time; 0 makes each batch when it is asked for.
    collate_fn : callable, optional
        Makes a batch from a list of samples, :func:`default_collate` unless given.
    pin_memory : bool, default False
        Accepted for PyTorch's sake; there is nothing to pin.
    drop_last : bool, default False
        Leave out a last batch that is smaller.
    generator : Generator, optional
        Source of the shuffling, the default generator unless given.
    prefetch_factor : int, optional
        Batches that each thread may be ahead, 2 unless given.
    persistent_workers : bool, default False
        Accepted for PyTorch's sake; threads start fast.

    Raises
    ------
    TypeError
        When a count is not an int or the dataset has no length.
    ValueError
        When a count is too small or two arguments exclude each other.
    """

    def __init__(
        self,
        dataset: Dataset[T_co],
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[list[Any]] | None = None,
        num_workers: int = 0,
        collate_fn: Collate | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        *,
        generator: Generator | None = None,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
    ) -> None:
        _check_count("num_workers", num_workers, 0)
        if batch_size is not None:
            _check_count("batch_size", batch_size, 1)
        if prefetch_factor is not None:
            _check_count("prefetch_factor", prefetch_factor, 1)
        if sampler is not None and shuffle:
            raise ValueError("DataLoader: sampler and shuffle exclude each other")
        if batch_sampler is not None and (
            batch_size != 1 or shuffle or sampler is not None or drop_last
        ):
            raise ValueError(
                "DataLoader: batch_sampler excludes batch_size, shuffle, sampler and drop_last"
            )
        if batch_size is None and drop_last:
            raise ValueError("DataLoader: batch_size=None leaves no batch to drop")
        if sampler is None and batch_sampler is None and not hasattr(dataset, "__len__"):
            raise TypeError(
                f"DataLoader: a dataset needs __len__, but {type(dataset).__name__} has none"
            )
        self.dataset = dataset
        self.batch_size = None if batch_sampler is not None else batch_size
        self.shuffle = bool(shuffle)
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.num_workers = num_workers
        self.collate_fn: Collate = default_collate if collate_fn is None else collate_fn
        self.pin_memory = pin_memory
        self.drop_last = drop_last
        self.generator = generator
        self.prefetch_factor = 2 if prefetch_factor is None else prefetch_factor
        self.persistent_workers = persistent_workers
        # The pass that was begun last: the random state before its order was drawn, and how many
        # of its batches were handed out. None before the first and after the end of one.
        self._start: Tensor | None = None
        self._given = 0
        self._resumes = False

    def __len__(self) -> int:
        if self.batch_sampler is not None:
            return _length(self.batch_sampler)
        samples = _length(self.dataset if self.sampler is None else self.sampler)
        if self.batch_size is None:
            return samples
        return samples // self.batch_size if self.drop_last else -(-samples // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        batches = self._ordered_batches()
        fetch = self._fetch()
        if self.num_workers == 0:
            return _Pass(self, map(fetch, batches))
        return _Pass(self, _Prefetcher(fetch, batches, self.num_workers, self.prefetch_factor))

    # -- checkpoints ------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return where the present pass stands.

        Returns
        -------
        dict
            ``"start"``, the random state (int64 [6]) from which the order of the pass was drawn,
            or None when no pass has begun or the last one is complete; ``"given"``, how many of
            its batches were handed out.
        """
        return {"start": self._start, "given": self._given}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Make the next pass the rest of the one that was saved.

        Its order is drawn again and the batches handed out before are left out, unread; the
        generator is left as it was found. A pass that was complete is not repeated: the next one
        is new, and equal to the one that would have followed when the random state
        (:func:`rushlight.get_rng_state`) is restored too. A sampler of your own has to draw from
        the loader's generator or the default one.
        """
        self._start, self._given = state_dict["start"], int(state_dict["given"])
        self._resumes = self._start is not None

    def _ordered_batches(self) -> Iterator[Any]:
        """Return what to fetch for each batch of a new pass, or of the one that was loaded."""
        generator = self.generator or getattr(self.sampler, "generator", None) or default_generator
        now = generator.get_state()
        if not self._resumes or self._start is None:
            self._start, self._given = now, 0
            return self._index_batches()
        self._resumes = False
        generator.set_state(self._start)
        batches = self._index_batches()
        generator.set_state(now)
        return itertools.islice(batches, self._given, None)

    def _index_batches(self) -> Iterator[Any]:
        """Return what to fetch for each batch; the order is drawn before this returns."""
        if self.batch_sampler is not None:
            return iter(self.batch_sampler)
        order: Iterable[Any]
        if self.sampler is not None:
            order = iter(self.sampler)
        elif self.shuffle:
            order = randperm(_length(self.dataset), generator=self.generator).tolist()
        else:
            order = range(_length(self.dataset))
        return iter(order) if self.batch_size is None else self._grouped(order, self.batch_size)

    def _grouped(self, order: Iterable[Any], size: int) -> Iterator[list[Any]]:
        batch: list[Any] = []
        for index in order:
            batch.append(index)
            if len(batch) == size:
                yield batch
                batch = []
        if batch and not self.drop_last:
            yield batch

    def _fetch(self) -> Fetch:
        """Return the function that makes a batch from its indices."""
        dataset, collate = self.dataset, self.collate_fn

        def fetch(indices: Any) -> Any:
            try:
                if self.batch_size is None and self.batch_sampler is None:
                    sample = dataset[indices]
                    return sample if collate is default_collate else collate(sample)
                gathered = _gather(dataset, indices) if collate is default_collate else None
                if gathered is not None:
                    return gathered
                return collate([dataset[index] for index in indices])
            except StopIteration as error:
                # Left alone, it would end the caller's loop as if the data were complete.
                raise RuntimeError("DataLoader: the dataset raised StopIteration") from error

        return fetch


def _length(sized: Any) -> int:
    """Return ``len(sized)``; datasets and samplers need not have one, a TypeError says so."""
    return len(sized)


def _check_count(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"DataLoader: {name} must be an int, but got {type(value).__name__}")
    if value < least:
        raise ValueError(f"DataLoader: {name} must be at least {least}, but got {value}")


def _gather(dataset: Any, indices: Any) -> list[Tensor] | None:
    """Index a TensorDataset, or subsets of one, by the whole batch; None for other datasets."""
    while type(dataset) is Subset:
        indices = [dataset.indices[index] for index in indices]
        dataset = dataset.dataset
    if type(dataset) is not TensorDataset:
        return None
    return [each[indices] for each in dataset.tensors]


class _Pass(Iterator[Any]):
    """Counts for its loader what it hands out."""

    def __init__(self, loader: DataLoader[Any], batches: Iterator[Any]) -> None:
        self._loader, self._batches = loader, batches
        self._of = loader._start

    def __next__(self) -> Any:
        loader = self._loader
        is_last_begun = loader._start is self._of
        try:
            batch = next(self._batches)
        except StopIteration:
            if is_last_begun:
                loader._start, loader._given = None, 0
            raise
        if is_last_begun:
            loader._given += 1
        return batch

    def close(self) -> None:
        """Stop the threads, if there are any, and wait until the batches in work are done."""
        if isinstance(self._batches, _Prefetcher):
            self._batches.close()


class _Shared:
    """What the threads of one pass and its iterator work on, guarded by `changed`."""

    def __init__(self, fetch: Fetch) -> None:
        self.fetch = fetch
        self.changed = threading.Condition()
        self.tasks: list[tuple[int, Any]] = []
        self.results: dict[int, tuple[Any, BaseException | None]] = {}
        self.stopped = False


def _work(shared: _Shared) -> None:
    """Make batches until there are no more; the body of a thread."""
    while True:
        with shared.changed:
            shared.changed.wait_for(lambda: shared.tasks or shared.stopped)
            if shared.stopped:
                return
            number, indices = shared.tasks.pop(0)
        outcome = _outcome(shared.fetch, indices)
        with shared.changed:
            shared.results[number] = outcome
            shared.changed.notify_all()
        del outcome  # while this thread waits, the batch belongs to the caller


def _outcome(fetch: Fetch, indices: Any) -> tuple[Any, BaseException | None]:
    try:
        return fetch(indices), None
    except BaseException as error:  # raised again where the batch is asked for
        return None, error


def _stop(shared: _Shared, threads: list[threading.Thread]) -> None:
    with shared.changed:
        shared.stopped = True
        shared.changed.notify_all()
    # The garbage collector may run this in one of the threads, which cannot wait for the others
    # when it holds the lock that they need.
    if threading.current_thread() not in threads:
        for thread in threads:
            thread.join()


class _Prefetcher(Iterator[Any]):
    """Hands out the batches in order while threads make the next ones.

    The threads know only `_Shared`, never this iterator: when a loop is left early, the iterator
    dies with its last reference and stops them.
    """

    def __init__(self, fetch: Fetch, batches: Iterator[Any], workers: int, ahead: int) -> None:
        self._shared = _Shared(fetch)
        self._batches = batches
        self._asked = 0
        self._given = 0
        threads: list[threading.Thread] = []
        # Not at exit: a dataset that blocks must not keep the interpreter from ending.
        self._stop = weakref.finalize(self, _stop, self._shared, threads)
        self._stop.atexit = False
        for number in range(workers):
            thread = threading.Thread(
                target=_work, args=(self._shared,), name=f"rushlight-data-{number}", daemon=True
            )
            thread.start()
            threads.append(thread)
        for _ in range(workers * ahead):
            self._ask()

    def _ask(self) -> None:
        for indices in self._batches:
            with self._shared.changed:
                self._shared.tasks.append((self._asked, indices))
                self._shared.changed.notify_all()
            self._asked += 1
            return

    def __next__(self) -> Any:
        if self._given == self._asked:
            self.close()
            raise StopIteration
        shared = self._shared
        with shared.changed:
            shared.changed.wait_for(lambda: self._given in shared.results)
            result, failure = shared.results.pop(self._given)
        self._given += 1
        if failure is not None:
            self.close()
            self._given = self._asked
            raise failure
        self._ask()
        return result

    def close(self) -> None:
        """Stop the threads and wait until the batches in work are done."""
        self._stop()
