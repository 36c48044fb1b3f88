"""Subgraphs of Cora without training: how to read them out, what is found so, and whether a half is recognised.

Command: OMP_NUM_THREADS=1 python benchmarks/subgraphs.py (a minute or two).

The seconds are those of reading all 2,708 subgraphs out, the mean's beside a loop over them; then those of finding each
among all by a random half of its papers. The notes say what that is worth: precision@10 by class, among the papers of
test (and of validation), of all and of those whose subgraphs share no paper with the one that asks; the share of
subgraphs that are found first, and among the first ten, over ten seeds.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from measure import main, measure, row
from torch import Tensor
from torch.nn import functional as F

import mmgraph as mg
from mmgraph.functional import aggregate, part_of, random_features, readout, subgraphs
from mmgraph.functional.adjacency import Adjacency
from mmgraph.functional.ranking import precision_at

HOPS, COMPONENTS, SHARE, SEEDS = 2, 16, 0.5, 10
EQUAL = 1e-9


def tfidf(x: Tensor) -> Tensor:
    """Words weighted by their rarity, rows of length 1."""
    holds = (x > 0).double()
    return F.normalize(holds * (len(holds) / holds.sum(dim=0).clamp_min(1)).log(), dim=1)


def components(x: Tensor) -> Tensor:
    """The first principal components of the rows."""
    u, s, _ = torch.linalg.svd(x - x.mean(dim=0), full_matrices=False)
    return u[:, :COMPONENTS] * s[:COMPONENTS]


def precision(x: Tensor, y: Tensor, apart: Tensor | None = None) -> float:
    """Precision@10 by class, each row among the others, or among those that are ``apart`` from it."""
    scores = F.normalize(x, dim=1) @ F.normalize(x, dim=1).T
    among = ~torch.eye(len(x), dtype=torch.bool) if apart is None else apart
    same = y[:, None] == y
    return float(precision_at(scores.masked_fill(~among, -torch.inf), same & among, k=10).nanmean())


def found(queries: Tensor, items: Tensor) -> tuple[float, float]:
    """Recall@1 and @10 of row i among all, by Euclidean distance; of equal distances none comes first."""
    scores = 2 * queries @ items.T - items.square().sum(dim=1)
    own = scores.diagonal()[:, None]
    ahead, equal = (scores > own + EQUAL).sum(dim=1), ((scores - own).abs() <= EQUAL).sum(dim=1)
    return tuple(float(((k - ahead) / equal).clamp(0, 1).mean()) for k in (1, 10))  # type: ignore[return-value]


def timed(work: Callable[[], Tensor]) -> tuple[Tensor, float]:
    """What a way gives, and its seconds of processor time."""
    started = time.process_time()
    given = work()
    return given, time.process_time() - started


def one_by_one(x: Tensor, index: Tensor) -> Tensor:
    """The mean of each subgraph, cut out for itself."""
    from torch_geometric.utils import k_hop_subgraph

    found = (k_hop_subgraph(centre, HOPS, index, num_nodes=len(x))[0] for centre in range(len(x)))
    return torch.stack([x[members].mean(dim=0) for members in found])


def classes() -> list[dict[str, Any]]:
    """What is found of the same class."""
    graph, _ = mg.load_dataset("cora")
    paper, index = graph["paper"], graph["paper", "cites", "paper"].edge_index
    words, y = tfidf(paper.x), paper.y
    noise = torch.randn(words.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    near = torch.zeros(len(y), len(y), dtype=torch.bool)
    near[tuple(subgraphs(index, len(y), hops=2 * HOPS, weights="sum")[0])] = True
    read = partial(readout, index=index, hops=HOPS)
    ways: dict[str, Callable[[], Tensor]] = {
        "centre text alone": lambda: words,
        "centre text, 16 components": lambda: components(words),
        "mean": lambda: read(words),
        "mean, centre removed": lambda: read(words, centre=False),
        "mean of noise": lambda: read(noise),
        "decay .5": lambda: read(words, weights="decay"),
        "walk": lambda: read(words, weights="walk"),
        "walk of noise": lambda: read(noise, weights="walk"),
        "mean, 16 components": lambda: components(read(words)),
        "walk, 16 components": lambda: components(read(words, weights="walk")),
        "walk, centre removed, 16 components": lambda: components(read(words, weights="walk", centre=False)),
    }
    found = []
    for name, work in ways.items():
        x, seconds = timed(work)
        notes = []
        for part in ("test", "val"):
            rows = paper[f"{part}_mask"]
            apart = ~near[rows][:, rows]
            notes.append(f"{part} {precision(x[rows], y[rows]):.3f}, {precision(x[rows], y[rows], apart):.3f}")
        title, note = f"subgraphs of Cora, {HOPS} hops, {name}", f"precision@10, no paper shared: {'; '.join(notes)}"
        if name == "mean":
            torch.testing.assert_close(one_by_one(words, index), x)
            peers = {"PyG k_hop_subgraph, one by one": (partial(one_by_one, words, index), None)}
            found += measure(title, work, peers, rounds=3, note=note)
        else:
            found.append(row(title, seconds, note=note))
    return found


def halves() -> list[dict[str, Any]]:
    """How often a subgraph is found by a random half of it."""
    graph, _ = mg.load_dataset("cora")
    words, index = tfidf(graph["paper"].x), graph["paper", "cites", "paper"].edge_index
    members, _ = subgraphs(index, len(words), hops=HOPS, weights="sum")
    kinds = len({tuple(members[0, members[1] == centre].tolist()) for centre in range(len(words))})
    ways = {
        "words, mean, cosine": (words, True),
        "words, sum, euclidean": (words, False),
        "1,024 random features, mean, cosine": (random_features(words, 1024), True),
        "1,024 random features, sum, euclidean": (random_features(words, 1024), False),
    }
    rows = []
    for name, (x, mean) in ways.items():
        started = time.process_time()
        items, scores = aggregate(x, Adjacency(members, len(x), len(x))), []
        for seed in range(SEEDS):
            left = part_of(members, share=SHARE, generator=torch.Generator().manual_seed(seed))
            queries = aggregate(x, Adjacency(left, len(x), len(x))) / SHARE
            pair = (F.normalize(queries, dim=1), F.normalize(items, dim=1)) if mean else (queries, items)
            scores.append(found(*pair))
        seconds = (time.process_time() - started) / SEEDS
        recalls = torch.tensor(scores)
        each = [f"{a:.3f} ± {b:.3f}" for a, b in zip(recalls.mean(dim=0), recalls.std(dim=0), strict=True)]
        note = f"recall@1 {each[0]}, @10 {each[1]}; {kinds} different sets, at most {kinds / len(x):.3f}"
        rows.append(row(f"subgraphs of Cora by a random half, {name}", seconds, note=note))
    return rows


if __name__ == "__main__":
    main(lambda: [*classes(), *halves()])
