"""The gradients of a group as one array, so that an allreduce is one call."""

from __future__ import annotations

import numpy as np

from rushlight.autograd.base import wrap
from rushlight.dtypes import Array
from rushlight.tensor import Tensor

__all__ = ["FlatGradients"]


class FlatGradients:
    """One array for the gradients of `params`, one after the other.

    The array is made once. :meth:`gather` moves the gradients into it, each of them once: from
    then on a parameter's ``grad`` is a view of it, which backward adds to in place until
    ``zero_grad`` drops it.
    """

    def __init__(self, params: list[Tensor]) -> None:
        types = {param._array.dtype for param in params}
        if len(types) != 1:
            raise ValueError(
                "flat_grads: the parameters of a group must have one element type, but they have "
                f"{sorted(map(str, types))}"
            )
        self.params = params
        self.flat = wrap(np.zeros(sum(param._array.size for param in params), types.pop()))
        self._views: list[Tensor] = []
        at = 0
        for param in params:
            part: Array = self.flat._array[at : at + param._array.size]
            view = wrap(part.reshape(param._array.shape))
            view._become_view_of(self.flat)
            self._views.append(view)
            at += param._array.size

    def gather(self) -> Tensor:
        """Return the flat array, filled; parameters without a gradient get zeros."""
        for param, view in zip(self.params, self._views, strict=True):
            if param._grad is view:
                continue
            view._array[...] = 0 if param._grad is None else param._grad._array
            view._bump_version()
            param._grad = view
        return self.flat

    def fits(self, params: list[Tensor]) -> bool:
        """Return whether this array is for these parameters as they are now."""
        return len(params) == len(self.params) and all(
            a is b and a._array.shape == view._array.shape and a._array.dtype == view._array.dtype
            for a, b, view in zip(params, self.params, self._views, strict=True)
        )
