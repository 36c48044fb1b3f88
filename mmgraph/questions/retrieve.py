"""The part of a graph that a question is about: small enough to read, whole enough to hold the answer."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mmgraph.errors import ConfigError, DataError
from mmgraph.functional.adjacency import Adjacency
from mmgraph.functional.pagerank import pagerank, push_pagerank
from mmgraph.functional.steiner import steiner_tree
from mmgraph.questions.facts import Facts
from mmgraph.schema import Schema, view
from mmgraph.schema.facts import INVERSE, Numbering

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

LARGE = 20_000  # entities; above it PageRank is pushed, not iterated


def near(
    facts: Facts, entities: Tensor, *, most: int = 32, alpha: float = 0.85, epsilon: float = 1e-7
) -> tuple[Tensor, Tensor]:
    """The entities nearest to some, by personalised PageRank along facts in both directions.

    Args:
        facts: What is known.
        entities: Where walkers set out, ``[entities]``; each alike.
        most: How many come back, at most: none comes that no walker reaches.
        alpha: Probability of going on; the smaller, the nearer.
        epsilon: In graphs of more than ``LARGE`` entities, what :func:`~mmgraph.functional.pagerank.push_pagerank` may
            leave at a node for each of its edges.

    Returns:
        Entities, the nearest first, ties by number; and their shares.

    Raises:
        ConfigError: ``most`` is below 1.
        DataError: No entity to set out from, or one that is not there.

    Example:
        >>> facts = Facts(torch.tensor([[0, 0, 1], [1, 0, 2], [2, 0, 3]]), ["next"], 5)
        >>> near(facts, torch.tensor([0]), most=3)[0].tolist()
        [1, 0, 2]
    """
    if most < 1:
        raise ConfigError(f"most must be at least 1, got {most}")
    if not len(entities) or not 0 <= int(entities.min()) <= int(entities.max()) < facts.num_entities:
        raise DataError(f"Entities must be among 0 to {facts.num_entities - 1}, at least 1, got {entities.tolist()}")
    edges = both_ways(facts)
    start = torch.bincount(entities, minlength=facts.num_entities).double()
    if facts.num_entities > LARGE:
        shares, _ = push_pagerank(edges, start, alpha=alpha, epsilon=epsilon)
    else:
        shares = pagerank(edges, start, alpha=alpha, tolerance=1e-9)
    shares, order = shares.sort(descending=True, stable=True)
    reached = int((shares[:most] > 0).sum())
    return order[:reached], shares[:reached]


def both_ways(facts: Facts) -> Adjacency:
    """All facts of all relations as edges there and back; kept with the facts."""
    if INVERSE not in facts._made:
        index = facts.triples[:, [0, 2]].T
        both = torch.cat([index, index.flip(0)], dim=1)
        facts._made[INVERSE] = Adjacency(both, facts.num_entities, facts.num_entities)
    return facts._made[INVERSE]


def joined(
    facts: Facts,
    prizes: Tensor,
    *,
    cost: float = 1.0,
    fact_prizes: Tensor | None = None,
    most: int = 32,
    root: int | None = None,
) -> Tensor:
    r"""The entities of a small tree of facts that joins those with prizes: see :mod:`mmgraph.functional.steiner`.

    A fact costs ``cost`` less its prize, at least 0. Where the tree is larger than ``most``, facts are made dearer, by
    half each time, until it is not.

    Source: He et al. 2024, G-Retriever: Retrieval-augmented generation for textual graph understanding and question
    answering, arXiv:2402.07630 (there an edge whose prize is above its cost becomes a node of its own).

    Args:
        facts: What is known.
        prizes: How much each entity is wanted, ``[entities]``, at least 0.
        cost: Of a fact.
        fact_prizes: How much each of ``facts.triples`` is wanted, ``[facts]``; by default nothing.
        most: Entities of the tree, at most.
        root: An entity that must be there.

    Returns:
        Entities, ascending.

    Raises:
        ConfigError: ``most`` is below 1, or ``cost`` not above 0.
        DataError: Prizes that don't fit.

    Example:
        >>> facts = Facts(torch.tensor([[0, 0, 1], [1, 0, 2], [2, 0, 3]]), ["next"], 4)
        >>> joined(facts, torch.tensor([3.0, 0.0, 3.0, 0.5])).tolist()
        [0, 1, 2]
    """
    if most < 1 or not cost > 0:
        raise ConfigError(f"most must be at least 1 and cost above 0, got {most} and {cost}")
    index = facts.triples[:, [0, 2]].T
    wanted = torch.zeros(index.shape[1]) if fact_prizes is None else fact_prizes
    if prizes.shape != (facts.num_entities,) or wanted.shape != (index.shape[1],):
        raise DataError(
            f"Prizes must be [{facts.num_entities}] and of facts [{index.shape[1]}], "
            f"got {list(prizes.shape)} and {list(wanted.shape)}"
        )
    while True:
        tree = steiner_tree(index, (cost - wanted).clamp_min(0), prizes, root=root)
        if len(tree.nodes) <= most:
            return tree.nodes
        cost *= 1.5


def induced(graph: HeteroData, schema: Schema, entities: Tensor) -> HeteroData:
    """The subgraph of some entities: they, the facts among them, their payloads; no labels.

    Args:
        graph: A view.
        schema: What it means.
        entities: Their numbers, see :class:`~mmgraph.schema.facts.Numbering`.

    Returns:
        A view; ``n_id`` says which rows its nodes were.

    Example:
        >>> import mmgraph as mg
        >>> known = mg.KnowledgeGraph.fit(mg.Triples(["owl", "cat"], ["eats", "eats"], ["mouse", "fish"]))
        >>> part = induced(known.graph, known.schema, torch.tensor([0, 2]))
        >>> part["entity"].num_nodes
        2
    """
    numbering = Numbering(schema)
    keep = {}
    for node, first in numbering.offsets(graph).items():
        rows = int(graph[node].num_nodes)
        mine = entities[(entities >= first) & (entities < first + rows)] - first
        keep[node] = torch.zeros(rows, dtype=torch.bool).index_fill(0, mine, value=True)
    return view(graph, schema, keep=keep)


def told(facts: Facts, entities: Tensor, names: Sequence[str], *, characters: int = 4000) -> str:
    """The facts among some entities as a text, a line each, for a text model to read.

    Args:
        facts: What is known.
        entities: Which entities, those that matter most first: facts are told in the order of the later of their two.
        names: Of all entities.
        characters: Length of the text, at most; what does not fit is left out, whole facts, with a warning that says
            how much.

    Raises:
        ConfigError: ``characters`` is below 1.
        DataError: Not a name an entity.

    Example:
        >>> facts = Facts(torch.tensor([[0, 0, 1], [1, 1, 2]]), ["child", "lives_in"], 3)
        >>> print(told(facts, torch.tensor([2, 1, 0]), ["ann", "bob", "rome"]))
        bob; lives_in; rome
        ann; child; bob
    """
    if characters < 1:
        raise ConfigError(f"characters must be at least 1, got {characters}")
    if len(names) != facts.num_entities:
        raise DataError(f"There must be a name for each of the {facts.num_entities} entities, got {len(names)}")
    place = torch.full((facts.num_entities,), -1)
    place[entities.flip(0)] = torch.arange(len(entities)).flip(0)  # the first place of each
    ends = place[facts.triples[:, [0, 2]]]  # [facts, 2]
    among = (ends >= 0).all(dim=1).nonzero()[:, 0]
    order = among[ends[among].amax(dim=1).argsort(stable=True)]
    lines = [f"{names[h]}; {facts.relations[r]}; {names[t]}" for h, r, t in facts.triples[order].tolist()]
    length, kept = -1, 0
    while kept < len(lines) and length + 1 + len(lines[kept]) <= characters:
        length += 1 + len(lines[kept])
        kept += 1
    if kept < len(lines):
        whole = sum(map(len, lines)) + len(lines) - 1
        warnings.warn(
            f"The text is cut to {kept} of {len(lines)} facts ({max(length, 0)} of {whole} characters); "
            "allow more characters, or retrieve fewer entities",
            stacklevel=2,
        )
    return "\n".join(lines[:kept])


def found_share(parts: Sequence[Tensor], wanted: Sequence[Sequence[int]]) -> float:
    """The share of questions of whose wanted entities (the answers, or all on the path) the part holds every one.

    Args:
        parts: The entities retrieved for each question.
        wanted: Those that it needs.

    Raises:
        DataError: Not a part a question, or no question.

    Example:
        >>> found_share([torch.tensor([0, 1, 2]), torch.tensor([3])], [[0, 2], [1]])
        0.5
    """
    if len(parts) != len(wanted) or not wanted:
        raise DataError(f"There must be a part for each question, at least 1, got {len(parts)} and {len(wanted)}")
    held = [set(part.tolist()).issuperset(ends) for part, ends in zip(parts, wanted, strict=True)]
    return sum(held) / len(held)
