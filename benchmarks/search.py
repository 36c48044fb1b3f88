"""Search in vectors: IVF-PQ with exact scores beside FAISS's exact search and its inverted file.

Command: OMP_NUM_THREADS=1 python benchmarks/search.py (some five minutes, 3 GiB).
"""

import math
import sys
import time
from typing import Any

import faiss
import numpy as np
import torch
from knn import clusters, recall
from measure import main, measure

from mmgraph.index import Faiss

K, QUERIES, RECALL = 10, 2000, 0.95


def inverted_file(x: np.ndarray, queries: np.ndarray, true: np.ndarray, least: float) -> Any:
    """FAISS's own, with 4 √n cells and the fewest probes that reach a recall; it learns from 64 points a cell."""
    cells = round(4 * math.sqrt(len(x)))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(x.shape[1]), x.shape[1], cells, faiss.METRIC_INNER_PRODUCT)
    index.cp.max_points_per_centroid, index.cp.niter = 64, 10
    index.train(x)
    index.add(x)
    while recall(index.search(queries, K)[1], true) < least:
        index.nprobe += 1
    return index


def population(items: int, least: float | None) -> list[dict[str, Any]]:
    """Queries are drawn as the items are, and are none of them; cosine."""
    drawn = clusters(items + QUERIES).numpy()
    chosen = np.zeros(len(drawn), dtype=bool)
    chosen[np.random.default_rng(1).choice(len(drawn), QUERIES, replace=False)] = True
    queries, x = drawn[chosen], drawn[~chosen]
    del drawn
    started = time.process_time()
    index = Faiss(x, map(str, range(items)), kind="ivfpq", metadata={"parity": [row % 2 for row in range(items)]})
    built = time.process_time() - started
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    near = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    flat = faiss.IndexFlatIP(x.shape[1])
    flat.add(x)
    true = flat.search(near, K)[1]
    reached = recall(index.search_arrays(queries, K)[0], true)
    assert reached >= RECALL, f"recall must be at least {RECALL}, got {reached:.4f}"
    lists = inverted_file(x, near, true, reached)
    del x
    facts = {"recall": round(reached, 4), "build_s": round(built, 1), "options": index.options}
    note = (
        f"clusters as in knn.py, cosine, k = {K}, {QUERIES:,} queries that are none of the items, in one batch; "
        f"recall {reached:.4f} with {index.options}, built in {built:.0f} s; FAISS IVF: 4 √n cells, "
        f"{lists.nprobe} probes, the fewest for the same recall"
    )
    exact = (lambda: flat.search(near, K), least)
    peers = {"FAISS flat": exact, "FAISS IVF": (lambda: lists.search(near, K), None)}
    size = f"{items:,} × {queries.shape[1]}"
    rows = measure(f"search, {size}, arrays", lambda: index.search_arrays(queries, K), peers, rounds=3, note=note)
    rows += measure(f"search, {size}, hits", lambda: index.search_batch(queries, K), {"FAISS flat": exact}, rounds=3)
    for row in rows:
        row |= facts | {"queries_per_s": round(QUERIES / row["ours"]), "peer_per_s": round(QUERIES / row["peer"], 1)}
    one = {"FAISS flat": (lambda: flat.search(near[:1], K), None)}
    rows += measure(f"search, {size}, one query, hits", lambda: index.search(queries[0], K), one, rounds=5)
    return rows


def rows() -> list[dict[str, Any]]:
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    sizes = [int(size) for size in sys.argv[1:]] or [100_000, 1_000_000]
    return [row for size in sizes for row in population(size, 60 if size >= 1_000_000 else None)]


if __name__ == "__main__":
    main(rows)
