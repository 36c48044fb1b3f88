import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from mmgraph.functional import Schedule, lstm
from mmgraph.functional.levels import chains
from mmgraph.functional.lstm import Packing, packed_lstm


def slow(gates, indices, weight, edge_weight=None, carries=None):
    """One row at a time, each when it is asked for."""
    channels = gates.shape[1] // 4
    known = {}

    def state(v):
        if v in known:
            return known[v]
        i, f, g, o = gates[v].split(channels)
        memory = torch.zeros_like(i)
        for r, index in enumerate(indices):
            for e, (u, target) in enumerate(zip(*index.tolist(), strict=True)):
                if target != v:
                    continue
                h, c = state(u)
                w = 1.0 if edge_weight is None or edge_weight[r] is None else edge_weight[r][e]
                matrix = weight[r]
                sent = torch.zeros_like(gates[v]) if matrix is None else matrix @ h[: matrix.shape[1]]
                a, b, d, k = sent.split(channels)
                i, g, o = i + w * a, g + w * d, o + w * k
                if carries is None:
                    memory = memory + w * torch.sigmoid(gates[v].split(channels)[1] + b) * c
                else:
                    f = f + w * b
                    if carries[r]:
                        memory = memory + w * c
        if carries is not None:
            memory = torch.sigmoid(f) * memory
        c = memory + torch.sigmoid(i) * torch.tanh(g)
        known[v] = torch.sigmoid(o) * torch.tanh(c), c
        return known[v]

    states = [state(v) for v in range(len(gates))]
    return torch.stack([h for h, _ in states]), torch.stack([c for _, c in states])


def acyclic(draw, rows, relations):
    """Edges from a row to a later one of a random order, any number of each."""
    order = draw(st.permutations(range(rows)))
    place = st.integers(0, rows - 1)
    indices = []
    for _ in range(relations):
        pairs = [(order[min(a, b)], order[max(a, b)]) for a, b in draw(st.lists(st.tuples(place, place), max_size=9))]
        indices.append(torch.tensor([p for p in pairs if p[0] != p[1]], dtype=torch.long).reshape(-1, 2).T)
    return indices


@pytest.mark.parametrize("carries", [None, (True, False), (False, True)])
@settings(max_examples=25)
@given(data=st.data())
def test_equals_a_slow_recursion(carries, data):
    rows = data.draw(st.integers(1, 7))
    indices = acyclic(data.draw, rows, 2)
    torch.manual_seed(0)
    gates = torch.randn(rows, 12, dtype=torch.float64)
    weight = [torch.randn(12, 3, dtype=torch.float64), torch.randn(12, 2, dtype=torch.float64)]
    if carries is not None and data.draw(st.booleans()):
        weight[1] = None
    edge_weight = [torch.rand(indices[0].shape[1], dtype=torch.float64), None]
    given = {"edge_weight": edge_weight, "carries": carries}
    ours = lstm(gates, Schedule(indices, rows), weight, **given)
    for mine, other in zip(ours, slow(gates, indices, weight, **given), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-12)


def test_equals_torchs_on_a_chain():
    torch.manual_seed(0)
    theirs = torch.nn.LSTM(4, 3)
    x, order = torch.randn(9, 4), torch.randperm(9)
    gates = torch.nn.functional.linear(x, theirs.weight_ih_l0, theirs.bias_ih_l0 + theirs.bias_hh_l0)
    index = torch.stack([order[:-1], order[1:]])
    h, c = lstm(gates, Schedule([index], 9), [theirs.weight_hh_l0])
    expected, (_, last) = theirs(x[order])
    torch.testing.assert_close(h[order], expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(c[order[-1:]], last, rtol=1e-6, atol=1e-6)
    packed = packed_lstm(
        x, Packing.of(chains(index, 9)), theirs.weight_ih_l0, theirs.weight_hh_l0, theirs.bias_ih_l0 + theirs.bias_hh_l0
    )
    torch.testing.assert_close(packed[order], expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("lengths", [[1], [0, 3, 1], [2, 2, 2], [5, 1, 4, 1]])
def test_packed_chains_equal_scheduled_ones(lengths):
    torch.manual_seed(0)
    rows = sum(lengths)
    order = torch.randperm(rows)
    pieces = order.split(lengths)
    index = torch.cat([torch.stack([one[:-1], one[1:]]) for one in pieces], dim=1)
    theirs = torch.nn.LSTM(4, 3, dtype=torch.float64)
    bias = theirs.bias_ih_l0 + theirs.bias_hh_l0
    x = torch.randn(rows, 4, dtype=torch.float64)
    h, _ = lstm(x @ theirs.weight_ih_l0.T + bias, Schedule([index], rows), [theirs.weight_hh_l0])
    packed = packed_lstm(x, Packing.of(chains(index, rows)), theirs.weight_ih_l0, theirs.weight_hh_l0, bias)
    torch.testing.assert_close(packed, h, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("carries", [None, (True, False)])
def test_gradients_are_right(carries):
    torch.manual_seed(0)
    indices = [torch.tensor([[0, 1, 4], [2, 2, 3]]), torch.tensor([[2, 0], [3, 3]])]
    schedule = Schedule(indices, 5)
    inputs = [torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((5, 8), (8, 2), (8, 1), (3,))]

    def run(gates, one, two, edge_weight):
        return lstm(gates, schedule, [one, two], edge_weight=[edge_weight, None], carries=carries)

    assert gradcheck(run, inputs)


def test_no_rows_and_no_edges():
    none = torch.empty(2, 0, dtype=torch.long)
    h, c = lstm(torch.empty(0, 8), Schedule([none], 0), [torch.ones(8, 2)])
    assert h.shape == c.shape == (0, 2)
    gates = torch.randn(3, 8)
    i, _, g, o = gates.chunk(4, dim=1)
    h, c = lstm(gates, Schedule([none], 3), [torch.ones(8, 2)])
    assert torch.equal(c, i.sigmoid() * g.tanh())
    assert torch.equal(h, o.sigmoid() * c.tanh())
    empty = packed_lstm(
        torch.empty(0, 2), Packing.of(chains(none, 0)), torch.ones(8, 2), torch.ones(8, 2), torch.ones(8)
    )
    assert empty.shape == (0, 2)


def test_a_cycle_is_refused():
    with pytest.raises(ValueError, match="no cycle"):
        Schedule([torch.tensor([[0, 1], [1, 0]])], 2)


def test_a_schedule_holds_each_edge_once():
    index = torch.tensor([[0, 0, 1, 2, 3], [1, 3, 3, 4, 4]])
    schedule = Schedule([index], 5)
    held = torch.cat([arrival.edges for level in schedule.arrivals for arrival in level])
    assert held.sort().values.tolist() == list(range(5))
