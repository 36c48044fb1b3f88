import pytest
import torch
from torch import nn

from mmgraph.aligner import Aligner
from mmgraph.encoders import Raw
from mmgraph.errors import ConfigError
from mmgraph.functional import cca
from mmgraph.objectives import Correlate
from mmgraph.testing import fake_graph
from mmgraph.typing import Seen


class Given(nn.Module):
    """A model that has computed already."""

    def __init__(self, **spaces):
        super().__init__()
        self.spaces = spaces

    def project(self, graph):
        return self.spaces


@pytest.fixture
def case():
    graph, schema = fake_graph()
    generator = torch.Generator().manual_seed(0)
    views = {}
    for name in ("scan", "text", "sound"):
        states = torch.randn(40, 3, generator=generator, dtype=torch.float64).requires_grad_()
        views[name] = Seen(states, torch.rand(40, generator=generator) < 0.8)
    return graph, schema, views


def expected(graph, views, one, other, **options):
    rows = views[one].present & views[other].present & graph["subject"].train_mask
    return cca([views[one].states[rows].detach(), views[other].states[rows].detach()], **options).correlations.sum()


@pytest.mark.parametrize("channels", [None, 2])
def test_equals_the_closed_form_over_the_pairs_that_count(case, channels):
    graph, schema, views = case
    terms = Correlate(schema, channels=channels, ridge=0.1)(Given(joint=views), graph)
    total = 0
    for one, other in [("scan", "text"), ("scan", "sound"), ("text", "sound")]:
        sum_of = expected(graph, views, one, other, channels=channels or 3, ridge=0.1)
        torch.testing.assert_close(terms[f"correlation_{one}_{other}"], sum_of)
        total -= sum_of / 3
    torch.testing.assert_close(terms["total"], total)


def test_rows_that_do_not_count_get_no_gradient(case):
    graph, schema, views = case
    Correlate(schema, [("scan", "text")])(Given(joint=views), graph)["total"].backward()
    counts = views["scan"].present & views["text"].present & graph["subject"].train_mask
    for name in ("scan", "text"):
        assert torch.equal((views[name].states.grad != 0).any(1), counts)
    assert views["sound"].states.grad is None


def test_reads_the_last_space_or_the_one_that_is_named(case):
    graph, schema, views = case
    other = {name: Seen(torch.cat([seen.states[1:], seen.states[:1]]), seen.present) for name, seen in views.items()}
    model = Given(fine=other, coarse=views)
    pair = [("scan", "text")]
    last = Correlate(schema, pair)(model, graph)["total"]
    assert last == Correlate(schema, pair, space="coarse")(model, graph)["total"]
    assert last != Correlate(schema, pair, space="fine")(model, graph)["total"]


def test_training_correlates_views_beyond_linear_maps():
    """Views whose signs are random: their squares correlate, they themselves do not."""
    graph, schema = fake_graph(200)
    generator = torch.Generator().manual_seed(1)
    hidden = torch.rand(200, 1, generator=generator) + 0.5
    for name, width in (("scan", 3), ("text", 5)):
        owner = graph[name, "of", "subject"].edge_index[1]
        sign = torch.randint(0, 2, (len(owner), 1), generator=generator) * 2 - 1
        graph[name].x = torch.randn(len(owner), width, generator=generator) * 0.1
        graph[name].x[:, :1] = hidden[owner] * sign
    torch.manual_seed(0)
    networks = {
        name: nn.Sequential(nn.Linear(width, 16), nn.ReLU(), nn.Linear(16, 1))
        for name, width in (("scan", 3), ("text", 5))
    }
    model = Aligner(schema=schema, encoder=Raw(["scan", "text"]), spaces={"joint": networks})
    graph["subject"].train_mask[:] = True
    objective, optimizer = Correlate(schema), torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(150):
        optimizer.zero_grad()
        terms = objective(model, graph)
        terms["total"].backward()
        optimizer.step()
    assert terms["correlation_scan_text"] > 0.8


def test_what_can_not_be_correlated_is_refused(case):
    graph, schema, views = case
    with pytest.raises(ConfigError, match="Correlate needs a schema with an anchor, got none"):
        Correlate(schema.model_copy(update={"anchor": None}))
    for pairs in ([], [("scan", "scan")]):
        with pytest.raises(ConfigError, match=r"pairs must be at least 1, each of two different views, got \["):
            Correlate(schema, pairs)
    with pytest.raises(ConfigError, match="got 0 and None"):
        Correlate(schema, ridge=0)
    with pytest.raises(ConfigError, match=r"got 0\.001 and 0"):
        Correlate(schema, channels=0)
    with pytest.raises(ConfigError, match="as Aligner does, got Linear"):
        Correlate(schema)(nn.Linear(1, 1), graph)
    with pytest.raises(ConfigError, match=r"space must be one of the model's, \['joint'\], got 'fine'"):
        Correlate(schema, space="fine")(Given(joint=views), graph)
    with pytest.raises(ConfigError, match=r"\['scan', 'text', 'sound'\], got 'smell'"):
        Correlate(schema, [("scan", "smell")])(Given(joint=views), graph)
    with pytest.raises(ConfigError, match=r"at least 2 views to make a pair of, got \['scan'\]"):
        Correlate(schema)(Given(joint={"scan": views["scan"]}), graph)
