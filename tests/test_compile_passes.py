"""The passes of the compiler, one by one, and random nets through all of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

import rushlight as rl
from rushlight import nn
from rushlight.compiler import passes
from rushlight.compiler.graph import Graph
from rushlight.compiler.memory import Span, arrange
from rushlight.compiler.trace import trace
from rushlight.compiler.views import Region, collapsed, reshaped
from rushlight.nn import functional as F


def recorded(forward: Any, *shapes: tuple[int, ...], **layers: Any) -> Graph:
    """Return the graph of a function and layers, as recorded."""

    class Net(nn.Module):
        def forward(self, *args: Any) -> Any:
            return forward(self, *args)

    net = Net()
    for name, layer in layers.items():
        setattr(net, name, layer)
    return trace(net.eval(), tuple(rl.randn(*shape) for shape in shapes), {}, False).graph


def ops(graph: Graph) -> list[str]:
    return [node.op if node.op != "call" else node.fused[0] for node in graph.nodes]


def test_a_graph_prints() -> None:
    graph = recorded(lambda m, x: m.conv(x).relu(), (1, 3, 8, 8), conv=nn.Conv2d(3, 4, 3, 2))
    assert str(graph).splitlines() == [
        "inputs: x0 float32[1, 3, 8, 8]",
        "v1 float32[1, 4, 3, 3] = conv2d(x0, conv.weight, conv.bias)",
        "v2 float32[1, 4, 3, 3] = relu(v1)",
        "outputs: v2",
    ]
    passes.optimise(graph)
    text = str(graph)
    assert "conv2d + relu(x0) stride=(2, 2), clamp=(0.0, inf)" in text
    assert "in blocks of" in text
    assert "reorder" in text


def test_drop_identities() -> None:
    graph = recorded(lambda m, x: x.clone().relu().clone(), (2, 3))
    passes.drop_identities(graph)
    assert ops(graph) == ["relu"]


def test_fold_constants() -> None:
    weight = nn.Parameter(rl.ones(3))
    graph = recorded(lambda m, x: x * (m.w * 2 + 1).relu(), (2, 3), w=weight)
    assert len(graph.nodes) == 4
    passes.fold_constants(graph)
    passes.dead_code(graph)
    assert ops(graph) == ["mul"]
    assert graph.nodes[0].inputs[1].constant.array.tolist() == [3.0] * 3  # type: ignore[union-attr]


def test_dead_code() -> None:
    graph = recorded(lambda m, x: (x * 2, x.relu())[1], (2, 3))
    passes.dead_code(graph)
    assert ops(graph) == ["relu"]


def test_common_subexpressions() -> None:
    graph = recorded(lambda m, x: F.silu(x) * F.silu(x) + x.sigmoid(), (2, 3))
    passes.lower(graph)
    passes.common_subexpressions(graph)
    passes.dead_code(graph)
    assert ops(graph) == ["pointwise", "binary", "pointwise", "affine"]


def test_fuse_padding() -> None:
    graph = recorded(
        lambda m, x: m.conv(F.pad(x, (2, 2, 1, 1))), (1, 3, 8, 8), conv=nn.Conv2d(3, 4, 3)
    )
    passes.lower(graph)
    passes.fuse_padding(graph)
    passes.dead_code(graph)
    assert ops(graph) == ["conv2d"]
    assert graph.nodes[0].settings["padding"] == (1, 2)


def test_batch_norm_is_folded_in_float64() -> None:
    conv, bn = nn.Conv2d(4, 4, 1, bias=False), nn.BatchNorm2d(4)
    bn.running_var.fill_(1e-8)
    bn.running_mean.normal_()
    graph = recorded(lambda m, x: m.bn(m.conv(x)), (1, 4, 2, 2), conv=conv, bn=bn)
    passes.lower(graph)
    passes.fuse_epilogues(graph)
    (node,) = graph.nodes
    scale = 1 / np.sqrt(np.float64(np.float32(1e-8)) + bn.eps)
    assert node.settings["scale"].dtype == np.float64
    np.testing.assert_allclose(node.settings["scale"], scale, rtol=1e-15)


def test_layouts_are_nodes() -> None:
    net = nn.Sequential(nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1))
    graph = recorded(lambda m, x: m.net(x), (1, 32, 8, 8), net=net)
    passes.optimise(graph)
    assert ops(graph) == ["reorder", "conv2d", "conv2d", "reorder"]


def test_spans_do_not_overlap_while_they_are_needed() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        spans = []
        for _ in range(40):
            first = int(rng.integers(0, 30))
            spans.append(Span(int(rng.integers(1, 5000)), first, first + int(rng.integers(0, 9))))
        total = arrange(spans)
        for number, a in enumerate(spans):
            assert a.offset % 64 == 0
            assert a.offset + a.nbytes <= total
            for b in spans[:number]:
                apart = a.last < b.first or b.last < a.first
                below = a.offset + a.nbytes <= b.offset or b.offset + b.nbytes <= a.offset
                assert apart or below
        assert total <= sum(-(-each.nbytes // 64) * 64 for each in spans)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_reshaped_regions_are_what_numpy_makes(data: Any) -> None:
    sizes = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    array = np.arange(np.prod(sizes)).reshape(sizes)
    order = data.draw(st.permutations(range(len(sizes))))
    turned = array.transpose(order)
    region = Region(0, turned.shape, tuple(step // array.itemsize for step in turned.strides))
    count, new = turned.size, []
    while count > 1:
        part = data.draw(st.sampled_from([n for n in range(1, count + 1) if count % n == 0]))
        new.append(part)
        count //= part
    new = new or [1]
    found = reshaped(region, new)
    expected = turned.reshape(new)
    if found is not None:
        flat = array.reshape(-1)
        view = np.lib.stride_tricks.as_strided(
            flat, found.sizes, [step * array.itemsize for step in found.steps]
        )
        assert np.array_equal(view, expected)
    assert (found is not None) == np.shares_memory(expected, array)


def test_collapsed() -> None:
    assert collapsed((2, 3, 4), (12, 4, 1), (0, 4, 1)) == ((2, 12), [(12, 1), (0, 1)])
    assert collapsed((1, 1), (5, 5)) == ((1,), [(1,)])


# -- random nets ------------------------------------------------------------------------------


class Step:
    """One line of a random net: what it does to the values so far. Prints as it was drawn."""

    def __init__(self, kind: str, sources: tuple[int, ...], number: int) -> None:
        self.kind, self.sources, self.number = kind, sources, number

    def __repr__(self) -> str:
        return f"{self.kind}{self.sources} {self.number}"


KINDS = [
    "conv3", "conv1", "stride", "depthwise", "grouped", "dilated", "norm", "relu", "relu6", "silu",
    "hardswish", "leaky", "add", "mul", "cat", "pool", "mean pool", "pad", "scale", "gate", "half",
    "shuffle", "shared", "softmax", "drop", "crop", "in place",
]  # fmt: skip


class RandomNet(nn.Module):
    """A net of steps; each value is an image [n, c, h, w]."""

    def __init__(self, steps: list[Step], channels: int) -> None:
        super().__init__()
        self.steps = steps
        self.layers = nn.ModuleDict()
        self.widths = [channels]
        for at, step in enumerate(steps):
            self.widths.append(self._make(f"{at}", step))
        for each in self.modules():
            if isinstance(each, nn.BatchNorm2d):
                each.running_mean.normal_(0, 0.3)
                each.running_var.uniform_(0.5, 2)
        self.eval()

    def _make(self, name: str, step: Step) -> int:
        """Add the layers of a step; return how many channels it makes."""
        c, k = self.widths[step.sources[0]], step.number
        layer: Any = None
        if step.kind in ("conv3", "conv1", "stride", "dilated"):
            settings = {
                "conv3": (3, 1, 1, 1), "conv1": (1, 1, 0, 1), "stride": (3, 2, 1, 1),
                "dilated": (3, 1, 2, 2),
            }[step.kind]  # fmt: skip
            layer, c = nn.Conv2d(c, k, *settings), k
        elif step.kind == "depthwise":
            layer = nn.Conv2d(c, c, 3, padding=1, groups=c)
        elif step.kind == "grouped":
            groups = 2 if c % 2 == 0 else 1
            layer, c = nn.Conv2d(c, 2 * k, 3, padding=1, groups=groups), 2 * k
        elif step.kind == "norm":
            layer = nn.BatchNorm2d(c)
        elif step.kind == "gate":
            layer = nn.Conv2d(c, c, 1)
        elif step.kind == "shared":
            self.shared = getattr(self, "shared", None) or nn.Conv2d(k, k, 3, padding=1)
        elif step.kind == "cat":
            c = sum(self.widths[each] for each in step.sources)
        elif step.kind == "pad":
            c = c + 2
        elif step.kind == "half":
            c = -(-c // 2)
        if layer is not None:
            self.layers[name] = layer
        return c

    def forward(self, x: Any) -> Any:
        values = [x]
        for at, step in enumerate(self.steps):
            inputs = [values[each] for each in step.sources]
            values.append(self._run(f"{at}", step, inputs))
        return values[-1], values[len(values) // 2].relu()

    def _run(self, name: str, step: Step, inputs: list[Any]) -> Any:
        x = inputs[0]
        if name in self.layers and step.kind != "gate":
            return self.layers[name](x)
        if step.kind == "shared":
            c = self.shared.in_channels
            return self.shared(x) if x.shape[1] == c else x * 1
        if step.kind in ("add", "mul"):
            y = inputs[1]
            if x.shape != y.shape:
                y = y.mean((1, 2, 3), keepdim=True)
            return x + y if step.kind == "add" else x * y
        if step.kind == "cat":
            h, w = (min(each.shape[axis] for each in inputs) for axis in (2, 3))
            return rl.cat([each[:, :, :h, :w] for each in inputs], 1)
        if step.kind == "gate":
            return x * self.layers[name](F.adaptive_avg_pool2d(x, 1)).sigmoid()
        return _SIMPLE[step.kind](x, step.number)


_SIMPLE: dict[str, Any] = {
    "relu": lambda x, k: x.relu(),
    "relu6": lambda x, k: F.relu6(x),
    "silu": lambda x, k: F.silu(x),
    "hardswish": lambda x, k: F.hardswish(x),
    "leaky": lambda x, k: F.leaky_relu(x, 0.1),
    "pool": lambda x, k: F.max_pool2d(x, 3, 2, 1),
    "mean pool": lambda x, k: F.avg_pool2d(x, 2, 1, 1),
    "pad": lambda x, k: F.pad(x, (1, 1, 0, 2, 1, 1)),
    "scale": lambda x, k: x * 0.5 + k / 10,
    "half": lambda x, k: x[:, ::2],
    "shuffle": lambda x, k: x.flip(1).reshape(*x.shape[:2], -1).reshape(x.shape),
    "softmax": lambda x, k: x.softmax(1),
    "drop": lambda x, k: F.dropout(x, training=False),
    "crop": lambda x, k: x[:, :, : max(x.shape[2] - 1, 1)],
    "in place": lambda x, k: (x + 1).relu_().mul_(0.5),
}


@st.composite
def steps_of(draw: Any) -> list[Step]:
    count = draw(st.integers(1, 12))
    found = []
    for at in range(count):
        kind = draw(st.sampled_from(KINDS))
        wanted = 2 if kind in ("add", "mul") else draw(st.integers(2, 3)) if kind == "cat" else 1
        sources = tuple(draw(st.integers(max(0, at - 3), at)) for _ in range(wanted))
        found.append(Step(kind, sources, draw(st.sampled_from([1, 3, 8, 16, 17, 32]))))
    return found


@given(steps_of(), st.sampled_from([1, 3, 16, 20]), st.integers(1, 2), st.integers(4, 13))
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
def test_random_nets(steps: list[Step], channels: int, n: int, size: int) -> None:
    rl.manual_seed(0)
    net = RandomNet(steps, channels)
    note(f"{steps} on {n} x {channels} x {size} x {size + 1}\n{net}")
    x = rl.randn(n, channels, size, size + 1)
    compiled = rl.compile(net)
    with rl.no_grad():
        expected, found = net(x), compiled(x)
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        limit = 1e-4 * max(float(np.abs(b.numpy()).max(initial=0)), 1e-6)
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=0, atol=limit)


# -- what is shown ----------------------------------------------------------------------------


def test_explain_and_profile(tmp_path: Path) -> None:
    net = rl.models.resnet20().eval()
    compiled, x = rl.compile(net), rl.randn(1, 3, 32, 32)
    with rl.no_grad():
        compiled(x)
        table = compiled.explain()
        prof = compiled.profile(x)
    text = repr(table)
    assert "conv2d + batchnorm + add + relu" in text
    assert "layer1.0.conv2" in text
    assert "GFLOP/s" in text
    assert "<td>" in table._repr_html_()
    assert sum(row.multiply_adds for row in table.rows) == table.rows[0].multiply_adds + sum(
        row.multiply_adds for row in table.rows[1:]
    )
    assert all(row.seconds is not None and row.seconds > 0 for row in table.rows)
    assert len(prof.events) == len(table.rows)
    prof.export_chrome_trace(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert {each["ph"] for each in events} == {"X"}
    assert len(events) == len(prof.events)
    with pytest.raises(RuntimeError, match="under no_grad"):
        compiled.profile(x)


def test_profile_of_eager_code() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    with rl.profile() as prof:
        net(rl.ones(2, 3)).sum().backward()
    names = [event.name for event in prof.events]
    assert names[:3] == ["Addmm", "Relu", "Sum"]
    assert "AddmmBackward0" in names
    assert "Addmm" in repr(prof)
    count = len(prof.events)
    net(rl.ones(2, 3))
    assert len(prof.events) == count


def test_profile_of_a_compiled_net() -> None:
    compiled, x = rl.compile(nn.Sequential(nn.Linear(3, 4), nn.ReLU()).eval()), rl.ones(2, 3)
    with rl.no_grad(), rl.profile() as prof:
        for _ in range(2):
            compiled(x).sum()
    assert [event.name for event in prof.events] == ["Compiled", "Sum"] * 2
    assert prof.events[0].details == {"shapes": "[2, 3]"}
