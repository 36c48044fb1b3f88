"""Chunks have the gradients of the whole, and a part of its memory."""

import weakref

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from mmgraph.encoders import ImageConv, Table
from mmgraph.encoders.chunked import Chunked
from mmgraph.errors import ConfigError
from mmgraph.functional.contrastive import masked_nce
from mmgraph.testing import fake_graph

WIDTHS = {"scan": 3, "text": 5}


def table(**options):
    torch.manual_seed(0)
    return Table(WIDTHS, 4, hidden=[16], **options)


def loss(features):
    """Every row is compared with every other: no chunk has a loss of its own."""
    scan, text = features["scan"][:40], features["text"][:40]
    return masked_nce(scan @ text.T, torch.arange(40).expand(2, -1), temperature=0.5)


def gradients(encoder, graph):
    total = loss(encoder(graph))
    return total, torch.autograd.grad(total, list(encoder.parameters()))


@pytest.mark.parametrize("rows", [1, 7, 64, 1000])
def test_gradients_are_those_of_the_whole_batch(rows):
    graph, _ = fake_graph()
    encoder = table()
    whole, expected = gradients(encoder, graph)
    total, found = gradients(Chunked(encoder, rows=rows), graph)
    torch.testing.assert_close(total, whole)
    features, all_rows = Chunked(encoder, rows=rows)(graph), encoder(graph)
    for node in WIDTHS:
        torch.testing.assert_close(features[node], all_rows[node])
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


class Seen(nn.Module):
    """Remembers how many rows passed, and adds noise to them."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def forward(self, x):
        noisy = x + torch.rand_like(x)
        self.calls.append((len(x), noisy.detach().clone()))
        return noisy * x


def test_chance_is_the_same_when_rows_are_encoded_again():
    graph, _ = fake_graph()
    encoder, seen = table(), Seen()
    encoder.networks["[scan]"].insert(1, seen)
    total = loss(Chunked(encoder, rows=16)(graph))
    before = list(seen.calls)
    torch.rand(3)
    total.backward()
    again = seen.calls[len(before) :]
    assert {rows for rows, _ in seen.calls} <= {16, graph["scan"].num_nodes % 16, 0}
    assert sum(rows for rows, _ in before) == graph["scan"].num_nodes
    some = [noisy for rows, noisy in before if rows]
    assert all(any(torch.equal(noisy, one) for one in some) for rows, noisy in again if rows)
    assert len([rows for rows, _ in again if rows]) == len(some)


class Peak(TorchDispatchMode):
    """The most bytes of new tensors that were alive at once."""

    def __init__(self):
        super().__init__()
        self.now = self.most = 0
        self.known = weakref.WeakSet()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        for tensor in tree_flatten(found)[0]:
            storage = tensor.untyped_storage() if isinstance(tensor, torch.Tensor) else None
            if storage is not None and storage not in self.known:
                self.known.add(storage)
                self.now += storage.nbytes()
                self.most = max(self.most, self.now)
                weakref.finalize(storage, self.freed, storage.nbytes())
        return found

    def freed(self, size):
        self.now -= size


def peak(encoder, graph):
    with Peak() as mode:
        gradients(encoder, graph)
    return mode.most


def test_memory_is_that_of_a_chunk():
    graph, _ = fake_graph(1000)
    torch.manual_seed(0)
    encoder = Table(WIDTHS, 4, hidden=[64] * 6)
    whole, rows = peak(encoder, graph), graph["scan"].num_nodes
    assert whole > 2 * 6 * rows * 64 * 4  # bytes: two types, six layers
    assert peak(Chunked(encoder, rows=50), graph) < whole / 5


def test_kept_for_the_way_back_are_only_features_and_payloads():
    graph, _ = fake_graph(200)
    graph["scan"].pixels = torch.zeros(graph["scan"].num_nodes, 1, 16, 16, dtype=torch.uint8)
    encoder = ImageConv({"scan": 1}, 4, widths=[8])

    def kept(model):
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x: (sizes.append(x.nbytes), x)[1], lambda x: x):
            total = model(graph)["scan"].square().sum()
        total.backward()
        return sum(sizes)

    assert kept(Chunked(encoder, rows=20)) <= graph["scan"].num_nodes * 4 * 4 * 2
    assert kept(encoder) > 50 * kept(Chunked(encoder, rows=20))


def test_without_gradients_it_is_the_encoder():
    graph, _ = fake_graph()
    encoder = table(dropout=0.5).eval()
    with torch.no_grad():
        found, expected = Chunked(encoder, rows=9).eval()(graph), encoder(graph)
    for node in WIDTHS:
        torch.testing.assert_close(found[node], expected[node])
        assert not found[node].requires_grad


def test_what_cannot_be_cut_is_refused():
    with pytest.raises(ConfigError, match="rows must be at least 1, got 0"):
        Chunked(table(), rows=0)
    encoder = table()
    encoder.networks["[scan]"].append(nn.BatchNorm1d(4))
    with pytest.raises(ConfigError, match="got batch normalisation in a Table; take layer or group"):
        Chunked(encoder)
