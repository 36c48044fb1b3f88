"""Views of one anchor that vary together: deep canonical correlation."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import torch
from torch import nn

from mmgraph.errors import ConfigError
from mmgraph.functional.correlation import correlation_loss
from mmgraph.functional.distributed import gather_rows
from mmgraph.objectives.base import Objective
from mmgraph.objectives.pairs import anchor_of, check_views, projected, space_of
from mmgraph.schema import Schema
from mmgraph.typing import Seen, Terms

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData


class Correlate(Objective):
    r"""Deep canonical correlation: what networks say of an anchor's views is as correlated as can be.

    .. math:: L = -\frac{1}{|P|} \sum_{(a, b) \in P} \sum_{k} \rho_k(z_a, z_b)

    with the canonical correlations :math:`\rho` of :func:`mmgraph.functional.correlation_loss`, over the anchors of
    training that have both views. The model must give its views by ``model.project(graph)``, as
    :class:`~mmgraph.aligner.Aligner` does, which must end on a space that is not wider than a fraction of the anchors
    that one step sees: with as many channels as rows all correlations are 1 and nothing is learnt. Train on the whole
    graph, or in batches of several hundred.

    What comes out is correlated up to a linear map, as with any CCA: fit :func:`mmgraph.functional.cca` to the vectors
    of training, and search in its space. Prefer it to a contrastive objective where pairs are few and all that the
    views share is sought, not what tells single anchors apart.

    Source: Andrew, Arora, Bilmes & Livescu 2013, Deep canonical correlation analysis, ICML.

    Args:
        schema: What the graph means; it must have an anchor.
        pairs: Two views each; by default every two views of the model.
        channels: How many of the greatest correlations of a pair count; by default all.
        ridge: Added to the variances, a share of each view's mean variance; above 0.
        space: In which space; by default the last.

    Raises:
        ConfigError: No anchor, pairs of one view, options out of range; when called, a model without such views.

    Example:
        >>> from mmgraph.aligner import Aligner
        >>> from mmgraph.encoders import Raw
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = fake_graph()
        >>> spaces = {"joint": {"scan": torch.nn.Linear(3, 2), "text": torch.nn.Linear(5, 2)}}
        >>> model = Aligner(schema=schema, encoder=Raw(["scan", "text"]), spaces=spaces)
        >>> sorted(Correlate(schema)(model, graph))
        ['correlation_scan_text', 'total']
    """

    labelled = False
    shared = True

    def __init__(
        self,
        schema: Schema,
        pairs: Sequence[tuple[str, str]] | None = None,
        *,
        channels: int | None = None,
        ridge: float = 1e-3,
        space: str | None = None,
    ) -> None:
        super().__init__()
        self.anchor = anchor_of(schema, "Correlate")
        if pairs is not None and (not pairs or any(len(set(pair)) != 2 for pair in pairs)):
            raise ConfigError(f"pairs must be at least 1, each of two different views, got {list(pairs)}")
        if not ridge > 0 or (channels is not None and channels < 1):
            raise ConfigError(f"ridge must be above 0 and channels at least 1, got {ridge} and {channels}")
        self.pairs = None if pairs is None else [(one, other) for one, other in pairs]
        self.channels, self.ridge, self.space = channels, ridge, space

    def forward(self, model: nn.Module, graph: HeteroData) -> Terms:
        """Gives ``total`` and, of each pair of views, the sum of its correlations, ``correlation_<a>_<b>``."""
        views = counted(model, graph, self.anchor, self.space)
        pairs = list(combinations(views, 2)) if self.pairs is None else self.pairs
        check_views(views, [name for pair in pairs for name in pair])
        terms: Terms = {}
        for one, other in pairs:
            rows = views[one].present & views[other].present
            x, y = (views[name].states[rows] for name in (one, other))
            terms[f"correlation_{one}_{other}"] = -correlation_loss(x, y, ridge=self.ridge, channels=self.channels)
        return {"total": -torch.stack(list(terms.values())).mean(), **terms}


def counted(model: nn.Module, graph: HeteroData, anchor: str, space: str | None) -> dict[str, Seen]:
    """The views of the anchors of all processes in a space, not scaled; present are those for training, where told.

    Raises:
        ConfigError: The model gives no views, or none in that space.
    """
    mask = graph[anchor].get("train_mask")
    chosen = space_of(projected(model, graph), space)
    return {
        name: Seen(gather_rows(x), gather_rows(there if mask is None else there & mask))
        for name, (x, there) in chosen.items()
    }
