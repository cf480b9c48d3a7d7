"""``rushlight.compile``: what changed is seen, and nothing takes the place of another."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import rushlight as rl
from compiling import Of, same, settled
from rushlight import nn
from rushlight.nn import functional as F


def _by_optimizer(net: Any) -> None:
    optimizer = rl.optim.SGD(net.parameters(), lr=0.1)
    with rl.enable_grad():
        net(rl.ones(1, 16, 6, 6)).sum().backward()
    optimizer.step()


def _by_load(net: Any) -> None:
    net.load_state_dict({name: each * 2 + 1 for name, each in net.state_dict().items()})


def _by_load_assigned(net: Any) -> None:
    state = {name: each * 2 + 1 for name, each in net.state_dict().items()}
    net.load_state_dict(state, assign=True)


def _by_numpy(net: Any) -> None:
    net[0].weight.detach().numpy()[0] = 9


def _by_old_array(net: Any) -> None:
    net.array[...] *= 2


def _by_data(net: Any) -> None:
    net[0].weight.data = net[0].weight.data * 3


def _by_statistics(net: Any) -> None:
    net[1].running_var.mul_(2)


def _by_attribute(net: Any) -> None:
    net[0].stride = (2, 2)


def _by_new_module(net: Any) -> None:
    net[2] = nn.Sigmoid()


def _by_new_parameter(net: Any) -> None:
    net[0].bias = nn.Parameter(rl.ones(16))


def _by_shape(net: Any) -> None:
    net[0].weight.data = rl.randn(16, 16, 1, 1)


CHANGES = [
    _by_optimizer, _by_load, _by_load_assigned, _by_numpy, _by_old_array, _by_data,
    _by_statistics, _by_attribute, _by_new_module, _by_new_parameter, _by_shape,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda each: each.__name__[4:])
def test_a_change_is_seen_by_the_next_call(change: Callable[[Any], None]) -> None:
    net = settled(nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()))
    net.array = net[0].weight.detach().numpy() if change is _by_old_array else None
    compiled, x = rl.compile(net), rl.randn(1, 16, 6, 6)
    other = rl.randn(2, 16, 6, 6)
    with rl.no_grad():
        before = compiled(x)
        compiled(other)
        for _ in range(2):
            change(net)
            net.eval()
            same(compiled(x), net(x))
            same(compiled(other), net(other))
        for _ in range(2):  # each like the call before
            same(compiled(x), net(x))
            change(net)
            net.eval()
            same(compiled(x), net(x))
    if change is not _by_shape:
        assert before.shape[1] == 16


def test_weights_go_with_the_module() -> None:
    net = settled(nn.Sequential(nn.Linear(300, 300)))
    compiled = rl.compile(net)
    with rl.no_grad():
        compiled(rl.ones(9, 300))
    watched = weakref.ref(net)
    del net, compiled
    gc.collect()
    assert watched() is None


def test_release_source() -> None:
    net = settled(rl.models.resnet20())
    x = rl.randn(1, 3, 32, 32)
    compiled = rl.compile(net, release_source=True)
    with rl.no_grad():
        expected = net(x)
        watched = weakref.ref(net.layer1[0].conv1.weight._array)
        for _ in range(2):
            same(compiled(x), expected)
        gc.collect()
        assert watched() is None
        assert net.layer1[0].conv1.weight.isnan().all()
        assert net.layer1[0].conv1.weight._array.base is not None  # one number, repeated
        with pytest.raises(rl.CompileError, match="release_source=True"):
            compiled(rl.randn(2, 3, 32, 32))
        same(compiled(x), expected)
    with pytest.raises(RuntimeError, match="let go"):
        compiled(x)


def test_release_source_keeps_what_is_read_as_it_is() -> None:
    def forward(m: Any, x: Any) -> Any:
        looked_up = F.embedding(x.argmax(1), m.line.weight)  # a parameter of an eager operation
        return m.line(x) + looked_up.sum(1, True) * m.factor

    module = Of(forward, line=nn.Linear(4, 4), factor=nn.Parameter(rl.randn(4)))
    compiled, x = rl.compile(module, release_source=True), rl.randn(3, 4)
    with rl.no_grad():
        expected = module(x)
        for _ in range(3):
            same(compiled(x), expected)


# -- prepared weights are known by name --------------------------------------------------------


def test_one_convolution_before_two_batch_norms() -> None:
    net = settled(
        Of(
            lambda m, x: (m.first(m.conv(x)), m.second(m.conv(x * 2))),
            conv=nn.Conv2d(16, 16, 3, padding=1),
            first=nn.BatchNorm2d(16),
            second=nn.BatchNorm2d(16),
        )
    )
    compiled, x = rl.compile(net), rl.randn(1, 16, 8, 8)
    with rl.no_grad():
        for found, expected in zip(compiled(x), net(x), strict=True):
            same(found, expected)


def test_weights_that_the_forward_makes_for_each_shape() -> None:
    def forward(m: Any, x: Any) -> Any:
        own = rl.full((30, 40), float(len(x)))
        return F.linear(x, own) + F.linear(x, own.add(rl.full((30, 40), 1.0 / len(x))))

    net = Of(forward)
    compiled = rl.compile(net)
    with rl.no_grad():
        for rows in (64, 65, 64, 66):
            x = rl.randn(rows, 40)
            same(compiled(x), net(x))


def test_a_weight_that_the_kept_plans_do_not_read() -> None:
    net = Of(
        lambda m, x: m.large(x) if len(x) > 10 else m.small(x),
        large=nn.Linear(40, 30),
        small=nn.Linear(40, 30),
    )
    compiled, many, few = rl.compile(net, max_plans=1), rl.randn(64, 40), rl.randn(5, 40)
    with rl.no_grad():
        compiled(many)
        compiled(few)
        net.large.weight.mul_(3)
        same(compiled(many), net(many))


def test_attributes_that_hold_themselves() -> None:
    net = Of(lambda m, x: x * m.settings["factor"])
    net.settings = {"factor": 2, "more": [1, 2]}
    net.settings["self"] = net.settings
    compiled = rl.compile(net)
    with rl.no_grad():
        assert compiled(rl.ones(2)).tolist() == [2.0, 2.0]
        net.settings["factor"] = 3
        net.settings = net.settings
        assert compiled(rl.ones(2)).tolist() == [3.0, 3.0]


def test_prepared_weights_go_with_the_last_plan() -> None:
    net = Of(lambda m, x: F.linear(x, rl.full((64, 40), float(len(x)))))
    compiled = rl.compile(net, max_plans=2)
    with rl.no_grad():
        for rows in range(60, 70):
            compiled(rl.ones(rows, 40))
    assert compiled._weights.bytes <= 3 * 64 * 40 * 4


def test_a_forward_that_only_changes_its_input() -> None:
    def forward(m: Any, x: Any) -> None:
        x.add_(1)

    compiled, x = rl.compile(Of(forward)), rl.zeros(3)
    with rl.no_grad():
        assert compiled(x) is None
        assert compiled(x) is None
    assert x.tolist() == [2.0, 2.0, 2.0]


def test_the_plan_of_a_net_that_can_no_longer_be_compiled_does_not_run() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.strict = False

        def forward(self, x: Any) -> Any:
            return x * 2 if not self.strict or x.sum() > 0 else x

    net = Net().eval()
    compiled = rl.compile(net)
    with rl.no_grad():
        compiled(rl.ones(3))
        net.strict = True
        for _ in range(2):
            with pytest.raises(rl.CompileError):
                compiled(rl.ones(3))


def test_calls_of_different_kinds_take_turns(isa: str) -> None:
    net = settled(nn.Sequential(nn.Conv2d(4, 20, 3), nn.BatchNorm2d(20), nn.ReLU()))
    compiled = rl.compile(net)
    inputs = [rl.randn(1, 4, 9, 9), rl.randn(2, 4, 7, 8)]
    with rl.no_grad():
        wanted = [net(each) for each in inputs]
        for repeats in (1, 3, 1, 2):
            for x, result in zip(inputs, wanted, strict=True):
                for _ in range(repeats):
                    same(compiled(x), result)


def test_a_plan_goes_with_the_kernels_that_it_was_made_for() -> None:
    net = settled(nn.Conv2d(32, 32, 3, padding=1))
    compiled, x = rl.compile(net), rl.randn(1, 32, 28, 28)
    with rl.no_grad():
        for _ in range(2):
            same(compiled(x), net(x))
            assert "winograd" in str(compiled.explain())
            with rl.backends.winograd.flags(enabled=False):
                same(compiled(x), net(x))
                assert "winograd" not in str(compiled.explain())
