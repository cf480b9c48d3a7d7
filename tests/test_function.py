"""``autograd.Function``: operations of the user's own, and ``gradcheck``."""

from __future__ import annotations

from typing import Any

import pytest

import rushlight as rl
from rushlight.autograd import Function, gradcheck


class Cube(Function):
    """The usual style: forward gets the context."""

    @staticmethod
    def forward(ctx: Any, x: Any, factor: float) -> Any:
        ctx.save_for_backward(x)
        ctx.factor = factor
        return x * x * x * factor

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (x,) = ctx.saved_tensors
        return 3 * x * x * ctx.factor * g, None


class CubeSetup(Function):
    """The other style: a context set up after forward."""

    @staticmethod
    def forward(x: Any, factor: float) -> Any:
        return x * x * x * factor

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        x, ctx.factor = inputs
        assert output.shape == x.shape
        ctx.save_for_backward(x)

    backward = Cube.backward


@pytest.mark.parametrize("operation", [Cube, CubeSetup])
def test_both_styles(operation: Any) -> None:
    x = rl.tensor([1.0, 2.0], dtype=rl.float64, requires_grad=True)
    y = operation.apply(x, 2.0)
    assert y.grad_fn.name() == f"{operation.__name__}Backward"
    assert f"grad_fn=<{operation.__name__}Backward>" in repr(y)
    y.sum().backward()
    assert (y.tolist(), x.grad.tolist()) == ([2.0, 16.0], [6.0, 24.0])
    assert gradcheck(lambda t: operation.apply(t, 2.0), x)
    with pytest.raises(RuntimeError, match=r"CubeB|CubeSetupB"):
        y.sum().backward()


@pytest.mark.parametrize("operation", [Cube, CubeSetup])
def test_nothing_is_recorded_where_nothing_is_asked(operation: Any) -> None:
    assert not operation.apply(rl.ones(1), 2.0).requires_grad
    with rl.no_grad():
        assert not operation.apply(rl.ones(1, requires_grad=True), 2.0).requires_grad


def _function(forward: Any, backward: Any) -> Any:
    return type(
        "Op", (Function,), {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    )


def test_needs_input_grad_is_there_also_without_recording() -> None:
    seen = []

    def forward(ctx: Any, *args: Any) -> Any:
        seen.append(ctx.needs_input_grad)
        return args[0] * 1

    op = _function(forward, lambda ctx, g: (g, None, None))
    x = rl.ones(1, requires_grad=True)
    op.apply(x, rl.ones(1), 3)
    with rl.no_grad():
        op.apply(x, rl.ones(1), 3)
    op.apply(rl.ones(1), rl.ones(1), 3)
    assert seen == [(True, False, False), (True, False, False), (False, False, False)]


def test_nothing_inside_forward_is_recorded() -> None:
    inside = []

    def forward(ctx: Any, x: Any) -> Any:
        inside.append((rl.is_grad_enabled(), (x * 2).requires_grad))
        return x * 2

    def backward(ctx: Any, g: Any) -> Any:
        inside.append((rl.is_grad_enabled(), (g * 2).requires_grad))
        return g * 2

    x = rl.ones(1, requires_grad=True)
    _function(forward, backward).apply(x).backward()
    assert inside == [(False, False)] * 2


def test_saved_tensors_share_memory_and_version() -> None:
    found: list[Any] = []

    def forward(ctx: Any, x: Any) -> Any:
        y = x * 2
        ctx.save_for_backward(x, None, y)
        return y

    def backward(ctx: Any, g: Any) -> Any:
        found.extend(ctx.saved_tensors)
        return g * 2

    x = rl.ones(2, requires_grad=True)
    y = _function(forward, backward).apply(x)
    y.sum().backward()
    assert found[1] is None
    assert (found[0].data_ptr(), found[2].data_ptr()) == (x.data_ptr(), y.data_ptr())
    found[0].add_(1)
    assert x._version == 1


@pytest.mark.parametrize("which", ["input", "output"])
def test_a_saved_tensor_changed_in_place(which: str) -> None:
    def forward(ctx: Any, x: Any) -> Any:
        y = x * 2
        ctx.save_for_backward(x if which == "input" else y)
        return y

    op = _function(forward, lambda ctx, g: g * ctx.saved_tensors[0])
    leaf = rl.ones(2, requires_grad=True)
    x = leaf * 1
    y = op.apply(x)
    with rl.no_grad():
        (x if which == "input" else y).add_(1)
    with pytest.raises(RuntimeError, match=r"Op.*changed in place.*version 1, expected 0"):
        y.sum().backward()


def test_only_tensors_are_saved() -> None:
    op = _function(lambda ctx, x: (ctx.save_for_backward(3), x)[1], lambda ctx, g: g)
    with pytest.raises(TypeError, match=r"save_for_backward.*int"):
        op.apply(rl.ones(1, requires_grad=True))


def test_mark_dirty() -> None:
    def forward(ctx: Any, x: Any) -> Any:
        x.add_(1)
        ctx.mark_dirty(x)
        ctx.save_for_backward(x)
        return x

    op = _function(forward, lambda ctx, g: g * ctx.saved_tensors[0])
    leaf = rl.tensor([2.0], requires_grad=True)
    x = leaf * 3
    y = op.apply(x)
    assert y is x
    (y * 10).backward()
    assert (x.item(), leaf.grad.item()) == (7.0, 210.0)
    with pytest.raises(RuntimeError, match="leaf that requires a gradient"):
        op.apply(leaf)
    with pytest.raises(RuntimeError, match="view cannot be changed in place by a Function"):
        op.apply((leaf * 3).view(1, 1))


def test_an_input_returned_as_it_is() -> None:
    op = _function(lambda ctx, x: x, lambda ctx, g: g * 5)
    leaf = rl.tensor([2.0], requires_grad=True)
    y = op.apply(leaf)
    assert y is not leaf
    assert (leaf.is_leaf, y.data_ptr()) == (True, leaf.data_ptr())
    (y + leaf).backward()
    assert leaf.grad.item() == 6.0


def test_mark_non_differentiable_and_integer_outputs() -> None:
    def forward(ctx: Any, x: Any) -> Any:
        rounded, places = x.round(), x.argmax()
        ctx.mark_non_differentiable(rounded)
        return x * 2, rounded, places

    gradients = []

    def backward(ctx: Any, *grads: Any) -> Any:
        gradients.append(grads)
        return grads[0] * 2

    x = rl.tensor([1.2, 2.7], requires_grad=True)
    y, rounded, places = _function(forward, backward).apply(x)
    assert [t.requires_grad for t in (y, rounded, places)] == [True, False, False]
    y.sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]
    assert gradients[0][1].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("materialize", [True, False])
def test_gradients_that_nobody_sent(materialize: bool) -> None:
    def forward(ctx: Any, x: Any) -> Any:
        ctx.set_materialize_grads(materialize)
        return x * 2, x * 3

    seen = []

    def backward(ctx: Any, a: Any, b: Any) -> Any:
        seen.append(None if b is None else b.tolist())
        return a * 2

    x = rl.ones(2, requires_grad=True)
    _function(forward, backward).apply(x)[0].sum().backward()
    assert seen == [[0.0, 0.0] if materialize else None]


@pytest.mark.parametrize(
    ("returned", "error", "words"),
    [
        (lambda g: g, RuntimeError, "returned 1 gradients, but forward took 2"),
        (lambda g: (g, g, g), RuntimeError, "returned 3 gradients, but forward took 2"),
        (lambda g: (rl.ones(3), None), RuntimeError, r"gradient 0 has shape \[3\].*\[2\]"),
        (lambda g: (rl.ones(1), None), RuntimeError, r"gradient 0 has shape \[1\].*\[2\]"),
        (lambda g: (g, 3.0), TypeError, "gradient 1.*float"),
    ],
)
def test_wrong_gradients(returned: Any, error: type[Exception], words: str) -> None:
    op = _function(lambda ctx, x, y: x + y, lambda ctx, g: returned(g))
    x, y = (rl.ones(2, requires_grad=True) for _ in range(2))
    with pytest.raises(error, match=f"Op.*{words}"):
        op.apply(x, y).sum().backward()
    assert (x.grad, y.grad) == (None, None)


def test_gradients_that_are_made_to_fit() -> None:
    """Too many dimensions are summed, the type is converted, trailing Nones are dropped."""
    op = _function(
        lambda ctx, x, n: x * 1, lambda ctx, g: (rl.ones(3, 2, dtype=rl.float64), None, None)
    )
    x = rl.ones(2, requires_grad=True)
    op.apply(x, 3).sum().backward()
    assert (x.grad.tolist(), x.grad.dtype) == ([3.0, 3.0], rl.float32)


def test_none_as_a_gradient() -> None:
    op = _function(lambda ctx, x, y: x + y, lambda ctx, g: (None, g))
    x, y = (rl.ones(1, requires_grad=True) for _ in range(2))
    op.apply(x, y).backward()
    assert (x.grad, y.grad.item()) == (None, 1.0)


def test_a_result_that_is_no_tensor() -> None:
    op = _function(lambda ctx, x: (x * 1, "text"), lambda ctx, g, _: g)
    with pytest.raises(TypeError, match=r"Op.*str"):
        op.apply(rl.ones(1, requires_grad=True))
    assert op.apply(rl.ones(1))[1] == "text"


# -- gradcheck ------------------------------------------------------------------------------


def _wrong(factor: float) -> Any:
    op = _function(lambda ctx, x: x * 2, lambda ctx, g: g * factor)
    return op.apply


def _double(*values: float) -> Any:
    return rl.tensor(values, dtype=rl.float64, requires_grad=True)


def test_gradcheck_catches_a_wrong_backward() -> None:
    x = _double(1.0, 2.0)
    assert gradcheck(_wrong(2.0), x)
    assert not gradcheck(_wrong(2.01), x, raise_exception=False)
    with pytest.raises(RuntimeError, match=r"output 0\[0\] / d input 0\[0\].*2.5 by backward"):
        gradcheck(_wrong(2.5), x)
    assert (x.tolist(), x.grad) == ([1.0, 2.0], None)


def test_gradcheck_looks_at_every_input_and_output() -> None:
    x, y = _double(1.0), _double(3.0)
    assert gradcheck(lambda a, b, n: (a * b * n, a + b, (a > b)), (x, y, 3))
    with pytest.raises(RuntimeError, match=r"output 1\[0\] / d input 1\[0\]"):
        gradcheck(lambda a, b: (a * b, a + _wrong(1.0)(b)), (x, y))


def test_gradcheck_finds_a_missing_gradient() -> None:
    with pytest.raises(RuntimeError, match=r"is 0.0 by backward"):
        gradcheck(lambda a: a + a.detach() * 2 - a, _double(1.0))


@pytest.mark.parametrize(
    ("function", "inputs", "words"),
    [
        (lambda a: a * 2, rl.ones(1, dtype=rl.float64), "no input requires a gradient"),
        (lambda a: a * 2, rl.ones(1, requires_grad=True), "input 0 is float32.*float64"),
        (lambda a: a.detach() * 2, _double(1.0), "no output requires a gradient"),
    ],
)
def test_gradcheck_refuses(function: Any, inputs: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        gradcheck(function, inputs)
