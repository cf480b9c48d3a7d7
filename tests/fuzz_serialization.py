"""Damaged checkpoints by the hundred thousand: ``python tests/fuzz_serialization.py`` (nightly).

Each is a small right file of one of the formats with some bits turned, bytes overwritten, cut out,
doubled or cut off, by a seeded generator. Loading it must give either tensors that can be used or
a CheckpointError; anything else is printed with the seed that makes the file again.
"""

from __future__ import annotations

import argparse
import io
import random
import resource
import struct
import sys
import time
import zipfile
from collections import Counter

import numpy as np

import rushlight as rl
from checkpoint_files import STORED, repacked
from rushlight.serialization import CheckpointError, inspect, load, save

HEADROOM = 256 << 20  # bytes of address space that a load may take, before MemoryError
_NUMBERS = (0, 1, 0x7F, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)


def seeds() -> dict[str, list[bytes]]:
    """Return right files by format."""
    stream = io.BytesIO()
    state = {"a.weight": rl.randn(2, 3), "b": rl.tensor([True, False]), "n": rl.tensor(3)}
    save(state, stream, metadata={"k": "v"})
    ours = io.BytesIO()
    save({"state": state, "epoch": 3}, ours, format="torch")
    stored = {path.name: path.read_bytes() for path in sorted(STORED.glob("*.pt"))}
    zipped = [ours.getvalue(), *(each for each in stored.values() if each.startswith(b"PK"))]
    return {
        "safetensors": [stream.getvalue()],
        "zip": zipped,
        "deflated": [repacked(each, zipfile.ZIP_DEFLATED) for each in zipped],
        "legacy": [each for each in stored.values() if not each.startswith(b"PK")],
    }


def mutated(content: bytes, seed: object) -> bytes:
    """Return `content` with one to three places damaged; the same for the same seed."""
    rng = random.Random(str(seed))
    damaged = bytearray(content)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(damaged)) if damaged else 0
        kind = rng.randrange(8)
        if kind < 3 and damaged:
            damaged[at] ^= 1 << rng.randrange(8)
        elif kind == 3 and damaged:
            damaged[at] = rng.randrange(256)
        elif kind == 4:
            number = struct.pack("<Q", rng.choice(_NUMBERS))[: rng.choice((1, 2, 4, 8))]
            damaged[at : at + len(number)] = number
        elif kind == 5:
            del damaged[at : at + rng.randint(1, 16)]
        elif kind == 6:
            damaged[at:at] = damaged[at : at + rng.randint(1, 16)]
        else:
            del damaged[at:]
    return bytes(damaged)


def use(value: object) -> None:
    """Touch every element of every tensor in what was loaded."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, rl.Tensor):
            with np.errstate(all="ignore"):
                each.detach().numpy().sum()
        elif isinstance(each, dict):
            waiting += each.values()
        elif isinstance(each, (list, tuple)):
            waiting += each


def outcome(content: bytes) -> str:
    """Load a file and return what came of it; any other error than CheckpointError passes."""
    try:
        inspect(io.BytesIO(content))
        use(load(io.BytesIO(content)))
    except CheckpointError as error:
        if not error.reason or error.file != "checkpoint data":
            raise RuntimeError(f"an error without its parts: {error}") from error
        return "refused"
    return "loaded"


def main() -> int:
    """Try the mutations of each format; the exit status tells whether all was well."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutations", type=int, default=100_000, help="for each format (100000)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="the time, by default")
    options = parser.parse_args()
    with open("/proc/self/statm", encoding="ascii") as file:
        taken = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + HEADROOM, taken + HEADROOM))
    failures = 0
    for name, files in seeds().items():
        counts: Counter[str] = Counter()
        for number in range(options.mutations):
            seed = (options.seed, name, number)
            try:
                counts[outcome(mutated(files[number % len(files)], seed))] += 1
            except Exception as error:
                failures += 1
                print(f"{seed}: {type(error).__name__}: {error}")
        print(f"{name}: {counts['refused']} refused, {counts['loaded']} loaded", flush=True)
    print(f"seed {options.seed}: {failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
