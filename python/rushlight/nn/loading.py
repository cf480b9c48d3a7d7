"""What loading a state dict comes back with, and how one entry meets one tensor."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NamedTuple

from rushlight.autograd import no_grad
from rushlight.nn.parameter import is_lazy
from rushlight.tensor import Tensor

__all__ = ["by_child", "copy_into", "mismatch"]


class _IncompatibleKeys(NamedTuple):
    """What ``load_state_dict`` returns: the names that only one side has."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        """Say so when there are none."""
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return (
            f"_IncompatibleKeys(missing_keys={self.missing_keys}, "
            f"unexpected_keys={self.unexpected_keys})"
        )


def by_child(state: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Sort the entries by the child they belong to, in one pass."""
    parts: dict[str, Any] = {}
    for key, value in state.items():
        if key.startswith(prefix):
            name, dot, _ = key[len(prefix) :].partition(".")
            if dot:
                parts.setdefault(name, OrderedDict())[key] = value
    return parts


def mismatch(key: str, current: Tensor, value: object) -> str | None:
    """Return why `value` cannot fill the tensor called `key`, or None when it can."""
    if not isinstance(value, Tensor):
        return (
            f'While copying the parameter named "{key}", expected torch.Tensor or Tensor-like '
            f"object from checkpoint but received {type(value)}"
        )
    if is_lazy(current):
        return None
    if is_lazy(value):
        return (
            f'While copying the parameter named "{key}", can\'t access the shape of an '
            "uninitialized parameter or buffer from checkpoint"
        )
    if value.shape != current.shape:
        return (
            f"size mismatch for {key}: copying a param with shape {value.shape} from checkpoint, "
            f"the shape in current model is {current.shape}."
        )
    return None


def copy_into(target: Tensor, value: Tensor) -> None:
    """Put the values of one tensor into another, outside any graph."""
    with no_grad():
        target.copy_(value)
