"""Seeds, states, distributions and dropout."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import numpy as np
import pytest

import rushlight as rl

MANY = 40_000

# Everything that draws from the default generator or from one that is given.
DRAWS = [
    lambda **k: rl.rand(5, **k),
    lambda **k: rl.randn(5, **k),
    lambda **k: rl.randn(5, dtype=rl.float64, **k),
    lambda **k: rl.randint(0, 1000, (5,), **k),
    lambda **k: rl.randperm(20, **k),
    lambda **k: rl.normal(0.0, 1.0, (5,), **k),
    lambda **k: rl.bernoulli(rl.full((50,), 0.5), **k),
    lambda **k: rl.zeros(5).uniform_(**k),
    lambda **k: rl.zeros(5).normal_(**k),
    lambda **k: rl.zeros(50).bernoulli_(**k),
]


@pytest.mark.parametrize("draw", DRAWS)
def test_the_same_seed_gives_the_same_numbers(draw: Any) -> None:
    rl.manual_seed(3)
    first, second = draw().tolist(), draw().tolist()
    rl.manual_seed(3)
    assert draw().tolist() == first
    assert draw().tolist() == second != first
    rl.manual_seed(4)
    assert draw().tolist() != first


@pytest.mark.parametrize("draw", DRAWS)
def test_a_generator_of_ones_own(draw: Any) -> None:
    before = rl.get_rng_state().tolist()
    own = rl.Generator().manual_seed(3)
    first = draw(generator=own).tolist()
    assert draw(generator=rl.Generator().manual_seed(3)).tolist() == first
    assert draw(generator=own).tolist() != first
    assert rl.get_rng_state().tolist() == before
    with pytest.raises(TypeError, match=r"generator must be a rushlight\.Generator"):
        draw(generator=np.random.default_rng())


@pytest.mark.parametrize("draw", DRAWS)
def test_states_continue_where_they_were_taken(draw: Any) -> None:
    draw()
    state = rl.get_rng_state()
    first = [draw().tolist() for _ in range(3)]
    rl.set_rng_state(state)
    assert [draw().tolist() for _ in range(3)] == first
    own = rl.Generator()
    own.set_state(pickle.loads(pickle.dumps(state)))
    assert [draw(generator=own).tolist() for _ in range(3)] == first


def test_a_state_is_a_copy() -> None:
    state = rl.get_rng_state()
    kept = state.clone()
    rl.rand(3)
    assert state.tolist() == kept.tolist() != rl.get_rng_state().tolist()
    assert (state.dtype, state.shape) == (rl.int64, (6,))


def test_half_used_words_are_part_of_the_state() -> None:
    """randperm draws 32 bits at a time and keeps the other half."""
    rl.randperm(3)
    state = rl.get_rng_state()
    first = rl.randperm(7).tolist()
    rl.set_rng_state(state)
    assert rl.randperm(7).tolist() == first


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda g: pickle.loads(pickle.dumps(g))])
def test_generators_can_be_copied(copied: Any) -> None:
    own = rl.Generator().manual_seed(5)
    other = copied(own)
    assert rl.rand(3, generator=other).tolist() == rl.rand(3, generator=own).tolist()
    assert other.initial_seed() == 5


def test_seeds() -> None:
    assert rl.manual_seed(12) is rl.default_generator
    assert rl.initial_seed() == rl.default_generator.initial_seed() == 12
    fresh = rl.seed()
    assert rl.initial_seed() == fresh
    assert rl.seed() != fresh
    rl.manual_seed(-1)
    negative = rl.rand(2).tolist()
    rl.manual_seed(2**64 - 1)
    assert rl.rand(2).tolist() == negative


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: rl.manual_seed(2**64), ValueError, "manual_seed: seed must fit 64 bits"),
        (lambda: rl.manual_seed(1.5), TypeError, "manual_seed: seed must be an int.*float"),
        (lambda: rl.set_rng_state(rl.zeros(6)), ValueError, "set_state.*int64.*float32"),
        (lambda: rl.set_rng_state(rl.zeros(5, dtype=rl.int64)), ValueError, r"set_state.*\[5\]"),
        (lambda: rl.set_rng_state(b"state"), TypeError, "set_state: state.*bytes"),
        (lambda: rl.rand(-1), ValueError, "rand: size.*-1"),
        (lambda: rl.rand(2, dtype=rl.int64), TypeError, "rand: dtype.*int64"),
        (lambda: rl.randn_like(rl.tensor([1])), TypeError, "randn: dtype.*int64"),
        (lambda: rl.randint(3, 3, (1,)), ValueError, r"randint.*\[3, 3\)"),
        (lambda: rl.randint(0.5, 3, (1,)), TypeError, "randint: low.*float"),
        (lambda: rl.randperm(-1), ValueError, "randperm.*-1"),
        (lambda: rl.normal(0.0, -1.0, (2,)), ValueError, "normal: std"),
        (lambda: rl.zeros(2).normal_(0, -1), ValueError, "normal_: std.*-1"),
        (lambda: rl.zeros(2).normal_(0, math.nan), ValueError, "normal_: std.*nan"),
        (lambda: rl.zeros(2).uniform_(2, 1), ValueError, "uniform_.*a=2.*b=1"),
        (lambda: rl.zeros(2).bernoulli_(1.5), ValueError, r"bernoulli_.*1\.5"),
        (lambda: rl.bernoulli(rl.tensor([1.5])), ValueError, "bernoulli: probabilities"),
        (lambda: rl.bernoulli(rl.tensor([math.nan])), ValueError, "bernoulli: probabilities"),
    ],
)
def test_bad_arguments(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()


# -- distributions --------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [rl.float32, rl.float64], ids=str)
@pytest.mark.parametrize(
    ("draw", "mean", "std", "low", "high"),
    [
        (lambda t: rl.rand(MANY, dtype=t), 0.5, 12**-0.5, 0, 1),
        (lambda t: rl.rand_like(rl.zeros(MANY, dtype=t)), 0.5, 12**-0.5, 0, 1),
        (lambda t: rl.randn(MANY, dtype=t), 0, 1, -7, 7),
        (lambda t: rl.randn_like(rl.zeros(MANY, dtype=t)), 0, 1, -7, 7),
        (lambda t: rl.zeros(MANY, dtype=t).uniform_(-3, 5), 1, 8 * 12**-0.5, -3, 5),
        (lambda t: rl.zeros(MANY, dtype=t).normal_(3, 0.5), 3, 0.5, -1, 7),
        (lambda t: rl.bernoulli(rl.full((MANY,), 0.3, dtype=t)), 0.3, 0.21**0.5, 0, 1.1),
        (lambda t: rl.zeros(MANY, dtype=t).bernoulli_(0.7), 0.7, 0.21**0.5, 0, 1.1),
        (lambda t: rl.normal(rl.full((MANY,), 2.0, dtype=t), 3.0), 2, 3, -19, 23),
    ],
)
def test_moments(draw: Any, dtype: Any, mean: float, std: float, low: float, high: float) -> None:
    found = draw(dtype)
    assert found.dtype is dtype
    array = found.numpy().astype(np.float64)
    assert abs(array.mean() - mean) < 5 * std / MANY**0.5
    assert abs(array.std() - std) < 0.02 * std
    assert low <= array.min()
    assert array.max() < high
    # Neighbours are independent.
    centred = array - mean
    assert abs((centred[1:] * centred[:-1]).mean()) < 5 * std**2 / MANY**0.5


@pytest.mark.parametrize(
    ("draw", "low", "high"),
    [
        (lambda: rl.randint(10, (MANY,)), 0, 10),
        (lambda: rl.randint(10, size=(MANY,)), 0, 10),
        (lambda: rl.randint(high=10, size=(MANY,)), 0, 10),
        (lambda: rl.randint(-5, 5, (MANY,)), -5, 5),
    ],
)
def test_integers(draw: Any, low: int, high: int) -> None:
    found = draw()
    assert (found.dtype, found.shape) == (rl.int64, (MANY,))
    values, counts = np.unique(found.numpy(), return_counts=True)
    assert values.tolist() == list(range(low, high))
    assert abs(counts - MANY / 10).max() < 6 * (MANY * 0.09) ** 0.5
    assert rl.randint(0, 3, (2,), dtype=rl.float32).dtype is rl.float32


def test_permutations() -> None:
    for count in (0, 1, 100):
        found = rl.randperm(count)
        assert found.dtype is rl.int64
        assert sorted(found.tolist()) == list(range(count))
    assert rl.randperm(100).tolist() != list(range(100))
    firsts = [rl.randperm(4)[0].item() for _ in range(400)]
    assert all(firsts.count(value) > 60 for value in range(4))


def test_shapes_of_random_tensors() -> None:
    assert rl.rand(2, 3).shape == rl.randn((2, 3)).shape == rl.rand(rl.Size([2, 3])).shape == (2, 3)
    assert rl.rand(()).shape == rl.randn([]).shape == ()
    assert rl.rand(0, 2).shape == (0, 2)
    assert rl.normal(rl.zeros(3, 1), rl.ones(2)).shape == (3, 2)


# -- dropout --------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [rl.float32, rl.float64], ids=str)
def test_dropout_keeps_the_mean(p: float, dtype: Any) -> None:
    out = rl.dropout(rl.ones(MANY, dtype=dtype), p)
    assert out.dtype is dtype
    values = np.unique(out.numpy())
    np.testing.assert_allclose(values, [0.0, 1 / (1 - p)], rtol=1e-6)
    kept = (out != 0).double().mean().item()
    assert abs(kept - (1 - p)) < 5 * (p * (1 - p) / MANY) ** 0.5


def test_the_gradient_of_dropout_is_its_mask() -> None:
    x = rl.rand(1000) + 1
    x.requires_grad_()
    out = rl.dropout(x, 0.3)
    out.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), (out / x).detach().numpy(), rtol=1e-6)


def test_dropout_in_place() -> None:
    x = rl.ones(1000, requires_grad=True)
    y = x * 1
    out = rl.dropout(y, 0.5, inplace=True)
    assert out is y
    assert 0 < (y == 0).sum().item() < 1000
    out.sum().backward()
    assert x.grad.tolist() == y.tolist()
    with pytest.raises(RuntimeError, match="leaf"):
        rl.dropout(x, 0.5, inplace=True)


@pytest.mark.parametrize("options", [{"training": False}, {"p": 0.0}], ids=str)
@pytest.mark.parametrize("operation", [rl.dropout, rl.feature_dropout])
def test_dropout_that_drops_nothing(operation: Any, options: Any) -> None:
    x = rl.rand(2, 3)
    state = rl.get_rng_state().tolist()
    assert operation(x, **options).tolist() == x.tolist()
    assert rl.get_rng_state().tolist() == state


def test_dropout_of_everything() -> None:
    x = rl.rand(10, requires_grad=True)
    out = rl.dropout(x, 1.0)
    out.sum().backward()
    assert out.tolist() == x.grad.tolist() == [0.0] * 10


def test_feature_dropout_takes_whole_channels() -> None:
    out = rl.feature_dropout(rl.ones(50, 20, 3, 3), 0.4)
    sums = out.sum((2, 3)).numpy()
    np.testing.assert_allclose(np.unique(sums), [0.0, 9 / 0.6], rtol=1e-6)
    assert abs((sums == 0).mean() - 0.4) < 0.08


@pytest.mark.parametrize("operation", [rl.dropout, rl.feature_dropout])
@pytest.mark.parametrize("p", [1.5, -0.1, math.nan])
def test_probabilities_out_of_range(operation: Any, p: float) -> None:
    for training in (True, False):
        with pytest.raises(ValueError, match=f"p must be between 0 and 1, but got {p}"):
            operation(rl.ones(2, 2), p, training)


def test_dropout_refuses_integers() -> None:
    with pytest.raises(TypeError, match=r"dropout: input must be float32 or float64.*int64"):
        rl.dropout(rl.tensor([1, 2]))
    with pytest.raises(ValueError, match=r"feature_dropout.*\[2\]"):
        rl.feature_dropout(rl.ones(2))
