"""Module: registration, attributes, parameters, printing, errors inside forward."""

import copy
import itertools
import pickle
import sys

import numpy as np
import pytest

import rushlight as rl
from rushlight import nn


def parameter(*shape):
    return nn.Parameter(rl.ones(*(shape or (2,))))


class Scale(nn.Module):
    """Two parameters, a child and a buffer, used where a small real module is needed."""

    def __init__(self):
        super().__init__()
        self.weight = parameter(3)
        self.inner = nn.Linear(3, 3)
        self.register_buffer("steps", rl.zeros(1))

    def forward(self, x):
        return self.inner(x) * self.weight


# -- registration ----------------------------------------------------------------------------

WRONG_REGISTRATIONS = [
    (lambda m: m.register_parameter(3, None), TypeError, "should be a string"),
    (lambda m: m.register_parameter("a.b", None), KeyError, 'can\'t contain "."'),
    (lambda m: m.register_parameter("", None), KeyError, "empty string"),
    (lambda m: m.register_parameter("training", None), KeyError, "'training' already exists"),
    (lambda m: m.register_parameter("w", rl.ones(2)), TypeError, "Parameter or None required"),
    (lambda m: m.register_parameter("w", parameter() * 2), TypeError, "Parameter or None"),
    (lambda m: m.register_buffer("a.b", None), KeyError, 'can\'t contain "."'),
    (lambda m: m.register_buffer("", None), KeyError, "empty string"),
    (lambda m: m.register_buffer("b", 3), TypeError, "'int' object to buffer 'b'"),
    (lambda m: m.register_buffer(3, None), TypeError, "should be a string"),
    (lambda m: m.register_buffer("forward", None), KeyError, "already exists"),
    (lambda m: m.add_module("a", 3), TypeError, "int is not a Module subclass"),
    (lambda m: m.add_module("a", nn.ReLU), TypeError, "the class ReLU is not a Module"),
    (lambda m: m.add_module(3, nn.ReLU()), TypeError, "should be a string"),
    (lambda m: m.add_module("a.b", nn.ReLU()), KeyError, "got: a.b"),
    (lambda m: m.add_module("", nn.ReLU()), KeyError, "empty string"),
    (lambda m: m.add_module("forward", nn.ReLU()), KeyError, "'forward' already exists"),
    (lambda m: m.train(1), ValueError, "boolean"),
    (lambda m: m(rl.ones(1)), NotImplementedError, 'missing the required "forward"'),
    (lambda m: m.nope, AttributeError, "'Module' object has no attribute 'nope'"),
    (lambda m: delattr(m, "nope"), AttributeError, "nope"),
    (lambda m: nn.Module(3), TypeError, "takes no arguments"),
    (lambda m: nn.Module(a=3), TypeError, "takes no arguments, but got a"),
]


@pytest.mark.parametrize(("act", "error", "text"), WRONG_REGISTRATIONS)
def test_wrong_registration(act, error, text):
    module = nn.Module()
    with pytest.raises(error) as caught:
        act(module)
    assert text in caught.value.args[0]
    assert {**module._parameters, **module._buffers, **module._modules} == {}


def test_result_of_an_operation_is_no_parameter():
    class Derived(nn.Parameter):
        pass

    derived = parameter() * 2
    derived.__class__ = Derived
    with pytest.raises(ValueError, match="non-leaf"):
        nn.Module().register_parameter("w", derived)


@pytest.mark.parametrize(
    "value", [parameter(), nn.ReLU(), nn.Buffer(rl.ones(1))], ids=["parameter", "module", "buffer"]
)
def test_assignment_before_init(value):
    class Early(nn.Module):
        def __init__(self):
            self.x = value

    with pytest.raises(AttributeError, match=r"before Module.__init__\(\) call"):
        Early()


@pytest.mark.parametrize("register", ["register_parameter", "register_buffer", "add_module"])
def test_registration_before_init(register):
    module = nn.Module.__new__(nn.Module)
    with pytest.raises(AttributeError, match=r"before Module\.__init__"):
        getattr(module, register)("x", None)


def test_none_can_be_registered():
    module = nn.Module()
    module.register_parameter("p", None)
    module.register_buffer("b", None)
    module.register_module("m", None)
    assert module.p is None
    assert module.b is None
    assert module.m is None
    assert [*module.parameters(), *module.buffers(), *module.children()] == []
    assert module.state_dict() == {}
    module.p, module.b, module.m = parameter(), rl.ones(1), nn.ReLU()
    assert list(module.state_dict()) == ["p", "b"]
    assert list(module.named_children()) == [("m", module.m)]


# -- every transition of an attribute ----------------------------------------------------------

VALUES = {
    "param": parameter,
    "tensor": lambda: rl.ones(2),
    "Buffer": lambda: nn.Buffer(rl.ones(2)),
    "module": nn.ReLU,
    "None": lambda: None,
    "int": lambda: 3,
}
# Where "x" is found afterwards, or the error; rows are what was assigned first.
TRANSITIONS = {
    "param": ["parameters", TypeError, TypeError, TypeError, "parameters", TypeError],
    "tensor": ["parameters", "plain", KeyError, "modules", "plain", "plain"],
    "Buffer": ["parameters", "buffers", "buffers", "modules", "buffers", TypeError],
    "module": ["parameters", TypeError, TypeError, "modules", "modules", TypeError],
    "None": ["parameters", "plain", KeyError, "modules", "plain", "plain"],
    "int": ["parameters", "plain", KeyError, "modules", "plain", "plain"],
}
STEPS = [
    (first, second, outcome)
    for first, row in TRANSITIONS.items()
    for second, outcome in zip(VALUES, row, strict=True)
]


def places(module, name):
    found = [
        kind for kind in ("parameters", "buffers", "modules") if name in vars(module)[f"_{kind}"]
    ]
    return found + ["plain"] * (name in vars(module))


@pytest.mark.parametrize(("first", "second", "outcome"), STEPS)
def test_transition(first, second, outcome):
    module = nn.Module()
    module.x = VALUES[first]()
    before, old = places(module, "x"), module.x
    value = VALUES[second]()
    if isinstance(outcome, str):
        module.x = value
        assert places(module, "x") == [outcome]
        assert module.x is value
    else:
        with pytest.raises(outcome):
            module.x = value
        assert places(module, "x") == before
        assert module.x is old


def test_the_observed_transitions_are_complete():
    assert {(first, second) for first, second, _ in STEPS} == set(itertools.product(VALUES, VALUES))


def test_transitions_match_torch():
    torch = pytest.importorskip("torch")
    makers = {
        **VALUES,
        "param": lambda: torch.nn.Parameter(torch.ones(2)),
        "tensor": lambda: torch.ones(2),
        "Buffer": lambda: torch.nn.Buffer(torch.ones(2)),
        "module": torch.nn.ReLU,
    }
    for first, second, outcome in STEPS:
        module = torch.nn.Module()
        module.x = makers[first]()
        if isinstance(outcome, str):
            module.x = makers[second]()
            assert places(module, "x") == [outcome], (first, second)
        else:
            with pytest.raises(outcome):
                module.x = makers[second]()


def test_class_attributes_and_registration():
    class WithDefault(nn.Module):
        x = None

    module = WithDefault()
    with pytest.raises(KeyError, match="already exists"):
        module.x = parameter()
    # As in PyTorch, a submodule may stand behind a class attribute, which hides it.
    module.x = nn.ReLU()
    assert module.x is None
    assert list(module._modules) == ["x"]


def test_delattr_of_each_kind():
    module = Scale()
    module.flag = 1
    module.register_buffer("other", rl.ones(1), persistent=False)
    for name in ("weight", "inner", "steps", "flag", "other"):
        delattr(module, name)
        assert not hasattr(module, name)
    assert module._non_persistent_buffers_set == set()
    assert list(module.parameters()) == []


def test_order_of_registration():
    module = nn.Module()
    module.x, module.y = parameter(), parameter()
    module.x = parameter()
    assert [name for name, _ in module.named_parameters()] == ["x", "y"]
    del module.x
    module.x = parameter()
    assert [name for name, _ in module.named_parameters()] == ["y", "x"]


# -- attributes ------------------------------------------------------------------------------


def test_dir_names_what_is_registered_but_no_numbers():
    names = dir(nn.Sequential(nn.ReLU()))
    assert not [name for name in names if name[:1].isdigit()]
    assert {"weight", "inner", "steps", "forward", "training"} <= set(dir(Scale()))


def test_a_property_says_itself_what_it_missed():
    class Broken(nn.Module):
        @property
        def size(self):
            return self.no_such_thing

    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = Broken().size


def test_call_super_init():
    class Mixin:
        def __init__(self, note="none"):
            super().__init__()
            self.note = note

    class Cooperative(nn.Module, Mixin):
        call_super_init = True

    class Plain(nn.Module, Mixin):
        pass

    assert Cooperative(note="given").note == "given"
    assert not hasattr(Plain(), "note")


# -- Parameter and Buffer ------------------------------------------------------------------------


def test_parameter():
    tensor = rl.zeros(2)
    weight = nn.Parameter(tensor)
    assert repr(weight) == "Parameter containing:\ntensor([0., 0.], requires_grad=True)"
    assert isinstance(weight, rl.Tensor)
    assert not isinstance(tensor, nn.Parameter)
    assert weight.is_leaf
    with rl.no_grad():
        weight.add_(1)
    assert tensor.tolist() == [1.0, 1.0]
    assert type(weight * 2) is rl.Tensor
    assert nn.Parameter().shape == (0,)
    assert not nn.Parameter(rl.arange(2), requires_grad=False).requires_grad
    assert nn.Parameter(weight * 2).is_leaf


def test_parameter_refuses():
    with pytest.raises(RuntimeError):
        nn.Parameter(rl.arange(2))
    with pytest.raises(AttributeError, match="must be a Tensor, but got list"):
        nn.Parameter([1.0])
    with pytest.raises(AttributeError, match="ndarray"):
        nn.Parameter(np.ones(2))


def test_parameter_deepcopy_leaves_the_gradient():
    weight = nn.Parameter(rl.ones(2))
    (weight * 2).sum().backward()
    twin = copy.deepcopy(weight)
    assert twin.grad is None
    assert type(twin) is nn.Parameter
    assert twin.requires_grad
    pair = copy.deepcopy([weight, weight])
    assert pair[0] is pair[1]


def test_buffer():
    module = nn.Module()
    module.kept = nn.Buffer(rl.ones(2))
    module.lost = nn.Buffer(rl.ones(2), persistent=False)
    assert list(module.state_dict()) == ["kept"]
    assert [name for name, _ in module.named_buffers()] == ["kept", "lost"]
    module.lost = rl.zeros(2)
    assert list(module.state_dict()) == ["kept"]
    module.lost = nn.Buffer(rl.zeros(2))
    assert list(module.state_dict()) == ["kept", "lost"]
    assert not isinstance(rl.ones(1), nn.Buffer)
    assert nn.Buffer().shape == (0,)
    assert repr(nn.Buffer(rl.zeros(2))) == "tensor([0., 0.])"


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda b: pickle.loads(pickle.dumps(b))])
@pytest.mark.parametrize("persistent", [True, False])
def test_copies_of_a_buffer(duplicate, persistent):
    twin = duplicate(nn.Buffer(rl.ones(2), persistent=persistent))
    assert type(twin) is nn.Buffer
    assert twin.persistent is persistent
    assert twin.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("make", [parameter, nn.ReLU])
def test_a_replaced_buffer_leaves_no_trace(make):
    module = nn.Module()
    module.x = nn.Buffer(rl.ones(1), persistent=False)
    module.x = make()
    assert module._non_persistent_buffers_set == set()


# -- printing ----------------------------------------------------------------------------------


def test_repr_of_a_tree():
    class Tree(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Sequential(nn.Linear(1, 1))
            self.bn = nn.BatchNorm2d(2)
            self.number = 3

    assert repr(Tree()) == (
        "Tree(\n"
        "  (a): Sequential(\n"
        "    (0): Linear(in_features=1, out_features=1, bias=True)\n"
        "  )\n"
        "  (bn): BatchNorm2d(2, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True)\n"
        ")"
    )


def test_extra_repr_of_several_lines():
    class Wordy(nn.Module):
        def extra_repr(self):
            return "one\ntwo"

    class Parent(Wordy):
        def __init__(self):
            super().__init__()
            self.child = Wordy()
            self.none = None
            self.register_module("empty", None)

    assert repr(Wordy()) == "Wordy(\n  one\n  two\n)"
    assert repr(Parent()) == (
        "Parent(\n  one\n  two\n  (child): Wordy(\n    one\n    two\n  )\n  (empty): None\n)"
    )


# -- errors inside forward -----------------------------------------------------------------------


class Failing(nn.Module):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def forward(self, x, *rest):
        raise self.error


def where(error):
    return error.__notes__ if sys.version_info >= (3, 11) else str(error).split("\n")[1:]


class OwnError(Exception):
    def __init__(self, code):
        super().__init__()
        self.code = code


def test_an_error_names_its_module():
    model = nn.Sequential(nn.Sequential(nn.Identity(), Failing(ValueError("no"))))
    with pytest.raises(ValueError, match="no") as caught:
        model(rl.ones(2, 3))
    assert where(caught.value) == ["in 0.1 (Failing), given (2, 3)"]


def test_an_error_of_a_root_names_its_type():
    with pytest.raises(KeyError) as caught:
        Failing(KeyError("key"))(rl.ones(1), 3)
    assert caught.value.args == ("key",)
    if sys.version_info >= (3, 11):
        assert where(caught.value) == ["in Failing, given (1,), int"]


def test_an_error_keeps_its_type_and_fields():
    with pytest.raises(OwnError) as caught:
        nn.Sequential(Failing(OwnError(7)))(rl.ones(1))
    assert type(caught.value) is OwnError
    assert caught.value.code == 7


def test_an_error_below_an_unregistered_module():
    class Hiding(nn.Module):
        def __init__(self):
            super().__init__()
            self.hidden = [nn.Sequential(Failing(ValueError("no")))]

        def forward(self, x):
            return self.hidden[0](x)

    with pytest.raises(ValueError, match="no") as caught:
        nn.Sequential(Hiding())(rl.ones(1))
    assert where(caught.value) == ["in 0.?.0 (Failing), given (1,)"]


def test_a_kernel_error_names_the_layer():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Sequential(nn.ReLU(), nn.Conv2d(3, 4, 3))

        def forward(self, x):
            return self.features(x)

    with pytest.raises(ValueError, match="conv2d") as caught:
        Net()(rl.ones(1, 5, 8, 8))
    assert where(caught.value) == ["in features.1 (Conv2d), given (1, 5, 8, 8)"]


def test_an_error_is_found_again_through_a_shared_child():
    failing = Failing(ValueError("no"))
    model = nn.ModuleDict({"a": nn.Sequential(failing), "b": failing})
    model.forward = lambda x: model["b"](x)
    with pytest.raises(ValueError, match="no") as caught:
        model(rl.ones(1))
    assert where(caught.value) == ["in b (Failing), given (1,)"]
