"""Write models.json: the fingerprint of every net, of torchvision's own where it has that net.

Run ``python tests/write_models_json.py`` where torchvision is installed, after adding a model.
"""

import hashlib
import json
from pathlib import Path

from rushlight import models


def fingerprint(model):
    """Return the number of entries of a state dict, and the hash of their names and shapes."""
    state = model.state_dict()
    lines = [f"{name} {tuple(value.shape)}\n" for name, value in state.items()]
    return len(state), hashlib.sha256("".join(lines).encode()).hexdigest()


def main():
    import torch
    import torchvision

    found = {}
    for name in models.list_models():
        if name in torchvision.models.list_models():
            with torch.device("meta"):
                found[name] = fingerprint(torchvision.models.get_model(name))
        else:
            found[name] = fingerprint(models.get_model(name))
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(each)}" for name, each in found.items())
    (Path(__file__).parent / "models.json").write_text(f"{{\n{lines}\n}}\n")


if __name__ == "__main__":
    main()
