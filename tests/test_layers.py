"""The layers: constructors, printing, values and gradients, functional twins, nn.utils."""

import math

import numpy as np
import pytest

import rushlight as rl
from rushlight import nn
from rushlight.nn import functional as F

# -- what constructors refuse --------------------------------------------------------------------

REFUSED = [
    (ValueError, lambda: nn.Linear(-1, 2), "in_features must be 0 or more, but got -1"),
    (ValueError, lambda: nn.Linear(1, -2), "out_features must be 0 or more"),
    (TypeError, lambda: nn.Linear(1.5, 2), "in_features must be an int, but got float"),
    (TypeError, lambda: nn.Linear("a", 2), "must be an int, but got str"),
    (RuntimeError, lambda: nn.Linear(1, 2, device="cuda"), "device must be 'cpu'"),
    (TypeError, lambda: nn.Linear(1, 2, dtype="float16"), "dtype"),
    (ValueError, lambda: nn.Linear(2**40, 2**40), "too many"),
    (ValueError, lambda: nn.Conv2d(-1, 1, 1), "in_channels must be 0 or more"),
    (TypeError, lambda: nn.Conv2d(1.0, 1, 1), "in_channels must be an int"),
    (ValueError, lambda: nn.Conv2d(1, 1, 0), "kernel_size must be 1 or more, but got 0"),
    (ValueError, lambda: nn.Conv2d(1, 1, (3, -1)), "kernel_size must be 1 or more"),
    (ValueError, lambda: nn.Conv2d(1, 1, (3, 3, 3)), "kernel_size must be one int or two"),
    (TypeError, lambda: nn.Conv2d(1, 1, "3"), "kernel_size must be an int"),
    (ValueError, lambda: nn.Conv2d(1, 1, 3, stride=0), "stride must be 1 or more, but got 0"),
    (ValueError, lambda: nn.Conv2d(1, 1, 3, stride=(1, -2)), "stride must be 1 or more"),
    (TypeError, lambda: nn.Conv2d(1, 1, 3, stride=1.5), "stride must be an int"),
    (ValueError, lambda: nn.Conv2d(1, 1, 3, padding=-1), "padding must be 0 or more"),
    (ValueError, lambda: nn.Conv2d(1, 1, 3, padding="foo"), "Invalid padding string 'foo'"),
    (ValueError, lambda: nn.Conv2d(1, 1, 3, 2, "same"), "not supported for strided"),
    (ValueError, lambda: nn.Conv2d(1, 1, 3, dilation=0), "dilation must be 1 or more"),
    (ValueError, lambda: nn.Conv2d(1, 1, 3, groups=0), "groups must be 1 or more, but got 0"),
    (ValueError, lambda: nn.Conv2d(1, 1, 3, groups=-1), "groups must be 1 or more"),
    (ValueError, lambda: nn.Conv2d(3, 4, 3, groups=2), "in_channels must be divisible by groups"),
    (ValueError, lambda: nn.Conv2d(4, 3, 3, groups=2), "out_channels must be divisible"),
    (ValueError, lambda: nn.Conv2d(1, 1, 3, padding_mode="foo"), "padding_mode='foo'"),
    (ValueError, lambda: nn.BatchNorm2d(-1), "BatchNorm2d: num_features must be 0 or more"),
    (TypeError, lambda: nn.BatchNorm1d(1.5), "BatchNorm1d: num_features must be an int"),
    (ValueError, lambda: nn.MaxPool2d(0), "MaxPool2d: kernel_size must be 1 or more"),
    (ValueError, lambda: nn.MaxPool2d(2, stride=0), "stride must be 1 or more"),
    (ValueError, lambda: nn.MaxPool2d(2, padding=-1), "padding must be 0 or more"),
    (ValueError, lambda: nn.MaxPool2d(2, padding=2), "at most half of the window"),
    (ValueError, lambda: nn.MaxPool2d(2, dilation=0), "dilation must be 1 or more"),
    (ValueError, lambda: nn.AvgPool2d(-2), "AvgPool2d: kernel_size must be 1 or more"),
    (ValueError, lambda: nn.AvgPool2d((2, 4), padding=(2, 1)), "at most half of the window"),
    (ValueError, lambda: nn.AvgPool2d(2, divisor_override=0), "must not be 0"),
    (ValueError, lambda: nn.AdaptiveAvgPool2d(-1), "output_size must be 0 or more"),
    (ValueError, lambda: nn.AdaptiveMaxPool2d((1, 2, 3)), "one size or two"),
    (ValueError, lambda: nn.Dropout(1.5), "between 0 and 1, but got 1.5"),
    (ValueError, lambda: nn.Dropout2d(-1), "between 0 and 1, but got -1"),
    (ValueError, lambda: nn.Dropout(math.nan), "between 0 and 1, but got nan"),
    (ValueError, lambda: nn.MSELoss(reduction="foo"), "foo"),
    (ValueError, lambda: nn.CrossEntropyLoss(label_smoothing=2), "label_smoothing"),
    (TypeError, lambda: nn.NLLLoss(weight=3), "buffer 'weight'"),
]


@pytest.mark.parametrize(("error", "make", "text"), REFUSED)
def test_constructors_refuse(error, make, text):
    with pytest.raises(error) as caught:
        make()
    assert text in str(caught.value)


def test_layers_without_elements():
    with pytest.warns(UserWarning, match="zero-element"):
        layer = nn.Linear(0, 2)
    assert layer(rl.ones(3, 0)).shape == (3, 2)
    with pytest.warns(UserWarning, match="zero-element"):
        assert nn.Conv2d(1, 0, 3).weight.shape == (0, 1, 3, 3)
    assert nn.BatchNorm2d(0).weight.shape == (0,)


# -- printing -------------------------------------------------------------------------------------

PRINTED = {
    "Linear(in_features=1, out_features=2, bias=False)": lambda n: n.Linear(1, 2, False),
    "Conv2d(3, 4, kernel_size=(3, 3), stride=(1, 1))": lambda n: n.Conv2d(3, 4, 3),
    "Conv2d(3, 4, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), dilation=(2, 2), "
    "bias=False, padding_mode=reflect)": lambda n: n.Conv2d(
        3, 4, 3, 2, 1, 2, bias=False, padding_mode="reflect"
    ),
    "Conv2d(4, 4, kernel_size=(1, 3), stride=(1, 1), padding=same, groups=2)": lambda n: n.Conv2d(
        4, 4, (1, 3), padding="same", groups=2
    ),
    "MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)": lambda n: (
        n.MaxPool2d(2)
    ),
    "MaxPool2d(kernel_size=(2, 3), stride=1, padding=(1, 0), dilation=2, ceil_mode=True)": (
        lambda n: n.MaxPool2d((2, 3), 1, (1, 0), 2, ceil_mode=True)
    ),
    "AvgPool2d(kernel_size=2, stride=2, padding=0)": lambda n: n.AvgPool2d(2),
    "AdaptiveAvgPool2d(output_size=(1, 1))": lambda n: n.AdaptiveAvgPool2d((1, 1)),
    "AdaptiveAvgPool2d(output_size=7)": lambda n: n.AdaptiveAvgPool2d(7),
    "AdaptiveMaxPool2d(output_size=(None, 2))": lambda n: n.AdaptiveMaxPool2d((None, 2)),
    "Dropout(p=0.1, inplace=True)": lambda n: n.Dropout(0.1, True),
    "Dropout2d(p=0.5, inplace=False)": lambda n: n.Dropout2d(),
    "ReLU()": lambda n: n.ReLU(),
    "ReLU(inplace=True)": lambda n: n.ReLU(True),
    "Sigmoid()": lambda n: n.Sigmoid(),
    "Tanh()": lambda n: n.Tanh(),
    "Softmax(dim=1)": lambda n: n.Softmax(1),
    "LogSoftmax(dim=-1)": lambda n: n.LogSoftmax(-1),
    "Flatten(start_dim=1, end_dim=-1)": lambda n: n.Flatten(),
    "Unflatten(dim=1, unflattened_size=(2, 3))": lambda n: n.Unflatten(1, (2, 3)),
    "Identity()": lambda n: n.Identity(54, unused="x"),
    "CrossEntropyLoss()": lambda n: n.CrossEntropyLoss(),
    "NLLLoss()": lambda n: n.NLLLoss(),
    "MSELoss()": lambda n: n.MSELoss(),
    "L1Loss()": lambda n: n.L1Loss(),
}


@pytest.mark.parametrize("text", PRINTED)
def test_printed(text):
    assert repr(PRINTED[text](nn)) == text


@pytest.mark.parametrize("text", PRINTED)
def test_printed_by_torch(text):
    torch = pytest.importorskip("torch")
    assert repr(PRINTED[text](torch.nn)) == text


def test_printed_batch_norm():
    assert repr(nn.BatchNorm2d(10)) == (
        "BatchNorm2d(10, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True)"
    )
    assert repr(nn.BatchNorm1d(2, 1e-3, None, False, False)) == (
        "BatchNorm1d(2, eps=0.001, momentum=None, affine=False, track_running_stats=False)"
    )
    assert repr(nn.BatchNorm1d(2, bias=False)).endswith("track_running_stats=True, bias=False)")


# -- types ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [nn.Linear, lambda *a, **k: nn.Conv2d(*a, 3, **k)])
def test_dtype(make):
    layer = make(2, 4, dtype=rl.float64, device="cpu")
    assert layer.weight.dtype == layer.bias.dtype == rl.float64
    assert make(2, 4, bias=False).bias is None
    assert [name for name, _ in make(2, 4, bias=False).named_parameters()] == ["weight"]


def test_batch_norm_state():
    layer = nn.BatchNorm1d(3, dtype=rl.float64)
    assert layer.running_var.dtype == rl.float64
    assert layer.num_batches_tracked.dtype == rl.int64
    bare = nn.BatchNorm1d(3, affine=False, track_running_stats=False)
    assert dict(bare.state_dict()) == {}
    assert bare.weight is bare.bias is bare.running_mean is bare.num_batches_tracked is None
    assert nn.BatchNorm1d(3, bias=False).bias is None


# -- values and gradients, beside PyTorch ---------------------------------------------------------

IMAGES = (2, 4, 7, 6)
# What to make, and the shape of the input.
VALUES = [
    (lambda n: n.Linear(5, 3), (2, 5)),
    (lambda n: n.Linear(5, 3, bias=False), (2, 3, 5)),
    (lambda n: n.Linear(5, 3), (5,)),
    (lambda n: n.Conv2d(4, 6, 3), IMAGES),
    (lambda n: n.Conv2d(4, 6, 3, padding=1, bias=False), IMAGES),
    (lambda n: n.Conv2d(4, 4, (3, 2), (2, 1), (1, 0), (1, 2), groups=4), IMAGES),
    (lambda n: n.Conv2d(4, 6, (4, 3), padding="same"), IMAGES),
    (lambda n: n.Conv2d(4, 6, 3, padding="valid"), IMAGES),
    (lambda n: n.Conv2d(4, 6, 3, padding=(2, 1), padding_mode="reflect"), IMAGES),
    (lambda n: n.Conv2d(4, 6, 3, padding=(2, 1), padding_mode="replicate"), IMAGES),
    (lambda n: n.Conv2d(4, 6, 3, padding=(2, 1), padding_mode="circular"), IMAGES),
    (lambda n: n.Conv2d(4, 6, (4, 3), padding="same", padding_mode="circular"), IMAGES),
    (lambda n: n.Conv2d(4, 6, 3, padding="valid", padding_mode="circular"), IMAGES),
    (lambda n: n.Conv2d(4, 6, 3), IMAGES[1:]),
    (lambda n: n.BatchNorm2d(4), IMAGES),
    (lambda n: n.BatchNorm2d(4, momentum=None), IMAGES),
    (lambda n: n.BatchNorm2d(4, affine=False), IMAGES),
    (lambda n: n.BatchNorm2d(4, track_running_stats=False), IMAGES),
    (lambda n: n.BatchNorm2d(4).eval(), IMAGES),
    (lambda n: n.BatchNorm2d(4, track_running_stats=False).eval(), IMAGES),
    (lambda n: n.BatchNorm1d(4, bias=False), (3, 4)),
    (lambda n: n.BatchNorm1d(4, eps=0.1, momentum=0.5), (3, 4, 5)),
    (lambda n: n.ReLU(), IMAGES),
    (lambda n: n.Sigmoid(), (3, 4)),
    (lambda n: n.Tanh(), (3, 4)),
    (lambda n: n.Softmax(1), IMAGES),
    (lambda n: n.LogSoftmax(-1), (3, 4)),
    (lambda n: n.MaxPool2d(2), IMAGES),
    (lambda n: n.MaxPool2d((3, 2), (2, 1), 1, ceil_mode=True), IMAGES),
    (lambda n: n.MaxPool2d(2, 1, 1, 2), IMAGES),
    (lambda n: n.MaxPool2d(3), IMAGES[1:]),
    (lambda n: n.AvgPool2d(2), IMAGES),
    (lambda n: n.AvgPool2d(3, 2, 1, True, False), IMAGES),
    (lambda n: n.AvgPool2d(3, 2, 1, divisor_override=5), IMAGES),
    (lambda n: n.AdaptiveAvgPool2d(1), IMAGES),
    (lambda n: n.AdaptiveAvgPool2d((None, 4)), IMAGES),
    (lambda n: n.AdaptiveMaxPool2d((3, 4)), IMAGES),
    (lambda n: n.Flatten(), IMAGES),
    (lambda n: n.Flatten(0, 1), IMAGES),
    (lambda n: n.Unflatten(1, (2, 2)), IMAGES),
    (lambda n: n.Identity(), IMAGES),
    (lambda n: n.Dropout(0.5).eval(), IMAGES),
    (lambda n: n.Dropout2d(0.0), IMAGES),
    (lambda n: n.Sequential(n.Conv2d(4, 2, 3), n.BatchNorm2d(2), n.ReLU(True)), IMAGES),
]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
@pytest.mark.parametrize(("make", "shape"), VALUES)
def test_values_and_gradients_match_torch(make, shape):
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(0)
    ours, theirs = make(nn).double(), make(torch.nn).double()
    for tensor, twin in zip(ours.parameters(), theirs.parameters(), strict=True):
        drawn = random.standard_normal(tuple(tensor.shape))
        tensor.data, twin.data = rl.from_numpy(drawn), torch.from_numpy(drawn)
    data, weights = random.standard_normal(shape), None
    results = []
    for lib, model in ((rl, ours), (torch, theirs)):
        x = lib.tensor(data, dtype=lib.float64, requires_grad=True)
        out = model(x)
        weights = random.standard_normal(tuple(out.shape)) if weights is None else weights
        (out * lib.tensor(weights, dtype=lib.float64)).sum().backward()
        results.append(
            {
                "out": out,
                "input": x.grad,
                **{name: p.grad for name, p in model.named_parameters()},
                **{f"buffer {name}": b for name, b in model.named_buffers()},
            }
        )
    assert results[0].keys() == results[1].keys()
    for name, value in results[0].items():
        found, expected = value.detach().numpy(), results[1][name].detach().numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11, err_msg=name)


LOSSES = [
    (lambda n, lib, r: n.MSELoss(reduction=r), "values"),
    (lambda n, lib, r: n.L1Loss(reduction=r), "values"),
    (lambda n, lib, r: n.NLLLoss(reduction=r), "classes"),
    (lambda n, lib, r: n.NLLLoss(lib.tensor([1.0, 2, 3]), ignore_index=1, reduction=r), "classes"),
    (lambda n, lib, r: n.CrossEntropyLoss(reduction=r), "classes"),
    (lambda n, lib, r: n.CrossEntropyLoss(reduction=r), "probabilities"),
    (lambda n, lib, r: n.CrossEntropyLoss(reduction=r, label_smoothing=0.3), "probabilities"),
    (
        lambda n, lib, r: n.CrossEntropyLoss(
            lib.tensor([1.0, 2, 3]), ignore_index=1, reduction=r, label_smoothing=0.3
        ),
        "classes",
    ),
]


@pytest.mark.parametrize(("make", "kind"), LOSSES)
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 4, 2)])
def test_losses_match_torch(make, kind, reduction, shape):
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(0)
    data = random.standard_normal(shape)
    target = {
        "values": random.standard_normal(shape),
        "classes": random.integers(0, 3, (shape[0], *shape[2:])),
        "probabilities": random.random(shape),
    }[kind]
    results = []
    for lib, library in ((rl, nn), (torch, torch.nn)):
        x = lib.tensor(data, dtype=lib.float64, requires_grad=True)
        loss = make(library, lib, reduction).double()(x, lib.from_numpy(target))
        loss.sum().backward()
        results.append((loss.detach().numpy(), x.grad.numpy()))
    for found, expected in zip(*results, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


# -- batch normalisation --------------------------------------------------------------------------


def test_batch_norm_running_statistics():
    layer, x = nn.BatchNorm1d(2, momentum=0.5), rl.tensor([[1.0, 10.0], [3.0, 30.0]])
    layer(x)
    assert layer.running_mean.tolist() == [1.0, 10.0]
    assert layer.running_var.tolist() == [1.5, 100.5]
    assert layer.num_batches_tracked.item() == 1
    layer.eval()(x)
    assert layer.num_batches_tracked.item() == 1
    assert layer.running_mean.tolist() == [1.0, 10.0]
    layer.reset_running_stats()
    assert layer.running_var.tolist() == [1.0, 1.0]
    assert layer.num_batches_tracked.item() == 0


def test_batch_norm_cumulative_average():
    layer = nn.BatchNorm1d(1, momentum=None)
    for value in (1.0, 2.0, 6.0):
        layer(rl.full((2, 1), value))
    assert layer.running_mean.item() == pytest.approx(3.0)


def test_batch_norm_told_not_to_track_leaves_its_buffers():
    layer = nn.BatchNorm1d(2)
    layer.track_running_stats = False
    layer(rl.randn(4, 2))
    assert layer.running_mean.tolist() == [0.0, 0.0]
    assert layer.num_batches_tracked.item() == 0


@pytest.mark.parametrize(
    ("layer", "shape", "text"),
    [
        (nn.BatchNorm2d(2), (2, 2, 3), r"expected 4D input \(got 3D input\)"),
        (nn.BatchNorm1d(2), (2,), r"expected 2D or 3D input \(got 1D input\)"),
        (nn.BatchNorm1d(2), (1, 2, 2, 2), r"expected 2D or 3D input \(got 4D input\)"),
        (nn.BatchNorm2d(2), (1, 2, 1, 1), "more than 1 value per channel"),
        (nn.BatchNorm2d(2, eps=0), (2, 2, 1, 1), "eps must be positive"),
        (nn.BatchNorm2d(2), (2, 3, 4, 4), "batch_norm"),
    ],
)
def test_batch_norm_refuses(layer, shape, text):
    with pytest.raises(ValueError, match=text):
        layer(rl.ones(*shape))
    assert layer.num_batches_tracked.item() == 0


# -- dropout --------------------------------------------------------------------------------------


def test_dropout():
    layer, x = nn.Dropout(0.25), rl.ones(100, 100)
    out = layer(x)
    kept = out.numpy() != 0
    assert abs(kept.mean() - 0.75) < 0.02
    np.testing.assert_allclose(out.numpy()[kept], 1 / 0.75, rtol=1e-6)
    assert layer.eval()(x) is x
    assert nn.Dropout(1.0)(x).sum().item() == 0
    y = rl.ones(10)
    assert nn.Dropout(0.5, inplace=True)(y) is y


def test_dropout2d_drops_whole_channels():
    out = nn.Dropout2d(0.5)(rl.ones(20, 30, 2, 2)).numpy().reshape(600, 4)
    assert (out == out[:, :1]).all()
    assert 0.4 < (out[:, 0] == 0).mean() < 0.6


# -- functional -----------------------------------------------------------------------------------


def test_functional_inplace_relu():
    x = rl.tensor([-1.0, 2.0])
    assert F.relu(x, inplace=True) is x
    assert x.tolist() == [0.0, 2.0]
    assert nn.ReLU(inplace=True)(x) is x


def test_indices_of_pools():
    x = rl.arange(16).float().reshape(1, 1, 4, 4)
    for pool in (nn.MaxPool2d(2, return_indices=True), nn.AdaptiveMaxPool2d(2, True)):
        out, indices = pool(x)
        assert out.flatten().tolist() == indices.flatten().tolist() == [5, 7, 13, 15]
        assert indices.dtype == rl.int64


@pytest.mark.parametrize(
    ("shape", "dim"), [((4,), 0), ((2, 3), 1), ((2, 3, 2), 0), ((1, 3, 2, 2), 1)]
)
@pytest.mark.parametrize("function", [F.softmax, F.log_softmax])
def test_softmax_without_dim_warns(function, shape, dim):
    x = rl.randn(*shape)
    with pytest.warns(UserWarning, match="dim"):
        found = function(x)
    assert rl.equal(found, function(x, dim))


@pytest.mark.parametrize(
    ("options", "reduction"),
    [
        ({"size_average": False}, "sum"),
        ({"reduce": False}, "none"),
        ({"size_average": True}, "mean"),
        ({"reduce": True}, "mean"),
    ],
)
def test_old_spellings_of_reductions_warn(options, reduction):
    with pytest.warns(UserWarning, match="reduction"):
        layer = nn.MSELoss(**options)
    assert layer.reduction == reduction
    a, b = rl.randn(3), rl.randn(3)
    with pytest.warns(UserWarning, match="reduction"):
        found = F.l1_loss(a, b, **options)
    assert rl.equal(found, F.l1_loss(a, b, reduction=reduction))


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("widths", [(1, 2), (0, 2, 1, 0), (2, 1, 1, 2)])
def test_pad(mode, widths):
    names = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    # PyTorch takes one batch and one channel dimension, or one of them, beside what is padded.
    x = rl.randn(2, 3, 4, 5) if len(widths) == 4 else rl.randn(2, 3, 5)
    pairs = [(widths[at], widths[at + 1]) for at in range(0, len(widths), 2)]
    whole = [(0, 0)] * (x.dim() - len(pairs)) + pairs[::-1]
    expected = np.pad(x.numpy(), whole, mode=names[mode])
    assert np.array_equal(F.pad(x, widths, mode).numpy(), expected)


def test_pad_with_a_constant():
    assert F.pad(rl.ones(2), (1, 0), value=5.0).tolist() == [5.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("widths", "mode"),
    [
        ((1, 1), "foo"),
        ((1,), "reflect"),
        ((1, 1) * 3, "reflect"),
        ((3, 0), "reflect"),
        ((4, 0), "circular"),
        ((-3, 0), "replicate"),
    ],
)
def test_pad_refuses(widths, mode):
    with pytest.raises(ValueError, match="pad:"):
        F.pad(rl.ones(2, 3), widths, mode)


# -- nn.utils -------------------------------------------------------------------------------------


def with_gradients(*gradients):
    parameters = [nn.Parameter(rl.zeros(len(each))) for each in gradients]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = rl.tensor(gradient)
    return [*parameters, nn.Parameter(rl.zeros(3))]


@pytest.mark.parametrize(
    ("order", "norm"),
    [(2.0, 13.0), (1, 19.0), (math.inf, 12.0), ("inf", 12.0), (3, 2080 ** (1 / 3))],
)
def test_clip_grad_norm(order, norm):
    parameters = with_gradients([3.0, -4.0], [12.0])
    exact = (27 + 64 + 1728) ** (1 / 3) if order == 3 else norm
    total = nn.utils.clip_grad_norm_(iter(parameters), 6.5, order)
    assert total.item() == pytest.approx(exact)
    found = [p.grad.tolist() for p in parameters[:2]]
    factor = 6.5 / exact
    assert found[0] == pytest.approx([3 * factor, -4 * factor], rel=1e-5)
    assert found[1] == pytest.approx([12 * factor], rel=1e-5)


def test_clip_grad_norm_leaves_small_gradients():
    (parameter, _) = with_gradients([3.0, 4.0])
    assert nn.utils.clip_grad_norm_(parameter, 6.0).item() == 5.0
    assert parameter.grad.tolist() == [3.0, 4.0]
    assert nn.utils.clip_grad_norm_([], 1.0).item() == 0.0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_clip_grad_norm_of_no_number(bad):
    parameters = with_gradients([bad, 1.0])
    with pytest.raises(RuntimeError, match="non-finite"):
        nn.utils.clip_grad_norm_(parameters, 1.0, error_if_nonfinite=True)
    assert parameters[0].grad.tolist()[1] == 1.0
    assert not math.isfinite(nn.utils.clip_grad_norm_(parameters, 1.0).item())


def test_clip_grad_value():
    parameters = with_gradients([3.0, -4.0, 0.5])
    nn.utils.clip_grad_value_(parameters, 1)
    assert parameters[0].grad.tolist() == [1.0, -1.0, 0.5]


def test_parameters_to_vector_and_back():
    model = nn.Linear(2, 3)
    vector = nn.utils.parameters_to_vector(model.parameters())
    assert vector.shape == (9,)
    assert vector[:6].tolist() == model.weight.flatten().tolist()
    nn.utils.vector_to_parameters(rl.arange(9).float(), model.parameters())
    assert model.weight.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert model.bias.tolist() == [6, 7, 8]
    assert isinstance(model.bias, nn.Parameter)
    assert model.bias.requires_grad
    with pytest.raises(ValueError, match="at least 9 elements, but has 8"):
        nn.utils.vector_to_parameters(rl.zeros(8), model.parameters())
    with pytest.raises(TypeError, match="must be a Tensor"):
        nn.utils.vector_to_parameters([0.0] * 9, model.parameters())
    assert model.bias.tolist() == [6, 7, 8]
