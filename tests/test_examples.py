"""The examples run as they stand, and say what they promise."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"

pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the source tree is not here")


def _run(name: str, *arguments: str) -> str:
    command = [sys.executable, "-W", "error", str(EXAMPLES / name), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_digits_learns_and_saves(tmp_path: Path) -> None:
    saved = tmp_path / "digits.safetensors"
    out = _run("digits.py", "--epochs", "4", "--save", str(saved))
    shares = [float(each) for each in re.findall(r"held out ([\d.]+)%", out)]
    assert len(shares) == 4
    assert shares[-1] > 85
    assert saved.stat().st_size > 10_000


def test_look_inside_shows_table_shapes_and_graph() -> None:
    out = _run("look_inside.py")
    assert "Multiply-adds: 8.45 k" in out
    assert "Conv2d: [3, 1, 8, 8] -> [3, 4, 8, 8]" in out
    assert "ConvolutionBackward0" in out
    assert out.count("AccumulateGrad") == 6


def test_own_function_passes_its_check() -> None:
    out = _run("own_function.py")
    assert "softplus: True" in out
    assert out.count("1.") == 12


def test_every_example_is_tested() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    for path in EXAMPLES.glob("*.py"):
        assert f'"{path.name}"' in source, path.name
