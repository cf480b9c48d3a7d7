"""Instance normalisation layers, beside PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import rushlight as rl
from rushlight import nn


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("tracks", [False, True])
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("InstanceNorm2d", (2, 3, 4, 5)), ("InstanceNorm2d", (3, 4, 5)),
        ("InstanceNorm1d", (2, 3, 7)), ("InstanceNorm1d", (3, 7)),
    ],
)  # fmt: skip
def test_like_pytorch(name: str, shape: tuple[int, ...], tracks: bool, affine: bool) -> None:
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32) + 2
    results = []
    for engine in (rl, torch):
        layer = getattr(engine.nn, name)(3, affine=affine, track_running_stats=tracks)
        leaf = engine.tensor(x, requires_grad=True)
        trained = layer(leaf)
        (trained * trained).sum().backward()
        with engine.no_grad():
            evaluated = layer.eval()(leaf)
        state = {key: value.numpy() for key, value in layer.state_dict().items()}
        arrays = [trained.detach().numpy(), evaluated.numpy(), leaf.grad.numpy()]
        results.append((arrays, state, repr(layer)))
    (ours, our_state, our_text), (theirs, their_state, their_text) = results
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-4)
    assert list(our_state) == list(their_state)
    for key, value in our_state.items():
        np.testing.assert_allclose(value, their_state[key], rtol=1e-5, atol=1e-6)
    assert our_text == their_text


def test_refusals() -> None:
    with pytest.raises(ValueError, match="expected 3D or 4D input"):
        nn.InstanceNorm2d(3)(rl.zeros(2, 3))
    with pytest.raises(ValueError, match="to match num_features"):
        nn.InstanceNorm2d(3, affine=True)(rl.zeros(2, 4, 5, 5))
