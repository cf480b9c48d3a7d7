"""Datasets, the loader that makes batches of them, augmentation, and the bundled digits."""

from rushlight.data.augment import Augment, normalize, random_crop, random_flip
from rushlight.data.cifar import cifar10_folder, read_cifar10
from rushlight.data.dataset import ConcatDataset, Dataset, Subset, TensorDataset, random_split
from rushlight.data.digits import digits
from rushlight.data.idx import mnist_folder, read_idx
from rushlight.data.images import ImageFolder, read_image
from rushlight.data.loader import DataLoader, default_collate
from rushlight.data.sampler import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

__all__ = [
    "Augment",
    "BatchSampler",
    "ConcatDataset",
    "DataLoader",
    "Dataset",
    "ImageFolder",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "Subset",
    "SubsetRandomSampler",
    "TensorDataset",
    "WeightedRandomSampler",
    "cifar10_folder",
    "default_collate",
    "digits",
    "mnist_folder",
    "normalize",
    "random_crop",
    "random_flip",
    "random_split",
    "read_cifar10",
    "read_idx",
    "read_image",
]
