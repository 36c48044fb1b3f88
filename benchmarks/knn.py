"""Nearest neighbours: exactly beside scikit-learn, and a 200,000-row population graph beside scikit-learn and FAISS.

Command: OMP_NUM_THREADS=1 python benchmarks/knn.py (some four minutes).
"""

import math
import time
from typing import Any

import faiss
import numpy as np
import torch
from measure import main, measure
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from mmgraph.functional import nearest_rows

K, RECALL, SAMPLE = 10, 0.98, 2000
PART = 20  # scikit-learn searches a twentieth of the queries


def clusters(rows: int, channels: int = 128, topics: int = 1000, rank: int = 16) -> Tensor:
    """As embeddings of many topics lie: overlapping clusters of unequal size, each wide in 16 directions of its own."""
    chance = torch.Generator().manual_seed(0)
    centres = torch.randn(topics, channels, generator=chance)
    topic = torch.multinomial(torch.rand(topics, generator=chance) + 0.1, rows, replacement=True, generator=chance)
    within = torch.randn(topics, rank, channels, generator=chance) / math.sqrt(rank)
    inside = torch.randn(rows, rank, generator=chance)
    x = centres[topic] + 0.3 * torch.randn(rows, channels, generator=chance)
    for one in range(topics):
        members = (topic == one).nonzero().flatten()
        x[members] += inside[members] @ within[one]
    return x


def surface(rows: int, channels: int = 128, dimensions: int = 16) -> Tensor:
    """Harder: no clusters, a curved surface of 16 dimensions with some noise."""
    chance = torch.Generator().manual_seed(0)
    inside = torch.randn(rows, dimensions, generator=chance)
    bent = torch.tanh(1.5 * inside @ torch.randn(dimensions, 256, generator=chance) / math.sqrt(dimensions))
    noise = 0.1 * torch.randn(rows, channels, generator=chance)
    return bent @ torch.randn(256, channels, generator=chance) / 16 + noise


def noise(rows: int, channels: int = 128) -> Tensor:
    """Hardest: isotropic, so that no cell holds more of a point's neighbours than another."""
    return torch.randn(rows, channels, generator=torch.Generator().manual_seed(0))


def recall(found: np.ndarray, true: np.ndarray) -> float:
    return float((found[:, :, None] == true[:, None, :]).any(axis=2).mean())


def without_self(found: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Drops each query's own row (or, should a twin have taken its place, the last)."""
    own = found == queries[:, None]
    own[~own.any(axis=1), -1] = True
    return found[~own].reshape(len(found), -1)


def inverted_file(x: np.ndarray, cells: int, probes: int) -> Any:
    index = faiss.IndexIVFFlat(faiss.IndexFlatL2(x.shape[1]), x.shape[1], cells)
    index.train(x)
    index.add(x)
    index.nprobe = probes
    return index


def tuned(x: np.ndarray, queries: np.ndarray, true: np.ndarray) -> tuple[int, int]:
    """FAISS's best: for 1 to 4 √n cells the fewest probes that reach the recall; of these the fastest."""
    best = (math.inf, 0, 0)
    for times in (1, 2, 3, 4):
        cells = round(times * math.sqrt(len(x)))
        started = time.process_time()
        index = inverted_file(x, cells, 1)
        built = time.process_time() - started
        low, high = 1, cells
        while low < high:
            index.nprobe = (low + high) // 2
            good = recall(without_self(index.search(x[queries], K + 1)[1], queries), true) >= RECALL
            low, high = (low, index.nprobe) if good else (index.nprobe + 1, high)
        index.nprobe = low
        started = time.process_time()
        index.search(x[queries], K + 1)
        price = built + (time.process_time() - started) * len(x) / len(queries)
        best = min(best, (price, cells, low))
    return best[1:]


def population(name: str, tensor: Tensor, least: dict[str, float | None], *, brute: bool) -> list[dict[str, Any]]:
    """The graph of the ten nearest of every row, training included, at a recall of .98."""
    x, rows = tensor.numpy(), len(tensor)
    queries = np.random.default_rng(1).choice(rows, SAMPLE, replace=False)
    flat = faiss.IndexFlatL2(x.shape[1])
    flat.add(x)
    true = without_self(flat.search(x[queries], K + 1)[1], queries)
    cells, probes = tuned(x, queries, true)

    def ours() -> Any:
        return nearest_rows(tensor, tensor, k=K, recall=RECALL, exclude=torch.arange(rows))

    def ivf() -> np.ndarray:
        return without_self(inverted_file(x, cells, probes).search(x, K + 1)[1], np.arange(rows))

    def products() -> None:
        block = tensor[:512]
        for _ in range(round(found.share * rows * rows / 512**2)):
            block @ block.T

    found = ours()
    reached = recall(found.neighbours.index.numpy()[queries], true)
    theirs = recall(ivf()[queries], true)
    assert min(reached, theirs) >= RECALL, f"recall must be at least {RECALL}, got {reached:.4f} and {theirs:.4f}"
    peers = {"FAISS IVF": (ivf, least["FAISS IVF"])}
    part = np.arange(0, rows, PART)
    if brute:
        search = NearestNeighbors(n_neighbors=K + 1, algorithm="brute").fit(x)
        peers["scikit-learn"] = (lambda: search.kneighbors(x[part], return_distance=False), None)
    note = (
        f"recall measured on {SAMPLE:,} queries {reached:.4f} (ours says {found.recall:.4f}, comparing "
        f"{100 * found.share:.1f} % of the pairs), FAISS {theirs:.4f} with {cells} cells and {probes} probes, the "
        "fastest of 1, 2, 3, 4 √n cells with the fewest probes for the recall, its tuning not counted; ours finds its "
        "probes itself, counted; both train; bound: the products of the compared pairs"
    )
    rows_of = measure(
        f"kNN graph, {rows:,} × {x.shape[1]}, k = {K}, {name}", ours, peers, bound=products, rounds=1, note=note
    )
    for row in rows_of:
        if row["peer_name"] == "scikit-learn":
            row["peer"] *= PART
            row["ratio"], row["bound_ratio"] = round(row["ratio"] * PART, 1), round(row["bound_ratio"] * PART, 1)
            row["at_least"] = least["scikit-learn"]
            row["note"] = f"scikit-learn (brute force, exact) searched one in {PART} queries, times {PART}; {note}"
    return rows_of


def exact(rows: int, channels: int, least: float) -> list[dict[str, Any]]:
    """The ten nearest of each row, itself left out, exactly."""
    tensor = noise(rows, channels)
    x = tensor.numpy()

    def ours() -> np.ndarray:
        return nearest_rows(tensor, tensor, k=K, exclude=torch.arange(rows)).neighbours.index.numpy()

    def peer() -> np.ndarray:
        return NearestNeighbors(n_neighbors=K, algorithm="brute").fit(x).kneighbors(return_distance=False)

    def flat() -> np.ndarray:
        index = faiss.IndexFlatL2(channels)
        index.add(x)
        return index.search(x, K + 1)[1]

    def products() -> None:
        for block in tensor.split(512):
            for tile in tensor.split(512):
                block @ tile.T

    same = (ours() == peer()).mean()
    assert same > 0.999, f"the neighbours must be the same, got {same:.4f} of them"
    agree = (ours() == without_self(flat(), np.arange(rows))).mean()
    assert agree > 0.999, f"the neighbours must be the same, got {agree:.4f} of them"
    peers = {"scikit-learn": (peer, least), "FAISS flat": (flat, None)}
    note = "isotropic noise; bound: the products; FAISS takes the k best within its own product, which torch can't"
    return measure(f"exact kNN, {rows:,} × {channels}, k = {K}", ours, peers, bound=products, rounds=3, note=note)


def rows() -> list[dict[str, Any]]:
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    return [
        *exact(10_000, 64, 1.1),
        *exact(20_000, 128, 1.3),
        *population("clusters", clusters(200_000), {"scikit-learn": 20, "FAISS IVF": 2}, brute=True),
        *population("no clusters, a surface of 16 dimensions", surface(50_000), {"FAISS IVF": 1.5}, brute=False),
    ]


if __name__ == "__main__":
    main(rows)
