import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmgraph.decoders import Tabular, column_groups
from mmgraph.decoders.tabular import Group
from mmgraph.encoders import Columns
from mmgraph.errors import ConfigError
from mmgraph.typing import Sources

NAMES = ("age", "age unknown", "wing=left", "wing=right", "wing other", "wing unknown", "mass")


def sources_of(states):
    return Sources(states[:, None], torch.ones(len(states), 1, dtype=torch.bool))


def test_columns_are_found_by_the_names_of_their_channels():
    rows = [{"age": 3, "when": "2024-01-31", "wing": "left"}, {"age": None, "when": None, "wing": "a=b other"}]
    columns = Columns.fit(rows, columns={"age": "numeric", "when": "datetime", "wing": "category"})
    assert column_groups(columns.names) == (
        Group("age", "flagged", (0, 2)),
        Group("when", "flagged", (2, 10)),
        Group("wing", "category", (10, 14)),
    )
    assert column_groups(["a", "b unknown"]) == (Group("a", "number", (0, 1)), Group("b unknown", "number", (1, 2)))
    assert column_groups([]) == ()


@given(
    st.lists(st.tuples(st.text("ab =o", max_size=3), st.sampled_from(["numeric", "category", "datetime"])), max_size=6)
)
def test_all_channels_are_of_one_column(columns):
    kinds = {f"{number}{name}": kind for number, (name, kind) in enumerate(columns)}
    if kinds:
        values = {"numeric": 1.0, "category": "x", "datetime": "2024-01-31"}
        encoder = Columns.fit([{name: values[kind] for name, kind in kinds.items()}], columns=kinds)
        groups = column_groups(encoder.names)
        assert [group.name for group in groups] == list(kinds)
        assert [group.kind == "category" for group in groups] == [kind == "category" for kind in kinds.values()]
        assert [end for group in groups for end in group.channels] == sorted(
            [0, *[group.channels[1] for group in groups[:-1] for _ in range(2)], encoder.channels]
        )


def test_the_loss_is_the_negative_log_likelihood():
    torch.manual_seed(0)
    decoder, sources = Tabular(4, column_groups(NAMES), hidden=[6]), sources_of(torch.randn(4, 4))
    payload = torch.tensor(
        [
            [1.5, 0, 0, 1, 0, 0, torch.nan],
            [0, 1, 1, 0, 0, 0, 2.0],
            [0, 0, 0, 0, 1, 0, -1.0],
            [0, 1, 0, 0, 0, 1, torch.nan],
        ]
    )
    terms = decoder.losses(sources, payload)
    terms["total"].sum().backward()
    assert all(one.grad.isfinite().all() for one in decoder.parameters())
    mean, log_deviation = (one.detach() for one in decoder(sources))
    for row in range(4):
        chance = 1 / (1 + math.exp(-float(mean[row, 1])))
        expected = -math.log(chance if payload[row, 1] else 1 - chance)
        shares = mean[row, 2:6].double().exp()
        expected -= math.log(float(shares[payload[row, 2:6].argmax()] / shares.sum()))
        for channel in (0, 6):
            if payload[row, channel].isfinite() and not (channel == 0 and payload[row, 1]):
                normal = torch.distributions.Normal(mean[row, channel], log_deviation[row, channel].exp())
                expected -= float(normal.log_prob(payload[row, channel]))
        assert terms["total"].detach()[row].item() == pytest.approx(expected, rel=1e-4)
        assert torch.equal(terms["nll"], terms["total"])
    assert decoder.counts(payload).tolist() == [3, 3, 4, 2]


def trained(decoder, sources, payload, rounds=400):
    optimiser = torch.optim.Adam(decoder.parameters(), lr=0.02)
    for _ in range(rounds):
        optimiser.zero_grad()
        decoder.losses(sources, payload)["total"].mean().backward()
        optimiser.step()
    return decoder.eval()


def test_intervals_hold_as_many_as_they_say():
    generator = torch.Generator().manual_seed(0)
    states = torch.rand(3000, 2, generator=generator)
    noise = torch.randn(3000, 1, generator=generator) * (0.1 + states[:, 1:])  # another spread at each row
    payload = 3 * states[:, :1] + noise
    torch.manual_seed(0)
    decoder = trained(Tabular(2, 1, hidden=[16]), sources_of(states[:1500]), payload[:1500])
    for share in (0.5, 0.9):
        low, high = decoder.interval(sources_of(states[1500:]), share)
        inside = (payload[1500:] > low) & (payload[1500:] < high)
        assert inside.float().mean().item() == pytest.approx(share, abs=0.03)
        for part in (states[1500:, 1] < 0.3, states[1500:, 1] > 0.7):  # and where the spread is small, or large
            assert inside[part].float().mean().item() == pytest.approx(share, abs=0.06)


def test_what_is_drawn_has_the_shares_of_the_data():
    generator = torch.Generator().manual_seed(0)
    unknown = torch.rand(4000, generator=generator) < 0.25
    wing = torch.multinomial(torch.tensor([0.6, 0.3, 0.1, 0.0]), 4000, replacement=True, generator=generator)
    payload = torch.zeros(4000, 7)
    payload[:, 0] = torch.where(unknown, 0.0, 2 + 3 * torch.randn(4000, generator=generator))
    payload[:, 1] = unknown.float()
    payload[torch.arange(4000), 2 + wing] = 1
    payload[:, 6] = 1.0
    torch.manual_seed(0)
    sources = Sources(torch.zeros(4000, 0, 3), torch.zeros(4000, 0, dtype=torch.bool))
    decoder = trained(Tabular(3, column_groups(NAMES)), sources, payload, rounds=500)
    made = decoder.generate(sources, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(made[:, 1:6].mean(dim=0), payload[:, 1:6].mean(dim=0), atol=0.03, rtol=0)
    known = made[:, 1] == 0
    assert bool((made[~known, 0] == 0).all())
    assert made[known, 0].mean().item() == pytest.approx(2, abs=0.2)
    assert made[known, 0].std().item() == pytest.approx(3, abs=0.2)
    assert torch.equal(made, decoder.generate(sources, generator=torch.Generator().manual_seed(1)))
    decoder.draw = False
    mean = decoder.generate(sources)
    assert bool((mean == mean[0]).all())
    assert mean[0, 1:6].tolist() == [0, 1, 0, 0, 0]
    assert mean[0, 0].item() == pytest.approx(2, abs=0.2)


def test_intervals_are_of_numbers_alone():
    decoder = Tabular(4, column_groups(NAMES))
    low, high = decoder.interval(sources_of(torch.randn(2, 4)), 0.9)
    assert low.isnan()[0].tolist() == [False, True, True, True, True, True, False]
    assert bool((low < high)[:, [0, 6]].all())
    with pytest.raises(ConfigError, match=r"between 0 and 1, got 1.5"):
        decoder.interval(sources_of(torch.randn(2, 4)), 1.5)


def test_what_never_changes_has_a_bounded_likelihood():
    decoder = trained(Tabular(1, 1), sources_of(torch.ones(8, 1)), torch.ones(8, 1), rounds=300)
    assert decoder.losses(sources_of(torch.ones(1, 1)), torch.ones(1, 1))["total"].item() > -7


@pytest.mark.parametrize(
    "columns",
    [(), 0, (Group("a", "number", (1, 2)),), (Group("a", "flagged", (0, 1)),), (Group("a", "number", (0, 0)),)],
)
def test_columns_that_can_not_be_are_refused(columns):
    with pytest.raises(ConfigError, match="at least 1 column, and columns whose channels follow one another, got"):
        Tabular(4, columns)
