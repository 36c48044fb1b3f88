"""How near a vector is to a query; larger is better under every metric.

| metric | score | range | a zero vector |
|---|---|---|---|
| cosine | `x·q / (‖x‖ ‖q‖)` | −1 to 1 | scores 0 |
| dot | `x·q` | unbounded | scores 0 |
| euclidean | `−‖x − q‖` | up to 0 | is a point like others |
"""

from typing import Literal, get_args

import numpy as np

Metric = Literal["cosine", "dot", "euclidean"]
METRICS: tuple[str, ...] = get_args(Metric)
BLOCK = 1 << 20  # numbers held at once while vectors are scored


def score(query: np.ndarray, vectors: np.ndarray, metric: str) -> np.ndarray:
    """Scores vectors against one query, in double precision; the formulas stand above.

    A row's score depends on that row alone, to the last bit: equal vectors tie exactly, wherever they stand.

    Args:
        query: Finite float32 ``[channels]``.
        vectors: Finite float32 ``[items, channels]``.
        metric: ``"cosine"``, ``"dot"`` or ``"euclidean"``.

    Returns:
        Scores, float64 ``[items]``.

    Example:
        >>> vectors = np.array([[3, 4], [0, 0]], dtype=np.float32)
        >>> query = np.array([3, 0], dtype=np.float32)
        >>> for metric in METRICS:
        ...     score(query, vectors, metric).tolist()
        [0.6, 0.0]
        [9.0, 0.0]
        [-4.0, -3.0]
    """
    x, q = vectors.astype(np.float64), query.astype(np.float64)
    # Sums, not matrix products: BLAS may round equal rows differently.
    if metric == "euclidean":
        return 0.0 - np.sqrt(np.square(x - q).sum(axis=1))  # [items]
    products = (x * q).sum(axis=1)  # [items]
    if metric == "dot":
        return products
    scale = np.sqrt(np.square(x).sum(axis=1) * np.square(q).sum())  # [items]
    return np.clip(np.divide(products, scale, out=np.zeros_like(products), where=scale > 0), -1, 1)


def best(
    query: np.ndarray, vectors: np.ndarray, candidates: np.ndarray, k: int, metric: str
) -> tuple[np.ndarray, np.ndarray]:
    """Picks the k best of some items: score descending, ties by position ascending.

    Args:
        query: Float32 ``[channels]``.
        vectors: Float32 ``[items, channels]``.
        candidates: Positions in ``vectors``, each at most once, int64 ``[candidates]``.
        k: How many to pick, at least 1.
        metric: See `score`.

    Returns:
        Positions int64 and scores float64, both ``[min(k, candidates)]``.

    Example:
        >>> vectors = np.array([[1], [2], [2]], dtype=np.float32)
        >>> positions, _ = best(vectors[0], vectors, np.array([2, 0, 1]), 2, "dot")
        >>> positions.tolist()
        [1, 2]
    """
    step = max(1, BLOCK // vectors.shape[1])
    parts = [candidates[start : start + step] for start in range(0, len(candidates), step)]
    scores = np.concatenate([score(query, vectors[part], metric) for part in parts])  # [candidates]
    order = np.lexsort((candidates, -scores))[:k]
    return candidates[order], scores[order]


def squares(vectors: np.ndarray) -> np.ndarray:
    """Returns the squared length of each vector, float64 ``[items]``."""
    step = max(1, BLOCK // vectors.shape[1])
    parts = [vectors[start : start + step].astype(np.float64) for start in range(0, len(vectors), step)]
    return np.concatenate([np.square(part).sum(axis=1) for part in parts]) if parts else np.empty(0)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Returns the vectors at length 1, float32 ``[items, channels]``; zero vectors stay zero."""
    lengths = np.sqrt(squares(vectors))[:, None]  # [items, 1]
    scaled = np.zeros_like(vectors)
    np.divide(vectors, lengths, out=scaled, where=lengths > 0, casting="same_kind")
    return scaled
