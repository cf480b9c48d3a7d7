"""Schedules that multiply the learning rate by a factor of the step's number."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from rushlight.optim.lr_scheduler.base import LRScheduler, Rate
from rushlight.optim.optimizer import Group, Optimizer

__all__ = ["ConstantLR", "ExponentialLR", "LinearLR", "MultiStepLR", "PolynomialLR", "StepLR"]


class StepLR(LRScheduler):
    """Times `gamma` after every `step_size` steps, as ``torch.optim.lr_scheduler.StepLR``."""

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def _next(self, rate: Rate, base: Rate, group: Group) -> Rate:
        due = self.last_epoch != 0 and self.last_epoch % self.step_size == 0
        return rate * self.gamma if due else rate

    def _at(self, base: Rate) -> Rate:
        return base * self.gamma ** (self.last_epoch // self.step_size)


class MultiStepLR(LRScheduler):
    """Times `gamma` at each of the `milestones`, as ``torch.optim.lr_scheduler.MultiStepLR``.

    A milestone that is given twice counts twice.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Iterable[int],
        gamma: float = 0.1,
        last_epoch: int = -1,
    ) -> None:
        self.milestones = Counter(milestones)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def _next(self, rate: Rate, base: Rate, group: Group) -> Rate:
        if self.last_epoch not in self.milestones:
            return rate
        return rate * self.gamma ** self.milestones[self.last_epoch]

    def _at(self, base: Rate) -> Rate:
        passed = bisect_right(sorted(self.milestones.elements()), self.last_epoch)
        return base * self.gamma**passed

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from a state, also one that went through JSON, where keys are texts."""
        super().load_state_dict(state_dict)
        self.milestones = Counter({int(key): count for key, count in self.milestones.items()})


class ConstantLR(LRScheduler):
    """Times `factor` for `total_iters` steps, as ``torch.optim.lr_scheduler.ConstantLR``.

    Raises
    ------
    ValueError
        When `factor` is not between 0 and 1.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        factor: float = 1.0 / 3,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 <= factor <= 1.0:
            raise ValueError(f"ConstantLR: factor must be between 0 and 1, but got {factor}")
        self.factor = factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def _next(self, rate: Rate, base: Rate, group: Group) -> Rate:
        if self.last_epoch == 0:
            return rate * self.factor
        return rate * (1.0 / self.factor) if self.last_epoch == self.total_iters else rate

    def _at(self, base: Rate) -> Rate:
        return base * (self.factor + (self.last_epoch >= self.total_iters) * (1 - self.factor))


class LinearLR(LRScheduler):
    """A factor that moves evenly, as ``torch.optim.lr_scheduler.LinearLR``.

    From `start_factor` to `end_factor` in `total_iters` steps.

    Raises
    ------
    ValueError
        When `start_factor` is not in (0, 1] or `end_factor` not in [0, 1].
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 < start_factor <= 1.0:
            raise ValueError(
                f"LinearLR: start_factor must be above 0 and at most 1, but got {start_factor}"
            )
        if not 0 <= end_factor <= 1.0:
            raise ValueError(f"LinearLR: end_factor must be between 0 and 1, but got {end_factor}")
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def _next(self, rate: Rate, base: Rate, group: Group) -> Rate:
        if self.last_epoch == 0:
            return rate * self.start_factor
        if self._is_initial or self.last_epoch > self.total_iters:
            return rate
        rise = self.end_factor - self.start_factor
        before = self.total_iters * self.start_factor + (self.last_epoch - 1) * rise
        return rate * (1.0 + rise / before)

    def _at(self, base: Rate) -> Rate:
        reached = min(self.total_iters, self.last_epoch)
        rise = self.end_factor - self.start_factor
        return base * (self.start_factor + rise * reached / self.total_iters)


class ExponentialLR(LRScheduler):
    """Times `gamma` at every step, as ``torch.optim.lr_scheduler.ExponentialLR``."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def _next(self, rate: Rate, base: Rate, group: Group) -> Rate:
        return rate if self._is_initial else rate * self.gamma

    def _at(self, base: Rate) -> Rate:
        return base * self.gamma**self.last_epoch


class PolynomialLR(LRScheduler):
    """Down to zero along a power, as ``torch.optim.lr_scheduler.PolynomialLR``.

    After `t` steps the factor is ``(1 - t / total_iters) ** power``.
    """

    def __init__(
        self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1
    ) -> None:
        self.total_iters = total_iters
        self.power = power
        super().__init__(optimizer, last_epoch)

    def _next(self, rate: Rate, base: Rate, group: Group) -> Rate:
        if self._is_initial or self.last_epoch > self.total_iters:
            return rate
        left = 1.0 - self.last_epoch / self.total_iters
        before = 1.0 - (self.last_epoch - 1) / self.total_iters
        return rate * (left / before) ** self.power

    def _at(self, base: Rate) -> Rate:
        reached = min(self.total_iters, self.last_epoch)
        return base * (1.0 - reached / self.total_iters) ** self.power
