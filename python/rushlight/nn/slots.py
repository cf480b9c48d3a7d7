"""Fast access to the parameters and buffers that a layer always has a name for."""

from __future__ import annotations

from typing import Any

__all__ = ["buffer_slot", "parameter_slot"]


class _Slot:
    """Look for a parameter or buffer where it is registered.

    ``Module.__getattr__`` finds it too, but only after the ordinary lookup has failed, which
    takes eight times as long. What is not registered is left to that: this is no data
    descriptor, and its AttributeError leads there.
    """

    __slots__ = ("_holder", "_name")

    def __init__(self, holder: str) -> None:
        self._holder = holder

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        try:
            return instance.__dict__[self._holder][self._name]
        except KeyError:
            raise AttributeError(self._name) from None


def parameter_slot() -> Any:
    """Declare a parameter in the body of a layer: ``weight: Parameter = parameter_slot()``."""
    return _Slot("_parameters")


def buffer_slot() -> Any:
    """Declare a buffer in the body of a layer: ``running_mean: Tensor = buffer_slot()``."""
    return _Slot("_buffers")
