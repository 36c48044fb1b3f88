import math

import pytest
import torch

from mmgraph.decoders import Diffusion
from mmgraph.errors import ConfigError
from mmgraph.functional.diffusion import cosine_schedule, ddim_step, denoised, diffuse
from mmgraph.testing import check_generative
from mmgraph.typing import Sources

SMALL = {"widths": (8, 16), "rounds": 3, "looks": 2, "steps": 20}


def made(**options):
    torch.manual_seed(0)
    decoder = Diffusion(4, (1, 4, 6), **{**SMALL, **options}).eval()
    with torch.no_grad():
        for weight in decoder.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
    return decoder


def sources(rows):
    present = torch.ones(rows, 2).bool()
    present[0] = False
    return Sources(torch.randn(rows, 2, 4) * present[:, :, None], present)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_it_keeps_the_contract():
    payload = torch.randint(256, (4, 1, 4, 6), dtype=torch.uint8)
    check_generative(made(), payload, atol=1e-3)
    check_generative(made(guidance=2.5, schedule="linear"), payload, atol=1e-3)


def test_guidance_0_reads_no_source_and_1_is_the_condition_alone():
    decoder, around = made(scale=1.0, centre=0.0, dtype=torch.float32), sources(4)
    x, time = torch.randn(4, 1, 4, 6), torch.full((4,), 7.0)
    unconditional, conditional = decoder(x, time, around.nothing()), decoder(x, time, around)
    assert torch.equal(decoder._guided(x, time, around, 0.0), unconditional)
    assert torch.equal(decoder._guided(x, time, around, 1.0), conditional)
    for strength in (0.5, 3.0):
        expected = unconditional + strength * (conditional - unconditional)
        torch.testing.assert_close(decoder._guided(x, time, around, strength), expected, atol=1e-5, rtol=1e-4)
    free = decoder.generate(around, generator=seeded(), guidance=0.0)
    assert torch.equal(free, decoder.generate(around.nothing(), generator=seeded(), guidance=1.0))
    told = decoder.generate(around, generator=seeded(), guidance=1.0)
    assert torch.equal(free[0], told[0])  # nothing is present there
    assert not torch.equal(free[1:], told[1:])


def test_what_is_made_is_the_chain_of_steps_by_hand():
    decoder, around = made(scale=2.0, centre=1.0, dtype=torch.float32), sources(3)
    x, kept = torch.randn(3, 1, 4, 6, generator=seeded(5)), cosine_schedule(20)
    for time, earlier in ((19, kept[10]), (10, kept[0]), (0, torch.tensor(1.0))):  # 9.5 is rounded to even
        with torch.no_grad():
            noise = decoder(x, torch.full((3,), time), around)
        x = ddim_step(x, denoised(x, noise, kept[time]).clamp(-1, 1), kept[time], earlier)
    found = decoder.generate(around, generator=seeded(5))
    torch.testing.assert_close(found, x * 2 + 1)
    assert found.min() >= -1
    assert found.max() <= 3


def test_chance_is_the_first_noise_alone():
    decoder, around = made(dtype=torch.float32), sources(3)
    torch.manual_seed(1)
    first = decoder.generate(around, generator=seeded(1))
    torch.manual_seed(2)
    assert torch.equal(first, decoder.generate(around, generator=seeded(1)))
    assert not torch.equal(first, decoder.generate(around, generator=seeded(2)))


def test_in_evaluation_the_loss_is_the_mean_over_the_same_times_and_noises():
    decoder, around = made(), sources(3)
    payload = torch.randint(256, (3, 1, 4, 6), dtype=torch.uint8)
    noises, kept = torch.randn(2, 1, 4, 6, generator=seeded(0)), cosine_schedule(20)
    clean, expected = payload / 127.5 - 1, torch.zeros(3)
    for time, noise in zip((5, 15), noises, strict=True):
        every = noise.expand(3, -1, -1, -1)
        said = decoder(diffuse(clean, every, kept[time]), torch.full((3,), time), around)
        expected += (said - every).square().sum(dim=(1, 2, 3)) / 2
    for _ in range(2):
        torch.testing.assert_close(decoder.losses(around, payload)["total"], expected)
    assert decoder.counts(payload).tolist() == [24, 24, 24]


def test_an_untrained_one_is_as_wrong_as_the_noise_is_large():
    decoder = Diffusion(4, (1, 8, 8), widths=(8,)).train()
    payload = torch.zeros(200, 1, 8, 8, dtype=torch.uint8)
    torch.manual_seed(0)
    loss = decoder.losses(Sources(torch.randn(200, 1, 4), torch.ones(200, 1).bool()), payload)["total"]
    assert loss.mean().item() / 64 == pytest.approx(1, abs=0.05)
    assert loss.std() > 0  # a noise of its own for each row


def test_in_training_the_sources_of_some_rows_are_hidden_and_times_cover_all(monkeypatch):
    decoder, seen = made(drop=0.25, steps=100).train(), []
    monkeypatch.setattr(decoder, "forward", lambda x, time, sources: (seen.append((time, sources)), x * 0)[1])
    torch.manual_seed(0)
    states = torch.ones(400, 2, 4)
    decoder.losses(Sources(states, torch.ones(400, 2).bool()), torch.zeros(400, 1, 4, 6, dtype=torch.uint8))
    ((time, around),) = seen
    hidden = ~around.present.any(dim=1)
    assert hidden.float().mean().item() == pytest.approx(0.25, abs=0.07)
    assert (around.states[hidden] == 0).all()
    assert (around.states[~hidden] == 1).all()
    assert around.present[~hidden].all()
    assert time.bincount(minlength=100).tolist() == [4] * 100  # stratified
    assert not torch.equal(time, time.sort().values)


def test_values_that_are_not_there_do_not_count():
    decoder = Diffusion(4, (4, 6), attribute="mel", centre=0.0, scale=8.0, dtype=torch.float32, **SMALL).eval()
    payload = torch.randn(3, 4, 6)
    payload[1, :, 4:] = math.nan
    around = sources(3)
    loss = decoder.losses(around, payload)["total"]
    noises = torch.randn(2, 1, 4, 6, generator=seeded(0))
    torch.testing.assert_close(loss[0], noises.square().sum() / 2)  # it says nothing yet
    torch.testing.assert_close(loss[1], noises[..., :4].square().sum() / 2)
    assert decoder.counts(payload).tolist() == [24, 16, 24]
    assert decoder.generate(around).shape == (3, 4, 6)


def test_it_learns_which_picture_goes_with_which_source():
    torch.manual_seed(0)
    decoder = Diffusion(2, (1, 4, 4), widths=(16,), patch=1, rounds=8, guidance=2.0, drop=0.2, steps=100).train()
    labels = torch.arange(64) % 2
    payload = (labels[:, None, None, None] * 255).to(torch.uint8).expand(64, 1, 4, 4)
    around = Sources(torch.eye(2)[labels][:, None], torch.ones(64, 1).bool())
    optimizer = torch.optim.Adam(decoder.parameters(), 5e-3)
    for _ in range(60):
        optimizer.zero_grad()
        decoder.losses(around, payload)["total"].mean().backward()
        optimizer.step()
    found = decoder.eval().generate(around.take(slice(0, 16)), generator=seeded()).float().mean(dim=(1, 2, 3))
    assert ((found > 127.5).long() == labels[:16]).all()
    assert (found - labels[:16] * 255).abs().mean() < 40


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"shape": (4,)}, r"at least 1, got 4 and \[4\]"),
        ({"shape": (1, 0, 4)}, r"got 4 and \[1, 0, 4\]"),
        ({"channels": 0}, "got 0 and"),
        ({"widths": (12,)}, r"multiples of 8 and patch at least 1, got \[12\] and 2"),
        ({"widths": ()}, r"got \[\] and 2"),
        ({"patch": 0}, r"and 0$"),
        ({"schedule": "square"}, r"one of \['cosine', 'linear'\], got 'square'"),
        ({"rounds": 21}, "got 20, 21, 2"),
        ({"looks": 0}, "got 20, 3, 0"),
        ({"scale": 0.0}, "got 0.0, 1.0 and 0.1"),
        ({"guidance": -1.0}, "got 127.5, -1.0 and 0.1"),
        ({"drop": 1.5}, "got 127.5, 1.0 and 1.5"),
    ],
)
def test_options_out_of_range_are_said(options, said):
    given = {"channels": 4, "shape": (1, 4, 4), **SMALL, **options}
    with pytest.raises(ConfigError, match=said):
        Diffusion(**given)
