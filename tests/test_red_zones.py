"""In a build with the address sanitizer, a byte beyond a buffer ends the process."""

from __future__ import annotations

import subprocess
import sys

import pytest

from rushlight import _core

sanitized = pytest.mark.skipif(
    "-fsanitize" not in _core.build_info()["flags"], reason="not a build with sanitizers"
)


def _touch(offset: int) -> subprocess.CompletedProcess[str]:
    """Read a byte at `offset` from the end of a result of 100 bytes, in a process of its own."""
    code = f"""
import ctypes
import numpy as np
from rushlight import _core
result = _core.relu(np.ones(25, np.float32))
end = result.__array_interface__["data"][0] + result.nbytes
ctypes.memmove(ctypes.create_string_buffer(1), end + {offset}, 1)
"""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@sanitized
@pytest.mark.parametrize("offset", [0, 3, 27, 4000, -101, -164, -4000])
def test_a_byte_outside_is_found(offset: int) -> None:
    result = _touch(offset)
    assert result.returncode != 0
    assert "AddressSanitizer" in result.stderr


@sanitized
@pytest.mark.parametrize("offset", [-1, -100])
def test_a_byte_inside_is_not(offset: int) -> None:
    assert _touch(offset).returncode == 0
