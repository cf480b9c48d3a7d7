"""``summary``: what a model is made of, as a table and as a tree for notebooks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rushlight.autograd import no_grad
from rushlight.nn.conv import _ConvNd, _ConvTransposeNd
from rushlight.nn.linear import Linear
from rushlight.nn.module import Module
from rushlight.nn.parameter import is_lazy
from rushlight.ops.creation import zeros
from rushlight.tensor import Tensor

__all__ = ["ModelSummary", "Row", "summary"]


class Row(NamedTuple):
    """One module of a summary.

    `parameters` counts its own, not those of its children, and each once: what another row has
    counted already is left out. `output` is the shape of its last output, None if it did not run.
    `multiply_adds` and `output_bytes` add up all its calls, its children not included.
    """

    path: str
    name: str
    kind: str
    depth: int
    output: str | None
    parameters: int
    trainable: int
    multiply_adds: int
    output_bytes: int
    calls: int
    leaf: bool


class ModelSummary:
    """The rows of a model and their totals; prints as a table, shows as a tree in notebooks.

    Attributes
    ----------
    rows : list of Row
        One per module, in the order of ``named_modules``.
    total_parameters, trainable_parameters : int
        Numbers of elements.
    multiply_adds : int
        Of one forward pass with the given input.
    input_bytes, output_bytes, parameter_bytes : int
        Memory of the inputs, of all the outputs of modules without children, and of parameters and
        buffers.
    """

    def __init__(self, rows: list[Row], input_bytes: int, parameter_bytes: int) -> None:
        self.rows = rows
        self.total_parameters = sum(row.parameters for row in rows)
        self.trainable_parameters = sum(row.trainable for row in rows)
        self.multiply_adds = sum(row.multiply_adds for row in rows)
        self.input_bytes = input_bytes
        self.output_bytes = sum(row.output_bytes for row in rows if row.leaf)
        self.parameter_bytes = parameter_bytes

    def __repr__(self) -> str:
        table = [("Path", "Type", "Output shape", "Parameters", "Multiply-adds", "Memory")]
        table += [(row.path or "(model)", row.kind, *_cells(row)) for row in self.rows]
        widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
        rule = "=" * (sum(widths) + 2 * (len(widths) - 1))
        lines = [rule, _line(table[0], widths), rule]
        lines += [_line(line, widths) for line in table[1:]]
        return "\n".join([*lines, rule, *self._totals(), rule])

    def _totals(self) -> list[str]:
        frozen = self.total_parameters - self.trainable_parameters
        total = self.input_bytes + self.output_bytes + self.parameter_bytes
        return [
            f"Parameters: {self.total_parameters:,} ({self.trainable_parameters:,} trainable, "
            f"{frozen:,} frozen)",
            f"Multiply-adds: {_short(self.multiply_adds)}",
            f"Memory: {_bytes(total)} (input {_bytes(self.input_bytes)}, outputs "
            f"{_bytes(self.output_bytes)}, parameters and buffers {_bytes(self.parameter_bytes)})",
        ]

    def _repr_html_(self) -> str:
        """Return a tree that folds and unfolds; every text in it is escaped."""
        from html import escape  # needs a table of entities that few imports should pay for

        parts = ['<div class="rushlight-summary" style="font-family: monospace">']
        open_depths: list[int] = []
        for number, row in enumerate(self.rows):
            while open_depths and open_depths[-1] >= row.depth:
                parts.append("</details>")
                open_depths.pop()
            text = escape(
                "  ".join([row.name or "(model)", row.kind, *(c for c in _cells(row) if c)])
            )
            below = number + 1 < len(self.rows) and self.rows[number + 1].depth > row.depth
            margin = "1.2em" if row.depth else "0"
            if below:
                state = " open" if row.depth < 2 else ""
                parts.append(f'<details{state} style="margin-left: {margin}">')
                parts.append(f"<summary>{text}</summary>")
                open_depths.append(row.depth)
            else:
                parts.append(f'<div style="margin-left: calc({margin} + 1em)">{text}</div>')
        parts += ["</details>"] * len(open_depths)
        parts += [f"<div>{escape(line)}</div>" for line in self._totals()]
        return "\n".join([*parts, "</div>"])


class _Calls:
    """What the forward hooks of one module noted."""

    def __init__(self) -> None:
        self.count = 0
        self.output: str | None = None
        self.bytes = 0
        self.multiply_adds = 0

    def note(self, module: Module, args: tuple[Any, ...], output: Any) -> None:
        self.count += 1
        self.output = _shape_text(output)
        self.bytes += sum(each.nbytes for each in _tensors(output))
        self.multiply_adds += _multiply_adds(module, args, output)


def summary(
    model: Module,
    input_size: Sequence[int] | Sequence[Sequence[int]] | None = None,
    *,
    input_data: Any = None,
) -> ModelSummary:
    """Describe a model module by module, after one forward pass in evaluation mode.

    Parameters
    ----------
    model : Module
        It is left as it was, its mode and buffers included; but lazy layers take their shapes from
        the input. Without one they count nothing.
    input_size : sequence of int, or of sequences, optional
        Shape of the input with its batch dimension, such as ``(1, 3, 224, 224)``, or of several;
        the inputs are zeros of the type of the first parameter.
    input_data : Tensor, or sequence or mapping of arguments, optional
        The inputs themselves, instead of `input_size`. With neither, nothing runs, and shapes and
        multiply-adds are left out.

    Returns
    -------
    ModelSummary
        Prints as a table: path, type, output shape, own parameters, multiply-adds and the memory
        of the output of each module, and the totals.

    Raises
    ------
    TypeError, ValueError
        When `model` is no module, both inputs are given, or `input_size` is no shape.

    Examples
    --------
    >>> import rushlight
    >>> rushlight.summary(rushlight.nn.Linear(4, 2), (1, 4)).total_parameters
    10
    """
    if not isinstance(model, Module):
        raise TypeError(f"summary: model must be a Module, but got {type(model).__name__}")
    if input_size is not None and input_data is not None:
        raise ValueError("summary: give either input_size or input_data, not both")
    args, kwargs = _arguments(model, input_size, input_data)
    calls: dict[Module, _Calls] = {module: _Calls() for module in model.modules()}
    if args or kwargs:
        _run(model, args, kwargs, calls)
    inputs = [*_tensors(args), *_tensors(kwargs)]
    tensors = [*model.parameters(), *model.buffers()]
    state = {id(each): each.nbytes for each in tensors if not is_lazy(each)}
    return ModelSummary(
        list(_rows(model, calls)), sum(each.nbytes for each in inputs), sum(state.values())
    )


def _arguments(
    model: Module, input_size: Any, input_data: Any
) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    if input_size is not None:
        first = next(model.parameters(), None)
        dtype = None if first is None else first.dtype
        several = len(input_size) > 0 and not isinstance(input_size[0], int)
        sizes = input_size if several else [input_size]
        return tuple(zeros(*size, dtype=dtype) for size in sizes), {}
    if isinstance(input_data, Mapping):
        return (), input_data
    if isinstance(input_data, (tuple, list)):
        return tuple(input_data), {}
    return (() if input_data is None else (input_data,)), {}


def _run(
    model: Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], calls: dict[Module, _Calls]
) -> None:
    """Call the model once with hooks that note outputs, and put modes back."""
    modes = {module: module.training for module in calls}
    handles = [module.register_forward_hook(noted.note) for module, noted in calls.items()]
    try:
        model.eval()
        with no_grad():
            model(*args, **kwargs)
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes.items():
            module.training = mode


def _rows(model: Module, calls: dict[Module, _Calls]) -> Iterator[Row]:
    counted: set[int] = set()
    for path, module in model.named_modules():
        own = [
            each
            for each in module.parameters(recurse=False)
            if id(each) not in counted and not is_lazy(each)
        ]
        counted.update(id(each) for each in own)
        noted = calls[module]
        yield Row(
            path=path,
            name=path.rpartition(".")[2],
            kind=type(module).__name__,
            depth=path.count(".") + 1 if path else 0,
            output=noted.output,
            parameters=sum(each.numel() for each in own),
            trainable=sum(each.numel() for each in own if each.requires_grad),
            multiply_adds=noted.multiply_adds,
            output_bytes=noted.bytes,
            calls=noted.count,
            leaf=next(module.children(), None) is None,
        )


def _multiply_adds(module: Module, args: tuple[Any, ...], output: Any) -> int:
    """Return the multiply-adds of one call: those of convolution and linear layers."""
    # A transposed convolution multiplies each element that comes in by its filters, the others
    # each element that goes out.
    one = args[:1] if isinstance(module, _ConvTransposeNd) else (output,)
    if isinstance(module, (_ConvNd, Linear)) and all(isinstance(each, Tensor) for each in one):
        per_element: int = math.prod(module.weight.shape[1:])
        elements: int = sum(each.numel() for each in one)
        return elements * per_element
    return 0


def _tensors(value: Any) -> Iterator[Tensor]:
    """Return the tensors in nested tuples, lists and mappings."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for each in value:
            yield from _tensors(each)
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _tensors(each)


def _shape_text(output: Any) -> str:
    if isinstance(output, Tensor):
        return str(list(output.shape))
    shapes = [str(list(each.shape)) for each in _tensors(output)]
    return ", ".join(shapes) or type(output).__name__


def _cells(row: Row) -> tuple[str, str, str, str]:
    repeated = f" x {row.calls}" if row.calls > 1 else ""
    return (
        (row.output or "") + repeated,
        f"{row.parameters:,}" if row.parameters else "",
        _short(row.multiply_adds) if row.multiply_adds else "",
        _bytes(row.output_bytes) if row.leaf and row.output_bytes else "",
    )


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    texts = [cell.ljust(width) for cell, width in zip(cells[:3], widths[:3], strict=True)]
    texts += [cell.rjust(width) for cell, width in zip(cells[3:], widths[3:], strict=True)]
    return "  ".join(texts).rstrip()


def _short(count: int) -> str:
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if count >= size:
            return f"{count / size:.2f} {unit}"
    return str(count)


def _bytes(size: int) -> str:
    for unit, step in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= step:
            return f"{size / step:.2f} {unit}"
    return f"{size} B"
