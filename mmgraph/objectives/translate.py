"""Learning to translate: the payload of a hidden node, from the nodes around it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from mmgraph.errors import ConfigError
from mmgraph.functional.distributed import share_mean
from mmgraph.objectives.base import Objective
from mmgraph.schema import Schema
from mmgraph.typing import Terms

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData


class Translate(Objective):
    r"""The mean loss of a value of the target's payloads, given what is left of each sample without them.

    .. math:: L = \frac{\sum_v \ell(x_v \mid G_{\setminus T})}{\sum_v |x_v|}

    over the target's nodes :math:`v` of the training anchors: for texts the negative log likelihood of a piece, given
    those before it; for other payloads what their decoder says (:meth:`mmgraph.decoders.Generative.losses`). Long texts
    weigh more than short ones, as in the likelihood of all texts together. No label is read.

    The model must be a :class:`~mmgraph.Translator`, or give ``losses(graph)`` as it does.

    Args:
        schema: What the graph means.
        target: The node type whose payload is made.

    Raises:
        ConfigError: It is no modality of the anchor; when called, the model has no ``losses``.

    Example:
        >>> from mmgraph.decoders import Dense, Regression
        >>> from mmgraph.encoders import Table
        >>> from mmgraph.testing import fake_graph
        >>> from mmgraph.translator import Translator
        >>> graph, schema = fake_graph()
        >>> encoder, decoder = Table({"scan": 3}, 8), Regression(Dense(8, (5,)))
        >>> translator = Translator(schema=schema, target="text", encoder=encoder, decoder=decoder)
        >>> "total" in Translate(schema, "text")(translator, graph)
        True
    """

    labelled = False
    shared = True

    def __init__(self, schema: Schema, target: str) -> None:
        super().__init__()
        if target not in schema.modalities:
            raise ConfigError(
                f"target must be a modality of the anchor, one of {list(schema.modalities)}, got {target!r}"
            )
        self.target = target

    def forward(self, model: nn.Module, graph: HeteroData) -> Terms:
        """Gives ``total``, the same as ``loss_<target>``, and the decoder's parts, each a mean over the values."""
        if not hasattr(model, "losses"):
            raise ConfigError(f"Translate needs a model with losses(graph), a Translator, got {type(model).__name__}")
        losses, counts = model.losses(graph)
        values = counts.sum()
        terms = {name: share_mean(loss.sum() / values.clamp_min(1), values) for name, loss in losses.items()}
        return {**terms, f"loss_{self.target}": terms["total"]}
