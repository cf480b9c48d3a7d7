"""Modules under the names that they have in PyTorch: ``rushlight.nn.modules.conv`` and so on.

For ported code. Each name below stands for the files of this package that hold the same classes.
"""

import sys
from types import ModuleType

from rushlight.nn import (
    activation,
    batchnorm,
    containers,
    conv,
    dropout,
    embedding,
    hooks,
    instancenorm,
    lazy,
    linear,
    loss,
    normalization,
    padding,
    parameter_containers,
    pooling,
    state,
    upsampling,
)
from rushlight.nn import (
    module as base,
)
from rushlight.nn.modules import utils

_FILES = {
    "activation": (activation,),
    "batchnorm": (batchnorm, lazy),
    "container": (containers, parameter_containers),
    "conv": (conv, lazy),
    "dropout": (dropout,),
    "flatten": (linear,),
    "instancenorm": (instancenorm,),
    "lazy": (lazy,),
    "linear": (linear, lazy),
    "loss": (loss,),
    "module": (hooks, state, base),
    "normalization": (normalization,),
    "padding": (padding,),
    "channelshuffle": (upsampling,),
    "pixelshuffle": (upsampling,),
    "pooling": (pooling,),
    "sparse": (embedding,),
    "upsampling": (upsampling,),
}


def _alias(name: str, files: tuple[ModuleType, ...]) -> ModuleType:
    made = ModuleType(f"{__name__}.{name}", files[-1].__doc__)
    for each in files:
        own = {key: value for key, value in vars(each).items() if not key.startswith("__")}
        vars(made).update(own)
    return made


for _name, _files in _FILES.items():
    sys.modules[f"{__name__}.{_name}"] = globals()[_name] = _alias(_name, _files)

# The global hooks, under the names that they have there; the dicts are the ones in use.
vars(sys.modules[f"{__name__}.module"]).update(
    _global_backward_hooks=hooks.GLOBAL.backward,
    _global_backward_pre_hooks=hooks.GLOBAL.backward_pre,
    _global_buffer_registration_hooks=hooks.GLOBAL.registration["buffer"],
    _global_forward_hooks=hooks.GLOBAL.forward,
    _global_forward_hooks_always_called=hooks.GLOBAL.always_called,
    _global_forward_hooks_with_kwargs=hooks.GLOBAL.with_kwargs,
    _global_forward_pre_hooks=hooks.GLOBAL.forward_pre,
    _global_module_registration_hooks=hooks.GLOBAL.registration["module"],
    _global_parameter_registration_hooks=hooks.GLOBAL.registration["parameter"],
)
