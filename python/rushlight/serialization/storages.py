"""Which tensors share memory, so that a file can say so."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rushlight.dtypes import Array
from rushlight.serialization.elements import Element

__all__ = ["Placed", "place"]


class Placed(NamedTuple):
    """Where a tensor lies: number of a storage, offset and strides in elements."""

    storage: int
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def place(arrays: list[tuple[Element, Array]]) -> tuple[list[Placed], list[tuple[Element, Array]]]:
    """Return where each array lies in a list of storages, and that list of flat arrays.

    Arrays whose memory overlaps lie in one storage, which spans them all. One that stands alone
    keeps its strides where its elements fill what they span, and is copied without gaps otherwise.
    """
    arrays = [(element, _regular(array)) for element, array in arrays]
    placed: dict[int, Placed] = {}
    storages: list[tuple[Element, Array]] = []
    for group in _groups(arrays):
        if len(group) == 1:
            element, array = arrays[group[0]]
            if _span(array) > array.nbytes:
                arrays[group[0]] = element, array.copy(order="C")
        members = [arrays[number] for number in group]
        element, lowest = min(members, key=lambda member: _address(member[1]))
        start, size = _address(lowest), lowest.itemsize
        for number, (_, array) in zip(group, members, strict=True):
            offset = (_address(array) - start) // size
            placed[number] = Placed(len(storages), offset, array.shape, _steps(array))
        end = max(_address(array) + _span(array) for _, array in members)
        storages.append((element, _flat(lowest, (end - start) // size)))
    return [placed[number] for number in range(len(arrays))], storages


def _regular(array: Array) -> Array:
    """Return an array without negative strides, and with whole elements between its elements."""
    if all(step >= 0 and step % array.itemsize == 0 for step in array.strides):
        return array
    copied: Array = array.copy(order="C")
    return copied


def _groups(arrays: list[tuple[Element, Array]]) -> list[list[int]]:
    """Return the numbers of the arrays, together those that can share a storage."""
    groups: list[list[int]] = [[number] for number, (_, a) in enumerate(arrays) if not a.size]
    full = [number for number, (_, array) in enumerate(arrays) if array.size]
    end = -1
    joined: list[list[int]] = []
    for number in sorted(full, key=lambda number: _address(arrays[number][1])):
        array = arrays[number][1]
        if _address(array) < end:
            joined[-1].append(number)
        else:
            joined.append([number])
        end = max(end, _address(array) + _span(array))
    for group in joined:
        groups += [group] if _alike([arrays[number] for number in group]) else [[n] for n in group]
    return sorted((sorted(group) for group in groups), key=lambda group: group[0])


def _alike(members: list[tuple[Element, Array]]) -> bool:
    """Return whether arrays are of one type and lie whole elements apart."""
    element, first = members[0]
    return all(
        each is element and (_address(array) - _address(first)) % array.itemsize == 0
        for each, array in members
    )


def _address(array: Array) -> int:
    return int(array.__array_interface__["data"][0])


def _span(array: Array) -> int:
    """Return the bytes from the first element to the end of the last; strides are not negative."""
    if not array.size:
        return 0
    gaps = zip(array.shape, array.strides, strict=True)
    return int(array.itemsize + sum((size - 1) * step for size, step in gaps))


def _steps(array: Array) -> tuple[int, ...]:
    return tuple(step // array.itemsize for step in array.strides)


def _flat(array: Array, count: int) -> Array:
    """Return `count` elements from the first one of `array` on, which are in its memory."""
    return np.lib.stride_tricks.as_strided(array, (count,), (array.itemsize,))
