"""Frozen encoders: from payloads (texts, pictures, recordings) to a matrix, once, before a graph is trained on."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import Tensor

from mmgraph.errors import DataError
from mmgraph.files import sha256

Payload = TypeVar("Payload")


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Which encoder made a feature: equal identities give equal features for equal payloads.

    Args:
        name: Of the model, as its hub or its folder names it.
        revision: Which state of the model: a commit, or the digest of its files.
        options: What else changes the features.

    Example:
        >>> one = Identity(name="all-MiniLM-L6-v2", revision="8b3219a", options={"precision": "float32"})
        >>> one.digest == Identity(name="all-MiniLM-L6-v2", revision="8b3219a").digest
        False
    """

    name: str
    revision: str
    options: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        """Sha256 of all of it, in hex; the order of the options does not matter."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True, ensure_ascii=True).encode()).hexdigest()


class Frozen(ABC, Generic[Payload]):
    """Payloads to a matrix: ``frozen(payloads) -> [payloads, channels]`` (float32, on the processor, no gradient).

    Not an :class:`Encoder`: payloads do not stand on a graph, so a frozen encoder is called when the graph is built,
    and what it gives becomes the ``x`` of a node type, which :class:`Raw` or :class:`Table` read. A payload that is
    missing has no node and is not passed.

    Equal payloads (of equal :meth:`content`) are encoded once. A subclass sets ``identity`` and ``channels``, and
    defines :meth:`content` and :meth:`encode`.

    Example:
        >>> class Length(Frozen[str]):
        ...     identity = Identity(name="length", revision="1")
        ...     channels = 1
        ...
        ...     def content(self, payload):
        ...         return payload.encode()
        ...
        ...     def encode(self, payloads):
        ...         print("encoding", payloads)
        ...         return torch.tensor([[float(len(payload))] for payload in payloads])
        >>> Length()(["owl", "cat", "horse", "owl"]).flatten()
        encoding ['owl', 'cat', 'horse']
        tensor([3., 3., 5., 3.])
    """

    identity: Identity
    channels: int

    @abstractmethod
    def content(self, payload: Payload) -> bytes:
        """The bytes that tell a payload from others.

        Raises:
            DataError: This is no payload that can be encoded.
        """

    @abstractmethod
    def encode(self, payloads: list[Payload]) -> Tensor:
        """Encodes payloads that all differ: ``[payloads, channels]``."""

    def __call__(self, payloads: Sequence[Payload]) -> Tensor:
        """Encodes payloads.

        Returns:
            ``[payloads, channels]``: a row a payload, in their order.

        Raises:
            DataError: A payload can't be encoded (the message says which), or :meth:`encode` gave another shape.
        """
        if isinstance(payloads, str | bytes):
            raise DataError(
                f"payloads must be a sequence of payloads, got one {type(payloads).__name__}; wrap it in []"
            )
        rows: list[int] = []
        distinct: list[Payload] = []
        seen: dict[bytes, int] = {}
        for place, payload in enumerate(payloads):
            try:
                key = hashlib.sha256(self.content(payload)).digest()
            except DataError as error:
                raise DataError(f"Payload {place} can't be encoded: {error}") from None
            if key not in seen:
                seen[key] = len(distinct)
                distinct.append(payload)
            rows.append(seen[key])
        if not distinct:
            return torch.empty(0, self.channels)
        matrix = self.encode(distinct).detach().to("cpu", torch.float32)  # [distinct, channels]
        if matrix.shape != (len(distinct), self.channels):
            raise DataError(f"encode must give {[len(distinct), self.channels]} numbers, got {list(matrix.shape)}")
        return matrix[torch.tensor(rows)]


def digest_of_folder(folder: Path) -> str:
    """Sha256 over the names and the bytes of all files below a folder, hidden ones left out.

    Example:
        >>> folder = getfixture("tmp_path")
        >>> before = digest_of_folder(folder)
        >>> _ = (folder / "config.json").write_text("{}")
        >>> digest_of_folder(folder) == before
        False
    """
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder)
        if file.is_file() and not any(part.startswith(".") for part in name.parts):
            digest.update(json.dumps([name.as_posix(), sha256(file)]).encode())
    return digest.hexdigest()
