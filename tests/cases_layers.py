"""Rows for activations, normalisation, resampling, embeddings and losses; see ``cases.py``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

import reference as ref
import reference_layers as lay
from case import Array, Case, Op

Draw = Callable[[np.random.Generator], list[Array]]


def _wide(*shapes: tuple[int, ...], scale: float = 3.0) -> Draw:
    """Normal numbers that reach over the bends of the activations."""
    return lambda rng: [scale * rng.standard_normal(shape) for shape in shapes]


def _activation(name: str, function: Op, *settings: Any, note: str = "", **named: Any) -> Case:
    return Case(
        f"{name}{note}",
        lambda L, x: getattr(L, name)(x, *settings, **named),
        function,
        ((4, 9),),
        draw=_wide((4, 9)),
        batched=True,
    )


def _inplace(name: str, function: Op, *settings: Any) -> Case:
    return Case(
        f"{name} in place",
        lambda L, x: getattr(L, name)(x * 1, *settings, inplace=True),
        function,
        ((4, 9),),
        draw=_wide((4, 9)),
        batched=True,
    )


def _hardswish(x: Array) -> Array:
    return x * np.clip(x + 3, 0, 6) / 6


def _elu(x: Array, alpha: float = 1.0) -> Array:
    return np.where(x > 0, x, alpha * (np.exp(x) - 1))


def _leaky(x: Array, slope: float = 0.01) -> Array:
    return np.where(x > 0, x, slope * x)


ACTIVATION = [
    _activation("relu6", lambda x: np.clip(x, 0, 6)),
    _inplace("relu6", lambda x: np.clip(x, 0, 6)),
    _activation("hardtanh", lambda x: np.clip(x, -1, 1)),
    _activation("hardtanh", lambda x: np.clip(x, -2, 0.5), -2.0, 0.5, note=" limits"),
    _inplace("hardtanh", lambda x: np.clip(x, -1, 1)),
    _activation("leaky_relu", _leaky),
    _activation("leaky_relu", lambda x: _leaky(x, -0.3), -0.3, note=" negative slope"),
    _inplace("leaky_relu", lambda x: _leaky(x, 0.2), 0.2),
    _activation("elu", _elu),
    _activation("elu", lambda x: _elu(x, 0.7), 0.7, note=" alpha"),
    _inplace("elu", _elu),
    _activation("gelu", lay.gelu),
    _activation("gelu", lay.tanh_gelu, approximate="tanh", note=" tanh"),
    _activation("silu", lambda x: x * lay.sigmoid(x)),
    _inplace("silu", lambda x: x * lay.sigmoid(x)),
    _activation("hardswish", _hardswish),
    _inplace("hardswish", _hardswish),
    # PyTorch's gradient of a float64 hardsigmoid has 1/6 rounded to float32.
    replace(_activation("hardsigmoid", lambda x: np.clip(x + 3, 0, 6) / 6), peer=1e-7),
    replace(_inplace("hardsigmoid", lambda x: np.clip(x + 3, 0, 6) / 6), peer=1e-7),
    _activation("softplus", lambda x: np.log1p(np.exp(x))),
    _activation("softplus", lambda x: np.where(x * 2 > 3, x, np.log1p(np.exp(2 * x)) / 2), 2.0, 3.0,
                note=" threshold"),
    _activation("softsign", lambda x: x / (1 + np.abs(x))),
    _activation("logsigmoid", lambda x: np.log(lay.sigmoid(x))),
    Case("prelu", lambda L, x, w: L.prelu(x, w), lambda x, w: np.where(x > 0, x, x * w[:, None, None]),
         ((2, 3, 4, 5), (3,)), batched=True),
    Case("prelu one weight", lambda L, x, w: L.prelu(x, w), lambda x, w: np.where(x > 0, x, x * w),
         ((3, 4), (1,)), batched=True),
    Case("prelu 1-d", lambda L, x, w: L.prelu(x, w), lambda x, w: np.where(x > 0, x, x * w), ((7,), (1,))),
]  # fmt: skip

NORM = [
    Case("layer_norm", lambda L, x, w, b: L.layer_norm(x, (6,), w, b), lay.layer_norm,
         ((2, 3, 6), (6,), (6,)), batched=True),
    Case("layer_norm plain", lambda L, x: L.layer_norm(x, (6,)), lay.layer_norm, ((4, 6),), batched=True),
    Case("layer_norm no bias", lambda L, x, w: L.layer_norm(x, (6,), w), lay.layer_norm, ((4, 6), (6,)),
         batched=True),
    Case("layer_norm 2 dims", lambda L, x, w, b: L.layer_norm(x, (3, 4), w, b),
         lambda x, w, b: lay.layer_norm(x, w, b, 2), ((2, 3, 4), (3, 4), (3, 4)), batched=True),
    Case("group_norm", lambda L, x, w, b: L.group_norm(x, 2, w, b), lambda x, w, b: lay.group_norm(x, 2, w, b),
         ((2, 4, 3, 5), (4,), (4,)), batched=True),
    Case("group_norm plain", lambda L, x: L.group_norm(x, 3), lambda x: lay.group_norm(x, 3), ((3, 6, 4),),
         batched=True),
    Case("group_norm 2-d", lambda L, x, w: L.group_norm(x, 2, w), lambda x, w: lay.group_norm(x, 2, w),
         ((3, 6), (6,)), batched=True),
    Case("instance_norm", lambda L, x, w, b: L.instance_norm(x, weight=w, bias=b),
         lambda x, w, b: lay.group_norm(x, 3, w, b), ((2, 3, 4, 5), (3,), (3,)), native=True, batched=True),
    Case("instance_norm plain", lambda L, x: L.instance_norm(x), lambda x: lay.group_norm(x, 3), ((2, 3, 8),),
         native=True, batched=True),
    Case("normalize", lambda L, x: L.normalize(x), lambda x: x / np.sqrt((x * x).sum(1, keepdims=True)),
         ((3, 4, 2),), batched=True),
    Case("normalize p 1", lambda L, x: L.normalize(x, 1.0, -1), lambda x: x / np.abs(x).sum(-1, keepdims=True),
         ((3, 4),), batched=True),
]  # fmt: skip


def _transposed(name: str, x: Any, w: Any, bias: bool = True, **options: Any) -> Case:
    named = {
        key: v if key == "groups" or isinstance(v, tuple) else (v, v) for key, v in options.items()
    }
    groups, extra = named.get("groups", 1), named.pop("output_padding", (0, 0))
    shapes = (x, w, (w[1] * groups,)) if bias else (x, w)
    return Case(
        f"conv_transpose2d {name}",
        lambda L, *args: L.conv_transpose2d(*args, **options),
        lambda x, w, b=None: lay.conv_transpose2d(x, w, b, extra=extra, **named),
        shapes,
        native=True,
        batched=True,
    )  # fmt: skip


CONV = [
    Case("conv1d", lambda L, x, w, b: L.conv1d(x, w, b), lay.conv1d, ((2, 3, 9), (4, 3, 3), (4,)),
         native=True, batched=True),
    Case("conv1d stride 2", lambda L, x, w, b: L.conv1d(x, w, b, 2, 3, 2),
         lambda x, w, b: lay.conv1d(x, w, b, 2, 3, 2), ((2, 3, 9), (4, 3, 3), (4,)), native=True, batched=True),
    Case("conv1d same", lambda L, x, w: L.conv1d(x, w, padding="same"), lambda x, w: lay.conv1d(x, w, None, 1, 2),
         ((2, 3, 9), (4, 3, 5)), native=True, batched=True),
    _transposed("3x3", (2, 3, 4, 5), (3, 4, 3, 3)),
    _transposed("2x2 stride 2", (2, 3, 4, 5), (3, 2, 2, 2), stride=2),
    _transposed("4x4 stride 2", (1, 4, 3, 5), (4, 2, 4, 4), stride=2, padding=1),
    _transposed("output padding", (2, 2, 3, 4), (2, 3, 3, 3), stride=2, padding=1, output_padding=1),
    _transposed("uneven", (1, 2, 3, 4), (2, 3, 2, 3), False, stride=(3, 1), padding=(0, 1), dilation=(1, 2),
                output_padding=(2, 0)),
    _transposed("output padding over stride", (1, 2, 3, 4), (2, 3, 2, 3), dilation=3, output_padding=2, stride=(1, 2)),
    _transposed("grouped", (2, 4, 3, 4), (4, 3, 3, 3), groups=2, padding=1),
    _transposed("depthwise", (1, 3, 4, 4), (3, 1, 3, 3), groups=3, stride=2),
    Case("conv_transpose1d", lambda L, x, w, b: L.conv_transpose1d(x, w, b, 2, 1, 1),
         lambda x, w, b: lay.conv_transpose2d(x[:, :, None], w[:, :, None], b, (1, 2), (0, 1), (0, 1))[:, :, 0],
         ((2, 3, 5), (3, 4, 3), (4,)), native=True, batched=True),
]  # fmt: skip

POOL = [
    Case("max_pool1d", lambda L, x: L.max_pool1d(x, 3, 2, 1), lambda x: lay.pool1d(x, ref.max_pool2d, 3, 2, 1),
         ((2, 3, 8),), native=True, batched=True),
    Case("max_pool1d dilated", lambda L, x: L.max_pool1d(x, 2, 2, 0, 3, True),
         lambda x: lay.pool1d(x, ref.max_pool2d, 2, 2, dilation=(1, 3), ceil=True), ((2, 3, 8),), native=True),
    Case("avg_pool1d", lambda L, x: L.avg_pool1d(x, 3, 2, 1, True), native=True, batched=True,
         reference=lambda x: lay.pool1d(x, ref.avg_pool2d, 3, 2, 1, ceil=True), shapes=((2, 3, 8),)),
    Case("avg_pool1d without padding", lambda L, x: L.avg_pool1d(x, 2, padding=1, count_include_pad=False),
         lambda x: lay.pool1d(x, ref.avg_pool2d, 2, 2, 1, count_include_pad=False), ((2, 3, 8),), native=True),
    Case("adaptive_avg_pool1d", lambda L, x: L.adaptive_avg_pool1d(x, 3),
         lambda x: ref.adaptive_pool2d(x[:, :, None], (1, 3), np.mean)[:, :, 0], ((2, 3, 8),), native=True,
         batched=True),
    Case("adaptive_max_pool1d", lambda L, x: L.adaptive_max_pool1d(x, 3),
         lambda x: ref.adaptive_pool2d(x[:, :, None], (1, 3), np.max)[:, :, 0], ((2, 3, 8),), native=True,
         batched=True),
]  # fmt: skip


def _pad(
    mode: str, numpy_mode: Any, *places: tuple[tuple[int, ...], tuple[int, ...]]
) -> list[Case]:
    """Return a row for each shape and its widths."""

    def reference(x: Array, widths: tuple[int, ...]) -> Array:
        pairs = [widths[at : at + 2] for at in range(0, len(widths), 2)][::-1]
        return np.pad(x, [(0, 0)] * (x.ndim - len(pairs)) + pairs, mode=numpy_mode)

    return [
        Case(f"pad {mode} {widths}", lambda L, x, w=widths: L.pad(x, w, mode=mode),
             lambda x, w=widths: reference(x, w), (shape,))
        for shape, widths in places
    ]  # fmt: skip


PAD = [
    *_pad("reflect", "reflect", ((2, 3, 5), (4, 2)), ((1, 2, 4, 3), (1, 2, 3, 0)),
          ((1, 2, 3, 3, 4), (1, 2, 0, 1, 2, 1))),
    *_pad("replicate", "edge", ((3, 5), (1, 7)), ((1, 2, 4, 3), (1, 2, 3, 0))),
    *_pad("circular", "wrap", ((2, 3, 5), (5, 3)), ((1, 2, 4, 3), (1, 2, 3, 0))),
]  # fmt: skip


def _resized(name: str, shape: tuple[int, ...], reference: Op, **options: Any) -> Case:
    return Case(f"interpolate {name}", lambda L, x: L.interpolate(x, **options), reference, (shape,),
                batched=True)  # fmt: skip


RESAMPLE = [
    _resized("nearest", (2, 3, 4, 5), lambda x: lay.interpolate_nearest(x, (7, 3)), size=(7, 3)),
    _resized("nearest double", (2, 3, 4, 5), lambda x: x.repeat(2, 2).repeat(2, 3), scale_factor=2),
    _resized("nearest 3-d", (2, 3, 5), lambda x: lay.interpolate_nearest(x, (8,)), size=8),
    _resized("nearest-exact", (2, 3, 4, 5), lambda x: lay.interpolate_nearest(x, (7, 3), 0.5), size=(7, 3),
             mode="nearest-exact"),
    _resized("bilinear", (2, 3, 4, 5), lambda x: lay.interpolate_linear(x, (7, 3), False), size=(7, 3),
             mode="bilinear"),
    _resized("bilinear corners", (2, 3, 4, 5), lambda x: lay.interpolate_linear(x, (7, 9), True), size=(7, 9),
             mode="bilinear", align_corners=True),
    _resized("bilinear one corner", (2, 3, 4, 5), lambda x: lay.interpolate_linear(x, (1, 1), True), size=1,
             mode="bilinear", align_corners=True),
    _resized("bilinear factor", (2, 1, 4, 5), lambda x: lay.interpolate_linear(x, (6, 12), False, (1.7, 2.5)),
             scale_factor=(1.7, 2.5), mode="bilinear"),
    _resized("bilinear recomputed", (2, 1, 4, 5), lambda x: lay.interpolate_linear(x, (6, 12), False),
             scale_factor=(1.7, 2.5), mode="bilinear", recompute_scale_factor=True),
    _resized("linear", (2, 3, 5), lambda x: lay.interpolate_linear(x, (12,), False), size=12, mode="linear"),
    Case("pixel_shuffle", lambda L, x: L.pixel_shuffle(x, 2), lambda x: lay.pixel_shuffle(x, 2), ((2, 8, 3, 2),),
         batched=True),
    Case("pixel_unshuffle", lambda L, x: L.pixel_unshuffle(x, 3), lambda x: lay.pixel_unshuffle(x, 3),
         ((2, 2, 3, 6),), batched=True),
    Case("channel_shuffle", lambda L, x: L.channel_shuffle(x, 3), lambda x: lay.channel_shuffle(x, 3), ((2, 6, 3, 2),),
         batched=True),
    Case("channel_shuffle rows", lambda L, x: L.channel_shuffle(x, 2), lambda x: lay.channel_shuffle(x, 2),
         ((2, 4, 5),), batched=True),
]  # fmt: skip


def _picked(*shape: int) -> Draw:
    return lambda rng: [rng.integers(0, 5, shape), rng.standard_normal((5, 3))]


EMBEDDING = [
    Case("embedding", lambda L, x, w: L.embedding(x, w), lambda x, w: w[x], (), draw=_picked(4, 6)),
]  # fmt: skip


def _chances(*shapes: tuple[int, ...]) -> Draw:
    """Numbers between 0 and 1, then factors for the shapes from the third on."""

    def draw(rng: np.random.Generator) -> list[Array]:
        found = [0.05 + 0.9 * rng.random(shape) for shape in shapes[:2]]
        return found + [rng.random(shape) + 0.5 for shape in shapes[2:]]

    return draw


def _logits(*shapes: tuple[int, ...]) -> Draw:
    """Logits, chances, then factors."""

    def draw(rng: np.random.Generator) -> list[Array]:
        return [3 * rng.standard_normal(shapes[0]), *_chances(*shapes)(rng)[1:]]

    return draw


def _log_chances(logarithms: bool) -> Draw:
    def draw(rng: np.random.Generator) -> list[Array]:
        x, t = (ref.log_softmax(rng.standard_normal((3, 4)), 1) for _ in range(2))
        return [x, t if logarithms else np.exp(t)]

    return draw


def _with_logits(
    L: Any, x: Any, t: Any, w: Any = None, positive: Any = None, **options: Any
) -> Any:
    return L.binary_cross_entropy_with_logits(x, t, w, pos_weight=positive, **options)


LOSS = [
    Case("smooth_l1_loss", lambda L, x, y: L.smooth_l1_loss(x, y), lambda x, y: lay.smooth_l1(x - y, 1).mean(),
         ((3, 4), (3, 4))),
    Case("smooth_l1_loss beta", lambda L, x, y: L.smooth_l1_loss(x, y, reduction="none", beta=0.4),
         lambda x, y: lay.smooth_l1(x - y, 0.4), ((3, 4), (3, 4)), batched=False),
    Case("smooth_l1_loss beta 0", lambda L, x, y: L.smooth_l1_loss(x, y, reduction="sum", beta=0.0),
         lambda x, y: np.abs(x - y).sum(), ((3, 4), (3, 4))),
    Case("huber_loss", lambda L, x, y: L.huber_loss(x, y, delta=0.6),
         lambda x, y: 0.6 * lay.smooth_l1(x - y, 0.6).mean(), ((3, 4), (3, 4))),
    Case("huber_loss weighted", lambda L, x, y, w: L.huber_loss(x, y, "mean", 1.5, w),
         lambda x, y, w: np.mean(w * 1.5 * lay.smooth_l1(x - y, 1.5)), ((3, 4), (3, 4), (3, 4))),
    Case("binary_cross_entropy", lambda L, x, t: L.binary_cross_entropy(x, t),
         lambda x, t: lay.cross_entropy_of(x, t).mean(), (), draw=_chances((3, 4), (3, 4))),
    Case("binary_cross_entropy weighted", lambda L, x, t, w: L.binary_cross_entropy(x, t, w, reduction="sum"),
         lambda x, t, w: lay.cross_entropy_of(x, t, w).sum(), (), draw=_chances((3, 4), (3, 4), (4,)), frozen=(2,)),
    Case("binary_cross_entropy_with_logits", _with_logits,
         lambda x, t: lay.cross_entropy_of(lay.sigmoid(x), t).mean(), (), draw=_logits((3, 4), (3, 4))),
    Case("binary_cross_entropy_with_logits weighted",
         lambda L, *args: _with_logits(L, *args, reduction="none"),
         lambda x, t, w, p: lay.cross_entropy_of(lay.sigmoid(x), t, w, p), (),
         draw=_logits((3, 4), (3, 4), (3, 1), (4,)), frozen=(2, 3)),
    Case("kl_div", lambda L, x, t: L.kl_div(x, t, reduction="batchmean"),
         lambda x, t: (t * (np.log(t) - x)).sum() / 3, (), draw=_log_chances(False)),
    Case("kl_div of logarithms", lambda L, x, t: L.kl_div(x, t, reduction="sum", log_target=True),
         lambda x, t: (np.exp(t) * (t - x)).sum(), (), draw=_log_chances(True)),
    Case("cosine_similarity", lambda L, x, y: L.cosine_similarity(x, y), lambda x, y: lay.cosine(x, y, 1),
         ((3, 4), (3, 4))),
    Case("cosine_similarity broadcast", lambda L, x, y: L.cosine_similarity(x, y, -1),
         lambda x, y: lay.cosine(x, y, -1), ((2, 1, 4), (3, 4))),
    Case("pairwise_distance", lambda L, x, y: L.pairwise_distance(x, y), lay.distance, ((3, 4), (3, 4))),
    Case("triplet_margin_loss", lambda L, a, p, n: L.triplet_margin_loss(a, p, n, margin=2.0),
         lambda a, p, n: np.maximum(lay.distance(a, p) - lay.distance(a, n) + 2, 0).mean(),
         ((5, 4), (5, 4), (5, 4))),
    Case("triplet_margin_loss swap", lambda L, a, p, n: L.triplet_margin_loss(a, p, n, swap=True, p=3.0),
         lambda a, p, n: np.maximum(
             lay.distance(a, p, 3) - np.minimum(lay.distance(a, n, 3), lay.distance(p, n, 3)) + 1, 0).mean(),
         ((5, 4), (5, 4), (5, 4))),
    Case("margin_ranking_loss", lambda L, x, y, t: L.margin_ranking_loss(x, y, t, 0.3),
         lambda x, y, t: np.maximum(-t * (x - y) + 0.3, 0).mean(), ((6,), (6,), (6,)),
         draw=lambda rng: [rng.standard_normal(6), rng.standard_normal(6), rng.choice([-1.0, 1.0], 6)],
         frozen=(2,)),
]  # fmt: skip

LAYERS = [*ACTIVATION, *NORM, *CONV, *POOL, *PAD, *RESAMPLE, *EMBEDDING, *LOSS]
