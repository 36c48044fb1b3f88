"""A decoder that breaks a promise is found out."""

import pytest
import torch
from torch import nn

from mmgraph.decoders import Dense, Generative, Regression, TextDecoder
from mmgraph.testing import check_generative
from mmgraph.typing import Sources

PAYLOAD = torch.arange(10.0).view(5, 2)


class Good(Generative):
    attribute = "x"

    def __init__(self):
        super().__init__()
        self.channels = 4
        self.out = nn.Linear(4, 2)

    def losses(self, sources, payload):
        return {"total": (self.out(sources.mean()) - payload).square().sum(dim=1)}

    def generate(self, sources, *, generator=None):
        return self.out(sources.mean()).detach()


class Mixes(Good):
    def losses(self, sources, payload):
        found = super().losses(sources, payload)["total"]
        return {"total": found + found.mean()}


class ReadsAbsent(Good):
    def losses(self, sources, payload):
        mean = sources.states.sum(dim=1)
        return {"total": (self.out(mean) - payload).square().sum(dim=1)}


class Nan(Good):
    def losses(self, sources, payload):
        total = super().losses(sources, payload)["total"]
        return {"total": total / sources.present.sum(dim=1).clamp_max(1)}


class Draws(Good):
    def generate(self, sources, *, generator=None):
        return torch.randn(len(sources.states), 2)


class Whole(Good):
    def generate(self, sources, *, generator=None):
        return super().generate(sources).long()


class Deaf(Good):
    def losses(self, sources, payload):
        return {"total": super().losses(sources, payload)["total"] * 0}


class Chain(TextDecoder):
    """Each piece from the one before it and the sources."""

    def __init__(self, **options):
        super().__init__(4, vocabulary=6, length=5, **options)
        self.next, self.source = nn.Embedding(6, 6), nn.Linear(4, 6)

    def forward(self, sources, tokens):
        before = torch.cat([tokens.new_zeros(len(tokens), 1), tokens[:, :-1]], dim=1)
        return self.next(before) + self.source(sources.mean())[:, None]

    def begin(self, sources):
        return self.source(sources.mean())

    def step(self, state, tokens):
        return self.next(tokens) + state, state

    def reorder(self, state, rows):
        return state[rows]


class Peeks(Chain):
    def forward(self, sources, tokens):
        return super().forward(sources, tokens) + tokens.float().mean(dim=1)[:, None, None]


class Differs(Chain):
    def step(self, state, tokens):
        logits, state = super().step(state, tokens)
        return logits, state + 1


class Keeps(Chain):
    def reorder(self, state, rows):
        return state


TOKENS = torch.tensor([[2, 3, 1, 0], [5, 1, 0, 0], [4, 4, 4, 1], [3, 1, 0, 0]])


@pytest.mark.parametrize(
    ("decoder", "payload"),
    [(Good(), PAYLOAD), (Regression(Dense(4, (2,))), PAYLOAD), (Chain(), TOKENS), (Chain(smoothing=0.1), TOKENS)],
)
def test_good_ones_pass(decoder, payload):
    check_generative(decoder, payload)


@pytest.mark.parametrize(
    ("broken", "payload", "message"),
    [
        (Mixes, PAYLOAD, "Mixes must say the same of a row by itself as among others"),
        (ReadsAbsent, PAYLOAD, "ReadsAbsent must not read nodes that are absent"),
        (Nan, PAYLOAD, "Nan must give finite losses, got others in 'total'"),
        (Draws, PAYLOAD, "Draws must make the same payloads from equal generators"),
        (Whole, PAYLOAD, "Whole must make torch.float32, got torch.int64"),
        (Deaf, PAYLOAD, "Deaf must learn, got a gradient of 0 everywhere"),
        (Peeks, TOKENS, "Peeks must say the same step by step as at once"),
        (Differs, TOKENS, "Differs must say the same step by step as at once"),
        (Keeps, TOKENS, "Keeps must keep the state of rows that are reordered"),
    ],
)
def test_a_broken_promise_is_found(broken, payload, message):
    torch.manual_seed(0)
    with pytest.raises(AssertionError, match=message):
        check_generative(broken(), payload)


def test_texts_are_checked():
    from mmgraph.errors import ConfigError, DataError

    with pytest.raises(ConfigError, match="got 0, 5, 6 and 0"):
        TextDecoder.__init__(Chain(), 0, vocabulary=6, length=5)
    sources = Sources(torch.zeros(1, 1, 4), torch.zeros(1, 1).bool())
    with pytest.raises(DataError, match="tokens must be from 0 to 5, got 2 to 9"):
        Chain().losses(sources, torch.tensor([[2, 9]]))


def test_smoothing_is_for_training_alone():
    decoder = Chain(smoothing=0.5)
    sources = Sources(torch.zeros(4, 1, 4), torch.zeros(4, 1).bool())
    said = decoder(sources, TOKENS).log_softmax(dim=-1)
    nll, spread = torch.zeros(4), torch.zeros(4)
    for row, place in (TOKENS != 0).nonzero().tolist():
        nll[row] -= said[row, place, TOKENS[row, place]]
        spread[row] -= said[row, place, 1:].mean()
    assert torch.allclose(decoder.losses(sources, TOKENS)["total"], (nll + spread) / 2, atol=1e-5)
    assert torch.allclose(decoder.eval().losses(sources, TOKENS)["total"], nll, atol=1e-5)
    assert decoder.counts(TOKENS).tolist() == [3, 2, 4, 2]
