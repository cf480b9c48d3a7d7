"""What :func:`rushlight.compile` raises."""

__all__ = ["CompileError"]


class CompileError(RuntimeError):
    """A forward that cannot be run as a fixed list of operations, and the line that says why."""
