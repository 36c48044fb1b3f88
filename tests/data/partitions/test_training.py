"""Two processes, each with one of two pieces, train as one process with the whole graph does."""

import inspect
import os
import subprocess
import sys

import torch
from torch.nn import functional as F

from mmgraph.data import NeighbourLoader, NeighbourSampler, NodeSeeds
from mmgraph.data.partitions import partition_graph

BATCH, EPOCHS = 5, 2

RANK = """
import sys, time
from pathlib import Path
import torch
import torch.distributed as dist
from torch.nn import functional as F
from mmgraph.data import NeighbourLoader, NeighbourSampler, NodeSeeds
from mmgraph.data.partitions import GraphParts, PartServer

folder, meet, rank = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
dist.init_process_group("gloo", init_method=f"file://{meet}/gloo", rank=rank, world_size=2)
with PartServer(folder, rank) as server:
    (meet / f"draft {rank}").write_text(server.address)
    (meet / f"draft {rank}").rename(meet / f"address {rank}")
    dist.barrier()
    other = {1 - rank: (meet / f"address {1 - rank}").read_text()}
    graph = GraphParts(folder, addresses=other, home=rank, keep_mib=0.0002)
    sampler = NeighbourSampler(graph, [4, 3])
    options = {"batch_size": BATCH, "shuffle": True, "rank": rank, "world": 2, "drop_last": True}
    loader = NeighbourLoader(sampler, NodeSeeds("text"), **options)
    model = make_model()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    for _ in range(EPOCHS):
        for batch in loader:
            loss = loss_of(model, batch)
            optimiser.zero_grad()
            loss.backward()
            for parameter in model.parameters():
                dist.all_reduce(parameter.grad)
                parameter.grad /= 2
            optimiser.step()
            total = loss.detach().clone()
            dist.all_reduce(total)
            losses.append(total / 2)
    torch.save({"losses": torch.stack(losses), **model.state_dict()}, meet / f"done {rank}")
    dist.barrier()
dist.destroy_process_group()
"""


def make_model():
    torch.manual_seed(0)
    return torch.nn.Linear(6, 2)


def loss_of(model, batch):
    source, target = batch["word", "in", "text"].edge_index
    word = batch["word"].x[source] * batch["word", "in", "text"].edge_attr[:, :1]
    into = torch.zeros(len(batch["text"].x), 3).index_add(0, target, word)
    count = batch["text"].batch_size
    states = torch.cat([batch["text"].x, into], dim=1)[:count]
    return F.cross_entropy(model(states), batch["text"].mask[:count].long())


def test_two_ranks_over_two_pieces_train_as_one_process(graph, owner, tmp_path):
    method = {name: part.clamp(max=1) for name, part in owner.items()}
    partition_graph(graph, tmp_path / "parts", parts=2, method=method)
    (tmp_path / "meet").mkdir()
    script = RANK.replace("BATCH", str(BATCH)).replace("EPOCHS", str(EPOCHS))
    script = script.replace("\nfolder,", f"\n{inspect.getsource(make_model)}\n{inspect.getsource(loss_of)}\nfolder,", 1)
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path / "parts"), str(tmp_path / "meet"), str(rank)],
            env={**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"},
        )
        for rank in range(2)
    ]
    try:
        assert [rank.wait(timeout=200) for rank in ranks] == [0, 0]
    finally:
        for rank in ranks:
            rank.kill()
    found = [torch.load(tmp_path / "meet" / f"done {rank}", weights_only=True) for rank in range(2)]

    loaders = [
        NeighbourLoader(
            NeighbourSampler(graph, [4, 3]),
            NodeSeeds("text"),
            batch_size=BATCH,
            shuffle=True,
            rank=rank,
            world=2,
            drop_last=True,
        )
        for rank in range(2)
    ]
    model = make_model()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    for _ in range(EPOCHS):
        for batches in zip(*loaders, strict=True):
            loss = sum(loss_of(model, batch) for batch in batches) / 2
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.detach())
    assert len(losses) == 2 * EPOCHS
    for one in found:
        torch.testing.assert_close(one["losses"], torch.stack(losses), rtol=1e-6, atol=1e-7)
        torch.testing.assert_close(one["weight"], model.state_dict()["weight"], rtol=1e-6, atol=1e-7)
