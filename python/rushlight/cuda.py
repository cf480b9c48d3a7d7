"""What ported scripts ask of ``torch.cuda`` before they choose the CPU."""

from __future__ import annotations

__all__ = [
    "device_count",
    "empty_cache",
    "is_available",
    "manual_seed",
    "manual_seed_all",
    "synchronize",
]


def is_available() -> bool:
    """Return False: there is no GPU, whatever the machine has."""
    return False


def device_count() -> int:
    """Return 0."""
    return 0


def manual_seed(seed: int) -> None:
    """Do nothing; see :func:`manual_seed_all`."""


def manual_seed_all(seed: int) -> None:
    """Do nothing, as PyTorch does where there is no GPU; `rushlight.manual_seed` seeds the CPU."""


def synchronize(device: object = None) -> None:
    """Return at once: every operation is finished when its call returns."""


def empty_cache() -> None:
    """Do nothing: this is the GPU's cache; `rushlight.empty_cache` empties the CPU's."""
