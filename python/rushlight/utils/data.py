"""The names of :mod:`rushlight.data`, under PyTorch's path."""

from rushlight.data import *
from rushlight.data import __all__ as __all__
