"""Batch normalisation layers."""

from __future__ import annotations

from typing import Any

from rushlight.dtypes import dtype as DType
from rushlight.dtypes import int64
from rushlight.nn import init
from rushlight.nn.checks import at_least, check_device
from rushlight.nn.module import Module
from rushlight.nn.parameter import Parameter, filled
from rushlight.nn.slots import buffer_slot, parameter_slot
from rushlight.ops import empty, tensor
from rushlight.ops.norm import clamped_batch_norm
from rushlight.ops.prepared import Clamp
from rushlight.tensor import Tensor

__all__ = ["BatchNorm1d", "BatchNorm2d"]


class _BatchNorm(Module):
    """What the layers share; they differ in the number of dimensions that they accept."""

    # Version 2 of the state added num_batches_tracked.
    _version = 2
    _dims: tuple[int, ...] = ()
    _new_parameter = staticmethod(filled)

    @staticmethod
    def _new_buffer(shape: tuple[int, ...], dtype: DType | None) -> Tensor:
        return empty(shape, dtype=dtype)

    weight: Parameter | None = parameter_slot()
    bias: Parameter | None = parameter_slot()
    running_mean: Tensor | None = buffer_slot()
    running_var: Tensor | None = buffer_slot()
    num_batches_tracked: Tensor | None = buffer_slot()

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: DType | None = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        check_device(device)
        self.num_features = at_least(0, num_features, type(self).__name__, "num_features")
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        shape, tracks = (self.num_features,), track_running_stats
        parameter, buffer = self._new_parameter, self._new_buffer
        self.register_parameter("weight", parameter(shape, dtype) if affine else None)
        self.register_parameter("bias", parameter(shape, dtype) if affine and bias else None)
        self.register_buffer("running_mean", buffer(shape, dtype) if tracks else None)
        self.register_buffer("running_var", buffer(shape, dtype) if tracks else None)
        self.register_buffer("num_batches_tracked", tensor(0, dtype=int64) if tracks else None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Forget the statistics of the batches seen so far."""
        if self.running_mean is not None:
            self.running_mean.zero_()
        if self.running_var is not None:
            self.running_var.fill_(1)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Return to the initial values."""
        self.reset_running_stats()
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise each channel of [n, num_features, ...]."""
        return self._clamped(input, None)

    def _clamped(self, input: Tensor, clamp: Clamp) -> Tensor:
        """Compute the output, moved into the range `clamp`; see neighbours.py."""
        self._check_input_dim(input)
        weight, bias, running_mean, running_var = self._tensors()
        training, tracks = self.training, self.track_running_stats
        by_batch = training or running_mean is None or running_var is None
        if by_batch and not tracks:
            # Buffers that were there once must not be changed by a layer told not to track.
            running_mean = running_var = None
        count = self.num_batches_tracked if training and tracks else None
        momentum = self.momentum
        if momentum is None:
            momentum = 0.0 if count is None else 1.0 / (count.item() + 1)
        stats = running_mean, running_var
        output = clamped_batch_norm(
            input, *stats, weight, bias, by_batch, momentum, self.eps, clamp
        )
        if count is not None:
            # Not add_, which takes longer than the kernel on a small image.
            count._array += 1
            count._bump_version()
        return output

    def _tensors(self) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
        """Return weight, bias, running mean and running variance."""
        try:
            # As self.running_mean and so on, which take long beside a small kernel.
            buffers, parameters = self._buffers, self._parameters
            stats = buffers["running_mean"], buffers["running_var"]
            return parameters["weight"], parameters["bias"], *stats
        except KeyError:  # deleted, and maybe set to something else
            return self.weight, self.bias, self.running_mean, self.running_var

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() not in self._dims:
            expected = " or ".join(f"{dims}D" for dims in self._dims)
            raise ValueError(f"expected {expected} input (got {input.dim()}D input)")

    def extra_repr(self) -> str:
        """Return the arguments; a missing bias is named where there would be one."""
        text = (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, track_running_stats={self.track_running_stats}"
        )
        return f"{text}, bias=False" if self.affine and self.bias is None else text

    def _upgrade_state(self, state_dict: Any, prefix: str, version: int | None) -> None:
        key = f"{prefix}num_batches_tracked"
        if (version or 1) < 2 and self.track_running_stats and key not in state_dict:
            count = self.num_batches_tracked
            state_dict[key] = tensor(0, dtype=int64) if count is None else count.detach().clone()


class BatchNorm2d(_BatchNorm):
    """Normalise each channel of [n, c, h, w] over the batch, its rows and its columns.

    Parameters
    ----------
    num_features : int
        Channels of the input.
    eps : float
        Added to the variance.
    momentum : float or None
        Share of each batch in the running statistics; None averages over all batches alike.
    affine : bool
        Whether the result is scaled and shifted by learned parameters.
    track_running_stats : bool
        Whether statistics are kept for evaluation. Without them, those of the batch are used
        there too.
    device : optional
        Must be the CPU.
    dtype : dtype, optional
        float32 by default.
    bias : bool
        Whether, with `affine`, there is a shift.

    Attributes
    ----------
    weight, bias : Parameter or None
        [num_features], ones and zeros at first.
    running_mean, running_var : Tensor or None
        [num_features], zeros and ones at first.
    num_batches_tracked : Tensor or None
        Number of batches seen in training, int64.

    References
    ----------
    Ioffe and Szegedy, "Batch Normalization", 2015.
    """

    _dims = (4,)


class BatchNorm1d(_BatchNorm):
    """Normalise each feature of [n, c] or [n, c, l]; see :class:`BatchNorm2d`."""

    _dims = (2, 3)
