"""The README's example runs as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).resolve().parent.parent / "README.md"


@pytest.mark.skipif(not README.is_file(), reason="the source tree is not here")
def test_the_example_runs(tmp_path: Path) -> None:
    code, *_ = re.findall(
        r"^```python\n(.*?)^```$", README.read_text(encoding="utf-8"), re.M | re.S
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert result.stdout.startswith("Net(\n  (features): Sequential(\n    (0): Conv2d(1, 16")
    assert float(result.stdout.split()[-1]) < 1.0
    assert (tmp_path / "net.safetensors").stat().st_size > 4 * (16 * 9 + 2560)
