"""Other pairs of the same classes: where samples were paired by their class, which two meet says no more than that."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mmgraph.errors import ConfigError, DataError
from mmgraph.schema import Schema

if TYPE_CHECKING:
    from typing import TypeVar

    from torch_geometric.data import HeteroData

    Graph = TypeVar("Graph", bound=HeteroData)


@dataclass(frozen=True)
class NewPairs:
    """Deals the nodes of one modality out anew among the anchors of the same class.

    For samples that were put together by their class, as a picture and a recording of the same digit: each step of
    training sees other pairs, so none can be learned by heart. **It reads labels**: those in the view that it is given,
    which are of the training part alone. Where the modalities of a sample truly belong together it throws that away.

    A node moves with all that is *of* it, and with the ``near_<modality>`` edges that were made from it. Anchors of
    unknown class keep theirs. As the transform of a fit or a loader it deals within a batch.

    Args:
        schema: What the types of the graphs mean; it must have an anchor with modalities.
        modality: Whose nodes are dealt out.
        by: Name of the target, of the anchor and with classes.

    Raises:
        ConfigError: No such modality or target.
        DataError: The labels are not in the graph (when called).

    Example:
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = fake_graph()
        >>> dealt = NewPairs(schema, "scan", by="diagnosis")(graph, torch.Generator().manual_seed(0))
        >>> scan, owner = dealt["scan", "of", "subject"].edge_index
        >>> _, before = graph["scan", "of", "subject"].edge_index
        >>> torch.equal(owner, before), torch.equal(graph["subject"].y[owner], graph["subject"].y[before])
        (False, True)
    """

    schema: Schema
    modality: str
    by: str

    def __post_init__(self) -> None:
        if self.modality not in self.schema.modalities:
            raise ConfigError(
                f"modality must be one of the anchor's, {list(self.schema.modalities)}, got {self.modality!r}"
            )
        anchor, targets = self.schema.anchor, self.schema.targets
        known = [name for name, target in targets.items() if target.node == anchor and target.classes]
        if self.by not in known:
            raise ConfigError(f"by must be a target of {anchor!r} with classes, one of {known}, got {self.by!r}")

    def __call__(self, graph: Graph, generator: torch.Generator) -> Graph:
        """Returns the graph, or batch, with other pairs; the one given is left as it is."""
        anchor, attribute = self.schema.targets[self.by].node, self.schema.targets[self.by].attribute
        y = graph[anchor].get(attribute)
        if y is None:
            raise DataError(
                f"NewPairs needs the labels {attribute!r} of {self.by!r} on {anchor!r}, got "
                f"{sorted(graph[anchor].keys())}; take a task that shows them in training"
            )
        place = _dealt(y, generator)
        dealt = copy.copy(graph)
        of, near = (self.modality, "of", anchor), (anchor, f"near_{self.modality}", anchor)
        row, owner = graph[of].edge_index
        dealt[of].edge_index = torch.stack([row, place[owner]])
        if near in graph.edge_types:
            dealt[near].edge_index = place[graph[near].edge_index]
        return dealt


def _dealt(y: Tensor, generator: torch.Generator) -> Tensor:
    """Whom each anchor gives its nodes to, ``[anchors]``: drawn from its class, one to one."""
    drawn = torch.randperm(len(y), generator=generator).to(y.device)
    before, after = ((y >= 0).nonzero()[:, 0], drawn[y[drawn] >= 0])
    place = torch.arange(len(y), device=y.device)
    place[before[y[before].argsort(stable=True)]] = after[y[after].argsort(stable=True)]
    return place
