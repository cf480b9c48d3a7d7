"""``rushlight.summary``: counts, shapes, the table, the tree, and a model left as it was."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

import rushlight
from rushlight import nn


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.relu = nn.ReLU()

    def forward(self, x: Any) -> Any:
        return self.relu(x + self.relu(self.conv(x)))


def _model() -> nn.Sequential:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), Block(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, 10),
    )  # fmt: skip
    model[0].requires_grad_(False)
    return model


def test_counts() -> None:
    found = rushlight.summary(_model(), (2, 3, 10, 12))
    rows = {row.path: row for row in found.rows}
    assert list(rows) == ["", "0", "1", "2", "2.conv", "2.relu", "3", "4", "5"]
    assert rows["0"].output == "[2, 8, 8, 10]"
    assert (rows["0"].parameters, rows["0"].trainable) == (3 * 8 * 9 + 8, 0)
    assert rows["0"].multiply_adds == 2 * 8 * 8 * 10 * 27
    assert rows["5"].multiply_adds == 2 * 10 * 8
    assert rows["2.relu"].calls == 2
    assert rows["2"].multiply_adds == 0  # its convolution has a row of its own
    assert found.total_parameters == sum(p.numel() for p in _model().parameters())
    assert found.total_parameters - found.trainable_parameters == 224
    assert found.multiply_adds == sum(row.multiply_adds for row in found.rows)
    assert found.input_bytes == 4 * 2 * 3 * 10 * 12


def test_other_convolutions_and_lazy_layers() -> None:
    transposed = nn.ConvTranspose2d(3, 5, 2, stride=2)
    assert rushlight.summary(transposed, (2, 3, 4, 4)).multiply_adds == 2 * 3 * 4 * 4 * 5 * 4
    assert rushlight.summary(nn.Conv1d(3, 5, 3), (1, 3, 9)).multiply_adds == 5 * 7 * 9
    lazy = nn.Sequential(nn.LazyLinear(4), nn.ReLU())
    assert rushlight.summary(lazy).total_parameters == 0
    assert rushlight.summary(lazy, (2, 3)).total_parameters == 16


def test_shared_parameters_count_once() -> None:
    layer = nn.Linear(4, 4)
    tied = nn.Linear(4, 4)
    tied.weight = layer.weight
    found = rushlight.summary(nn.Sequential(layer, tied, layer), (1, 4))
    assert found.total_parameters == 16 + 4 + 4
    assert [row.calls for row in found.rows] == [1, 2, 1]


def test_the_model_is_left_as_it_was() -> None:
    model = _model()
    model[1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random = rushlight.get_rng_state()
    rushlight.summary(model, (1, 3, 8, 8))
    assert [module.training for module in model.modules()].count(False) == 1
    assert not model[1].training
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name].numpy())
    assert rushlight.equal(random, rushlight.get_rng_state())
    assert not any(module._forward_hooks for module in model.modules())


def test_hooks_and_modes_go_back_after_an_error() -> None:
    model = _model()
    with pytest.raises(ValueError, match="conv2d"):
        rushlight.summary(model, (1, 4, 8, 8))
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())


def test_table() -> None:
    lines = str(rushlight.summary(_model(), (1, 3, 8, 8))).splitlines()
    assert " ".join(lines[1].split()) == "Path Type Output shape Parameters Multiply-adds Memory"
    assert lines[3].split() == ["(model)", "Sequential", "[1,", "10]"]
    assert any(line.startswith("2.conv") and "576" in line for line in lines)
    assert "Parameters: 906 (682 trainable, 224 frozen)" in lines


def test_without_input_nothing_runs() -> None:
    found = rushlight.summary(_model())
    assert all(row.output is None for row in found.rows)
    assert found.multiply_adds == 0
    assert found.total_parameters == 906


def test_inputs_of_several_kinds() -> None:
    class Two(nn.Module):
        def forward(self, a: Any, b: Any) -> dict[str, Any]:
            return {"sum": a + b, "both": (a, b)}

    by_size = rushlight.summary(Two(), [(2, 3), (2, 3)])
    named = {"a": rushlight.ones(2, 3), "b": rushlight.ones(3)}
    by_name = rushlight.summary(Two(), input_data=named)
    assert by_size.rows[0].output == "[2, 3], [2, 3], [2, 3]"
    assert by_name.rows[0].output == "[2, 3], [2, 3], [3]"
    double = rushlight.summary(nn.Linear(3, 2).double(), (1, 3))
    assert double.input_bytes == 24


def test_bad_arguments() -> None:
    with pytest.raises(TypeError, match="model must be a Module"):
        rushlight.summary([nn.ReLU()])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not both"):
        rushlight.summary(nn.ReLU(), (1,), input_data=rushlight.ones(1))
    with pytest.raises(ValueError, match="negative"):
        rushlight.summary(nn.ReLU(), (-1, 3))


class _Balance(HTMLParser):
    """Checks that tags close in order, and collects the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open.append(tag)
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_html_tree_is_balanced_and_escaped() -> None:
    Evil = type("<script>alert(1)</script>", (nn.ReLU,), {})
    model = nn.ModuleDict({"<b>&": nn.Sequential(Evil(), nn.Sequential(nn.ReLU()))})
    parser = _Balance()
    parser.feed(rushlight.summary(model)._repr_html_())
    parser.close()
    assert parser.open == []
    assert set(parser.seen) == {"div", "details", "summary"}
    assert parser.seen.count("details") == 3
    assert "<b>&" in parser.text
    assert "<script>alert(1)</script>" in parser.text
