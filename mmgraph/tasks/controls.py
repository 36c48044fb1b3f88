"""Controls: what a score must survive to be a result.

| control | what it is | what it tells |
|---|---|---|
| ``no_graph`` | the same model, trained without relations | whether the graph helps at all |
| ``shuffled_edges`` | the same graph with its nodes relabelled at random | whether *these* relations help |
| ``without:<modality>`` | the same model, trained without one modality | what that modality adds |
| ``flat_linear`` | logistic regression on all features side by side | whether a network is needed |
| ``late_linear`` | mean of one logistic regression a modality | the same, robust to many columns |
| ``majority`` | the shares of the classes in training | chance |
| ``noise`` | the same model, trained and asked on noise in place of features | whether edges give the answer |
| ``cca`` | canonical correlation analysis of all features (Hotelling 1936) | whether an aligner is needed |
| ``chance`` | random vectors | chance |
| ``degree`` | the product of two degrees | whether joined nodes are just the busy ones |
| ``common_neighbours``, ``adamic_adar`` | what two nodes share | whether embeddings are needed |
| ``cosine`` | how alike two nodes' features are | whether edges are needed |
| ``shuffled:<modality>`` | payloads dealt to other entities | whether *this* payload adds something |
| ``zeroed:<modality>`` | payloads of zeros | the same, if that there is one says nothing |
| ``frequency`` | entities by how often they answer the relation in training | whether a model is needed |
| ``no_source`` | the same model, trained with nothing to translate from | what is made of nothing |
| ``shuffled_sources`` | what is translated from, dealt to other anchors | whether *its own* source adds something |
| ``nearest`` | the payload of the training sample with the most alike sources | whether anything is made |
| ``mean`` | the mean of training's payloads | chance, for numbers |
| ``most_common`` | the most frequent payload of training | chance, for texts |

Retrieval has ``noise``, ``cca`` and ``chance``, and the first two where there are relations; completion of facts has
``no_graph`` (no messages; the questions stay), ``without:<modality>`` and the last three; prediction of edges the first
two and ``degree`` to ``cosine``; translation ``without:<modality>`` and the last five; classification the others.

``without:<modality>`` takes the modality's nodes and the relations made from them; relations made from phenotypes stay.
A modality that reaches the anchor along a relation (the picture that a question is about) is gone in ``no_graph``, and
another one's in ``shuffled_edges``.
The regression's strength is chosen on validation, as everything else is. It reads what the model reads: ``x``, or the
pixels and spectrograms themselves where a model is trained on those.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from mmgraph.errors import ConfigError
from mmgraph.functional.correlation import cca
from mmgraph.schema import Schema
from mmgraph.schema.view import empty_edges
from mmgraph.tasks.base import Part, Task
from mmgraph.tasks.columns import anchor_columns, present, sources
from mmgraph.tasks.edge_baselines import EDGE_BASELINES
from mmgraph.tasks.link_controls import deal_anew, frequency, set_to_zero
from mmgraph.tasks.translation_controls import TRANSLATION_BASELINES

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

    from mmgraph.tasks.node_classification import NodeClassification
    from mmgraph.tasks.retrieval import Retrieval

RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # strengths that canonical correlation analysis chooses from
WIDTHS = (4, 8, 16, 32, 64, 128, 256)  # and widths
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3)  # inverse penalties that the linear controls choose from


def default_controls(schema: Schema) -> tuple[str, ...]:
    """The controls that apply to a graph.

    Example:
        >>> from mmgraph.schema import EdgeSpec, NodeSpec
        >>> default_controls(Schema(nodes={"a": NodeSpec(channels=1)}, anchor="a"))
        ('flat_linear', 'majority')
    """
    modalities = tuple(schema.paths)
    graph = ("no_graph", "shuffled_edges") if _relations(schema) else ()
    without = tuple(f"without:{name}" for name in modalities) if len(modalities) > 1 else ()
    linear = ("flat_linear", "late_linear") if len(modalities) > 1 else ("flat_linear",)
    return (*graph, *without, *linear, "majority")


def alignment_controls(schema: Schema, views: Mapping[str, Collection[str]]) -> tuple[str, ...]:
    """The controls that apply to retrieval across some views, given with the modalities of each.

    Example:
        >>> from mmgraph.schema import EdgeSpec, NodeSpec
        >>> edges = dict.fromkeys([("image", "of", "a"), ("text", "of", "a")], EdgeSpec())
        >>> schema = Schema(nodes=dict.fromkeys(["a", "image", "text"], NodeSpec()), edges=edges, anchor="a")
        >>> alignment_controls(schema, {"image": ["image"], "text": ["text"]})
        ('noise', 'cca', 'chance')
    """
    graph = ("no_graph", "shuffled_edges") if _relations(schema) else ()
    known = all(name in sources(schema) for modalities in views.values() for name in modalities)
    linear = ("cca",) if len(views) > 1 and known else ()
    return (*graph, "noise", *linear, "chance")


def control_graph(name: str, graph: HeteroData, schema: Schema, *, seed: int = 0) -> HeteroData:
    """The graph that a control trains and tests on; the one given is left as it is.

    Args:
        name: ``no_graph``, ``shuffled_edges``, ``noise``, or ``without:``, ``shuffled:`` or ``zeroed:<modality>``.
        graph: The whole graph.
        schema: What it means.
        seed: Of the shuffle, or the noise.

    Raises:
        ConfigError: No such control, or no such modality.

    Example:
        >>> from torch_geometric.data import HeteroData
        >>> graph = HeteroData()
        >>> graph["a"].x = torch.ones(2, 1)
        >>> graph["a", "near", "a"].edge_index = torch.tensor([[0], [1]])
        >>> control_graph("no_graph", graph, Schema.infer(graph, anchor="a"))["a", "near", "a"].edge_index.shape
        torch.Size([2, 0])
    """
    changed, (change, _, modality) = copy.copy(graph), name.partition(":")
    if name == "no_graph":
        for relation in _relations(schema):
            empty_edges(changed[relation])
    elif name == "shuffled_edges":
        _shuffle(changed, schema, seed)
    elif name == "noise":
        _make_noise(changed, schema, seed)
    elif change == "without" and modality in _payloads(schema):
        _leave_out(changed, schema, modality)
    elif change == "shuffled" and modality in _payloads(schema):
        deal_anew(changed, schema, modality, seed)
    elif change == "zeroed" and modality in _payloads(schema):
        set_to_zero(changed, schema, modality)
    else:
        changes = [f"{one}:{name}" for name in _payloads(schema) for one in ("without", "shuffled", "zeroed")]
        known = ["no_graph", "shuffled_edges", "noise", *changes]
        raise ConfigError(f"A control that changes the graph must be one of {known}, got {name!r}")
    return changed


def baseline(name: str, folds: Sequence[HeteroData], task: Task, part: Part = "test") -> Tensor:
    """What a control without a graph model answers: ``[rows, classes]``, or for retrieval ``[rows, views, channels]``.

    Args:
        name: One of :data:`BASELINES`.
        folds: The whole graph, once for each inner fold (once, if there are none), with the fold's masks. Only
            training labels are fitted on, and validation labels chosen on; the folds' predictions are averaged.
        task: What is asked.
        part: Which part to predict: ``test``, or ``val`` of the first fold.

    Raises:
        ConfigError: No such control.
    """
    if name not in BASELINES or name not in task.controls:
        known = sorted(set(BASELINES).intersection(task.controls))
        raise ConfigError(f"A control without a graph model must be one of {known}, got {name!r}")
    return BASELINES[name](folds if part == "test" else folds[:1], task, part)


def _majority(folds: Sequence[HeteroData], task: NodeClassification, part: Part) -> Tensor:
    labels = torch.cat([task.labels(graph, "train") for graph in folds])
    shares = torch.bincount(labels[labels >= 0], minlength=len(task.target.classes)).double()
    return (shares / shares.sum()).float().expand(len(task.labels(folds[0], part)), -1)


def _flat_linear(folds: Sequence[HeteroData], task: NodeClassification, part: Part) -> Tensor:
    return _best_linear(folds, task, part, lambda columns: [torch.cat(columns, dim=1)])


def _late_linear(folds: Sequence[HeteroData], task: NodeClassification, part: Part) -> Tensor:
    return _best_linear(folds, task, part, lambda columns: columns)


def _cca(folds: Sequence[HeteroData], task: Retrieval, part: Part) -> Tensor:
    """Canonical correlation analysis of the views' features, of the width and strength best on validation."""
    graph, metric = task.joined(folds[0]), "mrr" if "mrr" in task.metrics else "class_map"
    store = graph[task.node]
    columns = anchor_columns(graph, task.schema)
    xs = [_side_by_side([columns[name] for name in task.modalities[view]], store.train_mask) for view in task.views]
    train = store.train_mask & torch.stack([x.isfinite().all(dim=1) for x in xs]).all(dim=0)
    xs = [_principal(x, train) for x in xs]
    best = (-1.0, torch.empty(0))
    for ridge in RIDGES:
        found = cca([x[train] for x in xs], channels=min(WIDTHS[-1], *(x.shape[1] for x in xs)), ridge=ridge)
        vectors = torch.stack([found.project(x, view) for view, x in enumerate(xs)], dim=1)
        for width in [one for one in WIDTHS if one <= vectors.shape[2]] or [vectors.shape[2]]:
            score = task.evaluate(vectors[store.val_mask, :, :width], folds[0], "val", metrics=[metric])[metric]
            best = max(best, (score, vectors[store[f"{part}_mask"], :, :width]), key=lambda one: one[0])
    return best[1].float()


def _side_by_side(columns: list[Tensor], train: Tensor) -> Tensor:
    """The modalities of one view; one that an anchor lacks has its mean, unless the anchor lacks them all."""
    absent = torch.stack([x.isnan().any(dim=1) for x in columns]).all(dim=0)
    filled = [torch.where(x.isnan(), x[train].nanmean(dim=0), x) for x in columns]
    return torch.cat(filled, dim=1).masked_fill(absent[:, None], float("nan"))


def _principal(x: Tensor, train: Tensor) -> Tensor:
    """The first ``WIDTHS[-1]`` principal components of training, where there are more columns than that."""
    if x.shape[1] <= WIDTHS[-1]:
        return x
    centre = x[train].mean(dim=0)
    _, vectors = torch.linalg.eigh((x[train] - centre).double().T.cov())
    return (x - centre) @ vectors[:, -WIDTHS[-1] :].flip(1).to(x.dtype)


def _chance(folds: Sequence[HeteroData], task: Retrieval, part: Part) -> Tensor:
    graph = task.joined(folds[0])
    store = graph[task.node]
    everyone = torch.ones_like(store.train_mask)
    found = []
    for names in task.modalities.values():
        known = [present(graph, task.schema, name) for name in names if name in sources(task.schema)]
        found.append(torch.stack(known).any(dim=0) if known else everyone)
    there = torch.stack(found, dim=1)[store[f"{part}_mask"]]
    vectors = torch.randn(*there.shape, 8, generator=torch.Generator().manual_seed(len(there)))
    return vectors.masked_fill(~there[:, :, None], float("nan"))


BASELINES: dict[str, Callable[[Sequence[HeteroData], Any, Part], Tensor]] = {
    "flat_linear": _flat_linear,
    "late_linear": _late_linear,
    "majority": _majority,
    "cca": _cca,
    "chance": _chance,
    **EDGE_BASELINES,
    "frequency": frequency,
    **TRANSLATION_BASELINES,
}


def _best_linear(
    folds: Sequence[HeteroData],
    task: NodeClassification,
    part: Part,
    arrange: Callable[[list[Tensor]], list[Tensor]],
) -> Tensor:
    """Logistic regressions of the strength with the least log loss on validation, averaged over the folds."""
    columns = [
        arrange([x.nan_to_num(0.0) for x in anchor_columns(graph, task.schema).values()]) for graph in folds
    ]  # absent: the mean, if scaled
    tried = []
    for strength in STRENGTHS:
        losses, predictions = [], []
        for graph, xs in zip(folds, columns, strict=True):
            predict = _linear(graph, task, xs, strength)
            losses.append(task.evaluate(predict("val"), graph, "val", metrics=["log_loss"])["log_loss"])
            predictions.append(predict(part))
        tried.append((float(np.mean(losses)), strength, torch.stack(predictions).mean(dim=0)))
    return min(tried, key=lambda one: one[:2])[2]


def _linear(graph: HeteroData, task: NodeClassification, xs: list[Tensor], strength: float) -> Callable[[Part], Tensor]:
    """One logistic regression a matrix, fitted on training; gives the mean of their probabilities for a part."""
    store = graph[task.target.node]
    y = store[task.target.attribute]
    known = store.train_mask & (y >= 0)
    models = [LogisticRegression(C=strength, max_iter=5000).fit(x[known].numpy(), y[known].numpy()) for x in xs]

    def predict(part: Part) -> Tensor:
        rows = store[f"{part}_mask"]
        found = np.mean([m.predict_proba(x[rows].numpy()) for m, x in zip(models, xs, strict=True)], axis=0)
        probabilities = torch.zeros(len(found), len(task.target.classes))
        probabilities[:, torch.from_numpy(models[0].classes_)] = torch.from_numpy(found).float()
        return probabilities

    return predict


def _payloads(schema: Schema) -> tuple[str, ...]:
    """What hangs on nodes of another type."""
    return tuple(node for node in schema.nodes if any(edge[:2] == (node, "of") for edge in schema.edges))


def _make_noise(graph: HeteroData, schema: Schema, seed: int) -> None:
    """Puts noise in the place of all features: Gaussian for numbers, uniform over what there is for whole ones."""
    generator = torch.Generator().manual_seed(seed)
    for node in sources(schema):
        store = graph[node]
        for name in [key for key in ("x", *schema.nodes[node].attributes) if key in store]:
            old = store[name]
            if old.dtype.is_floating_point:
                store[name] = torch.randn(old.shape, generator=generator).to(old.dtype)
            elif old.numel():
                least, most = int(old.min()), int(old.max())
                store[name] = torch.randint(least, most + 1, old.shape, generator=generator).to(old.dtype)


def _relations(schema: Schema) -> tuple[tuple[str, str, str], ...]:
    return tuple(edge for edge in schema.edges if edge[1] != "of")


def _shuffle(graph: HeteroData, schema: Schema, seed: int) -> None:
    """Relabels the nodes of each type at random: the same graph, about other nodes.

    All relations see one relabelling, so that what is the inverse of another stays so, and chains stay chains. Where a
    regime hides parts of the split, nodes change places within their part, so that no edge leads from one who is
    hidden to one who may not see it.
    """
    generator = torch.Generator().manual_seed(seed)
    relations = _relations(schema)
    nodes = dict.fromkeys(node for relation in relations for node in (relation[0], relation[2]))
    places = {node: _relabelling(graph, schema, node, generator) for node in nodes}
    for relation in relations:
        store = graph[relation]
        source, target = store.edge_index
        store.edge_index = torch.stack([places[relation[0]][source], places[relation[2]][target]])


def _relabelling(graph: HeteroData, schema: Schema, node: str, generator: torch.Generator) -> Tensor:
    rows = graph[node].num_nodes
    group = torch.zeros(rows, dtype=torch.long)
    if schema.regime != "transductive":
        anchor = schema.anchor
        parts = graph[anchor].val_mask.long() + 2 * graph[anchor].test_mask.long()
        if node == anchor:
            group = parts
        elif (node, "of", anchor) in schema.edges:
            row, owner = graph[node, "of", anchor].edge_index
            group[row] = parts[owner]
    places = torch.arange(rows)
    for number in group.unique():
        members = (group == number).nonzero().flatten()
        places[members] = members[torch.randperm(len(members), generator=generator)]
    return places


def _leave_out(graph: HeteroData, schema: Schema, modality: str) -> None:
    for key, value in list(graph[modality].items()):
        if isinstance(value, Tensor):
            graph[modality][key] = value[:0]
        elif key == "num_nodes":
            graph[modality].num_nodes = 0
    for edge in schema.edges:
        if modality in (edge[0], edge[2]) or edge == (schema.anchor, f"near_{modality}", schema.anchor):
            empty_edges(graph[edge])
