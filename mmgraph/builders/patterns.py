"""Attention patterns as edge sets: one layer (``layers.Attention``), and edges that say who attends to whom.

Each function adds edges to a graph, and gives a new graph and its schema. An edge (u, "informs", v) lets v attend to u.
Nodes are joined within blocks: those of one anchor, or of one group (a video, a dialogue).

| pattern | edges | system |
|---|---|---|
| :func:`merged` | all to all | UNITER, VisualBERT |
| :func:`modality_specific` | within each type | an encoder a modality |
| :func:`co_attention` | between types alone | ViLBERT, LXMERT (in turns with modality_specific) |
| :func:`asymmetric` | from some types to others | MulT (one direction), Flamingo |
| :func:`windowed` | no further than a width | Longformer; cross-modal windows |
| :func:`causal` | from no later node | GPT, captioning |
| :func:`bottleneck` | through a few tokens | MBT (with modality_specific) |
| :func:`latents` | from all into a few tokens | Perceiver |
| :func:`memory` | from learned slots | M² (with merged) |

They combine: what one returns, the next takes. :func:`union`, :func:`difference`, :func:`intersection` and ``flip(0)``
make further ones of the edges themselves, and :func:`add` adds those.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from mmgraph.builders.blocks import check_types, find_members, joined
from mmgraph.builders.edges import add, difference, intersection, union
from mmgraph.builders.tokens import INFORMS, bottleneck, latents, memory, positions
from mmgraph.errors import ConfigError
from mmgraph.schema import Schema

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

Between = Literal["all", "within", "across"]

__all__ = [
    "add",
    "asymmetric",
    "bottleneck",
    "causal",
    "co_attention",
    "difference",
    "intersection",
    "latents",
    "memory",
    "merged",
    "modality_specific",
    "positions",
    "union",
    "windowed",
]


def merged(
    graph: HeteroData,
    schema: Schema,
    *,
    types: Sequence[str] | None = None,
    group: str | None = None,
    loops: bool = True,
    relation: str = INFORMS,
) -> tuple[HeteroData, Schema]:
    """Every node attends to every node of its block, of all types: one sequence of all modalities.

    Source: Chen et al. 2020, UNITER; arXiv:1909.11740. Li et al. 2019, VisualBERT; arXiv:1908.03557.

    Args:
        graph: The graph; it is left as it is.
        schema: What its types mean.
        types: Node types to join; by default the schema's modalities.
        group: Name of the attribute that tells the block of a node, int64 ``[rows]``, -1 for none: of the node type, or
            of the anchor its nodes are of. By default the nodes of one anchor are a block. A node that is of several
            anchors is in several blocks; one that is of none gets no edge.
        loops: Whether a node attends to itself.
        relation: Name of the edges.

    Returns:
        A new graph with an edge type ``(source, relation, target)`` for each pair of types, and its schema.

    Raises:
        ConfigError: A type that can't be joined, or an edge type that is there already.
        DataError: A group that can't be read, or more than 50 million edges.

    Example:
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = merged(*fake_graph())
        >>> [edge for edge in schema.edges if edge[1] == "informs"][:2]
        [('scan', 'informs', 'scan'), ('scan', 'informs', 'text')]
    """
    return _pattern(graph, schema, types, "all", group, relation, loops=loops)


def modality_specific(
    graph: HeteroData,
    schema: Schema,
    *,
    types: Sequence[str] | None = None,
    group: str | None = None,
    loops: bool = True,
    relation: str = INFORMS,
) -> tuple[HeteroData, Schema]:
    """Every node attends to the nodes of its own type in its block: an encoder a modality.

    Args, returns and errors are those of :func:`merged`.

    Example:
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = modality_specific(*fake_graph())
        >>> [edge for edge in schema.edges if edge[1] == "informs"]
        [('scan', 'informs', 'scan'), ('text', 'informs', 'text')]
    """
    return _pattern(graph, schema, types, "within", group, relation, loops=loops)


def co_attention(
    graph: HeteroData,
    schema: Schema,
    *,
    types: Sequence[str] | None = None,
    group: str | None = None,
    relation: str = INFORMS,
) -> tuple[HeteroData, Schema]:
    """Every node attends to the nodes of the *other* types in its block.

    Source: Lu, Batra, Parikh and Lee 2019, ViLBERT, section 2.2; arXiv:1908.02265.

    Args, returns and errors are those of :func:`merged`.

    Example:
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = co_attention(*fake_graph())
        >>> [edge for edge in schema.edges if edge[1] == "informs"]
        [('scan', 'informs', 'text'), ('text', 'informs', 'scan')]
    """
    return _pattern(graph, schema, types, "across", group, relation)


def asymmetric(
    graph: HeteroData,
    schema: Schema,
    *,
    source: str | Sequence[str],
    target: str | Sequence[str],
    group: str | None = None,
    loops: bool = True,
    relation: str = INFORMS,
) -> tuple[HeteroData, Schema]:
    """Targets attend to sources, and not the other way round.

    Source: the directional cross-modal attention of Tsai et al. 2019, Multimodal transformer for unaligned multimodal
    language sequences, section 3.1; arXiv:1906.00295.

    Args:
        graph: The graph; it is left as it is.
        schema: What its types mean.
        source: Node types that are attended to.
        target: Node types that attend.
        group: As of :func:`merged`.
        loops: Whether a node attends to itself, where a type is both.
        relation: Name of the edges.

    Returns:
        As of :func:`merged`.

    Raises:
        ConfigError: As of :func:`merged`.
        DataError: As of :func:`merged`.

    Example:
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = asymmetric(*fake_graph(), source="scan", target="text")
        >>> [edge for edge in schema.edges if edge[1] == "informs"]
        [('scan', 'informs', 'text')]
    """
    sources, targets = ([one] if isinstance(one, str) else list(one) for one in (source, target))
    found = find_members(graph, schema, list(dict.fromkeys([*sources, *targets])), group=group, position=None)
    pairs = [(a, b) for a in sources for b in targets]
    return add(graph, schema, joined(found, pairs, relation, loops=loops))


def windowed(
    graph: HeteroData,
    schema: Schema,
    *,
    width: float,
    types: Sequence[str] | None = None,
    between: Between = "all",
    position: str | None = None,
    group: str | None = None,
    loops: bool = True,
    relation: str = INFORMS,
) -> tuple[HeteroData, Schema]:
    """Every node attends to the nodes of its block that are at most ``width`` before or after it.

    Source: Beltagy, Peters and Cohan 2020, Longformer, section 3.1 (their w is twice ours); arXiv:2004.05150.

    Args:
        graph: The graph; it is left as it is.
        schema: What its types mean.
        width: How far, in units of the position; 0 for what is at the very place.
        types: Node types to join; by default the schema's modalities.
        between: ``all`` types, each ``within`` itself, or ``across`` types alone.
        position: Name of the attribute that tells where a node is, ``[rows]``, e.g. its second; by default its place
            among the nodes of its type and block, in the order of rows. Sequences of differing rates need one.
        group: As of :func:`merged`.
        loops: Whether a node attends to itself.
        relation: Name of the edges.

    Returns:
        As of :func:`merged`.

    Raises:
        ConfigError: A width below 0, or as of :func:`merged`.
        DataError: A position that is no number a node, or as of :func:`merged`.

    Example:
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = windowed(*fake_graph(), width=1)
        >>> graph["scan", "informs", "text"].edge_index.shape[0]
        2
    """
    if not width >= 0:
        raise ConfigError(f"width must be at least 0, got {width}")
    return _pattern(
        graph, schema, types, between, group, relation, loops=loops, position=position, before=width, after=width
    )


def causal(
    graph: HeteroData,
    schema: Schema,
    *,
    types: Sequence[str] | None = None,
    between: Between = "all",
    width: float = float("inf"),
    position: str | None = None,
    group: str | None = None,
    loops: bool = True,
    relation: str = INFORMS,
) -> tuple[HeteroData, Schema]:
    """Every node attends to the nodes of its block that are not after it, and at most ``width`` before it.

    Args, returns and errors are those of :func:`windowed`.

    Example:
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = causal(*fake_graph(), types=["scan"])
        >>> index = graph["scan", "informs", "scan"].edge_index
        >>> bool((index[0] <= index[1]).all())
        True
    """
    if not width >= 0:
        raise ConfigError(f"width must be at least 0, got {width}")
    return _pattern(
        graph, schema, types, between, group, relation, loops=loops, position=position, before=width, after=0.0
    )


def _pattern(
    graph: HeteroData,
    schema: Schema,
    types: Sequence[str] | None,
    between: Between,
    group: str | None,
    relation: str,
    *,
    loops: bool = True,
    position: str | None = None,
    before: float = float("inf"),
    after: float = float("inf"),
) -> tuple[HeteroData, Schema]:
    types = check_types(schema, types)
    if between not in ("all", "within", "across"):
        raise ConfigError(f"between must be 'all', 'within' or 'across', got {between!r}")
    wanted = {"all": (True, False), "within": (True,), "across": (False,)}[between]
    pairs = [(a, b) for a in types for b in types if (a == b) in wanted]
    found = find_members(graph, schema, types, group=group, position=position)
    return add(graph, schema, joined(found, pairs, relation, loops=loops, before=before, after=after))
