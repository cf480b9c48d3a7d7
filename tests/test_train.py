"""The training loop: the same bits again, at any thread count, and from a checkpoint."""

from __future__ import annotations

import csv
import re

import numpy as np
import pytest

import rushlight as rl
from rushlight import cli, models, nn, train
from rushlight.data import TensorDataset, digits
from test_data import mnist


def small(count=150):
    return TensorDataset(*(each[:count] for each in digits("train").tensors))


def made(seed=0, epochs=3, schedule="cosine"):
    """Return a training of a net with dropout, batch norm and two convolutions."""
    rl.manual_seed(seed)
    model = nn.Sequential(train.DigitNet(8, 8, 10), nn.Dropout(0.2))
    return train.Training(
        model, small(), epochs=epochs, lr=3e-3, batch_size=32, schedule=schedule
    )  # fmt: skip


def bits(training):
    state = training.model.state_dict()
    return {name: each.numpy().tobytes() for name, each in state.items()}


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_the_same_bits_at_any_thread_count(threads):
    rl.set_num_threads(threads)
    training = made()
    losses = [progress.loss for progress in training]
    rl.set_num_threads(3)
    other = made()
    assert [progress.loss for progress in other] == losses
    assert bits(other) == bits(training)


@pytest.mark.parametrize("at", [0, 1, 4, 5, 7, 14, 15])
@pytest.mark.parametrize("through_file", [False, True])
def test_a_checkpoint_goes_on_to_the_same_bits(at, through_file, tmp_path):
    whole = made()
    expected = list(whole)
    first = made()
    steps = iter(first)
    for _ in range(at):
        next(steps)
    state = first.state_dict()
    if through_file:
        rl.save(state, tmp_path / "state.pt")
        state = rl.load(tmp_path / "state.pt")
    rest = made(seed=7)  # another start, which the state replaces
    rest.load_state_dict(state)
    assert list(rest) == expected[at:]
    assert bits(rest) == bits(whole)
    # the optimizer and the random numbers are where they would have been, too
    steps = list(rest.optimizer.state_dict()["state"].values())
    assert [each["step"].item() for each in steps] == [15.0] * len(steps)


def test_a_state_of_other_settings_is_refused():
    state = made().state_dict()
    with pytest.raises(ValueError, match="has epochs 3, not 4"):
        made(epochs=4).load_state_dict(state)
    with pytest.raises(ValueError, match="has schedule cosine, not linear"):
        made(schedule="linear").load_state_dict(state)


@pytest.mark.parametrize("name", train.SCHEDULES)
def test_schedules_start_at_most_at_one_and_end_lower_or_there(name):
    factor = train.SCHEDULES[name]
    rates = [factor(step, 40) for step in range(40)]
    assert all(0 < rate <= 1 for rate in rates)
    assert rates[39] <= rates[20]
    assert {"cosine": 0.01, "linear": 0.03, "step": 0.011, "constant": 1}[name] >= rates[39]
    training = made(schedule=name)
    seen = [progress.lr for progress in training]
    assert seen == [3e-3 * factor(step, 15) for step in range(15)]


@pytest.mark.parametrize("name", train.PRESETS)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 28, 28)])
def test_presets_take_images(name, shape):
    rl.manual_seed(0)
    net = train.PRESETS[name].make(*shape, 7)
    assert net(rl.rand(2, *shape)).shape == (2, 7)


def test_the_presets_are_the_models():
    assert isinstance(train.PRESETS["lenet"].make(1, 28, 28, 10), models.MnistNet)
    assert isinstance(train.PRESETS["mlp"].make(1, 28, 28, 10), models.MLP)


# -- the command ----------------------------------------------------------------------------


def command(*arguments):
    assert cli.main(["train", *map(str, arguments)]) == 0


def test_resume_from_the_command_line(tmp_path, capsys):
    common = ["--epochs", 3, "--batch-size", 200, "--model", "digits", "--schedule", "linear"]
    command(*common, "--out", tmp_path / "whole", "--log", tmp_path / "whole.csv")
    # The same run, cut off after two epochs.
    stop = train.Training.__iter__

    def two_epochs(self):
        for progress in stop(self):
            yield progress
            if (progress.epoch, progress.batch) == (2, progress.batches):
                return

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train.Training, "__iter__", two_epochs)
        command(*common, "--out", tmp_path / "part", "--checkpoint", tmp_path / "state")
    assert (tmp_path / "part").read_bytes() != (tmp_path / "whole").read_bytes()
    capsys.readouterr()
    command(
        *common, "--seed", 5, "--threads", 2, "--out", tmp_path / "rest",
        "--resume", tmp_path / "state",
    )  # fmt: skip
    assert (tmp_path / "rest").read_bytes() == (tmp_path / "whole").read_bytes()
    assert re.findall(r"^epoch (\d)", capsys.readouterr().out, re.M) == ["3"]


def test_the_log_and_the_plot(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    log, plot = tmp_path / "log.csv", tmp_path / "curve.png"
    command("--epochs", 2, "--batch-size", 300, "--out", tmp_path / "w", "--log", log,
            "--plot", plot)  # fmt: skip
    with open(log, newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert float(rows[1]["loss"]) < float(rows[0]["loss"])
    assert all(float(row["images_per_second"]) > 0 for row in rows)
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert re.search(r"held out +\d+\.\d\d%$", capsys.readouterr().out, re.M)


def test_patience_keeps_the_best_weights(tmp_path, capsys, monkeypatch):
    scores = iter([100, 200, 150, 160, 170])
    counted = []

    def count(model, dataset):
        if len(counted) < 4:
            counted.append({name: each.clone() for name, each in model.state_dict().items()})
            return next(scores)
        return train.count_right(model, dataset)

    monkeypatch.setattr(cli.train, "count_right", count)
    command("--epochs", 9, "--batch-size", 400, "--patience", 2, "--out", tmp_path / "w")
    out = capsys.readouterr().out
    assert "no better held-out accuracy for 2 epochs: stopped" in out
    assert "best weights: those of epoch 2" in out
    saved = rl.load(tmp_path / "w")
    assert all(np.array_equal(saved[name], each) for name, each in counted[1].items())


@pytest.mark.parametrize("model", ["lenet", "resnet20", "mlp"])
def test_models_of_the_command_line(model, tmp_path):
    mnist(tmp_path, count=20, side=12)
    command("--data", tmp_path, "--epochs", 1, "--model", model, "--out", tmp_path / "w")


def test_refusals_of_the_command_line(tmp_path, capsys, monkeypatch):
    def refused(message, *arguments):
        assert cli.main(["train", "--out", str(tmp_path / "w"), *map(str, arguments)]) == 2
        assert re.search(message, capsys.readouterr().err)

    refused("No such file", "--resume", tmp_path / "none")
    (tmp_path / "bad").write_bytes(b"no checkpoint")
    refused("bad", "--resume", tmp_path / "bad")
    rl.save({"a": 1}, tmp_path / "other.pt")
    refused("is no checkpoint", "--resume", tmp_path / "other.pt")
    command("--epochs", 1, "--batch-size", 500, "--out", tmp_path / "w",
            "--checkpoint", tmp_path / "state")  # fmt: skip
    refused("has epochs 1, not 2", "--epochs", 2, "--batch-size", 500, "--resume",
            tmp_path / "state")  # fmt: skip
    refused("is of the model digits, not mlp", "--model", "mlp", "--resume", tmp_path / "state")
    refused("No such file", "--log", tmp_path / "no" / "log")
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    refused(r"rushlight\[plot\]", "--plot", tmp_path / "curve")
