"""Every algorithm of conv2d, forced on every shape that it accepts, beside float64."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from typing import Any, NamedTuple

import numpy as np
import pytest

import reference
import rushlight
from rushlight import _core

BOUND = 2e-5  # of the output's root mean square, in float32


class Shape(NamedTuple):
    """A convolution: n, ic, ih, iw; oc, kh, kw; and how the window moves."""

    src: tuple[int, int, int, int]
    weight: tuple[int, int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1


SHAPES = {
    "square": Shape((2, 16, 12, 12), (16, 3, 3)),
    "odd": Shape((3, 17, 13, 11), (19, 3, 3)),
    "no padding": Shape((1, 20, 9, 14), (18, 3, 3), padding=(0, 0)),
    "wide padding": Shape((1, 16, 5, 6), (16, 3, 3), padding=(2, 2)),
    "uneven padding": Shape((2, 16, 6, 7), (17, 3, 3), padding=(0, 2)),
    "padding over 2": Shape((1, 16, 3, 4), (16, 3, 3), padding=(4, 3)),
    "one output": Shape((1, 16, 3, 3), (16, 3, 3), padding=(0, 0)),
    "one pixel": Shape((5, 16, 1, 1), (16, 3, 3)),
    "one row": Shape((1, 16, 1, 37), (16, 3, 3)),
    "one column": Shape((1, 16, 37, 1), (16, 3, 3)),
    "long rows": Shape((1, 16, 5, 139), (16, 3, 3)),
    "many tiles": Shape((9, 16, 30, 31), (18, 3, 3)),
    "many images": Shape((70, 16, 7, 7), (16, 3, 3)),
    "many small images": Shape((200, 16, 8, 8), (32, 3, 3)),
    "many tiny images": Shape((200, 32, 4, 4), (64, 3, 3)),
    "deep": Shape((1, 330, 7, 7), (40, 3, 3)),
    "deep with many tiles": Shape((4, 200, 24, 25), (17, 3, 3)),
    "few channels": Shape((2, 3, 9, 9), (5, 3, 3)),
    "groups": Shape((2, 48, 9, 10), (34, 3, 3), groups=2),
    "depthwise": Shape((2, 8, 9, 10), (8, 3, 3), groups=8),
    "depthwise x2": Shape((2, 6, 9, 10), (12, 3, 3), groups=6),
    "depthwise stride": Shape((2, 8, 21, 23), (8, 3, 3), stride=(2, 2), groups=8),
    "depthwise stride 3": Shape((1, 8, 21, 23), (8, 5, 5), stride=(3, 3), groups=8),
    "depthwise tall": Shape((1, 20, 150, 40), (20, 3, 3), groups=20),
    "depthwise tall, stride": Shape((2, 17, 131, 40), (17, 5, 3), (2, 1), (4, 1), groups=17),
    "depthwise uneven": Shape((2, 6, 19, 23), (12, 4, 5), (3, 2), (2, 1), (1, 2), 6),
    "depthwise dilated": Shape(
        (1, 8, 19, 23), (8, 3, 3), padding=(4, 4), dilation=(4, 4), groups=8
    ),
    "depthwise stride over kernel": Shape((1, 8, 19, 23), (8, 2, 2), (3, 4), (0, 0), groups=8),
    "depthwise many rows": Shape((1, 3, 151, 140), (3, 3, 3), groups=3),
    "depthwise many rows, stride": Shape((1, 3, 151, 300), (3, 3, 3), stride=(2, 2), groups=3),
    "stride": Shape((2, 16, 9, 10), (16, 3, 3), stride=(2, 2)),
    "dilation": Shape((2, 16, 9, 10), (16, 3, 3), padding=(2, 2), dilation=(2, 2)),
    "5x5": Shape((1, 16, 9, 10), (16, 5, 5), padding=(2, 2)),
    "1x1": Shape((3, 16, 5, 5), (17, 1, 1), padding=(0, 0)),
    "one input channel": Shape((2, 1, 9, 10), (17, 3, 3)),
    "first layer": Shape((1, 3, 40, 37), (21, 7, 7), stride=(2, 2), padding=(3, 3)),
    "large stride": Shape((1, 3, 47, 40), (9, 11, 11), stride=(4, 4), padding=(2, 2)),
    "stride over kernel": Shape((2, 5, 19, 23), (7, 2, 2), (3, 4), (0, 1)),
    "stride and dilation": Shape((1, 5, 21, 27), (11, 3, 4), (2, 3), (2, 5), (2, 2)),
    "pointwise stride": Shape((1, 70, 15, 15), (50, 1, 1), (2, 2), (0, 0)),
    "many channels, stride": Shape((1, 130, 14, 14), (140, 3, 3), (2, 2)),
    "many rows": Shape((1, 20, 70, 33), (20, 5, 5), padding=(2, 2)),
    "many groups": Shape((2, 32, 11, 13), (24, 3, 3), groups=8),
    "groups, stride": Shape((1, 36, 15, 9), (36, 3, 3), (2, 2), groups=4),
    "odd channels": Shape((2, 30, 9, 8), (17, 1, 1), padding=(0, 0)),
    "padding over 7x7": Shape((1, 4, 3, 2), (5, 3, 3), (2, 2), (7, 9)),
    "depthwise 5x5": Shape((2, 5, 15, 9), (5, 5, 5), padding=(2, 2), groups=5),
    "depthwise 5x5 stride": Shape((2, 5, 15, 33), (5, 5, 5), (2, 2), (2, 2), groups=5),
    "depthwise 7x7": Shape((1, 5, 40, 17), (10, 7, 7), padding=(3, 3), groups=5),
    "depthwise 7x7 stride": Shape((1, 3, 40, 70), (3, 7, 7), (2, 2), (3, 3), groups=3),
    "depthwise no padding": Shape((2, 3, 8, 19), (3, 3, 3), padding=(0, 0), groups=3),
    "depthwise wide padding": Shape((2, 3, 2, 3), (3, 3, 3), (2, 2), (9, 12), groups=3),
    "depthwise long rows": Shape((1, 2, 40, 700), (2, 3, 3), groups=2),
    "more padding than image": Shape((2, 20, 3, 4), (17, 3, 3), (2, 1), (4, 5)),
    "padding of rows alone": Shape((2, 20, 9, 40), (35, 3, 1), padding=(1, 0)),
    "1x1 with padding": Shape((2, 32, 9, 10), (35, 1, 1), padding=(2, 1)),
    "1x1 with rows of padding": Shape((2, 32, 9, 10), (35, 1, 1), padding=(2, 0)),
    "1x1 of few channels": Shape((3, 19, 9, 13), (50, 1, 1), padding=(0, 0)),
    "few pixels": Shape((37, 40, 2, 2), (29, 3, 3)),
    "few pixels, stride": Shape((19, 21, 5, 4), (23, 3, 2), (2, 3), (1, 0), (1, 2)),
    "few pixels, 1x1": Shape((18, 50, 2, 3), (70, 1, 1), padding=(0, 0)),
    "few pixels, 5x5": Shape((16, 17, 4, 4), (13, 5, 5), padding=(2, 2)),
    "few pixels, deep": Shape((5, 1100, 2, 2), (13, 3, 3)),
    "few pixels, 8x8": Shape((3, 5, 8, 8), (7, 3, 3)),
    "few pixels, far apart": Shape((17, 3, 3, 2), (4, 2, 2), (3, 2), (9, 7), (5, 6)),
    "few pixels, depthwise": Shape((35, 150, 4, 4), (150, 3, 3), groups=150),
    "few pixels, depthwise stride": Shape((16, 70, 5, 7), (70, 3, 5), (2, 2), (1, 2), groups=70),
    "empty batch": Shape((0, 16, 9, 10), (16, 3, 3)),
}


def _accepts(algorithm: str, shape: Shape) -> bool:
    if algorithm == "depthwise":
        return shape.src[1] == shape.groups
    if algorithm.startswith("winograd"):
        return shape.weight[1:] == (3, 3) and shape.stride == (1, 1) == shape.dilation
    if algorithm == "blocked":
        depthwise = shape.groups == shape.src[1] == shape.weight[0]
        return shape.src[0] > 0 and (shape.groups == 1 or depthwise)
    if algorithm == "chwn":
        return _has_few_pixels(shape)
    return True


def _has_few_pixels(shape: Shape) -> bool:
    n, ic, *size = shape.src
    sizes, pairs = [math.prod(size), math.prod(shape.weight[1:])], 1
    outputs = 1
    for axis in range(2):
        step, padding = shape.stride[axis], shape.padding[axis]
        reach = [tap * shape.dilation[axis] for tap in range(shape.weight[1 + axis])]
        count = (size[axis] + 2 * padding - reach[-1] - 1) // step + 1
        at = [output * step - padding + tap for output in range(count) for tap in reach]
        pairs *= sum(0 <= each < size[axis] for each in at)
        outputs *= count
    depthwise = shape.groups == ic == shape.weight[0]
    return (
        n > 0 and (shape.groups == 1 or depthwise) and max(*sizes, outputs) <= 64 and pairs <= 2048
    )


def _inputs(shape: Shape, dtype: Any = np.float32) -> tuple[Any, Any, Any, tuple[Any, ...]]:
    rng = np.random.default_rng(0)
    oc, kh, kw = shape.weight
    src = rng.standard_normal(shape.src).astype(dtype)
    weight = rng.standard_normal((oc, shape.src[1] // shape.groups, kh, kw)).astype(dtype)
    bias = rng.standard_normal(oc).astype(dtype)
    return src, weight, bias, (shape.stride, shape.padding, shape.dilation, shape.groups)


def _check(found: Any, expected: Any, bound: float) -> None:
    assert found.shape == expected.shape
    if expected.size:
        rms = float(np.sqrt(np.mean(np.square(expected))))
        assert np.abs(found - expected).max() <= bound * rms


PAIRS = [
    pytest.param(algorithm, shape, id=f"{algorithm}-{name}")
    for algorithm in _core.conv_algorithms()
    for name, shape in SHAPES.items()
    if _accepts(algorithm, shape)
]


@pytest.mark.parametrize(("algorithm", "shape"), PAIRS)
def test_forward(algorithm: str, shape: Shape, isa: str) -> None:
    src, weight, bias, window = _inputs(shape)
    wide = [each.astype(np.float64) for each in (src, weight, bias)]
    expected = reference.conv2d(*wide, *window)
    _core.set_conv_algorithm(algorithm)
    _check(_core.conv2d(src, weight, bias, *window), expected, BOUND)
    _check(_core.conv2d(src, weight, None, *window) + bias[:, None, None], expected, BOUND)
    _check(_core.conv2d(*wide, *window), expected, 1e-13)


def _gradients(src: Any, weight: Any, diff: Any, window: tuple[Any, ...]) -> tuple[Any, Any]:
    found = _core.conv2d_backward(src, weight, diff, *window, True, True, False)
    return found[0], found[1]


@pytest.mark.parametrize(("algorithm", "shape"), PAIRS)
def test_backward(algorithm: str, shape: Shape, isa: str) -> None:
    """Against the matrix product in float64, which finite differences check elsewhere."""
    src, weight, bias, window = _inputs(shape)
    diff = np.random.default_rng(1).standard_normal(_core.conv2d(src, weight, bias, *window).shape)
    _core.set_conv_algorithm("gemm")
    expected = _gradients(src.astype(np.float64), weight.astype(np.float64), diff, window)
    _core.set_conv_algorithm(algorithm)
    found = _gradients(src, weight, diff.astype(np.float32), window)
    wide = _gradients(src.astype(np.float64), weight.astype(np.float64), diff, window)
    for narrow, same, right in zip(found, wide, expected, strict=True):
        _check(narrow, right, BOUND)
        _check(same, right, 1e-13)


@pytest.mark.parametrize(("algorithm", "shape"), PAIRS)
def test_threads_do_not_change_a_bit(algorithm: str, shape: Shape) -> None:
    src, weight, bias, window = _inputs(shape)
    _core.set_conv_algorithm(algorithm)
    found = []
    for threads in (1, 2, 5):
        _core.set_num_threads(threads)
        dst = _core.conv2d(src, weight, bias, *window)
        grads = _gradients(src, weight, dst, window)
        found.append([dst.tobytes(), *(each.tobytes() for each in grads)])
    assert found[0] == found[1] == found[2]


def test_a_shape_that_the_algorithm_does_not_accept() -> None:
    src, weight, bias, window = _inputs(SHAPES["stride"])
    for algorithm in ("depthwise", "winograd2", "winograd4"):
        _core.set_conv_algorithm(algorithm)
        with pytest.raises(ValueError, match=f"conv2d: the algorithm {algorithm}"):
            _core.conv2d(src, weight, bias, *window)


def test_unknown_algorithm_lists_the_valid_ones() -> None:
    with pytest.raises(
        ValueError, match="gemm, direct, depthwise, winograd2, winograd4, blocked, chwn, got 'fft'"
    ):
        _core.set_conv_algorithm("fft")


def test_one_bad_value_stays_in_its_neighbourhood() -> None:
    """What padding leaves unwritten never reaches a result."""
    src, weight, bias, window = _inputs(SHAPES["odd"])
    src[1, 3, 6, 5] = np.nan
    for algorithm in ("winograd2", "winograd4"):
        _core.set_conv_algorithm(algorithm)
        dst = _core.conv2d(src, weight, bias, *window)
        assert np.isfinite(dst[[0, 2]]).all()
        assert np.isnan(dst[1, :, 5:8, 4:7]).all()


def _uses_winograd() -> bool:
    src, weight, bias, window = _inputs(SHAPES["many tiles"])
    chosen = _core.conv2d(src, weight, bias, *window)
    _core.set_conv_algorithm("gemm")
    plain = _core.conv2d(src, weight, bias, *window)
    _core.set_conv_algorithm(None)
    return chosen.tobytes() != plain.tobytes()


def test_the_switch() -> None:
    winograd = rushlight.backends.winograd
    winograd.enabled = True
    assert _uses_winograd()
    with winograd.flags(enabled=False):
        assert not winograd.enabled
        assert not _uses_winograd()
    assert winograd.enabled
    winograd.enabled = False
    assert not _uses_winograd()
    with pytest.raises(TypeError, match=r"winograd\.enabled"):
        winograd.enabled = 1  # type: ignore[assignment]


@pytest.mark.parametrize(("value", "enabled"), [("0", "False"), ("1", "True"), ("", "True")])
def test_the_environment(value: str, enabled: str) -> None:
    code = "import rushlight; print(rushlight.backends.winograd.enabled)"
    environment = {**os.environ, "RUSHLIGHT_WINOGRAD": value}
    command = [sys.executable, "-c", code]
    out = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert out.stdout.strip() == enabled
