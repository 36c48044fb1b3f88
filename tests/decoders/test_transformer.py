import pytest
import torch
from torch import nn

from mmgraph.decoders import TransformerDecoder
from mmgraph.errors import ConfigError, DataError
from mmgraph.typing import Sources

CHANNELS, VOCABULARY, LENGTH = 12, 9, 6


def torch_decoder(ours, heads):
    """torch's own decoder with our weights, eval mode."""
    layer = nn.TransformerDecoderLayer(
        CHANNELS,
        heads,
        ours.blocks[0].linear1.out_features,
        dropout=0.0,
        activation="gelu",
        batch_first=True,
        norm_first=True,
    )
    theirs = nn.TransformerDecoder(layer, len(ours.blocks), norm=nn.LayerNorm(CHANNELS)).eval()
    with torch.no_grad():
        for there, here in zip(theirs.layers, ours.blocks, strict=True):
            there.self_attn.in_proj_weight.copy_(here.mix.weight)
            there.self_attn.in_proj_bias.copy_(here.mix.bias)
            there.self_attn.out_proj.load_state_dict(here.out.state_dict())
            there.multihead_attn.in_proj_weight.copy_(torch.cat([here.ask.weight, here.tell.weight]))
            there.multihead_attn.in_proj_bias.copy_(torch.cat([here.ask.bias, here.tell.bias]))
            there.multihead_attn.out_proj.load_state_dict(here.hear.state_dict())
            for name in ("linear1", "linear2", "norm1", "norm2", "norm3"):
                getattr(there, name).load_state_dict(getattr(here, name).state_dict())
        theirs.norm.load_state_dict(ours.norm.state_dict())
    return theirs


def stirred(**options):
    torch.manual_seed(3)
    decoder = TransformerDecoder(CHANNELS, vocabulary=VOCABULARY, length=LENGTH, **options).eval()
    with torch.no_grad():
        for weight in decoder.parameters():
            weight.normal_(std=0.5)
    return decoder


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(("depth", "heads", "hidden"), [(1, 1, None), (3, 4, 7)])
def test_it_is_torchs_decoder(depth, heads, hidden, tied):
    ours = stirred(depth=depth, heads=heads, hidden=hidden, tied=tied)
    theirs = torch_decoder(ours, heads)
    present = torch.tensor([[1, 1, 1, 1], [0, 1, 1, 0], [0, 0, 1, 0]]).bool()
    states = torch.randn(3, 4, CHANNELS)
    tokens = torch.randint(VOCABULARY, (3, LENGTH))
    read = torch.cat([torch.zeros(3, 1, dtype=torch.int64), tokens[:, :-1]], dim=1)
    x = ours.pieces.weight[read] + ours.places.weight[None]
    causal = nn.Transformer.generate_square_subsequent_mask(LENGTH)
    hidden_states = theirs(x, states, tgt_mask=causal, memory_key_padding_mask=~present, tgt_is_causal=True)
    expected = hidden_states @ (ours.pieces.weight if tied else ours.write.weight).T
    torch.testing.assert_close(ours(Sources(states, present), tokens), expected, atol=1e-4, rtol=1e-4)


def test_a_row_without_sources_skips_the_block_with_its_bias():
    decoder, tokens = stirred(), torch.randint(VOCABULARY, (2, LENGTH))
    sources = Sources(torch.randn(2, 3, CHANNELS), torch.tensor([[True] * 3, [False] * 3]))
    said = decoder(sources, tokens)
    with torch.no_grad():
        for block in decoder.blocks:
            block.hear.weight.zero_()
            block.hear.bias.zero_()
    deaf = decoder(sources, tokens)
    assert torch.equal(deaf[1], said[1])
    assert not torch.allclose(deaf[0], said[0])


def test_dropout_is_for_training_alone():
    decoder, tokens = stirred(dropout=0.5), torch.randint(VOCABULARY, (2, LENGTH))
    sources = Sources(torch.randn(2, 3, CHANNELS), torch.ones(2, 3).bool())
    assert torch.equal(decoder(sources, tokens), decoder(sources, tokens))
    decoder.train()
    assert not torch.allclose(decoder(sources, tokens), decoder(sources, tokens))


def test_tied_it_has_one_matrix_of_pieces():
    count = {tied: sum(weight.numel() for weight in stirred(tied=tied).parameters()) for tied in (True, False)}
    assert count[False] - count[True] == VOCABULARY * CHANNELS


def test_texts_longer_than_it_was_made_for_are_refused():
    decoder = stirred()
    sources = Sources(torch.zeros(1, 1, CHANNELS), torch.ones(1, 1).bool())
    with pytest.raises(DataError, match="at most 6 pieces, got 7"):
        decoder.losses(sources, torch.full((1, 7), 2))
    decoder.losses(sources, torch.tensor([[2, 1, 0, 0, 0, 0, 0, 0]]))
    state = decoder.begin(sources)
    for _ in range(LENGTH):
        _, state = decoder.step(state, torch.zeros(1, dtype=torch.int64))
    with pytest.raises(DataError, match="at most 6 pieces, which were read"):
        decoder.step(state, torch.zeros(1, dtype=torch.int64))


@pytest.mark.parametrize(
    ("options", "got"),
    [
        ({"heads": 5}, "5 heads of 12 channels"),
        ({"heads": 0}, "0 heads of 12 channels"),
        ({"depth": 0}, "depth 0"),
        ({"hidden": 0}, "hidden 0"),
        ({"dropout": 1.0}, "dropout 1.0"),
    ],
)
def test_options_out_of_range_are_refused(options, got):
    with pytest.raises(ConfigError, match=got):
        TransformerDecoder(CHANNELS, vocabulary=VOCABULARY, length=LENGTH, **options)
