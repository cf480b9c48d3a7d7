"""Schedules that go up and down, and move the momentum the other way."""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from rushlight.optim.lr_scheduler.base import LRScheduler, Rate, check_optimizer, per_group, put
from rushlight.optim.optimizer import Group, Optimizer

__all__ = ["CyclicLR", "OneCycleLR"]


def _uses_beta1(optimizer: Optimizer) -> bool:
    """Return whether the momentum of this optimizer is the first of its betas."""
    if "momentum" not in optimizer.defaults and "betas" not in optimizer.defaults:
        raise ValueError(
            "optimizer must support momentum or beta1 with `cycle_momentum` option enabled"
        )
    return "betas" in optimizer.defaults


def _put_momentum(group: Group, value: float, is_beta1: bool) -> None:
    if is_beta1:
        group["betas"] = (value, *group["betas"][1:])
    else:
        group["momentum"] = value


class OneCycleLR(LRScheduler):
    """Up to `max_lr` and down to next to nothing, once, as ``torch.optim.lr_scheduler.OneCycleLR``.

    One step per batch.

    Parameters
    ----------
    optimizer : Optimizer
        Whose groups are scheduled.
    max_lr : float or sequence of float
        The highest learning rate, of all groups or of each.
    total_steps : int, optional
        Steps of the cycle; or `epochs` times `steps_per_epoch`.
    epochs, steps_per_epoch : int, optional
        Instead of `total_steps`.
    pct_start : float, default 0.3
        Part of the cycle that goes up.
    anneal_strategy : {"cos", "linear"}, default "cos"
        Along half a cosine or a line.
    cycle_momentum : bool, default True
        Move the momentum, or the first beta, from `max_momentum` to `base_momentum` and back.
    base_momentum, max_momentum : float or sequence of float, default 0.85 and 0.95
        Bounds of the momentum, of all groups or of each.
    div_factor : float, default 25
        The first learning rate is ``max_lr / div_factor``.
    final_div_factor : float, default 1e4
        The last is the first divided by this.
    three_phase : bool, default False
        Down to the first learning rate as fast as up, and then to the last.
    last_epoch : int, default -1
        The last step that was taken, when a schedule is continued.

    Raises
    ------
    ValueError
        When a number is out of range, there is no count of steps, the optimizer has no momentum
        to cycle, or a step is taken after the last.

    References
    ----------
    Smith and Topin, "Super-convergence", 2017.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: Literal["cos", "linear"] = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.85,
        max_momentum: float | Sequence[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        check_optimizer(optimizer)
        self.optimizer = optimizer
        self.total_steps = _count_steps(total_steps, epochs, steps_per_epoch)
        if not isinstance(pct_start, float) or not 0 <= pct_start <= 1:
            raise ValueError(f"Expected float between 0 and 1 pct_start, but got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f'anneal_strategy must be one of "cos" or "linear", but got {anneal_strategy!r}'
            )
        self._schedule_phases = _phases(self.total_steps, pct_start, three_phase)
        self._anneal_func_type = anneal_strategy
        highest = per_group("max_lr", optimizer, max_lr)
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self.use_beta1 = _uses_beta1(optimizer)
        upper = per_group("max_momentum", optimizer, max_momentum)
        lower = per_group("base_momentum", optimizer, base_momentum)
        if last_epoch == -1:
            for index, group in enumerate(optimizer.param_groups):
                group["initial_lr"] = highest[index] / div_factor
                group["max_lr"] = highest[index]
                group["min_lr"] = group["initial_lr"] / final_div_factor
                if cycle_momentum:
                    _put_momentum(group, upper[index], self.use_beta1)
                    group["max_momentum"] = upper[index]
                    group["base_momentum"] = lower[index]
        super().__init__(optimizer, last_epoch)

    def _next(self, rate: Rate, base: Rate, group: Group) -> Rate:
        if self.last_epoch > self.total_steps:
            raise ValueError(
                f"Tried to step {self.last_epoch} times. The specified number of total steps is "
                f"{self.total_steps}"
            )
        phase, part = self._part()
        if self.cycle_momentum:
            start, end = group[phase["start_momentum"]], group[phase["end_momentum"]]
            _put_momentum(group, self._between(start, end, part), self.use_beta1)
        return self._between(group[phase["start_lr"]], group[phase["end_lr"]], part)

    def _part(self) -> tuple[dict[str, Any], float]:
        """Return the phase that the schedule is in, and how much of it has passed."""
        start = 0.0
        for phase in self._schedule_phases:
            if self.last_epoch <= phase["end_step"] or phase is self._schedule_phases[-1]:
                break
            start = phase["end_step"]
        return phase, (self.last_epoch - start) / (phase["end_step"] - start)

    def _between(self, start: Rate, end: Rate, part: float) -> Rate:
        if self._anneal_func_type == "linear":
            return (end - start) * part + start
        return end + (start - end) / 2.0 * (math.cos(math.pi * part) + 1)


def _count_steps(total: int | None, epochs: int | None, steps_per_epoch: int | None) -> int:
    if total is None:
        if epochs is None or steps_per_epoch is None:
            raise ValueError("You must define either total_steps OR (epochs AND steps_per_epoch)")
        counts = {"epochs": epochs, "steps_per_epoch": steps_per_epoch}
    else:
        counts = {"total_steps": total}
    for name, count in counts.items():
        if not isinstance(count, int) or count <= 0:
            raise ValueError(f"Expected positive integer {name}, but got {count}")
    return math.prod(counts.values())


def _phases(steps: int, part: float, three: bool) -> list[dict[str, Any]]:
    """Return where each phase ends, and the options of a group that it leads from and to."""
    turns = [float(part * steps) - 1, *([float(2 * part * steps) - 2] if three else []), steps - 1]
    rates = ["initial_lr", "max_lr", *(["initial_lr"] if three else []), "min_lr"]
    momenta = ["max_momentum", "base_momentum", *(["max_momentum"] if three else [])]
    momenta.append("max_momentum")
    return [
        {
            "end_step": end,
            "start_lr": rates[index],
            "end_lr": rates[index + 1],
            "start_momentum": momenta[index],
            "end_momentum": momenta[index + 1],
        }
        for index, end in enumerate(turns)
    ]


class CyclicLR(LRScheduler):
    """Up and down between two learning rates, as ``torch.optim.lr_scheduler.CyclicLR``.

    One step per batch.

    Parameters
    ----------
    optimizer : Optimizer
        Whose groups are scheduled.
    base_lr, max_lr : float or sequence of float
        The lowest and highest learning rate, of all groups or of each.
    step_size_up, step_size_down : int, default 2000 and the same
        Steps of the way up and of the way down.
    mode : {"triangular", "triangular2", "exp_range"}, default "triangular"
        Whether the height stays, halves with each cycle, or shrinks by `gamma` at each step.
    gamma : float, default 1.0
        Of the mode "exp_range".
    scale_fn : callable, optional
        A function for the height, instead of `mode`.
    scale_mode : {"cycle", "iterations"}, default "cycle"
        Whether `scale_fn` gets the number of the cycle (from 1) or of the step.
    cycle_momentum : bool, default True
        Move the momentum, or the first beta, the other way.
    base_momentum, max_momentum : float or sequence of float, default 0.8 and 0.9
        Bounds of the momentum, of all groups or of each.
    last_epoch : int, default -1
        The last step that was taken, when a schedule is continued.

    Raises
    ------
    ValueError
        When `mode` is unknown or the optimizer has no momentum to cycle.

    References
    ----------
    Smith, "Cyclical learning rates for training neural networks", 2015.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | Sequence[float],
        max_lr: float | Sequence[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: Literal["triangular", "triangular2", "exp_range"] = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: Literal["cycle", "iterations"] = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.8,
        max_momentum: float | Sequence[float] = 0.9,
        last_epoch: int = -1,
    ) -> None:
        check_optimizer(optimizer)
        if mode not in ("triangular", "triangular2", "exp_range") and scale_fn is None:
            raise ValueError(f"CyclicLR: unknown mode {mode!r}, and there is no scale_fn")
        self.optimizer = optimizer
        lowest = per_group("base_lr", optimizer, base_lr)
        self.max_lrs = per_group("max_lr", optimizer, max_lr)
        up = float(step_size_up)
        self.total_size = up + (up if step_size_down is None else float(step_size_down))
        self.step_ratio = up / self.total_size
        self.mode, self.gamma = mode, gamma
        self._scale_fn_custom = scale_fn
        self.scale_mode = scale_mode
        if scale_fn is None:
            self.scale_mode = "iterations" if mode == "exp_range" else "cycle"
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self.use_beta1 = _uses_beta1(optimizer)
            self.base_momentums = per_group("base_momentum", optimizer, base_momentum)
            self.max_momentums = per_group("max_momentum", optimizer, max_momentum)
        if last_epoch == -1:
            self._start(lowest)
        super().__init__(optimizer, last_epoch)
        self.base_lrs = lowest

    def _start(self, lowest: list[Rate]) -> None:
        for index, group in enumerate(self.optimizer.param_groups):
            put(group, "lr", lowest[index])
            if self.cycle_momentum:
                _put_momentum(group, self.max_momentums[index], self.use_beta1)
                group["max_momentum"] = self.max_momentums[index]
                group["base_momentum"] = self.base_momentums[index]

    def scale_fn(self, x: float) -> float:
        """Return the factor on the height at cycle (or step) `x`."""
        if self._scale_fn_custom is not None:
            return self._scale_fn_custom(x)
        if self.mode == "triangular":
            return 1.0
        return 1 / 2.0 ** (x - 1) if self.mode == "triangular2" else float(self.gamma**x)

    def _rates(self) -> list[Rate]:
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        x = 1.0 + self.last_epoch / self.total_size - cycle
        rising = x <= self.step_ratio
        part = x / self.step_ratio if rising else (x - 1) / (self.step_ratio - 1)
        scale = self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self.cycle_momentum:
            momenta = zip(self.base_momentums, self.max_momentums, strict=True)
            for group, (low, high) in zip(self.optimizer.param_groups, momenta, strict=True):
                _put_momentum(group, high - (high - low) * part * scale, self.use_beta1)
        ends = zip(self.base_lrs, self.max_lrs, strict=True)
        return [low + (high - low) * part * scale for low, high in ends]

    def state_dict(self) -> dict[str, Any]:
        """Return the state; of `scale_fn`, the attributes of a callable object are saved."""
        state = super().state_dict()
        custom: Any = self._scale_fn_custom
        plain = custom is None or isinstance(custom, types.FunctionType)
        state["_scale_fn_custom"] = None if plain else dict(vars(custom))
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from a state; `scale_fn` stays, and a callable object gets its attributes."""
        saved = state_dict["_scale_fn_custom"]
        custom: Any = self._scale_fn_custom
        super().load_state_dict(state_dict)
        self._scale_fn_custom = custom
        if saved is not None:
            custom.__dict__.update(saved)
