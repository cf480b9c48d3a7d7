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

# As torchvision publishes them, and He et al. for CIFAR (0.27, 0.46, 0.66, 0.85, 1.7 million).
PARAMETERS = {
    "alexnet": 61_100_840,
    "densenet121": 7_978_856,
    "densenet161": 28_681_000,
    "densenet169": 14_149_480,
    "densenet201": 20_013_928,
    "efficientnet_b0": 5_288_548,
    "efficientnet_b1": 7_794_184,
    "efficientnet_b2": 9_109_994,
    "efficientnet_b3": 12_233_232,
    "efficientnet_b4": 19_341_616,
    "efficientnet_b5": 30_389_784,
    "efficientnet_b6": 43_040_704,
    "efficientnet_b7": 66_347_960,
    "googlenet": 13_004_888,
    "lenet": 1_199_882,
    "mlp": 235_146,
    "mnasnet0_5": 2_218_512,
    "mnasnet0_75": 3_170_208,
    "mnasnet1_0": 4_383_312,
    "mnasnet1_3": 6_282_256,
    "mnist_net": 1_199_882,
    "mobilenet_v2": 3_504_872,
    "mobilenet_v3_large": 5_483_032,
    "mobilenet_v3_small": 2_542_856,
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
    "shufflenet_v2_x0_5": 1_366_792,
    "shufflenet_v2_x1_0": 2_278_604,
    "shufflenet_v2_x1_5": 3_503_624,
    "shufflenet_v2_x2_0": 7_393_996,
    "squeezenet1_0": 1_248_424,
    "squeezenet1_1": 1_235_496,
    "vgg11": 132_863_336,
    "vgg11_bn": 132_868_840,
    "vgg13": 133_047_848,
    "vgg13_bn": 133_053_736,
    "vgg16": 138_357_544,
    "vgg16_bn": 138_365_992,
    "vgg19": 143_667_240,
    "vgg19_bn": 143_678_248,
    "wide_resnet101_2": 126_886_696,
    "wide_resnet50_2": 68_883_240,
}
# Nets that show what the others of their kind repeat, and are small enough to train in float64.
TRAINED = [
    "densenet121",
    "efficientnet_b0",
    "googlenet",
    "mlp",
    "mnasnet1_0",
    "mnist_net",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "mobilenet_v3_small",
    "resnet18",
    "resnet20",
    "resnet50",
    "resnext50_32x4d",
    "shufflenet_v2_x1_0",
    "squeezenet1_0",
    "squeezenet1_1",
]
GREY = ("lenet", "mlp", "mnist_net")


def images(name, count, seed=0, side=64):
    grey = name in GREY
    shape = (count, 1, 28, 28) if grey else (count, 3, side, side)
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def settle(model, seed=0):
    """Give batch norms the parameters and statistics of a trained net; no layer is random."""
    random = np.random.default_rng(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                low = -0.5 if tensor is module.bias or tensor is module.running_mean else 0.5
                values = random.uniform(low, low + 1, tuple(tensor.shape))
                tensor.data = rl.from_numpy(values.astype(np.float32))
        for name in ("p", "stochastic_depth_prob", "drop_rate"):
            if hasattr(module, name):
                setattr(module, name, 0.0)
    return model


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def ported(torch, tmp_path_factory):
    return ported_models(tmp_path_factory.mktemp("ported"))


def twin(torch, ported, name, model, **options):
    """Return the ported net with the weights of `model`."""
    with torch.device("meta"):
        other = ported.get_model(name, **options)
    state = {key: torch.tensor(value.numpy()) for key, value in model.state_dict().items()}
    other.load_state_dict(state, assign=True)
    for mine, theirs in zip(model.modules(), other.modules(), strict=True):
        assert type(mine).__name__ == type(theirs).__name__
        if hasattr(mine, "p"):
            theirs.p = mine.p
    return other


def assert_close(actual, expected, tolerance, what=""):
    actual, expected = actual.detach().numpy(), expected.detach().numpy()
    assert actual.shape == expected.shape, what
    error, most = np.abs(actual - expected).max(initial=0), np.abs(expected).max(initial=0)
    assert error <= tolerance * most, f"{what}: {error} of {most}"


# -- names and sizes --------------------------------------------------------------------------


def test_every_model_is_listed():
    assert models.list_models() == sorted(PARAMETERS) == sorted(STORED)


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_names_and_sizes(name):
    with nn.init.skipped():
        model = models.get_model(name)
    assert sum(each.numel() for each in model.parameters()) == PARAMETERS[name]
    assert fingerprint(model) == tuple(STORED[name])


def test_googlenet_without_auxiliary_classifiers():
    model = nn.utils.skip_init(models.GoogLeNet, aux_logits=False)
    assert sum(each.numel() for each in model.parameters()) == 6_624_904


@pytest.mark.filterwarnings("ignore:The default weight initialization of GoogleNet")
@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_trees_and_initial_values_are_those_of_torchvision(name, torch):
    torchvision = pytest.importorskip("torchvision", exc_type=ImportError)
    if name not in torchvision.models.list_models():
        pytest.skip("torchvision has no such model")
    with torch.device("meta"):
        assert fingerprint(torchvision.models.get_model(name)) == tuple(STORED[name])
    if PARAMETERS[name] > 3e7:
        pytest.skip("large")
    theirs, mine = torchvision.models.get_model(name), models.get_model(name)
    layers = {key: module for key, module in theirs.named_modules() if not list(module.children())}
    for key, module in mine.named_modules():
        if key in layers and list(module.parameters()):
            theirs_shown = str(layers[key]).replace("bias=True, track", "track")
            assert str(module) == theirs_shown
    state = mine.state_dict()
    for key, value in theirs.state_dict().items():
        assert state[key].dtype == getattr(rl, str(value.dtype).removeprefix("torch."))
        if value.dim() > 1:
            # Deviations are those of a sample.
            spread = 6 / value.numel() ** 0.5
            assert abs(state[key].std().item() / value.std().item() - 1) < spread, key
            assert abs(state[key].mean().item()) < spread * value.std().item(), key
            assert state[key].abs().max().item() < 2 * value.abs().max().item(), key
        elif "fc" not in key and "classifier" not in key:  # biases of nn.Linear are random
            assert_close(state[key], value, 0, key)


# -- values -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        name if count < 4e7 else pytest.param(name, marks=pytest.mark.slow)
        for name, count in sorted(PARAMETERS.items())
    ],
)
def test_outputs_are_those_of_the_same_file_under_pytorch(name, torch, ported):
    model = settle(models.get_model(name)).eval()
    other = twin(torch, ported, name, model).eval()
    x = images(name, 2)
    with rl.no_grad(), torch.no_grad():
        assert_close(model(rl.tensor(x)), other(torch.tensor(x)), 1e-4)


@pytest.mark.parametrize("name", TRAINED)
def test_training_is_that_of_the_same_file_under_pytorch(name, torch, ported):
    """In float64: batch norms of few values blow float32's rounding up in deep nets."""
    model = settle(models.get_model(name)).double().train()
    other = twin(torch, ported, name, model).train()
    x = images(name, 4, 1).astype(np.float64)
    results = []
    for lib, net in ((rl, model), (torch, other)):
        outputs = net(lib.tensor(x))
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        sum((each * each).mean() for each in outputs).backward()
        results.append(outputs)
    for mine, theirs in zip(*results, strict=True):
        assert_close(mine, theirs, 1e-9)
    gradients = {key: each.grad for key, each in other.named_parameters()}
    # Some, as that of a bias before a batch norm, are zero but for rounding.
    floor = 1e-9 * max(each.abs().max().item() for each in gradients.values())
    for key, each in model.named_parameters():
        error = np.abs(each.grad.numpy() - gradients[key].numpy()).max()
        assert error <= 1e-6 * gradients[key].abs().max().item() + floor, key
    state = other.state_dict()
    for key, value in model.state_dict().items():
        assert_close(value, state[key], 1e-9, key)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet50", {"replace_stride_with_dilation": [False, True, True]}),
        ("resnet18", {"num_classes": 7, "zero_init_residual": True}),
        ("resnet20", {"shortcut": "B"}),
        ("mobilenet_v2", {"width_mult": 0.35, "round_nearest": 4, "num_classes": 5}),
        ("mobilenet_v3_small", {"width_mult": 0.5, "reduced_tail": True}),
        ("mobilenet_v3_large", {"dilated": True}),
        ("mnist_net", {"size": 9, "in_channels": 3, "num_classes": 2}),
        ("mlp", {"in_features": 12, "hidden_features": [5, 4, 3], "dropout": 0.5}),
        ("googlenet", {"transform_input": True, "aux_logits": False}),
        ("densenet121", {"growth_rate": 8, "block_config": (2, 3), "bn_size": 2, "drop_rate": 0.1}),
        ("efficientnet_b0", {"stochastic_depth_prob": 0.5, "last_channel": 100, "num_classes": 3}),
        ("squeezenet1_1", {"num_classes": 3, "dropout": 0.1}),
    ],
)
def test_options(name, options, torch, ported):
    model = settle(models.get_model(name, **options)).eval()
    other = twin(torch, ported, name, model, **options).eval()
    shape = {"mnist_net": (2, 3, 9, 9), "mlp": (2, 3, 2, 2)}.get(name, (2, 3, 64, 64))
    x = np.random.default_rng(2).standard_normal(shape, dtype=np.float32)
    with rl.no_grad(), torch.no_grad():
        assert_close(model(rl.tensor(x)), other(torch.tensor(x)), 1e-4)


def test_zero_init_residual_makes_blocks_pass_their_input_on():
    for name, last in (("resnet18", "bn2"), ("resnet50", "bn3")):
        model = models.get_model(name, zero_init_residual=True)
        block = model.layer2[1].eval()
        assert not getattr(block, last).weight.any()
        x = rl.rand(1, block.conv1.in_channels, 4, 4)
        assert rl.equal(block(x), x)


def test_random_layers_work_in_training():
    rl.manual_seed(1)
    model = models.efficientnet_b0(stochastic_depth_prob=0.9)
    x = rl.rand(2, 3, 32, 32)
    first, second = model(x), model(x)
    assert not rl.equal(first, second)
    model.eval()
    assert rl.equal(model(x), model(x))
