"""``load`` and ``inspect``: files of every format, told apart by their contents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from rushlight.dtypes import device
from rushlight.nn.modules.utils import consume_prefix_in_state_dict_if_present
from rushlight.serialization import torch_reader
from rushlight.serialization.builder import Builder, RawTensor
from rushlight.serialization.errors import Refused, show
from rushlight.serialization.safetensors import HEADER_LIMIT, read_header
from rushlight.serialization.source import Source, Target
from rushlight.serialization.specs import DtypeSpec, TensorSpec
from rushlight.serialization.tree import SCALARS, leaves, rebuild
from rushlight.tensor import Tensor

__all__ = ["Inspection", "TensorInfo", "info_of", "inspect", "load", "load_metadata", "load_raw"]

_START = 512  # bytes that tell the formats apart
_PICKLE = 0x80  # the first of them in a pickle


def load(
    path: Target,
    map_location: Any = None,
    *,
    strip_prefix: str | None = None,
    mmap: bool | None = None,
    weights_only: bool = True,
) -> Any:
    """Read what a file holds: a safetensors file, or one that ``torch.save`` wrote, old or new.

    Nothing in the file is executed. A PyTorch file is a pickle; its opcodes are interpreted here,
    and only tensors, parameters, dicts, lists, tuples, numbers, texts, sizes, dtypes and devices
    come out. float16 and bfloat16 become float32, integers become int64, and tensors come to the
    CPU from wherever they were. Those that shared memory when they were saved share it again.

    Parameters
    ----------
    path : str, os.PathLike or binary file object
        What to read; a file object is read from where it stands to its end.
    map_location : optional
        Accepted for ported code: None, the CPU, a function or a dict.
    strip_prefix : str, optional
        Removed from the names of tensors that begin with it, such as ``"module."``, which
        PyTorch's DataParallel puts before every name.
    mmap : bool, optional
        Let tensors lie in a private map of the file where nothing has to be converted: their pages
        are read when they are used. The file must not be changed meanwhile.
    weights_only : bool
        Accepted for ported code: never is anything else read than weights and plain values.

    Returns
    -------
    object
        What was saved: for safetensors an OrderedDict of Tensor by name, in the order of the data;
        otherwise mostly a state dict, or a dict with one in it.

    Raises
    ------
    OSError
        When the file cannot be read.
    CheckpointError
        When the file is damaged, of another format, or names what is not allowed: a ValueError
        with the file, the place in it and the reason. No more memory is taken than the file
        fills and 64 MB, beside what the conversion to wider types takes.
    """
    if isinstance(map_location, str):
        device(map_location)
    with Source(path) as source:
        contents = _contents(source)
        return _build(source, contents, Builder(source, mmap=bool(mmap)), strip_prefix)


def load_raw(path: Target, strip_prefix: str | None = None) -> tuple[Any, dict[str, str]]:
    """Return what :func:`load` does, with a RawTensor for each tensor, and the file's metadata."""
    with Source(path) as source:
        contents = _contents(source)
        metadata = contents.metadata if contents.format == "safetensors" else {}
        builder = Builder(source, mmap=True, raw=True)
        return _build(source, contents, builder, strip_prefix), metadata


def load_metadata(path: Target) -> dict[str, str]:
    """Read the text that is stored beside the tensors; errors as :func:`load`."""
    with Source(path) as source:
        return _contents(source).metadata


class TensorInfo(NamedTuple):
    """What a file says about a tensor: its element type there, shape, and size in bytes."""

    dtype: str
    shape: tuple[int, ...]
    nbytes: int


def info_of(spec: TensorSpec) -> TensorInfo:
    """Return what `spec` says."""
    return TensorInfo(spec.storage.element.name, spec.shape, spec.nbytes)


class Inspection(NamedTuple):
    """What is in a file: its format, tensors and other values by name, metadata."""

    format: str
    tensors: dict[str, TensorInfo]
    values: dict[str, Any]
    metadata: dict[str, str]


def inspect(path: Target) -> Inspection:
    """Return what a file holds without reading the data of its tensors.

    The names of nested values are joined by dots. Parameters and errors as :func:`load`.
    """
    with Source(path) as source:
        contents = _contents(source)
        found = Inspection(contents.format, {}, {}, contents.metadata)
        try:
            rebuild(contents.root, lambda value: value)  # refuses what `load` refuses
            for name, value in leaves(contents.root):
                source.spend(len(name), "the names")
                if isinstance(value, TensorSpec):
                    found.tensors[name] = info_of(value)
                else:
                    found.values[name] = _plain(value)
        except Refused as error:
            raise source.error(str(error)) from None
        return found


def _plain(value: Any) -> Any:
    """Return a value of a file's tree that is no tensor; raise Refused for what is no value."""
    if isinstance(value, (*SCALARS, device)):
        return value
    if isinstance(value, DtypeSpec):
        return value.element.name
    raise Refused(f"{show(value)} where a tensor or a plain value should be")


# -- the way there --------------------------------------------------------------------------


class _Contents(NamedTuple):
    """A file taken apart and checked: a tree with specs in the places of tensors."""

    format: str
    root: Any
    metadata: dict[str, str]


def _contents(source: Source) -> _Contents:
    """Find out the format, and read everything but the data of the tensors."""
    start = bytearray(min(_START, source.size))
    source.read_into(0, memoryview(start), "the start of the file")
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _Contents("PyTorch, zip", *torch_reader.read_zip(source))
    announced = int.from_bytes(start[:8], "little")
    if start[8:9] == b"{" and (announced <= HEADER_LIMIT or start[0] != _PICKLE):
        return _Contents("safetensors", *read_header(source))
    if start[:1] == bytes([_PICKLE]):
        return _Contents("PyTorch, legacy", *torch_reader.read_legacy(source))
    if start[257:262] == b"ustar":
        raise source.error("a tar archive, as PyTorch wrote before 0.1.10, is not supported", 0)
    raise source.error(
        "no checkpoint: neither safetensors nor PyTorch's formats start like this"
        if start
        else "no checkpoint: the file is empty",
        0,
    )


def _build(source: Source, contents: _Contents, builder: Builder, prefix: str | None) -> Any:
    try:
        return rebuild(contents.root, builder.leaf, _stripper(prefix) if prefix else None)
    except Refused as error:
        raise source.error(str(error)) from None


def _stripper(prefix: str) -> Callable[[dict[Any, Any]], None]:
    """Return what removes a prefix from the names of a dict, if it holds tensors."""

    def strip(found: dict[Any, Any]) -> None:
        if not any(isinstance(each, (Tensor, RawTensor)) for each in found.values()):
            return
        if not all(isinstance(key, str) for key in found):
            return
        for key in found:
            if key.startswith(prefix) and key[len(prefix) :] in found:
                raise Refused(f"without {prefix!r}, {show(key)} takes the name of another entry")
        consume_prefix_in_state_dict_if_present(found, prefix)

    return strip
