import pytest

from mmgraph.errors import ConfigError
from mmgraph.explain import ask, explain_cases, integrated_gradients, shapley
from mmgraph.schema import EdgeSpec


def test_cases_are_what_the_methods_give(trained):
    graph, schema, model = trained
    ids = [f"s{row}" for row in range(60)]
    labels = [schema.targets["diagnosis"].classes[y] if y >= 0 else None for y in graph["subject"].y.tolist()]
    found = explain_cases(model, graph, [3, 9], ids=ids, labels=labels, draws=1)
    questions = ask(model, graph, [3, 9])
    assert found.anchor == "subject"
    assert found.modalities == ("scan", "text")
    for case, question in zip(found.cases, questions, strict=True):
        assert case.id == f"s{question.anchor}"
        assert case.said == ("healthy", "ill")[question.output]
        assert case.shares.parts == shapley(question).parts
        assert case.detail.parts == pytest.approx(integrated_gradients(question).parts, abs=1e-6)
        assert case.names == {row: f"s{row}" for row in question.n_id["subject"].tolist()}
    assert found.cases[0].truth == labels[3]
    assert found.cases[1].truth == ""  # subject 9's label is not known
    assert len(found.sanity.draws) == 1


def test_a_class_may_be_named(trained):
    graph, _, model = trained
    ids = [str(row) for row in range(60)]
    (case,) = explain_cases(model, graph, [3], ids=ids, output="ill", draws=1).cases
    assert case.said == "ill"
    assert case.truth == ""


def test_relations_are_one_where_there_are_many(data, make_model):
    graph, schema = data
    extra = {("subject", f"near{number}", "subject"): EdgeSpec() for number in range(12)}
    for name in extra:
        graph[name].edge_index = graph["subject", "near", "subject"].edge_index
    schema = schema.model_copy(update={"edges": {**schema.edges, **extra}})
    (case,) = explain_cases(make_model(schema), graph, [7], ids=[str(row) for row in range(20)], draws=1).cases
    assert "relations" in case.shares.parts


def test_a_score_that_rests_on_too_much_is_refused(data, make_model):
    graph, schema = data
    ids = [f"s{row}" for row in range(20)]
    with pytest.raises(
        ConfigError, match=r"says of s7 must rest on at most 10 numbers to be explained here, got \d+ of"
    ):
        explain_cases(make_model(schema), graph, [7], ids=ids, most=10)
