"""Entities of which training sees no fact: what they carry must do."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch

from mmgraph.errors import ConfigError, SchemaError
from mmgraph.schema import Schema
from mmgraph.schema.facts import Numbering

if TYPE_CHECKING:
    from torch import Tensor
    from torch_geometric.data import HeteroData


def hold_out_entities(
    graph: HeteroData, schema: Schema, *, val: float | Tensor, test: float | Tensor, seed: int = 0
) -> HeteroData:
    """Splits a knowledge graph anew, by entities: no fact of those held out is an edge, or for training.

    A fact that names an entity of the test is for the test, one that names an entity of validation (and none of the
    test) for validation, and all others are for training. Payloads stay: by them alone, unseen entities are known.

    Source: Daza, Cochez and Groth 2021, Inductive entity representations from text via link prediction, section 4.1;
    arXiv:2010.03496.

    Args:
        graph: As :class:`mmgraph.KnowledgeGraph` makes it; it is left as it is.
        schema: What it means.
        val: The entities of validation: a share that is drawn, or a mask ``[entities]``.
        test: The entities of the test, likewise.
        seed: Of the draw.

    Raises:
        ConfigError: Shares that leave no entity, one share and one mask, or masks of another length or that overlap.
        SchemaError: The graph has no questions.

    Example:
        >>> from mmgraph.testing import fake_knowledge
        >>> graph, schema = fake_knowledge(20, facts=100)
        >>> split = hold_out_entities(graph, schema, val=0.1, test=0.2)
        >>> named = split["entity", "knows", "entity"].edge_index.unique()
        >>> asked = split["query"].source[split["query"].test_mask].unique()
        >>> len(named) <= 14, len(asked) > 4
        (True, True)
    """
    numbering = Numbering(schema)
    if "query" not in graph.node_types:
        raise SchemaError(f"The graph must have questions, nodes of type 'query', got types {graph.node_types}")
    parts = _entities(numbering.count(graph), val, test, seed)
    changed, first = copy.copy(graph), numbering.offsets(graph)
    store = graph["query"]
    named = {part: mask[store.source] | mask[store.answer] for part, mask in parts.items()}
    query = changed["query"]
    query.test_mask = named["test"]
    query.val_mask = named["val"] & ~named["test"]
    query.train_mask = ~named["test"] & ~named["val"]
    half = len(numbering.relations)
    for edge in numbering.joins:
        rows = query.train_mask & (store.relation == numbering.number(edge[1]) % (2 * half))
        here = [
            (end >= first[node]) & (end < first[node] + graph[node].num_nodes)
            for node, end in ((edge[0], store.source), (edge[2], store.answer))
        ]
        rows = rows & here[0] & here[1]
        index = torch.stack([store.source[rows] - first[edge[0]], store.answer[rows] - first[edge[2]]])
        for key in list(changed[edge]):
            del changed[edge][key]
        changed[edge].edge_index = index
    return changed


def _entities(count: int, val: float | Tensor, test: float | Tensor, seed: int) -> dict[str, Tensor]:
    if isinstance(val, float) and isinstance(test, float):
        numbers = [round(share * count) for share in (val, test)]
        if min(val, test) < 0 or sum(numbers) >= count:
            raise ConfigError(f"val and test must be shares that leave some of {count} entities, got {val} and {test}")
        order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
        masks = torch.zeros(2, count, dtype=torch.bool)
        masks[0, order[: numbers[0]]] = True
        masks[1, order[numbers[0] : sum(numbers)]] = True
        return {"val": masks[0], "test": masks[1]}
    masks_given = {"val": val, "test": test}
    for name, mask in masks_given.items():
        if not isinstance(mask, torch.Tensor) or mask.shape != (count,) or mask.dtype != torch.bool:
            got = list(mask.shape) if isinstance(mask, torch.Tensor) else mask
            raise ConfigError(f"{name} must be a mask [{count}] of bool as the other is, or both shares, got {got}")
    found = {name: mask for name, mask in masks_given.items() if isinstance(mask, torch.Tensor)}
    if both := int((found["val"] & found["test"]).sum()):
        raise ConfigError(f"val and test must have no entity in common, got {both}")
    return found
