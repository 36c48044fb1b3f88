"""What is sent to a worker and what comes back: an encoder, jobs, replies."""

from __future__ import annotations

import hashlib
import platform
import socket
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmgraph.encoders import Frozen
from mmgraph.encoders.frozen import Job, Outcome, carry_out
from mmgraph.encoders.registry import load_frozen, save_frozen
from mmgraph.errors import ArtifactError, ConfigError, DataError, MissingPackageError, MMGraphError, SchemaError
from mmgraph.media.files import read_payload

MOST_DEATHS = 3
"""So many workers may die of one job before it is given up."""

_OURS = (ArtifactError, DataError, MissingPackageError, SchemaError)
_MEMORY = "MemoryError"
_LESS = "take fewer workers, or lower limits.bytes or limits.characters"


def versions() -> dict[str, str]:
    """What must be the same here and there, for the same bits.

    Example:
        >>> sorted(versions())
        ['mmgraph', 'numpy', 'python', 'torch']
    """
    found = {name: version(name) for name in ("mmgraph", "numpy")}
    return {**found, "python": platform.python_version(), "torch": str(torch.__version__)}


@dataclass(frozen=True)
class Parcel:
    """An encoder as it is sent: the files that it is kept in, never an object that runs code when it is unpacked.

    Args:
        node: The node type that it encodes.
        files: Name → the bytes of a file that :func:`~mmgraph.encoders.registry.save_frozen` wrote.
        threads: Of the processor that a worker may use: those of the driver, for sums have their order.
        versions: Of the driver.
    """

    node: str
    files: Mapping[str, bytes] = field(repr=False)
    threads: int = 1
    versions: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def pack(cls, node: str, kind: str, options: Mapping[str, Any], encoder: Frozen) -> Parcel:
        """Packs an encoder.

        Raises:
            ConfigError: It was made of something that no file can hold.

        Example:
            >>> from mmgraph.encoders.registry import make_frozen
            >>> encoder = make_frozen("hashed_text", ["a cat", "a dog"], channels=4)
            >>> parcel = Parcel.pack("title", "hashed_text", {"channels": 4}, encoder)
            >>> bool((parcel.open()(["a cat"]) == encoder(["a cat"])).all())
            True
        """
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "encoder"
            try:
                save_frozen(kind, options, encoder, folder)
            except ConfigError as error:
                raise ConfigError(f"The encoder of {node!r} can't be sent to other processes: {error}") from None
            files = {file.name: file.read_bytes() for file in folder.iterdir()}
        return cls(node, files, torch.get_num_threads(), versions())

    def open(self) -> Frozen:
        """The encoder, in a worker.

        Raises:
            ConfigError: The worker has other versions than the driver, or what the encoder is made of is not there.
            ArtifactError: It is another one there.
        """
        here = versions()
        if wrong := [name for name in here if here[name] != self.versions.get(name)]:
            theirs, ours = ([f"{name} {found.get(name)}" for name in wrong] for found in (self.versions, here))
            raise ConfigError(
                f"Driver and worker must have the same versions, got {', '.join(theirs)} in the driver and "
                f"{', '.join(ours)} on worker {socket.gethostname()!r}; install the same on both"
            )
        torch.set_num_threads(self.threads)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "encoder"
            folder.mkdir()
            for file, content in self.files.items():
                (folder / file).write_bytes(content)
            return load_frozen(folder)

    def where(self, job: Job) -> str:
        """What a job encodes, for messages.

        Example:
            >>> Parcel("photo", {}).where({3: b"", 9: b""})
            "payloads 3 to 9 of 'photo'"
        """
        return f"payloads {min(job)} to {max(job)} of {self.node!r}"


@dataclass(frozen=True)
class Named:
    """A payload that a worker reads itself.

    Args:
        root: The folder below which it lies, the same for driver and workers.
        name: Of the file, from there.
        max_bytes: The largest file that is read.
        digest: Sixteen bytes of the digest of what the driver read.
    """

    root: Path
    name: str
    max_bytes: int
    digest: bytes

    @staticmethod
    def digest_of(content: bytes) -> bytes:
        """Sixteen bytes that tell a file from others."""
        return hashlib.blake2b(content, digest_size=16).digest()

    def read(self) -> bytes:
        """The bytes of the file.

        Raises:
            ConfigError: The worker can't read it.
            DataError: It has changed since the driver read it.
        """
        try:
            content = read_payload(self.root, self.name, max_bytes=self.max_bytes)
        except DataError as error:
            raise ConfigError(
                f"Worker {socket.gethostname()!r} must see the files that the driver sees, but {error}; share the "
                "folder with all machines, under the same path, or build without shared, and the driver sends them"
            ) from None
        if self.digest_of(content) != self.digest:
            raise DataError(f"File {self.name!r} must not change while it is read, but it has; build again")
        return content


@dataclass(frozen=True)
class Reply:
    """What a worker says of a job: bytes of features, or what went wrong.

    Args:
        features: The bytes of the rows of what could be encoded.
        rejected: Number of a payload → why it could not be encoded.
        error: The kind and the message of an error; ``None`` if there was none.
    """

    features: bytes = b""
    rejected: Mapping[int, str] = field(default_factory=dict)
    error: tuple[str, str] | None = None


class Bench:
    """Where a worker works: it opens an encoder at its first job, and says what went wrong instead of raising it."""

    def __init__(self, parcel: Parcel) -> None:
        self.parcel = parcel
        self.encoder: Frozen | None = None
        self.threads = ThreadPoolExecutor(parcel.threads)

    def __call__(self, job: Job) -> Reply:
        """Carries a job out."""
        try:
            if self.encoder is None:
                self.encoder = self.parcel.open()
            read = {number: one.read() if isinstance(one, Named) else one for number, one in job.items()}
            outcome = carry_out(self.encoder, read, self.threads)
        except MMGraphError as error:
            return Reply(error=(type(error).__name__, str(error)))
        except MemoryError as error:
            return Reply(error=(_MEMORY, str(error) or "no more"))
        except Exception as error:  # a worker goes on, and the driver raises it
            scarce = isinstance(error, RuntimeError) and "memory" in str(error)  # torch has no kind of its own for it
            return Reply(error=(_MEMORY, str(error)) if scarce else ("", traceback.format_exc()))
        return Reply(_bytes_of(outcome.features), dict(outcome.rejected))


def outcome_of(parcel: Parcel, encoder: Frozen, job: Job, reply: Reply) -> Outcome:
    """What became of a job, as the driver takes it.

    Raises:
        MMGraphError: What the worker raised.
        ConfigError: It had not enough memory.
        RuntimeError: The encoder failed; the message holds the worker's traceback.
    """
    if reply.error is not None:
        kind, message = reply.error
        if kind == _MEMORY:
            raise ConfigError(
                f"A worker must have the memory to encode {parcel.where(job)}, but it has not ({message}); {_LESS}"
            )
        if not kind:
            raise RuntimeError(f"Encoding {parcel.where(job)} failed in a worker:\n{message}")
        raise next((one for one in _OURS if one.__name__ == kind), ConfigError)(message)
    features = torch.empty(len(job) - len(reply.rejected), *encoder.shape, dtype=encoder.dtype)
    if features.numel():  # torch sees no empty tensor as bytes
        features.view(torch.uint8).numpy()[...] = np.frombuffer(reply.features, np.uint8).reshape(len(features), -1)
    return Outcome(features, reply.rejected)


def _bytes_of(features: torch.Tensor) -> bytes:
    return features.view(torch.uint8).numpy().tobytes() if features.numel() else b""


def died(parcel: Parcel, job: Job, how: str) -> ConfigError:
    """The error that is raised when a job has cost too many workers."""
    return ConfigError(
        f"A worker must live to encode {parcel.where(job)}, but {MOST_DEATHS} have died of it ({how}), as they do when "
        f"memory runs out; {_LESS}"
    )


def by_path(jobs: Iterator[Job], root: Path, names: Mapping[int, str], max_bytes: int) -> Iterator[Job]:
    """The same jobs with the names of files in place of their bytes, where there is a name."""
    for job in jobs:
        yield {
            number: Named(root, names[number], max_bytes, Named.digest_of(one)) if number in names else one
            for number, one in job.items()
        }
