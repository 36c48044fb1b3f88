import pytest
import torch

from mmgraph.errors import ConfigError
from mmgraph.scorers import ConvE


def made(**options):
    torch.manual_seed(0)
    scorer = ConvE(13, height=3, **{"filters": 2, **options}).double().eval()
    for norm in scorer.norms:
        torch.nn.init.normal_(norm.running_mean)
        torch.nn.init.uniform_(norm.running_var, 0.5, 2)
        torch.nn.init.normal_(norm.weight)
        torch.nn.init.normal_(norm.bias)
    return scorer


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def normed(x, norm, channel):
    spread = (norm.running_var[channel] + norm.eps).sqrt()
    return (x - norm.running_mean[channel]) / spread * norm.weight[channel] + norm.bias[channel]


def slow(scorer, h, r, t):
    """Eq. 1 of the source, number by number."""
    first, maps, last = scorer.norms
    picture = torch.cat([h[:-1].view(3, 4), r.view(3, 4)])  # [6, 4]: the source above the relation
    picture = normed(picture, first, 0)
    convolved = []
    for f in range(2):
        for i in range(4):
            for j in range(2):
                patch = picture[i : i + 3, j : j + 3]
                value = (patch * scorer.convolution.weight[f, 0]).sum() + scorer.convolution.bias[f]
                convolved.append(normed(value, maps, f).clamp_min(0))
    hidden = scorer.linear.weight @ torch.stack(convolved) + scorer.linear.bias
    hidden = torch.stack([normed(value, last, c).clamp_min(0) for c, value in enumerate(hidden)])
    return hidden @ t[:-1] + t[-1]


def test_it_is_its_formula():
    scorer, h, r, t = made(), draw(3, 13), draw(3, 12, seed=1), draw(4, 13, seed=2)
    expected = torch.stack([torch.stack([slow(scorer, a, b, c) for c in t]) for a, b in zip(h, r, strict=True)])
    assert torch.allclose(scorer.against(h, r, t), expected)


def test_the_last_channel_is_the_bias_of_a_target_and_nothing_to_a_source():
    scorer, h, r, t = made(), draw(2, 13), draw(2, 12, seed=1), draw(4, 13, seed=2)
    scores = scorer.against(h, r, t)
    louder = t.clone()
    louder[2, -1] += 5
    change = scorer.against(h, r, louder) - scores
    assert torch.allclose(change, 5.0 * torch.tensor([0, 0, 1, 0]).double().expand(2, -1))
    other = h.clone()
    other[:, -1] += 5
    assert torch.equal(scorer.against(other, r, t), scores)


def test_biases_start_at_zero():
    entities, relations = torch.empty(300, 13), torch.empty(5, 12)
    made().initialise(entities, relations)
    assert not bool(entities[:, -1].any())
    assert float(entities[:, :-1].std()) == pytest.approx((2 / 313) ** 0.5, rel=0.1)


def test_relations_are_as_wide_as_what_is_convolved():
    assert (ConvE(201, height=10).channels, ConvE(201, height=10).relation_channels) == (201, 200)
    assert ConvE(201, height=10).linear.in_features == 32 * 18 * 18  # 10,368, as in the source


def test_dropouts_are_of_numbers_of_maps_and_of_numbers():
    scorer = made(dropouts=(0.1, 0.2, 0.3))
    kinds = [(type(dropout).__name__, dropout.p) for dropout in scorer.dropouts]
    assert kinds == [("Dropout", 0.1), ("Dropout2d", 0.2), ("Dropout", 0.3)]


@pytest.mark.parametrize("place", [None, 0, 1, 2])
def test_each_dropout_is_used_in_training(place):
    dropouts = [0.5 if place == at else 0.0 for at in range(3)]
    scorer, h, r, t = made(dropouts=dropouts), draw(3, 13), draw(3, 12, seed=1), draw(4, 13, seed=2)
    assert torch.equal(scorer.against(h, r, t), scorer.against(h, r, t))
    scorer.train()
    several = [scorer.against(h, r, t) for _ in range(5)]
    assert all(torch.equal(one, several[0]) for one in several) == (place is None)


@pytest.mark.parametrize(
    ("channels", "options", "message"),
    [
        (
            14,
            {"height": 3},
            r"channels of ConvE must be a multiple of height 3, and 1 for the bias, got 14; use e.g. 13",
        ),
        (3, {"height": 5}, r"got 3; use e.g. 6"),
        (13, {"height": 6}, r"ConvE's picture must hold its filters, 3 × 3; it is 12 × 2; choose another height"),
        (13, {"height": 1}, r"it is 2 × 12"),
        (13, {"height": 0}, r"height, filters and kernel of at least 1, got 0, 32 and 3"),
        (13, {"height": 3, "filters": 0}, r"got 3, 0 and 3"),
        (13, {"height": 3, "dropouts": (0, 1, 0)}, r"ConvE needs three dropouts, .* got \(0, 1, 0\)"),
        (1, {"height": 1}, r"ConvE needs vectors at least 1 wide, got channels 1, relation_channels 0"),
    ],
)
def test_what_fits_no_picture_is_refused(channels, options, message):
    with pytest.raises(ConfigError, match=message):
        ConvE(channels, **options)
