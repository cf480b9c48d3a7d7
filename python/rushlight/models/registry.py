"""Models by name, and weights from files: what ``torchvision.models`` does with enums and URLs."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any, ParamSpec, TypeVar, cast

from rushlight import nn
from rushlight.serialization import load
from rushlight.tensor import Tensor

__all__ = [
    "Weights",
    "get_model",
    "get_model_builder",
    "list_models",
    "load_state",
    "register_model",
]

Weights = str | os.PathLike[str]

_Builder = TypeVar("_Builder", bound=Callable[..., nn.Module])
_P = ParamSpec("_P")
_Model = TypeVar("_Model", bound=nn.Module)

_BUILDERS: dict[str, Callable[..., nn.Module]] = {}


def register_model(builder: _Builder) -> _Builder:
    """Make a function that returns a module known to :func:`get_model` by its name.

    Parameters
    ----------
    builder : callable
        Takes keyword arguments and returns a module.

    Raises
    ------
    ValueError
        When the name is taken.
    """
    name = builder.__name__
    if name in _BUILDERS:
        raise ValueError(f"register_model: there is a model {name!r} already")
    _BUILDERS[name] = builder
    return builder


def list_models(include: str | None = None, exclude: str | None = None) -> list[str]:
    """Return the names of all models, sorted.

    Parameters
    ----------
    include, exclude : str, optional
        Patterns such as ``"resnet*"``, of which names must match the one and not the other.
    """
    return sorted(
        name
        for name in _BUILDERS
        if (include is None or fnmatchcase(name, include))
        and (exclude is None or not fnmatchcase(name, exclude))
    )


def get_model_builder(name: str) -> Callable[..., nn.Module]:
    """Return the function that builds the model `name`.

    Raises
    ------
    ValueError
        For an unknown name; the message lists the known ones.
    """
    if name not in _BUILDERS:
        raise ValueError(f"unknown model {name!r}; there are: {', '.join(list_models())}")
    return _BUILDERS[name]


def get_model(name: str, **options: Any) -> nn.Module:
    """Build the model `name`.

    Parameters
    ----------
    name : str
        One of :func:`list_models`.
    **options
        What the builder of that name takes: ``weights``, ``num_classes`` and the like.

    Raises
    ------
    ValueError
        For an unknown name; the message lists the known ones.

    Examples
    --------
    >>> from rushlight import models
    >>> models.get_model("resnet18", num_classes=10).fc
    Linear(in_features=512, out_features=10, bias=True)
    """
    return get_model_builder(name)(**options)


def build(
    weights: Weights | None, model: Callable[_P, _Model], *args: _P.args, **options: _P.kwargs
) -> _Model:
    """Return ``model(*args, **options)`` with the weights of a file, when there is one.

    Parameters
    ----------
    weights : path, optional
        A state dict in any format that :func:`rushlight.load` reads. Nothing is ever downloaded.
    model : type
        A subclass of :class:`Module`.
    *args, **options
        Of its constructor.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    RuntimeError
        When the names or shapes in the file are not those of the model.
    """
    if weights is None:
        return model(*args, **options)
    built = nn.utils.skip_init(model, *args, **options)
    built.load_state_dict(load_state(weights))
    return built


def load_state(weights: Weights) -> dict[str, Tensor]:
    """Return the state dict in a file, which lies in a map of the file where it can.

    Training scripts often save it beside other things, as ``state_dict``, and from a net inside
    ``DataParallel``, which puts ``module.`` before every name: both are seen through.

    Raises
    ------
    ValueError
        When the file holds no state dict; :class:`rushlight.serialization.CheckpointError` when it
        is damaged or of another format.
    """
    found: Any = load(weights, strip_prefix="module.", mmap=True)
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping) or not any(isinstance(v, Tensor) for v in found.values()):
        raise ValueError(f"{os.fspath(weights)}: holds no state dict")
    return cast("dict[str, Tensor]", found)
