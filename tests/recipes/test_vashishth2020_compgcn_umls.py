"""The recipe on a small graph whose facts follow from each other."""

from dataclasses import replace

import pytest
import torch

import mmgraph as mg
from mmgraph import layers, scorers
from mmgraph.recipe import load_recipe
from mmgraph.tasks import baseline
from mmgraph.train import fit

NAME = "vashishth2020_compgcn_umls"


@pytest.fixture(scope="module")
def known():
    """Eight towns of five: who lives where, who knows whom (all in a town), where they are from; a fifth is asked."""
    people = [(f"person{i}", i // 5) for i in range(40)]
    facts = [(name, "lives in", f"town{town}") for name, town in people]
    facts += [(name, "is from", f"land{town // 2}") for name, town in people]
    facts += [
        (one, "knows", other) for one, here in people for other, there in people if one != other and here == there
    ]
    order = torch.randperm(len(facts), generator=torch.Generator().manual_seed(0)).tolist()
    parts = {"train": order[48:], "val": order[:24], "test": order[24:48]}
    triples = {part: mg.Triples(*zip(*(facts[row] for row in rows), strict=True)) for part, rows in parts.items()}
    return mg.KnowledgeGraph.fit(triples)


@pytest.fixture
def module():
    return load_recipe(NAME).module


@pytest.fixture
def config(module):
    config = module.Config(channels=16)
    return replace(config, fit=replace(config.fit, epochs=40, batch_size=64))


def test_the_graph_is_the_one_asked_for(module, known, monkeypatch):
    asked = []
    monkeypatch.setattr(mg, "load_dataset", lambda name, graph: asked.append((name, graph)) or known)
    assert module.build(module.Config(graph="kinship"), 0, 0) is known
    assert asked == [("kgs", "kinship")]


def test_messages_go_along_all_relations_and_their_inverses(module, known, config):
    torch.manual_seed(0)
    linker = module.make_model(replace(config, depth=2), known.schema).eval()
    assert isinstance(linker.scorer, scorers.ComplEx)
    first, second = linker.between.layers
    assert isinstance(first, layers.CompGCN)
    assert set(first.relations) == set(second.relations) == {edge for edge in known.graph.edge_types if edge[1] != "of"}
    assert len(first.relations) == 6
    assert (first.activation is None, second.activation is None) == (False, True)
    view = module.make_task(config, known.schema).view(known.graph, "test")
    cut = mg.tasks.control_graph("no_graph", view, known.schema)
    assert not linker(view)[:].allclose(linker(cut)[:])
    alone = module.RIVALS["scorer alone"](config, known.schema).eval()
    assert alone.shallow
    assert isinstance(alone.scorer, scorers.ComplEx)
    assert alone(view)[:].equal(alone(cut)[:])


def test_it_learns_more_than_frequency(module, known, config):
    graph, schema = known.graph, known.schema
    task = module.make_task(config, schema)
    torch.manual_seed(0)
    model, objective = module.make_model(config, schema), module.make_objective(config, schema)
    fit(model, objective, task, graph, config.fit)
    view = task.view(graph, "test")
    found = task.evaluate(task.answers(model.eval()(view), view, "test"), graph, "test")
    frequent = task.evaluate(baseline("frequency", [graph], task, "test"), graph, "test")
    assert found["mrr"] > frequent["mrr"] + 0.2
