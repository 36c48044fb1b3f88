"""Learning to tell by what the telling is worth: texts are drawn, judged, and made likelier or less likely."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from mmgraph.errors import ConfigError, DataError
from mmgraph.functional.captions import CiderReferences, cider_d, words
from mmgraph.functional.decoding import greedy, nucleus
from mmgraph.functional.distributed import share_mean
from mmgraph.media.pieces import spell
from mmgraph.objectives.base import Objective
from mmgraph.schema import Schema
from mmgraph.typing import Sources, Terms

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

Baseline: TypeAlias = Literal["greedy", "others"]
Meant: TypeAlias = tuple[tuple[str, ...], ...]
"""The references of one sample, in words."""


class SelfCritical(Objective):
    r"""CIDEr-D of the texts that are drawn, beside that of what would be told anyway, with some cross entropy.

    .. math:: L = -\frac{w}{nS} \sum_{i=1}^{n} \sum_{s=1}^{S} (r_{is} - b_{is}) \log p(t_{is} \mid G_i)
        - (1 - w) \frac{\sum_v \log p(x_v \mid G_{\setminus T})}{\sum_v |x_v|}

    Of each training anchor :math:`i` that has a text, S texts :math:`t_{is}` are drawn; :math:`r` is their CIDEr-D
    (:func:`~mmgraph.functional.captions.cider_d`) to the anchor's own texts. What they are compared with is told in the
    same state of the model, hence the name: :math:`b` is the CIDEr-D of the likeliest text, piece by piece
    (``baseline="greedy"``, Rennie et al.), or the mean of the other S - 1 drawn ones (``"others"``, Luo 2020, A better
    variant of self-critical sequence training, arXiv:2003.09971; Meshed-Memory takes the mean of a beam). Either way
    the gradient is, on average, that of :math:`-w \, \mathrm{E}[r]`. Texts are drawn and weighed without the decoder's
    dropout.

    Source: Rennie et al. 2017, Self-critical sequence training for image captioning, eq. 5 to 8; arXiv:1612.00563.

    When to take it: to go on with a decoder that :class:`Translate` has trained, with a tenth of its learning rate.
    From scratch nearly no drawn text is worth anything, and cross entropy (``weight`` well below 1) does the learning.

    How rare words are is known from training's texts alone: ``known``, or those of the batches so far, each different
    set of references once. The model must be a :class:`~mmgraph.Translator` of a decoder of texts.

    Args:
        schema: What the graph means.
        target: The node type whose text is made.
        weight: :math:`w`, from above 0 to 1.
        samples: S, texts that are drawn of each anchor.
        baseline: What they are compared with.
        known: How rare each run of words is in training.
        spell: ``spell(tokens [rows, length]) -> texts``; by default by the vocabulary that the schema keeps.

    Raises:
        ConfigError: An option out of its range, or no way to read the texts; when called, a model that tells no texts.

    Example:
        >>> from mmgraph.schema import EdgeSpec, NodeSpec
        >>> name = NodeSpec(attributes=("tokens",), vocabulary=("", "", "red", "Ġcat", "blue"))
        >>> nodes, edges = {"sample": NodeSpec(), "name": name}, {("name", "of", "sample"): EdgeSpec()}
        >>> SelfCritical(Schema(nodes=nodes, edges=edges, anchor="sample"), "name", samples=1, baseline="others")
        Traceback (most recent call last):
        ...
        mmgraph.errors.ConfigError: samples must be at least 2 to be compared with the others, got 1
    """

    labelled = False

    def __init__(
        self,
        schema: Schema,
        target: str,
        *,
        weight: float = 0.5,
        samples: int = 5,
        baseline: Baseline = "others",
        known: CiderReferences | None = None,
        spell: Callable[[Tensor], Sequence[str]] | None = None,
    ) -> None:
        super().__init__()
        if target not in schema.modalities:
            raise ConfigError(
                f"target must be a modality of the anchor, one of {list(schema.modalities)}, got {target!r}"
            )
        if not 0 < weight <= 1:
            raise ConfigError(f"weight must be above 0 and at most 1, got {weight}")
        if baseline not in get_args(Baseline):
            raise ConfigError(f"baseline must be one of {list(get_args(Baseline))}, got {baseline!r}")
        if samples < (least := 2 if baseline == "others" else 1):
            raise ConfigError(
                f"samples must be at least {least}{' to be compared with the others' if least == 2 else ''}, "
                f"got {samples}"
            )
        self.vocabulary = schema.nodes[target].vocabulary
        if spell is None and not self.vocabulary:
            raise ConfigError(
                f"{target!r} must have a vocabulary to be read, got none; encode it by 'subwords', or give spell"
            )
        self.target, self.anchor = target, schema.anchor
        self.weight, self.samples, self.baseline = weight, samples, baseline
        self._given, self._known, self._spell = known, known, spell
        self.shared = known is not None  # else each process counts the words that it has seen
        self._seen: set[Meant] = set()

    def forward(self, model: nn.Module, graph: HeteroData) -> Terms:
        """Gives ``total``; ``self_critical`` and ``cross_entropy``, its parts; and the mean ``reward`` of the drawn.

        Raises:
            ConfigError: The model tells no texts.
            DataError: The target's nodes lack the tensor that the decoder makes.
        """
        decoder: Any = getattr(model, "decoder", None)
        if not (hasattr(model, "sources") and hasattr(decoder, "step")):
            raise ConfigError(f"SelfCritical needs a Translator of a decoder of texts, got {type(model).__name__}")
        payload, owner = self._references(graph, decoder.attribute)
        sources: Sources = model.sources(graph)
        loss = decoder.losses(sources.take(owner), payload)["total"].sum()
        pieces = decoder.counts(payload).sum()
        entropy = share_mean(loss / pieces.clamp_min(1), pieces)
        critical, reward = loss * 0, loss.detach() * 0
        rows, place = owner.unique(return_inverse=True)
        if len(rows):
            critical, rewards = self._drawn(decoder, sources.take(rows), self._meant(payload, place))
            reward = rewards.mean()
        critical, reward = share_mean(critical, len(rows)), share_mean(reward, len(rows))
        total = self.weight * critical + (1 - self.weight) * entropy
        return {"total": total, "self_critical": critical, "cross_entropy": entropy, "reward": reward}

    def _references(self, graph: HeteroData, attribute: str) -> tuple[Tensor, Tensor]:
        """The texts of training anchors, ``[nodes, length]``, and whose each is."""
        payload = graph[self.target].get(attribute)
        if payload is None:
            raise DataError(
                f"Nodes of {self.target!r} must have {attribute!r} to be learned from, "
                f"got {sorted(graph[self.target].keys())}"
            )
        node, owner = graph[self.target, "of", self.anchor].edge_index
        if (counted := graph[self.anchor].get("train_mask")) is not None:
            node, owner = node[counted[owner]], owner[counted[owner]]
        return payload[node], owner

    def _meant(self, payload: Tensor, place: Tensor) -> list[Meant]:
        """The references of each row, in words."""
        found: list[list[tuple[str, ...]]] = [[] for _ in range(int(place.max()) + 1)]
        for row, text in zip(place.tolist(), self._words(payload), strict=True):
            found[row].append(text)
        meant = [tuple(sorted(some)) for some in found]
        if self.training and self._given is None:
            self._count(meant)
        return meant

    def _count(self, meant: list[Meant]) -> None:
        """Counts the references that training has not shown before."""
        for some in dict.fromkeys(meant):
            if some in self._seen:
                continue
            self._seen.add(some)
            if self._known is None:
                self._known = CiderReferences([some])
            else:
                self._known.add(some)

    def _words(self, tokens: Tensor) -> list[tuple[str, ...]]:
        tokens = tokens.cpu()
        texts = spell(self.vocabulary, tokens) if self._spell is None else self._spell(tokens)
        return [tuple(words(text)) for text in texts]

    def _drawn(self, decoder: nn.Module, sources: Sources, meant: list[Meant]) -> tuple[Tensor, Tensor]:
        """The self-critical loss, and the reward of each text that was drawn, ``[rows, samples]``."""
        rows, device = len(meant), sources.states.device
        known = self._known or CiderReferences(meant)
        each = sources.take(torch.arange(rows, device=device).repeat_interleave(self.samples))
        with _without_dropout(decoder):
            with torch.no_grad():
                texts = nucleus(
                    decoder.step,
                    decoder.begin(each),
                    rows=len(each.states),
                    length=decoder.length,
                    top_p=1.0,
                    device=device,
                )
            reward = self._reward(texts, meant, known).reshape(rows, self.samples)
            if self.baseline == "greedy":
                with torch.no_grad():
                    told = greedy(decoder.step, decoder.begin(sources), rows=rows, length=decoder.length, device=device)
                base = self._reward(told, meant, known)[:, None]
            else:
                base = (reward.sum(dim=1, keepdim=True) - reward) / (self.samples - 1)
            texts = texts[:, : int((texts != 0).sum(dim=1).max())]
            said = decoder(each, texts)[:, :, 1:].log_softmax(dim=2)  # 0 is never drawn
        likelihood = said.gather(2, (texts - 1).clamp_min(0)[:, :, None]).squeeze(2) * (texts != 0)  # [texts, length]
        advantage = (reward - base).to(likelihood)
        return -(advantage.flatten() * likelihood.sum(dim=1)).mean(), reward.to(device)

    def _reward(self, tokens: Tensor, meant: list[Meant], known: CiderReferences) -> Tensor:
        """CIDEr-D of texts, ``[texts]``; those of a row are side by side."""
        some = len(tokens) // len(meant)
        pairs = [(text, meant[number // some]) for number, text in enumerate(self._words(tokens))]
        different = dict.fromkeys(pairs)
        scores = cider_d([text for text, _ in different], [refs for _, refs in different], known).tolist()
        value = dict(zip(different, scores, strict=True))
        return torch.tensor([value[pair] for pair in pairs], dtype=torch.float32)


@contextmanager
def _without_dropout(decoder: nn.Module) -> Iterator[None]:
    """The decoder as in use; recurrent networks, which cuDNN trains in training mode alone, stay as they are."""
    before = {module: module.training for module in decoder.modules()}
    for module in before:
        module.training = module.training and isinstance(module, nn.RNNBase)
    try:
        yield
    finally:
        for module, training in before.items():
            module.training = training
