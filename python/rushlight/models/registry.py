"""Models by name, and weights from files: what ``torchvision.models`` does with enums and URLs."""

from __future__ import annotations

import os
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any, TypeVar

from rushlight import nn
from rushlight.serialization import load

__all__ = ["Weights", "get_model", "get_model_builder", "list_models", "register_model", "restore"]

Weights = str | os.PathLike[str]

_Builder = TypeVar("_Builder", bound=Callable[..., nn.Module])
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


def restore(model: _Model, weights: Weights | None) -> _Model:
    """Load the state dict in the file `weights`, when there is one, and return `model`.

    Raises
    ------
    FileNotFoundError
        When there is no such file. Nothing is ever downloaded.
    RuntimeError
        When the file's names or shapes are not those of the model.
    """
    if weights is not None:
        model.load_state_dict(load(weights))
    return model
