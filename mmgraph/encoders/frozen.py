"""Frozen encoders: from payloads (texts, pictures, recordings) to a matrix, once, before a graph is trained on."""

from __future__ import annotations

import hashlib
import json
import math
import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Generic, Self, TypeAlias, TypeVar

import numpy as np
import torch
from torch import Tensor

from mmgraph.encoders.cache import FeatureCache
from mmgraph.errors import ArtifactError, DataError
from mmgraph.files import sha256
from mmgraph.schema import Identity, Modality

Payload = TypeVar("Payload")
Prepared = TypeVar("Prepared")


@dataclass(frozen=True)
class Encoded:
    """What became of some payloads.

    Args:
        features: One row for each payload that could be encoded, ``[good, ...]``.
        rows: Which payloads these are, ``[good]``, ascending.
        rejected: Payload → why it could not be encoded.
        cached: How many distinct payloads came out of the cache.
        made: How many distinct payloads were encoded.
    """

    features: Tensor
    rows: np.ndarray
    rejected: dict[int, str]
    cached: int = 0
    made: int = 0


Job: TypeAlias = Mapping[int, Any]
"""Payloads that are encoded together, all different: number among all payloads → payload."""


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Args:
        features: One row for each payload that could be encoded, in the job's order, ``[good, ...]``.
        rejected: Number of a payload → why it could not be encoded.
    """

    features: Tensor
    rejected: Mapping[int, str]


Through: TypeAlias = Callable[[Iterator[Job]], Iterator[Outcome]]
"""Carries jobs out, wherever it may be, and gives their outcomes in the order of the jobs."""


class Frozen(ABC, Generic[Payload, Prepared]):
    """Payloads to a matrix: ``frozen(payloads) -> [payloads, *shape]``, on the processor, without gradient.

    Not an :class:`Encoder`: payloads do not stand on a graph, so a frozen encoder is called when the graph is built,
    and what it gives becomes an attribute of a node type. If that is ``x``, :class:`Raw` or :class:`Table` read it;
    other attributes (pixels, spectrograms, tokens) are for encoders that are trained with the graph. A payload that is
    missing has no node and is not passed.

    Equal payloads (of equal :meth:`content`) are encoded once; with a cache, once for all. A subclass sets
    ``identity``, ``modality`` and ``shape``, and defines :meth:`content`, :meth:`prepare` (called in threads) and
    :meth:`encode`.

    Example:
        >>> class Length(Frozen[str, str]):
        ...     identity = Identity(name="length", revision="1")
        ...     modality = Modality.TEXT
        ...     shape = (1,)
        ...
        ...     def content(self, payload):
        ...         return payload.encode()
        ...
        ...     def encode(self, prepared):
        ...         print("encoding", prepared)
        ...         return torch.tensor([[float(len(text))] for text in prepared])
        >>> Length()(["owl", "cat", "horse", "owl"]).flatten()
        encoding ['owl', 'cat', 'horse']
        tensor([3., 3., 5., 3.])
    """

    identity: Identity
    modality: Modality
    shape: tuple[int, ...]
    attribute: str = "x"
    dtype: torch.dtype = torch.float32
    chunk: int = 1024
    """Payloads that are held at once, and kept in the cache together."""

    @property
    def channels(self) -> int:
        """Width of the last dimension."""
        return self.shape[-1]

    @abstractmethod
    def content(self, payload: Payload) -> bytes:
        """The bytes that tell a payload from others.

        Raises:
            DataError: This is no payload that can be encoded.
        """

    def prepare(self, payload: Payload) -> Prepared:
        """Decodes one payload; called in several threads at once. By default the payload as it is.

        Raises:
            DataError: The payload is damaged, too large, or of another kind.
        """
        return payload  # type: ignore[return-value]

    @abstractmethod
    def encode(self, prepared: list[Prepared]) -> Tensor:
        """Encodes prepared payloads that all differ: ``[payloads, *shape]``."""

    def state(self) -> dict[str, Tensor]:
        """What was fitted, for encoders that have a ``fit``; none for others."""
        return {}

    @classmethod
    def restore(cls, options: Mapping[str, Any], state: Mapping[str, Tensor]) -> Self:
        """The encoder of some options and of the state that :meth:`state` gave."""
        return cls(**options)

    def __call__(self, payloads: Iterable[Payload], *, cache: FeatureCache | None = None) -> Tensor:
        """Encodes payloads.

        Args:
            payloads: What to encode.
            cache: Where features are looked up and kept; ``None`` for nowhere.

        Returns:
            ``[payloads, *shape]``: a row a payload, in their order.

        Raises:
            DataError: A payload can't be encoded (the message says which), or :meth:`encode` gave another shape.
            ArtifactError: The cache is damaged.
        """
        done = self.attempt(payloads, cache=cache)
        for row, reason in done.rejected.items():
            raise DataError(f"Payload {row} can't be encoded: {reason}")
        return done.features

    def attempt(
        self,
        payloads: Iterable[Payload],
        *,
        cache: FeatureCache | None = None,
        progress: Callable[[int], object] | None = None,
        through: Through | None = None,
    ) -> Encoded:
        """Encodes the payloads that can be encoded, and says why others can't.

        With a cache, each chunk is kept as soon as it is made: after a kill the same call goes on from there, and gives
        the bits that it would have given.

        Args:
            payloads: What to encode; read one by one, at most a chunk is held at once.
            cache: Where features are looked up and kept; ``None`` for nowhere.
            progress: Called with the number of payloads that are done, after each chunk.
            through: Who encodes; the chunks, and so the bits, are the same whoever it is. ``None`` for this process.

        Raises:
            DataError: One payload in place of several, or :meth:`encode` gave another shape.
            ArtifactError: The cache is damaged.
        """
        if isinstance(payloads, str | bytes):
            raise DataError(
                f"payloads must be a sequence of payloads, got one {type(payloads).__name__}; wrap it in []"
            )
        work = _Work(self, cache)
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            through = through or (lambda jobs: (carry_out(self, job, threads) for job in jobs))
            for outcome in through(work.jobs(iter(payloads), threads, progress or (lambda _: None))):
                work.take(outcome)
        return work.result()


def carry_out(encoder: Frozen, job: Job, threads: ThreadPoolExecutor) -> Outcome:
    """Prepares and encodes the payloads of a job.

    Raises:
        DataError: :meth:`Frozen.encode` gave another shape.

    Example:
        >>> from mmgraph.encoders import Function
        >>> lengths = Function(
        ...     lambda texts: [[len(text)] for text in texts], name="length", revision="1", modality="text", channels=1
        ... )
        >>> with ThreadPoolExecutor(1) as threads:
        ...     carry_out(lengths, {4: "owl", 7: "horse"}, threads).features.tolist()
        [[3.0], [5.0]]
    """
    rejected: dict[int, str] = {}
    prepared: list[Any] = []
    for number, (value, reason) in zip(
        job, _in_threads(threads, partial(_prepare, encoder), [*job.values()]), strict=True
    ):
        if reason is not None:
            rejected[number] = reason
        else:
            prepared.append(value)
    if not prepared:
        return Outcome(torch.empty(0, *encoder.shape, dtype=encoder.dtype), rejected)
    with torch.no_grad():
        made = encoder.encode(prepared).detach().to("cpu", encoder.dtype).contiguous()
    if made.shape != (len(prepared), *encoder.shape):
        raise DataError(f"encode must give {[len(prepared), *encoder.shape]} numbers, got {list(made.shape)}")
    return Outcome(made, rejected)


def _prepare(encoder: Frozen, payload: Any) -> tuple[Any, str | None]:
    try:
        return encoder.prepare(payload), None
    except DataError as error:
        return None, str(error)


@dataclass
class _Work:
    """The distinct payloads so far, by the digest of their content."""

    encoder: Frozen
    cache: FeatureCache | None
    place: dict[bytes, int | str] = field(default_factory=dict)  # digest → row of the distinct, or why there is none
    matrices: list[Tensor] = field(default_factory=list)
    keys: list[bytes | str] = field(default_factory=list)  # digest of each payload, or why it has none
    sent: deque[tuple[dict[int, bytes], Callable[[], object]]] = field(default_factory=deque)  # jobs without an outcome
    waiting: set[bytes] = field(default_factory=set)  # the digests in them
    rows: int = 0
    cached: int = 0
    made: int = 0

    def jobs(
        self, payloads: Iterator[Any], threads: ThreadPoolExecutor, progress: Callable[[int], object]
    ) -> Iterator[Job]:
        """What is left to encode of each chunk: neither seen before nor in the cache."""
        while chunk := list(islice(payloads, self.encoder.chunk)):
            numbers = self._fresh(chunk, threads)
            known = self.cache.get(self.encoder.identity, list(numbers)) if self.cache and numbers else {}
            self._add(list(known), self._unpack(list(known.values())))
            self.cached += len(known)
            wanted = {number: key for key, number in numbers.items() if key not in known}
            first = len(self.keys) - len(chunk)
            done = partial(progress, len(chunk))
            if not wanted:
                done()
                continue
            self.sent.append((wanted, done))
            self.waiting.update(wanted.values())
            yield {number: chunk[number - first] for number in wanted}

    def take(self, outcome: Outcome) -> None:
        """The outcome of the first job that has none yet: kept at once."""
        wanted, done = self.sent.popleft()
        self.waiting.difference_update(wanted.values())
        self.place.update((wanted[number], reason) for number, reason in outcome.rejected.items())
        good = [key for number, key in wanted.items() if number not in outcome.rejected]
        if good:
            if self.cache:
                self.cache.put(self.encoder.identity, dict(zip(good, self._pack(outcome.features), strict=True)))
            self._add(good, outcome.features)
            self.made += len(good)
        done()

    def result(self) -> Encoded:
        """What became of all payloads."""
        places = [self.place[key] if isinstance(key, bytes) else key for key in self.keys]
        rejected = {row: place for row, place in enumerate(places) if isinstance(place, str)}
        rows = np.array([row for row in range(len(places)) if row not in rejected], dtype=np.int64)
        if not self.matrices:
            return Encoded(torch.empty(0, *self.encoder.shape, dtype=self.encoder.dtype), rows, rejected)
        wanted = torch.tensor([place for place in places if not isinstance(place, str)], dtype=torch.long)
        return Encoded(torch.cat(self.matrices)[wanted], rows, rejected, self.cached, self.made)

    def _key(self, payload: Any) -> bytes | str:
        try:
            return hashlib.sha256(self.encoder.content(payload)).digest()
        except DataError as error:
            return str(error)

    def _fresh(self, payloads: list[Any], threads: ThreadPoolExecutor) -> dict[bytes, int]:
        """The digests that were not seen before → the number of their payload."""
        fresh: dict[bytes, int] = {}
        for key in _in_threads(threads, self._key, payloads):
            if isinstance(key, bytes) and key not in self.place and key not in self.waiting:
                fresh.setdefault(key, len(self.keys))
            self.keys.append(key)
        return fresh

    def _add(self, keys: list[bytes], matrix: Tensor) -> None:
        self.place.update(zip(keys, range(self.rows, self.rows + len(keys)), strict=True))
        self.rows += len(keys)
        self.matrices += [matrix] if len(keys) else []

    def _pack(self, matrix: Tensor) -> Iterator[bytes]:
        flat = matrix.view(torch.uint8) if matrix.dtype == torch.bfloat16 else matrix
        return (row.tobytes() for row in flat.numpy())

    def _unpack(self, values: Sequence[bytes]) -> Tensor:
        empty = torch.empty(0, *self.encoder.shape, dtype=self.encoder.dtype)
        if not values:
            return empty
        size = empty.element_size() * math.prod(self.encoder.shape)
        for value in values:
            if len(value) != size:
                raise ArtifactError(
                    f"Cached features of {self.encoder.identity} must have {size} bytes for {list(self.encoder.shape)} "
                    f"numbers, got {len(value)}; remove them from {str(self.cache and self.cache.folder)!r}, and give "
                    "an encoder that changes another revision"
                )
        data = bytearray(b"".join(values))
        return torch.frombuffer(data, dtype=self.encoder.dtype).reshape(len(values), *self.encoder.shape)


def _in_threads(
    threads: ThreadPoolExecutor, function: Callable[[Payload], Prepared], payloads: Sequence[Payload]
) -> Iterator[Prepared]:
    """A function of each payload, in their order; a thread takes several at once, for some are done in no time."""
    size = max(1, min(32, len(payloads) // (4 * (os.cpu_count() or 1))))
    blocks = [payloads[start : start + size] for start in range(0, len(payloads), size)]
    for done in threads.map(lambda block: [function(payload) for payload in block], blocks):
        yield from done


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


def digest_of_state(state: Mapping[str, Tensor]) -> str:
    """Sha256 over the names, types, shapes and numbers of tensors: the revision of an encoder that is fitted.

    Example:
        >>> one = digest_of_state({"mean": torch.zeros(2)})
        >>> one == digest_of_state({"mean": torch.zeros(2, 1)}), one == digest_of_state({"mean": torch.zeros(2)})
        (False, True)
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        if tensor.numel():  # torch views no empty tensor as bytes
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
