"""Whole nets ahead of time: ``rushlight.compile``."""

from rushlight.compiler.compiled import Compiled, compile
from rushlight.compiler.errors import CompileError

__all__ = ["CompileError", "Compiled", "compile"]
