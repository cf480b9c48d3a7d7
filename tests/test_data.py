"""Datasets, the loader and its threads, the bundled digits, idx files."""

import collections
import contextlib
import gzip
import os
import struct
import threading
import time
import traceback

import numpy as np
import pytest

import rushlight as rl
from rushlight.data import (
    DataLoader,
    Dataset,
    Subset,
    TensorDataset,
    default_collate,
    digits,
    mnist_folder,
    random_split,
    read_idx,
)

WORKERS = [0, 1, 3]


class Squares(Dataset):
    """A dataset without a shortcut: a number and its square."""

    def __init__(self, count=10, delay=0.0):
        self.count, self.delay = count, delay

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        time.sleep(self.delay * (index % 3))  # batches get ready out of order
        return rl.tensor([float(index)]), index * index


def pairs(count=10):
    return TensorDataset(rl.arange(count), rl.arange(count) * 10)


def data_threads():
    return [each for each in threading.enumerate() if each.name.startswith("rushlight-data")]


# -- datasets -------------------------------------------------------------------------------


def test_tensor_dataset():
    dataset = pairs()
    first, second = dataset[3]
    assert (first.item(), second.item(), len(dataset)) == (3, 30, 10)
    assert first.dim() == 0
    with pytest.raises(IndexError):
        dataset[10]


@pytest.mark.parametrize(
    ("tensors", "error", "message"),
    [
        ((), ValueError, "at least one dimension"),
        ((rl.tensor(1.0),), ValueError, "at least one dimension"),
        ((rl.ones(2), rl.ones(3)), ValueError, r"first sizes \[2, 3\]"),
        (([1, 2],), TypeError, "expected tensors, but got list"),
    ],
)
def test_tensor_dataset_refuses(tensors, error, message):
    with pytest.raises(error, match=message):
        TensorDataset(*tensors)


def test_dataset_without_getitem():
    with pytest.raises(NotImplementedError, match="Dataset does not define"):
        Dataset()[0]


@pytest.mark.parametrize("lengths", [[7, 3], [0.7, 0.3], [10, 0], [1.0]])
def test_random_split_covers_everything_once(lengths):
    parts = random_split(pairs(), lengths, generator=rl.Generator().manual_seed(1))
    again = random_split(pairs(), lengths, generator=rl.Generator().manual_seed(1))
    assert [part.indices for part in parts] == [part.indices for part in again]
    assert sorted(index for part in parts for index in part.indices) == list(range(10))
    assert [len(part) for part in parts] == [
        int(each * 10) if isinstance(each, float) else each for each in lengths
    ]


def test_random_split_shares_out_what_rounding_leaves():
    assert [len(part) for part in random_split(pairs(11), [0.5, 0.25, 0.25])] == [6, 3, 2]


@pytest.mark.parametrize("lengths", [[7, 4], [0.5, 0.2], [-1, 11], [float("nan"), 1], [9.5, 0.5]])
def test_random_split_refuses(lengths):
    with pytest.raises(ValueError, match="random_split: lengths"):
        random_split(pairs(), lengths)


# -- collate --------------------------------------------------------------------------------


def test_default_collate_of_every_kind():
    Point = collections.namedtuple("Point", "x y")
    assert default_collate([rl.ones(2), rl.zeros(2)]).tolist() == [[1, 1], [0, 0]]
    assert default_collate([np.ones(2, np.float32)] * 3).shape == (3, 2)
    assert default_collate([1, 2]).dtype is rl.int64
    assert default_collate([1.5, 2.0]).dtype is rl.float64
    assert default_collate([True, False]).dtype is rl.bool
    assert default_collate([np.float32(1), np.float32(2)]).dtype is rl.float32
    assert default_collate(["a", "b"]) == ["a", "b"]
    assert default_collate([{"k": 1}, {"k": 2}])["k"].tolist() == [1, 2]
    nested = default_collate([(1, [2.0, 3.0]), (4, [5.0, 6.0])])
    assert isinstance(nested, list)
    assert nested[1][1].tolist() == [3.0, 6.0]
    point = default_collate([Point(1, 2), Point(3, 4)])
    assert isinstance(point, Point)
    assert point.y.tolist() == [2, 4]


def test_default_collate_refuses():
    with pytest.raises(TypeError, match=r"default_collate: .* got object"):
        default_collate([object()])
    with pytest.raises(ValueError, match="same length"):
        default_collate([(1, 2), (1,)])


# -- loader ---------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("dataset", [Squares(), Squares(11, delay=0.002)], ids=["fast", "slow"])
def test_batches_come_in_order(dataset, workers):
    loader = DataLoader(dataset, batch_size=4, num_workers=workers)
    batches = list(loader)
    assert len(batches) == len(loader) == 3
    values = rl.cat([values for values, _ in batches])
    assert values.tolist() == [[float(index)] for index in range(len(dataset))]
    assert batches[1][1].tolist() == [16, 25, 36, 49]
    assert not data_threads()


@pytest.mark.parametrize("make", [pairs, Squares, lambda: Subset(pairs(20), range(5, 15))])
def test_shuffling_depends_on_the_seed_alone(make):
    def order(workers, seed=3):
        loader = DataLoader(
            make(),
            batch_size=3,
            shuffle=True,
            num_workers=workers,
            generator=rl.Generator().manual_seed(seed),
        )
        return [rl.cat([batch[1] for batch in loader]).tolist() for _ in range(2)]

    first, second = order(0)
    assert sorted(first) == sorted(second)
    assert first != second
    assert [order(workers) for workers in WORKERS] == [[first, second]] * 3
    assert order(0, seed=4)[0] != first


def test_shuffling_follows_manual_seed():
    def order():
        rl.manual_seed(5)
        return [index.tolist() for index, _ in DataLoader(pairs(), batch_size=5, shuffle=True)]

    assert order() == order()


def test_whole_batches_equal_collated_samples():
    class Plain(TensorDataset):
        def __getitem__(self, index):  # a subclass may change samples: no shortcut
            return tuple(each + 1 for each in super().__getitem__(index))

    base = TensorDataset(rl.randn(10, 2, 3), rl.arange(10))
    nested = Subset(Subset(base, [9, 0, 4, 4, 7]), [1, 3, 0])
    (fast,) = DataLoader(nested, batch_size=3)
    slow = default_collate([nested[index] for index in range(3)])
    assert all(rl.equal(a, b) for a, b in zip(fast, slow, strict=True))
    (changed,) = DataLoader(Plain(*base.tensors), batch_size=10)
    assert rl.equal(changed[1], rl.arange(10) + 1)


@pytest.mark.parametrize("workers", [0, 2])
def test_options(workers):
    def lists(**options):
        return [batch[0].tolist() for batch in DataLoader(pairs(5), num_workers=workers, **options)]

    assert lists(batch_size=2, drop_last=True) == [[0, 1], [2, 3]]
    assert lists(batch_size=2, sampler=[4, 0, 2]) == [[4, 0], [2]]
    assert lists(batch_sampler=[[1], [0, 4]]) == [[1], [0, 4]]
    assert lists(batch_size=None) == [0, 1, 2, 3, 4]
    assert lists(batch_size=9) == [[0, 1, 2, 3, 4]]
    assert lists(batch_size=3, collate_fn=lambda batch: [sum(pair[1] for pair in batch)]) == [
        30,
        70,
    ]
    assert len(DataLoader(pairs(5), batch_size=2, drop_last=True)) == 2
    assert len(DataLoader(pairs(5), sampler=[1, 2])) == 2
    assert len(DataLoader(pairs(5), batch_sampler=[[1], [0, 4]])) == 2
    assert len(DataLoader(pairs(5), batch_size=None)) == 5
    assert list(DataLoader(Squares(0), num_workers=workers)) == []


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, but got 0"),
        ({"batch_size": 1.5}, TypeError, "batch_size must be an int, but got float"),
        ({"num_workers": -1}, ValueError, "num_workers must be at least 0"),
        ({"prefetch_factor": 0}, ValueError, "prefetch_factor"),
        ({"shuffle": True, "sampler": [0]}, ValueError, "exclude"),
        ({"batch_sampler": [[0]], "drop_last": True}, ValueError, "excludes"),
        ({"batch_size": None, "drop_last": True}, ValueError, "no batch to drop"),
        ({"dataset": iter([1])}, TypeError, "needs __len__"),
    ],
)
def test_loader_refuses(options, error, message):
    with pytest.raises(error, match=f"DataLoader: .*{message}"):
        DataLoader(**{"dataset": pairs(), **options})


class Broken(Squares):
    def __getitem__(self, index):
        if index == 5:
            return self.fail_here()
        return super().__getitem__(index)

    def fail_here(self):
        raise KeyError("sample 5")


@pytest.mark.parametrize("workers", WORKERS)
def test_an_exception_reaches_the_caller_in_its_place(workers):
    seen = []
    with pytest.raises(KeyError, match="sample 5") as caught:
        seen.extend(
            batch[1].tolist()
            for batch in DataLoader(Broken(delay=0.001), batch_size=2, num_workers=workers)
        )
    assert seen == [[0, 1], [4, 9]]
    assert "fail_here" in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert not data_threads()


@pytest.mark.parametrize("workers", [0, 2])
def test_stop_iteration_does_not_pass_for_the_end(workers):
    class Ends(Squares):
        def __getitem__(self, index):
            return next(iter([]))

    with pytest.raises(RuntimeError, match="StopIteration"):
        list(DataLoader(Ends(), num_workers=workers))


def test_leaving_the_loop_early_leaves_no_thread():
    for _ in DataLoader(Squares(1000, delay=0.001), num_workers=3):
        assert len(data_threads()) == 3
        break
    assert not data_threads()
    iterator = iter(DataLoader(Squares(), num_workers=2))
    next(iterator)
    del iterator
    assert not data_threads()
    iterator = iter(DataLoader(Squares(), num_workers=2))
    iterator.close()
    assert not data_threads()


def test_threads_run_ahead_but_not_far():
    taken = []

    class Counted(Squares):
        def __getitem__(self, index):
            taken.append(index)
            return super().__getitem__(index)

    iterator = iter(DataLoader(Counted(100), num_workers=2, prefetch_factor=3))
    deadline = time.monotonic() + 10
    while len(taken) < 6 and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.02)
    assert sorted(taken) == list(range(6))
    next(iterator)
    iterator.close()


# -- digits ---------------------------------------------------------------------------------


def test_digits_are_what_they_say():
    training, test = digits("train"), digits("test")
    for dataset, count in ((training, 1442), (test, 355)):
        images, labels = dataset.tensors
        assert images.shape == (count, 1, 8, 8)
        assert images.dtype is rl.float32
        assert labels.shape == (count,)
        assert labels.dtype is rl.int64
        assert (images.min().item(), images.max().item()) == (0.0, 1.0)
        assert rl.equal((images * 16).round(), images * 16)
        assert set(labels.tolist()) == set(range(10))
    counts = [np.bincount(dataset.tensors[1].numpy()) for dataset in (training, test)]
    assert sum(counts).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    np.testing.assert_array_equal(counts[1], sum(counts) // 5)


def test_digits_split_is_disjoint_and_fixed():
    training, test = (
        {image.tobytes() for image in digits(split).tensors[0].numpy()}
        for split in ("train", "test")
    )
    assert not training & test
    assert digits("test").tensors[1][:12].tolist() == digits("test").tensors[1][:12].tolist()
    with pytest.raises(ValueError, match='"train" or "test", but got \'valid\''):
        digits("valid")


def test_digits_are_scikit_learns():
    datasets = pytest.importorskip("sklearn.datasets")
    source = datasets.load_digits()
    whole = collections.Counter(
        (image.astype(np.float32).tobytes(), int(label))
        for image, label in zip(source.images, source.target, strict=True)
    )
    ours = collections.Counter(
        ((image * 16).numpy().tobytes(), label.item())
        for split in ("train", "test")
        for image, label in zip(*digits(split).tensors, strict=True)
    )
    assert ours == whole


def test_the_licence_lies_beside_the_digits():
    folder = os.path.dirname(rl.data.__file__)
    with open(os.path.join(folder, "digits.LICENSE.md"), encoding="utf-8") as file:
        text = file.read()
    assert "10.24432/C50P49" in text
    assert "CC BY 4.0" in text
    assert os.path.getsize(os.path.join(folder, "digits.npz")) < 60_000


# -- idx ------------------------------------------------------------------------------------


def idx_bytes(array, code=0x08):
    sizes = b"".join(struct.pack(">I", size) for size in array.shape)
    return bytes([0, 0, code, array.ndim]) + sizes + array.tobytes()


def write(path, data, packed=False):
    path.write_bytes(gzip.compress(data) if packed else data)
    return path


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize(
    ("code", "dtype"), [(8, "u1"), (9, "i1"), (11, ">i2"), (12, ">i4"), (13, ">f4"), (14, ">f8")]
)
@pytest.mark.parametrize("shape", [(5,), (2, 3, 4), (0, 3)])
def test_read_idx(tmp_path, code, dtype, shape, packed):
    array = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    result = read_idx(write(tmp_path / "file", idx_bytes(array, code), packed))
    np.testing.assert_array_equal(result, array)
    assert result.dtype.isnative
    assert result.flags.writeable


def test_every_truncation_of_an_idx_file_is_refused(tmp_path):
    data = idx_bytes(np.arange(12, dtype=np.uint8).reshape(3, 4))
    for whole in (data, gzip.compress(data)):
        for end in range(len(whole)):
            path = write(tmp_path / "file", whole[:end])
            with pytest.raises(ValueError, match="file"):
                read_idx(path)


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty file"),
        (b"GIF89a", "not an idx file"),
        (b"\0\0\x07\1\0\0\0\1x", "not an idx file"),
        (b"\0\0\x08\0", "not an idx file"),
        (b"\0\0\x08\1\0\0\0\2abc", "more bytes follow"),
        (b"\0\0\x08\1\xff\xff\xff\xffabc", "needs 4294967295 bytes"),
        (b"\0\0\x0e\4" + b"\xff" * 16, "more than the file can hold"),
        (b"\0\0\x08\xff" + b"\0\0\0\1" * 255 + b"x", "unusable idx shape"),
        (b"\0\0\x08\4" + b"\0\0\0\0" + b"\xff" * 12, "unusable idx shape"),
    ],
)
def test_bad_idx_files(tmp_path, data, message, packed):
    path = write(tmp_path / "some-file", data, packed)
    with pytest.raises(ValueError, match=f"some-file.*{message}"):
        read_idx(path)


def test_damaged_gzip_gives_value_errors(tmp_path):
    whole = gzip.compress(idx_bytes(np.arange(200, dtype=np.uint8)))
    rng = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] ^= 1 << int(rng.integers(8))
        path = write(tmp_path / "file", bytes(damaged))
        with contextlib.suppress(ValueError):
            read_idx(path)


def mnist(folder, count=4, packed=False, side=28, parts=("train", "t10k")):
    suffix = ".gz" if packed else ""
    rng = np.random.default_rng(0)
    for part in parts:
        images = rng.integers(0, 256, (count, side, side), dtype=np.uint8)
        images[:1, 0, :2] = 0, 255
        labels = np.arange(count, dtype=np.uint8) % 10
        write(folder / f"{part}-images-idx3-ubyte{suffix}", idx_bytes(images), packed)
        write(folder / f"{part}-labels-idx1-ubyte{suffix}", idx_bytes(labels), packed)


@pytest.mark.parametrize("packed", [False, True])
def test_mnist_folder(tmp_path, packed):
    mnist(tmp_path, packed=packed)
    for split in ("train", "test"):
        images, labels = mnist_folder(tmp_path, split).tensors
        assert images.shape == (4, 1, 28, 28)
        assert images.dtype is rl.float32
        assert (images.min().item(), images.max().item()) == (0.0, 1.0)
        assert labels.tolist() == [0, 1, 2, 3]
        assert labels.dtype is rl.int64


def test_mnist_folder_refuses(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        mnist_folder(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"train-images-idx3-ubyte or .*\.gz"):
        mnist_folder(tmp_path)
    with pytest.raises(ValueError, match='"train" or "test"'):
        mnist_folder(tmp_path, "t10k")
    mnist(tmp_path)
    write(tmp_path / "train-labels-idx1-ubyte", idx_bytes(np.zeros(3, np.uint8)))
    with pytest.raises(ValueError, match="each of 4 images, but got 3"):
        mnist_folder(tmp_path)
    write(tmp_path / "t10k-images-idx3-ubyte", idx_bytes(np.zeros((4, 2), np.uint8)))
    with pytest.raises(ValueError, match="in 3 dimensions, but got uint8 in 2"):
        mnist_folder(tmp_path, "test")
