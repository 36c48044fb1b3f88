import pytest
import torch
from torch_geometric.data import HeteroData

from mmgraph.encoders.audio_conv import AudioConv, _masked, _span, _stretched
from mmgraph.errors import ConfigError

NAN = float("nan")


def graph(lengths=(60, 98, 20), frames=98, bands=16):
    generator = torch.Generator().manual_seed(0)
    made = HeteroData()
    for node in ("word", "call"):
        made[node].mel = torch.randn(len(lengths), bands, frames, generator=generator)
        for row, length in enumerate(lengths):
            made[node].mel[row, :, length:] = NAN
    return made


def conv(**options):
    torch.manual_seed(0)
    return AudioConv(["word", "call"], 8, **{"bands": 16, "steps": 24, "widths": (4, 8), **options})


@pytest.mark.parametrize(
    "options", [{}, {"parts": 1}, {"steps": 7, "widths": (4,)}, {"augment": 0.0}, {"augment": 3.0}]
)
def test_a_row_a_node_and_all_parameters_learn(options):
    encoder = conv(**options)
    found = encoder(graph())
    assert {node: state.shape for node, state in found.items()} == {"word": (3, 8), "call": (3, 8)}
    assert all(state.isfinite().all() for state in found.values())
    sum(state.square().sum() for state in found.values()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in encoder.parameters())
    assert all(parameter.grad.abs().max() > 0 for parameter in encoder.parameters())


def test_padding_has_no_influence():
    encoder = conv().eval()
    one = encoder(graph())["word"]
    wider = graph()
    wider["word"].mel = torch.cat([wider["word"].mel, torch.full((3, 16, 41), NAN)], dim=2)
    torch.testing.assert_close(encoder(wider)["word"], one, atol=1e-5, rtol=1e-4)
    shorter = graph()
    shorter["word"].mel = shorter["word"].mel[2:, :, :20]
    torch.testing.assert_close(encoder(shorter)["word"][0], one[2], atol=1e-5, rtol=1e-4)


def test_padding_has_no_influence_while_training():
    encoder, wider = conv(dropout=0.0), graph()
    wider["word"].mel = torch.cat([wider["word"].mel, torch.full((3, 16, 41), NAN)], dim=2)
    found = []
    for one in (graph(), wider):
        torch.manual_seed(7)
        found.append(encoder(one)["word"])
    torch.testing.assert_close(*found, atol=1e-3, rtol=1e-3)


def test_gain_and_silence_around_change_nothing_and_speed_little():
    encoder, one = conv(steps=48).eval(), graph(frames=60, lengths=(60, 60))
    mel = torch.nn.functional.avg_pool2d(4 * one["word"].mel, (5, 9), 1, (2, 4))  # smooth
    before = word(encoder, mel)
    torch.testing.assert_close(word(encoder, mel + 3), before, atol=1e-4, rtol=1e-3)
    silent = torch.cat([torch.full((2, 16, 10), -30.0), mel, torch.full((2, 16, 20), -30.0)], dim=2)
    torch.testing.assert_close(word(encoder, silent), before, atol=1e-4, rtol=1e-3)
    slow = word(encoder, mel.repeat_interleave(3, dim=2))
    assert (slow - before).norm() < 0.3 * (before[0] - before[1]).norm()


def word(encoder, mel):
    made = HeteroData()
    made["word"].mel = made["call"].mel = mel
    return encoder(made)["word"]


def test_stretched_is_interpolation_between_the_middles_of_frames():
    mel = torch.arange(10.0).expand(1, 4, 10).clone() / 10  # all of it is loud
    found = _stretched(mel, 5, 0.0)
    torch.testing.assert_close(found, torch.tensor([0.05, 0.25, 0.45, 0.65, 0.85]).expand(1, 4, 5))
    mel[0, :, 6:] = NAN
    torch.testing.assert_close(_stretched(mel, 6, 0.0), mel[:, :, :6])
    mel[0, :, 0] = mel[0, :, 5] = -20  # silence at the ends, and one frame within
    mel[0, :, 3] = -20
    torch.testing.assert_close(_stretched(mel, 4, 0.0), mel[:, :, 1:5])


def test_evaluation_is_deterministic_and_training_draws_from_the_global_generator():
    encoder, one = conv(), graph()
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(encoder(one)["word"])
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    encoder.eval()
    state = torch.get_rng_state()
    assert torch.equal(encoder(one)["word"], encoder(one)["word"])
    assert torch.equal(torch.get_rng_state(), state)
    calm = conv(augment=0.0, dropout=0.0)
    assert torch.equal(calm(one)["word"], calm.eval()(one)["word"])


def test_a_row_is_encoded_by_itself():
    encoder, changed = conv().eval(), graph()
    before = encoder(graph())
    changed["word"].mel[1, :, 30:50] += 2
    found = encoder(changed)
    assert torch.equal(found["call"], before["call"])
    torch.testing.assert_close(found["word"][[0, 2]], before["word"][[0, 2]])
    assert (found["word"][1] - before["word"][1]).abs().max() > 1e-4


def test_no_rows_and_nothing_to_hear():
    encoder, empty = conv(), graph()
    for encoder in (conv(), conv().eval()):
        empty["word"].mel = torch.empty(0, 16, 98, dtype=torch.float16)
        assert encoder(empty)["word"].shape == (0, 8)
        assert encoder(empty)["word"].dtype == torch.float32
        empty["word"].mel = torch.cat([torch.full((1, 16, 98), NAN), torch.full((1, 16, 98), -23.0)])
        assert encoder(empty)["word"].isfinite().all()


def test_half_precision_is_read():
    encoder, half = conv().eval(), graph()
    half["word"].mel = half["word"].mel.half()
    torch.testing.assert_close(encoder(half)["word"], encoder(graph())["word"], atol=1e-2, rtol=0)


def test_masks_cover_at_most_their_share():
    torch.manual_seed(0)
    spans = _span(500, 40, 0.2, torch.empty(0))
    assert (spans.sum(dim=1) > 0).any()
    assert spans.sum(dim=1).max() <= 9
    assert (spans.int().diff(dim=1) == 1).sum(dim=1).max() <= 1  # one stretch
    assert spans.any(dim=0).all()  # anywhere
    seen = _masked(torch.ones(50, 2, 40, 48), 1.0)
    assert 0.1 < (seen == 0).float().mean() < 0.4
    assert torch.equal(seen[:, 0], seen[:, 1])


def test_bad_options_are_refused():
    for options, value in [
        ({"bands": 0}, r"\[8, 0, 24, 4, 4, 8\]"),
        ({"widths": (0,)}, r"\[8, 16, 24, 4, 0\]"),
        ({"widths": ()}, r"\[8, 16, 24, 4\]"),
        ({"augment": 3.5}, "and 3.5"),
    ]:
        with pytest.raises(ConfigError, match=value):
            conv(**options)
    with pytest.raises(ConfigError, match=r"got \[\], \[8, 40"):
        AudioConv([], 8)
