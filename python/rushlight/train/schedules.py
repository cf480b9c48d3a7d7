"""The learning rate over a run, as a part of the highest one."""

from __future__ import annotations

import math
from collections.abc import Callable

__all__ = ["SCHEDULES"]


def _cosine(step: int, steps: int) -> float:
    """Rise over the first tenth, and fall to zero along half a cosine."""
    warm_up = max(1.0, steps / 10)
    return min(1.0, (step + 1) / warm_up) * (1 + math.cos(math.pi * step / steps)) / 2


def _linear(step: int, steps: int) -> float:
    """Rise over the first tenth, and fall to zero along a line."""
    warm_up = max(1.0, steps / 10)
    return min(1.0, (step + 1) / warm_up) * (1 - step / steps)


def _steps(step: int, steps: int) -> float:
    """Fall to a tenth after half of the steps, and to a hundredth after three quarters."""
    return 0.1 ** ((step >= steps / 2) + (step >= steps * 3 / 4))


def _constant(step: int, steps: int) -> float:
    return 1.0


# Each takes the number of the step, from 0, and of all steps.
SCHEDULES: dict[str, Callable[[int, int], float]] = {
    "cosine": _cosine,
    "linear": _linear,
    "step": _steps,
    "constant": _constant,
}
