"""Against transformers' numpy spectrogram, scipy's cosine transform, and slow loops."""

import numpy as np
import pytest
import torch
from scipy.fft import dct
from transformers.audio_utils import mel_filter_bank, spectrogram

from mmgraph.functional import deltas, log_mel, mfcc
from mmgraph.functional.spectrogram import STEPS, frames_of, mel_filters

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("rate", "bands", "low", "high"), [(16000, 40, 0.0, 8000.0), (8000, 23, 60.0, 3800.0), (44100, 64, 20.0, 20000.0)]
)
def test_log_mel_is_that_of_transformers(rate, bands, low, high):
    samples = RNG.normal(size=rate // 2).astype(np.float32) * 0.1
    window, hop = round(0.025 * rate), round(0.010 * rate)
    size = 1 << (window - 1).bit_length()
    filters = mel_filter_bank(size // 2 + 1, bands, low, high, rate, norm=None, mel_scale="htk")
    expected = spectrogram(
        samples,
        np.hanning(window + 1)[:-1],
        window,
        hop,
        size,
        power=2.0,
        center=False,
        mel_filters=filters,
        log_mel="log",
    )
    found = log_mel(torch.from_numpy(samples)[None], rate, bands=bands, low_hz=low, high_hz=high)
    np.testing.assert_allclose(mel_filters(bands, size, rate, low_hz=low, high_hz=high).T, filters, atol=1e-6)
    np.testing.assert_allclose(found[0], expected, atol=2e-4)


def test_log_mel_of_a_batch_is_that_of_each():
    samples = torch.from_numpy(RNG.normal(size=(3, 4000)))
    together = log_mel(samples, 8000)
    for row in range(3):
        torch.testing.assert_close(together[row : row + 1], log_mel(samples[row : row + 1], 8000))


def test_log_mel_of_a_long_recording_is_made_of_its_parts(monkeypatch):
    samples = torch.from_numpy(RNG.normal(size=(1, 8000)))
    whole = log_mel(samples, 8000)
    assert whole.shape[2] < STEPS
    monkeypatch.setattr("mmgraph.functional.spectrogram.STEPS", 7)
    torch.testing.assert_close(log_mel(samples, 8000), whole)


def test_silence_is_the_floor_and_what_is_short_is_padded():
    silence = log_mel(torch.zeros(1, 50), 8000, bands=4)
    assert silence.shape == (1, 4, 1)
    torch.testing.assert_close(silence, torch.full((1, 4, 1), float(np.log(1e-10))))
    short = torch.from_numpy(RNG.normal(size=(1, 50)))
    padded = torch.cat([short, torch.zeros(1, 150)], dim=1)
    torch.testing.assert_close(log_mel(short, 8000), log_mel(padded, 8000))


def test_no_band_is_without_a_frequency():
    loud = log_mel(torch.from_numpy(RNG.normal(size=(1, 4000))), 8000, bands=80)
    assert loud.min() > np.log(1e-10)


def test_mfcc_is_the_cosine_transform_of_scipy():
    mel = RNG.normal(size=(2, 26, 5))
    expected = dct(mel, type=2, norm="ortho", axis=1)
    np.testing.assert_allclose(mfcc(torch.from_numpy(mel), 13), expected[:, :13], atol=1e-12)
    np.testing.assert_allclose(mfcc(torch.from_numpy(mel), 26), expected, atol=1e-12)


@pytest.mark.parametrize("reach", [1, 2, 3])
def test_deltas_are_the_slope_by_a_slow_loop(reach):
    states = RNG.normal(size=(2, 3, 9))
    expected = np.zeros_like(states)
    for step in range(9):
        for n in range(1, reach + 1):
            expected[:, :, step] += n * (states[:, :, min(step + n, 8)] - states[:, :, max(step - n, 0)])
    expected /= 2 * sum(n * n for n in range(1, reach + 1))
    np.testing.assert_allclose(deltas(torch.from_numpy(states), reach=reach), expected, atol=1e-12)


def test_deltas_of_one_step_are_zero():
    assert deltas(torch.ones(1, 2, 1)).abs().max() < 1e-6


def test_bad_values_are_refused():
    with pytest.raises(ValueError, match=r"at least one frame, got 1e-05 s at 8000 Hz"):
        frames_of(1e-5, 8000)
    with pytest.raises(ValueError, match=r"at most 4000.0, got 0 from"):
        mel_filters(0, 256, 8000)
    with pytest.raises(ValueError, match=r"got 4 from 0.0 to 4001"):
        mel_filters(4, 256, 8000, high_hz=4001)
    with pytest.raises(ValueError, match=r"got 4 from 300 to 200"):
        mel_filters(4, 256, 8000, low_hz=300, high_hz=200)
    for coefficients in (0, 5):
        with pytest.raises(ValueError, match=f"from 1 to the 4 bands, got {coefficients}"):
            mfcc(torch.ones(1, 4, 1), coefficients)
