"""``rushlight.compile``: the same results as the module, clear refusals."""

from __future__ import annotations

import copy
import pickle
import re
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import rushlight as rl
from compiling import Of, check, same, settled
from rushlight import nn
from rushlight.nn import functional as F

# -- whole nets -------------------------------------------------------------------------------

NETS = [
    ("resnet18", (2, 3, 64, 64)),
    ("resnet50", (1, 3, 64, 64)),
    ("resnet20", (3, 3, 32, 32)),
    ("resnext50_32x4d", (1, 3, 48, 48)),
    ("vgg11", (1, 3, 64, 64)),
    ("mobilenet_v2", (1, 3, 96, 96)),
    ("mobilenet_v3_small", (2, 3, 64, 64)),
    ("squeezenet1_1", (1, 3, 97, 89)),
    ("efficientnet_b0", (1, 3, 64, 64)),
    ("densenet121", (1, 3, 64, 64)),
    ("googlenet", (1, 3, 64, 64)),
    ("shufflenet_v2_x1_0", (2, 3, 64, 64)),
    ("mnasnet0_5", (1, 3, 64, 64)),
    ("alexnet", (1, 3, 224, 224)),
    ("mnist_net", (5, 1, 28, 28)),
    ("mlp", (7, 784)),
]


@pytest.mark.parametrize(("name", "shape"), NETS)
def test_nets(name: str, shape: tuple[int, ...]) -> None:
    check(settled(rl.models.get_model(name)), rl.randn(*shape))


def test_float64_is_as_exact_as_the_module() -> None:
    net = settled(rl.models.resnet20()).double()
    x = rl.randn(2, 3, 32, 32, dtype=rl.float64)
    with rl.no_grad():
        same(rl.compile(net)(x), net(x), 1e-12)


def test_on_every_instruction_set(isa: str) -> None:
    check(settled(rl.models.mobilenet_v3_small()), rl.randn(1, 3, 40, 40))


def test_without_winograd() -> None:
    net = settled(nn.Sequential(nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32)))
    compiled, x = rl.compile(net), rl.randn(1, 16, 20, 20)
    with rl.no_grad():
        first = compiled(x)
        with rl.backends.winograd.flags(False):
            second = compiled(x)
            assert "winograd" not in repr(compiled.explain())
    assert not np.array_equal(first.numpy(), second.numpy())
    same(first, second, 1e-5)


def test_same_bits_for_any_thread_count() -> None:
    compiled, x = rl.compile(settled(rl.models.resnet20())), rl.randn(2, 3, 32, 32)
    results = []
    with rl.no_grad():
        for threads in (1, 2, 5):
            rl.set_num_threads(threads)
            results.append(compiled(x).numpy())
    assert all(np.array_equal(results[0], each) for each in results[1:])


# -- arguments and results --------------------------------------------------------------------


class Pair(NamedTuple):
    first: Any
    second: Any


def test_trees_of_arguments_and_results() -> None:
    def forward(m: Any, pair: Any, *, by: dict[str, Any], scale: float = 1.0) -> Any:
        total = pair[0] + pair[1] * by["x"]
        return {"total": total * scale, "parts": Pair(total, [pair[0] * 2, None, 3, "text"])}

    compiled = rl.compile(Of(forward))
    a, b, c = rl.randn(3), rl.randn(3), rl.randn(3)
    with rl.no_grad():
        for scale in (1.0, 2.0, 1.0):
            found = compiled((a, b), by={"x": c}, scale=scale)
            same(found["total"], (a + b * c) * scale)
            assert isinstance(found["parts"], Pair)
            same(found["parts"].second[0], a * 2)
            assert found["parts"].second[1:] == [None, 3, "text"]
    assert len(compiled._entries) == 2


def test_calls_never_share_memory() -> None:
    compiled, x = rl.compile(Of(lambda m, x: (x, x.relu(), x.reshape(4)))), rl.randn(2, 2)
    with rl.no_grad():
        results = [*compiled(x), *compiled(x)]
    for number, one in enumerate(results):
        for other in (x, *results[number + 1 :]):
            assert not np.shares_memory(one.numpy(), other.numpy())


def test_out() -> None:
    compiled, x = rl.compile(Of(lambda m, x: (x.relu(), x * 2))), rl.randn(2, 3)
    out = (rl.empty(2, 3), rl.empty(2, 3))
    with rl.no_grad():
        version = out[0]._version
        assert compiled(x, out=out) is out
        same(out[0], x.relu())
        same(out[1], x * 2)
        assert out[0]._version > version
        strided = (rl.empty(3, 2).t(), rl.empty(2, 3))
        same(compiled(x, out=strided)[0], x.relu())
        same(compiled(x, out=(x, rl.empty(2, 3)))[0], out[0])  # the input itself
        with pytest.raises(ValueError, match="out must hold 2 tensors, but holds 1"):
            compiled(x, out=rl.empty(2, 3))
        with pytest.raises(ValueError, match="out"):
            compiled(x, out=(rl.empty(2, 3), rl.empty(3, 2)))


def test_inputs_of_any_layout() -> None:
    compiled, x = rl.compile(settled(nn.Conv2d(3, 4, 3))), rl.randn(2, 9, 8, 3).permute(0, 3, 1, 2)
    with rl.no_grad():
        same(compiled(x), compiled.module(x))


def test_an_input_that_the_forward_changes() -> None:
    compiled = rl.compile(Of(lambda m, x: x.mul_(2) + 1))
    for _ in range(2):
        x = rl.ones(3)
        with rl.no_grad():
            assert compiled(x).tolist() == [3.0] * 3
        assert x.tolist() == [2.0] * 3


def test_an_input_that_the_forward_changes_must_be_writable() -> None:
    compiled, array = rl.compile(Of(lambda m, x: x.mul_(2))), np.ones(3, np.float32)
    array.flags.writeable = False
    for _ in range(2):
        with rl.no_grad(), pytest.raises(RuntimeError, match=r"compile: an input .*read-only"):
            compiled(rl.from_numpy(array))
    assert array.tolist() == [1.0] * 3


def test_containers_stay_of_their_kind() -> None:
    class Output(dict[str, Any]):
        note = ""

    def forward(m: Any, given: Any) -> Any:
        made = Output(x=given["x"] * 2)
        made.note = "kept"
        return OrderedDict(a=made, b=Row([given["x"] + 1]))

    class Row(list[Any]):
        pass

    compiled, given = rl.compile(Of(forward)), defaultdict(list, x=rl.ones(2))
    with rl.no_grad():
        for _ in range(2):
            found = compiled(given)
            assert type(found) is OrderedDict
            assert list(found) == ["a", "b"]
            assert type(found["a"]) is Output
            assert found["a"].note == "kept"
            assert found["a"]["x"].tolist() == [2.0, 2.0]
            assert type(found["b"]) is Row
            assert found["b"][0].tolist() == [2.0, 2.0]


def test_arguments_that_hide_tensors_are_refused() -> None:
    class Batch:
        x = rl.ones(2)

    compiled = rl.compile(Of(lambda m, batch: batch.x * 2))
    with rl.no_grad(), pytest.raises(rl.CompileError, match="but got Batch"):
        compiled(Batch())
    compiled = rl.compile(Of(lambda m, x: Batch()))
    with rl.no_grad(), pytest.raises(rl.CompileError, match=r"may return tensors.*but got Batch"):
        compiled(rl.ones(2))


# -- when the module itself runs --------------------------------------------------------------


def test_grad_mode_and_training_mode_run_the_module() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5))
    compiled, x = rl.compile(net), rl.randn(2, 3)
    compiled.eval()
    compiled(x).sum().backward()
    assert net[0].weight.grad is not None
    assert not compiled._entries
    compiled.train()
    with rl.no_grad():
        compiled(x)
    assert net.training
    assert not compiled._entries
    net.eval()
    net[1].train()  # one below is enough
    with rl.no_grad():
        compiled(x)
        assert not compiled._entries
        net.eval()
        same(compiled(x), net(x))
    assert compiled._entries


def test_attributes_are_those_of_the_module() -> None:
    net = nn.Sequential(nn.Linear(3, 4))
    compiled = rl.compile(net, mode="max-autotune", fullgraph=True)
    assert list(compiled.state_dict()) == list(net.state_dict())
    assert "Linear" in repr(compiled)
    with pytest.raises(RuntimeError, match="nothing is compiled yet"):
        compiled.explain()
    with pytest.raises(TypeError, match="module must be a Module, but got function"):
        rl.compile(lambda x: x)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="unknown option 'speed'"):
        rl.compile(net, speed=11)
    with pytest.raises(ValueError, match="max_plans must be at least 1"):
        rl.compile(net, max_plans=0)


def test_copies() -> None:
    compiled, x = rl.compile(settled(nn.Linear(3, 2))), rl.randn(1, 3)
    with rl.no_grad():
        expected = compiled(x)
        for twin in (copy.deepcopy(compiled), pickle.loads(pickle.dumps(compiled))):
            assert twin.module is not compiled.module
            same(twin(x), expected)


def test_the_plan_used_longest_ago_goes() -> None:
    compiled = rl.compile(settled(nn.Linear(3, 2)), max_plans=2)
    with rl.no_grad():
        for rows in (1, 2, 1, 3, 1):
            compiled(rl.ones(rows, 3))
    assert [key[0] for key in compiled._entries] == [(3, 3), (1, 3)]


# -- refusals ---------------------------------------------------------------------------------


def _branch(m: Any, x: Any) -> Any:
    if x.sum() > 0:  # the line that the error names
        return x * 2
    return x


def _item(m: Any, x: Any) -> Any:
    return x * x.max().item()


def _numpy(m: Any, x: Any) -> Any:
    return x + rl.tensor(x.numpy() * 2)


def _behind_our_back(m: Any, x: Any) -> Any:
    return x + rl.tensor(x._array * 2)


def _mask(m: Any, x: Any) -> Any:
    return x[x > 0].sum()


def _parameter(m: Any, x: Any) -> Any:
    m.weight.add_(1)
    return x * m.weight


def _counter(m: Any, x: Any) -> Any:
    m.__dict__["count"].add_(1)
    return x * m.__dict__["count"]


def _backward(m: Any, x: Any) -> Any:
    with rl.enable_grad():
        y = (x * m.weight).sum()
        y.backward()
    return x


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (_branch, "bool"),
        (_item, "item"),
        (_numpy, "numpy"),
        (_behind_our_back, "cannot be followed"),
        (_mask, "index"),
        (_parameter, "weight is changed in place"),
        (_counter, "outlives"),
        (_backward, "backward"),
    ],
)
def test_what_depends_on_values_is_refused(forward: Callable[..., Any], message: str) -> None:
    module = Of(forward)
    module.weight = nn.Parameter(rl.ones(3))
    module.__dict__["count"] = rl.ones(3)
    compiled = rl.compile(module)
    with rl.no_grad(), pytest.raises(rl.CompileError, match=message) as caught:
        compiled(rl.randn(3))
    if forward in (_branch, _item, _numpy, _mask):
        line = forward.__code__.co_firstlineno + 1
        assert re.search(rf"in {forward.__name__}, .*test_compile\.py:{line}\)", str(caught.value))
    assert rl.is_grad_enabled()
    rl.ones(2) * 2  # nothing is followed any more


def test_values_of_constants_may_be_looked_at() -> None:
    module = Of(lambda m, x: x * m.weight.sum().item() if m.weight[0] > 0 else x)
    module.weight = nn.Parameter(rl.ones(3))
    check(module, rl.randn(3))
    compiled = rl.compile(module)
    with rl.no_grad():
        x = rl.randn(3)
        same(compiled(x), x * 3)
        module.weight.mul_(-1)
        same(compiled(x), x)


def test_hooks() -> None:
    net = settled(nn.Sequential(nn.Linear(3, 4), nn.ReLU()))
    seen: list[int] = []
    handle = net[0].register_forward_hook(lambda *_: seen.append(1))
    x = rl.randn(2, 3)
    with rl.no_grad():
        with pytest.raises(rl.CompileError, match=r"module '0' \(Linear\) has forward hooks"):
            rl.compile(net)(x)
        ignoring = rl.compile(net, ignore_hooks=True)
        same(ignoring(x), F.relu(net[0](x)))
        assert seen == [1]
        net(x)
        assert seen == [1, 1]  # the hook is still there
        handle.remove()
        check(net, x)


def test_random_operations_draw_anew() -> None:
    compiled = rl.compile(Of(lambda m, x: F.dropout(x, 0.5) + 0))
    with rl.no_grad():
        results = {tuple(compiled(rl.ones(64)).tolist()) for _ in range(3)}
    assert len(results) == 3
    assert "eager" in repr(compiled.explain())


def test_a_failing_forward_raises_its_own_error() -> None:
    compiled = rl.compile(settled(nn.Linear(3, 4)))
    with rl.no_grad():
        with pytest.raises(ValueError, match="linear"):
            compiled(rl.ones(2, 5))
        same(compiled(rl.ones(2, 3)), compiled.module(rl.ones(2, 3)))


def test_lazy_modules_get_their_shapes_first() -> None:
    net = nn.Sequential(nn.LazyLinear(4)).eval()
    compiled, x = rl.compile(net), rl.randn(2, 3)
    with rl.no_grad():
        same(compiled(x), net(x))
        same(compiled(x), net(x))
    assert compiled._entries


# -- threads ----------------------------------------------------------------------------------


def test_many_python_threads_at_once() -> None:
    net = settled(rl.models.resnet20())
    compiled = rl.compile(net)
    inputs = [rl.randn(1, 3, 32, 32) for _ in range(8)]
    with rl.no_grad():
        expected = [net(x) for x in inputs]
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            with rl.no_grad():
                for _ in range(40):
                    same(compiled(inputs[number]), expected[number])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(compiled._entries) == 1
