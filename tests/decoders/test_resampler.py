import math

import pytest
import torch

from mmgraph.decoders import Resampler
from mmgraph.decoders.resampler import CrossAttention
from mmgraph.errors import ConfigError


def by_loop(attention, states, sources, seen):
    """Attention, one state and head after the other."""
    key, value = attention.key_value(sources).chunk(2, dim=2)
    query, size = attention.query(states), states.shape[2] // attention.heads
    mixed = torch.zeros_like(states)
    for row in range(len(states)):
        for place in range(states.shape[1]):
            who = seen[row, min(place, seen.shape[1] - 1)].nonzero().flatten().tolist()
            for head in range(attention.heads):
                part = slice(head * size, (head + 1) * size)
                scores = [float(query[row, place, part] @ key[row, u, part]) / math.sqrt(size) for u in who]
                total = sum(math.exp(score) for score in scores)
                for u, score in zip(who, scores, strict=True):
                    mixed[row, place, part] += math.exp(score) / total * value[row, u, part]
    return attention.out(mixed)


@torch.no_grad()
def test_attention_equals_its_formula():
    torch.manual_seed(0)
    attention = CrossAttention(6, 4, heads=2)
    states, sources, seen = torch.randn(2, 3, 6), torch.randn(2, 5, 4), torch.rand(2, 3, 5) < 0.5
    seen[1, 2] = False
    found = attention(states, sources, seen)
    torch.testing.assert_close(found, by_loop(attention, states, sources, seen))
    assert (found[1, 2] == 0).all()
    torch.testing.assert_close(
        attention(states, sources, seen[:, :1]), by_loop(attention, states, sources, seen[:, :1])
    )
    assert (attention(states, sources[:, :0], seen[:, :, :0]) == 0).all()


@torch.no_grad()
def test_it_equals_its_formula():
    torch.manual_seed(0)
    resampler = Resampler(4, latents=3, depth=2, heads=2)
    states, present = torch.randn(2, 5, 4), torch.rand(2, 5) < 0.6
    latents = resampler.latents.expand(2, -1, -1)
    for block in resampler.blocks:
        asking = block.of_latents(latents)
        sources = torch.cat([block.of_nodes(states), asking], dim=1)
        seen = torch.cat([present, torch.ones(2, 3, dtype=torch.bool)], dim=1)[:, None]
        latents = latents + by_loop(block.attention, asking, sources, seen)
        latents = latents + block.feed[3](torch.nn.functional.gelu(block.feed[1](block.feed[0](latents))))
    torch.testing.assert_close(resampler(states, present), resampler.norm(latents))


@torch.no_grad()
def test_size_is_fixed_order_does_not_matter_and_what_is_not_there_has_no_influence():
    torch.manual_seed(0)
    resampler = Resampler(8, latents=3, depth=2)
    states, present = torch.randn(2, 6, 8), torch.tensor([[True] * 6, [True, False, True, True, False, True]])
    found = resampler(states, present)
    assert found.shape == (2, 3, 8)
    order = torch.randperm(6)
    torch.testing.assert_close(resampler(states[:, order], present[:, order]), found)
    changed = states.clone()
    changed[1, [1, 4]] += 100
    assert torch.equal(resampler(changed, present), found)
    torch.testing.assert_close(resampler(states[1:, [0, 2, 3, 5]], torch.ones(1, 4, dtype=torch.bool)), found[1:])
    for number in (0, 1, 40):
        assert resampler(torch.randn(2, number, 8), torch.ones(2, number, dtype=torch.bool)).shape == (2, 3, 8)


@torch.no_grad()
def test_without_a_node_there_is_what_is_learned():
    torch.manual_seed(0)
    resampler = Resampler(8, latents=3)
    nothing = resampler(torch.randn(2, 4, 8), torch.zeros(2, 4, dtype=torch.bool))
    torch.testing.assert_close(nothing, resampler(torch.zeros(2, 0, 8), torch.zeros(2, 0, dtype=torch.bool)))
    assert nothing.isfinite().all()
    assert resampler(torch.zeros(0, 4, 8), torch.zeros(0, 4, dtype=torch.bool)).shape == (0, 3, 8)


def test_all_that_is_learned_gets_a_gradient():
    resampler = Resampler(8, latents=3, depth=2)
    resampler(torch.randn(2, 4, 8), torch.ones(2, 4, dtype=torch.bool)).square().sum().backward()
    assert [name for name, weight in resampler.named_parameters() if weight.grad is None] == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"latents": 0}, "got 0 and 1"),
        ({"latents": 2, "depth": 0}, "got 2 and 0"),
        ({"latents": 2, "heads": 3}, "divide 8 channels, got 8 channels of sources and 3 heads"),
        ({"latents": 2, "heads": 0}, "and 0 heads"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Resampler(8, **options)
