"""Layers that learn the number of their inputs from the first one."""

import copy
import pickle

import pytest

import rushlight as rl
from rushlight import nn
from rushlight.nn.parameter import UninitializedBuffer, UninitializedParameter

LAYERS = [
    (lambda: nn.LazyLinear(3), lambda: nn.Linear(4, 3), (2, 4)),
    (lambda: nn.LazyLinear(3, bias=False), lambda: nn.Linear(4, 3, False), (4,)),
    (lambda: nn.LazyConv1d(6, 3, 2), lambda: nn.Conv1d(4, 6, 3, 2), (2, 4, 7)),
    (lambda: nn.LazyConv2d(6, 3, groups=2), lambda: nn.Conv2d(4, 6, 3, groups=2), (2, 4, 5, 5)),
    (lambda: nn.LazyConv2d(6, 3), lambda: nn.Conv2d(4, 6, 3), (4, 5, 5)),
    (lambda: nn.LazyBatchNorm1d(), lambda: nn.BatchNorm1d(4), (3, 4)),
    (lambda: nn.LazyBatchNorm2d(), lambda: nn.BatchNorm2d(4), (3, 4, 2, 2)),
    (
        lambda: nn.LazyBatchNorm2d(affine=False, track_running_stats=False),
        lambda: nn.BatchNorm2d(4, affine=False, track_running_stats=False),
        (3, 4, 2, 2),
    ),
]


@pytest.mark.parametrize(("lazy", "plain", "shape"), LAYERS)
def test_the_first_call_settles_the_layer(lazy, plain, shape):
    layer, expected = lazy(), plain()
    held = list(layer.parameters())
    out = layer(rl.randn(*shape))
    assert type(layer) is type(expected)
    assert repr(layer) == repr(expected)
    assert {name: tuple(v.shape) for name, v in layer.state_dict().items()} == {
        name: tuple(v.shape) for name, v in expected.state_dict().items()
    }
    assert vars(layer).keys() - {"_hooked"} == vars(expected).keys()
    # Whoever held the parameters, as an optimizer does, holds those with values now.
    assert all(a is b for a, b in zip(held, layer.parameters(), strict=True))
    assert all(type(each) is nn.Parameter for each in held)
    assert all(type(each) is rl.Tensor for each in layer.buffers())
    assert layer(rl.randn(*shape)).shape == out.shape
    if held:
        out.sum().backward()
    assert all(each.grad is not None for each in held)


@pytest.mark.parametrize(("lazy", "plain", "shape"), LAYERS[:-1])
def test_state_dicts(lazy, plain, shape):
    state = lazy().state_dict()
    assert list(state) == list(plain().state_dict())
    assert repr(lazy().load_state_dict(state)) == "<All keys matched successfully>"
    source, layer = plain(), lazy()
    before = source.state_dict()
    with pytest.raises(RuntimeError, match="shape of an uninitialized"):
        source.load_state_dict(state)
    layer.load_state_dict(before)
    assert not layer.has_uninitialized_params()
    assert type(layer) is type(lazy())
    x = rl.randn(*shape)
    assert rl.equal(layer.eval()(x), source.eval()(x))
    assert repr(layer) == repr(source)


@pytest.mark.parametrize("assign", [False, True])
def test_a_failed_load_leaves_it_without_shapes(assign):
    model = nn.Sequential(nn.LazyLinear(3), nn.Linear(3, 2))
    held = model[0].weight
    bad = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 5)).state_dict()
    for hooked in (False, True):
        if hooked:
            model.register_load_state_dict_pre_hook(lambda *args: None)
        with pytest.raises(RuntimeError, match="size mismatch"):
            model.load_state_dict(bad, assign=assign)
        assert model[0].has_uninitialized_params()
        assert model[0].weight is held
        assert repr(held) == "<UninitializedParameter>"
    model(rl.ones(1, 7))
    assert held.shape == (3, 7)


def test_assign_and_partial_loads():
    source, layer = nn.Linear(4, 3), nn.LazyLinear(3)
    layer.load_state_dict({"weight": source.weight}, strict=False)
    assert isinstance(layer.bias, UninitializedParameter)
    layer(rl.ones(4))
    assert rl.equal(layer.weight, source.weight)
    assert layer.bias.shape == (3,)
    layer = nn.LazyLinear(3)
    layer.load_state_dict(source.state_dict(), assign=True)
    assert layer.weight.data_ptr() == source.weight.data_ptr()


def test_dtype_freezing_and_training():
    layer = nn.LazyLinear(3).double()
    layer.bias.requires_grad_(False)
    optimizer = rl.optim.SGD(layer.parameters(), lr=0.1)
    layer(rl.ones(2, 4, dtype=rl.float64)).sum().backward()
    assert layer.weight.dtype == rl.float64
    assert not layer.bias.requires_grad
    before = layer.weight.detach().clone()
    optimizer.step()
    assert not rl.equal(layer.weight, before)
    assert nn.LazyLinear(2, dtype=rl.float64).to(rl.float32).weight.dtype == rl.float32
    assert nn.LazyBatchNorm1d().double().running_mean.dtype == rl.float64


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_stay_lazy(copied):
    model = nn.Sequential(nn.LazyLinear(3).double(), nn.LazyBatchNorm1d(dtype=rl.float64))
    twin = copied(model)
    twin(rl.ones(2, 4, dtype=rl.float64))
    assert [type(each).__name__ for each in twin] == ["Linear", "BatchNorm1d"]
    assert [type(each).__name__ for each in model] == ["LazyLinear", "LazyBatchNorm1d"]
    assert model[0].has_uninitialized_params()
    again = copied(twin)
    assert rl.equal(again[0].weight, twin[0].weight)


@pytest.mark.parametrize(
    ("error", "use"),
    [
        (RuntimeError, lambda p: p.shape),
        (RuntimeError, lambda p: p.size()),
        (ValueError, lambda p: p.numel()),
        (ValueError, lambda p: p + 1),
        (ValueError, lambda p: p.clone()),
        (ValueError, lambda p: p.sum()),
        (ValueError, lambda p: rl.empty_like(p)),
        (ValueError, lambda p: nn.init.ones_(p)),
        (ValueError, lambda p: nn.utils.parameters_to_vector([p])),
        (ValueError, lambda p: setattr(p, "data", rl.ones(2))),
    ],
)
@pytest.mark.parametrize("make", [UninitializedParameter, UninitializedBuffer])
def test_what_needs_values_is_refused(make, error, use):
    with pytest.raises(error, match=r"uninitialized|materialize"):
        use(make())


def test_what_needs_none_works():
    layer = nn.LazyLinear(2)
    layer.zero_grad()
    layer.requires_grad_(False)
    layer.reset_parameters()
    assert layer.cpu() is layer
    assert repr(list(layer.parameters())) == "[<UninitializedParameter>, <UninitializedParameter>]"
    assert layer.weight.is_leaf
    assert layer.weight.grad is None
    assert not layer.weight.requires_grad
    model = nn.Module()
    model.buffer = UninitializedBuffer(persistent=False)
    assert [name for name, _ in model.named_buffers()] == ["buffer"]
    assert list(model.state_dict()) == []


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.LazyConv2d(4, 1, groups=2), (1, 3, 4, 4)),
        (nn.LazyConv2d(4, 1), (4, 4)),
        (nn.LazyBatchNorm2d(), (4, 4)),
    ],
)
def test_inputs_that_do_not_fit_leave_it_lazy(layer, shape):
    with pytest.raises(ValueError, match=r"divisible|dimensions|expected 4D"):
        layer(rl.ones(*shape))
    assert layer.has_uninitialized_params()


def test_as_an_argument_the_error_is_about_it():
    with pytest.raises(ValueError, match="uninitialized parameter"):
        nn.Linear(2, 3)(nn.LazyLinear(2).weight)


def test_hooks_run_around_the_first_call():
    seen, model = [], nn.LazyLinear(2)
    model.register_forward_pre_hook(lambda m, args: seen.append(type(m).__name__))
    model.register_forward_hook(lambda m, args, out: seen.append(tuple(out.shape)))
    model(rl.ones(1, 3))
    assert seen == ["Linear", (1, 2)]


def test_a_module_of_ones_own():
    class Scale(nn.modules.lazy.LazyModuleMixin, nn.Module):
        def __init__(self):
            super().__init__()
            self.factor = UninitializedParameter()

        def initialize_parameters(self, input, *, start):
            if self.has_uninitialized_params():
                self.factor.materialize(input.shape[-1])
                nn.init.constant_(self.factor, start)

        def forward(self, input, *, start):
            return input * self.factor

    model = Scale()
    assert model(rl.ones(2), start=3.0).tolist() == [3.0, 3.0]
    assert type(model) is Scale
    assert not hasattr(model, "_initialize_hook")

    class Forgetful(Scale):
        def initialize_parameters(self, input):
            pass

    with pytest.raises(RuntimeError, match="without a shape"):
        Forgetful()(rl.ones(2))

    class Silent(nn.modules.lazy.LazyModuleMixin, nn.Module):
        pass

    with pytest.raises(NotImplementedError, match="Silent"):
        Silent()(1)


def test_materialize():
    parameter = UninitializedParameter()
    parameter.materialize((2, 3), dtype=rl.float64)
    assert type(parameter) is nn.Parameter
    assert parameter.shape == (2, 3)
    assert parameter.dtype == rl.float64
    buffer = UninitializedBuffer()
    buffer.materialize(4)
    assert type(buffer) is rl.Tensor
    assert buffer.shape == (4,)
    assert not buffer.requires_grad
