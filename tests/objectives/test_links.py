"""Losses over facts, against slow loops."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmgraph.data import FactLoader
from mmgraph.errors import ConfigError, DataError
from mmgraph.functional.facts import Facts
from mmgraph.layers import Mean
from mmgraph.linker import Linker
from mmgraph.objectives import Links
from mmgraph.objectives.links import Drawn
from mmgraph.scorers import ComplEx, DistMult
from mmgraph.testing import fake_graph, fake_knowledge


@pytest.fixture
def given():
    graph, schema = fake_knowledge()
    torch.manual_seed(0)
    linker = Linker(schema=schema, scorer=ComplEx(6)).double()
    nn.init.normal_(linker.entities)
    nn.init.normal_(linker.relations)
    store = graph["query"]
    store.answer = torch.where(store.train_mask, store.answer, -1)
    return graph, linker


def facts_of(graph):
    store = graph["query"]
    rows = zip(store.source.tolist(), store.relation.tolist(), store.answer.tolist(), strict=True)
    return [row for row in rows if row[2] >= 0]


def scores_of(linker, graph):
    """(source, relation) → the scores of all entities, one fact at a time."""
    states = linker.states(graph)

    def score(source, relation, answer):
        return linker.scorer(states.entities[source], states.relations[relation], states.entities[answer])

    count = len(states.entities)
    return lambda source, relation: torch.stack([score(source, relation, answer) for answer in range(count)])


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_one_against_all_is_the_mean_cross_entropy_of_the_facts(given, smoothing):
    graph, linker = given
    score = scores_of(linker, graph)
    each = [
        F.cross_entropy(score(s, r)[None], torch.tensor([a]), label_smoothing=smoothing) for s, r, a in facts_of(graph)
    ]
    found = Links(label_smoothing=smoothing)(linker, graph)
    torch.testing.assert_close(found["total"], torch.stack(each).mean())
    assert found["cross_entropy"] is found["total"]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_k_against_all_is_the_mean_over_questions_and_entities(given, smoothing):
    graph, linker = given
    score, answers = scores_of(linker, graph), {}
    for source, relation, answer in facts_of(graph):
        answers.setdefault((source, relation), set()).add(answer)
    each = []
    for (source, relation), known in answers.items():
        truth = torch.tensor([float(entity in known) for entity in range(12)], dtype=torch.float64)
        truth = truth * (1 - smoothing) + smoothing / 12
        p = score(source, relation).sigmoid()
        each.append(-(truth * p.log() + (1 - truth) * (1 - p).log()).mean())
    found = Links("binary", label_smoothing=smoothing)(linker, graph)
    torch.testing.assert_close(found["total"], torch.stack(each).mean())


@pytest.mark.parametrize("loss", ["cross_entropy", "binary", "margin", "self_adversarial"])
def test_losses_over_drawn_entities(given, loss):
    graph, linker = given
    score, facts = scores_of(linker, graph), facts_of(graph)
    drawn = Drawn(torch.randint(12, (len(facts), 4)), torch.randint(2, (len(facts), 4)).double())
    drawn.counts[0] = 0
    objective = Links(loss, negatives=4, margin=0.7, temperature=0.5)
    objective._draw = lambda *_: drawn
    each = []
    for number, (source, relation, answer) in enumerate(facts):
        scores = score(source, relation)
        right = scores[answer]
        wrong = [
            scores[entity]
            for entity, counts in zip(drawn.entities[number].tolist(), drawn.counts[number].tolist(), strict=True)
            if counts
        ]
        if loss == "cross_entropy":
            each.append(-(right - torch.stack([right, *wrong]).logsumexp(dim=0)))
        elif loss == "binary":
            total = -right.sigmoid().log() - sum((-one).sigmoid().log() for one in wrong)
            each.append(total / (1 + len(wrong)))
        elif loss == "margin":
            each.append(sum((0.7 - right + one).clamp_min(0) for one in wrong) / max(len(wrong), 1) + 0 * right)
        else:
            values = [one.item() for one in wrong]
            mass = sum(math.exp(0.5 * one) for one in values)
            shares = [math.exp(0.5 * one) / mass for one in values]
            negative = sum(w * (-0.7 - one).sigmoid().log() for w, one in zip(shares, wrong, strict=True))
            each.append(-((0.7 + right).sigmoid().log() + negative) / 2)
    torch.testing.assert_close(objective(linker, graph)["total"], torch.stack(each).mean())


def test_penalty_is_the_cube_of_the_moduli(given):
    graph, linker = given
    facts, states = facts_of(graph), linker.states(graph)
    total = 0.0
    for source, relation, answer in facts:
        for vector in (states.entities[source], states.relations[relation], states.entities[answer]):
            total += ((torch.complex(vector[:3], vector[3:]).abs() ** 3).sum()).item()
    found = Links(penalty=0.5)(linker, graph)
    assert found["penalty"].item() == pytest.approx(0.5 * total / len(facts))
    torch.testing.assert_close(found["total"], found["cross_entropy"] + found["penalty"])


def test_filtered_negatives_are_no_facts_and_typed_ones_answer_the_relation(given):
    graph, linker = given
    objective = Links("binary", negatives=50, typed=True)
    store = graph["query"]
    rows = store.answer >= 0
    facts = Facts(store.source[rows], store.relation[rows], store.answer[rows])
    drawn = objective._draw(linker, graph, facts)
    known = set(facts_of(graph))
    answering = {(r, a) for _, r, a in known}
    for row, (source, relation) in enumerate(zip(facts.source.tolist(), facts.relation.tolist(), strict=True)):
        for entity, counts in zip(drawn.entities[row].tolist(), drawn.counts[row].tolist(), strict=True):
            assert counts == ((source, relation, entity) not in known)
            assert (relation, entity) in answering


def test_known_facts_are_sorted_once_and_anew_for_other_edges(given):
    graph, linker = given
    objective = Links("binary", negatives=2)
    objective(linker, graph)
    first = objective._known[1]
    objective(linker, graph)
    assert objective._known[1] is first
    graph["entity", "knows", "entity"].edge_index = graph["entity", "knows", "entity"].edge_index[:, :1]
    objective(linker, graph)
    assert objective._known[1] is not first


def test_training_finds_the_facts():
    graph, schema = fake_knowledge()
    torch.manual_seed(0)
    linker, objective = Linker(schema=schema, scorer=ComplEx(32)), Links()
    optimizer = torch.optim.Adam(linker.parameters(), lr=0.05)
    store = graph["query"]
    truth, store.answer = store.answer, torch.where(store.train_mask, store.answer, -1)
    for _ in range(100):
        optimizer.zero_grad()
        objective(linker, graph)["total"].backward()
        optimizer.step()
    best = linker(graph).take(store.train_mask.nonzero().flatten())[:].argmax(dim=1)
    facts = set(facts_of(graph))
    asked = zip(store.source[store.train_mask].tolist(), store.relation[store.train_mask].tolist(), strict=True)
    assert all((s, r, b) in facts for (s, r), b in zip(asked, best.tolist(), strict=True))
    assert int(truth.min()) >= 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "hinge"}, r"loss must be one of \['cross_entropy', .*\], got 'hinge'"),
        ({"loss": "margin"}, "'margin' with typed=False needs negatives, got none"),
        ({"typed": True}, "'cross_entropy' with typed=True needs negatives"),
        ({"negatives": 0}, "negatives must be at least 1.* got 0 and 0.0"),
        ({"negatives": 2, "label_smoothing": 0.1}, "for all entities alone, got 2 and 0.1"),
        ({"penalty": -1.0}, r"must be at least 0 .* got -1.0, 1.0, 1.0 and 0.0"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Links(**options)


def test_a_model_or_a_graph_that_does_not_fit_is_refused(given):
    graph, _ = fake_graph()
    with pytest.raises(ConfigError, match="must be a Linker, or score facts as one does, got Linear"):
        Links()(nn.Linear(1, 1), graph)
    _, schema = fake_knowledge()
    with pytest.raises(DataError, match=r"must have questions, nodes of type 'query', got types \['subject'"):
        Links()(Linker(schema=schema, scorer=DistMult(4)), graph)


@pytest.mark.parametrize("loss", ["binary", "margin"])
def test_negatives_of_a_drawn_batch_are_its_candidates_and_no_answers(loss):
    graph, schema = fake_knowledge(40, facts=150)
    relations = [edge for edge in schema.edges if edge[1] != "of"]
    linker = Linker(schema=schema, scorer=DistMult(4), between=Mean(4, 4, relations=relations))
    objective = Links(loss, negatives=30)
    for batch in FactLoader(graph, schema, fan_out=[2], candidates=6, batch_size=8):
        store = batch["query"]
        facts = Facts(store.source, store.relation, store.answer)
        drawn = objective._draw(linker, batch, facts)
        known = set(zip(*(column.tolist() for column in facts), strict=True))
        assert set(drawn.entities.flatten().tolist()) <= set(store.candidates.tolist())
        for row, (s, r) in enumerate(zip(store.source.tolist(), store.relation.tolist(), strict=True)):
            counts = [(s, r, entity) not in known for entity in drawn.entities[row].tolist()]
            assert counts == drawn.counts[row].bool().tolist()
        assert objective(linker, batch)["total"].isfinite()
    with pytest.raises(ConfigError, match="typed negatives need the facts of the whole graph; leave fan_out, or typed"):
        Links(loss, negatives=2, typed=True)(linker, batch)
