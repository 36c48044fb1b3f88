import pytest
import torch
from torch import nn

from mmgraph.errors import ConfigError, DataError
from mmgraph.keys import weight_key
from mmgraph.layers import MultiViewLSTM
from mmgraph.typing import EdgeSet

WIDTHS = {"audio": 2, "video": 3, "text": 1}
CHANNELS, SEQUENCES, STEPS = 4, 3, 5
PAIRS = [(u, "next", v) for u in WIDTHS for v in WIDTHS]


@pytest.fixture
def given():
    """Three views at five steps of three sequences: features, typed edges."""
    torch.manual_seed(0)
    features = {view: torch.randn(SEQUENCES * STEPS, width) for view, width in WIDTHS.items()}
    rows = torch.arange(SEQUENCES * STEPS).reshape(SEQUENCES, STEPS)
    index = torch.stack([rows[:, :-1].flatten(), rows[:, 1:].flatten()])
    return features, {pair: EdgeSet(index) for pair in PAIRS}


def by_sequence(x):
    return x.reshape(SEQUENCES, STEPS, -1).transpose(0, 1)  # [steps, sequences, channels]


def slow(layer, features, last, *, alpha, beta):
    """One node after the other; last(view, row, other) is the row of the other view's last node, or None."""
    known = {}

    def state(view, row):
        if (view, row) not in known:
            own = layer.input[weight_key(view)]
            z = own.weight @ features[view][row] + own.bias
            memory = torch.zeros(CHANNELS)
            for other in layer.views:
                before = last(view, row, other)
                if before is None:
                    continue
                h, c = state(other, before)
                read = alpha(h) if other == view else beta(h)
                key = weight_key(other, "next", view)
                if key in layer.recurrent and len(read):
                    z = z + layer.recurrent[key].weight @ read
                if other == view:
                    memory = c
            i, f, g, o = z.chunk(4)
            c = torch.sigmoid(f) * memory + torch.sigmoid(i) * torch.tanh(g)
            known[view, row] = torch.sigmoid(o) * torch.tanh(c), c
        return known[view, row]

    return {v: torch.stack([state(v, row)[0] for row in range(len(features[v]))]) for v in layer.views}


def step_before(view, row, other):
    return row - 1 if row % STEPS else None


@pytest.mark.parametrize(
    ("alpha", "beta", "own", "cross"),
    [(1, 0, 4, 0), (0, 1, 0, 4), (1, 1, 4, 4), (2 / 3, 1 / 3, 2, 1), (0.25, 0.75, 1, 3), (0, 0, 0, 0)],
)
def test_equals_a_slow_loop(given, alpha, beta, own, cross):
    features, edges = given
    layer = MultiViewLSTM(WIDTHS, CHANNELS, alpha=alpha, beta=beta)
    expected = slow(layer, features, step_before, alpha=lambda h: h[:own], beta=lambda h: h[:cross])
    out = layer(features, edges)
    for view in WIDTHS:
        torch.testing.assert_close(out[view], expected[view], rtol=1e-5, atol=1e-6)


def test_view_specific_is_an_lstm_a_view(given):
    features, edges = given
    layer = MultiViewLSTM(WIDTHS, CHANNELS, alpha=1, beta=0)
    own = {pair: found for pair, found in edges.items() if pair[0] == pair[2]}  # no others are needed
    out = layer(features, own)
    for view, width in WIDTHS.items():
        theirs = nn.LSTM(width, CHANNELS)
        theirs.weight_ih_l0.data = layer.input[weight_key(view)].weight.data
        theirs.bias_ih_l0.data = layer.input[weight_key(view)].bias.data
        theirs.bias_hh_l0.data.zero_()
        theirs.weight_hh_l0.data = layer.recurrent[weight_key(view, "next", view)].weight.data
        expected = theirs(by_sequence(features[view]))[0]
        torch.testing.assert_close(by_sequence(out[view]), expected, rtol=1e-6, atol=1e-6)


def test_fully_connected_is_one_lstm_with_dense_recurrent_weights(given):
    features, edges = given
    layer = MultiViewLSTM(WIDTHS, CHANNELS, alpha=1, beta=1)
    views, total = list(WIDTHS), CHANNELS * len(WIDTHS)
    theirs = nn.LSTM(sum(WIDTHS.values()), total)
    w, u, b = (p.data.zero_() for p in (theirs.weight_ih_l0, theirs.weight_hh_l0, theirs.bias_ih_l0))
    theirs.bias_hh_l0.data.zero_()
    column = 0
    for place, view in enumerate(views):
        own = layer.input[weight_key(view)]
        for gate in range(4):
            rows = slice(gate * total + place * CHANNELS, gate * total + (place + 1) * CHANNELS)
            part = slice(gate * CHANNELS, (gate + 1) * CHANNELS)
            w[rows, column : column + WIDTHS[view]] = own.weight.data[part]
            b[rows] = own.bias.data[part]
            for other, source in enumerate(views):
                block = layer.recurrent[weight_key(source, "next", view)].weight.data
                u[rows, other * CHANNELS : (other + 1) * CHANNELS] = block[part]
        column += WIDTHS[view]
    expected = theirs(by_sequence(torch.cat(list(features.values()), dim=1)))[0]
    out = torch.cat([by_sequence(state) for state in layer(features, edges).values()], dim=2)
    torch.testing.assert_close(out, expected, rtol=1e-6, atol=1e-6)


def test_coupled_views_read_only_the_others(given):
    features, edges = given
    layer = MultiViewLSTM(WIDTHS, CHANNELS, alpha=0, beta=1)
    assert not [key for key in layer.recurrent if key.startswith("[audio") and key.endswith("audio]")]
    before = layer(features, edges)
    moved = {**features, "audio": features["audio"].clone()}
    moved["audio"][0] += 1
    after = layer(moved, edges)
    assert not torch.equal(after["video"][1], before["video"][1])
    assert torch.equal(after["video"][0], before["video"][0])
    assert not torch.equal(after["audio"][1], before["audio"][1])  # its memory is its own


def test_learned_shares_start_at_the_hybrid_and_get_gradients(given):
    features, edges = given
    layer = MultiViewLSTM(WIDTHS, CHANNELS, alpha=None, beta=None)
    assert (layer.alpha.item(), layer.beta.item()) == pytest.approx((2 / 3, 1 / 3))
    expected = slow(layer, features, step_before, alpha=lambda h: h * 2 / 3, beta=lambda h: h / 3)
    out = layer(features, edges)
    torch.testing.assert_close(out["text"], expected["text"], rtol=1e-5, atol=1e-6)
    sum(state.square().sum() for state in out.values()).backward()
    assert all(p.grad is not None and p.grad.norm() > 0 for p in layer.parameters())
    assert {"alpha_logit", "beta_logit"} <= set(layer.state_dict())


@pytest.mark.parametrize("shares", [(1, 0), (0, 1), (1, 1), (2 / 3, 1 / 3), (0.0, 0.0), (None, 1.0)])
def test_every_parameter_gets_a_gradient(given, shares):
    features, edges = given
    layer = MultiViewLSTM(WIDTHS, CHANNELS, alpha=shares[0], beta=shares[1])
    sum(state.square().sum() for state in layer(features, edges).values()).backward()
    assert all(p.grad is not None and p.grad.norm() > 0 for p in layer.parameters())


def present(generator):
    """Steps at which each view is there, and its rows: some are missing, the first among them."""
    there = {view: torch.rand(SEQUENCES, STEPS, generator=generator) < 0.6 for view in WIDTHS}
    return {view: found.nonzero().tolist() for view, found in there.items()}


def test_views_missing_at_a_step_are_passed_over():
    generator = torch.Generator().manual_seed(1)
    where = present(generator)
    features = {v: torch.randn(len(rows), WIDTHS[v], generator=generator) for v, rows in where.items()}

    def last(view, row, other):
        sequence, step = where[view][row]
        before = [at for at, (s, t) in enumerate(where[other]) if s == sequence and t < step]
        return max(before, default=None, key=lambda at: where[other][at][1])

    edges = {}
    for u, name, v in PAIRS:
        ends = [(last(v, row, u), row) for row in range(len(where[v]))]
        kept = [pair for pair in ends if pair[0] is not None]
        edges[u, name, v] = EdgeSet(torch.tensor(kept, dtype=torch.long).reshape(-1, 2).T)
    layer = MultiViewLSTM(WIDTHS, CHANNELS)
    out = layer(features, edges)
    expected = slow(layer, features, last, alpha=lambda h: h, beta=lambda h: h)
    for view in WIDTHS:
        torch.testing.assert_close(out[view], expected[view], rtol=1e-5, atol=1e-6)
    # and the same order, read off the steps
    rows = torch.arange(SEQUENCES * STEPS).reshape(SEQUENCES, STEPS)
    steps = {("step", "next", "step"): EdgeSet(torch.stack([rows[:, :-1].flatten(), rows[:, 1:].flatten()]))}
    for view, found in where.items():
        owner = torch.tensor([s * STEPS + t for s, t in found])
        steps[view, "of", "step"] = EdgeSet(torch.stack([torch.arange(len(owner)), owner]))
    through = MultiViewLSTM(WIDTHS, CHANNELS, steps="step")
    through.load_state_dict(layer.state_dict())
    for view, state in through(features, steps).items():
        torch.testing.assert_close(state, out[view], rtol=1e-6, atol=1e-6)


def test_a_node_of_no_step_starts_from_zeros():
    layer = MultiViewLSTM({"a": 1}, 2, steps="step")
    x = torch.tensor([[1.0], [1.0], [5.0]])
    edges = {
        ("step", "next", "step"): EdgeSet(torch.tensor([[0], [1]])),
        ("a", "of", "step"): EdgeSet(torch.tensor([[0, 1], [0, 1]])),
    }
    out = layer({"a": x}, edges)["a"]
    assert not torch.equal(out[1], out[0])
    torch.testing.assert_close(layer({"a": x[:2]}, edges)["a"], out[:2])  # and nobody reads it
    torch.testing.assert_close(
        layer({"a": x[2:]}, {edge: EdgeSet(none[:, :0]) for edge, (none, _) in edges.items()})["a"], out[2:]
    )


def test_what_can_not_be_is_refused(given):
    features, edges = given
    with pytest.raises(ConfigError, match=r"alpha must be in \[0, 1\], or None to learn it, got 1.5"):
        MultiViewLSTM(WIDTHS, 4, alpha=1.5)
    with pytest.raises(ConfigError, match=r"beta must be in \[0, 1\], or None to learn it, got -0.1"):
        MultiViewLSTM(WIDTHS, 4, beta=-0.1)
    with pytest.raises(ConfigError, match=r"needs views, and widths of at least 1, got {} to 4"):
        MultiViewLSTM({}, 4)
    with pytest.raises(ConfigError, match=r"widths of at least 1, got {'a': 0} to 4"):
        MultiViewLSTM({"a": 0}, 4)
    own = {pair: found for pair, found in edges.items() if pair[0] == pair[2]}
    with pytest.raises(ConfigError, match=r"got none of type \('audio', 'next', 'video'\); .*join_next"):
        MultiViewLSTM(WIDTHS, CHANNELS)(features, own)
    back = {**edges, ("text", "next", "audio"): EdgeSet(edges[PAIRS[0]].index.flip(0))}
    with pytest.raises(DataError, match="MultiViewLSTM needs edges without a cycle, got"):
        MultiViewLSTM(WIDTHS, CHANNELS)(features, back)
    of = torch.tensor([[0, 0], [0, 1]])
    steps = {("step", "next", "step"): EdgeSet(of[:, :0]), ("a", "of", "step"): EdgeSet(of)}
    with pytest.raises(DataError, match="each node of 'a' to be of 1 'step' at most, got 2 for row 0"):
        MultiViewLSTM({"a": 1}, 2, steps="step")({"a": torch.ones(2, 1)}, steps)
    fork = {**steps, ("a", "of", "step"): EdgeSet(of[:, :1]), ("step", "next", "step"): EdgeSet(of)}
    with pytest.raises(DataError, match=r"needs steps in chains, .* along \('step', 'next', 'step'\)"):
        MultiViewLSTM({"a": 1}, 2, steps="step")({"a": torch.ones(2, 1)}, fork)


def test_shares_of_channels_are_rounded_down_but_not_by_rounding():
    read = {
        share: MultiViewLSTM({"a": 1}, 100, alpha=share).recurrent["[a next a]"].in_features for share in (0.29, 0.299)
    }
    assert read == {0.29: 29, 0.299: 29}  # 0.29 * 100 is 28.999...


def test_it_says_its_shares():
    assert repr(MultiViewLSTM({"a": 1}, 2, alpha=None, beta=0.5)).startswith(
        "MultiViewLSTM(\n  alpha=learned, beta=0.5"
    )
