"""The bound against its parts and against the likelihood itself, draws, units, and what it refuses."""

import math

import pytest
import torch
from torch.distributions import Normal
from torch.nn import functional as F

from mmgraph.decoders.variational import Variational
from mmgraph.errors import ConfigError, DataError
from mmgraph.testing.generative import check_generative
from mmgraph.typing import Sources


def sources(rows, channels=4, nodes=2):
    draw = torch.Generator().manual_seed(3)
    return Sources(torch.randn(rows, nodes, channels, generator=draw), torch.ones(rows, nodes, dtype=torch.bool))


def pixels(rows, *shape):
    return torch.randint(0, 256, (rows, *shape), generator=torch.Generator().manual_seed(5)).to(torch.uint8)


@pytest.mark.parametrize(
    ("make", "payload"),
    [
        (lambda: Variational(4, (1, 3, 3), hidden=(8,)), pixels(5, 1, 3, 3)),
        (lambda: Variational(4, (6,), attribute="x", hidden=(), likelihood="gaussian", dtype=torch.float32), None),
        (lambda: Variational(4, (1, 2, 2), likelihood="gaussian", centre=127.5, scale=60.0), pixels(4, 1, 2, 2)),
    ],
)
def test_it_is_a_generative_decoder(make, payload):
    torch.manual_seed(0)
    check_generative(make(), torch.randn(6, 6) if payload is None else payload)


def test_the_parts_are_those_of_the_formula():
    torch.manual_seed(0)
    decoder = Variational(4, (3,), attribute="x", hidden=(7,), latent=2, samples=1, likelihood="gaussian",
                          centre=1.0, scale=2.0, dtype=torch.float32).eval()  # fmt: skip
    decoder.log_deviation.data.fill_(0.3)
    seen, payload = sources(5), torch.randn(5, 3)
    code = seen.states.mean(dim=1)
    mean, log_variance = decoder.posterior(torch.cat([(payload - 1) / 2, code], dim=1)).chunk(2, dim=1)
    noise = torch.randn(1, 1, 2, generator=torch.Generator().manual_seed(0))[0]
    z = mean + (log_variance / 2).exp() * noise
    said = decoder.decoder(torch.cat([z, code], dim=1)) * 2 + 1
    losses = decoder.losses(seen, payload)
    expected = -Normal(said, 2 * math.exp(0.3)).log_prob(payload).sum(dim=1)
    torch.testing.assert_close(losses["nll"], expected)
    kl = torch.distributions.kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)).sum(dim=1)
    torch.testing.assert_close(losses["kl"], kl)
    torch.testing.assert_close(losses["total"], expected + kl)


def test_bytes_are_probabilities():
    torch.manual_seed(0)
    decoder = Variational(4, (1, 2, 2), hidden=(), latent=2, samples=1).eval()
    seen, payload = sources(3), pixels(3, 1, 2, 2)
    code = seen.states.mean(dim=1)
    share = payload.float() / 255
    mean, log_variance = decoder.posterior(torch.cat([2 * share.flatten(1) - 1, code], dim=1)).chunk(2, dim=1)
    noise = torch.randn(1, 1, 2, generator=torch.Generator().manual_seed(0))[0]
    chance = decoder.decoder(torch.cat([mean + (log_variance / 2).exp() * noise, code], dim=1)).sigmoid()
    expected = -(share * chance.log() + (1 - share) * (1 - chance).log()).flatten(1).sum(dim=1)
    torch.testing.assert_close(decoder.losses(seen, payload)["nll"], expected)
    drawn = torch.randn(3, 2, generator=torch.Generator().manual_seed(9))
    wanted = (decoder.decoder(torch.cat([drawn, code], dim=1)).sigmoid() * 255).round().to(torch.uint8)
    assert torch.equal(decoder.generate(seen, generator=torch.Generator().manual_seed(9)), wanted)


def linear_gaussian():
    """A decoder whose likelihood is known: x = W z + b + σ ε, one number, one latent, which the posterior may match."""
    decoder = Variational(1, (1,), attribute="x", hidden=(), latent=1, likelihood="gaussian", dtype=torch.float32,
                          samples=4000).eval()  # fmt: skip
    weight, deviation = 1.5, 0.8
    decoder.log_deviation.data.fill_(math.log(deviation))
    decoder.decoder.network[0].weight.data = torch.tensor([[weight, 0.0]])
    decoder.decoder.network[0].bias.data.fill_(0.5)
    variance = 1 / (1 + weight**2 / deviation**2)
    slope = variance * weight / deviation**2
    decoder.posterior[0].weight.data = torch.tensor([[slope, 0.0], [0.0, 0.0]])
    decoder.posterior[0].bias.data = torch.tensor([-0.5 * slope, math.log(variance)])
    return decoder, Normal(0.5, math.sqrt(weight**2 + deviation**2))


def test_the_bound_is_the_likelihood_where_the_posterior_is_exact_and_above_it_otherwise():
    decoder, marginal = linear_gaussian()
    payload = torch.tensor([[-1.0], [0.5], [3.0]])
    seen = sources(3, channels=1)
    truth = -marginal.log_prob(payload).squeeze(1)
    torch.testing.assert_close(decoder.losses(seen, payload)["total"], truth, atol=0.05, rtol=0)
    decoder.posterior[0].bias.data[1] += 1.0
    assert (decoder.losses(seen, payload)["total"] > truth + 0.1).all()


def test_outside_training_equal_calls_say_the_same_and_draw_from_nobody():
    decoder = Variational(4, (1, 2, 2), hidden=(5,)).eval()
    seen, payload = sources(3), pixels(3, 1, 2, 2)
    state = torch.get_rng_state()
    first = decoder.losses(seen, payload)["total"]
    decoder.generate(seen, generator=torch.Generator().manual_seed(0))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(decoder.losses(seen, payload)["total"], first)
    decoder.train()
    assert not torch.equal(decoder.losses(seen, payload)["total"], decoder.losses(seen, payload)["total"])


def test_what_is_not_known_does_not_count():
    torch.manual_seed(0)
    decoder = Variational(4, (3,), attribute="x", likelihood="gaussian", dtype=torch.float32).eval()
    payload = torch.tensor([[1.0, torch.nan, 2.0], [torch.nan, torch.nan, torch.nan]])
    losses = decoder.losses(sources(2), payload)
    assert decoder.counts(payload).tolist() == [2, 0]
    assert losses["total"].isfinite().all()
    assert float(losses["nll"][1].detach()) == 0
    losses["total"].sum().backward()
    assert all(weight.grad.isfinite().all() for weight in decoder.parameters())


def test_it_learns_what_the_sources_say_and_what_they_leave_open():
    torch.manual_seed(0)
    side = torch.randint(0, 2, (400,))  # said by the sources
    sign = torch.randint(0, 2, (400,)) * 2.0 - 1  # not said
    payload = torch.stack([side * 10.0, sign * 3.0], dim=1) + 0.1 * torch.randn(400, 2)
    seen = Sources(F.one_hot(side, 2)[:, None].float(), torch.ones(400, 1, dtype=torch.bool))
    decoder = Variational(2, (2,), attribute="x", latent=2, hidden=(32,), likelihood="gaussian", centre=0.0, scale=5.0,
                          dtype=torch.float32)  # fmt: skip
    optimiser = torch.optim.Adam(decoder.parameters(), lr=1e-2)
    for _ in range(400):
        optimiser.zero_grad()
        decoder.losses(seen, payload)["total"].mean().backward()
        optimiser.step()
    made = decoder.eval().generate(seen, generator=torch.Generator().manual_seed(0))
    assert ((made[:, 0] > 5) == (side == 1)).float().mean() > 0.98
    assert 0.2 < (made[:, 1] > 0).float().mean() < 0.8
    assert (made[:, 1].abs() > 2).float().mean() > 0.7


@pytest.mark.parametrize(
    ("options", "value"),
    [
        ({"likelihood": "poisson"}, r"one of \['bernoulli', 'gaussian'\], got 'poisson'"),
        ({"latent": 0}, "got 4, 0 and 8"),
        ({"samples": 0}, "got 4, 16 and 0"),
        ({"hidden": (0,)}, r"hidden layers of at least 1, got .* and \[0\]"),
    ],
)
def test_options_out_of_range_are_refused(options, value):
    with pytest.raises(ConfigError, match=value):
        Variational(4, (2, 2), **options)


def test_payloads_that_it_was_not_made_for_are_refused():
    decoder = Variational(4, (1, 2, 2))
    with pytest.raises(DataError, match=r"pixels must be \[rows, 1, 2, 2\], got \[3, 1, 2, 3\]"):
        decoder.losses(sources(3), pixels(3, 1, 2, 3))
    with pytest.raises(DataError, match=r"from 0 to 255 .* got -1 to 3"):
        decoder.losses(sources(1), torch.tensor([[[[0.0, 3.0], [-1.0, 2.0]]]]))
    share = Variational(4, (2,), attribute="x", dtype=torch.float32)
    with pytest.raises(DataError, match=r"from 0 to 1 .* got 0.5 to 2"):
        share.losses(sources(1), torch.tensor([[0.5, 2.0]]))
