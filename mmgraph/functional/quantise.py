"""Vectors as the nearest of a few: a codebook, how it is learned, and how codes that nobody takes come back."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Generator, Tensor

_BLOCK = 1 << 22  # distances held at once
_EXACT = "donot_use_mm_for_euclid_dist"  # whose distances do not hang on the rows beside


class Quantised(NamedTuple):
    """Vectors with the codes in their places."""

    values: Tensor  # [rows, channels], the codes' own vectors, with the gradient of what they stand for
    codes: Tensor  # [rows] of int64
    terms: dict[str, Tensor]  # "total", "codebook" and "commitment", [rows] each


def nearest_code(x: Tensor, codebook: Tensor) -> Tensor:
    r"""Which code lies nearest to each row, :math:`\arg\min_k \|x_i - e_k\|^2`; of equals the first.

    Args:
        x: ``[rows, channels]``.
        codebook: ``[codes, channels]``.

    Returns:
        ``[rows]`` of int64.

    Raises:
        ValueError: There is no code, or it is of another width.

    Example:
        >>> nearest_code(torch.tensor([[0.4], [9.0], [1.0]]), torch.tensor([[0.0], [2.0], [8.0]]))
        tensor([0, 2, 0])
    """
    if codebook.dim() != 2 or not len(codebook) or x.dim() != 2 or x.shape[1] != codebook.shape[1]:
        raise ValueError(
            f"codebook must be [codes, channels] of x [rows, channels] with 1 code at least, got "
            f"{list(codebook.shape)} and {list(x.shape)}"
        )
    blocks = x.detach().split(max(1, _BLOCK // len(codebook)))
    book = codebook.detach()
    return torch.cat([torch.cdist(some, book, compute_mode=_EXACT).argmin(dim=1) for some in blocks])


def quantise(x: Tensor, codebook: Tensor, beta: float = 0.25) -> Quantised:
    r"""Puts the nearest code in the place of each vector, and says what pulls the two together.

    .. math:: k_i = \arg\min_k \|x_i - e_k\|^2, \qquad
        L_i = \|\mathrm{sg}[x_i] - e_{k_i}\|^2 + \beta \, \|x_i - \mathrm{sg}[e_{k_i}]\|^2

    where sg stops the gradient: the first term, ``codebook``, moves the codes alone, and the second, ``commitment``,
    the vectors alone. A gradient of ``values`` passes to ``x`` unchanged, as if nothing lay in between
    (*straight-through*).

    Source: van den Oord, Vinyals & Kavukcuoglu 2017, Neural discrete representation learning, arXiv:1711.00937, eq. 3;
    the squares are summed over the channels. With :func:`moving_codebook` the commitment alone is used.

    Args:
        x: ``[rows, channels]``.
        codebook: ``[codes, channels]``.
        beta: Weight of the commitment.

    Raises:
        ValueError: There is no code, or it is of another width.

    Example:
        >>> x = torch.tensor([[1.0], [7.0]], requires_grad=True)
        >>> found = quantise(x, torch.tensor([[0.0], [8.0]]))
        >>> found.values.flatten().tolist(), found.codes.tolist(), found.terms["total"].tolist()
        ([0.0, 8.0], [0, 1], [1.25, 1.25])
        >>> torch.autograd.grad((found.values * torch.tensor([[3.0], [5.0]])).sum(), x)
        (tensor([[3.],
                [5.]]),)
    """
    codes = nearest_code(x.detach(), codebook.detach())
    found = codebook[codes]  # [rows, channels]
    pulled = (x.detach() - found).square().sum(dim=1)
    held = (x - found.detach()).square().sum(dim=1)
    values = found.detach() + (x - x.detach())  # exactly the code, for x - x is 0
    return Quantised(values, codes, {"total": pulled + beta * held, "codebook": pulled, "commitment": held})


def moving_codebook(
    counts: Tensor, sums: Tensor, x: Tensor, codes: Tensor, *, decay: float = 0.99
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Moves each code to a moving mean of the vectors that took it.

    .. math:: N_k \leftarrow \gamma N_k + (1 - \gamma)\, n_k, \qquad
        m_k \leftarrow \gamma m_k + (1 - \gamma) \sum_{i : k_i = k} x_i, \qquad e_k = m_k / N_k

    Source: van den Oord et al. 2017, arXiv:1711.00937, appendix A.1: k-means of a stream, in place of the gradient of
    the term ``codebook``. A code that nobody takes keeps its place.

    Args:
        counts: :math:`N`, ``[codes]``, above 0.
        sums: :math:`m`, ``[codes, channels]``.
        x: ``[rows, channels]``.
        codes: :math:`k`, ``[rows]``.
        decay: :math:`\gamma`.

    Returns:
        The codebook ``[codes, channels]``, and the counts and sums it is made of.

    Example:
        >>> counts, sums = torch.ones(2), torch.tensor([[0.0], [8.0]])
        >>> book, counts, _ = moving_codebook(counts, sums, torch.tensor([[4.0]]), torch.tensor([0]), decay=0.5)
        >>> book.flatten().tolist(), counts.tolist()
        ([2.0, 8.0], [1.0, 0.5])
    """
    x = x.detach()
    counts = decay * counts + (1 - decay) * torch.bincount(codes, minlength=len(counts))
    sums = decay * sums + (1 - decay) * torch.zeros_like(sums).index_add_(0, codes, x)
    return sums / counts[:, None], counts, sums


def revive_codes(
    counts: Tensor, sums: Tensor, x: Tensor, *, least: float, generator: Generator | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Puts each code that hardly anybody takes on one of the vectors, drawn at random.

    Source: Dhariwal et al. 2020, Jukebox, arXiv:2005.00341, section 3: random restarts; Łańcucki et al. 2020, Robust
    training of vector quantized bottleneck models, arXiv:2005.08520.

    Args:
        counts: How often each code is taken, ``[codes]``; see :func:`moving_codebook`.
        sums: Its sum of vectors, ``[codes, channels]``.
        x: Vectors to put codes on, ``[rows, channels]``; without any row no code comes back.
        least: A code whose count is below this is dead. It comes back with this count.
        generator: Draws the rows; ``None`` for torch's own.

    Returns:
        Counts and sums anew, and which codes came back, ``[codes]`` of bool.

    Example:
        >>> counts, sums = torch.tensor([5.0, 0.01]), torch.tensor([[5.0], [9.0]])
        >>> counts, sums, back = revive_codes(counts, sums, torch.tensor([[3.0]]), least=1.0)
        >>> (sums / counts[:, None]).flatten().tolist(), back.tolist()
        ([1.0, 3.0], [False, True])
    """
    dead = counts < least
    if not len(x):
        return counts, sums, dead & False
    drawn = torch.randint(len(x), (len(counts),), generator=generator, device=generator.device if generator else None)
    counts = torch.where(dead, least, counts)
    sums = torch.where(dead[:, None], x.detach()[drawn.to(x.device)] * least, sums)
    return counts, sums, dead


def code_perplexity(counts: Tensor) -> Tensor:
    r"""How many codes are in use, :math:`\exp(-\sum_k p_k \log p_k)` with :math:`p_k = n_k / \sum n`.

    It is the number of codes where all are taken equally often, 1 where one alone is, and 0 without any count.

    Args:
        counts: How often each code is taken, ``[codes]``.

    Example:
        >>> code_perplexity(torch.tensor([3, 3, 0])), code_perplexity(torch.zeros(3))
        (tensor(2.), tensor(0.))
    """
    share = counts / counts.sum().clamp_min(torch.finfo(torch.float32).tiny)
    return torch.special.entr(share).sum().exp() * (counts.sum() > 0)
