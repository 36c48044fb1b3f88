"""Search that looks at every item."""

from pathlib import Path

import numpy as np

from mmgraph.index.base import Index
from mmgraph.index.score import BLOCK, unit

ROOM = 1 << 22  # rough scores held at once, [queries, items]
TINY = float(np.finfo(np.float32).tiny)


def margin(queries: np.ndarray, squares: np.ndarray, metric: str) -> np.ndarray:
    """Bounds how far a score in single precision, summed in any order, is from the exact one.

    With ``n`` channels and unit roundoff ``u = 2⁻²⁴`` a float32 dot product errs by at most about
    ``n u ‖x‖ ‖q‖`` (Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 3.1), plus the
    smallest normal number a term where products underflow; the bound is twice that. Euclidean errors are
    those of the squared distance.

    Args:
        queries: Float32 ``[queries, channels]``.
        squares: Squared lengths of the items, float64 ``[items]``.
        metric: See `score`.

    Returns:
        Bounds, float64 ``[queries]``; infinite where single precision may overflow.

    Example:
        >>> margin(np.ones((1, 2), dtype=np.float32), np.ones(3), "cosine") < 2e-6
        array([ True])
    """
    channels = queries.shape[1]
    longest = np.sqrt(squares.max())
    lengths = np.linalg.norm(queries.astype(np.float64), axis=1)  # [queries]
    peak = {"cosine": longest + 0 * lengths, "dot": longest * lengths, "euclidean": (longest + lengths) ** 2}
    size = np.ones_like(lengths) if metric == "cosine" else peak[metric]
    shortest = np.sqrt(squares.min(where=squares > 0, initial=np.inf)) if metric == "cosine" else 1.0
    error = (channels + 8) * 2.0**-23 * size + 2 * channels * TINY / shortest
    return np.where(peak[metric] < 1e37, error, np.inf)


def screen(
    queries: np.ndarray,
    vectors: np.ndarray,
    squares: np.ndarray,
    k: int,
    metric: str,
    allowed: np.ndarray | None = None,
) -> list[np.ndarray]:
    """Finds, with float32 matrix products, a superset of the k best items of each query, ties included.

    Args:
        queries: Float32 ``[queries, channels]``.
        vectors: Float32 ``[items, channels]``.
        squares: Squared lengths of the vectors, float64 ``[items]``.
        k: From 1 to the number of allowed items.
        metric: See `score`.
        allowed: Positions that may be found, int64 ``[allowed]``; None allows all.

    Returns:
        For each query the positions whose rough score is within twice its `margin` of the k-th best.

    Example:
        >>> vectors = np.array([[1], [2], [2]], dtype=np.float32)
        >>> screen(vectors[:1], vectors, np.array([1.0, 4.0, 4.0]), 1, "dot")
        [array([1, 2])]
    """
    positions = np.arange(len(vectors)) if allowed is None else allowed  # [allowed]
    step = max(1, ROOM // len(positions))
    found = []
    for start in range(0, len(queries), step):
        part = queries[start : start + step]  # [some queries, channels]
        rough = _rough(part, vectors, squares, metric, allowed)  # [some queries, allowed]
        with np.errstate(invalid="ignore"):
            least = np.partition(rough, -k, axis=1)[:, -k] - 2 * margin(part, squares, metric)
        found += [positions[~(row < edge)] for row, edge in zip(rough, least, strict=True)]  # NaN stays
    return found


def _rough(
    queries: np.ndarray, vectors: np.ndarray, squares: np.ndarray, metric: str, allowed: np.ndarray | None
) -> np.ndarray:
    """Gives float64 ``[queries, allowed]`` that grows with the score, up to the error of float32."""
    queries = unit(queries) if metric == "cosine" else queries
    lengths = squares if allowed is None else squares[allowed]  # [allowed]
    rough = np.empty((len(queries), len(lengths)))
    step = max(1, BLOCK // vectors.shape[1])
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows has an infinite margin
        for start in range(0, len(lengths), step):
            block = slice(start, start + step)
            rows = vectors[block] if allowed is None else vectors[allowed[block]]
            rough[:, block] = queries @ rows.T
    if metric == "cosine":
        rough *= np.divide(1, np.sqrt(lengths), out=np.zeros_like(lengths), where=lengths > 0)
    if metric == "euclidean":
        rough -= lengths / 2  # −‖x − q‖² / 2, less the ‖q‖² / 2 that all items share
    return rough


class Exact(Index):
    """Searches by brute force, in blocks, so that memory stays bounded; needs numpy alone.

    Arguments, metrics and errors are those of `Index`. A search of n items takes O(n · channels).

    Example:
        >>> index = Exact([[1, 0], [0, 1], [1, 1]], ["cat", "dog", "both"], metadata={"year": [1, 2, 2]})
        >>> [(hit.id, round(hit.score, 3)) for hit in index.search([2, 0], k=2)]
        [('cat', 1.0), ('both', 0.707)]
        >>> [hit.id for hit in index.search([2, 0], where={"year": 2})]
        ['both', 'dog']
        >>> [hit.id for hit in index.search_id("both", k=1)]
        ['cat']
    """

    kind = "exact"

    def _candidates(self, queries: np.ndarray, k: int, allowed: np.ndarray | None) -> list[np.ndarray]:
        return screen(queries, self.vectors, self._squares, k, self.metric, allowed)

    def _write(self, folder: Path) -> None:
        """Writes nothing: the vectors are all there is."""
