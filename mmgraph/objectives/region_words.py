"""Learning which picture goes with which text by which of its regions goes with which word."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

import torch
from torch import Tensor, nn

from mmgraph.errors import ConfigError
from mmgraph.functional.assignment import transported
from mmgraph.functional.contrastive import masked_nce
from mmgraph.functional.distributed import gather_edges, gather_rows
from mmgraph.functional.packing import follow, pack
from mmgraph.functional.packing import places as places_of
from mmgraph.objectives.base import Objective
from mmgraph.objectives.pairs import Scale, anchor_of, places
from mmgraph.schema import Schema
from mmgraph.typing import NodeType, Terms

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData


class Places(Protocol):
    """What is asked of a model, as :class:`mmgraph.aligner.Aligner` has it."""

    def states(self, graph: HeteroData, node: NodeType) -> Tensor: ...  # noqa: D102 (a protocol's signature says it)


class _Nodes(NamedTuple):
    """The nodes of one type, of all processes."""

    states: Tensor  # [ways, channels]
    anchor: Tensor  # [ways]: whose they are


class RegionWords(Objective):
    r"""A picture must find its text, and a text its picture, by the similarity that is carried from regions to words.

    .. math:: L = \tfrac12 (L_{\to} + L_{\leftarrow}) + \lambda \operatorname{mean}_i (1 - s_{ii}), \quad
        L_{\to} = -\operatorname{mean}_i \log \frac{e^{s_{ii} / \tau}}{\sum_j e^{s_{ij} / \tau}}, \quad
        s_{ij} = \max_T \sum_{r \in i, w \in j} T_{rw} \cos(x_r, y_w)

    where the plan :math:`T` lets all regions of anchor i and all words of anchor j take part equally
    (:func:`~mmgraph.functional.transported`). The second term is the word-region alignment of UNITER (Chen et al. 2020,
    arXiv:1909.11740, section 3), the first makes of the same transport a score of picture and text, as attention from
    regions to words does in SCAN (Lee et al. 2018, arXiv:1803.08024). With one node of each type at every anchor it is
    :class:`~mmgraph.objectives.Contrast`.

    Prefer it to ``Contrast`` where it matters which node goes with which (afterwards :func:`mmgraph.align.align` shows
    it), and where a mean of many nodes says too little; it costs all regions times all words of a batch. Needs a batch
    with several anchors. The model must give its nodes by ``model.states(graph, node)``, each made without seeing the
    other type, as :class:`~mmgraph.aligner.Aligner` does. Only anchors that have nodes of both types count, and where
    the graph says which anchors are for training, they alone. In several processes the anchors of all are compared.

    Args:
        schema: What the graph means; it must have an anchor.
        regions: Node type of one side, any that leads to the anchor.
        words: Node type of the other.
        temperature: :math:`\tau` at the start.
        learned: Whether it is trained.
        cost: :math:`\lambda`, at least 0.
        epsilon: How soft plans are, in the unit of a cosine, at least .01: then each region goes with few words.
        rounds: Of Sinkhorn's algorithm; sharper plans need more.

    Raises:
        ConfigError: No anchor, a type that doesn't lead to it or is given twice, an option out of its range; when
            called, a model that does not give its nodes.

    Example:
        >>> from mmgraph.aligner import Aligner
        >>> from mmgraph.encoders import Raw
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = fake_graph()
        >>> spaces = {"joint": {"scan": nn.Linear(3, 4), "text": nn.Linear(5, 4)}}
        >>> aligner = Aligner(schema=schema, encoder=Raw(["scan", "text"]), spaces=spaces)
        >>> sorted(RegionWords(schema, "scan", "text")(aligner, graph))
        ['contrast', 'cost', 'total']
    """

    labelled = False
    shared = True

    def __init__(
        self,
        schema: Schema,
        regions: NodeType,
        words: NodeType,
        *,
        temperature: float = 0.1,
        learned: bool = True,
        cost: float = 0.0,
        epsilon: float = 0.1,
        rounds: int = 20,
    ) -> None:
        super().__init__()
        self.anchor, self.paths = anchor_of(schema, "RegionWords"), schema.paths
        if regions == words or not {regions, words} <= self.paths.keys():
            raise ConfigError(
                f"regions and words must be two of the types that lead to {self.anchor!r}, {sorted(self.paths)}, "
                f"got {regions!r} and {words!r}"
            )
        if not cost >= 0 or not epsilon >= 0.01 or rounds < 1:
            raise ConfigError(
                f"cost must be at least 0, epsilon at least .01 and rounds at least 1, got {cost}, {epsilon}, {rounds}"
            )
        self.regions, self.words = regions, words
        self.cost, self.epsilon, self.rounds = cost, epsilon, rounds
        self.scale = Scale(temperature, learned=learned)

    def forward(self, model: nn.Module, graph: HeteroData) -> Terms:
        """Gives ``total``, the ``contrast``, and the ``cost`` of the plans between what belongs together."""
        regions, words = self._nodes(model, graph, self.regions), self._nodes(model, graph, self.words)
        there = self._counted(graph, regions) & self._counted(graph, words)
        scores = self._transported(regions, words, there, there)  # [anchors that are there, the same]
        itself = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
        ways = [masked_nce(one * self.scale(), itself) for one in (scores, scores.T)]
        terms = {
            "contrast": torch.stack(ways).mean(),
            "cost": (1 - scores.diagonal()).sum() / max(len(scores), 1),
        }
        return {"total": terms["contrast"] + self.cost * terms["cost"], **terms}

    @torch.no_grad()
    def scores(self, model: nn.Module, graph: HeteroData) -> Tensor:
        """Gives what each anchor's regions and each anchor's words have in common, for training or not.

        Returns:
            ``[anchors, anchors]``; NaN in the rows of anchors without regions and the columns of those without words.
        """
        regions, words = self._nodes(model, graph, self.regions), self._nodes(model, graph, self.words)
        rows, columns = (self._counted(graph, nodes, asked=True) for nodes in (regions, words))
        found = regions.states.new_full((len(rows), len(columns)), torch.nan)
        found[rows.nonzero(), columns.nonzero().T] = self._transported(regions, words, rows, columns)
        return found

    def _nodes(self, model: nn.Module, graph: HeteroData, node: NodeType) -> _Nodes:
        if not hasattr(model, "states"):
            raise ConfigError(
                f"The model must give its nodes by states(graph, node), as Aligner does, got {type(model).__name__}"
            )
        row, anchor = follow([graph[edge].edge_index for edge in self.paths[node]])
        states = cast("Places", model).states(graph, node)[row]  # [ways, channels]
        return _Nodes(gather_rows(states), gather_edges(anchor.expand(2, -1), graph[self.anchor].num_nodes)[0])

    def _counted(self, graph: HeteroData, nodes: _Nodes, *, asked: bool = False) -> Tensor:
        """Which of the anchors of all processes have such a node, and count."""
        counts = graph[self.anchor].get("train_mask")
        if counts is None or asked:
            counts = torch.ones(graph[self.anchor].num_nodes, dtype=torch.bool, device=nodes.anchor.device)
        counts = gather_rows(counts)
        return counts & (torch.bincount(nodes.anchor, minlength=len(counts)) > 0)

    def _transported(self, regions: _Nodes, words: _Nodes, rows: Tensor, columns: Tensor) -> Tensor:
        """The scores of some anchors' regions and some anchors' words."""
        packed = []
        for nodes, there in ((regions, rows), (words, columns)):
            kept, place = there[nodes.anchor], places(there)[nodes.anchor]
            packed.append(pack(nodes.states[kept], places_of(place[kept], int(there.sum()))))
        (x, x_there), (y, y_there) = packed
        return transported(x, y, x_there, y_there, epsilon=self.epsilon, rounds=self.rounds)
