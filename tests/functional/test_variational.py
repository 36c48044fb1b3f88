import torch
from torch.distributions import Independent, Normal, kl_divergence

from mmgraph.functional.variational import gaussian_kl


def drawn(rows=5, channels=3):
    draw = torch.Generator().manual_seed(0)
    return (torch.randn(rows, channels, generator=draw, dtype=torch.float64) for _ in range(2))


def test_the_divergence_is_that_of_torch():
    mean, log_variance = drawn()
    ours = Independent(Normal(mean, (log_variance / 2).exp()), 1)
    standard = Independent(Normal(torch.zeros_like(mean), torch.ones_like(mean)), 1)
    torch.testing.assert_close(gaussian_kl(mean, log_variance), kl_divergence(ours, standard))


def test_the_divergence_is_the_mean_over_draws():
    mean, log_variance = drawn()
    noise = torch.randn(200_000, *mean.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    deviation = (log_variance / 2).exp()
    z = mean + deviation * noise
    ratio = Normal(mean, deviation).log_prob(z) - Normal(0.0, 1.0).log_prob(z)
    torch.testing.assert_close(gaussian_kl(mean, log_variance), ratio.sum(dim=2).mean(dim=0), rtol=0.02, atol=0.02)


def test_the_standard_gaussian_is_not_far_from_itself():
    assert gaussian_kl(torch.zeros(2, 4), torch.zeros(2, 4)).tolist() == [0, 0]
