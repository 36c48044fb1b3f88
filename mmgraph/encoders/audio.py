"""Recordings: by their spectra, as mel bands for encoders that are trained, and through models that are not."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mmgraph.encoders.frozen import Frozen
from mmgraph.encoders.pretrained import identity_of, load
from mmgraph.errors import ConfigError, DataError
from mmgraph.functional import deltas, log_mel, mfcc, stretch
from mmgraph.functional.spectrogram import FLOOR, frames_of
from mmgraph.media.audio import Sound, check_rate, decode_audio
from mmgraph.media.files import read_file
from mmgraph.schema import Identity, Modality

Recording = bytes | Path | Sound
Part = Literal["start", "centre"]
MelType = Literal["float16", "float32"]
WINDOW_S, HOP_S = 0.025, 0.010
RANGE = 1e-8  # of the loudest power: 80 dB below it all is silence
BATCH_S = 60.0  # of sound that a model reads at once


class Spectra(Frozen[Recording, Tensor]):
    r"""Recordings of any length to vectors, without a model: what they sound like, and their rhythm.

    Four blocks, each of the same length :math:`1/2`, so that none dominates the cosine:

    * the mean and the deviation over time of the mel cepstrum and of its slope (Davis & Mermelstein 1980,
      doi:10.1109/TASSP.1980.1163420); the coefficient of the loudness is left out of the means;
    * the same of the slope alone;
    * the loudness, less its mean, stretched to ``envelope`` steps: the same rhythm at another speed is alike;
    * the mel bands, less the mean of each, stretched to ``parts`` steps.

    All are about the part from where the recording is first to where it is last louder than a share of its peak, and
    what is 80 dB below the loudest counts as silence: a constant gain changes nothing, nor does silence around it.
    A block that says nothing (the rhythm of a steady tone) is zeros.

    Args:
        rate_hz: What recordings are resampled to.
        bands: Mel bands.
        coefficients: Of the cepstrum.
        envelope: Steps of the loudness.
        parts: Steps of the mel bands.
        share: Of the peak loudness: where the recording begins and ends.

    Raises:
        ConfigError: An option is out of range.

    Example:
        >>> time = torch.arange(16000) / 16000
        >>> low, high = (Sound(torch.sin(2 * torch.pi * hertz * time).numpy(), 16000) for hertz in (200, 2000))
        >>> quiet = Sound(low.samples / 8, 16000)
        >>> one, same, other = Spectra()([low, quiet, high])
        >>> bool(one @ same > 0.999), bool(one @ other < 0.9)
        (True, True)
    """

    modality = Modality.AUDIO
    chunk = 256

    def __init__(
        self,
        *,
        rate_hz: int = 16_000,
        bands: int = 40,
        coefficients: int = 13,
        envelope: int = 48,
        parts: int = 8,
        share: float = 0.1,
    ) -> None:
        _check_rate(rate_hz)
        if not 2 <= coefficients <= bands or min(envelope, parts) < 1 or not 0 <= share < 1:
            raise ConfigError(
                "Spectra needs 2 to bands coefficients, an envelope and parts of at least 1 step, and a share from 0 "
                f"to below 1, got {coefficients} of {bands}, {envelope}, {parts} and {share}"
            )
        self._rate, self._bands, self._coefficients = rate_hz, bands, coefficients
        self._envelope, self._parts, self._share = envelope, parts, share
        self.shape = (4 * coefficients - 1 + envelope + parts * bands,)
        self.identity = Identity(
            name="spectra",
            revision="1",
            options={
                "rate_hz": rate_hz,
                "bands": bands,
                "coefficients": coefficients,
                "envelope": envelope,
                "parts": parts,
                "share": share,
            },
        )

    def content(self, payload: Recording) -> bytes:
        """The bytes of the file."""
        return recording_bytes(payload)

    def prepare(self, payload: Recording) -> Tensor:
        """The vector of one recording, ``[channels]``: made one by one, it is the same whatever else is encoded."""
        samples = torch.from_numpy(decode_audio(payload, rate_hz=self._rate).samples)
        peak = samples.abs().max()
        if peak == 0:
            return torch.zeros(self.channels)
        mel, loud = _loud_part((samples / peak)[None], self._rate, self._bands, self._share)
        cepstrum = mfcc(mel, self._coefficients)  # [1, coefficients, steps]
        slope = deltas(cepstrum)
        blocks = (
            torch.cat([cepstrum[0, 1:].mean(dim=1), cepstrum[0].std(dim=1, correction=0)]),
            torch.cat([slope[0].mean(dim=1), slope[0].std(dim=1, correction=0)]),
            stretch(loud - loud.mean(), self._envelope),
            stretch(mel[0] - mel[0].mean(dim=1, keepdim=True), self._parts).flatten(),
        )
        return torch.cat([_unit(block) / 2 for block in blocks])

    def encode(self, prepared: list[Tensor]) -> Tensor:
        """Stacks the vectors: ``[recordings, channels]``."""
        return torch.stack(prepared)


class LogMel(Frozen[Recording, Tensor]):
    """Recordings to mel bands over time, ``[bands, frames]``, for encoders that are trained with the graph.

    What :func:`log_mel` gives, of windows of 25 ms every 10 ms. A recording that is shorter has NaN after its end, one
    that is longer is cut.

    Args:
        rate_hz: What recordings are resampled to.
        bands: Mel bands.
        seconds: Length of what is kept.
        part: Which part of a longer recording is kept, its ``"start"`` or its ``"centre"``.
        dtype: ``"float16"`` (3 digits) or ``"float32"``.

    Raises:
        ConfigError: An option is out of range.

    Example:
        >>> mel = LogMel(rate_hz=8000, seconds=1.0)([Sound(np.ones(4000, dtype=np.float32), 8000)])
        >>> mel.shape, mel.dtype, int(mel.isnan().any(dim=1).sum())
        (torch.Size([1, 40, 98]), torch.float16, 50)
    """

    modality = Modality.AUDIO
    attribute = "mel"
    chunk = 256

    def __init__(
        self,
        *,
        rate_hz: int = 16_000,
        bands: int = 40,
        seconds: float = 1.0,
        part: Part = "start",
        dtype: MelType = "float16",
    ) -> None:
        _check_rate(rate_hz)
        if part not in get_args(Part) or dtype not in get_args(MelType):
            raise ConfigError(
                f"part must be one of {get_args(Part)} and dtype one of {get_args(MelType)}, got {part!r}, {dtype!r}"
            )
        if bands < 1 or not WINDOW_S <= seconds <= 3600:
            raise ConfigError(f"LogMel needs bands, and {WINDOW_S} to 3600 seconds, got {bands} and {seconds}")
        self._rate, self._bands, self._part = rate_hz, bands, part
        window, hop = frames_of(WINDOW_S, rate_hz), frames_of(HOP_S, rate_hz)
        self._frames = max(window, frames_of(seconds, rate_hz))
        self.shape = (bands, 1 + (self._frames - window) // hop)
        self.dtype = getattr(torch, dtype)
        self.identity = Identity(
            name="log_mel",
            revision="1",
            options={"rate_hz": rate_hz, "bands": bands, "seconds": seconds, "part": part, "dtype": dtype},
        )

    def content(self, payload: Recording) -> bytes:
        """The bytes of the file."""
        return recording_bytes(payload)

    def prepare(self, payload: Recording) -> Tensor:
        """The bands of one recording, ``[bands, frames]``."""
        samples = decode_audio(payload, rate_hz=self._rate).samples
        first = (len(samples) - self._frames) // 2 if self._part == "centre" else 0
        kept = torch.from_numpy(samples[max(0, first) :][: self._frames])
        mel = log_mel(kept[None], self._rate, bands=self._bands, window_s=WINDOW_S, hop_s=HOP_S)[0]
        return F.pad(mel, (0, self.shape[1] - mel.shape[1]), value=float("nan"))

    def encode(self, prepared: list[Tensor]) -> Tensor:
        """Stacks the bands: ``[recordings, bands, frames]``."""
        return torch.stack(prepared)


class Recordings(Frozen[Recording, Sound]):
    """Recordings to vectors by a model that transformers and ``SentenceTransformer`` know: what its ``encode`` gives.

    Sources: Baevski et al. 2020, wav2vec 2.0, arXiv:2006.11477; Radford et al. 2022, Whisper, arXiv:2212.04356; Gong
    et al. 2021, AST, arXiv:2104.01778; Wu et al. 2022, CLAP, arXiv:2211.06687.

    Recordings are resampled to the rate that the model wants. Only those of equal length share a batch: some models
    give others vectors if they are padded. What exceeds the length that a CLAP model hears is cut around the centre.

    Args:
        model: A folder with a model, or a name on the hub (from its local cache where ``HF_HUB_OFFLINE=1``).
        revision: Commit, branch or tag on the hub; ``None`` for the newest. A folder has none.
        device: Where the model runs; ``None`` for the GPU if there is one.

    Raises:
        MissingPackageError: sentence-transformers is not installed.
        ConfigError: There is no such model, it knows no sound, or part of what it computes with is not in its files.
    """

    modality = Modality.AUDIO
    chunk = 64

    def __init__(
        self,
        model: str | Path,
        *,
        revision: str | None = None,
        device: str | None = None,
    ) -> None:
        probe = (np.random.default_rng(0).standard_normal(16_000) / 8).clip(-1, 1).astype(np.float32)
        rows = []
        for seed in (1, 0):
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                self._model = load(model, revision, device, kind="audio")
            self._rate, self._longest = _wanted(self._model)
            rows.append(self.encode([Sound(probe, self._rate)]))
        if not torch.allclose(*rows, rtol=1e-3, atol=1e-5):
            raise ConfigError(
                f"model must have all its weights in its files, got {str(model)!r}, which draws some at random when it "
                "is loaded; save the part that encodes alone (of a WhisperModel its encoder)"
            )
        self.shape = (rows[0].shape[1],)
        self.identity = identity_of(model, revision, {})

    def content(self, payload: Recording) -> bytes:
        """The bytes of the file."""
        return recording_bytes(payload)

    def prepare(self, payload: Recording) -> Sound:
        """The samples at the rate of the model."""
        sound = decode_audio(payload, rate_hz=self._rate)
        if self._longest is None or len(sound.samples) <= self._longest:
            return sound
        first = (len(sound.samples) - self._longest) // 2
        return Sound(sound.samples[first:][: self._longest], self._rate)

    def encode(self, prepared: list[Sound]) -> Tensor:
        """Encodes recordings that all differ: ``[recordings, channels]``."""
        found: list[Tensor] = [torch.empty(0)] * len(prepared)
        for rows in _equally_long(prepared):
            made = self._model.encode(
                [{"array": prepared[row].samples, "sampling_rate": self._rate} for row in rows],
                batch_size=len(rows),
                show_progress_bar=False,
                convert_to_tensor=True,
            )
            for row, vector in zip(rows, made.to("cpu", torch.float32), strict=True):
                found[row] = vector
        return torch.stack(found)


def recording_bytes(payload: object) -> bytes:
    """The bytes that tell a recording from others: those of the file, or the samples.

    Raises:
        DataError: It is no recording, or its file can't be read.

    Example:
        >>> recording_bytes("owl.wav")
        Traceback (most recent call last):
        ...
        mmgraph.errors.DataError: a recording must be bytes, a Path or a Sound, got str; leave a missing ...
    """
    if isinstance(payload, bytes):
        return payload
    if isinstance(payload, Path):
        return read_file(payload)
    if isinstance(payload, Sound):
        return struct.pack("<4sQ", b"\0f32", payload.rate_hz) + payload.samples.tobytes()
    raise DataError(
        f"a recording must be bytes, a Path or a Sound, got {type(payload).__name__}; leave a missing recording out: "
        "it is no node"
    )


def _check_rate(rate_hz: int) -> None:
    try:
        check_rate(rate_hz)
    except DataError as error:
        raise ConfigError(f"rate_hz is out of range: {error}") from None


def _loud_part(samples: Tensor, rate_hz: int, bands: int, share: float) -> tuple[Tensor, Tensor]:
    """The mel bands ``[1, bands, steps]`` and the loudness ``[steps]`` of the part that is not silent."""
    mel = log_mel(samples, rate_hz, bands=bands, window_s=WINDOW_S, hop_s=HOP_S)
    power = mel.exp().sub(FLOOR).clamp_min(0)
    loud = power.sum(dim=1)[0].sqrt()  # [steps]
    heard = (loud >= share * loud.max()).nonzero()
    part = slice(int(heard[0]), int(heard[-1]) + 1)
    floor = RANGE * mel.max().exp()
    return mel[:, :, part].clamp_min(float(floor.log())), loud[part] / loud.max().clamp_min(1e-12)


def _unit(block: Tensor) -> Tensor:
    norm = block.norm()
    return block / norm if norm > 1e-6 else torch.zeros_like(block)


def _wanted(model: Any) -> tuple[int, int | None]:
    """The rate that a model wants, and the frames that it hears if it would choose among more at random."""
    processor = model[0].processor
    extractor = getattr(processor, "feature_extractor", processor)
    return int(extractor.sampling_rate), getattr(extractor, "nb_max_samples", None)


def _equally_long(sounds: list[Sound]) -> Iterator[list[int]]:
    """Rows of recordings of equal length, those of one batch together."""
    batch: list[int] = []
    for row in sorted(range(len(sounds)), key=lambda row: len(sounds[row].samples)):
        frames = len(sounds[row].samples)
        full = (len(batch) + 1) * frames > BATCH_S * sounds[row].rate_hz
        if batch and (full or len(sounds[batch[0]].samples) != frames):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
