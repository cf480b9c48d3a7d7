"""Parts of dense memory: which elements a view names, as an offset, sizes and steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from rushlight.compiler.graph import Value
    from rushlight.dtypes import Array

__all__ = ["Region", "collapsed", "dense_steps", "region_of", "reshaped", "spread_steps"]


class Region(NamedTuple):
    """Elements ``offset + sum(index * step)`` of a dense value; all counted in elements."""

    offset: int
    sizes: tuple[int, ...]
    steps: tuple[int, ...]

    @staticmethod
    def whole(sizes: Sequence[int]) -> Region:
        """Return the region of all elements of a value."""
        return Region(0, tuple(sizes), dense_steps(sizes))

    @property
    def is_dense(self) -> bool:
        """Whether the elements lie behind each other, in order."""
        expected = 1
        for size, step in zip(reversed(self.sizes), reversed(self.steps), strict=True):
            if size != 1 and step != expected:
                return False
            expected *= size
        return True

    def fake(self, dtype: np.dtype[np.generic]) -> Array:
        """Return an array laid out like the region, to ask NumPy about views of; never read it."""
        base = np.empty(1, dtype)
        steps = [step * dtype.itemsize for step in self.steps]
        return np.lib.stride_tricks.as_strided(base, self.sizes, steps)


def dense_steps(sizes: Sequence[int]) -> tuple[int, ...]:
    """Return the steps of a row-major array."""
    steps, step = [], 1
    for size in reversed(sizes):
        steps.append(step)
        step *= size
    return tuple(reversed(steps))


def region_of(part: Array, whole: Array) -> Region | None:
    """Return where `part` lies in the dense array `whole`; None where it cannot be said."""
    if not whole.flags.c_contiguous or part.dtype != whole.dtype:
        return None
    item = whole.dtype.itemsize
    distance = part.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
    if distance % item or any(step % item or step < 0 for step in part.strides):
        return None
    return Region(distance // item, part.shape, tuple(step // item for step in part.strides))


def reshaped(region: Region, sizes: Sequence[int]) -> Region | None:
    """Return the region with other sizes, in the same order; None where it takes a copy."""
    if region.is_dense:
        return Region(region.offset, tuple(sizes), dense_steps(sizes))
    if math.prod(sizes) == 0:
        return None
    # Runs of old and of new dimensions that hold equally many elements are matched one by one.
    old = [(n, s) for n, s in zip(region.sizes, region.steps, strict=True) if n != 1]
    steps: list[int] = []
    new = list(sizes)
    at = 0
    while at < len(new):
        if new[at] == 1:
            steps.append(0)
            at += 1
            continue
        if not old:
            return None
        size, step = old.pop(0)
        total, first = new[at], at
        while size != total:
            if size < total:
                if not old or step != old[0][0] * old[0][1]:
                    return None
                size, step = size * old[0][0], old[0][1]
                old.pop(0)
            else:
                at += 1
                if at == len(new):
                    return None
                total *= new[at]
        inner = dense_steps(new[first : at + 1])
        steps += [each * step for each in inner]
        at += 1
    return Region(region.offset, tuple(sizes), tuple(steps))


def spread_steps(value: Value, sizes: Sequence[int]) -> tuple[int, ...]:
    """Return the steps of a value, which may be a view, when it is repeated to other sizes."""
    maker = value.node
    region = (
        maker.settings["region"]
        if maker is not None and maker.op == "view"
        else Region.whole(value.shape)
    )
    lead = len(sizes) - len(region.sizes)
    found = [
        0 if size == 1 and wanted != 1 else step
        for size, wanted, step in zip(region.sizes, sizes[lead:], region.steps, strict=True)
    ]
    return (*(0 for _ in range(lead)), *found)


def collapsed(
    sizes: Sequence[int], *steps: Sequence[int]
) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
    """Return sizes and steps with neighbouring dimensions merged where all operands allow it."""
    kept: list[tuple[int, ...]] = []  # (size, step of each operand)
    for entry in zip(sizes, *steps, strict=True):
        size = entry[0]
        if size == 1:
            continue
        if kept and all(a == b * size for a, b in zip(kept[-1][1:], entry[1:], strict=True)):
            kept[-1] = (kept[-1][0] * size, *entry[1:])
        else:
            kept.append(entry)
    kept = kept or [(1, *(1 for _ in steps))]
    columns = list(zip(*kept, strict=True))
    return tuple(columns[0]), [tuple(column) for column in columns[1:]]
