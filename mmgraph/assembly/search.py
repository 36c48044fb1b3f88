"""Subgraphs found by payloads of any modality, one or several at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mmgraph.index import Hit

if TYPE_CHECKING:
    from mmgraph.assembly.built import Built


def search(built: Built, payloads: Mapping[str, Any], *, k: int = 10, hops: int = 1) -> list[Hit]:
    r"""Finds the anchors whose subgraphs are most like a query, which is itself a small graph of payloads.

    .. math:: s(a) = \frac{1}{|Q|} \sum_{m \in Q} \max_{u \in N_m(a)} \cos(x_u - \mu_m, q_m - \mu_m)

    with :math:`Q` the modalities of the query, :math:`N_m(a)` the nodes of modality :math:`m` at an anchor, and
    :math:`\mu_m` the mean of all nodes of the modality: what all of them share tells none from another (Mu & Viswanath
    2018, All-but-the-Top, arXiv:1702.01417). An anchor without a node of a modality has no part in that term, and one
    without any is not found. ``metadata`` of a hit says what each modality gave, ``None`` if the anchor has none.

    It looks at all nodes, and makes ready for it each time: who asks often makes an :class:`~mmgraph.engine.Engine`.

    Args:
        built: The graph.
        payloads: Modality node type → a payload, as the encoder takes it: a text, the bytes of a file or its path.
        k: How many.
        hops: Radius of the subgraph that a hit carries, in edges between anchors.

    Raises:
        ConfigError: No payload, no such modality, or one whose features can't be compared; ``k`` below 1.
        DataError: A payload can't be read, or says nothing.
    """
    from mmgraph.engine import Engine

    hits = []
    for hit in Engine(built).search(payloads, k=k, hops=hops):
        gave: dict[str, float | None] = dict.fromkeys(payloads)
        gave.update({reason.query: round(reason.similarity, 4) for reason in hit.reasons})
        hits.append(Hit(hit.id, hit.score, {**hit.metadata, **gave}, hit.position, hit.subgraph))
    return hits
