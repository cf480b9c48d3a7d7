"""What is right: float64 NumPy, and how far a result may be from it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from benchmarks.turns import Wrong

__all__ = ["check", "conv2d"]

LARGEST_ERROR = 2e-5  # of the root mean square of the output


def conv2d(x: Any, weight: Any, stride: int, padding: int, dilation: int, groups: int) -> Any:
    """Return the convolution in float64: windows of the padded image times the weights."""
    oc, icg, kh, kw = weight.shape
    around = ((0, 0), (0, 0), (padding, padding), (padding, padding))
    padded = np.pad(x.astype(np.float64), around)
    reach = dilation * (kh - 1) + 1, dilation * (kw - 1) + 1
    windows = sliding_window_view(padded, reach, (2, 3))
    windows = windows[:, :, ::stride, ::stride, ::dilation, ::dilation]
    n, _, oh, ow = windows.shape[:4]
    parts = []
    for g in range(groups):
        mine = windows[:, g * icg : (g + 1) * icg].transpose(1, 4, 5, 0, 2, 3)
        columns = mine.reshape(icg * kh * kw, n * oh * ow)
        rows = weight[g * oc // groups : (g + 1) * oc // groups].reshape(oc // groups, -1)
        parts.append((rows.astype(np.float64) @ columns).reshape(oc // groups, n, oh, ow))
    return np.concatenate(parts).transpose(1, 0, 2, 3)


def check(found: Any, expected: Any, most: float = LARGEST_ERROR) -> None:
    """Raise `Wrong` unless the result has the shape and the values that it must have."""
    found = np.asarray(found)
    if found.shape != expected.shape:
        raise Wrong(f"shape {found.shape}, expected {expected.shape}")
    rms = float(np.sqrt(np.mean(np.square(expected))))
    error = float(np.max(np.abs(found - expected))) / rms
    if not error <= most:
        raise Wrong(f"error {error:.1e} of the output's rms, at most {most:.0e} is right")
