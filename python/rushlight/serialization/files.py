"""Files written whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, TypeAlias

__all__ = ["atomic_writer", "check_writable"]

Path: TypeAlias = "str | os.PathLike[str]"


@contextmanager
def atomic_writer(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that takes the place of `path` when the block ends without an error.

    The bytes go to a new file in the same folder, reach the disk, and are then renamed. After an
    error the old file is as it was and no other is left. A link is followed; the mode bits of an
    old file are kept, those of a new one follow the umask. What is no ordinary file, such as
    ``/dev/null``, is written to directly.

    Raises
    ------
    OSError
        When the folder cannot be written to or the disk is full.
    """
    target = os.path.realpath(path)
    mode = _mode_of(target)
    if mode is not None and not stat.S_ISREG(mode):
        with open(target, "wb") as stream:
            yield stream
        return
    temporary, descriptor = _create_beside(target)
    try:
        with open(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            if mode is not None:
                os.chmod(temporary, stat.S_IMODE(mode))
            os.fsync(stream.fileno())
        os.replace(temporary, target)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def check_writable(path: Path) -> None:
    """Raise the OSError that writing a file would, before the work that makes the bytes."""
    target = os.path.realpath(path)
    mode = _mode_of(target)
    if mode is not None and stat.S_ISDIR(mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), target)
    temporary, descriptor = _create_beside(target)
    os.close(descriptor)
    os.unlink(temporary)


def _mode_of(path: str) -> int | None:
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        return None


def _create_beside(target: str) -> tuple[str, int]:
    folder, name = os.path.split(target)
    # The name may be as long as the file system allows: only its start goes into the new one.
    temporary = os.path.join(folder, f".{name[:64]}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        return temporary, os.open(temporary, flags, 0o666)
    except OSError as error:
        # Whoever reads the message asked for `target`, not for the temporary name.
        raise OSError(error.errno, error.strerror, target) from None
