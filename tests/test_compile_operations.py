"""``rushlight.compile``: operation by operation, and what becomes part of a convolution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import rushlight as rl
from compiling import Of, check, settled
from rushlight import nn
from rushlight.nn import functional as F

# -- single operations ------------------------------------------------------------------------

OPERATIONS: dict[str, tuple[Callable[..., Any], list[tuple[int, ...]]]] = {
    "reshape": (lambda m, x: x.reshape(2, -1) * 2, [(2, 3, 4)]),
    "permute": (lambda m, x: x.permute(0, 2, 1) + 1, [(2, 3, 4)]),
    "reshape of permute": (lambda m, x: x.permute(0, 2, 1).reshape(2, 12).relu(), [(2, 3, 4)]),
    "slices": (lambda m, x: x[:, 1::2] * x[:, ::2, :1], [(2, 4, 5)]),
    "expand": (lambda m, x, y: x + y.expand(2, 3, 4), [(2, 3, 4), (3, 1)]),
    "broadcast": (lambda m, x, y: x * y - y / 3, [(2, 3, 4), (3, 1)]),
    "scalars": (lambda m, x: (2 - x) / 3 + x * 4 - 1, [(3, 5)]),
    "reflected division": (lambda m, x: 1 / (x * x + 1), [(3, 5)]),
    "cat": (lambda m, x, y: rl.cat([x.relu(), y.relu(), x], 1), [(2, 3, 4), (2, 5, 4)]),
    "cat of one image": (lambda m, x, y: rl.cat([x.relu(), y * 2], 1), [(1, 3, 4), (1, 5, 4)]),
    "cat of itself": (lambda m, x: rl.cat([x.relu()] * 2, 0), [(3, 4)]),
    "stack": (lambda m, x: rl.stack([x, x * 2], 1), [(3, 4)]),
    "chunk": (lambda m, x: rl.cat(x.chunk(2, 1)[::-1], 1), [(2, 6, 3)]),
    "softmax": (lambda m, x: F.softmax(x, 1) + F.log_softmax(x, -1), [(3, 4, 5)]),
    "activations": (
        lambda m, x: F.gelu(x) + F.silu(x) * F.hardswish(x) + F.leaky_relu(x) - F.elu(x).tanh(),
        [(3, 40)],
    ),
    "clamps": (lambda m, x: x.clamp(-0.5) + F.relu6(x * 9) + F.hardtanh(x), [(3, 40)]),
    "matmul": (lambda m, x, y: x @ y.transpose(-1, -2), [(2, 3, 4), (2, 5, 4)]),
    "matmul with few": (lambda m, x, y: x @ y, [(2, 3, 4), (4, 5)]),
    "mean": (lambda m, x: x.mean((2, 3)) + x.mean((2, 3), True)[..., 0, 0], [(2, 3, 4, 5)]),
    "mean of all": (lambda m, x: x * 2 + x.mean(), [(2, 3)]),
    "sum": (lambda m, x: x.sum(1) * 2, [(2, 3, 4)]),
    "pad": (lambda m, x: F.pad(x, (1, 2, 0, 1), value=3.0) * 2, [(1, 2, 3, 4)]),
    "pad of channels": (lambda m, x: F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 1, 2)), [(2, 3, 6, 5)]),
    "cut": (lambda m, x: F.pad(x, (-1, 0)) * 2, [(1, 2, 3, 4)]),
    "pools": (
        lambda m, x: F.max_pool2d(x, 3, 2, 1) + F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
        [(2, 3, 9, 8)],
    ),
    "pool of one image": (lambda m, x: F.max_pool2d(x, 2).squeeze(0), [(1, 8, 8)]),
    "adaptive": (lambda m, x: F.adaptive_avg_pool2d(x, (2, 3)), [(2, 3, 9, 8)]),
    "a sum with a view of itself": (lambda m, x: (lambda y: y + y.T)(x.relu()), [(5, 5)]),
    "adaptive to the same size": (lambda m, x: F.adaptive_avg_pool2d(x, (9, 8)), [(2, 3, 9, 8)]),
    "indices": (lambda m, x: F.max_pool2d(x, 2, return_indices=True)[1] * 1, [(1, 2, 6, 6)]),
    "where": (lambda m, x: rl.where(x > 0, x, x * 0.1), [(3, 4)]),
    "masked_fill": (lambda m, x: x.masked_fill(x < 0, 0.0), [(3, 4)]),
    "argmax": (lambda m, x: x.argmax(1), [(3, 4)]),
    "sort": (lambda m, x: x.sort(1)[0] * 2, [(3, 4)]),
    "topk": (lambda m, x: x.topk(2)[1], [(3, 4)]),
    "max": (lambda m, x: x.max(1)[0] + x.amax(1), [(3, 4)]),
    "gather": (lambda m, x: x[:, x.argmax(1)], [(3, 3)]),
    "embedding": (lambda m, x: F.embedding(x.argmax(1), rl.ones(9, 2) * 3), [(3, 4)]),
    "norms": (lambda m, x: F.layer_norm(x, (4,)) + F.normalize(x, dim=1), [(3, 4)]),
    "interpolate": (lambda m, x: F.interpolate(x, scale_factor=2), [(1, 2, 3, 4)]),
    "einsum": (lambda m, x: rl.einsum("ij,kj->ik", x, x), [(3, 4)]),
    "new tensors": (lambda m, x: x + rl.arange(4, dtype=rl.float32) + x.new_zeros(4), [(3, 4)]),
    "buffer of zeros": (lambda m, x: _written(x), [(3, 4)]),
    "in place": (lambda m, x: (x * 2).relu_().add_(1).mul_(x), [(3, 4)]),
    "in place through a view": (lambda m, x: _through_a_view(x), [(3, 4)]),
    "0-d": (lambda m, x: x * 2 + 1, [()]),
    "empty": (lambda m, x: x * 2 + 1, [(0, 3)]),
    "one input twice": (lambda m, x: x + x, [(3, 4)]),
    "constant result": (lambda m, x: rl.ones(2) * 3, [(3, 4)]),
    "input as result": (lambda m, x: x, [(3, 4)]),
    "view as result": (lambda m, x: x.relu().reshape(2, 6), [(3, 4)]),
}  # fmt: skip


def _written(x: Any) -> Any:
    out = rl.zeros(3, 8)
    out[:, ::2] = x
    out[:, 1] += 5
    return out * 2


def _through_a_view(x: Any) -> Any:
    y = x * 2
    part = y[:, 1:3]
    before = y + 0
    part.relu_()
    y.add_(1)
    return y + before + part.sum()


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations(name: str) -> None:
    function, shapes = OPERATIONS[name]
    check(Of(function), *[rl.randn(*shape) for shape in shapes])


EPILOGUES: dict[str, Callable[..., Any]] = {
    "relu": lambda m, x: m.conv(x).relu(),
    "hardswish": lambda m, x: F.hardswish(m.conv(x)),
    "silu": lambda m, x: F.silu(m.bn(m.conv(x))),
    "sigmoid": lambda m, x: m.conv(x).sigmoid(),
    "leaky": lambda m, x: F.leaky_relu(m.conv(x), 0.2),
    "skip": lambda m, x: (m.bn(m.conv(x)) + x).relu(),
    "skip first": lambda m, x: x + m.conv(x),
    "skip to both": lambda m, x: m.conv(x) + m.bn(m.conv(x)),
    "relu then skip": lambda m, x: m.conv(x).relu() + x,
    "relu then batch norm": lambda m, x: m.bn(m.conv(x).relu()),
    "batch norm first": lambda m, x: m.conv(m.bn(x).relu()),
    "two batch norms": lambda m, x: m.bn(m.bn(m.conv(x))),
    "factors": lambda m, x: (m.conv(x) * 2 + 1) / 3 - 4,
    "used twice": lambda m, x: m.conv(x).relu() + m.conv(x),
    "sum of products": lambda m, x: (m.conv(x) + m.conv(x * 2)).relu(),
    "kept": lambda m, x: _kept(m, x),
    "padded before": lambda m, x: m.open(F.pad(x, (1, 1, 1, 1))).relu(),
    "padded unevenly": lambda m, x: m.open(F.pad(x, (0, 2, 1, 1))),
    "padded with ones": lambda m, x: m.open(F.pad(x, (1, 1, 1, 1), value=1.0)),
    "squeeze and excite": lambda m, x: x * m.point(x.mean((2, 3), keepdim=True)).sigmoid(),
    "linear": lambda m, x: m.line(x.flatten(1)).relu() * 2,
    "dropout": lambda m, x: F.dropout(m.conv(x), training=False).relu(),
}


def _kept(m: Any, x: Any) -> Any:
    y = m.conv(x)
    return rl.cat([y, m.bn(y).relu()], 1)


@pytest.mark.parametrize("channels", [3, 16, 20])
@pytest.mark.parametrize("name", EPILOGUES)
def test_epilogues(name: str, channels: int) -> None:
    module = Of(
        EPILOGUES[name],
        conv=nn.Conv2d(channels, channels, 3, padding=1),
        open=nn.Conv2d(channels, channels, 3),
        point=nn.Conv2d(channels, channels, 1),
        bn=nn.BatchNorm2d(channels),
        line=nn.Linear(channels * 42, 5),
    )
    check(settled(module), rl.randn(2, channels, 6, 7))


def test_what_is_fused_is_one_step() -> None:
    module = Of(
        lambda m, x: (m.bn(m.conv(x)) + x).relu(), conv=nn.Conv2d(16, 16, 3, padding=1),
        bn=nn.BatchNorm2d(16),
    )  # fmt: skip
    compiled = check(settled(module), rl.randn(1, 16, 8, 8))
    (row,) = [each for each in compiled.explain().rows if "conv2d" in each.operations]
    assert row.operations == "conv2d + batchnorm + add + relu"
    assert row.path == "conv"
