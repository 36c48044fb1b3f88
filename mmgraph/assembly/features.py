"""Modality nodes: payloads read from the cells of a table, encoded, and read once more when they are written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmgraph.assembly.cells import Cell, file_of, label_of, moment_of, number_of, payload_of, payloads_in
from mmgraph.assembly.config import ColumnConfig, EncoderConfig, GraphConfig
from mmgraph.assembly.nodes import Nodes
from mmgraph.assembly.rejected import Rejected, short
from mmgraph.assembly.source import Source
from mmgraph.cluster.parcel import Parcel, by_path
from mmgraph.cluster.workers import Workers
from mmgraph.encoders import FeatureCache, Frozen
from mmgraph.encoders.frozen import Through
from mmgraph.encoders.registry import DEFAULTS, KINDS, frozen_class, make_frozen
from mmgraph.encoders.series import read_series
from mmgraph.errors import ConfigError, DataError
from mmgraph.media.video import decode_video
from mmgraph.schema import Modality

Progress = Callable[[int], object]

_STEP = 256  # owners between two reports of progress
_HELD = 1 << 26  # bytes of files that are held, in case that other cells name them too
_AT_HOME = ("columns", "symbols")  # looked up in less time than it takes to send them away


@dataclass(frozen=True)
class Payload:
    """One payload: whose it is, where it stood, and what it is."""

    owner: int
    row: int
    column: str
    value: Any
    cell: Cell
    follows: bool = False  # the payload before it, in time: frames of one video


@dataclass(frozen=True)
class Made:
    """The nodes of one modality.

    Args:
        node: Their type.
        modality: What they carry.
        owner_type: The type that they hang on.
        owner: The node that each hangs on, ``[rows]``.
        features: ``[rows, ...]``.
        follows: Whether each comes after the one before it, ``[rows]``.
        encoder: What made the features.
        kind: Its kind; empty if it was given.
        options: What it was made with.
        good: Which of the payloads that were offered these are, ``[rows]``.
        digests: Eight bytes of the digest of each, ``[rows]``, by which a file that has changed since is noticed.
    """

    node: str
    modality: Modality
    owner_type: str
    owner: Tensor
    features: Tensor
    follows: Tensor
    encoder: Frozen
    kind: str
    options: Mapping[str, Any]
    good: np.ndarray
    digests: list[bytes]


class Reader:
    """Reads the payloads of one modality node type off the table of its owners, as often as needed."""

    def __init__(self, source: Source, node: str, nodes: Nodes) -> None:
        self.source, self.node, self.nodes = source, node, nodes
        self.owner_type, self.columns = source.config.modality_nodes[node]
        self.modality = source.config.modality(node)
        self.configs = source.config.nodes[self.owner_type].columns
        self.table = source.config.nodes[self.owner_type].table

    def payloads(
        self, rejected: Rejected | None = None, *, only: np.ndarray | None = None, progress: Progress | None = None
    ) -> Iterator[Payload]:
        """Reads all payloads that can be read, node by node.

        Args:
            rejected: Takes those that can't be read; ``None`` if they are known already.
            only: Mask of the owners to read, ``[nodes]``.
            progress: Called with the number of owners that are done.
        """
        tabular = self.modality is Modality.TABULAR
        owners = set(self.nodes.rows.tolist())
        files = _Files(self.source, self.modality, self.configs[self.columns[0]])

        def complain(row: int, reason: str) -> None:
            if rejected is not None and row in owners:  # else it is no node, which is said already
                for column in self.columns:
                    rejected.count(self.table, column, 1)
                    rejected.add(self.table, row, column, None, reason)

        for owner, cells in self.nodes.cells(self.columns, complain):
            if only is None or only[owner]:
                yield from self._row(owner, cells, rejected) if tabular else self._cells(owner, cells, files, rejected)
            if progress is not None and (owner + 1) % _STEP == 0:
                progress(_STEP)
        if progress is not None:
            progress(len(self.nodes) % _STEP)

    def _cells(self, owner: int, cells: Sequence[Cell], files: _Files, rejected: Rejected | None) -> Iterator[Payload]:
        for column, cell in zip(self.columns, cells, strict=True):
            if cell is None:
                continue
            for one in payloads_in(cell, self.modality, self.configs[column].separator):
                self._count(rejected, column)
                try:
                    value = files.payload(one)
                    frames = _frames(value) if self.modality is Modality.VIDEO else [value]
                except DataError as error:
                    self._reject(rejected, owner, column, one, error)
                    continue
                for number, frame in enumerate(frames):
                    yield Payload(owner, int(self.nodes.rows[owner]), column, frame, one, follows=number > 0)

    def _row(self, owner: int, cells: Sequence[Cell], rejected: Rejected | None) -> Iterator[Payload]:
        """The tabular cells of a row are one payload; a bad cell is unknown, and set aside."""
        values: dict[str, Any] = dict.fromkeys(self.columns)
        for column, cell in zip(self.columns, cells, strict=True):
            if cell is None:
                continue
            self._count(rejected, column)
            try:
                values[column] = _PARSE[self.configs[column].modality](cell)
            except DataError as error:
                self._reject(rejected, owner, column, cell, error)
        if any(value is not None for value in values.values()):
            yield Payload(owner, int(self.nodes.rows[owner]), self.columns[0], values, values)

    def _count(self, rejected: Rejected | None, column: str) -> None:
        if rejected is not None:
            rejected.count(self.table, column, 1)

    def _reject(self, rejected: Rejected | None, owner: int, column: str, cell: Cell, error: DataError) -> None:
        if rejected is not None:
            key = self.nodes.keys[owner]
            rejected.add(self.table, int(self.nodes.rows[owner]), column, cell, str(error), key=key)


class _Files:
    """The payloads of cells in one pass; a file that many cells name is not read for each of them."""

    def __init__(self, source: Source, modality: Modality, column: ColumnConfig) -> None:
        self.source, self.modality, self.named = source, modality, column.file
        self.found: dict[str, bytes] = {}
        self.held = 0

    def payload(self, cell: Cell) -> Any:
        if isinstance(cell, str) and cell in self.found:
            return self.found[cell]
        root, limits = self.source.root, self.source.config.limits
        content = file_of(cell, self.modality, root, limits) if self.named else cell
        value = payload_of(content, self.modality, root, limits)
        if isinstance(cell, str) and isinstance(value, bytes):
            self.found[cell] = value
            self.held += len(value)
            while self.held > _HELD:
                self.held -= len(self.found.pop(next(iter(self.found))))
        return value


def _datetime(cell: Cell) -> str:
    return moment_of(cell).isoformat()


_PARSE: Mapping[str, Callable[[Cell], Any]] = {"numeric": number_of, "category": label_of, "datetime": _datetime}


def _frames(video: bytes) -> list[bytes]:
    frames = []
    for frame in decode_video(video):
        file = BytesIO()
        frame.save(file, "PNG")
        frames.append(file.getvalue())
    return frames


def make_features(
    reader: Reader,
    rejected: Rejected,
    *,
    training: np.ndarray | None,
    given: Frozen | None = None,
    cache: FeatureCache | None = None,
    progress: Progress | None = None,
    workers: Workers | None = None,
    shared: bool = False,
) -> Made:
    """Encodes all payloads of a modality; those that can't be decoded are set aside.

    Args:
        reader: Reads the payloads.
        rejected: Takes what is set aside.
        training: Mask of the owners that an encoder may be fitted on; ``None`` for all.
        given: The encoder, if it was given; otherwise the declaration says which.
        cache: Where features are looked up and kept.
        progress: Called with the number of owners that are done.
        workers: Who encodes; ``None`` for this process.
        shared: Workers read files themselves, by their paths.

    Raises:
        ConfigError: There is no such encoder, it is of another modality, or it can't be sent to workers.
        DataError: There is nothing to fit an encoder on.
    """
    encoder, kind, options = (given, "", {}) if given is not None else _fitted(reader, training)
    owners: list[int] = []
    follows: list[bool] = []
    digests: list[bytes] = []
    origin: list[tuple[int, str, str]] = []
    names: dict[int, str] = {}
    through = None
    if workers is not None and kind not in _AT_HOME:
        through = _sent(workers, Parcel.pack(reader.node, kind, options, encoder), encoder, reader, names)

    def offered() -> Iterator[Any]:
        for one in reader.payloads(rejected, progress=progress):
            owners.append(one.owner)
            follows.append(one.follows)
            digests.append(digest_of(one.value))
            origin.append((one.row, one.column, short(one.cell)))
            if shared and isinstance(one.cell, str) and reader.modality in (Modality.IMAGE, Modality.AUDIO):
                names[len(origin) - 1] = one.cell.strip()
            yield one.value

    done = encoder.attempt(offered(), cache=cache, through=through)
    for number, reason in done.rejected.items():
        row, column, value = origin[number]
        key = reader.nodes.keys[owners[number]]
        rejected.add(reader.table, row, column, value, reason, key=key)
    good = done.rows
    chained = np.array(follows, dtype=bool)[good] & np.concatenate([[False], np.diff(good) == 1])[: len(good)]
    return Made(
        node=reader.node,
        modality=reader.modality,
        owner_type=reader.owner_type,
        owner=torch.from_numpy(np.array(owners, dtype=np.int64)[good]),
        features=done.features,
        follows=torch.from_numpy(chained),
        encoder=encoder,
        kind=kind,
        options=options,
        good=good,
        digests=[digests[number] for number in good],
    )


def _fitted(reader: Reader, training: np.ndarray | None) -> tuple[Frozen, str, dict[str, Any]]:
    """The declared encoder, its kind and its options."""
    kind, options = choice(reader.source.config, reader.node)
    try:
        return make_frozen(kind, _fitted_on(reader, training, options), **options), kind, options
    except DataError as error:
        raise DataError(
            f"Encoder {kind!r} of {reader.node!r} can't be fitted on its payloads"
            f"{'' if training is None else ' in the training part'}: {error}; mend them, or choose an encoder that "
            "is not fitted"
        ) from None


def _sent(workers: Workers, parcel: Parcel, encoder: Frozen, reader: Reader, names: Mapping[int, str]) -> Through:
    """Has workers encode; of files with a name, this is sent in place of what is in them."""
    root, limits = (reader.source.root or Path()).resolve(), reader.source.config.limits
    return lambda jobs: workers.encode(parcel, encoder, by_path(jobs, root, names, limits.bytes))


def _fitted_on(reader: Reader, training: np.ndarray | None, options: Mapping[str, Any]) -> Iterator[Any]:
    """The payloads to fit on; series that can't be read are left out: they are set aside when all are encoded."""
    columns: int | None = None
    for one in reader.payloads(only=training):
        if reader.modality is Modality.SERIES:
            try:
                columns = read_series(one.value, channels=columns, times=bool(options.get("times"))).shape[1]
            except DataError:
                continue
        yield one.value


def reread(reader: Reader, made: Made) -> Iterator[str | bytes]:
    """The payloads of the nodes that were made, as strings or bytes.

    Raises:
        DataError: A file has changed since it was encoded.
    """
    wanted = iter(zip(made.good.tolist(), made.digests, strict=True))
    number, digest = next(wanted, (-1, b""))
    for place, one in enumerate(reader.payloads()):
        if place != number:
            continue
        if digest_of(one.value) != digest:
            break
        yield _written(one.value)
        number, digest = next(wanted, (-1, b""))
    if number >= 0:
        raise DataError(f"The files of {reader.node!r} must not change while they are read, but one has; build again")


def digest_of(value: Any) -> bytes:
    """Eight bytes that tell a payload from others."""
    written = _written(value)
    return hashlib.blake2b(
        written.encode(errors="surrogatepass") if isinstance(written, str) else written, digest_size=8
    ).digest()


def _written(value: Any) -> str | bytes:
    return value if isinstance(value, str | bytes) else json.dumps(value, ensure_ascii=False, default=str)


def choice(config: GraphConfig, node: str) -> tuple[str, dict[str, Any]]:
    """The kind and the options of a modality's encoder, as declared or by default.

    Raises:
        ConfigError: There is no such encoder, or it is of another modality.
    """
    owner, columns = config.modality_nodes[node]
    modality, configs = config.modality(node), config.nodes[owner].columns
    if modality is Modality.TABULAR:
        return "columns", {"columns": {column: configs[column].modality for column in columns}}
    named = configs[columns[0]].encoder
    if named is None:
        return DEFAULTS[modality], {}
    declared = config.encoders.get(named, EncoderConfig(kind=named))
    if declared.kind not in KINDS:
        raise ConfigError(
            f"The encoder of {node!r} must be one of [encoders], {sorted(config.encoders)}, or a kind, {list(KINDS)}, "
            f"got {declared.kind!r}"
        )
    check_modality(node, modality, getattr(frozen_class(declared.kind), "modality", modality), declared.kind)
    return declared.kind, dict(declared.options)


def check_modality(node: str, modality: Modality, encodes: Modality, name: object) -> None:
    """Checks that an encoder is of the modality of a node type; a video is a chain of pictures.

    Raises:
        ConfigError: It is of another.
    """
    wanted = Modality.IMAGE if modality is Modality.VIDEO else modality
    if encodes not in (modality, wanted):
        raise ConfigError(f"The encoder of {node!r} must encode {wanted.value!r}, got {name}, which encodes {encodes}")
