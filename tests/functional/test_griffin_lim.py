from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.optimize import nnls

from mmgraph.functional import log_mel
from mmgraph.functional.griffin_lim import griffin_lim, linear_power, mel_sound, sound_of, spectral_gap, spectrum
from mmgraph.functional.spectrogram import mel_filters


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(frames=400, batch=2):
    return torch.randn(batch, frames, generator=seeded(), dtype=torch.float64)


def test_the_spectrum_equals_a_slow_loop():
    samples, window, hop, size = noise(), 24, 7, 32
    found = spectrum(samples, window=window, hop=hop, size=size).numpy()
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    for step in range(found.shape[2]):
        part = np.zeros(size)
        part[:window] = samples[1, step * hop : step * hop + window].numpy() * hann
        turns = np.exp(-2j * np.pi * np.outer(np.arange(size // 2 + 1), np.arange(size)) / size)
        np.testing.assert_allclose(found[1, :, step], turns @ part, atol=1e-9)


def test_the_spectrum_is_that_of_log_mel():
    samples = noise(800)
    power = spectrum(samples, window=200, hop=80, size=256).abs().square()
    filters = mel_filters(10, 256, 8000).double()
    torch.testing.assert_close((filters @ power).log(), log_mel(samples, 8000, bands=10))


@pytest.mark.parametrize("size", [24, 32])
def test_a_sound_is_the_least_squares_of_any_spectrum(size):
    options = {"window": 24, "hop": 7, "size": size}
    wanted = torch.randn(1, size // 2 + 1, 5, dtype=torch.complex128, generator=seeded())
    frames = 24 + 7 * 4
    inverse = torch.fft.irfft(wanted.mT, n=size)  # the numbers that a step must have, in time
    hann = torch.hann_window(24, dtype=torch.float64)
    rows = torch.zeros(5 * size, frames, dtype=torch.float64)
    for step in range(5):
        for place in range(24):
            rows[step * size + place, step * 7 + place] = hann[place]
    expected = torch.linalg.lstsq(rows, inverse[0].flatten()[:, None], driver="gelsd").solution[:, 0]
    torch.testing.assert_close(sound_of(wanted, **options)[0], expected)


def test_each_round_comes_nearer_without_momentum():
    options = {"window": 32, "hop": 8}
    wanted = spectrum(noise(), size=32, **options).abs()
    gaps = [
        spectral_gap(
            griffin_lim(wanted, rounds=rounds, momentum=0.0, generator=seeded(), **options), wanted, **options
        ).tolist()
        for rounds in range(30)
    ]
    assert all(after[0] < before[0] and after[1] < before[1] for before, after in pairwise(gaps))
    fast = griffin_lim(wanted, rounds=29, generator=seeded(), **options)
    assert bool((spectral_gap(fast, wanted, **options) < torch.tensor(gaps[-1])).all())


def test_it_equals_a_slow_loop():
    options = {"window": 16, "hop": 4, "size": 16}
    wanted = spectrum(noise(100, 1), **options).abs()
    turns = torch.rand(wanted.shape, generator=seeded(3), dtype=wanted.dtype)
    found, before = wanted * torch.exp(2j * torch.pi * turns), None
    for _ in range(4):
        made = spectrum(sound_of(found, **options), **options)
        ahead = made if before is None else made + 0.5 * (made - before)
        found, before = wanted * ahead / ahead.abs(), made
    expected = sound_of(found, **options)
    torch.testing.assert_close(griffin_lim(wanted, rounds=4, momentum=0.5, generator=seeded(3), **options), expected)


def test_power_at_frequencies_is_the_non_negative_least_squares():
    filters = mel_filters(12, 64, 8000).double()
    power = torch.rand(1, 12, 3, generator=seeded(), dtype=torch.float64)
    found = linear_power(power, filters, rounds=5000)
    assert bool((found >= 0).all())
    for step in range(3):
        _, least = nnls(filters.numpy(), power[0, :, step].numpy())
        gap = (filters @ found[0, :, step] - power[0, :, step]).norm()
        assert gap.item() == pytest.approx(least, abs=1e-3)
    alone = linear_power(power, filters, rounds=1)
    assert (filters @ alone - power).norm() > (filters @ found - power).norm()


@pytest.mark.parametrize("hertz", [300, 1000, 2500])
def test_the_frequency_of_a_sine_survives(hertz):
    tone = 0.5 * torch.sin(torch.arange(8000) * (2 * torch.pi * hertz / 8000))
    mel = log_mel(tone[None], 8000)
    made = mel_sound(mel, 8000, generator=seeded())
    again = log_mel(made, 8000)
    assert again.shape == mel.shape
    assert abs(int(again.mean(dim=2).argmax()) - int(mel.mean(dim=2).argmax())) <= 1
    peak = torch.fft.rfft(made[0]).abs().argmax().item() * 8000 / made.shape[1]
    assert abs(peak - hertz) < 80
    loud = mel > mel.max() - 5
    assert (again - mel)[loud].abs().mean() < 0.5


def test_silence_stays_silent_and_chance_is_the_generators():
    silence = log_mel(torch.zeros(1, 800), 8000, bands=20)
    assert mel_sound(silence, 8000).abs().max() < 1e-5
    assert mel_sound(silence, 8000).shape == (1, 200 + 80 * 7)
    mel = log_mel(torch.randn(1, 800, generator=seeded()), 8000, bands=20)
    one, same, other = (mel_sound(mel, 8000, rounds=3, generator=seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(mel_sound(mel.half(), 8000, rounds=1, generator=seeded()).isfinite().all(), torch.tensor(True))


def test_very_loud_bands_give_finite_sound():
    assert mel_sound(torch.full((1, 20, 4), 1e4), 8000, rounds=2).isfinite().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 0}, "at least 1, a size .* got 0, 4, 16"),
        ({"hop": 0}, "got 16, 0, 16"),
        ({"size": 8}, "got 16, 4, 8"),
        ({"rounds": -1}, "got 16, 4, 16, -1"),
        ({"momentum": 1.5}, "and 1.5"),
    ],
)
def test_what_is_out_of_range_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        griffin_lim(torch.ones(1, 9, 3), **{"window": 16, "hop": 4, "size": 16, **options})


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\[batch, 9, steps\], got \[1, 8, 3\]"):
        griffin_lim(torch.ones(1, 8, 3), window=16, hop=4)
    with pytest.raises(ValueError, match=r"got \[1, 2, 2\] with 1 that are not; cut off"):
        mel_sound(torch.tensor([[[0.0, 1.0], [torch.nan, 1.0]]]), 8000)
