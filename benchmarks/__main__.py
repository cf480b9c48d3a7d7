"""``python -m benchmarks QUESTION [options]``: see the scripts of this folder."""

from __future__ import annotations

import importlib
import sys

QUESTIONS = (
    "elementwise",
    "layers",
    "mnist",
    "models",
    "gemm",
    "bandwidth",
    "overhead",
    "startup",
    "loading",
    "threads",
    "training",
)

if len(sys.argv) < 2 or sys.argv[1] not in QUESTIONS:
    sys.exit(f"usage: python -m benchmarks {{{' | '.join(QUESTIONS)}}} [--help]")
importlib.import_module(f"benchmarks.{sys.argv[1]}").main(sys.argv[2:])
