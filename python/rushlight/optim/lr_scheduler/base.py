"""The base of the learning rate schedules."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

from rushlight.autograd import no_grad
from rushlight.optim.optimizer import Group, Optimizer
from rushlight.tensor import Tensor

__all__ = ["LRScheduler"]

Rate: TypeAlias = Any  # a float, or a Tensor of one element

_EARLY = (
    "lr_scheduler.step() was called before optimizer.step(): the first learning rate of the "
    "schedule is skipped. Call optimizer.step() first."
)
_EPOCH = (
    "the epoch argument of step() is deprecated: call step() without it. The learning rate is "
    "computed from the epoch directly where the schedule allows it."
)
_ASKED = "To get the last learning rate computed by the scheduler, please use `get_last_lr()`."


def check_optimizer(optimizer: object) -> None:
    """Raise TypeError for what is no optimizer."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")


def put(group: Group, key: str, value: Rate) -> None:
    """Set an option of a group; a tensor there is changed in place, as others may hold it."""
    if isinstance(group[key], Tensor):
        with no_grad():
            group[key].fill_(float(value))
    else:
        group[key] = value


def copied(value: Rate) -> Rate:
    """Return a number as it is, and a copy of a tensor."""
    return value.clone() if isinstance(value, Tensor) else value


def rates_of(optimizer: Optimizer, key: str = "lr") -> list[Rate]:
    """Return an option of each group, copied."""
    return [copied(group[key]) for group in optimizer.param_groups]


def per_group(name: str, optimizer: Optimizer, value: Rate | Sequence[Rate]) -> list[Rate]:
    """Return a value for each group; one value is for all of them.

    Raises
    ------
    ValueError
        When there are more or fewer values than groups.
    """
    count = len(optimizer.param_groups)
    if not isinstance(value, (list, tuple)):
        return [copied(value) for _ in range(count)]
    if len(value) != count:
        raise ValueError(
            f"{name} must have the same length as optimizer.param_groups: it has {len(value)} "
            f"values, but there are {count} groups"
        )
    return [copied(each) for each in value]


def warn_of_epoch() -> None:
    """Warn that ``step(epoch)`` is deprecated."""
    warnings.warn(_EPOCH, UserWarning, stacklevel=3)


class LRScheduler:
    """Base class of the schedules: they set the learning rate of every group of an optimizer.

    A subclass defines `_next`, or, as in PyTorch, ``get_lr``. Making a schedule sets the first
    learning rate; each :meth:`step` sets the next.

    Parameters
    ----------
    optimizer : Optimizer
        Whose groups are scheduled. Their learning rates are kept as ``"initial_lr"``.
    last_epoch : int, default -1
        The last step that was taken, when a schedule is continued; -1 starts it.

    Raises
    ------
    TypeError
        When `optimizer` is none.
    KeyError
        When a schedule is continued and a group has no ``"initial_lr"``.
    """

    _get_lr_called_within_step = False
    _is_initial = False

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        check_optimizer(optimizer)
        self.optimizer = optimizer
        for index, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", copied(group["lr"]))
            elif "initial_lr" not in group:
                raise KeyError(
                    f"param 'initial_lr' is not specified in param_groups[{index}] when resuming "
                    "scheduler with last_epoch >= 0: load the optimizer's state first"
                )
        self.base_lrs: list[Rate] = rates_of(optimizer, "initial_lr")
        self.last_epoch = last_epoch
        self._initial_step()

    def _initial_step(self) -> None:
        """Count from the start and set the first learning rate."""
        self._step_count = 0
        with self._set("_is_initial"):
            self.step()

    @contextmanager
    def _set(self, name: str) -> Iterator[None]:
        setattr(self, name, True)
        try:
            yield
        finally:
            setattr(self, name, False)

    def step(self, epoch: int | None = None) -> None:
        """Set the next learning rate; call it after ``optimizer.step()``.

        `epoch` is deprecated: it sets the learning rate of that step.
        """
        if self._step_count == 1 and not self.optimizer._opt_called:
            warnings.warn(_EARLY, UserWarning, stacklevel=2)
        self._step_count += 1
        if epoch is not None:
            warn_of_epoch()
        self._update_lr(epoch)

    def _update_lr(self, epoch: int | None = None) -> None:
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        with self._set("_get_lr_called_within_step"):
            direct = None if epoch is None else self._get_closed_form_lr()
            self._put_rates(self.get_lr() if direct is None else direct)

    def _put_rates(self, rates: list[Rate]) -> None:
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            put(group, "lr", rate)
        self._last_lr = rates_of(self.optimizer)

    def get_lr(self) -> list[Rate]:
        """Return the learning rates that follow the present ones; :meth:`step` asks for them."""
        if not self._get_lr_called_within_step:
            warnings.warn(_ASKED, UserWarning, stacklevel=2)
        return self._rates()

    def _rates(self) -> list[Rate]:
        groups = self.optimizer.param_groups
        return [
            self._next(copied(group["lr"]), base, group)
            for group, base in zip(groups, self.base_lrs, strict=True)
        ]

    def _next(self, rate: Rate, base: Rate, group: Group) -> Rate:
        """Return what follows the learning rate `rate` of a group that started from `base`."""
        raise NotImplementedError(f"{type(self).__name__} defines neither get_lr nor _next")

    def _get_closed_form_lr(self) -> list[Rate] | None:
        """Return the learning rates at `last_epoch`, or None where only steps lead there."""
        found = [self._at(base) for base in self.base_lrs]
        return None if None in found else found

    def _at(self, base: Rate) -> Rate | None:
        """Return the learning rate at `last_epoch` of a group that started from `base`."""
        return None

    def get_last_lr(self) -> list[Rate]:
        """Return the learning rate of each group that the last step set."""
        return self._last_lr

    def state_dict(self) -> dict[str, Any]:
        """Return all attributes but the optimizer, as PyTorch does."""
        return {key: value for key, value in self.__dict__.items() if key != "optimizer"}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from what :meth:`state_dict` returned; load the optimizer's state too."""
        self.__dict__.update(state_dict)
