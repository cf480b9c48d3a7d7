"""Tensors whose images stay in blocks of channels: what users see is as with planes throughout."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rushlight
from rushlight import nn
from rushlight.autograd.blocked import Blocked
from rushlight.autograd.engine import _Walk
from rushlight.nn import functional as F
from rushlight.ops import conv

Array = np.ndarray[Any, Any]
KEPT, ANY = 1, 2


def _random(*shape: int, dtype: Any = np.float32, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@pytest.fixture
def blocked() -> Any:
    """Return a tensor whose array nobody has asked for yet, and that array."""
    src, *weights = (
        rushlight.tensor(_random(*shape)) for shape in ((2, 3, 8, 8), (16, 3, 3, 3), (20, 16, 3, 3))
    )
    with rushlight.no_grad():
        result = F.conv2d(F.conv2d(src, weights[0], padding=1), weights[1], padding=1)
    assert result._blocks is not None
    return result, result._blocks.plain()


def test_what_a_tensor_is_can_be_asked_without_turning_it(blocked: Any) -> None:
    tensor, _ = blocked
    assert tensor.shape == (2, 20, 8, 8)
    assert (tensor.size(1), tensor.ndim, tensor.dim()) == (20, 4, 4)
    assert tensor.dtype is rushlight.float32
    assert tensor.is_floating_point()
    assert tensor._blocks is not None


@pytest.mark.parametrize(
    "ask",
    [
        lambda x: x.numpy(),
        lambda x: x.detach().numpy(),
        lambda x: np.asarray(x),
        lambda x: x.data.numpy(),
        lambda x: x.contiguous().numpy(),
        lambda x: x.view(2, -1).numpy().reshape(2, 20, 8, 8),
        lambda x: x.clone().numpy(),
        lambda x: copy.deepcopy(x).numpy(),
        lambda x: np.array(x.tolist(), np.float32),
        lambda x: rushlight.cat([x, x])[:2].numpy(),
        lambda x: (x + 0).numpy(),
        lambda x: x.permute(0, 2, 3, 1).numpy().transpose(0, 3, 1, 2),
    ],
)
def test_values_are_those_of_planes(blocked: Any, ask: Callable[[Any], Array]) -> None:
    tensor, expected = blocked
    np.testing.assert_array_equal(ask(tensor), expected)


def test_the_array_is_shared_from_when_it_is_asked_for(blocked: Any) -> None:
    tensor, expected = blocked
    array = tensor.numpy()
    assert tensor._blocks is None
    array[:] = 2
    assert (F.relu(tensor).numpy() == 2).all()
    other = tensor.detach()
    other.mul_(3)
    assert (tensor.numpy() == 6).all()
    tensor.data = rushlight.tensor(expected)
    np.testing.assert_array_equal(tensor.numpy(), expected)


def test_replaced_data_replaces_the_blocks(blocked: Any) -> None:
    tensor, _ = blocked
    tensor.data = rushlight.zeros(2, 20, 8, 8)
    assert not F.relu(tensor).numpy().any()


def test_two_threads_get_one_array(blocked: Any) -> None:
    tensor, _ = blocked
    barrier, found = threading.Barrier(8), []

    def ask() -> None:
        barrier.wait()
        found.append(tensor._array)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert all(each is found[0] for each in found)
    assert len(found) == 8


def test_other_attributes_are_missing_as_ever(blocked: Any) -> None:
    with pytest.raises(AttributeError, match="'Tensor' object has no attribute 'nonsense'"):
        _ = blocked[0].nonsense


IN_PLACE: dict[str, Callable[[Any], Any]] = {
    "relu_": lambda x: F.relu(x, inplace=True),
    "relu6_": lambda x: F.relu6(x, inplace=True),
    "hardtanh_": lambda x: F.hardtanh(x, 0.25, 0.5, inplace=True),
    "leaky_relu_": lambda x: F.leaky_relu(x, 0.1, inplace=True),
    "silu_": lambda x: F.silu(x, inplace=True),
    "add_ of blocks": lambda x: x.add_(F.relu(x)),
    "add_ of an array": lambda x: x.add_(rushlight.tensor(_random(2, 20, 8, 8, seed=7))),
    "add_ of a number": lambda x: x.add_(1.5),
    "add_ to an array": lambda x: rushlight.ones(2, 20, 8, 8).add_(x),
    "mul_": lambda x: x.mul_(F.relu(x)),
    "mul_ of a pixel": lambda x: x.mul_(rushlight.tensor(_random(2, 20, 1, 1, seed=7))),
}


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place(blocked: Any, name: str) -> None:
    tensor, array = blocked
    version = tensor._version
    result = IN_PLACE[name](tensor)
    expected = IN_PLACE[name](rushlight.tensor(array))
    np.testing.assert_allclose(result.numpy(), expected.numpy(), rtol=1e-6, atol=1e-7)
    if result is tensor:
        assert tensor._version == version + 1


def test_lanes_without_a_channel_stay_zero(blocked: Any) -> None:
    tensor, _ = blocked
    steps: list[Callable[[Any], Any]] = [
        F.relu6, F.leaky_relu, F.silu, F.hardswish, F.gelu, F.elu, F.sigmoid, F.hardsigmoid,
        lambda x: F.hardtanh(x, 0.25, 0.5), rushlight.exp, rushlight.tanh, lambda x: x + x,
        lambda x: F.batch_norm(x, None, None, None, rushlight.ones(20), True),
        lambda x: F.max_pool2d(x, 3, 1, 1),
    ]  # fmt: skip
    with rushlight.no_grad():
        for step in steps:
            result = step(tensor)
            if result._blocks is not None:
                inside = np.moveaxis(result._blocks.array, 4, 2).reshape(2, -1, 8, 8)
                assert not inside[:, 20:].any()


# -- nets: with blocks as without


class Residual(nn.Module):
    """A block of a residual net with what such nets do between convolutions."""

    def __init__(self, channels: int, act: Callable[[Any], Any]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.bn2 = nn.BatchNorm2d(channels)
        self.act = act

    def forward(self, x: Any) -> Any:
        out = self.bn2(self.conv2(self.act(self.bn1(self.conv1(x)))))
        out += x
        return self.act(out)


class Squeezed(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Any) -> Any:
        return x * F.sigmoid(self.fc(F.adaptive_avg_pool2d(x, 1)))


class Beside(nn.Module):
    """Two convolutions side by side, their results joined."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.left = nn.Conv2d(channels, 32, 1)
        self.right = nn.Conv2d(channels, 20, 3, padding=1)

    def forward(self, x: Any) -> Any:
        return rushlight.cat([F.relu(self.left(x)), self.right(x)], 1)


class Tail(nn.Module):
    def forward(self, x: Any) -> Any:
        return x.view(x.size(0), -1)[:, ::3] * 0.5


NETS: dict[str, Callable[[], nn.Module]] = {
    "residual": lambda: nn.Sequential(
        nn.Conv2d(3, 20, 3, padding=1), Residual(20, nn.ReLU(inplace=True)),
        nn.Conv2d(20, 36, 3, stride=2, padding=1), Residual(36, nn.ReLU6()),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(36, 4),
    ),
    "pooled": lambda: nn.Sequential(
        nn.Conv2d(3, 20, 3), nn.LeakyReLU(), nn.Conv2d(20, 24, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Dropout(0.0), nn.Flatten(), nn.Linear(24 * 6 * 6, 4),
    ),
    "squeezed": lambda: nn.Sequential(
        nn.Conv2d(3, 20, 3, stride=2, padding=1), nn.SiLU(inplace=True), Squeezed(20),
        nn.Conv2d(20, 20, 3, padding=1, groups=20), nn.Hardswish(), Squeezed(20), Tail(),
    ),
    "beside": lambda: nn.Sequential(
        nn.Conv2d(3, 20, 3, padding=1), nn.MaxPool2d(3, 2, 1), Beside(20), nn.BatchNorm2d(52),
        nn.AvgPool2d(2), nn.Conv2d(52, 24, 1), nn.ELU(), nn.Upsample(scale_factor=2), Beside(24),
        Tail(),
    ),
}  # fmt: skip


def _step(name: str, layout: bool, monkeypatch: pytest.MonkeyPatch, training: bool) -> list[Array]:
    """Return the result, its gradients, and the buffers of a net."""
    for each, value in (("_KEPT", KEPT), ("_ANY", ANY)):
        monkeypatch.setattr(conv, each, value if layout else 0)
    rushlight.manual_seed(1)
    net = NETS[name]().double().train(training)
    images = rushlight.tensor(_random(5, 3, 16, 16, dtype=np.float64)).requires_grad_()
    result = net(images)
    (result * rushlight.tensor(_random(*result.shape, dtype=np.float64, seed=5))).sum().backward()
    with rushlight.no_grad():
        again = net(images)
    gradients = [each.grad for each in (images, *net.parameters())]
    assert all(each is not None for each in gradients)
    return [each.detach().numpy() for each in (result, again, *gradients, *net.buffers())]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", NETS)
def test_nets(isa: str, name: str, training: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    found = _step(name, True, monkeypatch, training)
    expected = _step(name, False, monkeypatch, training)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-9)


def test_a_sum_that_is_turned_is_no_longer_known_by_its_id() -> None:
    # Its id may come back as that of an array which others hold, and must not be added to.
    walk = _Walk(None)
    planes = _random(2, 20, 3, 3)
    total = walk._sum(Blocked(planes), Blocked(planes))
    assert id(total) in walk._own
    result = walk._sum(total, planes)
    assert walk._own == {id(result)}
    np.testing.assert_allclose(result, 3 * planes, rtol=1e-6)


def test_hooks_and_retained_gradients_get_arrays() -> None:
    net = NETS["residual"]()
    images = rushlight.tensor(_random(5, 3, 16, 16))
    inner = net[0](images)
    seen = []
    inner.register_hook(lambda grad: seen.append(grad))
    inner.retain_grad()
    out = net[1](inner)
    assert out._blocks is not None
    for module in net[2:]:
        out = module(out)
    out.sum().backward()
    assert type(seen[0]._array) is np.ndarray
    np.testing.assert_array_equal(seen[0].numpy(), inner.grad.numpy())
    assert inner.grad.shape == inner.shape


def test_a_change_in_place_of_what_backward_needs_is_found() -> None:
    first, second = nn.Conv2d(3, 20, 3), nn.Conv2d(20, 20, 3)
    inner = first(rushlight.tensor(_random(2, 3, 9, 9)))
    out = second(inner)
    with rushlight.no_grad():
        inner.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()


@pytest.mark.parametrize("shape", [(2, 20, 7, 7), (2, 20, 1, 1), (20, 1, 1), (1,)], ids=str)
@pytest.mark.parametrize("operation", ["add", "sub", "mul", "div"])
def test_gradients_of_operands_that_broadcast(shape: tuple[int, ...], operation: str) -> None:
    net = nn.Conv2d(3, 20, 3).double()
    images = rushlight.tensor(_random(2, 3, 9, 9, dtype=np.float64))
    operand = (2 + rushlight.tensor(_random(*shape, dtype=np.float64)).abs()).requires_grad_()
    weights = rushlight.tensor(_random(2, 20, 7, 7, dtype=np.float64, seed=3))
    gradients = []
    for layout in (True, False):
        inner = net(images)
        assert inner._blocks is not None
        if not layout:
            inner.numpy(force=True)
        (getattr(rushlight, operation)(inner, operand) * weights).sum().backward()
        gradients.append([each.grad.numpy().copy() for each in (operand, net.weight)])
        operand.grad = net.weight.grad = None
    for one, other in zip(*gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_copies(blocked: Any, duplicate: Callable[[Any], Any]) -> None:
    tensor, expected = blocked
    other = duplicate(tensor)
    tensor.relu_()
    if duplicate is copy.copy:
        np.testing.assert_array_equal(other.numpy(), tensor.numpy())
        tensor.zero_()
        assert not other.numpy().any()
    else:
        np.testing.assert_array_equal(other.numpy(), expected)


def test_functions_of_the_user_get_arrays() -> None:
    class Twice(rushlight.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x * 2

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            assert type(grad._array) is np.ndarray
            assert type(ctx.saved_tensors[0]._array) is np.ndarray
            return grad * 2

    first, second = nn.Conv2d(3, 20, 3), nn.Conv2d(20, 20, 3)
    Twice.apply(first(rushlight.tensor(_random(2, 3, 9, 9)))).sum().backward()
    expected = first.weight.grad.numpy().copy()
    first.zero_grad()
    inner = Twice.apply(first(rushlight.tensor(_random(2, 3, 9, 9))))
    inner.sum().backward()
    np.testing.assert_array_equal(first.weight.grad.numpy(), expected)
    second(Twice.apply(first(rushlight.tensor(_random(2, 3, 9, 9))))).sum().backward()


def test_gradients_of_a_blocked_net_are_those_of_finite_differences() -> None:
    net = nn.Sequential(
        nn.Conv2d(2, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.SiLU(),
        nn.Conv2d(16, 16, 3, stride=2),
    ).double()
    images = rushlight.tensor(_random(2, 2, 6, 6, dtype=np.float64)).requires_grad_()
    assert rushlight.autograd.gradcheck(lambda x: net(x).sum((1, 2, 3)), (images,))
