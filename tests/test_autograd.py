"""The backward walk: what it delivers, to whom, and what it leaves behind."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import numpy as np
import pytest

import rushlight as rl
from rushlight.autograd import Function, backward, grad

# -- graphs ---------------------------------------------------------------------------------


def test_diamond_and_fan_out() -> None:
    x = rl.tensor([2.0, 3.0], requires_grad=True)
    a = x * x
    b, c = a + x, a * 3
    (b * c + a + a).sum().backward()
    # d/dx (3x^4 + 3x^3 + 2x^2)
    assert x.grad.tolist() == [12 * 8 + 9 * 4 + 8, 12 * 27 + 9 * 9 + 12]


def test_one_tensor_used_many_times() -> None:
    x = rl.tensor([1.0], requires_grad=True)
    total = x
    for _ in range(50):
        total = total + x * 2
    total.backward()
    assert x.grad.item() == 101.0
    y = rl.tensor([3.0], requires_grad=True)
    rl.cat([y, y, y * y, y]).sum().backward()
    assert y.grad.item() == 9.0


def test_a_sum_that_two_leaves_received_is_not_added_to() -> None:
    x, y = (rl.tensor([1.0], requires_grad=True) for _ in range(2))
    older = x * 5
    total = x + y
    (total * 2 + total * 3 + older).backward()
    assert (x.grad.item(), y.grad.item()) == (10.0, 5.0)


def test_several_roots_and_repeated_roots() -> None:
    x = rl.tensor([1.0, 2.0], requires_grad=True)
    a, b = x.sum(), x * x
    backward([a, b, a], [None, rl.tensor([1.0, 10.0]), rl.tensor(5.0)])
    assert x.grad.tolist() == [8.0, 46.0]


def test_a_leaf_as_root() -> None:
    x = rl.tensor([1.0, 2.0], requires_grad=True)
    seed = rl.tensor([3.0, 4.0])
    x.backward(seed)
    x.backward(seed)
    assert (x.grad.tolist(), seed.tolist()) == ([6.0, 8.0], [3.0, 4.0])


def test_gradients_accumulate_over_calls_and_in_the_same_memory() -> None:
    x = rl.tensor([1.0, 2.0], requires_grad=True)
    (x * 2).sum().backward()
    kept, address = x.grad, x.grad.data_ptr()
    (x * 3).sum().backward()
    assert x.grad is kept
    assert (x.grad.tolist(), x.grad.data_ptr(), x.grad._version) == ([5.0, 5.0], address, 1)


@pytest.mark.parametrize(
    "build",
    [
        lambda x, y: x + y,
        lambda x, y: rl.stack([x, y]),
        lambda x, y: rl.cat([x, y]),
        lambda x, y: (x + y).view(-1) + (x + y),
        lambda x, y: x.expand(2) + y.view(2),
        lambda x, y: rl.where(rl.tensor([True, False]), x, y),
        lambda x, y: _Both.apply(x, y),
        lambda x, y: x // y,
        lambda x, y: x.clone() + y.t(),
    ],
)
def test_no_two_leaves_share_a_gradient(build: Any) -> None:
    x, y = (rl.tensor([1.0, 2.0], requires_grad=True) for _ in range(2))
    out = build(x, y)
    seed = rl.ones_like(out)
    out.backward(seed)
    before = y.grad.tolist()
    x.grad.fill_(77.0)
    assert y.grad.tolist() == before
    assert seed.tolist() == rl.ones_like(out).tolist()
    assert x.grad._array.flags.writeable


class _Both(Function):
    """Hands the very same gradient to both inputs."""

    @staticmethod
    def forward(ctx: Any, x: Any, y: Any) -> Any:
        return x + y

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g, g


def test_gradients_that_the_user_set() -> None:
    x = rl.tensor([1.0, 2.0], requires_grad=True)
    x.grad = rl.ones(1).expand(2)
    (x * 2).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]
    x.grad = None
    (x * 2).sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]


def test_strided_gradients_reach_leaves() -> None:
    x = rl.arange(6.0).reshape(2, 3).requires_grad_()
    weight = rl.arange(6.0).reshape(3, 2)
    (x.t() * weight).sum().backward()
    assert x.grad.tolist() == weight.t().tolist()


# -- depth and memory -----------------------------------------------------------------------


def test_ten_thousand_layers() -> None:
    x = rl.tensor([1.0], requires_grad=True)
    y = x
    for _ in range(10_000):
        y = (y * 1.0).view(1)
    kept = weakref.ref(y.grad_fn)
    y.backward()
    assert x.grad.item() == 1.0
    del y
    assert kept() is None


def _network(x: Any, w: Any) -> Any:
    h = rl.nn.functional.linear(x, w)
    h += x
    h = h.relu() * 1
    h = rl.nn.functional.conv2d(h.reshape(1, 1, 2, 2), w.reshape(4, 1, 2, 2)).flatten(1)
    h[0, 0] = 1.0
    values, _ = h.view(2, 2).max(1)
    return _Both.apply(values.softmax(0), values.log_softmax(0)).sum()


@pytest.mark.parametrize("run", [False, True], ids=["built", "after backward"])
def test_a_graph_is_freed_without_the_collector(run: bool) -> None:
    x, w = rl.ones(1, 4, requires_grad=True), rl.ones(4, 4, requires_grad=True)
    gc.collect()
    gc.disable()
    try:
        loss = _network(x, w)
        nodes, stack = [], [loss.grad_fn]
        while stack:
            node = stack.pop()
            if hasattr(node, "next_functions"):
                nodes.append(weakref.ref(node))
                stack += [each for each, _ in node.next_functions if each is not None]
            del node
        assert len(nodes) > 10
        if run:
            loss.backward()
        tensor = weakref.ref(loss)
        del loss
        assert tensor() is None
        assert [each() for each in nodes if each() is not None] == []
    finally:
        gc.enable()


class _Dirty(Function):
    @staticmethod
    def forward(ctx: Any, x: Any, y: Any) -> Any:
        x.mul_(2)
        ctx.mark_dirty(x)
        out = x + y
        flags = x > 0
        ctx.mark_non_differentiable(flags)
        ctx.save_for_backward(x, out)
        return x, out, flags

    @staticmethod
    def backward(ctx: Any, gx: Any, gout: Any, _: Any) -> Any:
        return 2 * (gx + gout), gout


def test_a_function_with_everything_is_freed_without_the_collector() -> None:
    x = rl.ones(2, requires_grad=True)
    gc.collect()
    gc.disable()
    try:
        results = _Dirty.apply(x * 1, x)
        kept = [weakref.ref(each) for each in results] + [weakref.ref(results[0].grad_fn)]
        del results
        assert [each() for each in kept if each() is not None] == []
    finally:
        gc.enable()


def test_backward_frees_what_it_saved() -> None:
    x = rl.ones(1000, requires_grad=True)
    y = x.exp()
    z = y * y
    saved = weakref.ref(y._array)
    total = z.sum()
    del y, z
    assert saved() is not None
    total.backward()
    assert saved() is None


# -- backward: arguments --------------------------------------------------------------------


def test_inputs_restrict_the_walk() -> None:
    x, w = (rl.tensor([v], requires_grad=True) for v in (2.0, 5.0))
    ran = []
    middle = x * x
    middle.register_hook(lambda g: ran.append("middle"))
    other = w * w
    other.register_hook(lambda g: ran.append("other"))
    (middle * other).sum().backward(inputs=[x])
    assert (x.grad.item(), w.grad, ran) == (100.0, None, ["middle"])


def test_inputs_may_be_inside_the_graph() -> None:
    x = rl.tensor([2.0], requires_grad=True)
    y = x.exp()
    (y * 3).sum().backward(inputs=y)
    assert (y.grad.item(), x.grad) == (3.0, None)
    # What made the input neither ran nor lost what it saved.
    y.backward()
    assert x.grad.item() == y.item()


def test_retain_graph() -> None:
    x = rl.tensor([2.0], requires_grad=True)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.item() == 8.0
    with pytest.raises(RuntimeError, match=r"Mul.*second time.*retain_graph=True"):
        y.backward()
    assert x.grad.item() == 8.0


def test_a_shared_part_is_freed_by_the_first_backward() -> None:
    x = rl.tensor([2.0], requires_grad=True)
    shared = x.exp()
    a, b = shared * 2, shared + 1
    a.backward()
    with pytest.raises(RuntimeError, match=r"Exp.*second time"):
        b.backward()


def test_gradient_of_another_type_is_converted() -> None:
    x = rl.tensor([1.0], requires_grad=True)
    (x * 2).backward(rl.tensor([3.0], dtype=rl.float64))
    assert (x.grad.dtype, x.grad.item()) == (rl.float32, 6.0)


def test_an_error_leaves_every_gradient_as_it_was() -> None:
    x, w = (rl.tensor([1.0, 2.0], requires_grad=True) for _ in range(2))
    (x * 2 + w).sum().backward()

    class Broken(Function):
        @staticmethod
        def forward(ctx: Any, t: Any) -> Any:
            return t * 1

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            raise ArithmeticError("mine")

    def fail(g: Any) -> None:
        raise ArithmeticError("mine")

    with pytest.raises(ArithmeticError, match="mine"):
        (Broken.apply(x) + w * 5).sum().backward()
    (hooked := w * 5).register_hook(fail)
    with pytest.raises(ArithmeticError, match="mine"):
        (hooked + x).sum().backward()
    w.register_hook(fail)
    with pytest.raises(ArithmeticError, match="mine"):
        (x + w).sum().backward()
    assert (x.grad.tolist(), w.grad.tolist()) == ([2.0, 2.0], [1.0, 1.0])
    assert (x.grad._version, rl.is_grad_enabled()) == (0, True)


# -- grad -----------------------------------------------------------------------------------


def test_grad_returns_and_touches_nothing() -> None:
    x, y = (rl.tensor([v], requires_grad=True) for v in (2.0, 3.0))
    z = x * x * y
    results = grad(z, [x, y, z], retain_graph=True)
    assert [each.item() for each in results] == [12.0, 4.0, 1.0]
    assert (x.grad, y.grad) == (None, None)
    (again,) = grad([z, x], x, [rl.tensor([2.0]), None])
    assert again.item() == 25.0


def test_results_of_grad_are_their_own_memory() -> None:
    x, y = (rl.tensor([1.0], requires_grad=True) for _ in range(2))
    a, b = grad(x + y, (x, y))
    a.fill_(9.0)
    assert b.item() == 1.0
    first, second = grad(x * 2, (x, x))
    assert first.data_ptr() != second.data_ptr()


def test_unused_inputs() -> None:
    x, y = (rl.tensor([1.0], requires_grad=True) for _ in range(2))
    with pytest.raises(RuntimeError, match=r"no output depends on input 1.*allow_unused"):
        grad(x * 2, (x, y))
    found, missing = grad(x * 2, (x, y), allow_unused=True)
    assert (found.item(), missing) == (2.0, None)


# -- hooks ----------------------------------------------------------------------------------


@pytest.mark.parametrize("leaf", [True, False])
def test_hooks_run_in_order_and_replace_the_gradient(leaf: bool) -> None:
    x = rl.tensor([1.0], requires_grad=True)
    target = x if leaf else x * 1
    seen = []
    first = target.register_hook(lambda g: seen.append(g.item()))
    second = target.register_hook(lambda g: g * 10)
    target.register_hook(lambda g: seen.append(g.item()))
    loss = target * 2 + target
    loss.backward(retain_graph=True)
    assert (seen, x.grad.item()) == ([3.0, 30.0], 30.0)
    first.remove()
    first.remove()
    with second:
        pass
    loss.backward()
    assert (seen, x.grad.item()) == ([3.0, 30.0, 3.0], 33.0)


def test_a_hook_may_keep_what_it_saw() -> None:
    x = rl.tensor([1.0], requires_grad=True)
    kept: list[Any] = []
    x.register_hook(kept.append)
    for _ in range(2):
        (x * 2).backward()
    assert [each.item() for each in kept] == [2.0, 2.0]
    assert x.grad.item() == 4.0


def test_handles_outlive_what_they_hook() -> None:
    x = rl.tensor([1.0], requires_grad=True)
    handle = (x * 2).register_hook(lambda g: g)
    gone = rl.tensor([1.0], requires_grad=True)
    other = gone.register_hook(lambda g: g)
    del gone
    handle.remove()
    other.remove()


def test_post_accumulate_hooks() -> None:
    x = rl.tensor([1.0], requires_grad=True)
    seen = []
    handle = x.register_post_accumulate_grad_hook(lambda t: seen.append((t is x, t.grad.item())))
    (x * 2).backward()
    (x * 3).backward()
    handle.remove()
    (x * 4).backward()
    assert seen == [(True, 2.0), (True, 5.0)]
    assert grad(x * 5, x)[0].item() == 5.0


def test_retain_grad() -> None:
    x = rl.tensor([1.0], requires_grad=True)
    y = x * 2
    y.retain_grad()
    y.retain_grad()
    y.register_hook(lambda g: g * 10)
    z = y * 3
    z.backward(retain_graph=True)
    assert (y.grad.item(), y.retains_grad, x.retains_grad) == (30.0, True, False)
    z.backward()
    assert y.grad.item() == 60.0
    x.retain_grad()
    assert z.grad is None


@pytest.mark.parametrize(
    ("result", "error", "words"),
    [
        (lambda g: 3.0, TypeError, "hook must return a Tensor.*float"),
        (lambda g: rl.ones(3), RuntimeError, r"hook.*\[3\].*\[1\]"),
        (lambda g: g.double(), RuntimeError, "hook.*float64.*float32"),
    ],
)
def test_bad_hooks(result: Any, error: type[Exception], words: str) -> None:
    x = rl.tensor([1.0], requires_grad=True)
    x.register_hook(result)
    with pytest.raises(error, match=words):
        (x * 2).backward()


# -- threads and special values -------------------------------------------------------------


def test_two_threads_on_their_own_graphs() -> None:
    results = {}

    def work(number: int) -> None:
        w = rl.tensor([float(number)], requires_grad=True)
        for _ in range(50):
            (w * w * number).backward()
        results[number] = w.grad.item()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 5)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert results == {number: 50.0 * 2 * number**2 for number in range(1, 5)}


@pytest.mark.parametrize(
    "name",
    [
        "exp", "log", "log2", "log1p", "sqrt", "rsqrt", "reciprocal", "sin", "cos", "tanh",
        "sigmoid", "neg", "abs", "square", "sign", "floor", "ceil", "round", "sum", "mean", "prod",
        "var", "std", "norm", "amax", "max", "relu", "double", "long", "bool", "isnan",
    ],
)  # fmt: skip
def test_special_values_pass_in_silence(name: str) -> None:
    """Warnings are errors in these tests: inf, nan and overflow must raise none."""
    x = rl.tensor([np.nan, np.inf, -np.inf, 0.0, -1.0, 3e38, 1e-45], requires_grad=True)
    y = getattr(x, name)()
    if y.requires_grad:
        y.sum().backward()
        assert x.grad.shape == x.shape


@pytest.mark.parametrize("name", ["add", "sub", "mul", "div", "pow", "maximum", "remainder"])
def test_special_pairs_pass_in_silence(name: str) -> None:
    values = [np.nan, np.inf, -np.inf, 0.0, -1.0, 3e38, 1e-45]
    x = rl.tensor(values).unsqueeze(1).requires_grad_()
    y = rl.tensor(values, requires_grad=True)
    getattr(rl, name)(x, y).sum().backward()
    assert (x.grad.shape, y.grad.shape) == (x.shape, y.shape)


def test_the_spread_of_equal_values_has_slope_zero() -> None:
    x = rl.full((3,), 2.0, requires_grad=True)
    (x.std() + x.norm() * 0).backward()
    assert x.grad.tolist() == [0.0, 0.0, 0.0]


def test_the_gradient_that_is_given_stays_as_it_is() -> None:
    given = rl.ones(3)
    leaf = rl.ones(3, requires_grad=True)
    leaf.backward(given)
    result = leaf * 2
    result.retain_grad()
    result.register_hook(lambda found: found.mul_(3))
    result.backward(given)
    hooked = rl.ones(3, requires_grad=True)
    hooked.register_hook(lambda found: found.mul_(3))
    hooked.backward(given)
    for each in (leaf.grad, result.grad, hooked.grad):
        assert each is not None
        each.add_(1)
    (hooked + leaf).backward(given)
    leaf.grad = given.clone()
    (leaf + hooked).backward(leaf.grad)
    assert given.tolist() == [1, 1, 1]
    assert leaf.grad.tolist() == [2, 2, 2]
    assert hooked.grad is not None
    assert hooked.grad.tolist() == [10, 10, 10]
