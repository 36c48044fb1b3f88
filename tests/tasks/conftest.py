"""A population with missing modalities, the graphs of the three regimes, and a knowledge graph."""

import pytest
import torch
from torch_geometric.data import HeteroData

from mmgraph import Population, PopulationConfig, stratified_split
from mmgraph.schema import EdgeSpec, NodeSpec, Schema, TargetSpec
from mmgraph.testing import fake_records


def population(regime="cohort_hidden", *, classes=("healthy", "ill"), signal=1.0, **options):
    records = fake_records(90, classes=classes, signal=signal, missing=0.15)
    config = PopulationConfig(k=4, regime=regime, kernel=True, **options)
    return Population.fit(records, stratified_split(records.labels, seed=1), config)


@pytest.fixture(scope="session")
def make_population():
    return population


@pytest.fixture(scope="session")
def built():
    return population()


def hide_labels(graph, part):
    """A copy with every label of a part changed."""
    changed = graph.clone()
    mask = changed["subject"][f"{part}_mask"]
    changed["subject"].y = torch.where(mask, 1 - changed["subject"].y, changed["subject"].y)
    return changed


@pytest.fixture(scope="session")
def with_other_labels():
    return hide_labels


def knowledge(parts, *, entities, relations, payloads=(), width=2):
    """A knowledge graph of ``{part: [(head, relation, tail)]}``; payloads: name → entities that carry one."""
    facts = torch.tensor([fact for part in ("train", "val", "test") for fact in parts.get(part, ())])
    heads, kinds, tails = facts.T
    graph, names = HeteroData(), [f"r{number}" for number in range(relations)]
    graph["entity"].num_nodes = entities
    store = graph["query"]
    store.source, store.answer = torch.cat([heads, tails]), torch.cat([tails, heads])
    store.relation = torch.cat([kinds, kinds + relations])
    which = [part for part in ("train", "val", "test") for _ in parts.get(part, ())] * 2
    for part in ("train", "val", "test"):
        store[f"{part}_mask"] = torch.tensor([one == part for one in which])
    store.num_nodes = len(which)
    train = store.train_mask[: len(facts)]
    for number, name in enumerate(names):
        edges = facts[train & (kinds == number)][:, [0, 2]].T
        graph["entity", name, "entity"].edge_index = edges
        graph["entity", f"^{name}", "entity"].edge_index = edges.flip(0)
    joins = [("entity", f"{mark}{name}", "entity") for name in names for mark in ("", "^")]
    for name, owners in dict(payloads).items():
        graph[name].x = torch.arange(1.0, len(owners) * width + 1).view(-1, width)
        graph[name, "of", "entity"].edge_index = torch.stack([torch.arange(len(owners)), torch.tensor(owners)])
        joins.append((name, "of", "entity"))
    classes = tuple(f"e{number}" for number in range(entities))
    schema = Schema(
        nodes={
            "entity": NodeSpec(),
            "query": NodeSpec(attributes=("source", "relation")),
            **dict.fromkeys(dict(payloads), NodeSpec(channels=width)),
        },
        edges=dict.fromkeys(joins, EdgeSpec()),
        targets={"answer": TargetSpec(node="query", attribute="answer", kind="multiclass", classes=classes)},
        anchor="entity",
    )
    return graph, schema


@pytest.fixture(scope="session")
def make_knowledge():
    return knowledge


def drawn_knowledge(seed=0, *, entities=30, relations=4, facts=200, payloads=(("image", range(10)),)):
    """Facts drawn at random: relation 0 is 1-1, 1 is 1-n, 2 is n-1 and 3 is n-n."""
    generator = torch.Generator().manual_seed(seed)
    found = torch.stack([torch.randint(n, (facts,), generator=generator) for n in (entities, relations, entities)]).T
    kinds = found[:, 1] % 4
    found[kinds == 0, 2] = (found[kinds == 0, 0] + 1) % entities
    found[kinds == 1, 0] = found[kinds == 1, 2] // 5
    found[kinds == 2, 2] = found[kinds == 2, 0] // 5
    found[kinds == 3] %= torch.tensor([6, relations, 6])
    rows = found.unique(dim=0)
    rows = rows[torch.randperm(len(rows), generator=generator)].tolist()
    cut = len(rows) // 5
    parts = {"val": rows[:cut], "test": rows[cut : 2 * cut], "train": rows[2 * cut :]}
    given = {name: list(owners) for name, owners in payloads}
    return knowledge(parts, entities=entities, relations=relations, payloads=given)


@pytest.fixture(scope="session")
def make_drawn_knowledge():
    return drawn_knowledge
