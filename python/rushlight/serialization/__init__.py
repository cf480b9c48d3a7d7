"""Weights to files and back: safetensors and PyTorch's own format, with nothing executed."""

from rushlight.serialization.errors import CheckpointError
from rushlight.serialization.lazy import safe_open
from rushlight.serialization.loading import inspect, load, load_metadata
from rushlight.serialization.saving import save

__all__ = ["CheckpointError", "inspect", "load", "load_metadata", "safe_open", "save"]
