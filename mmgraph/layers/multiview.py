"""Multi-view LSTM: one memory a view, and views that read each other's past."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmgraph.errors import ConfigError, DataError
from mmgraph.functional.levels import chains
from mmgraph.functional.lstm import Schedule, lstm
from mmgraph.functional.temporal import Clock, preceding
from mmgraph.keys import weight_key
from mmgraph.layers.base import Layer, keep
from mmgraph.layers.lstm import scheduled, start
from mmgraph.typing import EdgeSet, EdgeSets, EdgeType, Features, NodeType

START = (2 / 3, 1 / 3)  # where a learned α and β start: the paper's hybrid


class MultiViewLSTM(Layer):
    r"""An LSTM a view, whose gates see the view's own last state and those of the other views.

    .. math::
        \begin{pmatrix} i \\ f \\ g \\ o \end{pmatrix}_v &= \begin{pmatrix} \sigma \\ \sigma \\ \tanh \\ \sigma
        \end{pmatrix} \Big(W_v x_v(t) + b_v + U_{vv} D_\alpha h_v(t-1) + \sum_{u \ne v} U_{vu} D_\beta h_u(t-1)\Big) \\
        c_v(t) &= f_v \odot c_v(t-1) + i_v \odot g_v, \qquad h_v(t) = o_v \odot \tanh(c_v(t))

    A fixed :math:`\alpha` is the share of a state's channels that its own view reads: :math:`D_\alpha` keeps the first
    :math:`\lfloor \alpha d \rfloor`; so is :math:`\beta` for the other views. A learned one scales them all,
    :math:`D_\alpha = \sigma(a)`. Memory stays with its view, whatever they are.

    | topology | α | β | is exactly |
    |---|---|---|---|
    | view-specific | 1 | 0 | one ``torch.nn.LSTM`` a view |
    | coupled | 0 | 1 | |
    | fully connected | 1 | 1 | one LSTM on all views: block-diagonal weights of the input, dense recurrent ones |
    | hybrid | 2/3 | 1/3 | |

    A view that is missing at a step has no node there: the others read the last node that it has before that step, and
    it goes on from there itself. Before its first node it reads as zeros.

    Source: Rajagopalan, Morency, Baltrušaitis and Goecke 2016, Extending long short-term memory for multi-view
    structured learning, ECCV; doi:10.1007/978-3-319-46478-7_21. The shares are those of the authors' code
    (github.com/r-shyam/mv-lstm, ``mvlstm.py``); learned ones are not in the paper.

    Args:
        widths: View (node type) → width of its states that come in.
        channels: Width d of the states that go out, the same for all views.
        relation: Name of the edges from each view's last node before a step to each view's node at it,
            ``(u, relation, v)`` for all pairs of views, as :func:`mmgraph.builders.join_next` makes them. Those between
            two views are not read where β is 0.
        steps: Node type on which the views' nodes hang by ``of`` edges. With it the order is read off the chains of
            ``(steps, relation, steps)``, and the graph needs no edges between views.
        alpha: Share of its own last state that a view reads, in [0, 1]; ``None`` to learn it, from 2/3.
        beta: Share of the others' last states; ``None`` to learn it, from 1/3.

    Raises:
        ConfigError: No view, a width below 1, or a share out of its range; when called, edges that are not there.
        DataError: Edges with a cycle, or steps that are no chains (when called).

    Example:
        >>> from mmgraph.typing import EdgeSet
        >>> views = ("audio", "video")
        >>> edges = {(u, "next", v): EdgeSet(torch.tensor([[0, 1], [1, 2]])) for u in views for v in views}
        >>> layer = MultiViewLSTM({"audio": 2, "video": 3}, 4)
        >>> states = layer({"audio": torch.ones(3, 2), "video": torch.ones(3, 3)}, edges)
        >>> {view: list(state.shape) for view, state in states.items()}
        {'audio': [3, 4], 'video': [3, 4]}
    """

    def __init__(
        self,
        widths: Mapping[NodeType, int],
        channels: int,
        *,
        relation: str = "next",
        steps: NodeType | None = None,
        alpha: float | None = 1.0,
        beta: float | None = 1.0,
    ) -> None:
        super().__init__()
        if not widths or min(*widths.values(), channels) < 1:
            raise ConfigError(f"MultiViewLSTM needs views, and widths of at least 1, got {dict(widths)} to {channels}")
        for name, share in (("alpha", alpha), ("beta", beta)):
            if share is not None and not 0 <= share <= 1:
                raise ConfigError(f"{name} must be in [0, 1], or None to learn it, got {share}")
        self.views, self.relation, self.steps = tuple(widths), relation, steps
        self.fixed = (alpha, beta)
        pairs = [(u, relation, v) for u in self.views for v in self.views if u == v or beta != 0]
        self.relations: tuple[EdgeType, ...] = tuple(pairs)
        self.input = nn.ModuleDict({weight_key(v): nn.Linear(widths[v], 4 * channels) for v in self.views})
        read = {r: self._columns(r, channels) for r in self.relations}
        self.recurrent = nn.ModuleDict(
            {weight_key(*r): nn.Linear(count, 4 * channels, bias=False) for r, count in read.items() if count}
        )
        self.alpha_logit, self.beta_logit = (
            None if share is not None else nn.Parameter(torch.tensor(first).logit())
            for share, first in zip(self.fixed, START, strict=True)
        )
        start(self.input, self.recurrent)

    @property
    def alpha(self) -> Tensor | float:
        """The share of its own last state that a view reads."""
        return self._share(0)

    @property
    def beta(self) -> Tensor | float:
        """The share of the other views' last states that a view reads."""
        return self._share(1)

    def forward(self, features: Features, edges: EdgeSets) -> Features:
        """Gives ``[rows, channels]`` for the views; other node types pass unchanged."""
        rows = {view: len(features[view]) for view in self.views}
        key = ("multi-view", self.relations, self.steps, *rows.values())
        schedule, edge_weight = keep(edges, key, lambda: self._schedule(edges, rows))
        gates = torch.cat([self.input[weight_key(v)](features[v]) for v in self.views])  # [rows, 4 * channels]
        carries = [r[0] == r[2] for r in self.relations]
        h, _ = lstm(
            gates, schedule, [self._weight(r) for r in self.relations], edge_weight=edge_weight, carries=carries
        )
        return {**features, **dict(zip(self.views, h.split(list(rows.values())), strict=True))}

    def extra_repr(self) -> str:
        """What is printed of the layer."""
        shares = ("learned" if share is None else share for share in self.fixed)
        return "alpha={}, beta={}".format(*shares)

    def _columns(self, relation: EdgeType, channels: int) -> int:
        share = self.fixed[relation[0] != relation[2]]
        return channels if share is None else int(share * channels + 1e-9)  # 1e-9: 0.29 * 100 is 28.999…

    def _share(self, which: int) -> Tensor | float:
        logit = (self.alpha_logit, self.beta_logit)[which]
        fixed = self.fixed[which]
        return logit.sigmoid() if fixed is None and logit is not None else float(fixed or 0)

    def _weight(self, relation: EdgeType) -> Tensor | None:
        key, which = weight_key(*relation), int(relation[0] != relation[2])
        if key not in self.recurrent:
            return None
        weight: Tensor = self.recurrent[key].weight
        return weight if self.fixed[which] is not None else weight * self._share(which)

    def _schedule(self, edges: EdgeSets, rows: dict[NodeType, int]) -> tuple[Schedule, list[Tensor | None]]:
        if self.steps is not None:
            sets = self._through(edges, rows)
        elif missing := [r for r in self.relations if r not in edges]:
            raise ConfigError(
                f"MultiViewLSTM needs edges {list(self.relations)}, got none of type {missing[0]}; "
                "make them with builders.join_next, or name the node type with the steps"
            )
        else:
            sets = {r: edges[r] for r in self.relations}
        schedule = scheduled("MultiViewLSTM", {r: found.index for r, found in sets.items()}, rows)
        return schedule, [found.weight for found in sets.values()]

    def _through(self, edges: EdgeSets, rows: dict[NodeType, int]) -> dict[EdgeType, EdgeSet]:
        """The edges between views that the order of the steps implies."""
        assert self.steps is not None
        index = edges[self.steps, self.relation, self.steps].index
        owners = {view: self._owner(edges, view, count) for view, count in rows.items()}
        count = max((int(rows.max()) + 1 for rows in (index, *owners.values()) if rows.numel()), default=0)
        found = chains(index, count)
        if found is None:
            raise DataError(
                f"MultiViewLSTM needs steps in chains, each after one at most and before one at most, got others along "
                f"{(self.steps, self.relation, self.steps)}; make them with builders.join_next"
            )
        sets = {}
        for source, relation, target in self.relations:
            placed = [(owners[view] >= 0).nonzero().flatten() for view in (source, target)]
            at = [owners[view][rows] for view, rows in zip((source, target), placed, strict=True)]
            ends = preceding(*(Clock(found.first[one], found.place[one]) for one in at))
            sets[source, relation, target] = EdgeSet(torch.stack([placed[0][ends[0]], placed[1][ends[1]]]))
        return sets

    def _owner(self, edges: EdgeSets, view: NodeType, rows: int) -> Tensor:
        """The step that each node of a view hangs on, ``[rows]``; -1 for none."""
        index = edges[view, "of", self.steps or ""].index
        count = torch.bincount(index[0], minlength=rows)
        if odd := (count > 1).nonzero().flatten().tolist():
            raise DataError(
                f"MultiViewLSTM needs each node of {view!r} to be of 1 {self.steps!r} at most, "
                f"got {int(count[odd[0]])} for row {odd[0]}"
            )
        owner = index.new_full((rows,), -1)
        owner[index[0]] = index[1]
        return owner
