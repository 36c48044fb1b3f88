r"""The contrastive family: one function, whose systems differ in two edge sets.

.. math:: L(P, C) = -\operatorname{mean}_i \log
    \frac{\sum_{j \in P(i)} e^{s_{ij} / \tau}}{\sum_{j \in C(i)} e^{s_{ij} / \tau}}, \qquad P \subseteq C

Queries i and keys j are embedded nodes. The edges of P say what belongs together, those of C what is to be told apart.

| system | positives P | candidates C |
|---|---|---|
| CLIP (Radford et al. 2021, arXiv:2103.00020) | the one node of the other modality | all of that modality, both ways |
| SimCLR, NT-Xent (Chen et al. 2020, arXiv:2002.05709) | the other version of the node | all versions but itself |
| MIL-NCE (Miech et al. 2020, arXiv:1912.06430) | several, of which some are right | all |
| supervised (Khosla et al. 2020, arXiv:2004.11362) | all of the class, mean of logs | all but itself |
| GDT (Patrick et al. 2021, arXiv:2003.04298) | versions alike in what matters | :func:`transformed_pairs` |
| CoCLR (Han et al. 2020, arXiv:2010.09709) | neighbours in another modality, :func:`mined_pairs` | all but itself |
| hard negatives, no false negatives | any | neighbours in a graph; not those known to be related |
| 1-vs-all link prediction (DistMult with one relation) | edges | all nodes |

:func:`sigmoid_nce` asks of each pair alone whether it belongs together, and needs no sum over candidates.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from mmgraph.functional.similarity import closeness, nearest


def masked_nce(
    scores: Tensor,
    positives: Tensor,
    candidates: Tensor | None = None,
    *,
    temperature: float | Tensor = 1.0,
    inside: bool = True,
    weight: Tensor | None = None,
) -> Tensor:
    r"""Noise-contrastive estimation with positives and candidates given as edge sets.

    .. math:: L = -\frac{1}{|Q|} \sum_{i \in Q} \log
        \frac{\sum_{j \in P(i)} e^{s_{ij} / \tau}}{\sum_{j \in C(i)} w_{ij} e^{s_{ij} / \tau}}

    over the queries Q that have a positive (van den Oord, Li & Vinyals 2018, arXiv:1807.03748, with one positive; Miech
    et al. 2020, arXiv:1912.06430, with several). With ``inside=False`` the mean over P(i) is taken outside of the
    logarithm, so that every positive must score high, not just some (Khosla et al. 2020, arXiv:2004.11362, eq. 2).

    Args:
        scores: :math:`s`, ``[queries, keys]``.
        positives: P: edges ``[2, pairs]`` from queries to keys, or a mask ``[queries, keys]`` of bool.
        candidates: C, given likewise; ``None`` for all. Positives are candidates whether they are listed or not.
        temperature: :math:`\tau`.
        inside: Whether positives are added up within the logarithm.
        weight: :math:`w`, how often each candidate counts, ``[queries, keys]`` at least 0; positives count once.

    Returns:
        A scalar; without any positive 0, with a gradient.

    Example:
        >>> scores = torch.tensor([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
        >>> masked_nce(scores, torch.tensor([[0, 1], [0, 1]]))
        tensor(0.2395)
        >>> masked_nce(scores, torch.tensor([[0], [0]]), torch.tensor([[0], [1]]))
        tensor(0.1269)
    """
    good = pair_mask(positives, *scores.shape)
    counts = good.any(dim=1)  # [queries]
    if not counts.any():
        return scores.sum() * 0
    scores, good = scores[counts] / temperature, good[counts]
    among = scores  # [queries, keys]
    if weight is not None:
        among = among + weight[counts].to(scores.dtype).log().masked_fill(good, 0)
    if candidates is not None:
        among = among.masked_fill(~(pair_mask(candidates, len(counts), scores.shape[1])[counts] | good), -torch.inf)
    if inside:
        right = scores.masked_fill(~good, -torch.inf).logsumexp(dim=1)
    else:
        right = scores.masked_fill(~good, 0).sum(dim=1) / good.sum(dim=1)
    return (among.logsumexp(dim=1) - right).mean()


def edge_nce(
    scores: Tensor,
    query: Tensor,
    positive: Tensor,
    *,
    temperature: float | Tensor = 1.0,
    inside: bool = True,
    weight: Tensor | None = None,
) -> Tensor:
    """What :func:`masked_nce` gives, from the scores of the candidates alone: for graphs too large for a matrix.

    Args:
        scores: Of each candidate, ``[edges]``; each pair of query and key once.
        query: Whose candidate it is, ``[edges]``.
        positive: Whether it is a positive, ``[edges]`` of bool.
        temperature: As there.
        inside: As there.
        weight: ``[edges]``, as there.

    Returns:
        A scalar; without any positive 0, with a gradient.

    Example:
        >>> scores, query = torch.tensor([2.0, 0.0, 0.0, 1.0]), torch.tensor([0, 0, 0, 5])
        >>> edge_nce(scores, query, torch.tensor([True, False, False, False]))
        tensor(0.2395)
    """
    if not positive.any():
        return scores.sum() * 0
    counts = torch.zeros(int(query.max()) + 1, dtype=torch.bool, device=query.device)
    counts[query[positive]] = True
    kept = counts[query]
    row = (counts.cumsum(0) - 1)[query[kept]]  # [edges], among the queries that count
    scores, positive = scores[kept] / temperature, positive[kept]
    among = scores
    if weight is not None:
        among = among + weight[kept].to(scores.dtype).log().masked_fill(positive, 0)
    rows = int(counts.sum())
    if inside:
        right = _log_sums(scores[positive], row[positive], rows)
    else:
        right = _sums(scores[positive], row[positive], rows) / torch.bincount(row[positive], minlength=rows)
    return (_log_sums(among, row, rows) - right).mean()


def sigmoid_nce(
    scores: Tensor,
    positives: Tensor,
    candidates: Tensor | None = None,
    *,
    scale: float | Tensor = 1.0,
    bias: float | Tensor = 0.0,
) -> Tensor:
    r"""Each pair for itself: does it belong together?

    .. math:: L = -\frac{1}{|Q|} \sum_{i \in Q} \sum_{j \in C(i)} \log \sigma\big(z_{ij} (t s_{ij} + b)\big), \quad
        z_{ij} = 1 \text{ for } j \in P(i), \text{ else } -1

    over the queries Q that have a positive (Zhai, Mustafa, Kolesnikov & Beyer 2023, Sigmoid loss for language image
    pre-training, arXiv:2303.15343, algorithm 1). Unlike a softmax it takes several positives as they are, and large and
    small batches alike. Where each node has a positive, both directions are the same sum.

    Args:
        scores: :math:`s`, ``[queries, keys]``.
        positives: P: edges ``[2, pairs]``, or a mask ``[queries, keys]`` of bool.
        candidates: C, given likewise; ``None`` for all. Positives are candidates whether they are listed or not.
        scale: t.
        bias: b; the paper starts with -10, as nearly all pairs are negatives.

    Returns:
        A scalar; without any positive 0, with a gradient.

    Example:
        >>> sigmoid_nce(torch.zeros(2, 2), torch.tensor([[0, 1], [0, 1]]))  # 2 log 2
        tensor(1.3863)
    """
    good = pair_mask(positives, *scores.shape)
    counts = good.any(dim=1)
    if not counts.any():
        return scores.sum() * 0
    losses = -F.logsigmoid((scores * scale + bias) * (2 * good.to(scores.dtype) - 1))  # [queries, keys]
    among = counts[:, None] if candidates is None else counts[:, None] & (pair_mask(candidates, *scores.shape) | good)
    return losses.masked_fill(~among, 0).sum() / counts.sum()


def transformed_pairs(
    sample: Tensor, distinctive: Sequence[Tensor] = (), modality: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    r"""Positives and candidates among transformed versions of samples: generalised data transformations.

    Source: Patrick et al. 2021, Multi-modal self-supervision from generalized data transformations, arXiv:2003.04298:
    :math:`L = -\sum_{T, T'} c(T, T')\, w(T, T') \log \frac{e^{s(T, T')}}{\sum_{T''} w(T, T'') e^{s(T, T'')}}`, which is
    :func:`masked_nce` with ``inside=False``, P where :math:`c w = 1` and C where :math:`w = 1`.

    Two versions belong together (:math:`c`) if they are of one sample and agree in all that an embedding should be
    *distinctive* to; in what they may differ besides, it learns to be *invariant* to. Compared (:math:`w`) are all
    with all others, or with those of other modalities. Without anything distinctive, and two modalities, it is CLIP.

    Args:
        sample: Which sample each row is a version of, ``[rows]``.
        distinctive: For each transformation that must be told, which of its versions each row is, ``[rows]``.
        modality: Of each row, ``[rows]``; ``None`` compares rows of all modalities.

    Returns:
        P and C, masks ``[rows, rows]``.

    Example:
        >>> sample, reversed = torch.tensor([0, 0, 0, 0]), torch.tensor([0, 0, 1, 1])
        >>> positives, candidates = transformed_pairs(sample, [reversed])
        >>> positives.int().tolist()
        [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]
        >>> candidates[0].tolist()
        [False, True, True, True]
    """
    if modality is None:
        candidates = ~torch.eye(len(sample), dtype=torch.bool, device=sample.device)
    else:
        candidates = modality[:, None] != modality
    positives = candidates & (sample[:, None] == sample)
    for version in distinctive:
        positives = positives & (version[:, None] == version)
    return positives, candidates


def mined_pairs(states: Tensor, k: int) -> Tensor:
    """Each row, and the ``k`` other rows nearest to it by cosine: positives for another modality of the same rows.

    Source: Han, Xie & Zisserman 2020, Self-supervised co-training for video representation learning, arXiv:2010.09709,
    eq. 2, where neighbours in optical flow are positives for the pictures, and the other way round. With ``k=0`` each
    row has itself alone, and :func:`masked_nce` is InfoNCE.

    Args:
        states: Of the modality that tells who is near, ``[rows, channels]``; no gradient flows into them. Of several
            modalities, side by side, it is the mean of their cosines. A row of zeros is near nobody.
        k: How many neighbours; those without a positive cosine do not count.

    Returns:
        Edges ``[2, pairs]`` from each row to itself and to its neighbours.

    Example:
        >>> mined_pairs(torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]), 1).tolist()
        [[0, 1, 2, 0, 1, 2], [0, 1, 2, 1, 0, 1]]
    """
    states = states.detach()
    own = torch.arange(len(states))
    if k == 0 or len(states) < 2:
        return own.expand(2, -1).to(states.device)
    score = closeness(states, metric="cosine")
    found = nearest(len(states), len(states), lambda rows: score(states[rows]).cpu(), k=k, exclude=own)
    row, place = ((found.index >= 0) & (found.score > 0)).nonzero().T
    pairs = torch.stack([torch.cat([own, row]), torch.cat([own, found.index[row, place]])])
    return pairs.to(states.device)


def pair_mask(pairs: Tensor, queries: int, keys: int) -> Tensor:
    """Edges ``[2, pairs]`` as a mask ``[queries, keys]``; a mask stays as it is.

    Raises:
        ValueError: A mask of another shape, or neither edges nor a mask.

    Example:
        >>> pair_mask(torch.tensor([[0, 1], [2, 0]]), 2, 3).int().tolist()
        [[0, 0, 1], [1, 0, 0]]
    """
    if pairs.dtype == torch.bool:
        if pairs.shape != (queries, keys):
            raise ValueError(f"A mask of pairs must be [queries, keys], [{queries}, {keys}], got {list(pairs.shape)}")
        return pairs
    if pairs.dim() != 2 or len(pairs) != 2 or pairs.dtype.is_floating_point:
        raise ValueError(
            f"Pairs must be edges [2, pairs] of int64 or a mask of bool, got {list(pairs.shape)} of {pairs.dtype}"
        )
    mask = torch.zeros(queries, keys, dtype=torch.bool, device=pairs.device)
    mask[pairs[0], pairs[1]] = True
    return mask


def _sums(values: Tensor, row: Tensor, rows: int) -> Tensor:
    return values.new_zeros(rows).index_add(0, row, values)


def _log_sums(values: Tensor, row: Tensor, rows: int) -> Tensor:
    """Logarithm of the sum of exponentials over the values of each row, ``[rows]``."""
    top = values.detach().new_full((rows,), -torch.inf).scatter_reduce(0, row, values.detach(), "amax")
    return _sums((values - top[row]).exp(), row, rows).log() + top
