"""Fixtures: a fixed seed, one thread count, and the instruction set restored after each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import rushlight
from rushlight import _core

ISAS = _core.isas()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--slow``: run what is left out of an ordinary run too."""
    parser.addoption("--slow", action="store_true", help="run slow tests too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave slow tests out unless asked."""
    if not config.getoption("--slow"):
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(pytest.mark.skip(reason="slow: pytest --slow"))


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
