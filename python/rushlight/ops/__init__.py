"""The operations: one file per family, each with its Primitives and its public functions."""

from rushlight.ops.public import *
