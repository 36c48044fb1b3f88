"""Items of several vectors each, found by late interaction."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from mmgraph.errors import ArtifactError, DataError
from mmgraph.files import check_seal, new_folder, read_json, seal, write_json
from mmgraph.index.base import Index
from mmgraph.index.columns import Columns
from mmgraph.index.exact import Exact
from mmgraph.index.faiss import Faiss
from mmgraph.index.inputs import as_floats, as_ids, as_metadata, check_choice, check_count, check_finite
from mmgraph.index.saved import check_format, check_origin, load
from mmgraph.index.score import BLOCK
from mmgraph.index.searchable import Hit, unknown

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

FORMAT, VERSION = "mmgraph.multi_vector", 1
KINDS = ("exact", "hnsw", "ivf", "ivfpq")


class MultiVector:
    r"""Finds items of several vectors by queries of several vectors: words by words, regions by words.

    Source: Khattab & Zaharia, ColBERT: Efficient and Effective Passage Search via Contextualized Late Interaction over
    BERT, 2020, arXiv:2004.12832 (MaxSim; ColBERT's vectors have length 1):

    .. math:: s(q, d) = \sum_i \max_j q_i \cdot d_j

    ``"exact"`` scores all items. The other kinds score, exactly, those that hold one of the ``depth`` nearest vectors
    of any of the query's, and all where these are fewer than k. Hits come the best first, ties in the order of the
    items. An item without vectors is never found.

    Args:
        items: The vectors of each item, finite real numbers ``[vectors, channels]``; an item may have none.
        ids: One unique string an item.
        metadata: See `Index`.
        kind: ``"exact"``, or the kind of `Faiss` that finds the nearest vectors.
        depth: How many vectors are found for each of the query's.
        fingerprint: See `Index`.
        model: See `Index`.
        subgraph: See `Index`.

    Raises:
        DataError: Items, ids and metadata do not fit together, or a number is not finite.
        ConfigError: An option is out of range.

    Example:
        >>> index = MultiVector([[[1, 0], [0, 1]], [[1, 1]], [[3, 0]]], ["both", "one", "long"])
        >>> [(hit.id, hit.score) for hit in index.search([[1, 0], [0, 2]])]
        [('both', 3.0), ('one', 3.0), ('long', 3.0)]
    """

    def __init__(
        self,
        items: Iterable[Any],
        ids: Iterable[str],
        *,
        metadata: Mapping[str, Sequence[Any]] | None = None,
        kind: str = "exact",
        depth: int = 64,
        fingerprint: str = "",
        model: str = "",
        subgraph: "Callable[[int], HeteroData] | None" = None,
    ) -> None:
        check_choice("kind", kind, KINDS)
        parts = [as_floats(one, f"Item {number}") for number, one in enumerate(items)]
        vectors = _stacked(parts)
        origin: dict[str, Any] = {"metric": "dot", "fingerprint": fingerprint, "model": model}
        names = map(str, range(len(vectors)))
        index = Exact(vectors, names, **origin) if kind == "exact" else Faiss(vectors, names, kind=kind, **origin)  # type: ignore[arg-type]
        self._fill(index, np.array([len(one) for one in parts], dtype=np.int64), ids, metadata, depth, subgraph)

    def _fill(
        self,
        index: Index,
        lengths: np.ndarray,
        ids: Iterable[str],
        metadata: Mapping[str, Sequence[Any]] | None,
        depth: int,
        subgraph: "Callable[[int], HeteroData] | None",
    ) -> None:
        check_count("depth", depth)
        self.index = index  # of the vectors
        self.lengths = lengths  # [items]
        self.ids = as_ids(ids, len(lengths), "items")
        self.metadata = as_metadata(metadata, len(lengths), "items")
        self.depth = int(depth)
        self.subgraph = subgraph
        self._columns = Columns(self.metadata, len(lengths))
        self._positions = {name: position for position, name in enumerate(self.ids)}
        self._starts = np.cumsum(lengths) - lengths  # the first vector of each item
        self._items = np.repeat(np.arange(len(lengths)), lengths)  # [vectors], the item of each

    def __len__(self) -> int:
        return len(self.ids)

    def position(self, id: str) -> int:
        """Returns the place of an item.

        Raises:
            DataError: The id is unknown; the message names close ones.
        """
        if id in self._positions:
            return self._positions[id]
        raise unknown(id, self.ids)

    def scores(self, query: Any, positions: Any) -> np.ndarray:
        """Scores some items against one query; float64 ``[positions]``, −∞ for an item without vectors."""
        return self._scores(self._checked(query), np.asarray(positions, dtype=np.int64))

    def search_arrays(
        self,
        query: Any,
        k: int = 10,
        *,
        where: Mapping[str, Any] | None = None,
        exclude: Iterable[str] = (),
        exact: bool = False,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Does what `search` does, as numbers: positions int64 and scores float64, both ``[found]``."""
        check_count("k", k)
        rows = self._checked(query)
        keep = self.lengths > 0
        allowed = self._columns.allowed(where, [self.position(name) for name in exclude])
        if allowed is not None:
            keep &= np.isin(np.arange(len(self)), allowed)
        k = min(int(k), int(keep.sum()))
        if k == 0:
            return np.empty(0, dtype=np.int64), np.empty(0)
        positions = None if exact or self.index.kind == "exact" else self._near(rows, k, keep)
        if positions is None:
            positions = self._screen(rows, k, np.flatnonzero(keep))
        scores = self._scores(rows, positions)
        order = np.lexsort((positions, -scores))[:k]
        return positions[order], scores[order]

    def search(
        self,
        query: Any,
        k: int = 10,
        *,
        where: Mapping[str, Any] | None = None,
        exclude: Iterable[str] = (),
        exact: bool = False,
    ) -> list[Hit]:
        """Finds the k best items for one query.

        Args:
            query: Finite real numbers ``[vectors, channels]``, at least one vector.
            k: How many hits, at least 1; fewer come back where fewer items are allowed.
            where: See `Index.search`.
            exclude: See `Index.search`.
            exact: Whether to score all items in any case.

        Raises:
            DataError: The query has another width, no vector or a number that is not finite; or an excluded id is
                unknown.
            ConfigError: ``k`` is below 1, or a column of ``where`` is unknown.
        """
        found = self.search_arrays(query, k, where=where, exclude=exclude, exact=exact)
        return [self._hit(*pair) for pair in zip(*(one.tolist() for one in found), strict=True)]

    def save(self, folder: str | Path) -> None:
        """Writes the index to a folder, whole or not at all. Nothing is pickled, and subgraphs are not written."""
        meta = {"format": FORMAT, "version": VERSION, "depth": self.depth, "ids": self.ids, "metadata": self.metadata}
        with new_folder(Path(folder)) as draft:
            write_json(draft / "meta.json", meta)
            save_file({"lengths": self.lengths}, draft / "lengths.safetensors")
            self.index.save(draft / "vectors")
            seal(draft)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        fingerprint: str | None = None,
        model: str | None = None,
        subgraph: "Callable[[int], HeteroData] | None" = None,
    ) -> "MultiVector":
        """Reads what `save` wrote; see `mmgraph.index.load`."""
        folder = Path(folder)
        check_seal(folder)
        meta = read_json(folder / "meta.json")
        check_format(folder, meta, FORMAT, VERSION)
        index = load(folder / "vectors")
        check_origin(folder, vars(index), fingerprint=fingerprint, model=model)
        try:
            lengths = load_file(folder / "lengths.safetensors")["lengths"]
            if lengths.min(initial=0) < 0 or lengths.sum() != len(index):
                raise DataError(f"the items must have {len(index)} vectors, got {lengths.sum()}")
            made = cls.__new__(cls)
            made._fill(index, lengths, meta["ids"], meta["metadata"], meta["depth"], subgraph)
            return made
        except (AttributeError, KeyError, TypeError, ValueError, SafetensorError) as error:
            raise ArtifactError(
                f"Folder {str(folder)!r} must be as it was saved, but {type(error).__name__}: {error}; make it again"
            ) from error

    def _checked(self, query: Any) -> np.ndarray:
        rows = as_floats(query, "Query")
        if rows.ndim != 2 or len(rows) == 0 or rows.shape[1] != self.index.channels:
            raise DataError(
                f"Query must have shape [vectors, {self.index.channels}], at least one vector, got "
                f"{list(rows.shape)}; encode it with the encoder that made the index"
            )
        check_finite(rows, "Query")
        return rows

    def _near(self, query: np.ndarray, k: int, keep: np.ndarray) -> np.ndarray | None:
        """The items that hold a vector near to one of the query's; None where they are too few."""
        allowed = None if keep[self._items].all() else np.flatnonzero(keep[self._items])
        depth = min(self.depth, len(self._items) if allowed is None else len(allowed))
        near = np.unique(self._items[self.index._search(query, depth, allowed)[0]])
        return near if len(near) >= k else None

    def _screen(self, query: np.ndarray, k: int, items: np.ndarray) -> np.ndarray:
        """A superset of the k best items: matrix products round otherwise than `_scores`, by some ulp."""
        rough = self._blocks(query, items, lambda rows: query.astype(np.float64) @ rows.T)
        longest = np.sqrt(self.index._squares.max())
        size = np.linalg.norm(query.astype(np.float64), axis=1).sum() * longest
        error = (query.shape[1] + len(query) + 8) * 2.0**-51 * size
        return items[rough >= np.partition(rough, -k)[-k] - 2 * error]

    def _scores(self, query: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Scores that depend on the item's vectors alone, to the last bit."""
        wide = query.astype(np.float64)
        scores = np.full(len(items), -np.inf)
        some = self.lengths[items] > 0
        scores[some] = self._blocks(query, items[some], lambda rows: np.einsum("qc,vc->qv", wide, rows))
        return scores

    def _blocks(self, query: np.ndarray, items: np.ndarray, products: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Sums, over the query's vectors, the best product with any vector of each item, block by block."""
        lengths = self.lengths[items]
        ends = np.cumsum(lengths)
        room = max(1, BLOCK // max(query.shape))
        cuts = np.unique(np.searchsorted(ends, np.arange(room, ends[-1], room) if len(items) else []))
        found = [np.empty(0)]
        for part in np.split(np.arange(len(items)), cuts):
            if len(part):
                first = np.cumsum(lengths[part]) - lengths[part]
                rows = np.arange(lengths[part].sum()) + np.repeat(self._starts[items[part]] - first, lengths[part])
                near = products(self.index.vectors[rows].astype(np.float64))  # [query's vectors, vectors]
                found.append(np.maximum.reduceat(near, first, axis=1).sum(axis=0))
        return np.concatenate(found)

    def _hit(self, position: int, score: float) -> Hit:
        graph = None if self.subgraph is None else self.subgraph(position)
        row = {column: values[position] for column, values in self.metadata.items()}
        return Hit(self.ids[position], score, row, position, graph)


def _stacked(parts: Sequence[np.ndarray]) -> np.ndarray:
    widths = {one.shape[1] for one in parts if one.ndim == 2}
    for number, one in enumerate(parts):
        if one.ndim != 2 or len(widths) > 1:
            raise DataError(
                f"Items must have shape [vectors, channels], all as wide, got {list(one.shape)} for item {number} and "
                f"widths {sorted(widths)}; np.empty((0, channels)) has no vector"
            )
    if not parts:
        raise DataError("Items must be at least one, so that their width is known; got none")
    return np.concatenate(parts)
