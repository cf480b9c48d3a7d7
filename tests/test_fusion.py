"""Folding a batch normalisation into the layer before it."""

import numpy as np
import pytest

import rushlight as rl
from rushlight import nn
from rushlight.nn.utils import fuse_conv_bn_eval, fuse_linear_bn_eval


def settled(norm):
    """Return the normalisation with statistics and parameters of a trained one."""
    for each in (norm.running_mean, norm.running_var, norm.weight, norm.bias):
        if each is not None:
            each.data = rl.rand(*each.shape, dtype=each.dtype) + 0.5
    return norm.eval()


CONVS = [
    (lambda: nn.Conv2d(4, 6, 3), nn.BatchNorm2d, (2, 4, 5, 5)),
    (lambda: nn.Conv2d(4, 6, 3, 2, 1, groups=2, bias=False), nn.BatchNorm2d, (2, 4, 5, 5)),
    (lambda: nn.Conv1d(4, 6, 3), nn.BatchNorm1d, (2, 4, 7)),
    (lambda: nn.ConvTranspose2d(4, 6, 3, 2), nn.BatchNorm2d, (2, 4, 5, 5)),
    (lambda: nn.ConvTranspose2d(4, 6, 3, groups=2, bias=False), nn.BatchNorm2d, (2, 4, 5, 5)),
    (lambda: nn.ConvTranspose1d(4, 6, 3, groups=2), nn.BatchNorm1d, (2, 4, 5)),
]


@pytest.mark.parametrize(("make", "norm", "shape"), CONVS)
@pytest.mark.parametrize("affine", [True, False])
def test_convolutions(make, norm, shape, affine):
    conv, bn = make().eval(), settled(norm(6, affine=affine))
    fused = fuse_conv_bn_eval(conv, bn, transpose=conv.transposed)
    x = rl.randn(*shape)
    np.testing.assert_allclose(
        fused(x).detach().numpy(), bn(conv(x)).detach().numpy(), rtol=1e-5, atol=1e-5
    )
    assert type(fused) is type(conv)
    assert fused.weight is not conv.weight
    assert isinstance(fused.bias, nn.Parameter)
    assert fused.weight.requires_grad
    assert fused.weight.dtype == rl.float32


@pytest.mark.parametrize("bias", [True, False])
def test_linear(bias):
    linear, bn = nn.Linear(4, 3, bias).double().eval(), settled(nn.BatchNorm1d(3).double())
    fused, x = fuse_linear_bn_eval(linear, bn), rl.randn(5, 4, dtype=rl.float64)
    assert rl.allclose(fused(x), bn(linear(x)), rtol=1e-12)
    assert fused.weight.dtype == rl.float64


def test_it_is_computed_in_float64():
    conv, bn = nn.Conv2d(1, 1, 1).eval(), nn.BatchNorm2d(1).eval()
    with rl.no_grad():
        conv.weight.fill_(1 / 3)
        conv.bias.fill_(1e4)
        bn.running_mean.fill_(1e4 + 1 / 1024)
        bn.running_var.fill_(0.1)
    fused = fuse_conv_bn_eval(conv, bn)
    rstd = 1 / np.sqrt(np.float64(np.float32(0.1)) + 1e-5)
    assert fused.weight.item() == np.float32(np.float64(np.float32(1 / 3)) * rstd)
    assert fused.bias.item() == np.float32(-(bn.running_mean.item() - 1e4) * rstd)


@pytest.mark.parametrize("weight_trains", [False, True])
@pytest.mark.parametrize("bias_trains", [False, True, None])
def test_what_was_frozen_stays_frozen(weight_trains, bias_trains):
    conv, bn = nn.Conv2d(2, 3, 1, bias=bias_trains is not None).eval(), nn.BatchNorm2d(3).eval()
    conv.weight.requires_grad = weight_trains
    if conv.bias is not None:
        conv.bias.requires_grad = bias_trains
    fused = fuse_conv_bn_eval(conv, bn)
    assert fused.weight.requires_grad is weight_trains
    # A bias that is new trains with the weight.
    assert fused.bias.requires_grad is (weight_trains if bias_trains is None else bias_trains)


def test_beside_torch():
    torch = pytest.importorskip("torch")
    conv, bn = nn.Conv2d(4, 6, 3, groups=2).eval(), settled(nn.BatchNorm2d(6))
    theirs = torch.nn.Conv2d(4, 6, 3, groups=2).eval(), torch.nn.BatchNorm2d(6).eval()
    for ours, other in zip((conv, bn), theirs, strict=True):
        other.load_state_dict(
            {name: torch.from_numpy(v.numpy()) for name, v in ours.state_dict().items()}
        )
    expected = torch.nn.utils.fuse_conv_bn_eval(*theirs).state_dict()
    for name, value in fuse_conv_bn_eval(conv, bn).state_dict().items():
        np.testing.assert_allclose(value.numpy(), expected[name].numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("error", "fuse", "text"),
    [
        (TypeError, lambda c, b: fuse_conv_bn_eval(nn.ReLU(), b), "must be a convolution"),
        (TypeError, lambda c, b: fuse_conv_bn_eval(c, nn.ReLU()), "must be a batch norm"),
        (ValueError, lambda c, b: fuse_conv_bn_eval(c, b, True), "transpose must be False"),
        (ValueError, lambda c, b: fuse_conv_bn_eval(c.train(), b), "Conv2d is in training mode"),
        (ValueError, lambda c, b: fuse_conv_bn_eval(c, b.train()), "BatchNorm2d is in training"),
        (ValueError, lambda c, b: fuse_conv_bn_eval(c, nn.BatchNorm2d(5).eval()), "has 5"),
        (
            ValueError,
            lambda c, b: fuse_conv_bn_eval(c, nn.BatchNorm2d(3, track_running_stats=False).eval()),
            "tracks none",
        ),
        (TypeError, lambda c, b: fuse_linear_bn_eval(c, b), "must be a Linear"),
        (ValueError, lambda c, b: fuse_linear_bn_eval(nn.Linear(2, 3), b), "Linear is in training"),
    ],
)
def test_what_is_refused(error, fuse, text):
    with pytest.raises(error, match=text):
        fuse(nn.Conv2d(2, 3, 1).eval(), nn.BatchNorm2d(3).eval())
