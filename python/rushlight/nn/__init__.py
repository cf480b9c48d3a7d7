"""Modules: parameters and layers in trees, as in ``torch.nn``."""

from rushlight.nn import functional, init, utils
from rushlight.nn.activation import LogSoftmax, ReLU, Sigmoid, Softmax, Tanh
from rushlight.nn.batchnorm import BatchNorm1d, BatchNorm2d
from rushlight.nn.containers import ModuleDict, ModuleList, Sequential
from rushlight.nn.conv import Conv2d
from rushlight.nn.dropout import Dropout, Dropout2d
from rushlight.nn.hooks import (
    register_module_backward_hook,
    register_module_buffer_registration_hook,
    register_module_forward_hook,
    register_module_forward_pre_hook,
    register_module_full_backward_hook,
    register_module_full_backward_pre_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)
from rushlight.nn.linear import Flatten, Identity, Linear, Unflatten
from rushlight.nn.loss import CrossEntropyLoss, L1Loss, MSELoss, NLLLoss
from rushlight.nn.module import Module
from rushlight.nn.parameter import Buffer, Parameter
from rushlight.nn.parameter_containers import ParameterDict, ParameterList
from rushlight.nn.pooling import AdaptiveAvgPool2d, AdaptiveMaxPool2d, AvgPool2d, MaxPool2d

__all__ = [
    "AdaptiveAvgPool2d",
    "AdaptiveMaxPool2d",
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "Buffer",
    "Conv2d",
    "CrossEntropyLoss",
    "Dropout",
    "Dropout2d",
    "Flatten",
    "Identity",
    "L1Loss",
    "Linear",
    "LogSoftmax",
    "MSELoss",
    "MaxPool2d",
    "Module",
    "ModuleDict",
    "ModuleList",
    "NLLLoss",
    "Parameter",
    "ParameterDict",
    "ParameterList",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "Unflatten",
    "functional",
    "init",
    "register_module_backward_hook",
    "register_module_buffer_registration_hook",
    "register_module_forward_hook",
    "register_module_forward_pre_hook",
    "register_module_full_backward_hook",
    "register_module_full_backward_pre_hook",
    "register_module_module_registration_hook",
    "register_module_parameter_registration_hook",
    "utils",
]
