"""no_grad, enable_grad, set_grad_enabled, inference_mode: blocks, decorators, threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from typing import Any

import pytest

import rushlight as rl

OFF = [rl.no_grad, rl.inference_mode, lambda: rl.set_grad_enabled(False)]
ON = [rl.enable_grad, lambda: rl.inference_mode(False), lambda: rl.set_grad_enabled(True)]
off = pytest.mark.parametrize("mode", OFF, ids=["no_grad", "inference_mode", "set_grad_enabled"])


def _records() -> bool:
    recorded = (rl.ones(1, requires_grad=True) * 2).requires_grad
    assert recorded == rl.is_grad_enabled()
    return bool(recorded)


@pytest.fixture(autouse=True)
def _recording_before_and_after() -> Generator[None, None, None]:
    assert _records()
    yield
    assert _records()


@off
@pytest.mark.parametrize("back", ON, ids=["enable_grad", "inference_mode", "set_grad_enabled"])
def test_blocks_nest(mode: Callable[..., Any], back: Callable[..., Any]) -> None:
    with mode():
        assert not _records()
        with back():
            assert _records()
            with mode():
                assert not _records()
            assert _records()
        assert not _records()


@off
def test_an_exception_restores(mode: Callable[..., Any]) -> None:
    def fail() -> None:
        with mode():
            raise KeyError

    with pytest.raises(KeyError):
        fail()


@off
def test_one_object_may_be_entered_again(mode: Callable[..., Any]) -> None:
    manager = mode()
    with manager, rl.enable_grad(), manager:
        assert not _records()
    with manager:
        assert not _records()
    rl.set_grad_enabled(True)


@pytest.mark.parametrize(
    "decorator",
    [
        rl.no_grad,
        rl.no_grad(),
        rl.inference_mode,
        rl.inference_mode(),
        rl.inference_mode(True),
    ],
)
def test_decorators(decorator: Any) -> None:
    @decorator
    def inner(x: int, *, y: int = 2) -> tuple[bool, int]:
        """Say something."""
        return _records(), x + y

    assert (inner.__name__, inner.__doc__) == ("inner", "Say something.")
    assert inner(1, y=5) == (False, 6)
    assert _records()

    @decorator
    def recursive(depth: int) -> bool:
        with rl.enable_grad():
            return _records() if depth == 0 else recursive(depth - 1)

    assert recursive(3)

    @decorator
    def fails() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        fails()


def test_set_grad_enabled_as_a_call_and_as_a_decorator() -> None:
    rl.set_grad_enabled(False)
    assert not _records()
    rl.set_grad_enabled(True)
    assert _records()
    decorate = rl.set_grad_enabled(False)

    @decorate
    def inner() -> bool:
        return _records()

    assert _records()
    assert not inner()


def test_enable_grad_as_a_decorator() -> None:
    @rl.enable_grad()
    def inner() -> bool:
        return _records()

    with rl.no_grad():
        assert inner()
        assert not _records()


@pytest.mark.parametrize("decorator", [rl.no_grad, rl.no_grad(), rl.inference_mode()])
def test_generators_keep_the_mode_to_themselves(decorator: Any) -> None:
    log: list[Any] = []

    @decorator
    def numbers() -> Generator[int, str, str]:
        try:
            log.append(_records())
            got = yield 1
            log.append((got, _records()))
            yield 2
        except KeyError:
            log.append(("caught", _records()))
            yield 3
        finally:
            log.append(("closed", _records()))
        return "end"

    first = numbers()
    assert next(first) == 1
    assert _records()
    assert first.send("hello") == 2
    assert _records()
    assert first.throw(KeyError()) == 3
    assert _records()
    with pytest.raises(StopIteration) as stop:
        next(first)
    assert stop.value.value == "end"
    second = numbers()
    next(second)
    second.close()
    first_run = [False, ("hello", False), ("caught", False), ("closed", False)]
    assert log == [*first_run, False, ("closed", False)]


def test_the_mode_belongs_to_the_thread() -> None:
    seen = []

    def work() -> None:
        seen.append(_records())
        rl.set_grad_enabled(False)

    with rl.no_grad():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert not _records()
    assert seen == [True]
    assert _records()


def test_what_is_made_without_recording() -> None:
    x = rl.ones(2, requires_grad=True)
    with rl.no_grad():
        y = x * 2
        view = x.view(2, 1)
        leaf = rl.ones(1, requires_grad=True)
    assert [t.requires_grad for t in (y, view, leaf)] == [False, False, True]
    assert [t.is_leaf for t in (y, view, leaf)] == [True, True, True]
    (y * x).sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]


def test_backward_inside_no_grad() -> None:
    x = rl.ones(1, requires_grad=True)
    y = x * 3
    with rl.no_grad():
        y.backward()
    assert x.grad.item() == 3.0
    assert not x.grad.requires_grad
