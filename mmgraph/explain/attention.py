"""Attention weights as an explanation: layer by layer, and followed through all layers."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from mmgraph.errors import ConfigError
from mmgraph.explain.attribution import OTHERS, Attribution
from mmgraph.explain.question import Question
from mmgraph.explain.scene import evaluating
from mmgraph.typing import EdgeSets, EdgeType, Features, NodeType


@runtime_checkable
class Attends(Protocol):
    """A layer that says how it attends."""

    def weights(self, features: Features, edges: EdgeSets) -> Mapping[EdgeType, Tensor]:
        """Gives the attention of each edge, ``[edges, heads]`` an edge type, in the order of the edges."""


def attention(question: Question) -> Attribution:
    r"""Where attention layers look, followed from the anchor back to the nodes that it starts from.

    .. math:: A_\ell = \tfrac12 I + \tfrac12 \bar{W}_\ell, \qquad R = A_L \cdots A_1

    :math:`\bar{W}_\ell` are the weights of a layer, mean over the heads, rows of which add up to 1; a node that
    attends to nothing keeps itself. In a :class:`~mmgraph.model.Model` the anchor's row is spread over its modality
    nodes where they are gathered. The shares of the nodes add up to 1; those of the edges are their weights, mean over
    the layers.

    Source: Abnar and Zuidema 2020, Quantifying attention flow in transformers, eq. 1; arXiv:2005.00928.

    Attention says where a model looks, not what it makes of it: it has no sign and is no part of the score. Trust
    :func:`~mmgraph.explain.shapley` for that.

    Args:
        question: What is to be explained.

    Raises:
        ConfigError: The model has no layer with attention ``weights``, or none that was called.

    Example:
        A model with an attention layer tells where it looks::

            print(attention(ask(model, graph, 3)[0]))
    """
    model = question.scene.model
    seen = _listen(question)
    if not seen:
        raise ConfigError(
            "attention explains models with layers that have weights(features, edges) -> {edge type: [edges, heads]}, "
            f"got {type(model).__name__} without; use shapley or integrated_gradients"
        )
    counts = question.counts
    starts = dict(zip(counts, accumulate(counts.values(), initial=0), strict=False))
    late = set(getattr(model, "between", nn.Module()).modules())
    before = [weights for layer, weights in seen if layer not in late]
    after = [weights for layer, weights in seen if layer in late]
    state = torch.eye(sum(counts.values()))
    for weights in before:
        state = _matrix(weights, question, starts) @ state
    state = _gathering(question, starts) @ state
    for weights in after:
        state = _matrix(weights, question, starts) @ state
    row = state[starts[question.scene.anchor] + question.place]  # [all nodes]
    nodes = {node: row[start : start + counts[node]] for node, start in starts.items()}
    edges: dict[EdgeType, Tensor] = {}
    for _, weights in seen:
        for name, weight in weights.items():
            edges[name] = edges.get(name, torch.zeros(len(weight))) + weight / len(seen)
    return Attribution(
        method="attention",
        anchor=question.anchor,
        output=question.output,
        score=1.0,
        baseline=0.0,
        parts=_parts(question, nodes),
        nodes=nodes,
        edges=edges,
        n_id=question.n_id,
        index=question.index,
    )


def _listen(question: Question) -> list[tuple[nn.Module, dict[EdgeType, Tensor]]]:
    """The layers that attend, as they are called, with the mean over the heads of each edge's weight, ``[edges]``."""
    model, seen = question.scene.model, []

    def note(layer: nn.Module, args: tuple[Any, ...]) -> None:
        assert isinstance(layer, Attends)
        given = layer.weights(*args)
        seen.append((layer, {name: weight.detach().mean(dim=1) for name, weight in given.items()}))

    layers: list[nn.Module] = [layer for layer in model.modules() if isinstance(layer, Attends)]
    hooks = [layer.register_forward_pre_hook(note) for layer in layers]
    try:
        with evaluating(model), torch.no_grad():
            question.values({}, {}, copies=1)
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def _matrix(weights: Mapping[EdgeType, Tensor], question: Question, starts: Mapping[NodeType, int]) -> Tensor:
    """Half the node itself, half what it attends to, ``[all nodes, all nodes]``."""
    size = sum(question.counts.values())
    found = torch.zeros(size, size)
    for name, weight in weights.items():
        source, target = question.edges[name].index
        found.index_put_((target + starts[name[2]], source + starts[name[0]]), weight, accumulate=True)
    mass = found.sum(dim=1, keepdim=True)
    eye = torch.eye(size)
    return 0.5 * eye + 0.5 * torch.where(mass > 0, found / mass.where(mass > 0, torch.ones_like(mass)), eye)


def _gathering(question: Question, starts: Mapping[NodeType, int]) -> Tensor:
    """Each anchor's row over its modalities, equally, and over the nodes of each, equally: ``[all nodes, all nodes]``.

    An anchor with none, and a model without a fusion, keep it.
    """
    size, anchor = sum(question.counts.values()), question.scene.anchor
    found = torch.eye(size)
    if getattr(question.scene.model, "fusion", None) is None:
        return found
    rows = slice(starts[anchor], starts[anchor] + question.counts[anchor])
    spread = torch.zeros(question.counts[anchor], size)
    present = torch.zeros(question.counts[anchor], 1)
    for node in question.scene.schema.modalities:
        if node in question.features:
            source, target = question.edges[node, "of", anchor].index
            part = torch.zeros_like(spread)
            part.index_put_((target, source + starts[node]), torch.ones(len(source)), accumulate=True)
            count = part.sum(dim=1, keepdim=True)
            spread += part / count.clamp_min(1)
            present += count > 0
    if anchor in question.features:
        spread += found[rows]
        present += 1
    found[rows] = torch.where(present > 0, spread / present.clamp_min(1), found[rows])
    return found


def _parts(question: Question, nodes: Mapping[NodeType, Tensor]) -> dict[str, float]:
    parts = {}
    for node, each in nodes.items():
        mask = question.own.get(node, torch.zeros_like(each, dtype=torch.bool))
        if node == question.scene.anchor:
            mask = torch.arange(len(each)) == question.place
        for name, some in ((node, mask), (OTHERS.format(node), ~mask)):
            if some.any() and (share := float(each[some].sum())) > 0:
                parts[name] = share
    return parts
