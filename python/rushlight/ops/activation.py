"""relu and its relatives made of straight lines, softmax and log-softmax."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight import _core
from rushlight.autograd.base import TensorBase
from rushlight.autograd.blocked import Blocked
from rushlight.autograd.clamped import ClampedGradient
from rushlight.autograd.primitive import Primitive
from rushlight.autograd.sums import sum_to
from rushlight.dtypes import Array
from rushlight.errors import OperationError
from rushlight.ops import special
from rushlight.ops._common import array_of, form_of, quiet, wrap_dim
from rushlight.ops.checks import number, same_type
from rushlight.ops.copying import cast
from rushlight.ops.pointwise import Native, applied

if TYPE_CHECKING:
    from rushlight.tensor import Tensor

__all__ = [
    "hardsigmoid", "hardswish", "hardtanh", "hardtanh_", "leaky_relu", "leaky_relu_",
    "log_softmax", "prelu", "relu", "relu6", "relu_", "softmax",
]  # fmt: skip


class Relu(Primitive):
    saves_output = True
    warns = False
    takes_blocks = True

    def forward(self, src: Tensor) -> Array | Blocked:
        if self._saved is not None:
            self.note_follows(src)
        out = self.out
        if out is None:
            blocks = self.out_blocks
            if blocks is None:
                return _core.relu(src._blocks or src._array)
            _core.relu_(blocks)
            return blocks
        if out.flags.c_contiguous and out.flags.aligned:
            _core.relu_(out)
            return out
        return _core.relu(out)

    def backward(self, diff_dst: Array | Blocked) -> Array | Blocked | ClampedGradient:
        (dst,) = self.saved
        if self.is_absorbed:
            return ClampedGradient(diff_dst, (0.0, math.nan), _core.relu_backward, dst)
        return _core.relu_backward(dst, diff_dst)


class LogSoftmax(Primitive):
    saves_output = True
    warns = False

    def forward(self, src: Tensor, dim: int) -> Array:
        self._dim = dim
        return _core.log_softmax(src._array, dim)

    def backward(self, diff_dst: Array) -> tuple[Array, None]:
        return _core.log_softmax_backward(self.saved[0], diff_dst, self._dim), None


class Softmax(Primitive):
    saves_output = True
    warns = False

    def forward(self, src: Tensor, dim: int) -> Array:
        self._dim = dim
        dst = _core.log_softmax(src._array, dim)
        return _core.exp(dst, dst)

    def backward(self, diff_dst: Array) -> tuple[Array, None]:
        (dst,) = self.saved
        if not dst.ndim:
            return np.zeros_like(dst), None
        weighted = _core.mul(diff_dst, dst)
        total = _core.sum(weighted, (self._dim,), True, 1.0)
        return _core.sub(weighted, _core.mul(dst, total), weighted), None


def relu(input: Tensor) -> Tensor:
    """Return ``max(input, 0)``; NaN and -0.0 stay as they are.

    Parameters
    ----------
    input : Tensor
        Any shape; float32 or float64 on the kernel, int64 through NumPy.

    Raises
    ------
    TypeError
        For masks and anything that is no tensor.
    """
    try:
        return Relu.apply(input)
    except (TypeError, AttributeError):
        # Asked only when something went wrong: these checks cost as much as a small kernel.
        if array_of(input, "relu").dtype.kind == "i":
            return input.clamp(min=0)
        raise


def relu_(input: Tensor) -> Tensor:
    """Replace negative elements of `input` by 0 and return it; see :func:`relu`."""
    if form_of(input, "relu_").dtype.kind == "i":
        return input.clamp_(min=0)
    return Relu.apply_(input)


def _softmax(operation: type[Primitive], input: Any, dim: int, dtype: Any, name: str) -> Tensor:
    axis = wrap_dim(dim, array_of(input, name).ndim, name)
    return operation.apply(input if dtype is None else cast(input, dtype), axis)


def log_softmax(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """Return the logarithm of :func:`softmax`, without overflow.

    Parameters
    ----------
    input : Tensor
        float32 or float64.
    dim : int
        Dimension whose exponentials sum to 1.
    dtype : dtype, optional
        Convert the input first.

    Raises
    ------
    IndexError, TypeError
        For a dimension out of range, or integers.
    """
    return _softmax(LogSoftmax, input, dim, dtype, "log_softmax")


def softmax(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """Return exponentials divided by their sum along `dim`; see :func:`log_softmax`."""
    return _softmax(Softmax, input, dim, dtype, "softmax")


class Hardtanh(Native):
    kernel, gradient_kernel = _core.hardtanh, _core.hardtanh_backward
    saves_output = True
    takes_blocks = True

    def forward(self, a: Tensor, *settings: float) -> Array | Blocked:
        if self._saved is not None:
            self.note_follows(a)
        low, high = settings
        if not low <= 0 <= high:  # zeros would not stay zeros
            self.takes_blocks = False
        return super().forward(a, *settings)

    @classmethod
    def works_in_blocks(cls, target: TensorBase, *args: Any) -> bool:
        low, high = args
        return bool(low <= 0 <= high)

    def backward(self, grad: Array | Blocked) -> tuple[Any, ...]:
        if not self.is_absorbed:
            return super().backward(grad)
        low, high = self.settings
        kernel: Any = _core.hardtanh_backward
        clamped = ClampedGradient(grad, (low, high), kernel, self.saved[0], (low, high))
        return clamped, None, None


class Relu6(Hardtanh):
    @classmethod
    def name(cls) -> str:
        return "HardtanhBackward0"


class LeakyRelu(Native):
    """The result has the sign of the argument for slopes from 0, and then tells its gradient."""

    kernel, gradient_kernel = _core.leaky_relu, _core.leaky_relu_backward
    saves_output = True
    takes_blocks = True


class SteepLeakyRelu(LeakyRelu):
    """A negative slope folds both sides together: the argument must be kept."""

    saves_output = False

    @classmethod
    def name(cls) -> str:
        return "LeakyReluBackward0"


class PRelu(Primitive):
    @classmethod
    def name(cls) -> str:
        return "PreluKernelBackward0"

    def forward(self, a: Tensor, weight: Tensor) -> Array:
        self.save(a, weight)
        x, factor = np.atleast_1d(a._array), self._spread(a._array, weight._array)
        with quiet():
            return special.select(x > 0, x, x * factor).reshape(a._array.shape)

    @staticmethod
    def _spread(x: Array, weight: Array) -> Array:
        """Return the weight shaped to multiply [n, c, ...]."""
        return weight.reshape(()) if weight.size == 1 else weight.reshape(-1, *(1,) * (x.ndim - 2))

    def backward(self, grad: Array) -> tuple[Array | None, Array | None]:
        x, weight = self.saved
        need_input, need_weight = self.needs_input_grad
        factor, shape = self._spread(x, weight), grad.shape
        x, grad = np.atleast_1d(x), np.atleast_1d(grad)
        diff_input = diff_weight = None
        with quiet():
            if need_input:
                diff_input = special.select(x > 0, grad, grad * factor).reshape(shape)
            if need_weight:
                each = special.kept(~(x > 0), grad * x)
                diff_weight = sum_to(each, factor.shape, x.dtype).reshape(weight.shape)
        return diff_input, diff_weight


class Hardsigmoid(Native):
    kernel, gradient_kernel = _core.hardsigmoid, _core.hardsigmoid_backward


class Hardswish(Native):
    takes_blocks = True
    kernel, gradient_kernel = _core.hardswish, _core.hardswish_backward


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """Return ``min(max(input, 0), 6)``.

    Parameters
    ----------
    input : Tensor
        float32, float64 or int64.
    inplace : bool
        Change `input` itself.

    Raises
    ------
    TypeError
        For masks and anything that is no tensor.

    References
    ----------
    Howard et al., "MobileNets", 2017.
    """
    return _clipped(Relu6, "relu6", input, 0, 6, inplace)


def hardtanh(
    input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Tensor:
    """Return `input` limited to [`min_val`, `max_val`]; the gradient is 0 at the limits too.

    Parameters
    ----------
    input : Tensor
        float32, float64, or int64, whose limits are rounded towards 0.
    min_val, max_val : float
    inplace : bool
        Change `input` itself.

    Raises
    ------
    TypeError, ValueError
        For masks and anything that is no tensor; when `min_val` is above `max_val`.
    """
    low, high = number(min_val, "hardtanh", "min_val"), number(max_val, "hardtanh", "max_val")
    if low > high:
        raise OperationError(
            f"hardtanh: min_val must not be above max_val, but got {min_val} and {max_val}"
        )
    return _clipped(Hardtanh, "hardtanh", input, low, high, inplace)


def hardtanh_(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """Limit `input` in place and return it; see :func:`hardtanh`."""
    return hardtanh(input, min_val, max_val, inplace=True)


def _clipped(
    operation: type[Primitive], name: str, input: Any, low: float, high: float, inplace: bool
) -> Tensor:
    kind = form_of(input, name).dtype.kind
    if kind == "f":
        return (operation.apply_ if inplace else operation.apply)(input, low, high)
    if kind == "i":
        clamp = input.clamp_ if inplace else input.clamp
        return clamp(int(low), int(high))
    return applied(operation, name, input, inplace, low, high)  # which refuses it


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """Return `input`, with negative elements times `negative_slope`.

    Parameters
    ----------
    input : Tensor
        float32 or float64.
    negative_slope : float
    inplace : bool
        Change `input` itself.

    Raises
    ------
    TypeError
        For anything else than a floating tensor.

    References
    ----------
    Maas et al., "Rectifier Nonlinearities Improve Neural Network Acoustic Models", 2013.
    """
    slope = number(negative_slope, "leaky_relu", "negative_slope")
    kind = LeakyRelu if slope >= 0 else SteepLeakyRelu
    return applied(kind, "leaky_relu", input, inplace, slope)


def leaky_relu_(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """Scale negative elements of `input` in place and return it; see :func:`leaky_relu`."""
    return leaky_relu(input, negative_slope, inplace=True)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """Return `input`, with negative elements times a learnt weight.

    Parameters
    ----------
    input : Tensor
        [n, c, ...] or any other shape; float32 or float64.
    weight : Tensor
        One number for all, or [c]; of the type of `input`.

    Raises
    ------
    TypeError, ValueError
        For other types, or a weight that does not fit.

    References
    ----------
    He et al., "Delving Deep into Rectifiers", 2015.
    """
    same_type("prelu", input=input, weight=weight)
    x, factors = input._array, weight._array
    channels = x.shape[1] if x.ndim > 1 else 1
    if factors.ndim > 1 or factors.size not in (1, channels):
        raise OperationError(
            f"prelu: weight must hold 1 number or {channels}, one per channel of input, but has "
            f"shape {list(factors.shape)}"
        )
    return PRelu.apply(input, weight)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """Return ``relu6(input + 3) / 6``, a sigmoid of straight lines."""
    return applied(Hardsigmoid, "hardsigmoid", input, inplace)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """Return ``input * relu6(input + 3) / 6``.

    Parameters
    ----------
    input : Tensor
        float32 or float64.
    inplace : bool
        Change `input` itself.

    Raises
    ------
    TypeError
        For anything else than a floating tensor.

    References
    ----------
    Howard et al., "Searching for MobileNetV3", 2019.
    """
    return applied(Hardswish, "hardswish", input, inplace)
