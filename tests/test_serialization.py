"""Safetensors files: both ways with the reference library, whole or not at all, damaged input."""

import io
import json
import os
import stat
import subprocess
import sys

import numpy as np
import pytest

import rushlight as rl
from rushlight.serialization import load, load_metadata, save


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
    ("content", "error", "message"),
    [
        (b"", ValueError, "expected 8 or more"),
        (b"PK\3\4 a zip file", ValueError, "announces a header"),
        (file_of({}, length=100_000_001), ValueError, "the format allows 100000000"),
        (file_of({}, length=2**64 - 1), ValueError, "the format allows"),
        (file_of({}, length=50), ValueError, "truncated"),
        (file_of(b""), ValueError, "does not start with"),
        (file_of(b" {}"), ValueError, "does not start with"),
        (file_of(b"[]"), ValueError, "does not start with"),
        (file_of(b"{"), ValueError, "no valid JSON"),
        (file_of(b'{"\xff":1}'), ValueError, "no valid JSON"),
        (file_of(b'{"a":NaN}'), ValueError, "no valid JSON"),
        (file_of(b'{"a":' + b"[" * 100_000), ValueError, "no valid JSON"),
        (file_of(b'{"a":{},"a":{}}'), ValueError, "twice"),
        (file_of({"a": 3}), ValueError, "'a'.*expected an object"),
        (file_of({"a": {"dtype": "F32", "shape": []}}), ValueError, "expected an object"),
        (file_of({"a": {**entry(), "x": 1}}, DATA), ValueError, "expected an object"),
        (file_of({"__metadata__": {"a": 1}}), ValueError, "strings"),
        (file_of({"__metadata__": []}), ValueError, "strings"),
        (file_of({"a": entry("F16", [4])}, DATA), TypeError, "'a' is of type F16"),
        (file_of({"a": entry("BF16", [4])}, DATA), TypeError, "'a' is of type BF16"),
        (file_of({"a": entry("F33")}, DATA), ValueError, "unknown dtype 'F33'"),
        (file_of({"a": entry(["F32"])}, DATA), ValueError, "unknown dtype"),
        (file_of({"a": entry(shape=[-2])}, DATA), ValueError, "whole numbers"),
        (file_of({"a": entry(shape=[2.0])}, DATA), ValueError, "whole numbers"),
        (file_of({"a": entry(shape=[True, 2])}, DATA), ValueError, "whole numbers"),
        (file_of({"a": entry(shape=[1] * 65)}, DATA), ValueError, "up to 64"),
        (file_of({"a": entry(shape=[2**32, 2**32])}, DATA), ValueError, "does not fill 8 bytes"),
        (file_of({"a": entry(shape=[2**62 + 2])}, DATA), ValueError, "does not fill"),
        (file_of({"a": entry(shape=[3])}, DATA), ValueError, "does not fill"),
        (file_of({"a": entry(shape=[0, 2**62, 2**62], offsets=[0, 0])}), ValueError, "unusable"),
        (file_of({"a": entry(offsets=[8, 0])}, DATA), ValueError, "a begin and an end"),
        (file_of({"a": entry(offsets=[0])}, DATA), ValueError, "a begin and an end"),
        (file_of({"a": entry(offsets=[0, 2**70])}, DATA), ValueError, "a begin and an end"),
        (file_of({"a": entry(offsets=[4, 12])}, bytes(12)), ValueError, "begins at byte 4"),
        (file_of({"a": entry(), "b": entry()}, DATA), ValueError, "begins at byte 0, expected 8"),
        (
            file_of({"a": entry(), "b": entry(offsets=[12, 20])}, bytes(20)),
            ValueError,
            "begins at byte 12, expected 8",
        ),
        (file_of({"a": entry()}, bytes(9)), ValueError, "left over"),
        (file_of({"a": entry()}, bytes(7)), ValueError, "truncated"),
        (file_of({"a": entry(shape=[2**40], offsets=[0, 2**42])}, DATA), ValueError, "truncated"),
        (file_of({"a": entry("BOOL", [8])}, b"\1\0\1\2" + bytes(4)), ValueError, "bytes 0 and 1"),
    ],
)
def test_load_refuses(tmp_path, content, error, message):
    path = tmp_path / "some-file"
    path.write_bytes(content)
    with pytest.raises(error, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)


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


def small_file():
    stream = io.BytesIO()
    state = {"a.weight": rl.randn(2, 3), "b": rl.tensor([True, False]), "n": rl.tensor(3)}
    save(state, stream, metadata={"k": "v"})
    return stream.getvalue()


def test_every_truncation_is_refused():
    whole = small_file()
    for end in range(len(whole)):
        with pytest.raises(ValueError, match="safetensors"):
            load(io.BytesIO(whole[:end]))


def test_damaged_bytes_give_value_errors_or_tensors():
    whole = small_file()
    rng = np.random.default_rng(1)
    refused = 0
    for trial in range(4000):
        damaged = bytearray(whole)
        for _ in range(1 + trial % 3):
            damaged[rng.integers(len(whole))] ^= 1 << int(rng.integers(8))
        try:
            load(io.BytesIO(bytes(damaged)))
        except ValueError:
            refused += 1
    assert 1500 < refused < 4000


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
