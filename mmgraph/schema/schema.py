"""The schema of a graph: what its types mean, and whether a given graph keeps to it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import field_serializer, field_validator, model_validator

from mmgraph.errors import SchemaError
from mmgraph.schema.checks import check_edges, check_nodes, check_present, check_target
from mmgraph.schema.modality import Modality
from mmgraph.schema.record import Spec
from mmgraph.schema.spec import EdgeSpec, NodeSpec, TargetSpec

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

EdgeType = tuple[str, str, str]
Regime = Literal["transductive", "cohort_hidden", "single_query"]


class Schema(Spec):
    """What the node types, edge types and targets of a graph mean.

    Args:
        nodes: Node type → :class:`NodeSpec`.
        edges: (source, relation, target) → :class:`EdgeSpec`.
        targets: Name → :class:`TargetSpec`.
        anchor: The node type that the modalities speak about; their nodes hang on it by
            ``(modality, "of", anchor)`` edges.
        regime: What a computation may see of the subjects that are not in training: all but their labels
            (``transductive``), nothing until they arrive together (``cohort_hidden``), or nothing but one
            at a time (``single_query``).

    Raises:
        SchemaError: The parts contradict each other, e.g. an edge joins an undeclared type.

    Example:
        >>> schema = Schema(
        ...     nodes={"patient": NodeSpec(channels=0), "scan": NodeSpec(modality="image", channels=64)},
        ...     edges={("scan", "of", "patient"): EdgeSpec()},
        ...     targets={"diagnosis": TargetSpec(node="patient", kind="binary", classes=("no", "yes"))},
        ...     anchor="patient",
        ... )
        >>> schema.modalities
        ('scan',)
        >>> Schema.from_json(schema.to_json()) == schema
        True
    """

    nodes: dict[str, NodeSpec]
    edges: dict[EdgeType, EdgeSpec] = {}
    targets: dict[str, TargetSpec] = {}
    anchor: str | None = None
    regime: Regime = "transductive"

    @field_validator("edges", mode="before")
    @classmethod
    def _edges_from_list(cls, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        edges: dict[EdgeType, Any] = {}
        for item in value:  # JSON has no tuples as keys
            match item:
                case {"type": [str(source), str(relation), str(target)], **spec} if (
                    source,
                    relation,
                    target,
                ) not in edges:
                    edges[source, relation, target] = spec
                case _:
                    raise ValueError(f"each must have its own type, [source, relation, target], got {item!r}")
        return edges

    @field_serializer("edges")
    def _edges_to_list(self, value: dict[EdgeType, EdgeSpec]) -> list[dict[str, Any]]:
        return [{"type": list(edge_type), **spec.model_dump()} for edge_type, spec in value.items()]

    @model_validator(mode="after")
    def _parts_agree(self) -> Schema:
        declared = sorted(self.nodes)
        for edge_type in self.edges:
            for end in (edge_type[0], edge_type[2]):
                if end not in self.nodes:
                    raise ValueError(f"edge {edge_type} joins {end!r}, which must be one of {declared}")
        for name, target in self.targets.items():
            if target.node not in self.nodes:
                raise ValueError(f"target {name!r} is on {target.node!r}, which must be one of {declared}")
            if target.attribute in ("x", *self.nodes[target.node].attributes):
                raise ValueError(f"target {name!r} is {target.attribute!r} of {target.node!r}, which a model may read")
        if self.anchor is None and self.regime != "transductive":
            raise ValueError(f"regime {self.regime!r} hides anchors from each other; it needs an anchor, got None")
        if self.anchor is not None and self.anchor not in self.nodes:
            raise ValueError(f"anchor {self.anchor!r} must be one of {declared}")
        return self

    @property
    def modalities(self) -> tuple[str, ...]:
        """The node types that hang on the anchor by an ``of`` edge, as declared; none that a model made."""
        data = (node for node, spec in self.nodes.items() if spec.generated is None)
        return tuple(node for node in data if (node, "of", self.anchor) in self.edges)

    @property
    def paths(self) -> dict[str, tuple[EdgeType, ...]]:
        """Which edges lead from the nodes of each modality to the anchor.

        Nodes that are ``of`` the anchor need one edge. Nodes that are ``of`` another type reach it by that edge and
        the one edge type that joins their owner to the anchor; where there are several, it is not known which is meant.
        Nodes that a model made (:attr:`NodeSpec.generated`) are left out: they are not data.

        Example:
            >>> edges = [("image", "of", "picture"), ("picture", "asked_by", "question"), ("text", "of", "question")]
            >>> nodes = dict.fromkeys(["question", "picture", "text", "image"], NodeSpec())
            >>> Schema(nodes=nodes, edges=dict.fromkeys(edges, EdgeSpec()), anchor="question").paths
            {'text': (('text', 'of', 'question'),), \
'image': (('image', 'of', 'picture'), ('picture', 'asked_by', 'question'))}
        """
        return self._paths(self.anchor or "", list(self.edges))

    def paths_to(self, owner: str) -> dict[str, tuple[EdgeType, ...]]:
        """Which ``of`` edges, one or two, lead from payloads to the nodes of one type, as :attr:`paths` says it.

        Example:
            >>> edges = [("frame", "of", "video"), ("video", "of", "town"), ("person", "lives_in", "town")]
            >>> nodes = dict.fromkeys(["person", "town", "video", "frame"], NodeSpec())
            >>> schema = Schema(nodes=nodes, edges=dict.fromkeys(edges, EdgeSpec()), anchor="person")
            >>> {node: len(path) for node, path in schema.paths_to("town").items()}, schema.paths_to("person")
            ({'video': 1, 'frame': 2}, {})
        """
        return self._paths(owner, [edge for edge in self.edges if edge[1] == "of"])

    def _paths(self, owner: str, joins: Collection[EdgeType]) -> dict[str, tuple[EdgeType, ...]]:
        """The ways to a node type, the last step of which is one of some edge types."""
        found: dict[str, tuple[EdgeType, ...]] = {}
        last = [edge for edge in joins if edge[2] == owner]
        for node, spec in self.nodes.items():
            if spec.generated is not None:
                continue
            direct = (node, "of", owner)
            if direct in self.edges:
                found[node] = (direct,)
                continue
            owners = [edge for edge in self.edges if edge[:2] == (node, "of")]
            through = [(of, edge) for of in owners for edge in last if edge[0] == of[2]]
            if len(through) == 1 and node != owner:
                found[node] = through[0]
        return found

    def relations(self, node: str) -> tuple[EdgeType, ...]:
        """The edge types that join nodes of one type to each other.

        Example:
            >>> Schema(nodes={"a": NodeSpec()}, edges={("a", "near", "a"): EdgeSpec()}).relations("a")
            (('a', 'near', 'a'),)
        """
        return tuple(edge for edge in self.edges if edge[0] == edge[2] == node)

    def target(self, name: str) -> TargetSpec:
        """Returns a target by its name.

        Raises:
            SchemaError: There is no such target.
        """
        if name not in self.targets:
            raise SchemaError(f"Target must be one of {sorted(self.targets)}, got {name!r}")
        return self.targets[name]

    def check(self, graph: HeteroData) -> None:
        """Checks that a graph is what this schema says; a graph without targets (a view) passes.

        Raises:
            SchemaError: An absent or undeclared type, a wrong width, a value that is not finite where that
                is not declared, an index out of range or given twice, a class number without a class. The
                message names the type, the value and the fix.
        """
        check_present(graph, self.nodes, self.edges)
        check_nodes(graph, self.nodes)
        check_edges(graph, self.edges)
        for name, target in self.targets.items():
            check_target(graph, name, target)

    @classmethod
    def infer(
        cls,
        graph: HeteroData,
        *,
        anchor: str | None = None,
        modalities: Mapping[str, Modality | str] | None = None,
        target: str = "label",
    ) -> Schema:
        """Reads a schema off a graph.

        Args:
            graph: The graph to describe.
            anchor: The anchor; by default the one node type that all ``of`` edges point to.
            modalities: Node type → modality, for those that are known.
            target: The name given to a ``y`` that is found.

        Example:
            >>> import torch
            >>> from torch_geometric.data import HeteroData
            >>> graph = HeteroData()
            >>> graph["paper"].x = torch.ones(3, 5)
            >>> graph["paper"].y = torch.tensor([0, 2, 1])
            >>> graph["paper", "cites", "paper"].edge_index = torch.tensor([[0, 1], [1, 2]])
            >>> Schema.infer(graph).targets["label"].classes
            ('0', '1', '2')
        """
        known = dict(modalities or {})
        anchors = {edge[2] for edge in graph.edge_types if edge[1] == "of"}
        if anchor is None and len(anchors) == 1:
            anchor = next(iter(anchors))
        nodes: dict[str, NodeSpec] = {}
        edges: dict[EdgeType, EdgeSpec] = {}
        targets: dict[str, TargetSpec] = {}
        for node in graph.node_types:
            store = graph[node]
            modality = Modality(known[node]) if node in known else None
            nodes[node] = NodeSpec(modality=modality, channels=_infer_channels(store, f"{node!r}", "x"))
            if (y := store.get("y")) is not None:
                name = target if not targets else f"{node}.{target}"
                targets[name] = _infer_target(node, y)
        for edge_type in graph.edge_types:
            store = graph[edge_type]
            pairs = store.edge_index
            edges[edge_type] = EdgeSpec(
                weighted="edge_weight" in store,
                channels=_infer_channels(store, f"edge {edge_type}", "edge_attr"),
                multiple=pairs.unique(dim=1).shape[1] < pairs.shape[1],
            )
        return cls(nodes=nodes, edges=edges, targets=targets, anchor=anchor)

    def describe(self, graph: HeteroData | None = None) -> str:
        """Returns the schema as a table of text, with the counts of a graph if one is given.

        Example:
            >>> print(Schema(nodes={"scan": NodeSpec(modality="image", channels=64)}).describe())
            node scan: image [64]
        """
        lines = []
        for node, spec in self.nodes.items():
            mark = " (anchor)" if node == self.anchor else ""
            width = "" if spec.channels is None else f" [{spec.channels}]"
            unit = f" {spec.unit}" if spec.unit else ""
            count = "" if graph is None else f", {graph[node].num_nodes} rows"
            made = f", generated by {spec.generated}" if spec.generated else ""
            lines.append(f"node {node}{mark}: {spec.modality or 'no payload'}{width}{unit}{count}{made}")
        for edge, edge_spec in self.edges.items():
            weight = " weighted" if edge_spec.weighted else ""
            count = "" if graph is None else f", {graph[edge].edge_index.shape[1]} edges"
            lines.append(f"edge {edge[0]} -{edge[1]}-> {edge[2]}:{weight or ' plain'}{count}")
        for name, target in self.targets.items():
            kinds = f" of {len(target.classes)} classes" if target.classes else ""
            lines.append(f"target {name}: {target.kind}{kinds} on {target.node}")
        return "\n".join(lines)

    def to_json(self) -> str:
        """Returns the schema as JSON, from which :meth:`from_json` makes an equal one."""
        return self.model_dump_json(indent=2)

    @classmethod
    def from_json(cls, text: str) -> Schema:
        """Reads a schema from JSON.

        Raises:
            SchemaError: The text is not JSON, or not a schema.
        """
        try:
            fields = json.loads(text)
        except json.JSONDecodeError as error:
            raise SchemaError(f"Schema must be JSON, but {error}") from None
        if not isinstance(fields, dict):
            raise SchemaError(f"Schema must be a JSON object, got {type(fields).__name__}")
        return cls(**fields)

    @property
    def fingerprint(self) -> str:
        """The sha256 of the schema's JSON, by which artifacts know what they were made for."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


def _infer_channels(store: Any, where: str, key: str) -> int | None:
    x = store.get(key)
    if x is not None and x.dim() != 2:
        raise SchemaError(f"Type {where} must have {key} [rows, channels], got {list(x.shape)}; reshape it")
    return None if x is None else x.shape[1]


def _infer_target(node: str, y: Any) -> TargetSpec:
    if y.dtype.is_floating_point:
        return TargetSpec(node=node, kind="regression")
    count = max(int(y.max()) + 1 if y.numel() else 0, 2)
    classes = tuple(str(number) for number in range(count))
    return TargetSpec(node=node, kind="binary" if count == 2 else "multiclass", classes=classes)
