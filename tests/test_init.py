"""nn.init: values, distributions, what it refuses, and the defaults of the layers."""

import math

import numpy as np
import pytest

import rushlight as rl
from rushlight import nn
from rushlight.nn import init

SEEDED = [
    "uniform_",
    "normal_",
    "trunc_normal_",
    "xavier_uniform_",
    "xavier_normal_",
    "kaiming_uniform_",
    "kaiming_normal_",
    "orthogonal_",
]


def array(tensor):
    return tensor.detach().numpy().astype(np.float64)


def is_uniform(values, low, high):
    """Whether the values keep the bounds, fill them, and have the moments."""
    width = high - low
    low, high = values.dtype.type(low), values.dtype.type(high)  # a bound may be rounded outwards
    return (
        values.min() >= low
        and values.max() <= high
        and values.max() - values.min() > 0.98 * width
        and abs(values.mean() - (low + high) / 2) < 0.02 * width
        and abs(values.std() - width / math.sqrt(12)) < 0.02 * width
    )


def is_normal(values, mean, std):
    inside = np.mean(np.abs(values - mean) < std)
    return (
        abs(values.mean() - mean) < 0.05 * std
        and abs(values.std() - std) < 0.05 * std
        and abs(inside - 0.6827) < 0.02
        and values.max() > mean + 2.5 * std
    )


# -- fills ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [rl.float32, rl.float64])
def test_fills(dtype):
    tensor = rl.empty(3, 4, dtype=dtype)
    assert init.constant_(tensor, 2.5) is tensor
    assert (array(tensor) == 2.5).all()
    assert (array(init.ones_(tensor)) == 1).all()
    assert (array(init.zeros_(tensor)) == 0).all()
    assert (array(init.eye_(tensor)) == np.eye(3, 4)).all()
    assert tensor.dtype == dtype


def test_random_fills():
    tensor = rl.empty(100, 200)
    assert init.uniform_(tensor, -1, 3) is tensor
    assert is_uniform(array(tensor), -1, 3)
    assert is_normal(array(init.normal_(tensor, 2.0, 0.5)), 2.0, 0.5)


@pytest.mark.parametrize("name", [*SEEDED, "sparse_"])
def test_parameters_are_filled_outside_the_graph(name):
    parameter = nn.Parameter(rl.zeros(4, 4))
    version = parameter._version
    args = (0.5,) if name == "sparse_" else ()
    assert getattr(init, name)(parameter, *args) is parameter
    assert parameter.requires_grad
    assert parameter.is_leaf
    assert parameter._version > version
    assert array(parameter).any()


@pytest.mark.parametrize("name", [*SEEDED, "sparse_"])
def test_generators(name):
    args = (0.5,) if name == "sparse_" else ()

    def drawn(seed):
        generator = rl.Generator().manual_seed(seed)
        return array(getattr(init, name)(rl.empty(8, 8), *args, generator=generator))

    state = rl.get_rng_state()
    assert (drawn(1) == drawn(1)).all()
    assert (drawn(1) != drawn(2)).any()
    assert rl.equal(rl.get_rng_state(), state)
    first = array(getattr(init, name)(rl.empty(8, 8), *args))
    assert (first != array(getattr(init, name)(rl.empty(8, 8), *args))).any()
    rl.set_rng_state(state)
    assert (first == array(getattr(init, name)(rl.empty(8, 8), *args))).all()


# -- the cut normal distribution ----------------------------------------------------------------


def cut_moments(low, high):
    """Return mean and deviation of the standard normal within bounds, by summing the density."""
    x = np.linspace(low, high, 200_001)
    density = np.exp((min(max(low, 0.0), high) ** 2 - x**2) / 2)
    density /= density.sum()
    mean = (x * density).sum()
    return mean, math.sqrt(((x - mean) ** 2 * density).sum())


@pytest.mark.parametrize(
    ("low", "high"),
    [(-2, 2), (-0.1, 0.1), (0, 9), (2, 3), (-9, -4), (6, 60), (-50, 0.5), (1, 1), (-math.inf, -4)],
)
def test_trunc_normal_distribution(low, high):
    values = array(init.trunc_normal_(rl.empty(40_000, dtype=rl.float64), a=low, b=high))
    assert values.min() >= low
    assert values.max() <= high
    # The density of long tails ends long before the bound does.
    mean, std = cut_moments(max(low, -12), min(high, 12)) if low < high else (low, 0)
    assert abs(values.mean() - mean) <= 0.03 * std
    assert abs(values.std() - std) <= 0.03 * std


def test_trunc_normal_mean_and_std():
    tensor = init.trunc_normal_(rl.empty(100, 200), mean=10, std=0.5, a=9.5, b=10.5)
    mean, std = cut_moments(-1, 1)
    assert abs(array(tensor).mean() - 10) < 0.01
    assert abs(array(tensor).std() - 0.5 * std) < 0.01
    assert array(tensor).min() >= 9.5
    assert init.trunc_normal_(rl.empty(0)).shape == (0,)
    assert mean == pytest.approx(0, abs=1e-9)


# -- by fans -------------------------------------------------------------------------------------

# 64 outputs, 32 inputs, a window of 5 x 5: fan_in 800, fan_out 1600.
WEIGHT = (64, 32, 5, 5)


def test_fans():
    assert init._calculate_fan_in_and_fan_out(rl.empty(*WEIGHT)) == (800, 1600)
    assert init._calculate_fan_in_and_fan_out(rl.empty(3, 7)) == (7, 3)
    with pytest.raises(ValueError, match="fewer than 2 dimensions"):
        init._calculate_fan_in_and_fan_out(rl.empty(3))


@pytest.mark.parametrize("gain", [1.0, 2.0])
def test_xavier(gain):
    bound = gain * math.sqrt(6 / 2400)
    assert is_uniform(array(init.xavier_uniform_(rl.empty(*WEIGHT), gain)), -bound, bound)
    std = gain * math.sqrt(2 / 2400)
    assert is_normal(array(init.xavier_normal_(rl.empty(*WEIGHT), gain)), 0, std)


@pytest.mark.parametrize(("mode", "fan"), [("fan_in", 800), ("FAN_OUT", 1600)])
@pytest.mark.parametrize(
    ("options", "gain"),
    [
        ({}, math.sqrt(2)),
        ({"a": 1.0}, 1.0),
        ({"nonlinearity": "relu"}, math.sqrt(2)),
        ({"nonlinearity": "linear"}, 1.0),
        ({"nonlinearity": "tanh"}, 5 / 3),
    ],
)
def test_kaiming(mode, fan, options, gain):
    bound = gain * math.sqrt(3 / fan)
    weight = rl.empty(*WEIGHT)
    assert is_uniform(array(init.kaiming_uniform_(weight, mode=mode, **options)), -bound, bound)
    std = gain / math.sqrt(fan)
    assert is_normal(array(init.kaiming_normal_(weight, mode=mode, **options)), 0, std)


@pytest.mark.parametrize(
    ("name", "param", "gain"),
    [
        *[(name, None, 1.0) for name in init._LINEAR],
        ("tanh", None, 5 / 3),
        ("relu", None, math.sqrt(2)),
        ("leaky_relu", None, math.sqrt(2 / 1.0001)),
        ("leaky_relu", 2, math.sqrt(0.4)),
        ("selu", None, 0.75),
    ],
)
def test_gains(name, param, gain):
    assert init.calculate_gain(name, param) == pytest.approx(gain, rel=1e-12)


# -- structures ----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 5), (4, 2, 3), (2, 3, 2, 2)])
@pytest.mark.parametrize("gain", [1.0, 3.0])
def test_orthogonal(shape, gain):
    matrix = array(init.orthogonal_(rl.empty(*shape, dtype=rl.float64), gain))
    matrix = matrix.reshape(shape[0], -1)
    if matrix.shape[0] > matrix.shape[1]:
        matrix = matrix.T
    np.testing.assert_allclose(matrix @ matrix.T, gain**2 * np.eye(len(matrix)), atol=1e-12)


def test_orthogonal_has_no_preferred_sign():
    signs = [init.orthogonal_(rl.empty(1, 1)).item() for _ in range(60)]
    assert {round(each) for each in signs} == {-1, 1}


def test_orthogonal_of_nothing():
    assert init.orthogonal_(rl.empty(0, 3)).shape == (0, 3)


@pytest.mark.parametrize("window", [(3,), (3, 5), (3, 3, 3)])
@pytest.mark.parametrize("groups", [1, 2])
def test_dirac(window, groups):
    tensor = init.dirac_(rl.empty(6, 2, *window), groups)
    values = array(tensor)
    centre = tuple(extent // 2 for extent in window)
    expected = np.zeros_like(values)
    for group in range(groups):
        for channel in range(2):
            expected[(group * (6 // groups) + channel, channel, *centre)] = 1
    assert (values == expected).all()


def test_dirac_passes_an_image_through():
    layer = nn.Conv2d(4, 4, 3, padding=1, groups=2, bias=False)
    init.dirac_(layer.weight, groups=2)
    x = rl.randn(2, 4, 5, 5)
    assert rl.allclose(layer(x), x)


@pytest.mark.parametrize(("sparsity", "zeros"), [(0.0, 0), (0.25, 3), (0.3, 3), (1.0, 10)])
def test_sparse(sparsity, zeros):
    values = array(init.sparse_(rl.empty(10, 200), sparsity, std=0.1))
    assert ((values == 0).sum(axis=0) == zeros).all()
    if zeros < 10:
        assert is_normal(values[values != 0], 0, 0.1)


# -- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "act",
    [
        lambda: init.xavier_uniform_(rl.empty(3)),
        lambda: init.xavier_normal_(rl.empty(3)),
        lambda: init.kaiming_uniform_(rl.empty(3)),
        lambda: init.kaiming_normal_(rl.empty(2, 2), mode="foo"),
        lambda: init.kaiming_normal_(rl.empty(2, 2), nonlinearity="foo"),
        lambda: init.calculate_gain("foo"),
        lambda: init.calculate_gain("leaky_relu", "x"),
        lambda: init.calculate_gain("leaky_relu", True),
        lambda: init.dirac_(rl.empty(2, 2)),
        lambda: init.dirac_(rl.empty(3, 2, 3), groups=2),
        lambda: init.dirac_(rl.empty(3, 2, 3), groups=0),
        lambda: init.eye_(rl.empty(2, 2, 2)),
        lambda: init.orthogonal_(rl.empty(2)),
        lambda: init.sparse_(rl.empty(2), 0.5),
        lambda: init.sparse_(rl.empty(2, 2), 1.5),
        lambda: init.uniform_(rl.empty(2), 2, 1),
        lambda: init.normal_(rl.empty(2), 0, -1),
        lambda: init.trunc_normal_(rl.empty(2), std=0),
        lambda: init.trunc_normal_(rl.empty(2), std=math.inf),
        lambda: init.trunc_normal_(rl.empty(2), mean=math.nan),
        lambda: init.trunc_normal_(rl.empty(2), a=math.nan),
        lambda: init.trunc_normal_(rl.empty(2), a=2, b=1),
    ],
)
def test_refused(act):
    with pytest.raises(ValueError):  # noqa: PT011  # the texts are the functions' own
        act()


@pytest.mark.parametrize("fill", [init.kaiming_uniform_, init.kaiming_normal_])
def test_empty_weights_warn(fill):
    with pytest.warns(UserWarning, match="zero-element"):
        assert fill(rl.empty(0, 2)).shape == (0, 2)


# -- what the layers start with -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "fan_in"), [(nn.Linear(400, 300), 400), (nn.Conv2d(32, 64, 3, groups=2), 144)]
)
def test_default_weights(layer, fan_in):
    bound = 1 / math.sqrt(fan_in)
    assert is_uniform(array(layer.weight), -bound, bound)
    bias = array(layer.bias)
    assert abs(bias).max() <= bound
    assert bias.std() > 0.4 * bound


def test_default_batch_norm():
    layer = nn.BatchNorm2d(3)
    assert array(layer.weight).tolist() == [1, 1, 1]
    assert array(layer.bias).tolist() == [0, 0, 0]
    assert array(layer.running_mean).tolist() == [0, 0, 0]
    assert array(layer.running_var).tolist() == [1, 1, 1]
    assert layer.num_batches_tracked.item() == 0


def test_the_seed_decides():
    rl.manual_seed(3)
    first = nn.Linear(3, 3).weight
    rl.manual_seed(3)
    assert rl.equal(first, nn.Linear(3, 3).weight)
    assert not rl.equal(first, nn.Linear(3, 3).weight)
