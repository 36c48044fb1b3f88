"""Recordings: bytes to samples, and back."""

from __future__ import annotations

import os
import re
import struct
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from mmgraph.errors import DataError
from mmgraph.media.files import describe, kind_of, read_file
from mmgraph.optional import require

RATES_HZ = (100, 768_000)
MAX_CHANNELS = 64
MAX_FRAMES = 1 << 28  # 1 GiB of float32
BLOCK = 1 << 16  # frames decoded at once: what a header claims is never allocated
KINDS = ("wav", "flac", "ogg", "mp3")
UNKNOWN = 0x7FFF_0000  # streams that don't know their length write sizes from here on
_MP3 = threading.Lock()


@dataclass(frozen=True, eq=False)
class Sound:
    """One channel of samples.

    Args:
        samples: ``[frames]``, float32 in [-1, 1].
        rate_hz: Frames a second.

    Raises:
        DataError: No frame, samples of another kind, beyond [-1, 1] or not finite, or an absurd rate.

    Example:
        >>> Sound(np.zeros(800, dtype=np.float32), 8000).duration_s
        0.1
    """

    samples: np.ndarray
    rate_hz: int

    def __post_init__(self) -> None:
        samples: Any = self.samples
        if not isinstance(samples, np.ndarray) or samples.dtype != np.float32 or samples.ndim != 1:
            got = f"{getattr(samples, 'dtype', '')} {list(np.shape(samples))}"
            raise DataError(f"samples must be a float32 array [frames], got {type(samples).__name__} {got}")
        if not len(samples):
            raise DataError("a recording must have at least 1 frame, got 0")
        if not (peak := float(np.abs(samples).max())) <= 1:
            raise DataError(f"samples must be finite and in [-1, 1], got a peak of {peak}")
        check_rate(self.rate_hz)

    @property
    def duration_s(self) -> float:
        """How long it is."""
        return len(self.samples) / self.rate_hz


def check_rate(rate_hz: object) -> None:
    """Refuses rates that no recording has.

    Raises:
        DataError: A rate that is no integer, or beyond ``RATES_HZ``.

    Example:
        >>> check_rate(7)
        Traceback (most recent call last):
        ...
        mmgraph.errors.DataError: a rate must be an integer from 100 to 768000 Hz, got 7
    """
    if isinstance(rate_hz, bool) or not isinstance(rate_hz, int) or not RATES_HZ[0] <= rate_hz <= RATES_HZ[1]:
        raise DataError(f"a rate must be an integer from {RATES_HZ[0]} to {RATES_HZ[1]} Hz, got {rate_hz!r}")


def decode_audio(
    payload: bytes | Path | Sound, *, rate_hz: int | None = 16_000, max_s: float = 3600.0, name: str = "a recording"
) -> Sound:
    """Samples of a recording: the mean of its channels, at the rate asked for.

    A recording that goes beyond [-1, 1] (float files, overshoots of a codec or of resampling) is divided by its peak.

    Args:
        payload: The bytes of a WAV, FLAC, OGG or MP3 file, the path of one, or samples to bring to the rate.
        rate_hz: The rate to give, by a band-limited resampling (soxr, HQ); ``None`` for its own.
        max_s: The longest recording that is decoded.
        name: What messages call it.

    Raises:
        DataError: It is empty, truncated or damaged, of another kind, too long, has an absurd header, or samples that
            are not finite.
        MissingPackageError: soundfile or soxr is not installed.

    Example:
        >>> tone = Sound(np.sin(np.arange(8000) / 5).astype(np.float32), 8000)
        >>> len(decode_audio(wav_bytes(tone)).samples)
        16000
    """
    if isinstance(payload, Path):
        payload = read_file(payload)
    if isinstance(payload, bytes):
        payload = _decode(payload, max_s, name)
    if not isinstance(payload, Sound):
        raise DataError(f"{name} must be bytes, a Path or a Sound, got {type(payload).__name__}")
    _check_length(len(payload.samples), payload.rate_hz, max_s, name)
    if rate_hz is None or rate_hz == payload.rate_hz:
        return payload
    check_rate(rate_hz)
    soxr = require("soxr", extra="audio")
    return _sound(soxr.resample(payload.samples, payload.rate_hz, rate_hz, quality="HQ"), rate_hz, name)


def wav_bytes(sound: Sound) -> bytes:
    """A WAV file of 16 bit, always the same for the same samples; decoding it gives them back to 16 bit.

    Example:
        >>> sound = Sound(np.array([0.5, -1.0], dtype=np.float32), 8000)
        >>> decode_audio(wav_bytes(sound), rate_hz=None).samples
        array([ 0.5, -1. ], dtype=float32)
    """
    data = np.rint(sound.samples.astype(np.float64) * 32768).clip(-32768, 32767).astype("<i2").tobytes()
    rate = sound.rate_hz
    head = struct.pack("<4sI4s4sIHHIIHH", b"RIFF", 36 + len(data), b"WAVE", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16)
    return head + struct.pack("<4sI", b"data", len(data)) + data


def _decode(data: bytes, max_s: float, name: str) -> Sound:
    kind = _kind(data, name)
    soundfile = require("soundfile", extra="audio")
    noise: list[str] = []
    try:
        with _collected(noise) if kind == "mp3" else nullcontext(), soundfile.SoundFile(BytesIO(data)) as file:
            rate, claimed = file.samplerate, file.frames
            if not 1 <= file.channels <= MAX_CHANNELS:
                raise DataError(f"{name} must have at most {MAX_CHANNELS} channels, got {file.channels}")
            check_rate(rate)
            if claimed >= 1 << 62:  # what libsndfile says where the header says nothing
                raise DataError(f"{name} must say how long it is, got a {kind} stream; write it to a file anew")
            _check_length(claimed, rate, max_s, name)
            blocks = list(_blocks(file, rate, max_s, name))
    except soundfile.SoundFileError as error:
        reason = getattr(error, "error_string", "") or "its frames can't be decoded"
        raise DataError(f"{name} must be a whole {kind} file, got a damaged or truncated one: {reason}") from None
    frames = sum(map(len, blocks))
    if noise:
        raise DataError(f"{name} must be a whole {kind} file, got a damaged one: {noise[0]}")
    if frames < claimed or _is_cut(data):
        raise DataError(f"{name} must be a whole {kind} file, got a truncated one with {frames} frames")
    return _sound(np.concatenate(blocks) if blocks else np.empty(0, dtype=np.float32), rate, name)


def _blocks(file: Any, rate: int, max_s: float, name: str) -> Iterator[np.ndarray]:
    frames = 0
    while len(block := file.read(BLOCK, dtype="float32", always_2d=True)):  # [block, channels]
        frames += len(block)
        _check_length(frames, rate, max_s, name)
        with np.errstate(over="ignore", invalid="ignore"):
            yield block.mean(axis=1, dtype=np.float32)  # [block]


def _sound(samples: np.ndarray, rate_hz: int, name: str) -> Sound:
    """The samples, divided by their peak if it is beyond 1."""
    if not len(samples):
        raise DataError(f"{name} must have at least 1 frame at {rate_hz} Hz, got 0")
    if not np.isfinite(peak := np.abs(samples).max()):
        raise DataError(f"{name} must have finite samples, got {peak} among {len(samples)} frames")
    return Sound(samples / peak if peak > 1 else samples, rate_hz)


def _check_length(frames: int, rate: int, max_s: float, name: str) -> None:
    if frames > min(max_s * rate, MAX_FRAMES):
        longest = min(max_s, MAX_FRAMES / rate)
        raise DataError(f"{name} must be at most {longest:g} s long, got {frames / rate:g} s; cut it into parts")


def _kind(data: bytes, name: str) -> str:
    """Which of the kinds it is, by its first bytes."""
    kind = kind_of(data)
    if kind not in KINDS:
        raise DataError(f"{name} must be a WAV, FLAC, OGG or MP3 file, got {describe(data)}")
    return kind


def _is_cut(data: bytes) -> bool:
    """Whether a WAV file holds less than its header says (libsndfile takes what there is)."""
    place, long_size = 12, UNKNOWN
    while data[8:12] == b"WAVE" and place + 8 <= len(data):
        tag, size = struct.unpack_from("<4sI", data, place)
        place += 8
        if tag == b"ds64" and size >= 16 and place + 16 <= len(data):  # of a file that may have more than 4 GiB
            long_size = struct.unpack_from("<8xQ", data, place)[0]
        if tag == b"data":
            expected = long_size if data[:4] == b"RF64" else size if size < UNKNOWN else 0
            return len(data) - place < expected
        place += size + size % 2
    return False


@contextmanager
def _collected(errors: list[str]) -> Iterator[None]:
    """Collects the errors that libmpg123 writes to the standard error, its only sign that an MP3 file is damaged.

    What others write there meanwhile goes there afterwards.
    """
    with _MP3, tempfile.TemporaryFile() as held:
        kept = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            held.seek(0)
            for line in held.read().splitlines(keepends=True):
                if found := re.search(rb"libmpg123.* error: (.*)", line):
                    errors.append(found[1].decode(errors="replace"))
                elif not re.match(rb"\s*$|\[[^]]*libmpg123|Note: |Warning: Xing", line):
                    os.write(kept, line)
            os.close(kept)
