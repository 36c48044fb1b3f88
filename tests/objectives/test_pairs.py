"""What ties anchors together, in one process and in two."""

import subprocess
import sys

import pytest
import torch

from mmgraph.objectives import Contrast
from mmgraph.objectives.pairs import Scale, Ties, embedded, places
from mmgraph.testing import fake_graph

NEAR = ("subject", "near", "subject")
WORKER = """
import sys
import torch
from torch import distributed, nn
from mmgraph.objectives import Contrast
from mmgraph.schema import Schema

class Store(dict):
    __getattr__ = dict.__getitem__

torch.set_num_threads(1)
rank, folder = int(sys.argv[1]), sys.argv[2]
distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
given = torch.load(f"{folder}/given.pt", weights_only=True)
schema = Schema.from_json(given["schema"])
graph = {"subject": Store(given[f"part {rank}"], num_nodes=len(given[f"part {rank}"]["y"])),
         ("subject", "near", "subject"): Store(edge_index=given[f"edges {rank}"])}
weight = nn.Parameter(given["weight"])
model = nn.Module()
there, ill = graph["subject"].there, graph["subject"].y > 0
model.project = lambda g: {
    "joint": {"scan": (g["subject"].x @ weight, there), "text": (g["subject"].z @ weight, ~there | ill)}
}
losses = {}
for name, options in {"clip": {}, "mil": {"positives": ("subject", "near", "subject")},
                      "class": {"ignore": "diagnosis"}, "hard": {"hard": ("subject", "near", "subject")}}.items():
    total = Contrast(schema, learned=False, **options)(model, graph)["total"]
    grad, = torch.autograd.grad(total, weight)
    distributed.all_reduce(grad)
    losses[name], losses[f"{name} grad"] = total.detach(), grad / 2
torch.save(losses, f"{folder}/{rank}.pt")
distributed.destroy_process_group()
"""


def test_two_processes_compare_the_anchors_of_both(tmp_path):
    graph, schema = fake_graph()
    generator = torch.Generator().manual_seed(0)
    store = graph["subject"]
    store.x, store.z = (torch.randn(40, 6, generator=generator, dtype=torch.float64) for _ in range(2))
    store.there = torch.rand(40, generator=generator) < 0.7
    weight = torch.randn(6, 3, generator=generator, dtype=torch.float64)
    index = graph[NEAR].edge_index
    index = index[:, (index[0] < 15) == (index[1] < 15)]  # a process has no edges to the other's anchors
    parts = {}
    for rank, rows in enumerate((slice(0, 15), slice(15, 40))):
        parts[f"part {rank}"] = {key: store[key][rows] for key in ("x", "z", "y", "there", "train_mask")}
        parts[f"edges {rank}"] = index[:, (index[0] < 15) == (rank == 0)] - 15 * rank
    torch.save({**parts, "weight": weight, "schema": schema.to_json()}, tmp_path / "given.pt")
    (tmp_path / "worker.py").write_text(WORKER)
    workers = [
        subprocess.Popen(
            [sys.executable, str(tmp_path / "worker.py"), str(rank), str(tmp_path)], stderr=subprocess.PIPE, text=True
        )
        for rank in (0, 1)
    ]
    for worker in workers:
        _, errors = worker.communicate(timeout=250)
        assert worker.returncode == 0, errors
    graph[NEAR].edge_index = index
    weight.requires_grad_()
    model = torch.nn.Module()
    model.project = lambda g: {
        "joint": {"scan": (store.x @ weight, store.there), "text": (store.z @ weight, ~store.there | (store.y > 0))}
    }
    options = {"clip": {}, "mil": {"positives": NEAR}, "class": {"ignore": "diagnosis"}, "hard": {"hard": NEAR}}
    for rank in (0, 1):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for name, chosen in options.items():
            total = Contrast(schema, learned=False, **chosen)(model, graph)["total"]
            (grad,) = torch.autograd.grad(total, weight)
            torch.testing.assert_close(found[name], total.detach())
            torch.testing.assert_close(found[f"{name} grad"], grad, atol=1e-10, rtol=0)


def test_ties_are_edges_either_way_between_those_asked():
    graph, schema = fake_graph()
    graph[NEAR].edge_index = torch.tensor([[0, 1, 5, 5, 2], [1, 3, 5, 1, 9]])
    queries, keys = torch.zeros(40, dtype=torch.bool), torch.zeros(40, dtype=torch.bool)
    queries[[1, 2, 5]], keys[[0, 1, 3, 5]] = True, True
    found = set(map(tuple, Ties(schema, NEAR).edges(graph, queries, keys).T.tolist()))
    assert found == {(0, 0), (0, 2), (2, 1), (0, 3)}  # 1-0, 1-3, 5-1, 1-5 by their places
    nobody = torch.zeros(40, dtype=torch.bool)
    assert Ties(schema, NEAR).edges(graph, nobody, keys).shape == (2, 0)
    graph["subject"].y = torch.full((40,), -1)
    graph["subject"].y[[1, 3, 5]] = torch.tensor([1, 1, 0])
    found = set(map(tuple, Ties(schema, "diagnosis").edges(graph, queries, keys).T.tolist()))
    assert found == {(0, 1), (0, 2), (2, 3)}


def test_places_count_those_that_are_there():
    assert places(torch.tensor([True, False, True, True])).tolist() == [0, -1, 1, 2]


def test_embedded_are_unit_vectors_of_those_who_count():
    graph, _ = fake_graph()
    model = torch.nn.Module()
    present = torch.rand(40) < 0.5
    states = torch.randn(40, 3) * present[:, None]
    model.project = lambda graph: {"joint": {"scan": (states, present)}}
    found = embedded(model, graph, "subject")["joint"]["scan"]
    assert torch.equal(found.there, present & graph["subject"].train_mask)
    torch.testing.assert_close(found.states.norm(dim=1), present.float())
    del graph["subject"].train_mask
    assert torch.equal(embedded(model, graph, "subject")["joint"]["scan"].there, present)


@pytest.mark.parametrize("learned", [True, False])
def test_the_scale_is_one_over_the_temperature(learned):
    scale = Scale(0.05, learned=learned)
    assert scale().item() == pytest.approx(20)
    assert len(list(scale.parameters())) == learned
    assert "log" in scale.state_dict()
    if learned:
        with torch.no_grad():
            scale.log.fill_(9.0)
        assert scale.eval()().item() > 101  # evaluation changes nothing
        assert scale.train()().item() == pytest.approx(100)
    else:
        assert Scale(0.001)().item() == pytest.approx(1000)
