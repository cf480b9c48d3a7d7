"""The nets of ``rushlight.models``: names, sizes, and PyTorch's numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import rushlight as rl
from ported_models import ported_models
from rushlight import models, nn
from write_models_json import fingerprint

STORED = json.loads((Path(__file__).parent / "models.json").read_text())

# As published: torchvision's tables, and He et al. for CIFAR (0.27, 0.46, 0.66, 0.85, 1.7 million).
PARAMETERS = {
    "lenet": 1_199_882,
    "mlp": 235_146,
    "mnist_net": 1_199_882,
    "resnet101": 44_549_160,
    "resnet110": 1_727_962,
    "resnet152": 60_192_808,
    "resnet18": 11_689_512,
    "resnet20": 269_722,
    "resnet32": 464_154,
    "resnet34": 21_797_672,
    "resnet44": 658_586,
    "resnet50": 25_557_032,
    "resnet56": 853_018,
    "resnext101_32x8d": 88_791_336,
    "resnext50_32x4d": 25_028_904,
    "wide_resnet101_2": 126_886_696,
    "wide_resnet50_2": 68_883_240,
}

# Nets that only repeat what others show are not run.
LARGE = {
    "resnet44",
    "resnet56",
    "resnet110",
    "resnext101_32x8d",
    "wide_resnet50_2",
    "wide_resnet101_2",
}
RUN = sorted(set(PARAMETERS) - LARGE)
# Side of the images in pixels; 64 where nothing is said.
SIDES = {"lenet": 28, "mlp": 28, "mnist_net": 28}
GREY = {"lenet", "mlp", "mnist_net"}


def images(name, count, seed=0):
    side = SIDES.get(name, 64)
    shape = (count, 1 if name in GREY else 3, side, side)
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def settle(model, seed=0):
    """Give batch norms the parameters and statistics of a trained net; no layer is random."""
    random = np.random.default_rng(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                low = -0.5 if tensor is module.bias or tensor is module.running_mean else 0.5
                tensor.data = rl.from_numpy(
                    random.uniform(low, low + 1, tuple(tensor.shape)).astype(np.float32)
                )
        elif isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def ported(torch, tmp_path_factory):
    return ported_models(tmp_path_factory.mktemp("ported"))


def twin(torch, ported, name, model, **options):
    """Return the ported net with the weights of `model`."""
    other = ported.get_model(name, **options)
    state = {key: torch.tensor(value.numpy()) for key, value in model.state_dict().items()}
    other.load_state_dict(state)
    for module in other.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return other


def assert_close(actual, expected, tolerance):
    actual, expected = actual.detach().numpy(), expected.detach().numpy()
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max() <= tolerance * np.abs(expected).max()


# -- names and sizes --------------------------------------------------------------------------


def test_every_model_is_listed():
    assert models.list_models() == sorted(PARAMETERS) == sorted(STORED)


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_names_and_sizes(name):
    model = models.get_model(name)
    assert sum(each.numel() for each in model.parameters()) == PARAMETERS[name]
    assert fingerprint(model) == tuple(STORED[name])


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_names_and_sizes_are_those_of_torchvision(name):
    torchvision = pytest.importorskip("torchvision", exc_type=ImportError)
    if name not in torchvision.models.list_models():
        pytest.skip("torchvision has no such model")
    assert fingerprint(torchvision.models.get_model(name)) == tuple(STORED[name])


# -- values -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RUN)
def test_outputs_are_those_of_the_same_file_under_pytorch(name, torch, ported):
    model = settle(models.get_model(name)).eval()
    other = twin(torch, ported, name, model).eval()
    x = images(name, 2)
    with rl.no_grad(), torch.no_grad():
        assert_close(model(rl.tensor(x)), other(torch.tensor(x)), 1e-4)
    # Training in float64: batch norms of few values blow float32's rounding up in deep nets.
    model.double().train()
    other.double().train()
    x = images(name, 4, 1).astype(np.float64)
    with rl.no_grad(), torch.no_grad():
        assert_close(model(rl.tensor(x)), other(torch.tensor(x)), 1e-9)
    state = other.state_dict()
    for key, value in model.state_dict().items():
        assert_close(value, state[key], 1e-9)
