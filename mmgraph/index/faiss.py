"""Search with faiss: all items, or some of them, chosen by a graph or by cells."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from mmgraph.errors import ConfigError, DataError
from mmgraph.index.base import Index
from mmgraph.index.exact import margin, screen
from mmgraph.index.inputs import check_choice, check_count
from mmgraph.index.score import Metric, unit
from mmgraph.optional import require

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

Kind = Literal["flat", "hnsw", "ivf"]
KINDS: tuple[str, ...] = get_args(Kind)
LONGEST = 1e18  # float32 still holds the squared distance of two such vectors
POINTS = 39  # vectors a cell that faiss wants for k-means


class Faiss(Index):
    """Searches with faiss; scores and order are then computed as `Exact` computes them.

    Sources: Johnson, Douze & Jégou, Billion-scale similarity search with GPUs, 2019, arXiv:1702.08734
    (faiss); Malkov & Yashunin, Efficient and robust approximate nearest neighbor search using Hierarchical
    Navigable Small World graphs, 2018, arXiv:1603.09320 (hnsw); Jégou, Douze & Schmid, Product quantization
    for nearest neighbor search, 2011, doi:10.1109/TPAMI.2010.57 (ivf: the inverted file, without codes).

    ``flat`` gives the answer of `Exact`, ties included. ``hnsw`` and ``ivf`` may miss items, never more of
    them than to leave fewer than k hits: where faiss finds too few, all allowed items are searched. Builds
    use one thread and fixed seeds, so equal vectors make equal indexes.

    Args:
        vectors: See `Index`, as all arguments up to ``subgraph``.
        ids: See `Index`.
        metadata: See `Index`.
        metric: See `Index`. Cosine searches vectors scaled to length 1; zero vectors stay and score 0.
        fingerprint: See `Index`.
        subgraph: See `Index`.
        kind: ``"flat"``, ``"hnsw"`` or ``"ivf"``.
        links: For hnsw, neighbours an item, at least 2; more is better, larger and slower to build.
        ef_construction: For hnsw, breadth of the walk when an item is added.
        ef_search: For hnsw, breadth of the walk in a search; at least k is used.
        cells: For ivf, k-means cells; None takes ``4 √items``, with at least 39 items a cell.
        probes: For ivf, cells that a search looks into.
        built: A faiss index made of the same vectors earlier; None builds it.

    Raises:
        MissingPackageError: faiss is not installed.
        DataError: See `Index`; or vectors are too long for the float32 of hnsw and ivf.
        ConfigError: The kind is unknown, an option is out of range, or ``built`` holds other vectors.

    Example:
        >>> index = Faiss([[1, 0], [0, 1], [1, 1]], ["cat", "dog", "both"], metric="euclidean", kind="hnsw")
        >>> [(hit.id, hit.score) for hit in index.search([0, 3], k=2)]
        [('dog', -2.0), ('both', -2.23606797749979)]
    """

    def __init__(
        self,
        vectors: Any,
        ids: Iterable[str],
        *,
        metadata: Mapping[str, Sequence[Any]] | None = None,
        metric: Metric = "cosine",
        fingerprint: str = "",
        subgraph: "Callable[[int], HeteroData] | None" = None,
        kind: Kind = "flat",
        links: int = 32,
        ef_construction: int = 200,
        ef_search: int = 64,
        cells: int | None = None,
        probes: int = 8,
        built: Any = None,
    ) -> None:
        faiss = require("faiss", extra="index")
        super().__init__(vectors, ids, metadata=metadata, metric=metric, fingerprint=fingerprint, subgraph=subgraph)
        check_choice("kind", kind, KINDS)
        cells = _default_cells(len(self)) if cells is None else cells
        check_count("links", links, least=2)
        check_count("ef_construction", ef_construction)
        check_count("ef_search", ef_search)
        check_count("cells", cells, most=len(self))
        check_count("probes", probes)
        self.kind = kind
        if kind == "hnsw":
            self.options = {
                "links": int(links),
                "ef_construction": int(ef_construction),
                "ef_search": int(ef_search),
            }
        if kind == "ivf":
            self.options = {"cells": int(cells), "probes": int(probes)}
        self._distance = faiss.METRIC_L2 if metric == "euclidean" else faiss.METRIC_INNER_PRODUCT
        self._check_lengths()
        self._built = self._build(faiss) if built is None else built
        self._check_built(faiss)

    def _build(self, faiss: ModuleType) -> Any:
        channels = self.vectors.shape[1]
        if self.kind == "hnsw":
            built = faiss.IndexHNSWFlat(channels, self.options["links"], self._distance)
            built.hnsw.efConstruction = self.options["ef_construction"]
        elif self.kind == "ivf":
            built = faiss.IndexIVFFlat(
                faiss.IndexFlat(channels, self._distance), channels, self.options["cells"], self._distance
            )
            built.cp.min_points_per_centroid = 1  # cells that the user chose may hold few
        else:
            built = faiss.IndexFlat(channels, self._distance)
        with _one_thread(faiss):
            vectors = self._prepared(self.vectors)
            built.train(vectors)
            built.add(vectors)
        return built

    def _check_lengths(self) -> None:
        longest = float(np.sqrt(self._squares.max()))
        if self.kind != "flat" and self.metric != "cosine" and longest > LONGEST:  # k-means would abort
            raise DataError(
                f"Vectors must be at most {LONGEST:g} long for kind {self.kind!r} under {self.metric!r}, got length "
                f"{longest:.3g}; scale them, or use kind 'flat'"
            )

    def _check_built(self, faiss: ModuleType) -> None:
        kinds = {"flat": faiss.IndexFlat, "hnsw": faiss.IndexHNSWFlat, "ivf": faiss.IndexIVFFlat}
        if not isinstance(self._built, kinds[self.kind]):
            raise ConfigError(
                f"Option 'built' must be a faiss {kinds[self.kind].__name__} for kind {self.kind!r}, "
                f"got {type(self._built).__name__}; leave it out to build it again"
            )
        must = (*self.vectors.shape, self._distance)
        got = (self._built.ntotal, self._built.d, self._built.metric_type)
        if must != got:
            raise ConfigError(
                f"Option 'built' must hold these vectors: items, channels and metric {must}, got {got}; "
                "leave it out to build it again"
            )

    def _prepared(self, vectors: np.ndarray) -> np.ndarray:
        return unit(vectors) if self.metric == "cosine" else vectors

    def _candidates(self, queries: np.ndarray, k: int, allowed: np.ndarray | None) -> list[np.ndarray]:
        count = len(self) if allowed is None else len(allowed)
        fetch = min(count, 2 * k + 16) if self.kind == "flat" else k  # room to see past ties
        distances, found = self._built.search(
            self._prepared(queries), fetch, params=self._parameters(fetch, allowed)
        )  # both [queries, fetch]
        enough = (found >= 0).all(axis=1)  # [queries]
        if fetch < count and self.kind == "flat":
            enough &= self._past_ties(queries, distances, k)
        rest = iter(screen(queries[~enough], self.vectors, self._squares, k, self.metric, allowed))
        return [row if good else next(rest) for row, good in zip(found, enough, strict=True)]

    def _past_ties(self, queries: np.ndarray, distances: np.ndarray, k: int) -> np.ndarray:
        """Says for which queries all items that could be among the k best were fetched, ``[queries]``."""
        better = (-distances if self.metric == "euclidean" else distances).astype(np.float64)
        with np.errstate(invalid="ignore"):
            return better[:, -1] < better[:, k - 1] - 2 * margin(queries, self._squares, self.metric)

    def _parameters(self, fetch: int, allowed: np.ndarray | None) -> Any:
        faiss = require("faiss", extra="index")
        chosen = {}
        if allowed is not None:
            keep = np.zeros(len(self), dtype=bool)
            keep[allowed] = True
            chosen["sel"] = faiss.IDSelectorBitmap(np.packbits(keep, bitorder="little"))
        if self.kind == "hnsw":
            return faiss.SearchParametersHNSW(efSearch=max(self.options["ef_search"], fetch), **chosen)
        if self.kind == "ivf":
            return faiss.SearchParametersIVF(nprobe=min(self.options["probes"], self.options["cells"]), **chosen)
        return faiss.SearchParameters(**chosen)

    def _write(self, folder: Path) -> None:
        require("faiss", extra="index").write_index(self._built, str(folder / "index.faiss"))


def _default_cells(items: int) -> int:
    return max(1, min(round(4 * math.sqrt(items)), items // POINTS))


@contextmanager
def _one_thread(faiss: ModuleType) -> Iterator[None]:
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)
