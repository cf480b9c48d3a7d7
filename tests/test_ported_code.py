"""Names and habits that code written for PyTorch brings along."""

import copy
import math
import pickle

import pytest

import rushlight as rl
from rushlight import nn
from rushlight.nn import init, utils
from rushlight.nn.modules import module as names

# -- hooks ------------------------------------------------------------------------------------


def test_a_handle_shows_the_hooks_it_is_one_of():
    module = nn.ReLU()
    first = module.register_forward_hook(lambda *_: None)
    second = module.register_forward_hook(lambda *_: None)
    assert first.hooks_dict_ref() is second.hooks_dict_ref() is module._forward_hooks
    first.remove()
    assert list(second.hooks_dict_ref()) == [second.id]


@pytest.mark.parametrize(
    ("register", "holder"),
    [
        ("register_module_forward_pre_hook", "_global_forward_pre_hooks"),
        ("register_module_forward_hook", "_global_forward_hooks"),
        ("register_module_full_backward_pre_hook", "_global_backward_pre_hooks"),
        ("register_module_full_backward_hook", "_global_backward_hooks"),
        ("register_module_buffer_registration_hook", "_global_buffer_registration_hooks"),
        ("register_module_module_registration_hook", "_global_module_registration_hooks"),
        ("register_module_parameter_registration_hook", "_global_parameter_registration_hooks"),
    ],
)
def test_global_hooks_are_where_pytorch_has_them(register, holder):
    hooks = getattr(names, holder)
    with getattr(nn, register)(lambda *_: None) as handle:
        assert list(hooks) == [handle.id]
    assert not hooks


def test_flags_of_global_hooks_go_with_the_hook():
    with nn.register_module_forward_hook(lambda *_: None, with_kwargs=True, always_call=True) as it:
        assert it.id in names._global_forward_hooks_with_kwargs
        assert it.id in names._global_forward_hooks_always_called
    assert not names._global_forward_hooks_with_kwargs
    assert not names._global_forward_hooks_always_called


@pytest.mark.parametrize(
    "field", ["_forward_pre_hooks", "_state_dict_pre_hooks", "_load_state_dict_post_hooks"]
)
@pytest.mark.parametrize("renew", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_module_pickled_before_a_kind_of_hook_existed(field, renew):
    module = nn.Linear(2, 2)
    delattr(module, field)
    renewed = renew(module)
    assert not getattr(renewed, field)
    renewed.load_state_dict(renewed.state_dict())
    calls = []
    renewed.register_state_dict_pre_hook(lambda *_: calls.append("write"))
    renewed.register_load_state_dict_post_hook(lambda *_: calls.append("read"))
    renewed.register_forward_pre_hook(lambda *_: calls.append("call"))
    renewed.load_state_dict(renewed.state_dict())
    renewed(rl.ones(2))
    assert calls == ["write", "read", "call"]


# -- buffers ----------------------------------------------------------------------------------


class OldBuffers(nn.Module):
    """Overrides ``register_buffer`` as it was before buffers could be left out of state dicts."""

    def register_buffer(self, name, tensor):
        super().register_buffer(name, tensor)


def test_register_buffer_without_persistent():
    module = OldBuffers()
    module.scale = nn.Buffer(rl.ones(1))
    module.scale = rl.zeros(2)
    assert list(module.state_dict()) == ["scale"]
    assert module.scale.shape == (2,)
    with pytest.raises(TypeError):
        module.shift = nn.Buffer(rl.ones(1), persistent=False)


# -- names ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "args"),
    [
        ("constant", (2.0,)),
        ("dirac", ()),
        ("eye", ()),
        ("kaiming_normal", ()),
        ("kaiming_uniform", ()),
        ("normal", ()),
        ("orthogonal", ()),
        ("sparse", (0.5,)),
        ("uniform", ()),
        ("xavier_normal", ()),
        ("xavier_uniform", ()),
    ],
)
def test_old_names_of_initialisers_warn_and_fill(old, args):
    shape = (3, 3, 3) if old == "dirac" else (3, 3)
    rl.manual_seed(0)
    expected = getattr(init, f"{old}_")(rl.empty(*shape), *args)
    rl.manual_seed(0)
    tensor = rl.empty(*shape)
    with pytest.warns(FutureWarning, match=rf"init\.{old} is deprecated.*init\.{old}_") as caught:
        result = getattr(init, old)(tensor, *args)
    assert result is tensor
    assert rl.equal(result, expected)
    assert caught[0].filename == __file__
    assert getattr(init, old).__name__ == old


@pytest.mark.parametrize("order", [1, 2.0, math.inf])
def test_clipping_in_two_steps_is_clipping(order):
    whole, parts = nn.Linear(3, 2), nn.Linear(3, 2)
    for each in (whole, parts):
        each.weight.grad = rl.arange(6.0).reshape(2, 3)
    expected = utils.clip_grad_norm_(whole.parameters(), 1.5, order)
    total = utils.get_total_norm((p.grad for p in parts.parameters() if p.grad is not None), order)
    utils.clip_grads_with_norm_(parts.parameters(), 1.5, total)
    assert rl.equal(total, expected)
    assert rl.equal(parts.weight.grad, whole.weight.grad)


def test_total_norm_of_one_tensor_of_none_and_of_nan():
    assert utils.get_total_norm(rl.tensor([3.0, 4.0])).item() == 5
    assert utils.get_total_norm([]).item() == 0
    bad = [rl.tensor([math.nan])]
    assert math.isnan(utils.get_total_norm(bad).item())
    with pytest.raises(RuntimeError, match="non-finite"):
        utils.get_total_norm(bad, error_if_nonfinite=True)


@pytest.mark.parametrize("sizes", [(2, 2.0), (("a", 2), ("b", 2)), [[1], [4]]])
def test_unflatten_takes_whole_numbers(sizes):
    with pytest.raises(TypeError, match="unflattened_size must be tuple of ints, but found"):
        nn.Unflatten(1, sizes)
