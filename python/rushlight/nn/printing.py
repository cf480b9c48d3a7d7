"""How modules print: PyTorch's trees."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["framed", "indented", "type_name"]


def indented(text: str) -> str:
    """Indent all lines but the first by two spaces."""
    return text.replace("\n", "\n  ")


def framed(name: str, lines: Sequence[str], one_line: bool = False) -> str:
    """Return ``name(...)``, with `lines` below each other unless one is all there is."""
    if not lines:
        return f"{name}()"
    if one_line and len(lines) == 1:
        return f"{name}({lines[0]})"
    return "\n  ".join([f"{name}(", *lines]) + "\n)"


def type_name(value: object) -> str:
    """Return what an error message calls `value`: its type, or that it is a class itself."""
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
