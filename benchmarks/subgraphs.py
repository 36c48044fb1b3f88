"""Subgraphs of Cora without training: how to read them out, what is found so, and whether a half is recognised.

Command: OMP_NUM_THREADS=1 python benchmarks/subgraphs.py (half a minute).

Prints precision@10 by class among the test papers, of all and of those whose subgraphs share no paper with the one that
asks; then the share of subgraphs that are found among all 2,708 by a random half of their papers, over ten seeds.
"""

import torch
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


def classes(part: str) -> None:
    """Prints what is found of the same class."""
    graph, _ = mg.load_dataset("cora")
    paper, index = graph["paper"], graph["paper", "cites", "paper"].edge_index
    words, rows, y = tfidf(paper.x), paper[f"{part}_mask"], paper.y
    noise = torch.randn(words.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    near = torch.zeros(len(y), len(y), dtype=torch.bool)
    near[tuple(subgraphs(index, len(y), hops=2 * HOPS, weights="sum")[0])] = True
    ways = {
        "centre text alone": words,
        "centre text, 16 components": components(words),
        "mean": readout(words, index, hops=HOPS),
        "mean, centre removed": readout(words, index, hops=HOPS, centre=False),
        "mean of noise": readout(noise, index, hops=HOPS),
        "decay .5": readout(words, index, hops=HOPS, weights="decay"),
        "walk": readout(words, index, hops=HOPS, weights="walk"),
        "walk of noise": readout(noise, index, hops=HOPS, weights="walk"),
        "mean, 16 components": components(readout(words, index, hops=HOPS)),
        "walk, 16 components": components(readout(words, index, hops=HOPS, weights="walk")),
        "walk, centre removed, 16 components": components(
            readout(words, index, hops=HOPS, weights="walk", centre=False)
        ),
    }
    print(f"\n| readout ({part}) | precision@10 | no paper shared |\n|---|---|---|")
    for name, x in ways.items():
        apart = ~near[rows][:, rows]
        print(f"| {name} | {precision(x[rows], y[rows]):.3f} | {precision(x[rows], y[rows], apart):.3f} |")


def halves() -> None:
    """Prints how often a subgraph is found by a random half of it."""
    graph, _ = mg.load_dataset("cora")
    words, index = tfidf(graph["paper"].x), graph["paper", "cites", "paper"].edge_index
    members, _ = subgraphs(index, len(words), hops=HOPS, weights="sum")
    kinds = len({tuple(members[0, members[1] == row].tolist()) for row in range(len(words))})
    ways = {
        "words, mean, cosine": (words, True),
        "words, sum, euclidean": (words, False),
        "1,024 random features, mean, cosine": (random_features(words, 1024), True),
        "1,024 random features, sum, euclidean": (random_features(words, 1024), False),
    }
    print(f"\n{kinds} of {len(words)} subgraphs are different sets: at most {kinds / len(words):.3f} can be told apart")
    print("\n| vectors | recall@1 | recall@10 |\n|---|---|---|")
    for name, (x, mean) in ways.items():
        items, scores = aggregate(x, Adjacency(members, len(x), len(x))), []
        for seed in range(SEEDS):
            left = part_of(members, share=SHARE, generator=torch.Generator().manual_seed(seed))
            queries = aggregate(x, Adjacency(left, len(x), len(x))) / SHARE
            pair = (F.normalize(queries, dim=1), F.normalize(items, dim=1)) if mean else (queries, items)
            scores.append(found(*pair))
        recalls = torch.tensor(scores)
        each = [f"{a:.3f} ± {b:.3f}" for a, b in zip(recalls.mean(dim=0), recalls.std(dim=0), strict=True)]
        print(f"| {name} | {each[0]} | {each[1]} |")


if __name__ == "__main__":
    classes("val")
    classes("test")
    halves()
