"""Fixtures: a fixed seed, one thread count, and the instruction set restored after each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import rushlight
from rushlight import _core

ISAS = _core.isas()


@pytest.fixture(autouse=True)
def _settled() -> Iterator[None]:
    """Seed, and put back what a test may switch."""
    isa, threads, winograd = _core.isa(), _core.get_num_threads(), _core.get_winograd()
    rushlight.manual_seed(0)
    yield
    _core.set_isa(isa)
    _core.set_num_threads(threads)
    _core.set_winograd(winograd)
    _core.set_conv_algorithm(None)


@pytest.fixture(params=ISAS)
def isa(request: pytest.FixtureRequest) -> str:
    """Run the test once on every instruction set that this machine can run."""
    _core.set_isa(request.param)
    return str(request.param)
