"""Payloads of a fixed shape, as the mean of what they may be."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import torch
from torch import Generator, Tensor, nn

from mmgraph.decoders.base import Decoder
from mmgraph.decoders.generative import Generative
from mmgraph.errors import ConfigError
from mmgraph.typing import Sources

Pooling: TypeAlias = Literal["mean", "attention"]


class Pool(nn.Module):
    r"""The sources of a row as one code: their mean, or :math:`\sum_j a_j s_j` with :math:`a = \mathrm{softmax}(w s)`.

    The weights are over the nodes that are present; a row without any gives zeros.

    Args:
        channels: Width of the sources' states.
        pooling: ``mean`` or ``attention``.

    Raises:
        ConfigError: There is no such pooling, or a width below 1.

    Example:
        >>> states, present = torch.tensor([[[2.0], [4.0], [0.0]]]), torch.tensor([[True, True, False]])
        >>> Pool(1)(Sources(states, present))
        tensor([[3.]])
    """

    def __init__(self, channels: int, pooling: Pooling = "mean") -> None:
        super().__init__()
        if channels < 1 or pooling not in get_args(Pooling):
            raise ConfigError(
                f"A pool needs channels of at least 1 and one of {list(get_args(Pooling))}, got {channels}, {pooling!r}"
            )
        self.score = nn.Linear(channels, 1, bias=False) if pooling == "attention" else None

    def forward(self, sources: Sources) -> Tensor:
        """Gives ``[rows, channels]``."""
        if self.score is None or sources.states.shape[1] == 0:
            return sources.mean()
        present = sources.present[:, :, None]  # [rows, nodes, 1]
        score = self.score(sources.states)
        known = score.masked_fill(~present, torch.finfo(score.dtype).min)
        share = known.softmax(dim=1).masked_fill(~present, 0)
        return (share * sources.states).sum(dim=1)


class Regression(Generative):
    r"""Any decoder of a code, by squared error: it makes the mean of all payloads that such sources may have.

    .. math:: L_i = \sum_{c \in V_i} (\hat x_{ic} - x_{ic})^2, \quad V_i = \{c : x_{ic} \text{ is finite}\}

    in the decoder's scaled values. What is made has no chance in it: where several payloads are likely it lies between
    them, so a picture is blurred. It is the decoder to take where the error itself is asked for, or to compare with.

    Args:
        decoder: From a code to scaled values: :class:`Dense`, or one of your own.
        channels: Width of the sources' states; by default the decoder's own ``channels``.
        pooling: How the sources become a code: their ``mean``, or ``attention`` by a learned query.
        dtype: Of the payload; values are rounded for whole numbers, and kept within what the type can hold.

    Raises:
        ConfigError: An option out of its range.

    Example:
        >>> from mmgraph.decoders import Dense
        >>> pixels = Dense(4, (1, 2, 2), attribute="pixels", centre=127.5, scale=127.5)
        >>> decoder = Regression(pixels, dtype=torch.uint8)
        >>> made = decoder.generate(Sources(torch.ones(3, 2, 4), torch.ones(3, 2, dtype=torch.bool)))
        >>> made.shape, made.dtype
        (torch.Size([3, 1, 2, 2]), torch.uint8)
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
        width = getattr(decoder, "channels", None) if channels is None else channels
        if not isinstance(width, int):
            raise ConfigError(
                f"Regression must know how wide a code {type(decoder).__name__} reads, got none; give channels"
            )
        self.channels, self.attribute, self.dtype = width, decoder.attribute, dtype
        self.pool, self.decoder = Pool(width, pooling), decoder

    def losses(self, sources: Sources, payload: Tensor) -> dict[str, Tensor]:
        """``total``: the squared error over the values of each row that are finite, scaled; ``[rows]``."""
        said = self.decoder(self.pool(sources))  # [rows, *shape]
        known = payload.isfinite()
        gaps = said - self.decoder.scaled(payload).where(known, said.detach())
        return {"total": gaps.square().flatten(1).sum(dim=1)}

    def counts(self, payload: Tensor) -> Tensor:
        """How many values of each row are finite, ``[rows]``."""
        return payload.isfinite().flatten(1).sum(dim=1)

    @torch.no_grad()
    def generate(self, sources: Sources, *, generator: Generator | None = None) -> Tensor:
        """Gives the mean, ``[rows, *shape]``, in the payload's own unit and type; nothing is drawn."""
        return fitting(self.decoder.decode(self.pool(sources)), self.dtype)


def fitting(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Values as another type: rounded if it is of whole numbers, and kept within its range.

    Example:
        >>> fitting(torch.tensor([-3.0, 1.6, 300.0]), torch.uint8)
        tensor([  0,   2, 255], dtype=torch.uint8)
    """
    if dtype == torch.bool:
        return values > 0.5
    if dtype.is_floating_point:
        return values.clamp(torch.finfo(dtype).min, torch.finfo(dtype).max).to(dtype)
    whole = torch.iinfo(dtype)
    return values.round().clamp(whole.min, whole.max).to(dtype)
