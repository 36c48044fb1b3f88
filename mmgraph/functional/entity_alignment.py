r"""Which entity of one graph is which of another, from a few that are known to be the same.

| function | makes |
|---|---|
| :func:`spread_seeds` | what each entity hears of the known ones, hop by hop |
| :func:`bound_facts` | what each entity says by its facts: relation and neighbour bound together |
| :func:`csls` | offsets that take from each entity how near it is to everything |
| :func:`balance` | offsets by which every entity is sought equally often: Sinkhorn's |
| :func:`with_offsets` | vectors whose cosines are ordered as cosines with offsets |
| :func:`mutual_nearest` | pairs that are each other's nearest |

Two graphs have no entity in common, so that a vector of one says nothing in the other. Known pairs ("seeds") are the
common language: each has a random vector, the same in both graphs, and an entity is told by the seeds around it. What
is compared is then made within each graph alone.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from mmgraph.functional.adjacency import Adjacency
from mmgraph.functional.message import aggregate

BLOCK = 1024  # rows of similarities worked on at a time
COLUMNS = 128  # channels of bound facts worked on at a time
TINY = 1e-30  # sums that divide are at least this


def spread_seeds(signatures: Tensor, edges: Adjacency, weights: Tensor) -> list[Tensor]:
    r"""What each entity hears of the seeds, a unit vector a hop.

    .. math:: x^{(k)}_v = \frac{m_v}{\lVert m_v \rVert}, \quad m_v = \sum_{u \to v} w^{(k)}_{uv} x^{(k-1)}_u

    Source: Mao et al. 2022, LightEA: a scalable, robust, and interpretable entity alignment framework via three-view
    label propagation, arXiv:2210.10436, whose weights are fixed; here they may be learned.

    Args:
        signatures: :math:`x^{(0)}`, ``[entities, channels]``: the vector of the pair for a seed, zeros for all others.
        edges: Who is heard by whom; facts usually both ways.
        weights: ``[hops, edges]``.

    Returns:
        ``[entities, channels]`` for each hop; zeros where no seed is within it.

    Example:
        >>> edges = Adjacency(torch.tensor([[0, 1], [1, 2]]), 3, 3)
        >>> [x.flatten().tolist() for x in spread_seeds(torch.tensor([[1.0], [0.0], [0.0]]), edges, torch.ones(2, 2))]
        [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    found = []
    for weight in weights:
        heard = aggregate(signatures, edges, weight=weight)
        length = heard.norm(dim=1, keepdim=True)
        signatures = heard / torch.where(length > TINY, length, 1.0)  # a division by little would blow gradients up
        found.append(signatures)
    return found


def bound_facts(entities: Tensor, relations: Tensor, index: Tensor, relation: Tensor, weight: Tensor) -> Tensor:
    r"""What each entity says by its facts: neighbour and relation multiplied, and added up.

    .. math:: b_v = \sum_{(u, r) \to v} w_{ur} \, (x_u \odot z_r)

    With :math:`x` and :math:`z` random projections of two vectors, the product of two such sums is, but for noise of
    :math:`1 / \sqrt{channels}`, that of the sums of outer products: large where the same relation leads to the same
    neighbour.

    Source: Plate 1995, Holographic reduced representations, DOI 10.1109/72.377968 (binding); Pham & Pagh 2013, Fast and
    scalable polynomial kernels via explicit feature maps, DOI 10.1145/2487575.2487591 (why it is an outer product).

    Args:
        entities: :math:`x`, ``[entities, channels]``.
        relations: :math:`z`, ``[relations, channels]``.
        index: ``[2, edges]``, who is heard by whom.
        relation: ``[edges]``.
        weight: ``[edges]``.

    Returns:
        ``[entities, channels]``.

    Example:
        >>> index, relation = torch.tensor([[0, 1], [2, 2]]), torch.tensor([0, 1])
        >>> x, z = torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([[10.0], [100.0]])
        >>> bound_facts(x, z, index, relation, torch.ones(2)).flatten().tolist()
        [0.0, 0.0, 210.0]
    """
    count = index.shape[1]
    ends = Adjacency(torch.stack([torch.arange(count, device=index.device), index[1]]), count, len(entities))
    parts = [
        aggregate(x.index_select(0, index[0]) * z.index_select(0, relation), ends, weight=weight)
        for x, z in zip(entities.split(COLUMNS, dim=1), relations.split(COLUMNS, dim=1), strict=True)
    ]
    return torch.cat(parts, dim=1)


def csls(x: Tensor, y: Tensor, *, neighbours: int = 10) -> tuple[Tensor, Tensor]:
    r"""Offsets that take from each row half its mean similarity to its nearest rows of the other side.

    .. math:: 2 \cos(x, y) - r(x) - r(y), \quad r(x) = \tfrac1k \sum_{y \in N_k(x)} \cos(x, y)

    orders as :math:`\cos(x, y) + f_x + g_y` with :math:`f = -r/2` and :math:`g = -r/2`: rows that are near everything
    ("hubs") are no longer everyone's nearest.

    Source: Conneau et al. 2018, Word translation without parallel data, arXiv:1710.04087, section 2.3.

    Args:
        x: ``[rows, channels]``, of unit length.
        y: ``[candidates, channels]``, of unit length.
        neighbours: :math:`k`; where there are fewer, all.

    Returns:
        ``[rows]`` and ``[candidates]``.

    Example:
        >>> csls(torch.eye(2), torch.eye(2), neighbours=2)
        (tensor([-0.2500, -0.2500]), tensor([-0.2500, -0.2500]))
    """

    def near(ones: Tensor, others: Tensor) -> Tensor:
        k = min(neighbours, len(others))
        return torch.cat([(rows @ others.T).topk(k, dim=1).values.mean(dim=1) for rows in ones.split(BLOCK)])

    return -near(x, y) / 2, -near(y, x) / 2


@torch.no_grad()
def balance(x: Tensor, y: Tensor, *, sharpness: float = 40.0, rounds: int = 10) -> tuple[Tensor, Tensor]:
    r"""Offsets by which every row of either side is sought equally often.

    Sinkhorn's plan :math:`Q_{ij} = e^{\lambda (\cos_{ij} + f_i + g_j)}`, whose rows and columns each have sum 1, orders
    the candidates of a row as :math:`\cos_{ij} + g_j`, and those of a column as :math:`\cos_{ij} + f_i`. So two vectors
    say all that the plan says, and it is never kept: :math:`e^{\lambda \cos}` alone is, as ``[rows, candidates]``.

    It assumes that each row has one partner among the candidates; where the two sides differ in number, columns have
    the sum rows / candidates. For the plan itself see :func:`~mmgraph.functional.assignment.sinkhorn`.

    Args:
        x: ``[rows, channels]``, of unit length.
        y: ``[candidates, channels]``, of unit length.
        sharpness: :math:`\lambda`, above 0.
        rounds: How often both are brought to their sums.

    Returns:
        :math:`f` ``[rows]`` and :math:`g` ``[candidates]``.

    Raises:
        ValueError: An option out of its range.

    Example:
        >>> x, y = torch.tensor([[1.0, 0.0], [0.6, 0.8]]), torch.tensor([[1.0, 0.0], [0.96, 0.28]])
        >>> (x @ y.T).argmax(dim=1), (x @ y.T + balance(x, y)[1]).argmax(dim=1)
        (tensor([0, 1]), tensor([0, 1]))
    """
    if not sharpness > 0 or rounds < 1:
        raise ValueError(f"sharpness must be above 0 and rounds at least 1, got {sharpness} and {rounds}")
    if not len(x) or not len(y):
        return x.new_zeros(len(x)), y.new_zeros(len(y))
    kernel = torch.empty(len(x), len(y), dtype=x.dtype, device=x.device)
    for start in range(0, len(x), BLOCK):
        torch.mm(x[start : start + BLOCK], y.T, out=kernel[start : start + BLOCK])
    top = kernel.amax(dim=1)
    kernel.sub_(top[:, None]).mul_(sharpness).exp_()  # [rows, candidates]
    share, v = len(x) / len(y), x.new_ones(len(y))
    for _ in range(rounds):
        u = 1 / (kernel @ v).clamp_min(TINY)
        v = share / (u @ kernel).clamp_min(TINY)
    return u.log() / sharpness - top, v.log() / sharpness


def with_offsets(x: Tensor, y: Tensor, f: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    r"""Vectors whose cosines are ordered, in both directions, as :math:`x_i \cdot y_j + f_i + g_j`.

    .. math:: x'_i = (x_i, f_i, 1, a_i, 0), \quad y'_j = (y_j, 1, g_j, 0, b_j)

    where :math:`a` and :math:`b` bring all to one length. What judges or searches by cosines can so be given
    similarities that are corrected for hubs.

    Args:
        x: ``[rows, channels]``.
        y: ``[candidates, channels]``.
        f: ``[rows]``, from :func:`csls` or :func:`balance`.
        g: ``[candidates]``.

    Returns:
        ``[rows, channels + 4]`` and ``[candidates, channels + 4]``, of unit length.

    Example:
        >>> x, y = torch.eye(2), torch.eye(2)
        >>> a, b = with_offsets(x, y, torch.zeros(2), torch.tensor([0.0, 2.0]))
        >>> (a @ b.T).argmax(dim=1)
        tensor([1, 1])
    """
    a = torch.cat([x, f[:, None], torch.ones_like(f)[:, None]], dim=1)
    b = torch.cat([y, torch.ones_like(g)[:, None], g[:, None]], dim=1)
    squares = [one.square().sum(dim=1) for one in (a, b)]
    most = torch.cat(squares).amax() if len(x) + len(y) else 1
    room_a, room_b = ((most - square).clamp_min(0).sqrt()[:, None] for square in squares)
    a, b = torch.cat([a, room_a, torch.zeros_like(room_a)], dim=1), torch.cat([b, torch.zeros_like(room_b), room_b], 1)
    return F.normalize(a, dim=1), F.normalize(b, dim=1)


@torch.no_grad()
def mutual_nearest(x: Tensor, y: Tensor, f: Tensor | None = None, g: Tensor | None = None) -> Tensor:
    r"""Pairs of rows that are each other's nearest by :math:`x_i \cdot y_j + f_i + g_j`; rows of zeros are in none.

    Args:
        x: ``[rows, channels]``.
        y: ``[candidates, channels]``.
        f: ``[rows]``, offsets; by default 0.
        g: ``[candidates]``.

    Returns:
        ``[2, pairs]``, in the order of the rows of ``x``.

    Example:
        >>> mutual_nearest(torch.tensor([[1.0, 0.0], [0.9, 0.1]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        tensor([[0],
                [0]])
    """
    if not len(x) or not len(y):
        return torch.empty(2, 0, dtype=torch.long, device=x.device)
    best, ahead = torch.full((len(y),), -torch.inf, dtype=x.dtype, device=x.device), []
    behind = torch.zeros(len(y), dtype=torch.long, device=x.device)
    for start, scores in _blocks(x, y, f, g):
        ahead.append(scores.argmax(dim=1))
        value, row = scores.max(dim=0)
        behind, best = torch.where(value > best, row + start, behind), torch.maximum(best, value)
    nearest, rows = torch.cat(ahead), torch.arange(len(x), device=x.device)
    good = (behind[nearest] == rows) & x.any(dim=1) & y.any(dim=1)[nearest]
    return torch.stack([rows[good], nearest[good]])


def _blocks(x: Tensor, y: Tensor, f: Tensor | None, g: Tensor | None) -> Iterator[tuple[int, Tensor]]:
    """Scores ``[block, candidates]``, each with the row that it starts at."""
    for start in range(0, len(x), BLOCK):
        scores = x[start : start + BLOCK] @ y.T
        if f is not None:
            scores = scores + f[start : start + BLOCK, None]
        yield start, scores if g is None else scores + g
