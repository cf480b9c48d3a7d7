"""Module: registration, attributes, traversal, changing all of it, copying, printing, errors."""

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


# -- registration -----------------------------------------------------------------------------

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
    assert not (module._parameters or module._buffers or module._modules)


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
    with pytest.raises(AttributeError, match="before Module.__init__"):
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


# -- every transition of an attribute -----------------------------------------------------------

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
    found = [kind for kind in ("parameters", "buffers", "modules") if name in vars(module)[f"_{kind}"]]
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
        try:
            module.x = makers[second]()
            assert places(module, "x") == [outcome]
        except (TypeError, KeyError) as error:
            assert type(error) is outcome, (first, second)


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


# -- attributes -------------------------------------------------------------------------------


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


# -- by path ------------------------------------------------------------------------------------


class Tree(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Sequential(nn.Linear(1, 1))
        self.bn = nn.BatchNorm2d(2)
        self.number = 3


def test_get_by_path():
    tree = Tree()
    assert tree.get_submodule("") is tree
    assert tree.get_submodule("a.0") is tree.a[0]
    assert tree.get_parameter("a.0.weight") is tree.a[0].weight
    assert tree.get_buffer("bn.running_mean") is tree.bn.running_mean


@pytest.mark.parametrize(
    ("get", "path", "text"),
    [
        ("get_submodule", "a.9", "Sequential has no attribute `9`"),
        ("get_submodule", "a.0.weight", "`weight` is not an nn.Module"),
        ("get_submodule", "number", "`number` is not an nn.Module"),
        ("get_parameter", "bn.running_mean", "is not an nn.Parameter"),
        ("get_parameter", "bn.nope", "BatchNorm2d has no attribute `nope`"),
        ("get_parameter", "nope.weight", "Tree has no attribute `nope`"),
        ("get_buffer", "bn.weight", "is not a buffer"),
        ("get_buffer", "bn.nope", "BatchNorm2d has no attribute `nope`"),
    ],
)
def test_get_by_wrong_path(get, path, text):
    with pytest.raises(AttributeError, match=text):
        getattr(Tree(), get)(path)


def test_set_submodule():
    tree = Tree()
    tree.set_submodule("a.0", nn.Tanh())
    assert isinstance(tree.a[0], nn.Tanh)
    tree.set_submodule("a.new", nn.ReLU())
    assert list(tree.a._modules) == ["0", "new"]
    tree.set_submodule("bn", nn.Identity(), strict=True)
    assert isinstance(tree.bn, nn.Identity)


@pytest.mark.parametrize(
    ("path", "module", "error"),
    [
        ("", nn.ReLU(), ValueError),
        ("a", 3, ValueError),
        ("number", nn.ReLU(), AttributeError),
        ("nope.x", nn.ReLU(), AttributeError),
        ("a.0.weight", nn.ReLU(), AttributeError),
    ],
)
def test_set_submodule_at_wrong_path(path, module, error):
    with pytest.raises(error):
        Tree().set_submodule(path, module)


def test_set_submodule_strict_replaces_only():
    with pytest.raises(AttributeError, match="`fresh`"):
        Tree().set_submodule("fresh", nn.ReLU(), strict=True)


# -- traversal --------------------------------------------------------------------------------


def names(pairs):
    return [name for name, _ in pairs]


def test_traversal_of_a_tree():
    tree = Tree()
    assert names(tree.named_modules()) == ["", "a", "a.0", "bn"]
    assert names(tree.named_modules(prefix="t")) == ["t", "t.a", "t.a.0", "t.bn"]
    assert list(tree.modules()) == [tree, tree.a, tree.a[0], tree.bn]
    assert names(tree.named_children()) == ["a", "bn"]
    assert list(tree.children()) == [tree.a, tree.bn]
    assert names(tree.named_parameters()) == ["a.0.weight", "a.0.bias", "bn.weight", "bn.bias"]
    assert names(tree.bn.named_parameters("p")) == ["p.weight", "p.bias"]
    assert names(tree.named_parameters(recurse=False)) == []
    assert names(tree.named_buffers("q"))[0] == "q.bn.running_mean"
    assert len(list(tree.buffers())) == 3
    assert len(list(tree.buffers(recurse=False))) == 0
    assert len(list(tree.parameters())) == 4


def test_traversal_is_lazy():
    assert next(Tree().named_parameters())[0] == "a.0.weight"


def test_shared_modules_and_parameters():
    layer = nn.Linear(2, 2)
    model = nn.Sequential(layer, layer)
    assert names(model.named_parameters()) == ["0.weight", "0.bias"]
    assert names(model.named_parameters(remove_duplicate=False)) == [
        "0.weight",
        "0.bias",
        "1.weight",
        "1.bias",
    ]
    assert names(model.named_modules()) == ["", "0"]
    assert names(model.named_modules(remove_duplicate=False)) == ["", "0", "1"]
    assert len(list(model.modules(remove_duplicate=False))) == 3
    assert len(list(model.children())) == 1
    assert len(model) == 2
    other = nn.Linear(2, 2)
    other.weight = layer.weight
    both = nn.Sequential(layer, other)
    assert names(both.named_parameters()) == ["0.weight", "0.bias", "1.bias"]
    both.shared = rl.ones(1)
    both.register_buffer("one", both.shared)
    both.register_buffer("two", both.shared)
    assert names(both.named_buffers()) == ["one"]
    assert names(both.named_buffers(remove_duplicate=False)) == ["one", "two"]


def test_memo_is_read_and_filled():
    tree = Tree()
    memo = {tree.a}
    assert names(tree.named_modules(memo)) == ["", "bn"]
    assert memo == {tree, tree.a, tree.bn}


def test_none_children_are_passed_over():
    model = nn.ModuleList([nn.ReLU(), None])
    assert names(model.named_modules()) == ["", "0"]
    assert len(list(model.children())) == 1


def test_deep_trees_are_walked_without_recursion():
    model = nn.Identity()
    for _ in range(5000):
        outer = nn.Module()
        outer.inner = model
        model = outer
    assert sum(1 for _ in model.modules()) == 5001
    # Taken apart from the outside, or freeing it would recurse in C.
    while "inner" in model._modules:
        model = model._modules.pop("inner")


# -- changing all of it -------------------------------------------------------------------------


def test_apply_visits_children_first():
    seen = []
    model = nn.Sequential(nn.Sequential(nn.ReLU(), nn.Tanh()), nn.Sigmoid())
    assert model.apply(lambda m: seen.append(type(m).__name__)) is model
    assert seen == ["ReLU", "Tanh", "Sequential", "Sigmoid", "Sequential"]


def test_apply_inside_apply():
    seen = []
    model = nn.Sequential(nn.ReLU())
    model.apply(lambda m: m.apply(seen.append))
    assert seen == [model[0], model[0], model]


def test_apply_visits_a_twice_held_child_once():
    layer, seen = nn.ReLU(), []
    nn.Sequential(layer, layer).apply(seen.append)
    assert seen.count(layer) == 1


def test_train_and_eval():
    model = nn.Sequential(nn.Sequential(nn.Dropout()), nn.BatchNorm1d(1))
    assert all(m.training for m in model.modules())
    assert model.eval() is model
    assert not any(m.training for m in model.modules())
    assert model.train() is model
    assert all(m.training for m in model.modules())


def test_train_respects_overrides_below():
    class Frozen(nn.Module):
        def __init__(self):
            super().__init__()
            self.bn = nn.BatchNorm1d(1)

        def train(self, mode=True):
            super().train(mode)
            self.bn.eval()
            return self

    model = nn.Sequential(Frozen()).train()
    assert model[0].training
    assert not model[0].bn.training


def test_requires_grad_():
    model = Scale()
    assert model.requires_grad_(False) is model
    assert not any(p.requires_grad for p in model.parameters())
    model.requires_grad_()
    assert all(p.requires_grad for p in model.parameters())


def test_zero_grad():
    model = Scale()
    model(rl.ones(2, 3)).sum().backward()
    grad = model.weight.grad
    model.zero_grad(set_to_none=False)
    assert model.weight.grad is grad
    assert grad.sum().item() == 0
    model.zero_grad()
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize(
    "convert",
    [
        lambda m: m.double(),
        lambda m: m.to(rl.float64),
        lambda m: m.to(dtype=rl.float64),
        lambda m: m.to("cpu", rl.float64),
        lambda m: m.to(rl.zeros(1, dtype=rl.float64)),
        lambda m: m.to(rl.float64, non_blocking=True),
        lambda m: m.type(rl.float64),
    ],
)
def test_conversion(convert):
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    model(rl.randn(4, 2)).sum().backward()
    before = dict(model.named_parameters())
    assert convert(model) is model
    for name, each in model.named_parameters():
        assert each is before[name]
        assert isinstance(each, nn.Parameter)
        assert each.requires_grad
        assert each.is_leaf
        assert each.dtype == rl.float64
        assert each.grad.dtype == rl.float64
    assert model[1].running_mean.dtype == rl.float64
    model(rl.randn(4, 2).double()).sum().backward()
    model.float()
    assert {p.dtype for p in model.parameters()} == {rl.float32}


def test_conversion_leaves_integer_buffers():
    model = nn.BatchNorm1d(2).double()
    assert model.num_batches_tracked.dtype == rl.int64


def test_conversion_of_tied_parameters():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    model.double()
    assert model[1].weight is model[0].weight
    assert model[1].weight.dtype == rl.float64


@pytest.mark.parametrize("args", [(), ("cpu",), (None,), (rl.device("cpu"),)])
def test_conversion_to_where_it_is(args):
    model = nn.Linear(1, 1)
    assert model.to(*args) is model
    assert model.cpu() is model
    assert model.weight.dtype == rl.float32


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (lambda m: m.to(rl.int64), TypeError),
        (lambda m: m.to("nope"), RuntimeError),
        (lambda m: m.to(3), RuntimeError),
        (lambda m: m.to(copy=True), RuntimeError),
        (lambda m: m.to(colour="red"), TypeError),
        (lambda m: m.to_empty(device="cuda"), RuntimeError),
        (lambda m: m.type(rl.int64), RuntimeError),
    ],
)
def test_wrong_conversion(act, error):
    with pytest.raises(error):
        act(nn.Linear(1, 1))


def test_to_empty_keeps_shape_and_type():
    model = Scale().double()
    weight = model.weight
    assert model.to_empty(device="cpu") is model
    assert model.weight is weight
    assert model.weight.shape == (3,)
    assert model.weight.dtype == rl.float64


# -- modules inside themselves --------------------------------------------------------------------


def cyclic():
    model = nn.Sequential(nn.Linear(2, 2))
    model.add_module("me", model)
    inner = nn.Module()
    inner.outer = model
    model.inner = inner
    return model


def test_cycles_end_everywhere():
    model = cyclic()
    assert names(model.named_modules()) == ["", "0", "inner"]
    assert names(model.named_modules(remove_duplicate=False)) == ["", "0", "inner"]
    assert names(model.named_parameters(remove_duplicate=False)) == ["0.weight", "0.bias"]
    assert list(model.state_dict()) == ["0.weight", "0.bias"]
    assert str(model.load_state_dict(model.state_dict())) == "<All keys matched successfully>"
    seen = []
    model.apply(lambda m: seen.append(m))
    assert seen == [model[0], model.inner, model]
    assert not any(m.training for m in model.eval().modules())
    assert model.double()[0].weight.dtype == rl.float64
    model.zero_grad()
    model.requires_grad_(False)
    assert "(me): Sequential(...)" in repr(model)
    assert "(outer): Sequential(...)" in repr(model)
    assert len(list(copy.deepcopy(model).modules())) == 3
    assert len(list(pickle.loads(pickle.dumps(model)).modules())) == 3


def test_the_walk_ends_clean_after_an_error():
    model = nn.Sequential(nn.Sequential(nn.ReLU()))

    def fail(module):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        model.apply(fail)
    seen = []
    model.apply(seen.append)
    assert len(seen) == 3


# -- copies -------------------------------------------------------------------------------------


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_are_complete_and_apart(duplicate):
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.BatchNorm1d(2)).eval()
    model[1].weight = model[0].weight
    model[0].bias.requires_grad_(False)
    model.extra = nn.Buffer(rl.ones(1), persistent=False)
    twin = duplicate(model)
    assert repr(twin) == repr(model)
    assert not twin.training
    assert twin[1].weight is twin[0].weight
    assert twin[0].weight is not model[0].weight
    assert not twin[0].bias.requires_grad
    assert "extra" not in twin.state_dict()
    assert isinstance(twin.extra, nn.Buffer)
    x = rl.randn(3, 2)
    assert rl.equal(twin(x), model(x))
    with rl.no_grad():
        twin[0].weight.zero_()
    assert model[0].weight.abs().sum().item() > 0


def test_shallow_copy_shares():
    model = nn.Linear(2, 2)
    assert copy.copy(model).weight is model.weight


# -- Parameter and Buffer -------------------------------------------------------------------------


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
    assert names(module.named_buffers()) == ["kept", "lost"]
    module.lost = rl.zeros(2)
    assert list(module.state_dict()) == ["kept"]
    module.lost = nn.Buffer(rl.zeros(2))
    assert list(module.state_dict()) == ["kept", "lost"]
    assert not isinstance(rl.ones(1), nn.Buffer)
    assert nn.Buffer().shape == (0,)
    assert repr(nn.Buffer(rl.zeros(2))) == "tensor([0., 0.])"


# -- printing -----------------------------------------------------------------------------------


def test_repr_of_a_tree():
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


# -- errors inside forward ------------------------------------------------------------------------


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
