"""Activation layers."""

from __future__ import annotations

from typing import Any

from rushlight.dtypes import dtype as DType
from rushlight.nn import functional as F
from rushlight.nn import init as initial
from rushlight.nn.checks import at_least, check_device
from rushlight.nn.module import Module
from rushlight.nn.parameter import Parameter, filled
from rushlight.nn.slots import parameter_slot
from rushlight.ops import relu, relu_
from rushlight.tensor import Tensor

__all__ = [
    "ELU",
    "GELU",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "LeakyReLU",
    "LogSigmoid",
    "LogSoftmax",
    "PReLU",
    "ReLU",
    "ReLU6",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Softsign",
    "Tanh",
]


class ReLU(Module):
    """``max(input, 0)``; `inplace` changes the input itself."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Map any shape to itself."""
        # Without the call of F.relu between: on small inputs it would show.
        return relu_(input) if self.inplace else relu(input)

    def extra_repr(self) -> str:
        """Return `inplace` where it is set."""
        return "inplace=True" if self.inplace else ""


class Hardtanh(Module):
    """The input, limited to [`min_val`, `max_val`].

    Parameters
    ----------
    min_val, max_val : float
        The limits.
    inplace : bool
        Change the input itself.

    Raises
    ------
    ValueError
        When `min_val` is not below `max_val`.
    """

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        if not min_val < max_val:
            raise ValueError(
                f"{type(self).__name__}: max_val must be above min_val, but got "
                f"min_val={min_val} and max_val={max_val}"
            )
        self.min_val = min_val
        self.max_val = max_val
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Map any shape to itself."""
        return F.hardtanh(input, self.min_val, self.max_val, self.inplace)

    def extra_repr(self) -> str:
        """Return the limits."""
        return _with_inplace(f"min_val={self.min_val}, max_val={self.max_val}", self.inplace)


class ReLU6(Hardtanh):
    """``min(max(input, 0), 6)``; `inplace` changes the input itself."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(0.0, 6.0, inplace)

    def forward(self, input: Tensor) -> Tensor:
        """Map any shape to itself."""
        return F.relu6(input, self.inplace)

    def extra_repr(self) -> str:
        """Return `inplace` where it is set."""
        return "inplace=True" if self.inplace else ""


class LeakyReLU(Module):
    """The input, with negative elements times `negative_slope`.

    Parameters
    ----------
    negative_slope : float
    inplace : bool
        Change the input itself.
    """

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope = negative_slope
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Map any shape to itself."""
        return F.leaky_relu(input, self.negative_slope, self.inplace)

    def extra_repr(self) -> str:
        """Return the slope."""
        return _with_inplace(f"negative_slope={self.negative_slope}", self.inplace)


class PReLU(Module):
    """The input, with negative elements times a learned slope.

    Parameters
    ----------
    num_parameters : int
        1 for one slope, or the number of channels for one each.
    init : float
        The slopes at first.
    device : optional
        Must be the CPU.
    dtype : dtype, optional
        float32 by default.

    Attributes
    ----------
    weight : Parameter
        [num_parameters].

    Raises
    ------
    TypeError, ValueError
        When `num_parameters` is no integer, or below 1.

    References
    ----------
    He et al., "Delving Deep into Rectifiers", 2015.
    """

    weight: Parameter = parameter_slot()

    def __init__(
        self,
        num_parameters: int = 1,
        init: float = 0.25,
        device: Any = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        check_device(device)
        self.num_parameters = at_least(1, num_parameters, "PReLU", "num_parameters")
        self.init = init
        self.weight = filled((self.num_parameters,), dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Return to the initial slopes."""
        initial.constant_(self.weight, self.init)

    def forward(self, input: Tensor) -> Tensor:
        """Map [n, num_parameters, ...] to itself; any shape with one slope."""
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        """Return the number of slopes."""
        return f"num_parameters={self.num_parameters}"


class ELU(Module):
    """The input above 0, ``alpha * (exp(input) - 1)`` below.

    Parameters
    ----------
    alpha : float
        What the result tends to far below 0, with its sign changed.
    inplace : bool
        Change the input itself.
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Map any shape to itself."""
        return F.elu(input, self.alpha, self.inplace)

    def extra_repr(self) -> str:
        """Return alpha."""
        return _with_inplace(f"alpha={self.alpha}", self.inplace)


class GELU(Module):
    """The input times the probability that a standard normal variable is below it.

    Parameters
    ----------
    approximate : {"none", "tanh"}
        The exact function, or its approximation by a hyperbolic tangent.

    Raises
    ------
    ValueError
        For another approximation.
    """

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        if approximate not in ("none", "tanh"):
            raise ValueError(f"GELU: approximate must be 'none' or 'tanh', got {approximate!r}")
        self.approximate = approximate

    def forward(self, input: Tensor) -> Tensor:
        """Map any shape to itself."""
        return F.gelu(input, self.approximate)

    def extra_repr(self) -> str:
        """Return the approximation."""
        return f"approximate={self.approximate!r}"


class SiLU(Module):
    """``input * sigmoid(input)``; `inplace` changes the input itself."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Map any shape to itself."""
        return F.silu(input, self.inplace)

    def extra_repr(self) -> str:
        """Return `inplace` where it is set."""
        return "inplace=True" if self.inplace else ""


class Hardswish(Module):
    """``input * relu6(input + 3) / 6``; `inplace` changes the input itself."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Map any shape to itself."""
        return F.hardswish(input, self.inplace)


class Hardsigmoid(Module):
    """``relu6(input + 3) / 6``; `inplace` changes the input itself."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Map any shape to itself."""
        return F.hardsigmoid(input, self.inplace)


class Softplus(Module):
    """``log(1 + exp(beta * input)) / beta``, a smooth relu.

    Parameters
    ----------
    beta : float
        Sharpness of the bend, not 0.
    threshold : float
        Above ``beta * input`` of this, the result is the input itself.

    Raises
    ------
    ValueError
        When `beta` is 0.
    """

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        if beta == 0:
            raise ValueError("Softplus: beta must not be 0")
        self.beta = beta
        self.threshold = threshold

    def forward(self, input: Tensor) -> Tensor:
        """Map any shape to itself."""
        return F.softplus(input, self.beta, self.threshold)

    def extra_repr(self) -> str:
        """Return the arguments."""
        return f"beta={self.beta}, threshold={self.threshold}"


class Sigmoid(Module):
    """``1 / (1 + exp(-input))``."""

    def forward(self, input: Tensor) -> Tensor:
        """Map any shape to itself."""
        return F.sigmoid(input)


class LogSigmoid(Module):
    """The logarithm of :class:`Sigmoid`, without overflow."""

    def forward(self, input: Tensor) -> Tensor:
        """Map any shape to itself."""
        return F.logsigmoid(input)


class Softsign(Module):
    """``input / (1 + abs(input))``."""

    def forward(self, input: Tensor) -> Tensor:
        """Map any shape to itself."""
        return F.softsign(input)


class Tanh(Module):
    """The hyperbolic tangent."""

    def forward(self, input: Tensor) -> Tensor:
        """Map any shape to itself."""
        return F.tanh(input)


class Softmax(Module):
    """Exponentials divided by their sum along `dim`."""

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        """Map any shape to itself."""
        return F.softmax(input, self.dim, _stacklevel=5)

    def extra_repr(self) -> str:
        """Return the dimension."""
        return f"dim={self.dim}"


class LogSoftmax(Module):
    """The logarithm of :class:`Softmax`, without overflow."""

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        """Map any shape to itself."""
        return F.log_softmax(input, self.dim, _stacklevel=5)

    def extra_repr(self) -> str:
        """Return the dimension."""
        return f"dim={self.dim}"


def _with_inplace(text: str, inplace: bool) -> str:
    return f"{text}, inplace=True" if inplace else text
