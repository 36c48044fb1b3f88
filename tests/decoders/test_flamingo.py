import copy

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from mmgraph.decoders import Decoding, Flamingo, LanguageModel, train_language_model
from mmgraph.decoders.flamingo import GatedCross
from mmgraph.errors import ConfigError, DataError
from mmgraph.typing import Sources

TEXTS = ["a red cat", "a blue dog"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "lm"
    return train_language_model(TEXTS, path, channels=16, depth=2, heads=2, length=16, epochs=1, vocabulary=265)


@pytest.fixture(scope="module")
def llama(tmp_path_factory, folder):
    path = tmp_path_factory.mktemp("models") / "llama"
    sizes = {"vocab_size": 300, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 16}
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(**sizes, **heads, bos_token_id=5, eos_token_id=7)).save_pretrained(path)
    (path / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    return path


def make(folder, *, opened=True, **options):
    torch.manual_seed(0)
    decoder = Flamingo(8, LanguageModel(folder), **{"length": 6, "latents": 2, **options})
    if opened:
        with torch.no_grad():
            for cross in decoder.crosses:
                cross.attention_gate.fill_(0.7)
                cross.feed_gate.fill_(-0.4)
    return decoder


def pictures(rows=3, count=3, channels=8):
    torch.manual_seed(1)
    present = torch.ones(rows, count, dtype=torch.bool)
    present[1:2, 2:] = False
    present[2:] = False
    return Sources(torch.randn(rows, count, channels) * present[:, :, None], present)


def numbers(rows=3, length=6):
    return torch.randint(2, 250, (rows, length), generator=torch.Generator().manual_seed(0))


def alone(decoder, tokens):
    """What the language model says by itself."""
    read = torch.cat([torch.zeros_like(tokens[:, :1]), tokens[:, :-1]], dim=1)
    return decoder.model(decoder.model.embed(read))[0]


def test_a_gated_block_equals_its_formula():
    torch.manual_seed(0)
    block = GatedCross(8, 4, heads=2)
    with torch.no_grad():
        block.attention_gate.fill_(0.5)
        block.feed_gate.fill_(1.5)
    states, sources, seen = torch.randn(2, 3, 8), torch.randn(2, 5, 4), torch.rand(2, 3, 5) < 0.6
    seen[0, 1] = False
    normed = torch.nn.functional.layer_norm(states, (8,))
    expected = states + torch.tensor(0.5).tanh() * block.attention(normed, sources, seen)
    middle = torch.nn.functional.layer_norm(expected, (8,)) @ block.feed[1].weight.T
    fed = torch.nn.functional.gelu(middle) @ block.feed[3].weight.T
    expected = expected + torch.tensor(1.5).tanh() * fed
    expected[0, 1] = states[0, 1]
    torch.testing.assert_close(block(states, sources, seen), expected)


@pytest.mark.parametrize("options", [{}, {"nodes": 1}, {"nodes": 3}, {"every": 2}])
@pytest.mark.parametrize("kind", ["folder", "llama"])
def test_closed_gates_are_exactly_the_language_model(kind, options, request):
    decoder, tokens = make(request.getfixturevalue(kind), opened=False, **options), numbers()
    tokens[0, 2] = 1
    assert torch.equal(decoder(pictures(), tokens), alone(decoder, tokens))


@pytest.mark.parametrize("kind", ["folder", "llama"])
def test_open_gates_look_and_rows_without_a_picture_are_the_language_model(kind, request):
    for options in ({}, {"nodes": 1}, {"nodes": 1, "context": 4}):
        decoder, tokens = make(request.getfixturevalue(kind), **options), numbers()
        found, plain = decoder(pictures(), tokens), alone(decoder, tokens)
        assert not torch.allclose(found[:2], plain[:2], atol=1e-3)
        torch.testing.assert_close(found[2], plain[2])
        torch.testing.assert_close(decoder(pictures().nothing(), tokens), plain)
        no_node = Sources(torch.zeros(3, 0, 8), torch.zeros(3, 0, dtype=torch.bool))
        torch.testing.assert_close(decoder(no_node, tokens), plain)


def test_each_word_looks_at_the_picture_that_precedes_it(folder):
    decoder = make(folder, nodes=1)
    sources, tokens = pictures(), numbers(length=8)
    tokens[:, 2] = tokens[:, 5] = 1  # [p, p, 1, p, p, 1, p, p]: three texts
    before = decoder(sources, tokens)

    def changed(which):
        states = sources.states.clone()
        states[:, which] = states[:, which].flip(1)
        return decoder(Sources(states, sources.present), tokens)

    for which, first in ((0, 0), (1, 3), (2, 6)):  # the logits at 3 have read the first end
        after = changed(which)
        assert torch.equal(before[0, :first], after[0, :first])
        assert not torch.allclose(before[0, first], after[0, first], atol=1e-3)
    assert torch.equal(before[1:], changed(2)[1:])  # not there
    alike = decoder(Sources(sources.states[:, :2], sources.present[:, :2]), tokens)
    torch.testing.assert_close(alike[1], before[1])  # the last text stays at the last picture that is there


def test_by_attention_alone_a_picture_changes_its_own_words_alone(folder):
    decoder = make(folder, nodes=1)
    sources, tokens = pictures(1), numbers(1, 6)
    tokens[:, 2] = 1
    with decoder._looking(decoder._before(sources)[0], torch.tensor([[0, 0, 1, 2, -1]])):
        block = decoder.model.blocks[0]
        (hook,) = block._forward_pre_hooks.values()
        hidden = torch.randn(1, 5, 16)
        ((told,), _) = hook(block, (hidden,), {})
    cross, latents = decoder.crosses[0], decoder.resampler(sources.states.transpose(0, 1), torch.ones(3, 1).bool())
    for place, which in enumerate((0, 0, 1, 2)):
        seen = torch.ones(1, 1, 2, dtype=torch.bool)
        expected = cross(hidden[:, place : place + 1], latents[which : which + 1], seen)
        torch.testing.assert_close(told[:, place : place + 1], expected)
    assert torch.equal(told[:, 4], hidden[:, 4])
    assert not decoder.model.blocks[0]._forward_pre_hooks


def test_nodes_of_a_picture_belong_together(folder):
    decoder, sources = make(folder, nodes=2), pictures(count=4)
    tokens = numbers()
    tokens[:, 1] = 1
    found = decoder(sources, tokens)
    swapped = decoder(Sources(sources.states[:, [1, 0, 3, 2]], sources.present[:, [1, 0, 3, 2]]), tokens)
    torch.testing.assert_close(swapped, found)
    other = decoder(Sources(sources.states[:, [0, 2, 1, 3]], sources.present[:, [0, 2, 1, 3]]), tokens)
    assert not torch.allclose(other[0], found[0], atol=1e-3)
    late = torch.cat([torch.zeros(3, 2, 8), sources.states], dim=1)  # the first picture is not there
    present = torch.cat([torch.zeros(3, 2, dtype=torch.bool), sources.present], dim=1)
    torch.testing.assert_close(decoder(Sources(late, present), tokens), found)
    with pytest.raises(DataError, match="whole pictures of 2 nodes, got 3 places"):
        decoder(pictures(), tokens)


def test_context_is_picture_and_word_for_each_earlier_picture(folder):
    decoder, sources = make(folder, nodes=1, context=4), pictures()
    tokens = numbers(length=4)
    found = decoder(sources, tokens)
    begin, text = decoder.model.embed(torch.zeros(1, 1, dtype=torch.int64)), decoder.model.embed(tokens[:1, :-1])
    words = sources.states[:1, :, 4:] @ decoder.word.weight.T + decoder.word.bias
    marker = decoder.picture.expand(1, 1, -1)
    vectors = torch.cat([begin, marker, words[:, :1], marker, words[:, 1:2], marker, text], dim=1)
    which = torch.tensor([[0, 0, -1, 1, -1, 2, 2, 2, 2]])
    with decoder._looking(decoder._before(sources.take(slice(0, 1)))[0], which):
        expected = decoder.model(vectors)[0][:, 5:]
    torch.testing.assert_close(found[:1], expected)
    fewer = Sources(sources.states[1:2, :2], sources.present[1:2, :2])  # the second row has two
    torch.testing.assert_close(decoder(fewer, tokens[1:2])[0], found[1])
    single = Sources(sources.states[:1, :1], sources.present[:1, :1])  # no example
    plain = Flamingo(4, LanguageModel(folder), length=6, latents=2, nodes=1)
    plain.load_state_dict(
        {name: value for name, value in decoder.state_dict().items() if name[:4] not in ("word", "pict")}
    )
    shown = Sources(single.states[..., :4], single.present)
    torch.testing.assert_close(decoder(single, tokens[:1]), plain(shown, tokens[:1]))
    states = sources.states.clone()
    states[0, 2, 4:] = 9  # nobody reads the word of the picture that is asked about
    assert torch.equal(decoder(Sources(states, sources.present), tokens)[0], found[0])


def test_words_as_wide_as_the_language_model_are_read_as_they_are(folder):
    model = LanguageModel(folder)
    decoder = Flamingo(4 + model.channels, model, length=6, latents=2, nodes=1, context=model.channels)
    words = torch.randn(3, model.channels)
    assert torch.equal(decoder.word(words), words)


def test_another_piece_may_lead_to_the_next_picture(folder):
    decoder, ends, tokens = make(folder, nodes=1, marker=9), make(folder, nodes=1), numbers()
    tokens[:, 2] = 9
    found, other = decoder(pictures(), tokens), ends(pictures(), tokens)
    torch.testing.assert_close(found[:, :3], other[:, :3])
    assert not torch.allclose(found[0, 3], other[0, 3], atol=1e-3)


@pytest.mark.parametrize("options", [{}, {"nodes": 1}, {"nodes": 1, "context": 4}, {"every": 2}])
def test_steps_equal_the_whole(folder, options):
    decoder = make(folder, **options)
    sources, tokens = pictures(), numbers()
    tokens[:, 1] = tokens[0, 3] = 1  # the next picture
    whole, state = decoder(sources, tokens), decoder.begin(sources)
    read = torch.cat([torch.zeros(3, 1, dtype=torch.int64), tokens], dim=1)
    for place in range(tokens.shape[1]):
        rows = torch.tensor([2, 0, 1, 0]) if place == 2 else torch.arange(len(whole))
        whole, read, state = whole[rows], read[rows], decoder.reorder(state, rows)
        logits, state = decoder.step(state, read[:, place])
        torch.testing.assert_close(logits, whole[:, place])


def test_no_logit_sees_what_follows_and_no_row_another(folder):
    decoder = make(folder, nodes=1, context=4)
    sources, tokens = pictures(), numbers()
    before = decoder(sources, tokens)
    changed = tokens.clone()
    changed[:, 3] = 7
    assert torch.equal(before[:, :4], decoder(sources, changed)[:, :4])
    states = sources.states.clone()
    states[0] = states[0].flip(1)
    after = decoder(Sources(states, sources.present), tokens)
    assert torch.equal(before[1:], after[1:])
    assert not torch.equal(before[0], after[0])


def test_what_is_frozen_gets_no_gradient_and_all_else_does(folder):
    decoder = make(folder, nodes=1, context=4).train()
    decoder.losses(pictures(), numbers())["total"].sum().backward()
    assert all(weight.grad is None for weight in decoder.model.parameters())
    learned = {name for name, weight in decoder.named_parameters() if weight.requires_grad}
    assert {name for name in learned if decoder.get_parameter(name).grad is None} == set()
    closed = make(folder, opened=False).train()
    closed.losses(pictures(), numbers())["total"].sum().backward()
    assert all(cross.attention_gate.grad.abs() > 0 for cross in closed.crosses)  # it can open


def test_it_is_copied_and_restored(folder):
    decoder, tokens = make(folder), numbers()
    torch.manual_seed(9)
    other = Flamingo(8, LanguageModel(folder), length=6, latents=2)
    other.load_state_dict(decoder.state_dict())
    for same in (copy.deepcopy(decoder), other):
        assert torch.equal(same(pictures(), tokens), decoder(pictures(), tokens))


@pytest.mark.parametrize("method", ["greedy", "beam", "nucleus"])
def test_generation_is_bounded_and_works_without_rows_and_nodes(folder, method):
    decoder, how = make(folder, nodes=1, context=4), Decoding(method=method, width=3)
    drawn = [decoder.generate(pictures(), generator=torch.Generator().manual_seed(0), decoding=how) for _ in range(2)]
    assert torch.equal(*drawn)
    assert drawn[0].shape == (3, 6)
    assert decoder.generate(pictures().take(slice(0, 0)), decoding=how).shape == (0, 6)
    no_node = Sources(torch.zeros(2, 0, 8), torch.zeros(2, 0, dtype=torch.bool))
    assert decoder.generate(no_node, decoding=how).shape == (2, 6)


def test_options_out_of_range_are_refused(folder):
    for options, message in (
        ({"every": 0}, "got 0 and None"),
        ({"nodes": 0}, "got 1 and 0"),
        ({"context": 4}, "say how many nodes one has"),
        ({"nodes": 1, "context": 8}, "leave some of 8 channels to see, got 8"),
        ({"nodes": 1, "context": True}, "leave some of 8 channels to see, got True"),
        ({"length": 17}, "its length, 17, must fit in the 16 positions"),
        ({"heads": 5}, "divide 8 channels, got 8 channels of sources and 5 heads"),
        ({"latents": 0}, "latents and depth of at least 1, got 0"),
    ):
        with pytest.raises(ConfigError, match=message):
            make(folder, **options)
