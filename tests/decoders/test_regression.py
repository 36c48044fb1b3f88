import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmgraph.decoders import Decoder, Dense, Regression
from mmgraph.decoders.regression import Pool, fitting
from mmgraph.errors import ConfigError
from mmgraph.typing import Sources


def some(rows=4, nodes=3, channels=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    present = torch.rand(rows, nodes, generator=generator) < 0.6
    present[0] = False
    states = torch.randn(rows, nodes, channels, generator=generator) * present[:, :, None]
    return Sources(states, present)


@pytest.mark.parametrize("pooling", ["mean", "attention"])
@given(seed=st.integers(0, 50), nodes=st.integers(0, 4))
def test_a_pool_equals_a_slow_loop(pooling, seed, nodes):
    torch.manual_seed(seed)
    sources, pool = some(nodes=nodes, seed=seed), Pool(5, pooling)
    found = pool(sources)
    for row in range(4):
        there = [sources.states[row, j] for j in range(nodes) if sources.present[row, j]]
        expected = torch.zeros(5)
        if there:
            score = torch.stack([pool.score(one)[0] if pool.score else torch.zeros(()) for one in there]).exp()
            expected = sum(weight * one for weight, one in zip(score / score.sum(), there, strict=True))
        torch.testing.assert_close(found[row], expected)


@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_what_is_not_present_has_no_influence(pooling):
    sources, decoder = some(), Regression(Dense(5, (2, 2)), pooling=pooling)
    other = Sources(sources.states.masked_fill(~sources.present[:, :, None], 7.0), sources.present)
    assert torch.equal(decoder.generate(sources), decoder.generate(other))
    torch.testing.assert_close(decoder.generate(sources)[1:2], decoder.generate(sources.take(slice(1, 2))))
    assert decoder.generate(sources.nothing()).isfinite().all()


def test_the_loss_sums_the_squared_errors_of_finite_values():
    torch.manual_seed(0)
    sources, decoder = some(), Regression(Dense(5, (2, 3), centre=2.0, scale=4.0))
    payload = torch.randn(4, 2, 3)
    payload[0, 0, 1], payload[1], payload[2, 1, 2] = torch.nan, torch.nan, torch.inf
    terms = decoder.losses(sources, payload)
    terms["total"].sum().backward()
    said = decoder.decoder(sources.mean()).detach()
    for row in range(4):
        values = [
            (float(said[row, i, j]) - (float(payload[row, i, j]) - 2) / 4) ** 2
            for i in range(2)
            for j in range(3)
            if payload[row, i, j].isfinite()
        ]
        assert terms["total"].detach()[row].item() == pytest.approx(sum(values), rel=1e-5)
        assert decoder.counts(payload)[row] == len(values)
    assert all(one.grad.isfinite().all() for one in decoder.parameters())


def test_it_learns_the_mean_of_what_may_be():
    torch.manual_seed(0)
    decoder = Regression(Dense(1, (1,)))
    sources, payload = (
        Sources(torch.ones(4, 1, 1), torch.ones(4, 1, dtype=torch.bool)),
        torch.tensor([[0.0], [2.0]] * 2),
    )
    optimiser = torch.optim.SGD(decoder.parameters(), lr=0.05)
    for _ in range(100):
        optimiser.zero_grad()
        decoder.losses(sources, payload)["total"].sum().backward()
        optimiser.step()
    torch.testing.assert_close(decoder.generate(sources), torch.ones(4, 1), atol=1e-4, rtol=0)


def test_it_makes_the_type_of_the_payload():
    decoder = Regression(Dense(5, (1, 2, 2), centre=127.5, scale=1e4), dtype=torch.uint8)
    made = decoder.generate(some())
    assert made.dtype == torch.uint8
    assert made.shape == (4, 1, 2, 2)
    assert fitting(torch.tensor([-1.0, 0.5, 1.5, 255.4, 1e9]), torch.uint8).tolist() == [0, 0, 2, 255, 255]
    assert fitting(torch.tensor([1e9]), torch.float16).isfinite().all()
    assert fitting(torch.tensor([0.2, 0.8]), torch.bool).tolist() == [False, True]


def test_no_row_works():
    decoder = Regression(Dense(5, (2, 2)))
    nothing = Sources(torch.empty(0, 2, 5), torch.empty(0, 2, dtype=torch.bool))
    assert decoder.losses(nothing, torch.empty(0, 2, 2))["total"].shape == (0,)
    assert decoder.counts(torch.empty(0, 2, 2)).shape == (0,)
    assert decoder.generate(nothing).shape == (0, 2, 2)


@pytest.mark.parametrize(("channels", "pooling"), [(0, "mean"), (3, "max")])
def test_what_is_out_of_range_is_refused(channels, pooling):
    with pytest.raises(ConfigError, match=rf"one of \['mean', 'attention'\], got {channels}, '{pooling}'"):
        Regression(Dense(3, (1,)), channels=channels, pooling=pooling)


class Doubled(Decoder):
    def forward(self, states):
        return 2 * states


def test_a_decoder_of_ones_own_says_how_wide_its_code_is():
    decoder = Regression(Doubled("x"), channels=5)
    torch.testing.assert_close(decoder.generate(some()), 2 * some().mean())
    with pytest.raises(ConfigError, match="how wide a code Doubled reads, got none; give channels"):
        Regression(Doubled("x"))
