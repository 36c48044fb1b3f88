"""Subgraphs as vectors: what is around each anchor, embedded, indexed, and found again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch

from mmgraph.aligner import Aligner
from mmgraph.builders import Population
from mmgraph.data.records import Records
from mmgraph.errors import ConfigError, DataError
from mmgraph.functional import readout
from mmgraph.functional.readout import Weights
from mmgraph.index import Exact, Faiss, Index
from mmgraph.linker import Linker
from mmgraph.model import Model
from mmgraph.schema import Schema, view

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

Kind = Literal["exact", "flat", "hnsw", "ivf", "ivfpq"]
KINDS: tuple[str, ...] = get_args(Kind)


def index_subgraphs(
    model: Model | Aligner | Linker,
    graph: HeteroData,
    ids: Sequence[str] | None = None,
    *,
    hops: int = 1,
    weights: Weights = "mean",
    show: int | None = None,
    kind: Kind = "exact",
) -> Index:
    """Embeds the subgraph around every anchor, and indexes the vectors.

    Labels are hidden from the embedding. They are in the metadata, under the target's name, beside ``part`` (of
    the split), to filter by and to show. A hit carries its subgraph.

    Args:
        model: A trained model; its schema is the graph's.
        graph: The whole graph.
        ids: A name for each anchor; by default the anchor's type and row.
        hops: Radius of a subgraph, in edges between anchors.
        weights: How much each member counts; see :mod:`mmgraph.functional.readout`.
        show: Radius of the subgraph that a hit carries; by default ``hops``. For a model that reads subgraphs out
            itself (:class:`~mmgraph.layers.Readout`) ``hops`` is 0, and this its radius.
        kind: ``exact``, or one of faiss's: ``flat``, ``hnsw``, ``ivf``, ``ivfpq``; see :mod:`mmgraph.index`.

    Raises:
        ConfigError: An unknown kind.

    Example:
        >>> import mmgraph as mg
        >>> records = mg.load_dataset("wdbc")
        >>> population = mg.Population.fit(records, mg.stratified_split(records.labels))
        >>> index = index_subgraphs(mg.classifier(population.schema), population.graph, population.ids)
        >>> hit = index.search_id("patient-007", k=1)[0]
        >>> hit.subgraph["subject"].num_nodes < 40
        True
    """
    schema = model.schema
    names = [f"{model.anchor}-{row}" for row in range(graph[model.anchor].num_nodes)] if ids is None else list(ids)
    told = [name for name, target in schema.targets.items() if target.classes and target.node == model.anchor]
    metadata = {name: labels_of(graph, schema, name) for name in told}
    options: dict[str, Any] = {
        "metadata": {**metadata, "part": parts_of(graph, model.anchor)},
        "fingerprint": schema.fingerprint,
        "subgraph": lambda row: subgraph(graph, schema, row, hops=hops if show is None else show),
    }
    if kind not in KINDS:
        raise ConfigError(f"kind must be one of {list(KINDS)}, got {kind!r}")
    vectors = embed(model, graph, hops=hops, weights=weights)
    return Exact(vectors, names, **options) if kind == "exact" else Faiss(vectors, names, kind=kind, **options)


@torch.no_grad()
def embed(
    model: Model | Aligner | Linker, graph: HeteroData, *, hops: int = 1, weights: Weights = "mean"
) -> np.ndarray:
    """The vectors of the subgraphs around the anchors, ``[anchors, channels]``, made without seeing a label.

    Where no relation joins anchors, those of the anchors alone.
    """
    model.eval()
    states = model.embed(view(graph, model.schema))
    joins = [graph[relation].edge_index for relation in model.schema.relations(model.anchor)]
    if hops and joins:
        states = readout(states, torch.cat(joins, dim=1), hops=hops, weights=weights)
    vectors: np.ndarray = states.cpu().numpy()
    return vectors


def embed_new(model: Model, population: Population, records: Records, *, hops: int = 1) -> np.ndarray:
    """The vector of one new subject, ``[channels]``, attached to the population alone.

    Raises:
        DataError: Records of other than one subject, or of other modalities.
    """
    if len(records) != 1:
        raise DataError(f"A query must be the records of 1 subject, got {len(records)}")
    vector: np.ndarray = embed(model, population.attach(records).graph, hops=hops)[-1]
    return vector


def subgraph(graph: HeteroData, schema: Schema, row: int, *, hops: int = 1) -> HeteroData:
    """The part of a graph within some edges of an anchor, with the modality nodes of what is in it, without labels.

    Args:
        graph: The whole graph.
        schema: What it means; it must name an anchor.
        row: The anchor's row.
        hops: Radius, in edges: those that lead to a node, and those between nodes of two types either way.

    Returns:
        A view; ``n_id`` says which rows of the whole graph its nodes are.
    """
    assert schema.anchor is not None
    parts = {edge[0] for edge in schema.edges if edge[1] == "of"}  # they go with what they are of
    near = {n: torch.zeros(graph[n].num_nodes, dtype=torch.bool) for n in schema.nodes if n not in parts}
    near[schema.anchor][row] = True
    joins = [edge for edge in schema.edges if edge[1] != "of" and edge[0] in near and edge[2] in near]
    for _ in range(hops):
        grown = {node: mask.clone() for node, mask in near.items()}
        for edge in joins:
            source, target = graph[edge].edge_index
            grown[edge[0]][source[near[edge[2]][target]]] = True
            if edge[0] != edge[2]:
                grown[edge[2]][target[near[edge[0]][source]]] = True
        near = grown
    return view(graph, schema, keep=near)


def labels_of(graph: HeteroData, schema: Schema, target: str) -> list[str | None]:
    """The class of each node that carries a target, ``None`` where it is not known."""
    spec = schema.target(target)
    return [spec.classes[number] if number >= 0 else None for number in graph[spec.node][spec.attribute].tolist()]


def anchor_labels(graph: HeteroData, schema: Schema) -> list[str | None]:
    """The class of each anchor, by the first target of theirs that has classes; ``None`` where it is not known."""
    for name, target in schema.targets.items():
        if target.classes and target.node == schema.anchor:
            return labels_of(graph, schema, name)
    return [None] * graph[schema.anchor].num_nodes


def parts_of(graph: HeteroData, anchor: str) -> list[str]:
    """The part of the split that each anchor is in; ``""`` for none."""
    parts = [""] * graph[anchor].num_nodes
    for part in ("train", "val", "test"):
        mask = graph[anchor].get(f"{part}_mask")
        for row in [] if mask is None else mask.nonzero().flatten().tolist():
            parts[row] = part
    return parts
