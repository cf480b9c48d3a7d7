"""Instance normalisation layers."""

from __future__ import annotations

from typing import Any

from rushlight.dtypes import dtype as DType
from rushlight.nn import functional as F
from rushlight.nn.batchnorm import _BatchNorm
from rushlight.tensor import Tensor

__all__ = ["InstanceNorm1d", "InstanceNorm2d"]


class _InstanceNorm(_BatchNorm):
    """What the layers share: the state of batch normalisation, off by default."""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: DType | None = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias
        )

    def forward(self, input: Tensor) -> Tensor:
        """Normalise each channel of each sample; the input may be one sample."""
        self._check_input_dim(input)
        single = input.dim() < max(self._dims)
        channels = input.shape[0 if single else 1]
        if channels != self.num_features and self.affine:
            raise ValueError(
                f"expected input's size at dim={0 if single else 1} to match num_features "
                f"({self.num_features}), but got: {channels}."
            )
        output = F.instance_norm(
            input.unsqueeze(0) if single else input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            0.0 if self.momentum is None else self.momentum,
            self.eps,
        )
        return output.squeeze(0) if single else output

    def extra_repr(self) -> str:
        """Return the arguments, in PyTorch's order."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class InstanceNorm2d(_InstanceNorm):
    """Normalise each channel of each sample of [n, c, h, w], or of one sample [c, h, w].

    Parameters
    ----------
    num_features : int
        Channels of the input.
    eps : float
        Added to the variance.
    momentum : float
        Share of each batch in the running statistics.
    affine : bool
        Whether the result is scaled and shifted by learned parameters.
    track_running_stats : bool
        Whether statistics are kept, and used in evaluation.
    device : optional
        Must be the CPU.
    dtype : dtype, optional
        float32 by default.
    bias : bool
        Whether, with `affine`, there is a shift.

    References
    ----------
    Ulyanov et al., "Instance Normalization", 2016.
    """

    _dims = (3, 4)


class InstanceNorm1d(_InstanceNorm):
    """Normalise each channel of each sample of [n, c, l] or [c, l]; see :class:`InstanceNorm2d`."""

    _dims = (2, 3)
