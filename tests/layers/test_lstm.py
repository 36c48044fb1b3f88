import pytest
import torch
from torch import nn

from mmgraph.errors import DataError
from mmgraph.keys import weight_key
from mmgraph.layers import LSTM, Edges, Gated
from mmgraph.typing import EdgeSet

NEXT, PREVIOUS, CHILD = ("a", "next", "a"), ("a", "previous", "a"), ("a", "child", "a")
LENGTHS = [4, 1, 6]


@pytest.fixture
def sequences():
    """Sequences of 4, 1 and 6 steps, their rows mixed: features, order of the rows, edges both ways."""
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(sum(LENGTHS), generator=generator).split(LENGTHS)
    x = torch.randn(sum(LENGTHS), 3, generator=generator)
    index = torch.cat([torch.stack([rows[:-1], rows[1:]]) for rows in order], dim=1)
    return x, order, {NEXT: EdgeSet(index), PREVIOUS: EdgeSet(index.flip(0))}


def copied(theirs, relation, suffix=""):
    """Our layer with the weights of torch's."""
    layer = LSTM(theirs.input_size, theirs.hidden_size, relations=[relation])
    weight = {
        name: getattr(theirs, f"{name}_l0{suffix}").data for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    }
    own = layer.input[weight_key(relation[0])]
    own.weight.data, own.bias.data = weight["weight_ih"], weight["bias_ih"] + weight["bias_hh"]
    layer.recurrent[weight_key(*relation)].weight.data = weight["weight_hh"]
    return layer


@pytest.mark.parametrize("kept", [False, True])
def test_along_next_it_is_torchs_lstm(sequences, kept):
    x, order, edges = sequences
    torch.manual_seed(0)
    theirs = nn.LSTM(3, 5)
    out = copied(theirs, NEXT)({"a": x}, Edges(edges) if kept else edges)["a"]
    for rows in order:
        torch.testing.assert_close(out[rows], theirs(x[rows])[0], rtol=1e-6, atol=1e-6)


def test_scheduled_chains_are_torchs_lstm_too(sequences):
    x, order, edges = sequences
    torch.manual_seed(0)
    theirs = nn.LSTM(3, 5)
    index = edges[NEXT].index
    weighted = {NEXT: EdgeSet(index, torch.ones(index.shape[1]))}  # with weights torch's own kernel won't do
    out = copied(theirs, NEXT)({"a": x}, weighted)["a"]
    for rows in order:
        torch.testing.assert_close(out[rows], theirs(x[rows])[0], rtol=1e-6, atol=1e-6)


def test_next_and_previous_are_a_bidirectional_lstm(sequences):
    x, order, edges = sequences
    torch.manual_seed(0)
    theirs = nn.LSTM(3, 5, bidirectional=True)
    both = [copied(theirs, NEXT), copied(theirs, PREVIOUS, "_reverse")]
    out = torch.cat([layer({"a": x}, edges)["a"] for layer in both], dim=1)
    for rows in order:
        torch.testing.assert_close(out[rows], theirs(x[rows])[0], rtol=1e-6, atol=1e-6)


def slow_tree(layer, x, children, node):
    """Child-Sum Tree-LSTM as in the paper, eq. 2 to 8, by recursion."""
    w, b = layer.input["[a]"].weight, layer.input["[a]"].bias
    u = layer.recurrent["[a child a]"].weight
    n = u.shape[1]
    states = [slow_tree(layer, x, children, child) for child in children.get(node, [])]
    total = sum((h for h, _ in states), torch.zeros(n, dtype=x.dtype))
    gate = lambda k, h: w[k * n : (k + 1) * n] @ x[node] + b[k * n : (k + 1) * n] + u[k * n : (k + 1) * n] @ h  # noqa: E731
    c = torch.sigmoid(gate(0, total)) * torch.tanh(gate(2, total))
    for h_child, c_child in states:
        c = c + torch.sigmoid(gate(1, h_child)) * c_child
    return torch.sigmoid(gate(3, total)) * torch.tanh(c), c


def test_on_trees_it_is_the_child_sum_tree_lstm():
    children = {8: [6, 7, 0], 6: [1, 2], 7: [6 - 1], 5: [3, 4]}
    pairs = [(child, node) for node, below in children.items() for child in below]
    torch.manual_seed(0)
    layer = LSTM(3, 4, relations=[CHILD]).double()
    x = torch.randn(10, 3, dtype=torch.float64)  # node 9 stands alone
    out = layer({"a": x}, {CHILD: EdgeSet(torch.tensor(pairs).T)})["a"]
    slow = torch.stack([slow_tree(layer, x, children, node)[0] for node in range(10)])
    torch.testing.assert_close(out, slow, rtol=1e-12, atol=1e-12)


def test_left_and_right_children_have_weights_of_their_own():
    left, right = ("a", "left", "a"), ("a", "right", "a")
    torch.manual_seed(0)
    layer = LSTM(2, 3, relations=[left, right])
    x = torch.randn(3, 2)
    one = {left: EdgeSet(torch.tensor([[0], [2]])), right: EdgeSet(torch.tensor([[1], [2]]))}
    other = {left: one[right], right: one[left]}
    assert not torch.allclose(layer({"a": x}, one)["a"][2], layer({"a": x}, other)["a"][2])
    layer.recurrent["[a left a]"].weight.data = layer.recurrent["[a right a]"].weight.data
    torch.testing.assert_close(layer({"a": x}, one)["a"][2], layer({"a": x}, other)["a"][2])


def test_relations_between_types_share_no_weights_but_one_order():
    relations = [("word", "of", "phrase"), ("phrase", "next", "phrase")]
    torch.manual_seed(0)
    layer = LSTM(2, 3, relations=relations)
    features = {"word": torch.randn(4, 2), "phrase": torch.randn(2, 2), "other": torch.randn(1, 7)}
    edges = {
        relations[0]: EdgeSet(torch.tensor([[0, 1, 2], [0, 0, 1]])),
        relations[1]: EdgeSet(torch.tensor([[0], [1]])),
    }
    out = layer(features, edges)
    assert {node: list(state.shape) for node, state in out.items()} == {
        "word": [4, 3],
        "phrase": [2, 3],
        "other": [1, 7],
    }
    moved = {**features, "word": features["word"].clone()}
    moved["word"][0] += 1
    after = layer(moved, edges)
    assert torch.equal(after["word"][1:], out["word"][1:])
    assert not torch.equal(after["phrase"][1], out["phrase"][1])  # by way of the first phrase


@pytest.mark.parametrize("index", [torch.tensor([[0, 1], [2, 2]]), torch.tensor([[0, 2], [2, 1]])])
def test_an_edge_without_weight_is_none(index):
    torch.manual_seed(0)
    layer = LSTM(2, 3, relations=[CHILD])
    x = torch.randn(3, 2)
    nothing = layer({"a": x}, {CHILD: EdgeSet(index, torch.tensor([1.0, 0.0]))})["a"]
    torch.testing.assert_close(nothing, layer({"a": x}, {CHILD: EdgeSet(index[:, :1])})["a"])


def test_all_parameters_and_inputs_get_gradients(sequences):
    x, _, edges = sequences
    x = x.clone().requires_grad_()
    layer = LSTM(3, 5, relations=[NEXT])
    layer({"a": x}, edges)["a"].square().sum().backward()
    assert all(p.grad.norm() > 0 for p in layer.parameters())
    assert bool((x.grad.norm(dim=1) > 0).all())


def test_gradients_of_both_ways_are_the_same(sequences):
    x, _, edges = sequences
    index = edges[NEXT].index
    torch.manual_seed(0)
    layer = LSTM(3, 5, relations=[NEXT]).double()
    found = []
    for weight in (None, torch.ones(index.shape[1], dtype=torch.float64)):
        layer.zero_grad()
        layer({"a": x.double()}, {NEXT: EdgeSet(index, weight)})["a"].square().sum().backward()
        found.append([p.grad.clone() for p in layer.parameters()])
    for mine, other in zip(*found, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-9)


def test_a_cycle_is_named():
    layer = LSTM(2, 3, relations=[NEXT, PREVIOUS])
    index = torch.tensor([[3], [1]])
    with pytest.raises(DataError, match=r"without a cycle, got a (1 → a 3 → a 1|3 → a 1 → a 3) along .*one direction"):
        layer({"a": torch.ones(4, 2)}, {NEXT: EdgeSet(index), PREVIOUS: EdgeSet(index.flip(0))})
    ring = torch.arange(12)
    with pytest.raises(DataError, match=r"→ … → a \d+ along"):
        LSTM(2, 3, relations=[NEXT])({"a": torch.ones(12, 2)}, {NEXT: EdgeSet(torch.stack([ring, ring.roll(1)]))})
    with pytest.raises(DataError, match="got a 0 → a 0"):
        LSTM(2, 3, relations=[NEXT])({"a": torch.ones(1, 2)}, {NEXT: EdgeSet(torch.zeros(2, 1, dtype=torch.long))})


def test_forget_gates_start_open():
    layer = LSTM(2, 3, relations=[NEXT])
    assert layer.input["[a]"].bias.tolist() == [0.0] * 3 + [1.0] * 3 + [0.0] * 6


@pytest.mark.parametrize("rounds", [1, 2, 5])
def test_gated_rounds_reach_so_many_steps_back(rounds):
    steps = torch.arange(8)
    edges = {NEXT: EdgeSet(torch.stack([steps[:-1], steps[1:]]))}
    torch.manual_seed(0)
    layer = Gated(3, relations=[NEXT], rounds=rounds)
    x = torch.randn(8, 3)
    before = layer({"a": x}, edges)["a"]
    for step in range(8):
        moved = x.clone()
        moved[step] += 1
        changed = (layer({"a": moved}, edges)["a"] != before).any(dim=1)
        assert changed.nonzero().flatten().tolist() == list(range(step, min(step + rounds, 7) + 1))


@pytest.mark.parametrize("weight", [None, torch.ones(8)])
def test_autocast_computes_in_its_type(sequences, weight):
    x, _, edges = sequences
    given = {NEXT: EdgeSet(edges[NEXT].index, weight)}
    torch.manual_seed(0)
    layer, x = LSTM(3, 5, relations=[NEXT]), x.clone().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = layer({"a": x}, given)["a"]
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), layer({"a": x}, given)["a"], rtol=0.05, atol=0.05)
    out.sum().backward()
    assert x.grad.dtype == torch.float32
