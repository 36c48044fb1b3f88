"""Facts by number, against plain sets."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from mmgraph.functional.facts import Facts, Known, all_answers_loss

ENTITIES, RELATIONS = 5, 3
FACTS = st.lists(
    st.tuples(st.integers(0, ENTITIES - 1), st.integers(0, RELATIONS - 1), st.integers(0, ENTITIES - 1)), max_size=30
)


def known(facts):
    return Known(torch.tensor(facts, dtype=torch.long).view(-1, 3), RELATIONS, ENTITIES)


def both(facts):
    return {(h, r, t) for h, r, t in facts} | {(t, r + RELATIONS, h) for h, r, t in facts}


@given(FACTS)
def test_holds_what_is_a_fact_in_either_direction(facts):
    source, relation, answer = (
        one.flatten()
        for one in torch.meshgrid(
            torch.arange(ENTITIES), torch.arange(2 * RELATIONS), torch.arange(ENTITIES), indexing="ij"
        )
    )
    found = known(facts).holds(source, relation, answer)
    asked = zip(source.tolist(), relation.tolist(), answer.tolist(), strict=True)
    assert found.tolist() == [one in both(facts) for one in asked]


@given(FACTS)
def test_answers_are_those_of_the_relation(facts):
    for relation in range(2 * RELATIONS):
        expected = sorted({t for _, r, t in both(facts) if r == relation})
        assert known(facts).answers(relation).tolist() == expected


@given(FACTS, st.integers(0, 3))
def test_typed_draws_are_answers_or_anyone_where_there_are_none(facts, seed):
    relation = torch.arange(2 * RELATIONS)
    generator = torch.Generator().manual_seed(seed)
    drawn = known(facts).draw_typed(relation, (2 * RELATIONS, 20), generator)
    for number, row in enumerate(drawn.tolist()):
        answers = {t for _, r, t in both(facts) if r == number}
        assert set(row) <= (answers or set(range(ENTITIES)))


def test_typed_draws_are_even():
    drawn = known([(0, 0, 1), (0, 0, 2), (3, 0, 2), (0, 0, 4)]).draw_typed(
        torch.zeros(1, dtype=torch.long), (1, 30_000), torch.Generator().manual_seed(0)
    )
    shares = torch.bincount(drawn[0], minlength=5) / 30_000
    torch.testing.assert_close(shares, torch.tensor([0, 1 / 3, 1 / 3, 0, 1 / 3]), atol=0.01, rtol=0)


@given(FACTS)
def test_questions_are_asked_once_and_every_row_knows_its_own(facts):
    rows = torch.tensor(sorted(both(facts)), dtype=torch.long).view(-1, 3)
    source, relation, number = Facts(*rows.T).questions(2 * RELATIONS)
    pairs = list(zip(source.tolist(), relation.tolist(), strict=True))
    assert len(set(pairs)) == len(pairs)
    assert [pairs[n] for n in number.tolist()] == [(s, r) for s, r, _ in rows.tolist()]


@given(
    st.integers(1, 4),
    st.integers(1, 5),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), max_size=9),
    st.sampled_from([0.0, 0.1]),
    st.sampled_from([1.0, 100.0]),
)
def test_the_loss_of_all_answers_is_that_of_a_matrix_of_the_truth(questions, entities, pairs, smoothing, scale):
    pairs = [(question % questions, entity % entities) for question, entity in pairs]
    number, answer = torch.tensor(pairs, dtype=torch.long).view(-1, 2).T
    scores = scale * torch.randn(questions, entities, generator=torch.Generator().manual_seed(len(pairs)))
    found, expected = scores.clone().requires_grad_(), scores.double().requires_grad_()
    truth = torch.zeros(questions, entities, dtype=torch.double)
    truth[number, answer] = 1
    truth = truth * (1 - smoothing) + smoothing / entities
    reference = torch.nn.functional.binary_cross_entropy_with_logits(expected, truth)
    loss = all_answers_loss(found, number, answer, label_smoothing=smoothing)
    torch.testing.assert_close(loss.double(), reference, rtol=1e-5, atol=1e-6)
    (3 * loss).backward()
    (3 * reference).backward()
    torch.testing.assert_close(found.grad.double(), expected.grad, rtol=1e-5, atol=1e-6)
