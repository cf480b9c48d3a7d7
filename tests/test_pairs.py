"""A pointwise convolution and the depthwise one behind it in one step: values, and who joins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import reference
import rushlight as rl
from compiling import Of, check, settled
from rushlight import _core, nn
from rushlight.compiler.compiled import Compiled
from rushlight.nn import functional as F
from test_blocked import TYPES, close, padded, plan_of


class Pair(NamedTuple):
    src: tuple[int, ...]
    channels: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)


PAIRS = {
    "one band": Pair((1, 24, 14, 14), 200, (3, 3)),
    "bands": Pair((1, 16, 40, 23), 40, (3, 3)),
    "bands of a wide image": Pair((1, 16, 60, 112), 70, (3, 3)),
    "stride": Pair((2, 17, 33, 18), 65, (3, 3), (2, 2)),
    "bands, stride": Pair((1, 20, 112, 100), 50, (3, 3), (2, 2)),
    "images": Pair((6, 10, 7, 9), 19, (3, 3)),
    "five": Pair((3, 40, 28, 13), 96, (5, 5), padding=(2, 2)),
    "five, stride": Pair((3, 40, 28, 13), 96, (5, 5), (2, 2), (2, 2)),
    "unpadded": Pair((1, 16, 15, 15), 200, (3, 3), padding=(0, 0)),
    "dilated": Pair((1, 16, 15, 15), 200, (3, 3), padding=(2, 2), dilation=(2, 2)),
    "uneven": Pair((1, 16, 40, 21), 100, (2, 3), (1, 2), (0, 1), (1, 2)),
    "padding beyond the taps": Pair((1, 16, 8, 8), 200, (1, 1), padding=(3, 3)),
}


def sizes(pair: Pair) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Return both convolutions as the core asks for them."""
    n, ic, h, w = pair.src
    first = (pair.src, (pair.channels, ic, 1, 1), (1, 1), (0, 0), (1, 1), 1)
    between = (n, pair.channels, h, w)
    weight = (pair.channels, 1, *pair.kernel)
    return first, (between, weight, pair.stride, pair.padding, pair.dilation, pair.channels)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", PAIRS)
def test_values(name: str, dtype: Any, isa: str) -> None:
    first, second = sizes(PAIRS[name])
    if not _core.blocked_pairs(first, second, np.dtype(dtype)):
        pytest.skip("too little for so few lanes")
    rng = np.random.default_rng(0)
    x, a, b = (
        rng.standard_normal(shape).astype(dtype) for shape in (first[0], first[1], second[1])
    )
    p, q = (rng.standard_normal(len(a)).astype(dtype) for _ in range(2))
    wide = [each.astype(np.float64) for each in (x, a, b, p, q)]
    between = np.clip(reference.conv2d(wide[0], wide[1], wide[3], *first[2:]), -1, 6)
    exact = reference.conv2d(between, wide[2], wide[4], *second[2:])
    other = rng.standard_normal(exact.shape).astype(dtype)

    def add(plan: Any, source: Any, result: Any) -> None:
        plan.blocked_pair(
            result,
            source,
            x.shape,
            (a, *first[2:], (None, padded(p), None, (-1, 6)), "a"),
            (b, *second[2:], (None, padded(q), None, (-2, 2)), "b"),
            _core.PlanWeights(),
        )

    close(plan_of(add, x, other.shape, 3), exact, (-2, 2))


def test_some_of_these_join(isa: str) -> None:
    joined = {name for name in PAIRS if _core.blocked_pairs(*sizes(PAIRS[name]), np.dtype("f4"))}
    assert joined >= set(PAIRS) - {"images", "padding beyond the taps"}


def test_huge_shapes_are_refused_at_once() -> None:
    huge = (1, 16, 1 << 36, 600)
    first = (huge, (32, 16, 1, 1), (1, 1), (0, 0), (1, 1), 1)
    second = ((1, 32, *huge[2:]), (32, 1, 3, 3), (1, 1), (1, 1), (1, 1), 32)
    assert not _core.blocked_pairs(first, second, np.dtype("f8"))


def test_bad_arguments() -> None:
    first, second = sizes(PAIRS["one band"])
    a, b = np.ones(first[1], np.float32), np.ones(second[1], np.float32)
    nothing = (None, None, None, None)
    good = (a, *first[2:], nothing, "a"), (b, *second[2:], nothing, "b")
    plan = _core.Plan(1 << 22, [], [])
    places = (1, 0, 0), (1, 0, 1 << 20)

    def add(one: Any, two: Any) -> None:
        plan.blocked_pair(*places, first[0], one, two, _core.PlanWeights())

    add(*good)
    assert plan.steps == 1
    residual = (None, None, (1, 0, 0), None)
    strided = ((2, 2), (0, 0), (1, 1), 1)
    for one, two, error, text in [
        (good[0][:6], good[1], TypeError, "first must be"),
        (good[0], [*good[1]], TypeError, "second must be"),
        ((a, *first[2:], residual, "a"), good[1], ValueError, "first takes no residual"),
        ((a, *strided, nothing, "a"), good[1], ValueError, "no kernel takes this pair"),
        (good[0], good[0], ValueError, "plan.blocked_pair: "),
        (good[0], (b.astype("f8"), *good[1][1:]), TypeError, "differ in dtype"),
        (good[0], (b[:-1], *good[1][1:]), ValueError, "plan.blocked_pair: "),
    ]:
        with pytest.raises(error, match=text):
            add(one, two)
    assert plan.steps == 1
    with pytest.raises(TypeError, match="six values"):
        _core.blocked_pairs(first[:5], second, np.dtype("f4"))


class Block(nn.Module):
    """What nets for small machines are made of."""

    def __init__(self, act: Callable[[], nn.Module], stride: int = 1) -> None:
        super().__init__()
        self.expand = nn.Sequential(nn.Conv2d(16, 200, 1, bias=False), nn.BatchNorm2d(200), act())
        self.depthwise = nn.Sequential(
            nn.Conv2d(200, 200, 3, stride, 1, groups=200), nn.BatchNorm2d(200), act()
        )
        self.project = nn.Conv2d(200, 16, 1)

    def forward(self, x: Any) -> Any:
        return self.project(self.depthwise(self.expand(x)))


def algorithms(compiled: Any) -> list[str]:
    return [row.algorithm for row in compiled.explain().rows]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("act", [nn.ReLU6, nn.SiLU, nn.Hardswish, nn.Identity])
def test_blocks_are_compiled_to_pairs(act: Any, stride: int) -> None:
    net = settled(nn.Sequential(nn.Conv2d(16, 16, 1), Block(act, stride)))
    compiled = check(net, rl.randn(2, 16, 14, 14))
    (row,) = [each for each in compiled.explain().rows if each.algorithm == "blocked pair"]
    assert row.path == "1.expand.0, 1.depthwise.0"
    size = 14 // stride
    assert row.multiply_adds == 2 * 200 * (16 * 14 * 14 + 9 * size * size)
    assert row.operations.count("conv2d") == 2


def test_a_changed_weight_is_read_again() -> None:
    net = settled(Block(nn.ReLU))
    x = rl.randn(1, 16, 14, 14)
    compiled = check(net, x)
    with rl.no_grad():
        for part in (net.expand[0], net.depthwise[0], net.depthwise[1]):
            part.weight.mul_(-1.5)
            np.testing.assert_allclose(compiled(x).numpy(), net(x).numpy(), rtol=0, atol=1e-3)
    assert "blocked pair" in algorithms(compiled)


LEFT_APART: dict[str, Callable[..., Any]] = {
    "read twice": lambda m, x: (y := m.expand(x)) + m.depthwise(y),
    "a result": lambda m, x: [y := m.expand(x), m.depthwise(y)],
    "a residual between": lambda m, x: m.depthwise(m.expand[0](x) + m.other(x)),
    "another operation between": lambda m, x: m.depthwise(F.avg_pool2d(m.expand(x), 2)),
}


@pytest.mark.parametrize("name", LEFT_APART)
def test_who_does_not_join(name: str) -> None:
    block = settled(Block(nn.ReLU))
    layers = {
        "expand": block.expand,
        "depthwise": block.depthwise,
        "other": nn.Conv2d(16, 200, 3, padding=1),
    }
    net = Of(LEFT_APART[name], **layers)
    x = rl.randn(1, 16, 14, 14)
    if name == "a result":
        compiled = rl.compile(net)
        with rl.no_grad():
            for found, expected in zip(compiled(x), net(x), strict=True):
                np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=0, atol=1e-4)
    else:
        compiled = check(net, x)
    assert "blocked pair" not in algorithms(compiled)


def test_a_residual_behind() -> None:
    block = settled(Block(nn.Identity))
    net = Of(
        lambda m, x: m.depthwise(m.expand(x)) + m.other(x),
        expand=block.expand,
        depthwise=block.depthwise,
        other=nn.Conv2d(16, 200, 1),
    )
    assert "blocked pair" in algorithms(check(net, rl.randn(2, 16, 14, 14)))


def test_weights_go_while_the_plan_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    net = settled(Block(nn.ReLU))
    # What is let go at the end does not count here: the peak of memory comes before.
    monkeypatch.setattr(Compiled, "_release", lambda self, entry: None)
    compiled = rl.compile(net, release_source=True)
    with rl.no_grad():
        compiled(rl.randn(1, 16, 14, 14))
    assert all(part.weight.isnan().all() for part in (net.expand[0], net.depthwise[0]))


def test_bands_that_see_nothing_of_the_image() -> None:
    # With so many weights that some are fetched ahead, shared out among no pixels.
    depthwise = nn.Conv2d(528, 528, 1, padding=(26, 0), groups=528)
    net = nn.Sequential(nn.Conv2d(520, 528, 1), depthwise, nn.Conv2d(528, 8, 1)).eval()
    assert "blocked pair" in algorithms(check(net, rl.randn(1, 520, 260, 62)))
