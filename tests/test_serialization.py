"""Safetensors files: both ways with the reference library, whole or not at all, damaged input."""

import io
import json
import os
import pickle
import stat
import subprocess
import sys

import numpy as np
import pytest

import rushlight as rl
from rushlight.serialization import CheckpointError, load, load_metadata, save


def example():
    rl.manual_seed(0)
    tied = rl.randn(3, 4)
    return {
        "weight": rl.randn(2, 3, 3, 3),
        "transposed": rl.randn(4, 5).t(),
        "sliced": rl.randn(6, dtype=rl.float64)[::2],
        "parameter": rl.nn.Parameter(rl.ones(2)),
        "scalar": rl.tensor(2.5),
        "count": rl.tensor(7),
        "empty": rl.zeros(0, 3),
        "mask": rl.tensor([True, False, True]),
        "first": tied,
        "second": tied,
        'odd "name"\n é€': rl.arange(3),
    }


def assert_same(loaded, expected):
    assert set(loaded) == set(expected)
    for key, value in expected.items():
        assert loaded[key].dtype is value.dtype
        assert loaded[key].shape == value.shape
        np.testing.assert_array_equal(loaded[key].numpy(), value.detach().numpy())


def file_of(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def test_round_trip(tmp_path):
    path = tmp_path / "weights.safetensors"
    save(example(), path)
    loaded = load(str(path))
    assert_same(loaded, example())
    for value in loaded.values():
        array = value.numpy()
        assert array.flags.writeable
        assert array.flags.c_contiguous
        assert not value.requires_grad
    loaded["first"].zero_()
    assert loaded["second"].any()


def test_file_objects():
    stream = io.BytesIO(b"before")
    stream.seek(6)
    save(example(), stream)
    stream.seek(6)
    assert_same(load(stream), example())

    class Pipe(io.BytesIO):
        def seekable(self):
            return False

    assert_same(load(Pipe(stream.getvalue()[6:])), example())


def test_metadata(tmp_path):
    path = tmp_path / "weights"
    save({}, path, metadata={"made": "é"})
    assert load(path) == {}
    assert load_metadata(path) == {"made": "é"}
    save({}, path)
    assert load_metadata(path) == {}


def test_the_data_are_aligned(tmp_path):
    for length in range(1, 12):
        stream = io.BytesIO()
        save({"x" * length: rl.ones(1), "y": rl.tensor([True]), "z": rl.arange(1)}, stream)
        data = stream.getvalue()
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        assert int.from_bytes(data[:8], "little") % 8 == 0
        sizes = {"F32": 4, "I64": 8, "BOOL": 1}
        assert all(each["data_offsets"][0] % sizes[each["dtype"]] == 0 for each in header.values())


@pytest.mark.parametrize("metadata", [None, {"format": "rl"}])
def test_the_bytes_are_those_of_the_reference_library(tmp_path, metadata):
    reference = pytest.importorskip("safetensors.numpy")
    arrays = {
        key: np.ascontiguousarray(value.detach().numpy()).reshape(value.shape)
        for key, value in example().items()
    }
    stream = io.BytesIO()
    save(example(), stream, metadata=metadata)
    assert stream.getvalue() == reference.save(arrays, metadata=metadata)
    loaded = reference.load(stream.getvalue())
    for key, array in arrays.items():
        np.testing.assert_array_equal(loaded[key], array)
    assert_same(load(io.BytesIO(reference.save(arrays))), example())


# -- writing --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        ({"a": {"b": rl.ones(1)}}, TypeError, "'a' must be a Tensor, but got dict"),
        ({"a": [1]}, TypeError, "'a' must be a Tensor, but got list"),
        ({"a": np.ones(1)}, TypeError, "'a' must be a Tensor, but got ndarray"),
        ({1: rl.ones(1)}, TypeError, "keys must be strings, but got 1"),
        ({"__metadata__": rl.ones(1)}, ValueError, "reserved"),
        ({"\ud800": rl.ones(1)}, ValueError, "UTF-8"),
        ([rl.ones(1)], TypeError, "expected a mapping"),
    ],
)
def test_save_refuses_and_leaves_the_old_file(tmp_path, state, error, message):
    path = tmp_path / "weights"
    path.write_bytes(b"old")
    with pytest.raises(error, match=message):
        save(state, path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["weights"]


def test_save_refuses_other_arguments(tmp_path):
    with pytest.raises(TypeError, match="metadata must map str to str"):
        save({}, tmp_path / "x", metadata={"a": 1})
    with pytest.raises(TypeError, match="path must be"):
        save({}, 3)
    with pytest.raises(TypeError, match="path must be"):
        load(3)


def test_a_failing_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "weights"
    path.write_bytes(b"old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save(example(), path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["weights"]


@pytest.mark.skipif(os.name != "posix", reason="mode bits and links of POSIX")
def test_mode_bits_and_links(tmp_path):
    path = tmp_path / "weights"
    before = os.umask(0o027)
    try:
        save(example(), path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o600)
    link = tmp_path / "link"
    link.symlink_to(path)
    save({"a": rl.ones(1)}, link)
    assert link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(load(path)) == ["a"]
    save(example(), os.devnull)
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        save({}, tmp_path / "no" / "weights")
    assert caught.value.filename == str(tmp_path / "no" / "weights")
    with pytest.raises(IsADirectoryError):
        save({}, tmp_path)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nothing")


# -- reading --------------------------------------------------------------------------------


DATA = bytes(8)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"hello", "no checkpoint: neither safetensors nor"),
        (file_of({}, length=100_000_001), "the format allows 100000000"),
        (file_of({}, length=2**64 - 1), "the format allows"),
        (file_of({}, length=50), "truncated: the header takes 50 bytes"),
        (file_of(b""), "no checkpoint"),
        (file_of(b" {}"), "no checkpoint"),
        (file_of(b"[]"), "no checkpoint"),
        (file_of(b"{"), "no valid JSON"),
        (file_of(b"{}}"), "no valid JSON: something follows"),
        (file_of(b'{"\xff":1}'), "no valid JSON"),
        (file_of(b'{"a":NaN}'), "tensor 'a': expected an object"),
        (file_of(b'{"a":{"dtype":NaN}}'), "NaN is not JSON"),
        (file_of(b'{"a":{"dtype":"F32","dtype":"F32"}}'), "a key appears twice"),
        (file_of(b'{"a":' + b"[" * 100_000), "expected an object"),
        (file_of(b'{"a":{"shape":' + b"[" * 4000 + b"}"), "no valid JSON"),
        (file_of(b'{"a":{"shape":' + b" " * 5000 + b"}"), "at most 4096 bytes"),
        (file_of(b'{"a\\'), "a string does not end"),
        (
            file_of(json.dumps({"a": entry()}).encode()[:-1] + b',"a":{}}', DATA),
            "'a' appears twice",
        ),
        (file_of(b'{"__metadata__":{},"__metadata__":{}}'), "appears twice"),
        (file_of(b'{"__metadata__":{"k":"1","k":"2"}}'), "the key 'k' appears twice"),
        (file_of({"a": 3}), "'a': expected an object"),
        (file_of({"a": {"dtype": "F32", "shape": []}}), "expected an object"),
        (file_of({"a": {**entry(), "x": 1}}, DATA), "expected an object"),
        (file_of({"__metadata__": {"a": 1}}), "strings to strings"),
        (file_of({"__metadata__": {"a": {}}}), "strings to strings"),
        (file_of({"__metadata__": []}), "strings to strings"),
        (file_of({"a": entry("F8_E4M3", [8])}, DATA), "'a': elements of type F8_E4M3 are not"),
        (file_of({"a": entry("C64", [1])}, DATA), "'a': elements of type C64 are not"),
        (file_of({"a": entry("F33")}, DATA), "unknown dtype 'F33'"),
        (file_of({"a": entry(["F32"])}, DATA), "unknown dtype"),
        (file_of({"a": entry(shape=[-2])}, DATA), "whole numbers"),
        (file_of({"a": entry(shape=[2.0])}, DATA), "whole numbers"),
        (file_of({"a": entry(shape=[True, 2])}, DATA), "whole numbers"),
        (file_of({"a": entry(shape=[1] * 65)}, DATA), "up to"),
        (file_of({"a": entry(shape=[2**32, 2**32])}, DATA), "does not fill 8 bytes"),
        (file_of({"a": entry(shape=[2**62 + 2])}, DATA), "does not fill"),
        (file_of({"a": entry(shape=[3])}, DATA), "does not fill"),
        (file_of({"a": entry(shape=[0, 2**62, 2**62], offsets=[0, 0])}), "would take"),
        (file_of({"a": entry(offsets=[8, 0])}, DATA), "a begin and an end"),
        (file_of({"a": entry(offsets=[0])}, DATA), "a begin and an end"),
        (file_of({"a": entry(offsets=[0, 2**70])}, DATA), "a begin and an end"),
        (file_of({"a": entry(offsets=[4, 12])}, bytes(12)), "begins at byte 4"),
        (file_of({"a": entry(), "b": entry()}, DATA), "begins at byte 0 of the data, expected 8"),
        (file_of({"a": entry(), "b": entry(offsets=[12, 20])}, bytes(20)), "expected 8: overlaps"),
        (file_of({"a": entry()}, bytes(9)), "left over"),
        (file_of({"a": entry()}, bytes(7)), "truncated"),
        (file_of({"a": entry(shape=[2**40], offsets=[0, 2**42])}, DATA), "truncated"),
        (file_of({"a": entry("BOOL", [8])}, b"\1\0\1\2" + bytes(4)), "bytes 0 and 1"),
        (file_of({"a": entry("U64", [1])}, b"\xff" * 8), "too large for int64"),
    ],
)
def test_load_refuses(tmp_path, content, message):
    path = tmp_path / "some-file"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        load(path)
    error = caught.value
    assert isinstance(error, ValueError)
    assert error.file == str(path)
    assert str(error).startswith(f"{path}: {error.reason}")
    assert error.offset is None or f"(at byte {error.offset})" in str(error)


def test_the_error_survives_a_process_border():
    error = CheckpointError("file", "damaged", 3)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.offset) == ("file: damaged (at byte 3)", 3)


def test_what_the_format_allows_is_read():
    content = file_of(
        {
            "late": entry(offsets=[8, 16]),
            "none": entry(shape=[0], offsets=[8, 8]),
            "early": entry("F64", [], offsets=[0, 8]),
        },
        np.array([2.5]).tobytes() + np.array([1, 2], "<f4").tobytes(),
    )
    loaded = load(io.BytesIO(content))
    assert list(loaded) == ["early", "none", "late"]
    assert loaded["early"].item() == 2.5
    assert loaded["late"].tolist() == [1, 2]
    assert load(io.BytesIO(file_of(b"{}      "))) == {}


def test_a_lying_header_takes_no_memory(tmp_path):
    resource = pytest.importorskip("resource")
    assert resource
    lying = file_of({"a": entry(shape=[2**33], offsets=[0, 2**35])}, DATA)
    path = tmp_path / "lying"
    path.write_bytes(lying)
    code = (
        "import resource, sys, rushlight\n"
        "limit = 3 << 30\n"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, limit))\n"
        "try:\n    rushlight.load(sys.argv[1])\nexcept ValueError:\n    print('refused')\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False
    )
    assert result.stdout == "refused\n", result.stderr


def test_a_model_comes_back(tmp_path):
    rl.manual_seed(0)
    model = rl.nn.Sequential(rl.nn.Linear(4, 3), rl.nn.BatchNorm1d(3))
    model(rl.randn(8, 4))
    save(model.state_dict(), tmp_path / "model")
    other = rl.nn.Sequential(rl.nn.Linear(4, 3), rl.nn.BatchNorm1d(3))
    other.load_state_dict(load(tmp_path / "model"))
    model.eval()
    other.eval()
    x = rl.randn(5, 4)
    assert rl.equal(model(x), other(x))
