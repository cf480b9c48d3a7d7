"""An interpreter for the pickle opcodes that checkpoints consist of; it imports and runs nothing.

Names of globals are looked up in a table that the caller gives, objects are built of plain Python
types only, and every opcode counts the memory that it takes before it takes it. What the opcodes
do: the comments of ``pickletools`` in Python's library.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

from rushlight.serialization.errors import Refused, show
from rushlight.serialization.source import Source
from rushlight.serialization.tree import METADATA

__all__ = ["PAIR_COST", "Global", "Machine", "NeedsMore", "checked_key"]

PAIR_COST = 256  # bytes of memory for an entry of a dict, at most
_LONGEST_INT = 64  # bytes
_LONGEST_LINE = 256


class Global(NamedTuple):
    """What a global of a pickle stands for.

    ``call(args, charge)`` returns what a call of it gives, after ``charge(bytes)`` of the memory.
    """

    name: str
    call: Callable[[tuple[Any, ...], Callable[[int], None]], Any]


class NeedsMore(Exception):
    """The data end before the pickle does."""


class Machine:
    """Interprets pickles in `data`, which lie in the file from byte `base` on.

    Parameters
    ----------
    source : Source
        The file: its name for errors, its allowance of memory.
    data : bytes or bytearray
    base : int
    find_global : callable
        Returns what the global ``module.name`` stands for, or raises Refused.
    persistent : callable
        Returns what a persistent identifier stands for, or raises Refused.
    """

    def __init__(
        self,
        source: Source,
        data: bytes | bytearray,
        base: int,
        find_global: Callable[[str], Any],
        persistent: Callable[[Any], Any],
    ) -> None:
        self._source, self._data, self._base = source, data, base
        self._find_global, self._persistent = find_global, persistent

    def run(self, at: int = 0) -> tuple[Any, int]:
        """Interpret one pickle from `at` on; return what it builds and where it ends.

        Raises
        ------
        NeedsMore
            When `data` end before it does.
        CheckpointError
            When it is damaged, or asks for anything that is not allowed.
        """
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []  # the stacks under the marks
        self._memo: dict[int, Any] = {}
        self._left = before = self._source.allowed
        self._at = at
        data, steps, start = self._data, _STEPS, at
        try:
            while True:
                start = self._at
                if start >= len(data):
                    raise NeedsMore
                opcode = data[start]
                self._at = start + 1
                if opcode == _STOP:
                    break
                step, cost = steps.get(opcode) or _no_step(opcode)
                self._left -= cost
                if self._left < 0:
                    self._charge(0)
                step(self)
            result = self._pop()
            if self._stack or self._below:
                raise Refused("the pickle leaves values over")
        except Refused as error:
            raise self._source.error(str(error), self._base + start) from None
        self._source.spend(before - self._left, "the pickle")
        return result, self._at

    # -- data and stack ---------------------------------------------------------------------

    def _charge(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise Refused(
                f"the objects of the pickle would take more than the {self._source.allowed} bytes "
                "of memory that are left for them"
            )

    def _take(self, count: int) -> bytes | bytearray:
        start, self._at = self._at, self._at + count
        if self._at > len(self._data):
            raise NeedsMore
        return self._data[start : self._at]

    def _number(self, form: struct.Struct) -> Any:
        return form.unpack(self._take(form.size))[0]

    def _line(self) -> str:
        end = self._data.find(b"\n", self._at, self._at + _LONGEST_LINE)
        if end < 0:
            if len(self._data) < self._at + _LONGEST_LINE:
                raise NeedsMore
            raise Refused(f"a line of more than {_LONGEST_LINE} bytes")
        line = _decode(self._data[self._at : end])
        self._at = end + 1
        return line

    def _text(self, count: int) -> None:
        data = self._take_counted(count)
        # A character outside ASCII makes all of them take up to 4 bytes.
        self._charge(count if data.isascii() else 4 * count)
        self._stack.append(_decode(data))

    def _take_counted(self, count: int) -> bytes | bytearray:
        if count < 0:
            raise Refused(f"a text of {count} bytes")
        self._charge(count)
        return self._take(count)

    def _pop(self) -> Any:
        if not self._stack:
            raise Refused("the pickle takes a value where there is none")
        return self._stack.pop()

    def _top(self, kind: type, what: str) -> Any:
        if not self._stack or not isinstance(self._stack[-1], kind):
            found = type(self._stack[-1]).__name__ if self._stack else "nothing"
            raise Refused(f"{what} where {found} is")
        return self._stack[-1]

    def _marked(self) -> list[Any]:
        if not self._below:
            raise Refused("the pickle goes back to a mark where there is none")
        values, self._stack = self._stack, self._below.pop()
        return values

    # -- opcodes ----------------------------------------------------------------------------

    def _proto(self) -> None:
        version = self._take(1)[0]
        if version > 5:
            raise Refused(f"pickle protocol {version} is unknown")

    def _frame(self) -> None:
        self._take(8)

    def _mark(self) -> None:
        self._below.append(self._stack)
        self._stack = []

    def _int1(self) -> None:
        self._stack.append(self._take(1)[0])

    def _int2(self) -> None:
        self._stack.append(self._number(_UINT2))

    def _int4(self) -> None:
        self._stack.append(self._number(_INT4))

    def _long1(self) -> None:
        self._stack.append(int.from_bytes(self._take(self._long_size()), "little", signed=True))

    def _long_size(self) -> int:
        size = self._take(1)[0]
        if size > _LONGEST_INT:
            raise Refused(f"an integer of {size} bytes; {_LONGEST_INT} are allowed")
        return size

    def _int_line(self) -> None:
        line = self._line()
        if line in ("00", "01"):
            self._stack.append(line == "01")
            return
        try:
            self._stack.append(int(line.removesuffix("L")))
        except ValueError:
            raise Refused(f"{line!r:.80} is no integer") from None

    def _float8(self) -> None:
        self._stack.append(self._number(_FLOAT8))

    def _text1(self) -> None:
        self._text(self._take(1)[0])

    def _text4(self) -> None:
        self._text(self._number(_UINT4))

    def _text4_signed(self) -> None:
        self._text(self._number(_INT4))

    def _text8(self) -> None:
        self._text(self._number(_UINT8))

    def _bytes1(self) -> None:
        self._stack.append(bytes(self._take_counted(self._take(1)[0])))

    def _bytes4(self) -> None:
        self._stack.append(bytes(self._take_counted(self._number(_UINT4))))

    def _empty_list(self) -> None:
        self._stack.append([])

    def _append(self) -> None:
        value = self._pop()
        self._top(list, "APPEND").append(value)

    def _appends(self) -> None:
        values = self._marked()
        self._top(list, "APPENDS").extend(values)

    def _list(self) -> None:
        values = self._marked()
        self._stack.append(values)

    def _empty_tuple(self) -> None:
        self._stack.append(())

    def _tuple(self) -> None:
        values = self._marked()
        self._stack.append(tuple(values))

    def _tuple1(self) -> None:
        self._stack.append((self._pop(),))

    def _tuple2(self) -> None:
        second, first = self._pop(), self._pop()
        self._stack.append((first, second))

    def _tuple3(self) -> None:
        third, second, first = self._pop(), self._pop(), self._pop()
        self._stack.append((first, second, third))

    def _empty_dict(self) -> None:
        self._stack.append({})

    def _dict(self) -> None:
        pairs = self._marked()
        self._stack.append({})
        self._set_pairs(pairs)

    def _setitem(self) -> None:
        value, key = self._pop(), self._pop()
        self._set_pairs([key, value])

    def _setitems(self) -> None:
        self._set_pairs(self._marked())

    def _set_pairs(self, pairs: list[Any]) -> None:
        target = self._top(dict, "SETITEMS")
        if len(pairs) % 2:
            raise Refused("a key without a value")
        self._charge(PAIR_COST * (len(pairs) // 2))
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            target[checked_key(key)] = value

    def _put1(self) -> None:
        self._put(self._take(1)[0])

    def _put4(self) -> None:
        self._put(self._number(_UINT4))

    def _memoize(self) -> None:
        self._put(len(self._memo))

    def _put(self, number: int) -> None:
        self._memo[number] = self._top(object, "a memo entry")

    def _get1(self) -> None:
        self._get(self._take(1)[0])

    def _get4(self) -> None:
        self._get(self._number(_UINT4))

    def _get(self, number: int) -> None:
        if number not in self._memo:
            raise Refused(f"entry {number} of the pickle's memo is missing")
        self._stack.append(self._memo[number])

    def _global(self) -> None:
        module = self._line()
        self._stack.append(self._find_global(f"{module}.{self._line()}"))

    def _stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise Refused("the name of a global is no text")
        self._stack.append(self._find_global(f"{module:.256}.{name:.256}"))

    def _reduce(self) -> None:
        args, function = self._pop(), self._pop()
        if not isinstance(function, Global) or type(args) is not tuple:
            raise Refused(f"the pickle calls {show(function)}")
        self._stack.append(function.call(args, self._charge))

    def _build(self) -> None:
        state = self._pop()
        target = self._top(object, "BUILD")
        # What PyTorch keeps beside the tensors of a state dict; no other object has a state.
        if (
            type(target) is not OrderedDict
            or type(state) is not dict
            or state.keys() != {METADATA}
            or not isinstance(state[METADATA], dict)
        ):
            raise Refused(f"BUILD sets the state of {show(target)}")
        setattr(target, METADATA, state[METADATA])

    def _persistent_id(self) -> None:
        self._stack.append(self._persistent(self._pop()))

    def _none(self) -> None:
        self._stack.append(None)

    def _true(self) -> None:
        self._stack.append(True)

    def _false(self) -> None:
        self._stack.append(False)


def _decode(data: bytes | bytearray) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Refused(f"a text is no UTF-8: {error.reason}") from None


def checked_key(key: Any) -> Any:
    """Return a key of a dict, or raise Refused.

    Hashing a tuple of tuples goes as deep as they do, and huge integers can be made to collide.
    """
    if type(key) not in (str, int, bool, type(None)):
        raise Refused(f"a key of type {type(key).__name__}; str, int, bool and None are allowed")
    if type(key) is int and key.bit_length() > 64:
        raise Refused("an integer of more than 64 bits as a key")
    return key


def _no_step(opcode: int) -> Any:
    name = _REFUSED.get(opcode)
    raise Refused(
        f"damaged: {bytes([opcode])!r} is no opcode of a pickle"
        if name is None
        else f"the pickle opcode {name} is not allowed in a checkpoint"
    )


_UINT2, _INT4, _UINT4 = struct.Struct("<H"), struct.Struct("<i"), struct.Struct("<I")
_UINT8, _FLOAT8 = struct.Struct("<Q"), struct.Struct(">d")
_STOP = ord(".")
# What an opcode does, and the bytes of memory that it takes: the object, its place on the stack
# and later in a container.
_STEPS: dict[int, tuple[Callable[[Machine], None], int]] = {
    opcode[0]: (step, cost)
    for opcode, step, cost in (
        (b"\x80", Machine._proto, 0),
        (b"\x95", Machine._frame, 0),
        (b"(", Machine._mark, 80),
        (b"N", Machine._none, 24),
        (b"\x88", Machine._true, 24),
        (b"\x89", Machine._false, 24),
        (b"I", Machine._int_line, 160),
        (b"L", Machine._int_line, 160),
        (b"K", Machine._int1, 24),
        (b"M", Machine._int2, 64),
        (b"J", Machine._int4, 64),
        (b"\x8a", Machine._long1, 128),
        (b"G", Machine._float8, 56),
        (b"X", Machine._text4, 104),
        (b"\x8c", Machine._text1, 104),
        (b"\x8d", Machine._text8, 104),
        (b"U", Machine._text1, 104),
        (b"T", Machine._text4_signed, 104),
        (b"C", Machine._bytes1, 72),
        (b"B", Machine._bytes4, 72),
        (b"]", Machine._empty_list, 320),
        (b"l", Machine._list, 320),
        (b"a", Machine._append, 16),
        (b"e", Machine._appends, 16),
        (b")", Machine._empty_tuple, 24),
        (b"t", Machine._tuple, 160),
        (b"\x85", Machine._tuple1, 160),
        (b"\x86", Machine._tuple2, 160),
        (b"\x87", Machine._tuple3, 160),
        (b"}", Machine._empty_dict, 640),
        (b"d", Machine._dict, 640),
        (b"s", Machine._setitem, 0),
        (b"u", Machine._setitems, 0),
        (b"q", Machine._put1, 128),
        (b"r", Machine._put4, 160),
        (b"\x94", Machine._memoize, 160),
        (b"h", Machine._get1, 24),
        (b"j", Machine._get4, 24),
        (b"c", Machine._global, 320),
        (b"\x93", Machine._stack_global, 320),
        (b"R", Machine._reduce, 0),
        (b"b", Machine._build, 640),
        (b"Q", Machine._persistent_id, 320),
    )
}
_REFUSED = {
    opcode[0]: name
    for opcode, name in (
        *((b"0", "POP"), (b"1", "POP_MARK"), (b"2", "DUP"), (b"g", "GET"), (b"p", "PUT")),
        *((b"F", "FLOAT"), (b"S", "STRING"), (b"V", "UNICODE"), (b"\x8b", "LONG4")),
        *((b"P", "PERSID"), (b"i", "INST"), (b"o", "OBJ"), (b"\x81", "NEWOBJ")),
        *((b"\x92", "NEWOBJ_EX"), (b"\x82", "EXT1"), (b"\x83", "EXT2"), (b"\x84", "EXT4")),
        *((b"\x8f", "EMPTY_SET"), (b"\x90", "ADDITEMS"), (b"\x91", "FROZENSET")),
        *((b"\x8e", "BINBYTES8"), (b"\x96", "BYTEARRAY8"), (b"\x97", "NEXT_BUFFER")),
        (b"\x98", "READONLY_BUFFER"),
    )
}
