"""Hooks around a module's call and its gradients."""

import collections
import copy
import pickle

import pytest

import rushlight as rl
from rushlight import nn

Pair = collections.namedtuple("Pair", ["left", "right"])


class Double(nn.Module):
    def forward(self, x, factor=2):
        return x * factor


class Split(nn.Module):
    """Two inputs, two outputs."""

    def __init__(self, kind=tuple):
        super().__init__()
        self.kind = kind

    def forward(self, x, y):
        return Pair(x * 2, y * 3) if self.kind is Pair else (x * 2, y * 3)


def leaf(*values):
    return rl.tensor(values or (1.0, 2.0), requires_grad=True)


# -- around forward ------------------------------------------------------------------------------


def test_order_and_arguments():
    module, seen = Double(), []
    module.register_forward_pre_hook(lambda m, args: seen.append(("pre", m, args)))
    module.register_forward_hook(lambda m, args, out: seen.append(("post", m, args, out)))
    x = rl.ones(1)
    out = module(x)
    assert seen == [("pre", module, (x,)), ("post", module, (x,), out)]
    assert module.forward(x).tolist() == [2.0]
    assert len(seen) == 2


def test_order_of_registration_and_prepend():
    module, seen = Double(), []
    for name, prepend in (("a", False), ("b", False), ("c", True), ("d", True)):
        module.register_forward_pre_hook(lambda *_, name=name: seen.append(name), prepend=prepend)
        module.register_forward_hook(
            lambda *_, name=name: seen.append(name.upper()), prepend=prepend
        )
    module(rl.ones(1))
    assert "".join(seen) == "dcabDCAB"


def test_hooks_replace_arguments_and_results():
    module = Double()
    first = module.register_forward_pre_hook(lambda m, args: args[0] + 1)
    second = module.register_forward_pre_hook(lambda m, args: (args[0] * 10,))
    assert module(rl.ones(1)).item() == 40
    third = module.register_forward_hook(lambda m, args, out: out + args[0])
    assert module(rl.ones(1)).item() == 60
    for handle in (first, second, third):
        handle.remove()
    assert module(rl.ones(1)).item() == 2
    module.register_forward_hook(lambda *_: 7)
    assert module(rl.ones(1)) == 7


def test_hooks_with_keyword_arguments():
    module, seen = Double(), []

    def before(m, args, kwargs):
        return args, {"factor": kwargs["factor"] + 1}

    def after(m, args, kwargs, out):
        seen.append(kwargs)
        return out * 2

    module.register_forward_pre_hook(before, with_kwargs=True)
    handle = module.register_forward_hook(after, with_kwargs=True)
    assert module(rl.ones(1), factor=4).item() == 10
    assert seen == [{"factor": 5}]
    assert handle.id in module._forward_hooks_with_kwargs
    handle.remove()
    assert handle.id not in module._forward_hooks_with_kwargs


def test_wrong_result_of_a_keyword_pre_hook():
    module = Double()
    module.register_forward_pre_hook(lambda *_: 7, with_kwargs=True)
    with pytest.raises(RuntimeError, match=r"tuple of \(new_args, new_kwargs\), but got 7"):
        module(rl.ones(1))


@pytest.mark.parametrize(
    "register",
    [
        "register_forward_pre_hook",
        "register_forward_hook",
        "register_full_backward_pre_hook",
        "register_full_backward_hook",
        "register_state_dict_pre_hook",
        "register_load_state_dict_post_hook",
    ],
)
def test_a_hook_must_be_callable(register):
    with pytest.raises(TypeError, match="must be callable, but got int"):
        getattr(Double(), register)(3)


# -- always_call ---------------------------------------------------------------------------------


class Broken(nn.Module):
    def forward(self, x):
        raise ValueError("forward")


def test_always_called_after_an_error():
    module, seen = Broken(), []
    module.register_forward_hook(lambda m, args, out: seen.append("never"))
    module.register_forward_hook(lambda m, args, out: seen.append(out), always_call=True)
    module.register_forward_hook(
        lambda m, args, kwargs, out: seen.append(kwargs), always_call=True, with_kwargs=True
    )
    with pytest.raises(ValueError, match="forward"):
        module(rl.ones(1))
    assert seen == [None, {}]


def test_always_called_once():
    module, seen = Double(), []

    def fail(m, args, out):
        raise ValueError("hook")

    module.register_forward_hook(lambda *_: seen.append("a"), always_call=True)
    module.register_forward_hook(fail, always_call=True)
    module.register_forward_hook(lambda *_: seen.append("b"), always_call=True)
    with pytest.raises(ValueError, match="hook"):
        module(rl.ones(1))
    assert seen == ["a", "b"]


def test_an_error_in_an_always_called_hook_only_warns():
    def fail(m, args, out):
        raise KeyError("second")

    module = Broken()
    module.register_forward_hook(fail, always_call=True)
    with (
        pytest.warns(UserWarning, match="silenced.*second"),
        pytest.raises(ValueError, match="forward"),
    ):
        module(rl.ones(1))


# -- handles -------------------------------------------------------------------------------------


def test_handles():
    module, seen = Double(), []
    handle = module.register_forward_hook(lambda *_: seen.append(1))
    with module.register_forward_hook(lambda *_: seen.append(2)) as inner:
        module(rl.ones(1))
        assert inner.id in module._forward_hooks
    assert seen == [1, 2]
    module(rl.ones(1))
    assert seen == [1, 2, 1]
    handle.remove()
    handle.remove()
    module(rl.ones(1))
    assert seen == [1, 2, 1]
    assert handle.id != inner.id
    assert len(module._forward_hooks) == 0


def test_a_handle_outlives_its_module():
    handle = Double().register_forward_hook(print)
    handle.remove()


def test_deepcopy_takes_the_hooks_along():
    module, seen = Double(), []
    module.handle = module.register_forward_hook(lambda m, *_: seen.append(m))
    twin = copy.deepcopy(module)
    module.handle.remove()
    assert len(module._forward_hooks) == 0
    assert len(twin._forward_hooks) == 1
    twin(rl.ones(1))
    assert seen == [twin]
    twin.handle.remove()
    assert len(twin._forward_hooks) == 0


def shout(module, args, output):
    return output + 100


def test_pickle_takes_the_hooks_along():
    module = Double()
    module.handle = module.register_forward_hook(shout)
    twin = pickle.loads(pickle.dumps(module))
    assert twin(rl.ones(1)).item() == 102
    twin.handle.remove()
    assert twin(rl.ones(1)).item() == 2
    module.register_forward_hook(lambda *_: None)
    with pytest.raises((AttributeError, pickle.PicklingError)):
        pickle.dumps(module)


def test_a_module_without_hooks_takes_the_short_way():
    module = Double()
    handle = module.register_forward_hook(shout)
    assert module._hooked
    handle.remove()
    module(rl.ones(1))
    assert not module._hooked
    assert not nn.Module._hooked


def test_hooks_on_the_way_of_an_error_name_the_module():
    model = nn.Sequential(Broken())
    model[0].register_forward_hook(shout)
    with pytest.raises(ValueError, match="forward") as caught:
        model(rl.ones(1))
    assert "in 0 (Broken), given (1,)" in "\n".join(
        getattr(caught.value, "__notes__", [str(caught.value)])
    )


# -- gradients -----------------------------------------------------------------------------------


def test_full_backward_hook():
    module, seen = Double(), []
    module.register_full_backward_hook(lambda *args: seen.append(args))
    x = leaf()
    module(x).sum().backward()
    ((m, grad_input, grad_output),) = seen
    assert m is module
    assert isinstance(grad_input, tuple)
    assert isinstance(grad_output, tuple)
    assert grad_input[0].tolist() == [2.0, 2.0]
    assert grad_output[0].tolist() == [1.0, 1.0]
    assert x.grad.tolist() == [2.0, 2.0]


def test_full_backward_hooks_replace_in_order():
    module = Double()
    module.register_full_backward_hook(lambda m, gi, go: (gi[0] + 1,))
    module.register_full_backward_hook(lambda m, gi, go: gi[0] * 10)
    module.register_full_backward_hook(lambda m, gi, go: (gi[0] * 0 + 5,), prepend=True)
    x = leaf()
    module(x).sum().backward()
    assert x.grad.tolist() == [60.0, 60.0]


def test_full_backward_pre_hook():
    module, seen = Double(), []
    module.register_full_backward_pre_hook(lambda m, go: (go[0] * 3,))
    module.register_full_backward_pre_hook(lambda m, go: seen.append(go[0].tolist()))
    module.register_full_backward_hook(
        lambda m, gi, go: seen.append((gi[0].tolist(), go[0].tolist()))
    )
    x = leaf()
    module(x).sum().backward()
    assert seen == [[3.0, 3.0], ([6.0, 6.0], [3.0, 3.0])]
    assert x.grad.tolist() == [6.0, 6.0]


@pytest.mark.parametrize("kind", [tuple, Pair])
def test_several_inputs_and_outputs(kind):
    module, seen = Split(kind), []
    module.register_full_backward_hook(lambda m, gi, go: seen.append((gi, go)))
    x, y = leaf(), rl.ones(2)
    left, right = module(x, y)
    assert type(module(x, y)) is kind
    (left.sum() + right.sum()).backward()
    ((grad_input, grad_output),) = seen
    assert grad_input[0].tolist() == [2.0, 2.0]
    assert grad_input[1] is None
    assert grad_output[0].tolist() == [1.0, 1.0]
    assert len(grad_output) == 2


def test_unused_outputs_have_no_gradient():
    module, seen = Split(), []
    module.register_full_backward_hook(lambda m, gi, go: seen.append((gi, go)))
    x, y = leaf(), leaf()
    left, _ = module(x, y)
    left.sum().backward()
    ((grad_input, grad_output),) = seen
    assert grad_output[1] is None
    assert grad_input[0].tolist() == [2.0, 2.0]
    assert y.grad is None or y.grad.tolist() == [0.0, 0.0]


def test_without_gradients_of_the_inputs():
    module, seen = nn.Linear(2, 1), []
    module.register_full_backward_hook(lambda m, gi, go: seen.append((gi, go[0].tolist())))
    module(rl.ones(1, 2)).sum().backward()
    assert seen == [((None,), [[1.0]])]
    assert module.weight.grad.tolist() == [[1.0, 1.0]]
    module.register_full_backward_hook(lambda m, gi, go: go)
    with pytest.raises(RuntimeError, match="must return None"):
        module(rl.ones(1, 2)).sum().backward()


def test_no_hooks_without_recording():
    module, seen = Double(), []
    module.register_full_backward_hook(lambda *args: seen.append(args))
    with rl.no_grad():
        out = module(leaf())
    assert not out.requires_grad
    assert module(rl.ones(1)).grad_fn is None
    assert seen == []


def test_arguments_that_are_no_tensors():
    module, seen = Double(), []
    module.register_full_backward_hook(lambda m, gi, go: seen.append(gi))
    module(leaf(), 5).sum().backward()
    assert seen[0][1] is None
    assert seen[0][0].tolist() == [5.0, 5.0]


@pytest.mark.parametrize(
    ("register", "hook", "text"),
    [
        ("register_full_backward_hook", lambda m, gi, go: (1, 2), "number of grad_input, got 2"),
        ("register_full_backward_pre_hook", lambda m, go: (1, 2), "number of grad_output, got 2"),
    ],
)
def test_a_wrong_number_of_gradients(register, hook, text):
    module = Double()
    getattr(module, register)(hook)
    with pytest.raises(RuntimeError, match=text):
        module(leaf()).sum().backward()


def test_an_output_that_is_no_tensor_warns():
    module = Double()
    module.register_full_backward_hook(lambda *_: None)
    module.register_forward_hook(lambda m, args, out: {"out": out})
    with pytest.warns(
        UserWarning,
        match="output of Double should be a Tensor or a tuple of Tensors, but it is a dict",
    ):
        module(leaf())


def test_changing_a_hooked_output_in_place_is_refused():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(inplace=True))
    model[0].register_full_backward_hook(lambda *_: None)
    with pytest.raises(RuntimeError, match="view"):
        model(rl.ones(1, 2))


def test_several_calls_and_retained_graphs():
    module, seen = Double(), []
    module.register_full_backward_hook(lambda m, gi, go: seen.append(go[0].tolist()))
    x = leaf(1.0)
    out = (module(x) * 3 + module(x) * 5).sum()
    out.backward(retain_graph=True)
    assert sorted(seen) == [[3.0], [5.0]]
    out.backward()
    assert len(seen) == 4
    assert x.grad.item() == 32


def test_old_and_new_backward_hooks_do_not_mix():
    module, seen = Double(), []
    module.register_backward_hook(lambda m, gi, go: seen.append((gi, go)))
    with pytest.raises(RuntimeError, match="not both"):
        module.register_full_backward_hook(lambda *_: None)
    module(leaf()).sum().backward()
    assert seen[0][0][0].tolist() == [2.0, 2.0]
    module = Double()
    module.register_full_backward_hook(lambda *_: None)
    with pytest.raises(RuntimeError, match="not both"):
        module.register_backward_hook(lambda *_: None)


# -- for all modules ------------------------------------------------------------------------------


def test_global_hooks_run_first():
    module, seen = Double(), []
    module.register_forward_pre_hook(lambda *_: seen.append("pre"))
    module.register_forward_hook(lambda *_: seen.append("post"))
    with (
        nn.register_module_forward_pre_hook(lambda *_: seen.append("global pre")),
        nn.register_module_forward_hook(lambda *_: seen.append("global post")),
    ):
        module(rl.ones(1))
    assert seen == ["global pre", "pre", "global post", "post"]
    Double()(rl.ones(1))
    assert len(seen) == 4
    assert not nn.Module._hooked


def test_global_forward_hook_options():
    seen = []
    with nn.register_module_forward_hook(
        lambda m, args, kwargs, out: seen.append((type(m), kwargs, out)),
        with_kwargs=True,
        always_call=True,
    ):
        Double()(rl.ones(1), factor=3)
        with pytest.raises(ValueError, match="forward"):
            Broken()(rl.ones(1))
    assert seen[0][:2] == (Double, {"factor": 3})
    assert seen[1] == (Broken, {}, None)


def test_global_backward_hooks():
    seen, x = [], leaf()
    model = nn.Sequential(Double(), Double())
    with (
        nn.register_module_full_backward_pre_hook(lambda m, go: seen.append(type(m).__name__)),
        nn.register_module_full_backward_hook(lambda m, gi, go: seen.append(gi[0].tolist())),
    ):
        out = model(x)
        out.sum().backward()
        with pytest.raises(RuntimeError, match="not both"):
            nn.register_module_backward_hook(lambda *_: None)
    assert seen == ["Sequential", "Double", [2.0, 2.0], "Double", [4.0, 4.0], [4.0, 4.0]]
    with nn.register_module_backward_hook(lambda *_: seen.append("old")):
        model(x).sum().backward()
    assert seen.count("old") == 3


def test_global_registration_hooks():
    seen = []
    doubled = nn.Parameter(rl.full((1,), 2.0))
    with (
        nn.register_module_parameter_registration_hook(lambda m, name, p: doubled),
        nn.register_module_buffer_registration_hook(lambda m, name, b: seen.append(name)),
        nn.register_module_module_registration_hook(lambda m, name, c: nn.Tanh()),
    ):
        module = nn.Module()
        module.p = nn.Parameter(rl.ones(1))
        module.register_buffer("b", rl.ones(1))
        module.c = nn.ReLU()
        module.add_module("d", nn.ReLU())
    assert module.p is doubled
    assert seen == ["b"]
    assert isinstance(module.c, nn.Tanh)
    assert isinstance(module.d, nn.Tanh)
    module.e = nn.ReLU()
    assert isinstance(module.e, nn.ReLU)


# -- against PyTorch ------------------------------------------------------------------------------


def trace(lib, nn_lib):
    """Run one script of hooks and return what they saw."""
    seen = []
    model = nn_lib.Sequential(nn_lib.Linear(2, 2), nn_lib.ReLU(), nn_lib.Linear(2, 1))
    for parameter in model.parameters():
        parameter.data = lib.ones(*parameter.shape)

    def note(kind):
        def hook(module, *tuples):
            flat = [t for each in tuples for t in (each if isinstance(each, tuple) else (each,))]
            found = [None if t is None else t.tolist() for t in flat]
            seen.append((kind, type(module).__name__, found))

        return hook

    for module in model.modules():
        module.register_forward_pre_hook(note("pre"))
        module.register_forward_hook(note("post"))
        module.register_full_backward_pre_hook(note("back pre"))
        module.register_full_backward_hook(note("back"))
    x = lib.tensor([[1.0, -2.0], [3.0, 4.0]], requires_grad=True)
    model(x).sum().backward()
    return seen, x.grad.tolist()


def test_a_script_of_hooks_matches_torch():
    torch = pytest.importorskip("torch")
    assert trace(rl, nn) == trace(torch, torch.nn)
