"""``safe_open``: a safetensors file whose tensors are read when they are asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

from rushlight.dtypes import device as Device
from rushlight.serialization.builder import Builder
from rushlight.serialization.errors import Refused
from rushlight.serialization.loading import TensorInfo, info_of
from rushlight.serialization.safetensors import read_header
from rushlight.serialization.source import Source
from rushlight.tensor import Tensor

__all__ = ["safe_open"]


class safe_open(Mapping[str, Tensor]):
    """A mapping of names to the tensors of a safetensors file, of which only the header is read.

    Tensors lie in a private map of the file where nothing has to be converted: a page of it is
    read when it is used, and a change of a tensor stays in this process. They stay valid when the
    file is closed, but the file must not be changed meanwhile.

    Parameters
    ----------
    filename : str or os.PathLike
    framework : str
        Accepted for code that uses the safetensors package; what comes back are always
        Rushlight's tensors.
    device : str
        Must be the CPU.
    mmap : bool
        False copies a tensor out of the file each time that it is asked for.

    Raises
    ------
    OSError
        When the file cannot be read.
    CheckpointError
        When it is damaged or no safetensors file.

    Examples
    --------
    >>> with safe_open("weights.safetensors") as file:  # doctest: +SKIP
    ...     for name in file:
    ...         print(name, file.info(name).shape)
    ...     bias = file["conv1.bias"]
    """

    def __init__(
        self,
        filename: str | os.PathLike[str],
        framework: str = "rushlight",
        device: Any = "cpu",
        *,
        mmap: bool = True,
    ) -> None:
        Device(device)
        self._source = Source(filename)
        try:
            self._specs, self._metadata = read_header(self._source)
            self._builder = Builder(self._source, mmap=mmap)
        except BaseException:
            self._source.close()
            raise

    def metadata(self) -> dict[str, str]:
        """Return the text that is stored beside the tensors."""
        return dict(self._metadata)

    def info(self, name: str) -> TensorInfo:
        """Return the element type in the file, shape and size of a tensor, without reading it."""
        return info_of(self._specs[name])

    def get_tensor(self, name: str) -> Tensor:
        """Return a tensor.

        Raises
        ------
        KeyError
            When there is none of this name.
        CheckpointError
            When the file was cut since it was opened, or a value does not fit its type.
        """
        try:
            tensor: Tensor = self._builder.once(self._specs[name])
        except Refused as error:
            raise self._source.error(str(error)) from None
        return tensor

    def __getitem__(self, name: str) -> Tensor:
        return self.get_tensor(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._specs)

    def __len__(self) -> int:
        return len(self._specs)

    def __contains__(self, name: object) -> bool:
        return name in self._specs

    def __enter__(self) -> safe_open:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; tensors that were read stay."""
        self._source.close()
