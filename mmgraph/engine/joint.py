"""A trained model as the space that queries and anchors are compared in, whatever their modality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mmgraph.aligner import Aligner
from mmgraph.encoders.frozen import digest_of_state
from mmgraph.engine.fields import Field, view_fields
from mmgraph.engine.query import QueryNode
from mmgraph.errors import ArtifactError, ConfigError, DataError
from mmgraph.schema import view

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

    from mmgraph.assembly import Built


@dataclass(frozen=True)
class Joint:
    """An aligner, and what tells it from others.

    Args:
        model: The aligner.
        digest: Of its weights.
        run: The folder of the run that it is from; empty if it was given.
    """

    model: Aligner
    digest: str
    run: str = ""

    @classmethod
    def of(cls, model: Aligner | str | Path, built: Built) -> Joint:
        """A model, or that of a run, for a graph.

        Raises:
            ConfigError: It is no aligner.
            ArtifactError: It was made for a graph of another schema, or its run is damaged.
        """
        run = str(Path(model).absolute()) if isinstance(model, str | Path) else ""
        found: Any = _model_of(Path(model)) if isinstance(model, str | Path) else model
        if not isinstance(found, Aligner):
            raise ConfigError(f"A model to search with must be an Aligner, got a {type(found).__name__}")
        if found.schema.fingerprint != built.schema.fingerprint:
            raise ArtifactError(
                f"The model must be of the graph's schema {built.schema.fingerprint[:12]!r}, got one of "
                f"{found.schema.fingerprint[:12]!r}; train it on this graph, or build the graph that it was trained on"
            )
        return cls(found, digest_of_state(found.state_dict()), run)

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modality node types that it sees, in order."""
        return tuple(dict.fromkeys(node for nodes in self.model.views.values() for node in nodes))

    @torch.no_grad()
    def vectors(self, graph: HeteroData) -> dict[str, Tensor]:
        """View → the vectors of all anchors, ``[anchors, channels]``, NaN where there is none."""
        self.model.eval()
        return {name: states.cpu() for name, states in self.model(view(graph, self.model.schema)).items()}

    def fields(self, built: Built, vectors: Mapping[str, Tensor] | None = None) -> dict[str, Field]:
        """A field for each view."""
        return view_fields(built, self.vectors(built.graph) if vectors is None else vectors, self.model.views)

    def query_nodes(
        self,
        built: Built,
        features: Mapping[str, Tensor],
        fields: Mapping[str, Field],
        payloads: Mapping[str, Sequence[Any]],
    ) -> list[QueryNode]:
        """The nodes of a query: one for each view that sees a payload of it, each compared with all views.

        Raises:
            DataError: No view sees one.
        """
        found = self.vectors(query_graph(built, features))
        seen = {name: states[0].numpy() for name, states in found.items() if not bool(states[0].isnan().any())}
        if not seen:
            raise DataError(f"A query must have a payload that a view of the model sees, {self.model.views}, got none")
        nodes = []
        for name, vector in seen.items():
            texts = [one for node in self.model.views[name] for one in payloads.get(node, ()) if isinstance(one, str)]
            less = vector - fields[name].centre
            nodes.append(
                QueryNode(name, name, 1 / len(seen), dict.fromkeys(fields, less), " ".join(texts) if texts else None)
            )
        return nodes


def query_graph(built: Built, features: Mapping[str, Tensor]) -> HeteroData:
    """A graph of one anchor with some modality nodes: a missing modality has no rows.

    Args:
        built: The graph whose types it has.
        features: Modality node type → features, ``[rows, channels]``.
    """
    from torch_geometric.data import HeteroData

    graph = HeteroData()
    for node in built.schema.nodes:
        rows = 1 if node == built.anchor else len(features.get(node, ()))
        attribute = built.encoder(node).attribute if node in features else None
        for key, value in built.graph[node].items():
            if key == "num_nodes":
                graph[node].num_nodes = rows
            else:
                graph[node][key] = features[node] if key == attribute else value.new_zeros(rows, *value.shape[1:])
    for edge in built.schema.edges:
        for key, value in built.graph[edge].items():
            graph[edge][key] = value[:, :0] if key == "edge_index" else value[:0]
        if edge[1:] == ("of", built.anchor) and edge[0] in features:
            rows = len(features[edge[0]])
            graph[edge].edge_index = torch.stack([torch.arange(rows), torch.zeros(rows, dtype=torch.long)])
    return graph


def _model_of(folder: Path) -> Any:
    from mmgraph.run import Run

    return Run.open(folder).model
