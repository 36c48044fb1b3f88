"""Rows of a table: numbers with their spread, categories with their shares, and what is unknown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from mmgraph.decoders.dense import Dense
from mmgraph.decoders.generative import Generative
from mmgraph.decoders.regression import Pool, Pooling
from mmgraph.errors import ConfigError
from mmgraph.typing import Sources

LEAST, MOST = -6.0, 6.0  # logarithms of a deviation: what never changes has a likelihood without bound


@dataclass(frozen=True)
class Group:
    """The channels of one column.

    Args:
        name: Of the column.
        kind: ``number``: each channel a number, NaN where unknown; ``flagged``: numbers and, in the last channel,
            whether they are unknown; ``category``: one of the channels is 1, the others 0.
        channels: The first, and the one after the last.
    """

    name: str
    kind: Literal["number", "flagged", "category"]
    channels: tuple[int, int]


def column_groups(names: Sequence[str]) -> tuple[Group, ...]:
    """Which channels are of one column, by the names that :class:`~mmgraph.encoders.Columns` gives them.

    A channel that is of no such column is a number of its own.

    Example:
        >>> for group in column_groups(["age", "age unknown", "red", "wing=left", "wing other", "wing unknown"]):
        ...     print(group)
        Group(name='age', kind='flagged', channels=(0, 2))
        Group(name='red', kind='number', channels=(2, 3))
        Group(name='wing', kind='category', channels=(3, 6))
    """
    groups: list[Group] = []
    start = 0
    while start < len(names):
        name, end = names[start], start + 1
        column, kind = name, "number"
        for place in range(start + 1, len(names)):
            base = names[place].removesuffix(" unknown")
            if base == names[place]:
                continue
            if names[start] == base:
                column, end, kind = base, place + 1, "flagged"
            elif names[place - 1] == f"{base} other" and all(
                one.startswith(f"{base}=") for one in names[start : place - 1]
            ):
                column, end, kind = base, place + 1, "category"
            else:
                continue
            break
        groups.append(Group(column, kind, (start, end)))  # type: ignore[arg-type]
        start = end
    return tuple(groups)


class Tabular(Generative):
    r"""Each column by a distribution of its own, given the sources: an exact likelihood.

    .. math::
        -\log p(x) = \sum_{c} \frac{(x_c - \mu_c)^2}{2 \sigma_c^2} + \log \sigma_c \sqrt{2 \pi}
        \; - \sum_{k} \log \mathrm{softmax}(s_k)_{x_k} \; - \sum_{f} \log p(u_f)

    over the numbers c that are known, the categories k, and the flags f that say whether a column is unknown. So it
    says not only a number but how far off it may be (Nix & Weigend 1994, Estimating the mean and variance of the target
    probability distribution, ICNN, doi:10.1109/ICNN.1994.374138). Given the sources, columns are drawn each for itself.

    Args:
        channels: Width of the sources' states.
        columns: The columns' channels, see :func:`column_groups`; or how many channels there are, each a number.
        hidden: Widths of the hidden layers.
        pooling: How the sources become a code, see :class:`Regression`.
        draw: Whether what is generated is drawn; if not, it is the mean of numbers and the likeliest of categories.
        attribute: The tensor that is made.

    Raises:
        ConfigError: No column, or groups that do not follow one another.

    Example:
        >>> decoder = Tabular(4, column_groups(["age", "age unknown", "wing=left", "wing other", "wing unknown"]))
        >>> made = decoder.generate(Sources(torch.ones(3, 1, 4), torch.ones(3, 1, dtype=torch.bool)))
        >>> made.shape, made[:, 2:].sum(dim=1).tolist()
        (torch.Size([3, 5]), [1.0, 1.0, 1.0])
    """

    def __init__(
        self,
        channels: int,
        columns: Sequence[Group] | int,
        *,
        hidden: Sequence[int] = (),
        pooling: Pooling = "mean",
        draw: bool = True,
        attribute: str = "x",
    ) -> None:
        super().__init__()
        if isinstance(columns, int):
            columns = [Group(str(number), "number", (number, number + 1)) for number in range(columns)]
        self.groups = tuple(columns)
        ends = [0, *(group.channels[1] for group in self.groups)]
        if not self.groups or any(
            group.channels[0] != end or group.channels[1] < end + 1 + (group.kind != "number")
            for group, end in zip(self.groups, ends, strict=False)
        ):
            raise ConfigError(
                "Tabular needs at least 1 column, and columns whose channels follow one another, "
                f"got {[(group.name, group.channels) for group in self.groups]}"
            )
        self.channels, self.attribute, self.draw, self.width = channels, attribute, draw, ends[-1]
        self.pool = Pool(channels, pooling)
        self.network = Dense(channels, (2, ends[-1]), hidden=hidden)  # scores or means, and logarithms of deviations

    def forward(self, sources: Sources) -> tuple[Tensor, Tensor]:
        """Means of numbers and scores of the others, and logarithms of deviations; ``[rows, channels]`` each."""
        mean, log_deviation = self.network(self.pool(sources)).unbind(dim=1)
        return mean, log_deviation.clamp(LEAST, MOST)

    def losses(self, sources: Sources, payload: Tensor) -> dict[str, Tensor]:
        """``total`` and ``nll``, the negative log likelihood of each row, in nats."""
        mean, log_deviation = self(sources)
        payload = payload.to(mean.dtype)
        known = self._known(payload)
        gaps = (payload.where(known, mean.detach()) - mean) * (-log_deviation).exp()
        numbers = gaps.square() / 2 + log_deviation + math.log(2 * math.pi) / 2
        total = numbers.where(known, torch.zeros_like(numbers)).sum(dim=1)
        for group in self.groups:
            said, given = mean[:, slice(*group.channels)], payload[:, slice(*group.channels)]
            if group.kind == "category":
                total = total + F.cross_entropy(said, given.argmax(dim=1), reduction="none")
            elif group.kind == "flagged":
                total = total + F.binary_cross_entropy_with_logits(said[:, -1], given[:, -1], reduction="none")
        return {"total": total, "nll": total}

    def counts(self, payload: Tensor) -> Tensor:
        """How many numbers that are known, categories and flags each row has, ``[rows]``."""
        return self._known(payload).sum(dim=1) + sum(group.kind != "number" for group in self.groups)

    @torch.no_grad()
    def generate(self, sources: Sources, *, generator: Generator | None = None) -> Tensor:
        """Draws a row each, or gives its mean, ``[rows, channels]``."""
        mean, log_deviation = self(sources)
        made = mean.clone()
        if self.draw:
            made += log_deviation.exp() * _normal(mean, generator)
        for group in self.groups:
            part = slice(*group.channels)
            if group.kind == "category":
                made[:, part] = self._category(mean[:, part], generator)
            elif group.kind == "flagged":
                chance = mean[:, part.stop - 1].sigmoid()
                unknown = (_uniform(chance, generator) if self.draw else 0.5) < chance
                made[:, part] *= ~unknown[:, None]
                made[:, part.stop - 1] = unknown.to(made.dtype)
        return made

    @torch.no_grad()
    def interval(self, sources: Sources, share: float) -> tuple[Tensor, Tensor]:
        """Between which values each number lies with a probability, ``[rows, channels]`` each; NaN for the others.

        Args:
            sources: What each row may see.
            share: The probability, between 0 and 1.

        Raises:
            ConfigError: It is not between them.
        """
        if not 0 < share < 1:
            raise ConfigError(f"share must be between 0 and 1, got {share}")
        mean, log_deviation = self(sources)
        reach = log_deviation.exp() * math.sqrt(2) * torch.erfinv(torch.tensor(share, dtype=mean.dtype))
        numbers = self._numbers(mean.device)
        low, high = (one.masked_fill(~numbers, torch.nan) for one in (mean - reach, mean + reach))
        return low, high

    def _category(self, scores: Tensor, generator: Generator | None) -> Tensor:
        """One of the channels is 1, ``[rows, channels]``; drawn by the largest of scores with Gumbel noise."""
        if self.draw:
            scores = scores - _uniform(scores, generator).clamp_min(torch.finfo(scores.dtype).tiny).log().neg().log()
        return F.one_hot(scores.argmax(dim=1), scores.shape[1]).to(scores.dtype)

    def _numbers(self, device: torch.device) -> Tensor:
        """Mask ``[channels]`` of those that are numbers."""
        numbers = torch.zeros(self.width, dtype=torch.bool, device=device)
        for group in self.groups:
            if group.kind != "category":
                numbers[group.channels[0] : group.channels[1] - (group.kind == "flagged")] = True
        return numbers

    def _known(self, payload: Tensor) -> Tensor:
        """Mask ``[rows, channels]`` of the numbers that are there."""
        known = payload.isfinite() & self._numbers(payload.device)
        for group in self.groups:
            if group.kind == "flagged":
                known[:, slice(*group.channels)] &= payload[:, group.channels[1] - 1 : group.channels[1]] == 0
        return known


def _normal(like: Tensor, generator: Generator | None) -> Tensor:
    return torch.randn(like.shape, generator=generator, device=like.device, dtype=like.dtype)


def _uniform(like: Tensor, generator: Generator | None) -> Tensor:
    return torch.rand(like.shape, generator=generator, device=like.device, dtype=like.dtype)
