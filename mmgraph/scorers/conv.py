"""A scorer with a convolution: ConvE."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmgraph.errors import ConfigError
from mmgraph.scorers.base import InnerProduct, check_dropouts, norm_rows, paired_rows


class ConvE(InnerProduct):
    r"""A convolution over the source and the relation, laid out as a picture, one above the other.

    .. math:: \phi = \mathrm{ReLU}(\mathrm{vec}(\mathrm{ReLU}([\bar h; \bar r] * \omega)) W), \qquad
        \text{score} = \phi \cdot t + b_t

    An entity has a bias :math:`b_t`. A scorer owns no entities, so it is the last channel of the entity's vector: the
    channels before it are what is convolved and compared.

    Source: Dettmers, Minervini, Stenetorp and Riedel 2018, Convolutional 2D knowledge graph embeddings, eq. 1 (bias,
    batch normalisation and dropout as in the authors' code); arXiv:1707.01476.

    Args:
        channels: Width of the vectors of entities: that of a relation's, and 1 for the bias. The source has 201.
        height: Of the picture of one vector, ``height`` × (``channels`` - 1) / ``height``. The source has 10.
        filters: Number of convolution filters.
        kernel: Their height and width.
        dropouts: Of the picture, of whole feature maps, and of the question.

    Raises:
        ConfigError: The channels fill no picture of that height, the picture is smaller than a filter, or a dropout is
            outside [0, 1).

    Example:
        >>> scorer = ConvE(13, height=3, filters=2)
        >>> scorer.against(torch.randn(3, 13), torch.randn(3, 12), torch.randn(5, 13)).shape
        torch.Size([3, 5])
    """

    def __init__(
        self,
        channels: int,
        *,
        height: int,
        filters: int = 32,
        kernel: int = 3,
        dropouts: tuple[float, float, float] = (0.2, 0.2, 0.3),
    ) -> None:
        super().__init__(channels, channels - 1)
        if min(height, filters, kernel) < 1:
            raise ConfigError(
                f"ConvE needs height, filters and kernel of at least 1, got {height}, {filters} and {kernel}"
            )
        width, rest = divmod(channels - 1, height)
        if rest:
            raise ConfigError(
                f"channels of ConvE must be a multiple of height {height}, and 1 for the bias, got {channels}; "
                f"use e.g. {max(width, 1) * height + 1}"
            )
        rows, columns = 2 * height - kernel + 1, width - kernel + 1
        if min(rows, columns) < 1:
            raise ConfigError(
                f"ConvE's picture must hold its filters, {kernel} × {kernel}; it is {2 * height} × {width}; "
                "choose another height or a smaller kernel"
            )
        self.height = height
        first, maps, last = check_dropouts("ConvE", dropouts)
        self.dropouts = nn.ModuleList([nn.Dropout(first), nn.Dropout2d(maps), nn.Dropout(last)])
        self.norms = nn.ModuleList([nn.BatchNorm2d(1), nn.BatchNorm2d(filters), nn.BatchNorm1d(channels - 1)])
        self.convolution = nn.Conv2d(1, filters, kernel)
        self.linear = nn.Linear(filters * rows * columns, channels - 1)

    def question(self, sources: Tensor, relations: Tensor) -> Tensor:
        """Gives ``[..., channels]``, the last 1, so that an inner product adds the bias."""
        leading, sources, relations = paired_rows(sources, relations)
        both = torch.stack([sources[:, :-1], relations], dim=1)  # [rows, 2, height × width]
        picture = both.view(-1, 1, 2 * self.height, self.relation_channels // self.height)  # [rows, 1, 2 height, width]
        x = self.dropouts[0](norm_rows(picture, self.norms[0]))
        x = F.relu(norm_rows(self.convolution(x), self.norms[1]))  # [rows, filters, rows of the map, its columns]
        x = self.dropouts[2](self.linear(self.dropouts[1](x).flatten(1)))
        x = F.relu(norm_rows(x, self.norms[2]))  # [rows, channels - 1]
        return torch.cat([x, torch.ones_like(x[:, :1])], dim=1).view(*leading, self.channels)

    @torch.no_grad()
    def initialise(self, entities: Tensor, relations: Tensor) -> None:
        """Draws by Glorot's rule (normal), biases 0."""
        nn.init.xavier_normal_(entities)
        nn.init.xavier_normal_(relations)
        entities[:, -1] = 0
