"""Controls of knowledge graphs: what entities carry, dealt anew or taken away, and answers by frequency alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mmgraph.functional.ranking import Lists, Scores
from mmgraph.schema import Schema
from mmgraph.schema.facts import Numbering
from mmgraph.tasks.base import Part, Task

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData


def payloads(schema: Schema) -> tuple[str, ...]:
    """The node types that hang on entities, of whatever type, in the order of declaration.

    Example:
        >>> from mmgraph.schema import EdgeSpec, NodeSpec
        >>> edges = dict.fromkeys([("a", "knows", "a"), ("text", "of", "a")], EdgeSpec())
        >>> payloads(Schema(nodes=dict.fromkeys(["a", "text"], NodeSpec()), edges=edges))
        ('text',)
    """
    found = {node for entity in Numbering(schema).entities for node in schema.paths_to(entity)}
    return tuple(node for node in schema.nodes if node in found)


def link_controls(schema: Schema) -> tuple[str, ...]:
    """The controls that apply to a knowledge graph.

    Example:
        >>> from mmgraph.schema import EdgeSpec, NodeSpec
        >>> edges = dict.fromkeys([("a", "knows", "a"), ("text", "of", "a")], EdgeSpec())
        >>> link_controls(Schema(nodes=dict.fromkeys(["a", "text"], NodeSpec()), edges=edges))
        ('no_graph', 'shuffled:text', 'zeroed:text', 'without:text', 'frequency')
    """
    changes = [f"{change}:{name}" for name in payloads(schema) for change in ("shuffled", "zeroed", "without")]
    return ("no_graph", *changes, "frequency")


def deal_anew(graph: HeteroData, schema: Schema, payload: str, seed: int) -> None:
    """Deals what entities carry to other entities of their type; who carries something goes on doing so.

    All that one entity carries goes to one other, along one random circle: nobody keeps its own, unless it is alone.
    """
    generator = torch.Generator().manual_seed(seed)
    for edge in [edge for edge in schema.edges if edge[:2] == (payload, "of")]:
        source, owner = graph[edge].edge_index
        owners, place = owner.unique(return_inverse=True)
        circle = torch.randperm(len(owners), generator=generator).to(owner.device)
        after = torch.empty_like(circle)
        after[circle] = circle.roll(-1)
        graph[edge].edge_index = torch.stack([source, owners[after[place]]])


def set_to_zero(graph: HeteroData, schema: Schema, payload: str) -> None:
    """Sets all features of a payload to zero; that it is there is still known."""
    store = graph[payload]
    for name in [key for key in ("x", *schema.nodes[payload].attributes) if key in store]:
        store[name] = torch.zeros_like(store[name])


def frequency(folds: Sequence[HeteroData], task: Task, part: Part) -> Scores:
    """Ranks entities by how often they answer the relation in training, and equal ones by how often any."""
    relations, answers = [], []
    for graph in folds:
        store = graph[task.node]
        known = store.train_mask & (store.answer >= 0)
        relations.append(store.relation[known].cpu())
        answers.append(store.answer[known].cpu())
    entities, answer = Numbering(task.schema).count(folds[0]), torch.cat(answers)
    overall = torch.bincount(answer, minlength=entities).double()
    lists, store = Lists(torch.cat(relations), answer), folds[0][task.node]
    asked = store.relation[store[f"{part}_mask"]].cpu()
    step = float(overall.max()) + 1  # more than any frequency overall

    def score(rows: Tensor) -> Tensor:
        kinds, which = asked[rows].unique(return_inverse=True)
        row, entry = lists.of(kinds)
        table = overall.repeat(len(kinds), 1)  # [kinds of question, entities]
        table[row, lists.values[entry]] += step * lists.counts[entry]
        return table[which]

    return Scores(score, len(asked), entities)
