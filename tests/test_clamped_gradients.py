"""Batch norm with a clamp behind it: one pass backward, and the same gradients as in two."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rushlight
from rushlight import _core
from rushlight.autograd.clamped import ClampedGradient
from rushlight.nn import functional as F

SHAPES = [(4, 5, 6, 7), (3, 40, 2, 2), (8, 3, 9, 9), (2, 17, 8, 8), (70, 9, 3, 3), (3, 2, 70, 61)]
CLAMPS: dict[str, Callable[[Any], Any]] = {
    "relu": F.relu,
    "relu in place": lambda x: F.relu(x, inplace=True),
    "relu6": F.relu6,
    "hardtanh": lambda x: F.hardtanh(x, -0.5, 0.7),
}


class Run:
    """Leaves, the batch norm of one of them, and a clamp behind it."""

    def __init__(self, shape: tuple[int, ...], clamp: str, dtype: Any) -> None:
        rng = np.random.default_rng(0)
        channels = shape[1]
        self.leaves = [
            rushlight.from_numpy(rng.standard_normal(size).astype(dtype)).requires_grad_()
            for size in (shape, channels, channels)
        ]
        src, weight, bias = self.leaves
        self.norm = F.batch_norm(src, None, None, weight, bias, True)
        self.node = self.norm.grad_fn
        self._clamp = CLAMPS[clamp]
        self._grad = rushlight.from_numpy(rng.standard_normal(shape).astype(dtype))

    def gradients(self, others: Any = 0) -> list[Any]:
        ((self._clamp(self.norm) * self._grad).sum() + others).backward()
        return [leaf.grad.numpy().copy() for leaf in self.leaves if leaf.grad is not None]


def _close(found: list[Any], expected: list[Any], dtype: Any) -> None:
    bound = 2e-5 if dtype == np.float32 else 1e-12
    assert len(found) == len(expected) == 3
    for one, other in zip(found, expected, strict=True):
        assert np.abs(one - other).max() <= bound * np.abs(other).max()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("clamp", CLAMPS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_one_pass_gives_what_two_give(
    shape: tuple[int, ...], clamp: str, dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    clamped = []
    kernel = _core.batch_norm_backward

    def noting(*args: Any) -> Any:
        clamped.append(args[-1])
        return kernel(*args)

    monkeypatch.setattr(_core, "batch_norm_backward", noting)
    found = Run(shape, clamp, dtype).gradients()
    assert clamped[0] is not None
    two = Run(shape, clamp, dtype)
    assert two.node is not None
    two.node.absorbs_clamps = False
    expected = two.gradients()
    assert clamped[1] is None
    _close(found, expected, dtype)


@pytest.mark.parametrize("clamp", ["relu", "relu6"])
def test_other_uses_of_the_result(clamp: str) -> None:
    def run(absorbs: bool) -> list[Any]:
        both = Run((4, 5, 6, 7), clamp, np.float32)
        assert both.node is not None
        both.node.absorbs_clamps = absorbs
        return both.gradients((both.norm * 0.3).sum())

    _close(run(True), run(False), np.float32)


@pytest.mark.parametrize("clamp", CLAMPS)
def test_hooks_see_tensors(clamp: str) -> None:
    one = Run((4, 5, 6, 7), clamp, np.float32)
    seen: list[Any] = []
    one.norm.register_hook(lambda grad: seen.append(grad))
    expected = Run((4, 5, 6, 7), clamp, np.float32).gradients()
    _close(one.gradients(), expected, np.float32)
    assert isinstance(seen[0], rushlight.Tensor)
    assert seen[0].shape == (4, 5, 6, 7)


def test_gradients_that_are_asked_for() -> None:
    one = Run((4, 5, 6, 7), "relu", np.float32)
    result = F.relu(one.norm)
    (found,) = rushlight.autograd.grad(result.sum(), [one.norm])
    assert np.array_equal(found.numpy(), (one.norm.detach().numpy() > 0).astype(np.float32))
    retained = Run((4, 5, 6, 7), "relu", np.float32)
    retained.norm.retain_grad()
    F.relu(retained.norm).sum().backward()
    assert retained.norm.grad is not None
    assert np.array_equal(retained.norm.grad.numpy(), found.numpy())


def test_a_bias_that_changes_before_backward() -> None:
    expected = Run((4, 5, 6, 7), "relu", np.float32).gradients()
    one = Run((4, 5, 6, 7), "relu", np.float32)
    with rushlight.no_grad():
        one.leaves[2].add_(1)
    _close(one.gradients(), expected, np.float32)


@pytest.mark.parametrize("clamp", CLAMPS)
def test_a_result_that_changes_before_the_clamp(clamp: str) -> None:
    def run(absorbs: bool) -> list[Any]:
        changed = Run((4, 5, 6, 7), clamp, np.float32)
        assert changed.node is not None
        changed.node.absorbs_clamps = absorbs
        with rushlight.no_grad():
            changed.norm.sub_(0.5)
        return changed.gradients()

    _close(run(True), run(False), np.float32)


def test_a_hook_that_changes_a_gradient_that_is_shared() -> None:
    expected = Run((4, 5, 6, 7), "relu", np.float32).gradients()
    one = Run((4, 5, 6, 7), "relu", np.float32)
    other = rushlight.ones(4, 5, 6, 7, requires_grad=True) * 0
    other.register_hook(lambda grad: grad.mul_(0))
    ((F.relu(one.norm) + other) * one._grad).sum().backward()
    found = [leaf.grad.numpy() for leaf in one.leaves if leaf.grad is not None]
    _close(found, expected, np.float32)


def test_infinite_results_pass() -> None:
    src = np.array([[[0.0, 1, 2, 3]], [[4, 5, 6, math.nan]]], np.float32)
    leaf = rushlight.from_numpy(src).requires_grad_()
    F.relu(F.batch_norm(leaf, None, None, training=True)).sum().backward()
    assert leaf.grad is not None
    assert np.isnan(leaf.grad.numpy()).all()


def test_clamps_alone_give_arrays() -> None:
    leaf = rushlight.from_numpy(np.array([-1.0, 2.0], np.float32)).requires_grad_()
    F.relu(leaf * 1).sum().backward()
    assert leaf.grad is not None
    assert leaf.grad.tolist() == [0, 1]
    assert not isinstance(leaf.grad, ClampedGradient)


def test_a_clamp_needs_statistics_of_the_batch() -> None:
    image = np.ones((2, 3, 4), np.float32)
    ones = np.ones(3, np.float32)
    with pytest.raises(ValueError, match="batch_norm_backward: clamp needs training"):
        _core.batch_norm_backward(
            image, ones, ones, ones, image, False, True, True, True, ones, (0.0, 1.0)
        )
