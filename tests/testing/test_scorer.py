import pytest
import torch
from torch import nn

from mmgraph.scorers import Scorer
from mmgraph.testing import check_scorer


class Good(Scorer):
    """A bilinear form that all relations share, plus one along the relation."""

    def __init__(self):
        super().__init__(4, 4)
        self.form = nn.Parameter(torch.randn(4, 4))

    def forward(self, sources, relations, targets):
        return ((sources @ self.form + sources * relations) * targets).sum(dim=-1)

    def against(self, sources, relations, entities):
        return (sources @ self.form + sources * relations) @ entities.T

    def factors(self, sources, relations, targets):
        return sources.abs(), targets.abs()

    def initialise(self, entities, relations):
        nn.init.normal_(entities)
        nn.init.normal_(relations)


class OtherAgainst(Good):
    def against(self, sources, relations, entities):
        return super().against(sources, relations, entities) * 1.001


class OtherGradient(Good):
    def against(self, sources, relations, entities):
        return super().against(sources, relations.detach(), entities)


class TurnedAgainst(Good):
    def against(self, sources, relations, entities):
        return super().against(sources, relations, entities).T


class Flat(Good):
    def forward(self, sources, relations, targets):
        return super().forward(sources, relations, targets) * 0

    def against(self, sources, relations, entities):
        return super().against(sources, relations, entities) * 0


class Infinite(Good):
    def forward(self, sources, relations, targets):
        return super().forward(sources, relations, targets) / 0


class RootAtZero(Good):
    def forward(self, sources, relations, targets):
        return super().forward(sources, relations, targets) + (sources - sources).sum(dim=-1).abs().sqrt()


class NoBroadcast(Good):
    def forward(self, sources, relations, targets):
        return super().forward(sources, relations, targets).diagonal()


class ByBatch(Good):
    """Scores that depend on who else is asked."""

    def forward(self, sources, relations, targets):
        scores = super().forward(sources, relations, targets)
        return scores - scores.mean(dim=0)

    def against(self, sources, relations, entities):
        scores = super().against(sources, relations, entities)
        return scores - scores.mean(dim=0)


class ByPlace(Good):
    def forward(self, sources, relations, targets):
        return super().forward(sources, relations, targets) + torch.arange(targets.shape[-2])

    def against(self, sources, relations, entities):
        return super().against(sources, relations, entities) + torch.arange(len(entities))


class NoneForNobody(Good):
    def against(self, sources, relations, entities):
        return super().against(sources, relations, entities) if len(sources) else torch.zeros(0)


class Changes(Good):
    def factors(self, sources, relations, targets):
        return (sources.abs_(),)


class Signed(Good):
    def factors(self, sources, relations, targets):
        return (sources,)


class Listed(Good):
    def factors(self, sources, relations, targets):
        return [sources.abs()]


class HalfStarted(Good):
    def initialise(self, entities, relations):
        nn.init.normal_(entities[:3].detach())
        nn.init.normal_(relations)


class AllOne(Good):
    def initialise(self, entities, relations):
        nn.init.normal_(entities)
        nn.init.ones_(relations)


class OneIsTooFew(Good):
    def against(self, sources, relations, entities):
        scores = super().against(sources, relations, entities)
        return scores / scores.std(dim=0, correction=0) if self.training else scores


class Hidden(Good):
    def __init__(self):
        super().__init__()
        form = self.form
        del self.form
        self.kept = [form]

    @property
    def form(self):
        return self.kept[0]

    @form.deleter
    def form(self):
        del self._parameters["form"]


class IgnoresRelations(Good):
    def forward(self, sources, relations, targets):
        return super().forward(sources, relations * 0, targets)

    def against(self, sources, relations, entities):
        return super().against(sources, relations * 0, entities)


def test_a_good_one_passes_and_stays_as_it_was():
    scorer = Good()
    before = scorer.form.detach().clone()
    check_scorer(scorer)
    assert torch.equal(scorer.form, before)
    assert scorer.training
    assert scorer.form.grad is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (OtherAgainst, r"OtherAgainst.against must give the scores of its forward, got .* off"),
        (OtherGradient, r"OtherGradient.against must send the gradient of its forward to 'relations', got .* off"),
        (TurnedAgainst, r"TurnedAgainst.against must give \[5, 7\], got \[7, 5\]"),
        (Flat, r"Flat must tell facts apart, got -?0.0 for all"),
        (Infinite, r"Infinite must give finite scores"),
        (RootAtZero, r"RootAtZero must send finite gradients, got others for 'sources'"),
        (NoBroadcast, r"NoBroadcast must broadcast to \[5, 7\], got \[5\]"),
        (ByBatch, r"ByBatch must score each fact by its own vectors, got other scores where another's sources changed"),
        (ByPlace, r"ByPlace must not depend on the order of questions and entities"),
        (NoneForNobody, r"NoneForNobody.against must give 0 question\(s\) and 7 entities .* \[0, 7\], got \[0\]"),
        (Changes, r"Changes must leave the vectors that it is given as they are"),
        (
            Signed,
            r"Signed.factors must give moduli, at least 0, a row a fact, \[5, numbers\]; factor 0 is \[5, 4\], from -",
        ),
        (Listed, r"Listed.factors must give a tuple, got list"),
        (HalfStarted, r"HalfStarted.initialise must draw all entities in place"),
        (AllOne, r"AllOne.initialise must draw different relations"),
        (OneIsTooFew, r"OneIsTooFew must give one question in training finite scores"),
        (Hidden, r"Hidden learns a tensor \[4, 4\] that is not in parameters\(\)"),
        (IgnoresRelations, r"IgnoresRelations must send a gradient to 'relations', got none"),
    ],
)
def test_a_broken_promise_is_found(make, message):
    torch.manual_seed(0)
    with pytest.raises(AssertionError, match=message):
        check_scorer(make())
