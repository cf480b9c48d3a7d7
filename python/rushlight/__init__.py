"""Rushlight: a small CPU engine with the module system of ``torch.nn``."""

from rushlight import autograd, backends, data, nn, ops, optim
from rushlight.autograd import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
)
from rushlight.config import (
    __version__,
    empty_cache,
    get_num_threads,
    set_num_threads,
    show_config,
)
from rushlight.dtypes import Size, bool_, dtype, float32, float64, int64
from rushlight.formatting import set_printoptions
from rushlight.nn.summary import summary
from rushlight.ops import *
from rushlight.serialization import load, save
from rushlight.tensor import Tensor, device

# The function, which the module of the same name hid when it was imported above.
tensor = ops.tensor

# PyTorch's short names of the element types.
float = float32
double = float64
long = int64
bool = bool_
