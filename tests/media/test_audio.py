"""Every kind of file that libsndfile writes, cut, bent and lied about."""

import io
import os
import struct
import sys
import wave
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile
import soxr

from mmgraph.errors import DataError, MissingPackageError
from mmgraph.media.audio import MAX_CHANNELS, Sound, _collected, check_rate, decode_audio, wav_bytes

RNG = np.random.default_rng(0)
TIME = np.arange(12_000) / 16_000
TONE = (0.5 * np.sin(2 * np.pi * 440 * TIME)).astype(np.float32)
KINDS = [
    ("WAV", "PCM_U8", 1e-2),
    ("WAV", "PCM_16", 1e-4),
    ("WAV", "PCM_24", 1e-6),
    ("WAV", "PCM_32", 1e-7),
    ("WAV", "FLOAT", 0),
    ("WAV", "DOUBLE", 0),
    ("WAVEX", "PCM_16", 1e-4),
    ("RF64", "PCM_16", 1e-4),
    ("FLAC", "PCM_16", 1e-4),
    ("FLAC", "PCM_24", 1e-6),
    ("OGG", "VORBIS", 0.05),
    ("MP3", "MPEG_LAYER_III", 0.1),
]


def file(samples=TONE, rate=16_000, kind="WAV", subtype="PCM_16"):
    made = io.BytesIO()
    soundfile.write(made, samples, rate, format=kind, subtype=subtype)
    return made.getvalue()


def sizes_of(data):
    """Where the size of the data chunk of a small WAV file stands."""
    return data.index(b"data") + 4


@pytest.mark.parametrize(("kind", "subtype", "error"), KINDS)
def test_all_kinds_are_decoded(kind, subtype, error):
    sound = decode_audio(file(kind=kind, subtype=subtype), rate_hz=None)
    assert (sound.rate_hz, sound.samples.dtype, sound.samples.shape) == (16_000, np.float32, (12_000,))
    np.testing.assert_allclose(sound.samples, TONE, atol=error)


@pytest.mark.parametrize(("kind", "subtype", "error"), KINDS)
def test_channels_are_averaged(kind, subtype, error):
    sides = np.stack([TONE, -TONE / 2], axis=1)
    found = decode_audio(file(sides, kind=kind, subtype=subtype), rate_hz=None).samples
    np.testing.assert_allclose(found, TONE / 4, atol=max(error, 1e-6))


def test_a_wav_file_is_read_as_the_standard_library_reads_it():
    samples = RNG.integers(-(2**15), 2**15, size=500).astype("<i2")
    made = io.BytesIO()
    with wave.open(made, "wb") as written:
        written.setnchannels(1)
        written.setsampwidth(2)
        written.setframerate(8000)
        written.writeframes(samples.tobytes())
    sound = decode_audio(made.getvalue(), rate_hz=None)
    np.testing.assert_array_equal(sound.samples, samples / np.float32(32768))
    assert wav_bytes(sound) == made.getvalue()


def test_wav_bytes_are_the_same_again_and_keep_16_bit():
    sound = Sound(RNG.uniform(-1, 1, 999).astype(np.float32), 44_100)
    again = decode_audio(wav_bytes(sound), rate_hz=None)
    assert again.rate_hz == 44_100
    np.testing.assert_allclose(again.samples, sound.samples, atol=1 / 32768)
    assert wav_bytes(again) == wav_bytes(sound)
    loudest = Sound(np.array([1, -1], dtype=np.float32), 8000)
    assert decode_audio(wav_bytes(loudest), rate_hz=None).samples.tolist() == [32767 / 32768, -1]


def test_the_rate_is_brought_to_what_is_asked_by_soxr():
    sound = decode_audio(file(rate=48_000), rate_hz=16_000)
    assert (sound.rate_hz, len(sound.samples), sound.duration_s) == (16_000, 4000, 0.25)
    original = decode_audio(file(rate=48_000), rate_hz=None)
    np.testing.assert_array_equal(sound.samples, soxr.resample(original.samples, 48_000, 16_000, quality="HQ"))
    np.testing.assert_array_equal(decode_audio(original, rate_hz=16_000).samples, sound.samples)
    assert decode_audio(original, rate_hz=48_000) is original
    assert decode_audio(file()).rate_hz == 16_000


def test_a_path_is_read(tmp_path):
    (tmp_path / "tone.wav").write_bytes(file())
    np.testing.assert_array_equal(decode_audio(tmp_path / "tone.wav").samples, decode_audio(file()).samples)
    with pytest.raises(DataError, match=r"owl\.wav.*No such file"):
        decode_audio(tmp_path / "owl.wav")
    with pytest.raises(DataError, match="got a folder"):
        decode_audio(tmp_path)


def test_what_goes_beyond_1_is_divided_by_its_peak():
    found = decode_audio(file(TONE * 8, subtype="FLOAT"), rate_hz=None).samples
    np.testing.assert_allclose(found, TONE / TONE.max(), atol=1e-6)
    square = np.sign(TONE).astype(np.float32)  # overshoots when it is resampled
    assert np.abs(decode_audio(file(square, subtype="FLOAT"), rate_hz=11_025).samples).max() == 1


@pytest.mark.parametrize(("kind", "subtype", "error"), [*KINDS, ("OGG", "OPUS", 0)])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated_files_are_refused(kind, subtype, error, share, capfd):
    data = file(rate=24_000, kind=kind, subtype=subtype)
    with pytest.raises(DataError, match=r"must be a whole \w+ file, got a (damaged or )?truncated|at least 1 frame"):
        decode_audio(data[: int(len(data) * share)])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("kind", "subtype", "error"), KINDS)
def test_bent_files_raise_nothing_but_data_errors_and_print_nothing(kind, subtype, error, capfd):
    data, rng, refused = file(kind=kind, subtype=subtype), np.random.default_rng(1), 0
    for _ in range(60):
        bent = bytearray(data)
        for place in rng.integers(4, 80 if rng.random() < 0.5 else len(data), size=rng.integers(1, 9)):
            bent[place] = rng.integers(256)
        try:
            found = decode_audio(bytes(bent), rate_hz=8000)
        except DataError:
            refused += 1
        else:
            assert np.abs(found.samples).max() <= 1
    assert refused
    assert capfd.readouterr() == ("", "")


def test_an_mp3_file_with_all_its_frames_and_nonsense_in_them_is_refused(capfd):
    samples, rng = RNG.normal(size=32_000) / 5, np.random.default_rng(2)
    data = bytearray(file(samples, kind="MP3", subtype="MPEG_LAYER_III"))
    for place in range(600, len(data) - 8, 3):
        if 0xFF not in data[place - 4 : place + 1]:  # headers stay as they are
            data[place] = rng.integers(255)
    with pytest.raises(DataError, match="must be a whole mp3 file, got a damaged one: "):
        decode_audio(bytes(data))
    assert capfd.readouterr() == ("", "")


def test_a_damaged_mp3_file_is_refused_without_a_word_and_others_keep_their_voice(capfd):
    data = bytearray(file(RNG.normal(size=32_000) / 5, kind="MP3", subtype="MPEG_LAYER_III"))
    data[2000:3000] = RNG.bytes(1000)
    with pytest.raises(DataError, match="must be a whole mp3 file, got"):
        decode_audio(bytes(data))
    assert capfd.readouterr() == ("", "")
    errors = []
    with _collected(errors):
        os.write(2, b"mine\nNote: theirs\n[src/libmpg123/layer3.c:1] error: dequantization\n")
    assert errors == ["dequantization"]
    assert capfd.readouterr().err == "mine\n"


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"", "must be a WAV, FLAC, OGG or MP3 file, got 0 bytes"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "got a png file"),
        (b"income tax", "got a text: b'income tax'"),
        (bytes(50), "no known kind"),
        (b"RIFF\x24\0\0\0WAVE", "damaged or truncated"),
        (b"fLaC" + bytes(40), "damaged or truncated"),
        (b"OggS" + bytes(40), "damaged or truncated"),
        (b"ID3" + bytes(40), "damaged or truncated"),
        (file(np.empty(0)), "at least 1 frame at 16000 Hz, got 0"),
        (file(np.zeros((9, MAX_CHANNELS + 1))), "at most 64 channels, got 65"),
        (file(rate=50), "from 100 to 768000 Hz, got 50"),
        (file(rate=1_000_000), "from 100 to 768000 Hz, got 1000000"),
        (file(np.array([0.0, np.nan]), subtype="FLOAT"), "finite samples, got nan among 2 frames"),
        (file(np.array([0.0, np.inf]), subtype="FLOAT"), "finite samples, got inf"),
        (file(np.full((2, 3), 3e38), subtype="FLOAT"), "finite samples, got inf"),
        ("owl.wav", "must be bytes, a Path or a Sound, got str"),
        (None, "got NoneType"),
    ],
)
def test_what_is_no_recording_is_refused_by_value(data, value):
    with pytest.raises(DataError, match=value):
        decode_audio(data)


def test_what_is_too_long_is_refused_before_it_is_decoded(monkeypatch):
    with pytest.raises(DataError, match=r"the owl must be at most 0.5 s long, got 0.75 s"):
        decode_audio(file(), max_s=0.5, name="the owl")
    with pytest.raises(DataError, match=r"at most 0.5 s long, got 0.75 s"):
        decode_audio(Sound(TONE, 16_000), max_s=0.5)
    monkeypatch.setattr("mmgraph.media.audio.MAX_FRAMES", 8000)
    with pytest.raises(DataError, match=r"at most 0.5 s long, got 0.75 s"):
        decode_audio(file())
    flac = bytearray(file(kind="FLAC"))
    flac[21] |= 0x0F  # 2^35 frames and more
    with pytest.raises(DataError, match=r"at most 0.5 s long, got 4\.\d+e\+06 s"):
        decode_audio(bytes(flac))


def test_a_header_that_claims_more_than_there_is_is_found_out():
    lying = bytearray(file())
    struct.pack_into("<I", lying, sizes_of(lying), 60_000_000)
    with pytest.raises(DataError, match="got a truncated one with 12000 frames"):
        decode_audio(bytes(lying))
    struct.pack_into("<I", lying, sizes_of(lying), 0xFFFFFFFF)  # a stream that did not know its length
    assert len(decode_audio(bytes(lying)).samples) == 12_000


def test_a_stream_of_unknown_length_is_refused():
    flac = bytearray(file(kind="FLAC"))
    flac[21] &= 0xF0
    flac[22:26] = bytes(4)  # no number of frames
    with pytest.raises(DataError, match="must say how long it is, got a flac stream"):
        decode_audio(bytes(flac))


def test_frames_are_counted_while_they_are_read(monkeypatch):
    lying = property(lambda _: 0)
    monkeypatch.setattr("soundfile.SoundFile.frames", lying)
    monkeypatch.setattr("soundfile.SoundFile._check_frames", lambda _self, frames, _fill: frames)
    monkeypatch.setattr("mmgraph.media.audio.BLOCK", 1000)
    with pytest.raises(DataError, match=r"at most 0.5 s long, got 0.5625 s"):
        decode_audio(file(), max_s=0.5)


def test_recordings_are_decoded_in_many_threads_at_once():
    files = [
        file(TONE[: 6000 + 10 * number], kind=kind, subtype=subtype)
        for number in range(6)
        for kind, subtype, _ in KINDS
    ]
    expected = [decode_audio(one, rate_hz=8000).samples for one in files]
    with ThreadPoolExecutor(8) as threads:
        for one, other in zip(expected, threads.map(lambda one: decode_audio(one, rate_hz=8000), files), strict=True):
            np.testing.assert_array_equal(one, other.samples)


@pytest.mark.parametrize(
    ("samples", "value"),
    [
        ([0.5], r"float32 array \[frames\], got list"),
        (np.zeros(3), "got ndarray float64"),
        (np.zeros((3, 2), dtype=np.float32), r"float32 \[3, 2\]"),
        (np.zeros(0, dtype=np.float32), "at least 1 frame, got 0"),
        (np.array([0, np.nan], dtype=np.float32), "got a peak of nan"),
        (np.array([0, -1.5], dtype=np.float32), "got a peak of 1.5"),
    ],
)
def test_a_sound_is_always_one(samples, value):
    with pytest.raises(DataError, match=value):
        Sound(samples, 8000)


@pytest.mark.parametrize("rate", [99, 768_001, 8000.0, True, None])
def test_rates_are_bounded(rate):
    with pytest.raises(DataError, match=f"from 100 to 768000 Hz, got {rate}"):
        check_rate(rate)


def test_what_is_too_short_to_resample_is_refused():
    with pytest.raises(DataError, match="at least 1 frame at 100 Hz, got 0"):
        decode_audio(Sound(np.zeros(3, dtype=np.float32), 48_000), rate_hz=100)


@pytest.mark.parametrize("package", ["soundfile", "soxr"])
def test_without_the_package_the_extra_is_named(package, monkeypatch):
    data = file(rate=8000)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match=r"pip install 'mmgraph\[audio\]'"):
        decode_audio(data)
