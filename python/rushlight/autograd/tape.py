"""Following operations while they run: what the compiler records and the profiler times.

A tape is set for a thread, and every operation then goes through it: the primitives, and the
functions marked :func:`followed`, which work on arrays without being primitives. An operation
counts once, whatever it calls inside.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from rushlight.autograd.grad_mode import state

if TYPE_CHECKING:
    from rushlight.autograd.base import TensorBase

__all__ = ["Tape", "followed", "inspect", "unfollowed"]

F = TypeVar("F", bound=Callable[..., Any])


class Tape(AbstractContextManager["Tape"]):
    """Follows the operations of this thread inside its ``with`` block."""

    _before: Tape | None = None

    def __enter__(self) -> Tape:
        self._before = state.tape
        state.set_tape(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        state.set_tape(self._before)

    def call(self, run: Callable[..., Any], operation: Any, args: tuple[Any, ...]) -> Any:
        """Run an operation with nothing following, and tell :meth:`note` of it.

        Parameters
        ----------
        run : callable
            Takes `args`: a method of the operation, or the operation itself.
        operation : type of Primitive or callable
        """
        with unfollowed():
            return self.note(run, operation, args)

    def note(self, run: Callable[..., Any], operation: Any, args: tuple[Any, ...]) -> Any:
        """Run an operation, keep what is of interest, and return its result."""
        raise NotImplementedError

    def inspect(self, tensor: TensorBase, operation: str) -> None:
        """Learn that Python is about to see the values of `tensor`."""


@contextmanager
def unfollowed() -> Iterator[None]:
    """Let no tape see what this thread runs, as a ``with`` block or a decorator."""
    before = state.tape
    state.set_tape(None)
    try:
        yield
    finally:
        state.set_tape(before)


def followed(function: F) -> F:
    """Make a tape see each call of `function`, which no primitive stands behind."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        tape = state.tape
        if tape is None:
            return function(*args, **kwargs)
        if kwargs:
            return tape.call(functools.partial(function, **kwargs), function, args)
        return tape.call(function, function, args)

    return wrapped  # type: ignore[return-value]  # functools.wraps keeps the signature


def inspect(operation: str, *tensors: Any) -> None:
    """Tell the tape, if there is one, that Python is about to see the values of `tensors`."""
    tape = state.tape
    if tape is not None:
        for each in tensors:
            tape.inspect(each, operation)
