"""Files made to do harm, and files cut and damaged: each ends in CheckpointError."""

import io
import struct
import subprocess
import sys
import time
import zipfile
import zlib

import numpy as np
import pytest

import checkpoint_files as files
import rushlight as rl
from checkpoint_files import (
    DATA,
    ORDERED,
    STORED,
    archive,
    call,
    legacy,
    legacy_data,
    pickled,
    tensor,
    text,
    values,
)
from fuzz_serialization import mutated, outcome, seeds
from rushlight.serialization import CheckpointError, inspect, load, save

LARGE = files.number(2**62)


def refused(content, message="", **options):
    """Check that a file is refused by `load` and by `inspect` alike, and return the error."""
    with pytest.raises(CheckpointError, match=message):
        inspect(io.BytesIO(content))
    with pytest.raises(CheckpointError, match=message) as caught:
        load(io.BytesIO(content), **options)
    return caught.value


# -- evil pickles ---------------------------------------------------------------------------

SYSTEM = call("os.system", text("touch /tmp/rushlight-was-here"))
EVIL = {
    "os.system": (SYSTEM, r"names 'os\.system'"),
    "posix.system": (call("posix.system", text("true")), r"names 'posix\.system'"),
    "eval": (call("builtins.eval", text("1/0")), r"names 'builtins\.eval'"),
    "python 2's eval": (call("__builtin__.eval", text("1/0")), r"names '__builtin__\.eval'"),
    "getattr": (call("builtins.getattr", ORDERED, text("x")), r"names 'builtins\.getattr'"),
    "a global alone": (b"cos\nsystem\n", r"names 'os\.system'"),
    "a stack global": (text("os") + text("system") + b"\x93", r"names 'os\.system'"),
    "inside a call": (b"ccollections\nOrderedDict\n(" + SYSTEM + b"tR", r"names 'os\.system'"),
    "a call of a call": (ORDERED + b")R", "the pickle calls a OrderedDict"),
    "a call of a storage class": (b"ctorch\nFloatStorage\n)R", r"calls torch\.FloatStorage"),
    "arguments that are no tuple": (b"ccollections\nOrderedDict\n]R", "the pickle calls"),
    "a function as a value": (b"ctorch._utils\n_rebuild_tensor_v2\n", "where a tensor or a plain"),
    "a class as a value": (b"]ctorch\nFloatStorage\na", "where a tensor or a plain"),
    "a storage as a value": (files.storage(), r"where a tensor or a plain|not those of"),
    "a quantized tensor": (call("torch._utils._rebuild_qtensor"), "_rebuild_qtensor: quantized"),
    "a sparse tensor": (call("torch._utils._rebuild_sparse_tensor"), "quantized and sparse"),
    "complex elements": (tensor(of=files.storage(kind="ComplexFloatStorage")), "complex64"),
    "quantized elements": (tensor(of=files.storage(kind="QInt8Storage")), "type qint8"),
    "a float of 8 bits": (b"ctorch\nfloat8_e4m3fn\n", "float8_e4m3fn are not supported"),
    "a model": (call("__main__.Net"), r"names '__main__\.Net'"),
    "a program": (b"c__torch__.net\nNet\n)\x81", "TorchScript"),
    "numpy": (call("numpy.core.multiarray._reconstruct"), r"names 'numpy\.core\.multiarray"),
    "BUILD on a dict": (b"}}b", "BUILD sets the state of a dict"),
    "BUILD of other names": (ORDERED + b"}(" + text("keys") + b"Nub", "BUILD sets the state"),
    "BUILD on a tensor": (tensor() + b"}b", "BUILD sets the state of a TensorSpec"),
    "BUILD of no dict": (ORDERED + b"}(" + text("_metadata") + b"Nub", "BUILD sets the state"),
    "NEWOBJ": (b"ccollections\nOrderedDict\n)\x81", "opcode NEWOBJ is not allowed"),
    "NEWOBJ_EX": (b"ccollections\nOrderedDict\n)}\x92", "opcode NEWOBJ_EX is not allowed"),
    "INST": (b"(ios\nsystem\n", "opcode INST is not allowed"),
    "OBJ": (b"(cos\nsystem\no", "names 'os.system'"),
    "OBJ of an allowed class": (b"(ccollections\nOrderedDict\no", "opcode OBJ is not allowed"),
    "EXT1": (b"\x82\x01", "opcode EXT1 is not allowed"),
    "EXT2": (b"\x83\x01\x00", "opcode EXT2 is not allowed"),
    "EXT4": (b"\x84\x01\x00\x00\x00", "opcode EXT4 is not allowed"),
    "PERSID": (b"Pstorage\n", "opcode PERSID is not allowed"),
    "a persistent module": (b"(" + text("module") + b"NtQ", "'module'; only storages"),
    "a persistent text": (text("storage") + b"Q", "only storages"),
    "a buffer": (b"\x97", "opcode NEXT_BUFFER is not allowed"),
    "no opcode": (b"\xff", "is no opcode"),
    "a protocol to come": (b"\x80\x09N", "protocol 9 is unknown"),
    "hooks": (
        call(
            "torch._utils._rebuild_tensor_v2",
            *(files.storage(), b"K\x00", values(6), values(1), b"\x89}NNs"),
        ),
        "hooks",
    ),
}


@pytest.mark.parametrize("name", EVIL)
@pytest.mark.parametrize("wrap", [archive, legacy], ids=["zip", "legacy"])
def test_evil_pickles(name, wrap):
    body, message = EVIL[name]
    error = refused(wrap(pickled(body) if wrap is archive else body), message)
    assert error.offset is not None or "where a tensor" in error.reason


def test_nothing_was_run(tmp_path):
    marker = tmp_path / "marker"
    body = call("os.system", text(f"touch {marker}"))
    for content in (archive(pickled(body)), legacy(body), pickled(body)):
        refused(content, r"os\.system")
    assert not marker.exists()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "takes a value where there is none"),
        (b"NN", "leaves values over"),
        (b"(N", "leaves values over"),
        (b"a", "takes a value"),
        (b"Na", "APPEND where nothing is"),
        (b"N(e", "APPENDS where NoneType is"),
        (b"t", "a mark where there is none"),
        (b"e", "a mark where there is none"),
        (b"}(Nu", "a key without a value"),
        (b"](NNu", "SETITEMS where list is"),
        (b"h\x07", "entry 7 of the pickle's memo"),
        (b"j\xff\xff\xff\xff", "entry 4294967295"),
        (b"q\x00", "memo entry where nothing"),
        (b"R", "takes a value"),
        (b"\x86", "takes a value"),
        (b"X\xff\xff\xff\xff", "of memory that are left"),
        (b"\x8d" + b"\xff" * 8, "of memory that are left"),
        (b"T\xff\xff\xff\xff", "a text of -1 bytes"),
        (b"X\x01\x00\x00\x00\xff", "no UTF-8"),
        (b"\x8a\xff" + bytes(255), "an integer of 255 bytes"),
        (b"Ione\n", "is no integer"),
        (b"c" + b"x" * 300 + b"\n", "a line of more than"),
        (b"NN\x93", "the name of a global is no text"),
        (b"}(]Nu", "a key of type list"),
        (b"}(G" + bytes(8) + b"Nu", "a key of type float"),
        (b"}(" + b")" + b"\x85" * 100_000 + b"Nu", "a key of type tuple"),
        (b"}(\x8a\x10" + b"\x11" * 16 + b"Nu", "more than 64 bits as a key"),
        (call("collections.OrderedDict", b"](Ne"), "list of pairs"),
        (call("collections.OrderedDict", b"N"), "list of pairs"),
        (call("torch.Size", b"N"), "Size of something else"),
        (call("torch.device", b"N"), "device of something else"),
        (call("torch.device"), "device with 0 arguments"),
        (call("torch._utils._rebuild_parameter", b"N", b"\x88", ORDERED), "without a tensor"),
    ],
)
def test_pickles_that_make_no_sense(body, message):
    refused(archive(pickled(body)), message)
    refused(legacy(body), message)


def test_cycles_and_depth():
    for body in (
        b"]q\x00h\x00a",
        b"}q\x00(" + text("self") + b"h\x00u",
        b"]q\x00(h\x00\x85e",
        b"ccollections\nOrderedDict\n)Rq\x00}(" + text("_metadata") + b"h\x00ub",
        b"]q\x00]q\x01h\x00aa",
    ):
        refused(archive(pickled(body)), "contains itself")
    for opening, closing in ((b"]", b"a"), (b"", b"\x85")):
        body = (opening * 100_000 or b")") + closing * 99_999
        refused(archive(pickled(body)), "deeper than 200 levels")
    # Deeper than Python's recursion would go, in the hand of the error messages.
    nested = b")" + b"\x85" * 50_000
    refused(archive(pickled(nested + b"Q")), "persistent identifier")
    refused(archive(pickled(tensor(of=nested))), "without a storage")
    bad = call("torch._utils._rebuild_tensor", files.storage(), b"K\x00", nested, values(1))
    refused(archive(pickled(bad)), "whole numbers")


def test_a_list_that_doubles_itself_is_entered_once():
    body = b"]q\x00" + b"".join(b"](h%ch%ceq%c" % (n, n, n + 1) for n in range(100))
    began = time.monotonic()
    found = load(io.BytesIO(archive(pickled(b"(" + body + b"t"))))
    assert found[100][0] is found[100][1] is found[99]
    assert time.monotonic() - began < 5


# -- tensors that reach outside -------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (tensor((7,), (1,)), "does not fit the 6 elements"),
        (tensor((2, 3), (4, 1)), "does not fit"),
        (tensor((2, 3), (3, 1), offset=1), "does not fit"),
        (tensor((2,), (2**62,)), "does not fit"),
        (tensor((2**62, 4), (0, 0)), "would take"),
        (tensor((2**40,), (0,)), "would take"),
        (tensor((0, 2**62, 2**62), (0, 0, 0)), "would take"),
        (tensor((0,), (1,), offset=7), "does not fit"),
        (tensor((-2,), (1,)), "whole numbers"),
        (tensor((2,), (-1,), offset=1), "whole numbers"),
        (tensor((2,), (1,), offset=-1), "whole numbers"),
        (tensor((2**64,), (1,)), "whole numbers"),
        (tensor((1,) * 65, (1,) * 65), "whole numbers"),
        (tensor((2, 3), (1,)), "2 dimensions, but 1 strides"),
        (tensor(of=files.storage(count=7)), "has 24 bytes, but 28 are announced"),
        (tensor(of=files.storage(count=5)), "does not fit|has 24 bytes, but 20"),
        (tensor(of=files.storage(count=-1)), "a storage that is described by"),
        (tensor(of=files.storage(count=2**62)), "has 24 bytes"),
        (tensor(of=files.storage(count=2**70)), "a storage that is described by"),
        (tensor(of=files.storage(key="9")), "'9' is missing"),
        (tensor(of=files.storage(key="../data.pkl")), "is missing"),
        (b"](" + tensor() + tensor(of=files.storage(kind="IntStorage")) + b"e", "as int32 and as"),
        (b"](" + tensor() + tensor(of=files.storage(count=3)) + b"e", "24 bytes and 12"),
        (tensor(of=b"N"), "without a storage"),
        (call("torch._utils._rebuild_tensor_v2"), "with 0 arguments"),
        (call("torch._utils._rebuild_tensor_v3", *[b"N"] * 7), "without a dtype"),
        (
            call("torch._utils._rebuild_parameter", tensor((1,), (1,)), b"N", ORDERED),
            "_rebuild_parameter without",
        ),
    ],
)
def test_tensors_that_do_not_fit(body, message):
    refused(archive(pickled(body)), message)


def test_a_gradient_of_integers_is_refused():
    integers = tensor(of=files.storage(kind="IntStorage"))
    parameter = call("torch._utils._rebuild_parameter", integers, b"\x88", ORDERED)
    refused(archive(pickled(parameter)), "int32 cannot require a gradient")
    refused(archive(pickled(integers.replace(b"\x89", b"\x88"))), "cannot require a gradient")


@pytest.mark.parametrize(
    ("keys", "data", "message"),
    [
        (b"]", legacy_data(), "not those of the tensors"),
        (b"](" + text("0") + text("0") + b"e", legacy_data(), "not those of the tensors"),
        (b"](" + text("0") + text("1") + b"e", legacy_data(), "not those of the tensors"),
        (b"N", legacy_data(), "no list of texts"),
        (b"]Na", legacy_data(), "no list of texts"),
        (b"]" + text("0") + b"a", b"", "truncated"),
        (b"]" + text("0") + b"a", legacy_data()[:-1], "truncated"),
        (b"]" + text("0") + b"a", legacy_data(count=7), "has 7 elements, but 6"),
        (b"]" + text("0") + b"a", legacy_data(count=-6), "has -6 elements, but 6"),
    ],
)
def test_storages_of_the_legacy_format(keys, data, message):
    refused(legacy(tensor(of=files.storage(legacy=True)), keys, data), message)


def test_other_formats_are_named():
    tar = b"storages".ljust(257, b"\0") + b"ustar\x0000" + bytes(600)
    refused(tar, "a tar archive, as PyTorch wrote before 0.1.10")
    refused(pickled(b"K\x01"), "none that PyTorch's save wrote")
    refused(files.MAGIC + pickled(b"M\xea\x03"), "the legacy format's version is 1002")
    stream = io.BytesIO()
    np.savez(stream, a=np.ones(2))
    refused(stream.getvalue(), "no PyTorch checkpoint: a zip archive with 0 entries")


# -- zip archives ---------------------------------------------------------------------------

GOOD = archive(pickled(tensor()))


def renamed(old, new):
    """Return the archive with an entry renamed to a name of the same length."""
    assert len(old) == len(new)
    return GOOD.replace(old, new)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (renamed(b"archive/version", b"/rchive/version"), "unsafe name '/rchive/version'"),
        (renamed(b"archive/version", b"../hive/version"), "unsafe name '../hive/version'"),
        (renamed(b"archive/version", b"archive/../sion"), "unsafe name"),
        (renamed(b"archive/version", b"c:\\hive/version"), "unsafe name"),
        (renamed(b"archive/version", b"archive\\..\\sion"), "unsafe name"),
        (renamed(b"archive/version", b"archive/ver\0ion"), "unsafe name"),
        (renamed(b"archive/version", b"archive/ver\xffion"), "no UTF-8"),
        (renamed(b"archive/data.pkl", b"archive/dota.pkl"), "0 entries called data.pkl"),
        (renamed(b"archive/data/0", b"archive/data/1"), "'0' is missing"),
        (renamed(b"archive/byteorder", b"archive/data/0\0\0\0"), "unsafe name|twice"),
        (GOOD.replace(b"little", b"middle"), "the byte order is 'middle'"),
        (GOOD[:-1], "without its directory"),
        (GOOD[: len(GOOD) // 2], "without its directory"),
        (GOOD.replace(b"PK\1\2", b"PK\1\3"), "an entry of the zip directory is wrong"),
        (b"PK\5\6" + bytes(18), "0 entries called data.pkl"),
    ],
)
def test_damaged_archives(content, message):
    refused(content, message)


def with_field(position, form, value, mark=b"PK\1\2", which=2):
    """Return the archive with a field of an entry's header changed: the third is the storage."""
    at = -1
    for _ in range(which + 1):
        at = GOOD.index(mark, at + 1)
    content = bytearray(GOOD)
    struct.pack_into(form, content, at + position, value)
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (with_field(8, "<H", 1), "is encrypted"),
        (with_field(10, "<H", 12), "packed by method 12"),
        (with_field(10, "<H", 8), "the header of zip entry"),
        (with_field(20, "<I", 23), "packed by method 0, sizes 23 and 24"),
        (with_field(24, "<I", 2**31), "sizes 24 and"),
        (with_field(24, "<I", 0xFFFFFFFF), "the sizes of zip entry"),
        (with_field(42, "<I", 0), "overlap"),
        (with_field(42, "<I", 2**31), "truncated"),
        (with_field(28, "<H", 60000), "entry of the zip directory is wrong"),
        (with_field(26, "<H", 60000, mark=b"PK\3\4"), "truncated|overlap"),
        (with_field(8, "<H", 9, mark=b"PK\5\6", which=0), "in several parts"),
        (with_field(16, "<I", 2**31, mark=b"PK\5\6", which=0), "reaches behind its end"),
        (with_field(12, "<I", 3, mark=b"PK\5\6", which=0), "ends too early"),
        (with_field(12, "<I", 0xFFFFFFFF, mark=b"PK\5\6", which=0), "locator"),
    ],
)
def test_archives_with_lying_fields(content, message):
    refused(content, message)


def test_entries_that_share_their_bytes():
    """The zip bomb without compression: many names for the same bytes."""
    content = archive(pickled(tensor()), {str(key): DATA for key in range(4)})
    first = content.index(b"archive/data/0") - 30
    changed = bytearray(content)
    at = content.index(b"PK\1\2")
    while at >= 0:
        if b"archive/data/" in content[at : at + 60]:
            struct.pack_into("<I", changed, at + 42, first)
        at = content.find(b"PK\1\2", at + 1)
    refused(bytes(changed), "overlap")


def test_entries_that_unpack_to_more():
    zeros = bytes(60 << 20)
    bomb = archive(
        pickled(tensor(of=files.storage(count=15 << 20))), {"0": zeros}, method=zipfile.ZIP_DEFLATED
    )
    assert len(bomb) < 1 << 20
    refused(bomb, "would take 62914560 bytes of memory")
    pickle_bomb = archive(zeros, method=zipfile.ZIP_DEFLATED)
    refused(pickle_bomb, "data.pkl, inflated, would take")


@pytest.mark.parametrize("size", [23, 25, 4000])
def test_entries_that_unpack_to_another_size(size):
    """The directory announces 24 bytes."""
    content = bytearray(archive(pickled(tensor()), {"0": bytes(size)}, method=zipfile.ZIP_DEFLATED))
    at = content.index(struct.pack("<I", size), content.index(b"PK\1\2"))
    struct.pack_into("<I", content, at, 24)
    with pytest.raises(CheckpointError, match=r"ends too early|unpacks to more"):
        load(io.BytesIO(bytes(content)))


def test_deflated_entries_have_the_right_checksum():
    data = struct.pack("<6f", *range(6))
    content = archive(pickled(tensor()), {"0": data}, method=zipfile.ZIP_DEFLATED)
    changed = content.replace(struct.pack("<I", zlib.crc32(data)), b"abcd")
    with pytest.raises(CheckpointError, match="checksum"):
        load(io.BytesIO(changed))


# -- memory ---------------------------------------------------------------------------------

MEMORY_TEST = """
import resource, sys, rushlight
from rushlight.serialization import CheckpointError, inspect
with open("/proc/self/statm") as file:
    taken = int(file.read().split()[0]) * resource.getpagesize()
limit = taken + int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for read in (rushlight.load, inspect):
    try:
        read(sys.argv[1])
        print("loaded")
    except CheckpointError:
        print("refused")
"""

GREEDY = {
    "dicts": archive(pickled(b"](" + b"}" * 2_000_000 + b"e")),
    "lists": archive(pickled(b"](" + b"]" * 2_000_000 + b"e")),
    "tuples": archive(pickled(b")" + b"\x85" * 2_000_000)),
    "marks": archive(pickled(b"(" * 2_000_000)),
    "memo": archive(pickled(b"N" + b"".join(b"r" + struct.pack("<I", n) for n in range(500_000)))),
    "tensors": archive(
        pickled(
            b"](ctorch._utils\n_rebuild_tensor\nq\0("
            + files.storage()
            + b"K\0K\1\x85K\1\x85tq\1R"
            + b"h\0h\1R" * 400_000
            + b"e"
        )
    ),
    "ordered dicts": archive(
        pickled(
            b"](ccollections\nOrderedDict\nq\0"
            + b"]("
            + b"".join(b"(J" + struct.pack("<i", n) + b"Nt" for n in range(5000))
            + b"e\x85q\1R"
            + b"h\0h\1R" * 100_000
            + b"e"
        )
    ),
    "texts": archive(pickled(text("é" + "x" * 40_000_000))),
    "zip entries": archive(pickled(b"N"), dict.fromkeys(map(str, range(150_000)), b"")),
    "header entries": struct.pack("<Q", 12_000_000)
    + b"{"
    + b",".join(
        b'"%06d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}' % n for n in range(210_000)
    ).ljust(11_999_998)
    + b"}",
    "header texts": struct.pack("<Q", 40_000_000)
    + b'{"__metadata__":{"k":"'
    + "é".encode()
    + b"x" * (40_000_000 - 28)
    + b'"}}',
    "header lists": struct.pack("<Q", 20_000_000) + b'{"a":' + b"[{}," * 4_999_998 + b"}",
    "a header that lies": struct.pack("<Q", 60)
    + b'{"a":{"dtype":"F32","shape":[8589934592],"data_offsets":[0,34359738368]}}',
    "a storage that lies": archive(pickled(tensor((2**33,), (1,), of=files.storage(count=2**33)))),
    "a legacy storage that lies": legacy(
        tensor((2**33,), (1,), of=files.storage(count=2**33, legacy=True)),
        b"]" + text("0") + b"a",
        legacy_data(count=2**33),
    ),
}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of Linux")
@pytest.mark.parametrize("name", GREEDY)
def test_greedy_files_take_no_more_memory_than_they_are_granted(tmp_path, name):
    path = tmp_path / "greedy"
    path.write_bytes(GREEDY[name])
    granted = path.stat().st_size + (64 << 20)
    result = subprocess.run(
        [sys.executable, "-c", MEMORY_TEST, str(path), str(granted)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout == "refused\nrefused\n", result.stderr[-2000:]


# -- cut and damaged ------------------------------------------------------------------------


def small(format):
    stream = io.BytesIO()
    state = {"a.weight": rl.randn(2, 3), "b": rl.tensor([True, False]), "n": rl.tensor(3)}
    save(state, stream, format=format)
    return stream.getvalue()


@pytest.mark.parametrize("name", ["safetensors", "torch", "layouts.pt", "types-legacy.pt"])
def test_every_truncation_is_refused(name):
    whole = small(name) if "." not in name else (STORED / name).read_bytes()
    load(io.BytesIO(whole))
    for end in range(len(whole)):
        with pytest.raises(CheckpointError):
            load(io.BytesIO(whole[:end]))


@pytest.mark.parametrize("name", ["safetensors", "zip", "deflated", "legacy"])
def test_damaged_files_are_refused_or_loaded(name):
    found = {"refused": 0, "loaded": 0}
    originals = seeds()[name]
    for number in range(2000):
        found[outcome(mutated(originals[number % len(originals)], (1, number)))] += 1
    assert found["refused"] > 1000
    assert found["loaded"] > 10
