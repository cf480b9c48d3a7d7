"""The warning where modules or parameters sit in plain lists, tuples or dicts."""

import copy
import pickle
import warnings

import pytest

import rushlight as rl
from rushlight import nn
from rushlight.nn import HiddenModuleWarning


def holder(value, name="held"):
    """Return a module of a class of its own with one attribute: each class warns once."""

    class Holder(nn.Module):
        pass

    made = Holder()
    setattr(made, name, value)
    return made


def message(model, **options):
    with pytest.warns(HiddenModuleWarning) as caught:
        list(model.named_parameters(**options))
    assert len(caught) == 1
    assert caught[0].filename == __file__
    return str(caught[0].message)


@pytest.mark.parametrize(
    ("value", "inside", "fix"),
    [
        (
            lambda: [nn.ReLU(), nn.Linear(1, 1)],
            "list that holds held[0] (ReLU) and 1",
            "ModuleList",
        ),
        (lambda: (3, nn.Linear(1, 1)), "tuple that holds held[1] (Linear),", "ModuleList"),
        (lambda: {"a": nn.Linear(1, 1)}, "dict that holds held['a'] (Linear),", "ModuleDict"),
        (lambda: [nn.Parameter()], "list that holds held[0] (Parameter),", "ParameterList"),
        (lambda: {1: nn.Parameter()}, "dict that holds held[1] (Parameter),", "ParameterDict"),
        (
            lambda: [[1], [{"x": nn.ReLU()}]],
            "list that holds held[1][0]['x'] (ReLU),",
            "ModuleList",
        ),
        (lambda: ([nn.ReLU()],), "tuple that holds held[0][0] (ReLU),", "ModuleList"),
    ],
)
def test_what_is_hidden_is_named(value, inside, fix):
    text = message(holder(value()))
    assert text.startswith("Holder: self.held (at 'held') is a plain ")
    assert inside in text
    assert f"nn.{fix}" in text
    assert "category=rushlight.nn.HiddenModuleWarning" in text


def test_a_list_filled_later_deep_in_a_tree():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = []
            for _ in range(3):
                self.layers.append(nn.Linear(2, 2))

    model = nn.Sequential(nn.Linear(2, 2), nn.ModuleDict({"block": Block()}))
    assert "self.layers (at 'net.1.block.layers')" in message(model, prefix="net")


def test_once_for_each_class_and_attribute():
    model = holder([nn.Linear(1, 1)])
    message(model)
    assert list(model.parameters()) == []
    twin = type(model)()
    twin.held, twin.other = [nn.ReLU()], [nn.ReLU()]
    assert "self.other" in message(twin)
    list(twin.parameters())


@pytest.mark.parametrize("look", [nn.Module.requires_grad_, nn.Module.zero_grad])
def test_others_that_look_for_parameters_warn(look):
    with pytest.warns(HiddenModuleWarning) as caught:
        look(holder([nn.Linear(1, 1)]))
    assert caught[0].filename == __file__


def test_an_optimizer_warns():
    model = holder([nn.Linear(1, 1)])
    model.seen = nn.Linear(1, 1)
    with pytest.warns(HiddenModuleWarning):
        rl.optim.SGD(model.parameters(), lr=0.1)


def test_it_can_be_silenced():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=HiddenModuleWarning)
        list(holder([nn.Linear(1, 1)]).parameters())


def quiet(model):
    """Traverse in all ways; pytest makes an error of a warning."""
    for traverse in (model.parameters, model.named_parameters, model.buffers, model.modules):
        list(traverse())
    list(model.parameters(recurse=False))


def test_what_is_registered_elsewhere_is_not_hidden():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(1, 1), nn.Linear(1, 1)
            self.order = [self.a, self.b]
            self.by_name = {"weight": self.a.weight}

    quiet(Net())
    quiet(nn.Sequential(Net()))


def test_a_reference_to_a_parent_is_not_hidden():
    class Child(nn.Module):
        pass

    parent = nn.Sequential(Child())
    parent[0].parent = [parent]
    quiet(parent)
    quiet(parent[0])


def test_plain_values_are_no_reason():
    model = holder([1, 2, {"a": (3, [4])}])
    model.sizes, model.named, model.empty = (1, 2), {"a": "b"}, []
    quiet(model)
    model.late = nn.Linear(1, 1)
    model.replaced = [nn.Linear(1, 1)]
    model.replaced = nn.ModuleList(model.replaced)
    model.removed = [nn.Linear(1, 1)]
    del model.removed
    quiet(model)


def test_a_list_that_contains_itself():
    value = [nn.ReLU()]
    value.append(value)
    assert "held[0] (ReLU)" in message(holder(value))


def test_layers_carry_no_notes():
    assert not nn.Conv2d(1, 1, 3)._plain_attributes
    model = nn.Sequential(nn.MaxPool2d((2, 2)), nn.ReLU())
    del model[1]
    assert "_plain_attributes" not in vars(model)


class Pickled(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = [nn.Linear(1, 1)]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_notes_are_no_part_of_the_state_but_copies_have_them(copied, monkeypatch):
    monkeypatch.setattr("rushlight.nn.hidden._warned", {})
    model = Pickled()
    assert "_plain_attributes" not in model.__getstate__()
    twin = copied(model)
    assert twin._plain_attributes == {"layers"}
    assert "self.layers" in message(twin)
