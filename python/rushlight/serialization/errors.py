"""What reading a bad file ends in."""

from __future__ import annotations

__all__ = ["CheckpointError", "Refused", "show"]


class CheckpointError(ValueError):
    """A file that is damaged, hostile, of an unknown format, or holds what no tensor can.

    Attributes
    ----------
    file : str
        The file, as it was given.
    offset : int or None
        The byte in the file where the trouble was found, where it has a place.
    reason : str
        What is wrong there.
    """

    def __init__(self, file: str, reason: str, offset: int | None = None) -> None:
        super().__init__(file, reason, offset)
        self.file, self.reason, self.offset = file, reason, offset

    def __str__(self) -> str:
        place = "" if self.offset is None else f" (at byte {self.offset})"
        return f"{self.file}: {self.reason}{place}"


class Refused(Exception):
    """A reason without its place, which whoever knows the place turns into a CheckpointError."""


def show(value: object) -> str:
    """Return a short description of what a file gave, whatever it is.

    The ``repr`` of a container in a hostile file may be without end.
    """
    if isinstance(value, str):
        return repr(value[:80])
    if value is None or isinstance(value, (bool, int, float)):
        return repr(value)
    if type(value) is tuple and len(value) < 16 and all(type(each) is int for each in value):
        return repr(list(value))
    name = getattr(value, "name", None)
    return name if isinstance(name, str) else f"a {type(value).__name__}"
