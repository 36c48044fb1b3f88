import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

import mmgraph as mg
from mmgraph.errors import DataError, SchemaError
from mmgraph.objectives import Links
from mmgraph.scorers import ComplEx
from mmgraph.tasks import TripleClassification


def of(relations):
    """Facts of some relations, no two alike."""
    rows = torch.arange(len(relations))
    return torch.stack([rows, torch.as_tensor(relations), rows], dim=1)


@st.composite
def judged(draw):
    rows = draw(st.integers(1, 12))
    scores = draw(st.lists(st.integers(-3, 3), min_size=rows, max_size=rows))
    labels = draw(st.lists(st.booleans(), min_size=rows, max_size=rows))
    relations = draw(st.lists(st.integers(0, 2), min_size=rows, max_size=rows))
    return torch.tensor(scores).float(), of(relations), torch.tensor(labels)


def best_accuracy(scores, labels):
    """The most that any threshold gets right, tried one by one."""
    limits = [*scores.tolist(), float("inf")]
    return max(float(((scores >= limit) == labels).double().mean()) for limit in limits)


@given(judged())
def test_no_threshold_is_better_on_what_it_was_chosen_on(case):
    scores, facts, labels = case
    judge = TripleClassification.fit(scores, facts, labels)
    assert set(judge.thresholds) == set(facts[:, 1].tolist())
    for relation in judge.thresholds:
        own = facts[:, 1] == relation
        found = judge.evaluate(scores[own], facts[own], labels[own], metrics=["accuracy"])["accuracy"]
        assert found == pytest.approx(best_accuracy(scores[own], labels[own]))
    everyone = TripleClassification({}, judge.default).evaluate(scores, facts, labels)["accuracy"]
    assert everyone == pytest.approx(best_accuracy(scores, labels))


@given(judged())
def test_metrics_are_those_of_scikit_learn(case):
    scores, facts, labels = case
    judge = TripleClassification({0: 0.5, 1: -1.0}, 1.0)
    limits = [{0: 0.5, 1: -1.0, 2: 1.0}[relation] for relation in facts[:, 1].tolist()]
    said = scores.numpy() >= np.array(limits)
    assert judge.predict(scores, facts).tolist() == said.tolist()
    found, y = judge.evaluate(scores, facts, labels), labels.numpy()
    recalls = [(said == y)[y == kind].mean() for kind in np.unique(y)]
    assert found == {
        "accuracy": pytest.approx(sk.accuracy_score(y, said)),
        "balanced_accuracy": pytest.approx(np.mean(recalls)),
        "f1": pytest.approx(sk.f1_score(y, said, zero_division=0)),
    }


def test_thresholds_lie_half_way():
    scores = torch.tensor([1.0, 2.0, 4.0, 5.0, 1.0, 2.0])
    facts = of([7, 7, 7, 7, 3, 3])
    judge = TripleClassification.fit(scores, facts, torch.tensor([0, 0, 1, 1, 1, 1]).bool())
    assert judge.thresholds == {3: float("-inf"), 7: 3.0}
    none = TripleClassification.fit(scores[:2], facts[:2], torch.zeros(2, dtype=torch.bool))
    assert none.thresholds == {7: float("inf")}


def test_a_relation_that_validation_lacks_has_the_threshold_of_all():
    judge = TripleClassification.fit(torch.tensor([0.0, 2.0]), of([0, 0]), torch.tensor([False, True]))
    assert judge.predict(torch.tensor([0.9, 1.1]), of([5, 5])).tolist() == [False, True]


def test_scales_of_relations_do_not_matter():
    generator = torch.Generator().manual_seed(0)
    relations = torch.arange(400) % 4
    labels = torch.rand(400, generator=generator) < 0.5
    scores = (labels + 0.4 * torch.randn(400, generator=generator)) * 10.0**relations - 100.0 * relations
    facts = of(relations)
    halves = [slice(0, 200), slice(200, 400)]
    judge = TripleClassification.fit(scores[halves[0]], facts[halves[0]], labels[halves[0]])
    found = judge.evaluate(scores[halves[1]], facts[halves[1]], labels[halves[1]])
    assert found["accuracy"] > 0.8
    chance = judge.evaluate(scores[halves[1]].roll(1), facts[halves[1]].roll(1, 0), labels[halves[1]])
    assert chance["balanced_accuracy"] == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(
    ("scores", "facts"), [((0,), (0, 3)), ((0,), (2, 3)), ((2,), (0, 3)), ((2,), (2,)), ((3,), (3, 3))]
)
def test_other_lengths_are_refused(scores, facts):
    given = torch.zeros(scores), torch.zeros(facts, dtype=torch.long), torch.zeros(2, dtype=torch.bool)
    with pytest.raises(
        DataError, match=rf"one a fact, .* got \[{scores[0]}\], \[2\] and {re.escape(str(list(facts)))}"
    ):
        TripleClassification.fit(*given)
    with pytest.raises(DataError, match="must be one a fact"):
        TripleClassification({}, 0.0).evaluate(*given)


def test_a_fact_that_is_labelled_both_ways_is_refused():
    facts = torch.tensor([[0, 0, 1], [4, 0, 2], [0, 0, 1], [4, 0, 2], [5, 0, 5], [5, 0, 5]])
    labels = torch.tensor([True, False, True, True, False, False])
    message = (
        r"must either hold or not, got 1 of 3 that are labelled both ways, as \[4, 0, 2\] \(head, relation, tail\); "
        "take them out of the facts that hold or of those that don't"
    )
    for judge in (TripleClassification.fit, TripleClassification({}, 0.0).evaluate):
        with pytest.raises(DataError, match=message):
            judge(torch.zeros(6), facts, labels)
    assert TripleClassification.fit(torch.zeros(5), facts[[0, 1, 2, 4, 5]], labels[[0, 1, 2, 4, 5]]).default == float(
        "inf"
    )


def test_odd_scores_and_metrics_are_refused():
    given = torch.tensor([0.0, torch.nan, -torch.inf]), of([0, 0, 0]), torch.ones(3).bool()
    with pytest.raises(DataError, match="Scores of facts must be finite numbers, got 2 of 3 that are not"):
        TripleClassification.fit(*given)
    with pytest.raises(SchemaError, match=r"among \['accuracy', 'balanced_accuracy', 'f1'\], got \['auroc'\]"):
        TripleClassification({}, 0.0).evaluate(torch.ones(3), *given[1:], metrics=["auroc"])


@pytest.mark.data
def test_facts_that_people_found_false_are_told_from_true_ones(load_or_skip):
    known = load_or_skip("codex_s")
    negatives = mg.load_dataset("codex_s", give="negatives")
    linker = mg.Linker(schema=known.schema, scorer=ComplEx(128, std=0.001))
    config = mg.FitConfig(
        epochs=3, optimizer="adagrad", learning_rate=0.1, weight_decay=0.0, patience=None, monitor="mrr", batch_size=256
    )
    torch.manual_seed(0)
    mg.fit(linker, Links(penalty=0.01), mg.LinkPrediction(known.schema), known.graph, config)
    found = {}
    for part, wrong in negatives.items():
        true, false = known.facts[part], known.facts_of(wrong)[0]
        facts = torch.cat([true, false])
        scores = linker.each(linker.states(known.graph), *facts.T)
        found[part] = scores, facts, torch.arange(len(facts)) < len(true)
    assert TripleClassification.fit(*found["val"]).evaluate(*found["test"])["accuracy"] > 0.78  # published .84
