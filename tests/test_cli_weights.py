"""``rushlight inspect`` and ``rushlight convert``."""

import re

import pytest

import rushlight as rl
from checkpoint_files import STORED, archive, call, pickled, text
from rushlight import cli
from rushlight.serialization import inspect, load, load_metadata, save
from test_cli import assert_refused


def run(capsys, *arguments):
    assert cli.main(list(map(str, arguments))) == 0
    return capsys.readouterr().out


def test_inspect_prints_tensors_values_and_metadata(capsys):
    out = run(capsys, "inspect", STORED / "training.pt")
    assert re.search(r"^name +type +shape +bytes$", out, re.M)
    assert re.search(r"^state_dict\.module\.0\.weight +float32 +\[3, 2\] +24$", out, re.M)
    assert re.search(r"^  epoch: 3$", out, re.M)
    assert re.search(r"^  dtype: float16$", out, re.M)
    assert re.search(r"^  byteorder: little$", out, re.M)
    assert re.search(
        r"^training\.pt: PyTorch, zip, 6,851 bytes, \d+ tensors, \d+ elements$", out, re.M
    )
    out = run(capsys, "inspect", STORED / "types-legacy.pt")
    assert re.search(r"^bfloat16 +bfloat16 +\[2, 3\] +12$", out, re.M)
    assert "PyTorch, legacy" in out


def test_inspect_reads_no_data(capsys, tmp_path):
    path = tmp_path / "a.safetensors"
    save({"evil\x1b[2J\nname": rl.ones(2)}, path, metadata={"made": "by us"})
    out = run(capsys, "inspect", path)
    assert r"evil\x1b[2J\nname" in out
    assert "made: by us" in out
    assert "safetensors" in out
    with open(path, "r+b") as file:
        file.truncate(path.stat().st_size - 1)
    assert_refused(capsys, "truncated", "inspect", str(path))


def test_the_table_of_a_terminal(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    out = run(capsys, "inspect", STORED / "layouts.pt")
    assert "transposed" in out
    assert "\x1b[" in out


def test_inspect_without_rich(capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "rich.console", None)
    assert "float16" in run(capsys, "inspect", STORED / "types.pt")


def test_bad_files_are_one_line(capsys, tmp_path):
    path = tmp_path / "evil.pt"
    path.write_bytes(archive(pickled(call("os.system", text("true")))))
    for command in (("inspect", str(path)), ("convert", str(path), str(tmp_path / "out.pt"))):
        assert_refused(capsys, r"evil\.pt: the pickle names 'os\.system'", *command)
    assert_refused(capsys, "No such file", "inspect", str(tmp_path / "nothing"))
    assert_refused(capsys, "No such file", "convert", str(tmp_path / "nothing"), "out.pt")
    assert [each.name for each in tmp_path.iterdir()] == ["evil.pt"]


def types_of(path):
    return {name: (each.dtype, each.shape) for name, each in inspect(path).tensors.items()}


@pytest.mark.parametrize("name", ["types", "types-legacy"])
def test_element_types_stay(capsys, tmp_path, name):
    tensors = tmp_path / "a.safetensors"
    run(capsys, "convert", STORED / f"{name}.pt", tensors)
    assert types_of(tensors) == types_of(STORED / "types.pt")
    run(capsys, "convert", tensors, tmp_path / "back.pth")
    assert types_of(tmp_path / "back.pth") == types_of(STORED / "types.pt")
    expected = load(STORED / "types.pt")
    for path in (tensors, tmp_path / "back.pth"):
        assert all(rl.equal(value, expected[key]) for key, value in load(path).items())


def test_pytorch_and_safetensors_read_what_is_converted(capsys, tmp_path):
    torch = pytest.importorskip("torch")
    safe = pytest.importorskip("safetensors.torch")
    expected = torch.load(STORED / "types.pt")
    run(capsys, "convert", STORED / "types.pt", tmp_path / "a.safetensors")
    found = safe.load_file(tmp_path / "a.safetensors")
    run(capsys, "convert", tmp_path / "a.safetensors", tmp_path / "a.pt")
    for state in (found, torch.load(tmp_path / "a.pt", weights_only=True)):
        assert {key: value.dtype for key, value in state.items()} == {
            key: value.dtype for key, value in expected.items()
        }
        assert all(torch.equal(value, expected[key]) for key, value in state.items())


def test_nested_checkpoints(capsys, tmp_path):
    source = str(STORED / "training.pt")
    out = str(tmp_path / "a.safetensors")
    assert_refused(
        capsys, "more than tensors by name.* use --key state_dict", "convert", source, out
    )
    assert_refused(
        capsys, "no entry 'model'; .*state_dict", "convert", source, out, "--key", "model"
    )
    run(capsys, "convert", source, out, "--key", "state_dict", "--strip-prefix", "module.")
    model = rl.nn.Sequential(rl.nn.Linear(2, 3), rl.nn.BatchNorm1d(3))
    model.load_state_dict(load(out))
    again = tmp_path / "again.pt"
    run(capsys, "convert", STORED / "training-legacy.pt", again, "--strip-prefix", "module.")
    saved = load(again)
    assert list(saved["state_dict"]) == list(model.state_dict())
    assert saved["epoch"] == 3
    assert saved["optimizer"]["param_groups"][0]["lr"] == 0.125


def test_metadata_is_kept_and_shared_memory_too(capsys, tmp_path):
    save({"a": rl.ones(2)}, tmp_path / "a.safetensors", metadata={"made": "by us"})
    run(capsys, "convert", tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    assert load_metadata(tmp_path / "b.safetensors") == {"made": "by us"}
    run(capsys, "convert", STORED / "layouts-legacy.pt", tmp_path / "c.pt")
    found = load(tmp_path / "c.pt")
    found["base"].zero_()
    assert not found["sliced"].any()
    assert isinstance(found["parameter"], rl.nn.Parameter)
