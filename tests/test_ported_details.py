"""Small things that ported code asks for: errors, memory formats, bicubic, random_, pooling."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import rushlight as rl
from rushlight import nn
from rushlight.nn import functional as F

REFUSED = [
    lambda: rl.zeros(2) + rl.zeros(3),
    lambda: rl.zeros(2, 3) @ rl.zeros(2, 3),
    lambda: rl.zeros(6).view(4),
    lambda: F.conv2d(rl.zeros(1, 3, 4, 4), rl.zeros(2, 4, 3, 3)),
    lambda: F.linear(rl.zeros(2, 3), rl.zeros(4, 5)),
    lambda: F.max_pool2d(rl.zeros(1, 1, 2, 2), 5),
    lambda: rl.zeros(3).add_(rl.zeros(2, 3)),
    lambda: nn.Linear(3, 4)(rl.zeros(2, 5)),
]


@pytest.mark.parametrize("call", REFUSED)
@pytest.mark.parametrize("error", [ValueError, RuntimeError, rl.OperationError])
def test_what_operations_refuse_is_caught_as_either(call: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        call()


def test_operation_error_travels() -> None:
    error = pickle.loads(pickle.dumps(rl.OperationError("conv2d: no")))
    assert type(error) is rl.OperationError
    assert str(error) == "conv2d: no"


def test_memory_formats_are_hints() -> None:
    x = rl.randn(2, 3, 4, 5)
    assert x.to(memory_format=rl.channels_last) is x
    assert x.contiguous(memory_format=rl.channels_last) is x
    assert rl.equal(x.clone(memory_format=rl.preserve_format), x)
    assert rl.zeros_like(x, memory_format=rl.preserve_format).shape == x.shape
    assert x.is_contiguous(memory_format=rl.contiguous_format)
    assert not x.is_contiguous(memory_format=rl.channels_last)
    turned = rl.randn(2, 4, 5, 3).permute(0, 3, 1, 2)
    assert turned.is_contiguous(memory_format=rl.channels_last)
    assert turned.contiguous(memory_format=rl.channels_last).is_contiguous()
    nn.Conv2d(3, 4, 3).to(memory_format=rl.channels_last)
    assert repr(rl.channels_last) == "rushlight.channels_last"
    assert pickle.loads(pickle.dumps(rl.channels_last)) is rl.channels_last
    with pytest.raises(TypeError, match=r"clone: memory_format must be one of .* got 'NHWC'"):
        x.clone(memory_format="NHWC")


@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [(9, 7), (3, 2), (5, 11), (1, 1), (8, 14)])
def test_bicubic_like_pytorch(size: tuple[int, int], dtype: Any, corners: bool) -> None:
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 7)).astype(dtype)
    results = []
    for engine in (rl, torch):
        leaf = engine.tensor(x, requires_grad=True)
        layer = engine.nn.Upsample(size=size, mode="bicubic", align_corners=corners)
        y = layer(leaf)
        (y * y).sum().backward()
        results.append([y.detach().numpy(), leaf.grad.numpy()])
    bound = 2e-5 if dtype == np.float32 else 1e-12
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=bound, atol=bound * 10)


def test_bicubic_by_a_factor() -> None:
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(1).standard_normal((1, 2, 6, 5))
    ours = F.interpolate(rl.tensor(x), scale_factor=1.7, mode="bicubic").numpy()
    peer = torch.nn.functional.interpolate(torch.tensor(x), scale_factor=1.7, mode="bicubic")
    np.testing.assert_allclose(ours, peer.numpy(), rtol=1e-10, atol=1e-12)


def test_random_() -> None:
    assert set(rl.zeros(300).random_(3).tolist()) == {0.0, 1.0, 2.0}
    assert set(rl.zeros(300, dtype=rl.int64).random_(-2, 1).tolist()) == {-2, -1, 0}
    assert set(rl.zeros(50, dtype=rl.bool).random_().tolist()) == {False, True}
    assert rl.zeros(99, dtype=rl.float64).random_().max().item() > 2**40
    floats = rl.zeros(999).random_()
    assert 0 <= floats.min().item() <= floats.max().item() <= 2**24
    with pytest.raises(ValueError, match="needs from < to"):
        rl.zeros(3).random_(5, 5)
    with pytest.raises(TypeError, match="from must be an int"):
        rl.zeros(3).random_(0.5)


@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d"])
@pytest.mark.parametrize(
    ("size", "options"),
    [
        ((2, 2), {"kernel_size": 3, "stride": 2}),
        ((1, 4), {"kernel_size": (3, 2), "stride": (3, 2)}),
        ((2, 5), {"kernel_size": 5, "stride": 3, "padding": 1}),
        ((1, 1), {"kernel_size": 2, "stride": 2}),
    ],
)
def test_window_larger_than_the_input(name: str, size: Any, options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(2).standard_normal((2, 3, *size))
    results = []
    for engine in (rl, torch):
        leaf = engine.tensor(x, requires_grad=True)
        y = getattr(engine.nn.functional, name)(leaf, ceil_mode=True, **options)
        (y * y).sum().backward()
        results.append([y.detach().numpy(), leaf.grad.numpy()])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    with pytest.raises(ValueError, match="kernel spans"):
        getattr(F, name)(rl.zeros(1, 1, 1, 1), 3, 2, ceil_mode=True)
