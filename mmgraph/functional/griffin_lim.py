r"""Sound out of its spectrum: magnitudes from mel bands, phases by alternation.

A magnitude alone has no phase, and most phases make a spectrum that no sound has. Griffin & Lim 1984, Signal estimation
from modified short-time Fourier transform, IEEE TASSP 32(2), doi:10.1109/TASSP.1984.1164317, alternate between the
spectra of the wanted magnitudes and those that a sound has, and come nearer in every round; with momentum it goes much
further in as many rounds, but not evenly (Perraudin, Balazs & Søndergaard 2013, A fast Griffin-Lim algorithm, WASPAA,
doi:10.1109/WASPAA.2013.6701851).
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from mmgraph.functional.spectrogram import FLOOR, frames_of, mel_filters

LARGEST = 50.0  # of a logarithm of power: more is no sound


def spectrum(samples: Tensor, *, window: int, hop: int, size: int) -> Tensor:
    """The short-time Fourier transform that :func:`~mmgraph.functional.log_mel` takes the power of.

    Args:
        samples: ``[batch, frames]``.
        window: Frames under each periodic Hann window.
        hop: Frames between the starts of two windows.
        size: Of the transform: windows are padded with zeros to it.

    Returns:
        Complex ``[batch, size // 2 + 1, steps]``.

    Example:
        >>> spectrum(torch.ones(1, 16), window=8, hop=4, size=8)[0, :2, 0].real.round()
        tensor([ 4., -2.])
    """
    hann = torch.hann_window(window, device=samples.device, dtype=samples.dtype)
    return torch.fft.rfft(samples.unfold(1, window, hop) * hann, n=size).mT


def sound_of(spectra: Tensor, *, window: int, hop: int, size: int) -> Tensor:
    r"""The sound whose spectrum is nearest to the one given, by least squares.

    .. math:: x_n = \frac{\sum_t w_{n - tH}\, y_{t, n - tH}}{\sum_t w_{n - tH}^2}

    with :math:`y_t` the inverse transform of step t and H the hop (Griffin & Lim 1984, eq. 6).

    Args:
        spectra: Complex ``[batch, size // 2 + 1, steps]``.
        window: As of :func:`spectrum`.
        hop: As of :func:`spectrum`.
        size: As of :func:`spectrum`.

    Returns:
        ``[batch, window + hop * (steps - 1)]``.

    Example:
        >>> tone = torch.sin(torch.arange(64) / 3)[None]
        >>> options = dict(window=16, hop=4, size=16)
        >>> bool(torch.allclose(sound_of(spectrum(tone, **options), **options)[:, 1:], tone[:, 1:], atol=1e-5))
        True
    """
    parts = torch.fft.irfft(spectra.mT, n=size)[:, :, :window]  # [batch, steps, window]
    hann = torch.hann_window(window, device=parts.device, dtype=parts.dtype)
    steps = parts.shape[1]
    weight = hann.square().expand(1, steps, window)
    total, mass = (_overlapped(one, hop) for one in (parts * hann, weight))
    return total / mass.clamp_min(torch.finfo(parts.dtype).tiny).where(mass > 0, torch.ones_like(mass))


def griffin_lim(
    magnitude: Tensor,
    *,
    window: int,
    hop: int,
    size: int | None = None,
    rounds: int = 60,
    momentum: float = 0.99,
    generator: Generator | None = None,
) -> Tensor:
    r"""A sound whose spectrum has about the given magnitudes.

    .. math::
        c_n = P_{\text{sound}}\bigl(S \cdot e^{i \angle t_{n-1}}\bigr), \qquad t_n = c_n + \alpha (c_n - c_{n-1})

    where :math:`P_{\text{sound}}` takes a spectrum to the nearest one that a sound has. With momentum
    :math:`\alpha = 0` no round makes :func:`spectral_gap` larger.

    Args:
        magnitude: ``[batch, size // 2 + 1, steps]``, not below 0.
        window: Frames under each window.
        hop: Frames between the starts of two windows.
        size: Of the transform; by default the window.
        rounds: Of the alternation.
        momentum: α, from 0 to 1.
        generator: Of the phases that it begins with; ``None`` for torch's own state.

    Returns:
        ``[batch, window + hop * (steps - 1)]``.

    Raises:
        ValueError: Magnitudes of another shape, or an option out of range.

    Example:
        >>> tone = torch.sin(torch.arange(800) * 0.5)[None]
        >>> wanted = spectrum(tone, window=64, hop=16, size=64).abs()
        >>> made = griffin_lim(wanted, window=64, hop=16, generator=torch.Generator().manual_seed(0))
        >>> spectral_gap(made, wanted, window=64, hop=16).item() < 0.05
        True
    """
    size = window if size is None else size
    if min(window, hop) < 1 or size < window or rounds < 0 or not 0 <= momentum <= 1:
        raise ValueError(
            "griffin_lim needs a window and a hop of at least 1, a size of at least the window, rounds of at least 0 "
            f"and a momentum from 0 to 1, got {window}, {hop}, {size}, {rounds} and {momentum}"
        )
    if magnitude.dim() != 3 or magnitude.shape[1] != size // 2 + 1 or magnitude.shape[2] < 1:
        raise ValueError(f"magnitude must be [batch, {size // 2 + 1}, steps], got {list(magnitude.shape)}")
    turns = torch.rand(magnitude.shape, generator=generator, device=magnitude.device, dtype=magnitude.dtype)
    before = None
    found = torch.polar(magnitude, 2 * torch.pi * turns)
    for _ in range(rounds):
        made = spectrum(sound_of(found, window=window, hop=hop, size=size), window=window, hop=hop, size=size)
        ahead = made if before is None else made + momentum * (made - before)
        before = made
        found = torch.polar(magnitude, ahead.angle())
    return sound_of(found, window=window, hop=hop, size=size)


def spectral_gap(samples: Tensor, magnitude: Tensor, *, window: int, hop: int, size: int | None = None) -> Tensor:
    r"""How far the magnitudes of a sound are from those wanted: :math:`\Vert |X| - S \Vert / \Vert S \Vert`.

    Griffin & Lim's spectral convergence, ``[batch]``; 0 is the best.

    Args:
        samples: ``[batch, frames]``.
        magnitude: ``[batch, size // 2 + 1, steps]``.
        window: As of :func:`griffin_lim`.
        hop: As of :func:`griffin_lim`.
        size: As of :func:`griffin_lim`.

    Example:
        >>> spectral_gap(torch.zeros(1, 8), torch.ones(1, 5, 1), window=8, hop=4)
        tensor([1.])
    """
    gaps = spectrum(samples, window=window, hop=hop, size=window if size is None else size).abs() - magnitude
    smallest = torch.finfo(gaps.dtype).tiny
    return gaps.flatten(1).norm(dim=1) / magnitude.flatten(1).norm(dim=1).clamp_min(smallest)


def linear_power(power: Tensor, filters: Tensor, *, rounds: int = 200) -> Tensor:
    r"""The power at each frequency that gives the power in mel bands: non-negative least squares.

    .. math:: \min_{P \ge 0} \Vert M P - E \Vert^2, \qquad P \leftarrow P \cdot \frac{M^\top E}{M^\top M P}

    (Lee & Seung 2001, Algorithms for non-negative matrix factorization, NIPS: each round comes nearer.) Frequencies
    that are in no band get 0.

    Args:
        power: E, ``[batch, bands, steps]``, not below 0.
        filters: M, ``[bands, frequencies]``, of :func:`~mmgraph.functional.spectrogram.mel_filters`.
        rounds: Of the updates.

    Returns:
        P, ``[batch, frequencies, steps]``.

    Example:
        >>> linear_power(torch.tensor([[[2.0]]]), torch.tensor([[0.5, 1.0]])).flatten()
        tensor([0.8000, 1.6000])
    """
    smallest = torch.finfo(power.dtype).tiny
    most = power.amax(dim=(1, 2), keepdim=True).clamp_min(smallest)
    found = target = filters.T @ (power / most)  # [batch, frequencies, steps]
    gram = filters.T @ filters
    for _ in range(rounds):
        found = found * target / (gram @ found).clamp_min(smallest)
    return found * most


def mel_sound(
    mel: Tensor,
    rate_hz: int,
    *,
    window_s: float = 0.025,
    hop_s: float = 0.010,
    low_hz: float = 0.0,
    high_hz: float | None = None,
    rounds: int = 60,
    momentum: float = 0.99,
    generator: Generator | None = None,
) -> Tensor:
    """A sound of which :func:`~mmgraph.functional.log_mel` gives about these bands.

    Args:
        mel: Logarithms of the power in mel bands, ``[batch, bands, steps]``, all finite.
        rate_hz: Frames a second.
        window_s: As of ``log_mel``.
        hop_s: As of ``log_mel``.
        low_hz: As of ``log_mel``.
        high_hz: As of ``log_mel``.
        rounds: As of :func:`griffin_lim`.
        momentum: As of :func:`griffin_lim`.
        generator: Of the phases that it begins with.

    Returns:
        ``[batch, frames]``, of any loudness: divide by the peak where it must be within [-1, 1].

    Raises:
        ValueError: Bands that are not finite, or of another shape.

    Example:
        >>> from mmgraph.functional import log_mel
        >>> tone = 0.5 * torch.sin(torch.arange(4000) * (2 * torch.pi * 1000 / 8000))  # 1000 Hz
        >>> made = mel_sound(log_mel(tone[None], 8000, bands=20), 8000, generator=torch.Generator().manual_seed(0))
        >>> log_mel(made, 8000, bands=20).mean(dim=2).argmax().item()
        9
    """
    if mel.dim() != 3 or not bool(mel.isfinite().all()):
        raise ValueError(
            f"mel must be finite numbers [batch, bands, steps], got {list(mel.shape)} with "
            f"{int((~mel.isfinite()).sum())} that are not; cut off what comes after the end"
        )
    mel = mel if mel.dtype == torch.float64 else mel.float()
    window, hop = frames_of(window_s, rate_hz), frames_of(hop_s, rate_hz)
    filters = _filters(mel.shape[1], window, rate_hz, low_hz, high_hz).to(mel)
    size = 2 * (filters.shape[1] - 1)
    power = (mel.clamp_max(LARGEST).exp() - FLOOR).clamp_min(0)
    magnitude = linear_power(power, filters).sqrt()
    return griffin_lim(
        magnitude, window=window, hop=hop, size=size, rounds=rounds, momentum=momentum, generator=generator
    )


def _filters(bands: int, window: int, rate_hz: int, low_hz: float, high_hz: float | None) -> Tensor:
    """The filters of ``log_mel``: its transform has the next power of 2, or more, until each band holds a frequency."""
    size = 1 << (window - 1).bit_length()
    while True:
        filters = mel_filters(bands, size, rate_hz, low_hz=low_hz, high_hz=high_hz)
        if size >= 1 << 16 or bool((filters > 0).any(dim=1).all()):
            return filters
        size *= 2


def _overlapped(parts: Tensor, hop: int) -> Tensor:
    """Steps added up where they overlap: ``[batch, steps, window] -> [batch, frames]``."""
    steps, window = parts.shape[1:]
    frames = window + hop * (steps - 1)
    return F.fold(parts.mT, (1, frames), kernel_size=(1, window), stride=(1, hop)).flatten(1)
