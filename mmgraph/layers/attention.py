"""Attention as message passing: one layer, and edge sets that say who attends to whom."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmgraph.errors import ConfigError, DataError
from mmgraph.functional.adjacency import Adjacency
from mmgraph.functional.attention import attention, attention_weights
from mmgraph.functional.attention_blocks import Blocks, find_blocks
from mmgraph.functional.message import mass
from mmgraph.keys import weight_key
from mmgraph.layers.base import Activation, Layer, check_relations, keep, node_types
from mmgraph.typing import EdgeSets, EdgeType, Features, NodeType

Share: TypeAlias = Literal["all", "type", "relation"]
ALL = "all"


class Attention(Layer):
    r"""A transformer's encoder layer, in which nodes attend to the nodes that point at them.

    .. math::
        m_v = W_O \big\Vert_h \sum_{u \in N(v)} \alpha^h_{uv} W^h_V h_u + b_O, \qquad
        \alpha^h_{uv} = \mathrm{softmax}_{u \in N(v)} \big( (W^h_Q h_v) \cdot (W^h_K h_u) / \sqrt d + \log w_{uv} \big)

        h_v \leftarrow \mathrm{LN}(h_v + m_v), \qquad
        h_v \leftarrow \mathrm{LN}\big(h_v + W_2 \sigma(W_1 h_v + b_1) + b_2\big)

    :math:`N(v)` are the sources of all edges into v, of whichever relation and node type: one softmax over them all.
    With edges from all to all this is ``torch.nn.TransformerEncoderLayer``, with other edges its masked version: which
    system it is, the edges say (:mod:`mmgraph.builders.patterns`).

    What is absent has no influence: where no edge points at v, :math:`m_v` is 0 (without :math:`b_O`), and v keeps its
    residual; norms and feed-forward apply to it as to the others. A node type to which no relation leads (memory slots,
    a modality that is only asked) passes unchanged, as do types in no relation. An edge of weight w counts as w edges,
    one of weight 0 is none.

    Source: Vaswani et al. 2017, Attention is all you need; arXiv:1706.03762. Pre-norm: Xiong et al. 2020, On layer
    normalization in the transformer architecture; arXiv:2002.04745. Weights by type: Hu et al. 2020, Heterogeneous
    graph transformer; arXiv:2003.01332 (whose relations are matrices between key and query).

    Args:
        channels: Width of the states, in and out.
        relations: Edge types to attend along.
        heads: How many; they divide the channels.
        hidden: Width of the feed-forward layer; by default 4 times the channels.
        share: Who shares weights. ``all``: there is one set, and node types differ by their features alone; ``type``:
            the nodes of a type; ``relation``: as ``type``, but keys and values are shared by the edges of a relation.
        dropout: Share zeroed while training: of the attention's weights, of messages, and in the feed-forward layer.
        norm_first: Normalise what goes into attention and feed-forward, in place of what comes out.
        activation: :math:`\sigma`.

    Raises:
        ConfigError: An option out of its range.

    Example:
        >>> from mmgraph.typing import EdgeSet
        >>> layer = Attention(8, heads=2, relations=[("text", "informs", "image")])
        >>> edges = {("text", "informs", "image"): EdgeSet(torch.tensor([[0, 1, 2], [0, 0, 1]]))}
        >>> features = {"text": torch.randn(3, 8), "image": torch.randn(2, 8)}
        >>> {node: list(state.shape) for node, state in layer(features, edges).items()}
        {'text': [3, 8], 'image': [2, 8]}
        >>> layer.weights(features, edges)["text", "informs", "image"][2]  # the only edge into its target
        tensor([1., 1.], grad_fn=...)
    """

    def __init__(
        self,
        channels: int,
        *,
        relations: Iterable[EdgeType],
        heads: int = 4,
        hidden: int | None = None,
        share: Share = "all",
        dropout: float = 0.0,
        norm_first: bool = False,
        activation: Activation = torch.relu,
    ) -> None:
        super().__init__()
        hidden = 4 * channels if hidden is None else hidden
        if heads < 1 or channels < 1 or channels % heads or hidden < 1:
            raise ConfigError(
                f"heads must divide the channels, and all be at least 1, got {heads} heads, {channels} channels and "
                f"{hidden} hidden"
            )
        if not 0 <= dropout < 1 or share not in ("all", "type", "relation"):
            raise ConfigError(
                f"dropout must be in [0, 1) and share 'all', 'type' or 'relation', got {dropout}, {share!r}"
            )
        self.relations = check_relations(relations)
        self.heads, self.share, self.dropout, self.norm_first = heads, share, dropout, norm_first
        self.activation = activation
        self.sources = tuple(dict.fromkeys(relation[0] for relation in self.relations))
        self.targets = tuple(dict.fromkeys(relation[2] for relation in self.relations))
        asked = self.relations if share == "relation" else self.sources
        self.query = self._each(self.targets, lambda: nn.Linear(channels, channels))
        self.key = self._each(asked, lambda: nn.Linear(channels, channels))
        self.value = self._each(asked, lambda: nn.Linear(channels, channels))
        self.out = self._each(self.targets, lambda: nn.Linear(channels, channels))
        self.norm1 = self._each(
            node_types(self.relations) if norm_first else self.targets, lambda: nn.LayerNorm(channels)
        )
        self.norm2 = self._each(self.targets, lambda: nn.LayerNorm(channels))
        self.linear1 = self._each(self.targets, lambda: nn.Linear(channels, hidden))
        self.linear2 = self._each(self.targets, lambda: nn.Linear(hidden, channels))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draws the weights anew: those of the attention by Glorot's rule, the others as torch does."""
        for tables in self.children():
            for table in tables.children():
                table.reset_parameters()
        for tables in (self.query, self.key, self.value, self.out):
            for linear in tables.children():
                nn.init.xavier_uniform_(linear.weight)
                nn.init.zeros_(linear.bias)

    def forward(self, features: Features, edges: EdgeSets) -> Features:
        """Gives ``[rows, channels]`` for the node types that relations lead to; others pass unchanged."""
        joint, share = self._joint(features, edges), self.dropout if self.training else 0.0
        normed = self._normed(features)
        message = attention(
            self._by(self.query, *_stack(normed, self.targets)),
            self._told(self.key, normed),
            self._told(self.value, normed),
            joint.edges,
            heads=self.heads,
            bias=joint.bias,
            dropout=share,
            blocks=joint.blocks,
        )  # [targets, channels]
        state, rows = _stack(features, self.targets)
        message = self._by(self.out, message, rows)
        if joint.lonely is not None:
            message = message.masked_fill(joint.lonely, 0)
        state = state + F.dropout(message, share)
        if not self.norm_first:
            state = self._by(self.norm1, state, rows)
        grown = self.activation(
            self._by(self.linear1, self._by(self.norm2, state, rows) if self.norm_first else state, rows)
        )
        state = state + F.dropout(self._by(self.linear2, F.dropout(grown, share), rows), share)
        if not self.norm_first:
            state = self._by(self.norm2, state, rows)
        return {**features, **dict(zip(self.targets, state.split(rows), strict=True))}

    def weights(self, features: Features, edges: EdgeSets) -> dict[EdgeType, Tensor]:
        r"""Gives :math:`\alpha`: how much each target attends to each of its sources.

        Args:
            features: States of every node type, as they go into the layer.
            edges: Edges of every type.

        Returns:
            Relation → ``[edges, heads]``. Over all edges into a node, of all relations, they add up to 1.
        """
        joint, normed = self._joint(features, edges), self._normed(features)
        query, key = self._by(self.query, *_stack(normed, self.targets)), self._told(self.key, normed)
        found = attention_weights(query, key, joint.edges, heads=self.heads, bias=joint.bias)
        if joint.kept is not None:
            found = found.new_zeros(len(joint.kept), self.heads).masked_scatter(joint.kept[:, None], found)
        counts = [edges[relation].index.shape[1] for relation in self.relations]
        return dict(zip(self.relations, found.split(counts), strict=True))

    def extra_repr(self) -> str:
        """What is shown of its options."""
        return f"heads={self.heads}, share={self.share!r}, dropout={self.dropout}, norm_first={self.norm_first}"

    def _each(self, names: Iterable[NodeType | EdgeType], make: Callable[[], nn.Module]) -> nn.ModuleDict:
        return nn.ModuleDict({ALL: make()} if self.share == "all" else {_key(name): make() for name in names})

    def _by(self, tables: nn.ModuleDict, x: Tensor, rows: list[int]) -> Tensor:
        """The rows of all types that are reached, each type's by its own weights."""
        if self.share == "all":
            return tables[ALL](x)
        parts = zip(self.targets, x.split(rows), strict=True)
        return torch.cat([tables[_key(node)](part) for node, part in parts])

    def _normed(self, features: Features) -> Features:
        if not self.norm_first:
            return features
        return {
            node: self.norm1[ALL if self.share == "all" else _key(node)](features[node])
            for node in node_types(self.relations)
        }

    def _told(self, tables: nn.ModuleDict, features: Features) -> Tensor:
        """Keys or values, source type below source type, or relation below relation."""
        if self.share == "all":
            return tables[ALL](_stack(features, self.sources)[0])
        told = self.relations if self.share == "relation" else self.sources
        return torch.cat([tables[_key(name)](features[_source(name)]) for name in told])

    def _joint(self, features: Features, edges: EdgeSets) -> _Joint:
        """The edges of all relations as one set, found once for as long as they are kept."""
        told = self.relations if self.share == "relation" else self.sources
        sources = _starts([features[_source(name)].shape[0] for name in told])
        targets = _starts([features[node].shape[0] for node in self.targets])
        first, then = dict(zip(told, sources, strict=False)), dict(zip(self.targets, targets, strict=False))
        shifts = [(first[r if self.share == "relation" else r[0]], then[r[2]]) for r in self.relations]
        size = (sources[-1], targets[-1])
        if any((weight := edges[relation].weight) is not None and weight.requires_grad for relation in self.relations):
            return _join(edges, self.relations, shifts, size)
        key = ("attention", self.relations, *shifts, size)
        return keep(edges, key, lambda: _join(edges, self.relations, shifts, size))


class _Joint(NamedTuple):
    """The edges of several relations as one set, between the rows of all types."""

    edges: Adjacency
    blocks: Blocks
    bias: Tensor | None  # [edges]: log of the weights
    kept: Tensor | None  # [edges before]: which have a weight above 0; None: all
    lonely: Tensor | None  # [targets, 1]: at which no edge points; None: at all points one


def _join(
    edges: EdgeSets, relations: Sequence[EdgeType], shifts: list[tuple[int, int]], size: tuple[int, int]
) -> _Joint:
    index = torch.cat(
        [
            torch.stack([edges[r].index[0] + source, edges[r].index[1] + target])
            for r, (source, target) in zip(relations, shifts, strict=True)
        ],
        dim=1,
    )
    bias, kept = None, None
    if any(edges[relation].weight is not None for relation in relations):
        weight = torch.cat([_weight(edges, relation) for relation in relations])
        there = weight > 0
        if not torch.compiler.is_exporting() and not bool(there.all()):
            kept, rows = there, there.nonzero().flatten()
            index, weight = index.index_select(1, rows), weight.index_select(0, rows)
        bias = weight.log()
    joined = Adjacency(index, *size)
    if torch.compiler.is_exporting():  # which looks into no number
        lonely = mass(joined, None if bias is None else weight, like=torch.empty(0)) <= 0
        return _Joint(joined, Blocks((), None), bias, kept, lonely[:, None])
    lonely = joined.degree == 0
    return _Joint(joined, find_blocks(joined), bias, kept, lonely[:, None] if bool(lonely.any()) else None)


def _weight(edges: EdgeSets, relation: EdgeType) -> Tensor:
    index, weight = edges[relation]
    if weight is None:
        return torch.ones(index.shape[1], device=index.device)
    if not torch.compiler.is_exporting() and bool((~(weight >= 0) | weight.isinf()).any()):
        wrong = weight.detach()[~(weight >= 0) | weight.isinf()]
        raise DataError(
            f"Attention reads a weight as a number of edges, which must be finite and at least 0, got "
            f"{float(wrong[0]):g} in {relation}; take the exponential of what is a score"
        )
    return weight


def _stack(features: Features, nodes: Sequence[NodeType]) -> tuple[Tensor, list[int]]:
    """The states of some types, one below the other, and how many rows each has."""
    states = [features[node] for node in nodes]
    return torch.cat(states), [state.shape[0] for state in states]


def _source(name: NodeType | EdgeType) -> NodeType:
    return name if isinstance(name, str) else name[0]


def _key(name: NodeType | EdgeType) -> str:
    return weight_key(name) if isinstance(name, str) else weight_key(*name)


def _starts(counts: list[int]) -> list[int]:
    """Where each of some runs starts, and the last ends."""
    return [sum(counts[:number]) for number in range(len(counts) + 1)]
