"""Weights of element-wise losses, and the cosine embedding loss, beside PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import rushlight as rl
from rushlight import nn
from rushlight.nn import functional as F


def _pair(*shape: int) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal(shape), rng.standard_normal(shape)
    return x, y, rng.random(shape) + 0.1


@pytest.mark.parametrize("name", ["mse_loss", "l1_loss"])
@pytest.mark.parametrize(
    ("reduction", "combine"),
    [
        ("none", lambda each, w: each * w),
        ("sum", lambda each, w: (each * w).sum()),
        ("mean", lambda each, w: (each * w).sum() / w.sum()),
    ],
)
def test_weighted(name: str, reduction: str, combine: Any) -> None:
    x, y, w = _pair(3, 4)
    each = (x - y) ** 2 if name == "mse_loss" else np.abs(x - y)
    leaf = rl.tensor(x, requires_grad=True)
    loss = getattr(F, name)(leaf, rl.tensor(y), reduction=reduction, weight=rl.tensor(w))
    np.testing.assert_allclose(loss.detach().numpy(), combine(each, w))
    loss.sum().backward()
    slope = (2 * (x - y) if name == "mse_loss" else np.sign(x - y)) * w
    expected = slope / w.sum() if reduction == "mean" else slope
    np.testing.assert_allclose(leaf.grad.numpy(), expected)


def test_weight_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"mse_loss: weight must have shape \[3\]"):
        F.mse_loss(rl.ones(3), rl.zeros(3), weight=rl.ones(2))


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("margin", [0.0, 0.3])
def test_cosine_embedding_like_pytorch(reduction: str, margin: float) -> None:
    torch = pytest.importorskip("torch")
    x, y, _ = _pair(6, 5)
    y[0] = x[0]
    x[1] = 0
    target = np.array([1, 1, -1, -1, 1, -1])
    results = []
    for engine in (rl, torch):
        a, b = (engine.tensor(each, requires_grad=True) for each in (x, y))
        loss = engine.nn.CosineEmbeddingLoss(margin, reduction=reduction)
        value = loss(a, b, engine.tensor(target))
        value.sum().backward()
        results.append([value.detach().numpy(), a.grad.numpy(), b.grad.numpy()])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-12)


def test_cosine_embedding_of_one_pair_and_refusals() -> None:
    x = rl.tensor([1.0, 0.0])
    loss = nn.CosineEmbeddingLoss()
    assert loss(x, rl.tensor([0.0, 2.0]), rl.tensor(1)).item() == 1
    assert loss(x, x, rl.tensor(-1)).item() == pytest.approx(1)
    with pytest.raises(ValueError, match="target must have shape"):
        loss(x, x, rl.tensor([1]))
    with pytest.raises(TypeError, match="input1 must be float32 or float64"):
        loss(rl.tensor([1]), x, rl.tensor(1))
