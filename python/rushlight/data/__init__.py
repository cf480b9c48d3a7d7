"""Datasets, the loader that makes batches of them, and the digits that come with the package."""

from rushlight.data.dataset import Dataset, Subset, TensorDataset, random_split
from rushlight.data.digits import digits
from rushlight.data.idx import mnist_folder, read_idx
from rushlight.data.loader import DataLoader, default_collate

__all__ = [
    "DataLoader",
    "Dataset",
    "Subset",
    "TensorDataset",
    "default_collate",
    "digits",
    "mnist_folder",
    "random_split",
    "read_idx",
]
