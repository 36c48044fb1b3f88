"""What the graph costs: an epoch of training a fusion on graphs, and of the same formula on plain tensors.

Ours: samples in a collection, batches of graphs by a loader, the encoder, the way from the modality nodes to their
anchors, the fusion, a head. The peer: the same rows in tensors, the formula as its authors write it in dense torch, no
graph, no missing parts. They begin with the same weights; their answers and gradients are compared first.
"""

import copy
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from measure import main, measure
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.data import HeteroData

from mmgraph.data import Collection, CollectionWriter, Loader
from mmgraph.encoders import Encoder, Raw, Table
from mmgraph.fusion import Fusion, LowRank
from mmgraph.fusion import Tensor as TensorFusion
from mmgraph.keys import weight_key
from mmgraph.model import Model
from mmgraph.schema import Schema

COUNT, BATCH, CHANNELS, CLASSES, RANK = 10_240, 256, 64, 2, 4
MOST = 1.3  # times the peer's seconds
WIDTHS = {"audio": 73, "text": 100, "video": 100}  # those of the utterances of MOSI
PARTS = dict.fromkeys(WIDTHS, 32)

Rows = dict[str, Tensor]


def samples(widths: Mapping[str, int], folder: Path) -> tuple[Rows, Tensor, Collection, Schema]:
    """The same samples twice: rows of tensors, and graphs of an anchor with a node a modality."""
    torch.manual_seed(0)
    rows, labels = {name: torch.randn(COUNT, width) for name, width in widths.items()}, torch.arange(COUNT) % CLASSES
    graph = HeteroData()
    with CollectionWriter(folder) as writer:
        for number in range(COUNT):
            graph = HeteroData()
            graph["sample"].x, graph["sample"].y = torch.empty(1, 0), labels[number : number + 1]
            for name in widths:
                graph[name].x = rows[name][number : number + 1]
                graph[name, "of", "sample"].edge_index = torch.zeros(2, 1, dtype=torch.int64)
            writer.add(graph)
    return rows, labels, Collection(folder), Schema.infer(graph, anchor="sample")


class Dense(nn.Module):
    """Networks for each part (or none), a formula of ``[h; 1]`` of each, and a head."""

    def __init__(self, ours: Model, formula: nn.Module) -> None:
        super().__init__()
        networks: Any = getattr(ours.encoder, "networks", {weight_key(name): nn.Identity() for name in WIDTHS})
        self.networks = nn.ModuleDict({name: copy.deepcopy(networks[weight_key(name)]) for name in WIDTHS})
        self.formula, self.head = formula, copy.deepcopy(ours.head)

    def forward(self, rows: Rows) -> Tensor:
        """Gives ``[anchors, classes]``."""
        parts = [network(rows[name]) for name, network in self.networks.items()]
        return self.head(self.formula([torch.cat([part, part.new_ones(len(part), 1)], dim=1) for part in parts]))


class DenseTensor(nn.Module):
    """Outer products by two batched matrix products, then a linear map."""

    def __init__(self, ours: TensorFusion) -> None:
        super().__init__()
        self.linear = copy.deepcopy(ours.linear)

    def forward(self, parts: list[Tensor]) -> Tensor:
        """Gives ``[anchors, channels]``."""
        pairs = torch.bmm(parts[0].unsqueeze(2), parts[1].unsqueeze(1)).flatten(1)
        return self.linear(torch.bmm(pairs.unsqueeze(2), parts[2].unsqueeze(1)).flatten(1))


class DenseLowRank(nn.Module):
    """A product of matrices a part and rank, multiplied over the parts, summed over the ranks."""

    def __init__(self, ours: LowRank) -> None:
        super().__init__()
        factors = [ours.factors[weight_key(name)].detach().transpose(0, 1) for name in WIDTHS]
        self.factors = nn.ParameterList(
            factor.contiguous().clone() for factor in factors
        )  # [rank, width + 1, channels]

    def forward(self, parts: list[Tensor]) -> Tensor:
        """Gives ``[anchors, channels]``."""
        one, two, three = (torch.matmul(part, factor) for part, factor in zip(parts, self.factors, strict=True))
        return (one * two * three).sum(dim=0)


def epoch(model: nn.Module, batches: Callable[[], Iterable[tuple[Any, Tensor]]]) -> Callable[[], None]:
    """Forwards, backwards and a step of the optimiser for each batch."""
    optimiser = torch.optim.Adam(model.parameters())

    def work() -> None:
        for batch, labels in batches():
            optimiser.zero_grad()
            F.cross_entropy(model(batch), labels).backward()
            optimiser.step()

    return work


def same(ours: Model, peer: Dense, batch: Any, rows: Rows, labels: Tensor) -> None:
    """Answers to 1e-5, and the gradients of the heads to 1e-4 of their norm."""
    found = []
    for model, given in ((ours, batch), (peer, rows)):
        out = model(given)
        found.append((out.detach(), torch.autograd.grad(F.cross_entropy(out, labels), model.head.weight)[0]))
    (answers, gradient), (expected, reference) = found
    assert torch.allclose(answers, expected, rtol=1e-4, atol=1e-5), "answers must agree"
    assert (gradient - reference).norm() <= 1e-4 * reference.norm(), "gradients must agree"


def beside_dense(name: str, widths: Mapping[str, int], encoder: Encoder, fusion: Fusion, formula: nn.Module) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        rows, labels, collection, schema = samples(widths, Path(folder) / "samples")
        ours = Model(schema=schema, encoder=encoder, fusion=fusion, head=nn.Linear(CHANNELS, CLASSES))
        peer = Dense(ours, formula)
        first = torch.arange(BATCH)
        same(ours, peer, collection.batch(first), {key: one[first] for key, one in rows.items()}, labels[first])
        loader = Loader(collection, batch_size=BATCH, shuffle=True, prefetch=0)

        def drawn() -> Iterable[tuple[Rows, Tensor]]:
            for some in torch.randperm(COUNT).split(BATCH):
                yield {key: one[some] for key, one in rows.items()}, labels[some]

        graphs = epoch(ours, lambda: ((batch, batch["sample"].y) for batch in loader))
        (found,) = measure(
            f"epoch of {name}, 3 parts × {next(iter(PARTS.values()))}, {COUNT:,} anchors, batches of {BATCH}",
            graphs,
            {"plain dense torch, no graph": (epoch(peer, drawn), round(1 / MOST, 2))},
        )
    cost = found["ours"] / found["peer"]
    return {**found, "note": f"{cost:.2f} times the seconds of plain torch; at most {MOST} is asked"}


def rows() -> list[dict[str, Any]]:
    found = []
    for networks in (True, False):
        widths = WIDTHS if networks else PARTS
        for kind in (TensorFusion(PARTS, CHANNELS), LowRank(PARTS, CHANNELS, rank=RANK)):
            encoder = Table(WIDTHS, 32, hidden=[32, 32], final=True) if networks else Raw(list(PARTS))
            formula = DenseTensor(kind) if isinstance(kind, TensorFusion) else DenseLowRank(kind)
            title = "tensor fusion" if isinstance(kind, TensorFusion) else f"low-rank fusion, rank {RANK}"
            before = "networks of 3 layers" if networks else "nothing"
            if sys.argv[1:] and sys.argv[1] not in f"{title} after {before}":
                continue
            found.append(beside_dense(f"{title} after {before}", widths, encoder, kind, formula))
    return found


if __name__ == "__main__":
    main(rows)
