"""The operations as operators and methods of a tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rushlight import ops
from rushlight.ops import (
    binary,
    compare,
    compound,
    elementwise,
    indexing,
    reduction,
    sorting,
    unary,
)

if TYPE_CHECKING:
    from rushlight.tensor import Tensor

__all__ = ["TensorMethods"]


class TensorMethods:
    """What :class:`rushlight.Tensor` inherits: functions that take the tensor first."""

    __add__ = __radd__ = elementwise.add
    __sub__ = elementwise.sub
    __rsub__ = elementwise.rsub
    __mul__ = __rmul__ = elementwise.mul
    __truediv__ = elementwise.div
    __floordiv__ = elementwise.floor_divide
    __mod__ = elementwise.remainder
    __pow__ = elementwise.pow
    __matmul__ = ops.matmul
    __iadd__ = elementwise.add_
    __isub__ = elementwise.sub_
    __imul__ = elementwise.mul_
    __itruediv__ = elementwise.div_
    __ifloordiv__ = elementwise.floor_divide_
    __imod__ = elementwise.remainder_
    __ipow__ = elementwise.pow_
    __neg__ = unary.neg
    __abs__ = unary.abs
    __lt__ = compare.lt
    __le__ = compare.le
    __gt__ = compare.gt
    __ge__ = compare.ge
    __and__ = __rand__ = compare.bitwise_and
    __or__ = __ror__ = compare.bitwise_or
    __xor__ = __rxor__ = compare.bitwise_xor
    __iand__ = compare.bitwise_and_
    __ior__ = compare.bitwise_or_
    __ixor__ = compare.bitwise_xor_
    __invert__ = compare.bitwise_not
    __getitem__ = indexing.getitem
    __setitem__ = indexing.setitem

    def __eq__(self: Any, other: Any) -> Any:
        # Python answers `tensor == None` with False; other strangers are refused by name.
        return NotImplemented if other is None else compare.eq(self, other)

    def __ne__(self: Any, other: Any) -> Any:
        return NotImplemented if other is None else compare.ne(self, other)

    def __pos__(self: Any) -> Tensor:
        return self

    def __rtruediv__(self: Any, other: Any) -> Tensor:
        return binary.Div.apply(other, self)

    def __rfloordiv__(self: Any, other: Any) -> Tensor:
        return elementwise.FloorDivide.apply(other, self)

    def __rmod__(self: Any, other: Any) -> Tensor:
        return elementwise.Remainder.apply(other, self)

    def __rpow__(self: Any, other: Any) -> Tensor:
        return elementwise.pow(other, self)

    @property
    def T(self: Any) -> Tensor:
        """The tensor with its dimensions in reverse order."""
        return ops.permute(self, *range(self._array.ndim - 1, -1, -1))

    @property
    def mT(self: Any) -> Tensor:
        """The tensor with its last two dimensions exchanged."""
        return ops.transpose(self, -2, -1)

    # -- functions as methods ---------------------------------------------------------------

    add = elementwise.add
    add_ = elementwise.add_
    sub = elementwise.sub
    sub_ = elementwise.sub_
    subtract = elementwise.subtract
    rsub = elementwise.rsub
    mul = elementwise.mul
    mul_ = elementwise.mul_
    multiply = elementwise.multiply
    div = elementwise.div
    div_ = elementwise.div_
    divide = elementwise.divide
    true_divide = elementwise.true_divide
    floor_divide = elementwise.floor_divide
    floor_divide_ = elementwise.floor_divide_
    remainder = elementwise.remainder
    remainder_ = elementwise.remainder_
    pow = elementwise.pow
    pow_ = elementwise.pow_
    maximum = elementwise.maximum
    minimum = elementwise.minimum
    clamp = elementwise.clamp
    clamp_ = elementwise.clamp_
    clip = elementwise.clip
    clip_ = elementwise.clamp_
    lerp = compound.lerp
    lerp_ = compound.lerp_
    addcmul = compound.addcmul
    addcmul_ = compound.addcmul_
    addcdiv = compound.addcdiv
    addcdiv_ = compound.addcdiv_
    diff = compound.diff
    exp = unary.exp
    exp_ = unary.exp_
    log = unary.log
    log2 = unary.log2
    log1p = unary.log1p
    sqrt = unary.sqrt
    sqrt_ = unary.sqrt_
    rsqrt = unary.rsqrt
    reciprocal = unary.reciprocal
    sin = unary.sin
    cos = unary.cos
    tanh = unary.tanh
    tanh_ = unary.tanh_
    sigmoid = unary.sigmoid
    sigmoid_ = unary.sigmoid_
    neg = unary.neg
    neg_ = unary.neg_
    abs = unary.abs
    abs_ = unary.abs_
    square = unary.square
    sign = unary.sign
    floor = unary.floor
    ceil = unary.ceil
    round = unary.round
    eq = compare.eq
    ne = compare.ne
    lt = compare.lt
    le = compare.le
    gt = compare.gt
    ge = compare.ge
    equal = compare.equal
    allclose = compare.allclose
    isclose = compare.isclose
    isnan = compare.isnan
    isinf = compare.isinf
    isfinite = compare.isfinite
    logical_and = compare.logical_and
    logical_or = compare.logical_or
    logical_xor = compare.logical_xor
    logical_not = compare.logical_not
    bitwise_and = compare.bitwise_and
    bitwise_or = compare.bitwise_or
    bitwise_xor = compare.bitwise_xor
    bitwise_not = compare.bitwise_not
    sum = reduction.sum
    mean = reduction.mean
    prod = reduction.prod
    var = reduction.var
    std = reduction.std
    norm = reduction.norm
    logsumexp = reduction.logsumexp
    cumsum = reduction.cumsum
    all = reduction.all
    any = reduction.any
    max = sorting.max
    min = sorting.min
    amax = sorting.amax
    amin = sorting.amin
    argmax = sorting.argmax
    argmin = sorting.argmin
    sort = sorting.sort
    argsort = sorting.argsort
    topk = sorting.topk
    reshape = ops.reshape
    view = ops.view
    view_as = ops.view_as
    flatten = ops.flatten
    ravel = ops.ravel
    unflatten = ops.unflatten
    squeeze = ops.squeeze
    unsqueeze = ops.unsqueeze
    permute = ops.permute
    transpose = ops.transpose
    swapaxes = ops.transpose
    movedim = ops.movedim
    t = ops.t
    expand = ops.expand
    expand_as = ops.expand_as
    broadcast_to = ops.broadcast_to
    repeat = ops.repeat
    tile = ops.tile
    flip = ops.flip
    roll = ops.roll
    narrow = ops.narrow
    select = ops.select
    split = ops.split
    chunk = ops.chunk
    unbind = ops.unbind
    clone = ops.clone
    contiguous = ops.contiguous
    copy_ = ops.copy_
    fill_ = ops.fill_
    zero_ = ops.zero_
    matmul = ops.matmul
    mm = ops.mm
    bmm = ops.bmm
    mv = ops.mv
    dot = ops.dot
    outer = ops.outer
    addmm = ops.addmm
    relu = ops.relu
    relu_ = ops.relu_
    softmax = ops.softmax
    log_softmax = ops.log_softmax
    bernoulli = ops.bernoulli
    bernoulli_ = ops.bernoulli_
    uniform_ = ops.uniform_
    random_ = ops.random_
    normal_ = ops.normal_
    gather = ops.gather
    index_select = indexing.index_select
    scatter = ops.scatter
    scatter_ = ops.scatter_
    scatter_add = ops.scatter_add
    scatter_add_ = ops.scatter_add_
    index_add = ops.index_add
    index_add_ = ops.index_add_
    take = indexing.take
    masked_fill = indexing.masked_fill
    masked_fill_ = indexing.masked_fill_
    masked_select = indexing.masked_select
    nonzero = indexing.nonzero
    diag = ops.diag
    diag_embed = ops.diag_embed
    diagonal = ops.diagonal
    trace = ops.trace
    tril = ops.tril
    triu = ops.triu
    repeat_interleave = ops.repeat_interleave
    argwhere = ops.argwhere
    bincount = ops.bincount
    count_nonzero = ops.count_nonzero
    isin = ops.isin
    unique = ops.unique
    tan = ops.tan
    asin = ops.asin
    acos = ops.acos
    atan = ops.atan
    atan2 = ops.atan2
    sinh = ops.sinh
    cosh = ops.cosh
    expm1 = ops.expm1
    log10 = ops.log10

    def where(self: Any, condition: Tensor, other: Any) -> Tensor:
        """Return this tensor where `condition` is true and `other` elsewhere."""
        return elementwise.where(condition, self, other)

    def reshape_as(self: Any, other: Tensor) -> Tensor:
        """Return the elements in the shape of `other`."""
        return ops.reshape(self, other._array.shape)
