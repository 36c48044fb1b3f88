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
CACHE = 1 << 16  # the same where each query has a few of its own: they stay in the processor's cache


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
    return _scores(query[None], vectors[None], squares(vectors)[None], metric)[0]


def _scores(queries: np.ndarray, vectors: np.ndarray, squares: np.ndarray, metric: str) -> np.ndarray:
    """Scores the vectors ``[queries, items, channels]`` that are each query's own; ``[queries, items]``."""
    x, q = vectors.astype(np.float64), queries.astype(np.float64)
    # Sums over one row at a time, not matrix products: BLAS may round equal rows differently.
    if metric == "euclidean":
        x -= q[:, None]
        return 0.0 - np.sqrt(np.einsum("qic,qic->qi", x, x))
    products = np.einsum("qic,qc->qi", x, q)
    if metric == "dot":
        return products
    scale = np.sqrt(squares * np.einsum("qc,qc->q", q, q)[:, None])
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


def best_rows(
    queries: np.ndarray, vectors: np.ndarray, squares: np.ndarray, candidates: np.ndarray, k: int, metric: str
) -> tuple[np.ndarray, np.ndarray]:
    """Does what `best` does, for as many candidates of each of several queries.

    Args:
        queries: Float32 ``[queries, channels]``.
        vectors: Float32 ``[items, channels]``, at least one.
        squares: Their squared lengths, float64 ``[items]``.
        candidates: Positions in ``vectors``, −1 for none, int64 ``[queries, candidates]``.
        k: How many to pick, at least 1.
        metric: See `score`.

    Returns:
        Positions int64, −1 for none, and scores float64, −∞ for none; both ``[queries, min(k, candidates)]``.

    Example:
        >>> vectors = np.array([[1], [2], [2]], dtype=np.float32)
        >>> best_rows(vectors[:2], vectors, squares(vectors), np.array([[2, 0, 1], [0, -1, -1]]), 2, "dot")[0].tolist()
        [[1, 2], [0, -1]]
    """
    scores = np.empty(candidates.shape)
    step = max(1, CACHE // max(1, candidates.shape[1] * vectors.shape[1]))
    for start in range(0, len(queries), step):
        rows = slice(start, start + step)
        some = candidates[rows]
        scores[rows] = _scores(queries[rows], vectors[some], squares[some], metric)
    scores[candidates < 0] = -np.inf
    return merge(candidates, scores, k)


def merge(positions: np.ndarray, scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Keeps the k best of each row, in their order; both ``[queries, candidates]``, −1 and −∞ for none."""
    order = np.argsort(-scores, axis=1, kind="stable")
    ranked = np.take_along_axis(scores, order, axis=1)
    tied = (ranked[:, 1:] == ranked[:, :-1]).any(axis=1)  # few: sorting by two keys takes five times as long
    order[tied] = np.lexsort((positions[tied], -scores[tied]), axis=-1)
    order = order[:, :k]
    return np.take_along_axis(positions, order, axis=1), np.take_along_axis(scores, order, axis=1)


def squares(vectors: np.ndarray) -> np.ndarray:
    """Returns the squared length of each vector, float64 ``[items]``."""
    step = max(1, BLOCK // vectors.shape[1])
    parts = [vectors[start : start + step].astype(np.float64) for start in range(0, len(vectors), step)]
    return np.concatenate([np.empty(0), *(np.einsum("ic,ic->i", part, part) for part in parts)])


def unit(vectors: np.ndarray) -> np.ndarray:
    """Returns the vectors at length 1, float32 ``[items, channels]``; zero vectors stay zero."""
    lengths = np.sqrt(squares(vectors))[:, None]  # [items, 1]
    scaled = np.zeros_like(vectors)
    np.divide(vectors, lengths, out=scaled, where=lengths > 0, casting="same_kind")
    return scaled
