"""Whole nets ahead of time, and where their time goes: ``rushlight.compile`` and ``profile``."""

from rushlight.compiler.compiled import Compiled, compile
from rushlight.compiler.errors import CompileError
from rushlight.compiler.explain import Explanation
from rushlight.compiler.profiler import Profile, profile

__all__ = ["CompileError", "Compiled", "Explanation", "Profile", "compile", "profile"]
