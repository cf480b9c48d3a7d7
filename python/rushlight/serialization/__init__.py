"""Weights to files and back, in the safetensors format."""

from rushlight.serialization.safetensors import load, load_metadata, save

__all__ = ["load", "load_metadata", "save"]
