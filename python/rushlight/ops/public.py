"""The public names of all families, without the files that hold them."""

from rushlight.ops.activation import *
from rushlight.ops.compare import *
from rushlight.ops.compound import *
from rushlight.ops.conv import *
from rushlight.ops.conv_transpose import *
from rushlight.ops.copying import *
from rushlight.ops.creation import *
from rushlight.ops.elementwise import *
from rushlight.ops.embedding import *
from rushlight.ops.indexing import *
from rushlight.ops.linear import *
from rushlight.ops.loss import *
from rushlight.ops.loss_distance import *
from rushlight.ops.loss_probability import *
from rushlight.ops.norm import *
from rushlight.ops.padding import *
from rushlight.ops.pooling import *
from rushlight.ops.pooling1d import *
from rushlight.ops.random import *
from rushlight.ops.reduction import *
from rushlight.ops.resample import *
from rushlight.ops.row_norm import *
from rushlight.ops.shape import *
from rushlight.ops.smooth import *
from rushlight.ops.sorting import *
from rushlight.ops.unary import *
