"""The aligner: one space for all modalities, each anchor embedded on views that can't see each other."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmgraph.blueprint import Recorded
from mmgraph.encoders import Encoder
from mmgraph.errors import ConfigError
from mmgraph.functional import pool_reached
from mmgraph.keys import weight_key
from mmgraph.layers import Layer, Stack, edge_sets, gather_parts
from mmgraph.schema import Schema, view
from mmgraph.typing import EdgeType, Seen

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData


class Aligner(Recorded):
    """Alignment's model: the same anchor, seen through each modality alone, as vectors that can be compared.

    1. *view*: for each view of the anchors, all other modalities are taken out of the graph, and the relations that
       were made from them (``near_<modality>``). So no view can read what it is to be matched with.
    2. *encode*, *within*, *gather*: as in :class:`~mmgraph.model.Model`.
    3. *project*: along the embedding graph ``spaces``, from modalities to spaces and from spaces to coarser ones
       (Alayrac et al. 2020, Self-Supervised MultiModal Versatile Networks, arXiv:2006.16228: fine and coarse). A view
       of several modalities is the mean of those that are there.
    4. *between*: messages among anchors, in the last space, over the population (optional).

    Args:
        schema: What the types of the graphs mean; it must name an anchor.
        encoder: Payloads to features.
        spaces: Space → {modality or earlier space: its projection ``[rows, channels] -> [rows, channels]``}.
        views: View → modalities that it sees; by default each modality that ``spaces`` names is a view of its own.
        within: Message passing before the projections.
        between: Message passing among anchors.

    Raises:
        ConfigError: The schema has no anchor, a space is made from something else than modalities of the anchor and
            earlier spaces, one module is given twice, or a view doesn't reach the last space.

    Example:
        >>> from mmgraph.encoders import Raw
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = fake_graph()
        >>> spaces = {"joint": {"scan": nn.Linear(3, 4), "text": nn.Linear(5, 4)}}
        >>> aligner = Aligner(schema=schema, encoder=Raw(["scan", "text"]), spaces=spaces)
        >>> {name: list(vectors.shape) for name, vectors in aligner(graph).items()}
        {'scan': [40, 4], 'text': [40, 4]}
    """

    def __init__(
        self,
        *,
        schema: Schema,
        encoder: Encoder,
        spaces: Mapping[str, Mapping[str, nn.Module]],
        views: Mapping[str, Collection[str]] | None = None,
        within: Layer | None = None,
        between: Layer | None = None,
    ) -> None:
        super().__init__()
        if schema.anchor is None:
            raise ConfigError("Aligner needs a schema with an anchor, got none; set Schema(anchor=...)")
        self.schema, self.anchor = schema, schema.anchor
        known = [*schema.paths, *([schema.anchor] if schema.nodes[schema.anchor].channels else [])]
        self.sources = {space: tuple(sources) for space, sources in spaces.items()}
        _check_spaces(self.sources, known)
        _check_own(spaces)
        named = [name for name in known if any(name in sources for sources in self.sources.values())]
        chosen = {name: (name,) for name in named} if views is None else views
        self.views = {name: tuple(seen) for name, seen in chosen.items()}
        _check_views(self.views, self.sources, named)
        self.space = list(self.sources)[-1]
        self.encoder = encoder
        self.within, self.between = within or Stack(), between or Stack()
        self.projections = nn.ModuleDict(
            {
                weight_key(space): nn.ModuleDict({weight_key(name): module for name, module in sources.items()})
                for space, sources in spaces.items()
            }
        )

    def forward(self, graph: HeteroData) -> dict[str, Tensor]:
        """Gives each view's unit vectors in the last space, ``[anchors, channels]``: NaN where it has nothing."""
        found = self.project(graph)[self.space]
        return {name: _unit(seen).masked_fill(~seen.present[:, None], float("nan")) for name, seen in found.items()}

    def project(self, graph: HeteroData) -> dict[str, dict[str, Seen]]:
        """Gives what each view says of each anchor, in each space that it reaches (not scaled to any length)."""
        found: dict[str, dict[str, Seen]] = {space: {} for space in self.sources}
        for name, modalities in self.views.items():
            for space, seen in self._through(self.hidden(graph, name), modalities).items():
                found[space][name] = seen
        return found

    def hidden(self, graph: HeteroData, name: str) -> HeteroData:
        """Gives what one view may see of a graph: no other modality, and no relation made from one."""
        others = [one for one in self.schema.paths if one not in self.views[name]]
        made = [edge for one in others if (edge := (self.anchor, f"near_{one}", self.anchor)) in self.schema.edges]
        if torch.compiler.is_exporting():
            seen = _emptied(graph, self.schema, others, made)
        else:
            seen = view(graph, self.schema, hide=others, drop_edges=made)
        if self.anchor not in self.views[name] and "x" in seen[self.anchor]:
            seen[self.anchor].x = torch.zeros_like(seen[self.anchor].x)  # the anchors stay, what they carry does not
        return seen

    def states(self, graph: HeteroData, node: str) -> Tensor:
        """Gives each node of a type in the last space, ``[rows, channels]``, made on the view of that type alone.

        With linear projections, and nothing ``between``, their mean at an anchor is what the view says of it.

        Raises:
            ConfigError: The type is no view of its own.
        """
        name = next((name for name, seen in self.views.items() if seen == (node,)), None)
        if name is None:
            views = {name: list(seen) for name, seen in self.views.items()}
            raise ConfigError(f"Nodes to align must be a view of their own, one of {views}, got {node!r}")
        seen = self.hidden(graph, name)
        found = {node: self.within(self.encoder(seen), edge_sets(seen))[node]}
        for space, sources in self.sources.items():
            made = [self._module(space, source)(found[source]) for source in sources if source in found]
            if made:
                found[space] = torch.stack(made).mean(dim=0)
        return found[self.space]

    def embed(self, graph: HeteroData) -> Tensor:
        """Gives one vector an anchor, ``[anchors, channels]``: the mean of its views' unit vectors; zeros if none."""
        found = list(self.project(graph)[self.space].values())
        counts = torch.stack([seen.present for seen in found]).sum(dim=0).clamp_min(1)
        return torch.stack([_unit(seen) for seen in found]).sum(dim=0) / counts[:, None]

    def embed_subgraphs(self, graph: HeteroData, *, hops: int = 1) -> Tensor:
        """Gives a vector for the subgraph around each anchor, as :meth:`Model.embed_subgraphs` does."""
        states = self.embed(graph)
        joins = [graph[relation].edge_index for relation in self.schema.relations(self.anchor)]
        return pool_reached(states, torch.cat(joins, dim=1), hops=hops) if hops and joins else states

    def _through(self, seen: HeteroData, modalities: Collection[str]) -> dict[str, Seen]:
        """One view of a graph, in all spaces that it reaches."""
        edges = edge_sets(seen)
        parts, present = gather_parts(self.within(self.encoder(seen), edges), edges, seen, self.schema)
        found: dict[str, Seen] = {name: Seen(parts[name], present[name]) for name in modalities}
        for space, sources in self.sources.items():
            given = [self._map(space, source, found[source]) for source in sources if source in found]
            if given:
                found[space] = given[0] if len(given) == 1 else _mean(given)
        last = found[self.space]
        moved = self.between({self.anchor: last.states}, edges)[self.anchor]
        found[self.space] = Seen(moved * last.present[:, None], last.present)
        return {space: found[space] for space in self.sources if space in found}

    def _map(self, space: str, source: str, seen: Seen) -> Seen:
        return Seen(self._module(space, source)(seen.states) * seen.present[:, None], seen.present)

    def _module(self, space: str, source: str) -> nn.Module:
        return cast("nn.ModuleDict", self.projections[weight_key(space)])[weight_key(source)]


def _emptied(graph: HeteroData, schema: Schema, hide: Collection[str], drop_edges: Collection[EdgeType]) -> HeteroData:
    """A view by sizes alone, as a program can be exported from it: whole types of nodes and edges are emptied.

    Raises:
        ConfigError: Some nodes hang on hidden ones, so that their rows would have to be looked at.
    """
    from torch_geometric.data import HeteroData

    seen = HeteroData()
    for node, spec in schema.nodes.items():
        if found := [edge for edge in schema.edges if edge[1] == "of" and edge[2] in hide and edge[0] not in hide]:
            raise ConfigError(f"A view that is exported must hide whole types, got nodes by {found[0]} on hidden ones")
        keys = [*(["x"] if spec.channels else []), *spec.attributes]
        seen[node].num_nodes = 0 if node in hide else graph[node].num_nodes
        seen[node].update({key: graph[node][key][:0] if node in hide else graph[node][key] for key in keys})
    for edge in schema.edges:
        empty = edge in drop_edges or not {edge[0], edge[2]}.isdisjoint(hide)
        for key in ("edge_index", "edge_weight", "edge_attr"):
            if key in graph[edge]:
                value = graph[edge][key]
                seen[edge][key] = value.narrow(1 if key == "edge_index" else 0, 0, 0) if empty else value
    return seen


def _unit(seen: Seen) -> Tensor:
    return F.normalize(seen.states, dim=1)


def _mean(given: list[Seen]) -> Seen:
    counts = torch.stack([seen.present for seen in given]).sum(dim=0)
    states = torch.stack([seen.states for seen in given]).sum(dim=0) / counts.clamp_min(1)[:, None]
    return Seen(states, counts > 0)


def _check_spaces(sources: Mapping[str, Collection[str]], known: Collection[str]) -> None:
    if not sources or not all(sources.values()):
        raise ConfigError(f"spaces needs at least 1 space, each made from something, got {dict(sources)}")
    earlier: list[str] = []
    for space, names in sources.items():
        if space in known:
            raise ConfigError(f"A space must have another name than a modality, got {space!r}")
        if odd := [name for name in names if name not in (*known, *earlier)]:
            raise ConfigError(
                f"Space {space!r} must be made from modalities {list(known)} or earlier spaces {earlier}, "
                f"got {odd[0]!r}"
            )
        earlier.append(space)


def _check_own(spaces: Mapping[str, Mapping[str, nn.Module]]) -> None:
    """Weights that stand twice in a model can't be saved."""
    found: dict[int, str] = {}
    for space, sources in spaces.items():
        for source, module in sources.items():
            if id(module) in found and next(module.parameters(), next(module.buffers(), None)) is not None:
                raise ConfigError(
                    f"{source!r} in {space!r} needs a module of its own, got that of {found[id(module)]}; to share "
                    "one, bring both into an earlier space and give that space the module"
                )
            found[id(module)] = f"{source!r} in {space!r}"


def _check_views(
    views: Mapping[str, Collection[str]], sources: Mapping[str, Collection[str]], named: Collection[str]
) -> None:
    if not views:
        raise ConfigError(f"Aligner needs at least 1 view, of the modalities {list(named)}, got none")
    for name, seen in views.items():
        if not seen or not set(seen) <= set(named):
            raise ConfigError(f"View {name!r} must see some of the modalities {list(named)}, got {list(seen)}")
        reached = set(seen)
        for space, given in sources.items():
            if reached & set(given):
                reached.add(space)
        if list(sources)[-1] not in reached:
            raise ConfigError(
                f"View {name!r} must reach the last space, {list(sources)[-1]!r}, got {sorted(reached)}; "
                "add a projection to it"
            )
