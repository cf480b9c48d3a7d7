"""Layers' operations where rows of ``cases_layers.py`` do not reach: extremes, errors, settings."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rushlight as rl
from rushlight import ops as F
from rushlight.autograd import gradcheck

INF, NAN = math.inf, math.nan


def _leaf(*shape: int, dtype: Any = np.float64) -> Any:
    array = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    return rl.tensor(array, requires_grad=True)


def test_gelu_is_accurate_in_the_lower_tail() -> None:
    x = np.linspace(-9.0, -3.0, 50)
    exact = [0.5 * each * math.erfc(-each / math.sqrt(2)) for each in x]
    np.testing.assert_allclose(F.gelu(rl.tensor(x)).numpy(), exact, rtol=1e-13)


ZERO_AND_ENDS = {
    "relu6": [-0.0, 6.0, 0.0],
    "hardtanh": [-0.0, 1.0, -1.0],
    "leaky_relu": [-0.0, INF, -INF],
    "elu": [-0.0, INF, -1.0],
    "gelu": [-0.0, INF, NAN],
    "silu": [-0.0, INF, NAN],
    "hardswish": [-0.0, INF, NAN],
    "hardsigmoid": [0.5, 1.0, 0.0],
    "softplus": [math.log(2), INF, 0.0],
    "softsign": [-0.0, NAN, NAN],
    "logsigmoid": [-math.log(2), 0.0, -INF],
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", ZERO_AND_ENDS)
def test_activations_at_extremes(name: str, dtype: Any) -> None:
    activation = getattr(F, name)
    x = rl.tensor(np.array([-0.0, INF, -INF, NAN, 1e30, -1e30, 1e-30], dtype), requires_grad=True)
    y = activation(x)
    y.backward(rl.ones_like(x))
    found = y.numpy(force=True)
    np.testing.assert_allclose(found[:3], np.array(ZERO_AND_ENDS[name], dtype), rtol=1e-6)
    assert np.isnan(found[3])
    if name not in ("relu6", "hardtanh", "hardsigmoid", "softplus", "logsigmoid"):
        assert np.signbit(found[0])
    assert np.isfinite(x.grad.numpy()[4:]).all()
    assert activation(rl.tensor(2.0)).shape == ()
    assert activation(rl.zeros(0, 3)).shape == (0, 3)


IN_PLACE = [
    "relu6", "hardtanh", "leaky_relu", "elu", "silu", "hardswish", "hardsigmoid",
]  # fmt: skip


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place_activations(name: str) -> None:
    activation = getattr(F, name)
    with pytest.raises(RuntimeError, match="leaf"):
        activation(_leaf(3), inplace=True)
    saved = _leaf(3).sigmoid()
    changed = activation(saved, inplace=True)
    assert changed is saved
    assert saved._version == 1
    with pytest.raises(RuntimeError, match="changed in"):
        changed.sum().backward()
    x = _leaf(4)
    whole = x * 2
    activation(whole[1:3], inplace=True)
    whole.sum().backward()
    y = rl.tensor(x.numpy(force=True), requires_grad=True)
    inner = activation((y * 2)[1:3])
    (inner.sum() + (y * 2)[0] + (y * 2)[3]).backward()
    np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy())


def test_a_result_that_backward_needs_is_guarded() -> None:
    for activation in (F.relu6, F.leaky_relu):
        y = activation(_leaf(3))
        y.add_(1.0)
        with pytest.raises(RuntimeError, match="changed in"):
            y.sum().backward()
    y = F.layer_norm(_leaf(2, 3), 3)
    y.mul_(2.0)
    with pytest.raises(RuntimeError, match="changed in"):
        y.sum().backward()


def test_integers() -> None:
    x = rl.tensor([-3, 9, 2])
    assert F.relu6(x).tolist() == [0, 6, 2]
    assert F.hardtanh(x, -2.5, 2.5).tolist() == [-2, 2, 2]
    assert F.hardtanh_(x).tolist() == [-1, 1, 1]
    assert x.tolist() == [-1, 1, 1]


def test_layer_norm_far_from_0() -> None:
    x = np.random.default_rng(0).standard_normal((4, 300)).astype(np.float32) + np.float32(4096)
    wide = x.astype(np.float64)
    exact = (wide - wide.mean(1, keepdims=True)) / np.sqrt(wide.var(1, keepdims=True) + 1e-5)
    found = F.layer_norm(rl.from_numpy(x), (300,)).numpy()
    np.testing.assert_allclose(found, exact, rtol=1e-5, atol=1e-5)


def test_norms_of_nothing() -> None:
    assert F.layer_norm(rl.zeros(2, 0), 0).shape == (2, 0)
    assert F.group_norm(rl.zeros(2, 4, 0), 2).shape == (2, 4, 0)
    assert F.instance_norm(rl.zeros(0, 4, 3)).shape == (0, 4, 3)
    assert F.normalize(rl.zeros(2, 3)).tolist() == [[0.0] * 3] * 2


def test_instance_norm_statistics() -> None:
    x = rl.arange(12.0).view(2, 2, 3)
    mean, var = rl.zeros(2), rl.ones(2)
    F.instance_norm(x, mean, var)
    np.testing.assert_allclose(mean.numpy(), [0.4, 0.7], rtol=1e-6)
    np.testing.assert_allclose(var.numpy(), [1.0, 1.0])
    assert mean._version == 1
    given = F.instance_norm(x, mean, var, use_input_stats=False).numpy()[0, 0]
    np.testing.assert_allclose(given, (np.arange(3) - 0.4) / np.sqrt(1 + 1e-5), rtol=1e-5)


def test_indices_of_max_pool1d() -> None:
    values, indices = F.max_pool1d(rl.tensor([[1.0, 3.0, 2.0, 5.0]]), 2, return_indices=True)
    assert values.tolist() == [[3.0, 5.0]]
    assert indices.tolist() == [[1, 3]]
    _, indices = F.adaptive_max_pool1d(rl.tensor([[[4.0, 3.0, 2.0]]]), 1, return_indices=True)
    assert indices.tolist() == [[[0]]]


PADS = [
    ((2, 5), (1, 3)), ((2, 3, 5), (2, 1, 1, 2)), ((1, 2, 4, 3), (1, 2)), ((3, 5), (3, -2)),
    ((1, 2, 3, 4), (-1, 2, 2, 0)), ((2, 2, 3, 3, 4), (1, 2, 0, 1, 2, 1)), ((1, 4, 5), (0, 0)),
    ((3, 5), (-1, -1)),
]  # fmt: skip


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize(("shape", "widths"), PADS)
def test_borders(mode: str, shape: Any, widths: Any) -> None:
    torch = pytest.importorskip("torch")
    x = _leaf(*shape)
    other = torch.tensor(x.numpy(force=True))
    if len(shape) - len(widths) // 2 > 2:
        with pytest.raises(ValueError, match="takes 2, 4 or 6 widths"):
            F.pad(x, widths, mode)
        return
    expected = torch.nn.functional.pad(other, widths, mode)
    np.testing.assert_array_equal(F.pad(x, widths, mode).numpy(force=True), expected)
    assert gradcheck(lambda a: F.pad(a, widths, mode), [x])


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "linear"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_sources_of_interpolation(mode: str, dtype: Any) -> None:
    """Every element of the result comes from where PyTorch takes it."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    for _ in range(40):
        x = np.arange(rng.integers(1, 400), dtype=dtype)[None, None]
        factor = float(rng.uniform(1 / x.size + 0.3, 3))
        for options in ({"size": int(rng.integers(1, 900))}, {"scale_factor": factor}):
            if int(x.size * factor) < 1:
                continue
            expected = torch.nn.functional.interpolate(torch.tensor(x), mode=mode, **options)
            found = F.interpolate(rl.from_numpy(x), mode=mode, **options).numpy()
            bound = 0 if mode != "linear" else 1e-3
            np.testing.assert_allclose(found, expected, rtol=0, atol=bound)


def test_embedding_settings() -> None:
    weight, picks = _leaf(4, 2), rl.tensor([[1, 1], [3, 0]])
    F.embedding(picks, weight, padding_idx=-1).sum().backward()
    assert weight.grad.tolist() == [[1, 1], [2, 2], [0, 0], [0, 0]]
    weight.grad = None
    F.embedding(picks, weight, scale_grad_by_freq=True).sum().backward()
    assert weight.grad.tolist() == [[1, 1], [1, 1], [0, 0], [1, 1]]
    before = weight.numpy(force=True).copy()
    F.embedding(picks, weight, max_norm=0.1)
    after = weight.numpy(force=True)
    assert weight._version == 1
    np.testing.assert_array_equal(after[2], before[2])
    np.testing.assert_allclose(np.linalg.norm(after[[0, 1, 3]], axis=1), 0.1, rtol=1e-5)
    assert F.embedding(rl.tensor(2), weight).shape == (2,)
    empty = F.embedding(rl.zeros(0, 3, dtype=rl.int64), weight)
    empty.sum().backward()
    assert empty.shape == (0, 3, 2)


def test_one_hot() -> None:
    assert F.one_hot(rl.tensor([1, 0])).tolist() == [[0, 1], [1, 0]]
    assert F.one_hot(rl.tensor(2), 4).tolist() == [0, 0, 1, 0]
    assert F.one_hot(rl.zeros(0, 2, dtype=rl.int64), 3).shape == (0, 2, 3)


def test_binary_cross_entropy_at_the_ends() -> None:
    x = rl.tensor([0.0, 1.0, 0.5], requires_grad=True)
    loss = F.binary_cross_entropy(x, rl.tensor([1.0, 1.0, 0.0]), reduction="none")
    np.testing.assert_allclose(loss.numpy(force=True), [100.0, 0.0, math.log(2)], rtol=1e-6)
    loss.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [-1e12, 0.0, 2.0], rtol=1e-5)


def test_logits_do_not_overflow() -> None:
    x = rl.tensor([-1e30, -100.0, 100.0, 1e30], requires_grad=True)
    target = rl.tensor([1.0, 0.0, 1.0, 0.0])
    loss = F.binary_cross_entropy_with_logits(x, target, reduction="none")
    loss.sum().backward()
    np.testing.assert_allclose(loss.numpy(force=True), [1e30, 0, 0, 1e30], rtol=1e-6, atol=1e-30)
    np.testing.assert_allclose(x.grad.numpy(), [-1, 0, 0, 1], atol=1e-30)


def test_pos_weight_has_a_gradient() -> None:
    x, target, factor = _leaf(3, 4), rl.tensor(np.full((3, 4), 0.3)), _leaf(4)
    assert gradcheck(
        lambda a, w: F.binary_cross_entropy_with_logits(a, target, pos_weight=w), [x, factor]
    )


def test_cosine_of_short_and_huge_vectors() -> None:
    zero = rl.zeros(2, 3, requires_grad=True)
    F.cosine_similarity(zero, rl.ones(2, 3)).sum().backward()
    assert np.isfinite(zero.grad.numpy()).all()
    huge = rl.tensor([[1e30, 1.0]], requires_grad=True)
    F.cosine_similarity(huge, rl.ones(1, 2)).sum().backward()
    assert huge.grad.tolist() == [[0.0, 0.0]]
    assert gradcheck(F.cosine_similarity, [_leaf(3, 4), _leaf(3, 1)])


def test_the_mean_of_kl_div_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="batchmean"):
        F.kl_div(rl.zeros(2, 2), rl.ones(2, 2))


def test_losses_warn_of_other_shapes() -> None:
    for loss in (F.smooth_l1_loss, F.huber_loss):
        with pytest.warns(UserWarning, match="broadcast"):
            loss(rl.zeros(2, 2), rl.ones(2))


R, X = rl.zeros, rl.tensor([1, 2])
V, T = ValueError, TypeError
ERRORS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: F.gelu(X), T, "gelu: input must be float32 or float64, but got int64"),
    (lambda: F.silu([1.0]), T, "silu: input must be a Tensor, but got list"),
    (lambda: F.gelu(R(2), "erf"), V, "gelu: approximate must be"),
    (lambda: F.hardtanh(R(2), 2, 1), V, "hardtanh: min_val must not be above"),
    (lambda: F.elu(R(2), "a"), T, "elu: alpha must be a number, but got str"),
    (lambda: F.softplus(R(2), 0), V, "softplus: beta must not be 0"),
    (lambda: F.prelu(R(2, 3), R(2)), V, "prelu: weight must hold 1 number or 3"),
    (lambda: F.prelu(R(2), R(1).double()), T, "prelu: all tensors must have one type"),
    (lambda: F.layer_norm(R(2, 3), (4,)), V, "layer_norm: input must end in"),
    (lambda: F.layer_norm(R(2, 3), ()), V, "layer_norm: input must end in"),
    (lambda: F.layer_norm(R(2, 3), (3,), R(2)), V, "layer_norm: weight must have shape"),
    (lambda: F.group_norm(R(2, 4), 3), V, "group_norm: num_groups must divide the 4"),
    (lambda: F.group_norm(R(1, 4), 4), V, "group_norm: statistics need more than 1"),
    (lambda: F.instance_norm(R(2, 4, 1)), V, "instance_norm: statistics need more"),
    (lambda: F.instance_norm(R(2, 4, 3), use_input_stats=False), V, "instance_norm: runn"),
    (lambda: F.normalize(R(2), dim=3), IndexError, "dim must be in"),
    (lambda: F.conv1d(R(2, 3, 4, 5), R(2, 3, 2)), V, "conv1d: input must be"),
    (lambda: F.conv1d(R(2, 3, 4), R(2, 2, 2)), V, "conv1d: weight has 2 input channels"),
    (lambda: F.conv1d(R(2, 3, 4), R(2, 3, 2), stride=(1, 2)), V, "conv1d: stride must"),
    (lambda: F.conv_transpose2d(R(1, 3, 2, 2), R(2, 1, 3, 3)), V, "has 2 input channels, but"),
    (lambda: F.conv_transpose2d(R(1, 2, 2, 2), R(2, 1, 3, 3), R(2)), V, "bias must have sh"),
    (lambda: F.conv_transpose2d(R(1, 2, 2, 2), R(2, 1, 3, 3), output_padding=1), V,
     "conv_transpose2d: output_padding must be smaller than stride or dilation"),
    (lambda: F.conv_transpose2d(R(1, 2, 2, 2), R(2, 1, 3, 3), padding=3), V, "would be -2 x"),
    (lambda: F.conv_transpose2d(R(1, 3, 2, 2), R(3, 1, 3, 3), groups=2), V, "groups must div"),
    (lambda: F.conv_transpose2d(R(1, 2, 2, 2), R(2, 1, 3, 3), stride=0), V, "stride must be"),
    (lambda: F.conv_transpose1d(R(1, 2), R(2, 1)), V, "conv_transpose1d: input must be"),
    (lambda: F.max_pool1d(R(1, 3, 2), 3), V, "max_pool1d: "),
    (lambda: F.avg_pool1d(R(1, 3, 2), (2, 2)), V, "avg_pool1d: kernel_size must be one"),
    (lambda: F.adaptive_avg_pool1d(R(1, 3, 2), None), T, "adaptive_avg_pool1d: output_size"),
    (lambda: F.pad(R(1, 5), (5, 0), "reflect"), V, "pad: reflect widths for dimension 1"),
    (lambda: F.pad(R(1, 5), (6, 0), "circular"), V, "pad: circular widths"),
    (lambda: F.pad(R(1, 5), (1, 0), "mirror"), V, "pad: mode must be"),
    (lambda: F.pad(R(1, 5), (1, 0), "reflect", 1.0), V, "takes no value"),
    (lambda: F.interpolate(R(1, 1, 2, 2)), V, "interpolate: one of size and scale_factor"),
    (lambda: F.interpolate(R(1, 1, 2), 3, mode="bilinear"), V, "interpolate: mode must be"),
    (lambda: F.interpolate(R(1, 1, 2, 2), 0), V, "interpolate: sizes must be at least 1"),
    (lambda: F.interpolate(R(1, 1, 2, 2), (3,)), V, "interpolate: size must be one number"),
    (lambda: F.interpolate(R(1, 1, 2, 2), 3, align_corners=True), V, "takes no align_corn"),
    (lambda: F.interpolate(R(1, 1, 2, 2), scale_factor=-1.0), V, "scale_factor must be pos"),
    (lambda: F.channel_shuffle(R(1, 3, 2, 2), 2), V, "channel_shuffle: groups must .* 3 channels"),
    (lambda: F.channel_shuffle(R(1, 4), 2), V, "channel_shuffle: input must be"),
    (lambda: F.pixel_shuffle(R(1, 3, 2, 2), 2), V, "pixel_shuffle: 2 \\* 2 does not divide"),
    (lambda: F.pixel_unshuffle(R(1, 3, 3, 2), 2), V, "pixel_unshuffle: 2 does not divide"),
    (lambda: F.embedding(X, R(2, 3)), IndexError, "embedding: index 2 is out of range for 2 rows"),
    (lambda: F.embedding(R(2), R(2, 3)), T, "embedding: input must be int64"),
    (lambda: F.embedding(X, R(3)), V, "embedding: weight must be a matrix"),
    (lambda: F.embedding(X, R(3, 3), 3), V, "embedding: padding_idx must be in"),
    (lambda: F.embedding(X, R(3, 3), sparse=True), V, "embedding: sparse must be False"),
    (lambda: F.one_hot(-X), V, "one_hot: classes must be in"),
    (lambda: F.one_hot(X, 0), V, "one_hot: num_classes must be at least 1"),
    (lambda: F.binary_cross_entropy(R(2) + 2, R(2)), V, "input must hold numbers in"),
    (lambda: F.binary_cross_entropy(R(2), R(3)), V, "target must have the shape"),
    (lambda: F.binary_cross_entropy(R(2), R(2), R(3)), V, "weight must broadcast"),
    (lambda: F.smooth_l1_loss(R(2), R(2), beta=-1.0), V, "smooth_l1_loss: beta must"),
    (lambda: F.huber_loss(R(2), R(2), delta=0), V, "huber_loss: delta must be above 0"),
    (lambda: F.kl_div(R(2), R(3), "sum"), V, "kl_div: shapes"),
    (lambda: F.kl_div(R(2), R(2), "all"), V, "kl_div: reduction must be one of"),
    (lambda: F.cosine_similarity(R(3), R(3)), IndexError, "cosine_similarity: dim must be in"),
    (lambda: F.triplet_margin_loss(R(2), R(2), R(2), 0), V, "margin must be above 0"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "text"), ERRORS, ids=[each[2][:30] for each in ERRORS])
def test_errors(call: Callable[[], Any], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        call()
