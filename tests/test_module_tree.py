"""Trees of modules: by path, traversal, changing all of it, cycles, copies."""

import copy
import pickle

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


# -- by path -----------------------------------------------------------------------------------


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


# -- traversal -------------------------------------------------------------------------------


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


# -- changing all of it ------------------------------------------------------------------------


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


@pytest.mark.parametrize(
    "args", [(), ("cpu",), (None,), (rl.device("cpu"),), ("cpu", None), ("cpu", None, True)]
)
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
        (lambda m: m.to([]), TypeError),
        (lambda m: m.to(True), TypeError),
        (lambda m: m.to("cpu", True), TypeError),
        (lambda m: m.to(None, True), TypeError),
        (lambda m: m.to(rl.float64, rl.float64), TypeError),
        (lambda m: m.to("cpu", rl.float64, True, False), TypeError),
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


# -- modules inside themselves -------------------------------------------------------------------


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


# -- copies ------------------------------------------------------------------------------------


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
