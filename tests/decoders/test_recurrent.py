import pytest
import torch

from mmgraph.decoders import LSTMDecoder
from mmgraph.errors import ConfigError
from mmgraph.typing import Sources

CHANNELS, HIDDEN, VOCABULARY, LENGTH = 5, 4, 9, 6


@pytest.fixture(params=[False, True], ids=["mean", "attend"])
def decoder(request):
    torch.manual_seed(3)
    made = LSTMDecoder(CHANNELS, hidden=HIDDEN, vocabulary=VOCABULARY, length=LENGTH, attend=request.param).eval()
    with torch.no_grad():
        for weight in made.parameters():
            weight.normal_(std=0.7)
    return made


@pytest.fixture
def sources():
    present = torch.tensor([[1, 1, 1], [0, 1, 1], [0, 0, 0]]).bool()
    return Sources(
        torch.randn(3, 3, CHANNELS, generator=torch.Generator().manual_seed(2)) * present[:, :, None], present
    )


def slow(decoder, sources, tokens):
    """Row by row, gate by gate, with the formulas of the papers."""
    w, v, b = decoder.lstm.weight_ih_l0, decoder.lstm.weight_hh_l0, decoder.lstm.bias_ih_l0 + decoder.lstm.bias_hh_l0
    out = torch.zeros(*tokens.shape, VOCABULARY)

    def turn(x, h, c):
        i, f, g, o = (w @ x + v @ h + b).chunk(4)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c

    for row, text in enumerate(tokens.tolist()):
        nodes = [sources.states[row, node] for node in range(3) if sources.present[row, node]]
        first = decoder.show.weight @ (sum(nodes) / max(1, len(nodes)) + torch.zeros(CHANNELS))
        h, c = torch.zeros(HIDDEN), torch.zeros(HIDDEN)
        if decoder.attend:
            first = torch.cat([first, torch.zeros(CHANNELS)])
        h, c = turn(first, h, c)
        for place, token in enumerate([0, *text[:-1]]):
            x = decoder.pieces.weight[token]
            if decoder.attend:
                scores = [
                    decoder.score.weight[0] @ torch.tanh(decoder.key(node) + decoder.ask.weight @ h) for node in nodes
                ]
                total = sum(score.exp() for score in scores)
                context = sum(
                    score.exp() / total * decoder.value(node) for score, node in zip(scores, nodes, strict=True)
                )
                x = torch.cat([x, decoder.gate(h).sigmoid() * (context + torch.zeros(CHANNELS))])
            h, c = turn(x, h, c)
            out[row, place] = decoder.write(h)
    return out


def test_it_equals_its_formula(decoder, sources):
    tokens = torch.randint(VOCABULARY, (3, LENGTH), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(decoder(sources, tokens), slow(decoder, sources, tokens), atol=1e-5, rtol=1e-5)


def test_sources_of_zeros_say_as_little_as_none(decoder, sources):
    tokens = torch.randint(VOCABULARY, (3, LENGTH))
    zeros = Sources(torch.zeros_like(sources.states), sources.present)
    torch.testing.assert_close(decoder(zeros, tokens), decoder(sources.nothing(), tokens), atol=1e-6, rtol=1e-6)


def test_a_greater_length_than_in_training_is_no_matter(decoder, sources):
    tokens = torch.randint(2, VOCABULARY, (3, 3 * LENGTH))
    assert decoder.losses(sources, tokens)["total"].isfinite().all()


def test_dropout_is_for_training_alone(decoder, sources):
    tokens = torch.randint(VOCABULARY, (3, LENGTH))
    assert torch.equal(decoder(sources, tokens), decoder(sources, tokens))
    decoder.train()
    assert not torch.allclose(decoder(sources, tokens), decoder(sources, tokens))


@pytest.mark.parametrize(("options", "got"), [({"hidden": 0}, "got 0 and 0.1"), ({"dropout": -0.1}, "got 5 and -0.1")])
def test_options_out_of_range_are_refused(options, got):
    with pytest.raises(ConfigError, match=got):
        LSTMDecoder(CHANNELS, vocabulary=VOCABULARY, length=LENGTH, **options)
