import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.nn import GatedGraphConv

from mmgraph.errors import ConfigError
from mmgraph.keys import weight_key
from mmgraph.layers import Gated
from mmgraph.typing import EdgeSet

LOOP = [("a", "near", "a")]
RELATIONS = (("a", "near", "a"), ("a", "far", "a"), ("b", "of", "a"), ("a", "has", "b"), ("b", "next", "b"))


def slow_gru(cell, message, state):
    """One cell, row by row, from its six matrices: r is applied after the hidden matrix, as in torch."""
    i_r, i_z, i_n = (cell.weight_ih @ message + cell.bias_ih).chunk(3)
    h_r, h_z, h_n = (cell.weight_hh @ state + cell.bias_hh).chunk(3)
    r, z = torch.sigmoid(i_r + h_r), torch.sigmoid(i_z + h_z)
    return (1 - z) * torch.tanh(i_n + r * h_n) + z * state


def slow_gated(layer, features, edges):
    states = {node: list(state) for node, state in features.items()}
    for _ in range(layer.rounds):
        new = {}
        for node, rows in states.items():
            new[node] = []
            for v, state in enumerate(rows):
                total = torch.zeros_like(state)
                for relation in layer.relations:
                    if relation[2] != node:
                        continue
                    index, weight = edges[relation]
                    into = (index[1] == v).nonzero().flatten().tolist()
                    linear = layer.message[weight_key(*relation)]
                    each = [
                        (1.0 if weight is None else weight[e]) * linear(states[relation[0]][index[0, e]]) for e in into
                    ]
                    if each and layer.reduce == "mean":
                        total = total + sum(each) / (len(each) if weight is None else weight[into].sum())
                    elif each:
                        total = total + sum(each)
                new[node].append(slow_gru(layer.cell[weight_key(node)], total, state))
        states = new
    return {node: torch.stack(rows) if rows else features[node] for node, rows in states.items()}


@pytest.mark.parametrize("reduce", ["sum", "mean"])
@settings(max_examples=15)
@given(data=st.data())
def test_equals_a_slow_loop(graphs, reduce, data):
    features, edges = data.draw(graphs())
    torch.manual_seed(0)
    layer = Gated(3, relations=RELATIONS, rounds=data.draw(st.integers(1, 3)), reduce=reduce).double()
    ours, slow = layer(features, edges), slow_gated(layer, features, edges)
    for node in features:
        torch.testing.assert_close(ours[node], slow[node], rtol=1e-12, atol=1e-12)


def test_equals_dgl_with_several_edge_types():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import dgl
        from dgl.nn.pytorch import GatedGraphConv as Theirs
    torch.manual_seed(0)
    relations = [("a", name, "a") for name in ("near", "far", "knows")]
    ours, theirs = Gated(5, relations=relations, rounds=4), Theirs(5, 5, n_steps=4, n_etypes=3)
    edges, kinds = {}, []
    for number, relation in enumerate(relations):
        edges[relation] = EdgeSet((torch.rand(9, 9) < 0.3).nonzero().T)
        kinds.append(torch.full_like(edges[relation].index[0], number))
        linear = ours.message[weight_key(*relation)]
        torch.nn.init.normal_(linear.bias)
        theirs.linears[number].load_state_dict(linear.state_dict())
    theirs.gru.load_state_dict(ours.cell[weight_key("a")].state_dict())
    x = torch.randn(9, 5)
    source, target = torch.cat([edge_set.index for edge_set in edges.values()], dim=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = theirs(dgl.graph((source, target), num_nodes=9), x, torch.cat(kinds))
    torch.testing.assert_close(ours({"a": x}, edges)["a"], expected, rtol=1e-5, atol=1e-5)


def test_equals_pyg_once_its_rounds_are_tied(lecture):
    torch.manual_seed(0)
    _, index = lecture
    ours, theirs = Gated(4, relations=LOOP, rounds=3, bias=False), GatedGraphConv(4, num_layers=3)
    theirs.rnn.load_state_dict(ours.cell[weight_key("a")].state_dict())
    x, edges = torch.randn(6, 4), {LOOP[0]: EdgeSet(index)}
    assert not torch.allclose(ours({"a": x}, edges)["a"], theirs(x, index), atol=1e-3)  # a matrix a round
    theirs.weight.data[:] = ours.message[weight_key(*LOOP[0])].weight.data.T
    torch.testing.assert_close(ours({"a": x}, edges)["a"], theirs(x, index), rtol=1e-5, atol=1e-5)


def test_weights_are_shared_over_rounds():
    sizes = {sum(p.numel() for p in Gated(4, relations=RELATIONS, rounds=rounds).parameters()) for rounds in (1, 2, 9)}
    assert sizes == {5 * (16 + 4) + 2 * (2 * 48 + 2 * 12)}
    assert not any(".0." in name for name in Gated(4, relations=RELATIONS, rounds=3).state_dict())


def test_rounds_compose(graph):
    features, edges = graph
    torch.manual_seed(0)
    once = Gated(3, relations=RELATIONS, rounds=1).double()
    thrice = Gated(3, relations=RELATIONS, rounds=3).double()
    thrice.load_state_dict(once.state_dict())
    states = features
    for _ in range(3):
        states = once(states, edges)
    for node in features:
        assert torch.equal(thrice(features, edges)[node], states[node])


def test_an_open_update_gate_keeps_the_state(graph):
    features, edges = graph
    layer = Gated(3, relations=RELATIONS, rounds=4).double()
    for cell in layer.cell.values():
        cell.bias_ih.data[3:6] = 1e3  # r, z, n
    out = layer(features, edges)
    for node in features:
        torch.testing.assert_close(out[node], features[node], rtol=1e-12, atol=1e-12)


def test_gradients(graph):
    features, edges = graph
    torch.manual_seed(0)
    layer = Gated(3, relations=RELATIONS, rounds=2).double()
    names, inputs = list(features), [state.requires_grad_() for state in features.values()]
    run = lambda *states: tuple(layer(dict(zip(names, states, strict=True)), edges).values())  # noqa: E731
    assert torch.autograd.gradcheck(run, inputs)


def test_a_gradient_survives_sixteen_rounds(lecture):
    _, index = lecture
    torch.manual_seed(0)
    x = torch.randn(6, 8, requires_grad=True)
    Gated(8, relations=LOOP, rounds=16)({"a": x}, {LOOP[0]: EdgeSet(index)})["a"].square().sum().backward()
    assert x.grad.norm() > 1e-3


def test_rounds_below_one_are_refused():
    with pytest.raises(ConfigError, match="rounds must be at least 1, got 0"):
        Gated(4, relations=LOOP, rounds=0)
