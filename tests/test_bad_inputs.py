"""Nonsense is refused, by the name of the operation and with what was given and expected."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import rushlight as rl
import rushlight.nn.functional as F
from rushlight.autograd import backward, grad

X = rl.ones(2, 3)
IMAGE = rl.ones(1, 2, 4, 4)
NAN = math.nan


def _leaf(*values: float) -> Any:
    return rl.tensor(values or (1.0, 2.0), requires_grad=True)


def _twice(loss: Any) -> None:
    loss.backward()
    loss.backward()


def _assign(tensor: Any, name: str, value: Any) -> None:
    setattr(tensor, name, value)


# An expression, the exception, and words of its message (a pattern, in this order).
AUTOGRAD = [
    (lambda: (_leaf() * 2).backward(), RuntimeError, r"backward.*one element.*\[2\]"),
    (lambda: rl.ones(1).backward(), RuntimeError, "backward: tensor 0 does not require a gradient"),
    (lambda: _twice((_leaf() ** 2).sum()), RuntimeError, "Pow.*second time.*retain_graph=True"),
    (lambda: _leaf().add_(1), RuntimeError, "add_: a leaf that requires a gradient"),
    (lambda: (_leaf() * 2).backward(rl.ones(3)), RuntimeError, r"gradient.*\[3\].*\[2\]"),
    (lambda: (_leaf() * 2).backward(2.0), TypeError, "backward: gradient.*Tensor or None.*float"),
    (lambda: (_leaf() * 2).backward(np.ones(2)), TypeError, "backward: gradient.*ndarray"),
    (lambda: backward([_leaf().sum()], [None, None]), ValueError, "backward.*1 tensors.*2 grad"),
    (lambda: backward([3.0]), TypeError, "backward: expected tensors.*float"),
    (lambda: _leaf().sum().backward(inputs=[]), RuntimeError, "backward: inputs.*empty"),
    (lambda: _leaf().sum().backward(inputs=[3]), TypeError, "backward: inputs.*number 0 is int"),
    (lambda: _leaf().sum().backward(inputs=rl.ones(1)), RuntimeError, "backward: input 0.*require"),
    (lambda: _leaf().sum().backward(create_graph=True), RuntimeError, "backward: create_graph"),
    (lambda: grad(_leaf().sum(), _leaf(), create_graph=True), RuntimeError, "grad: create_graph"),
    (lambda: grad(_leaf().sum(), rl.ones(1)), RuntimeError, "grad: input 0.*require"),
    (lambda: grad(_leaf().sum(), "x"), TypeError, "grad: inputs.*str"),
    (lambda: grad(_leaf().sum(), _leaf()), RuntimeError, "grad: no output depends on input 0"),
    (lambda: _assign(_leaf(), "grad", rl.ones(3)), RuntimeError, r"grad.*\[3\].*\[2\]"),
    (lambda: _assign(_leaf(), "grad", rl.ones(2).double()), RuntimeError, "float64.*float32"),
    (lambda: _assign(_leaf(), "grad", 1.0), TypeError, "grad must be a Tensor or None.*float"),
    (lambda: (lambda x: _assign(x, "grad", x))(_leaf()), RuntimeError, "its own gradient"),
    (lambda: rl.tensor([1], requires_grad=True), RuntimeError, "requires_grad.*float.*int64"),
    (lambda: rl.tensor([1]).requires_grad_(), RuntimeError, "requires_grad.*float.*int64"),
    (lambda: _assign(_leaf() * 2, "requires_grad", False), RuntimeError, "only a leaf.*detach"),
    (lambda: _leaf().numpy(), RuntimeError, r"numpy.*detach\(\)\.numpy\(\)"),
    (lambda: rl.ones(1).retain_grad(), RuntimeError, "retain_grad.*not require"),
    (lambda: rl.ones(1).register_hook(print), RuntimeError, "register_hook.*not require"),
    (
        lambda: rl.ones(1).register_post_accumulate_grad_hook(print),
        RuntimeError,
        "post_accumulate.*not require",
    ),
    (
        lambda: (_leaf() * 2).register_post_accumulate_grad_hook(print),
        RuntimeError,
        "post_accumulate.*not a leaf",
    ),
]

TENSOR = [
    (lambda: X.view(4), ValueError, r"view: shape \[4\].*6 elements"),
    (lambda: X.t().view(6), ValueError, r"view.*\[3, 2\].*\[6\].*reshape"),
    (lambda: X.view(-1, -1), ValueError, "view: only one size can be -1"),
    (lambda: X.view(-2, 3), ValueError, "view: size -2 is negative"),
    (lambda: X.view(2.0, 3), TypeError, "view: size must be an int.*float"),
    (lambda: rl.zeros(0).reshape(-1, 0), ValueError, "reshape: -1 is ambiguous"),
    (lambda: X.reshape(5, -1), ValueError, r"reshape: shape \[5, -1\].*6 elements"),
    (lambda: rl.mm(X, X), ValueError, r"\[2, 3\] and \[2, 3\]"),
    (lambda: rl.mm(X, rl.ones(3)), ValueError, r"mm.*2 dimensions.*\[3\]"),
    (lambda: X @ rl.ones(3, 1).double(), TypeError, "matmul.*float32 and float64"),
    (lambda: X @ 3, TypeError, "matmul: other must be a Tensor.*int"),
    (lambda: rl.ones(2, 2, 3) @ rl.ones(3, 3, 1), ValueError, "matmul.*leading"),
    (lambda: rl.bmm(rl.ones(2, 2, 3), rl.ones(3, 3, 1)), ValueError, "bmm.*2 and 3"),
    (lambda: rl.tensor(1.0) @ rl.ones(1), ValueError, "matmul.*1 dimension"),
    (lambda: rl.ones(2) + rl.ones(3), ValueError, r"add: shapes \[2\] and \[3\]"),
    (lambda: rl.ones(2) == rl.ones(3), ValueError, r"eq: shapes \[2\] and \[3\]"),
    (lambda: rl.ones(2) + "a", TypeError, "add: other.*Tensor or a number.*str"),
    (lambda: rl.ones(2) + np.ones(2), TypeError, "add: other.*ndarray.*from_numpy"),
    (lambda: np.ones(2) + rl.ones(2), TypeError, "add: other.*ndarray.*from_numpy"),
    (lambda: rl.ones(2) == "a", TypeError, "eq: other.*str"),
    (lambda: rl.ones(2) < None, TypeError, "lt: other.*NoneType"),
    (lambda: rl.tensor([True]) - rl.tensor([True]), TypeError, "sub: masks"),
    (lambda: -rl.tensor([True]), TypeError, "neg: a mask"),
    (lambda: ~rl.ones(1), TypeError, "bitwise_not.*floating"),
    (lambda: rl.ones(1) & rl.tensor([True]), TypeError, "bitwise_and.*floating"),
    (lambda: rl.tensor([2]) ** -1, ValueError, "pow: integers"),
    (lambda: rl.tensor([2]) // 0, ZeroDivisionError, "floor_divide"),
    (lambda: rl.tensor([2]) % rl.tensor([0]), ZeroDivisionError, "remainder"),
    (lambda: rl.div(X, 2, rounding_mode="up"), ValueError, "div: rounding_mode.*'up'"),
    (lambda: rl.cat([rl.ones(1, 2), rl.ones(1, 3)]), ValueError, r"cat: tensor 1.*\[1, 3\]"),
    (lambda: rl.cat([X, rl.ones(2)]), ValueError, r"cat: tensor 1.*\[2\]"),
    (lambda: rl.cat([]), ValueError, "cat: expected at least one tensor"),
    (lambda: rl.cat([X, 3]), TypeError, "cat: tensors.*int"),
    (lambda: rl.cat([rl.tensor(1.0)]), ValueError, r"cat: tensor 0 has shape \[\]"),
    (lambda: rl.stack([X, rl.ones(3)]), ValueError, r"stack.*\[2, 3\].*\[3\]"),
    (lambda: bool(rl.ones(2)), RuntimeError, r"bool.*ambiguous.*\[2\]"),
    (lambda: bool(rl.ones(0)), RuntimeError, r"bool.*\[0\]"),
    (lambda: rl.ones(2).item(), RuntimeError, r"item.*one element.*\[2\]"),
    (lambda: float(rl.ones(2)), RuntimeError, r"item.*\[2\]"),
    (lambda: range(rl.tensor(1.0)), TypeError, "integer tensor.*float32"),
    (lambda: range(rl.tensor([1, 2])), TypeError, r"one element.*\[2\]"),
    (lambda: len(rl.tensor(1)), TypeError, "0-d"),
    (lambda: list(rl.tensor(1)), TypeError, "0-d"),
    (lambda: rl.zeros(-1), ValueError, "zeros: size.*-1"),
    (lambda: rl.zeros(2.5), TypeError, "zeros: size must be ints.*float"),
    (lambda: rl.zeros("a"), TypeError, "zeros: size.*str"),
    (lambda: rl.zeros(2**60), ValueError, "zeros.*too many elements"),
    (lambda: rl.empty(2**40, 2**40), ValueError, "empty.*too many elements"),
    (lambda: rl.rand(2**63, 0, 2**63), ValueError, "rand.*too many elements"),
    (lambda: rl.from_numpy(np.array([object()])), TypeError, "object"),
    (lambda: rl.from_numpy(np.ones(1, ">f4")), TypeError, ">f4"),
    (lambda: rl.from_numpy(np.ones(1, np.longdouble)), TypeError, "longdouble|float128"),
    (lambda: rl.from_numpy(np.ones(1, np.int32)), TypeError, "int32"),
    (lambda: rl.from_numpy([1.0]), TypeError, "from_numpy: array must be an ndarray.*list"),
    (lambda: rl.tensor(["a"]), TypeError, "tensor: data must hold numbers"),
    (lambda: rl.tensor([1, None]), TypeError, "tensor: data must hold numbers"),
    (lambda: rl.tensor(1j), TypeError, "complex"),
    (lambda: rl.tensor([[1], [1, 2]]), ValueError, "tensor: the nested sequences differ"),
    (lambda: rl.tensor("abc", dtype=rl.float32), TypeError, "tensor: data must hold numbers"),
    (lambda: rl.arange(0, 1, 0), ValueError, "arange: step 0"),
    (lambda: rl.arange(1, 0), ValueError, "arange: step 1 does not lead from 1 to 0"),
    (lambda: rl.arange(2**63 - 1), ValueError, "arange: size .* has too many elements"),
    (lambda: rl.arange(2**64, 2**64 + 5), ValueError, "arange: integers must fit 64 bits"),
    (lambda: rl.arange(float("inf")), ValueError, "arange: no finite number"),
    (lambda: rl.arange("a"), TypeError, "arange: end must be a number.*str"),
    (lambda: rl.arange(NAN), ValueError, "arange.*nan"),
    (lambda: rl.linspace(0, 1, -1), ValueError, "linspace: steps.*-1"),
    (lambda: rl.linspace(0, 1, 2.5), TypeError, "linspace: steps.*float"),
    (lambda: X.sum(2), IndexError, r"sum: dim must be in \[-2, 1\].*2"),
    (lambda: X.sum((0, 0)), ValueError, r"sum: dim names a dimension twice"),
    (lambda: X.sum(0.5), TypeError, "sum: dim must be an int.*float"),
    (lambda: rl.tensor([1]).mean(), TypeError, "mean: input must be float32 or float64.*int64"),
    (lambda: rl.ones(0).max(), ValueError, r"max: no elements.*\[0\]"),
    (lambda: rl.ones(0, 2).argmax(0), ValueError, "argmax: no elements"),
    (lambda: X.topk(4), ValueError, r"topk: k must be in \[0, 3\].*4"),
    (lambda: X.norm("nuc"), ValueError, "norm: p.*'nuc'"),
    (lambda: X.permute(0, 0), ValueError, "permute: dims.*once"),
    (lambda: X.transpose(0, 2), IndexError, "transpose: dim.*2"),
    (lambda: rl.ones(1, 1, 1).t(), ValueError, "t: input must have at most 2 dimensions.*3"),
    (lambda: X.expand(2, 4), ValueError, r"expand: shape \[2, 3\].*\[2, 4\]"),
    (lambda: X.expand(3), ValueError, r"expand: shape \[2, 3\]"),
    (lambda: X.repeat(2), ValueError, "repeat: repeats must be 2 or more"),
    (lambda: X.repeat(2**62, 2), ValueError, "repeat: size .* has too many elements"),
    (lambda: X.unsqueeze(4), IndexError, "unsqueeze: dim.*4"),
    (lambda: X.flatten(1, 0), ValueError, "flatten: start_dim 1 comes after end_dim 0"),
    (lambda: X.flatten(5), IndexError, "flatten: dim.*5"),
    (lambda: X.split(0), ValueError, "split: split_size must be positive"),
    (lambda: X.split([1, 2]), ValueError, r"split: sizes \[1, 2\].*2"),
    (lambda: X.chunk(0), ValueError, "chunk: chunks must be positive"),
    (lambda: X.narrow(0, 1, 2), ValueError, "narrow: start 1 and length 2.*size 2"),
    (lambda: X.clamp(), ValueError, "clamp: at least one"),
    (lambda: X.clamp("a"), TypeError, "clamp: min.*str"),
    (lambda: rl.where(X, X, X), TypeError, "where: condition must be a bool Tensor"),
    (lambda: rl.tensor(1.0).diff(), ValueError, "diff"),
    (lambda: X.to("cuda"), ValueError, "only 'cpu'.*cuda"),
    (lambda: X.to(rl.Tensor), TypeError, "dtype must be float32"),
    (lambda: rl.add(3, "a"), TypeError, "add: other.*str"),
    (lambda: rl.exp(3.0), TypeError, "exp: input must be a Tensor.*float"),
    (lambda: rl.sum(np.ones(1)), TypeError, "sum: input must be a Tensor.*ndarray.*from_numpy"),
]

FUNCTIONAL = [
    (lambda: F.relu(rl.tensor([True])), TypeError, "relu"),
    (lambda: F.relu(np.ones(1)), TypeError, "relu: input must be a Tensor.*ndarray"),
    (lambda: F.relu(_leaf(), inplace=True), RuntimeError, "relu_: a leaf"),
    (lambda: F.relu(rl.ones(1).expand(2), inplace=True), RuntimeError, "relu_.*memory location"),
    (lambda: F.max_pool2d(IMAGE, 5), ValueError, "max_pool2d"),
    (lambda: F.max_pool2d(IMAGE, 2, padding=2), ValueError, "max_pool2d.*padding"),
    (lambda: F.max_pool2d(IMAGE, 2, stride=0), ValueError, "max_pool2d.*stride"),
    (lambda: F.max_pool2d(IMAGE, 0), ValueError, "max_pool2d.*kernel_size"),
    (lambda: F.max_pool2d(IMAGE, 2, dilation=0), ValueError, "max_pool2d.*dilation"),
    (lambda: F.max_pool2d(IMAGE, 2**40), ValueError, "max_pool2d"),
    (lambda: F.max_pool2d(IMAGE, 2.5), TypeError, "max_pool2d: kernel_size.*float"),
    (lambda: F.max_pool2d(IMAGE, (1, 2, 3)), ValueError, "max_pool2d: kernel_size.*1, 2, 3"),
    (lambda: F.max_pool2d(X, 2), ValueError, r"max_pool2d.*\[2, 3\]"),
    (lambda: F.avg_pool2d(IMAGE, 2, divisor_override=0), ValueError, "avg_pool2d.*divisor"),
    (lambda: F.avg_pool2d(IMAGE, 2, stride=-1), ValueError, "avg_pool2d.*stride"),
    (lambda: F.adaptive_avg_pool2d(IMAGE, -1), ValueError, "adaptive_avg_pool2d.*output_size"),
    (lambda: F.adaptive_avg_pool2d(IMAGE, (1, 2, 3)), ValueError, "output_size"),
    (lambda: F.softmax(rl.ones(2), dim=2), IndexError, r"softmax: dim must be in \[-1, 0\].*2"),
    (lambda: F.log_softmax(rl.tensor([1]), dim=0), TypeError, "log_softmax.*int64"),
    (lambda: F.cross_entropy(X, rl.tensor([0, 3])), IndexError, "nll_loss.*3"),
    (lambda: F.cross_entropy(X, rl.tensor([0, -1])), IndexError, "nll_loss.*-1"),
    (lambda: F.cross_entropy(X, rl.tensor([0])), ValueError, r"\[2\].*\[1\]"),
    (lambda: F.cross_entropy(X, rl.tensor([0.0, 1.0])), ValueError, r"\[2, 3\].*\[2\]"),
    (lambda: F.cross_entropy(X, [0, 1]), TypeError, "target must be a Tensor.*list"),
    (lambda: F.cross_entropy(X, rl.tensor([0, 1]), reduction="foo"), ValueError, "'foo'"),
    (
        lambda: F.cross_entropy(X, rl.tensor([0, 1]), label_smoothing=2),
        ValueError,
        "label_smoothing.*between 0 and 1.*2",
    ),
    (
        lambda: F.cross_entropy(X, rl.tensor([0, 1]), label_smoothing=NAN),
        ValueError,
        "label_smoothing.*nan",
    ),
    (lambda: F.nll_loss(X, rl.tensor([0, 1]), weight=rl.ones(2)), ValueError, "nll_loss.*weight"),
    (lambda: F.mse_loss(X, rl.ones(2, 3), reduction="foo"), ValueError, "reduction.*'foo'"),
    (lambda: F.mse_loss(X, 3.0), TypeError, "mse_loss: target.*float"),
    (lambda: F.linear(X, rl.ones(5, 4)), ValueError, "linear.*3.*4|linear.*4.*3"),
    (lambda: F.linear(rl.tensor(1.0), rl.ones(2, 1)), ValueError, "linear"),
    (lambda: F.linear(X, rl.ones(4, 3), rl.ones(5)), ValueError, "linear.*bias.*5"),
    (lambda: F.linear(X, rl.ones(4, 3).double()), TypeError, "linear.*float"),
    (lambda: F.pad(X, (1,)), ValueError, "pad.*pairs"),
    (lambda: F.pad(X, (-2, -2)), ValueError, "pad: widths -2 and -2"),
    (lambda: F.pad(X, (2**61, 0)), ValueError, "^pad: size overflows"),
    (lambda: F.pad(X, (2**40, 2**40)), MemoryError, "^pad: cannot allocate"),
    (lambda: F.pad(X, (1, 1), value="0"), TypeError, "^pad: value must be"),
]


def _check(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        call()
    # What operations refuse is a RuntimeError too, as in PyTorch.
    assert type(caught.value) in (error, rl.OperationError)


@pytest.mark.parametrize(("call", "error", "words"), AUTOGRAD)
def test_autograd(call: Any, error: type[Exception], words: str) -> None:
    _check(call, error, words)


@pytest.mark.parametrize(("call", "error", "words"), TENSOR)
def test_tensors(call: Any, error: type[Exception], words: str) -> None:
    _check(call, error, words)


@pytest.mark.parametrize(("call", "error", "words"), FUNCTIONAL)
def test_functional(call: Any, error: type[Exception], words: str) -> None:
    _check(call, error, words)


# What looks odd and is right: (expression, value).
FINE = [
    (lambda: F.relu(rl.tensor([NAN, -0.0, -1.0, math.inf])), [NAN, -0.0, 0.0, math.inf]),
    (lambda: F.relu(rl.tensor([-1, 2])), [0, 2]),
    (lambda: F.max_pool2d(rl.full((1, 1, 2, 2), -math.inf), 2), [[[[-math.inf]]]]),
    (lambda: F.max_pool2d(rl.tensor([[[NAN, 1.0], [2.0, 3.0]]]), 2), [[[NAN]]]),
    (lambda: F.max_pool2d(rl.ones(0, 1, 4, 4), 2).shape, (0, 1, 2, 2)),
    (lambda: F.adaptive_avg_pool2d(IMAGE, 0).shape, (1, 2, 0, 0)),
    (lambda: F.softmax(rl.full((2,), -math.inf), 0), [NAN, NAN]),
    (lambda: F.softmax(rl.full((2,), 1e30), 0), [0.5, 0.5]),
    (lambda: F.cross_entropy(X, rl.tensor([-100, -100])), NAN),
    (lambda: F.cross_entropy(rl.ones(0, 3), rl.zeros(0, dtype=rl.long)), NAN),
    (lambda: F.linear(rl.ones(0, 3), rl.ones(4, 3)).shape, (0, 4)),
    (lambda: F.linear(rl.ones(2, 0), rl.ones(4, 0)), [[0.0] * 4] * 2),
    (lambda: rl.ones(2, 0) @ rl.ones(0, 3), [[0.0] * 3] * 2),
    (lambda: rl.tensor([1.0]) / 0, [math.inf]),
    (lambda: rl.ones(0).sum(), 0.0),
    (lambda: rl.ones(0).mean(), NAN),
    (lambda: rl.ones(1).var(), NAN),
    (lambda: rl.zeros(0, 3).reshape(3, 0).shape, (3, 0)),
    (lambda: rl.cat([rl.ones(0, 2), rl.ones(1, 2)]), [[1.0, 1.0]]),
    (lambda: rl.from_numpy(np.arange(3.0)[::-1]), [2.0, 1.0, 0.0]),
    (lambda: rl.ones(1).expand(0), []),
]


@pytest.mark.parametrize(("call", "expected"), FINE)
def test_edges_that_work(call: Any, expected: Any) -> None:
    found = call()
    found = found.tolist() if isinstance(found, rl.Tensor) else found
    np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))
    if expected and isinstance(expected, list):
        # The sign of NaN means nothing.
        counts = ~np.isnan(np.asarray(expected, float))
        np.testing.assert_array_equal(np.signbit(found)[counts], np.signbit(expected)[counts])


def test_a_broadcast_loss_warns() -> None:
    with pytest.warns(UserWarning, match=r"mse_loss: target of shape \[2\].*\[2, 1\]"):
        F.mse_loss(rl.ones(2, 1), rl.ones(2))


@pytest.mark.parametrize("eps", [0.0, -1e-9, float("nan")])
def test_batch_norm_names_its_eps(eps: float) -> None:
    src = rl.ones(2, 2, 3, 3)
    with pytest.raises(ValueError, match=f"^batch_norm: eps must be positive .*got {eps}$"):
        F.batch_norm(src, None, None, training=True, eps=eps)
