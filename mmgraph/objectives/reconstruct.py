"""Learning from the payloads themselves: hide some, and decode all from what is left."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol, cast

import torch
from torch import Tensor, nn

from mmgraph.errors import ConfigError, DataError
from mmgraph.functional.distributed import share_mean
from mmgraph.functional.reconstruction import reconstruction
from mmgraph.keys import weight_key
from mmgraph.objectives.base import Objective
from mmgraph.schema import Schema
from mmgraph.typing import Terms

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

    Hide = Callable[[HeteroData, torch.Generator], HeteroData]


class Decodes(Protocol):
    """What :class:`Reconstruct` asks of a decoder, as :class:`mmgraph.decoders.Decoder` has it."""

    attribute: str
    centre: float
    scale: float

    def __call__(self, states: Tensor) -> Tensor: ...  # noqa: D102 (a protocol's signature says it)

    def scaled(self, payload: Tensor) -> Tensor: ...  # noqa: D102


class Reconstruct(Objective):
    r"""Squared error of every modality that is there, decoded from the code of what was not hidden.

    .. math:: L = \sum_m \frac{w_m}{|V_m|} \sum_{(j, i, c) \in V_m} \big(g_m(z_i)_c - x_{jc}\big)^2,
        \quad z = f(\text{what is left of the graph})

    over all values :math:`V_m` of the nodes of modality m that truly are there: those of a hidden node count, those
    of a modality that an anchor lacks never do. Who hides whole modalities trains a bimodal (multimodal) autoencoder,
    whose code can be made from any of them (Ngiam, Khosla, Kim, Nam, Lee & Ng 2011, Multimodal deep learning, ICML);
    who adds noise or masks values, a denoising one (Vincent, Larochelle, Bengio & Manzagol 2008, Extracting and
    composing robust features with denoising autoencoders, ICML). Nothing is hidden in evaluation mode.

    The model must give the codes by ``model.embed(graph)``, as :class:`~mmgraph.model.Model` does. The decoders are
    trained with it. No label is read: training reads the anchors without a label too. Where the graph says which
    anchors are for training, they alone count.

    Args:
        schema: What the graph means; it must have an anchor.
        decoders: Modality → what decodes it, e.g. :class:`mmgraph.decoders.Dense`.
        hide: Takes nodes away, e.g. :class:`mmgraph.data.ModalityDropout`; by default nothing.
        noise: Deviation of Gaussian noise on each value that is read, in scaled values.
        mask: Share of the values read that are replaced by the decoder's ``centre``.
        weights: Modality → :math:`w_m`; by default 1.

    Raises:
        ConfigError: No decoder, or one of what is no modality of the anchor; noise, mask or weights out of range.
        DataError: When called, a modality lacks the tensor that is to be decoded, or it has another shape.

    Example:
        >>> from mmgraph.data import ModalityDropout
        >>> from mmgraph.decoders import Dense
        >>> from mmgraph.encoders import Table
        >>> from mmgraph.fusion import Sum
        >>> from mmgraph.model import Model
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = fake_graph()
        >>> encoder = Table({"scan": 3, "text": 5}, 8)
        >>> model = Model(schema=schema, encoder=encoder, fusion=Sum(mean=True), head=nn.Linear(8, 2))
        >>> decoders = {"scan": Dense(8, (3,)), "text": Dense(8, (5,))}
        >>> objective = Reconstruct(schema, decoders, hide=ModalityDropout(schema, rate=0.5), noise=0.1)
        >>> sorted(objective(model, graph))
        ['error_scan', 'error_text', 'total']
    """

    labelled = False
    shared = True

    def __init__(
        self,
        schema: Schema,
        decoders: Mapping[str, nn.Module],
        *,
        hide: Hide | None = None,
        noise: float = 0.0,
        mask: float = 0.0,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        if schema.anchor is None or not decoders or not set(decoders) <= set(schema.modalities):
            raise ConfigError(
                f"Reconstruct needs decoders of modalities of the anchor, some of {list(schema.modalities)}, "
                f"got {list(decoders)}"
            )
        self.weights = {**dict.fromkeys(decoders, 1.0), **(weights or {})}
        if noise < 0 or not 0 <= mask <= 1 or min(self.weights.values()) < 0 or set(self.weights) != set(decoders):
            raise ConfigError(
                f"noise and weights must be at least 0, mask from 0 to 1 and weights of {list(decoders)}, "
                f"got {noise}, {mask} and {dict(weights or {})}"
            )
        self.anchor, self.hide, self.noise, self.mask = schema.anchor, hide, noise, mask
        self.decoders = nn.ModuleDict({weight_key(name): decoder for name, decoder in decoders.items()})

    def forward(self, model: nn.Module, graph: HeteroData) -> Terms:
        """Gives ``total`` and ``error_<modality>`` for each, before its weight."""
        states: Tensor = model.embed(self.corrupted(graph) if self.training else graph)
        counts = graph[self.anchor].get("train_mask")
        terms = {}
        for name in self.weights:
            decoder = self.decoder(name)
            decoded, payload = decoder(states), _payload(graph, name, decoder)
            if decoded.shape[1:] != payload.shape[1:]:
                raise DataError(
                    f"The decoder of {name!r} must give its {decoder.attribute}, {list(payload.shape[1:])}, "
                    f"got {list(decoded.shape[1:])}"
                )
            index = graph[name, "of", self.anchor].edge_index
            index = index if counts is None else index[:, counts[index[1]]]
            scaled = decoder.scaled(payload)
            values = scaled[index[0]].isfinite().sum()
            terms[f"error_{name}"] = share_mean(reconstruction(decoded, scaled, index), values)
        total = torch.stack([weight * terms[f"error_{name}"] for name, weight in self.weights.items()]).sum()
        return {"total": total, **terms}

    def decoder(self, modality: str) -> Decodes:
        """The decoder of a modality."""
        return cast("Decodes", self.decoders[weight_key(modality)])

    def corrupted(self, graph: HeteroData) -> HeteroData:
        """What a training step reads of a graph; drawn from torch's own state of chance, as dropout is."""
        seen = copy.copy(graph) if self.hide is None else self.hide(graph, torch.default_generator)
        if self.noise == 0 and self.mask == 0:
            return seen
        seen = copy.copy(seen)
        for name in self.weights:
            decoder = self.decoder(name)
            payload = _payload(seen, name, decoder)
            values = decoder.scaled(payload)
            if self.noise:
                values = values + self.noise * torch.randn_like(values)
            if self.mask:
                values = values.masked_fill((torch.rand_like(values) < self.mask) & values.isfinite(), 0)
            values = values * decoder.scale + decoder.centre
            if not payload.dtype.is_floating_point:
                values = values.round().clamp(0, torch.iinfo(payload.dtype).max)
            seen[name][decoder.attribute] = values.to(payload.dtype)
        return seen


def _payload(graph: HeteroData, name: str, decoder: Decodes) -> Tensor:
    payload = graph[name].get(decoder.attribute)
    if payload is None:
        raise DataError(
            f"Nodes of {name!r} must have {decoder.attribute!r} to be decoded, got {sorted(graph[name].keys())}"
        )
    found: Tensor = payload
    return found
