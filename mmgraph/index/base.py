"""An index in memory; a kind of index only says which items are worth scoring."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import save_file

from mmgraph.files import new_folder, seal, write_json
from mmgraph.index.columns import Columns, check_column
from mmgraph.index.inputs import as_floats, as_ids, as_metadata, as_vectors, check_choice
from mmgraph.index.score import METRICS, Metric, best, best_rows, score, squares
from mmgraph.index.searchable import Hit, Searchable, unknown

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

FORMAT, VERSION = "mmgraph.index", 1


class Index(Searchable):
    """Vectors with ids and metadata that can be searched; see `score` for the metrics.

    Hits come in the order of their scores, the best first; ties come in the order of the items.

    Args:
        vectors: Array or tensor of finite real numbers ``[items, channels]``, copied to float32. There may be no
            item: then every search finds nothing.
        ids: One unique string an item.
        metadata: Columns to filter by and to show, ``{column: values}``, one JSON value an item.
        metric: ``"cosine"``, ``"dot"`` or ``"euclidean"``.
        fingerprint: The fingerprint of the schema that the vectors were made under.
        model: The digest of the model that made the vectors.
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
        model: str = "",
        subgraph: "Callable[[int], HeteroData] | None" = None,
    ) -> None:
        check_choice("metric", metric, METRICS)
        self.vectors = as_vectors(vectors)  # [items, channels]
        self.channels = self.vectors.shape[1]
        self.ids = as_ids(ids, len(self.vectors))
        self.metadata = as_metadata(metadata, len(self.vectors))
        self.metric = metric
        self.fingerprint = fingerprint
        self.model = model
        self.subgraph = subgraph
        self.options: dict[str, int] = {}  # of this kind of index, as they are saved
        self._columns = Columns(self.metadata, len(self.vectors))
        self._positions = {name: position for position, name in enumerate(self.ids)}
        self._squares = squares(self.vectors)  # [items]

    @abstractmethod
    def _candidates(
        self, queries: np.ndarray, k: int, allowed: np.ndarray | None
    ) -> "np.ndarray | Sequence[np.ndarray]":
        """Gives positions to score for each query, at least k, among the allowed (None: all) only.

        Args:
            queries: Float32 ``[queries, channels]``, at least one.
            k: From 1 to the number of allowed items.
            allowed: Positions, ascending int64 ``[allowed]``.

        Returns:
            One array a query, or ``[queries, candidates]`` where all have as many.
        """

    def position(self, id: str) -> int:
        """Returns the place of an item; see `Searchable.position`."""
        if id in self._positions:
            return self._positions[id]
        raise unknown(id, self.ids)

    def vector(self, id: str) -> np.ndarray:
        """Returns a copy of an item's vector, float32 ``[channels]``."""
        return self.vectors[self.position(id)].copy()

    def column(self, name: str) -> list[Any]:
        """Returns a column of the metadata, one value an item."""
        check_column(name, self.metadata)
        return self.metadata[name]

    def allowed(self, where: Mapping[str, Any] | None = None, exclude: Iterable[str] = ()) -> np.ndarray | None:
        """Returns the positions that a filter allows; see `Searchable.allowed`."""
        return self._columns.allowed(where, [self.position(name) for name in exclude])

    def scores(self, query: Any, positions: Any) -> np.ndarray:
        """Scores some items against one query; float64 ``[positions]``."""
        (row,) = self._checked(as_floats(query, "Query")[None])
        return score(row, self.vectors[np.asarray(positions, dtype=np.int64)], self.metric)

    def hit(self, position: int, score: float) -> Hit:
        """Makes the hit of an item that a search has found."""
        row = {column: values[position] for column, values in self.metadata.items()}
        graph = None if self.subgraph is None else self.subgraph(position)
        return Hit(self.ids[position], score, row, position, graph)

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
            "model": self.model,
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

    def _search(self, queries: np.ndarray, k: int, allowed: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        found = self._candidates(queries, k, allowed)
        if isinstance(found, np.ndarray):
            return best_rows(queries, self.vectors, self._squares, found, k, self.metric)
        return self._best_of(queries, found, k)

    def _best_of(self, queries: np.ndarray, found: Sequence[np.ndarray], k: int) -> tuple[np.ndarray, np.ndarray]:
        """Scores what was found for each query: most at once, one by one where ties have made it many."""
        sizes = np.array([len(one) for one in found])
        few = np.flatnonzero(sizes <= 2 * k + 16).tolist()
        padded = np.full((len(few), sizes[few].max(initial=k)), -1)
        for row, query in zip(padded, few, strict=True):
            row[: sizes[query]] = found[query]
        positions = np.empty((len(queries), k), dtype=np.int64)
        scores = np.empty((len(queries), k))
        positions[few], scores[few] = best_rows(queries[few], self.vectors, self._squares, padded, k, self.metric)
        for query in np.flatnonzero(sizes > 2 * k + 16).tolist():
            positions[query], scores[query] = best(queries[query], self.vectors, found[query], k, self.metric)
        return positions, scores
