"""Two knowledge graphs with links as anchors, which an entity of either is ``of``: what aligners of entities read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from mmgraph.builders.knowledge import KnowledgeGraph
from mmgraph.builders.knowledge_align import Pairs, check_names, read_links
from mmgraph.builders.knowledge_stated import PARTS
from mmgraph.errors import ConfigError, DataError
from mmgraph.schema import EdgeSpec, NodeSpec, Schema
from mmgraph.schema.facts import Numbering

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

FACT = "fact"


def pair(
    first: KnowledgeGraph,
    second: KnowledgeGraph,
    links: Pairs | Mapping[str, Pairs],
    *,
    names: tuple[str, str] = ("first", "second"),
    anchor: str = "link",
    candidates: Literal["linked", "all"] = "linked",
    payload: str | None = None,
) -> tuple[HeteroData, Schema]:
    """Puts two graphs side by side, with links between their entities as anchors that both are ``of``.

    It is what :class:`mmgraph.EntityAligner` and :class:`mmgraph.tasks.Retrieval` read. The entities of each graph are
    one node type, in the order of :attr:`~mmgraph.KnowledgeGraph.entities`; its training facts are the edges ``fact``,
    whose one attribute is the number of the relation.

    Retrieval ranks the anchors of a part. By default these are its links, so that the candidates are the entities of
    the other graph that are sought there, as in DBP15K. With ``candidates="all"`` each entity without a link is an
    anchor, too, of validation and of test: it is asked for nothing, and is a candidate for all. Entities of links of
    another part are none: those of training are known.

    Args:
        first: A graph.
        second: Another.
        links: Which entities are the same, each at most once; by part, or all for training.
        names: What the two are called.
        anchor: What a link is called.
        candidates: ``linked`` or ``all``, see above.
        payload: A node type whose features tell entities, too: the mean of the nodes that hang on an entity, of unit
            length, and zeros where none does; by default entities are told by facts alone.

    Returns:
        The graph, and its schema.

    Raises:
        ConfigError: Two names are one, an unknown kind of candidates, or no such payload with features.
        DataError: A link of an entity that is not there, one that is linked twice (be it in two parts), or payloads
            with different features.

    Example:
        >>> from mmgraph.data.triples import Triples
        >>> english = KnowledgeGraph.fit(Triples(["Lyon", "Paris"], ["in", "in"], ["France", "France"]))
        >>> german = KnowledgeGraph.fit(Triples(["Paris"], ["liegt_in"], ["Frankreich"]))
        >>> links = {"train": [("Paris", "Paris")], "test": [("France", "Frankreich")]}
        >>> graph, schema = pair(english, german, links, names=("en", "de"))
        >>> graph["en", "fact", "en"].edge_index.tolist(), graph["en", "of", "link"].edge_index.tolist()
        ([[1, 2], [0, 0]], [[2, 0], [0, 1]])
        >>> graph["link"].test_mask.tolist()
        [False, True]
    """
    from torch_geometric.data import HeteroData

    check_names(names)
    if anchor in names or not anchor:
        raise ConfigError(f"Links must have a name of their own, got {anchor!r} beside {names}")
    if candidates not in ("linked", "all"):
        raise ConfigError(f"candidates must be 'linked' or 'all', got {candidates!r}")
    parts, sides = read_links(first, second, links), (first, second)
    sizes = [len(parts[part]) for part in PARTS]
    linked = [
        torch.tensor([one.numbers[link[end]] for part in PARTS for link in parts[part]], dtype=torch.long)
        for end, one in enumerate(sides)
    ]
    alone = [_others(len(one.entities), own) for one, own in zip(sides, linked, strict=True)]
    if candidates == "linked":
        alone = [own[:0] for own in alone]
    graph, nodes, edges = HeteroData(), {anchor: NodeSpec()}, {}
    graph[anchor].num_nodes = sum(sizes) + sum(map(len, alone))
    part_of = torch.arange(len(PARTS)).repeat_interleave(torch.tensor(sizes))
    for number, part in enumerate(PARTS):  # who has no link is a candidate of validation and of test
        rest = torch.full((sum(map(len, alone)),), part != "train")
        graph[anchor][f"{part}_mask"] = torch.cat([part_of == number, rest])
    start = sum(sizes)
    for name, one, own, others in zip(names, sides, linked, alone, strict=True):
        facts = one.facts["train"].unique(dim=0)  # sorted by head, relation and tail
        anchors = torch.cat([torch.arange(len(own)), torch.arange(start, start + len(others))])
        start += len(others)
        graph[name].num_nodes = len(one.entities)
        graph[name, FACT, name].edge_index = facts[:, [0, 2]].T.contiguous()
        graph[name, FACT, name].edge_attr = facts[:, 1:2].float()
        graph[name, "of", anchor].edge_index = torch.stack([torch.cat([own, others]), anchors])
        nodes[name], edges[name, "of", anchor] = NodeSpec(), EdgeSpec()
        edges[name, FACT, name] = EdgeSpec(channels=1, multiple=True, unit="number of the relation")
        if payload is not None:
            graph[name].x, nodes[name] = _told(one, payload)
    if nodes[names[0]] != nodes[names[1]]:
        raise DataError(
            f"Payloads {payload!r} of both graphs must have features of one kind, got {nodes[names[0]]} and "
            f"{nodes[names[1]]}; give build_graph of one the other's encoder, "
            f"encoders={{{payload!r}: other.encoder({payload!r})}}"
        )
    schema = Schema(nodes=nodes, edges=edges, anchor=anchor)
    schema.check(graph)
    return graph, schema


def _others(count: int, rows: Tensor) -> Tensor:
    """The rows that are not among some."""
    free = torch.ones(count, dtype=torch.bool)
    free[rows] = False
    return free.nonzero().flatten()


def _told(knowledge: KnowledgeGraph, payload: str) -> tuple[Tensor, NodeSpec]:
    """The features of the payloads of each entity, ``[entities, channels]``, and what they are."""
    spec = knowledge.schema.nodes.get(payload)
    if spec is None or not spec.channels:
        kinds = [node for node, one in knowledge.schema.nodes.items() if one.channels]
        raise ConfigError(f"payload must be a node type with features in both graphs, {kinds} here, got {payload!r}")
    given, numbering = knowledge.graph[payload].x, Numbering(knowledge.schema)
    x = torch.zeros(len(knowledge.entities), spec.channels)
    for node, first in numbering.offsets(knowledge.graph).items():
        if (payload, "of", node) in knowledge.schema.edges:
            row, entity = knowledge.graph[payload, "of", node].edge_index
            x.index_add_(0, entity + first, given[row].float())
    return F.normalize(x, dim=1), NodeSpec(modality=spec.modality, channels=spec.channels, encoder=spec.encoder)
