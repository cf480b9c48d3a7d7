"""PyTorch's place for the data tools, so that ``from rushlight.utils.data import ...`` works."""

from rushlight.utils import data as data
