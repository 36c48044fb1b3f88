"""Knowledge graphs: training and filtered ranking beside PyKEEN's, and a hundred thousand entities in bounded memory.

Command: OMP_NUM_THREADS=1 python benchmarks/knowledge.py, with a Python that has pykeen==1.11.1 beside mmgraph; without
it, ours is measured alone, and the rows say so. One question alone: python benchmarks/knowledge.py ranking CoDEx-S.
"""

import importlib.util
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from measure import main, measure, row
from torch import Tensor

import mmgraph as mg
from mmgraph import scorers
from mmgraph.data.row_loader import RowLoader
from mmgraph.functional.ranking import Scores
from mmgraph.objectives import Links
from mmgraph.scorers import DistMult
from mmgraph.tasks import LinkPrediction

PEER = "PyKEEN"
THERE = importlib.util.find_spec("pykeen") is not None
MISSING = "pykeen is not installed, so ours stands alone: pip install pykeen==1.11.1"
SIZES = {"CoDEx-S": (2_034, 42, 36_543, 1_828), "FB15k-237": (14_541, 237, 310_116, 2_000)}  # facts, of these in test
METRICS = ("mrr", "hits@1", "hits@3", "hits@10", "mean_rank", "adjusted_mean_rank_index")
THEIRS = {
    "mrr": "both.realistic.inverse_harmonic_mean_rank",
    **{f"hits@{k}": f"both.realistic.hits_at_{k}" for k in (1, 3, 10)},
    "mean_rank": "both.realistic.arithmetic_mean_rank",
    "adjusted_mean_rank_index": "both.realistic.adjusted_arithmetic_mean_rank_index",
}
BATCHES = (8, 32, 128, 512)
CHANNELS = 100
COMPLEX, BATCH = 256, 512
SLOW = {
    "DistMult": "; PyKEEN multiplies each question with each entity channel by channel, no product of matrices, "
    "and adds its own penalty"
}


def knowledge(entities: int, relations: int, facts: int, test: int) -> mg.KnowledgeGraph:
    """Facts among entities some of which are much more often named than others; each is named at least once."""
    generator = torch.Generator().manual_seed(0)
    weight = 1 / torch.arange(1, entities + 1).double().sqrt()
    ends = torch.multinomial(weight, 4 * facts, replacement=True, generator=generator).view(2, -1)
    kinds = torch.multinomial(1 / torch.arange(1, relations + 1).double(), 2 * facts, True, generator=generator)
    first = torch.stack([torch.arange(entities), torch.arange(entities) % relations, torch.arange(entities).roll(1)])
    drawn = torch.stack([ends[0], kinds, ends[1]]).unique(dim=1)
    drawn = drawn[:, torch.randperm(drawn.shape[1], generator=generator)][:, : facts - entities]
    rows = torch.cat([first, drawn], dim=1)
    names = [[f"{'r' if end == 1 else 'e'}{number:06}" for number in rows[end].tolist()] for end in range(3)]
    parts = {"train": slice(0, -test), "test": slice(-test, None)}
    return mg.KnowledgeGraph.fit({part: mg.Triples(*[one[where] for one in names]) for part, where in parts.items()})


class Table:
    """Scores that are there, given out as copies: as a model's would be, they may be written on."""

    def __init__(self, scores: Tensor) -> None:
        self.scores, self.shape = scores, tuple(scores.shape)

    def __getitem__(self, rows: slice) -> Tensor:
        return self.scores[rows].clone()


class Peer(torch.nn.Module):
    """A model of PyKEEN's that has the same scores: first those of all tails, then those of all heads."""

    device = torch.device("cpu")

    def __init__(self, scores: Tensor) -> None:
        super().__init__()
        tails, heads = scores.chunk(2)
        self.scores, self.start = {"tail": tails, "head": heads}, {"tail": 0, "head": 0}
        self.num_entities = scores.shape[1]

    def predict(self, hrt_batch: Tensor, target: str, **_: Any) -> Tensor:
        """The scores of the next questions for one end: evaluation goes through them in order."""
        start = self.start[target]
        self.start[target] = (start + len(hrt_batch)) % len(self.scores[target])
        return self.scores[target][start : start + len(hrt_batch)].clone()


def peer_ranking(known: mg.KnowledgeGraph, model: Any) -> Callable[[], dict[str, float]]:
    """PyKEEN's evaluation of a model, in the batches that are fastest, of the metrics that ours gives alone."""
    from pykeen.evaluation import RankBasedEvaluator

    names = ["inverse_harmonic_mean_rank", "arithmetic_mean_rank", "adjusted_arithmetic_mean_rank_index", "hits_at_k"]
    metrics = [*names, "hits_at_k", "hits_at_k"]
    options = [None, None, None, *({"k": k} for k in (1, 3, 10))]

    def run(batch: int) -> dict[str, float]:
        judge = RankBasedEvaluator(metrics=metrics, metrics_kwargs=options, add_defaults=False)
        result = judge.evaluate(
            model,
            known.facts["test"],
            batch_size=batch,
            additional_filter_triples=[known.facts["train"]],
            use_tqdm=False,
        )
        return {ours: result.get_metric(theirs) for ours, theirs in THEIRS.items()}

    taken = {}
    for batch in BATCHES:
        started = time.process_time()
        run(batch)
        taken[batch] = time.process_time() - started
    best = min(taken, key=taken.__getitem__)
    return lambda: run(best)


def compared(name: str, ours: Callable[[], dict[str, float]], peer: Callable[[], dict[str, float]] | None, note: str):
    """The row of one comparison, after the figures have been found equal."""
    if peer is None:
        sys.stderr.write(f"{MISSING}\n")
        ours()
        started = time.process_time()
        ours()
        return [row(name, time.process_time() - started, note=f"{note}; {MISSING}")]
    found, expected = ours(), peer()
    for metric in METRICS:
        assert abs(found[metric] - expected[metric]) < 1e-5 * max(1, expected[metric]), (metric, found, expected)
    return measure(name, ours, {PEER: (peer, 5)}, rounds=5, note=note)


def ranking() -> list[dict[str, Any]]:
    """The same scores, ranked; and a model's, computed and ranked."""
    found = []
    for like in [name for name in SIZES if name in sys.argv] or SIZES:
        known = knowledge(*SIZES[like])
        graph, task = known.graph, LinkPrediction(known.schema)
        entities, questions = len(known.entities), 2 * len(known.facts["test"])
        size = f"{questions:,} questions × {entities:,} entities (as {like})"
        filtered = f"filtered by {sum(map(len, known.facts.values())):,} facts, both directions, six metrics"
        scores = torch.randn(questions, entities, generator=torch.Generator().manual_seed(1))
        peer = peer_ranking(known, Peer(scores)) if THERE else None
        table = Table(scores)
        found += compared(
            f"filtered ranking of given scores, {size}",
            lambda task=task, table=table, graph=graph: task.evaluate(table, graph, metrics=METRICS),
            peer,
            f"{filtered}; PyKEEN in the fastest of batches of {BATCHES}",
        )
        del scores, table, peer
        linker, model = distmult(known)
        view = task.view(graph, "test")
        found += compared(
            f"scoring (DistMult, {CHANNELS}) and filtered ranking, {size}",
            lambda t=task, m=linker, v=view, g=graph: t.evaluate(t.answers(m(v), v, "test"), g, metrics=METRICS),
            peer_ranking(known, model) if model is not None else None,
            filtered,
        )
    return found


def distmult(known: mg.KnowledgeGraph) -> tuple[mg.Linker, Any]:
    """Our model and PyKEEN's, of the same vectors."""
    torch.manual_seed(0)
    linker = mg.Linker(schema=known.schema, scorer=DistMult(CHANNELS)).eval()
    count = len(known.relations)
    with torch.no_grad():
        linker.entities.normal_()
        linker.relations.normal_()
        linker.relations[count:] = linker.relations[:count]
    if not THERE:
        return linker, None
    from pykeen.models import DistMult as Theirs
    from pykeen.triples import CoreTriplesFactory

    factory = CoreTriplesFactory(known.facts["train"], num_entities=len(known.entities), num_relations=count)
    model = Theirs(triples_factory=factory, embedding_dim=CHANNELS)
    for representation, vectors in zip(
        (model.entity_representations[0], model.relation_representations[0]),
        (linker.entities, linker.relations[:count]),
        strict=True,
    ):
        representation._embeddings.weight.data = vectors.detach().clone()
    return linker, model


def large() -> list[dict[str, Any]]:
    """Forty thousand questions of a hundred thousand entities: 16 GB of scores, of which a block is there at a time."""
    known = knowledge(100_000, 200, 300_000, 20_000)
    graph, task = known.graph, LinkPrediction(known.schema)
    generator = torch.Generator().manual_seed(0)
    entities = len(known.entities)
    sources, targets = (torch.randn(rows, 16, generator=generator) for rows in (40_000, entities))
    scores = Scores(lambda rows: sources[rows] @ targets.T, len(sources), entities)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    task.evaluate(scores, graph, metrics=METRICS)
    seconds = time.process_time() - started
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    note = f"16 channels; the peak of the process's memory grows by {grown} MiB, {before // 1024} MiB before"
    size = f"{len(sources):,} questions × {entities:,} entities"
    return [row(f"scoring and filtered ranking, {size}", seconds, note=note)]


def training() -> list[dict[str, Any]]:
    """Epochs of the same model, by the same loss, in batches of as many questions: all entities answer, both ways."""
    known = knowledge(*SIZES["CoDEx-S"])
    store, count = known.graph["query"], len(known.relations)
    facts = int(store.train_mask.sum())
    questions = len((store.source * 2 * count + store.relation)[store.train_mask].unique())
    found = []
    for scorer in ("ComplEx", "DistMult"):
        linker = mg.Linker(schema=known.schema, scorer=getattr(scorers, scorer)(2 * COMPLEX)).train()
        ours = trainer(known, linker)
        note = (
            f"{2 * COMPLEX} channels, K-vs-all, Adam, batches of {BATCH} of {questions:,} questions, inverses learned"
        ) + SLOW.get(scorer, "")
        name = f"training {scorer}, {facts:,} facts × {len(known.entities):,} entities (as CoDEx-S)"
        if THERE:
            rows = measure(name, ours, {PEER: (peer_trainer(known, scorer), 3)}, rounds=5, note=note)
        else:
            ours()
            started = time.process_time()
            ours()
            rows = [row(name, time.process_time() - started, note=f"{note}; {MISSING}")]
        speed = f"{facts / rows[0]['ours']:,.0f} training triples a second"
        found += [{**one, "note": f"{speed}; {one['note']}"} for one in rows]
    return found


def trainer(known: mg.KnowledgeGraph, linker: mg.Linker) -> Callable[[], None]:
    """One epoch of ours."""
    store, objective = known.graph["query"], Links("binary")
    groups = store.source * int(store.relation.max() + 1) + store.relation
    loader = RowLoader(known.graph, "query", store.train_mask, groups=groups, batch_size=BATCH, shuffle=True)
    optimizer = torch.optim.Adam(linker.parameters(), lr=1e-3)

    def epoch() -> None:
        for batch in loader:
            optimizer.zero_grad(set_to_none=True)
            objective(linker, batch)["total"].backward()
            optimizer.step()

    return epoch


def peer_trainer(known: mg.KnowledgeGraph, scorer: str) -> Callable[[], None]:
    """One epoch of PyKEEN's."""
    from pykeen import losses, models
    from pykeen.training import LCWATrainingLoop
    from pykeen.triples import CoreTriplesFactory

    sizes = {"num_entities": len(known.entities), "num_relations": len(known.relations)}
    factory = CoreTriplesFactory.create(known.facts["train"], **sizes, create_inverse_triples=True)
    width = COMPLEX if scorer == "ComplEx" else 2 * COMPLEX
    options = {"triples_factory": factory, "embedding_dim": width, "loss": losses.BCEWithLogitsLoss()}
    model = getattr(models, scorer)(**options)

    def epoch() -> None:
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        loop = LCWATrainingLoop(model=model, triples_factory=factory, optimizer=optimizer)
        loop.train(factory, num_epochs=1, batch_size=BATCH, use_tqdm=False, num_workers=0)

    return epoch


def rows() -> list[dict[str, Any]]:
    questions = {"large": large, "ranking": ranking, "training": training}
    asked = [name for name in questions if name in sys.argv] or questions
    return [one for name in asked for one in questions[name]()]


if __name__ == "__main__":
    main(rows)
