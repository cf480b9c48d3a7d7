"""Groups of parameters in one step: names, hooks of the state, flat gradients, checkpoints."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import rushlight as rl
from rushlight import _core, nn, optim
from rushlight.nn import functional as F

KINDS = {
    "SGD": {"momentum": 0.9, "weight_decay": 0.01},
    "Adam": {"amsgrad": True},
    "AdamW": {},
    "RMSprop": {"momentum": 0.9, "centered": True},
    "Adagrad": {"lr_decay": 0.01},
    "Adadelta": {},
}
SHAPES = [(3, 5), (), (0, 2), (70000,), (17,)]


def build(library, name, params, lr=0.05):
    return getattr(library.optim, name)(params, lr=lr, **KINDS[name])


def leaves(seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    arrays = [np.asarray(rng.standard_normal(shape), dtype) for shape in SHAPES]
    return [rl.from_numpy(array).requires_grad_() for array in arrays]


def gradients(params, seed):
    rng = np.random.default_rng(seed)
    for param in params:
        value = rng.standard_normal(param.shape).astype(param.detach().numpy().dtype)
        param.grad = rl.from_numpy(np.asarray(value))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_same_bits_on_any_number_of_threads_and_in_any_company(name, dtype, isa):
    found = []
    for threads, alone in ((1, False), (2, False), (7, False), (1, True)):
        _core.set_num_threads(threads)
        params = leaves(dtype=dtype)
        optimizers = [build(rl, name, [each]) for each in params] if alone else [
            build(rl, name, params)
        ]  # fmt: skip
        for step in range(3):
            gradients(params, step)
            for optimizer in optimizers:
                optimizer.step()
        found.append([param.detach().numpy().tobytes() for param in params])
    assert all(each == found[0] for each in found)


@pytest.mark.parametrize("name", KINDS)
def test_types_may_differ_in_a_group(name):
    mixed = [rl.ones(4, requires_grad=True), rl.ones(4, dtype=rl.float64, requires_grad=True)]
    optimizer = build(rl, name, mixed)
    for step in range(3):
        gradients(mixed, step)
        optimizer.step()
    alone = rl.ones(4, dtype=rl.float64, requires_grad=True)
    other = build(rl, name, [alone])
    for step in range(3):
        rng = np.random.default_rng(step)
        rng.standard_normal(4)
        alone.grad = rl.from_numpy(rng.standard_normal(4))
        other.step()
    assert alone.tolist() == mixed[1].tolist()


@pytest.mark.parametrize("name", KINDS)
def test_a_parameter_given_twice_moves_twice(name):
    param, single = (rl.ones(3, dtype=rl.float64, requires_grad=True) for _ in range(2))
    with pytest.warns(UserWarning, match="duplicate"):
        optimizer = build(rl, name, [param, param])
    param.grad = single.grad = rl.tensor([1.0, -2.0, 3.0], dtype=rl.float64)
    optimizer.step()
    other = build(rl, name, [single])
    other.step()
    other.step()
    assert param.tolist() == single.tolist()


def test_parameters_that_share_memory_move_one_after_the_other():
    memory = rl.zeros(40000)
    halves = [memory[:30000].requires_grad_(), memory[10000:].requires_grad_()]
    optimizer = optim.SGD(halves, lr=1.0)
    for half in halves:
        half.grad = rl.ones(30000)
    optimizer.step()
    expected = np.where((np.arange(40000) < 10000) | (np.arange(40000) >= 30000), -1, -2)
    np.testing.assert_array_equal(memory.numpy(), expected)


@pytest.mark.parametrize("change", ["short", "shape", "dtype", "read-only", "counter"])
def test_a_refused_step_writes_nothing(change):
    params, grads = [np.ones(3), np.ones(2)], [np.ones(3), np.ones(2)]
    states = [[np.ones(3), np.ones(2)] for _ in range(2)]
    steps = [np.zeros(()), np.zeros(())]
    if change == "short":
        grads.pop()
    elif change == "shape":
        states[0][1] = np.ones(3)
    elif change == "dtype":
        grads[1] = np.ones(2, np.float32)
    elif change == "read-only":
        states[1][0].flags.writeable = False
    else:
        steps[1] = np.zeros(2)
    with pytest.raises((ValueError, TypeError), match="adadelta_step: "):
        _core.adadelta_step(params, grads, *states, steps, 1.0, 0.9, 1e-6, 0.0, False)
    assert all(np.all(each == 1) for each in params)
    assert not any(each.any() for each in steps)


# -- names and hooks ------------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
def test_named_parameters_are_torchs(name):
    torch = pytest.importorskip("torch")
    found = []
    for library in (rl, torch):
        module = library.nn.Linear(3, 2)
        optimizer = build(library, name, module.named_parameters())
        other = {"params": [("extra", library.zeros(1, requires_grad=True))], "lr": 0.5}
        optimizer.add_param_group(other)
        state = optimizer.state_dict()
        found.append((repr(optimizer), state["param_groups"]))
        with pytest.raises(ValueError, match="names"):
            optimizer.add_param_group({"params": [library.zeros(1, requires_grad=True)]})
    assert found[0] == found[1]


def test_names_stay_when_a_state_is_loaded():
    first, second = (optim.SGD([(name, rl.ones(1, requires_grad=True))]) for name in "ab")
    second.load_state_dict(first.state_dict())
    assert second.param_groups[0]["param_names"] == ["b"]


def test_hooks_of_the_state():
    optimizer, calls = optim.SGD([rl.ones(1, requires_grad=True)], lr=0.5), []
    optimizer.register_state_dict_pre_hook(lambda each: calls.append(("pre", each)))
    optimizer.register_state_dict_post_hook(lambda each, state: {**state, "more": 1})
    handle = optimizer.register_state_dict_post_hook(
        lambda each, state: calls.append("first"), prepend=True
    )
    state = optimizer.state_dict()
    assert state["more"] == 1
    assert calls == [("pre", optimizer), "first"]
    handle.remove()
    assert optimizer.state_dict()["more"] == 1
    assert calls[2:] == [("pre", optimizer)]

    def slower(each, state):
        groups = [{**group, "lr": 0.25} for group in state["param_groups"]]
        return {**state, "param_groups": groups}

    optimizer.register_load_state_dict_pre_hook(slower)
    optimizer.register_load_state_dict_post_hook(lambda each: calls.append("loaded"))
    optimizer.load_state_dict(state)
    assert optimizer.param_groups[0]["lr"] == 0.25
    assert calls[-1] == "loaded"


# -- flat gradients -------------------------------------------------------------------------


def test_flat_gradients_are_the_gradients():
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    first, second = (list(layer.parameters()) for layer in model)
    optimizer = optim.SGD([{"params": first}, {"params": second, "lr": 0.5}], lr=0.1)
    model(rl.ones(2, 4)).sum().backward()
    second[1].grad = None
    expected = [each.grad.clone() for each in (*first, second[0])]
    flat = optimizer.flat_grads()
    assert [each.shape for each in flat] == [(15,), (8,)]
    parts = [part.flatten() for part in (*expected, rl.zeros(2))]
    assert rl.cat(flat).tolist() == rl.cat(parts).tolist()
    for each in flat:
        each.mul_(2)  # an allreduce, say
    assert first[0].grad.tolist() == (2 * expected[0]).tolist()
    again = optimizer.flat_grads()
    assert all(a is b for a, b in zip(again, flat, strict=True))
    assert rl.cat(again).tolist() == (2 * rl.cat(parts)).tolist()


def test_backward_adds_to_the_flat_gradients_in_place():
    layer = nn.Linear(4, 3)
    optimizer = optim.Adam(layer.parameters())
    (flat,) = optimizer.flat_grads()
    assert not flat.any()
    layer(rl.ones(2, 4)).sum().backward()
    assert flat.tolist() == [2.0] * 15
    optimizer.zero_grad(set_to_none=False)
    assert not flat.any()
    optimizer.zero_grad()
    layer(rl.ones(1, 4)).sum().backward()
    assert not flat.any()
    assert optimizer.flat_grads()[0].tolist() == [1.0] * 15


def test_flat_gradients_follow_their_parameters():
    layer = nn.Linear(2, 2)
    optimizer = optim.SGD(layer.parameters(), lr=0.1)
    (before,) = optimizer.flat_grads()
    layer.double()
    optimizer.zero_grad()
    (after,) = optimizer.flat_grads()
    assert before.dtype is rl.float32
    assert after.dtype is rl.float64
    mixed = [rl.ones(1, requires_grad=True), rl.ones(1, dtype=rl.float64, requires_grad=True)]
    with pytest.raises(ValueError, match="one element type"):
        optim.SGD(mixed).flat_grads()


# -- checkpoints ----------------------------------------------------------------------------


def converted(state, tensor):
    states = {
        number: {
            key: tensor(value.numpy().copy()) if hasattr(value, "numpy") else value
            for key, value in values.items()
        }
        for number, values in state["state"].items()
    }
    return {**state, "state": states}


def steps(library, params, optimizer, numbers):
    for number in numbers:
        rng = np.random.default_rng(number)
        for param in params:
            grad = np.asarray(rng.standard_normal(tuple(param.shape)), np.float32)
            param.grad = library.as_tensor(grad)
        optimizer.step()


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("direct", [False, True])
def test_a_checkpoint_of_torch_resumes(name, direct):
    torch = pytest.importorskip("torch")
    start = np.random.default_rng(3).standard_normal((6, 4)).astype(np.float32)
    theirs = [torch.tensor(start, requires_grad=True), torch.zeros(3, requires_grad=True)]
    other = build(torch, name, theirs)
    steps(torch, theirs, other, range(10))
    ours = [rl.tensor(each.detach().numpy(), requires_grad=True) for each in theirs]
    optimizer = build(rl, name, ours, lr=1.0)
    saved = copy.deepcopy(other.state_dict())
    optimizer.load_state_dict(saved if direct else converted(saved, rl.from_numpy))
    assert optimizer.param_groups[0]["lr"] == 0.05
    steps(torch, theirs, other, range(10, 30))
    steps(rl, ours, optimizer, range(10, 30))
    for mine, yours in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(
            mine.detach().numpy(), yours.detach().numpy(), rtol=2e-5, atol=2e-5
        )


@pytest.mark.parametrize("name", KINDS)
def test_torch_resumes_a_checkpoint(name):
    torch = pytest.importorskip("torch")
    start = np.random.default_rng(3).standard_normal((6, 4)).astype(np.float32)
    ours = [rl.tensor(start, requires_grad=True), rl.zeros(3, requires_grad=True)]
    optimizer = build(rl, name, ours)
    steps(rl, ours, optimizer, range(10))
    theirs = [torch.tensor(each.detach().numpy(), requires_grad=True) for each in ours]
    other = build(torch, name, theirs, lr=1.0)
    other.load_state_dict(converted(optimizer.state_dict(), torch.from_numpy))
    steps(rl, ours, optimizer, range(10, 30))
    steps(torch, theirs, other, range(10, 30))
    for mine, yours in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(
            mine.detach().numpy(), yours.detach().numpy(), rtol=2e-5, atol=2e-5
        )


@pytest.mark.parametrize("name", KINDS)
def test_a_net_learns(name):
    rl.manual_seed(0)
    images = rl.randn(64, 8)
    labels = (images.sum(1) > 0).long()
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
    lr = {"SGD": 0.05, "Adadelta": 1.0, "Adagrad": 0.1}.get(name, 0.01)
    optimizer = build(rl, name, net.parameters(), lr=lr)
    for _ in range(150):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(images), labels)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.25
