"""Packed weights: made on the second use of a version, never stale, bounded, freed."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import rushlight as rl
from cases import CASES, Case
from rushlight import _core, nn
from rushlight.nn import functional as F
from test_ops import OURS


@pytest.fixture(autouse=True)
def _own_limit() -> Iterator[None]:
    limit = _core.weight_cache_stats()["limit"]
    rl.empty_cache()
    yield
    _core.set_weight_cache_limit(limit)
    rl.empty_cache()


def _blocks() -> int:
    gc.collect()
    return _core.weight_cache_stats()["blocks"]


class Kind:
    """A layer by how it computes: its weight's shape, and its result with a cache and without."""

    def __init__(self, shape: tuple[int, ...], src: tuple[int, ...], **window: Any) -> None:
        self.shape, self.window = shape, window
        self.src = rl.randn(*src)

    def __call__(self, weight: rl.Tensor) -> Any:
        if weight.ndim == 2:
            return F.linear(self.src, weight).detach().numpy()
        return F.conv2d(self.src, weight, **self.window).detach().numpy()

    def fresh(self, weight: rl.Tensor) -> Any:
        """Compute with a weight that no cache can know."""
        return self(rl.from_numpy(weight._array.copy()))


KINDS: dict[str, Callable[[], Kind]] = {
    "pointwise": lambda: Kind((20, 17, 1, 1), (2, 17, 9, 9)),
    "im2col": lambda: Kind((20, 7, 5, 5), (2, 14, 9, 9), padding=2, groups=2),
    "winograd, few tiles": lambda: Kind((20, 18, 3, 3), (1, 18, 7, 7), padding=1),
    "winograd, many tiles": lambda: Kind((20, 18, 3, 3), (3, 18, 40, 40), padding=1),
    "depthwise": lambda: Kind((7, 1, 3, 3), (1, 7, 19, 19), groups=7),
    "linear": lambda: Kind((21, 19), (9, 19)),
    "linear, one row": lambda: Kind((21, 19), (1, 19)),
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]()


def _packs(kind: Kind) -> bool:
    return not (kind.shape[:2] == (7, 1) or kind.src.shape[0] == 1 == kind.src.ndim - 1)


def test_the_second_use_packs(kind: Kind, isa: str) -> None:
    weight = rl.randn(*kind.shape)
    found = []
    for expected in (0, 1, 1):
        found.append(kind(weight).tobytes())
        assert _blocks() == (expected if _packs(kind) else 0)
    assert found[0] == found[1] == found[2] == kind.fresh(weight).tobytes()
    del weight
    assert _blocks() == 0


def test_training_packs_nothing() -> None:
    model = nn.Sequential(nn.Conv2d(16, 16, 3), nn.Flatten(), nn.Linear(16 * 64, 10))
    optimizer = rl.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(4):
        optimizer.zero_grad()
        model(rl.randn(8, 16, 10, 10)).sum().backward()
        optimizer.step()
        assert _blocks() == 0
    with rl.no_grad():
        for _ in range(2):
            model(rl.randn(8, 16, 10, 10))
    assert _blocks() == 2
    model(rl.randn(8, 16, 10, 10)).sum().backward()
    optimizer.step()
    model(rl.randn(8, 16, 10, 10))
    assert _blocks() == 0


def _assign(weight: nn.Parameter) -> None:
    weight.data = rl.randn(*weight.shape)


def _assign_slice(weight: nn.Parameter) -> None:
    weight.data = rl.randn(3, *weight.shape)[1]


def _step(weight: nn.Parameter) -> None:
    weight.grad = rl.randn(*weight.shape)
    rl.optim.Adam([weight], lr=0.1).step()


def _step_sgd(weight: nn.Parameter) -> None:
    weight.grad = rl.randn(*weight.shape)
    rl.optim.SGD([weight], lr=0.1, momentum=0.9).step()


def _write_numpy(weight: nn.Parameter) -> None:
    weight.detach().numpy()[...] *= -1.5


def _write_asarray(weight: nn.Parameter) -> None:
    np.asarray(weight.detach())[0] = 7


def _load(weight: nn.Parameter) -> None:
    holder = nn.Module()
    holder.weight = weight
    holder.load_state_dict({"weight": rl.randn(*weight.shape)})


def _load_assigned(weight: nn.Parameter) -> None:
    holder = nn.Module()
    holder.weight = weight
    holder.load_state_dict({"weight": rl.randn(*weight.shape)}, assign=True)
    weight.data = holder.weight.data


def _no_grad(change: Callable[[rl.Tensor], Any]) -> Callable[[nn.Parameter], None]:
    def changed(weight: nn.Parameter) -> None:
        with rl.no_grad():
            change(weight)

    return changed


def _set(weight: rl.Tensor) -> None:
    weight[0] = 3.0


def _set_by_mask(weight: rl.Tensor) -> None:
    weight[weight > 0] = 0.25


def _init(weight: rl.Tensor) -> None:
    nn.init.kaiming_normal_(weight)


def _vector(weight: rl.Tensor) -> None:
    nn.utils.vector_to_parameters(rl.randn(weight.numel()), [weight])


def _buffers(weight: rl.Tensor) -> None:
    """Give the memory away while it is pickled, and write to what comes back."""
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(weight, protocol=5, buffer_callback=buffers.append)
    back = pickle.loads(data, buffers=[bytearray(each.raw()) for each in buffers])
    back.data.fill_(5)


CHANGES: dict[str, Callable[[nn.Parameter], Any]] = {
    "nothing": lambda weight: None,
    "adam": _step,
    "sgd": _step_sgd,
    "load_state_dict": _load,
    "load_state_dict, assign": _load_assigned,
    "new data": _assign,
    "new data, a slice": _assign_slice,
    "numpy": _write_numpy,
    "asarray": _write_asarray,
    "in place on data": lambda weight: weight.data.add_(0.5),
    "in place on a view of data": lambda weight: weight.data[0].mul_(2),
    "in place": _no_grad(lambda weight: weight.mul_(-1)),
    "item": _no_grad(_set),
    "mask": _no_grad(_set_by_mask),
    "view": _no_grad(lambda weight: weight.reshape(-1).add_(1)),
    "transposed": _no_grad(lambda weight: weight.transpose(0, 1).mul_(1.25)),
    "unbound": _no_grad(lambda weight: weight.unbind(0)[1].zero_()),
    "chunk": _no_grad(lambda weight: weight.chunk(2)[0].sub_(1)),
    "copy": _no_grad(lambda weight: weight.copy_(rl.randn(*weight.shape))),
    "init": _init,
    "normal": _no_grad(lambda weight: weight.normal_()),
    "vector": _vector,
    "shallow copy": _no_grad(lambda weight: copy.copy(weight).add_(1)),
    "deep copy": _no_grad(lambda weight: copy.deepcopy(weight).add_(1)),
    "pickle": _buffers,
    "empty_cache": lambda weight: rl.empty_cache(),
    "new address": lambda weight: [setattr(weight, "data", rl.randn(*weight.shape)) for _ in "ab"],
}


@pytest.mark.parametrize("change", CHANGES)
def test_never_stale_after(change: str, kind: Kind) -> None:
    weight = nn.Parameter(rl.randn(*kind.shape))
    for _ in range(3):
        for _ in range(2):
            assert kind(weight).tobytes() == kind.fresh(weight).tobytes()
        CHANGES[change](weight)
        assert kind(weight).tobytes() == kind.fresh(weight).tobytes()


def test_random_interleavings() -> None:
    """Changes and uses in any order, of several layers that share weights and modes."""
    rng = np.random.default_rng(1)
    names = [each for each in CHANGES if each not in ("numpy", "asarray")]
    kinds = [make() for make in KINDS.values()]
    weights = [nn.Parameter(rl.randn(*each.shape)) for each in kinds]
    versions = 0
    for step in range(1500):
        index = int(rng.integers(len(kinds)))
        kind, weight = kinds[index], weights[index]
        action = rng.random()
        if action < 0.2:
            # Handing out the memory ends the caching of this weight, so it is done last.
            CHANGES[str(rng.choice(names)) if step < 1200 else "numpy"](weight)
            versions += 1
        elif action < 0.3:
            weights[index] = copy.deepcopy(weight)
        elif action < 0.35:
            _core.set_isa(str(rng.choice(_core.isas())))
        elif action < 0.4:
            rl.backends.winograd.enabled = not rl.backends.winograd.enabled
        elif action < 0.6:
            with rl.no_grad():
                assert kind(weight).tobytes() == kind.fresh(weight).tobytes(), step
        else:
            assert kind(weight).tobytes() == kind.fresh(weight).tobytes(), step
    assert versions > 100


def test_threads_on_one_model() -> None:
    """Forwards in several threads while another changes the weights between their rounds."""
    model = nn.Sequential(nn.Conv2d(16, 24, 3), nn.ReLU(), nn.Conv2d(24, 16, 1), nn.Flatten())
    x, errors = rl.randn(2, 16, 12, 12), []

    def reference() -> bytes:
        fresh = copy.deepcopy(model)
        return bytes(fresh(x).detach().numpy().tobytes())

    def work(expected: bytes) -> None:
        for _ in range(6):
            with rl.no_grad():
                if model(x).numpy().tobytes() != expected:
                    errors.append("stale")

    for _ in range(15):
        with rl.no_grad():
            for each in model.parameters():
                each.add_(rl.randn(*each.shape))
        threads = [threading.Thread(target=work, args=(reference(),)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not errors


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_results_that_share_memory_share_its_version(case: Case) -> None:
    """Otherwise a write through such a result would go unnoticed."""
    inputs = [rl.tensor(each) for each in case.inputs()]
    results = case.op(OURS, *inputs)
    for result in results if isinstance(results, (tuple, list)) else (results,):
        for each in inputs:
            if np.shares_memory(result._array, each._array):
                assert result._storage is each._storage


def test_a_view_of_another_part_is_not_mistaken() -> None:
    kind, both = KINDS["pointwise"](), rl.randn(2, 20, 17, 1, 1)
    for _ in range(3):
        for half in (both[0], both[1]):
            for _ in range(3):
                assert kind(half).tobytes() == kind.fresh(half).tobytes()


def test_a_strided_weight_is_not_cached() -> None:
    kind, weight = KINDS["linear"](), rl.randn(19, 21)
    for _ in range(3):
        assert kind(weight.T).tobytes() == kind.fresh(weight.T.contiguous()).tobytes()
    assert _blocks() == 0


def test_the_limit_bounds_the_memory() -> None:
    kind = KINDS["winograd, many tiles"]()
    _core.set_weight_cache_limit(100_000)
    weights = [rl.randn(*kind.shape) for _ in range(8)]
    for _ in range(3):
        for each in weights:
            assert kind(each).tobytes() == kind.fresh(each).tobytes()
            assert _core.weight_cache_stats()["bytes"] <= 100_000
    assert 0 < _blocks() < 8
    _core.set_weight_cache_limit(0)
    rl.empty_cache()
    kind(weights[0])
    assert _blocks() == 0
    with pytest.raises(ValueError, match="limit must not be negative, got -1"):
        _core.set_weight_cache_limit(-1)


def test_show_config_reports_it_and_empty_cache_frees_it() -> None:
    layer, x = nn.Linear(512, 1024), rl.randn(8, 512)
    for _ in range(2):
        layer(x)
    assert "packed weights" in rl.show_config()
    assert "2.0 MiB in 1 blocks" in rl.show_config()
    rl.empty_cache()
    assert "0.0 MiB in 0 blocks" in rl.show_config()
    layer(x)
    assert _blocks() == 1


def test_the_environment_sets_the_limit() -> None:
    code = "from rushlight import _core; print(_core.weight_cache_stats()['limit'])"
    for value, expected in {"12345": "12345", "0": "0"}.items():
        environment = {**os.environ, "RUSHLIGHT_WEIGHT_CACHE_LIMIT": value}
        command = [sys.executable, "-c", code]
        out = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
        assert out.stdout.strip() == expected
