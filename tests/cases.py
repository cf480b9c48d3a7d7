"""One row per operation: how to call it, its float64 reference, and its inputs.

A row drives every check of ``test_ops.py``: values on every instruction set and in both types,
gradients against finite differences, thread counts, empty, strided and read-only inputs, and
PyTorch where it is installed. ``op`` gets a namespace that holds an engine's functions under
PyTorch's names, so that one row calls Rushlight and PyTorch alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import reference as ref
from case import Array, Case, Op
from cases_layers import LAYERS


def _conv(name: str, x: Any, w: Any, bias: bool, large: Any = None, **options: Any) -> Case:
    pairs = {key: (value if key == "groups" else _pair(value)) for key, value in options.items()}
    shapes = (x, w, (w[0],)) if bias else (x, w)
    big = None if large is None else (large[0], large[1], (large[1][0],))[: len(shapes)]
    return Case(
        f"conv2d {name}",
        lambda L, *args: L.conv2d(*args, **options),
        lambda x, w, b=None: ref.conv2d(x, w, b, **pairs),
        shapes,
        native=True,
        batched=True,
        large=big,
    )


def _pair(value: Any) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


CONV = [
    _conv("3x3", (2, 3, 6, 7), (5, 3, 3, 3), True, ((3, 24, 31, 33), (40, 24, 3, 3))),
    _conv("3x3 padded", (2, 4, 5, 5), (3, 4, 3, 3), True, padding=1),
    _conv("3x3 no bias", (1, 2, 5, 6), (4, 2, 3, 3), False, padding=1),
    _conv("1x1", (2, 5, 3, 4), (7, 5, 1, 1), True, ((2, 64, 28, 28), (96, 64, 1, 1))),
    _conv("1x1 stride 2", (2, 3, 5, 5), (4, 3, 1, 1), True, stride=2),
    _conv("1x1 padded", (1, 3, 2, 2), (2, 3, 1, 1), True, padding=1),
    _conv("3x3 stride 2", (2, 3, 7, 6), (4, 3, 3, 3), True, stride=2, padding=1),
    _conv("5x5", (1, 2, 7, 8), (3, 2, 5, 5), True, padding=2),
    _conv("7x7 stride 2", (1, 3, 11, 9), (4, 3, 7, 7), False, stride=2, padding=3),
    _conv("1x5", (2, 2, 3, 7), (3, 2, 1, 5), True, padding=(0, 2)),
    _conv("even kernel", (1, 2, 5, 6), (3, 2, 2, 4), True, padding=(1, 2)),
    _conv("dilated", (1, 2, 9, 8), (3, 2, 3, 3), True, dilation=2, padding=2),
    _conv("uneven", (1, 2, 9, 11), (2, 2, 3, 2), True, stride=(3, 2), padding=(2, 0), dilation=(1, 3)),
    _conv("stride over kernel", (1, 2, 9, 9), (2, 2, 2, 2), True, stride=4),
    _conv("grouped", (2, 6, 5, 4), (9, 2, 3, 3), True, groups=3, padding=1),
    _conv("grouped 2", (1, 4, 4, 4), (4, 2, 3, 3), False, ((4, 64, 15, 17), (64, 32, 3, 3)), groups=2, padding=1),
    _conv("depthwise", (2, 5, 6, 5), (5, 1, 3, 3), True, groups=5, padding=1),
    _conv("depthwise stride 2 x2", (1, 3, 7, 7), (6, 1, 3, 3), True, groups=3, padding=1, stride=2),
    _conv("odd channels", (1, 17, 4, 5), (13, 17, 3, 3), True, padding=1),
    _conv("one pixel", (3, 4, 3, 3), (5, 4, 3, 3), True),
    _conv("deep", (1, 70, 3, 3), (3, 70, 3, 3), True, ((1, 300, 9, 9), (50, 300, 3, 3)), padding=1),
]  # fmt: skip

LINEAR = [
    Case("linear", lambda L, x, w, b: L.linear(x, w, b), ref.linear, ((4, 5), (3, 5), (3,)),
         native=True, batched=True, large=((300, 129), (130, 129), (130,))),
    Case("linear no bias", lambda L, x, w: L.linear(x, w), ref.linear, ((3, 7), (2, 7)),
         native=True, batched=True),
    Case("linear row", lambda L, x, w, b: L.linear(x, w, b), ref.linear, ((6,), (4, 6), (4,)),
         native=True, large=((1030,), (517, 1030), (517,))),
    Case("linear 3-d", lambda L, x, w, b: L.linear(x, w, b), ref.linear, ((2, 3, 5), (4, 5), (4,)),
         native=True, batched=True),
    Case("linear deep", lambda L, x, w, b: L.linear(x, w, b), ref.linear, ((2, 600), (3, 600), (3,)),
         native=True, batched=True),
    Case("mm", lambda L, a, b: L.mm(a, b), np.matmul, ((3, 4), (4, 5)), native=True, batched=True,
         large=((150, 260), (260, 170))),
    Case("mm of transposes", lambda L, a, b: L.mm(a.t(), b.t()), lambda a, b: a.T @ b.T,
         ((4, 3), (5, 4)), native=True, large=((260, 150), (170, 260))),
    Case("bmm", lambda L, a, b: L.bmm(a, b), np.matmul, ((2, 3, 4), (2, 4, 5)), native=True),
    Case("matmul broadcast", lambda L, a, b: L.matmul(a, b), np.matmul, ((2, 1, 3, 4), (3, 4, 2)), native=True),
    Case("matmul vector", lambda L, a, b: L.matmul(a, b), np.matmul, ((3, 4), (4,)), native=True),
    Case("addmm", lambda L, c, a, b: L.addmm(c, a, b, beta=0.5, alpha=2.0),
         lambda c, a, b: 0.5 * c + 2.0 * (a @ b), ((5,), (3, 4), (4, 5)), native=True),
]  # fmt: skip


def _with_stats(
    shape: tuple[int, ...], affine: bool
) -> Callable[[np.random.Generator], list[Array]]:
    def draw(rng: np.random.Generator) -> list[Array]:
        c = shape[1]
        arrays = [rng.standard_normal(shape), rng.standard_normal(c), rng.random(c) + 0.5]
        return arrays + ([rng.standard_normal(c), rng.standard_normal(c)] if affine else [])

    return draw


def _bn_train(L: Any, x: Any, w: Any = None, b: Any = None) -> Any:
    return L.batch_norm(x, None, None, w, b, training=True)


def _bn_eval(L: Any, x: Any, mean: Any, var: Any, w: Any = None, b: Any = None) -> Any:
    return L.batch_norm(x, mean, var, w, b, training=False)


NORM = [
    Case("batch_norm train", _bn_train, ref.batch_norm_train, ((4, 3, 2, 3), (3,), (3,)),
         native=True, large=((5, 9, 41, 43), (9,), (9,))),
    Case("batch_norm train plain", _bn_train, ref.batch_norm_train, ((3, 2, 5),), native=True),
    Case("batch_norm train 2-d", _bn_train, ref.batch_norm_train, ((6, 4), (4,), (4,)),
         native=True, large=((700, 97), (97,), (97,))),
    Case("batch_norm eval", _bn_eval, ref.batch_norm_eval, ((2, 3, 4, 3),),
         draw=_with_stats((2, 3, 4, 3), True), frozen=(1, 2), native=True, batched=True),
    Case("batch_norm eval plain", _bn_eval, ref.batch_norm_eval, ((3, 4),),
         draw=_with_stats((3, 4), False), frozen=(1, 2), native=True, batched=True),
]  # fmt: skip


def _pool(name: str, shape: tuple[int, ...], large: Any = None, **options: Any) -> list[Case]:
    """Return a row of max_pool2d and one of avg_pool2d for the same windows."""
    kernel = _pair(options["kernel_size"])
    stride = _pair(options["stride"]) if "stride" in options else None
    padding, ceil = _pair(options.get("padding", 0)), options.get("ceil_mode", False)
    big = None if large is None else (large,)
    return [
        Case(f"max_pool2d {name}", lambda L, x: L.max_pool2d(x, **options),
             lambda x: ref.max_pool2d(x, kernel, stride, padding, ceil=ceil), (shape,),
             native=True, batched=True, large=big),
        Case(f"avg_pool2d {name}", lambda L, x: L.avg_pool2d(x, **options),
             lambda x: ref.avg_pool2d(x, kernel, stride, padding, ceil), (shape,),
             native=True, batched=True, large=big),
    ]  # fmt: skip


POOL = [
    *_pool("2", (2, 3, 6, 8), (4, 16, 40, 40), kernel_size=2),
    *_pool("3 stride 2", (1, 2, 7, 9), kernel_size=3, stride=2, padding=1),
    *_pool("ceil", (1, 2, 6, 7), kernel_size=3, stride=2, ceil_mode=True),
    *_pool("ceil padded", (1, 1, 5, 6), kernel_size=2, stride=3, padding=1, ceil_mode=True),
    *_pool("uneven", (2, 1, 5, 9), kernel_size=(2, 3), stride=(1, 2), padding=(0, 1)),
    Case("max_pool2d dilated", lambda L, x: L.max_pool2d(x, 2, 1, 1, dilation=2),
         lambda x: ref.max_pool2d(x, (2, 2), (1, 1), (1, 1), (2, 2)), ((1, 2, 6, 5),), native=True),
    Case("avg_pool2d without padding", lambda L, x: L.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
         lambda x: ref.avg_pool2d(x, (3, 3), (2, 2), (1, 1), False, False), ((1, 2, 6, 5),), native=True),
    Case("avg_pool2d divisor", lambda L, x: L.avg_pool2d(x, 2, divisor_override=3),
         lambda x: ref.avg_pool2d(x, (2, 2), divisor=3), ((1, 2, 4, 5),), native=True),
    Case("adaptive_avg_pool2d", lambda L, x: L.adaptive_avg_pool2d(x, (3, 2)),
         lambda x: ref.adaptive_pool2d(x, (3, 2), np.mean), ((2, 3, 7, 5),), native=True, batched=True),
    Case("adaptive_avg_pool2d global", lambda L, x: L.adaptive_avg_pool2d(x, 1),
         lambda x: x.mean(axis=(2, 3), keepdims=True), ((2, 3, 4, 5),), native=True, batched=True,
         large=((8, 40, 30, 31),)),
    Case("adaptive_avg_pool2d larger", lambda L, x: L.adaptive_avg_pool2d(x, (5, 7)),
         lambda x: ref.adaptive_pool2d(x, (5, 7), np.mean), ((1, 2, 3, 4),), native=True),
    Case("adaptive_max_pool2d", lambda L, x: L.adaptive_max_pool2d(x, (2, 3)),
         lambda x: ref.adaptive_pool2d(x, (2, 3), np.max), ((2, 3, 7, 5),), native=True, batched=True),
]  # fmt: skip


def _labelled(shape: tuple[int, ...], weighted: bool, ignored: bool = False) -> Any:
    def draw(rng: np.random.Generator) -> list[Array]:
        target = rng.integers(0, shape[1], (shape[0], *shape[2:]))
        if ignored:
            target.reshape(-1)[0] = 1
            target[target == 0] = 1
            target.reshape(-1)[-1] = 0
        arrays = [rng.standard_normal(shape), target]
        return arrays + ([rng.random(shape[1]) + 0.5] if weighted else [])

    return draw


def _nll(name: str, shape: tuple[int, ...], weighted: bool = False, **options: Any) -> Case:
    return Case(
        f"nll_loss {name}",
        lambda L, x, t, w=None: L.nll_loss(x, t, w, **options),
        lambda x, t, w=None: ref.nll_loss(x, t, w, **options),
        (shape,),
        draw=_labelled(shape, weighted, "ignore_index" in options),
        frozen=(1, 2),
        native=True,
    )


LOSS = [
    Case("log_softmax", lambda L, x: L.log_softmax(x, 1), lambda x: ref.log_softmax(x, 1), ((3, 5),),
         native=True, batched=True, large=((500, 103),)),
    Case("log_softmax middle", lambda L, x: L.log_softmax(x, 1), lambda x: ref.log_softmax(x, 1),
         ((2, 4, 3),), native=True, batched=True, large=((20, 30, 97),)),
    Case("softmax", lambda L, x: L.softmax(x, -1), lambda x: np.exp(ref.log_softmax(x, -1)), ((3, 5),),
         native=True, batched=True),
    _nll("mean", (4, 3)),
    _nll("sum weighted", (4, 3), True, reduction="sum"),
    _nll("none", (4, 3), reduction="none"),
    _nll("mean weighted ignored", (5, 3), True, ignore_index=0),
    _nll("images", (2, 3, 2, 4), True),
    Case("cross_entropy", lambda L, x, t: L.cross_entropy(x, t),
         lambda x, t: ref.nll_loss(ref.log_softmax(x, 1), t), ((4, 3),),
         draw=_labelled((4, 3), False), frozen=(1,), native=True),
    Case("cross_entropy smoothed", lambda L, x, t: L.cross_entropy(x, t, label_smoothing=0.1),
         lambda x, t: 0.9 * ref.nll_loss(ref.log_softmax(x, 1), t) - 0.1 * ref.log_softmax(x, 1).mean(),
         ((4, 3),), draw=_labelled((4, 3), False), frozen=(1,), native=True),
    Case("mse_loss", lambda L, x, y: L.mse_loss(x, y), lambda x, y: np.mean((x - y) ** 2), ((3, 4), (3, 4))),
    Case("l1_loss", lambda L, x, y: L.l1_loss(x, y, reduction="sum"), lambda x, y: np.abs(x - y).sum(),
         ((3, 4), (3, 4))),
]  # fmt: skip

RELU = [
    Case("relu", lambda L, x: L.relu(x), lambda x: np.maximum(x, 0), ((3, 7),), native=True,
         batched=True, large=((70, 1001),)),
    Case("relu in place", lambda L, x: L.relu_(x * 1), lambda x: np.maximum(x, 0), ((2, 3, 5),),
         native=True, batched=True),
]  # fmt: skip


def _unary(name: str, function: Op, positive: bool = False) -> Case:
    draw = (lambda rng: [rng.random((3, 4)) + 0.3]) if positive else None
    native = name in ("exp", "sigmoid", "tanh")
    return Case(
        name,
        lambda L, x: getattr(L, name)(x),
        function,
        ((3, 4),),
        draw=draw,
        native=native,
        batched=native and draw is None,
    )


def _binary(name: str, function: Op) -> list[Case]:
    def draw(*shapes: tuple[int, ...]) -> Any:
        return lambda rng: [rng.random(shape) + 0.4 for shape in shapes]

    native = name in ("add", "sub", "mul", "div")
    return [
        Case(name, lambda L, a, b: getattr(L, name)(a, b), function, (), draw=draw((3, 4), (3, 4)),
             native=native),
        Case(f"{name} broadcast", lambda L, a, b: getattr(L, name)(a, b), function, (),
             draw=draw((3, 1, 4), (2, 1)), native=native),
    ]  # fmt: skip


ELEMENTWISE = [
    *_binary("add", np.add), *_binary("sub", np.subtract), *_binary("mul", np.multiply),
    *_binary("div", np.divide), *_binary("pow", np.power), *_binary("maximum", np.maximum),
    *_binary("minimum", np.minimum), *_binary("remainder", np.remainder),
    _unary("exp", np.exp), _unary("log", np.log, True), _unary("log1p", np.log1p, True),
    _unary("log2", np.log2, True), _unary("sqrt", np.sqrt, True),
    _unary("rsqrt", lambda x: 1 / np.sqrt(x), True), _unary("reciprocal", lambda x: 1 / x, True),
    _unary("sin", np.sin), _unary("cos", np.cos), _unary("tan", np.tan), _unary("sinh", np.sinh),
    _unary("cosh", np.cosh), _unary("atan", np.arctan), _unary("expm1", np.expm1), _unary("log10", np.log10, True),
    *_binary("atan2", np.arctan2),
    Case("asin", lambda L, x: L.asin(L.tanh(x)), lambda x: np.arcsin(np.tanh(x)), ((3, 4),)),
    Case("acos", lambda L, x: L.acos(L.tanh(x)), lambda x: np.arccos(np.tanh(x)), ((3, 4),)),
    _unary("tanh", np.tanh), _unary("neg", np.negative),
    _unary("sigmoid", lambda x: 1 / (1 + np.exp(-x))), _unary("abs", np.abs),
    _unary("square", np.square), _unary("sign", np.sign), _unary("floor", np.floor),
    _unary("ceil", np.ceil), _unary("round", np.round),
    Case("clamp", lambda L, x: L.clamp(x, -0.5, 0.5), lambda x: np.clip(x, -0.5, 0.5), ((3, 4),)),
    Case("where", lambda L, a, b: L.where(a > b, a, b), np.maximum, ((3, 4), (4,))),
    Case("scalars", lambda L, x: 2 - 3 * x / 4 + (1 / (x * x + 2)) ** 2,
         lambda x: 2 - 3 * x / 4 + (1 / (x * x + 2)) ** 2, ((3, 4),)),
]  # fmt: skip


def _method(call: str, function: Op, shape: tuple[int, ...] = (2, 3, 4)) -> Case:
    """Return a row for a method written as its call, such as ``"sum(1)"``."""
    return Case(call, lambda L, x: eval(f"x.{call}", {"x": x, "L": L}), function, (shape,))


REDUCTION = [
    _method("sum()", np.sum), _method("sum((0, 2))", lambda x: x.sum((0, 2))),
    _method("sum(1, keepdim=True)", lambda x: x.sum(1, keepdims=True)), _method("mean()", np.mean),
    _method("mean((1, 2))", lambda x: x.mean((1, 2))), _method("prod()", np.prod, (2, 3)),
    _method("prod(1)", lambda x: x.prod(1)), _method("var(0)", lambda x: x.var(0, ddof=1)),
    _method("var((0, 2), unbiased=False)", lambda x: x.var((0, 2))),
    _method("std()", lambda x: x.std(ddof=1)), _method("norm()", lambda x: np.sqrt((x * x).sum())),
    _method("norm(1, 2)", lambda x: np.abs(x).sum(2)), _method("norm(3, 0)", lambda x: (np.abs(x) ** 3).sum(0) ** (1 / 3)),
    _method("norm(float('inf'), 1)", lambda x: np.abs(x).max(1)),
    _method("logsumexp(1)", lambda x: np.log(np.exp(x).sum(1))), _method("cumsum(2)", lambda x: np.cumsum(x, 2)),
    _method("amax((0, 1))", lambda x: x.max((0, 1))), _method("amin(2)", lambda x: x.min(2)),
    _method("max()", np.max), _method("min()", np.min), _method("max(1).values", lambda x: x.max(1)),
    _method("min(2, keepdim=True).values", lambda x: x.min(2, keepdims=True)),
    _method("sort(1).values", lambda x: np.sort(x, 1)), _method("topk(2, 2).values", lambda x: -np.sort(-x, 2)[..., :2]),
]  # fmt: skip


def _scattered() -> list[Case]:
    rows, picks = [2, 0, 2], [[0, 2, 2, 1], [1, 1, 0, 2]]

    def add_rows(x: Array, y: Array) -> Array:
        result = x.copy()
        np.add.at(result, rows, 2 * y)
        return result

    def add_picks(x: Array, y: Array) -> Array:
        result = x.copy()
        np.add.at(result, (np.array(picks), np.arange(4)), y)
        return result

    return [
        Case(
            "index_add",
            lambda L, x, y: L.index_add(x, 0, L.tensor(rows), y, alpha=2),
            add_rows,
            ((4, 2), (3, 2)),
        ),
        Case(
            "scatter_add",
            lambda L, x, y: L.scatter_add(x, 0, L.tensor(picks), y),
            add_picks,
            ((3, 4), (2, 4)),
        ),
    ]


def _einsum(equation: str, *shapes: tuple[int, ...]) -> Case:
    return Case(
        f"einsum {equation}",
        lambda L, *xs: L.einsum(equation, *xs),
        lambda *xs: np.einsum(equation, *xs, optimize=True),
        shapes,
    )


EINSUM = [
    _einsum("ij,jk->ik", (2, 3), (3, 4)), _einsum("bhqd,bhkd->bhqk", (2, 3, 4, 5), (2, 3, 2, 5)),
    _einsum("...ij,...jk->...ik", (2, 1, 2, 3), (4, 3, 2)), _einsum("ii->i", (3, 3)), _einsum("ijj->", (2, 3, 3)),
    _einsum("ij,kj", (2, 3), (4, 3)), _einsum("i,j,k->kji", (2,), (3,), (2,)), _einsum("ab,bc,cd->ad", (2, 3), (3, 2), (2, 4)),
    _einsum("ab,ac->bc", (2, 3), (2, 4)), _einsum("a...b,b->a...", (2, 3, 4), (4,)), _einsum("ij->ji", (2, 3)),
    _einsum("ij,ij->", (2, 3), (2, 3)), _einsum("ij,ik->ij", (2, 3), (2, 4)),
]  # fmt: skip

SHAPE = [
    _method("reshape(4, 6)", lambda x: x.reshape(4, 6)), _method("view(-1, 4)", lambda x: x.reshape(-1, 4)),
    _method("flatten(1)", lambda x: x.reshape(2, 12)), _method("unflatten(2, (2, -1))", lambda x: x.reshape(2, 3, 2, 2)),
    _method("unsqueeze(1).squeeze(1)", lambda x: x), _method("permute(2, 0, 1)", lambda x: x.transpose(2, 0, 1)),
    _method("transpose(0, -1)", lambda x: x.swapaxes(0, 2)), _method("movedim(0, 2)", lambda x: np.moveaxis(x, 0, 2)),
    _method("expand(5, 2, 3, 4)", lambda x: np.broadcast_to(x, (5, 2, 3, 4))),
    _method("repeat(2, 1, 3)", lambda x: np.tile(x, (2, 1, 3))), _method("flip(0, 2)", lambda x: np.flip(x, (0, 2))),
    _method("roll(1, 2)", lambda x: np.roll(x, 1, 2)), _method("narrow(1, 1, 2)", lambda x: x[:, 1:3]),
    _method("select(1, 2)", lambda x: x[:, 2]), _method("tril()", np.tril), _method("triu(1)", lambda x: np.triu(x, 1)),
    _method("diagonal(1, 0, 2)", lambda x: np.diagonal(x, 1, 0, 2)), _method("diagonal(-5)", lambda x: np.diagonal(x, -5)),
    _method("diag()", np.diag, (3,)), _method("diag(-1)", lambda x: np.diag(x, -1), (3, 4)), _method("trace()", np.trace, (3, 4)),
    _method("diag_embed(1)", lambda x: np.stack([np.diag(row, 1) for row in x]), (2, 3)),
    _method("repeat_interleave(2, 1)", lambda x: np.repeat(x, 2, 1)), _method("repeat_interleave(L.tensor([2, 0, 1]), 1)", lambda x: np.repeat(x, [2, 0, 1], 1)),
    _method("clone()", lambda x: x), _method("contiguous()", lambda x: x), _method("split(2, 1)[1]", lambda x: x[:, 2:]),
    _method("chunk(2, 2)[0]", lambda x: x[..., :2]), _method("unbind(1)[1]", lambda x: x[:, 1]),
    _method("__getitem__((slice(None), 1, slice(0, 3, 2)))", lambda x: x[:, 1, 0:3:2]),
    _method("__getitem__([1, 0, 1])", lambda x: x[[1, 0, 1]]), _method("__getitem__(x > 0)", lambda x: x[x > 0]),
    _method("masked_fill(x > 0, 2.0)", lambda x: np.where(x > 0, 2.0, x)),
    _method("gather(2, L.tensor([[[0, 0], [3, 1]]]))", lambda x: np.take_along_axis(x[:1, :2], np.array([[[0, 0], [3, 1]]]), 2)),
    _method("index_select(1, L.tensor([2, 0, 2]))", lambda x: x[:, [2, 0, 2]]),
    Case("cat", lambda L, a, b: L.cat([a, b, a], 1), lambda a, b: np.concatenate([a, b, a], 1), ((2, 3), (2, 1))),
    Case("stack", lambda L, a, b: L.stack([a, b], -1), lambda a, b: np.stack([a, b], -1), ((2, 3), (2, 3))),
    Case("hstack", lambda L, a, b: L.hstack([a, b]), lambda a, b: np.hstack([a, b]), ((2, 3), (2, 1))),
    Case("vstack", lambda L, a, b: L.vstack([a, b]), lambda a, b: np.vstack([a, b]), ((3,), (3,))),
    Case("meshgrid", lambda L, a, b: L.stack(L.meshgrid(a, b, indexing="xy")), lambda a, b: np.stack(np.meshgrid(a, b)), ((3,), (2,))),
    Case("broadcast_tensors", lambda L, a, b: L.stack(L.broadcast_tensors(a, b)),
         lambda a, b: np.stack(np.broadcast_arrays(a, b)), ((3, 1), (2,))),
    *_scattered(),
    Case("pad", lambda L, x: L.pad(x, (1, 2, -1, 1), value=0.5),
         lambda x: np.pad(x[1:], ((0, 1), (1, 2)), constant_values=0.5), ((3, 4),)),
]  # fmt: skip

CASES = [
    *CONV,
    *LINEAR,
    *NORM,
    *POOL,
    *LOSS,
    *RELU,
    *ELEMENTWISE,
    *REDUCTION,
    *SHAPE,
    *EINSUM,
    *LAYERS,
]
NATIVE = [case for case in CASES if case.native]
