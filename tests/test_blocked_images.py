"""Images in blocks of channels between operations: the same results as with planes throughout."""

from __future__ import annotations

import copy
import math
import pickle
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rushlight
from rushlight import _core, nn
from rushlight.nn import functional as F
from rushlight.ops import conv

Array = np.ndarray[Any, Any]
KEPT, ANY = 1, 2
BOUND = {np.float32: 3e-5, np.float64: 1e-12}
TYPES = [np.float32, np.float64]


def _random(*shape: int, dtype: Any = np.float32, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def _plain(value: Any) -> Array:
    return value.plain() if isinstance(value, _core.Blocked) else value


def _close(found: Any, expected: Array, dtype: Any, scale: float = 1) -> None:
    array = _plain(found)
    assert array.shape == expected.shape
    assert array.dtype == expected.dtype
    largest = np.abs(expected).max(initial=1e-30)
    assert np.abs(array - expected).max(initial=0) <= scale * BOUND[dtype] * largest


# -- the layout itself


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", [(2, 1, 3, 5), (1, 16, 4, 4), (3, 21, 7, 9), (2, 40, 1, 1)])
def test_there_and_back(isa: str, shape: tuple[int, ...], dtype: Any) -> None:
    planes = _random(*shape, dtype=dtype)
    blocked = _core.Blocked(planes)
    assert (blocked.shape, blocked.dtype, blocked.ndim) == (shape, planes.dtype, 4)
    np.testing.assert_array_equal(blocked.plain(), planes)
    np.testing.assert_array_equal(blocked.copy().plain(), planes)
    n, blocks, h, w, lanes = blocked.array.shape
    assert (n, h, w) == (shape[0], *shape[2:])
    assert (blocks - 1) * lanes < shape[1] <= blocks * lanes
    flat = np.moveaxis(blocked.array, 4, 2).reshape(n, -1, h, w)
    assert not flat[:, shape[1] :].any()  # lanes without a channel


@pytest.mark.parametrize("shape", [(3,), (2, 3, 4), (1, 2, 3, 4, 5)])
def test_only_images_have_blocks(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="src must have 4 dimensions"):
        _core.Blocked(np.zeros(shape, np.float32))


@pytest.mark.skipif("avx2" not in _core.isas(), reason="needs two instruction sets")
def test_blocks_of_another_instruction_set_are_read_all_the_same() -> None:
    src, weight = _random(2, 20, 9, 9), _random(24, 20, 3, 3)
    geometry = ((1, 1), (1, 1), (1, 1), 1)
    expected = _core.conv2d(src, weight, None, *geometry)
    blocked = _core.Blocked(src)
    for name in ("avx2", "baseline"):
        if name not in _core.isas():
            continue
        _core.set_isa(name)
        np.testing.assert_array_equal(blocked.plain(), src)
        _close(_core.conv2d(blocked, weight, None, *geometry, layout=ANY), expected, np.float32)
        other = _core.Blocked(src)
        if other.array.shape == blocked.array.shape:
            continue
        assert _core.add(blocked, other) is NotImplemented
        assert _core.join_blocks([blocked, other]) is None
        with pytest.raises(ValueError, match="another instruction set"):
            _core.global_mean(blocked)


# -- operations: in blocks as in planes

CONVOLUTIONS = [  # n, ic, oc, groups, size, kernel, stride, padding, dilation
    (3, 20, 24, 1, (12, 13), 3, (1, 1), 1, 1),
    (2, 32, 16, 1, (17, 9), 3, (1, 1), 0, 1),
    (2, 16, 48, 1, (32, 33), 3, (2, 2), 1, 1),
    (2, 16, 20, 1, (33, 32), 3, (2, 2), 0, 1),
    (2, 18, 16, 1, (40, 27), 5, (3, 2), 2, 1),
    (3, 16, 20, 1, (34, 35), 1, (2, 2), 0, 1),
    (2, 24, 40, 1, (9, 8), 1, (1, 1), 0, 1),
    (40, 24, 40, 1, (3, 2), 1, (1, 1), 0, 1),
    (2, 17, 33, 1, (15, 15), 3, (1, 1), 2, 2),
    (2, 20, 20, 20, (15, 14), 3, (1, 1), 1, 1),
    (2, 20, 20, 20, (15, 14), 3, (2, 2), 1, 1),
    (2, 36, 36, 36, (15, 14), 5, (2, 1), 2, 1),
    (2, 36, 36, 36, (15, 14), 4, (1, 3), 2, 2),
    (2, 3, 16, 1, (32, 31), 3, (1, 1), 1, 1),
    (2, 3, 40, 1, (32, 31), 7, (2, 2), 3, 1),
    (2, 1, 16, 1, (28, 28), 3, (1, 1), 0, 1),
    (2, 32, 32, 4, (10, 10), 3, (1, 1), 1, 1),
    (2, 16, 3, 1, (10, 10), 3, (1, 1), 1, 1),
]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
def test_conv2d(isa: str, case: tuple[Any, ...], dtype: Any) -> None:
    n, ic, oc, groups, size, kernel, stride, padding, dilation = case
    src = _random(n, ic, *size, dtype=dtype)
    weight = _random(oc, ic // groups, kernel, kernel, dtype=dtype, seed=1)
    bias = _random(oc, dtype=dtype, seed=2)
    geometry = (stride, (padding, padding), (dilation, dilation), groups)
    dst = _core.conv2d(src, weight, bias, *geometry)
    diff_dst = _random(*dst.shape, dtype=dtype, seed=3)
    expected = _core.conv2d_backward(src, weight, diff_dst, *geometry, True, True, True)
    for x in (src, _core.Blocked(src)):
        for layout in (0, KEPT, ANY):
            _close(_core.conv2d(x, weight, bias, *geometry, layout=layout), dst, dtype)
        for dy in (diff_dst, _core.Blocked(diff_dst)):
            found = _core.conv2d_backward(x, weight, dy, *geometry, True, True, True)
            for one, other in zip(found, expected, strict=True):
                assert other is not None
                _close(one, other, dtype)


def test_the_cache_keeps_blocked_and_plain_weights_apart() -> None:
    src, weight = _random(2, 20, 9, 9), _random(24, 20, 3, 3)
    cache, geometry = _core.WeightCache(), ((1, 1), (1, 1), (1, 1), 1)
    expected = _core.conv2d(src, weight, None, *geometry)
    for _ in range(2):
        for x in (src, _core.Blocked(src)):
            _close(
                _core.conv2d(x, weight, None, *geometry, cache, 0, layout=KEPT),
                expected,
                np.float32,
            )


@pytest.mark.parametrize("layout", [-1, 3])
def test_conv2d_refuses_other_layouts(layout: int) -> None:
    with pytest.raises(ValueError, match="layout must be 0, 1 or 2"):
        _core.conv2d(
            _random(1, 4, 5, 5), _random(4, 4, 3, 3), None, (1, 1), (0, 0), (1, 1), 1, layout=layout
        )


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", [(3, 20, 5, 4), (70, 16, 9, 9), (2, 100, 1, 1), (1, 33, 70, 61)])
@pytest.mark.parametrize("clamp", [None, (0.0, math.nan), (-0.5, 0.7)], ids=str)
def test_batch_norm(isa: str, shape: tuple[int, ...], clamp: Any, dtype: Any) -> None:
    src, diff = 3 + _random(*shape, dtype=dtype), _random(*shape, dtype=dtype, seed=1)
    weight, bias = (_random(shape[1], dtype=dtype, seed=seed) for seed in (2, 3))
    blocked, results = _core.Blocked(src), []
    for x in (src, blocked):
        mean, var = np.zeros(shape[1], dtype), np.ones(shape[1], dtype)
        found = _core.batch_norm_train(x, weight, bias, mean, var, 0.1, 1e-5)
        results.append(
            (*found, mean, var, *_core.batch_norm_eval(x, weight, None, mean, var, 1e-5))
        )
    assert isinstance(results[1][0], _core.Blocked)
    for one, other in zip(results[1], results[0], strict=True):
        _close(one, other, dtype)
    _, mean, rstd = results[0][:3]
    for wanted in [(True, True, True), (True, False, False), (False, True, True)]:
        # The gradients are those of one set of statistics.
        rest = (mean, rstd), (True, *wanted, bias, clamp)
        expected = _core.batch_norm_backward(src, weight, *rest[0], diff, *rest[1])
        for dy in (diff, _core.Blocked(diff)):
            gradients = _core.batch_norm_backward(blocked, weight, *rest[0], dy, *rest[1])
            assert [each is None for each in gradients] == [each is None for each in expected]
            for one, other in zip(gradients, expected, strict=True):
                if other is not None:
                    _close(one, _plain(other), dtype, 10)


def test_batch_norm_of_large_means_keeps_its_digits() -> None:
    src = 1e4 + _random(4, 20, 9, 9)
    found, _, _ = _core.batch_norm_train(_core.Blocked(src), None, None, None, None, 0.1, 1e-5)
    exact = src.astype(np.float64)
    exact -= exact.mean(axis=(0, 2, 3), keepdims=True)
    exact /= np.sqrt((exact**2).mean(axis=(0, 2, 3), keepdims=True) + 1e-5)
    assert np.abs(_plain(found) - exact).max() < 2e-3


POOLS = [  # kernel, stride, padding, dilation, ceil_mode
    ((2, 2), (2, 2), (0, 0), (1, 1), False),
    ((3, 3), (2, 2), (1, 1), (1, 1), False),
    ((3, 2), (1, 3), (1, 0), (2, 1), True),
    ((5, 5), (1, 1), (2, 2), (1, 1), False),
]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("geometry", POOLS, ids=str)
@pytest.mark.parametrize("kind", ["random", "alike", "nan", "infinite"])
def test_max_pool(isa: str, geometry: tuple[Any, ...], kind: str, dtype: Any) -> None:
    src = _random(2, 20, 13, 12, dtype=dtype)
    if kind == "alike":
        src = np.round(src)
    elif kind == "nan":
        src[np.abs(src) < 0.3] = np.nan
    elif kind == "infinite":
        src = np.where(src < 1, -np.inf, src).astype(dtype)
    dst, indices = _core.max_pool2d(src, *geometry)
    blocked = _core.Blocked(src)
    found = _core.max_pool2d_blocked(blocked, *geometry)
    np.testing.assert_array_equal(found.plain(), dst)
    diff = _random(*dst.shape, dtype=dtype, seed=1)
    expected = _core.max_pool2d_backward(diff, indices, src.shape)
    for dy in (diff, _core.Blocked(diff)):
        _close(_core.max_pool2d_blocked_backward(blocked, found, dy, *geometry), expected, dtype)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", [(2, 20, 7, 5), (3, 16, 1, 1), (1, 1, 30, 31)])
def test_global_mean(isa: str, shape: tuple[int, ...], dtype: Any) -> None:
    src, diff = _random(*shape, dtype=dtype), _random(*shape[:2], 1, 1, dtype=dtype, seed=1)
    _close(_core.global_mean(_core.Blocked(src)), src.mean((2, 3), keepdims=True), dtype)
    expected = _core.adaptive_avg_pool2d_backward(diff, shape)
    _close(_core.global_mean_backward(diff, shape), expected, dtype)


def test_join_blocks() -> None:
    lanes = _core.Blocked(_random(1, 1, 1, 1)).array.shape[4]
    parts = [_random(2, channels, 3, 4, seed=channels) for channels in (lanes, 3 * lanes, 5)]
    joined = _core.join_blocks([_core.Blocked(each) for each in parts])
    assert joined is not None
    np.testing.assert_array_equal(joined.plain(), np.concatenate(parts, axis=1))
    assert _core.join_blocks([_core.Blocked(each) for each in reversed(parts)]) is None
    with pytest.raises(ValueError, match="part has shape"):
        _core.join_blocks(
            [_core.Blocked(_random(1, lanes, 2, 2)) for _ in range(1)]
            + [_core.Blocked(_random(1, 4, 3, 2))]
        )
    with pytest.raises(TypeError, match="parts must be Blocked"):
        _core.join_blocks([parts[0]])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="there must be a part"):
        _core.join_blocks([])


@pytest.mark.parametrize(
    "call",
    [
        lambda x: _core.relu_backward(x, _core.Blocked(_random(2, 20, 4, 4))),
        lambda x: _core.relu_backward(x, _random(2, 20, 5, 4)),
        lambda x: _core.hardtanh_backward(x, _random(2, 20, 5), -1.0, 1.0),
        lambda x: _core.batch_norm_backward(
            x, None, _random(20), _random(20), _random(2, 20, 5, 4), True, True, True, True
        ),
        lambda x: _core.batch_norm_train(x, _random(24), None, None, None, 0.1, 1e-5),
        lambda x: _core.conv2d(
            x, _random(8, 24, 3, 3), None, (1, 1), (1, 1), (1, 1), 1, layout=KEPT
        ),
        lambda x: _core.conv2d(
            x, _random(16, 20, 3, 3), _random(8), (1, 1), (1, 1), (1, 1), 1, layout=KEPT
        ),
        lambda x: _core.max_pool2d_blocked_backward(
            x, _core.Blocked(_random(2, 20, 2, 2)), _random(2, 20, 3, 2), *POOLS[0]
        ),
        lambda x: _core.max_pool2d_blocked(x, (9, 9), (1, 1), (0, 0), (1, 1), False),
        lambda x: _core.global_mean_backward(_random(2, 20, 1, 1), (2, 24, 5, 5)),
    ],
)
def test_sizes_that_do_not_fit_are_refused(call: Callable[[Any], Any]) -> None:
    with pytest.raises(ValueError, match=r"^\w+: .*(shape|channels|kernel)"):
        call(_core.Blocked(_random(2, 20, 5, 5)))


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_the_same_bits_for_any_number_of_threads(threads: int) -> None:
    def results() -> list[Array]:
        src, weight = _core.Blocked(_random(9, 20, 23, 17)), _random(40, 20, 3, 3)
        geometry = ((1, 1), (1, 1), (1, 1), 1)
        dst = _core.conv2d(src, weight, None, *geometry, layout=ANY)
        normed, mean, rstd = _core.batch_norm_train(dst, None, None, None, None, 0.1, 1e-5)
        found = _core.conv2d_backward(src, weight, dst, *geometry, True, True, True)
        strided = ((2, 2), (1, 1), (1, 1), 1)
        smaller = _core.conv2d(src, weight, None, *strided, layout=ANY)
        more = _core.conv2d_backward(src, weight, smaller, *strided, True, True, True)
        norms = _core.batch_norm_backward(dst, None, mean, rstd, normed, True, True, True, True)
        return [_plain(each) for each in (dst, normed, smaller, *found, *more, *norms)]

    _core.set_num_threads(1)
    expected = results()
    _core.set_num_threads(threads)
    for one, other in zip(results(), expected, strict=True):
        np.testing.assert_array_equal(one, other)


# -- tensors


@pytest.fixture
def blocked() -> Any:
    """Return a tensor whose array nobody has asked for yet, and that array."""
    src, weight = rushlight.tensor(_random(2, 3, 8, 8)), rushlight.tensor(_random(20, 3, 3, 3))
    with rushlight.no_grad():
        result = F.conv2d(src, weight, padding=1)
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
