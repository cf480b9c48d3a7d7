"""Makes the files in ``tests/checkpoints`` with PyTorch: ``python tests/make_checkpoints.py``.

They are stored so that the tests run where PyTorch is not. What is in them is counted up from
zero, so that the tests can say what they expect (``test_serialization_torch.py``).
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import torch

FOLDER = Path(__file__).parent / "checkpoints"

DTYPES = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8")
WIDE_DTYPES = ("uint16", "uint32", "uint64")


def every_type() -> OrderedDict[str, torch.Tensor]:
    """Return a tensor [2, 3] of each type."""
    state = OrderedDict(
        (name, torch.arange(6).reshape(2, 3).to(getattr(torch, name))) for name in DTYPES
    )
    state["bool"] = torch.tensor([True, False, True])
    return state


def every_layout() -> dict[str, object]:
    """Return views of one storage, and other shapes."""
    base = torch.arange(24.0).reshape(4, 6)
    return {
        "base": base,
        "transposed": base.t(),
        "sliced": base[1:, ::2],
        "expanded": torch.arange(3.0).expand(2, 3),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(torch.arange(2.0)),
        "frozen": torch.nn.Parameter(torch.arange(2.0), requires_grad=False),
        "leaf": torch.arange(2.0, requires_grad=True),
    }


def training() -> dict[str, object]:
    """Return what a training script saves: wrapped model, optimizer, numbers."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    for parameter in model.parameters():
        parameter.data = torch.arange(float(parameter.numel())).reshape(parameter.shape)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.125)
    model(torch.arange(8.0).reshape(4, 2)).sum().backward()
    optimizer.step()
    return {
        "epoch": 3,
        "best": 0.75,
        "name": "é",
        "none": None,
        "history": [1, 2.5, (True, -(2**40))],
        "size": torch.Size([2, 3]),
        "device": torch.device("cuda", 0),
        "dtype": torch.float16,
        "state_dict": torch.nn.DataParallel(model).state_dict(),
        "optimizer": optimizer.state_dict(),
    }


def main() -> None:
    """Write the files."""
    FOLDER.mkdir(exist_ok=True)
    wide = {name: torch.arange(4).to(getattr(torch, name)) for name in WIDE_DTYPES}
    torch.save({**every_type(), **wide}, FOLDER / "types.pt")
    torch.save(every_layout(), FOLDER / "layouts.pt")
    torch.save(training(), FOLDER / "training.pt")
    torch.save(training(), FOLDER / "protocol4.pt", pickle_protocol=4)
    old = {"_use_new_zipfile_serialization": False}
    torch.save({**every_type(), **wide}, FOLDER / "types-legacy.pt", **old)
    torch.save(every_layout(), FOLDER / "layouts-legacy.pt", **old)
    torch.save(training(), FOLDER / "training-legacy.pt", **old)


if __name__ == "__main__":
    main()
