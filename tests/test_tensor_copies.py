"""Copies of tensors: copy, deepcopy, pickle, detach, clone."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

import rushlight as rl
from rushlight import Tensor
from rushlight.nn import Buffer, Parameter


def _rich(kind: str) -> Tensor:
    data = rl.tensor([[1.0, 2.0], [3.0, 4.0]])
    x = {"Tensor": data, "Parameter": Parameter(data), "Buffer": Buffer(data)}[kind]
    x.note = ["mine"]
    x._flag = True
    return x


@pytest.mark.parametrize("kind", ["Tensor", "Parameter", "Buffer"])
@pytest.mark.parametrize("way", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_deep_copies(kind: str, way: Any) -> None:
    x = _rich(kind)
    y = way(x)
    assert type(y) is type(x)
    assert (y.tolist(), y.dtype, y.requires_grad) == (x.tolist(), x.dtype, x.requires_grad)
    with rl.no_grad():
        y[0, 0] = 9.0
    assert x[0, 0].item() == 1.0
    assert x._version == 0


def test_user_attributes_travel() -> None:
    x = _rich("Tensor")
    assert (x.note, hasattr(x * 1, "note")) == (["mine"], False)
    assert pickle.loads(pickle.dumps(x)).note == ["mine"]
    for y in (copy.copy(x), copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert (y.note, y._flag) == (["mine"], True)
    assert copy.copy(x).note is x.note
    assert copy.deepcopy(x).note is not x.note


def test_deepcopy_keeps_gradients_identity_and_refuses_non_leaves() -> None:
    x = rl.tensor([1.0, 2.0], requires_grad=True)
    (x * x).sum().backward()
    first, second = copy.deepcopy([x, x])
    assert first is second
    assert first.grad.tolist() == [2.0, 4.0]
    first.grad.zero_()
    assert x.grad.tolist() == [2.0, 4.0]
    with pytest.raises(RuntimeError, match=r"deepcopy.*leaves.*Mul"):
        copy.deepcopy(x * 2)


def test_copy_shares_memory_and_version() -> None:
    x = rl.tensor([1.0])
    y = copy.copy(x)
    y.add_(1)
    assert (x.item(), x._version) == (2.0, 1)


def test_pickle_makes_a_leaf_of_a_result() -> None:
    x = rl.tensor([1.0], requires_grad=True)
    y = pickle.loads(pickle.dumps(x * 2))
    assert (y.item(), y.is_leaf, y.requires_grad) == (2.0, True, True)
    strided = rl.arange(6).reshape(2, 3).t()
    assert pickle.loads(pickle.dumps(strided)).tolist() == strided.tolist()


def test_detach_and_clone() -> None:
    x = rl.tensor([1.0, 2.0], requires_grad=True)
    y = (x * 2).detach()
    assert (y.requires_grad, y.is_leaf, y.data_ptr() != x.data_ptr()) == (False, True, True)
    z = x.clone()
    assert z.requires_grad
    assert z.data_ptr() != x.data_ptr()
    w = x * 3
    assert w.detach_() is w
    assert (w.requires_grad, w.grad_fn) == (False, None)
