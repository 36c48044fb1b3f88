"""Two processes together have the gradients of one."""

import subprocess
import sys

import pytest
import torch

from mmgraph.functional.contrastive import masked_nce
from mmgraph.functional.distributed import gather_edges, gather_rows, processes, share_mean, sum_over

SIZES = (3, 5)
WORKER = """
import sys
import torch
from torch import distributed
from torch.nn import functional as F
from mmgraph.functional.contrastive import masked_nce
from mmgraph.functional.distributed import gather_edges, gather_rows, processes, share_mean, sum_over

rank, folder = int(sys.argv[1]), sys.argv[2]
distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
given = torch.load(f"{folder}/given.pt", weights_only=True)
rows = slice(0, 3) if rank == 0 else slice(3, 8)
weight = given["weight"].requires_grad_()
x = given["x"][rows].requires_grad_()
z = F.normalize(gather_rows(x @ weight), dim=1)
y = F.normalize(gather_rows(given["y"][rows] @ weight), dim=1)
loss = masked_nce(z @ y.T, torch.arange(8).expand(2, -1), temperature=0.2)
loss.backward()
distributed.all_reduce(weight.grad)
found = {
    "loss": loss.detach(), "weight": weight.grad / 2, "x": x.grad / 2,
    "there": gather_rows(given["there"][rows]), "empty": gather_rows(given["x"][rows][: 2 * rank]),
    "edges": gather_edges(torch.tensor([[0, 2], [1, 0]]), 3 + 2 * rank),
}
# rows 0 and 2 of process 0 count and are called 7 and 5; of process 1, rows 1, 2 and 4, called 6, 8 and 9
names = torch.tensor([7, 6, 5]) if rank == 0 else torch.tensor([5, 6, 8, 7, 9])
counts = torch.tensor([True, False, True]) if rank == 0 else torch.tensor([False, True, True, False, True])
own = torch.tensor([[1, 0], [0, 2]]) if rank == 0 else torch.tensor([[0, 3, 2], [1, 4, 3]])
found["named"] = gather_edges(own, len(names), names=names, counts=counts)
found["everybody"] = gather_edges(own, len(names), names=names)
found["processes"], found["sum"] = torch.tensor(processes()), sum_over(torch.tensor([rank + 1, 10]))
w = torch.tensor(2.0, requires_grad=True)
x = [torch.tensor([1.0, 2.0, 6.0]), torch.tensor([4.0])][rank] * w
share = share_mean(x.mean(), len(x))
share.backward()
found["mean"], found["mean grad"] = sum_over(share.detach()) / 2, sum_over(w.grad) / 2
found["nobody"] = share_mean(torch.tensor(0.0), 0)
found["one has none"] = sum_over(share_mean(torch.tensor(3.0 * rank), torch.tensor(5 * rank))) / 2
v = torch.ones(2, requires_grad=True)
both = gather_rows(v * 3 if rank == 1 else torch.zeros(0))  # the rows of one process alone have a gradient
(both * torch.tensor([2.0, 5.0])).sum().backward()
found["lone grad"] = torch.zeros(2) if v.grad is None else v.grad
torch.save(found, f"{folder}/{rank}.pt")
distributed.destroy_process_group()
"""


def run_two(folder, script):
    """Runs a script in two processes, and gives what each has saved."""
    (folder / "worker.py").write_text(script)
    command = [sys.executable, "-W", "error::UserWarning", str(folder / "worker.py")]
    workers = [
        subprocess.Popen([*command, str(rank), str(folder)], stderr=subprocess.PIPE, text=True) for rank in (0, 1)
    ]
    for worker in workers:
        _, errors = worker.communicate(timeout=200)
        assert worker.returncode == 0, errors
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


def test_gradients_are_those_of_one_process(tmp_path):
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(8, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    weight = torch.randn(4, 3, generator=generator, dtype=torch.float64)
    there = torch.rand(8, generator=generator) < 0.5
    torch.save({"x": x, "y": y, "weight": weight, "there": there}, tmp_path / "given.pt")
    weight.requires_grad_(), x.requires_grad_()
    z, other = (torch.nn.functional.normalize(one @ weight, dim=1) for one in (x, y))
    loss = masked_nce(z @ other.T, torch.arange(8).expand(2, -1), temperature=0.2)
    loss.backward()
    first, second = run_two(tmp_path, WORKER)
    for found in (first, second):
        torch.testing.assert_close(found["loss"], loss.detach())
        torch.testing.assert_close(found["weight"], weight.grad, atol=1e-12, rtol=0)
        assert torch.equal(found["there"], there)
        assert torch.equal(found["empty"], x[3:5].detach())
        assert found["edges"].tolist() == [[0, 2, 3, 5], [1, 0, 4, 3]]
        assert found["named"].tolist() == [[4, 0, 2, 0, 5], [0, 2, 4, 7, 0]]
        assert found["everybody"].tolist() == [[1, 0, 2, 0, 5], [0, 2, 1, 7, 0]]
        assert int(found["processes"]) == 2
        assert found["sum"].tolist() == [3, 20]
        assert (float(found["mean"]), float(found["mean grad"])) == (pytest.approx(6.5), pytest.approx(3.25))
        assert (float(found["nobody"]), float(found["one has none"])) == (0.0, 3.0)
    assert (first["lone grad"].tolist(), second["lone grad"].tolist()) == ([0.0, 0.0], [12.0, 30.0])
    torch.testing.assert_close(torch.cat([first["x"], second["x"]]), x.grad, atol=1e-12, rtol=0)


@pytest.mark.parametrize("x", [torch.zeros(0, 3), torch.tensor([True, False]), torch.randn(2, 2, requires_grad=True)])
def test_one_process_keeps_its_rows_as_they_are(x):
    assert gather_rows(x) is x
    index = torch.tensor([[0], [1]])
    assert gather_edges(index, 2) is index
    assert gather_edges(index, 2, names=torch.tensor([4, 4])) is index
    assert sum_over(x) is x
    assert share_mean(x, 7) is x
    assert processes() == 1
