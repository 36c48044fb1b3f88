"""Long short-term memory along edges, in the order that they give."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate

import torch
from torch import Tensor, nn

from mmgraph.errors import DataError
from mmgraph.functional.levels import chains, cycle
from mmgraph.functional.lstm import Packing, Schedule, lstm, packed_lstm
from mmgraph.keys import weight_key
from mmgraph.layers.base import Layer, check_relations, keep, node_types
from mmgraph.typing import EdgeSets, EdgeType, Features, NodeType


class LSTM(Layer):
    r"""An LSTM that reads each node after all those that point at it: sequences, trees, any graph without cycles.

    .. math::
        i_v, g_v, o_v &= \sigma, \tanh, \sigma \Big(W x_v + b + \sum_r \sum_{u \to_r v} w_{uv} U_r h_u\Big)_{i, g, o} \\
        f_{uv} &= \sigma(W x_v + b + U_r h_u)_f \\
        c_v &= i_v \odot g_v + \sum_r \sum_{u \to_r v} w_{uv} f_{uv} \odot c_u, \qquad
        h'_v = o_v \odot \tanh(c_v)

    Along ``next`` it is ``torch.nn.LSTM`` on each sequence, number by number; along ``previous`` the backward half of a
    bidirectional one. From children to parents it is the Child-Sum Tree-LSTM; with a relation for the left child and
    one for the right, the N-ary one, without forget gates across children. A node without predecessors starts from
    zeros. All nodes of one depth are computed at once, so that the time goes by the longest path; sequences go through
    torch's own kernel.

    Source: Tai, Socher and Manning 2015, Improved semantic representations from tree-structured long short-term memory
    networks, eq. 2 to 14; arXiv:1503.00075. Hochreiter and Schmidhuber 1997, Long short-term memory.

    Args:
        in_channels: Width of the states that come in.
        channels: Width of the states that go out.
        relations: Edge types to read along; together they must have no cycle. W and b are the node type's, U the
            relation's. The forget gate starts open (bias 1, after Jozefowicz, Zaremba and Sutskever 2015).

    Raises:
        DataError: The edges have a cycle (when called).

    Example:
        >>> from mmgraph.typing import EdgeSet
        >>> layer = LSTM(2, 4, relations=[("word", "next", "word")])
        >>> layer({"word": torch.ones(3, 2)}, {("word", "next", "word"): EdgeSet(torch.tensor([[0, 1], [1, 2]]))})[
        ...     "word"
        ... ].shape
        torch.Size([3, 4])
    """

    def __init__(self, in_channels: int, channels: int, *, relations: Iterable[EdgeType]) -> None:
        super().__init__()
        self.relations = check_relations(relations)
        self.nodes = node_types(self.relations)
        self.input = nn.ModuleDict({weight_key(n): nn.Linear(in_channels, 4 * channels) for n in self.nodes})
        self.recurrent = nn.ModuleDict(
            {weight_key(*r): nn.Linear(channels, 4 * channels, bias=False) for r in self.relations}
        )
        start(self.input, self.recurrent)

    def forward(self, features: Features, edges: EdgeSets) -> Features:
        """Gives ``[rows, channels]`` for the node types of the relations; others pass unchanged."""
        plan = self._plan(features, edges)
        weight = [self.recurrent[weight_key(*r)].weight for r in self.relations]
        if isinstance(plan, Packing):
            (node,) = self.nodes
            own = self.input[weight_key(node)]
            return {**features, node: packed_lstm(features[node], plan, own.weight, weight[0], own.bias)}
        gates = torch.cat([self.input[weight_key(n)](features[n]) for n in self.nodes])  # [rows, 4 * channels]
        h, _ = lstm(gates, plan, weight, edge_weight=[edges[r].weight for r in self.relations])
        return {**features, **dict(zip(self.nodes, h.split([len(features[n]) for n in self.nodes]), strict=True))}

    def _plan(self, features: Features, edges: EdgeSets) -> Schedule | Packing:
        rows = {node: len(features[node]) for node in self.nodes}
        first = self.relations[0]

        def make() -> Schedule | Packing:
            if len(self.relations) == 1 == len(self.nodes) and edges[first].weight is None:
                found = chains(edges[first].index, rows[first[0]])
                if found is not None:
                    return Packing.of(found)
            return scheduled("LSTM", {r: edges[r].index for r in self.relations}, rows)

        return keep(edges, ("in order", self.relations, *rows.values()), make)


def scheduled(who: str, indices: dict[EdgeType, Tensor], rows: dict[NodeType, int]) -> Schedule:
    """The order in which the rows of some node types, counted one type after the other, can be worked through.

    Raises:
        DataError: The edges have a cycle; it is named.
    """
    begin = dict(zip(rows, accumulate(rows.values(), initial=0), strict=False))
    shifted = [index + index.new_tensor([[begin[r[0]]], [begin[r[2]]]]) for r, index in indices.items()]
    total = sum(rows.values())
    if found := cycle(torch.cat(shifted, dim=1), total):
        names = [f"{node} {row}" for node in rows for row in range(rows[node])]
        most = 8
        path = [*(names[row] for row in found[:most]), *(["…"] if len(found) > most else []), names[found[0]]]
        raise DataError(
            f"{who} needs edges without a cycle, got {' → '.join(path)} along {list(indices)}; "
            "keep the edges of one direction, e.g. next without previous"
        )
    return Schedule(shifted, total)


@torch.no_grad()
def start(inputs: nn.ModuleDict, recurrent: nn.ModuleDict) -> None:
    """Draws first weights: Glorot's rule for inputs, orthogonal gates for what recurs, forget gates open."""
    for linear in inputs.values():
        nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(linear.bias)
        _, forget, _, _ = linear.bias.chunk(4)
        forget.fill_(1.0)
    for linear in recurrent.values():
        for gate in linear.weight.chunk(4):
            nn.init.orthogonal_(gate)
