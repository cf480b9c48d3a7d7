"""What ported scripts ask of ``torch.accelerator``: there is the CPU only."""

from __future__ import annotations

__all__ = ["current_accelerator", "device_count", "is_available"]


def is_available() -> bool:
    """Return False: there is no accelerator."""
    return False


def current_accelerator() -> None:
    """Return None: there is no accelerator."""
    return None


def device_count() -> int:
    """Return 0."""
    return 0
