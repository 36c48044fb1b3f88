"""Recordings, as their mel bands over time, and the sound that has such bands."""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn

from mmgraph.decoders.base import Decoder
from mmgraph.decoders.generative import Generative
from mmgraph.decoders.regression import Pooling, Regression
from mmgraph.errors import ConfigError, DataError
from mmgraph.functional.griffin_lim import mel_sound
from mmgraph.media.audio import Sound
from mmgraph.typing import Sources


class Mel(Generative):
    r"""Mel bands over time and where they end, both by squared error.

    .. math:: L_i = \sum_{b, t \le n_i} (\hat x_{ibt} - x_{ibt})^2 + (\hat n_i - n_i)^2 / T

    with :math:`n` the steps of a recording, :math:`T` those of the payload, and values in the decoder's scale. Bands
    after the end of a recording are NaN in the payload and say nothing. What is generated goes on to the last step, so
    that it can be compared with a recording of any length: :meth:`steps` says where it should end, and :meth:`cut` ends
    it there.

    Args:
        decoder: From a code to bands, ``[rows, bands, steps]``: :class:`Dense`, or one of your own.
        channels: Width of the sources' states; by default the decoder's own ``channels``.
        pooling: As of :class:`Regression`.
        dtype: Of the payload.

    Raises:
        ConfigError: An option out of its range.

    Example:
        >>> from mmgraph.decoders import Dense
        >>> from mmgraph.typing import Sources
        >>> decoder = Mel(Dense(4, (40, 98), attribute="mel", centre=-8.0, scale=4.0), dtype=torch.float16)
        >>> sources = Sources(torch.ones(2, 1, 4), torch.ones(2, 1, dtype=torch.bool))
        >>> decoder.generate(sources).shape, decoder.steps(sources, most=98).shape
        (torch.Size([2, 40, 98]), torch.Size([2]))
    """

    def __init__(
        self,
        decoder: Decoder,
        *,
        channels: int | None = None,
        pooling: Pooling = "mean",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.bands = Regression(decoder, channels=channels, pooling=pooling, dtype=dtype)
        self.channels, self.attribute = self.bands.channels, self.bands.attribute
        self.share = nn.Linear(self.channels, 1)

    def losses(self, sources: Sources, payload: Tensor) -> dict[str, Tensor]:
        """``total``, and its parts ``bands`` and ``end``, ``[rows]``."""
        bands, most = self.bands.losses(sources, payload)["total"], payload.shape[2]
        end = (self._share(sources) - lengths(payload) / most).square() * most
        return {"total": bands + end, "bands": bands, "end": end}

    def counts(self, payload: Tensor) -> Tensor:
        """How many values each recording has, ``[rows]``."""
        return self.bands.counts(payload)

    @torch.no_grad()
    def generate(self, sources: Sources, *, generator: Generator | None = None) -> Tensor:
        """Gives the mean of the bands, ``[rows, bands, steps]``, to the last step."""
        return self.bands.generate(sources, generator=generator)

    @torch.no_grad()
    def steps(self, sources: Sources, *, most: int) -> Tensor:
        """How many of ``most`` steps each recording should have, from 1 on, ``[rows]``."""
        return (self._share(sources) * most).round().long().clamp(1, most)

    def cut(self, mel: Tensor, sources: Sources) -> Tensor:
        """The bands with NaN after the end, as the payload has them, ``[rows, bands, steps]``."""
        place = torch.arange(mel.shape[2], device=mel.device)
        after = place >= self.steps(sources, most=mel.shape[2])[:, None]
        return mel.masked_fill(after[:, None, :], torch.nan)

    def _share(self, sources: Sources) -> Tensor:
        return self.share(self.bands.pool(sources))[:, 0]


def lengths(mel: Tensor) -> Tensor:
    """How many steps come before the end of each recording, ``[rows]``, of bands ``[rows, bands, steps]``.

    Example:
        >>> lengths(torch.tensor([[[1.0, 2.0, torch.nan]], [[1.0, 1.0, 1.0]]]))
        tensor([2, 3])
    """
    place = torch.arange(1, mel.shape[2] + 1, device=mel.device)
    return (mel.isfinite().any(dim=1) * place).amax(dim=1)


def to_sounds(
    mel: Tensor, rate_hz: int, *, rounds: int = 60, seed: int = 0, window_s: float = 0.025, hop_s: float = 0.010
) -> list[Sound]:
    """Recordings that have such mel bands, by :func:`~mmgraph.functional.griffin_lim.mel_sound`.

    Args:
        mel: As :class:`~mmgraph.encoders.LogMel` gives them, ``[rows, bands, steps]``, NaN after the end.
        rate_hz: Frames a second.
        rounds: Of Griffin & Lim's alternation.
        seed: Of the phases that it begins with; each recording is made by itself.
        window_s: Length of a window.
        hop_s: Time between the starts of two windows.

    Raises:
        ConfigError: A rate or rounds that can't be.
        DataError: A recording of no step, or with a gap in it.

    Example:
        >>> from mmgraph.media.audio import wav_bytes
        >>> sound = to_sounds(torch.full((1, 40, 98), -4.0), 8000, rounds=2)[0]
        >>> sound.duration_s, wav_bytes(sound)[:4]
        (0.995, b'RIFF')
    """
    sounds = []
    for number, (row, steps) in enumerate(zip(mel.float(), lengths(mel).tolist(), strict=True)):
        bands = row[None, :, :steps]
        if steps == 0 or not bool(bands.isfinite().all()):
            raise DataError(
                f"Recording {number} must have finite mel bands up to its end, got {steps} steps with "
                f"{int((~bands.isfinite()).sum())} values that are not"
            )
        generator = torch.Generator().manual_seed(seed)
        try:
            made = mel_sound(bands, rate_hz, window_s=window_s, hop_s=hop_s, rounds=rounds, generator=generator)[0]
        except ValueError as error:
            raise ConfigError(f"A sound can't be made: {error}") from None
        samples = made / made.abs().max().clamp_min(1)
        sounds.append(Sound(samples.clamp(-1, 1).numpy(), rate_hz))
    return sounds
