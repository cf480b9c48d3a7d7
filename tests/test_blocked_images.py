"""Images in blocks of channels between operations: the same results as with planes throughout."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rushlight import _core

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
    shared = blocked.shared_plain()
    assert blocked.shared_plain() is shared
    assert blocked.plain() is not shared
    np.testing.assert_array_equal(shared, planes)
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
        with pytest.raises(ValueError, match="different instruction sets"):
            _core.add(blocked, other)
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
    (3, 20, 20, 20, (1, 1), 3, (2, 2), 1, 1),
    (4, 36, 36, 36, (2, 5), 3, (2, 2), 1, 1),
    (2, 16, 16, 16, (33, 70), 3, (2, 2), 1, 1),
    (3, 20, 20, 20, (9, 8), 3, (1, 2), 1, 1),
    (3, 20, 20, 20, (7, 7), 3, (2, 1), 0, 1),
    (20, 40, 40, 40, (4, 4), 3, (1, 1), 1, 1),
    (2, 20, 20, 20, (5, 3), 3, (1, 1), 4, 1),
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


@pytest.mark.parametrize("padding", [2**20, 2**30, 2**31 - 1, 2**40])
@pytest.mark.parametrize("channels", [1, 16])
def test_results_that_no_memory_holds_are_refused(padding: int, channels: int) -> None:
    src, weight = (
        np.zeros((1, channels, 1, 1), np.float32),
        np.zeros((16, channels, 1, 1), np.float32),
    )
    geometry = ((1, 1), (padding, padding), (1, 1), 1)
    for x in (src, _core.Blocked(src)):
        for layout in (0, KEPT, ANY):
            with pytest.raises(
                (MemoryError, ValueError), match=r"^conv2d: (cannot alloc|size over)"
            ):
                _core.conv2d(x, weight, None, *geometry, layout=layout)


@pytest.mark.parametrize("shape", [(0, 16, 4, 4), (2, 0, 4, 4), (2, 16, 0, 4)], ids=str)
def test_images_of_nothing(shape: tuple[int, ...]) -> None:
    blocked = _core.Blocked(np.zeros(shape, np.float32))
    assert blocked.plain().shape == shape
    assert _plain(_core.relu(blocked)).shape == shape
    dst, mean, _ = _core.batch_norm_train(blocked, None, None, None, None, 0.1, 1e-5)
    assert (_plain(dst).shape, mean.shape) == (shape, shape[1:2])
    if shape[1] == 0 or shape[2] == 0:
        with pytest.raises(ValueError, match="only the batch of src may be empty"):
            _core.global_mean(blocked)
    if shape[1]:
        weight = np.ones((16, shape[1], 1, 1), np.float32)
        geometry = ((1, 1), (1, 1), (1, 1), 1)
        found = _core.conv2d(blocked, weight, None, *geometry, layout=ANY)
        assert _plain(found).shape == (shape[0], 16, shape[2] + 2, shape[3] + 2)


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
