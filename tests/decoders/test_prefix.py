import pytest
import torch

from mmgraph.decoders import Decoding, LanguageModel, Prefix, train_language_model
from mmgraph.errors import ConfigError, DataError
from mmgraph.typing import Sources

TEXTS = ["a red cat", "a blue dog"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "lm"
    return train_language_model(TEXTS, path, channels=16, depth=2, heads=2, length=16, epochs=1, vocabulary=265)


def some(rows=3, nodes=4, channels=6):
    torch.manual_seed(1)
    present = torch.ones(rows, nodes, dtype=torch.bool)
    present[1:2, 2:] = False
    present[2:] = False
    return Sources(torch.randn(rows, nodes, channels) * present[:, :, None], present)


def numbers(rows=3, length=5):
    return torch.randint(2, 250, (rows, length), generator=torch.Generator().manual_seed(0))


def alone(decoder, tokens):
    """What the language model says by itself."""
    read = torch.cat([torch.zeros_like(tokens[:, :1]), tokens[:, :-1]], dim=1)
    return decoder.model(decoder.model.embed(read))[0]


@pytest.fixture(params=["mlp", "attention"])
def decoder(request, folder):
    torch.manual_seed(0)
    return Prefix(6, LanguageModel(folder), length=6, prefix=3, mapper=request.param)


def test_it_is_the_language_model_after_vectors(decoder):
    sources, tokens = some(), numbers()
    logits = decoder(sources, tokens)
    if decoder.mapper.__class__.__name__ == "Resampler":
        vectors = decoder.widen(decoder.mapper(sources.states, sources.present))
    else:
        first, last = decoder.mapper[0], decoder.mapper[2]
        hidden = (sources.mean() @ first.weight.T + first.bias).tanh()
        vectors = (hidden @ last.weight.T + last.bias).reshape(3, 3, 16)
    begin, text = decoder.model.embed(torch.zeros(3, 1, dtype=torch.int64)), decoder.model.embed(tokens[:, :-1])
    expected = decoder.model.model(inputs_embeds=torch.cat([begin, vectors, text], dim=1)).logits[:, 3:]
    torch.testing.assert_close(logits[:2, :, 3:], expected[:2, :, 1:])
    torch.testing.assert_close(logits[:2, :, 1], expected[:2, :, 0])
    assert not torch.allclose(logits[:2], alone(decoder, tokens)[:2], atol=1e-3)


def test_without_sources_or_prefix_it_is_the_language_model(decoder, folder):
    tokens = numbers()
    assert torch.equal(decoder(some().nothing(), tokens), alone(decoder, tokens))
    torch.testing.assert_close(decoder(some(), tokens)[2], alone(decoder, tokens)[2])
    no_node = Sources(torch.zeros(3, 0, 6), torch.zeros(3, 0, dtype=torch.bool))
    assert torch.equal(decoder(no_node, tokens), alone(decoder, tokens))
    without = Prefix(6, LanguageModel(folder), length=6, prefix=0)
    assert torch.equal(without(some(), tokens), alone(without, tokens))
    assert [name for name, weight in without.named_parameters() if weight.requires_grad] == []


def test_steps_equal_the_whole(decoder, folder):
    for one in (decoder, Prefix(6, LanguageModel(folder), length=6, prefix=0)):
        sources, tokens = some(), numbers()
        whole, state = one(sources, tokens), one.begin(sources)
        read = torch.cat([torch.zeros(3, 1, dtype=torch.int64), tokens], dim=1)
        for place in range(tokens.shape[1]):
            rows = torch.tensor([2, 0, 1, 0]) if place == 2 else torch.arange(len(whole))
            whole, read, state = whole[rows], read[rows], one.reorder(state, rows)
            logits, state = one.step(state, read[:, place])
            torch.testing.assert_close(logits, whole[:, place])


def test_no_logit_sees_what_follows_and_no_row_another(decoder):
    sources, tokens = some(), numbers()
    before = decoder(sources, tokens)
    changed = tokens.clone()
    changed[:, 2] = 7
    after = decoder(sources, changed)
    assert torch.equal(before[:, :3], after[:, :3])
    assert not torch.equal(before[:, 3:], after[:, 3:])
    states = sources.states.clone()
    states[0] += 1
    states[1, 2:] += 1  # not there
    after = decoder(Sources(states, sources.present), tokens)
    assert torch.equal(before[1:], after[1:])
    assert not torch.equal(before[0], after[0])


def test_the_prefix_alone_is_trained_until_the_model_is_let_loose(decoder, folder):
    decoder.train().losses(some(), numbers())["total"].sum().backward()
    assert all(weight.grad is None for weight in decoder.model.parameters())
    assert [name for name, weight in decoder.named_parameters() if weight.requires_grad and weight.grad is None] == []
    free = Prefix(6, LanguageModel(folder, frozen=False), length=6, prefix=3).train()
    free.losses(some(), numbers())["total"].sum().backward()
    assert [name for name, weight in free.named_parameters() if weight.grad is None] == []


def test_it_learns_which_text_belongs_to_which_source(folder):
    torch.manual_seed(0)
    decoder = Prefix(6, LanguageModel(folder, frozen=False), length=6, prefix=4)
    states = torch.eye(2, 6)[:, None]
    sources, tokens = Sources(states, torch.ones(2, 1, dtype=torch.bool)), torch.tensor([[40, 1, 0], [50, 60, 1]])
    optimizer = torch.optim.Adam([weight for weight in decoder.parameters() if weight.requires_grad], lr=0.01)
    for _ in range(150):
        loss = decoder.losses(sources, tokens)["total"].sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for method in ("greedy", "beam"):
        assert decoder.generate(sources, decoding=Decoding(method=method))[:, :3].tolist() == tokens.tolist()


@pytest.mark.parametrize("method", ["greedy", "beam", "nucleus"])
def test_generation_is_bounded_and_works_without_rows_and_nodes(decoder, method):
    how = Decoding(method=method, width=3)
    drawn = [decoder.generate(some(), generator=torch.Generator().manual_seed(0), decoding=how) for _ in range(2)]
    assert torch.equal(*drawn)
    assert drawn[0].shape == (3, 6)
    assert not ((drawn[0] == 2).any())  # the end's second number
    assert decoder.generate(some().take(slice(0, 0)), decoding=how).shape == (0, 6)
    no_node = Sources(torch.zeros(2, 0, 6), torch.zeros(2, 0, dtype=torch.bool))
    assert decoder.generate(no_node, decoding=how).shape == (2, 6)


def test_options_out_of_range_are_refused(folder):
    model = LanguageModel(folder)
    for options, message in (
        ({"prefix": -1}, "got -1, mlp"),
        ({"mapper": "lstm"}, "got 10, lstm"),
        ({"hidden": 0}, "hidden must be at least 1, got 0"),
        ({"prefix": 11}, "before a text, 11, and its length, 6, must fit in the 16 positions"),
    ):
        with pytest.raises(ConfigError, match=message):
            Prefix(6, model, **{"length": 6, **options})
    with pytest.raises(DataError, match="must fit in its 16 positions, got 17"):
        Prefix(6, model, length=6, prefix=3)(some(), numbers(length=14))
    with pytest.raises(DataError, match="tokens must be from 0 to 266, got 2 to 267"):
        Prefix(6, model, length=6, prefix=3).losses(some(1), torch.tensor([[2, 267]]))
