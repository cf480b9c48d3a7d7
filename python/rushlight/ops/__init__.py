"""The operations: one file per family, each with its Functions and its public functions."""

from rushlight.ops._common import wrap_dim as wrap_dim
from rushlight.ops.activation import *
from rushlight.ops.compare import *
from rushlight.ops.conv import *
from rushlight.ops.copying import *
from rushlight.ops.creation import *
from rushlight.ops.elementwise import *
from rushlight.ops.indexing import *
from rushlight.ops.linear import *
from rushlight.ops.loss import *
from rushlight.ops.norm import *
from rushlight.ops.padding import *
from rushlight.ops.pooling import *
from rushlight.ops.random import *
from rushlight.ops.reduction import *
from rushlight.ops.shape import *
from rushlight.ops.sorting import *
from rushlight.ops.unary import *
