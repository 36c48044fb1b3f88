"""Named facts on a base → a graph of typed edges and of questions, with its schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mmgraph.builders.facts import distinct, first_of_each, keys
from mmgraph.builders.knowledge_base import ANSWER, EDGE_ATTRIBUTES, QUERY, Base, shallow
from mmgraph.builders.knowledge_stated import PARTS
from mmgraph.errors import DataError
from mmgraph.schema import EdgeSpec, NodeSpec, Schema, TargetSpec
from mmgraph.schema.facts import INVERSE, Numbering

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

    from mmgraph.typing import EdgeType


def write_graph(
    base: Base, facts: Mapping[str, np.ndarray], relations: Sequence[str], *, inverse: bool
) -> tuple[HeteroData, Schema, dict[str, Tensor]]:
    """Adds the edges of the training facts, and the questions that all facts answer.

    Args:
        base: The entities.
        facts: Part → facts ``[facts, 3]`` by number of entity (as the base numbers them) and of relation.
        relations: The names of the relations.
        inverse: Whether each relation has an edge type of its inverse.

    Returns:
        The graph, its schema, and the facts by the numbers of the graph.

    Raises:
        DataError: There is nothing to join, or the base joins nodes that have no name.
    """
    graph, edges = shallow(base.graph), dict(base.schema.edges)
    if inverse:
        edges |= _inverses(graph, base)
    edges |= _edges(graph, base, facts, relations, inverse=inverse)
    schema = base.schema.model_copy(update={"edges": edges})
    numbering = Numbering(schema)
    if nameless := [node for node in numbering.entities if node not in base.names]:
        edge = next(edge for edge in edges if nameless[0] in edge and edge[1] != "of")
        raise DataError(
            f"Nodes that relations join must have names, but {edge} of payloads joins {nameless[0]!r}, which has none; "
            f"give names as {{{nameless[0]!r}: [...]}}, or take the edges out"
        )
    entities = tuple(name for node in numbering.entities for name in base.names[node])
    if len(entities) < 2:
        raise DataError(f"A knowledge graph needs at least 2 entities, got {list(entities)}")
    first = numbering.offsets(graph)
    kinds, rows = base.places
    offsets = np.array([first[node] for node in base.names], np.int64)
    number = torch.from_numpy(offsets[kinds] + rows)
    relation = torch.tensor([numbering.number(name) for name in relations], dtype=torch.long)
    written = {"train": _once(numbering.facts(graph), len(entities), len(numbering.relations))}
    for part in PARTS[1:]:
        heads, asked, tails = torch.from_numpy(facts[part]).unbind(dim=1)
        written[part] = torch.stack([number[heads], relation[asked], number[tails]], dim=1)
    _ask(graph, written, len(numbering.relations))
    answer = TargetSpec(node=QUERY, attribute=ANSWER, kind="multiclass", classes=entities)
    schema = Schema(
        nodes={**schema.nodes, QUERY: NodeSpec(attributes=("source", "relation"))},
        edges=edges,
        targets={**schema.targets, ANSWER: answer},
        anchor=base.entity,
        regime=schema.regime,
    )
    schema.check(graph)
    return graph, schema, written


def _edges(
    graph: HeteroData, base: Base, facts: Mapping[str, np.ndarray], relations: Sequence[str], *, inverse: bool
) -> dict[EdgeType, EdgeSpec]:
    """Writes an edge type for each relation and types of its ends, and returns them in the order of the relations.

    What facts outside training join gets an edge type as well, if need be without edges.
    """
    nodes = list(base.names)
    kinds, rows = base.places
    size = len(nodes)

    def kind(part: np.ndarray) -> np.ndarray:
        return (part[:, 1] * size + kinds[part[:, 0]]) * size + kinds[part[:, 2]]

    train = facts["train"]
    order = np.argsort(kind(train), kind="stable")
    every = distinct(np.concatenate([kind(part) for part in facts.values()]))
    starts, stops = (np.searchsorted(kind(train)[order], every, side=side) for side in ("left", "right"))
    found: dict[int, list[tuple[EdgeType, np.ndarray]]] = {number: [] for number in range(len(relations))}
    for code, start, stop in zip(every.tolist(), starts.tolist(), stops.tolist(), strict=True):
        number, ends = divmod(code, size * size)
        head, tail = divmod(ends, size)
        found[number].append(((nodes[head], relations[number], nodes[tail]), train[order[start:stop]]))
    edges: dict[EdgeType, EdgeSpec] = {}
    for number, name in enumerate(relations):
        empty = [((base.entity, name, base.entity), train[:0])]
        for (source, _, target), own in found[number] or empty:
            index = torch.from_numpy(np.stack([rows[own[:, 0]], rows[own[:, 2]]]))  # [2, edges]
            graph[source, name, target].edge_index = index
            edges[source, name, target] = EdgeSpec()
            if inverse:
                graph[target, INVERSE + name, source].edge_index = index.flip(0)
                edges[target, INVERSE + name, source] = EdgeSpec()
    joins = [edge for edge in (*base.schema.edges, *edges) if edge[1] != "of"]
    ends = {end for source, _, target in joins for end in (source, target)}
    for node in (node for node in nodes if node not in ends and joins):  # so that its entities are numbered too
        graph[node, joins[0][1], node].edge_index = torch.empty(2, 0, dtype=torch.long)
        edges[node, joins[0][1], node] = EdgeSpec()
    return edges


def _inverses(graph: HeteroData, base: Base) -> dict[EdgeType, EdgeSpec]:
    """Writes the inverses of the relations that the base has between entities."""
    edges: dict[EdgeType, EdgeSpec] = {}
    for (source, name, target), spec in base.schema.edges.items():
        if name != "of" and source in base.names and target in base.names:
            given, turned = graph[source, name, target], (target, INVERSE + name, source)
            for key in EDGE_ATTRIBUTES:
                if key in given:
                    graph[turned][key] = given[key].flip(0) if key == "edge_index" else given[key]
            edges[turned] = spec
    return edges


def _ask(graph: HeteroData, facts: Mapping[str, Tensor], num_relations: int) -> None:
    """Writes two questions a fact: for its tail, and by the inverse relation for its head."""
    heads, relations, tails = torch.cat([facts[part] for part in PARTS]).unbind(dim=1)
    graph[QUERY].num_nodes = 2 * len(heads)
    graph[QUERY].source = torch.cat([heads, tails])
    graph[QUERY].relation = torch.cat([relations, relations + num_relations])
    graph[QUERY][ANSWER] = torch.cat([tails, heads])
    which = torch.cat([torch.full((len(facts[part]),), number) for number, part in enumerate(PARTS)]).repeat(2)
    for number, part in enumerate(PARTS):
        graph[QUERY][f"{part}_mask"] = which == number


def _once(facts: Tensor, num_entities: int, num_relations: int) -> Tensor:
    return facts[torch.from_numpy(first_of_each(keys(facts.numpy(), num_entities, num_relations)))]
