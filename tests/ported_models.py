"""Rushlight's model files with PyTorch's imports: a second opinion on every value."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from types import ModuleType

import rushlight.models

# What an import line says here, and what it says for PyTorch.
IMPORTS = {
    r"from rushlight\.models\b": "from ported_to_torch",
    r"from rushlight\.(tensor|ops|serialization) import": "from torch import",
    r"from rushlight\.nn\b": "from torch.nn",
    r"from rushlight import nn$": "from torch import nn",
}


def port(line: str) -> str:
    """Return an import line as PyTorch needs it; any other line as it is."""
    for pattern, replacement in IMPORTS.items():
        line = re.sub(f"^{pattern}", replacement, line)
    return line


def ported(module: ModuleType) -> ModuleType:
    """Return a module of one file with PyTorch's imports."""
    source = Path(str(module.__file__)).read_text(encoding="utf-8")
    name = f"{module.__name__}_ported"
    found = sys.modules[name] = ModuleType(name)
    exec("\n".join(port(line) for line in source.splitlines()), found.__dict__)
    return found


def ported_models(folder: Path) -> ModuleType:
    """Write the package `ported_to_torch` to `folder`, and import it."""
    package = folder / "ported_to_torch"
    package.mkdir()
    for path in Path(rushlight.models.__file__).parent.glob("*.py"):
        lines = [port(line) for line in path.read_text(encoding="utf-8").splitlines()]
        (package / path.name).write_text("\n".join([*lines, ""]), encoding="utf-8")
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module("ported_to_torch")
    finally:
        sys.path.remove(str(folder))
