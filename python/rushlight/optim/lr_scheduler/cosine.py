"""Schedules along a cosine (Loshchilov and Hutter, "SGDR", 2016)."""

from __future__ import annotations

import math

from rushlight.optim.lr_scheduler.base import LRScheduler, Rate
from rushlight.optim.optimizer import Group, Optimizer

__all__ = ["CosineAnnealingLR", "CosineAnnealingWarmRestarts"]


class CosineAnnealingLR(LRScheduler):
    """Down to `eta_min` in `T_max` steps along half a cosine, and up again.

    As ``torch.optim.lr_scheduler.CosineAnnealingLR``, without restarts.
    """

    def __init__(
        self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def _next(self, rate: Rate, base: Rate, group: Group) -> Rate:
        step, period = self.last_epoch, self.T_max
        if self._is_initial:
            return rate
        if self._step_count == 1 and step > 0:
            return (
                self.eta_min + (base - self.eta_min) * (1 + math.cos(step * math.pi / period)) / 2
            )
        if (step - 1 - period) % (2 * period) == 0:  # the step before was the lowest: 0 times inf
            return rate + (base - self.eta_min) * (1 - math.cos(math.pi / period)) / 2
        height = 1 + math.cos(math.pi * step / period)
        before = 1 + math.cos(math.pi * (step - 1) / period)
        return height / before * (rate - self.eta_min) + self.eta_min

    def _at(self, base: Rate) -> Rate:
        height = 1 + math.cos(math.pi * self.last_epoch / self.T_max)
        return self.eta_min + (base - self.eta_min) * height / 2


class CosineAnnealingWarmRestarts(LRScheduler):
    """Half a cosine down to `eta_min`, again and again.

    As ``torch.optim.lr_scheduler.CosineAnnealingWarmRestarts``: the first takes `T_0` steps, each
    later one `T_mult` times as many as the one before. ``step(epoch)`` may be given a fraction of
    an epoch, without a warning.

    Raises
    ------
    ValueError
        When `T_0` or `T_mult` is no positive integer, `eta_min` no number, or an epoch negative.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,
        T_mult: int = 1,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        if not isinstance(T_0, int) or T_0 <= 0:
            raise ValueError(f"Expected positive integer T_0, but got {T_0}")
        if not isinstance(T_mult, int) or T_mult < 1:
            raise ValueError(f"Expected integer T_mult >= 1, but got {T_mult}")
        if not isinstance(eta_min, (float, int)):
            raise ValueError(f"Expected float or int eta_min, but got {eta_min!r}")
        self.T_0 = T_0
        self.T_i = T_0
        self.T_mult = T_mult
        self.eta_min = eta_min
        self.T_cur: float = last_epoch
        super().__init__(optimizer, last_epoch)

    def _next(self, rate: Rate, base: Rate, group: Group) -> Rate:
        height = 1 + math.cos(math.pi * self.T_cur / self.T_i)
        return self.eta_min + (base - self.eta_min) * height / 2

    def step(self, epoch: float | None = None) -> None:
        """Set the learning rate of the next step, or of `epoch`, which may be a fraction."""
        if epoch is None and self.last_epoch < 0:
            epoch = 0
        if epoch is None:
            epoch = self.last_epoch + 1
            self.T_cur += 1
            if self.T_cur >= self.T_i:
                self.T_cur %= self.T_i
                self.T_i *= self.T_mult
        elif epoch < 0:
            raise ValueError(f"Expected non-negative epoch, but got {epoch}")
        else:
            self._seek(epoch)
        self.last_epoch = math.floor(epoch)
        with self._set("_get_lr_called_within_step"):
            self._put_rates(self.get_lr())

    def _seek(self, epoch: float) -> None:
        """Find the period that `epoch` is in."""
        if epoch < self.T_0:
            self.T_i, self.T_cur = self.T_0, epoch
        elif self.T_mult == 1:
            self.T_cur = epoch % self.T_0
        else:
            growth = self.T_mult - 1
            done = int(math.log(epoch / self.T_0 * growth + 1, self.T_mult))
            self.T_cur = epoch - self.T_0 * (self.T_mult**done - 1) / growth
            self.T_i = self.T_0 * self.T_mult**done
