"""Learning several targets together: hard and soft parameter sharing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mmgraph.errors import ConfigError
from mmgraph.functional.distributed import sum_over
from mmgraph.functional.sharing import laplacian_penalty, shared_names
from mmgraph.objectives.base import Objective
from mmgraph.objectives.supervised import Supervised
from mmgraph.objectives.weighted import check_weights
from mmgraph.schema import TargetSpec
from mmgraph.typing import Terms

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData


class Several(Objective):
    r"""Learning from the labels of several targets, and tying the weights of their models.

    .. math:: L = \sum_t w_t L_t + \sum_{a \sim b} \lambda_{ab} \lVert \theta_a - \theta_b \rVert^2

    The model answers with ``{target: [rows, outputs]}``. *Hard* sharing (Caruana 1997, Multitask learning, Machine
    Learning 28): one model whose head is :class:`mmgraph.decoders.Heads`; nothing is left to tie. *Soft* sharing
    (Evgeniou, Micchelli & Pontil 2005, Learning multiple tasks with kernel methods, JMLR 6): ``Heads`` of whole
    models, and a tie between those whose targets belong together. With :math:`\lambda = 0` each is trained as if it
    were alone; the larger :math:`\lambda`, the nearer to one shared model.

    A row counts for the targets whose label it has. Without any label at all the total is 0, ties included.

    Args:
        targets: Name → what its labels mean.
        weights: Name → :math:`w_t`, at least 0; by default 1.
        ties: Two targets → :math:`\lambda_{ab}`, at least 0. Tied are the weights that both models have under one name
            and in one shape.

    Raises:
        ConfigError: No target, weights or ties of others or below 0, a target tied to itself; when called, a model
            that does not answer by target, or that has nothing to tie.

    Example:
        >>> from mmgraph.decoders import Heads
        >>> from mmgraph.encoders import Table
        >>> from mmgraph.fusion import Sum
        >>> from mmgraph.model import Model
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = fake_graph()
        >>> target = schema.target("diagnosis")
        >>> heads = Heads({"diagnosis": nn.Linear(4, 2), "again": nn.Linear(4, 2)})
        >>> model = Model(schema=schema, encoder=Table({"scan": 3, "text": 5}, 4), fusion=Sum(), head=heads)
        >>> sorted(Several({"diagnosis": target, "again": target})(model, graph))
        ['again', 'diagnosis', 'total']
    """

    labelled = False  # a row without the one label may have the other
    shared = True

    def __init__(
        self,
        targets: Mapping[str, TargetSpec],
        *,
        weights: Mapping[str, float] | None = None,
        ties: Mapping[tuple[str, str], float] | None = None,
    ) -> None:
        super().__init__()
        self.weights, self.targets, self.ties = check_weights(targets, weights), dict(targets), dict(ties or {})
        odd = {pair: tie for pair, tie in self.ties.items() if len(set(pair) & set(targets)) != 2 or tie < 0}
        if odd:
            raise ConfigError(f"ties must be at least 0, each between two of {list(targets)}, got {odd}")

    def forward(self, model: nn.Module, graph: HeteroData) -> Terms:
        """Gives ``total``, the loss of each target by its name, and ``ties`` if there are any."""
        answers = model(graph)
        if not isinstance(answers, Mapping) or not set(self.targets) <= set(answers):
            got = list(answers) if isinstance(answers, Mapping) else type(answers).__name__
            raise ConfigError(
                f"The model must answer for each of {list(self.targets)}, got {got}; give it Heads, a module a target"
            )
        terms = {
            name: Supervised(target)(lambda _, name=name: answers[name], graph)["total"]
            for name, target in self.targets.items()
        }
        total = torch.stack([weight * terms[name] for name, weight in self.weights.items()]).sum()
        if self.ties:
            apart = self._apart(model) if self._has_labels(graph) else total * 0
            terms["ties"], total = apart, total + apart
        return {"total": total, **terms}

    def _apart(self, model: nn.Module) -> Tensor:
        """The penalty."""
        if not hasattr(model, "__getitem__"):
            raise ConfigError(f"ties need Heads of models, a model a target, got a {type(model).__name__}")
        weights = {}
        for name in {name for pair in self.ties for name in pair}:
            weights[name] = dict(model[name].named_parameters())
        for one, other in self.ties:
            if not shared_names(weights[one], weights[other]):
                raise ConfigError(
                    f"Tied models must have weights of one name and shape, got none in {one!r} and {other!r}"
                )
        return laplacian_penalty(weights, self.ties)

    def _has_labels(self, graph: HeteroData) -> bool:
        labels = [graph[target.node][target.attribute] for target in self.targets.values()]
        known = [(y.isfinite() if y.is_floating_point() else y >= 0).sum() for y in labels]
        return bool(sum_over(torch.stack(known)).any())
