"""A scorer with a core tensor: TuckER."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmgraph.functional.scoring import core_matrices, equal_rows, grouped_product
from mmgraph.scorers.base import InnerProduct, check_dropouts, norm_rows, paired_rows


class TuckER(InnerProduct):
    r"""A core tensor makes a matrix of each relation: :math:`\mathcal{W} \times_1 r \times_2 h \times_3 t`.

    What relations share is in the core, so they may be far narrower than entities. :class:`DistMult` and
    :class:`ComplEx` are cores that stay as they are; with one relation channel a relation and a full matrix would be
    RESCAL.

    Batch normalisation and dropout stand where the source has them: on the source, on the matrix (dropout alone) and on
    the question. The matrix of a relation is made once for all its questions, which is ten times as fast as one a
    question: equal rows of ``relations`` count as one relation, share its dropout, and share its gradient evenly.

    Source: Balažević, Allen and Hospedales 2019, TuckER: tensor factorization for knowledge graph completion, eq. 2;
    arXiv:1901.09590.

    Args:
        channels: Width of the vectors of entities.
        relation_channels: Width of the vectors of relations.
        dropouts: Of the source, the matrix and the question. The source has (.3, .4, .5) for FB15k-237, which has much
            for each relation, and (.2, .2, .3) for WN18RR.
        norm: Whether to normalise over the batch.

    Raises:
        ConfigError: A dropout is outside [0, 1).

    Example:
        >>> scorer = TuckER(4, 2, dropouts=(0.2, 0.2, 0.3))
        >>> scorer.against(torch.randn(3, 4), torch.randn(3, 2), torch.randn(5, 4)).shape, scorer.core.shape
        (torch.Size([3, 5]), torch.Size([2, 4, 4]))
    """

    def __init__(
        self,
        channels: int,
        relation_channels: int,
        *,
        dropouts: tuple[float, float, float] = (0.0, 0.0, 0.0),
        norm: bool = True,
    ) -> None:
        super().__init__(channels, relation_channels)
        self.dropouts = nn.ModuleList(nn.Dropout(share) for share in check_dropouts("TuckER", dropouts))
        self.norms = nn.ModuleList(nn.BatchNorm1d(channels) for _ in range(2)) if norm else None
        self.core = nn.Parameter(torch.empty(relation_channels, channels, channels))
        nn.init.uniform_(self.core, -1, 1)

    def question(self, sources: Tensor, relations: Tensor) -> Tensor:
        """Gives ``[..., channels]``."""
        leading, sources, relations = paired_rows(sources, relations)
        different, which = equal_rows(relations)
        matrices = self.dropouts[1](core_matrices(different, self.core))  # [different, channels, channels]
        x = self.dropouts[0](self._normed(sources, 0))
        x = grouped_product(x, matrices, which)  # [rows, channels]
        return self.dropouts[2](self._normed(x, 1)).view(*leading, self.channels)

    def _normed(self, x: Tensor, place: int) -> Tensor:
        return x if self.norms is None else norm_rows(x, self.norms[place])

    @torch.no_grad()
    def initialise(self, entities: Tensor, relations: Tensor) -> None:
        """Draws by Glorot's rule (normal)."""
        nn.init.xavier_normal_(entities)
        nn.init.xavier_normal_(relations)
