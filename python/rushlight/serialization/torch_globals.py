"""The globals that a checkpoint may name, and what each of them makes here.

None of them is imported and none of them is run: a name that is not in this list ends the reading.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from rushlight.dtypes import Size, device
from rushlight.serialization.elements import BY_NAME, UNTYPED, Element, refuse_type
from rushlight.serialization.errors import Refused
from rushlight.serialization.machine import PAIR_COST, Global, checked_key
from rushlight.serialization.specs import (
    MAX_DIMS,
    DtypeSpec,
    StorageView,
    TensorSpec,
    tensor_spec,
)

__all__ = ["STORAGES", "Allowed", "StorageType"]

Charge: TypeAlias = Callable[[int], None]
Args: TypeAlias = tuple[Any, ...]

_TENSOR_COST = 2048  # bytes of memory for a tensor with all that belongs to it, at most

# PyTorch's storage classes, and those whose elements no tensor here can hold.
STORAGES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}
_OTHER_STORAGES = {
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "QInt8Storage": "qint8",
    "QUInt8Storage": "quint8",
    "QInt32Storage": "qint32",
    "QUInt4x2Storage": "quint4x2",
    "QUInt2x4Storage": "quint2x4",
}
_OTHER_DTYPES = {
    *_OTHER_STORAGES.values(),
    *("complex32", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"),
    *("float8_e8m0fnu", "float4_e2m1fn_x2"),
}


class StorageType(NamedTuple):
    """A storage class; its name stands for the type of its elements."""

    name: str
    element: Element


class Allowed:
    """The allowlist for one file, which knows how large the file is."""

    def __init__(self, file_size: int) -> None:
        self._file_size = file_size
        self._calls: dict[str, Callable[[Args, Charge], Any]] = {
            "collections.OrderedDict": _ordered_dict,
            "torch._utils._rebuild_tensor": self._tensor,
            "torch._utils._rebuild_tensor_v2": self._tensor_v2,
            "torch._utils._rebuild_tensor_v3": self._tensor_v3,
            "torch._utils._rebuild_parameter": _parameter,
            "torch.Size": _size,
            "torch.device": _device,
        }
        self._found: dict[str, Any] = {}

    def find(self, name: str) -> Any:
        """Return what a global stands for; raise Refused for one that is not in the list."""
        found = self._found.get(name)
        if found is None:
            call = self._calls.get(name)
            found = self._found[name] = _type(name) if call is None else Global(name, call)
        return found

    def _tensor(self, args: Args, charge: Charge) -> TensorSpec:
        _expect(args, 4, 4, "_rebuild_tensor")
        return self._make((*args, False), charge)

    def _tensor_v2(self, args: Args, charge: Charge) -> TensorSpec:
        _expect(args, 6, 7, "_rebuild_tensor_v2")
        _check_extras(args[5], args[6:])
        return self._make(args[:5], charge)

    def _tensor_v3(self, args: Args, charge: Charge) -> TensorSpec:
        _expect(args, 7, 8, "_rebuild_tensor_v3")
        _check_extras(args[5], args[7:])
        if not isinstance(args[6], DtypeSpec):
            raise Refused("_rebuild_tensor_v3 without a dtype")
        return self._make(args[:5], charge, args[6].element)

    def _make(self, args: Args, charge: Charge, element: Element | None = None) -> TensorSpec:
        view, offset, shape, strides, requires_grad = args
        charge(_TENSOR_COST)
        if not isinstance(view, StorageView):
            raise Refused("a tensor without a storage")
        if element is not None or view.storage.element is UNTYPED:
            view.storage.retype(element or BY_NAME["uint8"])
        return tensor_spec(view, offset, shape, strides, requires_grad, self._file_size)


def _type(name: str) -> Any:
    """Return the storage class or dtype of a name."""
    module, _, short = name.rpartition(".")
    if name == "torch.storage.UntypedStorage":
        return StorageType(name, UNTYPED)
    if module == "torch" and short in STORAGES:
        return StorageType(name, BY_NAME[STORAGES[short]])
    if module == "torch" and short in BY_NAME:
        return DtypeSpec(BY_NAME[short])
    if module == "torch" and (short in _OTHER_STORAGES or short in _OTHER_DTYPES):
        raise refuse_type(_OTHER_STORAGES.get(short, short))
    if name in ("torch._utils._rebuild_qtensor", "torch._utils._rebuild_sparse_tensor"):
        raise Refused(f"{name}: quantized and sparse tensors are not supported")
    if module.startswith("__torch__"):
        raise Refused(f"{name!r:.200} is part of a TorchScript program; nothing is run here")
    raise Refused(
        f"the pickle names {name!r:.200}, which is not allowed in a checkpoint: only tensors and "
        "plain values are read, and nothing is run"
    )


def _expect(args: Args, least: int, most: int, name: str) -> None:
    if not least <= len(args) <= most:
        raise Refused(f"{name} with {len(args)} arguments")


def _check_extras(hooks: Any, metadata: Args) -> None:
    if hooks is not None and hooks != {}:
        raise Refused("a tensor with hooks")
    if metadata and metadata[0] is not None and metadata[0] != {}:
        raise Refused("a tensor with metadata (conjugated or negated)")


def _ordered_dict(args: Args, charge: Charge) -> OrderedDict[Any, Any]:
    charge(640)
    _expect(args, 0, 1, "OrderedDict")
    made: OrderedDict[Any, Any] = OrderedDict()
    pairs = args[0] if args else []  # as Python 2 wrote them
    if type(pairs) is not list:
        raise Refused("OrderedDict of something else than a list of pairs")
    charge(PAIR_COST * len(pairs))
    for pair in pairs:
        if type(pair) not in (list, tuple) or len(pair) != 2:
            raise Refused("OrderedDict of something else than a list of pairs")
        made[checked_key(pair[0])] = pair[1]
    return made


def _parameter(args: Args, charge: Charge) -> TensorSpec:
    charge(_TENSOR_COST)
    _expect(args, 3, 3, "_rebuild_parameter")
    data, requires_grad, hooks = args
    _check_extras(hooks, ())
    if not isinstance(data, TensorSpec) or type(requires_grad) is not bool:
        raise Refused("_rebuild_parameter without a tensor")
    if requires_grad and data.storage.element.target.kind != "f":
        raise Refused(f"a parameter of {data.storage.element.name} cannot require a gradient")
    return data._replace(requires_grad=requires_grad, parameter=True)


def _size(args: Args, charge: Charge) -> Size:
    _expect(args, 1, 1, "Size")
    sizes = args[0]
    if type(sizes) is not tuple or len(sizes) > MAX_DIMS or {type(n) for n in sizes} - {int}:
        raise Refused("Size of something else than whole numbers")
    charge(640)
    return Size(sizes)


def _device(args: Args, charge: Charge) -> device:
    _expect(args, 1, 2, "device")
    if type(args[0]) is not str or any(type(index) is not int for index in args[1:]):
        raise Refused("device of something else than a name and a number")
    charge(320)
    return device()  # wherever the tensors were, they come to the CPU
