"""Whether operations are recorded, per Python thread: ``no_grad``, ``enable_grad`` and kin."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from rushlight.autograd.tape import Tape

__all__ = ["enable_grad", "inference_mode", "is_grad_enabled", "no_grad", "set_grad_enabled"]

# A flag of code objects; see inspect.CO_GENERATOR.
_CO_GENERATOR = 0x20

F = TypeVar("F", bound=Callable[..., Any])


class _Mode(threading.local):
    """The switch of each thread; recording is on where nobody turned it off.

    `tape` follows the operations themselves, for the compiler and the profiler; see tape.py.
    `direct` says that nothing at all is recorded: the one thing that an operation asks first.
    """

    enabled = True
    tape: Tape | None = None
    direct = False

    def set_enabled(self, enabled: bool) -> None:
        """Record for ``backward``, or do not."""
        self.enabled = enabled
        self.direct = not enabled and self.tape is None

    def set_tape(self, tape: Tape | None) -> None:
        """Let `tape` follow what runs, or nothing."""
        self.tape = tape
        self.direct = tape is None and not self.enabled


state = _Mode()


def is_grad_enabled() -> bool:
    """Return whether operations of this thread are recorded for ``backward``."""
    return state.enabled


class _GradMode:
    """A context manager and decorator that sets the switch and puts it back.

    Entered modes are kept on a stack, so that one object may be entered again inside itself.
    """

    def __init__(self, mode: bool) -> None:
        self._mode = mode
        self._previous: list[bool] = []

    def __enter__(self) -> None:
        self._previous.append(state.enabled)
        state.set_enabled(self._mode)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        state.set_enabled(self._previous.pop())

    def __call__(self, function: F) -> F:
        mode = self._mode
        if _is_generator(function):
            return _decorated_generator(function, mode)  # type: ignore[return-value]  # as below

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with _GradMode(mode):
                return function(*args, **kwargs)

        return wrapped  # type: ignore[return-value]  # functools.wraps keeps the signature


def _is_generator(function: Callable[..., Any]) -> bool:
    # inspect.isgeneratorfunction would import inspect, which takes longer than all of this file.
    code = getattr(function, "__code__", None)
    return code is not None and bool(code.co_flags & _CO_GENERATOR)


def _decorated_generator(function: Callable[..., Any], mode: bool) -> Callable[..., Any]:
    """Return a generator function whose body, but not its caller, runs under `mode`."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        body = function(*args, **kwargs)
        resume: Callable[[], Any] = functools.partial(next, body)
        while True:
            try:
                with _GradMode(mode):
                    value = resume()
            except StopIteration as stop:
                return stop.value
            try:
                resume = functools.partial(body.send, (yield value))
            except GeneratorExit:
                with _GradMode(mode):
                    body.close()
                raise
            except BaseException as error:
                resume = functools.partial(body.throw, error)

    return wrapped


class _BareDecorator(_GradMode):
    """A mode whose class decorates a function directly, as in ``@no_grad`` without brackets."""

    _fixed: bool

    def __new__(cls, function: Any = None) -> Any:
        if function is None:
            return super().__new__(cls)
        return _GradMode(cls._fixed)(function)

    def __init__(self, function: Any = None) -> None:
        super().__init__(self._fixed)


class no_grad(_BareDecorator):
    """Record nothing inside: ``with no_grad():`` or ``@no_grad()``, as in PyTorch."""

    _fixed = False


class enable_grad(_BareDecorator):
    """Record again inside a :class:`no_grad` block."""

    _fixed = True


class set_grad_enabled(_GradMode):
    """Set recording at once by a bool; as a context manager, put the former value back at exit."""

    def __init__(self, mode: bool) -> None:
        super().__init__(bool(mode))
        self._before = state.enabled
        state.set_enabled(self._mode)

    def __enter__(self) -> None:
        self._previous.append(self._before)
        state.set_enabled(self._mode)

    def __call__(self, function: F) -> F:
        """Return `function` with its calls under this mode."""
        # As a decorator the mode belongs to the function's calls, not to the line that decorates.
        state.set_enabled(self._before)
        return super().__call__(function)


class inference_mode(_GradMode):
    """Record nothing inside when `mode` is true; the same as :class:`no_grad` in this engine."""

    def __new__(cls, mode: Any = True) -> Any:
        """Return the context manager, or the function that ``@inference_mode`` decorates."""
        return _GradMode(False)(mode) if callable(mode) else super().__new__(cls)

    def __init__(self, mode: Any = True) -> None:
        super().__init__(not mode)
