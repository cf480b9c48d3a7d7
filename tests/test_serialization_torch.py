"""PyTorch's files: those it wrote (stored in the repository), read; ours, read by PyTorch."""

import io
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

import checkpoint_files as files
import rushlight as rl
from checkpoint_files import STORED, archive, legacy, legacy_data, pickled, repacked, tensor, text
from rushlight.serialization import CheckpointError, inspect, load, save

FLOATS = {
    "float64": rl.float64,
    "float32": rl.float32,
    "float16": rl.float32,
    "bfloat16": rl.float32,
}
INTEGERS = ("int64", "int32", "int16", "int8", "uint8", "uint16", "uint32", "uint64")


def bytes_of(name):
    return (STORED / name).read_bytes()


def load_bytes(content, **options):
    return load(io.BytesIO(content), **options)


# -- what PyTorch wrote ---------------------------------------------------------------------


def check_types(state):
    for name, value in state.items():
        if name == "bool":
            assert value.dtype is rl.bool_
            assert value.tolist() == [True, False, True]
            continue
        assert value.dtype is (FLOATS.get(name, rl.int64)), name
        assert value.numpy().reshape(-1).tolist() == list(range(value.numel())), name
        assert value.numpy().flags.writeable
    assert set(state) == {*FLOATS, *INTEGERS, "bool"}


def check_layouts(state):
    base = np.arange(24.0, dtype=np.float32).reshape(4, 6)
    expected = {
        "base": base,
        "transposed": base.T,
        "sliced": base[1:, ::2],
        "expanded": np.tile(np.arange(3, dtype=np.float32), (2, 1)),
        "scalar": np.float32(2.5),
        "empty": np.zeros((0, 3), np.float32),
        **dict.fromkeys(("parameter", "frozen", "leaf"), np.arange(2, dtype=np.float32)),
    }
    assert set(state) == set(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(state[name].detach().numpy(), value)
    assert state["transposed"].stride() == (1, 6)
    assert state["expanded"].stride() == (0, 1)
    kinds = {name: type(value) for name, value in state.items()}
    assert [name for name in kinds if kinds[name] is rl.nn.Parameter] == ["parameter", "frozen"]
    assert [name for name in state if state[name].requires_grad] == ["parameter", "leaf"]
    # One storage: a write to one shows in the others, and in the count of their changes.
    state["base"].zero_()
    assert not state["transposed"].any()
    assert not state["sliced"].any()
    assert state["sliced"]._version == state["base"]._version == 1
    assert state["scalar"]._version == 0


def check_training(saved):
    assert (saved["epoch"], saved["best"], saved["name"], saved["none"]) == (3, 0.75, "é", None)
    assert saved["history"] == [1, 2.5, (True, -(2**40))]
    assert saved["size"] == rl.Size([2, 3])
    assert isinstance(saved["size"], rl.Size)
    assert saved["device"] == rl.device("cpu")
    assert saved["dtype"] is rl.float32
    state = saved["state_dict"]
    assert type(state) is OrderedDict
    assert list(state)[:3] == ["module.0.weight", "module.0.bias", "module.1.weight"]
    assert state._metadata["module.1"] == {"version": 2}
    optimizer = saved["optimizer"]
    assert list(optimizer["state"]) == [0, 1, 2, 3]
    assert optimizer["state"][0]["step"].item() == 1
    assert optimizer["state"][0]["exp_avg"].shape == (3, 2)
    assert optimizer["param_groups"][0]["betas"] == (0.9, 0.999)
    assert optimizer["param_groups"][0]["params"] == [0, 1, 2, 3]


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("suffix", ["", "-legacy"])
def test_every_type(suffix, mmap):
    check_types(load(STORED / f"types{suffix}.pt", mmap=mmap))


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("suffix", ["", "-legacy"])
def test_every_layout(suffix, mmap):
    check_layouts(load(STORED / f"layouts{suffix}.pt", mmap=mmap))


@pytest.mark.parametrize("name", ["training", "training-legacy", "protocol4"])
def test_a_training_checkpoint(name):
    check_training(load(STORED / f"{name}.pt", map_location="cpu", weights_only=True))


def test_the_files_are_not_changed_by_tensors_in_their_map():
    before = bytes_of("layouts.pt")
    load(STORED / "layouts.pt", mmap=True)["base"].fill_(7)
    assert bytes_of("layouts.pt") == before


@pytest.mark.parametrize("name", ["training", "training-legacy"])
def test_the_prefix_of_a_wrapper_is_stripped(name):
    saved = load(STORED / f"{name}.pt", strip_prefix="module.")
    model = rl.nn.Sequential(rl.nn.Linear(2, 3), rl.nn.BatchNorm1d(3))
    model.load_state_dict(saved["state_dict"])
    assert model[0].weight.tolist() == saved["state_dict"]["0.weight"].tolist()
    assert list(saved["state_dict"]) == list(model.state_dict())
    assert saved["state_dict"]._metadata["1"] == {"version": 2}
    optimizer = rl.optim.Adam(model.parameters())
    optimizer.load_state_dict(saved["optimizer"])
    assert optimizer.param_groups[0]["lr"] == 0.125


def test_a_prefix_that_hides_a_name_is_refused():
    body = b"}(" + text("module.a") + tensor() + text("a") + tensor() + b"u"
    assert list(load_bytes(archive(pickled(body)))) == ["module.a", "a"]
    with pytest.raises(CheckpointError, match=r"'module\.a' takes the name of another"):
        load_bytes(archive(pickled(body)), strip_prefix="module.")


def test_file_objects_at_any_place():
    stream = io.BytesIO(b"before" + bytes_of("training.pt"))
    stream.seek(6)
    check_training(load(stream))
    stream = io.BytesIO(b"x" + bytes_of("training-legacy.pt"))
    stream.seek(1)
    check_training(load(stream))


def test_deflated_archives():
    check_types(load_bytes(repacked(bytes_of("types.pt"), zipfile.ZIP_DEFLATED)))
    check_training(load_bytes(repacked(bytes_of("training.pt"), zipfile.ZIP_DEFLATED)))


def test_big_endian_archives(tmp_path):
    sizes = [8, 4, 2, 2, 8, 4, 2, 1, 1, 1, 2, 4, 8]
    swap = {str(key): size for key, size in enumerate(sizes)}
    path = tmp_path / "big.pt"
    path.write_bytes(repacked(bytes_of("types.pt"), zipfile.ZIP_STORED, swap))
    check_types(load(path))
    check_types(load(path, mmap=True))
    assert inspect(path).metadata["byteorder"] == "big"


def test_archives_of_other_layouts():
    expected = [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    body = pickled(tensor())
    for folder in ("", "any name: é/", "archive/"):
        assert load_bytes(archive(body, folder=folder)).tolist() == expected
    assert load_bytes(archive(body, byteorder=None)).tolist() == expected
    assert load_bytes(b"".join((archive(body)[:-2], b"\3\0", b"abc"))).tolist() == expected


def test_what_python_2_wrote():
    """Old ``str`` opcodes, OrderedDict from pairs, integers as text, ``_rebuild_tensor``."""
    key = b"U\x06weight"
    old = files.call(
        "torch._utils._rebuild_tensor",
        files.storage(legacy=True),
        *(b"I1\n", b"(I2\nI2\nt", b"(L3L\nL1L\nt"),
    )
    body = files.call("collections.OrderedDict", b"](](" + key + old + b"ee")
    content = legacy(body, b"](U\x010e", legacy_data())
    state = load_bytes(content)
    assert list(state) == ["weight"]
    assert state["weight"].tolist() == [[1.0, 2.0], [4.0, 5.0]]


def test_views_of_storages_in_the_legacy_format():
    part = files.storage(legacy=True).removesuffix(b"NtQ")
    view = part + b"(" + text("view") + files.number(2) + files.number(3) + b"ttQ"
    body = b"](" + tensor((3,), (1,), of=view) + tensor(of=part + b"NtQ") + b"e"
    small, whole = load_bytes(legacy(body, b"]" + text("0") + b"a", legacy_data()))
    assert small.tolist() == [2.0, 3.0, 4.0]
    whole.zero_()
    assert not small.any()
    bad = body.replace(files.number(3) + b"ttQ", files.number(5) + b"ttQ")
    with pytest.raises(CheckpointError, match="reaches outside its storage"):
        load_bytes(legacy(bad, b"]" + text("0") + b"a", legacy_data()))


def test_large_pickles_of_the_legacy_format():
    """The window that is read first does not end the pickle."""
    body = b"](" + text("x" * 300_000) + tensor(of=files.storage(legacy=True)) + b"e"
    long_text, value = load_bytes(legacy(body, b"]" + text("0") + b"a", legacy_data()))
    assert len(long_text) == 300_000
    assert value.tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]


# -- what PyTorch reads ---------------------------------------------------------------------


def example():
    rl.manual_seed(0)
    base = rl.randn(4, 6)
    model = rl.nn.Sequential(rl.nn.Linear(2, 3), rl.nn.BatchNorm1d(3))
    return {
        "model": model.state_dict(),
        "views": [base, base.t(), base[1:, ::2], base[0]],
        "types": (rl.randn(2, dtype=rl.float64), rl.arange(3), rl.tensor([True, False])),
        "odd": [rl.tensor(2.5), rl.zeros(0, 3), rl.ones(1).expand(3, 4), rl.randn(6)[::2]],
        "parameter": rl.nn.Parameter(rl.randn(2)),
        "leaf": rl.randn(2, requires_grad=True),
        "numbers": [0, 255, 256, -1, 2**31, 2**70, -(2**63), 0.1, True, None],
        "size": rl.Size([1, 2]),
        "dtype": rl.float64,
        "device": rl.device("cpu"),
        3: {None: "é", True: []},
    }


def assert_same(found, expected):
    """Compare trees; tensors of either library."""
    if hasattr(expected, "detach"):
        assert tuple(found.shape) == tuple(expected.shape)
        assert found.requires_grad == expected.requires_grad
        assert type(found).__name__ == type(expected).__name__
        np.testing.assert_array_equal(found.detach().numpy(), expected.detach().numpy())
    elif isinstance(expected, dict):
        assert type(found) is type(expected)
        assert list(found) == list(expected)
        for key, value in expected.items():
            assert_same(found[key], value)
        assert getattr(found, "_metadata", None) == getattr(expected, "_metadata", None)
    elif type(expected) in (list, tuple):
        assert type(found) is type(expected)
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, (rl.dtype, rl.device)):
        assert str(found).split(".")[-1] == str(expected).split(".")[-1]
    else:
        assert found == expected
        assert type(found) is type(expected) or isinstance(expected, tuple)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".PTH", ".bin", ".ckpt", ".pth.tar"])
def test_what_is_saved_comes_back(tmp_path, suffix):
    path = tmp_path / f"checkpoint{suffix}"
    save(example(), path)
    assert inspect(path).format == "PyTorch, zip"
    found = load(path)
    assert_same(found, example())
    found["views"][0].zero_()
    assert not any(view.any() for view in found["views"])
    assert [each.stride() for each in found["odd"][2:]] == [(0, 0), (1,)]


def test_pytorch_reads_what_is_saved(tmp_path):
    torch = pytest.importorskip("torch")
    save(example(), tmp_path / "checkpoint.pt")
    for mmap in (False, True):
        found = torch.load(tmp_path / "checkpoint.pt", weights_only=True, mmap=mmap)
        assert_same(found, example())
    found["views"][0].zero_()
    assert not any(view.any() for view in found["views"])
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    model.load_state_dict(found["model"])


def test_a_round_trip_through_pytorch(tmp_path):
    """Every stored file, loaded here, saved here, loaded by PyTorch, saved by it, loaded here."""
    torch = pytest.importorskip("torch")
    for name in ("types", "layouts", "training", "training-legacy"):
        first = load(STORED / f"{name}.pt")
        save(first, tmp_path / "ours.pt")
        theirs = torch.load(tmp_path / "ours.pt", weights_only=True)
        assert_same(theirs, first)
        for zipped in (True, False):
            path = tmp_path / "theirs.pt"
            torch.save(theirs, path, _use_new_zipfile_serialization=zipped)
            assert_same(load(path), first)


def test_the_archive_is_one_that_others_read(tmp_path):
    path = tmp_path / "weights.pt"
    save({"a": rl.arange(3), "b": rl.ones(5)}, path)
    with zipfile.ZipFile(path) as file:
        assert file.testzip() is None
        assert file.read("archive/byteorder") == b"little"
        assert file.read("archive/version") == b"3\n"
        for info in file.infolist():
            assert info.compress_type == zipfile.ZIP_STORED
    content = path.read_bytes()
    for key in ("a", "b"):
        data = np.ascontiguousarray(load(path)[key].numpy()).tobytes()
        assert content.index(data) % 64 == 0
    save({"a": rl.arange(3), "b": rl.ones(5)}, tmp_path / "again.pt")
    assert (tmp_path / "again.pt").read_bytes() == content


def test_memory_that_is_not_needed_is_not_written(tmp_path):
    large = rl.zeros(1000, 1000)
    save({"column": large[:, 3], "corner": large[:2, :2]}, tmp_path / "a.pt")
    assert (tmp_path / "a.pt").stat().st_size > 3_000_000  # they overlap: one storage
    save({"column": large[:, 3]}, tmp_path / "b.pt")
    assert (tmp_path / "b.pt").stat().st_size < 10_000
    array = np.arange(12, dtype=np.float32)
    views = {"back": rl.from_numpy(array[:4].copy()), "part": rl.from_numpy(array[4:8])}
    save(views, tmp_path / "c.pt")
    assert_same(load(tmp_path / "c.pt"), views)


def recursive():
    found = []
    found.append([found])
    return found


def deep(levels):
    found = []
    for _ in range(levels):
        found = [found]
    return found


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ({"a": np.ones(2)}, TypeError, "'a' is a ndarray"),
        ({"a": [1, {2}]}, TypeError, "'a.1' is a set"),
        ({"a": b"bytes"}, TypeError, "'a' is a bytes"),
        ({1.5: 1}, TypeError, "keys must be"),
        ({(1, 2): 1}, TypeError, "keys must be"),
        ({"a": "\ud800"}, ValueError, "UTF-8"),
        ({"a": 1 << 600}, ValueError, "64 bytes"),
        (recursive(), ValueError, "contains itself"),
        (deep(10_000), ValueError, "deeper than 200"),
        (rl.nn.Linear(1, 1), TypeError, "is a Linear"),
    ],
)
def test_save_refuses_and_leaves_the_old_file(tmp_path, value, error, message):
    path = tmp_path / "weights.pt"
    path.write_bytes(b"old")
    with pytest.raises(error, match=message):
        save(value, path)
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["weights.pt"]


def test_save_refuses_other_options(tmp_path):
    with pytest.raises(TypeError, match="metadata has a place in safetensors"):
        save({}, tmp_path / "a.pt", metadata={})
    with pytest.raises(ValueError, match="format must be one of safetensors, torch"):
        save({}, tmp_path / "a.pt", format="onnx")
    state = OrderedDict()
    state._metadata = {"": 1}
    with pytest.raises(TypeError, match="_metadata"):
        save(state, tmp_path / "a.pt")


def test_the_format_can_be_told(tmp_path):
    save({"a": rl.ones(1)}, tmp_path / "a", format="torch")
    save({"a": rl.ones(1)}, tmp_path / "b.pt", format="safetensors")
    assert inspect(tmp_path / "a").format == "PyTorch, zip"
    assert inspect(tmp_path / "b.pt").format == "safetensors"
    stream = io.BytesIO()
    save([rl.ones(1)], stream, format="torch")
    stream.seek(0)
    assert load(stream)[0].item() == 1
