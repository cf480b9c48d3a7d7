"""Every row of ``cases.py``, from every side."""

from __future__ import annotations

import importlib
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import rushlight
from cases import CASES, NATIVE, Case
from rushlight import _core
from rushlight.autograd import gradcheck

BOTH = [np.float32, np.float64]


def _engine(name: str) -> Any:
    """Return the functions of an engine, those of its ``nn.functional`` included."""
    library = importlib.import_module(name)
    functional = importlib.import_module(f"{name}.nn.functional")
    return SimpleNamespace(**{**vars(library), **vars(functional)})


def _every(cases: list[Case]) -> Any:
    return pytest.mark.parametrize("case", cases, ids=[case.name for case in cases])


OURS = _engine("rushlight")


def _typed(arrays: list[Any], dtype: Any) -> list[Any]:
    return [each.astype(dtype) if each.dtype.kind == "f" else each for each in arrays]


def _tensors(case: Case, arrays: list[Any], grad: bool = True) -> list[Any]:
    return [
        rushlight.tensor(
            each, requires_grad=grad and each.dtype.kind == "f" and index not in case.frozen
        )
        for index, each in enumerate(arrays)
    ]


def _run(case: Case, arrays: list[Any]) -> list[Any]:
    """Return the result and all gradients for a fixed gradient of the result."""
    tensors = _tensors(case, arrays)
    result = case.op(OURS, *tensors)
    seed = (
        np.random.default_rng(7)
        .standard_normal(result.shape)
        .astype(result.numpy(force=True).dtype)
    )
    result.backward(rushlight.tensor(seed))
    return [result.numpy(force=True)] + [t.grad.numpy() for t in tensors if t.grad is not None]


def _check_values(case: Case, dtype: Any) -> None:
    arrays = _typed(case.inputs(), dtype)
    expected = np.asarray(case.reference(*_typed(arrays, np.float64)))
    result = case.op(OURS, *_tensors(case, arrays, grad=False)).numpy()
    assert result.dtype == dtype
    assert result.shape == expected.shape
    scale = max(float(np.sqrt(np.mean(np.square(expected)))) if expected.size else 0.0, 1e-3)
    tolerance = (case.tolerance if dtype == np.float32 else 1e-12) * scale
    np.testing.assert_allclose(result, expected, rtol=case.tolerance / 10, atol=tolerance)


@_every(NATIVE)
@pytest.mark.parametrize("dtype", BOTH, ids=["float32", "float64"])
def test_native_values(case: Case, dtype: Any, isa: str) -> None:
    assert _core.isa() == isa
    _check_values(case, dtype)


@_every([case for case in CASES if not case.native])
@pytest.mark.parametrize("dtype", BOTH, ids=["float32", "float64"])
def test_values(case: Case, dtype: Any) -> None:
    _check_values(case, dtype)


@_every(CASES)
def test_gradients_by_finite_differences(case: Case) -> None:
    tensors = _tensors(case, case.inputs(seed=1))
    assert gradcheck(lambda *args: case.op(OURS, *args), tensors)


@_every(NATIVE)
def test_gradients_on_every_isa(case: Case, isa: str) -> None:
    """Directional derivatives in float64, and float32 beside float64."""
    arrays = case.inputs(seed=2)
    result, *grads = _run(case, arrays)
    rng = np.random.default_rng(3)
    moved = [index for index, each in enumerate(arrays) if each.dtype.kind == "f"]
    moved = [index for index in moved if index not in case.frozen]
    ways = [rng.standard_normal(arrays[index].shape) for index in moved]
    seed = np.random.default_rng(7).standard_normal(result.shape)
    step, values = 1e-6, []
    for sign in (step, -step):
        shifted = list(arrays)
        for index, way in zip(moved, ways, strict=True):
            shifted[index] = arrays[index] + sign * way
        values.append(case.op(OURS, *_tensors(case, shifted, grad=False)).numpy())
    numeric = float((seed * (values[0] - values[1])).sum()) / (2 * step)
    analytic = sum(float((grad * way).sum()) for grad, way in zip(grads, ways, strict=True))
    assert analytic == pytest.approx(numeric, rel=1e-5, abs=1e-6)
    for narrow, wide in zip(_run(case, _typed(arrays, np.float32)), [result, *grads], strict=True):
        assert narrow.dtype == np.float32
        np.testing.assert_allclose(
            narrow, wide, rtol=1e-3, atol=2e-5 * max(1.0, np.abs(wide).max(initial=0))
        )


@_every(NATIVE)
def test_threads_do_not_change_a_bit(case: Case, isa: str) -> None:
    arrays = _typed(case.inputs(large=True), np.float32)
    runs = []
    for count in (1, 2, 3):
        _core.set_num_threads(count)
        runs.append([each.tobytes() for each in _run(case, arrays)])
    assert runs[0] == runs[1] == runs[2]


@_every([case for case in NATIVE if case.large])
def test_large_inputs_agree_with_small_blocks(case: Case, isa: str) -> None:
    """Shapes that span several blocks and threads, beside float64 on one thread."""
    arrays = case.inputs(large=True)
    wide = _run(case, arrays)
    for narrow, exact in zip(_run(case, _typed(arrays, np.float32)), wide, strict=True):
        scale = float(np.sqrt(np.mean(np.square(exact))))
        np.testing.assert_allclose(narrow, exact, rtol=0, atol=2e-4 * scale)
    expected = np.asarray(case.reference(*arrays))
    np.testing.assert_allclose(wide[0], expected, rtol=1e-9, atol=1e-9)


def _strided(array: Any, rng: np.random.Generator) -> Any:
    """Return a view with gaps, and its axes in another order in memory, of the same values."""
    room = rng.standard_normal([2 * extent + 1 for extent in array.shape][::-1]).astype(array.dtype)
    view = room.transpose()[tuple(slice(1, 2 * extent + 1, 2) for extent in array.shape)]
    view[...] = array
    return view


@_every([case for case in CASES if not case.name.startswith("view")])
@pytest.mark.parametrize("dtype", BOTH, ids=["float32", "float64"])
def test_strided_and_read_only_inputs(case: Case, dtype: Any) -> None:
    arrays = _typed(case.inputs(), dtype)
    rng = np.random.default_rng(0)
    views = [_strided(each, rng) for each in arrays]
    kept = [each.copy() for each in views]
    for each in views:
        each.flags.writeable = False
    expected = case.op(OURS, *_tensors(case, arrays, grad=False)).numpy()
    result = case.op(OURS, *[rushlight.from_numpy(each) for each in views]).numpy()
    np.testing.assert_allclose(
        result, expected, rtol=1e-5 if dtype == np.float32 else 1e-12, atol=1e-6
    )
    for view, before in zip(views, kept, strict=True):
        np.testing.assert_array_equal(view, before)


@_every([case for case in CASES if case.batched])
def test_empty_batch(case: Case, isa: str) -> None:
    arrays = case.inputs()
    arrays[0] = arrays[0][:0]
    result, *grads = _run(case, arrays)
    assert result.shape[0] == 0
    assert grads[0].shape == arrays[0].shape
    for parameter in grads[1:]:
        assert not parameter.any()


@_every(CASES)
@pytest.mark.parametrize("dtype", BOTH, ids=["float32", "float64"])
def test_same_as_pytorch(case: Case, dtype: Any) -> None:
    torch = pytest.importorskip("torch")
    arrays = _typed(case.inputs(seed=4), dtype)
    theirs = [
        torch.tensor(each, requires_grad=each.dtype.kind == "f" and index not in case.frozen)
        for index, each in enumerate(arrays)
    ]
    expected = case.op(_engine("torch"), *theirs)
    result, *grads = _run(case, arrays)
    seed = np.random.default_rng(7).standard_normal(result.shape).astype(dtype)
    expected.backward(torch.tensor(seed))
    wanted = [expected.detach().numpy()] + [t.grad.numpy() for t in theirs if t.grad is not None]
    bound = 1e-5 if dtype == np.float32 else case.peer
    for ours, other in zip([result, *grads], wanted, strict=True):
        scale = float(np.abs(other).max(initial=1e-3))
        np.testing.assert_allclose(ours, other, rtol=bound, atol=bound * scale)
