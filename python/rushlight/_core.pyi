"""C++ kernels: float32 and float64 arrays in, new C-contiguous 64-byte aligned arrays out."""

from collections.abc import Sequence
from typing import Any, Literal, Protocol, TypeAlias

import numpy
from numpy.typing import NDArray

_Array: TypeAlias = NDArray[Any]
_Indices: TypeAlias = NDArray[numpy.int64]
_Operand: TypeAlias = _Array | Blocked | bool | int | float
_Pair: TypeAlias = tuple[int, int]
_Gradients: TypeAlias = tuple[_Array | None, _Array | None, _Array | None]
_Images: TypeAlias = _Array | Blocked
_ImageGradients: TypeAlias = tuple[_Images | None, _Array | None, _Array | None]
_Reduction: TypeAlias = Literal["none", "mean", "sum"]

class OperationError(ValueError, RuntimeError): ...

# config
def isa() -> str: ...
def isas() -> list[str]: ...
def isa_probe() -> dict[str, object]: ...
def set_isa(name: str) -> None: ...
def get_num_threads() -> int: ...
def set_num_threads(n: int) -> None: ...
def pool_stats() -> dict[str, int]: ...
def empty_cache() -> None: ...
def build_info() -> dict[str, str]: ...
def empty(shape: Sequence[int], dtype: numpy.dtype[Any], operation: str = ...) -> _Array: ...

# weight cache
class WeightCache:
    """The prepared forms of one weight, as conv2d and linear read it."""

def weight_cache_stats() -> dict[str, int]: ...
def set_weight_cache_limit(limit: int) -> None: ...

# images in blocks; `layout` of conv2d allows them (0: never, 1: of such or few channels, 2: of all)
class Blocked:
    """Images [n, c, h, w] in blocks of channels; lanes without a channel are zero."""

    def __init__(self, src: _Array) -> None: ...
    @property
    def array(self) -> _Array: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> numpy.dtype[Any]: ...
    @property
    def ndim(self) -> int: ...
    def copy(self) -> Blocked: ...
    def plain(self) -> _Array: ...
    def shared_plain(self) -> _Array: ...

def join_blocks(parts: Sequence[Blocked | None]) -> Blocked | None: ...

# arithmetic: NotImplemented where it is left to NumPy
def add(a: _Operand, b: _Operand, out: _Images | None = None) -> Any: ...
def sub(a: _Operand, b: _Operand, out: _Images | None = None) -> Any: ...
def mul(a: _Operand, b: _Operand, out: _Images | None = None) -> Any: ...
def div(a: _Operand, b: _Operand, out: _Images | None = None) -> Any: ...
def expand(src: _Array, shape: Sequence[int]) -> _Array: ...

# summation
def sum(src: _Array, dims: Sequence[int] | None, keepdim: bool, divisor: float) -> _Array: ...

# relu
def relu(src: _Images) -> _Images: ...
def relu_(src: _Images) -> None: ...
def relu_backward(dst: _Images, diff_dst: _Images) -> _Images: ...

# pointwise: functions of each element with settings a and b, written to `out` where it can be
class _Pointwise(Protocol):
    def __call__(
        self, src: _Images, out: _Images | None = None, a: float = 0.0, b: float = 0.0
    ) -> _Images: ...

class _PointwiseBackward(Protocol):
    def __call__(
        self, at: _Images, diff_dst: _Images, a: float = 0.0, b: float = 0.0
    ) -> _Images: ...

elu: _Pointwise
elu_backward: _PointwiseBackward

def exp(src: _Array, out: _Array | None = None) -> _Array: ...
def exp_backward(at: _Array, diff_dst: _Array) -> _Array: ...

gelu: _Pointwise
gelu_backward: _PointwiseBackward
gelu_tanh: _Pointwise
gelu_tanh_backward: _PointwiseBackward
hardsigmoid: _Pointwise
hardsigmoid_backward: _PointwiseBackward
hardswish: _Pointwise
hardswish_backward: _PointwiseBackward
hardtanh: _Pointwise
hardtanh_backward: _PointwiseBackward
leaky_relu: _Pointwise
leaky_relu_backward: _PointwiseBackward
sigmoid: _Pointwise
sigmoid_backward: _PointwiseBackward
silu: _Pointwise
silu_backward: _PointwiseBackward
tanh: _Pointwise
tanh_backward: _PointwiseBackward

# matmul
def matmul(a: _Array, b: _Array) -> _Array: ...

# linear
def linear(
    src: _Array,
    weight: _Array,
    bias: _Array | None,
    cache: WeightCache | None = None,
    version: int = 0,
    scale: _Array | None = None,
    residual: _Array | None = None,
    clamp: tuple[float, float] | None = None,
) -> _Array: ...
def linear_backward(
    src: _Array,
    weight: _Array,
    diff_dst: _Array,
    need_src: bool,
    need_weight: bool,
    need_bias: bool,
) -> _Gradients: ...

# conv2d and batch_norm
def conv_algorithms() -> list[str]: ...
def set_conv_algorithm(name: str | None) -> None: ...
def conv2d_algorithm(
    src_shape: Sequence[int],
    weight_shape: Sequence[int],
    stride: _Pair,
    padding: _Pair,
    dilation: _Pair,
    groups: int,
    dtype: numpy.dtype[Any],
) -> str: ...
def get_winograd() -> bool: ...
def set_winograd(enabled: bool) -> None: ...
def conv2d(
    src: _Images,
    weight: _Array,
    bias: _Array | None,
    stride: _Pair,
    padding: _Pair,
    dilation: _Pair,
    groups: int,
    cache: WeightCache | None = None,
    version: int = 0,
    scale: _Array | None = None,
    residual: _Array | None = None,
    clamp: tuple[float, float] | None = None,
    layout: int = 0,
) -> _Images: ...
def conv2d_backward(
    src: _Images,
    weight: _Array,
    diff_dst: _Images,
    stride: _Pair,
    padding: _Pair,
    dilation: _Pair,
    groups: int,
    need_src: bool,
    need_weight: bool,
    need_bias: bool,
) -> _ImageGradients: ...
def batch_norm_train(
    src: _Images,
    weight: _Array | None,
    bias: _Array | None,
    running_mean: _Array | None,
    running_var: _Array | None,
    momentum: float,
    eps: float,
    clamp: tuple[float, float] | None = None,
) -> tuple[_Images, _Array, _Array]: ...
def batch_norm_eval(
    src: _Images,
    weight: _Array | None,
    bias: _Array | None,
    running_mean: _Array,
    running_var: _Array,
    eps: float,
    clamp: tuple[float, float] | None = None,
) -> tuple[_Images, _Array, _Array]: ...
def batch_norm_factors(
    weight: _Array | None,
    bias: _Array | None,
    running_mean: _Array,
    running_var: _Array,
    eps: float,
) -> tuple[_Array, _Array]: ...
def batch_norm_backward(
    src: _Images,
    weight: _Array | None,
    mean: _Array,
    rstd: _Array,
    diff_dst: _Images,
    training: bool,
    need_src: bool,
    need_weight: bool,
    need_bias: bool,
    bias: _Array | None = None,
    clamp: tuple[float, float] | None = None,
) -> _ImageGradients: ...

# pooling: geometry is kernel_size, stride, padding, dilation and ceil_mode of the maximum, and
# kernel_size, stride, padding, ceil_mode, count_include_pad and divisor_override of the mean
def max_pool2d(src: _Array, *geometry: Any) -> tuple[_Array, _Indices]: ...
def max_pool2d_backward(
    diff_dst: _Array, indices: _Indices, src_shape: Sequence[int]
) -> _Array: ...
def max_pool2d_blocked(src: Blocked, *geometry: Any) -> Blocked: ...
def max_pool2d_blocked_backward(
    src: Blocked, dst: Blocked, diff_dst: _Images, *geometry: Any
) -> Blocked: ...
def avg_pool2d(src: _Array, *geometry: Any) -> _Array: ...
def avg_pool2d_backward(diff_dst: _Array, src_shape: Sequence[int], *geometry: Any) -> _Array: ...
def adaptive_avg_pool2d(src: _Array, output_size: _Pair) -> _Array: ...
def adaptive_avg_pool2d_backward(diff_dst: _Array, src_shape: Sequence[int]) -> _Array: ...
def adaptive_max_pool2d(src: _Array, output_size: _Pair) -> tuple[_Array, _Indices]: ...
def global_mean(src: Blocked) -> _Array: ...
def global_mean_backward(diff_dst: _Array, src_shape: Sequence[int]) -> Blocked: ...

# probe: yardsticks of the benchmarks
def probe_multiply_adds(count: int) -> None: ...
def probe_copy(src: _Array) -> _Array: ...
def probe_read(src: _Array) -> None: ...

# loss
def log_softmax(src: _Array, dim: int) -> _Array: ...
def log_softmax_backward(dst: _Array, diff_dst: _Array, dim: int) -> _Array: ...
def nll_loss(
    src: _Array, target: _Indices, weight: _Array | None, ignore_index: int, reduction: _Reduction
) -> tuple[_Array, float]: ...
def nll_loss_backward(
    diff_dst: _Array,
    target: _Indices,
    weight: _Array | None,
    ignore_index: int,
    reduction: _Reduction,
    total_weight: float,
    src_shape: Sequence[int],
) -> _Array: ...

# optim
def sgd_step(
    params: list[_Array],
    grads: list[_Array],
    momentum_buffers: list[_Array] | None,
    fresh: list[bool],
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    maximize: bool,
) -> None: ...
def adam_step(
    params: list[_Array],
    grads: list[_Array],
    exp_avgs: list[_Array],
    exp_avg_sqs: list[_Array],
    max_exp_avg_sqs: list[_Array] | None,
    steps: list[_Array],
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
    maximize: bool,
) -> None: ...
def rmsprop_step(
    params: list[_Array],
    grads: list[_Array],
    square_avgs: list[_Array],
    grad_avgs: list[_Array] | None,
    momentum_buffers: list[_Array] | None,
    steps: list[_Array],
    lr: float,
    alpha: float,
    eps: float,
    weight_decay: float,
    momentum: float,
    maximize: bool,
) -> None: ...
def adagrad_step(
    params: list[_Array],
    grads: list[_Array],
    sums: list[_Array],
    steps: list[_Array],
    lr: float,
    lr_decay: float,
    eps: float,
    weight_decay: float,
    maximize: bool,
) -> None: ...
def adadelta_step(
    params: list[_Array],
    grads: list[_Array],
    square_avgs: list[_Array],
    acc_deltas: list[_Array],
    steps: list[_Array],
    lr: float,
    rho: float,
    eps: float,
    weight_decay: float,
    maximize: bool,
) -> None: ...

# plans: a place is (kind, index, byte offset) in the arena (1), an input (2) or an output (3), or
# an array that is kept; steps and sizes are in elements
_PlanValue: TypeAlias = tuple[Sequence[int], _DType]
_Place: TypeAlias = tuple[int, int, int] | _Array
_Epilogue: TypeAlias = tuple[
    _Array | None, _Array | None, _Place | None, tuple[float, float] | None
]
# steps on blocks take a function and its settings in the place of the clamp too
_BlockedEpilogue: TypeAlias = (
    _Epilogue | tuple[_Array | None, _Array | None, _Place | None, tuple[str, float, float]]
)
_DType: TypeAlias = numpy.dtype[Any]

def channel_block(dtype: _DType) -> int: ...
def blocked_conv2d_algorithm(
    src_shape: Sequence[int],
    weight_shape: Sequence[int],
    stride: _Pair,
    padding: _Pair,
    dilation: _Pair,
    groups: int,
    dtype: _DType,
    src_blocked: bool,
) -> str | None: ...
def blocked_pairs(first: tuple[Any, ...], second: tuple[Any, ...], dtype: _DType) -> bool: ...

class PlanWeights:
    """The weights of a compiled net as kernels read them, shared by its plans."""

    def __init__(self) -> None: ...
    @property
    def bytes(self) -> int: ...

class Plan:
    """A list of steps that one call runs on an arena of its own."""

    def __init__(
        self, arena_bytes: int, inputs: Sequence[_PlanValue], outputs: Sequence[_PlanValue]
    ) -> None: ...
    @property
    def steps(self) -> int: ...
    @property
    def arena_bytes(self) -> int: ...
    @property
    def workspace_bytes(self) -> int: ...
    def conv2d(
        self,
        dst: _Place,
        src: _Place,
        src_shape: Sequence[int],
        weight: _Array,
        stride: _Pair,
        padding: _Pair,
        dilation: _Pair,
        groups: int,
        epilogue: _Epilogue,
        weights: PlanWeights,
        name: str,
    ) -> None: ...
    def linear(
        self,
        dst: _Place,
        src: _Place,
        rows: int,
        weight: _Array,
        epilogue: _Epilogue,
        weights: PlanWeights,
        name: str,
    ) -> None: ...
    def affine(
        self, dst: _Place, src: _Place, shape: Sequence[int], dtype: _DType, epilogue: _Epilogue
    ) -> None: ...
    def pointwise(
        self, name: str, dst: _Place, src: _Place, count: int, dtype: _DType, a: float, b: float
    ) -> None: ...
    def binary(
        self,
        name: str,
        dst: _Place,
        a: _Place,
        b: _Place,
        sizes: Sequence[int],
        a_steps: Sequence[int],
        b_steps: Sequence[int],
        dtype: _DType,
    ) -> None: ...
    def pool(
        self,
        kind: str,
        dst: _Place,
        src: _Place,
        src_shape: Sequence[int],
        dst_plane: Sequence[int],
        windows: Sequence[int],
        count_include_pad: bool,
        divisor: int,
        dtype: _DType,
    ) -> None: ...
    def log_softmax(
        self, dst: _Place, src: _Place, shape: Sequence[int], dtype: _DType
    ) -> None: ...
    def matmul(
        self, dst: _Place, a: _Place, b: _Place, sizes: Sequence[int], dtype: _DType
    ) -> None: ...
    def copy(
        self,
        dst: _Place,
        src: _Place,
        sizes: Sequence[int],
        src_steps: Sequence[int],
        dst_steps: Sequence[int],
        dtype: _DType,
    ) -> None: ...
    def fill(self, dst: _Place, count: int, value: float, dtype: _DType) -> None: ...

    # on images in blocks of channels
    def blocked_conv2d(
        self,
        dst: _Place,
        src: _Place,
        src_shape: Sequence[int],
        weight: _Array,
        stride: _Pair,
        padding: _Pair,
        dilation: _Pair,
        groups: int,
        epilogue: _BlockedEpilogue,
        weights: PlanWeights,
        name: str,
        src_blocked: bool,
    ) -> None: ...
    def blocked_pair(
        self,
        dst: _Place,
        src: _Place,
        src_shape: Sequence[int],
        first: tuple[Any, ...],
        second: tuple[Any, ...],
        weights: PlanWeights,
    ) -> None: ...
    def blocked_pool(
        self,
        kind: Literal["max", "avg"],
        dst: _Place,
        src: _Place,
        src_shape: Sequence[int],
        dst_plane: Sequence[int],
        windows: Sequence[int],
        count_include_pad: bool,
        divisor: int,
        dtype: _DType,
    ) -> None: ...
    def reorder(
        self,
        kind: Literal["to_blocked", "to_plain", "mean"],
        dst: _Place,
        src: _Place,
        shape: Sequence[int],
        dtype: _DType,
    ) -> None: ...
    def blocked_affine(
        self,
        dst: _Place,
        src: _Place,
        shape: Sequence[int],
        dtype: _DType,
        epilogue: _BlockedEpilogue,
    ) -> None: ...
    def run(
        self, inputs: Sequence[_Array], out: Sequence[_Array] | None = None
    ) -> list[_Array]: ...
    def run_again(self, input: _Array) -> _Array | None: ...
    def times(self) -> list[float]: ...
