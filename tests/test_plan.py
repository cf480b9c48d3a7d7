"""Plans as the core takes them: steps are checked before they are added."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rushlight import _core

F32 = np.dtype("f4")
ARENA, INPUT, OUTPUT = (1, 0, 0), (2, 0, 0), (3, 0, 0)


def four() -> _core.Plan:
    """Return a plan from four numbers to four numbers, with room for sixteen."""
    return _core.Plan(64, [((4,), F32)], [((4,), F32)])


def test_a_plan_runs() -> None:
    plan = four()
    plan.pointwise("exp", ARENA, INPUT, 4, F32, 0, 0)
    plan.binary("mul", OUTPUT, ARENA, np.full(4, 2, F32), (4,), (1,), (1,), F32)
    (found,) = plan.run([np.zeros(4, F32)])
    assert found.tolist() == [2.0] * 4


@pytest.mark.parametrize(
    ("dst", "src", "error"),
    [
        (OUTPUT, None, TypeError),
        (None, INPUT, TypeError),
        (INPUT, INPUT, TypeError),
        (np.zeros(4, F32), INPUT, TypeError),
        (OUTPUT, np.zeros(3, F32), ValueError),
        (OUTPUT, np.zeros(8, F32)[::2], ValueError),
        (OUTPUT, (2, 1, 0), ValueError),
        (OUTPUT, (2, 0, 4), ValueError),
        (OUTPUT, (0, 0, 0), ValueError),
        (OUTPUT, (9, 0, 0), ValueError),
        (OUTPUT, (2, 0), TypeError),
        ((1, 0, 52), INPUT, ValueError),
        ((1, 0, -4), INPUT, ValueError),
        ((1, 0, 1 << 62), INPUT, ValueError),
    ],
)
def test_bad_places(dst: Any, src: Any, error: type[Exception]) -> None:
    plan = four()
    with pytest.raises(error, match=r"plan.pointwise: (dst|src) "):
        plan.pointwise("exp", dst, src, 4, F32, 0, 0)
    assert plan.steps == 0


def test_sizes_that_overflow() -> None:
    plan = four()
    with pytest.raises(ValueError, match="overflows 64 bits"):
        plan.pointwise("exp", ARENA, INPUT, (1 << 63) - 1, F32, 0, 0)
    with pytest.raises(ValueError, match="overflows 64 bits"):
        plan.reorder("to_blocked", ARENA, INPUT, (1, (1 << 63) - 1, 1), F32)


def test_bad_runs() -> None:
    plan = four()
    plan.pointwise("exp", OUTPUT, INPUT, 4, F32, 0, 0)
    one = np.zeros(4, F32)
    for bad in ([], [one, one], [np.zeros(5, F32)]):
        with pytest.raises(ValueError, match=r"plan.run"):
            plan.run(bad)
    for wrong in ([None], [np.zeros(4)]):
        with pytest.raises(TypeError, match=r"plan.run"):
            plan.run(wrong)
    with pytest.raises(ValueError, match=r"plan.run: out must hold 1 arrays"):
        plan.run([one], [])
