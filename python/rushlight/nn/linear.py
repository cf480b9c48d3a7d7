"""Linear, and layers that only reshape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rushlight.dtypes import dtype as DType
from rushlight.nn import init
from rushlight.nn.checks import at_least, check_device
from rushlight.nn.module import Module
from rushlight.nn.parameter import Parameter, filled
from rushlight.nn.slots import parameter_slot
from rushlight.ops.linear import clamped_linear
from rushlight.ops.prepared import Clamp
from rushlight.tensor import Tensor

__all__ = ["Flatten", "Identity", "Linear", "Unflatten"]


class Linear(Module):
    """``input @ weight.T + bias``.

    Parameters
    ----------
    in_features, out_features : int
        Sizes of the last dimension of input and output.
    bias : bool
        Whether something is added.
    device : optional
        Must be the CPU.
    dtype : dtype, optional
        float32 by default.

    Attributes
    ----------
    weight : Parameter
        [out_features, in_features], uniform within ``1 / sqrt(in_features)``.
    bias : Parameter or None
        [out_features], uniform within the same bounds.
    """

    _new_parameter = staticmethod(filled)

    weight: Parameter = parameter_slot()
    bias: Parameter | None = parameter_slot()

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        check_device(device)
        self.in_features = at_least(0, in_features, type(self).__name__, "in_features")
        self.out_features = at_least(0, out_features, type(self).__name__, "out_features")
        weight_shape, bias_shape = self._shapes()
        self.weight = self._new_parameter(weight_shape, dtype)
        self.register_parameter("bias", self._new_parameter(bias_shape, dtype) if bias else None)
        self.reset_parameters()

    def _shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return (self.out_features, self.in_features), (self.out_features,)

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        default_weights(self.weight, self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """Map [..., in_features] to [..., out_features]."""
        return clamped_linear(input, self.weight, self.bias, None)

    def _clamped(self, input: Tensor, clamp: Clamp) -> Tensor:
        """Compute the output, moved into the range `clamp`; see neighbours.py."""
        return clamped_linear(input, self.weight, self.bias, clamp)

    def extra_repr(self) -> str:
        """Return the sizes."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )


def default_weights(weight: Parameter, bias: Parameter | None) -> None:
    """Initialise the weights of a linear or convolution layer as PyTorch does."""
    # With a = sqrt(5) the bound of kaiming_uniform_ is 1 / sqrt(fan_in), as that of the bias.
    init.kaiming_uniform_(weight, a=math.sqrt(5))
    if bias is not None:
        fan_in, _ = init._calculate_fan_in_and_fan_out(weight)
        bound = 1 / math.sqrt(fan_in) if fan_in else 0.0
        init.uniform_(bias, -bound, bound)


class Identity(Module):
    """Return the input; arguments of the constructor are ignored, so that it fits any place."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Any) -> Any:
        """Return `input`."""
        return input


class Flatten(Module):
    """Make the dimensions from `start_dim` to `end_dim` one."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: Tensor) -> Tensor:
        """Map [n, a, b, ...] to [n, a * b * ...] with the default arguments."""
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        """Return the dimensions."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Make dimension `dim` several ones, of sizes `unflattened_size`.

    Raises
    ------
    TypeError
        When a size is no integer.
    """

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        super().__init__()
        for place, size in enumerate(unflattened_size):
            if not hasattr(size, "__index__"):
                raise TypeError(
                    "Unflatten: unflattened_size must be tuple of ints, but found element of type "
                    f"{type(size).__name__} at pos {place}"
                )
        self.dim = dim
        self.unflattened_size = tuple(unflattened_size)

    def forward(self, input: Tensor) -> Tensor:
        """Map [..., a * b, ...] to [..., a, b, ...]."""
        return input.unflatten(self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        """Return the dimension and the sizes."""
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
