"""What a row of ``cases.py`` and ``cases_layers.py`` is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import reference as ref

Array = ref.Array
Op = Callable[..., Any]


@dataclass(frozen=True)
class Case:
    """An operation on some inputs.

    `shapes` are the shapes of the inputs; `draw` makes them from a random generator where plain
    normal numbers will not do. `frozen` names inputs without a gradient. `native` rows run in the
    C++ kernels and are checked on every instruction set. `batched` says that dimension 0 of the
    first input is a batch that may be empty, `large` gives shapes big enough for several threads.
    `peer` is how near PyTorch's float64 results are, relative to the largest.
    """

    name: str
    op: Op
    reference: Op
    shapes: tuple[tuple[int, ...], ...]
    draw: Callable[[np.random.Generator], list[Array]] | None = None
    frozen: tuple[int, ...] = ()
    native: bool = False
    batched: bool = False
    large: tuple[tuple[int, ...], ...] | None = None
    tolerance: float = 1e-5
    peer: float = 1e-10

    def inputs(self, seed: int = 0, large: bool = False) -> list[Array]:
        """Return float64 (or int64) inputs, the same for the same seed."""
        rng = np.random.default_rng([seed, *map(ord, self.name)])
        if self.draw is not None:
            return self.draw(rng)
        shapes = self.large if large and self.large is not None else self.shapes
        return [rng.standard_normal(shape) for shape in shapes]
