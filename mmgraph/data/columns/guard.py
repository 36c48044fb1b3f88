"""What is checked when a sample is touched for the first time, and never again."""

from __future__ import annotations

import numpy as np

from mmgraph.data.columns.collate import Spans
from mmgraph.data.columns.columns import Column, Columns
from mmgraph.data.columns.contents import Contents
from mmgraph.data.columns.layout import UNIT, StoreLayout
from mmgraph.errors import ArtifactError


class Guard:
    """Lets a sample through whose bytes are the ones that were written, and whose offsets and edges stay within it.

    Args:
        columns: The columns.
        contents: How the samples lie in them.
    """

    def __init__(self, columns: Columns, contents: Contents) -> None:
        self._columns = columns
        self._stores = contents.layout.stores
        self._seen = np.zeros(contents.samples, dtype=bool)

    def admit(self, samples: np.ndarray) -> None:
        """Checks those samples that were not touched yet; ``[samples]``, each within range.

        Raises:
            ArtifactError: The bytes of one have changed, or its offsets fall, or an edge leads out of it.
        """
        seen = self._seen[samples]
        if seen.all():
            return
        new = np.unique(samples[~seen])
        spans = {UNIT: Spans(new, np.ones(len(new), dtype=np.int64), together=False)}
        for store in self._stores:
            self._admit_offsets(store.offsets, new, spans)
            for one in store.attributes:
                if one.kind == "count":
                    continue
                column = self._columns[one.column]
                span = self._admit_offsets(one.offsets, new, spans)
                column.check_ranges(span.starts, span.starts + span.lengths)
        for store in self._stores:
            if store.is_edge:
                self._admit_edges(store, spans, new)
        self._seen[new] = True

    def _admit_offsets(self, name: str, new: np.ndarray, spans: dict[str, Spans]) -> Spans:
        if name in spans:
            return spans[name]
        column = self._columns[name]
        column.check_ranges(new, new + 2)
        starts, stops = column.array[new], column.array[new + 1]
        check_offsets(column, new, starts, stops)
        spans[name] = Spans(starts, stops - starts, together=False)
        return spans[name]

    def _admit_edges(self, store: StoreLayout, spans: dict[str, Spans], new: np.ndarray) -> None:
        assert isinstance(store.type, tuple)
        (edges,) = (one for one in store.attributes if one.kind == "edges")
        column, span = self._columns[edges.column], spans[edges.offsets]
        ends = span.take_into(column, np.empty((span.total, 2), dtype=column.file.dtype))
        for end in (0, 1):
            node = store.type[2 * end]
            (offsets,) = (one.offsets for one in self._stores if one.type == node)
            limits = np.repeat(spans[offsets].lengths, span.lengths)
            wrong = (ends[:, end] < 0) | (ends[:, end] >= limits)
            if wrong.any():
                at = int(np.flatnonzero(wrong)[0])
                sample = int(new[np.searchsorted(span.slices, at, side="right") - 1])
                raise ArtifactError(
                    f"File {str(column.path)!r} must join nodes of {node!r} below {limits[at]} in sample {sample}, got "
                    f"{ends[at, end]}; write the collection again"
                )


def check_offsets(column: Column, samples: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> None:
    """Checks that the offsets of some samples, all ``[samples]``, do not fall, and stay within the rows there are.

    Raises:
        ArtifactError: Those of one do not; the message names it.
    """
    wrong = (starts < 0) | (stops < starts) | (stops > column.array[-1])
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        raise ArtifactError(
            f"File {str(column.path)!r} must hold offsets that do not fall, within {column.array[-1]} rows, got "
            f"{starts[at]} to {stops[at]} for sample {samples[at]}; write the collection again"
        )
