"""What every index does; a kind of index only says which items are worth scoring."""

import difflib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import save_file

from mmgraph.errors import ConfigError, DataError
from mmgraph.files import new_folder, seal, write_json
from mmgraph.index.inputs import (
    as_floats,
    as_ids,
    as_metadata,
    as_vectors,
    check_choice,
    check_count,
    check_finite,
)
from mmgraph.index.score import METRICS, Metric, best, squares

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

FORMAT, VERSION = "mmgraph.index", 1


@dataclass(frozen=True)
class Hit:
    """One item found by a search.

    Attributes:
        id: The item's id.
        score: How near it is to the query; larger is better.
        metadata: The item's row of the metadata, ``{column: value}``.
        position: The item's place in the index, from 0.
        subgraph: The graph that the item stands for, where the index was given ``subgraph``.
    """

    id: str
    score: float
    metadata: Mapping[str, Any]
    position: int
    subgraph: "HeteroData | None" = None


class Index(ABC):
    """Vectors with ids and metadata that can be searched; see `score` for the metrics.

    Hits come in the order of their scores, the best first; ties come in the order of the items.

    Args:
        vectors: Array or tensor of finite real numbers ``[items, channels]``, copied to float32.
        ids: One unique string an item.
        metadata: Columns to filter by and to show, ``{column: values}``, one JSON value an item.
        metric: ``"cosine"``, ``"dot"`` or ``"euclidean"``.
        fingerprint: The fingerprint of the schema that the vectors were made under.
        subgraph: Gives the graph of the item at a position; fills ``Hit.subgraph``.

    Raises:
        DataError: Vectors, ids and metadata do not fit together, or a number is not finite.
        ConfigError: The metric is unknown.
    """

    kind: str

    def __init__(
        self,
        vectors: Any,
        ids: Iterable[str],
        *,
        metadata: Mapping[str, Sequence[Any]] | None = None,
        metric: Metric = "cosine",
        fingerprint: str = "",
        subgraph: "Callable[[int], HeteroData] | None" = None,
    ) -> None:
        check_choice("metric", metric, METRICS)
        self.vectors = as_vectors(vectors)  # [items, channels]
        self.ids = as_ids(ids, len(self.vectors))
        self.metadata = as_metadata(metadata, len(self.vectors))
        self.metric = metric
        self.fingerprint = fingerprint
        self.subgraph = subgraph
        self.options: dict[str, int] = {}  # of this kind of index, as they are saved
        self._positions = {name: position for position, name in enumerate(self.ids)}
        self._squares = squares(self.vectors)  # [items]

    @abstractmethod
    def _candidates(self, queries: np.ndarray, k: int, allowed: np.ndarray | None) -> list[np.ndarray]:
        """Gives positions to score for each query, at least k, among the allowed (None: all) only.

        Args:
            queries: Float32 ``[queries, channels]``, at least one.
            k: From 1 to the number of allowed items.
            allowed: Positions, ascending int64 ``[allowed]``.
        """

    def __len__(self) -> int:
        return len(self.ids)

    def vector(self, id: str) -> np.ndarray:
        """Returns a copy of an item's vector, float32 ``[channels]``.

        Raises:
            DataError: The id is unknown; the message names close ones.
        """
        return self.vectors[self._position(id)].copy()

    def search(
        self, query: Any, k: int = 10, *, where: Mapping[str, Any] | None = None, exclude: Iterable[str] = ()
    ) -> list[Hit]:
        """Finds the k best items for one query.

        Args:
            query: Finite real numbers ``[channels]``.
            k: How many hits, at least 1; fewer come back where fewer items are allowed.
            where: Allowed metadata, ``{column: value, or a set, list or tuple of values}``; an item must
                satisfy all columns.
            exclude: Ids to leave out.

        Returns:
            At most k hits, the best first.

        Raises:
            DataError: The query has another width or is not finite, or an excluded id is unknown.
            ConfigError: ``k`` is below 1, or a column of ``where`` is unknown.
        """
        row = as_floats(query, "Query")
        if row.ndim != 1:
            raise DataError(
                f"Query must have shape [channels], got {list(row.shape)}; search_batch takes several queries"
            )
        return self.search_batch(row[None], k, where=where, exclude=exclude)[0]

    def search_batch(
        self,
        queries: Any,
        k: int = 10,
        *,
        where: Mapping[str, Any] | None = None,
        exclude: Iterable[str] = (),
    ) -> list[list[Hit]]:
        """Finds the k best items for each of several queries ``[queries, channels]``; see `search`."""
        check_count("k", k)
        rows = as_floats(queries, "Queries")
        if rows.ndim != 2 or rows.shape[1] != self.vectors.shape[1]:
            raise DataError(
                f"Queries must be as wide as the index, shape [queries, {self.vectors.shape[1]}], "
                f"got {list(rows.shape)}; encode them with the encoder that made the index"
            )
        check_finite(rows, "Queries")
        allowed = self._allowed(where, exclude)
        k = min(int(k), len(self) if allowed is None else len(allowed))
        if k == 0 or len(rows) == 0:
            return [[] for _ in rows]
        found = self._candidates(rows, k, allowed)
        return [self._hits(row, candidates, k) for row, candidates in zip(rows, found, strict=True)]

    def search_id(
        self, id: str, k: int = 10, *, where: Mapping[str, Any] | None = None, exclude: Iterable[str] = ()
    ) -> list[Hit]:
        """Finds the k items nearest to an item of the index, itself left out; see `search`."""
        return self.search(self.vector(id), k, where=where, exclude=[*exclude, id])

    def save(self, folder: str | Path) -> None:
        """Writes the index to a folder, whole or not at all; `load` reads it. Nothing is pickled.

        An older index in the folder stays readable until the new one is complete. Subgraphs are not
        written: give ``subgraph`` to `load`.
        """
        meta = {
            "format": FORMAT,
            "version": VERSION,
            "kind": self.kind,
            "metric": self.metric,
            "shape": list(self.vectors.shape),
            "fingerprint": self.fingerprint,
            "options": self.options,
            "ids": self.ids,
            "metadata": self.metadata,
        }
        with new_folder(Path(folder)) as draft:
            write_json(draft / "meta.json", meta)
            save_file({"vectors": self.vectors}, draft / "vectors.safetensors")
            self._write(draft)
            seal(draft)

    @abstractmethod
    def _write(self, folder: Path) -> None:
        """Writes what this kind of index needs beside its vectors."""

    def _position(self, id: str) -> int:
        if id in self._positions:
            return self._positions[id]
        close = difflib.get_close_matches(str(id), self.ids[:100_000], n=3)  # more would take seconds
        advice = f"did you mean one of {close}?" if close else f"ids look like {self.ids[0]!r}"
        raise DataError(f"Id must be one of the {len(self)} in the index, got {id!r}; {advice}")

    def _allowed(self, where: Mapping[str, Any] | None, exclude: Iterable[str]) -> np.ndarray | None:
        left_out = [self._position(name) for name in exclude]
        if not where and not left_out:
            return None
        keep = np.ones(len(self), dtype=bool)
        keep[left_out] = False
        for column, value in (where or {}).items():
            keep &= self._matches(column, value)
        return np.flatnonzero(keep)

    def _matches(self, column: str, value: Any) -> np.ndarray:
        if column not in self.metadata:
            raise ConfigError(
                f"Option 'where' must name metadata columns {list(self.metadata)}, got {column!r}; "
                "give the column to the index when it is built"
            )
        wanted = value if isinstance(value, (set, frozenset, list, tuple)) else (value,)
        values = self.metadata[column]
        try:
            chosen = frozenset(wanted)
            return np.array([item in chosen for item in values], dtype=bool)
        except TypeError:  # lists and dicts can't be hashed: compare one by one
            return np.array([item in list(wanted) for item in values], dtype=bool)

    def _hits(self, query: np.ndarray, candidates: np.ndarray, k: int) -> list[Hit]:
        positions, scores = best(query, self.vectors, candidates, k, self.metric)
        return [self._hit(*pair) for pair in zip(positions.tolist(), scores.tolist(), strict=True)]

    def _hit(self, position: int, score: float) -> Hit:
        row = {column: values[position] for column, values in self.metadata.items()}
        graph = None if self.subgraph is None else self.subgraph(position)
        return Hit(id=self.ids[position], score=score, metadata=row, position=position, subgraph=graph)
