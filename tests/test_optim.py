"""The optimizers against float64 NumPy references, PyTorch, and bad input."""

import copy
import math
import pickle

import numpy as np
import pytest

import rushlight as rl
from reference_optim import (
    adadelta_reference,
    adagrad_reference,
    adam_reference,
    rmsprop_reference,
    sgd_reference,
)
from rushlight.optim import SGD, Adadelta, Adagrad, Adam, AdamW, Optimizer, RMSprop

STEPS = 20
SGD_CASES = [
    {},
    {"momentum": 0.9},
    {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1},
    {"momentum": 0.8, "nesterov": True, "weight_decay": 0.01},
    {"momentum": 0.9, "maximize": True, "weight_decay": 0.05},
    {"weight_decay": 0.2, "maximize": True},
]
ADAM_CASES = [
    {},
    {"amsgrad": True},
    {"weight_decay": 0.1, "betas": (0.8, 0.95), "eps": 1e-6},
    {"weight_decay": 0.1, "amsgrad": True, "maximize": True},
    {"betas": (0.0, 0.0)},
]
RMSPROP_CASES = [
    {},
    {"momentum": 0.9},
    {"centered": True, "alpha": 0.9},
    {"centered": True, "momentum": 0.5, "weight_decay": 0.1, "maximize": True},
    {"alpha": 0.3, "eps": 1e-3},
]
ADAGRAD_CASES = [
    {},
    {"lr_decay": 0.1, "weight_decay": 0.05},
    {"initial_accumulator_value": 0.5, "maximize": True, "eps": 1e-4},
]
ADADELTA_CASES = [{}, {"rho": 0.5, "weight_decay": 0.1}, {"eps": 1e-3, "maximize": True}]


REFERENCES = [
    (kind, reference, options)
    for kind, reference, cases in (
        (RMSprop, rmsprop_reference, RMSPROP_CASES),
        (Adagrad, adagrad_reference, ADAGRAD_CASES),
        (Adadelta, adadelta_reference, ADADELTA_CASES),
    )
    for options in cases
]


def data(shape=(5, 7), steps=STEPS, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal(shape), [rng.standard_normal(shape) for _ in range(steps)]


def leaf(array, dtype=rl.float64):
    return rl.tensor(array, dtype=dtype, requires_grad=True)


def run(optimizer, param, grads):
    for grad in grads:
        param.grad = rl.tensor(grad, dtype=param.dtype)
        optimizer.step()
    return param.detach().numpy()


def options_id(options):
    return ",".join(options) or "plain"


@pytest.mark.parametrize("dtype", [rl.float32, rl.float64], ids=str)
@pytest.mark.parametrize("options", SGD_CASES, ids=options_id)
def test_sgd_follows_the_reference(options, dtype):
    start, grads = data()
    param = leaf(start, dtype)
    result = run(SGD([param], lr=0.05, **options), param, grads)
    expected = sgd_reference(start, grads, 0.05, **options)
    tolerance = 2e-6 if dtype is rl.float32 else 1e-13
    np.testing.assert_allclose(result, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [rl.float32, rl.float64], ids=str)
@pytest.mark.parametrize("kind", [Adam, AdamW])
@pytest.mark.parametrize("options", ADAM_CASES, ids=options_id)
def test_adam_follows_the_reference(kind, options, dtype):
    start, grads = data()
    param = leaf(start, dtype)
    result = run(kind([param], lr=0.02, **options), param, grads)
    decoupled = kind is AdamW
    decay = {"weight_decay": 0.01 if decoupled else 0}
    expected = adam_reference(start, grads, 0.02, decoupled=decoupled, **{**decay, **options})
    tolerance = 5e-6 if dtype is rl.float32 else 1e-12
    np.testing.assert_allclose(result, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [rl.float32, rl.float64], ids=str)
@pytest.mark.parametrize(("kind", "reference", "options"), REFERENCES)
def test_the_others_follow_their_references(kind, reference, options, dtype):
    start, grads = data()
    param = leaf(start, dtype)
    result = run(kind([param], lr=0.03, **options), param, grads)
    tolerance = 3e-5 if dtype is rl.float32 else 1e-11
    expected = reference(start, grads, 0.03, **options)
    np.testing.assert_allclose(result, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("name", "options"),
    [("SGD", each) for each in SGD_CASES]
    + [(name, each) for name in ("Adam", "AdamW") for each in ADAM_CASES]
    + [("RMSprop", each) for each in RMSPROP_CASES]
    + [("Adagrad", each) for each in ADAGRAD_CASES]
    + [("Adadelta", each) for each in ADADELTA_CASES],
    ids=lambda value: value if isinstance(value, str) else options_id(value),
)
def test_same_as_torch(name, options):
    torch = pytest.importorskip("torch")
    start, grads = data()
    start, grads = start.astype(np.float32), [grad.astype(np.float32) for grad in grads]
    param, theirs = leaf(start, rl.float32), torch.tensor(start, requires_grad=True)
    ours = getattr(rl.optim, name)([param], lr=0.03, **options)
    other = getattr(torch.optim, name)([theirs], lr=0.03, **options)
    assert repr(ours) == repr(other)
    run(ours, param, grads)
    for grad in grads:
        theirs.grad = torch.tensor(grad)
        other.step()
    np.testing.assert_allclose(
        param.detach().numpy(), theirs.detach().numpy(), rtol=3e-6, atol=3e-6
    )
    mine, yours = ours.state_dict(), other.state_dict()
    assert mine["param_groups"] == yours["param_groups"]
    assert mine["state"].keys() == yours["state"].keys()
    for key, value in yours["state"].get(0, {}).items():
        mine_value = mine["state"][0][key]
        assert str(mine_value.dtype).split(".")[1] == str(value.dtype).split(".")[1]
        np.testing.assert_allclose(mine_value.numpy(), value.numpy(), rtol=1e-5, atol=1e-6)


def test_repr_of_two_groups_is_torchs():
    torch = pytest.importorskip("torch")
    first, second = (leaf(np.ones(2)) for _ in range(2))
    ours = SGD([{"params": [first]}, {"params": second, "lr": 0.5}], lr=0.1, momentum=0.9)
    theirs = [torch.zeros(2, requires_grad=True) for _ in range(2)]
    other = torch.optim.SGD(
        [{"params": [theirs[0]]}, {"params": theirs[1], "lr": 0.5}], lr=0.1, momentum=0.9
    )
    assert repr(ours) == repr(other)


@pytest.mark.parametrize("shape", [(), (0,), (1,), (0, 3), (17,), (3, 1, 2)])
@pytest.mark.parametrize("kind", [SGD, Adam, AdamW, RMSprop, Adagrad, Adadelta])
def test_any_shape(kind, shape):
    start, grads = data(shape, steps=3)
    param = leaf(start)
    result = run(kind([param], lr=0.1), param, grads)
    assert result.shape == shape
    assert np.all(result != start)


@pytest.mark.parametrize(
    "build",
    [
        lambda optimizer: SGD(optimizer, lr=0.1, momentum=0.9, weight_decay=0.1),
        lambda optimizer: Adam(optimizer, lr=0.1, amsgrad=True),
        lambda optimizer: AdamW(optimizer, lr=0.1),
        lambda optimizer: RMSprop(optimizer, lr=0.1, momentum=0.9, centered=True),
        lambda optimizer: Adagrad(optimizer, lr=0.1),
        lambda optimizer: Adadelta(optimizer, lr=0.1),
    ],
    ids=["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta"],
)
def test_strided_parameters_and_gradients_are_updated(build):
    start, grads = data((6, 4), steps=4)
    plain = leaf(start)
    expected = run(build([plain]), plain, grads)
    memory = rl.zeros(4, 12, dtype=rl.float64)
    view = memory.t()[::2]  # neither contiguous nor dense
    view.copy_(rl.tensor(start))
    view.requires_grad_()
    optimizer = build([view])
    for grad in grads:
        view.grad = rl.tensor(np.ascontiguousarray(grad.T)).t()
        before = view._version
        optimizer.step()
        assert view._version > before
    np.testing.assert_array_equal(view.detach().numpy(), expected)
    np.testing.assert_array_equal(memory.numpy()[:, ::2].T, expected)
    assert not memory.numpy()[:, 1::2].any()


def test_a_step_counts_as_a_change_in_place():
    weight = leaf(np.ones(3))
    loss = (weight * weight).sum()
    weight.grad = rl.ones(3, dtype=rl.float64)
    SGD([weight], lr=0.1).step()
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


def test_memory_that_cannot_be_updated_is_refused():
    frozen = np.ones(3)
    frozen.flags.writeable = False
    param = rl.from_numpy(frozen).requires_grad_()
    param.grad = rl.ones(3, dtype=rl.float64)
    for kind in (SGD, Adam):
        with pytest.raises(ValueError, match="read-only"):
            kind([param]).step()
    expanded = rl.ones(1).expand(3).detach().requires_grad_()
    expanded.grad = rl.ones(3)
    with pytest.raises((RuntimeError, ValueError), match=r"expanded|read-only"):
        SGD([expanded]).step()


def test_parameters_without_gradient_are_left_alone():
    first, second = leaf(np.ones(2)), leaf(np.ones(2))
    first.grad = rl.ones(2, dtype=rl.float64)
    optimizer = Adam([first, second], lr=0.1, weight_decay=0.5)
    optimizer.step()
    assert second.tolist() == [1.0, 1.0]
    assert list(optimizer.state) == [first]
    assert list(optimizer.state_dict()["state"]) == [0]


def test_closure_runs_with_gradients_and_its_value_comes_back():
    weight = leaf([2.0])
    optimizer = SGD([weight], lr=0.25)

    def closure():
        optimizer.zero_grad()
        loss = (weight * weight).sum()
        loss.backward()
        return loss

    with rl.no_grad():
        assert optimizer.step(closure).item() == 4.0
    assert weight.item() == 1.0
    assert SGD([weight]).step() is None


def test_zero_grad():
    weight = leaf([2.0])
    optimizer = SGD([weight])
    optimizer.zero_grad(set_to_none=False)
    assert weight.grad is None
    weight.grad = rl.ones(1, dtype=rl.float64)
    optimizer.zero_grad(set_to_none=False)
    assert weight.grad.tolist() == [0.0]
    optimizer.zero_grad()
    assert weight.grad is None


def test_step_hooks():
    weight = leaf([1.0])
    weight.grad = rl.ones(1, dtype=rl.float64)
    optimizer, calls = SGD([weight], lr=0.5), []

    def before(owner, args, kwargs):
        calls.append(("before", owner is optimizer, args[0] is optimizer, weight.item()))

    first = optimizer.register_step_pre_hook(before)
    second = optimizer.register_step_post_hook(lambda *_: calls.append(("after", weight.item())))
    optimizer.step()
    assert calls == [("before", True, True, 1.0), ("after", 0.5)]
    first.remove()
    second.remove()
    optimizer.step()
    assert len(calls) == 2
    optimizer.register_step_pre_hook(lambda *_: ((optimizer, lambda: 7.0), {}))
    assert optimizer.step() == 7.0
    optimizer.register_step_pre_hook(lambda *_: 3)
    with pytest.raises(RuntimeError, match=r"SGD\.step: a pre-hook"):
        optimizer.step()


def test_an_optimizer_of_ones_own():
    class Sign(Optimizer):
        def __init__(self, params, lr):
            super().__init__(params, {"lr": lr})

        def step(self, closure=None):
            with rl.no_grad():
                for group in self.param_groups:
                    for param in group["params"]:
                        param.sub_(param.grad.sign() * group["lr"])

    class Twice(Sign):
        def step(self, closure=None):
            super().step()
            super().step()

    weight, calls = leaf([1.0, -1.0]), []
    weight.grad = rl.tensor([3.0, -2.0], dtype=rl.float64)
    optimizer = Twice([weight], lr=0.25)
    optimizer.register_step_post_hook(lambda *_: calls.append(1))
    optimizer.step()
    assert weight.tolist() == [0.5, -0.5]
    assert calls == [1]
    with pytest.raises(NotImplementedError, match="Optimizer"):
        Optimizer([weight], {}).step()


def test_groups_have_their_own_options():
    first, second, third = (leaf([1.0]) for _ in range(3))
    group = {"params": third, "lr": 0.0}
    optimizer = SGD([{"params": [first]}, {"params": [second], "lr": 0.5}], lr=0.1)
    optimizer.add_param_group(group)
    assert group == {"params": third, "lr": 0.0}
    for param in (first, second, third):
        param.grad = rl.ones(1, dtype=rl.float64)
    optimizer.step()
    assert [first.item(), second.item(), third.item()] == [0.9, 0.5, 1.0]
    optimizer.param_groups[2]["lr"] = 1.0
    optimizer.step()
    assert third.item() == 0.0
    assert [each["params"] for each in optimizer.state_dict()["param_groups"]] == [[0], [1], [2]]


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_go_on_alike(copier):
    start, grads = data()
    param = leaf(start)
    optimizer = Adam([param], lr=0.1)
    run(optimizer, param, grads[:3])
    twin = copier(optimizer)
    (twin_param,) = twin.param_groups[0]["params"]
    assert twin_param is not param
    np.testing.assert_array_equal(
        run(optimizer, param, grads[3:]), run(twin, twin_param, grads[3:])
    )


@pytest.mark.parametrize(
    "build",
    [
        lambda params: SGD(params, lr=0.1, momentum=0.9),
        lambda params: AdamW(params, lr=0.1, amsgrad=True),
    ],
    ids=["SGD", "AdamW"],
)
def test_a_loaded_state_goes_on_alike(build):
    start, grads = data()
    whole = leaf(start)
    expected = run(build([whole]), whole, grads)
    param = leaf(start)
    optimizer = build([param])
    run(optimizer, param, grads[:7])
    saved = copy.deepcopy(optimizer.state_dict())
    later = leaf(param.detach().numpy())
    resumed = build([later])
    resumed.load_state_dict(saved)
    np.testing.assert_array_equal(run(resumed, later, grads[7:]), expected)
    run(optimizer, param, grads[7:])  # the loaded state is a copy
    np.testing.assert_array_equal(param.detach().numpy(), expected)


def test_loading_casts_to_the_parameters_type_but_not_the_step():
    param = leaf([1.0], rl.float32)
    optimizer = Adam([param])
    run(optimizer, param, [np.ones(1)])
    double = leaf([1.0])
    other = Adam([double])
    other.load_state_dict(optimizer.state_dict())
    state = other.state[double]
    assert state["exp_avg"].dtype is rl.float64
    assert state["step"].dtype is rl.float32
    saved = other.state_dict()
    saved["state"][0]["step"] = 4  # as early versions of PyTorch stored it
    other.load_state_dict(saved)
    run(other, double, [np.ones(1)])
    assert other.state[double]["step"].item() == 5


def test_a_state_from_adam_leaves_adamw_what_it_is():
    param = leaf([1.0])
    optimizer = AdamW([param])
    optimizer.load_state_dict(Adam([leaf([1.0])], lr=0.7).state_dict())
    assert optimizer.param_groups[0]["lr"] == 0.7
    assert optimizer.param_groups[0]["decoupled_weight_decay"] is True


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda s: s["param_groups"].append({"params": []}), ValueError, "different number"),
        (lambda s: s["param_groups"][0]["params"].append(7), ValueError, "size of optimizer"),
        (lambda s: s["param_groups"][0].update(lr=math.nan), ValueError, "learning rate"),
        (lambda s: s["state"][1].update(momentum_buffer=rl.ones(5)), ValueError, "shape"),
        (lambda s: s.pop("state"), KeyError, "state"),
        (lambda s: s.pop("param_groups"), KeyError, "param_groups"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change, error, message):
    params = [leaf([1.0, 2.0]), leaf([3.0])]
    optimizer = SGD(params, lr=0.1, momentum=0.9)
    for param in params:
        param.grad = rl.ones_like(param)
    optimizer.step()
    state = copy.deepcopy(optimizer.state_dict())
    state["param_groups"][0]["lr"] = 0.9
    change(state)
    before = str(optimizer.state_dict())
    with pytest.raises(error, match=message):
        optimizer.load_state_dict(state)
    assert str(optimizer.state_dict()) == before


P = rl.ones(2, requires_grad=True)


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: SGD([]), ValueError, "empty parameter list"),
        (lambda: SGD([P], lr=-1), ValueError, "Invalid learning rate: -1"),
        (lambda: SGD([P], lr=math.nan), ValueError, "Invalid learning rate: nan"),
        (lambda: SGD([P], lr=math.inf), ValueError, "Invalid learning rate: inf"),
        (lambda: SGD([P], lr="1"), TypeError, "SGD: lr must be a number, but got str"),
        (lambda: SGD(P), TypeError, "iterable of Tensors or dicts"),
        (lambda: SGD([P * 2]), ValueError, "non-leaf"),
        (lambda: SGD([3]), TypeError, "one of the params is int"),
        (lambda: SGD({P}), TypeError, "ordered collections"),
        (lambda: SGD([{"params": {P}}]), TypeError, "ordered collections"),
        (lambda: SGD([{"params": P}, {"params": P}]), ValueError, "more than one parameter"),
        (lambda: SGD([{"lr": 0.1}]), KeyError, "params"),
        (lambda: SGD([{"params": P, "lr": -1}]), ValueError, "Invalid learning rate"),
        (lambda: SGD([P], nesterov=True), ValueError, "Nesterov momentum requires"),
        (lambda: SGD([P], momentum=-1), ValueError, "Invalid momentum value: -1"),
        (lambda: SGD([P], dampening=math.nan), ValueError, "Invalid dampening value: nan"),
        (lambda: SGD([P], weight_decay=-1), ValueError, "Invalid weight_decay value: -1"),
        (lambda: SGD([P], differentiable=True), ValueError, "differentiable"),
        (lambda: SGD([P]).add_param_group([P]), TypeError, "must be a dict, but got .*list"),
        (lambda: Adam([P], betas=(0.9, 1.0)), ValueError, "beta parameter at index 1: 1.0"),
        (lambda: Adam([P], betas=(math.nan, 0.9)), ValueError, "beta parameter at index 0"),
        (lambda: Adam([P], betas=(0.9,)), ValueError, "pair of numbers"),
        (lambda: Adam([P], eps=-1), ValueError, "Invalid epsilon value: -1"),
        (lambda: AdamW([P], lr=math.nan), ValueError, "AdamW: lr"),
        (lambda: RMSprop([P], alpha=-1), ValueError, "Invalid alpha value: -1"),
        (lambda: RMSprop([P], momentum=-1), ValueError, "Invalid momentum value: -1"),
        (lambda: Adagrad([P], lr_decay=-1), ValueError, "Invalid lr_decay value: -1"),
        (lambda: Adagrad([P], initial_accumulator_value=-1), ValueError, "initial_accumulator"),
        (lambda: Adadelta([P], rho=1.5), ValueError, "Invalid rho value: 1.5"),
        (lambda: Adadelta([P], differentiable=True), ValueError, "differentiable"),
        (lambda: SGD([("a", P), rl.ones(1)]), ValueError, "names are missing"),
    ],
)
def test_bad_input(build, error, message):
    with pytest.raises(error, match=message):
        build()


def test_duplicates_in_a_group_warn_as_in_torch():
    with pytest.warns(UserWarning, match="duplicate parameters"):
        SGD([P, P])


def test_a_tensor_may_be_the_learning_rate():
    weight = leaf([1.0])
    weight.grad = rl.ones(1, dtype=rl.float64)
    SGD([weight], lr=rl.tensor(0.5)).step()
    assert weight.item() == 0.5
