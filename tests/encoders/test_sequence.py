import pytest
import torch
from torch_geometric.data import HeteroData

from mmgraph.encoders import Encoder
from mmgraph.encoders.sequence import SeriesConv, SeriesGRU, packed
from mmgraph.errors import ConfigError

NAN = float("nan")
ENCODERS = [
    lambda: SeriesGRU({"heart": 2, "lungs": 1}, 6),
    lambda: SeriesGRU({"heart": 2, "lungs": 1}, 6, hidden=5, dropout=0.5),
    lambda: SeriesConv({"heart": 2, "lungs": 1}, 6),
    lambda: SeriesConv({"heart": 2, "lungs": 1}, 6, hidden=5, depth=2, kernel=2, dropout=0.5),
]


def graph(lengths=(3, 7, 1, 0), steps=7):
    generator = torch.Generator().manual_seed(0)
    made = HeteroData()
    for node, width in (("heart", 2), ("lungs", 1)):
        made[node].steps = torch.randn(len(lengths), steps, width, generator=generator)
        for row, length in enumerate(lengths):
            made[node].steps[row, length:] = NAN
    return made


@pytest.fixture(params=range(len(ENCODERS)))
def encoder(request):
    torch.manual_seed(0)
    made = ENCODERS[request.param]().eval()
    assert isinstance(made, Encoder)
    return made


def test_a_row_a_node_and_all_parameters_learn(encoder):
    found = encoder.train()(graph())
    assert {node: state.shape for node, state in found.items()} == {"heart": (4, 6), "lungs": (4, 6)}
    sum(state.square().sum() for state in found.values()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in encoder.parameters())
    assert all(parameter.grad.abs().max() > 0 for parameter in encoder.parameters())
    assert all(state.isfinite().all() for state in found.values())


def test_padding_has_no_influence(encoder):
    one = encoder(graph())["heart"]
    wider = graph()
    wider["heart"].steps = torch.cat([wider["heart"].steps, torch.full((4, 9, 2), NAN)], dim=1)
    torch.testing.assert_close(encoder(wider)["heart"], one)
    for row in range(4):
        alone = graph()
        alone["heart"].steps = alone["heart"].steps[row : row + 1]
        torch.testing.assert_close(encoder(alone)["heart"][0], one[row])


def test_a_step_that_is_missing_in_between_is_as_if_left_out(encoder):
    one, other = graph((3,)), graph((4,))
    values = other["heart"].steps.clone()
    one["heart"].steps[0, :3] = values[0, [0, 2, 3]]
    other["heart"].steps[0, 1, 0] = NAN  # one number of it is enough
    torch.testing.assert_close(encoder(one)["heart"], encoder(other)["heart"])


def test_each_step_counts_and_each_row_alone(encoder):
    one = encoder(graph())["heart"]
    for row, length in ((0, 3), (1, 7), (2, 1)):
        for step in range(length):
            changed = graph()
            changed["heart"].steps[row, step] += 1
            found = encoder(changed)["heart"]
            assert (found[row] - one[row]).abs().max() > 1e-6
            others = [other for other in range(4) if other != row]
            assert torch.equal(found[others], one[others])


def test_the_order_of_the_steps_counts(encoder):
    changed = graph()
    changed["heart"].steps = changed["heart"].steps.clone()
    changed["heart"].steps[1] = changed["heart"].steps[1].flip(0)
    assert (encoder(changed)["heart"][1] - encoder(graph())["heart"][1]).abs().max() > 1e-4


@pytest.mark.parametrize(("rows", "steps"), [(0, 7), (0, 0), (2, 0)])
def test_no_rows_and_no_steps(encoder, rows, steps):
    empty = graph()
    empty["heart"].steps = torch.empty(rows, steps, 2)
    found = encoder(empty)["heart"]
    assert found.shape == (rows, 6)
    assert found.isfinite().all()


def test_half_precision_is_read(encoder):
    half = graph()
    half["heart"].steps = half["heart"].steps.half()
    torch.testing.assert_close(encoder(half)["heart"], encoder(graph())["heart"], atol=1e-2, rtol=0)


def test_the_recurrent_state_is_that_of_a_loop():
    torch.manual_seed(0)
    encoder, one = SeriesGRU({"heart": 2}, 6), graph()
    cell, head = encoder.cells["[heart]"], encoder.heads["[heart]"]
    single = torch.nn.GRUCell(2, 6)
    for name, parameter in single.named_parameters():
        parameter.data = getattr(cell, f"{name}_l0").data
    found = encoder(one)["heart"]
    for row, length in ((0, 3), (1, 7), (2, 1), (3, 0)):
        state, total = torch.zeros(1, 6), torch.zeros(1, 6)
        for step in range(length):
            state = single(one["heart"].steps[row, step][None], state)
            total = total + state
        expected = head(torch.cat([state, total / max(1, length)], dim=1))
        torch.testing.assert_close(found[row], expected[0])


def test_convolutions_are_causal_and_hear_as_far_as_they_say():
    torch.manual_seed(0)
    encoder = SeriesConv({"heart": 1}, 4, depth=3, kernel=3).eval()
    hears = 1 + 2 * (2**3 - 1)
    steps = torch.randn(1, 40, 1)
    with torch.no_grad():
        for block in encoder.blocks["[heart]"]:
            block.norm = torch.nn.Identity()  # which reads one step, and saturates

        def states(values):
            found = encoder.stems["[heart]"](values)
            for block in encoder.blocks["[heart]"]:
                found = block(found)
            return found

        before = states(steps)
        changed = steps.clone()
        changed[0, 20] += 10
        moved = (states(changed) - before).abs().amax(dim=(0, 2)) > 0
    assert not moved[:20].any()
    assert moved[20]
    assert not moved[20 + hears :].any()
    assert moved[20 : 20 + hears].sum() > hears / 2


def test_packed_keeps_order():
    steps = torch.tensor([[[NAN], [1.0], [NAN], [2.0]], [[NAN], [NAN], [NAN], [5.0]]])
    values, mask = packed(steps)
    assert values.squeeze(2).tolist() == [[1, 2], [5, 0]]
    assert mask.tolist() == [[True, True], [True, False]]


@pytest.mark.parametrize("kind", [SeriesGRU, SeriesConv])
def test_bad_sizes_are_refused(kind):
    with pytest.raises(ConfigError, match=rf"{kind.__name__} needs node types, .*got \{{\}}"):
        kind({}, 4)
    with pytest.raises(ConfigError, match=r"got \{'heart': 0\}"):
        kind({"heart": 0}, 4)
    with pytest.raises(ConfigError, match=r"and \[4, 0"):
        kind({"heart": 1}, 4, hidden=0)
    with pytest.raises(ConfigError, match=r"and \[4, 4, 0, 3\]"):
        SeriesConv({"heart": 1}, 4, depth=0)
