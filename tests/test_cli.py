"""The command line as a user meets it: in a process of its own, or through ``main``."""

import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import rushlight as rl
from rushlight import cli, train
from rushlight.serialization import load
from test_data import mnist


def start(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "rushlight", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def rushlight(*arguments, **options):
    process = start(*arguments, **options)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


@pytest.fixture(autouse=True)
def _threads_as_before():
    before = rl.get_num_threads()
    yield
    rl.set_num_threads(before)


# -- training -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The default run with one thread: its folder, output and seconds."""
    folder = tmp_path_factory.mktemp("trained")
    began = time.monotonic()
    status, out, err = rushlight("train", "--threads", 1, cwd=folder)
    assert (status, err) == (0, "")
    return folder / "rushlight-digits.safetensors", out, time.monotonic() - began


def test_the_default_run_learns_the_digits(trained):
    path, out, _ = trained
    right, total = map(int, re.search(r"\((\d+) of (\d+)\)", out).groups())
    assert total == 355
    assert right / total >= 0.985
    assert re.search(r"^DigitNet\(\n  \(features\): Sequential\(\n    \(0\): Conv2d\(1, 32", out)
    assert "21,482 parameters" in out
    assert (
        len(re.findall(r"^epoch +\d+/16  loss \d\.\d{4}  accuracy +\d+\.\d\d%$", out, re.M)) == 16
    )
    assert f"saved {path.name} ({path.stat().st_size:,} bytes)" in out
    assert re.search(r"^\d+\.\d s$", out, re.M)
    assert "\x1b" not in out


def test_the_saved_weights_are_the_models(trained):
    path, out, _ = trained
    model = train.DigitNet(8, 8, 10)
    model.load_state_dict(load(path))
    right = train.count_right(model, rl.data.digits("test"))
    assert f"({right} of 355)" in out


def test_two_threads_give_the_same_bytes(trained, tmp_path):
    path, out, _ = trained
    status, again, _ = rushlight("train", "--threads", 2, "--out", tmp_path / "two")
    assert status == 0
    assert (tmp_path / "two").read_bytes() == path.read_bytes()
    assert re.findall("^epoch.*", again, re.M) == re.findall("^epoch.*", out, re.M)


def test_the_seed_counts(capsys, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        out = str(tmp_path / name)
        assert cli.main(["train", "--epochs", "1", "--seed", str(seed), "--out", out]) == 0
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b != c
    assert capsys.readouterr().out.count("the same") == 3


def test_a_folder_of_idx_files(capsys, tmp_path):
    mnist(tmp_path, count=20, packed=True)
    out = str(tmp_path / "weights")
    assert cli.main(["train", "--data", str(tmp_path), "--batch-size", "7", "--out", out]) == 0
    text = capsys.readouterr().out
    assert "20 images of 28x28 pixels, 20 held out" in text
    assert "epoch 3/3" in text
    assert load(out)["classifier.weight"].shape == (10, 64 * 7 * 7)


def test_the_bar_of_a_terminal(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    assert cli.main(["train", "--epochs", "2", "--out", str(tmp_path / "weights")]) == 0
    out = capsys.readouterr().out
    assert "━" in out
    assert "epoch 2/2  loss" in out


# -- Ctrl-C ---------------------------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_ctrl_c_leaves_a_usable_checkpoint(tmp_path):
    path = tmp_path / "weights"
    process = start("train", "--epochs", 300, "--out", path)
    for line in process.stdout:
        if re.match(r"epoch .* accuracy +[89]\d\.", line):
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == ""
    assert re.search(rf"interrupted in epoch \d+ of 300; .* {re.escape(str(path))}", out)
    model = train.DigitNet(8, 8, 10)
    model.load_state_dict(load(path))
    assert train.count_right(model, rl.data.digits("test")) > 100
    assert os.listdir(tmp_path) == ["weights"]


def test_ctrl_c_elsewhere_is_one_line(monkeypatch, capsys):
    def interrupt(settings):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.train, "run", interrupt)
    assert cli.main(["train"]) == 130
    assert capsys.readouterr() == ("", "rushlight: interrupted\n")


# -- wrong use ------------------------------------------------------------------------------


def one_line(text):
    assert text.endswith("\n")
    assert text.count("\n") == 1
    return text


def assert_refused(capsys, message, *arguments):
    try:
        status = cli.main(list(arguments))
    except SystemExit as exit:
        status = exit.code
    captured = capsys.readouterr()
    assert status == 2
    assert captured.out == ""
    assert re.search(message, one_line(captured.err))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: COMMAND"),
        (["fly"], "invalid choice: 'fly'"),
        (["train", "--epochs", "0"], "--epochs: expected a whole number of at least 1.*'0'"),
        (["train", "--epochs", "x"], "--epochs: expected a whole number"),
        (["train", "--lr", "nan"], "--lr: expected a number greater than 0, but got 'nan'"),
        (["train", "--lr", "-1"], "--lr: expected a number greater than 0"),
        (["train", "--lr", "fast"], "--lr: expected a number greater than 0"),
        (["train", "--batch-size", "0"], "--batch-size: expected"),
        (["train", "--seed", "-1"], "--seed: expected"),
        (["train", "--seed", str(2**63)], "--seed: expected"),
        (["train", "--threads", "0"], "--threads: expected"),
        (["train", "--threads", "2000"], "--threads: expected at most 1024"),
        (["train", "--data", "/nowhere/at all"], "/nowhere/at all: no such folder"),
        (["train", "--out", "/nowhere/weights"], "/nowhere/weights: No such file or directory"),
        (["train", "--out", "."], "is not a file"),
        (["train", "--out", os.devnull], "is not a file"),
    ],
)
def test_wrong_use_is_one_line(capsys, arguments, message, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert_refused(capsys, message, *arguments)
    assert os.listdir(tmp_path) == []


def test_damaged_folders_are_one_line(capsys, tmp_path):
    arguments = ["train", "--out", str(tmp_path / "weights"), "--data", str(tmp_path)]
    assert_refused(capsys, "expected a file train-images-idx3-ubyte", *arguments)
    mnist(tmp_path, side=3)
    assert_refused(capsys, "images of at least 4x4", *arguments)
    mnist(tmp_path, side=4)
    mnist(tmp_path, parts=["train"], side=5)
    assert_refused(capsys, "training images are .5, 5., test images .4, 4.", *arguments)
    mnist(tmp_path, count=0)
    assert_refused(capsys, "no images in it", *arguments)
    mnist(tmp_path)
    images = tmp_path / "t10k-images-idx3-ubyte"
    images.write_bytes(images.read_bytes()[:-1])
    assert_refused(capsys, "t10k-images-idx3-ubyte: truncated", *arguments)
    assert not (tmp_path / "weights").exists()


def test_a_full_disk_is_one_line(capsys, monkeypatch, tmp_path):
    def full(state, path):
        raise OSError(28, "No space left on device", path)

    monkeypatch.setattr(cli.train, "save", full)
    arguments = ["train", "--epochs", "1", "--out", str(tmp_path / "weights")]
    assert cli.main(arguments) == 2
    assert re.search("weights: No space left", one_line(capsys.readouterr().err))


def test_without_rich_one_line_says_what_to_install(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert_refused(capsys, r'pip install "rushlight\[cli\]"', "train")


# -- the rest -------------------------------------------------------------------------------


def test_help_shows_an_example(capsys):
    for arguments in (["--help"], ["train", "--help"]):
        with pytest.raises(SystemExit) as exit:
            cli.main(arguments)
        assert exit.value.code == 0
        assert "rushlight train --epochs 20" in capsys.readouterr().out


def test_info_and_version(capsys):
    assert cli.main(["info"]) == 0
    out = capsys.readouterr().out
    assert rl.__version__ in out
    assert "instruction set" in out
    assert "threads" in out
    with pytest.raises(SystemExit) as exit:
        cli.main(["--version"])
    assert exit.value.code == 0
    assert capsys.readouterr().out == f"rushlight {rl.__version__}\n"


def test_the_module_runs_like_the_command():
    status, out, _ = rushlight("--version")
    assert (status, out) == (0, f"rushlight {rl.__version__}\n")


@pytest.mark.parametrize("sides", [(4, 4), (8, 8), (9, 15), (28, 28)])
def test_the_net_takes_images_of_other_sizes(sides):
    rl.manual_seed(0)
    model = train.DigitNet(*sides, 3)
    assert model(rl.rand(2, 1, *sides)).shape == (2, 3)


def test_the_learning_rate_rises_and_falls_to_nothing():
    rates = [train.SCHEDULES["cosine"](step, 100) for step in range(100)]
    assert np.argmax(rates) == 9
    assert 0 < rates[0] < 0.11
    assert rates[99] < 0.001
    assert train.SCHEDULES["cosine"](0, 1) == 1
