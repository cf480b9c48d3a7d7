"""A table whose rows are looked up by index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rushlight.autograd import no_grad
from rushlight.dtypes import dtype as DType
from rushlight.nn import functional as F
from rushlight.nn import init
from rushlight.nn.checks import at_least, check_device
from rushlight.nn.module import Module
from rushlight.nn.parameter import Parameter, filled
from rushlight.nn.slots import parameter_slot
from rushlight.ops._common import as_index
from rushlight.tensor import Tensor

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Embedding"]


class Embedding(Module):
    """A learned vector for each of a number of things.

    Parameters
    ----------
    num_embeddings : int
        Number of vectors.
    embedding_dim : int
        Length of each.
    padding_idx : int, optional
        Vector that is zero at first and gets no gradient; negative counts from the end.
    max_norm : float, optional
        Longer vectors are scaled down to this length, in :attr:`weight` itself, when looked up.
    norm_type : float
        Which norm that length is.
    scale_grad_by_freq : bool
        Divide the gradient of each vector by how often it was looked up.
    sparse : bool
        Must be False.
    device : optional
        Must be the CPU.
    dtype : dtype, optional
        float32 by default.

    Attributes
    ----------
    weight : Parameter
        [num_embeddings, embedding_dim], standard normal at first.

    Raises
    ------
    TypeError, ValueError
        For arguments of other types or out of range.
    """

    weight: Parameter = parameter_slot()

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Tensor | None = None,
        _freeze: bool = False,
        device: Any = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        check_device(device)
        self.num_embeddings = at_least(0, num_embeddings, "Embedding", "num_embeddings")
        self.embedding_dim = at_least(0, embedding_dim, "Embedding", "embedding_dim")
        self.padding_idx = _row(padding_idx, self.num_embeddings)
        if sparse:
            raise ValueError("Embedding: sparse must be False, sparse gradients are not supported")
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        self.sparse = sparse
        shape = (self.num_embeddings, self.embedding_dim)
        if _weight is None:
            self.weight = filled(shape, dtype)
            self.weight.requires_grad_(not _freeze)
            self.reset_parameters()
        elif tuple(_weight.shape) != shape:
            raise ValueError(
                f"Embedding: _weight must have shape {list(shape)}, but has {list(_weight.shape)}"
            )
        else:
            self.weight = Parameter(_weight, requires_grad=not _freeze)

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with no_grad():
                self.weight[self.padding_idx] = 0

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Tensor,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Self:
        """Return a table over the memory of `embeddings`, without gradients by default.

        Parameters
        ----------
        embeddings : Tensor
            [num_embeddings, embedding_dim].
        freeze : bool
            Whether the vectors stay as they are.
        padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse
            As in the constructor; the vector at `padding_idx` is not made zero.

        Raises
        ------
        TypeError, ValueError
            When `embeddings` is no matrix.
        """
        if not isinstance(embeddings, Tensor) or embeddings.dim() != 2:
            given = list(embeddings.shape) if isinstance(embeddings, Tensor) else embeddings
            raise ValueError(
                f"Embedding.from_pretrained: embeddings must be a matrix, but got {given}"
            )
        rows, columns = embeddings.shape
        return cls(
            rows,
            columns,
            padding_idx,
            max_norm,
            norm_type,
            scale_grad_by_freq,
            sparse,
            _weight=embeddings,
            _freeze=freeze,
        )

    def forward(self, input: Tensor) -> Tensor:
        """Map int64 indices of any shape [...] to [..., embedding_dim]."""
        return F.embedding(
            input,
            self.weight,
            self.padding_idx,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.sparse,
        )

    def extra_repr(self) -> str:
        """Return the arguments, leaving out those that have their default values."""
        parts = [f"{self.num_embeddings}, {self.embedding_dim}"]
        defaults = {
            "padding_idx": None,
            "max_norm": None,
            "norm_type": 2,
            "scale_grad_by_freq": False,
        }
        parts += [
            f"{name}={getattr(self, name)}"
            for name, default in defaults.items()
            if getattr(self, name) != default
        ]
        return ", ".join(parts)


def _row(padding_idx: int | None, count: int) -> int | None:
    if padding_idx is None:
        return None
    row = as_index(padding_idx, "Embedding", "padding_idx")
    if not -count <= row < count:
        raise ValueError(
            f"Embedding: padding_idx must be within num_embeddings={count}, but got {row}"
        )
    return row % count
