"""Short-time spectra of sound: mel bands, their cepstrum, and how it changes.

The mel scale is that of HTK, ``m = 2595 log10(1 + f / 700)``; filters are triangles of height 1 in hertz. Source: Davis
& Mermelstein 1980, Comparison of parametric representations for monosyllabic word recognition, IEEE TASSP 28(4),
doi:10.1109/TASSP.1980.1163420; Young et al. 2006, The HTK Book (for HTK version 3.4).
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

FLOOR = 1e-10  # of the power in a band: what is less counts as silence
STEPS = 4096  # transformed at once, so that an hour needs no more memory than a minute


def log_mel(
    samples: Tensor,
    rate_hz: int,
    *,
    bands: int = 40,
    window_s: float = 0.025,
    hop_s: float = 0.010,
    low_hz: float = 0.0,
    high_hz: float | None = None,
) -> Tensor:
    r"""Logarithm of the power in mel bands, :math:`\log\max(\sum_f M_{bf} |X_f(t)|^2, 10^{-10})`.

    :math:`X(t)` is the Fourier transform of the samples under a periodic Hann window that starts at ``t`` hops; it is
    padded with zeros to the next power of 2, or further, until each band holds a frequency. What is left at the end,
    shorter than a window, is not read; a recording that is shorter than a window is padded with zeros.

    Args:
        samples: ``[batch, frames]``.
        rate_hz: Frames a second.
        bands: How many.
        window_s: Length of the window.
        hop_s: Time between the starts of two windows.
        low_hz: Where the lowest band begins.
        high_hz: Where the highest band ends; ``None`` for half the rate.

    Returns:
        ``[batch, bands, steps]``.

    Raises:
        ValueError: A window or a hop of less than a frame, or bands that are none.

    Example:
        >>> tone = torch.sin(torch.arange(8000) * (2 * torch.pi * 1000 / 8000))  # 1 s of 1000 Hz
        >>> found = log_mel(tone[None], 8000, bands=20)
        >>> found.shape, found.mean(dim=2).argmax().item()
        (torch.Size([1, 20, 98]), 9)
    """
    window, hop = frames_of(window_s, rate_hz), frames_of(hop_s, rate_hz)
    size = 1 << (window - 1).bit_length()
    filters = mel_filters(bands, size, rate_hz, low_hz=low_hz, high_hz=high_hz).to(samples)
    while size < 1 << 16 and not bool((filters > 0).any(dim=1).all()):
        size *= 2
        filters = mel_filters(bands, size, rate_hz, low_hz=low_hz, high_hz=high_hz).to(samples)
    hann = torch.hann_window(window, device=samples.device, dtype=samples.dtype)
    samples = F.pad(samples, (0, max(0, window - samples.shape[1])))
    windows = samples.unfold(1, window, hop)  # [batch, steps, window]
    found = [
        (filters @ torch.fft.rfft(block * hann, n=size).abs().square().mT).clamp_min(FLOOR).log()
        for block in windows.split(STEPS, dim=1)
    ]
    return torch.cat(found, dim=2)


def mel_filters(bands: int, size: int, rate_hz: int, *, low_hz: float = 0.0, high_hz: float | None = None) -> Tensor:
    """Triangles of height 1 between corners that are equally far apart on the mel scale, ``[bands, size // 2 + 1]``.

    Args:
        bands: How many triangles.
        size: Frames of the Fourier transform.
        rate_hz: Frames a second.
        low_hz: First corner.
        high_hz: Last corner; ``None`` for half the rate.

    Raises:
        ValueError: No band, or corners that are not from 0 to half the rate in ascending order.

    Example:
        >>> mel_filters(2, 8, 8000).shape
        torch.Size([2, 5])
    """
    high = rate_hz / 2 if high_hz is None else high_hz
    if bands < 1 or not 0 <= low_hz < high <= rate_hz / 2:
        raise ValueError(
            f"bands must be at least 1, from low_hz to a higher high_hz of at most {rate_hz / 2}, "
            f"got {bands} from {low_hz} to {high}"
        )
    low, top = (2595 * math.log10(1 + hertz / 700) for hertz in (low_hz, high))
    corners = 700 * (10 ** (torch.linspace(low, top, bands + 2, dtype=torch.float64) / 2595) - 1)
    frequency = torch.linspace(0, rate_hz / 2, size // 2 + 1, dtype=torch.float64)
    slopes = (frequency - corners[:-1, None]) / corners.diff()[:, None]  # [bands + 1, size // 2 + 1]
    return torch.minimum(slopes[:-1], 1 - slopes[1:]).clamp_min(0).float()


def mfcc(mel: Tensor, coefficients: int) -> Tensor:
    r"""Cepstrum of mel bands: the first coefficients of their orthonormal discrete cosine transform (DCT-II).

    :math:`c_k = s_k \sum_b x_b \cos(\pi k (b + 1/2) / B)`, with :math:`s_0 = \sqrt{1/B}` and :math:`s_k = \sqrt{2/B}`.

    Args:
        mel: Logarithms, ``[batch, bands, steps]``.
        coefficients: How many, the first being the mean loudness.

    Returns:
        ``[batch, coefficients, steps]``.

    Raises:
        ValueError: More coefficients than bands, or none.

    Example:
        >>> mfcc(torch.ones(1, 4, 1), 2).flatten().abs().round(decimals=5).tolist()
        [2.0, 0.0]
    """
    bands = mel.shape[1]
    if not 1 <= coefficients <= bands:
        raise ValueError(f"coefficients must be from 1 to the {bands} bands, got {coefficients}")
    order, place = torch.arange(coefficients, dtype=torch.float64), torch.arange(bands, dtype=torch.float64)
    basis = torch.cos(torch.pi * order[:, None] * (place + 0.5) / bands) * math.sqrt(2 / bands)
    basis[0] /= math.sqrt(2)
    return basis.to(mel) @ mel


def deltas(states: Tensor, *, reach: int = 2) -> Tensor:
    r"""Slope over time, :math:`d_t = \sum_{n=1}^N n (x_{t+n} - x_{t-n}) / (2 \sum_{n=1}^N n^2)`, edges repeated.

    Args:
        states: ``[batch, channels, steps]``, at least 1 step.
        reach: ``N``, in steps to either side.

    Returns:
        ``[batch, channels, steps]``.

    Example:
        >>> deltas(torch.tensor([[[0.0, 1.0, 2.0, 3.0, 4.0]]])).flatten()
        tensor([0.5000, 0.8000, 1.0000, 0.8000, 0.5000])
    """
    weight = torch.arange(-reach, reach + 1).to(states) / (2 * sum(n * n for n in range(1, reach + 1)))
    padded = F.pad(states, (reach, reach), mode="replicate")
    return padded.unfold(2, 2 * reach + 1, 1) @ weight


def frames_of(time_s: float, rate_hz: int) -> int:
    """The whole number of frames nearest to a time.

    Raises:
        ValueError: It is less than one.

    Example:
        >>> frames_of(0.025, 16000)
        400
    """
    if (frames := round(time_s * rate_hz)) < 1:
        raise ValueError(f"a time must be at least one frame, got {time_s} s at {rate_hz} Hz")
    return frames
