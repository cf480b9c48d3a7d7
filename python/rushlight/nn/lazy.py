"""Layers that learn the number of their inputs from the first one."""

from __future__ import annotations

from typing import Any, ClassVar

from rushlight.autograd import no_grad
from rushlight.autograd.hooks import RemovableHandle
from rushlight.dtypes import dtype as DType
from rushlight.nn.batchnorm import BatchNorm1d, BatchNorm2d, _BatchNorm
from rushlight.nn.conv import Conv1d, Conv2d, IntOne, IntPair, _ConvNd
from rushlight.nn.linear import Linear
from rushlight.nn.module import Module
from rushlight.nn.parameter import UninitializedBuffer, UninitializedParameter, is_lazy
from rushlight.tensor import Tensor

__all__ = ["LazyBatchNorm1d", "LazyBatchNorm2d", "LazyConv1d", "LazyConv2d", "LazyLinear"]


class LazyModuleMixin(Module):
    """For modules with parameters whose shapes the first input decides; put before the base class.

    A subclass registers :class:`UninitializedParameter` and :class:`UninitializedBuffer`, and gives
    them shapes in :meth:`initialize_parameters`. After the first call, the module turns into an
    instance of `cls_to_become`, if there is one.
    """

    cls_to_become: ClassVar[type[Module] | None] = None
    _initialize_hook: RemovableHandle

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._initialize_hook = self.register_forward_pre_hook(
            self._infer_parameters, with_kwargs=True
        )

    def has_uninitialized_params(self) -> bool:
        """Return whether a parameter or buffer of this module has no shape yet."""
        return any(map(is_lazy, (*self._parameters.values(), *self._buffers.values())))

    def initialize_parameters(self, *args: Any, **kwargs: Any) -> None:
        """Give parameters and buffers their shapes, from the arguments of ``forward``."""
        raise NotImplementedError(
            f"initialize_parameters is not implemented for {type(self).__name__}"
        )

    def _infer_parameters(self, module: Module, args: Any, kwargs: Any) -> None:
        """Run before the first forward, and never again."""
        self.initialize_parameters(*args, **kwargs)
        if self.has_uninitialized_params():
            raise RuntimeError(
                f"{type(self).__name__}: initialize_parameters left some without a shape"
            )
        self._initialize_hook.remove()
        del self._initialize_hook
        if self.cls_to_become is not None:
            self.__class__ = self.cls_to_become  # type: ignore[assignment]  # it changes its kind


class _LazyLayer(LazyModuleMixin):
    """A layer of this package made lazy: one number is read from the input, or what was loaded."""

    @staticmethod
    def _new_parameter(shape: tuple[int, ...], dtype: DType | None) -> UninitializedParameter:
        return UninitializedParameter(dtype=dtype)

    @staticmethod
    def _new_buffer(shape: tuple[int, ...], dtype: DType | None) -> UninitializedBuffer:
        return UninitializedBuffer(dtype=dtype)

    def reset_parameters(self) -> None:
        """Return to initial values, once there are shapes."""
        if not self.has_uninitialized_params():
            super().reset_parameters()  # type: ignore[misc]  # that of the layer

    def initialize_parameters(self, input: Tensor) -> None:
        """Read the size from `input`, give shapes to what has none, and initial values."""
        self._read_size(input)
        if not self.has_uninitialized_params():
            return
        tensors = self._parameters | self._buffers
        # What a state dict brought is not to be lost to new initial values.
        loaded = [
            (each, each.detach().clone())
            for each in tensors.values()
            if each is not None and not is_lazy(each)
        ]
        for name, each in tensors.items():
            if isinstance(each, (UninitializedParameter, UninitializedBuffer)):
                each.materialize(self._shape_of(name))
        self.reset_parameters()
        with no_grad():
            for each, values in loaded:
                each.copy_(values)

    def _read_size(self, input: Tensor) -> None:
        raise NotImplementedError

    def _shape_of(self, name: str) -> tuple[int, ...]:
        raise NotImplementedError


class LazyLinear(_LazyLayer, Linear):
    """A :class:`Linear` that takes `in_features` from its first input.

    Parameters
    ----------
    out_features : int
        Size of the last dimension of the output.
    bias, device, dtype
        As in :class:`Linear`.
    """

    cls_to_become = Linear

    def __init__(
        self, out_features: int, bias: bool = True, device: Any = None, dtype: DType | None = None
    ) -> None:
        super().__init__(0, out_features, bias, device, dtype)

    def _read_size(self, input: Tensor) -> None:
        self.in_features = input.shape[-1] if is_lazy(self.weight) else self.weight.shape[1]

    def _shape_of(self, name: str) -> tuple[int, ...]:
        return self._shapes()[name == "bias"]


class _LazyConv(_LazyLayer, _ConvNd):
    """A convolution that takes `in_channels` from its first input."""

    def _read_size(self, input: Tensor) -> None:
        if is_lazy(self.weight):
            if input.dim() not in (self._ndim + 1, self._ndim + 2):
                raise ValueError(
                    f"{type(self).__name__}: input must have {self._ndim + 1} or {self._ndim + 2} "
                    f"dimensions, but has shape {list(input.shape)}"
                )
            self.in_channels = input.shape[-self._ndim - 1]
            self._check_groups()
        else:
            self.in_channels = self.weight.shape[1] * self.groups

    def _shape_of(self, name: str) -> tuple[int, ...]:
        return self._shapes()[name == "bias"]


class LazyConv2d(_LazyConv, Conv2d):
    """A :class:`Conv2d` that takes `in_channels` from its first input.

    Parameters
    ----------
    out_channels : int
        Channels of the output.
    kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype
        As in :class:`Conv2d`.
    """

    cls_to_become = Conv2d

    def __init__(
        self,
        out_channels: int,
        kernel_size: IntPair,
        stride: IntPair = 1,
        padding: IntPair | str = 0,
        dilation: IntPair = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__(
            0,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )


class LazyConv1d(_LazyConv, Conv1d):
    """A :class:`Conv1d` that takes `in_channels` from its first input; see :class:`LazyConv2d`."""

    cls_to_become = Conv1d

    def __init__(
        self,
        out_channels: int,
        kernel_size: IntOne,
        stride: IntOne = 1,
        padding: IntOne | str = 0,
        dilation: IntOne = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__(
            0,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )


class _LazyBatchNorm(_LazyLayer, _BatchNorm):
    """A batch normalisation that takes `num_features` from its first input."""

    def __init__(
        self,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: DType | None = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(0, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    def _read_size(self, input: Tensor) -> None:
        self._check_input_dim(input)
        tensors = (self.weight, self.bias, self.running_mean, self.running_var)
        known = [each.shape[0] for each in tensors if each is not None and not is_lazy(each)]
        self.num_features = known[0] if known else input.shape[1]

    def _shape_of(self, name: str) -> tuple[int, ...]:
        return (self.num_features,)


class LazyBatchNorm2d(_LazyBatchNorm, BatchNorm2d):
    """A :class:`BatchNorm2d` that takes `num_features` from its first input.

    Parameters
    ----------
    eps, momentum, affine, track_running_stats, device, dtype, bias
        As in :class:`BatchNorm2d`.
    """

    cls_to_become = BatchNorm2d


class LazyBatchNorm1d(_LazyBatchNorm, BatchNorm1d):
    """A :class:`BatchNorm1d` that takes `num_features` from its first input."""

    cls_to_become = BatchNorm1d
