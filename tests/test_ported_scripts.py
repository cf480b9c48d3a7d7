"""What training scripts ask PyTorch for around their models, answered for the CPU."""

from __future__ import annotations

import pytest

import rushlight


def test_scripts_choose_the_cpu() -> None:
    assert not rushlight.cuda.is_available()
    assert rushlight.cuda.device_count() == 0
    assert not rushlight.accelerator.is_available()
    assert rushlight.accelerator.current_accelerator() is None
    assert not rushlight.backends.mps.is_available()
    device = rushlight.device("cuda" if rushlight.cuda.is_available() else "cpu")
    assert rushlight.ones(2).to(device).device == device


def test_switches_of_absent_libraries_can_be_set() -> None:
    before = rushlight.backends.cudnn.benchmark
    rushlight.backends.cudnn.benchmark = True
    assert rushlight.backends.cudnn.benchmark
    rushlight.backends.cudnn.benchmark = before
    rushlight.cuda.manual_seed_all(3)
    rushlight.cuda.synchronize()


def test_data_tools_under_pytorchs_path() -> None:
    from rushlight.utils.data import DataLoader, TensorDataset

    assert DataLoader is rushlight.data.DataLoader
    assert rushlight.utils.data.TensorDataset is TensorDataset is rushlight.data.TensorDataset


@pytest.mark.parametrize("mark", ["export", "unused", "ignore", "_overload_method"])
def test_marks_of_scripting_change_nothing(mark: str) -> None:
    def function(x: int) -> int:
        return x + 1

    assert getattr(rushlight.jit, mark)(function) is function
    assert rushlight.jit.ignore(drop=True)(function) is function
    assert not rushlight.jit.is_scripting()
    assert not rushlight.jit.is_tracing()
