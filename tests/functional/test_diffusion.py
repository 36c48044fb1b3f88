"""Against the definitions step by step, against draws, and against Bayes' rule."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmgraph.functional.diffusion import (
    cosine_schedule,
    ddim_step,
    ddpm_step,
    denoised,
    diffuse,
    guided,
    linear_schedule,
)


@pytest.mark.parametrize("steps", [1, 7, 1000])
def test_the_cosine_is_the_product_of_clipped_steps(steps):
    kept, expected = 1.0, []
    for step in range(steps):
        now, before = (math.cos((at / steps + 0.008) / 1.008 * math.pi / 2) ** 2 for at in (step + 1, step))
        kept *= 1 - min(1 - now / before, 0.999)
        expected.append(kept)
    torch.testing.assert_close(cosine_schedule(steps), torch.tensor(expected))


def test_the_linear_one_is_the_product_of_steps_that_grow_evenly():
    kept, expected = 1.0, []
    for step in range(1000):
        kept *= 1 - (1e-4 + step / 999 * (0.02 - 1e-4))
        expected.append(kept)
    torch.testing.assert_close(linear_schedule(1000), torch.tensor(expected))
    assert linear_schedule(50)[-1] < 1e-4  # ends in noise, however few
    assert (linear_schedule(10) > 0).all()


@pytest.mark.parametrize("schedule", [cosine_schedule, linear_schedule])
def test_schedules_fall_from_nearly_all_to_nearly_nothing(schedule):
    kept = schedule(200)
    assert kept[0] > 0.98
    assert 0 < kept[-1] < 1e-3
    assert (kept.diff() < 0).all()


def test_the_marginal_in_closed_form_is_that_of_all_steps_one_after_the_other():
    generator = torch.Generator().manual_seed(0)
    kept = cosine_schedule(12)
    shares = kept / torch.cat([torch.ones(1), kept[:-1]])  # of each step
    x0, draws = torch.tensor([0.7, -1.3]), 200_000
    x = x0.expand(draws, 2)
    mean, variance = x0, torch.zeros(2)
    for time, share in enumerate(shares[:9]):
        x = share.sqrt() * x + (1 - share).sqrt() * torch.randn(draws, 2, generator=generator)
        mean, variance = share.sqrt() * mean, share * variance + 1 - share
        torch.testing.assert_close(mean, kept[time].sqrt() * x0)
        torch.testing.assert_close(variance, (1 - kept[time]).expand(2))
        at_once = diffuse(x0.expand(draws, 2), torch.randn(draws, 2, generator=generator), kept[time])
        for drawn in (x, at_once):
            torch.testing.assert_close(drawn.mean(dim=0), mean, atol=0.01, rtol=0)
            torch.testing.assert_close(drawn.var(dim=0), variance, atol=0.01, rtol=0)


@settings(max_examples=50)
@given(st.integers(0, 4), st.floats(0.01, 0.99), st.integers(0, 2**31))
def test_the_picture_comes_back_if_the_noise_is_known(rows, kept, seed):
    generator = torch.Generator().manual_seed(seed)
    x, noise = (torch.randn(rows, 1, 3, 2, generator=generator, dtype=torch.float64) for _ in range(2))
    at = torch.full((rows,), kept, dtype=torch.float64)
    torch.testing.assert_close(denoised(diffuse(x, noise, at), noise, at), x)


def test_each_row_has_a_time_of_its_own():
    x, noise = torch.randn(3, 1, 2, 2), torch.randn(3, 1, 2, 2)
    kept = torch.tensor([0.9, 0.5, 0.1])
    for function in (diffuse, denoised):
        alone = torch.stack([function(x[row], noise[row], kept[row]) for row in range(3)])
        torch.testing.assert_close(function(x, noise, kept), alone)


def test_ddim_with_the_true_noise_goes_along_the_marginals():
    x, noise = torch.randn(4, 3), torch.randn(4, 3)
    kept = cosine_schedule(100)
    for time, earlier in [(90, 50), (50, 49), (30, 0)]:
        step = ddim_step(diffuse(x, noise, kept[time]), x, kept[time], kept[earlier])
        torch.testing.assert_close(step, diffuse(x, noise, kept[earlier]), atol=1e-5, rtol=1e-5)
    last = ddim_step(diffuse(x, noise, kept[10]), x, kept[10], torch.tensor(1.0))
    torch.testing.assert_close(last, x)


@pytest.mark.parametrize(("time", "earlier"), [(90, 89), (60, 20), (5, 0)])
def test_ddim_that_draws_all_it_may_is_ddpm(time, earlier):
    kept = cosine_schedule(100).double()
    x, clean, drawn = (torch.randn(4, 3, dtype=torch.float64) for _ in range(3))
    one = ddim_step(x, clean, kept[time], kept[earlier], eta=1.0, drawn=drawn)
    torch.testing.assert_close(one, ddpm_step(x, clean, kept[time], kept[earlier], drawn=drawn))
    told = ddim_step(x, clean, kept[time], kept[earlier], eta=1.0)
    torch.testing.assert_close(told, ddpm_step(x, clean, kept[time], kept[earlier]))


def test_ddpm_is_the_posterior_that_bayes_gives():
    kept = linear_schedule(100).double()
    before, now = kept[39], kept[40]
    alpha, x0, xt = now / before, torch.tensor(0.4, dtype=torch.float64), torch.tensor(-0.8, dtype=torch.float64)
    grid = torch.linspace(-6, 6, 200_001, dtype=torch.float64)  # of what came before
    log = -(grid - before.sqrt() * x0).square() / (2 * (1 - before)) - (xt - alpha.sqrt() * grid).square() / (
        2 * (1 - alpha)
    )
    share = log.softmax(dim=0)
    mean = (share * grid).sum()
    deviation = (share * (grid - mean).square()).sum().sqrt()
    found = ddpm_step(xt[None, None], x0[None, None], now, before)
    assert found.item() == pytest.approx(mean.item(), rel=1e-6)
    drawn = ddpm_step(xt[None, None], x0[None, None], now, before, drawn=torch.ones(1, 1, dtype=torch.float64))
    assert (drawn - found).item() == pytest.approx(deviation.item(), rel=1e-6)


def test_guidance_zero_and_one_are_exact_and_between_and_beyond_it_is_a_line():
    without, told = torch.randn(1000) * 1e3, torch.randn(1000) * 1e-3
    assert torch.equal(guided(without, told, 0.0), without)
    assert torch.equal(guided(without, told, 1.0), told)
    for strength in (0.3, 0.8, 2.5, 7.0):
        torch.testing.assert_close(guided(without, told, strength), without + strength * (told - without))
