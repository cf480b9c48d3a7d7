"""Reads a JSON object entry by entry, so that a long one never becomes Python objects at once.

Ten bytes of JSON can make a kilobyte of objects. Here the caller counts each entry, and knows how
long it may be, before it is made.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from rushlight.serialization.errors import Refused

__all__ = ["Scanner"]

_SPACE = re.compile(rb"[ \t\r\n]*")


class Scanner:
    """A place in `data`, UTF-8 encoded JSON; `at` is the byte that is read next.

    ``charge(bytes)`` is called before memory is taken. Every method raises Refused where the data
    are not what it reads.
    """

    def __init__(self, data: bytes | bytearray, charge: Callable[[int], None]) -> None:
        self._data, self._charge = data, charge
        self.at = 0

    def entries(self) -> Iterator[str]:
        """Yield the keys of an object; between two of them the caller reads the value."""
        self._expect(b"{")
        if self._skip() == b"}":
            self.at += 1
            return
        while True:
            self._skip()
            key = self.text()
            self._skip()
            self._expect(b":")
            self._skip()
            yield key
            if self._skip() == b"}":
                self.at += 1
                return
            self._expect(b",")

    def text(self) -> str:
        """Read a string."""
        start = self.at
        self._expect(b'"')
        while True:
            end = self._data.find(b'"', self.at)
            if end < 0:
                self.at = start
                raise Refused("the header is no valid JSON: a string does not end")
            slashes = end
            while self._data[slashes - 1] == 0x5C:  # a backslash
                slashes -= 1
            self.at = end + 1
            if (end - slashes) % 2 == 0:
                break
        value: str = self._load(start, str)
        return value

    def flat_object(self, most: int) -> dict[str, Any]:
        """Read an object of at most `most` bytes that holds no other."""
        start = self.at
        end = self._data.find(b"}", start, start + most)
        if end < 0 or self._data[start : start + 1] != b"{":
            raise Refused(f"expected an object of at most {most} bytes")
        self.at = end + 1
        value: dict[str, Any] = self._load(start, dict)
        return value

    def end(self) -> None:
        """Check that nothing but spaces follows."""
        if self._skip():
            raise Refused("the header is no valid JSON: something follows its end")

    def _skip(self) -> bytes:
        """Go to the next byte that is no space and return it; none at the end."""
        found = _SPACE.match(self._data, self.at)
        assert found is not None
        self.at = found.end()
        return bytes(self._data[self.at : self.at + 1])

    def _expect(self, byte: bytes) -> None:
        found = bytes(self._data[self.at : self.at + 1])
        if found != byte:
            raise Refused(
                f"the header is no valid JSON: expected {byte.decode()!r}, but found "
                f"{found.decode('ascii', 'replace')!r}"
            )
        self.at += 1

    def _load(self, start: int, kind: type) -> Any:
        count = self.at - start
        self._charge(count)
        data = self._data[start : self.at]
        # The text and the value; a character outside ASCII makes all take up to 4 bytes.
        self._charge(2 * count if data.isascii() else 8 * count)
        try:
            value = _DECODER.decode(data.decode())
        except (ValueError, RecursionError) as error:
            self.at = start
            raise Refused(f"the header is no valid JSON: {error}") from None
        if not isinstance(value, kind):
            self.at = start
            raise Refused(f"the header is no valid JSON: expected a {kind.__name__}")
        return value


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key appears twice")
    return result


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_without_duplicates, parse_constant=_refuse_constant)
