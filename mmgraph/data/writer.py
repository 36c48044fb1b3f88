"""Graphs streamed into a collection: checked one by one, kept from the commit on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from mmgraph.data.columns.columns import Columns
from mmgraph.data.columns.contents import KIND, Contents, read_contents, read_schema, read_splits
from mmgraph.data.columns.layout import UNIT, AttributeLayout, Layout, StoreLayout, column_name, parts_of
from mmgraph.data.columns.payload import PayloadBuffer, PayloadHead, PayloadKey, Stream, Value
from mmgraph.data.columns.writer import ColumnsWriter
from mmgraph.errors import ArtifactError, DataError
from mmgraph.schema import Schema

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

_PENDING_SAMPLES = 4096
_STREAMED = 256  # values of a stream that are held at once

Payloads = Mapping[PayloadKey, Value | Sequence[Value] | Stream]
"""Name → one value for the sample; (node type, name) → one value a node."""


class CollectionWriter:
    """Writes a collection, sample by sample; a context manager that commits when its block ends well.

    Samples stream to the disk and are readable from the commit on. An exception, a kill or a full disk leaves the
    version before as it was. One writer at a time; readers may go on reading.

    Args:
        path: The folder of the collection; made if it is not there.
        schema: What the graphs mean; each is checked against it, and it is kept with them.
        append: Whether to add to the collection that is there. Otherwise there must be none yet.

    Raises:
        ArtifactError: There is a collection already and ``append`` is False, another writer is at work, what is there
            is damaged or has another schema, or the disk refuses.

    Example:
        >>> import torch
        >>> from torch_geometric.data import HeteroData
        >>> graph = HeteroData()
        >>> graph["scan"].x = torch.ones(2, 4)
        >>> graph["scan", "near", "scan"].edge_index = torch.tensor([[0], [1]])
        >>> with CollectionWriter(getfixture("tmp_path") / "scans") as writer:
        ...     writer.add(graph, payloads={"id": "p7"}, split="train")
        >>> from mmgraph.data import Collection
        >>> collection = Collection(getfixture("tmp_path") / "scans")
        >>> len(collection), collection.payloads(0), collection.splits
        (1, {'id': 'p7'}, {'train': array([0])})
    """

    def __init__(self, path: str | Path, schema: Schema | None = None, *, append: bool = False) -> None:
        self.path = Path(path)
        self.schema = schema
        self._columns = ColumnsWriter(path, kind=KIND, append=append)
        self._samples = 0
        self._whole = True
        self._layout: Layout | None = None
        self._payloads: dict[PayloadKey, PayloadBuffer] | None = None
        self._splits: dict[str, list[list[int]]] = {}
        self._ends: dict[str, int] = {}
        self._pending: dict[str, list[int]] = {}
        self._fresh = True
        if self._columns.head is not None:
            try:
                self._resume(Columns(self._columns.folder, self._columns.head))
            except BaseException:
                self.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None and self._fresh:
                self.commit()
        finally:
            self.close()

    def __len__(self) -> int:
        """How many samples there are, with those that are not committed yet."""
        return self._samples

    def add(self, graph: HeteroData, *, payloads: Payloads | None = None, split: str | None = None) -> None:
        """Adds a sample.

        Args:
            graph: The graph: plain tensors on the CPU, and ``num_nodes``. All graphs of a collection have the same
                types, attributes, dtypes and shapes of rows; a missing modality is a type with 0 rows.
            payloads: What the sample and its nodes stand for: strings, bytes or None; the same names in all samples.
                A :class:`Stream` of values is written as it is read.
            split: The split that the sample belongs to.

        Raises:
            SchemaError: The graph is not what the schema says.
            DataError: The graph differs from the first, has edges to nodes that are not there, or something on it is
                no tensor; the payloads have other names than the first's, or not a value a node.
            ArtifactError: The disk refuses; what was committed is intact.
        """
        if self.schema is not None:
            self.schema.check(graph)
        layout = Layout.of(graph) if self._layout is None else self._layout
        stores = list(layout.values(graph))
        values = self._check_payloads(payloads or {}, {one.type: one.count(store) for one, store in stores})
        _check_split(split)
        self._layout, self._fresh, self._whole = layout, True, False
        for one, store in stores:
            self._add_store(one, store)
        buffers = self._payloads if self._payloads is not None else {}
        self._payloads = buffers
        for key, (head, given) in values.items():
            buffer = buffers.setdefault(key, PayloadBuffer(head))
            for part in [given] if not isinstance(given, Stream) else _parts(key, given):
                if buffer.add(part):
                    self._flush_payload(buffer)
        if split is not None:
            ranges = self._splits.setdefault(split, [])
            if ranges and ranges[-1][1] == self._samples:
                ranges[-1][1] += 1
            else:
                ranges.append([self._samples, self._samples + 1])
        self._samples += 1
        self._whole = True
        if self._samples % _PENDING_SAMPLES == 0:
            self._flush_offsets()

    def extend(self, graphs: Iterable[HeteroData], *, split: str | None = None) -> None:
        """Adds many samples without payloads, all to one split.

        Raises:
            SchemaError: As :meth:`add`.
            DataError: As :meth:`add`.
            ArtifactError: As :meth:`add`.
        """
        for graph in graphs:
            self.add(graph, split=split)

    def commit(self) -> None:
        """Makes all samples that were added so far readable.

        Raises:
            ArtifactError: The disk refuses; what was committed before is intact.
        """
        if not self._whole:
            raise ArtifactError(
                f"Collection {str(self.path)!r} can't be committed: adding sample {self._samples} was cut short; "
                "the version that was committed before is intact: open a new writer and go on from there"
            )
        self._flush_offsets()
        buffers = list((self._payloads or {}).values())
        for buffer in buffers:
            self._flush_payload(buffer)
        if self.schema is not None:
            self._columns.put("schema.json", (self.schema.to_json() + "\n").encode())
        self._columns.put("splits.json", (json.dumps(self._splits, ensure_ascii=False) + "\n").encode())
        contents = Contents(
            samples=self._samples,
            layout=self._layout or Layout(stores=()),
            payloads=tuple(buffer.head for buffer in buffers),
        )
        self._columns.commit(contents.model_dump(mode="json"))
        self._fresh = False

    def close(self) -> None:
        """Ends the writing; what was not committed is dropped."""
        self._columns.close()

    def _resume(self, columns: Columns) -> None:
        contents = read_contents(columns)
        self._samples, self._fresh = contents.samples, False
        self._splits = read_splits(columns, contents.samples)
        if contents.samples:
            self._layout = contents.layout
            self._payloads = {head.key: PayloadBuffer(head) for head in contents.payloads}
        for store in contents.layout.stores:
            for offsets in {store.offsets, *(one.offsets for one in store.attributes)} - {UNIT}:
                self._ends[offsets] = int(columns[offsets].read(contents.samples, contents.samples + 1))
        kept = read_schema(columns, contents.layout)
        if self.schema is None:
            self.schema = kept
        elif kept != self.schema:
            raise ArtifactError(
                f"Collection {str(self.path)!r} {'has no schema' if kept is None else 'has another schema'}; "
                "append with schema=None to keep to what it has, or write to another folder"
            )

    def _add_store(self, layout: StoreLayout, store: Any) -> None:
        parts, count = parts_of(layout.type), layout.count(store)
        grow = {layout.offsets: count} if layout.offsets != UNIT else {}
        for one in layout.attributes:
            if one.kind == "count":
                continue
            value = store[one.name]
            rows = one.size(value)
            offsets = one.offsets
            if rows != (1 if offsets == UNIT else grow.setdefault(offsets, rows)):
                offsets = column_name("offsets", *parts, one.name)
                self._part(one, offsets)
                grow[offsets] = rows
            self._columns.append(one.column, one.rows(value))
        for offsets, rows in grow.items():
            self._ends[offsets] = self._ends.get(offsets, 0) + rows
            self._pending.setdefault(offsets, [] if self._samples else [0]).append(self._ends[offsets])

    def _part(self, one: AttributeLayout, offsets: str) -> None:
        """Gives a column offsets of its own, from the sample on that is the first to need them."""
        if one.offsets == UNIT:
            for first in range(0, self._samples + 1, 1 << 16):
                self._columns.append(offsets, np.arange(first, min(first + (1 << 16), self._samples + 1)))
            self._ends[offsets] = self._samples
        else:
            before = self._ends[one.offsets]
            self._flush_offsets()
            self._columns.copy(one.offsets, offsets) if self._samples else self._columns.append(
                offsets, np.zeros(1, int)
            )
            self._ends[offsets] = before
        self._pending[offsets] = []
        self._layout = self._layout and self._layout.with_offsets(one.column, offsets)

    def _flush_offsets(self) -> None:
        for offsets, ends in self._pending.items():
            if ends:
                self._columns.append(offsets, np.array(ends, dtype=np.int64))
                self._pending[offsets] = []

    def _check_payloads(
        self, payloads: Payloads, counts: Mapping[Any, int]
    ) -> dict[PayloadKey, tuple[PayloadHead, Sequence[Value] | Stream]]:
        if self._payloads is not None and payloads.keys() != self._payloads.keys():
            raise DataError(
                f"All samples must have the same payloads, {list(self._payloads)}, got {list(payloads)}; "
                "give None where there is no value"
            )
        checked: dict[PayloadKey, tuple[PayloadHead, Sequence[Value] | Stream]] = {}
        for key, given in payloads.items():
            kind, name = (None, key) if isinstance(key, str) else key
            if kind is not None and kind not in counts:
                raise DataError(f"Payload {key!r} must be on a node type of the graph, got {kind!r}")
            head = self._payloads[key].head if self._payloads else PayloadHead(type=kind, name=name)
            if kind is None:
                values: Sequence[Value] | Stream = [given]  # type: ignore[list-item]
            elif isinstance(given, (str, bytes)) or given is None or len(given) != counts[kind]:
                got = (
                    type(given).__name__ if isinstance(given, (str, bytes)) or given is None else f"{len(given)} values"
                )
                raise DataError(f"Payload {key!r} must have one value a node, {counts[kind]}, got {got}")
            else:
                values = given if isinstance(given, Stream) else list(given)
            if not isinstance(values, Stream):
                PayloadBuffer(head).check(values, head.kind)
            checked[key] = (head, values)
        return checked

    def _flush_payload(self, buffer: PayloadBuffer) -> None:
        if (file := buffer.flush()) is not None:
            self._columns.put(*file)


def _parts(key: PayloadKey, stream: Stream) -> Iterator[list[Value]]:
    """The values of a stream, some at a time."""
    values, count = iter(stream.values), 0
    while part := list(islice(values, _STREAMED)):
        count += len(part)
        yield part
    if count != stream.count:
        raise DataError(f"Payload {key!r} must have one value a node, {stream.count}, got {count} in its stream")


def _check_split(split: object) -> None:
    if split is not None and (not isinstance(split, str) or not split):
        raise DataError(f"Split must be a name or None, got {split!r}")
