"""PyTorch's zip format, written as ``torch.save`` writes it: a pickle, and an entry per storage."""

from __future__ import annotations

from collections.abc import Callable
from typing import IO, Any

import numpy as np

from rushlight.dtypes import Array, device, dtype
from rushlight.nn.parameter import Parameter
from rushlight.serialization.archive_writer import ArchiveWriter
from rushlight.serialization.builder import RawTensor
from rushlight.serialization.elements import Element, element_of
from rushlight.serialization.errors import Refused
from rushlight.serialization.pickler import Pickler, TensorRecord
from rushlight.serialization.storages import place
from rushlight.serialization.tree import SCALARS, leaves
from rushlight.tensor import Tensor

__all__ = ["prepare"]

_FOLDER = "archive"


def prepare(obj: Any) -> Callable[[IO[bytes]], None]:
    """Return what writes an archive with `obj`.

    Raises
    ------
    TypeError, ValueError
        As :func:`rushlight.save`.
    """
    records, storages = _records(_tensors(obj))
    pickle = Pickler(records).dump(obj)

    def write(out: IO[bytes]) -> None:
        archive = ArchiveWriter(out)
        archive.add(f"{_FOLDER}/data.pkl", memoryview(pickle))
        archive.add(f"{_FOLDER}/byteorder", memoryview(b"little"))
        for number, (element, array) in enumerate(storages):
            archive.add(f"{_FOLDER}/data/{number}", _bytes_of(array, element))
        archive.add(f"{_FOLDER}/version", memoryview(b"3\n"))
        archive.finish()

    return write


def _tensors(obj: Any) -> list[Tensor | RawTensor]:
    """Return the tensors in `obj`, each once, after a look at everything else."""
    found: dict[int, Tensor | RawTensor] = {}
    try:
        for name, value in leaves(obj):
            if isinstance(value, (Tensor, RawTensor)):
                found[id(value)] = value
            elif type(value) not in _PLAIN:
                raise TypeError(
                    f"save: {name!r} is a {type(value).__name__}; tensors, numbers, texts, None, "
                    "sizes, devices, dtypes, and lists, tuples and dicts of them can be saved"
                )
    except Refused as error:
        raise ValueError(f"save: {error}") from None
    return list(found.values())


_PLAIN = {*SCALARS, dtype, device} - {bytes}


def _records(
    tensors: list[Tensor | RawTensor],
) -> tuple[dict[int, TensorRecord], list[tuple[Element, Array]]]:
    arrays: list[tuple[Element, Array]] = [
        (each.element, each.array)
        if isinstance(each, RawTensor)
        else (element_of(each._array), each._array)
        for each in tensors
    ]
    placed, storages = place(arrays)
    records = {}
    for tensor, (element, _), where in zip(tensors, arrays, placed, strict=True):
        parameter = (
            tensor.parameter if isinstance(tensor, RawTensor) else isinstance(tensor, Parameter)
        )
        # As in PyTorch, what comes back is a leaf, also where this tensor is not.
        records[id(tensor)] = TensorRecord(
            element,
            storages[where.storage][1].size,
            where,
            tensor.requires_grad,
            parameter,
        )
    return records, storages


def _bytes_of(array: Array, element: Element) -> memoryview:
    data = np.ascontiguousarray(array, element.stored).view(np.uint8)
    return memoryview(data)  # type: ignore[arg-type]  # arrays have the buffer protocol
