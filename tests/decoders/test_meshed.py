import pytest
import torch

from mmgraph.decoders import MeshedDecoder, TransformerDecoder
from mmgraph.errors import ConfigError, DataError
from mmgraph.typing import Sources

CHANNELS, VOCABULARY, LENGTH = 8, 9, 6


def stirred(rounds, **options):
    torch.manual_seed(3)
    decoder = MeshedDecoder(
        CHANNELS, vocabulary=VOCABULARY, length=LENGTH, rounds=rounds, heads=2, hidden=10, **options
    ).eval()
    with torch.no_grad():
        for weight in decoder.parameters():
            weight.normal_(std=0.5)
    return decoder


def plain(meshed):
    """The Transformer decoder with the same weights, gates aside."""
    decoder = TransformerDecoder(CHANNELS, vocabulary=VOCABULARY, length=LENGTH, heads=2, hidden=10).eval()
    decoder.load_state_dict({name: weight for name, weight in meshed.state_dict().items() if ".gates." not in name})
    return decoder


def seen(rounds, seed=0):
    generator = torch.Generator().manual_seed(seed)
    present = torch.tensor([[1, 1, 1], [0, 1, 1], [0, 0, 0]]).bool()
    after = tuple(torch.randn(3, 3, CHANNELS, generator=generator) * present[:, :, None] for _ in range(rounds))
    return Sources(after[-1], present, after)


def open_gates(decoder):
    with torch.no_grad():
        for block in decoder.blocks:
            for gate in block.gates:
                gate.weight.zero_()
                gate.bias.fill_(100.0)


def test_one_round_and_open_gates_are_the_transformer_decoder():
    decoder, sources, tokens = stirred(1), seen(1), torch.randint(VOCABULARY, (3, LENGTH))
    assert not torch.allclose(decoder(sources, tokens), plain(decoder)(sources, tokens))
    open_gates(decoder)
    assert torch.equal(decoder(sources, tokens), plain(decoder)(sources, tokens))
    assert torch.equal(decoder(sources._replace(depths=()), tokens), plain(decoder)(sources, tokens))
    assert torch.equal(decoder.generate(sources), plain(decoder).generate(sources))


def test_closed_gates_let_nothing_through():
    decoder, sources, tokens = stirred(3), seen(3), torch.randint(VOCABULARY, (3, LENGTH))
    with torch.no_grad():
        for block in decoder.blocks:
            for gate in block.gates:
                gate.weight.zero_()
                gate.bias.fill_(-200.0)
    torch.testing.assert_close(decoder(sources, tokens), decoder(sources.nothing(), tokens), atol=1e-6, rtol=1e-6)


def test_the_gates_equal_their_formula():
    decoder, sources = stirred(3), seen(3)
    block, y = decoder.blocks[0], torch.randn(3, 4, CHANNELS)
    found = block._read(y, block.say(sources.depths, sources.present))
    expected = torch.zeros_like(y)
    theirs = torch.nn.MultiheadAttention(CHANNELS, 2, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([block.ask.weight, block.tell.weight]))
        theirs.in_proj_bias.copy_(torch.cat([block.ask.bias, block.tell.bias]))
        theirs.out_proj.load_state_dict(block.hear.state_dict())
    for row in range(2):  # the third has no sources
        some = sources.present[row]
        for x, gate in zip(sources.depths, block.gates, strict=True):
            heard, _ = theirs(y[row : row + 1], x[row : row + 1, some], x[row : row + 1, some])
            for place in range(4):
                alpha = torch.sigmoid(gate.weight @ torch.cat([y[row, place], heard[0, place]]) + gate.bias)
                expected[row, place] += alpha * heard[0, place] / 3**0.5
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_every_round_is_read():
    decoder, sources, tokens = stirred(3), seen(3), torch.randint(VOCABULARY, (3, LENGTH))
    said = decoder(sources, tokens)
    for number in range(3):
        after = list(sources.depths)
        after[number] = after[number] + sources.present[:, :, None]
        assert not torch.allclose(decoder(sources._replace(depths=tuple(after)), tokens)[:2], said[:2])


def test_the_number_of_rounds_must_fit():
    with pytest.raises(DataError, match="after 2 rounds of messages, got 3; make it with rounds=3"):
        stirred(2)(seen(3), torch.ones(3, 2, dtype=torch.int64))
    with pytest.raises(DataError, match="got 1"):
        stirred(2)(seen(3)._replace(depths=()), torch.ones(3, 2, dtype=torch.int64))
    with pytest.raises(ConfigError, match="rounds must be at least 1, got 0"):
        stirred(0)
