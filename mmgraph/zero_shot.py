r"""Zero-shot and few-shot: classes are nodes too, and a new class is a new node.

In the space of an :class:`~mmgraph.aligner.Aligner` a picture's class is the class whose *text* is nearest. So a class
needs no example and no weights of its own, only a description: an anchor that has a text node and nothing else (a
missing modality is a node that is not there). Described by attributes, it has a node each, and is their mean (a zebra
is a horse with stripes: Lampert, Nickisch & Harmeling 2009, Learning to detect unseen object classes by between-class
attribute transfer, CVPR). Where there are a few examples instead, their mean is the class (Snell, Swersky & Zemel 2017,
Prototypical networks for few-shot learning, arXiv:1703.05175).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torch_geometric.data import HeteroData

from mmgraph.aligner import Aligner
from mmgraph.errors import ConfigError, DataError
from mmgraph.schema import Schema
from mmgraph.schema import view as view_of

if TYPE_CHECKING:
    from mmgraph.assembly import Built
    from mmgraph.encoders import Frozen


class Prototypes(NamedTuple):
    """Classes as the means of their examples."""

    vectors: Tensor  # [classes, channels]
    examples: Tensor  # [anchors] of bool: those that the means were made of, and that should not be asked about


def class_graph(built: Built, classes: Mapping[str, Any], *, node: str) -> HeteroData:
    """Makes a graph of classes: anchors that have nodes of one modality, and nothing else.

    It keeps to the schema of the graph, so that a model takes it as it is. Payloads are encoded by the encoder that
    made the graph's features. Classes described by the same payload share its node.

    Args:
        built: The graph that the model was trained on.
        classes: Name → what describes the class: a payload (a text, in general) or a list of them (its attributes).
        node: The modality node type that the payloads become; it hangs on the anchor.

    Returns:
        The graph; its anchors are the classes, in their order.

    Raises:
        ConfigError: No class, a node type that does not hang on the anchor, or an anchor with features of its own.
        DataError: A class without a payload, or with one that can't be encoded.
        ArtifactError: The encoder was not kept with the graph.

    Example:
        >>> import pyarrow as pa
        >>> from mmgraph.assembly import GraphConfig, Source, build_graph
        >>> films = pa.table({"id": ["a", "b"], "plot": ["A dog runs in the rain.", "Two thieves meet."]})
        >>> config = GraphConfig(nodes={"film": {"table": "films", "key": "id", "columns": {"plot": "text"}}})
        >>> built = build_graph(Source(config, {"films": films}))
        >>> classes = {"animals": ["a dog", "a cat"], "dogs": "a dog", "crime": "thieves"}
        >>> graph = class_graph(built, classes, node="plot")
        >>> graph["film"].num_nodes, graph["plot", "of", "film"].edge_index.tolist()
        (3, [[0, 1, 0, 2], [0, 0, 1, 2]])
    """
    schema, anchor = built.schema, built.anchor
    if not classes:
        raise ConfigError("classes must name at least 1 class, got none")
    if (node, "of", anchor) not in schema.edges:
        raise ConfigError(f"node must be one that hangs on {anchor!r}, {list(schema.modalities)}, got {node!r}")
    if (spec := schema.nodes[anchor]).channels or spec.attributes:
        raise ConfigError(f"Classes are described by nodes alone, got an anchor, {anchor!r}, with features of its own")
    encoder = built.encoder(node)
    payloads, edges = _described(encoder, classes)
    graph = _nobody(built.graph, schema)
    graph[anchor].num_nodes = len(classes)
    if spec.channels is not None:
        graph[anchor].x = torch.empty(len(classes), 0)
    graph[node][encoder.attribute] = encoder(payloads)
    graph[node].num_nodes = len(payloads)
    graph[node, "of", anchor].edge_index = torch.tensor(edges).T
    schema.check(graph)
    return graph


def class_scores(
    model: Aligner,
    graph: HeteroData,
    classes: HeteroData | Tensor,
    *,
    view: str,
    class_view: str | None = None,
    temperature: float | None = None,
) -> Tensor:
    r"""Scores each anchor's view against each class, without a weight that was trained for that class.

    .. math:: s_{ic} = \cos(z_i, t_c), \qquad p_{ic} = \mathrm{softmax}_c(s_{ic} / \tau)

    Neither sees a label, nor the other modalities of the anchor.

    Args:
        model: A trained aligner; it is put into evaluation mode.
        graph: The anchors to classify, in a graph of the model's schema.
        classes: A graph whose anchors are the classes, by :func:`class_graph`; or their vectors in the model's last
            space, ``[classes, channels]``, by :func:`prototypes` for instance.
        view: View of the anchors to go by.
        class_view: View of the classes to go by, if they are a graph.
        temperature: :math:`\tau`, to get probabilities; ``None`` for the cosines.

    Returns:
        ``[anchors, classes]``; NaN for anchors of which the view has nothing.

    Raises:
        ConfigError: No such view, a ``class_view`` missing or for vectors, a temperature that is not above 0.
        DataError: A class of which the view has nothing, or vectors of another width.

    Example:
        >>> from mmgraph.encoders import Raw
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = fake_graph()
        >>> spaces = {"joint": {"scan": torch.nn.Linear(3, 4), "text": torch.nn.Linear(5, 4)}}
        >>> model = Aligner(schema=schema, encoder=Raw(["scan", "text"]), spaces=spaces)
        >>> class_scores(model, graph, torch.eye(4)[:3], view="scan", temperature=0.1).shape
        torch.Size([40, 3])
    """
    if temperature is not None and temperature <= 0:
        raise ConfigError(f"temperature must be above 0, or None for the cosines, got {temperature}")
    if isinstance(classes, Tensor) != (class_view is None):
        raise ConfigError(f"class_view must be given for a graph of classes, and not for vectors, got {class_view!r}")
    states = _vectors(model, graph, view)
    if isinstance(classes, HeteroData):
        assert class_view is not None
        classes = _vectors(model, classes, class_view)
        if lacking := (~classes.isfinite().all(dim=1)).nonzero().flatten().tolist():
            raise DataError(
                f"Each class must have something that view {class_view!r} sees, got class {lacking[0]} without"
            )
    if classes.dim() != 2 or classes.shape[1] != states.shape[1]:
        raise DataError(f"Vectors of classes must be [classes, {states.shape[1]}], got {list(classes.shape)}")
    cosines = states @ F.normalize(classes.to(states), dim=1).T
    return cosines if temperature is None else (cosines / temperature).softmax(dim=1)


def prototypes(
    model: Aligner, graph: HeteroData, labels: Tensor, *, view: str, shots: int | None = None, seed: int = 0
) -> Prototypes:
    r"""Classes as the means of a few examples: :math:`c_k = \frac{1}{|S_k|} \sum_{i \in S_k} z_i` over unit vectors.

    Source: Snell, Swersky & Zemel 2017, Prototypical networks for few-shot learning, arXiv:1703.05175.

    Args:
        model: A trained aligner; it is put into evaluation mode.
        graph: The anchors that examples are drawn from, in a graph of the model's schema.
        labels: Class number of each anchor, ``[anchors]``; -1 for those that no example may be drawn from.
        view: View of the anchors to go by.
        shots: Examples a class; ``None`` for all there are.
        seed: Of the draw.

    Returns:
        ``vectors [classes, channels]``, for the classes from 0 to the largest label, and the ``examples``.

    Raises:
        ConfigError: No such view, or ``shots`` below 1.
        DataError: Labels of another length, or a class with fewer examples that the view sees.

    Example:
        >>> from mmgraph.encoders import Raw
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = fake_graph()
        >>> model = Aligner(schema=schema, encoder=Raw(["text"]), spaces={"joint": {"text": torch.nn.Identity()}})
        >>> labels = graph["subject"].y.where(graph["subject"].train_mask, -1)
        >>> few = prototypes(model, graph, labels, view="text", shots=3)
        >>> few.vectors.shape, int(few.examples.sum())
        (torch.Size([2, 5]), 6)
        >>> scores = class_scores(model, graph, few.vectors, view="text")
        >>> class_metrics(scores, graph["subject"].y.where(~few.examples, -1))["accuracy"] > 0.5
        True
    """
    if shots is not None and shots < 1:
        raise ConfigError(f"shots must be at least 1, or None for all, got {shots}")
    states = _vectors(model, graph, view)
    if labels.shape != (len(states),):
        raise DataError(f"Labels must be one an anchor, [{len(states)}], got {list(labels.shape)}")
    labels = labels.to(states.device).where(states.isfinite().all(dim=1), -1)
    generator = torch.Generator().manual_seed(seed)
    examples = torch.zeros_like(labels, dtype=torch.bool)
    means = []
    for number in range(int(labels.max()) + 1 if len(labels) else 0):
        rows = (labels == number).nonzero().flatten()
        if len(rows) < (shots or 1):
            raise DataError(
                f"Each class must have {shots or 1} examples that {view!r} sees, got {len(rows)} of {number}"
            )
        rows = rows[torch.randperm(len(rows), generator=generator)[:shots].to(rows.device)]
        examples[rows] = True
        means.append(states[rows].mean(dim=0))
    if not means:
        raise DataError(f"Prototypes need at least 1 labelled anchor that {view!r} sees, got none")
    return Prototypes(torch.stack(means), examples)


def class_metrics(scores: Tensor, labels: Tensor, *, seen: Tensor | None = None) -> dict[str, float]:
    r"""Judges scores of classes.

    - ``accuracy``: share of the labelled anchors whose best class is theirs. Of equal best scores each has its share;
      an anchor without scores (NaN) is wrong.
    - ``class_accuracy``: mean over the classes of the accuracy within each, so that frequent ones don't prevail.
    - with ``seen``, generalised zero-shot: ``seen`` and ``unseen``, the mean accuracy within the classes that were and
      were not in training, all of them being candidates, and their ``harmonic`` mean :math:`2 s u / (s + u)`, 0 for a
      model that never answers with a new class (Xian, Schiele & Akata 2017, Zero-shot learning: the good, the bad and
      the ugly, arXiv:1703.04394).

    Args:
        scores: ``[anchors, classes]``; larger is likelier.
        labels: Class number of each anchor, ``[anchors]``; -1 for those that are not asked about.
        seen: Which classes were in training, ``[classes]`` of bool.

    Raises:
        DataError: Shapes that don't fit, no labelled anchor, a label without a score; with ``seen``, no labelled
            anchor of a seen class, or none of an unseen one.

    Example:
        >>> scores = torch.tensor([[0.9, 0.1, 0.2], [0.3, 0.2, 0.1], [0.2, 0.1, 0.8], [0.1, 0.0, 0.5]])
        >>> class_metrics(scores, torch.tensor([0, 1, 2, 2]), seen=torch.tensor([True, True, False]))
        ... # doctest: +NORMALIZE_WHITESPACE
        {'accuracy': 0.75, 'class_accuracy': 0.6666666666666666, 'seen': 0.5, 'unseen': 1.0,
         'harmonic': 0.6666666666666666}
    """
    if scores.dim() != 2 or labels.shape != scores.shape[:1]:
        raise DataError(
            f"scores must be [anchors, classes], labels [anchors], got {list(scores.shape)}, {list(labels.shape)}"
        )
    scores, labels = scores[labels >= 0], labels[labels >= 0]
    if not len(labels):
        raise DataError("At least 1 anchor must have a label to be judged on, got none")
    if (most := int(labels.max())) >= scores.shape[1]:
        raise DataError(f"Labels must be below the number of classes, {scores.shape[1]}, got {most}")
    best = scores == scores.amax(dim=1, keepdim=True)  # none of a row of NaN
    right = best.gather(1, labels[:, None]).squeeze(1).double() / best.sum(dim=1).clamp_min(1)  # [anchors]
    counts = labels.bincount(minlength=scores.shape[1])
    within = right.new_zeros(scores.shape[1]).index_add(0, labels, right) / counts.clamp_min(1)  # [classes]
    found = {"accuracy": float(right.mean()), "class_accuracy": float(within[counts > 0].mean())}
    if seen is None:
        return found
    if seen.dtype != torch.bool or seen.shape != scores.shape[1:]:
        raise DataError(f"seen must be a mask [{scores.shape[1]}], got {list(seen.shape)} of {seen.dtype}")
    for name, mask in (("seen", seen), ("unseen", ~seen)):
        if not (counts[mask] > 0).any():
            raise DataError(f"At least 1 anchor must be labelled with a class that is {name}, got none")
        found[name] = float(within[mask & (counts > 0)].mean())
    both = found["seen"] + found["unseen"]
    return {**found, "harmonic": 2 * found["seen"] * found["unseen"] / both if both > 0 else 0.0}


def _described(encoder: Frozen, classes: Mapping[str, Any]) -> tuple[list[Any], list[tuple[int, int]]]:
    """The payloads that differ, and which of them is of which class."""
    rows: dict[bytes, int] = {}
    payloads: list[Any] = []
    edges: dict[tuple[int, int], None] = {}
    for number, (name, given) in enumerate(classes.items()):
        described = list(given) if isinstance(given, list | tuple) else [given]
        if not described:
            raise DataError(f"Each class must have at least 1 payload, got none of {name!r}")
        for payload in described:
            try:
                content = encoder.content(payload)
            except DataError as error:
                raise DataError(f"Class {name!r} can't be encoded: {error}") from None
            if content not in rows:
                rows[content] = len(payloads)
                payloads.append(payload)
            edges[rows[content], number] = None
    return payloads, list(edges)


@torch.no_grad()
def _vectors(model: Aligner, graph: HeteroData, name: str) -> Tensor:
    """The unit vectors of one view, ``[anchors, channels]``, made without seeing a label; NaN where it has nothing."""
    if name not in model.views:
        raise ConfigError(f"A view must be one of the model's, {list(model.views)}, got {name!r}")
    model.eval()
    return model(view_of(graph, model.schema))[name]


def _nobody(graph: HeteroData, schema: Schema) -> HeteroData:
    """A graph of the same types with no node at all."""
    none = {node: torch.zeros(graph[node].num_nodes, dtype=torch.bool) for node in schema.nodes}
    empty = view_of(graph, schema, keep=none)
    for node in schema.nodes:
        for name in ("n_id", "train_mask", "val_mask", "test_mask"):
            empty[node].pop(name, None)
    return empty
