"""Learning which facts hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmgraph.errors import ConfigError, DataError
from mmgraph.functional.distributed import share_mean
from mmgraph.functional.facts import Facts, Known, all_answers_loss
from mmgraph.objectives.base import Objective
from mmgraph.schema.facts import Numbering
from mmgraph.typing import Terms

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

Loss = Literal["cross_entropy", "binary", "margin", "self_adversarial"]
LOSSES = ("cross_entropy", "binary", "margin", "self_adversarial")
OF_SAMPLES = ("margin", "self_adversarial")


class _Vectors(Protocol):
    entities: Tensor
    relations: Tensor


class _Scorer(Protocol):
    def factors(self, sources: Tensor, relations: Tensor, targets: Tensor) -> tuple[Tensor, ...]: ...


class _Links(Protocol):
    """What is asked of a model, as :class:`mmgraph.Linker` has it."""

    scorer: _Scorer
    numbering: Numbering

    def states(self, graph: HeteroData) -> _Vectors: ...
    def against(
        self, states: _Vectors, sources: Tensor, relations: Tensor, candidates: Tensor | None = None
    ) -> Tensor: ...
    def each(self, states: _Vectors, sources: Tensor, relations: Tensor, targets: Tensor) -> Tensor: ...


class Links(Objective):
    r"""Facts above what is no fact: the answers of questions ``(source, relation, ?)`` against other entities.

    Without ``negatives`` all entities are scored (in a batch of :class:`mmgraph.data.FactLoader`, its candidates):

    - ``cross_entropy``, *1-vs-all* (Lacroix et al. 2018, arXiv:1806.07297), a mean over facts:
      :math:`-\frac1n\sum_i \log \mathrm{softmax}(s_{q_i})_{a_i}`. A question with several answers is scored once for
      all of them, which changes nothing but the time.
    - ``binary``, *K-vs-all* (Dettmers et al. 2018, arXiv:1707.01476), a mean over questions and entities:
      :math:`-[y \log\sigma(s) + (1 - y) \log(1 - \sigma(s))]`, y smoothed towards :math:`1 / |E|`.

    With ``negatives``, so many entities a fact, drawn uniformly (in such a batch, of its candidates; or among those
    that answer the relation elsewhere):

    - ``cross_entropy``: the softmax is over the answer and its negatives.
    - ``binary``: :math:`-\log\sigma(s^+) - \sum_j \log\sigma(-s_j)`, divided by how many they are (Trouillon et al.
      2016, arXiv:1606.06357).
    - ``margin``: :math:`\frac1k\sum_j \max(0, \gamma - s^+ + s_j)` (Bordes et al. 2013, Translating embeddings).
    - ``self_adversarial``: :math:`-\log\sigma(\gamma + s^+) - \sum_j p_j \log\sigma(-\gamma - s_j)`, with
      :math:`p = \mathrm{softmax}(\alpha s)` without a gradient, halved (Sun et al. 2019, RotatE, arXiv:1902.10197).

    The penalty N3 is :math:`\lambda \frac1n \sum_i \sum_f \|f\|_3^3` over the scorer's factors of each fact.

    Args:
        loss: See above.
        negatives: Entities a fact that are not its answer; ``None`` for all.
        typed: Draw negatives among the entities that answer the relation in the training facts.
        filtered: Take drawn negatives that are known answers out.
        penalty: :math:`\lambda`.
        label_smoothing: Of ``cross_entropy`` and ``binary`` against all.
        margin: :math:`\gamma`.
        temperature: :math:`\alpha` of ``self_adversarial``.

    Raises:
        ConfigError: An option out of its range, or one that another excludes; or, when called, ``typed`` negatives of a
            batch that has not all facts.

    Example:
        >>> import mmgraph as mg
        >>> from mmgraph.scorers import DistMult
        >>> known = mg.KnowledgeGraph.fit(mg.Triples(["owl", "cat"], ["eats", "eats"], ["mouse", "mouse"]))
        >>> linker = mg.Linker(schema=known.schema, scorer=DistMult(4))
        >>> sorted(Links()(linker, known.graph))
        ['cross_entropy', 'total']
    """

    labelled = False
    shared = True

    def __init__(
        self,
        loss: Loss = "cross_entropy",
        *,
        negatives: int | None = None,
        typed: bool = False,
        filtered: bool = True,
        penalty: float = 0.0,
        label_smoothing: float = 0.0,
        margin: float = 1.0,
        temperature: float = 1.0,
    ) -> None:
        super().__init__()
        if loss not in LOSSES:
            raise ConfigError(f"loss must be one of {list(LOSSES)}, got {loss!r}")
        if negatives is None and (loss in OF_SAMPLES or typed):
            raise ConfigError(f"{loss!r} with typed={typed} needs negatives, got none; set e.g. negatives=32")
        if negatives is not None and (negatives < 1 or label_smoothing):
            raise ConfigError(
                "negatives must be at least 1, and label_smoothing is for all entities alone, "
                f"got {negatives} and {label_smoothing}"
            )
        if penalty < 0 or not 0 <= label_smoothing < 1 or margin < 0 or temperature < 0:
            raise ConfigError(
                "penalty, margin and temperature must be at least 0 and label_smoothing in [0, 1), "
                f"got {penalty}, {margin}, {temperature} and {label_smoothing}"
            )
        self.loss, self.negatives, self.typed, self.filtered = loss, negatives, typed, filtered
        self.penalty, self.label_smoothing = penalty, label_smoothing
        self.margin, self.temperature = margin, temperature
        self._known: tuple[list[Tensor], Known] | None = None

    def forward(self, model: nn.Module, graph: HeteroData) -> Terms:
        """Gives ``total``, the loss under its own name, and the penalty where there is one.

        Raises:
            ConfigError: The model has no states of entities and relations.
            DataError: The graph asks nothing.
        """
        if not hasattr(model, "states") or not hasattr(model, "each"):
            raise ConfigError(f"The model must be a Linker, or score facts as one does, got {type(model).__name__}")
        if "query" not in graph.node_types:
            raise DataError(f"The graph must have questions, nodes of type 'query', got types {graph.node_types}")
        links, store = cast("_Links", model), graph["query"]
        states = links.states(graph)
        rows = store.answer >= 0
        facts = Facts(store.source[rows], store.relation[rows], store.answer[rows])
        count = pairs = len(facts.answer)
        if not count:
            loss = (states.entities.sum() + states.relations.sum()) * 0
        elif self.negatives is None:
            loss, pairs = self._against_all(links, states, facts, store.get("candidates"))
        else:
            loss = self._against_some(links, states, facts, self._draw(links, graph, facts))
        loss = share_mean(loss, pairs)
        terms = {"total": loss, self.loss: loss}
        if self.penalty:
            found = links.scorer.factors(
                states.entities[facts.source], states.relations[facts.relation], states.entities[facts.answer]
            )
            penalty = self.penalty * sum(((f.abs() ** 3).sum() for f in found), loss * 0) / max(count, 1)
            terms["penalty"] = share_mean(penalty, count)
            terms["total"] = loss + terms["penalty"]
        return terms

    def _against_all(
        self, links: _Links, states: _Vectors, facts: Facts, candidates: Tensor | None
    ) -> tuple[Tensor, int]:
        """The loss, and over how many facts, or pairs of question and entity, it is a mean."""
        source, relation, number = facts.questions(len(states.relations))
        scores = links.against(states, source, relation, candidates)  # [questions, candidates]
        if candidates is not None:
            facts = facts._replace(answer=torch.searchsorted(candidates, facts.answer))
        if self.loss == "binary":
            loss = all_answers_loss(scores, number, facts.answer, label_smoothing=self.label_smoothing)
            return loss, scores.numel()
        mass = scores.logsumexp(dim=1)
        right = scores[number, facts.answer]
        if self.label_smoothing:
            right = (1 - self.label_smoothing) * right + self.label_smoothing * scores.mean(dim=1)[number]
        return (mass[number] - right).mean(), len(number)

    def _against_some(self, links: _Links, states: _Vectors, facts: Facts, drawn: Drawn) -> Tensor:
        source, relation = facts.source[:, None], facts.relation[:, None]
        right = links.each(states, source, relation, facts.answer[:, None])  # [facts, 1]
        wrong = links.each(states, source, relation, drawn.entities)  # [facts, negatives]
        count = drawn.counts.sum(dim=1)
        if self.loss == "cross_entropy":
            masked = wrong.masked_fill(drawn.counts == 0, -torch.inf)
            return (torch.cat([right, masked], dim=1).logsumexp(dim=1) - right[:, 0]).mean()
        if self.loss == "binary":
            each = F.softplus(-right[:, 0]) + (F.softplus(wrong) * drawn.counts).sum(dim=1)
            return (each / (1 + count)).mean()
        if self.loss == "margin":
            each = (F.relu(self.margin - right + wrong) * drawn.counts).sum(dim=1)
            return (each / count.clamp_min(1)).mean()
        share = (self.temperature * wrong.detach()).masked_fill(drawn.counts == 0, -torch.inf)
        share = share.softmax(dim=1).nan_to_num(0.0)  # a fact all of whose negatives are answers has none
        each = F.softplus(-self.margin - right[:, 0]) + (share * F.softplus(self.margin + wrong)).sum(dim=1)
        return each.mean() / 2

    def _draw(self, links: _Links, graph: HeteroData, facts: Facts) -> Drawn:
        """Entities beside the answers, and which of them count."""
        assert self.negatives is not None
        shape, device = (len(facts.answer), self.negatives), facts.answer.device
        if (candidates := graph["query"].get("candidates")) is not None:
            return self._draw_among(
                links, graph, facts, candidates[torch.randint(len(candidates), shape, device=device)]
            )
        if not self.typed and not self.filtered:
            return Drawn(torch.randint(links.numbering.count(graph), shape, device=device), torch.ones(shape))
        known = self._facts_of(links, graph)
        if self.typed:
            found = known.draw_typed(facts.relation, shape)
        else:
            found = torch.randint(known.num_entities, shape, device=device)
        if not self.filtered:
            return Drawn(found, torch.ones(shape, device=device))
        return Drawn(found, (~known.holds(facts.source[:, None], facts.relation[:, None], found)).float())

    def _draw_among(self, links: _Links, graph: HeteroData, facts: Facts, found: Tensor) -> Drawn:
        """Which of some candidates of a drawn batch count; it has all facts that answer its questions."""
        if self.typed:
            raise ConfigError("typed negatives need the facts of the whole graph; leave fan_out, or typed, out")
        if not self.filtered:
            return Drawn(found, torch.ones(found.shape, device=found.device))
        half = len(links.numbering.relations)
        turned = facts.relation >= half
        heads, tails = facts.source.where(~turned, facts.answer), facts.answer.where(~turned, facts.source)
        known = Known(torch.stack([heads, facts.relation % half, tails], dim=1), half, links.numbering.count(graph))
        return Drawn(found, (~known.holds(facts.source[:, None], facts.relation[:, None], found)).float())

    def _facts_of(self, links: _Links, graph: HeteroData) -> Known:
        """What the edges of a graph say; sorted once, for as long as they are the same."""
        edges = [store.edge_index for store in graph.edge_stores]
        if self._known is None or [id(one) for one in self._known[0]] != [id(one) for one in edges]:
            numbering = links.numbering
            known = Known(numbering.facts(graph), len(numbering.relations), numbering.count(graph))
            self._known = (edges, known)
        return self._known[1]


class Drawn(NamedTuple):
    """Entities that were drawn for each fact."""

    entities: Tensor  # [facts, negatives]
    counts: Tensor  # [facts, negatives]: 1, or 0 for one that is an answer too
