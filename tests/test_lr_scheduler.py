"""The schedules step by step beside PyTorch's, their state both ways, and bad input."""

from __future__ import annotations

import copy
import json
import math
import warnings

import pytest

import rushlight as rl
from rushlight.optim import SGD, Adam, lr_scheduler

STEPS = 130


class Halving:
    """A callable object: its attributes are part of a scheduler's state."""

    def __init__(self, every):
        self.every = every

    def __call__(self, step):
        return 0.5 ** (step // self.every)


CASES = {
    "step": ("StepLR", {"step_size": 7, "gamma": 0.8}),
    "multi step": ("MultiStepLR", {"milestones": [3, 40, 40, 90], "gamma": 0.5}),
    "constant": ("ConstantLR", {"factor": 0.3, "total_iters": 11}),
    "linear": ("LinearLR", {"start_factor": 0.1, "end_factor": 0.7, "total_iters": 50}),
    "exponential": ("ExponentialLR", {"gamma": 0.97}),
    "polynomial": ("PolynomialLR", {"total_iters": 60, "power": 1.7}),
    "cosine": ("CosineAnnealingLR", {"T_max": 30, "eta_min": 0.01}),
    "restarts": ("CosineAnnealingWarmRestarts", {"T_0": 9, "T_mult": 2, "eta_min": 1e-3}),
    "even restarts": ("CosineAnnealingWarmRestarts", {"T_0": 10}),
    "one cycle": ("OneCycleLR", {"max_lr": [0.5, 0.2], "total_steps": 131}),
    "one cycle, line": ("OneCycleLR", {"max_lr": 1.0, "epochs": 10, "steps_per_epoch": 14,
                                       "anneal_strategy": "linear", "pct_start": 0.4}),
    "one cycle, three": ("OneCycleLR", {"max_lr": 1.0, "total_steps": 140, "three_phase": True,
                                        "div_factor": 5.0, "final_div_factor": 100.0}),
    "one cycle, no momentum": ("OneCycleLR", {"max_lr": 1.0, "total_steps": 140,
                                              "cycle_momentum": False}),
    "cyclic": ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.3, "step_size_up": 13,
                            "step_size_down": 8}),
    "cyclic, halving": ("CyclicLR", {"base_lr": [0.01, 0.02], "max_lr": 0.3, "step_size_up": 10,
                                     "mode": "triangular2"}),
    "cyclic, shrinking": ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.3, "step_size_up": 10,
                                       "mode": "exp_range", "gamma": 0.99}),
    "cyclic, function": ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.3, "step_size_up": 10,
                                      "scale_fn": Halving(30), "scale_mode": "iterations"}),
    "function": ("LambdaLR", {"lr_lambda": lambda step: 0.95**step}),
    "functions": ("LambdaLR", {"lr_lambda": [Halving(20), lambda step: 1 / (1 + step)]}),
    "multiplied": ("MultiplicativeLR", {"lr_lambda": Halving(100)}),
}  # fmt: skip
BOTH_OPTIMIZERS = [name for name in CASES if "cycl" in name]


def build(library, name, optimizer="SGD", lr=0.2):
    """Return an optimizer with two groups, and a schedule of them."""
    params = [library.zeros(2, requires_grad=True) for _ in range(2)]
    groups = [{"params": [params[0]]}, {"params": [params[1]], "lr": lr / 10}]
    options = {"momentum": 0.9} if optimizer == "SGD" else {}
    made = getattr(library.optim, optimizer)(groups, lr=lr, **options)
    for param in params:
        param.grad = library.ones(2)
    return made, schedule(library, made, name)


def schedule(library, optimizer, name):
    kinds = library.optim.lr_scheduler
    if name == "sequence":
        parts = [
            kinds.LinearLR(optimizer, 0.1, total_iters=20),
            kinds.CosineAnnealingLR(optimizer, 40),
            kinds.ExponentialLR(optimizer, 0.9),
        ]
        return kinds.SequentialLR(optimizer, parts, [20, 70])
    if name == "chain":
        parts = [
            kinds.ConstantLR(optimizer, 0.1, total_iters=20),
            kinds.ExponentialLR(optimizer, 0.99),
            kinds.StepLR(optimizer, 30),
        ]
        return kinds.ChainedScheduler(parts)
    kind, options = CASES[name]
    return getattr(kinds, kind)(optimizer, **copy.deepcopy(options))


ALL = [*CASES, "sequence", "chain"]


def options_of(optimizer):
    keys = ("lr", "momentum", "betas", "initial_lr", "max_lr", "min_lr")
    return [{key: group[key] for key in keys if key in group} for group in optimizer.param_groups]


def plain(state):
    """Return a state without what is made of functions."""
    if isinstance(state, dict):
        return {key: plain(value) for key, value in state.items()}
    return [plain(each) for each in state] if isinstance(state, list) else state


@pytest.mark.parametrize(
    ("name", "optimizer"),
    [(name, "SGD") for name in ALL] + [(name, "Adam") for name in BOTH_OPTIMIZERS],
)
def test_every_step_is_torchs(name, optimizer):
    torch = pytest.importorskip("torch")
    ours, mine = build(rl, name, optimizer)
    theirs, yours = build(torch, name, optimizer)
    for _ in range(STEPS):
        assert options_of(ours) == options_of(theirs)
        assert mine.get_last_lr() == yours.get_last_lr()
        assert plain(mine.state_dict()) == plain(yours.state_dict())
        ours.step()
        theirs.step()
        mine.step()
        yours.step()


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("direction", ["from torch", "to torch"])
def test_a_state_goes_over(name, direction):
    torch = pytest.importorskip("torch")
    source, target = (torch, rl) if direction == "from torch" else (rl, torch)
    before, first = build(source, name)
    for _ in range(37):
        before.step()
        first.step()
    after, second = build(target, name)
    state = {
        number: {
            key: target.as_tensor(value.numpy()) if hasattr(value, "numpy") else value
            for key, value in values.items()
        }
        for number, values in before.state_dict()["state"].items()
    }
    after.load_state_dict({**before.state_dict(), "state": state})
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for _ in range(STEPS - 37):
        assert options_of(before) == options_of(after)
        for each in (before, first, after, second):
            each.step()


def closed_state(name):
    optimizer, scheduler = build(rl, name)
    for _ in range(23):
        optimizer.step()
        scheduler.step()
    return optimizer, scheduler


@pytest.mark.parametrize("name", [name for name in ALL if "function" not in name])
def test_a_state_survives_json(name):
    optimizer, scheduler = closed_state(name)
    text = json.dumps(scheduler.state_dict())
    other, loaded = build(rl, name)
    other.load_state_dict(optimizer.state_dict())
    loaded.load_state_dict(json.loads(text))
    for _ in range(100):
        assert options_of(other) == options_of(optimizer)
        for each in (optimizer, scheduler, other, loaded):
            each.step()


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
def test_plateaus_are_torchs(mode, threshold_mode):
    torch = pytest.importorskip("torch")
    pairs = []
    for library in (rl, torch):
        optimizer, _ = build(library, "function", lr=1.0)
        scheduler = library.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, mode, 0.5, patience=3, threshold=0.01, threshold_mode=threshold_mode,
            cooldown=2, min_lr=[1e-3, 1e-2],
        )  # fmt: skip
        pairs.append((optimizer, scheduler))
    (ours, mine), (theirs, yours) = pairs
    for step in range(STEPS):
        value = 1 / (1 + step) + 0.3 * math.sin(step)
        mine.step(rl.tensor(value, dtype=rl.float64) if step % 2 else value)
        yours.step(value)
        assert options_of(ours) == options_of(theirs)
        assert mine.state_dict() == yours.state_dict()
    again, other = build(rl, "function", lr=1.0)
    other = lr_scheduler.ReduceLROnPlateau(again)
    other.load_state_dict(yours.state_dict())
    assert other.state_dict() == yours.state_dict()


def test_plateau_with_a_new_group():
    optimizer, _ = build(rl, "function")
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
    several = lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, min_lr=[0, 0])
    optimizer.add_param_group({"params": [rl.zeros(1, requires_grad=True)], "lr": 1.0})
    scheduler.step(1.0)
    scheduler.step(2.0)
    assert optimizer.param_groups[2]["lr"] == 0.1
    several.step(1.0)
    with pytest.raises(RuntimeError, match="3 param groups, but min_lrs has 2"):
        several.step(2.0)


@pytest.mark.parametrize(
    "name", ["step", "multi step", "constant", "linear", "exponential", "polynomial", "cosine",
             "function", "one cycle", "multiplied"],
)  # fmt: skip
def test_an_epoch_is_sought_as_in_torch(name):
    torch = pytest.importorskip("torch")
    ours, mine = build(rl, name)
    theirs, yours = build(torch, name)
    ours.step()
    theirs.step()
    for epoch in (5, 40, 41, 3):
        with pytest.warns(UserWarning, match="epoch"):
            mine.step(epoch)
        with pytest.warns(UserWarning, match="epoch"):
            yours.step(epoch)
        assert options_of(ours) == options_of(theirs)


def test_restarts_take_fractions_of_epochs():
    torch = pytest.importorskip("torch")
    ours, mine = build(rl, "restarts")
    theirs, yours = build(torch, "restarts")
    for epoch in (0.25, 8.5, 9, 30.75, 100.5, 2):
        mine.step(epoch)
        yours.step(epoch)
        assert options_of(ours) == options_of(theirs)
    with pytest.raises(ValueError, match="non-negative"):
        mine.step(-1)


@pytest.mark.parametrize("name", ["step", "linear", "cosine", "exponential", "polynomial"])
def test_continuing_from_a_number_is_torchs(name):
    torch = pytest.importorskip("torch")
    found = []
    for library in (rl, torch):
        optimizer, scheduler = build(library, name)
        for _ in range(12):
            optimizer.step()
            scheduler.step()
        kind, options = CASES[name]
        again = getattr(library.optim.lr_scheduler, kind)(optimizer, **options, last_epoch=11)
        rates = []
        for _ in range(30):
            rates.append(again.get_last_lr())
            optimizer.step()
            again.step()
        found.append(rates)
    assert found[0] == found[1]


def test_a_learning_rate_that_is_a_tensor_is_changed_in_place():
    rate = rl.tensor(1.0)
    optimizer = SGD([rl.zeros(1, requires_grad=True)], lr=rate)
    scheduler = lr_scheduler.ExponentialLR(optimizer, 0.5)
    optimizer.step()
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] is rate
    assert rate.item() == 0.5
    last = scheduler.get_last_lr()[0]
    last.fill_(7.0)
    assert rate.item() == 0.5


def test_the_order_of_steps_is_warned_of():
    optimizer, scheduler = build(rl, "step")
    with pytest.warns(UserWarning, match=r"before optimizer\.step"):
        scheduler.step()
    optimizer, scheduler = build(rl, "step")
    optimizer.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scheduler.step()
    with pytest.warns(UserWarning, match="get_last_lr"):
        scheduler.get_lr()


def test_a_schedule_of_ones_own():
    class Down(lr_scheduler.LRScheduler):
        def get_lr(self):
            return [base / (1 + self.last_epoch) for base in self.base_lrs]

    optimizer, _ = build(rl, "function", lr=1.0)
    scheduler = Down(optimizer)
    for step in range(1, 5):
        optimizer.step()
        scheduler.step()
        assert optimizer.param_groups[0]["lr"] == 1 / (1 + step)
    with pytest.raises(NotImplementedError, match="LRScheduler"):
        lr_scheduler.LRScheduler(optimizer)


def sgd():
    return SGD([rl.zeros(1, requires_grad=True)], lr=0.1, momentum=0.9)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: lr_scheduler.StepLR(3, 1), TypeError, "int is not an Optimizer"),
        (lambda: lr_scheduler.StepLR(sgd(), 1, last_epoch=4), KeyError, "initial_lr"),
        (lambda: lr_scheduler.ConstantLR(sgd(), 2.0), ValueError, "between 0 and 1.*2.0"),
        (lambda: lr_scheduler.LinearLR(sgd(), 0.0), ValueError, "start_factor.*0.0"),
        (lambda: lr_scheduler.LinearLR(sgd(), end_factor=3), ValueError, "end_factor.*3"),
        (lambda: lr_scheduler.CosineAnnealingWarmRestarts(sgd(), 0), ValueError, "T_0.*0"),
        (lambda: lr_scheduler.CosineAnnealingWarmRestarts(sgd(), 2, 0), ValueError, "T_mult"),
        (lambda: lr_scheduler.CosineAnnealingWarmRestarts(sgd(), 2, 1, "a"), ValueError, "eta"),
        (lambda: lr_scheduler.OneCycleLR(sgd(), 1.0), ValueError, "total_steps OR"),
        (lambda: lr_scheduler.OneCycleLR(sgd(), 1.0, 0), ValueError, "total_steps, but got 0"),
        (lambda: lr_scheduler.OneCycleLR(sgd(), 1.0, epochs=1.5, steps_per_epoch=2), ValueError,
         "epochs, but got 1.5"),
        (lambda: lr_scheduler.OneCycleLR(sgd(), 1.0, 5, pct_start=2.0), ValueError, "pct_start"),
        (lambda: lr_scheduler.OneCycleLR(sgd(), 1.0, 5, anneal_strategy="x"), ValueError, "'x'"),
        (lambda: lr_scheduler.OneCycleLR(sgd(), [1.0, 2.0], 5), ValueError, "same length"),
        (lambda: lr_scheduler.CyclicLR(sgd(), 0.1, 1.0, mode="up"), ValueError, "'up'"),
        (lambda: lr_scheduler.CyclicLR(
            rl.optim.Adagrad([rl.zeros(1, requires_grad=True)]), 0.1, 1.0),
         ValueError, "momentum or beta1"),
        (lambda: lr_scheduler.LambdaLR(sgd(), [abs, abs]), ValueError, "Expected 1 lr_lambdas"),
        (lambda: lr_scheduler.MultiplicativeLR(sgd(), 0.5), TypeError, "function.*float"),
        (lambda: lr_scheduler.ReduceLROnPlateau(sgd(), factor=1.0), ValueError, "below 1"),
        (lambda: lr_scheduler.ReduceLROnPlateau(sgd(), "up"), ValueError, "mode"),
        (lambda: lr_scheduler.ReduceLROnPlateau(sgd(), threshold_mode="up"), ValueError, "'up'"),
        (lambda: lr_scheduler.ReduceLROnPlateau(sgd(), min_lr=[1, 2]), ValueError, "expected 1"),
        (lambda: lr_scheduler.ChainedScheduler([]), ValueError, "at least one"),
        (lambda: lr_scheduler.ChainedScheduler([3]), TypeError, "optimizer"),
        (lambda: lr_scheduler.ChainedScheduler([lr_scheduler.ReduceLROnPlateau(sgd())]),
         ValueError, "ReduceLROnPlateau"),
        (lambda: lr_scheduler.ChainedScheduler(
            [lr_scheduler.StepLR(sgd(), 1), lr_scheduler.StepLR(sgd(), 1)]),
         ValueError, "scheduler 1 belongs to another"),
        (lambda: lr_scheduler.SequentialLR(sgd(), [], []), ValueError, "at least one"),
    ],
)  # fmt: skip
def test_bad_input(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_bad_milestones_and_too_many_steps():
    optimizer = sgd()
    parts = [lr_scheduler.StepLR(optimizer, 1), lr_scheduler.StepLR(optimizer, 1)]
    with pytest.raises(ValueError, match="2 schedulers need 1 milestones, but got 2"):
        lr_scheduler.SequentialLR(optimizer, parts, [1, 2])
    optimizer = Adam([rl.zeros(1, requires_grad=True)])
    scheduler = lr_scheduler.OneCycleLR(optimizer, 1.0, 3)
    optimizer.step()
    for _ in range(3):
        scheduler.step()
    with pytest.raises(ValueError, match="Tried to step 4 times"):
        scheduler.step()
