"""Rushlight: a small CPU engine with the module system of ``torch.nn``."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

# "as" marks what this package exports, for type checkers.
from rushlight import accelerator as accelerator
from rushlight import autograd as autograd
from rushlight import backends as backends
from rushlight import cuda as cuda
from rushlight import data as data
from rushlight import jit as jit
from rushlight import nn as nn
from rushlight import ops as ops
from rushlight import optim as optim
from rushlight import utils as utils
from rushlight.autograd import enable_grad as enable_grad
from rushlight.autograd import inference_mode as inference_mode
from rushlight.autograd import is_grad_enabled as is_grad_enabled
from rushlight.autograd import no_grad as no_grad
from rushlight.autograd import set_grad_enabled as set_grad_enabled
from rushlight.config import __version__ as __version__
from rushlight.config import empty_cache as empty_cache
from rushlight.config import get_num_threads as get_num_threads
from rushlight.config import set_num_threads as set_num_threads
from rushlight.config import show_config as show_config
from rushlight.dtypes import Size as Size
from rushlight.dtypes import bool_ as bool_
from rushlight.dtypes import channels_last as channels_last
from rushlight.dtypes import contiguous_format as contiguous_format
from rushlight.dtypes import device as device
from rushlight.dtypes import dtype as dtype
from rushlight.dtypes import float32 as float32
from rushlight.dtypes import float64 as float64
from rushlight.dtypes import int64 as int64
from rushlight.dtypes import memory_format as memory_format
from rushlight.dtypes import preserve_format as preserve_format
from rushlight.errors import OperationError as OperationError
from rushlight.formatting import set_printoptions as set_printoptions
from rushlight.nn.summary import summary as summary
from rushlight.ops.public import *
from rushlight.serialization import CheckpointError as CheckpointError
from rushlight.serialization import load as load
from rushlight.serialization import save as save
from rushlight.tensor import Tensor as Tensor

if TYPE_CHECKING:
    from rushlight import models as models
    from rushlight.compiler import CompileError as CompileError
    from rushlight.compiler import compile as compile
    from rushlight.compiler import profile as profile


def __getattr__(name: str) -> Any:
    """Import what most programs never ask for when it is first asked for."""
    if name == "models":
        return import_module("rushlight.models")
    if name in ("CompileError", "compile", "profile"):
        return getattr(import_module("rushlight.compiler"), name)
    raise AttributeError(f"module 'rushlight' has no attribute {name!r}")


# The function, which the module of the same name hid when it was imported above.
tensor = ops.tensor

# PyTorch's short names of the element types.
float = float32
double = float64
long = int64
bool = bool_
