"""What several nets are made of: the parts that torchvision keeps in ``torchvision.ops``."""

from __future__ import annotations

from collections.abc import Callable

from rushlight import nn
from rushlight.tensor import Tensor

__all__ = [
    "Conv2dNormActivation",
    "SqueezeExcitation",
    "StochasticDepth",
    "he_normal_",
    "in_turn",
    "initialise",
    "make_divisible",
    "small_normal_",
]


def in_turn(x: Tensor, *modules: nn.Module) -> Tensor:
    """Pass `x` through modules in order, as a ``Sequential`` of them does.

    Which knows neighbours that are quicker together, such as a convolution, its batch norm and a
    relu.
    """
    return nn.Sequential.forward(modules, x)  # type: ignore[arg-type]


def make_divisible(value: float, divisor: int = 8, min_value: int | None = None) -> int:
    """Round a number of channels to a multiple of `divisor`, by no more than a tenth downwards.

    Parameters
    ----------
    value : float
        Wanted number of channels.
    divisor : int
        What divides the result.
    min_value : int, optional
        Least result; `divisor` unless given.
    """
    rounded = max(min_value or divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded if rounded >= 0.9 * value else rounded + divisor


class Conv2dNormActivation(nn.Sequential):
    """A convolution, a normalisation and an activation, of which the last two may be missing.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of input and output.
    kernel_size, stride, groups, dilation : int
        Of the convolution.
    padding : int, optional
        What keeps the size at stride 1, unless given.
    norm_layer : callable, optional
        Makes the normalisation of so many channels.
    activation_layer : callable, optional
        Makes the activation.
    inplace : bool
        Let the activation change its input.
    bias : bool, optional
        Whether the convolution has a bias: unless given, where no normalisation follows.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        padding: int | None = None,
        groups: int = 1,
        norm_layer: Callable[..., nn.Module] | None = nn.BatchNorm2d,
        activation_layer: Callable[..., nn.Module] | None = nn.ReLU,
        dilation: int = 1,
        inplace: bool = True,
        bias: bool | None = None,
    ) -> None:
        layers: list[nn.Module] = [
            nn.Conv2d(
                in_channels,
                out_channels,
                kernel_size,
                stride=stride,
                padding=(kernel_size - 1) // 2 * dilation if padding is None else padding,
                dilation=dilation,
                groups=groups,
                bias=norm_layer is None if bias is None else bias,
            )
        ]
        if norm_layer is not None:
            layers.append(norm_layer(out_channels))
        if activation_layer is not None:
            layers.append(activation_layer(inplace=inplace))
        super().__init__(*layers)
        self.out_channels = out_channels


class SqueezeExcitation(nn.Module):
    """Scale each channel by a number between 0 and 1, found from the means of all channels.

    Parameters
    ----------
    input_channels, squeeze_channels : int
        Channels of the input, and between the two 1x1 convolutions.
    activation, scale_activation : callable
        Make what follows the first and the second convolution.

    References
    ----------
    Hu et al., "Squeeze-and-Excitation Networks", 2017 (https://arxiv.org/abs/1709.01507).
    """

    def __init__(
        self,
        input_channels: int,
        squeeze_channels: int,
        activation: Callable[..., nn.Module] = nn.ReLU,
        scale_activation: Callable[..., nn.Module] = nn.Sigmoid,
    ) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(input_channels, squeeze_channels, 1)
        self.fc2 = nn.Conv2d(squeeze_channels, input_channels, 1)
        self.activation = activation()
        self.scale_activation = scale_activation()

    def forward(self, x: Tensor) -> Tensor:
        """Map [n, input_channels, h, w] to itself."""
        squeezed = self.activation(self.fc1(self.avgpool(x)))
        return x * self.scale_activation(self.fc2(squeezed))


class StochasticDepth(nn.Module):
    """In training, zero whole samples at probability `p` and scale the others by ``1 / (1 - p)``.

    Parameters
    ----------
    p : float
        Probability of a zero.
    mode : {"row", "batch"}
        Decide for each sample, or for the batch at once.

    Raises
    ------
    ValueError
        When `p` is not between 0 and 1, or for another mode.

    References
    ----------
    Huang et al., "Deep Networks with Stochastic Depth", 2016 (https://arxiv.org/abs/1603.09382).
    """

    def __init__(self, p: float, mode: str) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"StochasticDepth: p must be between 0 and 1, but got {p}")
        if mode not in ("row", "batch"):
            raise ValueError(f"StochasticDepth: mode must be 'row' or 'batch', but got {mode!r}")
        self.p, self.mode = p, mode

    def forward(self, x: Tensor) -> Tensor:
        """Map [n, ...] to itself."""
        if not self.training or self.p == 0:
            return x
        samples = x.shape[0] if self.mode == "row" else 1
        kept = x.new_empty((samples, *[1] * (x.dim() - 1))).bernoulli_(1 - self.p)
        return x * kept / (1 - self.p) if self.p < 1 else x * kept

    def extra_repr(self) -> str:
        """Return the arguments."""
        return f"p={self.p}, mode={self.mode}"


def initialise(
    model: nn.Module,
    kind: type[nn.Conv2d | nn.Linear],
    fill: Callable[[Tensor], object] = lambda weight: weight,
) -> None:
    """Give the layers of a kind initial values: weights by `fill`, biases of zero.

    Parameters
    ----------
    model : Module
        What contains the layers.
    kind : type
        ``nn.Conv2d`` or ``nn.Linear``.
    fill : callable
        Changes a tensor in place. Unless given, the weights stay as the layer drew them.
    """
    for module in model.modules():
        if isinstance(module, kind):
            fill(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def he_normal_(weight: Tensor) -> Tensor:
    """Fill with normal numbers that keep the variance of gradients on their way back.

    References
    ----------
    He et al., "Delving Deep into Rectifiers", 2015 (https://arxiv.org/abs/1502.01852).
    """
    return nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu")


def small_normal_(weight: Tensor) -> Tensor:
    """Fill with normal numbers of deviation 0.01."""
    return nn.init.normal_(weight, 0, 0.01)
