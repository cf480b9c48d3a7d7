"""The file that is read: checked reads at an offset, and a bound on the memory for its contents."""

from __future__ import annotations

import io
import mmap
import os
from contextlib import AbstractContextManager
from typing import IO, TYPE_CHECKING, Any, TypeAlias

import numpy as np

from rushlight.serialization.errors import CheckpointError

if TYPE_CHECKING:
    from types import TracebackType

    from rushlight.dtypes import Array

__all__ = ["ALLOWANCE", "Source", "Target"]

Target: TypeAlias = "str | os.PathLike[str] | IO[bytes]"

# What the contents of a file may take beyond its own size: objects in Python are larger than
# their bytes in a file, and packed entries grow. The rest up to 64 MB is left for buffers.
ALLOWANCE = 56 << 20


class Source(AbstractContextManager["Source"]):
    """A file of known size, read at offsets; a file object is read from where it stands.

    Parameters
    ----------
    path : str, os.PathLike or binary file object

    Attributes
    ----------
    name : str
        What errors call the file.
    size : int
        Bytes from the start to the end.

    Raises
    ------
    OSError
        When the file cannot be read.
    TypeError
        When `path` is neither a path nor a binary file object.
    """

    def __init__(self, path: Target) -> None:
        self._stream: Any
        self._start = 0
        self._owned = isinstance(path, (str, os.PathLike))
        if isinstance(path, (str, os.PathLike)):
            self.name = os.fspath(path)
            self._stream = open(path, "rb", buffering=0)  # noqa: SIM115
        elif hasattr(path, "readinto"):
            self.name = str(getattr(path, "name", None) or "checkpoint data")
            self._stream = path if path.seekable() else io.BytesIO(path.read())
            self._start = self._stream.tell()
        else:
            raise TypeError(
                f"load: path must be a path or a binary file object, but got {type(path).__name__}"
            )
        self.size: int = self._stream.seek(0, os.SEEK_END) - self._start
        self._left: int = self.size + ALLOWANCE

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close a file that was opened here; a file object stays open."""
        if self._owned:
            self._stream.close()

    def error(self, reason: str, offset: int | None = None) -> CheckpointError:
        """Return the error that names this file."""
        return CheckpointError(self.name, reason, offset)

    # -- memory -----------------------------------------------------------------------------

    @property
    def allowed(self) -> int:
        """The bytes of memory that the contents may still take."""
        return self._left

    def spend(self, count: int, what: str, offset: int | None = None) -> None:
        """Count `count` bytes of memory, before they are taken, against what the file allows."""
        if count > self._left:
            raise self.error(
                f"{what} would take {count} bytes of memory, more than a file of {self.size} bytes "
                "is granted",
                offset,
            )
        self._left -= count

    # -- reading ----------------------------------------------------------------------------

    def check(self, offset: int, count: int, what: str) -> None:
        """Raise where `count` bytes at `offset` are not in the file."""
        if offset + count > self.size:
            raise self.error(
                f"truncated: {what} takes {count} bytes, but the file ends after "
                f"{max(self.size - offset, 0)} of them",
                offset,
            )

    def read(self, offset: int, count: int, what: str) -> bytearray:
        """Return `count` bytes, which must all be there and count as memory taken."""
        self.check(offset, count, what)
        self.spend(count, what, offset)
        data = bytearray(count)
        self.read_into(offset, memoryview(data), what)
        return data

    def read_into(self, offset: int, view: memoryview, what: str) -> None:
        """Fill a view of bytes from the file."""
        self.check(offset, len(view), what)
        self._stream.seek(self._start + offset)
        done = 0
        while done < len(view):
            count = self._stream.readinto(view[done:])
            if not count:  # somebody cut the file meanwhile
                raise self.error(f"truncated: the file ended inside {what}", offset + done)
            done += count

    def mapped(self) -> Array | None:
        """Return the bytes of the file, mapped into memory privately; None for a file object.

        The pages are read when they are touched; a write to them stays in this process.
        """
        if not self._owned or not self.size:
            return None
        return np.frombuffer(
            mmap.mmap(self._stream.fileno(), self.size, access=mmap.ACCESS_COPY), np.uint8
        )
