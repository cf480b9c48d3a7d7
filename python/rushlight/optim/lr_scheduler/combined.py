"""Schedules made of schedules."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from rushlight.optim.lr_scheduler.base import LRScheduler, copied, put, rates_of
from rushlight.optim.lr_scheduler.plateau import ReduceLROnPlateau
from rushlight.optim.optimizer import Optimizer

__all__ = ["ChainedScheduler", "SequentialLR"]


class _Combined(LRScheduler):
    """What the two share: checked parts, and a state that holds theirs."""

    _schedulers: list[Any]

    def _check(self, schedulers: Sequence[Any], optimizer: Optimizer | None) -> None:
        name = type(self).__name__
        if len(schedulers) < 1:
            raise ValueError(f"{name} expects at least one scheduler, but got no scheduler.")
        for index, each in enumerate(schedulers):
            where = f"{name}: scheduler {index}"
            if not hasattr(each, "optimizer"):
                raise TypeError(f"{where} should have `optimizer` as its attribute.")
            if isinstance(each, ReduceLROnPlateau):
                raise ValueError(
                    f"{where} is a ReduceLROnPlateau, whose step needs a value: it cannot be a part"
                )
            if each.optimizer is not (optimizer or schedulers[0].optimizer):
                raise ValueError(f"{where} belongs to another optimizer than the others")

    def state_dict(self) -> dict[str, Any]:
        """Return the state, with the states of the parts under ``"_schedulers"``."""
        state = super().state_dict()
        return {**state, "_schedulers": [each.state_dict() for each in self._schedulers]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from what :meth:`state_dict` returned; load the optimizer's state too."""
        own = {key: value for key, value in state_dict.items() if key != "_schedulers"}
        super().load_state_dict(own)
        for each, state in zip(self._schedulers, state_dict["_schedulers"], strict=True):
            each.load_state_dict(state)


class SequentialLR(_Combined):
    """One schedule after another, changing at the `milestones`.

    As ``torch.optim.lr_scheduler.SequentialLR``. Each starts from the step at which it begins.

    Raises
    ------
    ValueError
        When there is not one milestone less than schedules, or they differ in optimizer.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[LRScheduler],
        milestones: Sequence[int],
        last_epoch: int = -1,
    ) -> None:
        self._check(schedulers, optimizer)
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(
                f"SequentialLR: {len(schedulers)} schedulers need {len(schedulers) - 1} "
                f"milestones, but got {len(milestones)}"
            )
        self._schedulers = list(schedulers)
        self._milestones = list(milestones)
        self.last_epoch = last_epoch + 1
        self.optimizer = optimizer
        # Each of the parts took its first step when it was made: back to the start, and only the
        # first of them goes.
        for group in optimizer.param_groups:
            put(group, "lr", copied(group["initial_lr"]))
        _undo_first_step(self)
        first = self._schedulers[bisect_right(self._milestones, 0)]
        first._initial_step()
        self._last_lr = first.get_last_lr()

    def step(self) -> None:  # type: ignore[override]  # as in PyTorch
        """Take a step of the schedule whose turn it is."""
        self.last_epoch += 1
        index = bisect_right(self._milestones, self.last_epoch)
        current = self._schedulers[index]
        if index > 0 and self._milestones[index - 1] == self.last_epoch:
            current._update_lr(0)
        else:
            current.step()
        self._last_lr = current.get_last_lr()


def _undo_first_step(scheduler: LRScheduler) -> None:
    parts = getattr(scheduler, "_schedulers", None)
    if parts is None:
        scheduler.last_epoch -= 1
    for part in parts or ():
        _undo_first_step(part)


class ChainedScheduler(_Combined):
    """Several schedules at once, each working on what the one before left.

    As ``torch.optim.lr_scheduler.ChainedScheduler``.

    Raises
    ------
    ValueError
        When there is no schedule, or they differ in optimizer.
    """

    def __init__(
        self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None
    ) -> None:
        self._check(schedulers, optimizer)
        self._schedulers = list(schedulers)
        self.optimizer = optimizer or schedulers[0].optimizer
        self._last_lr = rates_of(self.optimizer)

    def step(self) -> None:  # type: ignore[override]  # as in PyTorch
        """Take a step of each."""
        for each in self._schedulers:
            each.step()
        self._last_lr = rates_of(self.optimizer)
