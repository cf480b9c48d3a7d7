"""A layer and the clamp behind it in a Sequential: one operation, and nobody can tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rushlight
from rushlight import nn
from rushlight.autograd import gradcheck
from rushlight.nn import neighbours

LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "conv, few channels": (lambda: nn.Conv2d(3, 32, 3, padding=1), (4, 3, 9, 9)),
    "conv, blocks": (lambda: nn.Conv2d(16, 24, 3, padding=1, bias=False), (4, 16, 9, 9)),
    "conv, planes": (lambda: nn.Conv2d(32, 5, 1), (4, 32, 9, 9)),
    "conv, small planes": (lambda: nn.Conv2d(48, 40, 1), (16, 48, 2, 2)),
    "conv, one image": (lambda: nn.Conv2d(3, 8, 3, padding="same"), (3, 8, 8)),
    "batch norm": (lambda: nn.BatchNorm2d(24), (4, 24, 5, 5)),
    "batch norm, tiny planes": (lambda: nn.BatchNorm2d(70), (4, 70, 2, 2)),
    "batch norm, rows": (lambda: nn.BatchNorm1d(20), (7, 20)),
    "batch norm, without weight": (lambda: nn.BatchNorm2d(24, affine=False), (4, 24, 5, 5)),
    "linear": (lambda: nn.Linear(20, 30), (7, 20)),
    "linear, many rows": (lambda: nn.Linear(64, 70, bias=False), (2, 32, 64)),
}
CLAMPS: dict[str, Callable[[bool], nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "hardtanh": lambda inplace: nn.Hardtanh(-0.5, 0.75, inplace),
}


def one_by_one(model: nn.Sequential) -> Callable[[Any], Any]:
    def run(x: Any) -> Any:
        for module in model:
            x = module(x)
        return x

    return run


def outcome(model: nn.Sequential, run: Callable[[Any], Any], x: Any) -> tuple[list[Any], str]:
    """Return the result, all gradients and all buffers; the name of what made the result."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.reset_running_stats()
    model.zero_grad()
    x = x.clone().requires_grad_()
    y = run(x)
    (y * y).sum().backward()
    found = [y.detach(), x.grad, *[p.grad for p in model.parameters()]]
    return [each.numpy().copy() for each in (*found, *model.buffers())], y.grad_fn.name()


@pytest.mark.parametrize("dtype", [rushlight.float32, rushlight.float64])
@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("clamp", CLAMPS)
@pytest.mark.parametrize("layer", LAYERS)
def test_bits_and_names_are_those_of_the_two(
    layer: str, clamp: str, inplace: bool, dtype: Any
) -> None:
    make, shape = LAYERS[layer]
    rushlight.manual_seed(0)
    model = nn.Sequential(make(), CLAMPS[clamp](inplace)).to(dtype)
    x = 2 * rushlight.randn(*shape, dtype=dtype)
    for mode in (model.train, model.eval):
        mode()
        (ours, name), (theirs, expected) = (
            outcome(model, run, x) for run in (model, one_by_one(model))
        )
        assert name == expected
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)
        with rushlight.no_grad():
            np.testing.assert_array_equal(model(x).numpy(), one_by_one(model)(x).numpy())


@pytest.mark.parametrize("layer", LAYERS)
def test_the_two_are_one_node(layer: str) -> None:
    make, shape = LAYERS[layer]
    model = nn.Sequential(make(), nn.ReLU())
    x = rushlight.randn(*shape, requires_grad=True)
    maker = model(x).grad_fn.next_functions[0][0]
    if layer == "conv, one image":  # is made a batch in between, and one image again
        assert maker.name() == "ViewBackward0"
    else:
        assert maker.variable is x


@pytest.mark.parametrize("clamp", CLAMPS)
@pytest.mark.parametrize("layer", ["conv, blocks", "conv, planes", "batch norm", "linear"])
def test_gradients_against_finite_differences(layer: str, clamp: str) -> None:
    make, shape = LAYERS[layer]
    rushlight.manual_seed(1)
    model = nn.Sequential(make(), CLAMPS[clamp](False)).to(rushlight.float64)
    small = (2, *shape[1:2], *(3 for _ in shape[2:]))
    x = rushlight.randn(*small, dtype=rushlight.float64, requires_grad=True)
    assert gradcheck(model, (x,))


def test_limits_and_what_is_no_number() -> None:
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.ReLU())
    with rushlight.no_grad():
        model[0].weight.fill_(1.0)
        x = rushlight.tensor([[np.nan], [np.inf], [-np.inf], [-0.0], [0.0]])
        y = model(x).numpy()
        np.testing.assert_array_equal(y, one_by_one(model)(x).numpy())
    assert np.isnan(y[0, 0])
    assert y[1, 0] == np.inf


def calls_of(kind: type[nn.Module], monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return a list that grows with each call of a layer together with a clamp."""
    calls: list[Any] = []
    own = kind._clamped  # type: ignore[attr-defined]

    def noted(self: Any, input: Any, clamp: Any) -> Any:
        if clamp is not None:
            calls.append(self)
        return own(self, input, clamp)

    monkeypatch.setattr(kind, "_clamped", noted)
    return calls


@pytest.mark.parametrize("number", [0, 1])
def test_hooks_see_both(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = calls_of(nn.Linear, monkeypatch)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    x = rushlight.randn(2, 3)
    seen: list[Any] = []
    handle = model[number].register_forward_hook(
        lambda *args: seen.append(args[2].detach().numpy())
    )
    y = model(x)
    assert (len(seen), calls) == (1, [])
    np.testing.assert_array_equal(seen[0].clip(0), y.detach().numpy())
    handle.remove()
    model(x)  # which notices that no hook is left
    model(x)
    assert (len(seen), calls) == (1, [model[0]])


def test_global_hooks_see_both(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = calls_of(nn.Linear, monkeypatch)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    seen: list[str] = []
    handle = nn.modules.module.register_module_forward_hook(
        lambda module, *_: seen.append(type(module).__name__)
    )
    model(rushlight.randn(2, 3))
    handle.remove()
    assert (seen, calls) == (["Linear", "ReLU", "Sequential"], [])


class Doubled(nn.Linear):
    def forward(self, input: Any) -> Any:
        return 2 * super().forward(input)


class Shifted(nn.ReLU):
    def forward(self, input: Any) -> Any:
        return super().forward(input + 1)


@pytest.mark.parametrize(
    "model",
    [
        lambda: nn.Sequential(Doubled(3, 4), nn.ReLU()),
        lambda: nn.Sequential(nn.Linear(3, 4), Shifted()),
        lambda: nn.Sequential(nn.Linear(3, 4), nn.Hardtanh(0.5, 1.0)),
        lambda: nn.Sequential(nn.Linear(3, 4), nn.GELU()),
        lambda: nn.Sequential(nn.ReLU(), nn.Linear(3, 4)),
    ],
)
def test_others_run_one_by_one(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = calls_of(nn.Linear, monkeypatch)
    net, x = model(), rushlight.randn(5, 3)
    np.testing.assert_array_equal(net(x).detach().numpy(), one_by_one(net)(x).detach().numpy())
    assert calls == []


def test_a_forward_that_was_replaced_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = nn.Sequential(nn.Linear(3, 4), nn.ReLU()), rushlight.randn(5, 3)
    model[1].forward = lambda input: input + 1  # type: ignore[method-assign]
    np.testing.assert_array_equal(model(x).detach().numpy(), model[0](x).detach().numpy() + 1)
    del model[1].forward
    monkeypatch.setattr(nn.ReLU, "forward", lambda self, input: input + 2)
    np.testing.assert_array_equal(model(x).detach().numpy(), model[0](x).detach().numpy() + 2)


def test_three_in_a_row_and_a_module_twice() -> None:
    relu = nn.ReLU()
    model = nn.Sequential(nn.Linear(3, 4), relu, relu, nn.Linear(4, 3), relu)
    x = rushlight.randn(5, 3)
    np.testing.assert_array_equal(model(x).detach().numpy(), one_by_one(model)(x).detach().numpy())


def test_errors_name_the_layer() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(5, 4), nn.ReLU())
    with pytest.raises(ValueError, match="linear") as caught:
        model(rushlight.randn(2, 3))
    text = "".join((str(caught.value), *getattr(caught.value, "__notes__", ())))
    assert "in 2 (Linear), given (2, 4)" in text


def test_compiled_nets_compute_the_same() -> None:
    model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU()).eval()
    x = rushlight.randn(1, 3, 8, 8)
    with rushlight.no_grad():
        expected = model(x).numpy()
        found = rushlight.compile(model)(x).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_saved_result_that_was_changed_is_noticed() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    y = model(rushlight.randn(2, 3))
    loss = y.sum()
    with rushlight.no_grad():
        y.add_(1)
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


CONVOLUTIONS: dict[str, tuple[Callable[[], nn.Conv2d], tuple[int, ...]]] = {
    "few channels": (lambda: nn.Conv2d(3, 32, 3, 2, 1, bias=False), (2, 3, 33, 33)),
    "one channel": (lambda: nn.Conv2d(1, 8, 3, 1, 1, bias=False), (4, 1, 8, 8)),
    "winograd": (lambda: nn.Conv2d(64, 64, 3, 1, 1, bias=False), (1, 64, 28, 28)),
    "deep": (lambda: nn.Conv2d(200, 300, 3, 1, 1, bias=False), (1, 200, 7, 7)),
    "direct": (lambda: nn.Conv2d(10, 10, 3, 1, 1, bias=False), (16, 10, 32, 32)),
    "strided": (lambda: nn.Conv2d(64, 128, 3, 2, 1, bias=False), (1, 64, 28, 28)),
    "dilated": (lambda: nn.Conv2d(20, 17, 3, 1, 2, 2, bias=False), (2, 20, 9, 11)),
    "pointwise": (lambda: nn.Conv2d(17, 30, 1, bias=False), (3, 17, 9, 9)),
    "few outputs": (lambda: nn.Conv2d(32, 5, 1, bias=False), (4, 32, 9, 9)),
    "tiny planes": (lambda: nn.Conv2d(48, 40, 1, bias=False), (16, 48, 2, 2)),
    "grouped": (lambda: nn.Conv2d(64, 64, 3, 1, 1, groups=32, bias=False), (1, 64, 28, 28)),
    "depthwise": (lambda: nn.Conv2d(24, 24, 3, 1, 1, groups=24, bias=False), (2, 24, 14, 14)),
    "depthwise, strided": (
        lambda: nn.Conv2d(40, 40, 5, 2, 2, groups=40, bias=False),
        (1, 40, 15, 15),
    ),
    "depthwise, long rows": (
        lambda: nn.Conv2d(8, 8, 3, 1, 1, groups=8, bias=False),
        (1, 8, 112, 112),
    ),
    "depthwise x2": (lambda: nn.Conv2d(6, 12, 3, 1, 1, groups=6, bias=False), (1, 6, 9, 9)),
    "no image": (lambda: nn.Conv2d(3, 8, 3, bias=False), (0, 3, 8, 8)),
}


def with_statistics(norm: nn.BatchNorm2d) -> nn.BatchNorm2d:
    with rushlight.no_grad():
        for values in (norm.running_mean, norm.weight, norm.bias):
            if values is not None:
                values.normal_()
        norm.running_var.uniform_(0.3, 2.0)
    return norm


def normed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return a list that grows with each convolution that is run with its batch norm."""
    calls: list[Any] = []
    own = nn.Conv2d._normed
    monkeypatch.setattr(
        nn.Conv2d, "_normed", lambda self, *args: calls.append(self) or own(self, *args)
    )
    return calls


@pytest.mark.parametrize("dtype", [rushlight.float32, rushlight.float64])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("clamp", [None, *CLAMPS])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_normed_convolution_has_the_bits_of_both(
    name: str,
    clamp: str | None,
    affine: bool,
    dtype: Any,
    isa: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make, shape = CONVOLUTIONS[name]
    rushlight.manual_seed(2)
    conv = make()
    norm = with_statistics(nn.BatchNorm2d(conv.out_channels, affine=affine))
    behind = [] if clamp is None else [CLAMPS[clamp](True)]
    model = nn.Sequential(conv, norm, *behind).to(dtype).eval()
    first = nn.Conv2d(3, shape[1], 1).to(dtype)
    calls = normed(monkeypatch)
    with rushlight.no_grad():
        in_blocks = first(rushlight.randn(shape[0], 3, *shape[2:], dtype=dtype))
        for x in (rushlight.randn(*shape, dtype=dtype), in_blocks):
            expected = one_by_one(model)(x).numpy()
            assert calls == []
            for _ in range(3):  # the weight is kept from the second time on
                np.testing.assert_array_equal(model(x).numpy(), expected)
            assert calls == [conv] * 3
            calls.clear()


def test_what_does_not_fit_is_run_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = normed(monkeypatch)
    x = rushlight.randn(2, 3, 8, 8)

    def run(conv: nn.Conv2d, norm: Any, image: Any = x, training: bool = False) -> Any:
        model = nn.Sequential(conv, norm, nn.ReLU()).train(training)
        return model(image)

    with rushlight.no_grad():
        run(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))  # whose bias would be rounded otherwise
        run(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), training=True)
        run(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8, track_running_stats=False))
        run(nn.Conv2d(3, 8, 3, bias=False, padding="same"), nn.BatchNorm2d(8))
        run(nn.Conv2d(3, 8, 3, bias=False, padding=1, padding_mode="reflect"), nn.BatchNorm2d(8))
        with pytest.raises(ValueError, match="batch_norm"):
            run(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(9))
        with pytest.raises(TypeError, match="batch_norm"):
            run(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8).double())
        with pytest.raises(ValueError, match="4D"):
            run(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), x[0])
        norm = nn.BatchNorm2d(8)
        norm.eps = -1.0
        with pytest.raises(ValueError, match="eps"):
            run(nn.Conv2d(3, 8, 3, bias=False), norm)
    run(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8))  # gradients are recorded
    assert calls == []


@pytest.mark.parametrize("number", [0, 1, 2])
def test_hooks_see_all_three(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = normed(monkeypatch)
    norm = with_statistics(nn.BatchNorm2d(16))
    model = nn.Sequential(nn.Conv2d(3, 16, 3, bias=False), norm, nn.ReLU()).eval()
    x = rushlight.randn(2, 3, 9, 9)
    seen: list[Any] = []
    with rushlight.no_grad():
        expected = model(x).numpy()
        assert len(calls) == 1
        model[number].register_forward_hook(lambda *args: seen.append(args[2].numpy().copy()))
        np.testing.assert_array_equal(model(x).numpy(), expected)
    assert len(seen) == 1
    # The relu alone runs after the other two, which may still run as one.
    assert len(calls) == (2 if number == 2 else 1)


def test_a_changed_batch_norm_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    norm = with_statistics(nn.BatchNorm2d(16))
    model = nn.Sequential(nn.Conv2d(3, 16, 3, bias=False), norm).eval()
    x = rushlight.randn(2, 3, 9, 9)
    with rushlight.no_grad():
        for change in (
            lambda: norm.running_mean.add_(1.0),
            lambda: norm.running_var.numpy().__imul__(2.0),
            lambda: norm.weight.mul_(3.0),
            lambda: setattr(norm, "bias", nn.Parameter(rushlight.ones(16))),
            lambda: setattr(norm, "eps", 0.5),
            lambda: model[0].weight.mul_(2.0),
        ):
            change()
            np.testing.assert_array_equal(model(x).numpy(), one_by_one(model)(x).numpy())


def test_sizes_that_were_set_later() -> None:
    norm = with_statistics(nn.BatchNorm2d(8))
    model = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), norm, nn.ReLU()).eval()
    model[0].stride, model[0].padding, model[0].dilation = 2, [1, 1], (2,)
    x = rushlight.randn(2, 3, 9, 9)
    with rushlight.no_grad():
        np.testing.assert_array_equal(model(x).numpy(), one_by_one(model)(x).numpy())


@pytest.mark.parametrize(
    "change",
    [
        lambda conv, _: setattr(conv, "weight", None),
        lambda conv, _: setattr(conv, "groups", "one"),
        lambda conv, _: setattr(conv, "stride", 0),
        lambda _, norm: (delattr(norm, "running_var"), setattr(norm, "running_var", np.ones(8))),
    ],
)
def test_errors_are_those_of_one_by_one(change: Callable[[Any, Any], Any]) -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU()).eval()
    change(model[0], model[1])
    texts = []
    for run in (model, one_by_one(model)):
        with rushlight.no_grad(), pytest.raises((TypeError, ValueError)) as caught:
            run(rushlight.randn(2, 3, 9, 9))
        texts.append(str(caught.value))
    assert texts[0] == texts[1]


def test_errors_of_a_normed_convolution_name_it() -> None:
    model = nn.Sequential(nn.Conv2d(4, 8, 3, bias=False), nn.BatchNorm2d(8)).eval()
    with rushlight.no_grad(), pytest.raises(ValueError, match="conv2d") as caught:
        model(rushlight.randn(2, 3, 8, 8))
    text = "".join((str(caught.value), *getattr(caught.value, "__notes__", ())))
    assert "in 0 (Conv2d), given (2, 3, 8, 8)" in text


def test_only_known_classes_are_taken_together() -> None:
    for table in (neighbours._LAYERS, neighbours._CLAMPS):
        for kind, forward in table.items():
            assert kind.forward is forward
