import numpy as np
import pytest
import torch

from mmgraph.decoders import Dense, Mel, to_sounds
from mmgraph.decoders.sound import lengths
from mmgraph.encoders import LogMel
from mmgraph.errors import ConfigError, DataError
from mmgraph.media.audio import Sound, decode_audio, wav_bytes
from mmgraph.typing import Sources


def sources_of(states):
    return Sources(states[:, None], torch.ones(len(states), 1, dtype=torch.bool))


def payload_of(steps, most=6, bands=3):
    mel = torch.randn(len(steps), bands, most, generator=torch.Generator().manual_seed(0))
    for row, end in enumerate(steps):
        mel[row, :, end:] = torch.nan
    return mel


def test_the_loss_equals_a_slow_loop():
    torch.manual_seed(0)
    decoder, sources = Mel(Dense(4, (3, 6), centre=1.0, scale=2.0)), sources_of(torch.randn(3, 4))
    payload = payload_of([6, 2, 4])
    terms = decoder.losses(sources, payload)
    terms["total"].sum().backward()
    assert all(one.grad.isfinite().all() for one in decoder.parameters())
    said, share = decoder.bands.decoder(sources.mean()).detach(), decoder.share(sources.mean()).detach()
    for row, steps in enumerate([6, 2, 4]):
        bands = sum(
            float(said[row, band, step] - (payload[row, band, step] - 1) / 2) ** 2
            for band in range(3)
            for step in range(steps)
        )
        end = (float(share[row, 0]) * 6 - steps) ** 2 / 6
        assert terms["bands"].detach()[row].item() == pytest.approx(bands, rel=1e-4)
        assert terms["end"].detach()[row].item() == pytest.approx(end, rel=1e-4)
        assert terms["total"].detach()[row].item() == pytest.approx(bands + end, rel=1e-4)
    assert decoder.counts(payload).tolist() == [18, 6, 12]


def test_it_learns_where_a_recording_ends():
    torch.manual_seed(0)
    decoder, sources = Mel(Dense(2, (3, 6)), dtype=torch.float16), sources_of(torch.eye(2))
    payload = payload_of([6, 2])
    optimiser = torch.optim.Adam(decoder.parameters(), lr=0.05)
    for _ in range(300):
        optimiser.zero_grad()
        decoder.losses(sources, payload)["total"].sum().backward()
        optimiser.step()
    made = decoder.generate(sources)
    assert made.dtype == torch.float16
    assert made.isfinite().all()
    assert decoder.steps(sources, most=6).tolist() == [6, 2]
    cut = decoder.cut(made, sources)
    assert torch.equal(cut.isnan(), payload.isnan())
    torch.testing.assert_close(cut.float(), payload, atol=0.1, rtol=0, equal_nan=True)
    assert 1 <= int(decoder.steps(sources.nothing(), most=6)[0]) <= 6


def test_lengths_count_to_the_last_finite_step():
    gap = torch.tensor([[[1.0, torch.nan, 2.0, torch.nan]], [[torch.nan] * 4]])
    assert lengths(gap).tolist() == [3, 0]
    assert lengths(payload_of([6, 2, 4])).tolist() == [6, 2, 4]


def test_a_recording_comes_back_with_its_length_and_bands():
    time = torch.arange(6000) / 8000
    tones = [0.4 * torch.sin(2 * torch.pi * hertz * time) for hertz in (500, 1500)]
    encoder = LogMel(rate_hz=8000, seconds=1.0)
    mel = encoder([Sound(tones[0].numpy(), 8000), Sound(tones[1][:3000].numpy(), 8000)])
    sounds = to_sounds(mel, 8000)
    assert [len(sound.samples) for sound in sounds] == [200 + 80 * (int(steps) - 1) for steps in lengths(mel)]
    again = encoder([wav_bytes(sound) for sound in sounds])
    assert torch.equal(again.isnan(), mel.isnan())
    assert torch.equal(again.nanmean(dim=2).argmax(dim=1), mel.nanmean(dim=2).argmax(dim=1))
    same = to_sounds(mel[1:], 8000)[0]
    np.testing.assert_array_equal(same.samples, sounds[1].samples)  # made by itself


def test_loud_bands_are_brought_within_range():
    sound = to_sounds(torch.full((1, 40, 20), 9.0), 8000, rounds=2)[0]
    assert np.abs(sound.samples).max() == pytest.approx(1)
    assert decode_audio(wav_bytes(sound), rate_hz=None).rate_hz == 8000


def test_what_can_not_be_heard_is_refused():
    with pytest.raises(DataError, match="Recording 1 must have .* got 0 steps"):
        to_sounds(torch.stack([torch.zeros(4, 3), torch.full((4, 3), torch.nan)]), 8000, rounds=1)
    gap = torch.zeros(1, 4, 3)
    gap[0, 2, 1] = torch.nan
    with pytest.raises(DataError, match="Recording 0 .* got 3 steps with 1 values"):
        to_sounds(gap, 8000, rounds=1)
    with pytest.raises(ConfigError, match="rounds of at least 0 .* -1"):
        to_sounds(torch.zeros(1, 4, 3), 8000, rounds=-1)
