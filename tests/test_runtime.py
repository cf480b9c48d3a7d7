"""The runtime: which instruction set runs, threads, forks, the buffer pool."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest

import rushlight
from rushlight import _core


def _python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
        check=False,
    )


# -- instruction sets -------------------------------------------------------------------------


@pytest.mark.parametrize("name", _core.isas())
def test_environment_chooses_the_table(name: str) -> None:
    code = "from rushlight import _core; print(_core.isa(), _core.isa_probe()['name'])"
    result = _python(code, RUSHLIGHT_ISA=name)
    assert result.stdout.split() == [name, name], result.stderr


def test_unknown_instruction_set_lists_the_valid_ones() -> None:
    result = _python("import rushlight", RUSHLIGHT_ISA="mmx")
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError")
    assert "mmx" in last
    for name in _core.isas():
        assert name in last
    with pytest.raises(ValueError, match="baseline"):
        _core.set_isa("mmx")


def test_the_chosen_code_is_what_runs(isa: str) -> None:
    """A product that only a fused multiply-add gets right shows which code ran.

    (1 + e)(1 - e) - 1 is -e * e; without fusing, the product rounds to 1 first and leaves 0.
    """
    probe = _core.isa_probe()
    assert probe["name"] == isa
    e = np.float32(2.0**-13)
    src = np.array([[-1, 1 + e]], np.float32)
    weight = np.array([[1, 1 - e]], np.float32)
    result = float(_core.matmul(src, weight.T)[0, 0])
    assert result == (-(2.0**-26) if probe["fma"] else 0.0)


def test_all_that_can_run_are_there() -> None:
    names = _core.isas()
    assert names[0] == _core.isa() or os.environ.get("RUSHLIGHT_ISA")
    assert "baseline" in names
    if sys.platform == "linux" and os.uname().machine == "x86_64":
        with open("/proc/cpuinfo", encoding="ascii") as file:
            flags = next(line for line in file if line.startswith("flags")).split()
        assert ("avx2" in names) == ("avx2" in flags and "fma" in flags)
        wide = {"avx512f", "avx512bw", "avx512dq", "avx512vl"}
        assert ("avx512" in names) == wide.issubset(flags)


def test_show_config_says_what_runs() -> None:
    text = rushlight.show_config()
    assert _core.isa() in text
    assert rushlight.__version__ in text
    assert f"threads          {rushlight.get_num_threads()}" in text


# -- threads ------------------------------------------------------------------------------------


def _work() -> tuple[Any, ...]:
    rng = np.random.default_rng(0)
    src = rng.standard_normal((4, 16, 24, 24)).astype(np.float32)
    weight = rng.standard_normal((32, 16, 3, 3)).astype(np.float32)
    return src, weight, None, (1, 1), (1, 1), (1, 1), 1


def test_thread_count() -> None:
    rushlight.set_num_threads(3)
    assert rushlight.get_num_threads() == 3
    for bad in (0, -1):
        with pytest.raises(ValueError, match="set_num_threads"):
            rushlight.set_num_threads(bad)
    with pytest.raises(TypeError):
        rushlight.set_num_threads(1.5)  # type: ignore[arg-type]


def test_thread_count_from_the_environment() -> None:
    code = "import rushlight; print(rushlight.get_num_threads())"
    assert _python(code, RUSHLIGHT_NUM_THREADS="3").stdout.strip() == "3"
    result = _python(code, RUSHLIGHT_NUM_THREADS="many")
    assert result.returncode == 1
    assert "RUSHLIGHT_NUM_THREADS" in result.stderr


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs CPU affinity")
def test_default_thread_count_honours_affinity() -> None:
    one = min(os.sched_getaffinity(0))
    code = f"import os; os.sched_setaffinity(0, {{{one}}})\n"
    code += "import rushlight; print(rushlight.get_num_threads())"
    assert _python(code).stdout.strip() == "1"


def test_two_python_threads_at_once() -> None:
    """A second caller finds the pool busy and runs its own work; both get the right bits."""
    args = _work()
    expected = _core.conv2d(*args).tobytes()
    rushlight.set_num_threads(2)
    wrong: list[int] = []

    def hammer() -> None:
        for turn in range(60):
            if _core.conv2d(*args).tobytes() != expected:
                wrong.append(turn)

    threads = [threading.Thread(target=hammer) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in threads)
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_threads_of_its_own() -> None:
    """The parent's pool is running when the child starts; the child neither hangs nor differs."""
    code = """
import os, sys, threading
import numpy as np
import rushlight
from rushlight import _core
rushlight.set_num_threads(2)
rng = np.random.default_rng(0)
images = rng.standard_normal((4, 16, 24, 24), np.float32)
filters = rng.standard_normal((32, 16, 3, 3), np.float32)
args = (images, filters, None, (1, 1), (1, 1), (1, 1), 1)
expected = _core.conv2d(*args).tobytes()
stop = threading.Event()
def busy():
    while not stop.is_set():
        _core.conv2d(*args)
thread = threading.Thread(target=busy)
thread.start()
status = []
for _ in range(8):
    child = os.fork()
    if child == 0:
        same = all(_core.conv2d(*args).tobytes() == expected for _ in range(5))
        os._exit(0 if same and _core.get_num_threads() == 2 else 1)
    status.append(os.waitpid(child, 0)[1])
stop.set()
thread.join()
assert _core.conv2d(*args).tobytes() == expected
print(status)
"""
    result = _python("import warnings; warnings.simplefilter('ignore')\n" + code)
    assert result.stdout.strip() == str([0] * 8), result.stderr


def test_denormals_are_flushed_inside_and_the_mode_is_restored() -> None:
    tiny = np.float32(1e-39)
    src = np.full((1, 64), tiny, np.float32)
    _core.matmul(src, np.ones((64, 8), np.float32))
    assert float(np.float32(1e-39) * np.float32(1.0)) != 0.0
    assert float((np.full(3, tiny) * np.float32(0.5))[0]) != 0.0


# -- the buffer pool ----------------------------------------------------------------------------

needs_pool = pytest.mark.skipif(_core.pool_stats()["limit"] == 0, reason="nothing is kept")


@needs_pool
def test_results_are_aligned_and_reused() -> None:
    rushlight.empty_cache()
    src = np.zeros((256, 1024), np.float32)
    first = _core.relu(src)
    address = first.__array_interface__["data"][0]
    assert address % 64 == 0
    in_use = _core.pool_stats()["in_use"]
    assert in_use >= first.nbytes
    del first
    assert _core.pool_stats()["in_use"] <= in_use - src.nbytes
    assert _core.pool_stats()["cached"] >= src.nbytes
    again = _core.relu(src)
    assert again.__array_interface__["data"][0] == address


def test_a_view_keeps_the_buffer() -> None:
    view = _core.relu(np.ones((64, 64), np.float32))[3, 5:9]
    for _ in range(20):
        _core.relu(np.zeros((64, 64), np.float32))
    np.testing.assert_array_equal(view, np.ones(4, np.float32))


@needs_pool
def test_empty_cache_gives_memory_back() -> None:
    _core.relu(np.zeros(1 << 20, np.float32))
    assert _core.pool_stats()["cached"] > 0
    rushlight.empty_cache()
    assert _core.pool_stats()["cached"] == 0


_RESIDENT = """
import numpy as np, rushlight
from rushlight import _core

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

src = np.ones(1 << 17, np.float32)
arrays = [_core.relu(src) for _ in range(128)]  # 64 MiB, in blocks that share large pages
kept, held = arrays[::32], resident()
del arrays
rushlight.empty_cache()
freed = held - resident()
print(freed, _core.pool_stats()["cached"], all((each == 1).all() for each in kept))
again = [_core.relu(src) for _ in range(128)]
print(all((each == 1).all() for each in [*kept, *again]), _core.pool_stats()["cached"])
del kept, again
rushlight.empty_cache()
print(held - resident(), _core.pool_stats()["cached"])
"""


@needs_pool
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_small_blocks_give_their_pages_back_around_those_in_use() -> None:
    some, reused, all_of_it = (each.split() for each in _python(_RESIDENT).stdout.splitlines())
    assert int(some[0]) > 48 << 20
    assert some[1:] == ["0", "True"]
    assert reused == ["True", "0"]
    assert int(all_of_it[0]) > 56 << 20
    assert all_of_it[1] == "0"


@needs_pool
def test_the_pool_is_bounded() -> None:
    code = """
import numpy as np
from rushlight import _core
arrays = [_core.relu(np.zeros(1 << 18, np.float32)) for _ in range(16)]
del arrays
stats = _core.pool_stats()
print(stats["limit"], stats["cached"])
"""
    limit, cached = map(int, _python(code, RUSHLIGHT_POOL_LIMIT=str(4 << 20)).stdout.split())
    assert limit == 4 << 20
    assert 0 < cached <= limit


def test_memory_that_is_not_there_is_a_memory_error() -> None:
    with pytest.raises(MemoryError):
        _core.empty((1 << 50,), np.dtype(np.float32))
    assert _core.relu(np.ones(4, np.float32)).tolist() == [1.0] * 4
