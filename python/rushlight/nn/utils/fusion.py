"""Folding a batch normalisation that is done learning into the layer before it."""

from __future__ import annotations

import copy

from rushlight.nn.batchnorm import _BatchNorm
from rushlight.nn.conv import Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d
from rushlight.nn.linear import Linear
from rushlight.nn.module import Module
from rushlight.nn.parameter import Parameter
from rushlight.ops import ones, rsqrt, zeros
from rushlight.tensor import Tensor

__all__ = [
    "fuse_conv_bn_eval",
    "fuse_conv_bn_weights",
    "fuse_linear_bn_eval",
    "fuse_linear_bn_weights",
]

_Pair = tuple[Parameter, Parameter]


def fuse_conv_bn_eval(conv: Module, bn: Module, transpose: bool = False) -> Module:
    """Return one convolution that does what `conv` and then `bn` do in evaluation.

    Parameters
    ----------
    conv : Conv1d, Conv2d, ConvTranspose1d or ConvTranspose2d
        In evaluation mode; it is copied, not changed.
    bn : BatchNorm1d or BatchNorm2d
        In evaluation mode, with running statistics.
    transpose : bool
        Must be set for a transposed convolution, and only there.

    Returns
    -------
    Module
        Of the type of `conv`, in its dtype. It is computed in float64.

    Raises
    ------
    TypeError, ValueError
        For other modules; when `transpose` does not fit `conv`; when one of them is in training,
        the numbers of channels differ, or there are no statistics.
    """
    if not isinstance(conv, (Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d)):
        raise TypeError(
            f"fuse_conv_bn_eval: conv must be a convolution, but is a {type(conv).__name__}"
        )
    if conv.transposed != transpose:
        raise ValueError(
            f"fuse_conv_bn_eval: transpose must be {conv.transposed} for a {type(conv).__name__}, "
            f"but is {transpose}"
        )
    norm = _checked("fuse_conv_bn_eval", conv, bn, conv.out_channels)
    fused = copy.deepcopy(conv)
    fused.weight, fused.bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, *_statistics(norm), norm.eps, norm.weight, norm.bias, transpose
    )
    return fused


def fuse_linear_bn_eval(linear: Linear, bn: Module) -> Linear:
    """Return one linear layer that does what `linear` and then `bn` do in evaluation.

    Parameters
    ----------
    linear : Linear
        In evaluation mode; it is copied, not changed.
    bn : BatchNorm1d
        In evaluation mode, with running statistics.

    Returns
    -------
    Linear
        In the dtype of `linear`. It is computed in float64.

    Raises
    ------
    TypeError, ValueError
        For other modules; when one of them is in training, the numbers of features differ, or
        there are no statistics.
    """
    if not isinstance(linear, Linear):
        raise TypeError(
            f"fuse_linear_bn_eval: linear must be a Linear, but is a {type(linear).__name__}"
        )
    norm = _checked("fuse_linear_bn_eval", linear, bn, linear.out_features)
    fused = copy.deepcopy(linear)
    fused.weight, fused.bias = fuse_linear_bn_weights(
        linear.weight, linear.bias, *_statistics(norm), norm.eps, norm.weight, norm.bias
    )
    return fused


def fuse_conv_bn_weights(
    conv_w: Tensor,
    conv_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
    transpose: bool = False,
) -> _Pair:
    """Return the weight and bias of a convolution followed by a normalisation.

    Parameters
    ----------
    conv_w : Tensor
        [out, in / groups, ...], or [in, out / groups, ...] with `transpose`.
    conv_b : Tensor, optional
        [out]. The new bias requires a gradient where it does, or where the weight does when there
        is none.
    bn_rm, bn_rv : Tensor
        [out]; running mean and variance.
    bn_eps : float
        Added to the variance.
    bn_w, bn_b : Tensor, optional
        [out]; factor and shift of the normalisation.
    transpose : bool
        Whether the weight is that of a transposed convolution.
    """
    factor, bias = _folded(conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b)
    weight, rest = conv_w.detach().double(), (1,) * (conv_w.dim() - 2)
    if transpose:
        # The input channels of a group make the outputs of that group, in order.
        groups = factor.numel() // weight.shape[1]
        rows = factor.reshape(groups, 1, -1).expand(-1, weight.shape[0] // groups, -1)
        scaled = weight * rows.reshape(weight.shape[0], weight.shape[1], *rest)
    else:
        scaled = weight * factor.reshape(-1, 1, *rest)
    return _parameter(scaled, conv_w), _parameter(bias, conv_w, conv_b)


def fuse_linear_bn_weights(
    linear_w: Tensor,
    linear_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
) -> _Pair:
    """Return the weight and bias of a linear layer followed by a normalisation.

    The arguments are those of :func:`fuse_conv_bn_weights`, with a weight [out, in].
    """
    return fuse_conv_bn_weights(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b)


def _checked(name: str, layer: Module, bn: Module, channels: int) -> _BatchNorm:
    if not isinstance(bn, _BatchNorm):
        raise TypeError(f"{name}: bn must be a batch norm, but is a {type(bn).__name__}")
    for each in (layer, bn):
        if each.training:
            raise ValueError(
                f"{name}: the {type(each).__name__} is in training mode, where the statistics of "
                "the batch count; call eval() first"
            )
    if bn.num_features != channels:
        raise ValueError(
            f"{name}: bn must have the {channels} channels of the layer before it, but has "
            f"{bn.num_features}"
        )
    if bn.running_mean is None or bn.running_var is None:
        raise ValueError(f"{name}: bn must have running statistics, but it tracks none")
    return bn


def _statistics(bn: _BatchNorm) -> tuple[Tensor, Tensor]:
    assert bn.running_mean is not None
    assert bn.running_var is not None
    return bn.running_mean, bn.running_var


def _folded(
    bias: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    eps: float,
    weight: Tensor | None,
    shift: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Return by what the normalisation multiplies, and the bias of both layers, in float64."""
    mean = mean.detach().double()
    factor = ones(mean.shape) if weight is None else weight.detach()
    factor = factor.double() * rsqrt(variance.detach().double() + eps)
    before = zeros(mean.shape) if bias is None else bias.detach()
    after = zeros(mean.shape) if shift is None else shift.detach()
    return factor, (before.double() - mean) * factor + after.double()


def _parameter(value: Tensor, weight: Tensor, bias: Tensor | None = None) -> Parameter:
    """Return a parameter of the type of `weight`, trained where the one it replaces was."""
    replaced = weight if bias is None else bias
    return Parameter(value.to(weight.dtype), replaced.requires_grad)
