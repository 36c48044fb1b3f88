"""Integrated gradients, of nodes and edges at once."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from mmgraph.errors import ConfigError
from mmgraph.explain.attribution import OTHERS, Attribution
from mmgraph.explain.question import ROWS, SAME, Question, read
from mmgraph.explain.scene import evaluating
from mmgraph.typing import EdgeSet, EdgeType, NodeType


def integrated_gradients(
    question: Question,
    *,
    baseline: Literal["mean", "zeros"] = "mean",
    tolerance: float = 0.001,
    steps: int = 16,
    most_steps: int = 1024,
) -> Attribution:
    r"""The gradient along the straight way from a graph that says nothing to the one there is, node and edge by each.

    .. math::
        \phi_i = (x_i - x^0_i) \int_0^1 \frac{\partial f}{\partial x_i}\big(x^0 + t (x - x^0), \, t\big) \, dt, \qquad
        \phi_e = \int_0^1 \frac{\partial f}{\partial g_e}\big(x^0 + t (x - x^0), \, t\big) \, dt

    Nodes start at the baseline features and edges at the gate :math:`g_e = 0`. A gate fades an edge of weight w into
    one from a *reference node*, which has the baseline features and no neighbours: the edge weighs :math:`g_e w`, the
    other :math:`(1 - g_e) w`. So the weight that arrives at a node stays the same, and a mean, which does not change
    when all weights shrink and jumps where they vanish, is as smooth along the way as a sum. Gates are given to the
    relations whose weights the model reads; the others are named in ``kept``, and what they carry counts for
    the nodes that it comes from. ``of`` edges are never gated: a node with baseline features says what they bring.

    The sum of all is :math:`f(x) - f(x^0)`, up to the quadrature (Gauss and Legendre): steps are doubled until the
    residual is below ``tolerance`` of the difference.

    Source: Sundararajan, Taly and Yan 2017, Axiomatic attribution for deep networks, eq. 1; arXiv:1703.01365. Messages
    faded into a baseline: Schlichtkrull, De Cao and Titov 2021, Interpreting graph neural networks for NLP with
    differentiable edge masking; arXiv:2010.00577.

    Args:
        question: What is to be explained.
        baseline: Features of a node that says nothing: the ``mean`` over training, or ``zeros``.
        tolerance: How large the residual may be, as a share of the difference (or of 0.1, if that is larger).
        steps: At how many points the gradient is taken first.
        most_steps: And at most.

    Raises:
        ConfigError: An option out of its range.

    Warns:
        UserWarning: The residual is above the tolerance still at ``most_steps``.

    Example:
        >>> from mmgraph import classifier
        >>> from mmgraph.explain import ask
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = fake_graph()
        >>> found = integrated_gradients(ask(classifier(schema), graph, 3)[0])
        >>> abs(found.residual) <= 0.001 * max(0.1, abs(found.score - found.baseline))
        True
    """
    if baseline not in ("mean", "zeros"):
        raise ConfigError(f"A way needs a baseline with features, 'mean' or 'zeros', got {baseline!r}")
    if tolerance <= 0 or steps < 1 or most_steps < steps:
        raise ConfigError(
            "tolerance must be above 0 and steps between 1 and most_steps, got "
            f"tolerance={tolerance}, steps={steps}, most_steps={most_steps}"
        )
    with evaluating(question.scene.model):
        way = _Way(question, question.reference(baseline))
        difference = way.end - way.start
        while True:
            nodes, edges = way.integrate(steps)
            total = float(sum(each.sum() for each in (*nodes.values(), *edges.values())))
            residual = abs(difference - total)
            enough = residual <= tolerance * max(0.1, abs(difference))
            if enough or 2 * steps > most_steps:
                break
            steps *= 2
    if not enough:
        warnings.warn(
            f"Integrated gradients leave {residual:.3g} of {difference:.3g} unexplained after {steps} steps, "
            f"above the tolerance of {tolerance:g}; raise most_steps, or take shapley, which is exact",
            stacklevel=2,
        )
    return _attribution(question, way, nodes, edges)


class _Way:
    """The straight way from a graph that says nothing to the one that is asked about."""

    def __init__(self, question: Question, reference: Mapping[NodeType, Tensor]) -> None:
        self.question, self.reference = question, reference
        scene, counts = question.scene, question.counts
        self.counts = {node: count + 1 for node, count in counts.items()}  # the reference node of a type comes last
        self.features = {node: torch.cat([x, reference[node][None]]) for node, x in question.features.items()}
        readable = _read_relations(question)
        self.gated = readable
        self.end = self._at(1.0)
        if abs(self.end - question.score) > SAME * max(1.0, abs(question.score)):  # it sees edges that weigh nothing
            self.gated = ()
            self.end = self._at(1.0)
        self.kept = tuple(
            name
            for name, edge_set in question.edges.items()
            if name[1] != "of" and edge_set.index.shape[1] and name not in self.gated
        )
        self.start = self._at(0.0)
        self.anchor = scene.anchor

    def _at(self, t: float) -> float:
        with torch.no_grad():
            x, gates = self._leaves(torch.tensor([t]))
            return float(self._scores(x, gates))

    def _leaves(self, t: Tensor) -> tuple[dict[NodeType, Tensor], dict[EdgeType, Tensor]]:
        """Features ``[points, rows + 1, channels]`` and gates ``[points, edges]`` at points of the way."""
        x = {
            node: torch.lerp(self.reference[node].expand_as(x), x, t.to(x.dtype)[:, None, None])
            for node, x in self.features.items()
        }
        edges = self.question.edges
        return x, {name: t[:, None].expand(-1, edges[name].index.shape[1]).clone() for name in self.gated}

    def _scores(self, x: Mapping[NodeType, Tensor], gates: Mapping[EdgeType, Tensor]) -> Tensor:
        """Scores ``[points]`` of copies side by side."""
        question = self.question
        points = len(next(iter(x.values()))) if x else len(next(iter(gates.values())))
        copies = torch.arange(points)[:, None]
        sets = {}
        for name, (index, weight) in question.edges.items():
            last = [self.counts[name[end]] - 1 for end in (0, 2)]
            faded = torch.stack([torch.full_like(index[1], last[0]), index[1]])
            if name in gates:
                index, plain = torch.cat([index, faded], dim=1), weight if weight is not None else 1.0
                value = torch.cat([gates[name] * plain, (1 - gates[name]) * plain], dim=1).flatten()
            else:
                value = None if weight is None else weight.repeat(points)
            if name[1] == "of":  # reference nodes hang on each other
                index = torch.cat([index, torch.tensor(last)[:, None]], dim=1)
                value = None if weight is None else torch.cat([weight, weight.new_ones(1)]).repeat(points)
            ends = [(index[end] + self.counts[name[2 * end]] * copies).flatten() for end in (0, 1)]
            sets[name] = EdgeSet(torch.stack(ends), value)
        counts = {node: points * count for node, count in self.counts.items()}
        outputs = question.scene.call({node: each.flatten(0, 1) for node, each in x.items()}, counts, sets)
        anchors = question.place + self.counts[question.scene.anchor] * copies[:, 0]
        return read(outputs[anchors], question.output, question.kind)

    def integrate(self, steps: int) -> tuple[dict[NodeType, Tensor], dict[EdgeType, Tensor]]:
        """Attribution of each node ``[rows, channels]`` and gated edge ``[edges]``."""
        places, shares = np.polynomial.legendre.leggauss(steps)
        t, share = torch.from_numpy((places + 1) / 2).float(), torch.from_numpy(shares / 2).float()
        size = max(1, ROWS // max(1, sum(self.counts.values())))
        nodes = {node: torch.zeros_like(x) for node, x in self.question.features.items()}
        edges = {name: torch.zeros(self.question.edges[name].index.shape[1]) for name in self.gated}
        for points, weight in zip(t.split(size), share.split(size), strict=True):
            x, gates = self._leaves(points)
            leaves = [leaf.requires_grad_() for leaf in (*x.values(), *gates.values())]
            with torch.enable_grad():
                score = (self._scores(x, gates) * weight).sum()
            grads = torch.autograd.grad(score, leaves, allow_unused=True, materialize_grads=True)
            for node, grad in zip(x, grads, strict=False):
                way = self.question.features[node] - self.reference[node]
                nodes[node] += (grad.sum(dim=0)[:-1] * way).detach()
            for name, grad in zip(gates, grads[len(x) :], strict=True):
                edges[name] += grad.sum(dim=0)
        return nodes, edges


def _read_relations(question: Question) -> tuple[EdgeType, ...]:
    """The relations besides ``of`` whose weights the score is read from."""
    names = [name for name in question.edges if name[1] != "of" and question.edges[name].index.shape[1]]
    weights: dict[EdgeType, Tensor | None] = {name: edge_set.weight for name, edge_set in question.edges.items()}
    leaves = []
    for name in names:
        weight = weights[name]
        leaf = torch.ones(question.edges[name].index.shape[1]) if weight is None else weight.detach().clone()
        weights[name] = leaf.requires_grad_()
        leaves.append(leaf)
    if not leaves:
        return ()
    with torch.enable_grad():
        features = {node: x[None] for node, x in question.features.items()}
        score = question.answer(features, weights, 1, {}, {})
        grads = (
            torch.autograd.grad(score.sum(), leaves, allow_unused=True) if score.requires_grad else [None] * len(leaves)
        )
    return tuple(name for name, grad in zip(names, grads, strict=True) if grad is not None)


def _attribution(
    question: Question, way: _Way, channels: dict[NodeType, Tensor], edges: dict[EdgeType, Tensor]
) -> Attribution:
    parts = {}
    own = question.own
    nodes = {node: each.sum(dim=1) for node, each in channels.items()}
    for node, each in nodes.items():
        mask = own.get(node, torch.zeros_like(each, dtype=torch.bool))
        if mask.any():
            parts[node] = float(each[mask].double().sum())
        if not mask.all():
            parts[OTHERS.format(node)] = float(each[~mask].double().sum())
    parts |= {name: float(edges[each].double().sum()) for name, each in question.relations.items() if each in edges}
    return Attribution(
        method="integrated gradients",
        anchor=question.anchor,
        output=question.output,
        score=way.end,
        baseline=way.start,
        parts=parts,
        nodes=nodes,
        edges=edges,
        channels=channels,
        n_id=question.n_id,
        index=question.index,
        kept=way.kept,
    )
