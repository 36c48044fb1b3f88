"""Attention along edges beside its peers, forwards and backwards; which of its two paths wins where.

Outputs and gradients are compared first, in float32. PyG's HGTConv is no peer: its relations have a
matrix more each, so that it is another function.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from measure import main, measure
from torch import Tensor, nn
from torch_geometric.nn import TransformerConv

from mmgraph.functional import Adjacency, Blocks, attention, find_blocks
from mmgraph.functional.attention_blocks import Block
from mmgraph.layers import Attention, Edges
from mmgraph.typing import EdgeSet

CHANNELS, HEADS = 64, 4
RELATION = ("node", "informs", "node")
SPARSE = Blocks((), None)

Step = Callable[[], list[Tensor]]


def sequences(lengths: Tensor) -> Tensor:
    """All to all within sequences that lie one after the other: ``[2, edges]``."""
    pairs, first = [], 0
    for length in lengths.tolist():
        pairs.append(torch.cartesian_prod(torch.arange(length), torch.arange(length)).T + first)
        first += length
    return torch.cat(pairs, dim=1)


def window(length: int, width: int) -> Tensor:
    """Along one sequence, no further than the width."""
    pairs = torch.cartesian_prod(torch.arange(length), torch.arange(-width, width + 1))
    index = torch.stack([pairs.sum(dim=1), pairs[:, 0]])
    return index[:, (index[0] >= 0) & (index[0] < length)]


@contextmanager
def always_dense() -> Iterator[None]:
    """Dense attention costs nothing: it is chosen wherever it can be."""
    where = "mmgraph.functional.attention_blocks"
    with (
        patch(f"{where}.PAIR", 0.0),
        patch(f"{where}.BLOCK", 0.0),
        patch(f"{where}.STACK", 0.0),
        patch(f"{where}.ROUNDS", 1 << 20),
    ):
        yield


def step(run: Callable[[], Tensor], wanted: list[Tensor]) -> Step:
    """Forwards and backwards: gives the output and the gradients."""
    with torch.no_grad():
        sent = torch.randn(run().shape, generator=torch.Generator().manual_seed(0))  # a constant would end at the norm

    def work() -> list[Tensor]:
        out = run()
        return [out, *torch.autograd.grad(out, wanted, sent)]

    return work


def same(ours: Step, peer: Step, what: str) -> None:
    for mine, theirs in zip(ours(), peer(), strict=True):
        apart = float((mine - theirs).detach().norm() / theirs.detach().norm().clamp_min(1e-12))
        most = 1e-5 if mine.requires_grad else 1e-3
        assert apart <= most, f"{what}: must agree to {most} of the norm, got {apart:.2g}"


def paths(what: str, index: Tensor, rows: int, least: float | None) -> list[dict[str, Any]]:
    """The path that is chosen beside the other one."""
    edges = Adjacency(index, rows, rows)
    chosen = find_blocks(edges)
    with always_dense():
        dense = find_blocks(edges)
    assert all(isinstance(block, Block) for block in dense.dense)
    query, key, value = (torch.randn(rows, CHANNELS, requires_grad=True) for _ in range(3))
    works = {
        name: step(lambda blocks=blocks: attention(query, key, value, edges, heads=HEADS, blocks=blocks), [query, key])
        for name, blocks in (("chosen", chosen), ("dense", dense), ("sparse", SPARSE))
    }
    other = "sparse" if chosen.dense else "dense"
    same(works["chosen"], works[other], what)
    share = edges.num_edges / sum(block.shape[0] * block.shape[1] * block.shape[2] for block in dense.dense)
    return measure(
        f"attention, {what}",
        works["chosen"],
        {f"the {other} path, which is not chosen": (works[other], least)},
        note=f"{edges.num_edges:,} edges, {100 * share:.3g} % of the pairs of their padded blocks",
    )


def torch_layer(what: str, lengths: Tensor, least: float | None) -> list[dict[str, Any]]:
    """The whole layer beside ``nn.TransformerEncoderLayer`` on the padded batch."""
    rows = int(lengths.sum())
    edges = Edges({RELATION: EdgeSet(sequences(lengths))})
    ours = Attention(CHANNELS, relations=[RELATION], heads=HEADS)
    peer = nn.TransformerEncoderLayer(CHANNELS, HEADS, 4 * CHANNELS, dropout=0.0, batch_first=True)
    table = [ours.query["all"], ours.key["all"], ours.value["all"]]
    peer.self_attn.in_proj_weight.data = torch.cat([one.weight.data for one in table])
    peer.self_attn.out_proj.load_state_dict(ours.out["all"].state_dict())
    for name in ("linear1", "linear2", "norm1", "norm2"):
        getattr(peer, name).load_state_dict(getattr(ours, name)["all"].state_dict())
    x = torch.randn(rows, CHANNELS)
    there = torch.arange(int(lengths.max())) < lengths[:, None]  # [sequences, longest]
    padded = x.new_zeros(*there.shape, CHANNELS)
    padded[there] = x
    blind = None if bool(there.all()) else ~there
    mine = [ours.linear1["all"].weight, ours.out["all"].weight]
    other = [peer.linear1.weight, peer.self_attn.out_proj.weight]
    work = step(lambda: ours({"node": x}, edges)["node"], mine)
    flat = there.flatten().nonzero().flatten()
    theirs = step(lambda: peer(padded, src_key_padding_mask=blind).flatten(0, 1).index_select(0, flat), other)
    same(work, theirs, what)
    return measure(f"attention layer, {what}", work, {"torch nn.TransformerEncoderLayer, padded": (theirs, least)})


def pyg_layer(what: str, index: Tensor, rows: int, least: float | None) -> list[dict[str, Any]]:
    """Projections and attention beside PyG's ``TransformerConv``."""
    edges = Adjacency(index, rows, rows)
    blocks = find_blocks(edges)
    peer = TransformerConv(CHANNELS, CHANNELS // HEADS, heads=HEADS, root_weight=False)
    x = torch.randn(rows, CHANNELS)
    linears = [peer.lin_query, peer.lin_key, peer.lin_value]
    wanted = [linear.weight for linear in linears]
    ours = step(lambda: attention(*(linear(x) for linear in linears), edges, heads=HEADS, blocks=blocks), wanted)
    theirs = step(lambda: peer(x, index), wanted)
    same(ours, theirs, what)
    return measure(f"attention with projections, {what}", ours, {"PyG TransformerConv": (theirs, least)})


def structure(what: str, index: Tensor, rows: int) -> list[dict[str, Any]]:
    """What is done once for an edge set, beside one step along it."""
    edges = Adjacency(index, rows, rows)
    blocks = find_blocks(edges)
    query = torch.randn(rows, CHANNELS, requires_grad=True)
    run = step(lambda: attention(query, query, query, edges, heads=HEADS, blocks=blocks), [query])
    return measure(
        f"finding blocks, once an edge set, {what}", lambda: find_blocks(edges), {"one step along them": (run, None)}
    )


def rows() -> list[dict[str, Any]]:
    torch.manual_seed(0)
    equal, ragged = torch.full((256,), 30), torch.randint(5, 61, (128,))
    stars, long = torch.full((4096,), 3), torch.full((8,), 400)
    anywhere = torch.randint(0, 20_000, (2, 200_000))
    return [
        *paths("256 samples of 30 nodes, all to all", sequences(equal), 7680, 1.5),
        *paths("8 samples of 400 nodes, all to all", sequences(long), 3200, 3.0),
        *paths("128 samples of 5 to 60 nodes, all to all", sequences(ragged), int(ragged.sum()), 1.0),
        *paths("4,096 samples of 3 nodes, all to all", sequences(stars), 12_288, None),
        *paths("a sequence of 2,000, windows of 8 both ways", window(2000, 8), 2000, 3.0),
        *torch_layer("256 sequences of 30", equal, None),
        *torch_layer("128 sequences of 5 to 60", ragged, None),
        *pyg_layer("256 samples of 30 nodes, all to all", sequences(equal), 7680, 2.0),
        *pyg_layer("20,000 nodes, 200,000 edges anywhere", anywhere, 20_000, 1.0),
        *structure("256 samples of 30 nodes", sequences(equal), 7680),
    ]


if __name__ == "__main__":
    main(rows)
