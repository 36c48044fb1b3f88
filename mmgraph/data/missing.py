"""Missing modalities: taken from some anchors, as if their nodes had never been there; the types stay."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mmgraph.errors import ConfigError, DataError
from mmgraph.schema import Schema
from mmgraph.schema.checks import check_present

if TYPE_CHECKING:
    from typing import TypeVar

    from torch_geometric.data import HeteroData

    Graph = TypeVar("Graph", bound=HeteroData)


def drop_modalities(graph: Graph, schema: Schema, lost: Mapping[str, Tensor]) -> Graph:
    """Returns a graph, or a batch, in which some anchors lack some modalities; the one given is left as it is.

    A node of a modality goes when all anchors that it is *of* lose the modality, the nodes that are *of* it alone go
    with it, and so do all edges at a node that goes. Where a node is of several anchors and stays, its ``of`` edges to
    those who lose it go. So do the ``near_<modality>`` edges at an anchor that loses the modality, which were made
    from it. Every type stays, with zero rows if need be; types that lose nothing are the very same tensors. A batch
    stays one: ``to_data_list`` gives what taking the same from each sample gives.

    Args:
        graph: A graph, or a batch of graphs.
        schema: What its types mean; it must have an anchor.
        lost: Modality → mask ``[anchors]`` of the anchors that lose it. Those who lack it go on lacking it.

    Raises:
        ConfigError: The schema has no anchor, or no such modality.
        DataError: A mask of the wrong length, or an attribute of which it can't be said which rows it is about.
        SchemaError: A type of the schema is not in the graph.

    Example:
        >>> from torch_geometric.data import HeteroData
        >>> graph = HeteroData()
        >>> graph["patient"].x = torch.empty(2, 0)
        >>> graph["scan"].x = torch.tensor([[1.0], [2.0], [3.0]])
        >>> graph["scan", "of", "patient"].edge_index = torch.tensor([[0, 1, 2], [0, 1, 1]])
        >>> schema = Schema.infer(graph)
        >>> left = drop_modalities(graph, schema, {"scan": torch.tensor([True, False])})
        >>> left["scan"].x.flatten().tolist(), left["scan", "of", "patient"].edge_index.tolist()
        ([2.0, 3.0], [[0, 1], [1, 1]])
        >>> drop_modalities(graph, schema, {"scan": torch.tensor([True, True])})["scan"].x.shape
        torch.Size([0, 1])
    """
    anchor = _anchor(schema)
    check_present(graph, schema.nodes, schema.edges)
    rows = graph[anchor].num_nodes
    for name, mask in lost.items():
        _check_modality("lost", name, schema)
        if str(mask.dtype) != "torch.bool" or mask.shape != (rows,):
            got = f"{list(mask.shape)} of {mask.dtype}"
            raise DataError(f"lost[{name!r}] must be a mask [{rows}] of bool, one for each {anchor!r}, got {got}")
    gone = _gone(graph, schema, lost)
    before = {node: _count(~mask) for node, mask in gone.items()}  # how many stay before each row: [rows + 1]
    changed = copy.copy(graph)
    private = graph._global_store.__dict__  # where a batch keeps what its samples are made from
    slices, incs = (dict(private.get(name) or {}) for name in ("_slice_dict", "_inc_dict"))
    for node, mask in gone.items():
        _take_nodes(changed[node], ~mask, before[node], slices)
    for edge_type in graph.edge_types:
        keep = _kept(graph, anchor, edge_type, gone, lost)
        if keep is not None:
            _take_edges(changed[edge_type], keep, before, slices, incs)
    if "_slice_dict" in private:
        changed._slice_dict, changed._inc_dict = slices, incs
    return changed


@dataclass(frozen=True)
class ModalityDropout:
    """Takes modalities from anchors at random: as the transform of a loader, others each epoch.

    Trained so, a model learns not to lean on any one modality, and can do without those that are missing later
    (Neverova, Wolf, Taylor, Nebout, "ModDrop: adaptive multi-modal gesture recognition", TPAMI 2016,
    arXiv:1501.00102, who set the inputs to zero; here their nodes are not there).

    With a rate, each anchor loses each modality ``m`` with probability ``rate[m]``, independently. With patterns, an
    anchor loses exactly the modalities of one pattern, drawn with the share of that pattern, or none. What an anchor
    lacks already it goes on lacking. With ``keep_one``, an anchor that would lose all that it has keeps one of them,
    each as likely as the other: of ``k`` modalities at one rate ``p``, each is then lost with probability
    ``p - p**k / k``.

    Args:
        schema: What the types of the graphs mean; it must have an anchor with modalities.
        rate: Modality → probability to lose it, or one for all. Modalities that are not named are never lost.
        patterns: Modalities → share of the anchors that lose exactly these, e.g. ``{("scan", "text"): 0.1}``.
        keep_one: Leave each anchor at least one of the modalities that it has.

    Raises:
        ConfigError: No or two of rate and patterns, an unknown modality, a probability that is none, shares of more
            than 1 in all, a pattern of all modalities in spite of ``keep_one``, a schema without modalities.

    Example:
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = fake_graph()
        >>> dropout = ModalityDropout(schema, rate={"scan": 1.0}, keep_one=False)
        >>> left = dropout(graph, torch.Generator().manual_seed(0))
        >>> left["scan"].x.shape, left["text"].x is graph["text"].x
        (torch.Size([0, 3]), True)
    """

    schema: Schema
    rate: float | Mapping[str, float] | None = None
    patterns: Mapping[tuple[str, ...], float] | None = None
    keep_one: bool = True

    def __post_init__(self) -> None:
        _anchor(self.schema)
        if not self.schema.modalities:
            raise ConfigError(f"Nodes must hang on {self.schema.anchor!r} by 'of' edges, got none in the schema")
        if (self.rate is None) == (self.patterns is None):
            raise ConfigError(f"Exactly one of rate and patterns must be given, got {self.rate!r}, {self.patterns!r}")
        if self.patterns is not None:
            self._check_patterns(self.patterns)
            return
        for name, rate in self._rates().items():
            _check_modality("rate", name, self.schema)
            _check_probability(f"rate of {name!r}", rate)

    def __call__(self, graph: Graph, generator: torch.Generator) -> Graph:
        """Returns the graph, or batch, without what was drawn."""
        return drop_modalities(graph, self.schema, self.draw(graph, generator))

    def draw(self, graph: HeteroData, generator: torch.Generator) -> dict[str, Tensor]:
        """Draws who loses what: modality → mask ``[anchors]``, for :func:`drop_modalities`.

        How much is drawn from the generator (on the CPU) depends on the number of anchors and modalities alone.
        """
        names, rows = self.schema.modalities, graph[_anchor(self.schema)].num_nodes
        numbers = torch.rand(rows, 2 * len(names), generator=generator, dtype=torch.float64)
        if self.patterns is None:
            rates = self._rates()
            chosen = numbers[:, : len(names)] < torch.tensor([rates.get(name, 0.0) for name in names]).double()
        else:
            table = torch.tensor([[name in pattern for name in names] for pattern in [*self.patterns, ()]])
            bounds = torch.tensor([*self.patterns.values()], dtype=torch.float64).cumsum(0)
            chosen = table[torch.searchsorted(bounds, numbers[:, 0].contiguous(), right=True)]  # [anchors, modalities]
        if self.keep_one:
            has = torch.stack([self._has(graph, name) for name in names], dim=1).to(chosen.device)
            last = has.any(dim=1) & ~(has & ~chosen).any(dim=1)
            spared = numbers[:, len(names) :].where(has, torch.tensor(-1.0).double()).argmax(dim=1)
            chosen[last, spared[last]] = False
        device = graph[names[0], "of", self.schema.anchor].edge_index.device
        return {name: chosen[:, column].to(device) for column, name in enumerate(names)}

    def _has(self, graph: HeteroData, name: str) -> Tensor:
        """Mask ``[anchors]`` of those who have a modality."""
        owner = graph[name, "of", self.schema.anchor].edge_index[1]
        has = torch.zeros(graph[_anchor(self.schema)].num_nodes, dtype=torch.bool, device=owner.device)
        has[owner] = True
        return has

    def _rates(self) -> dict[str, float]:
        if isinstance(self.rate, Mapping):
            return dict(self.rate)
        return dict.fromkeys(self.schema.modalities, 0.0 if self.rate is None else self.rate)

    def _check_patterns(self, patterns: Mapping[tuple[str, ...], float]) -> None:
        seen: dict[frozenset[str], tuple[str, ...]] = {}
        for pattern, share in patterns.items():
            if not _is_set(pattern):
                raise ConfigError(
                    f"A pattern must be a tuple of modalities, each once, e.g. ('scan',), got {pattern!r}"
                )
            for name in pattern:
                _check_modality("patterns", name, self.schema)
            _check_probability(f"share of {pattern!r}", share)
            if (same := seen.setdefault(frozenset(pattern), pattern)) is not pattern:
                raise ConfigError(f"patterns must name a set of modalities once, got {same!r} and {pattern!r}")
            if self.keep_one and len(pattern) == len(self.schema.modalities):
                raise ConfigError(f"patterns has {pattern!r}, all that there is: set keep_one=False, or leave it out")
        if (total := sum(patterns.values())) > 1 + 1e-9:
            raise ConfigError(f"The shares of the patterns must sum to at most 1, got {total}")


def _anchor(schema: Schema) -> str:
    if schema.anchor is None:
        raise ConfigError("Modalities hang on an anchor; the schema must have one, got anchor=None")
    return schema.anchor


def _is_set(pattern: object) -> bool:
    return isinstance(pattern, tuple) and len(set(pattern)) == len(pattern)


def _check_modality(where: str, name: object, schema: Schema) -> None:
    if name not in schema.modalities:
        raise ConfigError(f"{where} must name modalities of the schema, {list(schema.modalities)}, got {name!r}")


def _check_probability(what: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ConfigError(f"The {what} must be between 0 and 1, got {value!r}")


def _gone(graph: HeteroData, schema: Schema, lost: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Node type → mask ``[rows]`` of the nodes that hang on nothing any more, for the types that have such nodes."""
    gone: dict[str, Tensor] = {}
    changed = list(lost)
    while changed:
        node = changed.pop()
        if node == schema.anchor:
            continue
        hung = torch.zeros(graph[node].num_nodes, dtype=torch.bool, device=next(iter(lost.values())).device)
        held = hung.clone()
        for edge_type in [edge for edge in schema.edges if edge[:2] == (node, "of")]:
            row, owner = graph[edge_type].edge_index
            ends = lost.get(node) if edge_type[2] == schema.anchor else gone.get(edge_type[2])
            hung[row] = True
            held[row if ends is None else row[~ends[owner]]] = True
        mask = hung & ~held
        if mask.any() and not (node in gone and torch.equal(mask, gone[node])):
            gone[node] = mask
            changed += [source for source, relation, target in schema.edges if (relation, target) == ("of", node)]
    return gone


def _kept(
    graph: HeteroData,
    anchor: str,
    edge_type: tuple[str, str, str],
    gone: Mapping[str, Tensor],
    lost: Mapping[str, Tensor],
) -> Tensor | None:
    """Mask ``[edges]`` of the edges of one type that stay; ``None`` if none may go and no row is renamed."""
    source, relation, target = edge_type
    masks = [(end, gone[node]) for end, node in ((0, source), (1, target)) if node in gone]
    if relation == "of" and target == anchor and source in lost:
        masks.append((1, lost[source]))
    if source == target == anchor and (made_from := relation.removeprefix("near_")) in lost and made_from != relation:
        masks += [(0, lost[made_from]), (1, lost[made_from])]
    if not masks:
        return None
    index = graph[edge_type].edge_index
    keep = torch.ones(index.shape[1], dtype=torch.bool, device=index.device)
    for end, mask in masks:
        keep &= ~mask[index[end]]
    return keep


def _take_nodes(store: Any, keep: Tensor, before: Tensor, slices: dict[Any, Any]) -> None:
    """Leaves the nodes of a mask in a store, and says in ``slices`` how many of them each graph of a batch has."""
    own = dict(slices.get(store._key, {}))
    counts = store.__dict__.get("_num_nodes")  # of each graph, if a type says it
    start = _count(torch.tensor(counts)) if counts is not None else store.get("ptr", own.get("n_id"))  # [graphs + 1]
    for key, value in list(store.items()):
        if key == "num_nodes":
            store.num_nodes = int(before[-1])
        elif key.endswith("ptr"):
            store[key] = before[value]
        elif _is_row_each(key, value, len(keep), own, start):
            store[key] = value[keep]
            if key in own:
                own[key] = before.cpu()[own[key]]
        elif isinstance(value, list | tuple) and len(value) == len(keep):
            raise DataError(f"Type {store._key!r} must hold tensors to lose rows, got a {type(value).__name__} {key!r}")
    if counts is not None:
        store._num_nodes = before.cpu()[start].diff().tolist()
    if own:
        slices[store._key] = own


def _take_edges(
    store: Any, keep: Tensor, before: Mapping[str, Tensor], slices: dict[Any, Any], incs: dict[Any, Any]
) -> None:
    """Leaves the edges of a mask in a store, between the rows that their ends have now."""
    edge_type = store._key
    own, count = dict(slices.get(edge_type, {})), _count(keep)
    start = own.get("edge_index")  # [graphs + 1]
    ends = [(end, before[node]) for end, node in ((0, edge_type[0]), (1, edge_type[2])) if node in before]
    for key, value in list(store.items()):
        if key == "edge_index":
            store.edge_index = value[:, keep]
            for end, rows in ends:
                store.edge_index[end] = rows[store.edge_index[end]]
        elif "index" in key:
            raise DataError(f"Edge type {edge_type} holds {key!r} besides edge_index; take modalities before it is set")
        elif _is_row_each(key, value, len(keep), own, start):
            store[key] = value[keep]
        else:
            continue
        if key in own:
            own[key] = count.cpu()[own[key]]
    if own:
        first = incs[edge_type]["edge_index"].clone()  # [graphs, 2, 1]: the first row of each graph, at both ends
        for end, rows in ends:
            first[:, end] = rows.cpu()[first[:, end]]
        slices[edge_type], incs[edge_type] = own, {**incs[edge_type], "edge_index": first}


def _is_row_each(key: str, value: object, rows: int, own: Mapping[str, Tensor], start: Tensor | None) -> bool:
    """Whether an attribute has a row for each node or edge; in a batch, for those of each graph."""
    if not isinstance(value, Tensor) or value.dim() == 0 or len(value) != rows:
        return False
    return key not in own or start is None or torch.equal(own[key], start.cpu())


def _count(numbers: Tensor) -> Tensor:
    """Sums of what comes before each, and of all: ``[n + 1]``."""
    return torch.nn.functional.pad(numbers.long().cumsum(0), (1, 0))
