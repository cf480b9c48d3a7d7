"""Samplers, concatenation, readers of images, augmentation, and loaders that go on."""

from __future__ import annotations

import sys
import threading
import traceback

import numpy as np
import pytest

import rushlight as rl
from rushlight import data
from rushlight.data import ConcatDataset, DataLoader, TensorDataset


def numbers(count=23):
    return TensorDataset(rl.arange(count))


def order(loader):
    return [batch[0].tolist() for batch in loader]


# -- concatenation --------------------------------------------------------------------------


def test_datasets_one_after_the_other():
    both = numbers(3) + TensorDataset(rl.tensor([7, 8]))
    assert isinstance(both, ConcatDataset)
    assert len(both) == 5
    assert [int(both[index][0]) for index in (0, 2, 3, -1, -5)] == [0, 2, 7, 8, 0]
    for index in (5, -6):
        with pytest.raises(IndexError, match="out of range for 5"):
            both[index]
    assert order(DataLoader(both, 2)) == [[0, 1], [2, 7], [8]]
    assert len(ConcatDataset([numbers(0), numbers(1)])) == 1
    with pytest.raises(ValueError, match="empty"):
        ConcatDataset([])


# -- samplers -------------------------------------------------------------------------------


def test_samplers_of_indices():
    assert list(data.SequentialSampler([5, 6, 7])) == [0, 1, 2]
    rl.manual_seed(1)
    drawn = list(data.RandomSampler(range(50)))
    assert sorted(drawn) == list(range(50)) != drawn
    rl.manual_seed(1)
    assert list(data.RandomSampler(range(50))) == drawn
    assert len(data.RandomSampler(range(3), num_samples=7)) == 7
    assert len(list(data.RandomSampler(range(3), num_samples=7))) == 7
    repeated = list(data.RandomSampler(range(10), replacement=True, num_samples=200))
    assert len(repeated) == 200
    assert set(repeated) == set(range(10))
    subset = data.SubsetRandomSampler([4, 9, 11])
    assert sorted(subset) == [4, 9, 11]
    assert len(subset) == 3
    weighted = list(data.WeightedRandomSampler([0, 1, 3], 4000))
    assert 0 not in weighted
    assert weighted.count(2) == pytest.approx(3000, abs=150)
    assert sorted(data.WeightedRandomSampler([0, 1, 3], 2, replacement=False)) == [1, 2]
    assert list(data.BatchSampler(range(5), 2, False)) == [[0, 1], [2, 3], [4]]
    assert list(data.BatchSampler(range(5), 2, True)) == [[0, 1], [2, 3]]
    assert [len(data.BatchSampler(range(5), 2, drop)) for drop in (False, True)] == [3, 2]
    loader = DataLoader(numbers(6), batch_sampler=data.BatchSampler([5, 3, 1], 2, False))
    assert order(loader) == [[5, 3], [1]]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: data.RandomSampler([1], num_samples=0), "positive integer, but got 0"),
        (lambda: data.WeightedRandomSampler([1, -1], 1), "at least 0"),
        (lambda: data.WeightedRandomSampler([0, 0], 1), "1 samples cannot be drawn from 0"),
        (lambda: data.WeightedRandomSampler([0, 1], 2, False), "2 samples cannot be drawn from 1"),
        (lambda: data.WeightedRandomSampler([1], 1.5), "positive integer"),
        (lambda: data.BatchSampler([1], 0, False), "positive integer, but got 0"),
    ],
)
def test_bad_samplers(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# -- loaders that go on ---------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 3])
@pytest.mark.parametrize("given", [0, 1, 3, 6])
@pytest.mark.parametrize("kind", ["default", "own generator", "sampler"])
def test_a_pass_goes_on_where_it_was(workers, given, kind):
    def loader():
        generator = rl.Generator().manual_seed(3) if kind == "own generator" else None
        sampler = data.RandomSampler(numbers()) if kind == "sampler" else None
        shuffle = None if sampler else True
        return DataLoader(numbers(), 4, shuffle, sampler, num_workers=workers, generator=generator)

    rl.manual_seed(5)
    first = loader()
    batches = iter(first)
    for _ in range(given):
        next(batches)
    state, random = first.state_dict(), rl.get_rng_state()
    expected = [batch[0].tolist() for batch in batches]
    after = rl.rand(3).tolist()
    second = order(first)
    rl.manual_seed(99)
    rest = loader()
    rest.load_state_dict(state)
    rl.set_rng_state(random)
    assert len(expected) == (6 - given) or given == 0
    assert order(rest) == expected
    assert rl.rand(3).tolist() == after
    if kind != "own generator":
        assert order(rest) == second


def test_a_complete_pass_is_not_repeated():
    loader = DataLoader(numbers(), 4, True)
    order(loader)
    assert loader.state_dict() == {"start": None, "given": 0}
    other = DataLoader(numbers(), 4, True)
    other.load_state_dict(loader.state_dict())
    assert len(order(other)) == 6


def test_skipped_batches_are_not_read():
    read = []

    class Counting(data.Dataset):
        def __getitem__(self, index):
            read.append(index)
            return index

        def __len__(self):
            return 8

    loader = DataLoader(Counting(), 2)
    batches = iter(loader)
    next(batches)
    state = loader.state_dict()
    read.clear()
    rest = DataLoader(Counting(), 2)
    rest.load_state_dict(state)
    assert [batch.tolist() for batch in rest] == [[2, 3], [4, 5], [6, 7]]
    assert read == [2, 3, 4, 5, 6, 7]


def test_an_error_in_a_worker_has_its_traceback():
    class Broken(data.Dataset):
        def __getitem__(self, index):
            if index == 5:
                raise LookupError("sample five is damaged")
            return index

        def __len__(self):
            return 8

    before = threading.active_count()
    with pytest.raises(LookupError, match="five") as caught:
        for _ in DataLoader(Broken(), 2, num_workers=2):
            pass
    assert "in __getitem__" in "".join(traceback.format_exception(caught.value))
    for _ in DataLoader(numbers(), 1, num_workers=3):
        break
    assert threading.active_count() == before


# -- readers --------------------------------------------------------------------------------


def cifar(path, count, seed):
    rng = np.random.default_rng(seed)
    records = rng.integers(0, 256, (count, 3073), np.uint8)
    records[:, 0] %= 10
    records.tofile(path)
    return records


def test_cifar_files(tmp_path):
    parts = [cifar(tmp_path / f"data_batch_{n}.bin", 4, n) for n in range(1, 6)]
    test = cifar(tmp_path / "test_batch.bin", 3, 9)
    images, labels = data.cifar10_folder(tmp_path).tensors
    records = np.concatenate(parts)
    assert (images.shape, images.dtype, labels.dtype) == ((20, 3, 32, 32), rl.float32, rl.int64)
    np.testing.assert_array_equal(labels.numpy(), records[:, 0])
    expected = records[:, 1:].reshape(20, 3, 32, 32) / np.float32(255)
    np.testing.assert_array_equal(images.numpy(), expected)
    assert data.cifar10_folder(tmp_path, "test").tensors[1].tolist() == test[:, 0].tolist()


def test_bad_cifar_files(tmp_path):
    with pytest.raises(FileNotFoundError):
        data.cifar10_folder(tmp_path)
    with pytest.raises(ValueError, match="split"):
        data.cifar10_folder(tmp_path, "all")
    path = tmp_path / "x.bin"
    for content, message in (
        (b"", "has 0 bytes"),
        (bytes(3072), "records of 3073 bytes, but the file has 3072"),
        (b"\x0a" + bytes(3072), "labels from 0 to 9, but got 10"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            data.read_cifar10(path)


def test_folders_of_images(tmp_path):
    image = pytest.importorskip("PIL.Image")
    colours = {"dark": (10, 20, 30), "light": (200, 210, 220)}
    for name, colour in colours.items():
        (tmp_path / name / "inner").mkdir(parents=True)
        image.new("RGB", (6, 4), colour).save(tmp_path / name / "b.png")
        image.new("L", (8, 8), 100).save(tmp_path / name / "inner" / "a.PNG")
        (tmp_path / name / "notes.txt").write_text("no image")
    found = data.ImageFolder(tmp_path)
    assert (found.classes, found.class_to_idx) == (["dark", "light"], {"dark": 0, "light": 1})
    assert found.targets == [0, 0, 1, 1]
    pixels, label = found[2]
    assert (pixels.shape, pixels.dtype, label) == ((3, 4, 6), rl.float32, 1)
    assert pixels[:, 1, 1].tolist() == pytest.approx([each / 255 for each in (200, 210, 220)])
    assert found[1][0].shape == (3, 8, 8)
    sized = data.ImageFolder(tmp_path, lambda x: x * 2, lambda label: -label, size=(5, 7))
    ((images, labels),) = DataLoader(sized, 4)
    assert images.shape == (4, 3, 5, 7)
    assert labels.tolist() == [0, 0, -1, -1]
    assert images[1, 0, 0, 0].item() == pytest.approx(200 / 255)


def test_bad_folders_of_images(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        data.ImageFolder(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="a folder for each class"):
        data.ImageFolder(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="there are no images"):
        data.ImageFolder(tmp_path)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"rushlight\[images\]"):
        data.read_image(tmp_path / "x.png")


# -- augmentation ---------------------------------------------------------------------------


def images(n=64, c=2, h=6, w=5):
    return np.arange(1, n * c * h * w + 1, dtype=np.float32).reshape(n, c, h, w)


def test_crops_are_shifts():
    source = images()
    before = source.copy()
    rl.manual_seed(4)
    result = data.random_crop(source, 2)
    np.testing.assert_array_equal(source, before)
    padded = np.pad(source, ((0, 0), (0, 0), (2, 2), (2, 2)))
    shifts = set()
    for old, new in zip(padded, result, strict=True):
        found = [
            (y, x)
            for y in range(5)
            for x in range(5)
            if np.array_equal(old[:, y : y + 6, x : x + 5], new)
        ]
        assert len(found) == 1
        shifts.add(found[0])
    assert len(shifts) > 15
    rl.manual_seed(4)
    np.testing.assert_array_equal(data.random_crop(source, 2), result)
    np.testing.assert_array_equal(data.random_crop(source, 0), source)


def test_flips_are_mirror_images():
    source = images(400)
    result = data.random_flip(source, 0.25)
    flipped = [
        np.array_equal(new, old[:, :, ::-1]) for old, new in zip(source, result, strict=True)
    ]
    kept = [np.array_equal(new, old) for old, new in zip(source, result, strict=True)]
    assert all(a != b for a, b in zip(flipped, kept, strict=True))
    assert 60 < sum(flipped) < 140
    np.testing.assert_array_equal(data.random_flip(source, 1.0), source[:, :, :, ::-1])


def test_normalize():
    source = images()
    result = data.normalize(source, [1, 2], [2, 4])
    np.testing.assert_allclose(result[:, 1], (source[:, 1] - 2) / 4)
    assert result.dtype == np.float32
    np.testing.assert_allclose(data.normalize(source, [1], [2]), (source - 1) / 2)


def test_augment_in_one_call():
    batch = rl.from_numpy(images())
    augment = data.Augment(2, 0.5, [0.5], [2.0], rl.Generator().manual_seed(1))
    source = rl.Generator().manual_seed(1)
    expected = data.random_flip(data.random_crop(images(), 2, source), 0.5, source)
    np.testing.assert_array_equal(augment(batch).numpy(), data.normalize(expected, [0.5], [2.0]))
    plain = data.Augment()(batch)
    plain.fill_(0)
    assert batch.all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: data.random_crop(np.ones((2, 3)), 1), r"\[n, c, h, w\], but got \(2, 3\)"),
        (lambda: data.random_crop(images(), -1), "padding must not be negative"),
        (lambda: data.random_flip(images(), 1.5), "p must be from 0 to 1"),
        (lambda: data.normalize(images(), [1, 2, 3], [1]), "mean needs 1 or 2 values, but got 3"),
        (lambda: data.normalize(images(), [1], [0]), "std must not be zero"),
        (lambda: data.Augment(mean=[1]), "belong together"),
    ],
)
def test_bad_augmentation(call, message):
    with pytest.raises(ValueError, match=message):
        call()
