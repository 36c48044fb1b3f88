"""Subgraphs found by payloads of any modality, one or several at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mmgraph.errors import ConfigError, DataError
from mmgraph.index import Hit
from mmgraph.search import subgraph

if TYPE_CHECKING:
    from mmgraph.assembly.built import Built


def search(built: Built, payloads: Mapping[str, Any], *, k: int = 10, hops: int = 1) -> list[Hit]:
    r"""Finds the anchors whose subgraphs are most like a query, which is itself a small graph of payloads.

    .. math:: s(a) = \frac{1}{|Q|} \sum_{m \in Q} \max_{u \in N_m(a)} \cos(x_u - \mu_m, q_m - \mu_m)

    with :math:`Q` the modalities of the query, :math:`N_m(a)` the nodes of modality :math:`m` at an anchor, and
    :math:`\mu_m` the mean of all nodes of the modality: what all of them share tells none from another (Mu & Viswanath
    2018, All-but-the-Top, arXiv:1702.01417). An anchor without a node of a modality has no part in that term, and one
    without any is not found. ``metadata`` of a hit says what each modality gave, ``None`` if the anchor has none.

    Args:
        built: The graph.
        payloads: Modality node type → a payload, as the encoder takes it: a text, the bytes of a file or its path.
        k: How many.
        hops: Radius of the subgraph that a hit carries, in edges between anchors.

    Raises:
        ConfigError: No payload, no such modality, or one whose features can't be compared; ``k`` below 1.
        DataError: A payload can't be read.
    """
    if not payloads:
        raise ConfigError(f"A query must have a payload of at least one of {sorted(built.payloads)}, got none")
    if k < 1:
        raise ConfigError(f"k must be at least 1, got {k}")
    anchors = built.graph[built.anchor].num_nodes
    given = {node: _closeness(built, node, payload, anchors) for node, payload in payloads.items()}
    terms = torch.stack(list(given.values()))  # [modalities, anchors]
    present = (~terms.isnan()).any(dim=0).nonzero().flatten()
    scores, order = (terms.nan_to_num(0.0).sum(dim=0) / len(given))[present].sort(descending=True, stable=True)
    hits = []
    for score, row in zip(scores[:k].tolist(), present[order[:k]].tolist(), strict=True):
        parts = {node: None if one[row].isnan() else round(float(one[row]), 4) for node, one in given.items()}
        around = subgraph(built.graph, built.schema, row, hops=hops)
        notes = {name: values[row] for (kind, name), values in built.notes.items() if kind == built.anchor}
        hits.append(Hit(built.keys[built.anchor][row], score, {**notes, **parts}, row, around))
    return hits


def _closeness(built: Built, node: str, payload: Any, anchors: int) -> Tensor:
    """The centred cosine of a payload to the best of each anchor's nodes, ``[anchors]``; NaN for those without."""
    encoder = built.encoder(node)
    edge = (node, "of", built.anchor)
    if encoder.attribute != "x" or edge not in built.graph.edge_types:
        raise ConfigError(f"{node!r} must hang on {built.anchor!r} and have x to be searched by, got other features")
    try:
        vector = encoder([payload])[0]
    except DataError as error:
        raise DataError(f"The query's {node!r} can't be read: {str(error).removeprefix('Payload 0 ')}") from None
    x = built.graph[node].x
    centre = x.mean(dim=0, dtype=torch.float64).to(x.dtype)  # of equal rows exactly theirs
    cosine = F.cosine_similarity(x - centre, (vector - centre).unsqueeze(0))  # [rows]
    row, owner = built.graph[edge].edge_index
    best = torch.full((anchors,), float("-inf")).scatter_reduce(0, owner, cosine[row], "amax")
    return best.masked_fill(best.isneginf(), float("nan"))
