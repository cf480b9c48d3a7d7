"""Module trees drawn at random, built with Rushlight and with PyTorch: the same in all respects."""

import random
import re

import pytest

import rushlight as rl
from rushlight import nn


class Plan:
    """A tree drawn at random, to be built with either library: kinds, names, ties, None slots."""

    def __init__(self, seed):
        self.seed = seed

    def build(self, lib, nn_lib):
        self.random = random.Random(self.seed)
        self.lib, self.nn = lib, nn_lib
        self.made = []
        return self.module(0)

    def module(self, depth):
        choose = self.random.random()
        if self.made and choose < 0.15:
            return self.random.choice(self.made)
        if depth == 3 or choose < 0.45:
            made = self.leaf()
        elif choose < 0.7:
            made = self.sequence(depth)
        elif choose < 0.85:
            made = self.mapping(depth)
        else:
            made = self.own(depth)
        self.made.append(made)
        return made

    def leaf(self):
        kind = self.random.choice(
            [
                lambda: self.nn.Linear(2, 3, bias=self.random.random() < 0.5),
                lambda: self.nn.Conv2d(2, 4, 3, groups=self.random.choice([1, 2]), padding="same"),
                lambda: self.nn.BatchNorm1d(2, affine=self.random.random() < 0.5),
                lambda: self.nn.BatchNorm2d(2, track_running_stats=self.random.random() < 0.5),
                lambda: self.nn.ReLU(inplace=self.random.random() < 0.5),
                lambda: self.nn.MaxPool2d(2, padding=1),
                lambda: self.nn.Dropout(0.25),
                lambda: self.nn.Conv1d(2, 4, 3, padding=1, bias=self.random.random() < 0.5),
                lambda: self.nn.ConvTranspose2d(2, 4, 3, stride=2, output_padding=1),
                lambda: self.nn.GroupNorm(2, 4, affine=self.random.random() < 0.5),
                lambda: self.nn.LayerNorm([2, 3], bias=self.random.random() < 0.5),
                lambda: self.nn.Embedding(3, 2, padding_idx=self.random.choice([None, -1])),
                lambda: self.nn.PReLU(3),
                lambda: self.nn.LeakyReLU(0.2),
                lambda: self.nn.BCEWithLogitsLoss(pos_weight=self.lib.ones(2)),
                self.nn.Identity,
                self.nn.Flatten,
                self.parameters,
            ]
        )
        return kind()

    def parameters(self):
        values = [self.lib.ones(2), self.nn.Parameter(self.lib.ones(1)), "text"]
        return self.nn.ParameterList(self.random.choices(values, k=self.random.randrange(4)))

    def sequence(self, depth):
        children = [self.module(depth + 1) for _ in range(self.random.randrange(4))]
        if self.random.random() < 0.4:
            made = self.nn.ModuleList([*children, None] if self.random.random() < 0.3 else children)
        else:
            made = self.nn.Sequential(*children)
        for _ in range(self.random.randrange(3)):
            made = self.edited(made)
        return made

    def edited(self, made):
        edit = self.random.randrange(5)
        if edit == 0:
            return made[self.random.randrange(2) :]
        if edit == 1:
            made.insert(0, self.nn.Tanh())
        elif edit == 2 and len(made):
            del made[self.random.randrange(len(made))]
        elif edit == 3 and len(made):
            made[-1] = self.nn.Sigmoid()
        elif isinstance(made, self.nn.Sequential) and list(made._modules)[:1] in ([], ["0"]):
            return made * 2
        return made

    def mapping(self, depth):
        names = self.random.sample(["b", "a", "c", "x1"], self.random.randrange(4))
        return self.nn.ModuleDict({name: self.module(depth + 1) for name in names})

    def own(self, depth):
        made = self.nn.Module()
        for name in self.random.sample(["p", "q", "m", "n", "b", "z"], 4):
            kind = self.random.randrange(5)
            if kind == 0:
                made.register_parameter(name, None)
            elif kind == 1:
                setattr(made, name, self.nn.Parameter(self.lib.ones(2, 1)))
            elif kind == 2:
                made.register_buffer(name, self.lib.ones(3), persistent=self.random.random() < 0.5)
            elif kind == 3:
                made.add_module(name, self.module(depth + 1))
            else:
                setattr(made, name, self.nn.Buffer(self.lib.zeros(1)))
        return made


def facts(model):
    """Return all that can be said about names, order, shapes and printing."""
    listings = ("named_modules", "named_parameters", "named_buffers")
    seen = []
    model.apply(lambda m: seen.append(type(m).__name__))
    return {
        "print": repr(model),
        "lists": [
            [
                (name, tuple(getattr(value, "shape", ())), type(value).__name__)
                for name, value in getattr(model, listing)(remove_duplicate=unique)
            ]
            for listing in listings
            for unique in (True, False)
        ],
        "state": [(name, tuple(value.shape)) for name, value in model.state_dict().items()],
        "metadata": dict(model.state_dict()._metadata),
        "apply": seen,
        "children": [name for name, _ in model.named_children()],
        "loaded": str(model.load_state_dict(model.state_dict())),
    }


def test_generated_trees_match_torch():
    torch = pytest.importorskip("torch")
    kinds = set()
    for seed in range(400):
        ours, theirs = Plan(seed).build(rl, nn), Plan(seed).build(torch, torch.nn)
        found, expected = facts(ours), facts(theirs)
        # Buffers of PyTorch have no type of their own; newer versions print one argument more.
        text = re.sub(r", bias=(True|False), track", ", track", repr([expected, str(seed)]))
        text = text.replace("torch.", "rushlight.")
        assert repr([found, str(seed)]).replace("'Buffer'", "'Tensor'") == text
        kinds |= {type(m).__name__ for m in ours.modules()}
    assert len(kinds) > 22
