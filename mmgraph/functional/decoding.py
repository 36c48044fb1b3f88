"""How a text is drawn, piece by piece, from what a model says of the next one.

All three ask ``step(state, tokens [rows]) -> (logits [rows, vocabulary], state)`` for the next piece of all rows at
once. Number 0 is the begin (the first piece read) and padding, and is never chosen; number 1 ends a text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Generator, Tensor

State = TypeVar("State")
Step = Callable[[State, Tensor], tuple[Tensor, State]]

BEGIN, END = 0, 1


def greedy(step: Step[State], state: State, *, rows: int, length: int, device: torch.device | None = None) -> Tensor:
    """The likeliest next piece, again and again; of equals, the one with the least number.

    Args:
        step: Reads a piece a row, and says the logits of the next.
        state: What is known before the first piece.
        rows: How many texts.
        length: Pieces of a text at most, its end among them; where all have ended it stops earlier.
        device: Where the pieces are.

    Returns:
        ``[rows, length]`` of int64: the pieces, the end (1) if it came, and zeros.

    Raises:
        ValueError: The logits are not numbers.

    Example:
        >>> def step(seen, tokens):  # 2, then 3, then the end
        ...     return torch.eye(4)[[[2, 3, 1][seen]] * len(tokens)], seen + 1
        >>> greedy(step, 0, rows=2, length=4)
        tensor([[2, 3, 1, 0],
                [2, 3, 1, 0]])
    """
    return _chain(step, state, None, rows, length, device)


def nucleus(
    step: Step[State],
    state: State,
    *,
    rows: int,
    length: int,
    top_p: float,
    temperature: float = 1.0,
    generator: Generator | None = None,
    device: torch.device | None = None,
) -> Tensor:
    r"""Draws each piece from the nucleus: the least set of likeliest pieces that have probability ``top_p`` together.

    Source: Holtzman et al. 2020, The curious case of neural text degeneration, section 3.1; arXiv:1904.09751. The
    probabilities are the softmax of the logits over ``temperature``, without number 0; those of the nucleus are scaled
    up to 1. A ``top_p`` of 1 draws from all pieces, one near 0 takes the likeliest, as :func:`greedy` does.

    Args:
        step: Reads a piece a row, and says the logits of the next.
        state: What is known before the first piece.
        rows: How many texts.
        length: Pieces of a text at most, its end among them.
        top_p: Above 0, at most 1.
        temperature: Above 0.
        generator: Where chance comes from; by default torch's own.
        device: Where the pieces are.

    Returns:
        ``[rows, length]`` of int64: the pieces, the end (1) if it came, and zeros.

    Raises:
        ValueError: The logits are not numbers.

    Example:
        >>> def step(state, tokens):
        ...     return torch.tensor([[9.0, 0.0, 1.0, 1.0]]).repeat(len(tokens), 1), state
        >>> drawn = nucleus(step, None, rows=100, length=1, top_p=0.7, generator=torch.Generator().manual_seed(0))
        >>> sorted(set(drawn.flatten().tolist()))
        [2, 3]
    """

    def draw(pieces: Tensor) -> Tensor:
        shares = (pieces / temperature).softmax(dim=1)
        shares, order = shares.sort(dim=1, descending=True, stable=True)
        mass = shares.cumsum(dim=1)
        within = mass - shares < top_p  # what is before a piece does not suffice
        within[:, 0] = True
        within &= shares > 0
        last = within.sum(dim=1, keepdim=True) - 1
        source = pieces.device if generator is None else generator.device
        drawn = torch.rand(len(pieces), 1, generator=generator, device=source, dtype=mass.dtype).to(pieces.device)
        place = torch.searchsorted(mass, drawn * mass.gather(1, last), right=True)
        return order.gather(1, torch.minimum(place, last)).squeeze(1) + 1

    return _chain(step, state, draw, rows, length, device)


def beam(
    step: Step[State],
    state: State,
    reorder: Callable[[State, Tensor], State],
    *,
    rows: int,
    length: int,
    width: int,
    length_penalty: float = 1.0,
    device: torch.device | None = None,
) -> Tensor:
    r"""Keeps the ``width`` likeliest beginnings of each row, and gives the text with the greatest score.

    The score is :math:`\log p(w_1 \ldots w_n) / n^\alpha`, the end among the n pieces; :math:`\alpha` is
    ``length_penalty``. Of all continuations by one piece the ``width`` likeliest are kept. One that ends is set aside
    with its score and leaves one place less (Sutskever et al. 2014, Sequence to sequence learning with neural
    networks, section 3.2; arXiv:1409.3215). A text that is cut off at ``length`` has a score, too. A row is done when
    no place is left, or when no text that is still open can have a greater score than the best that has ended, which
    changes no result. A width of 1 is :func:`greedy`; one as large as the number of all texts is exhaustive search.
    Of continuations with equal likelihood the one of the likelier beginning comes first, then the one with the lesser
    number; of texts with equal scores, the one that ended first.

    Args:
        step: Reads a piece a row, and says the logits of the next. It is asked for ``rows`` rows at first, and for
            ``rows * width`` then, those of a row side by side.
        state: What is known before the first piece.
        reorder: Gives the state of some rows, each as often as it is named.
        rows: How many texts.
        length: Pieces of a text at most, its end among them.
        width: Beginnings that are kept of each row.
        length_penalty: 0 compares texts by their likelihood, which prefers short ones.
        device: Where the pieces are.

    Returns:
        ``[rows, length]`` of int64: the pieces, the end (1) if it came, and zeros.

    Raises:
        ValueError: The logits are not numbers.

    Example:
        >>> def step(state, tokens):  # "2" is likelier than "3", yet "3 1" than "2" and whatever follows
        ...     after = {0: [0, 0.0, 0.6, 0.4], 2: [0, 0.3, 0.4, 0.3], 3: [0, 1.0, 0.0, 0.0]}
        ...     return torch.tensor([after.get(int(token), [0, 1, 0, 0]) for token in tokens]).log(), state
        >>> beam(step, None, lambda state, rows: state, rows=1, length=2, width=2)
        tensor([[3, 1]])
        >>> greedy(step, None, rows=1, length=2)
        tensor([[2, 2]])
    """
    out = torch.zeros(rows, length, dtype=torch.int64, device=device)
    if rows == 0 or length == 0:
        return out
    logits, state = step(state, out.new_zeros(rows))
    device, dtype = logits.device, torch.promote_types(logits.dtype, torch.float32)
    texts = torch.zeros(rows, width, length, dtype=torch.int64, device=device)
    likely = torch.full((rows, width), -torch.inf, dtype=dtype, device=device)  # of each beginning; -inf: no such
    likely[:, 0] = 0
    places = torch.full((rows, 1), width, device=device)
    best, found = likely.new_full((rows,), -torch.inf), texts.new_zeros(rows, length)
    each = torch.arange(rows, device=device)[:, None]
    here = torch.arange(rows, device=device)  # rows that the state has
    for size in range(1, length + 1):
        known, number, parent = _continuations(logits, likely if size > 1 else likely[:, :1], width)
        parents = (each * (width if size > 1 else 1) + parent).flatten()
        texts = texts.flatten(0, 1)[each.flatten().repeat_interleave(width) * width + parent.flatten()]
        texts = texts.reshape(rows, width, length)
        texts[:, :, size - 1] = number
        known = known.where(torch.arange(width, device=device) < places, -torch.inf)
        ended = (number == END) & known.isfinite()
        done = ended if size < length else known.isfinite()
        scores = (known / size**length_penalty).where(done, -torch.inf)
        score, which = scores.max(dim=1)
        better = score > best
        best = torch.where(better, score, best)
        found = torch.where(better[:, None], texts[each.squeeze(1), which], found)
        places = places - ended.sum(dim=1, keepdim=True)
        # an open text can only get less likely; its divisor lies between those of the next size and of the last
        longest = known / (length if length_penalty > 0 else size + 1) ** length_penalty
        likely = known.where(~ended & (longest > best[:, None]), -torch.inf)
        if size == length or not bool(likely.isfinite().any()):
            break
        if len(parents) != len(here) or not torch.equal(parents, here):
            state = reorder(state, parents)
            here = torch.arange(rows * width, device=device)
        logits, state = step(state, number.flatten())
    return found


def _continuations(logits: Tensor, likely: Tensor, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """The likeliest continuations of the beginnings of a row by one piece, in order: each ``[rows, width]``.

    Returns:
        Their log likelihood, the piece's number, and which beginning they continue.
    """
    rows, before = likely.shape
    pieces = logits[:, 1:].to(likely.dtype)
    some = min(width, pieces.shape[1])
    values, numbers = _largest(pieces, some)  # [rows * before, some]
    open_rows = likely.flatten().isfinite()
    _check(values[:, 0], ~open_rows)
    values = values - pieces.logsumexp(dim=1, keepdim=True)
    total = (likely[:, :, None] + values.reshape(rows, before, some)).where(likely.isfinite()[:, :, None], -torch.inf)
    total = total.flatten(1)  # [rows, before * some]
    if total.shape[1] < width:
        total = torch.nn.functional.pad(total, (0, width - total.shape[1]), value=-torch.inf)
        numbers = torch.nn.functional.pad(numbers.reshape(rows, -1), (0, total.shape[1] - before * some))
    known, order = total.sort(dim=1, descending=True, stable=True)
    known, order = known[:, :width], order[:, :width]
    parent = torch.div(order, some, rounding_mode="floor").clamp(max=before - 1)
    return known, numbers.reshape(rows, -1).gather(1, order) + 1, parent


def _largest(values: Tensor, some: int) -> tuple[Tensor, Tensor]:
    """The largest of each row, in order; of equals, those that come first: both ``[rows, some]``."""
    top, which = values.topk(min(some + 1, values.shape[1]), dim=1)
    if top.shape[1] > some and bool(((top[:, some] == top[:, some - 1]) & top[:, some].isfinite()).any()):
        top, which = values.sort(dim=1, descending=True, stable=True)
    top, which = top[:, :some], which[:, :some]
    which, order = which.sort(dim=1)
    top, order = top.gather(1, order).sort(dim=1, descending=True, stable=True)
    return top, which.gather(1, order)


def _chain(
    step: Step[State],
    state: State,
    draw: Callable[[Tensor], Tensor] | None,
    rows: int,
    length: int,
    device: torch.device | None,
) -> Tensor:
    """One piece after the other: the likeliest, or what ``draw`` makes of the logits from 1 on, less the greatest."""
    out = torch.zeros(rows, length, dtype=torch.int64, device=device)
    tokens, ended = out.new_zeros(rows), torch.zeros(rows, dtype=torch.bool, device=device)
    for place in range(length if rows else 0):
        logits, state = step(state, tokens)
        pieces = logits[:, 1:].to(torch.promote_types(logits.dtype, torch.float32))
        best, first = pieces.max(dim=1)
        _check(best, ended)
        tokens = (first + 1 if draw is None else draw(pieces - best[:, None])).where(~ended, BEGIN)
        out[:, place] = tokens
        ended = ended | (tokens == END)
        if bool(ended.all()):
            break
    return out


def _check(best: Tensor, ended: Tensor) -> None:
    """Checks the greatest logit of each row that has not ended: it is NaN if any is."""
    wrong = ~(best.isfinite() | ended)
    if bool(wrong.any()):
        raise ValueError(
            "The logits of the next piece must be numbers, of which one is finite and none is infinitely large, got "
            f"{float(best[wrong][0])} as the greatest of row {int(wrong.nonzero()[0])}; look for NaN in the sources "
            "and weights"
        )
