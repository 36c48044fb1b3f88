import pytest
import torch

from mmgraph.errors import ConfigError, SchemaError
from mmgraph.scorers import ComplEx, ConvE, DistMult, RotatE, TransE, TuckER
from mmgraph.scorers.base import check_dropouts, norm_rows, paired_rows

SCORERS = {
    "TransE": lambda: TransE(12, norm=1),
    "TransE 2": lambda: TransE(12, norm=2, margin=4.0),
    "TransE unit": lambda: TransE(12, norm=2, normalise=True),
    "RotatE": lambda: RotatE(12, margin=6.0),
    "DistMult": lambda: DistMult(12),
    "ComplEx": lambda: ComplEx(12),
    "TuckER": lambda: TuckER(12, 5),
    "TuckER bare": lambda: TuckER(12, 5, norm=False),
    "ConvE": lambda: ConvE(13, height=3, filters=4),
}


def vectors(scorer, questions=6, entities=9, relations=3):
    torch.manual_seed(0)
    table = torch.randn(relations, scorer.relation_channels, dtype=torch.float64)
    sources = torch.randn(questions, scorer.channels, dtype=torch.float64)
    return sources, table, torch.randn(entities, scorer.channels, dtype=torch.float64)


@pytest.fixture(params=SCORERS)
def scorer(request):
    torch.manual_seed(1)
    return SCORERS[request.param]().double()


@pytest.mark.parametrize("training", [False, True])
def test_against_is_forward_with_every_entity(scorer, training):
    """Relations that repeat, and a batch's statistics, included."""
    scorer.train(training)
    for dropout in (m for m in scorer.modules() if "Dropout" in type(m).__name__):
        dropout.p = 0.0
    sources, table, entities = vectors(scorer)
    rows, sent, found = torch.tensor([0, 1, 0, 2, 0, 1]), torch.randn(6, 9, dtype=torch.float64), []
    for both in (scorer.against, lambda h, r, t: scorer(h[:, None], r[:, None], t[None])):
        leaves = [one.clone().requires_grad_() for one in (sources, table, entities)]
        scores = both(leaves[0], leaves[1][rows], leaves[2])
        weights = list(scorer.parameters())
        found.append((scores, *torch.autograd.grad(scores, [*leaves, *weights], sent)))
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, rtol=1e-10, atol=1e-10)


def test_one_fact_is_a_number(scorer):
    scorer.eval()
    sources, table, entities = vectors(scorer)
    one = scorer(sources[0], table[0], entities[0])
    assert one.shape == ()
    assert torch.allclose(one, scorer.against(sources[:1], table[:1], entities[:1])[0, 0])


def test_leading_dimensions_broadcast(scorer):
    scorer.eval()
    sources, table, entities = vectors(scorer)
    found = scorer(sources[:, None, None], table[:, None], entities)  # [6, 1, 1], [3, 1], [9]
    assert found.shape == (6, 3, 9)
    assert torch.allclose(found[4, 2, 7], scorer(sources[4], table[2], entities[7]))


def test_a_question_can_follow_a_path(scorer):
    scorer.eval()
    sources, table, entities = vectors(scorer)
    near = scorer.question(sources, table[:1])
    assert near.shape == sources.shape
    assert torch.allclose(
        scorer.match(scorer.question(near, table[1:2]), entities),
        scorer.against(near, table[1:2].expand(6, -1), entities),
    )


def test_float32_stays_float32(scorer):
    scorer.float()
    sources, table, entities = (one.float() for one in vectors(scorer))
    assert scorer.against(sources, table[[0, 1, 2, 0, 1, 2]], entities).dtype == torch.float32


def test_vectors_of_another_width_are_refused(scorer):
    sources, table, entities = vectors(scorer)
    relations, name = table[[0] * 6], type(scorer).__name__
    wrong = rf"{name} was made for entities {scorer.channels} and relations {scorer.relation_channels} wide, got "
    with pytest.raises(SchemaError, match=wrong + rf"sources {scorer.channels - 1}, relations"):
        scorer.against(sources[:, 1:], relations, entities)
    with pytest.raises(SchemaError, match=rf"relations {scorer.relation_channels - 1}, targets {scorer.channels};"):
        scorer(sources, relations[:, 1:], sources)
    with pytest.raises(SchemaError, match=rf"targets {scorer.channels - 1}; give it vectors of scorer.channels"):
        scorer.against(sources, relations, entities[:, 1:])


def test_vectors_start_at_random_and_in_place(scorer):
    scorer.float()
    entities = torch.nn.Parameter(torch.full((2000, scorer.channels), torch.nan))
    relations = torch.nn.Parameter(torch.full((8, scorer.relation_channels), torch.nan))
    scorer.initialise(entities, relations)
    for one in (entities, relations):
        assert bool(one.isfinite().all())
        assert len(one.detach().unique(dim=0)) == len(one)
    drawn = entities.detach()
    assert abs(float(drawn.mean())) < 0.05 * float(drawn.std()) + 1e-3


def test_by_default_there_is_nothing_to_penalise():
    for make in (SCORERS["TransE"], SCORERS["RotatE"], SCORERS["TuckER"], SCORERS["ConvE"]):
        scorer = make()
        sources, table, entities = vectors(scorer)
        assert scorer.factors(sources[:3], table, entities[:3]) == ()


@pytest.mark.parametrize("make", [DistMult, TransE, lambda c: TuckER(c, 3), lambda c: TuckER(3, c)])
def test_widths_must_be_at_least_one(make):
    with pytest.raises(ConfigError, match="needs vectors at least 1 wide, got channels .*0"):
        make(0)


@pytest.mark.parametrize("dropouts", [(0.1, 0.2), (0.1, 0.2, 1.0), (-0.1, 0.2, 0.3)])
def test_dropouts_are_three_shares(dropouts):
    with pytest.raises(ConfigError, match=rf"TuckER needs three dropouts, .* got \({dropouts[0]}, {dropouts[1]}"):
        check_dropouts("TuckER", dropouts)


def test_rows_keep_what_they_were():
    leading, sources, relations = paired_rows(torch.arange(6.0).view(2, 1, 3), torch.arange(4.0).view(1, 2, 2))
    assert leading == (2, 2)
    assert sources.unflatten(0, leading)[1, 0].tolist() == [3, 4, 5]
    assert relations.unflatten(0, leading)[1, 0].tolist() == [0, 1]


def test_a_lonely_row_is_normalised_by_what_was_seen_before():
    norm = torch.nn.BatchNorm1d(2).train()
    norm.running_mean.copy_(torch.tensor([1.0, 2.0]))
    assert torch.allclose(norm_rows(torch.tensor([[1.0, 2.0]]), norm), torch.zeros(1, 2))
    assert norm_rows(torch.empty(0, 2), norm).shape == (0, 2)
    assert int(norm.num_batches_tracked) == 0
    norm_rows(torch.randn(2, 2), norm)
    assert int(norm.num_batches_tracked) == 1
