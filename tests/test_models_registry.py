"""Models by name, weights from files, and the blocks that nets share."""

import re

import numpy as np
import pytest

import rushlight as rl
from rushlight import models, nn
from rushlight.models.blocks import StochasticDepth, make_divisible

# -- names ------------------------------------------------------------------------------------


def test_models_are_found_by_name():
    assert models.list_models("resnet1*") == ["resnet101", "resnet110", "resnet152", "resnet18"]
    assert models.list_models("vgg1[13]*", "*_bn") == ["vgg11", "vgg13"]
    assert models.get_model_builder("resnet20") is models.resnet20
    assert models.get_model("mlp", num_classes=3)[-1].out_features == 3


def test_an_unknown_name_is_an_error_that_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown model 'resnet19'; there are: alexnet, .*vgg19"):
        models.get_model("resnet19")


def test_a_name_is_taken_once():
    def resnet18(**options):
        return models.resnet18(**options)

    with pytest.raises(ValueError, match="there is a model 'resnet18' already"):
        models.register_model(resnet18)


# -- weights from files -----------------------------------------------------------------------


def state_of(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_same(model, state):
    own = model.state_dict()
    assert list(own) == list(state)
    assert all(rl.equal(own[name], state[name]) for name in state)


def save(state, folder):
    path = folder / "weights.safetensors"
    rl.save(state, path)
    return path


@pytest.mark.parametrize("name", ["mnist_net", "resnet20", "shufflenet_v2_x0_5"])
def test_weights_come_from_a_file(name, tmp_path):
    state = state_of(models.get_model(name))
    assert_same(models.get_model(name, weights=save(state, tmp_path)), state)


def test_no_initial_values_are_drawn_when_there_are_weights(tmp_path):
    path = save(models.mlp().state_dict(), tmp_path)
    rl.manual_seed(3)
    expected = rl.rand(1)
    rl.manual_seed(3)
    models.mlp(weights=path)
    assert rl.equal(rl.rand(1), expected)


def test_wrong_weights_are_an_error(tmp_path):
    path = save(models.mlp(num_classes=3).state_dict(), tmp_path)
    with pytest.raises(RuntimeError, match=r"size mismatch for 5\.weight"):
        models.mlp(weights=path)
    with pytest.raises(FileNotFoundError):
        models.mlp(weights=tmp_path / "IMAGENET1K_V1")


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
@pytest.mark.parametrize("key", [None, "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_state_dicts_as_training_scripts_save_them(name, key, prefix, tmp_path):
    state = state_of(models.mlp())
    saved = {f"{prefix}{name}": value for name, value in state.items()}
    if name.endswith(".safetensors") and key:
        pytest.skip("safetensors files are flat")
    rl.save(saved if key is None else {key: saved, "epoch": 3}, tmp_path / name)
    assert_same(models.mlp(weights=tmp_path / name), state)


@pytest.mark.parametrize("value", [{"epoch": 3}, {}, [1, 2], {"state_dict": {}}])
def test_files_without_a_state_dict(value, tmp_path):
    path = tmp_path / "weights.pt"
    rl.save(value, path)
    with pytest.raises(ValueError, match=r"weights\.pt: holds no state dict"):
        models.mlp(weights=path)


@pytest.mark.parametrize("legacy", [False, True])
def test_weights_that_pytorch_saved(legacy, tmp_path):
    torch = pytest.importorskip("torch")
    model = models.squeezenet1_1()
    state = {key: torch.tensor(value.numpy()) for key, value in model.state_dict().items()}
    path = tmp_path / "weights.pth"
    torch.save(state, path, _use_new_zipfile_serialization=not legacy)
    assert_same(models.squeezenet1_1(weights=path), model.state_dict())


def test_googlenet_leaves_auxiliary_classifiers_out(tmp_path):
    whole = models.googlenet(init_weights=False)
    state = state_of(whole)
    path = save(state, tmp_path)
    model = models.googlenet(weights=path)
    assert (model.transform_input, model.aux1, model.aux2) == (True, None, None)
    assert_same(model, {k: v for k, v in state.items() if not k.startswith("aux")})
    again = models.googlenet(weights=path, aux_logits=True, transform_input=False)
    assert not again.transform_input
    assert_same(again, state)
    x = rl.rand(1, 3, 64, 64)
    assert rl.equal(again.eval()(x), whole.eval()(x))
    assert isinstance(whole.train()(rl.rand(2, 3, 64, 64)), models.GoogLeNetOutputs)


def test_densenet_understands_its_old_names():
    model = models.DenseNet(growth_rate=8, block_config=(2, 2), num_init_features=8, num_classes=3)
    state = state_of(model)
    old = {re.sub(r"(norm|conv)([12]\.)", r"\1.\2", name): state[name] for name in state}
    assert sum("conv.1.weight" in name for name in old) == 4
    other = nn.ModuleDict({"net": models.DenseNet(8, (2, 2), 8, num_classes=3)})
    other.load_state_dict({f"net.{name}": value for name, value in old.items()})
    assert_same(other["net"], state)


@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_resnet20_understands_akamasters_names(shortcut):
    model = models.resnet20(shortcut=shortcut)
    state = state_of(model)
    old = {
        name.replace("fc.", "linear.").replace("downsample", "shortcut"): value
        for name, value in state.items()
    }
    assert any("shortcut" in name for name in old) == (shortcut == "B")
    other = models.resnet20(shortcut=shortcut)
    other.load_state_dict(old)
    assert_same(other, state)


def test_option_a_pads_every_second_pixel_with_channels_of_zeros():
    shortcut = models.resnet20().layer2[0].downsample
    x = rl.rand(2, 16, 6, 6)
    out = shortcut(x)
    assert out.shape == (2, 32, 3, 3)
    assert rl.equal(out[:, 8:24], x[:, :, ::2, ::2])
    assert not out[:, :8].any()
    assert not out[:, 24:].any()


def test_mnasnet_takes_the_shape_of_weights_of_version_1():
    model, old = models.mnasnet0_5(), models.mnasnet0_5()
    state = old.state_dict()
    shapes = {"layers.0": (32, 3, 3, 3), "layers.3": (32, 1, 3, 3), "layers.6": (16, 32, 1, 1)}
    for name, shape in shapes.items():
        state[f"{name}.weight"] = rl.rand(shape)
        norm = f"layers.{int(name[-1]) + 1}"
        for part in ("weight", "bias", "running_mean", "running_var"):
            state[f"{norm}.{part}"] = rl.rand(shape[0])
    first = "layers.8.0.layers"
    state[f"{first}.0.weight"] = rl.rand(48, 16, 1, 1)
    state[f"{first}.3.weight"] = rl.rand(48, 1, 3, 3)
    state[f"{first}.6.weight"] = rl.rand(16, 48, 1, 1)
    for index in (1, 4):
        for part in ("weight", "bias", "running_mean", "running_var"):
            state[f"{first}.{index}.{part}"] = rl.rand(48)
    state._metadata[""]["version"] = 1
    model.load_state_dict(state)
    assert_same(model, state)
    assert model.state_dict()._metadata[""]["version"] == 1
    assert model.eval()(rl.rand(1, 3, 32, 32)).shape == (1, 1000)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "squeezenet1_1"])
def test_weights_saved_before_batch_norms_counted(name):
    """As in torchvision's files of 2017: no ``num_batches_tracked``, no version."""
    model = models.get_model(name)
    state = {k: v for k, v in state_of(model).items() if "num_batches_tracked" not in k}
    other = models.get_model(name)
    other.load_state_dict(state)
    assert_same(other, model.state_dict())


# -- bad arguments ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: models.resnet18(groups=2), "BasicBlock: needs groups=1.*got groups=2"),
        (lambda: models.resnet50(replace_stride_with_dilation=[True]), "3 elements of replace_str"),
        (lambda: models.ResNet(models.BasicBlock, [1, 1]), "needs 4 layers"),
        (lambda: models.resnet20(shortcut="C"), "shortcut must be 'A' or 'B', but got 'C'"),
        (lambda: models.mnist_net(size=5), "size must be at least 6 pixels, but got 5"),
        (lambda: models.SqueezeNet("2_0"), "version must be '1_0' or '1_1', but got '2_0'"),
        (lambda: models.MobileNetV2(inverted_residual_setting=[(1, 2)]), "stages of 4 numbers"),
        (lambda: models.MobileNetV3([], 8), "inverted_residual_setting must not be empty"),
        (lambda: models.EfficientNet([], 0.1), "inverted_residual_setting must not be empty"),
        (lambda: models.ShuffleNetV2([1], [8]), "3 stages_repeats and 5 stages_out_channels"),
        (lambda: models.MNASNet(0), "alpha must be greater than 0"),
        (lambda: models.densenet121(memory_efficient=True), "memory_efficient=True is not supp"),
        (lambda: StochasticDepth(1.5, "row"), "p must be between 0 and 1, but got 1.5"),
        (lambda: StochasticDepth(0.5, "rows"), "mode must be 'row' or 'batch', but got 'rows'"),
    ],
)
def test_bad_arguments(build, message):
    with nn.init.skipped(), pytest.raises(ValueError, match=message):
        build()


# -- blocks -----------------------------------------------------------------------------------


def test_make_divisible():
    assert [make_divisible(value) for value in (1, 11, 12, 19, 100.5, 44)] == [
        8,
        16,
        16,
        24,
        104,
        48,
    ]
    assert make_divisible(10, 4, 16) == 16


@pytest.mark.parametrize("mode", ["row", "batch"])
def test_stochastic_depth(mode):
    layer = StochasticDepth(0.25, mode)
    x = rl.ones(2000, 1, 2, 2)
    kept = np.stack([layer(x[:2]).numpy() for _ in range(1000)])
    assert set(np.unique(kept)) == {0, np.float32(4 / 3)}
    assert abs(kept.mean() - 1) < 0.1
    assert (kept == kept[..., :1, :1]).all()
    assert (kept[:, 0] == kept[:, 1]).all() == (mode == "batch")
    assert rl.equal(layer.eval()(x), x)
    assert not StochasticDepth(1.0, mode)(x).any()
    assert repr(layer) == f"StochasticDepth(p=0.25, mode={mode})"


# -- no initial values ------------------------------------------------------------------------


def test_skip_init_draws_nothing():
    rl.manual_seed(5)
    expected = rl.rand(1)
    rl.manual_seed(5)
    layer = nn.utils.skip_init(nn.Linear, 3, out_features=2)
    assert layer.weight.shape == (2, 3)
    assert rl.equal(rl.rand(1), expected)
    before = layer.weight.clone()
    layer.reset_parameters()
    assert not rl.equal(layer.weight, before)


def test_skip_init_wants_a_module():
    with pytest.raises(TypeError, match="expected a subclass of Module, but got <class 'int'>"):
        nn.utils.skip_init(int)


def test_fills_of_a_tensor_given_by_name_are_skipped_too():
    tensor = rl.full((2, 2), 7.0)
    with nn.init.skipped():
        assert nn.init.eye_(tensor=tensor) is tensor
        assert nn.init.trunc_normal_(tensor) is tensor
    assert rl.equal(tensor, rl.full((2, 2), 7.0))
