"""Regions and words: the score of each picture and text against a loop, and which anchors count."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch_geometric.data import HeteroData

from mmgraph.aligner import Aligner
from mmgraph.encoders import Raw
from mmgraph.errors import ConfigError
from mmgraph.objectives import Contrast, RegionWords
from mmgraph.schema import EdgeSpec, NodeSpec, Schema
from mmgraph.testing import fake_graph

SCHEMA = Schema(
    nodes={"photo": NodeSpec(), "region": NodeSpec(channels=3), "word": NodeSpec(channels=3)},
    edges={("region", "of", "photo"): EdgeSpec(), ("word", "of", "photo"): EdgeSpec()},
    anchor="photo",
)


class Given(nn.Module):
    """A model that says of nodes what the graph says."""

    def states(self, graph, node):
        return graph[node].x


def photos(regions, words, train=None, seed=0):
    """A graph of photos with so many regions and words each, in no order."""
    generator, graph = torch.Generator().manual_seed(seed), HeteroData()
    graph["photo"].num_nodes = len(regions)
    if train is not None:
        graph["photo"].train_mask = torch.tensor(train)
    for node, counts in (("region", regions), ("word", words)):
        owner = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
        owner = owner[torch.randperm(len(owner), generator=generator)]
        graph[node].x = torch.randn(len(owner), 3, generator=generator, dtype=torch.float64)
        graph[node, "of", "photo"].edge_index = torch.stack([torch.arange(len(owner)), owner])
    return graph


def of(graph, node, photo):
    row, owner = graph[node, "of", "photo"].edge_index
    return graph[node].x[row[owner == photo]].numpy()


def score(x, y, epsilon=0.5):
    """What the plan between two sets carries, by a loop over its rounds."""
    cosines = np.array([[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in y] for a in x])
    plan = np.exp(cosines / epsilon)
    for _ in range(1000):
        plan /= plan.sum(axis=1, keepdims=True) * len(x)
        plan /= plan.sum(axis=0, keepdims=True) * len(y)
    return float((plan * cosines).sum())


def expected(graph, rows, temperature=0.1):
    """The contrast and the cost, photo by photo."""
    table = {(i, j): score(of(graph, "region", i), of(graph, "word", j)) for i in rows for j in rows}
    losses = []
    for i in rows:
        for ways in ([table[i, j] for j in rows], [table[j, i] for j in rows]):
            losses.append(math.log(sum(math.exp((other - table[i, i]) / temperature) for other in ways)))
    return sum(losses) / len(losses), sum(1 - table[i, i] for i in rows) / len(rows)


counts = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), st.booleans()), min_size=1, max_size=5)


@given(counts, st.integers(0, 99))
@settings(max_examples=25)
def test_the_loss_is_that_of_a_loop_over_photos_with_both(photo, seed):
    regions, words, train = ([one[place] for one in photo] for place in range(3))
    graph = photos(regions, words, train, seed)
    rows = [row for row, (some, others, asked) in enumerate(photo) if some and others and asked]
    objective = RegionWords(SCHEMA, "region", "word", epsilon=0.5, rounds=1000, cost=0.5)
    terms = objective(Given(), graph)
    contrast, cost = expected(graph, rows) if rows else (0, 0)
    assert terms["contrast"].item() == pytest.approx(contrast, abs=1e-5)
    assert terms["cost"].item() == pytest.approx(cost, abs=1e-6)
    assert terms["total"].item() == pytest.approx(contrast + 0.5 * cost, abs=1e-5)


def test_photos_without_a_region_or_a_word_have_no_influence():
    graph = photos([2, 0, 3, 1], [2, 2, 0, 1])
    graph["region"].x.requires_grad_()
    graph["word"].x.requires_grad_()
    objective = RegionWords(SCHEMA, "region", "word", cost=1.0)
    total = objective(Given(), graph)["total"]
    gradients = torch.autograd.grad(total, [graph["region"].x, graph["word"].x])
    for node, gradient, alone in (("region", gradients[0], 2), ("word", gradients[1], 1)):
        row, owner = graph[node, "of", "photo"].edge_index
        assert (gradient[row[owner == alone]] == 0).all()
        assert (gradient[row[owner == 0]] != 0).any()
        with torch.no_grad():
            graph[node].x[row[owner == alone]] = 100.0
    assert torch.equal(objective(Given(), graph)["total"], total)


def test_the_scores_of_all_anchors_are_what_each_pair_has():
    graph = photos([2, 0, 3], [1, 2, 0], [True, False, False])
    found = RegionWords(SCHEMA, "region", "word", epsilon=0.5, rounds=1000).scores(Given(), graph)
    for i in range(3):
        for j in range(3):
            if i == 1 or j == 2:
                assert math.isnan(found[i, j])
            else:
                wanted = score(of(graph, "region", i), of(graph, "word", j))
                assert float(found[i, j]) == pytest.approx(wanted, abs=1e-6)


def test_with_one_node_of_each_type_it_is_contrast():
    graph = photos([1, 1, 1, 1], [1, 1, 1, 1])
    for node in ("region", "word"):
        graph[node].x = graph[node].x.float()
    spaces = {"joint": {name: nn.Linear(3, 4) for name in ("region", "word")}}
    model = Aligner(schema=SCHEMA, encoder=Raw(["region", "word"]), spaces=spaces)
    graph["photo"].x = torch.empty(4, 0)
    wanted = Contrast(SCHEMA)(model, graph)["total"]
    found = RegionWords(SCHEMA, "region", "word")(model, graph)["total"]
    torch.testing.assert_close(found, wanted)


def test_it_learns_which_region_goes_with_which_word():
    """Words are regions seen through a rotation: after training a photo finds its text, and each region its word."""
    graph = photos([3] * 30, [3] * 30)
    graph["photo"].x = torch.empty(30, 0)
    region, owner = graph["region", "of", "photo"].edge_index
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1)))[0]
    graph["region"].x = graph["region"].x.float()
    graph["word"].x = graph["region"].x @ turn
    graph["word", "of", "photo"].edge_index = torch.stack([region, owner])
    torch.manual_seed(0)
    spaces = {"joint": {name: nn.Linear(3, 3) for name in ("region", "word")}}
    model = Aligner(schema=SCHEMA, encoder=Raw(["region", "word"]), spaces=spaces)
    objective = RegionWords(SCHEMA, "region", "word")
    optimiser = torch.optim.Adam([*model.parameters(), *objective.parameters()], lr=0.03)
    for _ in range(80):
        optimiser.zero_grad()
        objective(model, graph)["total"].backward()
        optimiser.step()
    scores = objective.scores(model, graph)
    assert (scores.argmax(dim=1) == torch.arange(30)).float().mean() > 0.9
    cosines = (
        nn.functional.normalize(model.states(graph, "region")) @ nn.functional.normalize(model.states(graph, "word")).T
    )
    own = cosines.masked_fill(owner[:, None] != owner, -2).argmax(dim=1)
    assert (own == torch.arange(90)).float().mean() > 0.9


@pytest.mark.parametrize(
    ("types", "options", "message"),
    [
        (("region", "sound"), {}, r"lead to 'photo', \['region', 'word'\], got 'region' and 'sound'"),
        (("word", "word"), {}, "got 'word' and 'word'"),
        (("region", "word"), {"cost": -1.0}, "cost must be at least 0.*got -1.0, 0.1, 20"),
        (("region", "word"), {"epsilon": 0.0}, "epsilon at least .01.*got 0.0, 0.0, 20"),
        (("region", "word"), {"rounds": 0}, "rounds at least 1, got 0.0, 0.1, 0"),
        (("region", "word"), {"temperature": 0.0}, "temperature must be above 0.*got 0.0"),
    ],
)
def test_says_what_is_wrong(types, options, message):
    with pytest.raises(ConfigError, match=message):
        RegionWords(SCHEMA, *types, **options)


def test_a_model_must_give_its_nodes():
    graph, schema = fake_graph()
    with pytest.raises(ConfigError, match="by states.graph, node., as Aligner does, got Linear"):
        RegionWords(schema, "scan", "text")(nn.Linear(1, 1), graph)
    spaces = {"joint": {"scan": nn.Linear(3, 4), "text": nn.Linear(5, 4)}}
    both = Aligner(schema=schema, encoder=Raw(["scan", "text"]), spaces=spaces, views={"both": ("scan", "text")})
    with pytest.raises(ConfigError, match="must be a view of their own, one of .*'both'.*got 'scan'"):
        RegionWords(schema, "scan", "text")(both, graph)
