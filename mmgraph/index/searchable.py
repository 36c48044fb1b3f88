"""What can be searched: the calls that every index and every snapshot of a store answers."""

import difflib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mmgraph.errors import DataError
from mmgraph.index.inputs import as_floats, check_count, check_finite

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData


@dataclass(frozen=True, init=False)
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

    def __init__(
        self,
        id: str,
        score: float,
        metadata: Mapping[str, Any],
        position: int,
        subgraph: "HeteroData | None" = None,
    ) -> None:
        fields = self.__dict__  # a frozen dataclass sets one by one, which takes twice as long, and hits are many
        fields["id"] = id
        fields["score"] = score
        fields["metadata"] = metadata
        fields["position"] = position
        fields["subgraph"] = subgraph


class Searchable(ABC):
    """Items with ids, vectors and metadata, in an order; found by vectors.

    Hits come in the order of their scores, the best first; ties come in the order of the items. `search`,
    `search_batch` and `search_id` give `Hit`; `search_arrays` gives numbers, and is the one to build upon.

    Attributes:
        ids: One unique string an item.
        channels: Width of a vector.
        metric: ``"cosine"``, ``"dot"`` or ``"euclidean"``; see `score`.
        fingerprint: The fingerprint of the schema that the vectors were made under.
        model: The digest of the model that made the vectors.
    """

    ids: Sequence[str]
    channels: int
    metric: str
    fingerprint: str
    model: str

    def __len__(self) -> int:
        return len(self.ids)

    @abstractmethod
    def position(self, id: str) -> int:
        """Returns the place of an item.

        Raises:
            DataError: The id is unknown; the message names close ones.
        """

    @abstractmethod
    def vector(self, id: str) -> np.ndarray:
        """Returns a copy of an item's vector, float32 ``[channels]``.

        Raises:
            DataError: The id is unknown; the message names close ones.
        """

    @abstractmethod
    def column(self, name: str) -> list[Any]:
        """Returns a column of the metadata, one value an item.

        Raises:
            ConfigError: There is no such column.
        """

    @abstractmethod
    def allowed(self, where: Mapping[str, Any] | None = None, exclude: Iterable[str] = ()) -> np.ndarray | None:
        """Returns the positions that a filter allows, ascending int64 ``[allowed]``; None where it allows all.

        Raises:
            DataError: An excluded id is unknown.
            ConfigError: A column of ``where`` is unknown.
        """

    @abstractmethod
    def scores(self, query: Any, positions: Any) -> np.ndarray:
        """Scores some items against one query; float64 ``[positions]``.

        Raises:
            DataError: The query has another width or is not finite.
        """

    @abstractmethod
    def hit(self, position: int, score: float) -> Hit:
        """Makes the hit of an item that a search has found."""

    @abstractmethod
    def _search(self, queries: np.ndarray, k: int, allowed: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Finds the k best allowed items of each checked query; k is from 1 to their number, queries at least 1."""

    def search_arrays(
        self, queries: Any, k: int = 10, *, where: Mapping[str, Any] | None = None, exclude: Iterable[str] = ()
    ) -> tuple[np.ndarray, np.ndarray]:
        """Finds the k best items for each of several queries, as numbers.

        Args:
            queries: Finite real numbers ``[queries, channels]``.
            k: How many, at least 1.
            where: Allowed metadata, ``{column: value, or a set, list or tuple of values}``; an item must
                satisfy all columns.
            exclude: Ids to leave out.

        Returns:
            Positions int64 and scores float64, both ``[queries, min(k, items)]``. Where fewer items are allowed,
            the rest is −1 and −∞.

        Raises:
            DataError: The queries have another width or are not finite, or an excluded id is unknown.
            ConfigError: ``k`` is below 1, or a column of ``where`` is unknown.
        """
        check_count("k", k)
        rows = self._checked(as_floats(queries, "Queries"))
        allowed = self.allowed(where, exclude)
        width = min(int(k), len(self))
        fetch = width if allowed is None else min(width, len(allowed))
        positions = np.full((len(rows), width), -1)
        scores = np.full((len(rows), width), -np.inf)
        if fetch > 0 and len(rows) > 0:
            positions[:, :fetch], scores[:, :fetch] = self._search(rows, fetch, allowed)
        return positions, scores

    def search_batch(
        self, queries: Any, k: int = 10, *, where: Mapping[str, Any] | None = None, exclude: Iterable[str] = ()
    ) -> list[list[Hit]]:
        """Finds the k best items for each of several queries ``[queries, channels]``; see `search`."""
        found = self.search_arrays(queries, k, where=where, exclude=exclude)
        hit = self.hit
        return [
            [hit(*pair) for pair in zip(positions, scores, strict=True) if pair[0] >= 0]
            for positions, scores in zip(*(array.tolist() for array in found), strict=True)
        ]

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

    def search_id(
        self, id: str, k: int = 10, *, where: Mapping[str, Any] | None = None, exclude: Iterable[str] = ()
    ) -> list[Hit]:
        """Finds the k items nearest to an item of the index, itself left out; see `search`."""
        return self.search(self.vector(id), k, where=where, exclude=[*exclude, id])

    def _checked(self, rows: np.ndarray) -> np.ndarray:
        if rows.ndim != 2 or rows.shape[1] != self.channels:
            raise DataError(
                f"Queries must be as wide as the index, shape [queries, {self.channels}], "
                f"got {list(rows.shape)}; encode them with the encoder that made the index"
            )
        check_finite(rows, "Queries")
        return rows


def unknown(id: str, ids: Sequence[str]) -> DataError:
    """Says that an id is not among those of an index, and which are close."""
    if not ids:
        return DataError(f"Id must be one of the index, which is empty, got {id!r}; add items first")
    close = difflib.get_close_matches(str(id), ids[:100_000], n=3)  # more would take seconds
    advice = f"did you mean one of {close}?" if close else f"ids look like {ids[0]!r}"
    return DataError(f"Id must be one of the {len(ids)} in the index, got {id!r}; {advice}")
