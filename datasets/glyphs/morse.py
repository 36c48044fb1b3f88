"""Morse code as sound: keyed tones in noise, the same to the bit on every machine.

Codes: Recommendation ITU-R M.1677-1 (2009), International Morse code, and the national ones in ``morse.tsv``. A dot
lasts 1.2 s / words a minute; a dash three dots, the gap in a character one, between characters three, between words
seven. Chance is the raw words of PCG64, which no release of NumPy changes; tone, edges and noise are integers.
"""

import csv
import io
import math
import wave
from pathlib import Path

import numpy as np

RATE_HZ = 16_000
WPM, PITCH_HZ, SNR_DB = (12, 25), (450, 850), (5, 25)  # lowest and highest, both included
PAUSE_MS = (40, 100)  # before and after
EDGE = RATE_HZ * 5 // 1000  # frames of a rising or falling edge
PEAK = 8000  # of the tone; with the noise of the lowest SNR below 2¹⁵
_SINE = np.rint(2**15 * np.sin(2 * np.pi * np.arange(2**16) / 2**16))
_RISE = np.rint(2**15 * (0.5 - 0.5 * np.cos(np.pi * (np.arange(EDGE) + 0.5) / EDGE)))
_NOISE_STD = math.sqrt((2**32 - 1) / 3)  # of the sum of four 16-bit numbers


def read_codes() -> dict[str, str]:
    """Character → dots and dashes; small letters have those of their capitals."""
    with Path(__file__).with_name("morse.tsv").open(encoding="utf-8", newline="") as file:
        next(file)
        codes = {row["character"]: row["morse"] for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)}
    small = {character.lower(): code for character, code in codes.items() if len(character.lower()) == 1}
    return codes | small


def recordings(character: str, code: str) -> list[bytes]:
    """One to three recordings of a character, each at a speed, pitch and noise of its own."""
    number = 1 + int(np.random.PCG64(ord(character)).random_raw()) % 3
    return [morse(character, seed=4 * ord(character) + take, codes={character: code}) for take in range(number)]


def morse(
    text: str,
    *,
    seed: int,
    wpm: int | None = None,
    pitch_hz: int | None = None,
    snr_db: int | None = None,
    codes: dict[str, str] | None = None,
) -> bytes:
    """Keys a text: a WAV file, 16 bits, mono, 16 kHz.

    Args:
        text: Characters that have a code, and spaces.
        seed: Of chance.
        wpm: Words a minute; by default drawn from 12 to 25.
        pitch_hz: Of the tone; by default drawn from 450 to 850.
        snr_db: Power of the sounding tone over that of the noise; by default drawn from 5 to 25.
        codes: Character → dots and dashes; by default those of ``morse.tsv``.

    Raises:
        ValueError: A character has no code.
    """
    chance = np.random.PCG64(seed)
    drawn = [low + int(chance.random_raw()) % (high - low + 1) for low, high in (WPM, PITCH_HZ, SNR_DB)]
    wpm, pitch_hz, snr_db = (
        given if given is not None else own for given, own in zip((wpm, pitch_hz, snr_db), drawn, strict=True)
    )
    before, after = (
        (PAUSE_MS[0] + int(chance.random_raw()) % (PAUSE_MS[1] - PAUSE_MS[0] + 1)) * RATE_HZ // 1000 for _ in range(2)
    )
    key = _key(text, RATE_HZ * 6 // (5 * wpm), read_codes() if codes is None else codes)
    key = np.concatenate([np.zeros(before), key, np.zeros(after)])
    tone = _SINE[np.arange(len(key)) * pitch_hz * 2**16 // RATE_HZ % 2**16]
    words = chance.random_raw(len(key)).view(np.uint16).reshape(-1, 4)  # the order of the four does not matter
    noise = words.astype(np.int64).sum(axis=1) - 2 * (2**16 - 1)
    gain = PEAK * round(10 ** (-snr_db / 20) / math.sqrt(2) / _NOISE_STD, 12)
    samples = np.rint(PEAK * 2**-30 * (tone * key) + gain * noise)
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(np.clip(samples, -(2**15), 2**15 - 1).astype("<i2").tobytes())
    return buffer.getvalue()


def _key(text: str, dot: int, codes: dict[str, str]) -> np.ndarray:
    """How far the key is down, frame by frame, 0 to 2¹⁵; ``dot``: frames of a dot."""
    parts: list[np.ndarray] = []
    for word in text.split():
        for character in word:
            if character not in codes:
                raise ValueError(
                    f"Characters must have a Morse code, got {character!r}; see morse.tsv for those that do"
                )
            for sign in codes[character]:
                sounding = np.full(dot * (3 if sign == "-" else 1), 2.0**15)
                sounding[:EDGE], sounding[-EDGE:] = _RISE, _RISE[::-1]
                parts += [sounding, np.zeros(dot)]
            parts.append(np.zeros(2 * dot))
        parts.append(np.zeros(4 * dot))
    if not parts:
        raise ValueError(f"Text must hold a character with a Morse code, got {text!r}")
    joined = np.concatenate(parts)
    return joined[: np.flatnonzero(joined)[-1] + 1]
