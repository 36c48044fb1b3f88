"""Pieces of texts: numbers to characters."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from mmgraph.errors import DataError

END = 1
"""The number at the end of a text; 0 is what comes after it."""

FIRST = 2
"""The number of the first piece."""


def _visible() -> tuple[str, ...]:
    """The sign of each byte."""
    shown = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    hidden = iter(range(256, 512))
    return tuple(chr(byte if byte in shown else next(hidden)) for byte in range(256))


ALPHABET = _visible()
"""The sign that stands for each byte in a piece."""

_BYTE = {sign: bytes([byte]) for byte, sign in enumerate(ALPHABET)}


def spell(vocabulary: Sequence[str], tokens: Tensor) -> list[str]:
    r"""The texts of rows of numbers: the bytes of their pieces up to the end, read as UTF-8.

    Each byte of a piece is written as one visible sign (Radford et al. 2019, GPT-2): itself where Latin-1 shows it, or
    else one from U+0100 on, so a space is ``Ġ``. Bytes that are no UTF-8 become U+FFFD.

    Args:
        vocabulary: The piece of each number: :attr:`Subwords.pieces`, or what the schema keeps of them.
        tokens: ``[rows, length]``: pieces, 1 at the end, 0 after it.

    Raises:
        DataError: A number is not in the vocabulary, or there is another shape.

    Example:
        >>> import torch
        >>> spell(["", "", "Ġcat", "red", "Ã"], torch.tensor([[3, 2, 1, 0], [3, 4, 3, 3]]))
        ['red cat', 'red\ufffdredred']
    """
    if tokens.dim() != 2 or tokens.is_floating_point():
        raise DataError(f"tokens must be whole numbers [rows, length], got {list(tokens.shape)} of {tokens.dtype}")
    if tokens.numel() and not (int(tokens.min()) >= 0 and int(tokens.max()) < len(vocabulary)):
        raise DataError(
            f"tokens must be from 0 to {len(vocabulary) - 1}, got {int(tokens.min())} to {int(tokens.max())}; give the "
            "vocabulary that they were made with"
        )
    found = []
    for row in tokens.tolist():
        end = next((place for place, number in enumerate(row) if number < FIRST), len(row))
        found.append(b"".join(_bytes(vocabulary[number]) for number in row[:end]).decode(errors="replace"))
    return found


def _bytes(piece: str) -> bytes:
    """The bytes of a piece; a sign that stands for none (in a name of a model's own, as ``<|a b|>``) is itself."""
    return b"".join(_BYTE.get(sign) or sign.encode() for sign in piece)
