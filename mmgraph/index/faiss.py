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
from mmgraph.index.tuning import SHORTLISTS, cheapest, neighbours, recall_of, sample, steps
from mmgraph.optional import require

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

Kind = Literal["flat", "hnsw", "ivf", "ivfpq"]
KINDS: tuple[str, ...] = get_args(Kind)
OPTIONS = {
    "flat": (),
    "hnsw": ("links", "ef_construction", "ef_search"),
    "ivf": ("cells", "probes"),
    "ivfpq": ("cells", "probes", "codes", "shortlist"),
}
CELLS = ("ivf", "ivfpq")  # the kinds that look into some cells alone
LONGEST = 1e18  # float32 still holds the squared distance of two such vectors
POINTS = 39  # vectors a cell that faiss wants for k-means
MOST_POINTS = 64  # vectors a cell that k-means learns from, for ivfpq: more take longer and change little
ROUNDS = 10  # of k-means, for ivfpq
LEAST_POINTS = 16  # of k-means, for ivfpq: as many as there are codes of 4 bits
EXACT_SHARE = 0.25  # of the cells: who would look into more looks at all allowed items


class Faiss(Index):
    """Searches with faiss; scores and order are then computed as `Exact` computes them.

    Sources: Johnson, Douze & Jégou, Billion-scale similarity search with GPUs, 2019, arXiv:1702.08734
    (faiss); Malkov & Yashunin, Efficient and robust approximate nearest neighbor search using Hierarchical
    Navigable Small World graphs, 2018, arXiv:1603.09320 (hnsw); Jégou, Douze & Schmid, Product quantization
    for nearest neighbor search, 2011, doi:10.1109/TPAMI.2010.57 (ivf: the inverted file, without codes; ivfpq:
    with them); André, Kermarrec & Le Scouarnec, Quicker ADC, 2021, arXiv:1812.09162 (codes of 4 bits, compared in
    registers).

    ``flat`` gives the answer of `Exact`, ties included. ``hnsw``, ``ivf`` and ``ivfpq`` may miss items, never more
    of them than to leave fewer than k hits: where faiss finds too few, all allowed items are searched. Under a
    filter that allows a share ``s`` of the items, ivf and ivfpq look into ``probes / s`` cells, and where that is
    most of them, at all allowed items. Builds use one thread and fixed seeds, so equal vectors make equal indexes.

    Args:
        vectors: See `Index`, as all arguments up to ``subgraph``.
        ids: See `Index`.
        metadata: See `Index`.
        metric: See `Index`. Cosine searches vectors scaled to length 1; zero vectors stay and score 0.
        fingerprint: See `Index`.
        model: See `Index`.
        subgraph: See `Index`.
        kind: ``"flat"``, ``"hnsw"``, ``"ivf"`` or ``"ivfpq"``.
        links: For hnsw, neighbours an item, at least 2; more is better, larger and slower to build.
        ef_construction: For hnsw, breadth of the walk when an item is added.
        ef_search: For hnsw, breadth of the walk in a search; at least k is used.
        cells: For ivf and ivfpq, k-means cells; None takes ``4 √items``, with at least 39 items a cell.
        probes: For ivf and ivfpq, cells that a search looks into; None finds the fewest for ``recall``.
        codes: For ivfpq, pieces of a vector that are coded, 4 bits each; it divides the channels. None takes the
            divisor nearest to half of them.
        shortlist: For ivfpq, how many items, the best by their codes, are scored by their vectors for each of the k
            that are asked for; None finds the fewest for ``recall``.
        recall: For ivf and ivfpq, the share of the 10 nearest items that searches for 256 of the items must find,
            less a standard error, where ``probes`` or ``shortlist`` are found.
        built: A faiss index made of the same vectors earlier; None builds it.

    Raises:
        MissingPackageError: faiss is not installed.
        DataError: See `Index`; or vectors are too long for the float32 of all kinds but flat.
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
        model: str = "",
        subgraph: "Callable[[int], HeteroData] | None" = None,
        kind: Kind = "flat",
        links: int = 32,
        ef_construction: int = 200,
        ef_search: int = 64,
        cells: int | None = None,
        probes: int | None = None,
        codes: int | None = None,
        shortlist: int | None = None,
        recall: float = 0.97,
        built: Any = None,
    ) -> None:
        faiss = require("faiss", extra="index")
        super().__init__(
            vectors,
            ids,
            metadata=metadata,
            metric=metric,
            fingerprint=fingerprint,
            model=model,
            subgraph=subgraph,
        )
        check_choice("kind", kind, KINDS)
        if not 0 < recall <= 1:
            raise ConfigError(f"Option 'recall' must be above 0 and at most 1, got {recall}; .97 is usual")
        self.kind = kind
        counts = {"links": links, "ef_construction": ef_construction, "ef_search": ef_search, "cells": cells}
        self.options = self._options({**counts, "probes": probes, "codes": codes, "shortlist": shortlist})
        self._distance = faiss.METRIC_L2 if metric == "euclidean" else faiss.METRIC_INNER_PRODUCT
        self._check_lengths()
        self._built = self._build(faiss) if built is None else built
        self._check_built(faiss)
        if kind in CELLS and len(self) > 1 and (probes is None or (kind == "ivfpq" and shortlist is None)):
            with _one_thread(faiss):
                self._tune(recall, probes, shortlist)

    def _options(self, given: Mapping[str, int | None]) -> dict[str, int]:
        """The options of this kind of index, all checked; until they are tuned, probes look into all cells."""
        usual = {"cells": _default_cells(len(self)), "codes": _default_codes(self.channels), "shortlist": 1}
        usual["probes"] = usual["cells"] if given["cells"] is None else given["cells"]
        options = {name: usual[name] if value is None else value for name, value in given.items()}
        for name, value in options.items():
            most = {"cells": max(1, len(self)), "codes": self.channels}.get(name)
            check_count(name, value, least=2 if name == "links" else 1, most=most)
        if self.channels % options["codes"]:
            raise ConfigError(
                f"Option 'codes' must divide the {self.channels} channels, got {options['codes']}; "
                "leave it out for one that does"
            )
        return {name: int(options[name]) for name in OPTIONS[self.kind]}

    def _build(self, faiss: ModuleType) -> Any:
        if self.kind == "hnsw":
            built = faiss.IndexHNSWFlat(self.channels, self.options["links"], self._distance)
            built.hnsw.efConstruction = self.options["ef_construction"]
        elif self.kind in CELLS:
            built = self._empty_cells(faiss)
        else:
            built = faiss.IndexFlat(self.channels, self._distance)
        if len(self) > 0:
            with _one_thread(faiss):
                vectors = self._prepared(self.vectors)
                built.train(np.resize(vectors, (max(LEAST_POINTS, len(self)), self.channels)))  # or its rows again
                built.add(vectors)
        return built

    def _empty_cells(self, faiss: ModuleType) -> Any:
        cells = self.options["cells"]
        centres = faiss.IndexFlat(self.channels, self._distance)
        if self.kind == "ivf":
            built = faiss.IndexIVFFlat(centres, self.channels, cells, self._distance)
        else:
            built = faiss.IndexIVFPQFastScan(centres, self.channels, cells, self.options["codes"], 4, self._distance)
            built.pq.cp.min_points_per_centroid = 1
            built.cp.niter = ROUNDS
            built.cp.max_points_per_centroid = MOST_POINTS
        built.cp.min_points_per_centroid = 1  # cells that the user chose may hold few
        return built

    def _check_lengths(self) -> None:
        longest = float(np.sqrt(self._squares.max(initial=0)))
        if self.kind != "flat" and self.metric != "cosine" and longest > LONGEST:  # k-means would abort
            raise DataError(
                f"Vectors must be at most {LONGEST:g} long for kind {self.kind!r} under {self.metric!r}, got length "
                f"{longest:.3g}; scale them, or use kind 'flat'"
            )

    def _check_built(self, faiss: ModuleType) -> None:
        kinds = {
            "flat": faiss.IndexFlat,
            "hnsw": faiss.IndexHNSWFlat,
            "ivf": faiss.IndexIVFFlat,
            "ivfpq": faiss.IndexIVFPQFastScan,
        }
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

    def _candidates(self, queries: np.ndarray, k: int, allowed: np.ndarray | None) -> np.ndarray | list[np.ndarray]:
        count = len(self) if allowed is None else len(allowed)
        probes = self._probes(count)
        if allowed is not None and probes > EXACT_SHARE * self.options.get("cells", probes):
            return screen(queries, self.vectors, self._squares, k, self.metric, allowed)
        fetch = {"flat": 2 * k + 16, "ivfpq": k * self.options.get("shortlist", 1)}.get(self.kind, k)
        fetch = min(count, fetch)  # for flat, room to see past ties
        distances, found = self._built.search(
            self._prepared(queries), fetch, params=self._parameters(fetch, probes, allowed)
        )  # both [queries, fetch]
        enough = (found >= 0).sum(axis=1) >= k  # [queries]
        if fetch < count and self.kind == "flat":
            enough &= self._past_ties(queries, distances, k)
        if enough.all():
            return found
        rest = iter(screen(queries[~enough], self.vectors, self._squares, k, self.metric, allowed))
        return [row[row >= 0] if good else next(rest) for row, good in zip(found, enough, strict=True)]

    def _tune(self, recall: float, probes: int | None, shortlist: int | None) -> None:
        """Finds what was not given, by searching for some of the items."""
        rows = sample(len(self))
        queries = self.vectors[rows]

        def exact(k: int) -> tuple[np.ndarray, np.ndarray]:
            found = screen(queries, self.vectors, self._squares, k, self.metric)
            return self._best_of(queries, found, k)

        def reached(probes: int, shortlist: int) -> float:
            self.options |= {"probes": probes} | ({"shortlist": shortlist} if self.kind == "ivfpq" else {})
            found = neighbours(lambda k: self._search(queries, k, None), rows, len(self))
            return recall_of(found, true)

        true = neighbours(exact, rows, len(self))
        cells = self.options["cells"]
        best = cheapest(
            reached,
            recall,
            probes=steps(cells) if probes is None else [probes],
            shortlists=(SHORTLISTS if shortlist is None else [shortlist]) if self.kind == "ivfpq" else [1],
            cell=len(self) / cells,
        )
        reached(*best)

    def _probes(self, count: int) -> int:
        """How many cells are looked into where so many items are allowed; 0 where there are no cells."""
        if self.kind not in CELLS:
            return 0
        return min(self.options["cells"], math.ceil(self.options["probes"] * len(self) / count))

    def _past_ties(self, queries: np.ndarray, distances: np.ndarray, k: int) -> np.ndarray:
        """Says for which queries all items that could be among the k best were fetched, ``[queries]``."""
        better = (-distances if self.metric == "euclidean" else distances).astype(np.float64)
        with np.errstate(invalid="ignore"):
            return better[:, -1] < better[:, k - 1] - 2 * margin(queries, self._squares, self.metric)

    def _parameters(self, fetch: int, probes: int, allowed: np.ndarray | None) -> Any:
        faiss = require("faiss", extra="index")
        chosen = {}
        if allowed is not None:
            keep = np.zeros(len(self), dtype=bool)
            keep[allowed] = True
            chosen["sel"] = faiss.IDSelectorBitmap(np.packbits(keep, bitorder="little"))
        if self.kind == "hnsw":
            return faiss.SearchParametersHNSW(efSearch=max(self.options["ef_search"], fetch), **chosen)
        if self.kind in CELLS:
            return faiss.SearchParametersIVF(nprobe=probes, **chosen)
        return faiss.SearchParameters(**chosen)

    def _write(self, folder: Path) -> None:
        require("faiss", extra="index").write_index(self._built, str(folder / "index.faiss"))


def _default_cells(items: int) -> int:
    return max(1, min(round(4 * math.sqrt(items)), items // POINTS))


def _default_codes(channels: int) -> int:
    """The divisor nearest to half of the channels, by their ratio; the larger of two as near."""
    divisors = [one for one in range(channels, 0, -1) if channels % one == 0]
    return min(divisors, key=lambda one: abs(math.log(2 * one / channels)))


@contextmanager
def _one_thread(faiss: ModuleType) -> Iterator[None]:
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)
