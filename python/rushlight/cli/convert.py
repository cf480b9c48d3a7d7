"""``rushlight convert``: weights from one format to another, element types as they are."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from rushlight.cli.common import UsageError, check_output, reason
from rushlight.serialization import CheckpointError, save
from rushlight.serialization.builder import RawTensor
from rushlight.serialization.loading import load_raw
from rushlight.serialization.saving import format_of

if TYPE_CHECKING:
    from rushlight.cli.common import Commands

__all__ = ["add"]


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "convert",
        help="convert weights between safetensors and PyTorch's format",
        description="Convert a file of weights. What IN is shows in its contents; OUT becomes a "
        "PyTorch file if it is called .pt, .pth, .bin, .ckpt or .tar, and a safetensors file "
        "otherwise, which holds tensors by name and nothing else. Element types stay.",
    )
    option = parser.add_argument
    option("input", metavar="IN", help="safetensors, or PyTorch's format, new or old")
    option("output", metavar="OUT", help="the file to write; it appears whole or not at all")
    option("--strip-prefix", metavar="TEXT", help="remove it from names, such as module.")
    option("--key", metavar="NAME", help="convert this entry of IN only, such as state_dict")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    try:
        value, metadata = load_raw(options.input, options.strip_prefix)
        value = _entry(value, options.key) if options.key is not None else value
        check_output(options.output)
        if format_of(options.output) == "safetensors":
            _check_flat(value, options)
            save(value, options.output, metadata or None)
        else:
            save(value, options.output)
    except OSError as error:
        raise UsageError(reason(error)) from None
    except CheckpointError as error:
        raise UsageError(str(error)) from None
    except (TypeError, ValueError) as error:
        raise UsageError(f"{options.output}: {error}") from None
    print(f"wrote {options.output} ({os.path.getsize(options.output):,} bytes)")
    return 0


def _entry(value: Any, key: str) -> Any:
    if not isinstance(value, dict) or key not in value:
        names = ", ".join(map(str, value)) if isinstance(value, dict) else "none"
        raise UsageError(f"--key: there is no entry {key!r}; the entries are: {names:.200}")
    return value[key]


def _check_flat(value: Any, options: argparse.Namespace) -> None:
    """Refuse what safetensors cannot hold, and say which entry the user may have meant."""
    if isinstance(value, dict) and all(isinstance(each, RawTensor) for each in value.values()):
        return
    parts = value.items() if isinstance(value, dict) else ()
    states = [
        str(key)
        for key, part in parts
        if isinstance(part, dict) and any(isinstance(each, RawTensor) for each in part.values())
    ]
    advice = "; use " + " or ".join(f"--key {name}" for name in states) if states else ""
    raise UsageError(
        f"{options.input}: holds more than tensors by name, and safetensors does not{advice}"
    )
