"""Type checkers see what modules take and return: ``mypy --strict`` on code as users write it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import rushlight

GOOD = '''
from __future__ import annotations

from typing import Any

import rushlight
from rushlight import Tensor, nn
from rushlight.autograd import Function
from rushlight.nn import functional as F


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.classifier = nn.Linear(16 * 4 * 4, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.features(x), 2)
        return self.classifier(x.flatten(1))


class Scaled(nn.Module):
    """Parameters and buffers are declared as what they are."""

    mean: Tensor
    factor: nn.Parameter

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", rushlight.zeros(width))
        self.factor = nn.Parameter(rushlight.ones(width))
        self.last = nn.ModuleList([nn.Linear(width, width), nn.PReLU()])

    def forward(self, x: Tensor, *, shift: float = 0.0) -> tuple[Tensor, int]:
        x = (x - self.mean) * self.factor + shift
        for layer in self.last:
            x = layer(x)
        return x, x.numel()


class Double(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * 2

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad * 2


net = Net()
optimizer = rushlight.optim.Adam(net.parameters(), lr=1e-2)
for images, labels in rushlight.data.DataLoader(rushlight.data.digits("train"), batch_size=64):
    optimizer.zero_grad()
    loss: Tensor = F.cross_entropy(net(images), labels)
    loss.backward()
    optimizer.step()
rushlight.save(net.state_dict(), "net.safetensors")
scaled, count = Scaled(4)(rushlight.ones(2, 4), shift=1.0)
reveal_type(scaled)
reveal_type(count)
reveal_type(net(rushlight.ones(1, 1, 8, 8)))
doubled: Tensor = Double.apply(rushlight.ones(2))
for name, parameter in net.named_parameters():
    print(name, parameter.grad)
fused = nn.utils.fuse_linear_bn_eval(nn.Linear(2, 2).eval(), nn.BatchNorm1d(2).eval())
print(fused(rushlight.ones(1, 2)).shape, count + 1)
'''

BAD = """
from rushlight import nn

nn.Linear(2, 2)("text")
nn.Linear(2, "2")
nn.ReLU()(inputs=3)
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Return what one run says about both files, by file: (line, kind, text)."""
    pytest.importorskip("mypy")
    folder = tmp_path_factory.mktemp("typing")
    (folder / "good.py").write_text(GOOD)
    (folder / "bad.py").write_text(BAD)
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "good.py", "bad.py"]
    # An editable install is found by its path; mypy finds an ordinary one itself, and refuses its
    # folder here.
    source = Path(rushlight.__file__).resolve().parent.parent
    path = {} if source.name == "site-packages" else {"MYPYPATH": str(source)}
    result = subprocess.run(
        command, cwd=folder, env={**os.environ, **path}, capture_output=True, text=True
    )
    assert result.returncode < 2, result.stdout + result.stderr
    found = re.findall(r"^(\w+)\.py:(\d+): (\w+): (.*)$", result.stdout, re.M)
    return {
        name: [(int(line), kind, text) for file, line, kind, text in found if file == name]
        for name in ("good", "bad")
    }


def test_examples_are_well_typed(report):
    assert [each for each in report["good"] if each[1] == "error"] == []
    assert [text for _, _, text in report["good"]] == [
        'Revealed type is "rushlight.tensor.Tensor"',
        'Revealed type is "int"',
        'Revealed type is "rushlight.tensor.Tensor"',
    ]


def test_wrong_calls_are_errors(report):
    errors = [(line, text) for line, kind, text in report["bad"] if kind == "error"]
    assert sorted({line for line, _ in errors}) == [4, 5, 6]
    assert 'incompatible type "str"; expected "Tensor"' in errors[0][1]
