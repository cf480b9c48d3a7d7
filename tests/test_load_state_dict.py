"""load_state_dict: all or nothing, versions, extra state, hooks."""

import copy
from collections import OrderedDict

import numpy as np
import pytest

import rushlight as rl
from rushlight import nn

ALL_MATCH = "<All keys matched successfully>"


def frozen(module):
    """Return all tensors of a module as arrays, with their versions, to see what changed."""
    return {
        name: (tensor._version, tensor.detach().numpy().copy())
        for name, tensor in module.state_dict(keep_vars=True).items()
    }


def unchanged(module, before):
    now = frozen(module)
    return now.keys() == before.keys() and all(
        version == before[name][0] and np.array_equal(array, before[name][1])
        for name, (version, array) in now.items()
    )


# -- all or nothing ------------------------------------------------------------------------------


class Late(nn.Module):
    """Good keys first, so that a load in passing would have copied them."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(2, 2)
        self.last = nn.Linear(2, 2)


def bad_states():
    state = Late().state_dict()
    yield {**state, "last.bias": rl.ones(3)}
    yield {**state, "last.bias": None}
    yield {**state, "extra": rl.ones(1)}
    yield {name: value for name, value in state.items() if name != "last.bias"}


def plain(model):
    return model


def with_pre_hook(model):
    model.first.register_load_state_dict_pre_hook(lambda *args: None)
    return model


def with_post_hook(model):
    model.register_load_state_dict_post_hook(lambda *args: None)
    return model


def with_subclass(model):
    class Custom(nn.Linear):
        def _load_from_state_dict(self, *args):
            super()._load_from_state_dict(*args)

    model.middle = Custom(1, 1)
    return model


@pytest.mark.parametrize("prepare", [plain, with_pre_hook, with_post_hook, with_subclass])
@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("assign", [False, True])
def test_an_error_changes_nothing(prepare, number, assign):
    model = prepare(Late())
    before, values = list(model.parameters()), [p.tolist() for p in model.parameters()]
    with pytest.raises(RuntimeError, match=r"Error\(s\) in loading state_dict for Late"):
        model.load_state_dict(list(bad_states())[number], assign=assign)
    assert all(a is b for a, b in zip(model.parameters(), before, strict=True))
    assert [p.tolist() for p in model.parameters()] == values


def test_an_error_does_not_even_count_a_version():
    model = Late()
    before = frozen(model)
    for state in bad_states():
        with pytest.raises(RuntimeError):
            model.load_state_dict(state)
    assert unchanged(model, before)


def test_read_only_memory_is_found_before_copying():
    array = np.ones(2, np.float32)
    array.flags.writeable = False
    model = Late()
    model.last.bias = nn.Parameter(rl.from_numpy(array))
    before = frozen(model)
    with pytest.raises(RuntimeError, match=r"last\.bias is read-only memory"):
        model.load_state_dict(Late().state_dict())
    assert unchanged(model, before)
    model.load_state_dict(Late().state_dict(), assign=True)


def test_an_exception_in_a_hook_takes_the_copies_back():
    def fail(module, keys):
        raise ZeroDivisionError

    model = Late()
    model.register_load_state_dict_post_hook(fail)
    values = [p.tolist() for p in model.parameters()]
    with pytest.raises(ZeroDivisionError):
        model.load_state_dict(Late().state_dict())
    assert [p.tolist() for p in model.parameters()] == values


def test_tied_parameters_are_taken_back_to_the_first_value():
    layer = nn.Linear(1, 1)
    model = with_post_hook(nn.Sequential(layer, layer, nn.Linear(1, 1)))
    before = layer.weight.item()
    state = model.state_dict()
    state["0.weight"], state["1.weight"] = rl.full((1, 1), 7.0), rl.full((1, 1), 8.0)
    del state["2.bias"]
    with pytest.raises(RuntimeError, match=r'Missing.*"2\.bias"'):
        model.load_state_dict(state)
    assert layer.weight.item() == before


# -- versions ----------------------------------------------------------------------------------


def test_old_batch_norm_states_load():
    model = nn.Sequential(nn.BatchNorm1d(2))
    model[0].num_batches_tracked.add_(5)
    state = OrderedDict(model.state_dict())
    del state["0.num_batches_tracked"]
    assert not hasattr(state, "_metadata")
    assert str(model.load_state_dict(state)) == ALL_MATCH
    assert model[0].num_batches_tracked.item() == 5
    state._metadata = {"0": {"version": 2}}
    with pytest.raises(RuntimeError, match=r'"0\.num_batches_tracked"'):
        model.load_state_dict(state)


def test_a_subclass_reads_the_version_and_renames():
    class Renamed(nn.Module):
        _version = 3

        def __init__(self):
            super().__init__()
            self.new = nn.Parameter(rl.zeros(1))

        def _load_from_state_dict(self, state_dict, prefix, local_metadata, *rest):
            if local_metadata.get("version", 1) < 3:
                state_dict[f"{prefix}new"] = state_dict.pop(f"{prefix}old")
            super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)
            # What was loaded is there already, as in PyTorch.
            self.seen = self.new.item()

    model = nn.Sequential(Renamed())
    state = {"0.old": rl.ones(1)}
    assert str(model.load_state_dict(state)) == ALL_MATCH
    assert model[0].seen == 1
    assert list(state) == ["0.old"]
    assert model.state_dict()._metadata["0"] == {"version": 3}
    assert str(model.load_state_dict(model.state_dict())) == ALL_MATCH


# -- extra state ---------------------------------------------------------------------------------


class Counter(nn.Module):
    def __init__(self, count=0):
        super().__init__()
        self.count = [count]

    def get_extra_state(self):
        return self.count

    def set_extra_state(self, state):
        self.count = state


def test_extra_state():
    model, other = nn.Sequential(Counter(3)), nn.Sequential(Counter())
    assert dict(model.state_dict()) == {"0._extra_state": [3]}
    assert str(other.load_state_dict(model.state_dict())) == ALL_MATCH
    assert other[0].count == [3]
    with pytest.raises(RuntimeError, match=r'Missing key\(s\) in state_dict: "0._extra_state"'):
        other.load_state_dict({})
    assert other.load_state_dict({}, strict=False).missing_keys == ["0._extra_state"]


def test_extra_state_is_taken_back():
    model = nn.Sequential(Counter(1), nn.Linear(1, 1))
    state = nn.Sequential(Counter(2), nn.Linear(1, 2)).state_dict()
    with pytest.raises(RuntimeError, match="size mismatch"):
        model.load_state_dict(state)
    assert model[0].count == [1]


class Holder(nn.Module):
    """Keeps a module that it gets as extra state, so its keys have a place only then."""

    def get_extra_state(self):
        return self.held

    def set_extra_state(self, state):
        self.held = state


def test_extra_state_may_bring_the_child_that_other_keys_belong_to():
    source, target = Holder(), Holder()
    source.held, target.held = nn.Linear(1, 1), None
    state = source.state_dict()
    assert list(state) == ["_extra_state", "held.weight", "held.bias"]
    assert repr(target.load_state_dict(state)) == ALL_MATCH
    assert target.held is source.held


def test_extra_state_is_not_there_by_default():
    for act in (nn.Module().get_extra_state, lambda: nn.Module().set_extra_state(1)):
        with pytest.raises(RuntimeError, match="does not define"):
            act()


# -- hooks -------------------------------------------------------------------------------------


def test_state_dict_hooks():
    model, calls = nn.Sequential(nn.Linear(1, 1)), []
    before = model[0].register_state_dict_pre_hook(
        lambda m, prefix, keep: calls.append((prefix, keep))
    )

    def rename(module, state, prefix, metadata):
        assert metadata == {"version": 1}
        state[f"{prefix}w"] = state.pop(f"{prefix}weight")

    after = model[0].register_state_dict_post_hook(rename)
    assert list(model.state_dict(keep_vars=True)) == ["0.bias", "0.w"]
    assert calls == [("0.", True)]
    before.remove()
    after.remove()
    assert list(model.state_dict()) == ["0.weight", "0.bias"]
    assert len(calls) == 1


def test_a_public_post_hook_must_return_none():
    model = nn.Linear(1, 1)
    model.register_state_dict_post_hook(lambda *args: {})
    with pytest.raises(RuntimeError, match="must return None"):
        model.state_dict()


def test_a_private_hook_may_replace_the_state():
    model = nn.Linear(1, 1)
    model._register_state_dict_hook(lambda *args: {"other": 1})
    assert model.state_dict() == {"other": 1}


def test_load_pre_hooks():
    model, seen = nn.Sequential(nn.Linear(1, 1)), []

    def rename(module, state, prefix, metadata, strict, missing, unexpected, errors):
        seen.append((module, prefix, metadata.get("version"), strict))
        state[f"{prefix}weight"] = state.pop(f"{prefix}w")

    handle = model[0].register_load_state_dict_pre_hook(rename)
    plain = model[0]._register_load_state_dict_pre_hook(lambda state, *rest: seen.append(len(rest)))
    state = {"0.w": rl.ones(1, 1), "0.bias": rl.ones(1)}
    assert str(model.load_state_dict(state)) == ALL_MATCH
    assert seen == [(model[0], "0.", None, True), 6]
    assert list(state) == ["0.w", "0.bias"]
    twin = copy.deepcopy(model)
    twin.load_state_dict(state)
    assert seen[2][0] is twin[0]
    handle.remove()
    plain.remove()
    with pytest.raises(RuntimeError, match="Missing"):
        model.load_state_dict(state)


def test_load_post_hooks_see_values_and_decide():
    model, seen = nn.Sequential(nn.Linear(1, 1)), []

    def forgive(module, keys):
        seen.append(module.weight.item())
        keys.missing_keys.clear()

    handle = model[0].register_load_state_dict_post_hook(forgive)
    assert str(model.load_state_dict({"0.weight": rl.full((1, 1), 7.0)})) == ALL_MATCH
    assert seen == [7.0]
    handle.remove()
    model.register_load_state_dict_post_hook(lambda m, keys: keys.unexpected_keys.append("made up"))
    with pytest.raises(RuntimeError, match=r'Unexpected.*"made up"'):
        model.load_state_dict(model.state_dict())


def test_load_post_hooks_return_nothing():
    model = nn.Linear(1, 1)
    model.register_load_state_dict_post_hook(lambda *args: 3)
    with pytest.raises(RuntimeError, match="must return None"):
        model.load_state_dict(model.state_dict())
