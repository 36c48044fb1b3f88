"""The loops: compiled, uncompiled and in numpy they must give the same, and draw as they say."""

import importlib.util
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch_geometric.data import HeteroData

from mmgraph.data import NeighbourSampler
from mmgraph.data.sampling import draw as numpy_draw
from mmgraph.data.sampling import loops, relabel
from mmgraph.data.sampling.draw import below, key_of, stream
from mmgraph.errors import MissingPackageError

MASK = (1 << 64) - 1


def splitmix(key, number):
    """The number-th output of SplitMix64 seeded with key, in Python's own integers."""
    z = (key + number * 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def plain(loop, *arguments):
    """Runs a loop uncompiled; a product of numpy's uint64 wraps, which numpy would say a word about."""
    with np.errstate(over="ignore"):
        return loop(*arguments)


def draws(draw, count, fan_out, replace, key=7, place=None):
    count = np.asarray(count, dtype=np.int64)
    size = count if fan_out == -1 else np.where(count > 0, fan_out, 0) if replace else np.minimum(count, fan_out)
    offset = np.concatenate([[0], np.cumsum(size)]).astype(np.int64)
    start = np.cumsum(count) - count + 5
    place = np.arange(len(count)) if place is None else place
    position = np.full(offset[-1], -1)
    marks = np.zeros(count.max(initial=0), dtype=np.int64)
    plain(draw, start, count, place, offset, np.uint64(key), max(fan_out, 1), replace, position, marks)
    return [position[a:b] - s for a, b, s in zip(offset, offset[1:], start, strict=False)]


def floyd(total, size, key, number):
    """Bentley and Floyd's sample, with sets and Python's integers."""
    picks = []
    for j in range(size):
        last = total - size + j
        pick = splitmix(key, number + j + 1) * (last + 1) >> 64
        picks.append(last if pick in picks else pick)
    return picks


def test_the_stream_is_splitmix64():
    numbers = np.arange(1, 50, dtype=np.uint64)
    assert stream(np.uint64(MASK - 3), numbers).tolist() == [splitmix(MASK - 3, n) for n in range(1, 50)]


@given(st.lists(st.integers(0, MASK), min_size=1), st.integers(1, 2**32 - 1))
def test_below_is_the_high_half_of_the_product(x, span):
    assert below(np.array(x, dtype=np.uint64), span).tolist() == [one * span >> 64 for one in x]


def test_keys_differ_by_what_they_are_for():
    keys = [key_of(0, 1), key_of(1, 0), key_of("0", 1), key_of(0, 1, 0), key_of(0, ("a", "b")), key_of(0, ("ab",))]
    assert len(set(map(int, keys))) == len(keys)


@pytest.mark.parametrize(
    "draw", [loops.draw, numpy_draw.draw, loops.compiled(loops.draw)], ids=["plain", "numpy", "compiled"]
)
def test_draws_without_replacement_are_floyds(draw):
    found = draws(draw, [3, 20, 0, 5, 6], 5, False, key=99)
    assert [sorted(one) for one in (found[0], found[3])] == [[0, 1, 2], [0, 1, 2, 3, 4]]
    assert found[1].tolist() == floyd(20, 5, 99, 1 * 5)
    assert found[4].tolist() == floyd(6, 5, 99, 4 * 5)
    assert len(found[2]) == 0


@settings(max_examples=60)
@given(
    st.lists(st.integers(0, 90), max_size=12), st.sampled_from([-1, 1, 3, 40, 70]), st.booleans(), st.integers(0, MASK)
)
def test_compiled_plain_and_numpy_draw_the_same(count, fan_out, replace, key):
    replace = replace and fan_out != -1
    places = np.arange(len(count)) * 2**40
    by = [
        draws(one, count, fan_out, replace, key, places)
        for one in (loops.draw, numpy_draw.draw, loops.compiled(loops.draw))
    ]
    for i, total in enumerate(count):
        assert by[0][i].tolist() == by[1][i].tolist() == by[2][i].tolist()
        assert ((by[0][i] >= 0) & (by[0][i] < total)).all()
        if not replace:
            assert len(set(by[0][i].tolist())) == len(by[0][i]) == (total if fan_out == -1 else min(total, fan_out))


@pytest.mark.parametrize(("total", "fan_out", "replace"), [(7, 3, False), (9, 8, False), (7, 3, True), (50, 40, False)])
def test_every_choice_is_equally_likely(total, fan_out, replace):
    rounds = 20_000
    found = np.stack(draws(loops.compiled(loops.draw), np.full(rounds, total), fan_out, replace))  # [rounds, fan_out]
    assert chisquare(np.bincount(found.ravel(), minlength=total)).pvalue > 1e-3
    if replace:
        pairs = np.bincount(found[:, 0] * total + found[:, 1], minlength=total**2)
        assert chisquare(pairs).pvalue > 1e-3
    elif total == 7:  # all 35 subsets, too
        names, counts = np.unique(np.sort(found, axis=1) @ [49, 7, 1], return_counts=True)
        assert len(names) == 35
        assert chisquare(counts).pvalue > 1e-3


@settings(max_examples=60)
@given(st.lists(st.lists(st.integers(-5, 5), max_size=9), max_size=8), st.data())
def test_until_ends_at_the_last_time_that_is_early_enough(times, data):
    limit = np.array(data.draw(st.lists(st.integers(-6, 6), min_size=len(times), max_size=len(times))), dtype=np.int64)
    size = np.array([len(one) for one in times], dtype=np.int64)
    stop = np.cumsum(size)
    flat = np.array([t for one in times for t in sorted(one)], dtype=np.int64)
    must = [int(b - n) + sum(t <= most for t in one) for one, b, n, most in zip(times, stop, size, limit, strict=True)]
    for until in (loops.until, numpy_draw.until, loops.compiled(loops.until)):
        end = np.full(len(times), -1)
        until(stop - size, stop, flat, limit, end)
        assert end.tolist() == must


def in_order(known, nodes):
    rows = {node: row for row, node in enumerate(known)}
    return [rows.setdefault(node, len(rows)) for node in nodes], list(rows)[len(known) :]


@settings(max_examples=60)
@given(st.lists(st.integers(0, 11), unique=True), st.lists(st.lists(st.integers(0, 11)), min_size=1, max_size=4))
def test_rows_are_in_order_of_first_appearance(known, batches):
    for loop in (loops.relabel, relabel.relabel, loops.compiled(loops.relabel)):
        row, base = np.zeros(12, dtype=np.int32), 1
        for nodes in batches:  # one scratch for all
            row[known] = base + np.arange(len(known))
            out, fresh = np.empty(len(nodes), dtype=np.int64), np.empty(len(nodes) + 1, dtype=np.int64)
            new = loop(np.array(nodes, dtype=np.int32), row, base, len(known), out, fresh)
            must, added = in_order(known, nodes)
            assert (out.tolist(), fresh[:new].tolist()) == (must, added)
            base += len(known) + new


def test_rows_of_many_nodes_are_in_order_of_first_appearance():
    nodes = np.random.default_rng(0).integers(0, 900, 5 * loops.BLOCK + 3)
    must, added = in_order([], nodes.tolist())
    for loop in (loops.relabel, relabel.relabel, loops.compiled(loops.relabel)):
        out, fresh = np.empty(len(nodes), dtype=np.int64), np.empty(len(nodes) + 1, dtype=np.int64)
        new = loop(nodes, np.zeros(900, dtype=np.int32), 1, 0, out, fresh)
        assert (out.tolist(), fresh[:new].tolist()) == (must, added)


@settings(max_examples=60)
@given(st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), max_size=40), min_size=1, max_size=4))
def test_rows_of_trees_are_in_order_of_first_appearance(hops):
    for compiled in (False, True):
        nodes = relabel.TreeNodes(10, compiled=compiled)
        nodes.start(np.array([3, 3, 4]), np.array([0, 1, 2]))
        known = [(0, 3), (1, 3), (2, 4)]
        for hop in hops:
            tree, ids = np.array(hop, dtype=np.int64).reshape(-1, 2).T
            must, added = in_order(known, hop)
            out = np.empty_like(ids)
            nodes.find(ids, tree, out)
            assert out.tolist() == must
            known += added
        ids, tree = nodes.between(0, nodes.count)
        assert list(zip(tree.tolist(), ids.tolist(), strict=True)) == known
        assert nodes.ids.tolist() == ids.tolist()


@pytest.mark.parametrize(
    "look_up", [loops.look_up, numpy_draw.look_up, loops.compiled(loops.look_up)], ids=["plain", "numpy", "compiled"]
)
@pytest.mark.parametrize("width", [np.int32, np.int64])
def test_what_stands_at_a_position_is_looked_up(look_up, width):
    source, edge = np.array([5, 6, 7], dtype=width), np.array([2, 0, 1], dtype=width)
    sources, targets, columns = np.full((3, 4), -1)
    look_up(np.array([2, 2, 0, 1]), np.array([0, 3, 3, 4]), 8, source, edge, sources, targets, columns)
    assert (sources.tolist(), columns.tolist()) == ([7, 7, 5, 6], [1, 1, 2, 0])
    assert targets.tolist() == [8, 8, 8, 10]


def test_keys_that_meet_in_a_hash_table_stay_apart():
    size = 8
    keys = np.arange(4, dtype=np.int64) * 2**40
    for loop in (loops.relabel_keys, loops.compiled(loops.relabel_keys)):
        key, row = np.full(size, -1), np.empty(size, dtype=np.int64)
        out, fresh = np.empty(8, dtype=np.int64), np.empty(8, dtype=np.int64)
        assert plain(loop, np.concatenate([keys, keys]), key, row, 0, out, fresh) == 4
        assert out.tolist() == [0, 1, 2, 3, 0, 1, 2, 3]


def test_a_scratch_that_is_full_starts_again():
    scratch = relabel.Scratch(5)
    scratch.base = 2**31 - 6
    nodes = relabel.SharedNodes(scratch, compiled=False)
    nodes.start(np.array([4, 4, 1]), None)
    assert scratch.base == 1
    out = np.empty(3, dtype=np.int64)
    nodes.find(np.array([1, 4, 0]), None, out)
    assert out.tolist() == [2, 0, 3]
    nodes.end()
    assert scratch.base == 5


def test_a_loop_is_compiled_where_nothing_can_be_kept_on_disk():
    names = {}
    exec("def double(x):\n    return 2 * x", names)  # of no file, so numba finds no folder for it
    assert loops.compiled(names["double"])(4) == 8


def test_without_numba_it_is_named_and_all_else_works(monkeypatch):
    graph = HeteroData()
    graph["a"].x = torch.arange(3.0)
    graph["a", "to", "a"].edge_index = torch.tensor([[1, 2], [0, 1]])
    loops.compiled.cache_clear()
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert NeighbourSampler(graph, [1, 1]).sample({"a": [0]}).nodes["a"].tolist() == [0, 1, 2]
    with pytest.raises(MissingPackageError, match=r"'numba'.*mmgraph\[fast\]"):
        NeighbourSampler(graph, [1], compiled=True)
