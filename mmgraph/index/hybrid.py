"""Items found by their vectors and by the words of their texts, in one ranking."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from mmgraph.errors import ArtifactError, ConfigError, DataError
from mmgraph.files import check_seal, new_folder, read_json, seal, write_json
from mmgraph.index.base import Index
from mmgraph.index.bm25 import BM25
from mmgraph.index.inputs import check_choice, check_count
from mmgraph.index.saved import check_format, load
from mmgraph.index.searchable import Hit, Searchable

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

FORMAT, VERSION = "mmgraph.hybrid", 1
Method = Literal["rank", "score"]
METHODS: tuple[str, ...] = get_args(Method)
RANK_OFFSET = 60  # of Cormack et al.


def fuse_ranks(rankings: Sequence[np.ndarray], weights: Sequence[float] | None = None) -> tuple[np.ndarray, np.ndarray]:
    r"""Joins rankings by the places of their items alone (reciprocal rank fusion).

    Source: Cormack, Clarke & Büttcher, Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning
    Methods, 2009, doi:10.1145/1571941.1572114: :math:`s(d) = \sum_i w_i / (60 + r_i(d))`, ranks from 1; an item that is
    not in a ranking gets nothing from it.

    Args:
        rankings: Items, the best first, int64 ``[found]`` each.
        weights: One a ranking; None weighs all 1.

    Returns:
        Items, the best first, ties by number, and their scores.

    Example:
        >>> fuse_ranks([np.array([7, 3]), np.array([3, 5])])[0].tolist()
        [3, 7, 5]
    """
    weights = [1.0] * len(rankings) if weights is None else weights
    items, at = np.unique(np.concatenate([np.empty(0, dtype=np.int64), *rankings]), return_inverse=True)
    gains = [weight / (RANK_OFFSET + 1 + np.arange(len(one))) for one, weight in zip(rankings, weights, strict=True)]
    scores = np.bincount(at, np.concatenate([np.empty(0), *gains]), minlength=len(items))
    order = np.lexsort((items, -scores))
    return items[order], scores[order]


def fuse_scores(scores: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    r"""Joins the scores that several judges gave the same items.

    Source: Fox & Shaw, Combination of Multiple Searches, 1994 (CombSUM), each judge's scores brought to 0 to 1 first:
    :math:`\sum_i w_i (s_i - \min s_i) / (\max s_i - \min s_i)`, 0 from a judge who tells none from another.

    Args:
        scores: Of each judge, ``[items]``.
        weights: One a judge.

    Example:
        >>> fuse_scores([np.array([1.0, 3.0]), np.array([0.5, 0.5])], [0.7, 0.3]).tolist()
        [0.0, 0.7]
    """
    spread = [one - one.min(initial=np.inf) for one in scores]
    tops = [one.max(initial=0) for one in spread]
    return sum(
        (weight * (one / top if top > 0 else one) for one, top, weight in zip(spread, tops, weights, strict=True)),
        np.zeros(len(scores[0])),
    )


class Hybrid:
    """Searches by a vector and by words, and joins the two rankings.

    Each side names its ``depth`` best items. ``"rank"`` joins them by their places (`fuse_ranks`), ``"score"`` scores
    all of them on both sides exactly and joins the scores (`fuse_scores`). Words weigh ``weight``, vectors the rest.

    Args:
        index: An index, or the snapshot of a store.
        bm25: The texts of some or all items of the index, by the same ids; see `BM25.of`.
        weight: What words weigh, from 0 to 1.
        method: ``"rank"`` or ``"score"``.
        depth: How many items each side names; at least k are.

    Raises:
        ConfigError: An option is out of range.
        DataError: A text belongs to no item of the index.

    Example:
        >>> from mmgraph.index import Exact
        >>> index = Exact([[1, 0], [0, 1], [1, 1]], ["a", "b", "c"], metadata={"text": ["a cat", "a dog", "a bird"]})
        >>> hybrid = Hybrid(index, BM25.of(index))
        >>> [hit.id for hit in hybrid.search([1, 0], "dog")], [hit.id for hit in hybrid.search(None, "dog")]
        (['b', 'a', 'c'], ['b'])
    """

    def __init__(
        self, index: Searchable, bm25: BM25, *, weight: float = 0.5, method: Method = "rank", depth: int = 100
    ) -> None:
        check_choice("method", method, METHODS)
        check_count("depth", depth)
        if not 0 <= weight <= 1:
            raise ConfigError(f"Option 'weight' must be from 0 to 1, got {weight}; .5 weighs both alike")
        self.index = index
        self.bm25 = bm25
        self.weight = float(weight)
        self.method = method
        self.depth = int(depth)
        same = tuple(bm25.ids) == tuple(index.ids)
        rows = range(len(index)) if same else map(index.position, bm25.ids)
        self._rows = np.fromiter(rows, dtype=np.int64, count=len(bm25))  # the item of each text

    def search_arrays(
        self,
        vector: Any | None,
        text: str | None,
        k: int = 10,
        *,
        where: Mapping[str, Any] | None = None,
        exclude: Iterable[str] = (),
    ) -> tuple[np.ndarray, np.ndarray]:
        """Does what `search` does, as numbers: positions int64 and scores float64, both ``[found]``."""
        check_count("k", k)
        allowed = self.index.allowed(where, exclude)
        depth = max(self.depth, int(k))
        found = []
        if vector is not None:
            positions = self.index.search_arrays([vector], depth, where=where, exclude=exclude)[0][0]
            found.append((positions[positions >= 0], 1 - self.weight))
        if text is not None:
            texts = None if allowed is None else np.flatnonzero(np.isin(self._rows, allowed))
            found.append((self._rows[self.bm25.search_arrays(text, depth, allowed=texts)[0]], self.weight))
        if not found:
            raise ConfigError("A query must have a vector, a text, or both, got neither; give one")
        rankings, weights = zip(*found, strict=True)
        if self.method == "rank":
            items, scores = fuse_ranks(rankings, weights)
        else:
            items = np.unique(np.concatenate(rankings))
            scores = fuse_scores(self._scores(vector, text, items), weights)
        order = np.lexsort((items, -scores))[:k]
        return items[order], scores[order]

    def search(
        self,
        vector: Any | None,
        text: str | None,
        k: int = 10,
        *,
        where: Mapping[str, Any] | None = None,
        exclude: Iterable[str] = (),
    ) -> list[Hit]:
        """Finds the k best items for a vector and a text.

        Args:
            vector: Finite real numbers ``[channels]``, or None to search by words alone.
            text: The words, or None to search by the vector alone.
            k: How many hits, at least 1.
            where: See `Index.search`.
            exclude: See `Index.search`.

        Returns:
            At most k hits, the best first, ties in the order of the items; their scores are the joined ones.

        Raises:
            ConfigError: There is neither vector nor text; or see `Index.search`.
            DataError: See `Index.search`.
        """
        found = self.search_arrays(vector, text, k, where=where, exclude=exclude)
        return [self.index.hit(*pair) for pair in zip(*(one.tolist() for one in found), strict=True)]

    def save(self, folder: str | Path) -> None:
        """Writes index, words and options to a folder, whole or not at all. Nothing is pickled.

        Raises:
            ConfigError: It searches the snapshot of a store, which is on disk already.
        """
        if not isinstance(self.index, Index):
            raise ConfigError(
                f"Only a search over an index can be saved, got a {type(self.index).__name__}; save bm25 by itself, or "
                "make it again with BM25.of when the store is opened"
            )
        meta = {"format": FORMAT, "version": VERSION}
        options = {"weight": self.weight, "method": self.method, "depth": self.depth}
        with new_folder(Path(folder)) as draft:
            write_json(draft / "meta.json", {**meta, "options": options})
            self.index.save(draft / "index")
            self.bm25.save(draft / "bm25")
            seal(draft)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        fingerprint: str | None = None,
        model: str | None = None,
        subgraph: "Callable[[int], HeteroData] | None" = None,
    ) -> "Hybrid":
        """Reads what `save` wrote; see `mmgraph.index.load`."""
        folder = Path(folder)
        check_seal(folder)
        meta = read_json(folder / "meta.json")
        check_format(folder, meta, FORMAT, VERSION)
        index = load(folder / "index", fingerprint=fingerprint, model=model, subgraph=subgraph)
        try:
            return cls(index, BM25.load(folder / "bm25"), **meta["options"])
        except (KeyError, TypeError, ConfigError, DataError) as error:
            raise ArtifactError(
                f"Folder {str(folder)!r} must be as it was saved, but {type(error).__name__}: {error}; make it again"
            ) from error

    def _scores(self, vector: Any | None, text: str | None, items: np.ndarray) -> list[np.ndarray]:
        """The scores of each side that was asked, for all items that either named."""
        scores = []
        if vector is not None:
            scores.append(self.index.scores(vector, items))
        if text is not None:
            words = np.zeros(len(self.index))
            words[self._rows] = self.bm25.scores(text)
            scores.append(words[items])
        return scores
