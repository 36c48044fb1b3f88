r"""The margin family: what belongs together must be nearer than what does not, by a margin.

All of it is one sum over edges. With positives :math:`P` and negatives :math:`N` as two edge sets,

.. math:: L(P, N) = \frac{1}{|P|} \sum_{(i, p) \in P} \sum_{n \in N(i)} [m - s_{ip} + s_{in}]_+

which is 0 if and only if each positive is nearer than each negative by the margin :math:`m`.

| system | queries | positives | negatives |
|---|---|---|---|
| DeViSE | pictures | the vector of the right name | all other names |
| bidirectional ranking | both sides in turn | the pair | all others |
| VSE++ | both sides in turn | the pair | the nearest of the others alone |
| structure-preserving | rows of one modality | rows of that modality with the same meaning | the rest of them |
| grounded space | sentences | sentences that share a picture | the rest of them |
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from mmgraph.functional.similarity import directions

Affinity: TypeAlias = Literal["cosine", "euclidean"]


def affinity(x: Tensor, y: Tensor, *, metric: Affinity = "cosine") -> Tensor:
    r"""Scores to rank by: the cosine, or minus the Euclidean distance of the unit vectors.

    Both put candidates in one order; the margin is of the cosine, or of the distance
    :math:`d = \sqrt{2 - 2 \cos}`, which grows faster between near rows.

    Args:
        x: ``[queries, channels]``.
        y: ``[candidates, channels]``.
        metric: Which.

    Returns:
        ``[queries, candidates]``.

    Example:
        >>> x, y = torch.tensor([[2.0, 0.0]]), torch.tensor([[3.0, 0.0], [0.0, 1.0]])
        >>> affinity(x, y), affinity(x, y, metric="euclidean")
        (tensor([[1., 0.]]), tensor([[-0.0000, -1.4142]]))
    """
    x, y = directions(x, metric="cosine"), directions(y, metric="cosine")
    return x @ y.T if metric == "cosine" else -torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


def ranking_terms(
    positive: Tensor, of: Tensor, negative: Tensor, against: Tensor, *, margin: float = 0.2, hardest: bool = False
) -> Tensor:
    r"""What each positive edge lacks to stand before the negatives of its query: :math:`\sum_n [m - s_p + s_n]_+`.

    No pair of a positive and a negative is ever made: the edges are sorted once, and what stands before a positive
    less the margin is read off running sums. So 2,000 queries with 200 positives and 1,800 negatives each need the
    memory of 4 million edges, not of 720 million triplets.

    Args:
        positive: Scores of the positive edges, ``[positives]``.
        of: The query of each, ``[positives]``.
        negative: Scores of the negative edges, ``[negatives]``.
        against: The query of each, ``[negatives]``.
        margin: :math:`m`.
        hardest: Whether the negative with the highest score alone counts, :math:`\max_n` in place of the sum (Faghri
            et al. 2018, VSE++: Improving visual-semantic embeddings with hard negatives, arXiv:1707.05612).

    Returns:
        ``[positives]``; 0 where the query has no negative.

    Example:
        >>> positive, negative = torch.tensor([0.9, 0.3]), torch.tensor([0.8, 0.2, 0.1])
        >>> ranking_terms(positive, torch.tensor([0, 1]), negative, torch.tensor([0, 0, 1]), margin=0.25)
        tensor([0.1500, 0.0500])
    """
    limit = positive - margin  # what stands above it counts
    if hardest:
        worst = negative.new_full((int(max(_most(of), _most(against))) + 1,), -torch.inf)
        worst = worst.scatter_reduce(0, against, negative, "amax")
        return (worst[of] - limit).clamp_min(0)
    score, query = torch.cat([limit, negative]), torch.cat([of, against])
    order = score.detach().argsort(descending=True, stable=True)
    order = order[query[order].argsort(stable=True)]  # by query, then the highest score first
    is_negative = order >= len(limit)
    running = score[order].double().where(is_negative, 0.0).cumsum(0)
    running, count = F.pad(running, (1, 0)), F.pad(is_negative.cumsum(0), (1, 0))
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device)
    last, first = place[: len(limit)], torch.searchsorted(query[order], of)
    above = running[last] - running[first] - (count[last] - count[first]) * limit.double()
    return above.to(positive.dtype)


def hinge_ranking(
    scores: Tensor, positives: Tensor, negatives: Tensor, *, margin: float = 0.2, hardest: bool = False
) -> Tensor:
    r"""Positives before negatives by a margin, :math:`L(P, N)`.

    Args:
        scores: ``[queries, candidates]``; larger is nearer.
        positives: The positive edges: a mask ``[queries, candidates]``, or rows and columns ``[2, edges]``.
        negatives: The negative edges, likewise.
        margin: :math:`m`.
        hardest: Whether the nearest negative of each query alone counts.

    Returns:
        A scalar: the mean over the positive edges of the sum (or maximum) over the negative ones; without any
        positive 0, with a gradient.

    Example:
        >>> scores = torch.tensor([[0.9, 0.8], [0.1, 0.6]])
        >>> hinge_ranking(scores, torch.eye(2) > 0, torch.eye(2) == 0)
        tensor(0.0500)
        >>> hinge_ranking(scores, torch.tensor([[0, 1], [0, 1]]), torch.tensor([[0, 1], [1, 0]]))
        tensor(0.0500)
    """
    positives, negatives = edges_of(positives), edges_of(negatives)
    if not positives.shape[1]:
        return scores.sum() * 0
    positive, negative = scores[positives[0], positives[1]], scores[negatives[0], negatives[1]]
    return ranking_terms(positive, positives[0], negative, negatives[0], margin=margin, hardest=hardest).mean()


def bidirectional_ranking(
    scores: Tensor, positives: Tensor, negatives: Tensor, *, margin: float = 0.2, hardest: bool = False
) -> Tensor:
    """Both directions, summed: rows rank columns, and columns rank rows (Karpathy & Li 2015, arXiv:1412.2306).

    With ``hardest`` it is the loss of VSE++ (arXiv:1707.05612). Arguments as of :func:`hinge_ranking`.

    Example:
        >>> scores = torch.tensor([[0.9, 0.8], [0.1, 0.6]])
        >>> bidirectional_ranking(scores, torch.eye(2) > 0, torch.eye(2) == 0)
        tensor(0.2500)
    """
    positives, negatives = edges_of(positives), edges_of(negatives)
    there = hinge_ranking(scores, positives, negatives, margin=margin, hardest=hardest)
    return there + hinge_ranking(scores.T, positives.flip(0), negatives.flip(0), margin=margin, hardest=hardest)


def structure_ranking(
    x: Tensor,
    neighbours: Tensor,
    strangers: Tensor,
    *,
    margin: float = 0.2,
    hardest: bool = False,
    metric: Affinity = "cosine",
) -> Tensor:
    r"""Structure of one modality: rows that mean the same are nearer than rows that don't.

    .. math:: \sum_{j \in N(x_i),\, k \notin N(x_i)} [m + d(x_i, x_j) - d(x_i, x_k)]_+

    the third and fourth term, weighed by :math:`\lambda_2` and :math:`\lambda_3`, of Wang, Li & Lazebnik 2016,
    Learning deep structure-preserving image-text embeddings, arXiv:1511.06078. Divided by the number of neighbours, as
    :func:`hinge_ranking` is.

    Args:
        x: ``[rows, channels]``.
        neighbours: The edges :math:`j \in N(x_i)`: a mask ``[rows, rows]`` or ``[2, edges]``, without self loops.
        strangers: The edges to what must be further away, likewise.
        margin: :math:`m`.
        hardest: Whether the nearest stranger alone counts.
        metric: Which distance; the paper's is ``euclidean``.

    Example:
        >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.1]])
        >>> joined = torch.tensor([[0, 1], [1, 0]])
        >>> strangers = torch.tensor([[0, 1], [2, 2]])
        >>> structure_ranking(x, joined, strangers)
        tensor(0.7473)
    """
    return hinge_ranking(affinity(x, x, metric=metric), neighbours, strangers, margin=margin, hardest=hardest)


def devise(states: Tensor, vectors: Tensor, labels: Tensor, *, margin: float = 0.1) -> Tensor:
    r"""Pictures mapped to where the words are: DeViSE.

    .. math:: \frac{1}{|L|} \sum_{i \in L} \sum_{j \ne y_i} [m - t_{y_i} \cdot M v_i + t_j \cdot M v_i]_+

    (Frome et al. 2013, DeViSE: A deep visual-semantic embedding model, NeurIPS 26), with the word vectors :math:`t`
    scaled to unit length and over the labelled rows :math:`L`.

    Args:
        states: Mapped pictures, :math:`M v`: ``[rows, channels]``.
        vectors: Word vectors, ``[labels, channels]``.
        labels: The label of each row, ``[rows]``; -1 where it is not known.
        margin: :math:`m`.

    Example:
        >>> vectors = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
        >>> devise(torch.tensor([[1.0, 0.0], [0.5, 0.5]]), vectors, torch.tensor([0, 1]))
        tensor(0.0500)
    """
    scores = states @ directions(vectors, metric="cosine").T  # [rows, labels]
    right = labels[:, None] == torch.arange(len(vectors), device=labels.device)
    return hinge_ranking(scores, right, ~right, margin=margin)


def cosine_alignment(x: Tensor, y: Tensor, positives: Tensor) -> Tensor:
    r"""What belongs together points the same way: :math:`\frac{1}{|P|} \sum_{(i, j) \in P} 1 - \cos(x_i, y_j)`.

    There are no negatives, so a model that gives all rows one vector gets 0: use it where one side is fixed.

    Args:
        x: ``[queries, channels]``.
        y: ``[candidates, channels]``.
        positives: Mask ``[queries, candidates]``, or ``[2, edges]``.

    Returns:
        A scalar; without any positive 0, with a gradient.

    Example:
        >>> x, y = torch.tensor([[1.0, 0.0], [0.0, 3.0]]), torch.tensor([[2.0, 0.0]])
        >>> cosine_alignment(x, y, torch.tensor([[0, 1], [0, 0]]))
        tensor(0.5000)
    """
    rows, columns = edges_of(positives)
    cosines = (directions(x, metric="cosine")[rows] * directions(y, metric="cosine")[columns]).sum(dim=1)
    return (1 - cosines).sum() / max(len(rows), 1)


def perceptual_correlation(x: Tensor, y: Tensor) -> Tensor:
    r"""Whether two spaces agree on what is alike: :math:`\rho(\cos(x_i, x_j), \cos(y_i, y_j))` over all :math:`i < j`.

    Pearson's correlation over pairs of rows (Bordes et al. 2019, Incorporating visual semantics into sentence
    representations within a grounded space, arXiv:2002.02734). The spaces need no map between each other, nor the same
    width: only the similarities are compared, and those up to any affine change.

    Args:
        x: ``[rows, channels]``.
        y: ``[rows, other channels]``; row by row the same things.

    Returns:
        A scalar from -1 to 1; 0 where either side's similarities are all equal, so below 3 rows.

    Example:
        >>> x = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
        >>> perceptual_correlation(x, 5 * x), perceptual_correlation(x, x[:2].repeat(2, 1)[:3]) < 0
        (tensor(1.), tensor(True))
    """
    pairs = torch.triu_indices(len(x), len(x), offset=1, device=x.device)
    similar = [affinity(side, side)[pairs[0], pairs[1]] for side in (x, y)]  # [pairs] each
    if not pairs.shape[1]:
        return similar[0].sum()
    one, other = (directions(side[None], metric="correlation") for side in similar)
    return (one * other).sum()


def edges_of(edges: Tensor) -> Tensor:
    """Edges as rows and columns ``[2, edges]``, given so or as a mask ``[rows, columns]``.

    Example:
        >>> edges_of(torch.tensor([[False, True], [False, False]])).tolist()
        [[0], [1]]
    """
    return edges.nonzero().T if edges.dtype == torch.bool else edges


def _most(rows: Tensor) -> int:
    return int(rows.max()) if len(rows) else -1
