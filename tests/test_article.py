"""The tour that the project was asked for by: what registers, what is listed, what is printed.

Each test shows one step of it on a model of its own; the printed trees and the names are exact.
"""

import pytest

import rushlight as rl
from rushlight import nn
from rushlight.nn import functional as F

CONV = "Conv2d(10, 10, kernel_size=(3, 3), stride=(1, 1))"
NORM = "BatchNorm2d(10, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True)"
HEAD = "Linear(in_features=10, out_features=2, bias=True)"
BLOCK = f"Sequential(\n  (0): {CONV}\n  (1): {NORM}\n)"
NET = f"Net(\n  (block): Sequential(\n    (0): {CONV}\n    (1): {NORM}\n  )\n  (head): {HEAD}\n)"


class Net(nn.Module):
    """A block of two layers and a linear head."""

    def __init__(self):
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(10, 10, 3), nn.BatchNorm2d(10))
        self.head = nn.Linear(10, 2)

    def forward(self, images):
        return self.head(self.block(images).mean((2, 3)))


# -- a module keeps what a function is given -----------------------------------------------------


def test_a_module_holds_weights_and_a_function_takes_them():
    layer, x = nn.Linear(4, 3), rl.randn(2, 4)
    assert rl.equal(layer(x), F.linear(x, layer.weight, layer.bias))
    assert rl.equal(nn.ReLU()(x), F.relu(x))
    assert list(nn.ReLU().parameters()) == []


# -- lists ---------------------------------------------------------------------------------------


def layers():
    return [nn.Conv2d(5, 5, 3), nn.BatchNorm2d(5), nn.Linear(5, 2)]


class Listed(nn.Module):
    def __init__(self, held):
        super().__init__()
        self.layers = held


def test_a_plain_list_registers_nothing():
    net = Listed(layers())
    with pytest.warns(nn.HiddenModuleWarning, match=r"self\.layers .* nn\.ModuleList"):
        assert list(net.parameters()) == []
    assert list(net.children()) == []
    assert list(net.state_dict()) == []
    assert repr(net) == "Listed()"
    assert len(net.layers) == 3


def test_a_module_list_registers_everything():
    net = Listed(nn.ModuleList(layers()))
    assert [name for name, _ in net.named_parameters()] == [
        "layers.0.weight",
        "layers.0.bias",
        "layers.1.weight",
        "layers.1.bias",
        "layers.2.weight",
        "layers.2.bias",
    ]
    assert [tuple(p.shape) for p in net.parameters()] == [
        (5, 5, 3, 3),
        (5,),
        (5,),
        (5,),
        (2, 5),
        (2,),
    ]


def test_a_parameter_list_registers_parameters():
    net = Listed(nn.ParameterList([nn.Parameter(rl.ones(2)), nn.Parameter(rl.ones(3))]))
    assert [name for name, _ in net.named_parameters()] == ["layers.0", "layers.1"]


def test_a_module_list_is_no_network_but_a_sequential_is():
    parts = [nn.ReLU(inplace=True), nn.Linear(10, 10)]
    assert nn.Sequential(*parts)(rl.rand(10)).shape == (10,)
    with pytest.raises(NotImplementedError, match="forward"):
        nn.ModuleList(parts)(rl.rand(10))


def test_a_sequential_runs_inside_a_model():
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(10, 10))

        def forward(self, x):
            return self.layers(x)

    net, x = Wrapped(), rl.rand(10)
    assert str(tuple(net(x).shape)) == "(10,)"
    assert rl.equal(net(x), net.layers[1](F.relu(x)))


# -- children and modules -------------------------------------------------------------------------


def test_children_are_one_level():
    net = Net()
    assert list(net.children()) == [net.block, net.head]
    assert repr(list(net.children())) == f"[{BLOCK}, {HEAD}]"


def test_modules_are_all_levels():
    net = Net()
    assert list(net.modules()) == [net, net.block, net.block[0], net.block[1], net.head]
    assert repr(list(net.modules())) == f"[{NET}, {BLOCK}, {CONV}, {NORM}, {HEAD}]"


# -- names ---------------------------------------------------------------------------------------


def test_named_parameters():
    layer = nn.Linear(2, 3)
    with rl.no_grad():
        layer.weight.copy_(rl.tensor([[-0.5, 0.25], [-0.75, -0.125], [0.5, 0.625]]))
        layer.bias.copy_(rl.tensor([0.0625, -0.5, 0.125]))
    found = layer.named_parameters()
    assert repr(next(found)) == (
        "('weight', Parameter containing:\n"
        "tensor([[-0.5000,  0.2500],\n"
        "        [-0.7500, -0.1250],\n"
        "        [ 0.5000,  0.6250]], requires_grad=True))"
    )
    assert repr(next(found)) == (
        "('bias', Parameter containing:\ntensor([ 0.0625, -0.5000,  0.1250], requires_grad=True))"
    )
    with pytest.raises(StopIteration):
        next(found)


def test_named_parameters_of_a_tree():
    assert [name for name, _ in Net().named_parameters()] == [
        "block.0.weight",
        "block.0.bias",
        "block.1.weight",
        "block.1.bias",
        "head.weight",
        "head.bias",
    ]


def test_named_modules():
    found = Net().named_modules()
    assert repr(next(found)) == f"('', {NET})"
    assert repr(next(found)) == f"('block', {BLOCK})"
    assert repr(next(found)) == f"('block.0', {CONV})"
    assert repr(next(found)) == f"('block.1', {NORM})"
    assert repr(next(found)) == f"('head', {HEAD})"
    with pytest.raises(StopIteration):
        next(found)


def test_named_children():
    net = Net()
    assert list(net.named_children()) == [("block", net.block), ("head", net.head)]
    assert repr(list(net.named_children())) == f"[('block', {BLOCK}), ('head', {HEAD})]"


# -- and it trains --------------------------------------------------------------------------------


def test_the_model_runs_and_has_gradients():
    net = Net()
    out = net(rl.randn(2, 10, 8, 8))
    assert out.shape == (2, 2)
    out.sum().backward()
    assert all(p.grad is not None and p.grad.shape == p.shape for p in net.parameters())
    assert net.block[1].num_batches_tracked.item() == 1


def test_the_same_story_in_torch():
    torch = pytest.importorskip("torch")

    class TorchNet(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.block = torch.nn.Sequential(torch.nn.Conv2d(10, 10, 3), torch.nn.BatchNorm2d(10))
            self.head = torch.nn.Linear(10, 2)

    ours, theirs = Net(), TorchNet()
    for listing in ("named_modules", "named_children", "named_parameters", "named_buffers"):
        assert [name for name, _ in getattr(ours, listing)()] == [
            name for name, _ in getattr(theirs, listing)()
        ]
    # Newer versions of PyTorch print one argument of BatchNorm2d more.
    printed = (
        repr(theirs).replace("TorchNet", "Net").replace("affine=True, bias=True", "affine=True")
    )
    assert repr(ours) == printed
