"""From columns to graphs: one sample, or many joined into the batch that PyTorch Geometric would make of them.

Joining graphs one by one costs a Python call an attribute and a sample. Here a batch costs a handful of numpy calls
an attribute, however many samples it has: the rows of all samples are one index, gathered at once.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from functools import cache, cached_property, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from mmgraph.data.columns.columns import Column
from mmgraph.data.columns.layout import UNIT, AttributeLayout, Layout, StoreLayout
from mmgraph.data.format import new_tensor

if TYPE_CHECKING:
    from torch_geometric.data import Batch, HeteroData

_LOW = np.int64(0xFFFFFFFF)
_MOST_SHARED = 1 << 14
"""Up to so many samples of one row each share what is the same for all of them."""


class Spans:
    """Where the rows of some samples lie in a column: sample ``i`` has ``lengths[i]`` rows from ``starts[i]`` on.

    Args:
        starts: First rows, ``[samples]``.
        lengths: Numbers of rows, ``[samples]``.
        together: Whether each sample begins where the one before ends.
    """

    def __init__(self, starts: np.ndarray, lengths: np.ndarray, *, together: bool) -> None:
        self.starts = starts
        self.lengths = lengths
        self.together = together
        self.single = bool((lengths == 1).all())  # each sample has exactly one row
        self.shared = _one_each(len(lengths)) if self.single and len(lengths) <= _MOST_SHARED else None
        if self.shared is not None:
            self.slices, self.slice_tensor = self.shared.slices, self.shared.slice_tensor
        else:
            self.slices = np.zeros(len(lengths) + 1, dtype=np.int64)  # [samples + 1], in the batch
            np.cumsum(lengths, out=self.slices[1:])
            self.slice_tensor = torch.from_numpy(self.slices)  # as PyTorch Geometric keeps them
        self.total = int(self.slices[-1])

    @cached_property
    def rows(self) -> np.ndarray:
        """The rows of all samples, ``[total]``."""
        if self.single:
            return self.starts
        rows = np.repeat(self.starts - self.slices[:-1], self.lengths)
        rows += np.arange(self.total)
        return rows

    @property
    def owners(self) -> torch.Tensor:
        """The place in the batch of each row's sample, ``[total]``."""
        if self.total == 0:
            return torch.empty(0, dtype=torch.int64)  # not numpy's, which has strides of 0
        if self.single:
            return torch.from_numpy(self.slices[:-1].copy())
        return torch.from_numpy(np.repeat(np.arange(len(self.lengths)), self.lengths))

    def take(self, column: Column, dtype: torch.dtype) -> torch.Tensor:
        """The rows of all samples, copied out of a column, ``[total, *shape]``."""
        tensor, plain = new_tensor((self.total, *column.shape), dtype)
        self.take_into(column, plain)
        return tensor

    def take_into(self, column: Column, out: np.ndarray) -> np.ndarray:
        """As :meth:`take`, into an array that is there, of the dtype of the file."""
        if self.total == 0:
            return out
        if self.together:
            column.file.read_into(int(self.starts[0]), out)
        elif column.file.mapped:
            column.array.take(self.rows, axis=0, out=out, mode="clip")  # all in range; "raise" would copy twice
        else:
            for start, first, last in zip(self.starts.tolist(), self.slices[:-1], self.slices[1:], strict=True):
                column.file.read_into(start, out[first:last])
        return out


class _OneEach(NamedTuple):
    """What all batches of so many samples share that have one row each; none of it is ever changed."""

    slices: np.ndarray  # [samples + 1]
    slice_tensor: torch.Tensor
    edges: np.ndarray  # [2, samples]: an edge a sample, between its only nodes
    incs: torch.Tensor  # [samples, 2, 1]


@lru_cache(maxsize=8)
def _one_each(samples: int) -> _OneEach:
    slices = np.arange(samples + 1)
    edges = np.stack((slices[:-1], slices[:-1]))
    return _OneEach(slices, torch.from_numpy(slices), edges, torch.from_numpy(edges.T[:, :, None].copy()))


class Collator:
    """Puts samples together again out of the columns that they were taken apart into.

    It trusts the columns: whoever calls has checked the samples' rows.

    Args:
        layout: Which columns there are.
        columns: Name → column; of offsets, ``[samples + 1]``.
    """

    def __init__(self, layout: Layout, columns: Mapping[str, Column]) -> None:
        self.layout = layout
        self._columns = dict(columns)
        offsets = {name for s in layout.stores for name in (s.offsets, *(one.offsets for one in s.attributes))}
        edges = {one.column for s in layout.stores for one in s.attributes if one.kind == "edges"}
        first: dict[Any, str] = {}
        self.same = {UNIT: UNIT} | {
            name: first.setdefault(_content(self._columns[name]), name) for name in sorted((offsets | edges) - {UNIT})
        }
        """Name of offsets or edges → the first of the same content, e.g. of all types that each sample has one of."""

    def spans(self, offsets: str, samples: np.ndarray, *, together: bool = False) -> Spans:
        """Where the rows of some samples lie in a column with these offsets; ``samples`` is ``[samples]``."""
        if offsets == UNIT:
            return Spans(samples, np.ones(len(samples), dtype=np.int64), together=together)
        ends = self._columns[offsets].array
        starts = ends[samples]
        return Spans(starts, ends[samples + 1] - starts, together=together)

    def sample(self, number: int) -> HeteroData:
        """One sample; its tensors are copies."""
        from torch_geometric.data import HeteroData

        graph = HeteroData()
        for store in self.layout.stores:
            mapping = _add_store(graph, store)
            for one in store.attributes:
                first, last = self._ends(store.offsets if one.kind == "count" else one.offsets, number)
                mapping[one.name] = last - first if one.kind == "count" else self._value(one, first, last)
        return graph

    def batch(self, samples: np.ndarray) -> Batch:
        """Some samples, joined.

        Args:
            samples: Their numbers, ``[samples]``, at least one, each within range.

        Returns:
            What ``Batch.from_data_list([self.sample(number) for number in samples])`` gives, bit for bit.
        """
        first = int(samples[0])
        together = int(samples[-1]) - first == len(samples) - 1 and bool((np.diff(samples) == 1).all())
        spans = _Memo(self, samples, together)
        zeros = torch.zeros(len(samples), dtype=torch.int64)
        batch = _empty_batch()
        slices: dict[Any, Any] = {}
        incs: dict[Any, Any] = {}
        for store in self.layout.stores:
            mapping = _add_store(batch, store)
            own_slices, own_incs = (slices, incs) if store.type is None else ({}, {})
            if store.type is not None:
                slices[store.type], incs[store.type] = own_slices, own_incs
            for one in store.attributes:
                if one.kind == "count":
                    counts = spans[store.offsets]
                    mapping[one.name] = counts.total
                    _private(batch, store)["_num_nodes"] = counts.lengths.tolist()
                    continue
                if one.kind in ("index", "edges"):
                    mapping[one.name], own_incs[one.name] = spans.joined(one, store)
                else:
                    mapping[one.name] = spans[one.offsets].take(self._columns[one.column], _dtype(one))
                    own_incs[one.name] = zeros
                own_slices[one.name] = spans[one.offsets].slice_tensor
            if self._batched[store.type]:
                counts = spans[store.offsets]
                mapping["batch"] = counts.owners
                mapping["ptr"] = torch.from_numpy(counts.slices.copy())
        private = batch.__dict__["_global_store"].__dict__
        private.update(_num_graphs=len(samples), _slice_dict=slices, _inc_dict=incs)
        return batch

    def _ends(self, offsets: str, number: int) -> tuple[int, int]:
        if offsets == UNIT:
            return number, number + 1
        ends = self._columns[offsets].array
        return int(ends[number]), int(ends[number + 1])

    def _value(self, one: AttributeLayout, first: int, last: int) -> torch.Tensor:
        column = self._columns[one.column]
        if one.kind in ("index", "edges"):
            tensor, plain = new_tensor((2, last - first), _dtype(one))
            rows = np.empty((last - first, 2), dtype=column.file.dtype)
            column.file.read_into(first, rows)
            plain[...] = rows.T
            return tensor
        tensor, plain = new_tensor((last - first, *column.shape), _dtype(one))
        column.file.read_into(first, plain)
        return tensor[0] if one.kind == "scalar" else tensor

    def _joined(self, one: AttributeLayout, store: StoreLayout, spans: _Memo) -> tuple[torch.Tensor, torch.Tensor]:
        """Indices of all samples, each raised by the nodes that come before its own; and by how much that is."""
        assert isinstance(store.type, tuple)
        ends = [spans[self._counts[node]] for node in (store.type[0], store.type[2])]
        source, target = (end.slices[:-1] for end in ends)
        span, column = spans[one.offsets], self._columns[one.column]
        if one.kind == "edges" and span.shared is not None and all(end.single for end in ends):
            return torch.from_numpy(span.shared.edges.copy()), span.shared.incs
        index = torch.empty((2, span.total), dtype=torch.int64)
        out = index.numpy()
        if one.kind == "edges" and max(end.total for end in ends) < 2**31:
            # both ends of an edge are one 64-bit number, source low: one gather and one addition for the two of them
            pairs = np.empty(span.total, dtype=np.int64)
            span.take_into(column, pairs.view(np.int32).reshape(-1, 2))
            raised = source + (target << 32)
            pairs += raised if span.single else np.repeat(raised, span.lengths)
            np.bitwise_and(pairs, _LOW, out=out[0])
            np.right_shift(pairs, 32, out=out[1])
        else:
            values = span.take_into(column, np.empty((span.total, 2), dtype=column.file.dtype))
            np.add(values[:, 0], np.repeat(source, span.lengths), out=out[0])
            np.add(values[:, 1], np.repeat(target, span.lengths), out=out[1])
        incs = np.stack((source, target), axis=1)[:, :, None]  # [samples, 2, 1]
        return index, torch.from_numpy(incs)

    @cached_property
    def _counts(self) -> dict[Any, str]:
        return {store.type: store.offsets for store in self.layout.stores}

    @cached_property
    def _batched(self) -> dict[Any, bool]:
        """Whether PyTorch Geometric adds ``batch`` and ``ptr`` to a type with these attributes."""
        from torch_geometric.data.storage import NodeStorage

        names = {store.type: [one.name for one in store.attributes] for store in self.layout.stores}
        return {
            kind: isinstance(kind, str) and NodeStorage(dict.fromkeys(keys, 0)).can_infer_num_nodes
            for kind, keys in names.items()
        }


class _Memo(dict[str, Spans]):
    """The spans of one batch, found once for all columns that share their offsets; so are indices that are equal."""

    def __init__(self, collator: Collator, samples: np.ndarray, together: bool) -> None:
        super().__init__()
        self._of = (collator, samples, together)
        self._joined: dict[Any, tuple[torch.Tensor, torch.Tensor]] = {}

    def __missing__(self, offsets: str) -> Spans:
        collator, samples, together = self._of
        first = collator.same[offsets]
        self[offsets] = collator.spans(first, samples, together=together) if first == offsets else self[first]
        return self[offsets]

    def joined(self, one: AttributeLayout, store: StoreLayout) -> tuple[torch.Tensor, torch.Tensor]:
        """The indices of an attribute, its own, and by how much each sample's are raised."""
        collator, *_ = self._of
        assert isinstance(store.type, tuple)
        names = (one.column, one.offsets, collator._counts[store.type[0]], collator._counts[store.type[2]])
        content = tuple([collator.same.get(name, name) for name in names])
        if (found := self._joined.get(content)) is not None:
            return found[0].clone(), found[1]
        self._joined[content] = found = collator._joined(one, store, self)
        return found


def _content(column: Column) -> Any:
    """Equal for columns that hold the same values."""
    return column.dtype, column.shape, column.rows, column.head.sha256


def _dtype(one: AttributeLayout) -> torch.dtype:
    return getattr(torch, one.dtype)


def _add_store(graph: Any, store: StoreLayout) -> dict[str, Any]:
    """Puts a store on a graph, and gives the mapping of its attributes.

    Filled directly: setting attributes one by one is a quarter of what a batch costs.
    """
    if store.type is None:
        return graph.__dict__["_global_store"].__dict__["_mapping"]
    kind = _storage(edge=store.is_edge)
    new = kind.__new__(kind)
    mapping: dict[str, Any] = {}
    new.__dict__.update(_mapping=mapping, _parent=weakref.ref(graph), _key=store.type)
    graph.__dict__["_edge_store_dict" if store.is_edge else "_node_store_dict"][store.type] = new
    return mapping


@cache
def _storage(*, edge: bool) -> Any:
    from torch_geometric.data.storage import EdgeStorage, NodeStorage

    return EdgeStorage if edge else NodeStorage


def _private(graph: Any, store: StoreLayout) -> dict[str, Any]:
    return graph.__dict__["_node_store_dict"][store.type].__dict__


@cache
def _prototype() -> Any:
    from torch_geometric.data import Batch, HeteroData

    return Batch(_base_cls=HeteroData)


def _empty_batch() -> Any:
    """What ``Batch(_base_cls=HeteroData)`` gives, whose constructor reads signatures anew each time."""
    from torch_geometric.data.storage import BaseStorage

    shared = BaseStorage.__new__(BaseStorage)
    prototype = _prototype()
    kind: Any = type(prototype)
    batch = kind.__new__(kind)
    batch.__dict__.update(prototype.__dict__, _global_store=shared)
    shared.__dict__.update(_mapping={}, _parent=weakref.ref(batch))
    batch.__dict__.update(_node_store_dict={}, _edge_store_dict={})
    return batch
