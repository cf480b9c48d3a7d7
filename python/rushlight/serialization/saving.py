"""``save``: state dicts to safetensors, and any nested values to PyTorch's format."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

from rushlight.dtypes import Array
from rushlight.serialization import safetensors, torch_writer
from rushlight.serialization.builder import RawTensor
from rushlight.serialization.elements import Element, element_of
from rushlight.serialization.files import atomic_writer
from rushlight.serialization.source import Target
from rushlight.tensor import Tensor

__all__ = ["FORMATS", "format_of", "save"]

FORMATS = ("safetensors", "torch")
_TORCH_SUFFIXES = frozenset({".pt", ".pth", ".bin", ".ckpt", ".tar"})


def save(
    obj: Any,
    path: Target,
    metadata: Mapping[str, str] | None = None,
    *,
    format: str | None = None,
) -> None:
    """Write tensors by name, or nested plain values with tensors; the file appears whole.

    A file called ``.pt``, ``.pth``, ``.bin``, ``.ckpt`` or ``.tar`` becomes one that PyTorch's
    ``torch.load`` reads, also with ``weights_only=True``. It takes nested dicts, lists and tuples,
    and tensors that share memory share it again when they are loaded. Every other file is a
    safetensors one: a flat mapping of names to tensors, of which each is written for itself.

    Parameters
    ----------
    obj : mapping of str to Tensor, or object
        What ``Module.state_dict()`` returns, say.
    path : str, os.PathLike or binary file object
        Where to write. An existing file is replaced when the new one is complete.
    metadata : mapping of str to str, optional
        Text to store beside the tensors of a safetensors file; :func:`load_metadata` reads it.
    format : {"safetensors", "torch"}, optional
        The format, whatever the file is called.

    Raises
    ------
    TypeError
        When a value or a key is of a type that the format does not hold.
    ValueError
        When a key is ``"__metadata__"`` or cannot be encoded, a header grows over 100 MB, a value
        contains itself, or there is no such format.
    OSError
        When the file cannot be written.
    """
    if not isinstance(path, (str, os.PathLike)) and not hasattr(path, "write"):
        raise TypeError(
            f"save: path must be a path or a binary file object, but got {type(path).__name__}"
        )
    format = format_of(path) if format is None else format
    if format not in FORMATS:
        raise ValueError(f"save: format must be one of {', '.join(FORMATS)}, but got {format!r}")
    if format == "safetensors":
        write = safetensors.prepare(_arrays_of(obj), metadata)
    elif metadata is not None:
        raise TypeError("save: metadata has a place in safetensors files only")
    else:
        write = torch_writer.prepare(obj)
    with atomic_writer(path) if isinstance(path, (str, os.PathLike)) else nullcontext(path) as out:
        write(out)


def format_of(path: Target) -> str:
    """Return the format that the name of a file asks for."""
    name = os.fspath(path) if isinstance(path, (str, os.PathLike)) else ""
    return "torch" if os.path.splitext(name)[1].lower() in _TORCH_SUFFIXES else "safetensors"


def _arrays_of(state_dict: Any) -> dict[str, tuple[Element, Array]]:
    if not isinstance(state_dict, Mapping):
        raise TypeError(
            f"save: expected a mapping of names to tensors, but got {type(state_dict).__name__}"
        )
    found: dict[str, tuple[Element, Array]] = {}
    for key, value in state_dict.items():
        if not isinstance(key, str):
            raise TypeError(f"save: keys must be strings, but got {key!r}")
        if key == safetensors.METADATA_KEY:
            raise ValueError(f"save: the key {key!r} is reserved; use metadata=")
        if isinstance(value, RawTensor):
            found[key] = value.element, value.array
        elif isinstance(value, Tensor):
            found[key] = element_of(value._array), value._array
        else:
            raise TypeError(
                f"save: {key!r} must be a Tensor, but got {type(value).__name__}; safetensors "
                'holds a flat mapping of names to tensors, format="torch" nested values'
            )
    return found
