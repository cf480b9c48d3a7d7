"""Small nets for images, and the training behind ``rushlight train``."""

from rushlight.train.loop import Progress, Training, count_right, train
from rushlight.train.nets import PRESETS, DigitNet, Preset
from rushlight.train.schedules import SCHEDULES

__all__ = [
    "PRESETS",
    "SCHEDULES",
    "DigitNet",
    "Preset",
    "Progress",
    "Training",
    "count_right",
    "train",
]
