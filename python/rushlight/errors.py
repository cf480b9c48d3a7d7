"""What operations raise for shapes and values that they cannot work with."""

from rushlight._core import OperationError

__all__ = ["OperationError"]
