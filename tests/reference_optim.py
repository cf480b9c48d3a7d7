"""The optimizers in a few lines of NumPy each: the parameter after a list of gradients."""

import numpy as np


def sgd_reference(param, grads, lr, momentum=0, dampening=0, weight_decay=0, nesterov=False,
                  maximize=False):  # fmt: skip
    buffer = None
    for grad in grads:
        g = (-grad if maximize else grad) + weight_decay * param
        if momentum:
            buffer = g if buffer is None else momentum * buffer + (1 - dampening) * g
            g = g + momentum * buffer if nesterov else buffer
        param = param - lr * g
    return param


def adam_reference(param, grads, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, amsgrad=False,
                   maximize=False, decoupled=False):  # fmt: skip
    mean, square, largest = np.zeros_like(param), np.zeros_like(param), np.zeros_like(param)
    for step, grad in enumerate(grads, 1):
        g = -grad if maximize else grad
        if decoupled:
            param = param * (1 - lr * weight_decay)
        else:
            g = g + weight_decay * param
        mean = betas[0] * mean + (1 - betas[0]) * g
        square = betas[1] * square + (1 - betas[1]) * g * g
        largest = np.maximum(largest, square)
        second = (largest if amsgrad else square) / (1 - betas[1] ** step)
        param = param - lr * mean / (1 - betas[0] ** step) / (np.sqrt(second) + eps)
    return param


def rmsprop_reference(param, grads, lr, alpha=0.99, eps=1e-8, weight_decay=0, momentum=0,
                      centered=False, maximize=False):  # fmt: skip
    square, mean, buffer = (np.zeros_like(param) for _ in range(3))
    for grad in grads:
        g = (-grad if maximize else grad) + weight_decay * param
        square = alpha * square + (1 - alpha) * g * g
        mean = alpha * mean + (1 - alpha) * g
        update = g / (np.sqrt(square - mean * mean if centered else square) + eps)
        buffer = momentum * buffer + update
        param = param - lr * (buffer if momentum else update)
    return param


def adagrad_reference(param, grads, lr, lr_decay=0, weight_decay=0, initial_accumulator_value=0,
                      eps=1e-10, maximize=False):  # fmt: skip
    total = np.full_like(param, initial_accumulator_value)
    for step, grad in enumerate(grads):
        g = (-grad if maximize else grad) + weight_decay * param
        total = total + g * g
        param = param - lr / (1 + step * lr_decay) * g / (np.sqrt(total) + eps)
    return param


def adadelta_reference(param, grads, lr, rho=0.9, eps=1e-6, weight_decay=0, maximize=False):
    square, steps = np.zeros_like(param), np.zeros_like(param)
    for grad in grads:
        g = (-grad if maximize else grad) + weight_decay * param
        square = rho * square + (1 - rho) * g * g
        delta = np.sqrt(steps + eps) / np.sqrt(square + eps) * g
        steps = rho * steps + (1 - rho) * delta * delta
        param = param - lr * delta
    return param
