"""Sums of products in Einstein's notation, on the matrix product."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from rushlight.errors import OperationError
from rushlight.ops._common import array_of
from rushlight.ops.linear import matmul

if TYPE_CHECKING:
    from rushlight.tensor import Tensor

__all__ = ["einsum"]

_LETTERS = frozenset(string.ascii_letters)


def einsum(equation: str, *operands: Tensor | Sequence[Tensor]) -> Tensor:
    """Return the sum of products that `equation` names (PyTorch's and NumPy's ``einsum``).

    Operands are contracted from left to right, two at a time, each time by one (batched) matrix
    product.

    Parameters
    ----------
    equation : str
        One group of letters per operand, with commas between, a letter per dimension, as in
        ``"bik,bkj->bij"``. A letter that the right side lacks is summed over; a letter twice in a
        group takes the diagonal; ``...`` stands for leading dimensions that broadcast. Without
        ``->``, letters that appear once stay, in alphabetical order.
    *operands : Tensor
        One per group, all of one dtype; or one sequence of them.

    Returns
    -------
    Tensor
        A dimension per letter of the right side.

    Raises
    ------
    TypeError, ValueError
        For operands that are no tensors or of different dtypes, an equation that cannot be read,
        or sizes that do not fit it.
    """
    if not isinstance(equation, str):
        raise TypeError(
            f"einsum: equation must be a str, as in 'ij,jk->ik', got {type(equation).__name__}"
        )
    tensors = _tensors(operands)
    groups, output = _parse(equation, [each._array.ndim for each in tensors])
    terms = [_without_repeats(*term) for term in zip(groups, tensors, strict=True)]
    _check_sizes(equation, terms)
    labels, result = terms[0]
    for index, (other, tensor) in enumerate(terms[1:], start=2):
        wanted = set(output).union(*(later for later, _ in terms[index:]))
        labels, result = _contract(labels, result, other, tensor, wanted)
    labels, result = _summed(labels, result, set(output))
    return result.permute(*(labels.index(label) for label in output)) if labels else result


def _tensors(operands: Sequence[Tensor | Sequence[Tensor]]) -> list[Tensor]:
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = operands[0]
    tensors: list[Tensor] = list(operands)  # type: ignore[arg-type]  # array_of refuses the rest
    if not tensors:
        raise OperationError("einsum: expected at least one operand")
    arrays = [array_of(each, "einsum", f"operand {i}") for i, each in enumerate(tensors)]
    kinds = sorted({str(each.dtype) for each in arrays})
    if len(kinds) > 1:
        raise TypeError(f"einsum: operands must have one dtype, but got {' and '.join(kinds)}")
    return tensors


def _parse(equation: str, ndims: list[int]) -> tuple[list[str], str]:
    """Return the letters of each operand and of the result; dimensions under ``...`` get their own.

    Those letters are drawn from outside the alphabet, so that they never meet the equation's.
    """

    def refuse(why: str) -> NoReturn:
        raise OperationError(f"einsum: {why}, in the equation {equation!r}")

    left, arrow, right = equation.replace(" ", "").partition("->")
    groups = left.split(",")
    if len(groups) != len(ndims):
        refuse(f"expected {len(groups)} operands but got {len(ndims)}")
    for group in [*groups, right]:
        rest = group.replace("...", "", 1)
        if not _LETTERS.issuperset(rest):
            refuse(f"expected letters and one '...' at most, but got {group!r}")
    hidden = [ndim - len(g.replace("...", "")) for g, ndim in zip(groups, ndims, strict=True)]
    for index, (group, count) in enumerate(zip(groups, hidden, strict=True)):
        if count < 0 or (count and "..." not in group):
            refuse(f"{group!r} does not fit operand {index}, which has {ndims[index]} dimensions")
    dots = "".join(chr(0x4E00 + i) for i in range(max(hidden)))
    full = [g.replace("...", dots[len(dots) - n :]) for g, n in zip(groups, hidden, strict=True)]
    if not arrow:
        letters = "".join(full)
        output = dots + "".join(sorted(x for x in _LETTERS if letters.count(x) == 1))
    else:
        output = right.replace("...", dots)
    if len(set(output)) != len(output):
        refuse(f"a letter appears twice in the result {right!r}")
    for label in output:
        if label not in "".join(full):
            refuse(f"the result's {label!r} is in no operand")
    return full, output


def _without_repeats(labels: str, tensor: Tensor) -> tuple[str, Tensor]:
    """Take the diagonal of dimensions that share a letter."""
    for label in dict.fromkeys(labels):
        while labels.count(label) > 1:
            first = labels.index(label)
            second = labels.index(label, first + 1)
            sizes = tensor._array.shape[first], tensor._array.shape[second]
            if sizes[0] != sizes[1]:
                raise OperationError(
                    f"einsum: {label!r} is {sizes[0]} and {sizes[1]} in one operand"
                )
            tensor = tensor.diagonal(0, first, second)  # the diagonal comes last
            labels = labels[:first] + labels[first + 1 : second] + labels[second + 1 :] + label
    return labels, tensor


def _check_sizes(equation: str, terms: list[tuple[str, Tensor]]) -> None:
    """Every letter has one size, or 1."""
    sizes: dict[str, int] = {}
    for labels, tensor in terms:
        for label, size in zip(labels, tensor._array.shape, strict=True):
            known = sizes.setdefault(label, size)
            if known == 1:
                sizes[label] = size
            elif size not in (1, known):
                name = label if label in _LETTERS else "..."
                raise OperationError(
                    f"einsum: {name!r} is {known} in one operand and {size} in another, in the "
                    f"equation {equation!r}"
                )


def _summed(labels: str, tensor: Tensor, wanted: set[str]) -> tuple[str, Tensor]:
    """Sum over the dimensions that nothing wants."""
    axes = tuple(axis for axis, label in enumerate(labels) if label not in wanted)
    if not axes:
        return labels, tensor
    return "".join(label for label in labels if label in wanted), tensor.sum(axes)


def _contract(left: str, a: Tensor, right: str, b: Tensor, wanted: set[str]) -> tuple[str, Tensor]:
    """Return the product of two operands, summed over what both have and nothing wants."""
    left, a = _summed(left, a, wanted | set(right))
    right, b = _summed(right, b, wanted | set(left))
    shared = [label for label in left if label in right]
    sizes = {label: a._array.shape[left.index(label)] for label in left}
    for label, size in zip(right, b._array.shape, strict=True):
        if sizes.get(label, 1) == 1:  # of what both have, 1 broadcasts
            sizes[label] = size
    batch = [label for label in shared if label in wanted]
    inner = [label for label in shared if label not in wanted]
    rows = [label for label in left if label not in shared]
    cols = [label for label in right if label not in shared]
    x = _matrices(left, a, (batch, rows, inner), sizes)
    y = _matrices(right, b, (batch, inner, cols), sizes)
    labels = batch + rows + cols
    return "".join(labels), matmul(x, y).reshape([sizes[label] for label in labels])


def _matrices(
    labels: str, tensor: Tensor, parts: tuple[list[str], ...], sizes: dict[str, int]
) -> Tensor:
    """Return an operand with each of three parts of its dimensions flattened into one."""
    order = [label for part in parts for label in part]
    if order:
        tensor = tensor.permute(*(labels.index(label) for label in order))
        tensor = tensor.expand(*(sizes[label] for label in order))
    shape = []
    for part in parts:
        count = 1
        for label in part:
            count *= sizes[label]
        shape.append(count)
    return tensor.reshape(shape)
