"""The recipe on countries that give to those that are larger: their area says who answers."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

import mmgraph as mg
from mmgraph.recipe import load_recipe
from mmgraph.tasks import baseline
from mmgraph.train import fit


@pytest.fixture(scope="module")
def known():
    """Thirty countries of three sizes: all give to all of the next size."""
    size = np.arange(30) % 3
    facts = [(f"c{a:02}", "gives", f"c{b:02}") for a in range(30) for b in range(30) if size[b] == (size[a] + 1) % 3]
    table = pa.table({"entity": [f"c{a:02}" for a in range(30)], "size": np.eye(3)[size][:, 0]})
    table = table.append_column("second", pa.array((size == 1).astype(float)))
    nodes = {"entity": {"table": "t", "key": "entity", "columns": {"size": "numeric", "second": "numeric"}}}
    built = mg.build_graph(mg.Source(mg.GraphConfig(nodes=nodes), tables={"t": table}))
    order = np.random.default_rng(0).permutation(len(facts))
    parts = {"train": order[60:], "val": order[:30], "test": order[30:60]}
    triples = {part: mg.Triples(*zip(*(facts[row] for row in rows), strict=True)) for part, rows in parts.items()}
    return mg.KnowledgeGraph.fit(triples, payloads=built)


@pytest.fixture
def module(known, monkeypatch):
    def load(name, *, graph, literals):
        assert (name, graph, literals) == ("kgs", "nations", True)
        return known

    monkeypatch.setattr(mg, "load_dataset", load)
    return load_recipe("literals_nations").module


@pytest.fixture
def config(module):
    config = module.Config(channels=16)
    return replace(config, fit=replace(config.fit, epochs=15))


def test_unseen_countries_are_in_no_fact_of_training(module, config, known):
    graph, schema = module.build(config, 0, 0)
    assert (graph, schema) == (known.graph, known.schema)
    unseen, _ = module.build(replace(config, unseen=True), 1, 0)
    named = unseen["entity", "gives", "entity"].edge_index.unique()
    query = unseen["query"]
    asked = torch.stack([query.source, query.answer])[:, query.test_mask]
    assert not torch.isin(asked, named).all(dim=0).any()
    assert len(named) < 30
    assert unseen["table"].x.equal(graph["table"].x)


def test_each_country_has_its_literals_beside_its_vector(module, config, known):
    torch.manual_seed(0)
    linker = module.make_model(config, known.schema).eval()
    before = linker.embed(known.graph)
    other = known.graph.clone()
    other["table"].x[3] += 1
    moved = (linker.embed(other) != before).any(dim=1)
    assert moved.nonzero().flatten().tolist() == [3]
    alone = module.RIVALS["learned vectors alone"](config, known.schema).eval()
    assert alone.embed(other).equal(alone.embed(known.graph))
    assert set(module.CONTROLS) <= set(module.make_task(config, known.schema).controls)


@pytest.mark.parametrize("unseen", [False, True])
def test_it_learns_more_than_frequency(module, config, unseen):
    config = replace(config, unseen=unseen)
    graph, schema = module.build(config, 0, 0)
    task = module.make_task(config, schema)
    torch.manual_seed(0)
    model, objective = module.make_model(config, schema), module.make_objective(config, schema)
    fit(model, objective, task, graph, config.fit)
    view = task.view(graph, "test")
    found = task.evaluate(task.answers(model.eval()(view), view, "test"), graph, "test")
    frequent = task.evaluate(baseline("frequency", [graph], task, "test"), graph, "test")
    assert found["mrr"] > frequent["mrr"] + 0.2
