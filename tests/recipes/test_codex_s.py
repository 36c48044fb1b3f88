"""The recipes on CoDEx-S, on a small graph whose facts follow from each other."""

from dataclasses import replace

import pytest
import torch

import mmgraph as mg
from mmgraph import scorers
from mmgraph.recipe import load_recipe
from mmgraph.tasks import baseline
from mmgraph.train import fit

SMALL = {
    "bordes2013_transe_codex_s": {"channels": 16},
    "trouillon2016_complex_codex_s": {"channels": 16},
    "balazevic2019_tucker_codex_s": {"channels": 16, "relation_channels": 4, "dropouts": (0.1, 0.1, 0.1)},
}


@pytest.fixture(params=SMALL)
def recipe(request):
    return load_recipe(request.param)


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
def config(recipe):
    config = replace(recipe.config({}), **SMALL[recipe.name])
    return replace(config, fit=replace(config.fit, epochs=60, learning_rate=0.02, batch_size=64))


def test_the_graph_is_the_datasets(recipe, known, monkeypatch):
    asked = []
    monkeypatch.setattr(mg, "load_dataset", lambda name, **options: asked.append((name, options)) or known)
    assert recipe.module.build(recipe.module.Config(), 0, 0) is known
    assert [name for name, _ in asked] == ["codex_s"]
    assert not any(asked[0][1].values())


def test_types_and_symmetry_are_options_of_the_dataset(known, monkeypatch):
    asked, module = [], load_recipe("trouillon2016_complex_codex_s").module
    monkeypatch.setattr(mg, "load_dataset", lambda name, **options: asked.append(options) or known)
    module.build(module.Config(symmetric=True, types=True), 0, 0)
    assert asked == [{"symmetric": True, "types": "facts"}]


def test_the_scorer_is_the_one_in_the_name(recipe, known, config):
    linker = recipe.module.make_model(config, known.schema)
    expected = {"bordes": scorers.TransE, "trouil": scorers.ComplEx, "balaze": scorers.TuckER}[recipe.name[:6]]
    assert type(linker.scorer) is expected
    assert linker.shallow
    assert linker.entities.shape == (52, 16)


def test_it_learns_more_than_frequency(recipe, known, config):
    module, graph, schema = recipe.module, known.graph, known.schema
    task = module.make_task(config, schema)
    torch.manual_seed(0)
    model, objective = module.make_model(config, schema), module.make_objective(config, schema)
    fit(model, objective, task, graph, config.fit)
    view = task.view(graph, "test")
    found = task.evaluate(task.answers(model.eval()(view), view, "test"), graph, "test")
    frequent = task.evaluate(baseline("frequency", [graph], task, "test"), graph, "test")
    assert found["mrr"] > frequent["mrr"] + 0.2
