r"""Diffusion: a picture becomes noise in small steps that are known, and is made from noise by undoing them.

Time runs from 0 (nearly the picture) to ``steps - 1`` (nearly noise). All that a step needs is how much of the picture
is kept at its time, :math:`\bar\alpha_t`: the variance is then :math:`1 - \bar\alpha_t`.

| function | says |
|---|---|
| :func:`cosine_schedule`, :func:`linear_schedule` | what is kept at each time |
| :func:`diffuse` | a picture at a time |
| :func:`denoised` | the picture, if the noise in it is known |
| :func:`ddim_step`, :func:`ddpm_step` | a picture at an earlier time |
| :func:`guided` | the noise, drawn further towards the condition |
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

MOST = 0.999  # of what one step may take away, where a schedule would take everything


def cosine_schedule(steps: int, *, offset: float = 0.008) -> Tensor:
    r"""What is kept at each time, along half a cosine.

    .. math:: \bar\alpha_t = \prod_{s \le t} \left(1 - \min(1 - \tfrac{f(s + 1)}{f(s)}, 0.999)\right),
        \quad f(s) = \cos^2\left(\tfrac{s / T + o}{1 + o} \cdot \tfrac{\pi}{2}\right)

    (Nichol & Dhariwal 2021, Improved denoising diffusion probabilistic models, arXiv:2102.09672.) Small pictures keep
    more of their shape in the middle than by :func:`linear_schedule`.

    Args:
        steps: :math:`T`.
        offset: :math:`o`, so that the first steps are not too small.

    Returns:
        ``[steps]``, falling from nearly 1 to nearly 0.

    Example:
        >>> cosine_schedule(4)
        tensor([8.4701e-01, 4.9384e-01, 1.4427e-01, 1.4427e-04])
    """
    place = (torch.arange(steps + 1, dtype=torch.float64) / steps + offset) / (1 + offset)
    share = (place * math.pi / 2).cos().square()
    taken = (1 - share[1:] / share[:-1]).clamp_max(MOST)
    return (1 - taken).cumprod(0).float()


def linear_schedule(steps: int, *, first: float = 1e-4, last: float = 0.02) -> Tensor:
    r"""What is kept at each time, if what a step takes away grows evenly: :math:`\bar\alpha_t = \prod_s (1 - \beta_s)`.

    (Ho, Jain & Abbeel 2020, Denoising diffusion probabilistic models, arXiv:2006.11239, with 1,000 steps.) With other
    numbers of steps :math:`\beta` is scaled by 1,000 over it, so that the end is noise all the same.

    Args:
        steps: How many.
        first: :math:`\beta` of the first of 1,000 steps.
        last: Of the last.

    Returns:
        ``[steps]``, falling.

    Example:
        >>> linear_schedule(1000)[[0, 499, 999]]
        tensor([9.9990e-01, 7.8587e-02, 4.0358e-05])
    """
    taken = torch.linspace(first, last, steps, dtype=torch.float64) * 1000 / steps
    return (1 - taken.clamp_max(MOST)).cumprod(0).float()


def diffuse(x: Tensor, noise: Tensor, kept: Tensor) -> Tensor:
    r"""Pictures at a time: :math:`x_t = \sqrt{\bar\alpha_t}\, x_0 + \sqrt{1 - \bar\alpha_t}\, \epsilon`.

    With Gaussian noise that is a draw from :math:`q(x_t \mid x_0) = N(\sqrt{\bar\alpha_t}\, x_0, 1 - \bar\alpha_t)`,
    all steps up to :math:`t` at once (Ho et al. 2020, equation 4).

    Args:
        x: :math:`x_0`, ``[rows, *shape]``.
        noise: :math:`\epsilon`, ``[rows, *shape]``.
        kept: :math:`\bar\alpha` at the time of each row, ``[rows]``, or one for all.

    Example:
        >>> diffuse(torch.tensor([[1.0], [1.0]]), torch.tensor([[5.0], [5.0]]), torch.tensor([1.0, 0.0]))
        tensor([[1.],
                [5.]])
    """
    kept = _beside(kept, x)
    return kept.sqrt() * x + (1 - kept).sqrt() * noise


def denoised(x: Tensor, noise: Tensor, kept: Tensor) -> Tensor:
    r"""The picture that a noise leaves: :math:`x_0 = (x_t - \sqrt{1 - \bar\alpha_t}\, \epsilon) / \sqrt{\bar\alpha_t}`.

    Undoes :func:`diffuse`. Arguments as there; where nothing is kept there is nothing to find.

    Example:
        >>> x, noise, kept = torch.tensor([[0.5]]), torch.tensor([[2.0]]), torch.tensor([0.25])
        >>> denoised(diffuse(x, noise, kept), noise, kept)
        tensor([[0.5000]])
    """
    kept = _beside(kept, x)
    return (x - (1 - kept).sqrt() * noise) / kept.sqrt()


def ddim_step(
    x: Tensor, clean: Tensor, kept: Tensor, before: Tensor, *, eta: float = 0.0, drawn: Tensor | None = None
) -> Tensor:
    r"""Pictures at an earlier time, however much earlier, given what they are thought to become.

    .. math:: x_s = \sqrt{\bar\alpha_s}\, \hat x_0 + \sqrt{1 - \bar\alpha_s - \sigma^2}\, \hat\epsilon + \sigma z,
        \quad \sigma = \eta \sqrt{\tfrac{1 - \bar\alpha_s}{1 - \bar\alpha_t}}
        \sqrt{1 - \tfrac{\bar\alpha_t}{\bar\alpha_s}}

    where :math:`\hat\epsilon` is the noise that :math:`x_t` then holds (Song, Meng & Ermon 2021, Denoising diffusion
    implicit models, arXiv:2010.02502, equations 12 and 16). With :math:`\eta = 0` nothing is drawn, and few large steps
    do; with 1 it is :func:`ddpm_step`.

    Args:
        x: :math:`x_t`, ``[rows, *shape]``.
        clean: :math:`\hat x_0`, as :func:`denoised` gives it, perhaps brought to its range.
        kept: :math:`\bar\alpha_t`, ``[rows]`` or one for all.
        before: :math:`\bar\alpha_s`; 1 for the picture itself.
        eta: :math:`\eta`, how much is drawn.
        drawn: :math:`z`, Gaussian noise ``[rows, *shape]``; ``None`` for none.

    Example:
        >>> x, noise = torch.tensor([[0.5]]), torch.tensor([[2.0]])
        >>> kept, before = torch.tensor(0.25), torch.tensor(0.64)
        >>> ddim_step(diffuse(x, noise, kept), x, kept, before), diffuse(x, noise, before)
        (tensor([[1.6000]]), tensor([[1.6000]]))
    """
    kept, before = _beside(kept, x), _beside(before, x)
    noise = (x - kept.sqrt() * clean) / (1 - kept).sqrt()
    spread = eta * ((1 - before) / (1 - kept) * (1 - kept / before)).clamp_min(0).sqrt()
    told = before.sqrt() * clean + (1 - before - spread.square()).clamp_min(0).sqrt() * noise
    return told if drawn is None else told + spread * drawn


def ddpm_step(x: Tensor, clean: Tensor, kept: Tensor, before: Tensor, *, drawn: Tensor | None = None) -> Tensor:
    r"""Pictures at an earlier time, drawn from the posterior of the steps between.

    .. math:: q(x_s \mid x_t, x_0) = N\left(
        \frac{\sqrt{\bar\alpha_s}\, \beta}{1 - \bar\alpha_t} x_0
        + \frac{\sqrt{\alpha}\, (1 - \bar\alpha_s)}{1 - \bar\alpha_t} x_t,
        \ \frac{1 - \bar\alpha_s}{1 - \bar\alpha_t} \beta\right),
        \quad \alpha = \frac{\bar\alpha_t}{\bar\alpha_s},\ \beta = 1 - \alpha

    (Ho et al. 2020, arXiv:2006.11239, equations 6 and 7.) Arguments as in :func:`ddim_step`.

    Example:
        >>> x, clean = torch.tensor([[2.0]]), torch.tensor([[1.0]])
        >>> ddpm_step(x, clean, torch.tensor(0.5), torch.tensor(1.0))
        tensor([[1.]])
    """
    kept, before = _beside(kept, x), _beside(before, x)
    alpha = kept / before
    taken = 1 - alpha
    middle = (before.sqrt() * taken * clean + alpha.sqrt() * (1 - before) * x) / (1 - kept)
    return middle if drawn is None else middle + ((1 - before) / (1 - kept) * taken).sqrt() * drawn


def guided(unconditional: Tensor, conditional: Tensor, strength: float) -> Tensor:
    r"""The noise, drawn towards the condition: :math:`\epsilon_\emptyset + s (\epsilon_c - \epsilon_\emptyset)`.

    (Ho & Salimans 2022, Classifier-free diffusion guidance, arXiv:2207.12598, with :math:`s = 1 + w`.) Strength 0 is
    the unconditional one to the bit, 1 the conditional one; above 1 what is made fits the condition better, and differs
    less.

    Args:
        unconditional: :math:`\epsilon_\emptyset`, ``[rows, *shape]``.
        conditional: :math:`\epsilon_c`, likewise.
        strength: :math:`s`.

    Example:
        >>> guided(torch.tensor([1.0]), torch.tensor([2.0]), 3.0)
        tensor([4.])
    """
    return torch.lerp(unconditional, conditional, strength)


def _beside(value: Tensor, x: Tensor) -> Tensor:
    """A number a row beside pictures ``[rows, *shape]``."""
    return value.to(x).reshape(-1, *[1] * (x.dim() - 1)) if value.dim() else value.to(x)
