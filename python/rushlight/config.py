"""What runs and how: instruction set, threads, memory."""

from __future__ import annotations

import platform
import sys

import numpy as np

from rushlight import _core

__all__ = ["empty_cache", "get_num_threads", "set_num_threads", "show_config"]

__version__ = "0.1.0"


def get_num_threads() -> int:
    """Return the number of threads that kernels use."""
    return _core.get_num_threads()


def set_num_threads(num_threads: int) -> None:
    """Set the number of threads that kernels use; results do not depend on it, to the bit.

    Raises
    ------
    TypeError, ValueError
        When `num_threads` is no positive int.
    """
    _core.set_num_threads(num_threads)


def empty_cache() -> None:
    """Give memory back to the system: what the buffer pool keeps for reuse, and packed weights."""
    _core.empty_cache()


class _Text(str):
    """A text of several lines that a console shows as it is."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def show_config() -> str:
    """Return a text that says what runs: version, instruction set, threads, memory."""
    pool, weights = _core.pool_stats(), _core.weight_cache_stats()
    build = _core.build_info()
    rows = {
        "version": __version__,
        "instruction set": f"{_core.isa()} (this machine can run: {', '.join(_core.isas())})",
        "threads": str(_core.get_num_threads()),
        "buffer pool": f"{_mib(pool['in_use'])} in use, {_mib(pool['cached'])} kept for reuse, "
        f"limit {_mib(pool['limit'])}",
        "packed weights": f"{_mib(weights['bytes'])} in {weights['blocks']} blocks, "
        f"limit {_mib(weights['limit'])}",
        "compiler": build["compiler"],
        "python": f"{platform.python_version()}, NumPy {np.__version__}, {sys.platform}",
    }
    width = max(map(len, rows))
    return _Text("\n".join(f"{name:<{width}}  {value}" for name, value in rows.items()))


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"
