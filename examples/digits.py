"""Train a conv net on the handwritten digits that come with Rushlight, and save it.

Under PyTorch's names throughout: with ``import torch as rushlight`` only the data would change.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import rushlight
from rushlight import Tensor, nn, optim
from rushlight.data import DataLoader, digits
from rushlight.nn import functional as F


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.dropout = nn.Dropout(0.25)
        self.fc = nn.Linear(32 * 2 * 2, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = self.dropout(x.flatten(1))
        return F.log_softmax(self.fc(x), dim=1)


def train(model: Net, loader: DataLoader[Any], optimizer: optim.Optimizer) -> float:
    model.train()
    total = 0.0
    for images, labels in loader:
        optimizer.zero_grad()
        loss = F.nll_loss(model(images), labels)
        loss.backward()
        optimizer.step()
        total += loss.item()
    return total / len(loader)


@rushlight.no_grad()
def accuracy(model: Net, loader: DataLoader[Any]) -> float:
    model.eval()
    right, count = 0, 0
    for images, labels in loader:
        right += int((model(images).argmax(1) == labels).sum().item())
        count += len(labels)
    return right / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--save", metavar="FILE", help="such as digits.safetensors")
    args = parser.parse_args()

    rushlight.manual_seed(0)
    model = Net()
    optimizer = optim.Adam(model.parameters(), lr=3e-3)
    training = DataLoader(digits("train"), batch_size=64, shuffle=True)
    held_out = DataLoader(digits("test"), batch_size=256)
    start = time.perf_counter()
    for epoch in range(1, args.epochs + 1):
        loss = train(model, training, optimizer)
        print(f"epoch {epoch}: loss {loss:.4f}, held out {accuracy(model, held_out):.2%}")
    print(f"{time.perf_counter() - start:.1f} s")
    if args.save:
        rushlight.save(model.state_dict(), args.save)


if __name__ == "__main__":
    main()
