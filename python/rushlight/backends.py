"""Switches of the kernels, as ``torch.backends`` has them for its libraries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rushlight import _core

__all__ = ["cudnn", "mps", "winograd"]


class _Winograd:
    """Winograd's minimal filtering for 3x3 convolutions; float32 results differ in the last digits.

    On by default, unless the environment says ``RUSHLIGHT_WINOGRAD=0``. Off, every product and sum
    of a convolution is computed as it is written. One switch for the whole process.
    """

    @property
    def enabled(self) -> bool:
        """Whether convolutions may be computed this way."""
        return _core.get_winograd()

    @enabled.setter
    def enabled(self, value: bool) -> None:
        if not isinstance(value, bool):
            raise TypeError(f"winograd.enabled: expected a bool, got {type(value).__name__}")
        _core.set_winograd(value)

    @contextmanager
    def flags(self, enabled: bool = True) -> Iterator[None]:
        """Set the switch inside a ``with`` block and put it back after.

        Parameters
        ----------
        enabled : bool
            Whether convolutions may be computed this way.

        Raises
        ------
        TypeError
            When `enabled` is no bool.
        """
        before = self.enabled
        self.enabled = enabled
        try:
            yield
        finally:
            self.enabled = before


winograd = _Winograd()


class _Absent:
    """A library of PyTorch's that is not here: scripts may ask for it and set its switches."""

    enabled = False
    benchmark = False
    deterministic = True
    allow_tf32 = False

    @staticmethod
    def is_available() -> bool:
        """Return False."""
        return False


cudnn, mps = _Absent(), _Absent()
