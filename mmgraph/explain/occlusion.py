"""What a score becomes where something is left out: one thing at a time, and in all combinations."""

from __future__ import annotations

from collections.abc import Sequence
from math import factorial
from typing import NamedTuple

import torch
from torch import Tensor

from mmgraph.errors import ConfigError
from mmgraph.explain.attribution import Attribution
from mmgraph.explain.question import Baseline, Question
from mmgraph.typing import EdgeType, NodeType

MOST_PLAYERS = 12
TOGETHER = "relations"  # name of all relations, where they are one player


class Player(NamedTuple):
    """What is left out as one: some nodes of a type, or some relations."""

    name: str
    node: NodeType | None = None
    mask: Tensor | None = None  # [rows] of the nodes
    relations: tuple[EdgeType, ...] = ()


def players(question: Question, *, together: bool = False) -> list[Player]:
    """The anchor's own modalities, and the relations by which others speak to it.

    Args:
        question: What is to be explained.
        together: Whether all relations are one.
    """
    own = [Player(name, name, mask) for name, mask in question.own.items()]
    relations = question.relations
    if together and relations:
        return [*own, Player(TOGETHER, relations=tuple(relations.values()))]
    return [*own, *(Player(name, relations=(relation,)) for name, relation in relations.items())]


def occlusion(question: Question, *, baseline: Baseline = "absent") -> Attribution:
    r"""What each part, node and edge is worth where all else is there: :math:`f(G) - f(G \setminus i)`.

    Source: Zeiler and Fergus 2014, Visualizing and understanding convolutional networks; arXiv:1311.2901.

    It does not add up: two that say the same are worth nothing each, and the residual says how far it is off.

    Args:
        question: What is to be explained.
        baseline: Whether a node left out is ``absent``, as one that was never there, or gets the ``mean`` features of
            training or ``zeros``. An edge left out is always absent.

    Example:
        >>> from mmgraph import classifier
        >>> from mmgraph.explain import ask
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = fake_graph()
        >>> found = occlusion(ask(classifier(schema), graph, 5)[0])
        >>> sorted(found.parts), found.nodes["scan"].shape == found.n_id["scan"].shape
        (['near', 'scan', 'scan next scan', 'text', 'text next text'], True)
    """
    names = players(question)
    parts = _without(question, names, ~torch.eye(len(names), dtype=torch.bool), baseline)
    nothing = _without(question, names, torch.zeros(1, len(names), dtype=torch.bool), baseline)
    nodes, edges = {}, {}
    for node, count in question.counts.items():
        each = {node: ~torch.eye(count, dtype=torch.bool)}
        nodes[node] = question.score - question.values(each, {}, copies=count, baseline=baseline)
    for name, edge_set in question.edges.items():
        count = edge_set.index.shape[1]
        left = {name: ~torch.eye(count, dtype=torch.bool)}
        edges[name] = question.score - question.values({}, left, copies=count)
    return Attribution(
        method="occlusion",
        anchor=question.anchor,
        output=question.output,
        score=question.score,
        baseline=float(nothing),
        parts={one.name: question.score - value for one, value in zip(names, parts.tolist(), strict=True)},
        nodes=nodes,
        edges=edges,
        n_id=question.n_id,
        index=question.index,
    )


def shapley(question: Question, *, baseline: Baseline = "absent", together: bool = False) -> Attribution:
    r"""What each of the anchor's modalities and each relation is worth, on average over all orders of adding them.

    .. math::
        \phi_i = \sum_{S \subseteq N \setminus i} \frac{|S|! \, (n - |S| - 1)!}{n!} \big(f(S \cup i) - f(S)\big)

    The values add up to the score, exactly: :math:`f(N) = f(\emptyset) + \sum_i \phi_i`. All :math:`2^n` sets are
    asked for.

    Source: Shapley 1953, A value for n-person games; Lundberg and Lee 2017, A unified approach to interpreting model
    predictions, eq. 4; arXiv:1705.07874.

    Args:
        question: What is to be explained.
        baseline: What becomes of a modality that is not in the set, as in :func:`occlusion`; the edges of a relation
            that is not are absent.
        together: Whether all relations are one.

    Raises:
        ConfigError: More than 12 modalities and relations.

    Example:
        >>> from mmgraph import classifier
        >>> from mmgraph.explain import ask
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = fake_graph()
        >>> found = shapley(ask(classifier(schema), graph, 5)[0])
        >>> sorted(found.parts), abs(found.residual) < 1e-6
        (['near', 'scan', 'scan next scan', 'text', 'text next text'], True)
    """
    names = players(question, together=together)
    if len(names) > MOST_PLAYERS:
        raise ConfigError(
            f"Shapley values take all sets of at most {MOST_PLAYERS} modalities and relations, got {len(names)}: "
            f"{[one.name for one in names]}; make the relations one with together=True, or use occlusion"
        )
    sets = (torch.arange(2 ** len(names))[:, None] >> torch.arange(len(names))) % 2 == 1  # [sets, players]
    values = _without(question, names, sets, baseline).double()
    return Attribution(
        method="shapley",
        anchor=question.anchor,
        output=question.output,
        score=float(values[-1]),
        baseline=float(values[0]),
        parts=dict(zip([one.name for one in names], shapley_values(values).tolist(), strict=True)),
        n_id=question.n_id,
        index=question.index,
    )


def shapley_values(values: Tensor) -> Tensor:
    """Shapley values ``[players]`` of a game, given by what each set of players is worth.

    Args:
        values: ``[2 ** players]``; player i is in set s where bit i of s is 1.

    Example:
        >>> shapley_values(torch.tensor([0.0, 1.0, 2.0, 7.0]))
        tensor([3., 4.])
    """
    count = len(values).bit_length() - 1
    sets = torch.arange(len(values))
    sizes = sum(((sets >> player) % 2 for player in range(count)), torch.zeros_like(sets))
    share = values.new_tensor([factorial(s) * factorial(count - s - 1) / factorial(count) for s in range(count)])
    found = values.new_zeros(count)
    for player in range(count):
        without = sets[(sets >> player) % 2 == 0]
        found[player] = (share[sizes[without]] * (values[without + (1 << player)] - values[without])).sum()
    return found


def _without(question: Question, names: Sequence[Player], sets: Tensor, baseline: Baseline) -> Tensor:
    """Scores of the graph with some players alone, for ``sets [copies, players]``: ``[copies]``."""
    nodes: dict[NodeType, Tensor] = {}
    edges: dict[EdgeType, Tensor] = {}
    for player, one in enumerate(names):
        if one.node is not None and one.mask is not None:
            nodes[one.node] = sets[:, player, None] | ~one.mask
        for name in one.relations:
            edges[name] = sets[:, player, None].expand(-1, question.edges[name].index.shape[1])
    return question.values(nodes, edges, copies=len(sets), baseline=baseline)
