"""Normalisation of each sample: over its features, or over groups of its channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rushlight.dtypes import dtype as DType
from rushlight.nn import functional as F
from rushlight.nn import init
from rushlight.nn.checks import at_least, check_device
from rushlight.nn.module import Module
from rushlight.nn.parameter import Parameter, filled
from rushlight.nn.slots import parameter_slot
from rushlight.tensor import Tensor

__all__ = ["GroupNorm", "LayerNorm"]


class _SampleNorm(Module):
    """What the layers share: a factor and a shift, which may be missing."""

    weight: Parameter | None = parameter_slot()
    bias: Parameter | None = parameter_slot()

    def _add_parameters(
        self, shape: tuple[int, ...], affine: bool, bias: bool, dtype: DType | None
    ) -> None:
        self.register_parameter("weight", filled(shape, dtype) if affine else None)
        self.register_parameter("bias", filled(shape, dtype) if affine and bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Return to ones and zeros."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)


class LayerNorm(_SampleNorm):
    """Normalise the last dimensions of each sample.

    Parameters
    ----------
    normalized_shape : int or sequence of int
        The last dimensions of the input, over which mean and variance are taken.
    eps : float
        Added to the variance.
    elementwise_affine : bool
        Whether the result is scaled and shifted by learned parameters.
    bias : bool
        Whether, with `elementwise_affine`, there is a shift.
    device : optional
        Must be the CPU.
    dtype : dtype, optional
        float32 by default.

    Attributes
    ----------
    weight, bias : Parameter or None
        Of shape `normalized_shape`, ones and zeros at first.

    Raises
    ------
    TypeError, ValueError
        For a shape of something else than integers from 0, or of none.

    References
    ----------
    Ba, Kiros and Hinton, "Layer Normalization", 2016.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        check_device(device)
        sizes = normalized_shape if isinstance(normalized_shape, Sequence) else [normalized_shape]
        if not sizes:
            raise ValueError("LayerNorm: normalized_shape must have one dimension or more")
        self.normalized_shape = tuple(
            at_least(0, size, "LayerNorm", "normalized_shape") for size in sizes
        )
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self._add_parameters(self.normalized_shape, elementwise_affine, bias, dtype)

    def forward(self, input: Tensor) -> Tensor:
        """Map [..., *normalized_shape] to itself."""
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Return the arguments."""
        return (
            f"{self.normalized_shape}, eps={self.eps}, "
            f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"
        )


class GroupNorm(_SampleNorm):
    """Normalise groups of channels of each sample.

    Parameters
    ----------
    num_groups : int
        Number of groups that the channels are split into.
    num_channels : int
        Channels of the input.
    eps : float
        Added to the variance.
    affine : bool
        Whether the result is scaled and shifted by learned parameters.
    device : optional
        Must be the CPU.
    dtype : dtype, optional
        float32 by default.
    bias : bool
        Whether, with `affine`, there is a shift.

    Attributes
    ----------
    weight, bias : Parameter or None
        [num_channels], ones and zeros at first.

    Raises
    ------
    TypeError, ValueError
        For numbers that are no integers, below 1, or do not divide evenly.

    References
    ----------
    Wu and He, "Group Normalization", 2018.
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: DType | None = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        check_device(device)
        self.num_groups = at_least(1, num_groups, "GroupNorm", "num_groups")
        self.num_channels = at_least(0, num_channels, "GroupNorm", "num_channels")
        if num_channels % num_groups:
            raise ValueError(
                f"GroupNorm: num_channels ({num_channels}) must be divisible by num_groups "
                f"({num_groups})"
            )
        self.eps = eps
        self.affine = affine
        self._add_parameters((self.num_channels,), affine, bias, dtype)

    def forward(self, input: Tensor) -> Tensor:
        """Map [n, num_channels, ...] to itself."""
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Return the arguments."""
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )
