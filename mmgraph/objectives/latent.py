"""Latent prediction: hide some nodes, and predict what a slow copy of the model makes of them when it sees them."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmgraph.errors import ConfigError, DataError
from mmgraph.keys import weight_key
from mmgraph.objectives.base import Objective
from mmgraph.schema import Schema
from mmgraph.typing import Terms

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData


EPSILON = 1e-5  # added to a variance, as torch's norms do


class Latent(Objective):
    r"""Smooth L1 between the student's guess of masked nodes and the teacher's states of them.

    .. math::
        L = \frac{1}{|M|\,d} \sum_{v \in M} \sum_{c} \mathrm{smooth}_\beta\big(g(f_\theta(G_{\setminus M})_v)_c
        - y_{vc}\big), \qquad y_v = \frac1K \sum_{l > L - K} \mathrm{norm}\big(f^l_\Delta(G)_v\big)

    The student :math:`f_\theta` is the model that is trained, and sees the graph without the features of the masked
    nodes M: a token, learned, stands in their place. The teacher :math:`f_\Delta` sees all of the graph, and its states
    of the last K layers, each normalised, are what is asked for: contextual states, not payloads. It learns nothing
    itself, but follows the student: before each training step

    .. math:: \Delta \leftarrow \tau \Delta + (1 - \tau) \theta

    where :math:`\tau` rises from its first value to its last, linearly, within ``decay_steps`` steps; before the first
    it takes the student's weights as they are. It is in evaluation mode, without dropout, and is part of the
    objective's ``state_dict()``, so that a resumed fit goes on as if it had never stopped.

    Source: Baevski, Hsu, Xu, Babu, Gu and Auli 2022, data2vec: a general framework for self-supervised learning in
    speech, vision and language; arXiv:2202.03555, eq. 1 to 4. There nodes are the tokens of one sample, and the encoder
    of their payloads is not averaged but shared.

    Masked are anchors, with the features of their own and of all their modality nodes, or nodes of another type. The
    model must be as :class:`~mmgraph.model.Model` is: ``embed(graph)`` goes through the layers of ``between`` (where
    anchors get their states) and of ``within`` (where other nodes do). Where the graph says which anchors are for
    training, they alone are masked and count.

    With ``layer`` nothing keeps the states of all nodes from becoming one: watch ``target_std``, the deviation of the
    targets over the masked nodes, which is near 0 when they have, and about 1 when all are different.

    Args:
        schema: What the graph means; it must have an anchor.
        teacher: A model built as the one that is trained; it is copied, and its weights are replaced in training.
        channels: Width of the states that are predicted.
        node: Node type that is masked and predicted; by default the anchor.
        mask: Share of its nodes that are masked.
        layers: K: of how many of the last layers the states are averaged; they must be of one width.
        decay: First and last :math:`\tau`.
        decay_steps: Within how many training steps it rises.
        norm: How each layer's states are normalised: ``layer``, each node's to mean 0 and deviation 1 over its
            channels (the paper's choice for words and pictures), or ``instance``, each channel over all nodes (for
            speech), which keeps the states of all nodes from becoming one.
        beta: :math:`\beta`: from which difference on the error is linear and not square.
        unlabelled: Mask and count the anchors outside training too: all that the view shows, as is usual where it may
            show them (the transductive regime).

    Raises:
        ConfigError: No anchor, nothing to mask, an option out of its range; when called, a model that differs from the
            teacher, or has fewer layers than ``layers``.
        DataError: When called, the nodes to mask have no ``x`` of floats.

    Example:
        >>> from mmgraph.encoders import Table
        >>> from mmgraph.fusion import Sum
        >>> from mmgraph.layers import Mean, Stack
        >>> from mmgraph.model import Model
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = fake_graph()
        >>> near = Stack(Mean(8, 8, relations=[("subject", "near", "subject")]))
        >>> encoder = Table({"scan": 3, "text": 5}, 8)
        >>> model = Model(schema=schema, encoder=encoder, fusion=Sum(), between=near, head=nn.Linear(8, 2))
        >>> sorted(Latent(schema, model, 8)(model, graph))
        ['error', 'target_std', 'total']
    """

    labelled = False
    shared = False  # what is hidden from a step must be hidden from all processes, which read each other's rows
    steps: Tensor

    def __init__(
        self,
        schema: Schema,
        teacher: nn.Module,
        channels: int,
        *,
        node: str | None = None,
        mask: float = 0.5,
        layers: int = 1,
        decay: tuple[float, float] = (0.99, 0.999),
        decay_steps: int = 100,
        norm: Literal["layer", "instance"] = "layer",
        beta: float = 1.0,
        unlabelled: bool = False,
    ) -> None:
        super().__init__()
        if schema.anchor is None:
            raise ConfigError("Latent needs a schema with an anchor, got none; set Schema(anchor=...)")
        self.anchor, self.node = schema.anchor, schema.anchor if node is None else node
        known = [self.node, *(schema.modalities if self.node == self.anchor else ())]
        self.masked = {name: width for name in known if name in schema.nodes and (width := schema.nodes[name].channels)}
        if not self.masked or (self.node != self.anchor and self.node not in schema.modalities):
            raise ConfigError(
                f"Latent needs nodes with features to mask, the anchor {self.anchor!r} or one of "
                f"{list(schema.modalities)}, got {self.node!r}"
            )
        if not 0 <= mask <= 1 or not 0 <= decay[0] <= decay[1] <= 1 or not beta > 0:
            raise ConfigError(
                f"mask must be from 0 to 1, decay two rising numbers of that range and beta above 0, got {mask}, "
                f"{decay} and {beta}"
            )
        if min(channels, layers, decay_steps) < 1:
            raise ConfigError(
                f"channels, layers and decay_steps must be at least 1, got {channels}, {layers} and {decay_steps}"
            )
        if norm not in ("layer", "instance"):
            raise ConfigError(f"norm must be 'layer' or 'instance', got {norm!r}")
        self.norm: Literal["layer", "instance"] = norm
        self.mask, self.layers, self.beta, self.unlabelled = mask, layers, beta, unlabelled
        self.decay, self.decay_steps = decay, decay_steps
        self.teacher = copy.deepcopy(teacher).requires_grad_(False).eval()
        self.predictor = nn.Linear(channels, channels)
        self.tokens = nn.ParameterDict(
            {weight_key(name): nn.Parameter(torch.zeros(width)) for name, width in self.masked.items()}
        )
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def forward(self, model: nn.Module, graph: HeteroData) -> Terms:
        """Gives ``total``, the ``error``, and the ``target_std`` over the masked nodes (mean over the channels)."""
        if self.training:
            self.follow(model)
        chosen = self.chosen(graph)  # [rows]
        guess = self.predictor(self.states(model, self.hidden(graph, chosen))[-1][chosen])  # [masked, channels]
        with torch.no_grad():
            states = [self._normed(one)[chosen] for one in self.states(self.teacher, graph)]
            targets = torch.stack(states).mean(dim=0)  # [masked, channels]
        if not bool(chosen.any()):
            nothing = guess.sum() * 0
            return {"total": nothing, "error": nothing, "target_std": nothing.detach()}
        error = F.smooth_l1_loss(guess, targets, beta=self.beta)
        return {"total": error, "error": error, "target_std": targets.std(dim=0, correction=0).mean()}

    def _normed(self, states: Tensor) -> Tensor:
        over = 1 if self.norm == "layer" else 0
        deviation = (states.var(dim=over, correction=0, keepdim=True) + EPSILON).sqrt()
        return (states - states.mean(dim=over, keepdim=True)) / deviation

    def train(self, mode: bool = True) -> Latent:
        """Sets the mode, but for the teacher, which stays in evaluation mode."""
        super().train(mode)
        self.teacher.eval()
        return self

    @property
    def tau(self) -> float:
        r""":math:`\tau` of the next step."""
        first, last = self.decay
        return first + (last - first) * min(1.0, int(self.steps) / self.decay_steps)

    @torch.no_grad()
    def follow(self, model: nn.Module) -> None:
        """Moves the teacher towards a student, as before each training step."""
        mine, its = self.teacher.state_dict(), model.state_dict()
        if {name: value.shape for name, value in mine.items()} != {name: value.shape for name, value in its.items()}:
            odd = sorted(set(mine) ^ set(its)) or [name for name in mine if mine[name].shape != its[name].shape]
            raise ConfigError(f"The teacher must be built as the model that is trained, they differ in {odd[0]!r}")
        tau = self.tau if self.steps > 0 else 0.0
        for name, value in mine.items():
            if value.is_floating_point() and tau > 0:
                value.lerp_(its[name], 1 - tau)
            else:
                value.copy_(its[name])
        self.steps += 1

    def chosen(self, graph: HeteroData) -> Tensor:
        """Draws the nodes to mask, ``[rows]``, from torch's own state of chance, as dropout does."""
        counts = None if self.unlabelled else graph[self.anchor].get("train_mask")
        rows = graph[self.node].num_nodes
        drawn = torch.rand(rows) < self.mask
        if counts is None:
            return drawn
        if self.node == self.anchor:
            return drawn & counts
        row, owner = graph[self.node, "of", self.anchor].edge_index
        return drawn & torch.zeros(rows, dtype=torch.bool).index_put((row,), counts[owner])

    def hidden(self, graph: HeteroData, chosen: Tensor) -> HeteroData:
        """What the student sees: tokens in place of the features of the nodes that were chosen."""
        seen = copy.copy(graph)
        for name in self.masked:
            x = graph[name].get("x")
            if x is None or not x.is_floating_point():
                raise DataError(
                    f"Nodes of {name!r} must have 'x' of floats to be masked, got "
                    f"{sorted(graph[name].keys()) if x is None else x.dtype}"
                )
            gone = chosen
            if name != self.node:
                row, owner = graph[name, "of", self.anchor].edge_index
                gone = torch.zeros(len(x), dtype=torch.bool).index_put((row[chosen[owner]],), torch.tensor(True))
            seen[name].x = torch.where(gone[:, None], self.tokens[weight_key(name)].to(x.dtype), x)
        return seen

    def states(self, model: Any, graph: HeteroData) -> list[Tensor]:
        """The states of all nodes of the type after the last layers, ``[rows, channels]`` each, the last one last."""
        found: list[Tensor] = []
        layers = list((model.between if self.node == self.anchor else model.within).layers)
        if len(layers) < self.layers and (layers or self.layers > 1 or self.node != self.anchor):
            raise ConfigError(
                f"The model must have {self.layers} layers that give states of {self.node!r}, got {len(layers)}"
            )
        hooks = [
            layer.register_forward_hook(lambda *called: found.append(called[-1][self.node]))
            for layer in layers[-self.layers :]
        ]
        try:
            last: Tensor = model.embed(graph)
        finally:
            for hook in hooks:
                hook.remove()
        return found or [last]
