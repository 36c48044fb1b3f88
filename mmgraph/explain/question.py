"""What is to be explained: one output of a model at one anchor, and the part of the graph that it rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

import torch
from torch import Tensor, nn

from mmgraph.errors import ConfigError, DataError
from mmgraph.explain.scene import Scene, evaluating, relabelled
from mmgraph.linker import Linker
from mmgraph.schema import Schema
from mmgraph.translator import Translator
from mmgraph.typing import EdgeSet, EdgeType, NodeType

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

Score: TypeAlias = Literal["log_odds", "logit"]
Baseline: TypeAlias = Literal["absent", "mean", "zeros"]

ROWS = 1 << 15
"""About how many nodes are worked on at a time."""

SAME = 1e-4
"""How far, of 1 or of the score if that is larger, the score of a part of a graph may be from that of the whole."""


def ask(
    model: nn.Module,
    graph: HeteroData,
    anchors: int | Sequence[int],
    *,
    output: int | str | None = None,
    score: Score = "log_odds",
    schema: Schema | None = None,
) -> list[Question]:
    r"""Asks why a model says what it says at some anchors.

    What is attributed to is the nodes as the encoder gives them, ``model.encoder(graph)``, so that pictures and tokens
    are explained as numbers are; for a module without an encoder it is the ``x`` of the nodes. The graph around an
    anchor is cut down to what the score rests on: to the nodes of each type that are as many edges away as it takes for
    the score to be that of the whole graph.

    Args:
        model: ``model(graph) -> [anchors, outputs]``; it is asked in evaluation mode, and left as it is.
        graph: What may be seen: a view, with the nodes in full.
        anchors: Rows of the anchors to explain.
        output: Column, or name of the class; by default the largest output at each anchor.
        score: ``log_odds``, :math:`f_c - \log \sum_{c' \neq c} e^{f_{c'}}`, or the ``logit`` :math:`f_c` (which also
            is what is read of a model with one output).
        schema: What the graph means; by default ``model.schema``.

    Returns:
        A question an anchor.

    Raises:
        ConfigError: No schema with an anchor, an unknown output or score, or a model that can't be asked.
        DataError: A row that is none of the anchors.

    Example:
        >>> from mmgraph import classifier
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = fake_graph()
        >>> (question,) = ask(classifier(schema), graph, 3, output="ill")
        >>> question.output, sorted(question.features)
        (1, ['scan', 'text'])
    """
    schema = schema or getattr(model, "schema", None)
    if not isinstance(schema, Schema) or schema.anchor is None:
        raise ConfigError("To explain a model takes a schema with an anchor, got none; pass schema=")
    if isinstance(model, Linker):
        raise ConfigError("To explain a model takes one that answers at anchors, got a Linker, which scores facts")
    if isinstance(model, Translator):
        raise ConfigError("To explain a model takes one that answers at anchors, got a Translator: it makes payloads")
    if score not in ("log_odds", "logit"):
        raise ConfigError(f"score must be 'log_odds' or 'logit', got {score!r}")
    rows = [anchors] if isinstance(anchors, int) else [int(row) for row in anchors]
    count = int(graph[schema.anchor].num_nodes or 0)
    if wrong := [row for row in rows if not 0 <= row < count]:
        raise DataError(f"Anchors to explain must be rows 0 to {count - 1} of {schema.anchor!r}, got {wrong[0]}")
    with evaluating(model):
        scene = Scene(model, graph, schema, rows)
        columns = [_column(output, schema, row) for row in scene.outputs]
        return [Question(scene, row, column, score) for row, column in zip(rows, columns, strict=True)]


class Question:
    """One output of a model at one anchor, and the part of the graph that it rests on: made by :func:`ask`.

    Attributes:
        anchor: Row of the anchor in the graph that was given.
        output: Column of the output.
        score: What the model says.
        place: Row of the anchor in the part.
        n_id: Node type → rows of the graph that was given, ``[rows]``.
        features: Node type → what the encoder gives, ``[rows, channels]``, for the types that it encodes.
        edges: Edge type → edges among the nodes of the part.
    """

    def __init__(
        self, scene: Scene, anchor: int, output: int, kind: Score, *, rows: Mapping[NodeType, Tensor] | None = None
    ) -> None:
        self.scene, self.anchor, self.output, self.kind = scene, anchor, output, kind
        if rows is None:
            self._find()
        else:
            self._cut({node: torch.isin(known, rows[node]) for node, known in scene.n_id.items()})

    def again(self, scene: Scene) -> Question:
        """The same question, about the same nodes, of another scene."""
        return Question(scene, self.anchor, self.output, self.kind, rows=self.n_id)

    def _find(self) -> None:
        """Cuts as close to the anchor as the score allows: first all types, then one after the other."""
        scene = self.scene
        place = scene.asked.index(self.anchor)
        whole = float(read(scene.outputs[place], self.output, self.kind))
        around = scene.around(self.anchor)
        for masks in around:
            self._cut(masks)
            if _same(self.score, whole):
                break
        for node in masks:
            for closer in around:
                self._cut({**masks, node: closer[node]})
                if _same(self.score, whole):
                    masks = {**masks, node: closer[node]}
                    break
        self._cut(masks)

    def _cut(self, masks: Mapping[NodeType, Tensor]) -> None:
        scene = self.scene
        self.n_id = {node: scene.n_id[node][mask] for node, mask in masks.items()}
        self.features = {node: x[masks[node]] for node, x in scene.features.items()}
        self.edges = {name: relabelled(edge_set, masks, name) for name, edge_set in scene.edges.items()}
        self.place = int((self.n_id[scene.anchor] == self.anchor).nonzero())
        self.score = float(self.values({}, {}, copies=1))

    @property
    def counts(self) -> dict[NodeType, int]:
        """How many nodes of each type there are."""
        return {node: len(rows) for node, rows in self.n_id.items()}

    @property
    def own(self) -> dict[str, Tensor]:
        """Part → mask ``[rows]`` of the anchor's own nodes of that type; the anchor itself, if it has a payload."""
        anchor, found = self.scene.anchor, {}
        for node in self.scene.schema.modalities:
            if node in self.features and self.features[node].shape[1]:
                index = self.edges[node, "of", anchor].index
                mask = torch.zeros(self.counts[node], dtype=torch.bool)
                mask[index[0][index[1] == self.place]] = True
                if mask.any():
                    found[node] = mask
        if anchor in self.features and self.features[anchor].shape[1]:
            found[anchor] = torch.arange(self.counts[anchor]) == self.place
        return found

    @property
    def relations(self) -> dict[str, EdgeType]:
        """Name → edge type that messages take besides ``of``, for those with edges here."""
        some = [name for name, edge_set in self.edges.items() if name[1] != "of" and edge_set.index.shape[1]]
        shared = [name[1] for name in some]
        taken = set(self.scene.schema.nodes)
        return {" ".join(name) if shared.count(name[1]) > 1 or name[1] in taken else name[1]: name for name in some}

    @property
    def index(self) -> dict[EdgeType, Tensor]:
        """Edge type → ``[2, edges]``, in rows of the graph that was given."""
        return {
            name: torch.stack([self.n_id[name[0]][edge_set.index[0]], self.n_id[name[2]][edge_set.index[1]]])
            for name, edge_set in self.edges.items()
        }

    def reference(self, baseline: Baseline) -> dict[NodeType, Tensor]:
        """What stands for a node of which nothing is known, ``[channels]`` a type: the mean over training, or zeros."""
        if baseline == "zeros":
            return {node: torch.zeros_like(x[:1]).sum(dim=0) for node, x in self.features.items()}
        return {node: self.scene.means[node] for node in self.features}

    @torch.no_grad()
    def values(
        self,
        nodes: Mapping[NodeType, Tensor],
        edges: Mapping[EdgeType, Tensor],
        *,
        copies: int,
        baseline: Baseline = "absent",
    ) -> Tensor:
        """Scores of copies of the graph that lack some nodes and edges, all at once.

        Args:
            nodes: Node type → mask ``[copies, rows]`` of the nodes that stay; types not named stay in full.
            edges: Edge type → mask ``[copies, edges]`` of the edges that stay; likewise.
            copies: How many.
            baseline: ``absent``: nodes that do not stay are not there (but the anchor itself, whose payload becomes the
                mean); ``mean`` or ``zeros``: they get these features and keep their edges.

        Returns:
            ``[copies]``.
        """
        step = max(1, ROWS // max(1, sum(self.counts.values())))
        found = []
        with evaluating(self.scene.model):
            for start in range(0, copies, step):
                some = slice(start, min(start + step, copies))
                stay = {node: mask[some] for node, mask in nodes.items()}
                joined = {name: mask[some] for name, mask in edges.items()}
                found.append(self._values(stay, joined, copies=some.stop - start, baseline=baseline))
        return torch.cat(found) if found else torch.empty(0)

    def _values(
        self, nodes: dict[NodeType, Tensor], edges: dict[EdgeType, Tensor], *, copies: int, baseline: Baseline
    ) -> Tensor:
        features, stay = {}, dict(nodes)
        anchor = self.scene.anchor
        reference = self.reference(baseline) if nodes else {}
        for node, x in self.features.items():
            x = x.expand(copies, *x.shape)  # [copies, rows, channels]
            if node in nodes:
                mask = nodes[node].clone()
                if baseline == "absent":
                    mask |= torch.arange(mask.shape[1]) != self.place if node == anchor else True
                x = x.where(mask[..., None], reference[node])
            features[node] = x
        if baseline != "absent":
            stay = {}
        elif anchor in stay:
            stay[anchor] = stay[anchor] | (torch.arange(self.counts[anchor]) == self.place)
        return self.answer(features, {name: self.edges[name].weight for name in self.edges}, copies, stay, edges)

    def answer(
        self,
        features: Mapping[NodeType, Tensor],
        weights: Mapping[EdgeType, Tensor | None],
        copies: int,
        nodes: Mapping[NodeType, Tensor],
        edges: Mapping[EdgeType, Tensor],
    ) -> Tensor:
        """Scores of copies side by side in one graph, ``[copies]``.

        Args:
            features: Node type → ``[copies, rows, channels]``.
            weights: Edge type → ``[edges]``.
            copies: How many.
            nodes: Node type → mask ``[copies, rows]`` of the nodes that are there.
            edges: Edge type → mask ``[copies, edges]`` of the edges that are there.
        """
        rows, there = {}, {}
        for node, count in self.counts.items():
            there[node] = nodes.get(node, torch.ones(copies, count, dtype=torch.bool)).flatten()
            rows[node] = there[node].cumsum(0) - 1  # row of each node that is there
        sets = {}
        for name, (index, _) in self.edges.items():
            ends = [index[end] + self.counts[name[2 * end]] * torch.arange(copies)[:, None] for end in (0, 1)]
            keep = there[name[0]][ends[0]] & there[name[2]][ends[1]]  # [copies, edges]
            keep = keep & edges[name] if name in edges else keep
            weight = weights[name]
            sets[name] = EdgeSet(
                torch.stack([rows[name[0]][ends[0][keep]], rows[name[2]][ends[1][keep]]]),
                None if weight is None else weight.expand(copies, -1)[keep],
            )
        given = {node: x.flatten(0, 1)[there[node]] for node, x in features.items()}
        counts = {node: int(mask.sum()) for node, mask in there.items()}
        anchors = rows[self.scene.anchor].view(copies, -1)[:, self.place]
        return read(self.scene.call(given, counts, sets)[anchors], self.output, self.kind)


def read(outputs: Tensor, output: int, kind: Score) -> Tensor:
    """The score of an output, of ``[..., outputs]``.

    Example:
        >>> read(torch.tensor([[1.0, 3.0]]), 1, "log_odds"), read(torch.tensor([[1.0, 3.0]]), 1, "logit")
        (tensor([2.]), tensor([3.]))
    """
    chosen = outputs[..., output]
    if kind == "logit" or outputs.shape[-1] == 1:
        return chosen
    return chosen - torch.cat([outputs[..., :output], outputs[..., output + 1 :]], dim=-1).logsumexp(dim=-1)


def _same(one: float, other: float) -> bool:
    return abs(one - other) <= SAME * max(1.0, abs(other))


def _column(output: int | str | None, schema: Schema, row: Tensor) -> int:
    """The number of the output that is asked for."""
    if output is None:
        return int(row.argmax())
    if isinstance(output, str):
        for target in schema.targets.values():
            if target.node == schema.anchor and output in target.classes:
                return target.classes.index(output)
        known = {name: target.classes for name, target in schema.targets.items()}
        raise ConfigError(f"output must be a class of the targets {known}, got {output!r}")
    if not 0 <= output < len(row):
        raise ConfigError(f"output must be a column 0 to {len(row) - 1} of the model's outputs, got {output}")
    return output
