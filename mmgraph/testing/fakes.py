"""Small inputs that are always the same: ragged, with missing modalities, unknown labels and lonely nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Generator, Tensor
from torch_geometric.data import HeteroData

from mmgraph.data import Records
from mmgraph.schema import EdgeSpec, NodeSpec, Schema, TargetSpec
from mmgraph.schema.schema import Regime
from mmgraph.typing import EdgeSet, EdgeType, Features

WIDTHS = {"scan": 3, "text": 5}
CLASSES = ("healthy", "ill")


def fake_records(
    subjects: int = 40,
    *,
    widths: Mapping[str, int] = WIDTHS,
    classes: Sequence[str] = CLASSES,
    missing: float = 0.2,
    signal: float = 2.0,
    seed: int = 0,
) -> Records:
    """A table of subjects: every class equally often, its centre ``signal`` deviations from the origin.

    Args:
        subjects: How many.
        widths: Modality → channels.
        classes: Names of the classes.
        missing: Share of the subjects that lack a modality, drawn for each modality.
        signal: How far apart the classes are; 0 makes the modalities noise.
        seed: Of all that is drawn.

    Returns:
        Records with the phenotypes ``age`` (years) and ``site``.

    Example:
        >>> records = fake_records(10, missing=0.2)
        >>> len(records), records.labels[:4].tolist(), int(records.present("scan").sum())
        (10, [0, 1, 0, 1], 8)
    """
    rng = np.random.default_rng(seed)
    labels = np.arange(subjects) % len(classes)
    modalities = {}
    for name, width in widths.items():
        centres = rng.normal(size=(len(classes), width))
        centres *= signal / np.linalg.norm(centres, axis=1, keepdims=True)
        modalities[name] = centres[labels] + rng.normal(size=(subjects, width))  # [subjects, width]
        modalities[name][rng.permutation(subjects)[: round(missing * subjects)]] = np.nan
    phenotypes = {"age": rng.uniform(50, 90, subjects).round(1), "site": rng.choice(["north", "south"], subjects)}
    return Records(
        ids=[f"subject-{row:03d}" for row in range(subjects)],
        modalities=modalities,
        labels=labels,
        classes=classes,
        phenotypes=phenotypes,
    )


def fake_graph(
    subjects: int = 40,
    *,
    widths: Mapping[str, int] = WIDTHS,
    classes: Sequence[str] = CLASSES,
    regime: Regime = "transductive",
    signal: float = 2.0,
    seed: int = 0,
) -> tuple[HeteroData, Schema]:
    """A graph of subjects with none to three nodes of each modality, and what it means.

    Subject 0 has no modality at all, the last subject no neighbour, and one in thirteen an unknown label.
    Subjects are joined by weighted ``near`` edges (in the regimes that hide parts only from training, or within
    a part), the nodes of a modality that a subject has several of by ``next`` edges. ``train_mask``,
    ``val_mask`` and ``test_mask`` hold three, one and one fifth.

    Args:
        subjects: How many, at least 10 and enough for each class to be in each part.
        widths: Modality → channels.
        classes: Names of the classes.
        regime: What may be seen of the subjects outside training.
        signal: How far the classes are apart; 0 makes the modalities noise.
        seed: Of all that is drawn.

    Returns:
        The graph and its schema, with the anchor ``subject`` and the target ``diagnosis``.

    Example:
        >>> graph, schema = fake_graph()
        >>> schema.check(graph)
        >>> schema.modalities, graph["subject"].num_nodes, graph["subject"].y[:4].tolist()
        (('scan', 'text'), 40, [0, 1, 0, 1])
    """
    generator = torch.Generator().manual_seed(seed)
    rows = torch.arange(subjects)
    labels, part = rows % len(classes), (rows // len(classes) % 5 - 2).clamp_min(0)  # 0, 1, 2: train, val, test
    graph = HeteroData()
    graph["subject"].x = torch.empty(subjects, 0)
    graph["subject"].y = labels.where(rows % 13 != 9, -1)
    for number, name in enumerate(("train", "val", "test")):
        graph["subject"][f"{name}_mask"] = part == number
    for name, width in widths.items():
        count = torch.randint(0, 4, (subjects,), generator=generator)
        count[0] = 0
        owner = rows.repeat_interleave(count)
        centres = signal * torch.nn.functional.normalize(torch.randn(len(classes), width, generator=generator))
        graph[name].x = centres[labels[owner]] + torch.randn(len(owner), width, generator=generator)
        graph[name, "of", "subject"].edge_index = torch.stack([torch.arange(len(owner)), owner])
        first = (owner[1:] == owner[:-1]).nonzero().flatten()
        graph[name, "next", name].edge_index = torch.stack([first, first + 1])
    index = _near(part if regime != "transductive" else torch.zeros_like(part), generator)
    graph["subject", "near", "subject"].edge_index = index
    graph["subject", "near", "subject"].edge_weight = 0.5 + torch.rand(index.shape[1], generator=generator)
    return graph, _schema(widths, classes, regime)


def fake_parts(
    anchors: int = 12, *, widths: Mapping[str, int] = WIDTHS, missing: float = 0.3, seed: int = 0
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Parts ``[anchors, channels]`` and masks ``[anchors]``; anchor 0 has all parts, anchor 1 none.

    Example:
        >>> parts, present = fake_parts()
        >>> parts["scan"].shape, present["scan"][:2].tolist(), bool(present["scan"].all())
        (torch.Size([12, 3]), [True, False], False)
    """
    generator = torch.Generator().manual_seed(seed)
    parts, present = {}, {}
    for name, width in widths.items():
        present[name] = torch.rand(anchors, generator=generator) >= missing
        present[name][0], present[name][1] = True, False
        parts[name] = torch.randn(anchors, width, generator=generator) * present[name][:, None]
    return parts, present


def fake_states(channels: int = 4, *, weighted: bool = True, seed: int = 0) -> tuple[Features, dict[EdgeType, EdgeSet]]:
    """States of two node types and edges of three: among subjects (weighted), among scans, from scan to subject.

    The last row of each type has no edge at all.

    Example:
        >>> features, edges = fake_states(4)
        >>> {node: list(x.shape) for node, x in features.items()}, edges["scan", "of", "subject"].index.shape[1]
        ({'subject': [6, 4], 'scan': [9, 4]}, 17)
    """
    generator = torch.Generator().manual_seed(seed)
    rows = {"subject": 6, "scan": 9}
    features = {node: torch.randn(count, channels, generator=generator) for node, count in rows.items()}
    edges = {}
    for source, relation, target in (
        ("subject", "near", "subject"),
        ("scan", "next", "scan"),
        ("scan", "of", "subject"),
    ):
        joined = torch.rand(rows[source] - 1, rows[target] - 1, generator=generator) < 0.4
        index = joined.nonzero().T  # [2, edges]
        weight = 0.5 + torch.rand(index.shape[1], generator=generator)
        edges[source, relation, target] = EdgeSet(index, weight if weighted and source == target else None)
    return features, edges


def _near(part: Tensor, generator: Generator) -> Tensor:
    """Three sources for each subject but the last, from training (0) or its own part: ``[2, edges]``."""
    pairs = []
    for target in range(len(part) - 1):
        allowed = ((part == 0) | (part == part[target])).nonzero().flatten()
        allowed = allowed[(allowed != target) & (allowed != len(part) - 1)]
        sources = allowed[torch.randperm(len(allowed), generator=generator)[:3]]
        pairs.append(torch.stack([sources, torch.full_like(sources, target)]))
    return torch.cat(pairs, dim=1)


def _schema(widths: Mapping[str, int], classes: Sequence[str], regime: Regime) -> Schema:
    kind = "binary" if len(classes) == 2 else "multiclass"
    edges = {(name, "of", "subject"): EdgeSpec() for name in widths}
    edges |= {(name, "next", name): EdgeSpec() for name in widths}
    edges["subject", "near", "subject"] = EdgeSpec(weighted=True)
    return Schema(
        nodes={"subject": NodeSpec(channels=0), **{name: NodeSpec(channels=width) for name, width in widths.items()}},
        edges=edges,
        targets={"diagnosis": TargetSpec(node="subject", kind=kind, classes=tuple(classes))},
        anchor="subject",
        regime=regime,
    )


def fake_knowledge(
    entities: int = 12, *, relations: Sequence[str] = ("knows", "likes", "owns"), facts: int = 60, seed: int = 0
) -> tuple[HeteroData, Schema]:
    """A knowledge graph in the form that :class:`mmgraph.KnowledgeGraph` makes: some entities carry a ``text`` vector.

    Args:
        entities: How many; the last has no fact in training.
        relations: Names of the relations.
        facts: How many, at most: some are drawn twice. A fifth is for validation, a fifth for the test.
        seed: Of all that is drawn.

    Example:
        >>> graph, schema = fake_knowledge()
        >>> schema.check(graph)
        >>> int(graph["query"].train_mask.sum()) == 2 * sum(graph["entity", r, "entity"].num_edges for r in
        ...     ("knows", "likes", "owns"))
        True
    """
    generator = Generator().manual_seed(seed)
    bounds = torch.tensor([entities, len(relations), entities])
    found = (torch.rand(facts, 3, generator=generator) * bounds).long().unique(dim=0)
    found = found[torch.randperm(len(found), generator=generator)]
    place = torch.arange(len(found)) / len(found)
    last = (found[:, [0, 2]] == entities - 1).any(dim=1)
    parts = {"test": (place < 0.2) | last, "val": (place >= 0.2) & (place < 0.4) & ~last}
    parts["train"] = ~parts["test"] & ~parts["val"]
    graph = HeteroData()
    graph["entity"].num_nodes = entities
    carries = torch.arange(0, entities, 2)
    graph["text"].x = torch.randn(len(carries), WIDTHS["text"], generator=generator)
    heads, numbers, tails = found.T
    query = graph["query"]
    query.num_nodes = 2 * len(found)
    query.source, query.answer = torch.cat([heads, tails]), torch.cat([tails, heads])
    query.relation = torch.cat([numbers, numbers + len(relations)])
    for part, mask in parts.items():
        query[f"{part}_mask"] = mask.repeat(2)
    graph["text", "of", "entity"].edge_index = torch.stack([torch.arange(len(carries)), carries])
    for prefix, ends in (("", [0, 2]), ("^", [2, 0])):
        for number, name in enumerate(relations):
            rows = found[parts["train"] & (numbers == number)]
            graph["entity", f"{prefix}{name}", "entity"].edge_index = rows[:, ends].T.contiguous()
    schema = Schema(
        nodes={
            "entity": NodeSpec(),
            "text": NodeSpec(modality="text", channels=WIDTHS["text"]),
            "query": NodeSpec(attributes=("source", "relation")),
        },
        edges=dict.fromkeys(graph.edge_types, EdgeSpec()),
        targets={
            "answer": TargetSpec(
                node="query",
                attribute="answer",
                kind="multiclass",
                classes=tuple(f"entity-{number}" for number in range(entities)),
            )
        },
        anchor="entity",
    )
    return graph, schema
