"""Changes in place: versions, views, recording, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import rushlight as rl

# -- versions -------------------------------------------------------------------------------

CHANGES = [
    lambda x: x.add_(1),
    lambda x: x.sub_(1),
    lambda x: x.mul_(2),
    lambda x: x.div_(2),
    lambda x: x.pow_(2),
    lambda x: x.floor_divide_(2),
    lambda x: x.remainder_(2),
    lambda x: x.clamp_(0, 1),
    lambda x: x.exp_(),
    lambda x: x.sqrt_(),
    lambda x: x.sigmoid_(),
    lambda x: x.tanh_(),
    lambda x: x.relu_(),
    lambda x: x.neg_(),
    lambda x: x.abs_(),
    lambda x: x.zero_(),
    lambda x: x.fill_(3),
    lambda x: x.copy_(rl.ones(1)),
    lambda x: x.masked_fill_(x > 0, 1),
    lambda x: x.lerp_(x.clone(), 0.5),
    lambda x: x.addcmul_(x.clone(), x.clone()),
    lambda x: x.addcdiv_(x.clone(), x.clone()),
    lambda x: x.scatter_(0, rl.tensor([0]), 1.0),
    lambda x: x.uniform_(),
    lambda x: x.normal_(),
    lambda x: x.bernoulli_(),
]


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_counts_once_and_returns_the_tensor(change: Any) -> None:
    x = rl.rand(3) + 0.5
    view, detached, data = x.view(3, 1), x.detach(), x.data
    address = x.data_ptr()
    assert change(x) is x
    assert x._version == view._version == detached._version == data._version == 1
    assert x.data_ptr() == address
    assert view.flatten().tolist() == detached.tolist() == x.tolist()


@pytest.mark.parametrize("change", CHANGES)
def test_a_leaf_is_changed_only_under_no_grad(change: Any) -> None:
    x = (rl.rand(3) + 0.5).requires_grad_()
    before = x.tolist()
    with pytest.raises(RuntimeError, match="leaf that requires a gradient"):
        change(x)
    assert (x.tolist(), x._version, x.is_leaf) == (before, 0, True)
    with rl.no_grad():
        change(x)
    assert (x._version, x.is_leaf, x.requires_grad) == (1, True, True)


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_gives_what_its_out_of_place_form_gives_and_its_gradient(change: Any) -> None:
    """Recorded on a result, in a view of it, and unrecorded: the same values everywhere."""
    start = rl.rand(3, dtype=rl.float64) + 0.5
    rl.manual_seed(1)
    plain = change(start.clone())
    x = start.clone().requires_grad_()
    rl.manual_seed(1)
    result = change(x * 1)
    assert result.tolist() == plain.tolist()
    result.sum().backward()
    y = start.clone().requires_grad_()
    base = y * 1
    rl.manual_seed(1)
    change(base.view(3, 1)[:, 0])
    base.sum().backward()
    assert y.grad.tolist() == pytest.approx(x.grad.tolist())


@pytest.mark.parametrize("operator", ["+=", "-=", "*=", "/=", "//=", "%=", "**="])
def test_augmented_assignment_is_in_place(operator: str) -> None:
    x = rl.tensor([3.0, 4.0])
    names = {"x": x, "y": rl.tensor([2.0, 3.0])}
    expected = eval(f"x {operator[:-1]} y", names).tolist()
    exec(f"x {operator} y", names)
    assert names["x"] is x
    assert x.tolist() == expected
    assert x._version == 1


@pytest.mark.parametrize("operator", ["&=", "|=", "^="])
def test_augmented_assignment_of_masks(operator: str) -> None:
    x = rl.tensor([True, True, False])
    names = {"x": x, "y": rl.tensor([True, False, False])}
    expected = eval(f"x {operator[:-1]} y", names).tolist()
    exec(f"x {operator} y", names)
    assert names["x"] is x
    assert (x.tolist(), x._version) == (expected, 1)


def test_reading_counts_nothing() -> None:
    x = rl.ones(2, requires_grad=True)
    ((x * 2).exp() + x.view(2, 1)).sum().backward()
    x.numpy(force=True)
    assert x._version == 0


# -- what backward notices ------------------------------------------------------------------


@pytest.mark.parametrize(
    "operation",
    [
        lambda x: x.exp(),
        lambda x: x.sigmoid(),
        lambda x: x.tanh(),
        lambda x: x.sqrt(),
        lambda x: x.relu(),
        lambda x: x.softmax(0),
        lambda x: x.log_softmax(0),
        lambda x: x.rsqrt(),
        lambda x: x.reciprocal(),
    ],
)
def test_a_saved_result_changed_in_place(operation: Any) -> None:
    x = rl.ones(3, requires_grad=True)
    y = operation(x)
    with rl.no_grad():
        y.detach().mul_(2)
    with pytest.raises(RuntimeError, match=r"shape \[3\].*changed in place.*version 1, expected 0"):
        y.sum().backward()
    assert x.grad is None


@pytest.mark.parametrize(
    "operation",
    [
        lambda x, w: x * w,
        lambda x, w: x / w,
        lambda x, w: x**w,
        lambda x, w: x.reshape(1, 3) @ w.reshape(3, 1),
        lambda x, w: rl.maximum(x, w),
    ],
)
def test_a_saved_operand_changed_in_place(operation: Any) -> None:
    x, w = rl.ones(3, requires_grad=True), rl.ones(3, requires_grad=True)
    y = operation(x, w * 2)
    with rl.no_grad():
        x.add_(1)
    with pytest.raises(RuntimeError, match=r"changed in place.*version 1, expected 0"):
        y.sum().backward()
    assert (x.grad, w.grad) == (None, None)


@pytest.mark.parametrize("name", ["exp_", "sigmoid_", "tanh_", "relu_", "sqrt_"])
def test_a_result_saved_by_a_change_in_place(name: str) -> None:
    x = rl.ones(3, requires_grad=True)
    y = getattr(x * 1, name)()
    with rl.no_grad():
        y.add_(1)
    with pytest.raises(RuntimeError, match="changed in place"):
        y.sum().backward()


def test_an_operand_that_backward_does_not_need_may_change() -> None:
    x, w = rl.ones(2, requires_grad=True), rl.ones(2)
    y = x + w
    w.add_(1)
    z = x * w
    x.data.mul_(2)
    (y + z).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]


# -- recorded in a graph --------------------------------------------------------------------


def test_residual_block_in_place() -> None:
    x = rl.tensor([1.0, -2.0], requires_grad=True)
    out = x * 3
    out += x
    out = out.relu_()
    identity = out
    out = out * 10
    out += identity
    out.sum().backward()
    assert x.grad.tolist() == [44.0, 0.0]


def test_both_operands_of_a_product_in_place() -> None:
    x = rl.tensor([2.0, 3.0], requires_grad=True)
    w = rl.tensor([5.0, 7.0], requires_grad=True)
    y = x * 1
    y.mul_(w)
    y /= w
    y *= w
    y.sum().backward()
    assert (x.grad.tolist(), w.grad.tolist()) == ([5.0, 7.0], [2.0, 3.0])


def test_an_unrecorded_tensor_joins_the_graph() -> None:
    x = rl.tensor([1.0, 2.0], requires_grad=True)
    z = rl.zeros(2)
    z.add_(x)
    z[0] = x[1] * 5
    z.mul_(3)
    assert z.requires_grad
    z.sum().backward()
    assert x.grad.tolist() == [0.0, 18.0]


def test_a_tensor_with_itself() -> None:
    x = rl.tensor([3.0], requires_grad=True)
    y = x * 1
    y.mul_(y)
    y.add_(y)
    y.backward()
    assert (y.item(), x.grad.item()) == (18.0, 12.0)
    z = rl.arange(4.0).reshape(2, 2)
    z.add_(z.t())
    assert z.tolist() == [[0.0, 3.0], [3.0, 6.0]]


def test_hooks_and_retained_gradients_across_a_change() -> None:
    x = rl.tensor([2.0], requires_grad=True)
    y = x * 2
    seen = []
    y.register_hook(lambda grad: seen.append(grad.item()))
    y.retain_grad()
    y.mul_(3)
    y.backward()
    # The hook belongs to the value before, the retained gradient to the tensor as it is.
    assert (seen, y.grad.item(), x.grad.item()) == ([3.0], 1.0, 6.0)


# -- views in a graph -----------------------------------------------------------------------


def _rows(library: Any, x: Any, w: Any) -> Any:
    y = x * 2
    y[0] += w
    return y


def _chain(library: Any, x: Any, w: Any) -> Any:
    y = x * 2
    v = y.view(-1)
    v.mul_(3)
    v[2:5].add_(1)
    return y + v.reshape(3, 4)


def _strided(library: Any, x: Any, w: Any) -> Any:
    y = x * 2
    v = y.t()[1:3]
    v *= w[:3]
    return v.sum(0) * y.sum(1)


def _late_base(library: Any, x: Any, w: Any) -> Any:
    y = library.zeros(3, 4, dtype=library.float64)
    v = y[1]
    y[1] = w
    return v * 2


def _view_of_constant(library: Any, x: Any, w: Any) -> Any:
    y = library.zeros(3, 4, dtype=library.float64)
    v = y[:, 1:3]
    v.add_(x[:, :2])
    y.mul_(2)
    return v + y[:, :2]


def _other_order(library: Any, x: Any, w: Any) -> Any:
    y = x.t() * 2
    v = y[1:3]
    v.exp_()
    return y.flatten().sum() * v


def _two_levels(library: Any, x: Any, w: Any) -> Any:
    y = x * 2
    v = y[0]
    u = v[1:]
    u.copy_(w[:3])
    v.mul_(2)
    return y * u.sum()


def _detached(library: Any, x: Any, w: Any) -> Any:
    y = x * 2
    logged = y.detach().view(-1)
    y += w
    assert not (logged * 1).requires_grad
    return y


def _squeezed(library: Any, x: Any, w: Any) -> Any:
    scores = x @ w
    scores += 1
    scores.relu_()
    return scores


@pytest.mark.parametrize(
    "build",
    [
        _rows, _chain, _strided, _late_base, _view_of_constant, _other_order, _two_levels,
        _detached, _squeezed,
    ],
)  # fmt: skip
def test_views_changed_in_a_graph_as_in_pytorch(build: Any) -> None:
    torch = pytest.importorskip("torch")
    results = []
    for library in (rl, torch):
        x = (library.arange(12, dtype=library.float64).reshape(3, 4) / 10).requires_grad_()
        w = library.arange(1, 5, dtype=library.float64).requires_grad_()
        y = build(library, x, w)
        (y * library.arange(1, y.numel() + 1, dtype=y.dtype).reshape(y.shape)).sum().backward()
        results.append([None if t is None else t.tolist() for t in (y, x.grad, w.grad)])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours or 0.0, theirs or 0.0, rtol=1e-12)


def test_a_view_follows_its_base() -> None:
    x = rl.tensor([1.0, 2.0], requires_grad=True)
    base = rl.zeros(2)
    view = base.view(2, 1)
    assert (view.requires_grad, view.grad_fn) == (False, None)
    base.add_(x)
    assert (view.requires_grad, view.is_leaf, view.grad_fn.name()) == (
        True,
        False,
        "AsStridedBackward0",
    )
    view.mul_(2)
    assert base.grad_fn.name() == "CopySlices"
    base.sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]


def test_a_hook_on_a_view_that_follows_its_base() -> None:
    x = rl.tensor([1.0, 2.0], requires_grad=True)
    base = rl.zeros(2)
    view = base.view(2, 1)
    base.add_(x)
    seen = []
    view.register_hook(lambda g: seen.append(g.flatten().tolist()))
    (view * 3).sum().backward()
    assert (seen, x.grad.tolist()) == ([[3.0, 3.0]], [3.0, 3.0])


def test_a_view_that_got_other_data_is_a_view_no_more() -> None:
    x = rl.tensor([1.0, 2.0], requires_grad=True)
    base = rl.zeros(2)
    view = base.view(2)
    view.data = rl.ones(2)
    base.add_(x)
    assert not view.requires_grad
    view.add_(x * 5)
    view.sum().backward()
    assert (x.grad.tolist(), base.tolist()) == ([5.0, 5.0], [1.0, 2.0])


def test_a_retained_view() -> None:
    x = rl.ones(2, requires_grad=True)
    y = x * 2
    view = y[0]
    view.retain_grad()
    y.mul_(3)
    (y.sum() + view).backward()
    assert view.grad.item() == 1.0
    assert x.grad.tolist() == [12.0, 6.0]


def test_a_second_backward_through_a_changed_view_is_refused() -> None:
    x = rl.ones(2, requires_grad=True)
    y = x * 2
    y[0].exp_()
    y.sum().backward()
    with pytest.raises(RuntimeError, match=r"second time.*retain_graph"):
        y.sum().backward()


# -- what is refused ------------------------------------------------------------------------


def test_views_that_cannot_be_followed() -> None:
    leaf = rl.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"add_.*view of a leaf"):
        leaf.view(2, 1).add_(1)
    with rl.no_grad():
        view = (leaf * 2).view(-1)
    with pytest.raises(RuntimeError, match=r"add_.*view taken under no_grad"):
        view.add_(leaf)
    view.add_(1)
    assert view.tolist() == [3.0, 3.0]
    with pytest.raises(RuntimeError, match=r"detach_: a view"):
        (leaf * 2).view(-1).detach_()


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.add_(1),
        lambda x: x.relu_(),
        lambda x: x.zero_(),
        lambda x: x.__setitem__(0, 1.0),
        lambda x: x.copy_(rl.zeros(1)),
    ],
)
def test_memory_that_must_not_be_written(change: Any) -> None:
    with pytest.raises(RuntimeError, match=r"share one memory location.*clone"):
        change(rl.ones(1).expand(3))
    frozen = np.ones(3, np.float32)
    frozen.flags.writeable = False
    with pytest.raises(RuntimeError, match="read-only"):
        change(rl.from_numpy(frozen))
    assert frozen.tolist() == [1.0, 1.0, 1.0]


def test_an_expansion_that_repeats_nothing_may_be_written() -> None:
    x = rl.ones(2)
    x.expand(1, 2).add_(1)
    x.expand_as(rl.ones(2)).add_(1)
    assert x.tolist() == [3.0, 3.0]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda: rl.zeros(3).add_(rl.ones(2, 3)), ValueError, r"add_.*\[2, 3\].*\[3\]"),
        (lambda: rl.zeros(1).mul_(rl.ones(3)), ValueError, r"mul_.*\[3\].*\[1\]"),
        (lambda: rl.zeros(3).remainder_(rl.ones(2, 3)), ValueError, r"remainder_.*\[2, 3\]"),
        (lambda: rl.tensor([1]).add_(1.5), TypeError, "add_.*float32.*int64"),
        (lambda: rl.tensor([1]).div_(2), TypeError, "div_.*float32.*int64"),
        (lambda: rl.tensor([1]).exp_(), TypeError, "exp_.*int64"),
        (lambda: rl.tensor([1]).clamp_(min=0.5), TypeError, "clamp_.*float32.*int64"),
        (lambda: rl.tensor([True]).add_(1), TypeError, "add_.*int64.*bool"),
        (lambda: rl.tensor([1]).uniform_(), TypeError, "uniform_.*int64"),
        (lambda: rl.zeros(2).copy_(rl.ones(3)), ValueError, r"copy_.*\[3\].*\[2\]"),
        (lambda: rl.zeros(2).copy_([1, 2]), TypeError, "copy_: src.*list"),
        (lambda: rl.zeros(2).fill_("a"), TypeError, "fill_: value.*str"),
        (lambda: rl.zeros(2).fill_(rl.ones(2)), TypeError, "fill_: value.*0-d"),
    ],
)
def test_results_that_do_not_fit(change: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        change()


def test_types_that_fit() -> None:
    x = rl.zeros(2)
    x += rl.tensor([0.5, 1.5], dtype=rl.float64)
    x += rl.tensor([1, 2])
    assert (x.tolist(), x.dtype) == ([1.5, 3.5], rl.float32)
    counts = rl.tensor([0])
    counts.copy_(rl.tensor([2.7]))
    counts += True
    assert counts.tolist() == [3]


# -- data -----------------------------------------------------------------------------------


def test_assigning_data() -> None:
    x = rl.ones(2, requires_grad=True)
    y = x * 3
    value = rl.tensor([[5.0]])
    x.data = value
    assert (x.tolist(), x.requires_grad, x.data_ptr()) == ([[5.0]], True, value.data_ptr())
    assert y.tolist() == [3.0, 3.0]
    value.add_(1)
    assert (x.item(), x._version) == (6.0, 1)
    x.data = x.data.double()
    assert x.dtype is rl.float64


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [(3.0, TypeError, "data.*float"), (rl.tensor([1]), RuntimeError, "data.*floating")],
)
def test_bad_data(value: Any, error: type[Exception], words: str) -> None:
    x = rl.ones(2, requires_grad=True)
    with pytest.raises(error, match=words):
        x.data = value
    assert x.tolist() == [1.0, 1.0]
