"""Counting the changes of modules: what was learnt of their structure holds while none is new."""

from __future__ import annotations

__all__ = ["changes"]


class _Changes:
    """How often an attribute, a submodule, a hook or the mode of any module was set or removed."""

    count = 0


changes = _Changes()
