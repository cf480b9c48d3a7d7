"""state_dict and load_state_dict: contents, metadata, the report."""

import copy
import pickle
from collections import OrderedDict

import numpy as np
import pytest

import rushlight as rl
from rushlight import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Sequential(nn.Linear(2, 2))
        self.b = nn.BatchNorm1d(2)


NAMES = [
    "a.0.weight",
    "a.0.bias",
    "b.weight",
    "b.bias",
    "b.running_mean",
    "b.running_var",
    "b.num_batches_tracked",
]
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


# -- writing -----------------------------------------------------------------------------------


def test_names_order_and_metadata():
    state = Net().state_dict()
    assert type(state) is OrderedDict
    assert list(state) == NAMES
    assert state._metadata == {
        "": {"version": 1},
        "a": {"version": 1},
        "a.0": {"version": 1},
        "b": {"version": 2},
    }
    assert list(state._metadata) == ["", "a", "a.0", "b"]
    assert list(Net().state_dict(prefix="p.")) == [f"p.{name}" for name in NAMES]


def test_metadata_survives_copy_and_pickle():
    state = Net().state_dict()
    for twin in (copy.deepcopy(state), pickle.loads(pickle.dumps(state))):
        assert twin._metadata == state._metadata
        assert str(Net().load_state_dict(twin)) == ALL_MATCH


def test_values_are_detached_and_share_memory():
    layer = nn.Linear(2, 2)
    state = layer.state_dict()
    assert not any(each.requires_grad for each in state.values())
    assert {type(each) for each in state.values()} == {rl.Tensor}
    with rl.no_grad():
        layer.weight.zero_()
    assert state["weight"].abs().sum().item() == 0
    assert layer.state_dict(keep_vars=True)["weight"] is layer.weight


def test_destination_and_prefix():
    state = {}
    assert nn.Linear(1, 1).state_dict(destination=state, prefix="x.") is state
    assert list(state) == ["x.weight", "x.bias"]


def test_positional_arguments_warn():
    with pytest.warns(FutureWarning, match="positional"):
        state = nn.Linear(1, 1).state_dict({}, "p.", True)
    assert list(state) == ["p.weight", "p.bias"]
    assert isinstance(state["p.bias"], nn.Parameter)


def test_what_is_left_out():
    module = nn.Module()
    module.register_buffer("kept", rl.ones(1))
    module.register_buffer("lost", rl.ones(1), persistent=False)
    module.register_buffer("none", None)
    module.register_parameter("nothing", None)
    assert list(module.state_dict()) == ["kept"]
    module.none = rl.ones(1)
    assert list(module.state_dict()) == ["kept", "none"]
    module.register_buffer("kept", rl.ones(1), persistent=False)
    assert list(module.state_dict()) == ["none"]


def test_tied_parameters_have_both_names():
    layer = nn.Linear(1, 1)
    assert list(nn.Sequential(layer, layer).state_dict()) == [
        "0.weight",
        "0.bias",
        "1.weight",
        "1.bias",
    ]


# -- reading -----------------------------------------------------------------------------------


def test_round_trip():
    source, target = Net(), Net()
    source.b.num_batches_tracked.add_(3)
    parameters = list(target.parameters())
    assert str(target.load_state_dict(source.state_dict())) == ALL_MATCH
    for name, tensor in source.state_dict().items():
        assert rl.equal(tensor, target.state_dict()[name]), name
    assert all(a is b for a, b in zip(parameters, target.parameters(), strict=True))


def test_loading_copies_and_counts_a_version():
    layer, state = nn.Linear(2, 2), nn.Linear(2, 2).state_dict()
    version = layer.weight._version
    layer.load_state_dict(state)
    assert layer.weight._version == version + 1
    state["weight"].zero_()
    assert layer.weight.abs().sum().item() > 0


def test_loading_converts_the_type():
    layer = nn.Linear(2, 2)
    layer.load_state_dict(nn.Linear(2, 2).double().state_dict())
    assert layer.weight.dtype == rl.float32


def test_assign():
    layer, state = nn.Linear(2, 2), nn.Linear(2, 2).double().state_dict()
    layer.bias.requires_grad_(False)
    assert str(layer.load_state_dict(state, assign=True)) == ALL_MATCH
    assert layer.weight.dtype == rl.float64
    assert isinstance(layer.weight, nn.Parameter)
    assert layer.weight.requires_grad
    assert not layer.bias.requires_grad
    with rl.no_grad():
        layer.weight.zero_()
    assert state["weight"].abs().sum().item() == 0
    own = nn.Linear(2, 2).state_dict(keep_vars=True)
    layer.load_state_dict(own, assign=True)
    assert layer.weight is own["weight"]


def test_missing_and_unexpected_without_strict():
    result = nn.Linear(2, 2).load_state_dict({"q": rl.ones(1)}, strict=False)
    assert result == (["weight", "bias"], ["q"])
    assert result.missing_keys == ["weight", "bias"]
    assert result.unexpected_keys == ["q"]
    assert (
        repr(result) == "_IncompatibleKeys(missing_keys=['weight', 'bias'], unexpected_keys=['q'])"
    )


def test_no_mapping():
    with pytest.raises(TypeError, match="dict-like, got <class 'list'>"):
        nn.Linear(1, 1).load_state_dict([])


# What is wrong with the state dict of a Linear(2, 3), and the report's lines about it.
REPORTS = [
    ({}, ['Missing key(s) in state_dict: "weight", "bias". ']),
    (
        {"weight": rl.ones(3, 2), "zz": rl.ones(1)},
        ['Missing key(s) in state_dict: "bias". ', 'Unexpected key(s) in state_dict: "zz". '],
    ),
    (
        {"weight": rl.ones(2, 2), "bias": rl.ones(3)},
        [
            "size mismatch for weight: copying a param with shape rushlight.Size([2, 2]) from "
            "checkpoint, the shape in current model is rushlight.Size([3, 2])."
        ],
    ),
    (
        {"weight": rl.ones(1, 2), "bias": rl.tensor(1.0)},
        [
            "size mismatch for weight: copying a param with shape rushlight.Size([1, 2]) from "
            "checkpoint, the shape in current model is rushlight.Size([3, 2]).",
            "size mismatch for bias: copying a param with shape rushlight.Size([]) from "
            "checkpoint, the shape in current model is rushlight.Size([3]).",
        ],
    ),
    (
        {"weight": rl.ones(2, 3), "bias": rl.ones(3)},
        [
            "size mismatch for weight: copying a param with shape rushlight.Size([2, 3]) from "
            "checkpoint, the shape in current model is rushlight.Size([3, 2])."
        ],
    ),
    (
        {"weight": 3, "bias": np.ones(3)},
        [
            'While copying the parameter named "weight", expected torch.Tensor or Tensor-like '
            "object from checkpoint but received <class 'int'>",
            'While copying the parameter named "bias", expected torch.Tensor or Tensor-like '
            "object from checkpoint but received <class 'numpy.ndarray'>",
        ],
    ),
    (
        {"weight": rl.ones(3, 2), "bias": rl.ones(3), "weight.x": rl.ones(1), "q.r": 3},
        ['Unexpected key(s) in state_dict: "weight.x", "q.r". '],
    ),
    (
        {"weight": rl.ones(3, 2), "bias": rl.ones(3), "_extra_state": 3},
        ['Unexpected key(s) in state_dict: "_extra_state". '],
    ),
]


@pytest.mark.parametrize(("state", "lines"), REPORTS)
@pytest.mark.parametrize("assign", [False, True])
def test_report(state, lines, assign):
    layer = nn.Linear(2, 3)
    before, weight = frozen(layer), layer.weight
    with pytest.raises(RuntimeError) as caught:
        layer.load_state_dict(state, assign=assign)
    assert str(caught.value) == (
        "Error(s) in loading state_dict for Linear:\n\t" + "\n\t".join(lines)
    )
    assert unchanged(layer, before)
    assert layer.weight is weight


def test_reports_match_torch():
    torch = pytest.importorskip("torch")
    for state, _ in REPORTS:
        twin = {
            name: torch.ones(tuple(each.shape)) if isinstance(each, rl.Tensor) else each
            for name, each in state.items()
        }
        texts = []
        for module, values in ((torch.nn.Linear(2, 3), twin), (nn.Linear(2, 3), state)):
            with pytest.raises(RuntimeError) as caught:
                module.load_state_dict(values)
            texts.append(
                str(caught.value).replace("torch.Tensor or Tensor-like object", "a Tensor")
            )
        assert (
            texts[0].replace("torch", "rushlight").replace("expected a", "expected a") == texts[1]
        )


def test_shape_errors_are_raised_without_strict():
    with pytest.raises(RuntimeError, match="size mismatch for weight"):
        nn.Linear(2, 3).load_state_dict({"weight": rl.ones(2, 2)}, strict=False)


def test_a_none_slot_takes_nothing():
    with pytest.raises(RuntimeError, match=r'Unexpected key\(s\) in state_dict: "bias"'):
        nn.Linear(1, 1, bias=False).load_state_dict(nn.Linear(1, 1).state_dict())


# -- against PyTorch -----------------------------------------------------------------------------


def test_many_children_load_in_linear_time():
    model = nn.ModuleList([nn.Linear(1, 1) for _ in range(3000)])
    assert str(model.load_state_dict(model.state_dict())) == ALL_MATCH


def test_names_match_torch():
    torch = pytest.importorskip("torch")

    def build(lib):
        layer = lib.Linear(3, 3)
        model = lib.Sequential(
            lib.Conv2d(3, 4, 3, bias=False),
            lib.BatchNorm2d(4),
            lib.ModuleDict({"x": layer, "y": lib.ModuleList([layer, None, lib.ReLU()])}),
            lib.CrossEntropyLoss(),
        )
        model.register_parameter("none", None)
        return model

    ours, theirs = build(nn), build(torch.nn)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert ours.state_dict()._metadata == theirs.state_dict()._metadata
    for (name, a), b in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
        assert tuple(a.shape) == tuple(b.shape), name
        assert str(a.dtype).split(".")[1] == str(b.dtype).split(".")[1], name
