"""The recipe on a small world: the person is found, the part is bounded, no answer is in a view."""

import pyarrow as pa
import pytest
import torch

import mmgraph as mg
from mmgraph.recipe import load_recipe

PEOPLE = ["ann_lee", "bob", "cid_o'hara", "dee"]
FACTS = {"likes": [(0, 1), (1, 2), (2, 3), (3, 0)], "knows": [(0, 2), (1, 0), (2, 3), (3, 1)]}


@pytest.fixture
def module(monkeypatch):
    """The recipe, whose data are four people and what is asked of them in two ways."""
    rows = []
    for number in range(40):
        person, way = number % 4, ("likes", "knows")[number // 4 % 2]
        mid = dict(FACTS["likes"])[person]
        answer = dict(FACTS[way])[mid]
        rows.append(
            {
                "question": f"question-{number}",
                "text": f"who {way} whom {PEOPLE[person]} likes ?",
                "answers": [PEOPLE[answer]],
                "path": f"path-{number % 8}",
            }
        )
    tables = {"questions": pa.Table.from_pylist(rows), "entities": pa.table({"name": PEOPLE})}
    for name, pairs in FACTS.items():
        tables[name] = pa.table({"source": [PEOPLE[a] for a, _ in pairs], "target": [PEOPLE[b] for _, b in pairs]})
    config = mg.GraphConfig(
        anchor="question",
        nodes={
            "question": {"table": "questions", "key": "question", "columns": {"text": "text"}},
            "entity": {"table": "entities", "key": "name"},
        },
        edges=[
            {"type": ("entity", name, "entity"), "table": name, "source": "source", "target": "target"}
            for name in FACTS
        ],
        split={"by": "random", "test": 0.2, "val": 0.2},
    )
    loaded = load_recipe("pathquestion").module
    monkeypatch.setattr(mg, "load_dataset", lambda name, split: mg.Source(config, tables=tables), raising=False)
    return loaded


def test_it_answers_by_walking(module):
    config = module.Config(encoder="words", entities=3, channels=8)
    graph, schema = module.build(config, 0, 0)
    schema.check(graph)
    assert graph["question", "about", "entity"].edge_index[1].tolist() == [number % 4 for number in range(40)]
    reads = torch.bincount(graph["question", "reads", "entity"].edge_index[0])
    assert reads.tolist() == [3] * 40
    task = module.make_task(config, schema)
    assert (task.view(graph, "test")["question"].answer[~graph["question"].train_mask] == -1).all()
    graph, schema = module.build(module.Config(encoder="words", channels=8), 0, 0)
    torch.manual_seed(0)
    model = module.make_model(config, schema)
    fitted = mg.fit(model, module.make_objective(config, schema), task, graph, module.Config().fit)
    assert fitted.evaluate("test")["accuracy"] == 1.0
    assert set(model.paths(graph)) == {("likes", "likes"), ("likes", "knows")}
    assert module.closed_book(config, schema)(task.view(graph, "val")).shape == (40, 4)
