"""Normalisation of channels, over a batch or over each sample."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rushlight import _core
from rushlight.autograd.base import TensorBase
from rushlight.autograd.blocked import Blocked
from rushlight.autograd.clamped import ClampedGradient
from rushlight.autograd.primitive import Primitive
from rushlight.dtypes import Array
from rushlight.errors import OperationError
from rushlight.ops._common import array_of, refuse, renamed
from rushlight.ops.checks import check_shapes, same_type
from rushlight.ops.clamped import RELU, BehindClamp, BehindRelu
from rushlight.ops.prepared import Clamp
from rushlight.ops.shape import repeat, reshape

if TYPE_CHECKING:
    from rushlight.tensor import Tensor

__all__ = ["batch_norm", "instance_norm"]


_OPTIONAL = ("weight", "bias", "running_mean", "running_var")


class BatchNorm(Primitive):
    warns = False
    takes_blocks = True
    clamp: Clamp = None

    @classmethod
    def name(cls) -> str:
        return "NativeBatchNormBackward0"

    def forward(
        self,
        src: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        training: bool,
        momentum: float,
        eps: float,
    ) -> Array | Blocked:
        x = src._blocks or src._array
        w = None if weight is None else weight._array
        b = None if bias is None else bias._array
        mean_array = None if running_mean is None else running_mean._array
        var_array = None if running_var is None else running_var._array
        if training:
            dst, mean, rstd = _core.batch_norm_train(
                x, w, b, mean_array, var_array, momentum, eps, self.clamp
            )
            for running in (running_mean, running_var):
                if running is not None:
                    running._bump_version()
        else:
            assert mean_array is not None
            assert var_array is not None
            dst, mean, rstd = _core.batch_norm_eval(x, w, b, mean_array, var_array, eps, self.clamp)
        if self._saved is not None:
            # Only a clamp behind it asks for the bias, which may have changed by then.
            self.save(src, weight, mean, rstd, None if b is None else b.copy())
            self._training = training
            self.absorbs_clamps = training and self.clamp is None
        return dst

    def backward(
        self, grad: Array | Blocked | ClampedGradient
    ) -> tuple[Array | Blocked | None, ...]:
        src, weight, mean, rstd, bias = self.saved
        needs = self.needs_input_grad
        clamp = self.clamp
        if isinstance(grad, ClampedGradient):
            clamp = grad.limits
            grad = grad.grad
        found = _core.batch_norm_backward(
            src, weight, mean, rstd, grad, self._training, needs[0], needs[1], needs[2], bias, clamp
        )
        return (*found, None, None, None, None, None)


class BatchNormRelu(BehindRelu, BatchNorm):
    """BatchNorm and the relu behind it, which backward computes again."""

    saves_output = False


class BatchNormClamp(BehindClamp, BatchNorm):
    """BatchNorm and the relu6, say, behind it."""

    saves_output = False


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each channel over the batch (PyTorch's ``batch_norm``).

    Parameters
    ----------
    input : Tensor
        [n, c, ...], float32 or float64.
    running_mean, running_var : Tensor, optional
        [c]; in training they move towards the statistics of the batch (the unbiased variance) by
        `momentum`, otherwise they are what the input is normalised by.
    weight, bias : Tensor, optional
        [c]; factor and shift of the result.
    training : bool
        Use the statistics of this batch.
    momentum : float
        Share of the batch in the running statistics.
    eps : float
        Added to the variance.

    Returns
    -------
    Tensor
        Of the shape of `input`.

    Raises
    ------
    TypeError, ValueError
        For other types, shapes that do not fit, a single value per channel in training, or
        missing running statistics in evaluation.

    References
    ----------
    Ioffe and Szegedy, "Batch Normalization", 2015.
    """
    stats = running_mean, running_var
    return clamped_batch_norm(input, *stats, weight, bias, training, momentum, eps, None)


def clamped_batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    clamp: Clamp,
) -> Tensor:
    """Return :func:`batch_norm`, moved into the range `clamp` unless that is None.

    In evaluation a result that was clamped cannot be differentiated.
    """
    if not training and (running_mean is None or running_var is None):
        raise OperationError("batch_norm: running_mean and running_var are needed in evaluation")
    stats = running_mean, running_var
    try:
        if clamp is None:
            return BatchNorm.apply(input, weight, bias, *stats, training, momentum, eps)
        kind = BatchNormRelu if clamp is RELU else BatchNormClamp
        return kind.apply(input, weight, bias, *stats, training, momentum, eps, clamp)
    except AttributeError:
        # Asked only when something went wrong: these checks cost as much as a small kernel.
        array_of(input, "batch_norm")
        for name, each in zip(_OPTIONAL, (weight, bias, *stats), strict=True):
            if each is not None and not isinstance(each, TensorBase):
                refuse(each, "batch_norm", name, "a Tensor or None")
        raise


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each channel of each sample (PyTorch's ``instance_norm``).

    Parameters
    ----------
    input : Tensor
        [n, c, ...], float32 or float64.
    running_mean, running_var : Tensor, optional
        [c]; with `use_input_stats` they move towards the means over the batch of the statistics
        by `momentum`, otherwise they are what the input is normalised by.
    weight, bias : Tensor, optional
        [c]; factor and shift of the result.
    use_input_stats : bool
        Take the statistics of this input.
    momentum : float
        Share of this batch in the running statistics.
    eps : float
        Added to the variance.

    Raises
    ------
    TypeError, ValueError
        For other types, shapes that do not fit, or a single value to take statistics of.

    References
    ----------
    Ulyanov et al., "Instance Normalization", 2016.
    """
    affine = {"weight": weight, "bias": bias}
    running = {"running_mean": running_mean, "running_var": running_var}
    same_type("instance_norm", input=input, **affine, **running)
    shape = input._array.shape
    if len(shape) < 2:
        raise OperationError(
            f"instance_norm: input must be [n, c, ...], but has shape {list(shape)}"
        )
    with renamed("batch_norm", "instance_norm"):
        if not use_input_stats:
            return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
        check_shapes("instance_norm", {**affine, **running}, shape[1:2], "input has channels")
        if math.prod(shape[2:]) == 1:
            raise OperationError(
                "instance_norm: statistics need more than 1 value per channel, but input has "
                f"shape {list(shape)}"
            )
        return _by_batch_norm(input, running_mean, running_var, weight, bias, momentum, eps)


def _by_batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    momentum: float,
    eps: float,
) -> Tensor:
    """Take every channel of every sample for a channel of one sample."""
    n, c, *rest = input._array.shape
    flat = reshape(input, 1, n * c, *rest)
    mean, var, factor, shift = (
        None if tensor is None else repeat(tensor, n)
        for tensor in (running_mean, running_var, weight, bias)
    )
    result = batch_norm(flat, mean, var, factor, shift, True, momentum, eps)
    for tensor, updated in ((running_mean, mean), (running_var, var)):
        if tensor is not None and updated is not None and n:
            tensor._array[...] = updated._array.reshape(n, c).mean(axis=0)
            tensor._bump_version()
    return reshape(result, n, c, *rest)
