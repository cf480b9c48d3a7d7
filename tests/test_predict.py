"""``rushlight predict``: PyTorch's classes for the same weights and images."""

import re

import numpy as np
import pytest

import rushlight as rl
from ported_models import ported_models
from rushlight import cli, models, nn

Image = pytest.importorskip("PIL.Image")


def photograph(width=301, height=420, seed=0):
    """Return what looks like a photograph to a net: soft shapes, an edge, light and noise."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    channels = []
    for _ in range(3):
        values = 0.3 + 0.4 * y
        for cx, cy, size, light in random.uniform([0, 0, 0.02, -0.6], [1, 1, 0.2, 0.8], (6, 4)):
            values += light * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / size)
        values[x + 0.3 * y > random.uniform(0.3, 0.6)] *= 0.6
        channels.append(values + random.normal(0, 0.02, values.shape))
    pixels = np.stack(channels, -1).clip(0, 1) * 255
    return Image.fromarray(pixels.round().astype(np.uint8))


def save_weights(model, folder, name="weights.safetensors"):
    """Save weights with which probabilities are far apart, as those of a trained net are."""
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    with rl.no_grad():
        layers[-1].weight.mul_(20)
    rl.save(model.state_dict(), folder / name)
    return folder / name


@pytest.fixture
def weights(tmp_path):
    rl.manual_seed(3)
    return save_weights(models.resnet18(num_classes=40), tmp_path)


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "photograph.png"
    photograph().save(path)
    return path


def predict(capsys, *arguments):
    status = cli.main(["predict", *map(str, arguments)])
    out, err = capsys.readouterr()
    return status, out, err


def rows(out):
    return [
        (float(percent), int(index))
        for percent, index in re.findall(r"^ +(\d+\.\d{4})%  +(\d+)", out, re.M)
    ]


def test_the_top_five_are_those_of_pytorch(weights, picture, capsys, tmp_path):
    torch = pytest.importorskip("torch")
    status, out, err = predict(capsys, "--model", "resnet18", "--weights", weights, picture)
    assert (status, err) == (0, "")
    net = ported_models(tmp_path).resnet18(num_classes=40)
    state = {key: torch.tensor(value.numpy()) for key, value in rl.load(weights).items()}
    net.load_state_dict(state)
    # The steps as torchvision's transforms do them, written out.
    image = Image.open(picture).resize((256, int(256 * 420 / 301)), Image.Resampling.BILINEAR)
    left, top = round((image.width - 224) / 2), round((image.height - 224) / 2)
    image = image.crop((left, top, left + 224, top + 224))
    values = torch.tensor(np.asarray(image)).permute(2, 0, 1).float() / 255
    mean, std = (
        torch.tensor(each)[:, None, None] for each in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    )
    with torch.no_grad():
        expected = net.eval()((values - mean)[None] / std).softmax(1)[0].topk(5)
    found = rows(out)
    assert [index for _, index in found] == expected.indices.tolist()
    np.testing.assert_allclose(
        [percent for percent, _ in found], 100 * expected.values.numpy(), atol=1e-3
    )
    assert expected.values[0] > 2 * expected.values[4]


def test_what_is_printed(weights, picture, capsys, tmp_path):
    other = tmp_path / "other.jpg"
    photograph(640, 400, 1).save(other, quality=95)
    labels = tmp_path / "names.txt"
    labels.write_text("".join(f"name of {number}\n" for number in range(40)))
    common = ("--model", "resnet18", "--weights", weights, "--labels", labels, "--top", 3)
    status, out, err = predict(capsys, *common, picture, other)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == (
        "preprocessing: RGB, shorter side to 256 (bilinear, antialiased), centre 224x224, 0 to 1, "
        "minus 0.485, 0.456, 0.406, divided by 0.229, 0.224, 0.225"
    )
    assert [lines[1], lines[5]] == [str(picture), str(other)]
    assert len(lines) == 9
    for line in lines[2:5] + lines[6:9]:
        percent, index, name = re.fullmatch(r" {2,4}([\d.]+)%  +(\d+)  (.*)", line).groups()
        assert name == f"name of {index}"
        assert 0 < float(percent) < 100
    # Each image by itself gives the same.
    assert predict(capsys, *common, other)[1].splitlines()[2:] == lines[6:]


@pytest.mark.parametrize("name", ["mnist_net", "resnet20", "mlp"])
def test_nets_for_small_images(name, picture, capsys, tmp_path):
    path = save_weights(models.get_model(name), tmp_path)
    status, out, _ = predict(capsys, "--model", name, "--weights", path, "--top", 99, picture)
    assert status == 0
    assert out.startswith("preprocessing: " + ("RGB" if name == "resnet20" else "grey"))
    assert sorted(index for _, index in rows(out)) == list(range(10))
    assert sum(percent for percent, _ in rows(out)) == pytest.approx(100, abs=1e-3)


def test_weights_of_a_parallel_net(weights, picture, capsys, tmp_path):
    state = {f"module.{name}": value for name, value in rl.load(weights).items()}
    rl.save(state, tmp_path / "parallel.safetensors")
    options = ("--model", "resnet18", "--resize", 64, "--crop", 64)
    first = predict(capsys, *options, "--weights", weights, picture)
    assert first[0] == 0
    assert "centre 64x64" in first[1]
    assert (
        predict(capsys, *options, "--weights", tmp_path / "parallel.safetensors", picture) == first
    )


def test_photographs_are_turned_as_the_camera_noted(weights, picture, capsys, tmp_path):
    image = Image.open(picture)
    exif = image.getexif()
    exif[0x0112] = 6  # must be turned by 90 degrees clockwise
    image.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    options = ("--model", "resnet18", "--weights", weights)
    upright = predict(capsys, *options, picture)[1].splitlines()
    turned = predict(capsys, *options, tmp_path / "turned.png")[1].splitlines()
    assert upright[2:] == turned[2:]


def test_wrong_uses(weights, picture, capsys, tmp_path):
    text, short = tmp_path / "text.png", tmp_path / "short.txt"
    text.write_text("no image")
    short.write_text("one\ntwo\n")
    cut = tmp_path / "cut.png"
    cut.write_bytes(picture.read_bytes()[:3000])
    common = ("--model", "resnet18", "--weights", weights)
    for arguments, message in [
        ((*common, tmp_path / "none.png"), "none.png: No such file or directory"),
        ((*common, text), "text.png: is no image that Pillow knows"),
        ((*common, cut), "cut.png: "),
        ((*common, tmp_path), "Is a directory"),
        ((*common, "--labels", short, picture), "short.txt: has 2 lines, but the net has 40"),
        ((*common, "--labels", picture, picture), "photograph.png: is no UTF-8 text"),
        ((*common, "--crop", 300, "--resize", 200, picture), "--crop: 300 is more than"),
        (("--model", "resnet", *common[2:], picture), "--model: unknown model 'resnet'; there are"),
        (("--model", "resnet50", *common[2:], picture), "weights.safetensors: Error(s) in loading"),
        ((*common[:3], tmp_path / "none.pth", picture), "none.pth: No such file or directory"),
        ((*common[:3], picture, picture), "photograph.png: "),
    ]:
        status, out, err = predict(capsys, *arguments)
        assert status == 2, arguments
        assert err.startswith("rushlight: error: ")
        assert message in err
        assert err.count("\n") == 1
        assert len(err) < 800
    assert "unknown" not in out


def test_without_pillow(weights, picture, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "PIL.Image", None)
    status, out, err = predict(capsys, "--model", "resnet18", "--weights", weights, picture)
    assert (status, out) == (2, "")
    assert 'needs Pillow: pip install "rushlight[images]"' in err
