"""Sequential, ModuleList, ModuleDict, ParameterList, ParameterDict."""

from collections import OrderedDict

import pytest

import rushlight as rl
from rushlight import nn


def three():
    return nn.Sequential(nn.ReLU(), nn.Tanh(), nn.Sigmoid())


def kinds(modules):
    return [type(each).__name__ for each in modules]


def keys(container):
    return list(container._modules)


def wrong(error, text, act):
    with pytest.raises(error) as caught:
        act()
    assert text in str(caught.value.args[0])


# -- what Sequential and ModuleList share --------------------------------------------------------

SEQUENCES = [lambda *modules: nn.Sequential(*modules), lambda *modules: nn.ModuleList(modules)]
sequences = pytest.mark.parametrize("make", SEQUENCES, ids=["Sequential", "ModuleList"])


@sequences
def test_indexing(make):
    items = [nn.ReLU(), nn.Tanh(), nn.Sigmoid()]
    each = make(*items)
    assert len(each) == 3
    assert list(each) == items
    assert [each[i] for i in range(-3, 3)] == items * 2
    assert each[True] is items[1]
    for index in (3, -4):
        with pytest.raises(IndexError, match=f"index {index} is out of range"):
            each[index]
    for index in ("0", 1.0):
        with pytest.raises(TypeError, match="cannot be interpreted as an integer"):
            each[index]


@sequences
@pytest.mark.parametrize(
    "part", [slice(1, None), slice(None, None, -1), slice(5, 9), slice(0, 3, 2)]
)
def test_slices_share_the_modules(make, part):
    items = [nn.ReLU(), nn.Tanh(), nn.Sigmoid()]
    each = make(*items)
    found = each[part]
    assert type(found) is type(each)
    assert list(found) == items[part]


@sequences
def test_setting(make):
    each, new = make(nn.ReLU(), nn.Tanh()), nn.Sigmoid()
    each[-1] = new
    assert each[1] is new
    with pytest.raises(IndexError):
        each[2] = nn.ReLU()
    with pytest.raises(TypeError):
        each[0] = 3
    with pytest.raises(TypeError):
        each[0:1] = [nn.ReLU()]


@sequences
def test_deletion_renumbers(make):
    each = make(nn.ReLU(), nn.Tanh(), nn.Sigmoid(), nn.Identity())
    del each[0]
    assert keys(each) == ["0", "1", "2"]
    del each[-1]
    assert kinds(each) == ["Tanh", "Sigmoid"]
    del each[:1]
    assert kinds(each) == ["Sigmoid"]
    assert keys(each) == ["0"]
    with pytest.raises(IndexError):
        del each[4]


@sequences
def test_append_extend_pop(make):
    each = make()
    assert each.append(nn.ReLU()) is each
    assert each.extend([nn.Tanh(), nn.Sigmoid()]) is each
    assert keys(each) == ["0", "1", "2"]
    assert isinstance(each.pop(0), nn.ReLU)
    assert keys(each) == ["0", "1"]
    part = each.pop(slice(0, 1))
    assert kinds(part) == ["Tanh"]
    assert kinds(each) == ["Sigmoid"]
    wrong(TypeError, "int is not a Module subclass", lambda: each.append(3))
    wrong(TypeError, "but got int", lambda: each.extend(3))
    wrong(TypeError, "str is not a Module subclass", lambda: each.extend("ab"))


@sequences
def test_extend_by_itself_ends(make):
    each = make(nn.ReLU(), nn.Tanh())
    each.extend(each)
    assert kinds(each) == ["ReLU", "Tanh", "ReLU", "Tanh"]


@sequences
@pytest.mark.parametrize("index", range(-3, 4))
def test_insert_is_a_lists(make, index):
    items = [nn.ReLU(), nn.Tanh(), nn.Sigmoid()]
    each, new = make(*items), nn.Identity()
    each.insert(index, new)
    items.insert(index, new)
    assert list(each) == items
    assert keys(each) == ["0", "1", "2", "3"]


@sequences
def test_parameters_are_registered(make):
    each = make(nn.Linear(2, 2), nn.Linear(2, 2))
    assert [name for name, _ in each.named_parameters()] == [
        "0.weight",
        "0.bias",
        "1.weight",
        "1.bias",
    ]


# -- Sequential --------------------------------------------------------------------------------


def test_sequential_calls_in_order():
    assert three()(rl.tensor([-1.0, 0.0])).tolist() == pytest.approx([0.5, 0.5])
    assert nn.Sequential()(5) == 5


def test_sequential_with_names():
    model = nn.Sequential(OrderedDict([("first", nn.ReLU()), ("second", nn.Tanh())]))
    assert keys(model) == ["first", "second"]
    assert model.first is model[0]
    model[1] = nn.Sigmoid()
    assert kinds([model.second]) == ["Sigmoid"]
    assert keys(model[1:]) == ["second"]
    model.append(nn.Identity())
    assert keys(model) == ["first", "second", "2"]


def test_sequential_slices_keep_names():
    part = three()[1:]
    assert keys(part) == ["1", "2"]
    assert repr(part) == "Sequential(\n  (1): Tanh()\n  (2): Sigmoid()\n)"


def test_append_to_a_slice_replaces_nothing():
    # PyTorch would put the new module in the place of "2".
    part = three()[1:].append(nn.Identity())
    assert kinds(part) == ["Tanh", "Sigmoid", "Identity"]
    assert keys(part) == ["1", "2", "3"]


def test_sequential_arithmetic():
    a, b = three(), nn.Sequential(nn.Identity())
    assert kinds(a + b) == ["ReLU", "Tanh", "Sigmoid", "Identity"]
    assert len(a) == 3
    same = a
    a += b
    assert a is same
    assert keys(a) == ["0", "1", "2", "3"]
    double = b * 2
    assert double[0] is double[1] is b[0]
    assert len(2 * b) == 2
    b *= 3
    assert len(b) == 3
    assert len(list(b.children())) == 1


def test_sequential_refuses():
    model = three()
    wrong(ValueError, "only objects of Sequential", lambda: model.__add__([nn.ReLU()]))
    wrong(ValueError, "only objects of Sequential", lambda: model.__iadd__([nn.ReLU()]))
    wrong(ValueError, "Non-positive multiplication factor 0", lambda: model * 0)
    wrong(ValueError, "factor -1", lambda: model.__imul__(-1))
    wrong(TypeError, "for *", lambda: model * 1.5)
    wrong(TypeError, "for *", lambda: model.__imul__("2"))
    wrong(TypeError, "list is not a Module subclass", lambda: nn.Sequential([nn.ReLU()]))
    wrong(TypeError, "dict is not a Module subclass", lambda: nn.Sequential({"a": nn.ReLU()}))
    wrong(AssertionError, "module should be of type", lambda: model.insert(0, "relu"))
    wrong(IndexError, "Index out of range: 9", lambda: model.insert(9, nn.ReLU()))
    wrong(IndexError, "Index out of range: -4", lambda: model.insert(-4, nn.ReLU()))
    assert kinds(model) == ["ReLU", "Tanh", "Sigmoid"]


def test_subclasses_of_containers_stay_themselves():
    class Stack(nn.Sequential):
        pass

    class Row(nn.ModuleList):
        pass

    assert type(Stack(nn.ReLU(), nn.Tanh())[1:]) is Stack
    assert type(Row([nn.ReLU(), nn.Tanh()])[:1]) is Row


# -- ModuleList --------------------------------------------------------------------------------


def test_module_list_is_not_called():
    with pytest.raises(NotImplementedError, match="ModuleList"):
        nn.ModuleList([nn.ReLU()])(rl.ones(1))


def test_module_list_insert_takes_any_integer():
    each = nn.ModuleList([nn.ReLU()])
    assert each.insert(5, nn.Tanh()) is None
    each.insert(-9, nn.Sigmoid())
    assert kinds(each) == ["Sigmoid", "ReLU", "Tanh"]
    assert keys(each) == ["0", "1", "2"]


def test_module_list_insert_refuses_and_changes_nothing():
    each = nn.ModuleList([nn.ReLU()])
    for index, module in ((0, 3), ("0", nn.Tanh())):
        with pytest.raises(TypeError):
            each.insert(index, module)
    assert kinds(each) == ["ReLU"]


def test_module_list_addition():
    a = nn.ModuleList([nn.ReLU()])
    b = a + nn.ModuleList([nn.Tanh()])
    assert type(b) is nn.ModuleList
    assert kinds(b) == ["ReLU", "Tanh"]
    same = a
    a += [nn.Tanh()]
    assert a is same
    assert len(a) == 2


def test_module_list_with_none():
    each = nn.ModuleList([None])
    assert repr(each) == "ModuleList(\n  (0): None\n)"
    each[0] = nn.ReLU()
    each[0] = None
    assert each[0] is None
    assert len(each) == 1


def test_module_list_refuses():
    wrong(TypeError, "but got int", lambda: nn.ModuleList(3))
    wrong(TypeError, "int is not a Module subclass", lambda: nn.ModuleList([3]))
    wrong(IndexError, "index 0 is out of range", lambda: nn.ModuleList()[0])


LINEAR = "Linear(in_features=2, out_features=2, bias=True)"


def linear():
    return nn.Linear(2, 2)


@pytest.mark.parametrize(
    ("container", "text"),
    [
        (
            nn.ModuleList([linear(), linear(), linear(), nn.ReLU()]),
            f"ModuleList(\n  (0-2): 3 x {LINEAR}\n  (3): ReLU()\n)",
        ),
        (
            nn.ModuleList([nn.ModuleList([nn.ReLU(), nn.ReLU()])]),
            "ModuleList(\n  (0): ModuleList(\n    (0-1): 2 x ReLU()\n  )\n)",
        ),
        (
            nn.ModuleList([nn.Sequential(nn.ReLU()), nn.Sequential(nn.ReLU())]),
            "ModuleList(\n  (0-1): 2 x Sequential(\n    (0): ReLU()\n  )\n)",
        ),
        (nn.ModuleList(), "ModuleList()"),
        (nn.Sequential(), "Sequential()"),
        (
            nn.Sequential(linear(), linear()),
            f"Sequential(\n  (0): {LINEAR}\n  (1): {LINEAR}\n)",
        ),
        (
            nn.ModuleDict({"a": nn.ReLU(), "b": linear()}),
            f"ModuleDict(\n  (a): ReLU()\n  (b): {LINEAR}\n)",
        ),
        (
            nn.ParameterList([nn.Parameter(rl.ones(2, 3)), 3, "x"]),
            "ParameterList(\n"
            "    (0): Parameter containing: [rushlight.float32 of size 2x3]\n"
            "    (1): Object of type: int\n"
            "    (2): Object of type: str\n"
            ")",
        ),
        (
            nn.ParameterDict({"a": 1, "b": nn.Parameter(rl.ones(2))}),
            "ParameterDict(\n"
            "    (a): Object of type: int\n"
            "    (b): Parameter containing: [rushlight.FloatTensor of size 2]\n"
            ")",
        ),
        (nn.ParameterList(), "ParameterList()"),
    ],
)
def test_repr(container, text):
    assert repr(container) == text


# -- ModuleDict --------------------------------------------------------------------------------


def test_module_dict():
    each = nn.ModuleDict({"b": nn.ReLU(), "a": nn.Tanh()})
    assert list(each) == list(each.keys()) == ["b", "a"]
    assert len(each) == 2
    assert "a" in each
    assert "c" not in each
    assert kinds(each.values()) == ["ReLU", "Tanh"]
    assert [key for key, _ in each.items()] == ["b", "a"]
    each["b"] = nn.Sigmoid()
    assert list(each) == ["b", "a"]
    del each["b"]
    assert isinstance(each.pop("a"), nn.Tanh)
    assert len(each) == 0
    each.update([("x", nn.ReLU()), ("y", nn.Tanh())])
    each.update(nn.ModuleDict({"z": nn.ReLU()}))
    assert list(each) == ["x", "y", "z"]
    each["x"] = None
    assert each["x"] is None
    each.clear()
    assert list(each) == []


def test_module_dict_keys_may_be_digits():
    each = nn.ModuleDict({"0": nn.ReLU()})
    assert each["0"] is getattr(each, "0")


def test_module_dict_refuses():
    each = nn.ModuleDict()
    wrong(TypeError, "Got int", lambda: each.__setitem__(3, nn.ReLU()))
    wrong(KeyError, "'keys' already exists", lambda: each.__setitem__("keys", nn.ReLU()))
    wrong(KeyError, "'type' already exists", lambda: nn.ModuleDict({"type": nn.ReLU()}))
    wrong(KeyError, "a.b", lambda: each.__setitem__("a.b", nn.ReLU()))
    wrong(TypeError, "pairs, but got int", lambda: each.update(3))
    wrong(TypeError, "element #0 should be Iterable; is int", lambda: each.update([3]))
    wrong(ValueError, "element #0 has length 3; 2 is", lambda: each.update([(1, 2, 3)]))
    wrong(TypeError, "int is not a Module", lambda: each.update({"a": 3}))
    wrong(KeyError, "q", lambda: each["q"])
    wrong(KeyError, "q", lambda: each.pop("q"))
    assert len(each) == 0


# -- ParameterList -------------------------------------------------------------------------------


def test_parameter_list():
    each = nn.ParameterList([rl.ones(2), nn.Parameter(rl.ones(3)), 5])
    assert kinds(each) == ["Parameter", "Parameter", "int"]
    assert len(each) == 3
    assert each[-1] == 5
    assert [name for name, _ in each.named_parameters()] == ["0", "1"]
    assert list(each.state_dict()) == ["0", "1"]
    assert each.append(rl.ones(1)) is each
    assert kinds(each.extend([1, 2])) == [
        "Parameter",
        "Parameter",
        "int",
        "Parameter",
        "int",
        "int",
    ]
    each[0] = rl.zeros(2)
    assert each[0].tolist() == [0.0, 0.0]
    part = each[1:3]
    assert type(part) is nn.ParameterList
    assert part[0] is each[1]
    same = each
    each += [7]
    assert each is same
    assert each[-1] == 7


def test_parameter_list_refuses():
    each = nn.ParameterList([rl.ones(1)])
    wrong(IndexError, "index 1 is out of range", lambda: each[1])
    wrong(IndexError, "index -2 is out of range", lambda: each.__setitem__(-2, 3))
    wrong(TypeError, "but got Tensor", lambda: each.extend(rl.ones(2)))
    wrong(TypeError, "but got int", lambda: nn.ParameterList(3))
    wrong(RuntimeError, "float", lambda: each.append(rl.arange(2)))
    wrong(RuntimeError, "should not be called", lambda: each(1))
    assert len(each) == 1
    assert not hasattr(each, "pop")
    assert not hasattr(each, "__delitem__")


def test_parameter_list_of_tied_parameters():
    weight = nn.Parameter(rl.ones(1))
    each = nn.ParameterList([weight, weight])
    assert each[0] is each[1] is weight
    assert len(list(each.parameters())) == 1


# -- ParameterDict -------------------------------------------------------------------------------


def test_parameter_dict():
    each = nn.ParameterDict({"b": rl.ones(2), "a": 3})
    assert list(each) == ["a", "b"]
    each = nn.ParameterDict(OrderedDict([("b", rl.ones(2)), ("a", 3)]))
    assert list(each) == list(each.keys()) == ["b", "a"]
    assert list(reversed(each)) == ["a", "b"]
    assert kinds(each.values()) == ["Parameter", "int"]
    assert [key for key, _ in each.items()] == ["b", "a"]
    assert "a" in each
    assert len(each) == 2
    assert each.get("a") == 3
    assert each.get("q") is None
    assert each.get("q", 5) == 5
    assert each.setdefault("a", 9) == 3
    assert each.setdefault("c", 9) == 9
    assert each.pop("c") == 9
    assert list(each.state_dict()) == ["b"]
    each["b"] = rl.zeros(2)
    assert each.b.tolist() == [0.0, 0.0]
    assert list(each) == ["b", "a"]
    assert each.popitem() == ("a", 3)
    del each["b"]
    assert list(each.parameters()) == []
    each.update([("y", 1), ("x", 2)])
    assert list(each) == ["y", "x"]
    each.clear()
    assert len(each) == 0


def test_parameter_dict_merging():
    a, b = nn.ParameterDict({"a": 1}), nn.ParameterDict({"a": 2, "b": 3})
    assert dict((a | b).items()) == {"a": 2, "b": 3}
    assert dict(a.items()) == {"a": 1}
    assert dict(a.__ror__(b).items()) == {"a": 1, "b": 3}
    same = a
    a |= b
    assert a is same
    assert dict(a.items()) == {"a": 2, "b": 3}
    twin = a.copy()
    assert twin is not a
    assert list(twin) == ["a", "b"]
    assert dict(a.fromkeys(["p", "q"], 1).items()) == {"p": 1, "q": 1}


def test_parameter_dict_refuses():
    each = nn.ParameterDict({"a": 1})
    wrong(TypeError, "'int'", lambda: each[3])
    wrong(TypeError, "'int'", lambda: each.__setitem__(3, 1))
    wrong(AttributeError, "no attribute 'q'", lambda: each["q"])
    wrong(AttributeError, "no attribute 'q'", lambda: each.pop("q"))
    wrong(KeyError, "q", lambda: each.__delitem__("q"))
    wrong(KeyError, "popitem", lambda: nn.ParameterDict().popitem())
    wrong(KeyError, "'keys' already exists", lambda: each.__setitem__("keys", rl.ones(1)))
    wrong(KeyError, "'values' already exists", lambda: each.__setitem__("values", 3))
    wrong(TypeError, "but got int", lambda: each.update(3))
    wrong(TypeError, "#0 should be Iterable", lambda: each.update([3]))
    wrong(ValueError, "has length 3", lambda: each.update([(1, 2, 3)]))
    wrong(RuntimeError, "should not be called", lambda: each(1))
    assert list(each) == ["a"]
    assert callable(each.keys)
