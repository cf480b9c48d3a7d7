"""Large batches in portions: cut only where images do not meet, with the same results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import rushlight as rl
from compiling import Of, check, same, settled
from rushlight import nn
from rushlight.compiler import portions
from rushlight.nn import functional as F


@pytest.fixture(autouse=True)
def every_batch_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut whatever can be cut, into single images."""
    monkeypatch.setattr(portions, "_LARGE", 0)
    monkeypatch.setattr(portions, "_PORTION", 1)


def portions_of(compiled: Any) -> int:
    return compiled.explain().portions


APART: dict[str, tuple[Callable[..., Any], list[tuple[int, ...]]]] = {
    "convolutions": (lambda m, x: F.relu(m.conv(x) + x), [(4, 16, 6, 6)]),
    "flattened": (lambda m, x: m.line(m.conv(x).flatten(1)[:, :20]), [(4, 16, 2, 3)]),
    "a scale from the batch's size": (lambda m, x: x.relu() * (1 / x.shape[0]), [(4, 5)]),
    "planes": (lambda m, x: F.max_pool2d(x, 2) + F.adaptive_avg_pool2d(x, 1), [(4, 3, 6, 6)]),
    "channels": (lambda m, x: F.log_softmax(x, 1).permute(0, 2, 1).exp(), [(4, 5, 6)]),
    "concatenated": (lambda m, x, y: rl.cat([x, y.relu()], 1) * 2, [(4, 3, 2), (4, 5, 2)]),
    "several results": (lambda m, x: (x + 1, [x.relu(), x[:, :2] * 3]), [(4, 5)]),
}


@pytest.mark.parametrize("name", APART)
def test_images_that_do_not_meet(name: str) -> None:
    forward, shapes = APART[name]
    net = Of(forward, conv=nn.Conv2d(16, 16, 3, padding=1), line=nn.Linear(20, 7))
    compiled, args = rl.compile(net), [rl.randn(*shape) for shape in shapes]
    with rl.no_grad():
        for found, expected in zip(_leaves(compiled(*args)), _leaves(net(*args)), strict=True):
            same(found, expected)
    assert portions_of(compiled) == 4


def _leaves(tree: Any) -> list[Any]:
    return [tree] if isinstance(tree, rl.Tensor) else [e for part in tree for e in _leaves(part)]


TOGETHER: dict[str, tuple[Callable[..., Any], list[tuple[int, ...]]]] = {
    "a mean over the batch": (lambda m, x: x.relu() - x.mean(0), [(4, 5)]),
    "turned": (lambda m, x: x.relu().T * 2, [(4, 4)]),
    "turned batches": (lambda m, x: x.transpose(0, 1).relu(), [(4, 4, 3)]),
    "softmax over the batch": (lambda m, x: F.softmax(x * 2, 0), [(4, 5)]),
    "concatenated batches": (lambda m, x: rl.cat([x * 2, x], 0), [(4, 5)]),
    "another image": (lambda m, x: x.relu() + x[1:2], [(4, 5)]),
    "regrouped": (lambda m, x: x.relu().reshape(4, 4, 3) * 2, [(2, 24)]),
    "mixed in place": (lambda m, x: x.relu().reshape(4, 4) * 2, [(4, 2, 2)]),
    "a constant for each image": (lambda m, x: x.relu() + rl.arange(4.0).reshape(4, 1), [(4, 5)]),
    "one row for all": (lambda m, x, y: x * y, [(4, 5), (1, 5)]),
    "rows of a product": (lambda m, x, y: x @ y, [(4, 4), (4, 4)]),
    "reversed": (lambda m, x: x.flip(0).relu(), [(4, 5)]),
}


@pytest.mark.parametrize("name", TOGETHER)
def test_images_that_meet(name: str) -> None:
    forward, shapes = TOGETHER[name]
    compiled = check(Of(forward), *[rl.randn(*shape) for shape in shapes])
    expected = 4 if name == "mixed in place" else 1
    assert portions_of(compiled) == expected


def test_results_go_where_they_are_wanted() -> None:
    net = Of(lambda m, x: x.relu() + 1)
    compiled, x, out = rl.compile(net), rl.randn(6, 5).T.contiguous().T, rl.zeros(6, 5)
    with rl.no_grad():
        for _ in range(2):
            assert compiled(x, out=out) is out
            same(out, net(x))
    assert portions_of(compiled) == 6
    assert "the last of 6 portions" in repr(compiled.explain())


def test_an_input_that_the_forward_changes() -> None:
    compiled = rl.compile(Of(lambda m, x: x.mul_(2) + 1))
    for _ in range(2):
        x = rl.ones(3, 2)
        with rl.no_grad():
            assert compiled(x).tolist() == [[3.0, 3.0]] * 3
        assert x.tolist() == [[2.0, 2.0]] * 3


@pytest.mark.parametrize("name", ["squeezenet1_1", "mobilenet_v2", "efficientnet_b0", "mnasnet0_5"])
def test_nets(name: str) -> None:
    net = settled(getattr(rl.models, name)())
    compiled = check(net, rl.randn(3, 3, 64, 64))
    assert portions_of(compiled) == 3


def test_small_batches_are_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    compiled = check(settled(rl.models.resnet20()), rl.randn(3, 3, 32, 32))
    assert portions_of(compiled) == 1


def test_batches_that_divide_badly_are_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portions, "_PORTION", 4000)
    compiled = rl.compile(Of(lambda m, x: x.relu() + 1))
    with rl.no_grad():
        for rows, expected in ((96, 2), (97, 1)):  # each moves 80 bytes
            x = rl.randn(rows, 10)
            same(compiled(x), x.relu() + 1)
            assert portions_of(compiled) == expected


def test_batches_of_many_small_rows_are_cut_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    compiled, x = rl.compile(Of(lambda m, x: x.relu() + 1)), rl.ones(4_000_037, 1)  # a prime
    with rl.no_grad():
        assert compiled(x).shape == x.shape
    assert portions_of(compiled) == 1
