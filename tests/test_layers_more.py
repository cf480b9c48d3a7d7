"""The layers that complete the set: refusals, printing, values and gradients, initial values."""

import inspect
import math
import pickle

import numpy as np
import pytest

import rushlight as rl
from rushlight import nn
from rushlight.autograd import gradcheck
from rushlight.nn import functional as F

# -- what constructors refuse --------------------------------------------------------------------

REFUSED = [
    (ValueError, lambda: nn.Conv1d(1, 1, (3, 3)), "Conv1d: kernel_size must be one int"),
    (ValueError, lambda: nn.Conv1d(1, 1, 3, stride=0), "Conv1d: stride must be 1 or more"),
    (ValueError, lambda: nn.Conv1d(3, 4, 3, groups=2), "Conv1d: in_channels must be divisible"),
    (ValueError, lambda: nn.Conv1d(1, 1, 3, 2, "same"), "not supported for strided"),
    (ValueError, lambda: nn.ConvTranspose2d(1, 1, 0), "kernel_size must be 1 or more"),
    (ValueError, lambda: nn.ConvTranspose2d(1, 1, 3, output_padding=1), "smaller than stride"),
    (ValueError, lambda: nn.ConvTranspose2d(1, 1, 3, output_padding=-1), "must be 0 or more"),
    (ValueError, lambda: nn.ConvTranspose2d(1, 1, 3, padding="same"), "in numbers"),
    (ValueError, lambda: nn.ConvTranspose2d(1, 1, 3, padding_mode="reflect"), "'zeros'"),
    (ValueError, lambda: nn.ConvTranspose2d(1, 3, 3, groups=2), "in_channels must be divisible"),
    (ValueError, lambda: nn.GroupNorm(2, 3), "num_channels (3) must be divisible by num_groups"),
    (ValueError, lambda: nn.GroupNorm(0, 3), "num_groups must be 1 or more"),
    (ValueError, lambda: nn.GroupNorm(2, -2), "num_channels must be 0 or more"),
    (ValueError, lambda: nn.LayerNorm(()), "one dimension or more"),
    (ValueError, lambda: nn.LayerNorm(-1), "normalized_shape must be 0 or more"),
    (TypeError, lambda: nn.LayerNorm(1.5), "normalized_shape must be an int"),
    (RuntimeError, lambda: nn.LayerNorm(2, device="cuda"), "device must be 'cpu'"),
    (ValueError, lambda: nn.Hardtanh(2, 1), "max_val must be above min_val"),
    (ValueError, lambda: nn.Hardtanh(1, 1), "max_val must be above min_val"),
    (ValueError, lambda: nn.PReLU(0), "num_parameters must be 1 or more"),
    (TypeError, lambda: nn.PReLU(1.0), "num_parameters must be an int"),
    (ValueError, lambda: nn.GELU("foo"), "'none' or 'tanh', got 'foo'"),
    (ValueError, lambda: nn.Softplus(0), "beta must not be 0"),
    (ValueError, lambda: nn.MaxPool1d(0), "MaxPool1d: kernel_size must be 1 or more"),
    (ValueError, lambda: nn.MaxPool1d((2, 2)), "kernel_size must be one int"),
    (ValueError, lambda: nn.MaxPool1d(2, padding=2), "at most half of the window"),
    (ValueError, lambda: nn.AvgPool1d(2, stride=0), "AvgPool1d: stride must be 1 or more"),
    (ValueError, lambda: nn.AdaptiveAvgPool1d((1, 2)), "output_size must be one size"),
    (TypeError, lambda: nn.AdaptiveMaxPool1d(None), "output_size must be an int"),
    (ValueError, lambda: nn.ZeroPad2d((1, 2, 3)), "padding must be one int or four"),
    (TypeError, lambda: nn.ZeroPad2d(1.5), "padding must be an int, but got float"),
    (ValueError, lambda: nn.ReflectionPad2d(-1), "padding must be 0 or more"),
    (ValueError, lambda: nn.Upsample(), "one of size and scale_factor must be given"),
    (ValueError, lambda: nn.Upsample(2, 2), "one of size and scale_factor must be given"),
    (ValueError, lambda: nn.Upsample(2, mode="trilinear"), "mode must be one of"),
    (ValueError, lambda: nn.PixelShuffle(0), "upscale_factor must be 1 or more"),
    (TypeError, lambda: nn.PixelUnshuffle(0.5), "downscale_factor must be an int"),
    (ValueError, lambda: nn.Embedding(-1, 2), "num_embeddings must be 0 or more"),
    (ValueError, lambda: nn.Embedding(3, 2, 3), "within num_embeddings=3, but got 3"),
    (ValueError, lambda: nn.Embedding(3, 2, -4), "within num_embeddings=3, but got -4"),
    (TypeError, lambda: nn.Embedding(3, 2, 1.0), "padding_idx must be an int"),
    (ValueError, lambda: nn.Embedding(3, 2, sparse=True), "sparse must be False"),
    (ValueError, lambda: nn.Embedding(3, 2, _weight=rl.ones(2, 2)), "must have shape [3, 2]"),
    (ValueError, lambda: nn.Embedding.from_pretrained(rl.ones(3)), "must be a matrix, but got [3]"),
    (ValueError, lambda: nn.Embedding.from_pretrained([[1.0]]), "must be a matrix"),
    (ValueError, lambda: nn.SmoothL1Loss(beta=-1), "beta must be 0 or more"),
    (ValueError, lambda: nn.HuberLoss(delta=0), "delta must be above 0"),
    (ValueError, lambda: nn.HuberLoss("foo"), "reduction must be one of"),
    (ValueError, lambda: nn.KLDivLoss(reduction="foo"), "kl_div: reduction must be one of"),
    (ValueError, lambda: nn.BCELoss(reduction="batchmean"), "reduction must be one of"),
    (ValueError, lambda: nn.TripletMarginLoss(margin=0), "margin must be above 0"),
    (TypeError, lambda: nn.BCEWithLogitsLoss(pos_weight=2.0), "buffer 'pos_weight'"),
]


@pytest.mark.parametrize(("error", "make", "text"), REFUSED)
def test_constructors_refuse(error, make, text):
    with pytest.raises(error) as caught:
        make()
    assert text in str(caught.value)


# -- printing, attributes and state --------------------------------------------------------------

# How to make one with either library; what it prints is compared with PyTorch's.
MADE = [
    lambda n: n.Conv1d(2, 4, 3, 2, 1, 2, 2, False, "circular"),
    lambda n: n.Conv1d(2, 4, 3, padding="same"),
    lambda n: n.ConvTranspose1d(2, 4, 3, 2, 1, 1),
    lambda n: n.ConvTranspose2d(2, 4, 3, 2, 1, 1, 2, False, 2),
    lambda n: n.ConvTranspose2d(2, 4, (3, 2)),
    lambda n: n.GroupNorm(2, 4),
    lambda n: n.GroupNorm(2, 4, 1e-3, False),
    lambda n: n.LayerNorm(3),
    lambda n: n.LayerNorm((2, 3), bias=False),
    lambda n: n.LayerNorm([2, 3], elementwise_affine=False),
    lambda n: n.ReLU6(),
    lambda n: n.ReLU6(True),
    lambda n: n.LeakyReLU(),
    lambda n: n.LeakyReLU(0.2, True),
    lambda n: n.PReLU(),
    lambda n: n.PReLU(3, 0.1),
    lambda n: n.ELU(),
    lambda n: n.ELU(2.0, True),
    lambda n: n.GELU(),
    lambda n: n.GELU("tanh"),
    lambda n: n.SiLU(True),
    lambda n: n.Hardswish(),
    lambda n: n.Hardsigmoid(True),
    lambda n: n.Hardtanh(),
    lambda n: n.Hardtanh(-2, 2, True),
    lambda n: n.Softplus(),
    lambda n: n.Softplus(2, 10),
    lambda n: n.LogSigmoid(),
    lambda n: n.Softsign(),
    lambda n: n.MaxPool1d(2),
    lambda n: n.MaxPool1d(3, 2, 1, 2, True, True),
    lambda n: n.AvgPool1d(2),
    lambda n: n.AvgPool1d(3, 2, 1, True, False),
    lambda n: n.AdaptiveAvgPool1d(3),
    lambda n: n.AdaptiveMaxPool1d(3, True),
    lambda n: n.ZeroPad2d(1),
    lambda n: n.ReflectionPad2d(2),
    lambda n: n.ReplicationPad2d((1, 0, 0, 1)),
    lambda n: n.ConstantPad2d(1, 2.5),
    lambda n: n.Upsample(3),
    lambda n: n.Upsample((3, 4), mode="bilinear", align_corners=True),
    lambda n: n.Upsample(scale_factor=2),
    lambda n: n.Upsample(scale_factor=(2, 1.5), mode="bilinear"),
    lambda n: n.PixelShuffle(2),
    lambda n: n.PixelUnshuffle(3),
    lambda n: n.ChannelShuffle(2),
    lambda n: n.Embedding(3, 4),
    lambda n: n.Embedding(3, 4, -1),
    lambda n: n.Embedding(3, 4, 0, 1.0, 3.0, True),
    lambda n: n.SmoothL1Loss(),
    lambda n: n.HuberLoss(delta=0.5),
    lambda n: n.BCELoss(),
    lambda n: n.BCEWithLogitsLoss(),
    lambda n: n.KLDivLoss(reduction="batchmean"),
    lambda n: n.MarginRankingLoss(),
    lambda n: n.TripletMarginLoss(),
    lambda n: n.LazyLinear(3),
    lambda n: n.LazyConv1d(3, 2),
    lambda n: n.LazyConv2d(4, 2, groups=2, bias=False),
]


@pytest.mark.parametrize("make", MADE)
def test_made_as_by_torch(make):
    torch = pytest.importorskip("torch")
    ours, theirs = make(nn), make(torch.nn)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for name, value in vars(theirs).items():
        # One layer of PyTorch's keeps its own name.
        if not name.startswith("_") and name != "name":
            assert getattr(ours, name) == value, name
    assert repr(pickle.loads(pickle.dumps(ours))) == repr(ours)


def test_signatures_are_those_of_torch():
    torch = pytest.importorskip("torch")
    # Deprecated names of Hardtanh's limits are left out.
    left_out = {"Hardtanh": {"min_value", "max_value"}}
    for name in nn.__all__:
        cls = getattr(nn, name)
        if not (isinstance(cls, type) and issubclass(cls, nn.Module)) or name == "Module":
            continue
        theirs = inspect.signature(getattr(torch.nn, name).__init__).parameters
        expected = [p for p in theirs if p not in left_out.get(name, ())]
        found = list(inspect.signature(cls.__init__).parameters)
        if found != ["self", "args", "kwargs"] and expected != ["self", "args", "kwargs"]:
            assert found == expected, name
            for key, parameter in inspect.signature(cls.__init__).parameters.items():
                # What a constructor leaves out may stand for the same value there.
                if parameter.default is not inspect.Parameter.empty:
                    assert parameter.default == theirs[key].default, (name, key)


def test_weights_of_losses_are_saved():
    loss = nn.BCEWithLogitsLoss(rl.ones(2), pos_weight=rl.ones(1))
    assert list(loss.state_dict()) == ["weight", "pos_weight"]
    assert list(loss.double().buffers())[1].dtype == rl.float64


# -- values and gradients -------------------------------------------------------------------------

IMAGES, ROWS = (2, 4, 5, 6), (2, 4, 7)
VALUES = [
    (lambda n: n.Conv1d(4, 6, 3), ROWS),
    (lambda n: n.Conv1d(4, 6, 3, 2, 1, 2, 2, False), ROWS),
    (lambda n: n.Conv1d(4, 2, 3, padding=2, padding_mode="reflect"), ROWS),
    (lambda n: n.Conv1d(4, 2, 3, padding="same", padding_mode="circular"), ROWS),
    (lambda n: n.Conv1d(4, 2, 3, padding="same"), ROWS[1:]),
    (lambda n: n.ConvTranspose1d(4, 2, 3, 2, 1, 1), ROWS),
    (lambda n: n.ConvTranspose2d(4, 6, 3, 2, 1, 1), IMAGES),
    (lambda n: n.ConvTranspose2d(4, 6, (2, 3), (1, 2), groups=2, bias=False, dilation=2), IMAGES),
    (lambda n: n.ConvTranspose2d(4, 1, 2), IMAGES[1:]),
    (lambda n: n.GroupNorm(2, 4), IMAGES),
    (lambda n: n.GroupNorm(4, 4, affine=False), ROWS),
    (lambda n: n.GroupNorm(1, 4, 0.1, bias=False), (3, 4)),
    (lambda n: n.LayerNorm(6), IMAGES),
    (lambda n: n.LayerNorm((5, 6), bias=False), IMAGES),
    (lambda n: n.LayerNorm(7, 0.1, False), ROWS),
    (lambda n: n.ReLU6(), IMAGES),
    (lambda n: n.LeakyReLU(0.3), IMAGES),
    (lambda n: n.PReLU(), ROWS),
    (lambda n: n.PReLU(4), IMAGES),
    (lambda n: n.ELU(1.5), ROWS),
    (lambda n: n.GELU(), ROWS),
    (lambda n: n.GELU("tanh"), ROWS),
    (lambda n: n.SiLU(), ROWS),
    (lambda n: n.Hardswish(), IMAGES),
    (lambda n: n.Hardsigmoid(), IMAGES),
    (lambda n: n.Hardtanh(-0.5, 0.7), IMAGES),
    (lambda n: n.Softplus(2.0, 1.0), IMAGES),
    (lambda n: n.LogSigmoid(), ROWS),
    (lambda n: n.Softsign(), ROWS),
    (lambda n: n.MaxPool1d(2), ROWS),
    (lambda n: n.MaxPool1d(3, 2, 1, 2, ceil_mode=True), ROWS),
    (lambda n: n.MaxPool1d(2), ROWS[1:]),
    (lambda n: n.AvgPool1d(3, 2, 1, True, False), ROWS),
    (lambda n: n.AdaptiveAvgPool1d(3), ROWS),
    (lambda n: n.AdaptiveMaxPool1d(3), ROWS),
    (lambda n: n.ZeroPad2d((1, 2, -1, 0)), IMAGES),
    (lambda n: n.ConstantPad2d(1, 2.5), IMAGES),
    (lambda n: n.ReflectionPad2d((1, 2, 3, 0)), IMAGES),
    (lambda n: n.ReplicationPad2d(2), IMAGES[1:]),
    (lambda n: n.Upsample(scale_factor=2), IMAGES),
    (lambda n: n.Upsample((4, 9)), IMAGES),
    (lambda n: n.Upsample(scale_factor=1.7, mode="bilinear"), IMAGES),
    (lambda n: n.Upsample((9, 4), mode="bilinear", align_corners=True), IMAGES),
    (lambda n: n.Upsample(11, mode="linear"), ROWS),
    (lambda n: n.PixelShuffle(2), IMAGES),
    (lambda n: n.PixelUnshuffle(2), (2, 1, 4, 6)),
    (lambda n: n.ChannelShuffle(2), IMAGES),
]


@pytest.mark.parametrize(("make", "shape"), VALUES)
def test_values_and_gradients_match_torch(make, shape):
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(0)
    ours, theirs = make(nn).double(), make(torch.nn).double()
    for tensor, twin in zip(ours.parameters(), theirs.parameters(), strict=True):
        drawn = random.standard_normal(tuple(tensor.shape))
        tensor.data, twin.data = rl.from_numpy(drawn), torch.from_numpy(drawn)
    data, results = random.standard_normal(shape), []
    weights = random.standard_normal(tuple(ours(rl.from_numpy(data)).shape))
    for lib, model in ((rl, ours), (torch, theirs)):
        x = lib.tensor(data, dtype=lib.float64, requires_grad=True)
        out = model(x)
        (out * lib.from_numpy(weights)).sum().backward()
        grads = {name: p.grad for name, p in model.named_parameters()}
        results.append({"out": out.detach(), "input": x.grad, **grads})
    for name, value in results[0].items():
        expected = results[1][name].numpy()
        np.testing.assert_allclose(value.numpy(), expected, rtol=1e-7, atol=1e-9, err_msg=name)


# The layers of test_layers.py, which compares them with PyTorch.
OTHERS = [
    (lambda n: n.Linear(6, 3), IMAGES),
    (lambda n: n.Conv2d(4, 2, 3, 2, 1, padding_mode="replicate"), IMAGES),
    (lambda n: n.BatchNorm2d(4), IMAGES),
    (lambda n: n.BatchNorm1d(4).eval(), ROWS),
    (lambda n: n.Sequential(n.Sigmoid(), n.Tanh(), n.ReLU(), n.Softmax(1), n.LogSoftmax(2)), ROWS),
    (lambda n: n.Sequential(n.MaxPool2d(2, 1), n.AvgPool2d(2, 1), n.AdaptiveAvgPool2d(2)), IMAGES),
    (lambda n: n.Sequential(n.AdaptiveMaxPool2d(3), n.Flatten(), n.Unflatten(1, (4, 9))), IMAGES),
]


@pytest.mark.parametrize(("make", "shape"), VALUES + OTHERS)
def test_gradients_by_finite_differences(make, shape):
    model = make(nn).double()
    parameters = list(model.parameters())
    for each in parameters:
        # Away from 0 and 1, where some gradients are zero by chance.
        each.data = rl.rand(*each.shape, dtype=rl.float64) + 0.2

    def function(input, *_):
        return model(input)

    x = rl.randn(*shape, dtype=rl.float64).requires_grad_()
    assert gradcheck(function, (x, *parameters))


def test_layers_are_their_functional_twins():
    x, w = rl.randn(2, 4, 6), nn.Conv1d(4, 2, 3, 2)
    assert rl.equal(w(x), F.conv1d(x, w.weight, w.bias, 2))
    norm = nn.GroupNorm(2, 4)
    assert rl.equal(norm(x), F.group_norm(x, 2, norm.weight, norm.bias))
    assert rl.equal(nn.SiLU()(x), F.silu(x))
    table = nn.Embedding(5, 3)
    assert rl.equal(table(rl.tensor([1, 4])), F.embedding(rl.tensor([1, 4]), table.weight))


@pytest.mark.parametrize("make", [nn.ReLU6, nn.ELU, nn.LeakyReLU, nn.SiLU, nn.Hardswish])
def test_in_place(make):
    x = rl.randn(3, 4)
    expected = make()(x)
    assert make(inplace=True)(x) is x
    assert rl.equal(x, expected)


def test_indices_of_pools():
    x = rl.tensor([[[1.0, 5, 2, 4]]])
    for pool in (nn.MaxPool1d(2, return_indices=True), nn.AdaptiveMaxPool1d(2, True)):
        out, indices = pool(x)
        assert out.tolist() == [[[5.0, 4.0]]]
        assert indices.tolist() == [[[1, 3]]]


@pytest.mark.parametrize("size", [(10, 9), (1, 1, 10, 9), [9, 10]])
def test_output_size_of_a_transposed_convolution(size):
    layer = nn.ConvTranspose2d(1, 1, 3, 2)
    assert layer(rl.ones(1, 1, 4, 4), output_size=size).shape[-2:] == tuple(size[-2:])
    assert layer(rl.ones(1, 4, 4), size[-2:]).shape == (1, *size[-2:])


@pytest.mark.parametrize("size", [(20, 20), (8, 9), (10, 9, 9)])
def test_output_sizes_out_of_reach(size):
    with pytest.raises(ValueError, match="ConvTranspose2d: output_size must"):
        nn.ConvTranspose2d(1, 1, 3, 2)(rl.ones(1, 1, 4, 4), size)


# -- losses ---------------------------------------------------------------------------------------

LOSSES = [
    (lambda n, lib, r: n.SmoothL1Loss(reduction=r, beta=0.5), "values"),
    (lambda n, lib, r: n.HuberLoss(r, 0.7), "values"),
    (lambda n, lib, r: n.BCELoss(lib.tensor([1.0, 2, 3]), reduction=r), "probabilities"),
    (lambda n, lib, r: n.BCEWithLogitsLoss(reduction=r), "logits"),
    (
        lambda n, lib, r: n.BCEWithLogitsLoss(
            reduction=r, pos_weight=lib.tensor([1.0, 2, 3]), weight=lib.tensor([3.0, 2, 1])
        ),
        "logits",
    ),
    (lambda n, lib, r: n.KLDivLoss(reduction=r), "logits"),
    (lambda n, lib, r: n.KLDivLoss(reduction=r, log_target=True), "values"),
    (lambda n, lib, r: n.KLDivLoss(reduction="batchmean"), "logits"),
]


@pytest.mark.filterwarnings("ignore:.*batchmean.*:UserWarning")
@pytest.mark.parametrize(("make", "kind"), LOSSES)
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_losses_match_torch(make, kind, reduction):
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(0)
    data = random.random((4, 3)) if kind == "probabilities" else random.standard_normal((4, 3))
    target = random.standard_normal((4, 3)) if kind == "values" else random.random((4, 3))
    results = []
    for lib, library in ((rl, nn), (torch, torch.nn)):
        x = lib.tensor(data, dtype=lib.float64, requires_grad=True)
        loss = make(library, lib, reduction).double()(x, lib.from_numpy(target))
        loss.sum().backward()
        results.append((loss.detach().numpy(), x.grad.numpy()))
    for found, expected in zip(*results, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_losses_of_three_match_torch(swap, reduction):
    torch = pytest.importorskip("torch")
    data = np.random.default_rng(0).standard_normal((3, 5, 4))
    signs = np.sign(data[2])
    for make in (
        lambda n: n.TripletMarginLoss(2.0, swap=swap, reduction=reduction),
        lambda n: n.MarginRankingLoss(0.5, reduction=reduction),
    ):
        found, expected = (
            make(n)(*map(lib.from_numpy, (*data[:2], signs))).numpy()
            for lib, n in ((rl, nn), (torch, torch.nn))
        )
        np.testing.assert_allclose(found, expected, rtol=1e-10)


@pytest.mark.parametrize(
    "function",
    [
        F.smooth_l1_loss,
        F.binary_cross_entropy,
        F.binary_cross_entropy_with_logits,
        F.kl_div,
        F.mse_loss,
    ],
)
def test_old_spellings_of_reductions(function):
    a, b = rl.rand(3), rl.rand(3)
    with pytest.warns(UserWarning, match="reduction"):
        found = function(a, b, size_average=False)
    assert rl.equal(found, function(a, b, reduction="sum"))


# -- embedding ------------------------------------------------------------------------------------


def test_embedding_padding():
    table = nn.Embedding(4, 3, padding_idx=-1)
    assert table.padding_idx == 3
    assert table.weight[3].tolist() == [0, 0, 0]
    table(rl.tensor([[0, 3], [3, 0]])).sum().backward()
    assert table.weight.grad.sum(1).tolist() == [6, 0, 0, 0]


def test_embedding_max_norm():
    table = nn.Embedding.from_pretrained(rl.tensor([[3.0, 4.0], [0.3, 0.4]]), max_norm=1.0)
    found = table(rl.tensor([0, 1]))
    np.testing.assert_allclose(found.numpy(), [[0.6, 0.8], [0.3, 0.4]], rtol=1e-6)
    assert rl.equal(table.weight, found)


def test_embedding_from_pretrained_shares_memory_and_is_frozen():
    values = rl.ones(3, 2)
    table = nn.Embedding.from_pretrained(values, padding_idx=1)
    assert table.weight.data_ptr() == values.data_ptr()
    assert table.weight[1].tolist() == [1, 1]
    assert not table.weight.requires_grad
    assert nn.Embedding.from_pretrained(values, freeze=False).weight.requires_grad
    assert not nn.Embedding(3, 2, _freeze=True).weight.requires_grad


def test_embedding_refuses_an_index_out_of_range():
    with pytest.raises(IndexError, match="5"):
        nn.Embedding(3, 2)(rl.tensor([5]))


# -- initial values -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda n: n.Conv1d(40, 600, 5, groups=2),
        lambda n: n.ConvTranspose2d(30, 600, 3, groups=2),
        lambda n: n.Embedding(200, 50),
        lambda n: n.PReLU(7, 0.3),
        lambda n: n.LayerNorm((3, 4)),
        lambda n: n.GroupNorm(2, 6),
    ],
)
def test_initial_values_are_distributed_as_in_torch(make):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    ours, theirs = dict(make(nn).named_parameters()), dict(make(torch.nn).named_parameters())
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        found, expected = value.detach().numpy(), theirs[name].detach().numpy()
        assert found.shape == expected.shape
        spread = expected.std()
        # Uniform and normal numbers: the means within 5 standard errors, the rest by the range.
        assert abs(found.mean() - expected.mean()) <= 8 * spread / math.sqrt(found.size)
        assert abs(found.std() - spread) <= 0.2 * spread
        if expected.ndim > 1 and "Embedding" not in str(type(make(nn))):
            assert np.abs(found).max() == pytest.approx(np.abs(expected).max(), rel=0.02)


# -- names of ported code -------------------------------------------------------------------------


def test_names_of_the_modules_package():
    torch = pytest.importorskip("torch")
    public = {
        (value.__module__.rpartition(".")[2], name)
        for name, value in vars(torch.nn.modules).items()
        if isinstance(value, type) and name in nn.__all__
    }
    assert len(public) > 60
    for file, name in public:
        assert getattr(getattr(nn.modules, file), name) is getattr(nn, name)


def test_imports_from_the_modules_package():
    from rushlight.nn.modules.batchnorm import _BatchNorm
    from rushlight.nn.modules.conv import Conv2d, _ConvNd
    from rushlight.nn.modules.module import Module, register_module_forward_hook

    from rushlight.nn.modules.utils import _pair, consume_prefix_in_state_dict_if_present
    from rushlight.nn.parameter import Parameter, UninitializedParameter, is_lazy

    assert Conv2d is nn.Conv2d
    assert Module is nn.Module
    assert register_module_forward_hook is nn.register_module_forward_hook
    assert isinstance(nn.ConvTranspose2d(1, 1, 1), _ConvNd)
    assert isinstance(nn.BatchNorm1d(1), _BatchNorm)
    assert _pair(3) == (3, 3)
    assert _pair([1, 2]) == (1, 2)
    assert is_lazy(UninitializedParameter())
    assert not is_lazy(Parameter())
    wrapped = nn.Sequential(nn.Linear(1, 1))
    state = wrapped.state_dict(prefix="module.")
    consume_prefix_in_state_dict_if_present(state, "module.")
    assert list(state) == ["0.weight", "0.bias"]
    assert list(state._metadata) == ["", "0"]
    wrapped.load_state_dict(state)
