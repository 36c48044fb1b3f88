import pytest
import torch
from torch.nn import functional as F
from torch_geometric.data import HeteroData

from mmgraph.entity_aligner import EntityAligner
from mmgraph.errors import ConfigError
from mmgraph.objectives import Contrast
from mmgraph.schema import EdgeSpec, NodeSpec, Schema
from mmgraph.tasks import Retrieval
from mmgraph.tasks.controls import control_graph

SIDES = ("zh", "en")


def two_graphs(count=80, facts=500, seed=0, names=0):
    """The same facts twice, about entities that are numbered anew in the second; some have no link."""
    chance = torch.Generator().manual_seed(seed)
    head, tail = torch.randint(0, count, (2, facts), generator=chance)
    relation = torch.randint(0, 6, (facts,), generator=chance)
    links = count - 10
    graph, nodes, edges = HeteroData(), {"link": NodeSpec()}, {}
    graph["link"].num_nodes = links
    for number, part in enumerate(("train", "val", "test")):
        graph["link"][f"{part}_mask"] = torch.tensor([0, 0, 0, 1, 2, 2])[torch.arange(links) % 6] == number
    for side in SIDES:
        place = torch.randperm(count, generator=chance)
        keep = torch.rand(facts, generator=chance) < 0.9
        graph[side].num_nodes = count
        graph[side, "fact", side].edge_index = place[torch.stack([head, tail])][:, keep]
        graph[side, "fact", side].edge_attr = relation[keep].float()[:, None]
        graph[side, "of", "link"].edge_index = torch.stack([place[:links], torch.arange(links)])
        nodes[side], edges[side, "of", "link"] = NodeSpec(), EdgeSpec()
        edges[side, "fact", side] = EdgeSpec(channels=1, multiple=True)
        if names:
            graph[side].x = torch.zeros(count, names)
            graph[side].x[place] = F.normalize(torch.randn(count, names, generator=torch.Generator().manual_seed(9)))
            nodes[side] = NodeSpec(channels=names)
    return graph, Schema(nodes=nodes, edges=edges, anchor="link")


def aligner(schema, **options):
    sizes = {"entities": dict.fromkeys(SIDES, 80), "relations": dict.fromkeys(SIDES, 6)}
    return EntityAligner(**{"schema": schema, "channels": 64, "bound": 256, **sizes, **options})


@torch.no_grad()
def scores(model, graph, schema):
    task = Retrieval(schema)
    view = task.view(graph, "test")
    return task.evaluate(task.answers(model.eval()(view), view, "test"), graph, "test")


@pytest.mark.parametrize("offsets", ["balance", "csls", None])
def test_the_same_entity_is_found_by_facts_alone(offsets):
    graph, schema = two_graphs()
    model = aligner(schema, offsets=offsets)
    assert scores(model, graph, schema)["recall@1"] > 0.7
    for control in ("no_graph", "shuffled_edges"):
        assert scores(model, control_graph(control, graph, schema), schema)["recall@1"] < 0.25


def test_names_are_read_where_there_are_some():
    graph, schema = two_graphs(names=16)
    nothing = control_graph("no_graph", graph, schema)
    assert scores(aligner(schema), nothing, schema)["recall@1"] == 1
    assert scores(aligner(schema), control_graph("noise", nothing, schema), schema)["recall@1"] < 0.25


@pytest.mark.parametrize("joins", [(), (1,)])
def test_which_links_are_sought_is_not_read(joins):
    """Links that are not known lead to other entities: the answers of these entities stay what they were."""
    graph, schema = two_graphs()
    sought = (~graph["link"].train_mask).nonzero().flatten()
    other = graph.clone()
    order = torch.arange(70)
    order[sought] = sought.roll(1)
    of = graph["en", "of", "link"].edge_index
    other["en", "of", "link"].edge_index = torch.stack([of[0][order], of[1]])
    answers = []
    for one in (graph, other):
        torch.manual_seed(0)
        model = aligner(schema, joins=joins)
        model.train()(one)
        answers.append(model.eval()(one))
    torch.testing.assert_close(answers[0]["zh"], answers[1]["zh"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(answers[0]["en"][order], answers[1]["en"], rtol=1e-4, atol=1e-5)


def test_training_tells_hidden_pairs_and_learns_weights():
    graph, schema = two_graphs()
    model, objective = aligner(schema).train(), Contrast(schema)
    present = model.project(graph)["joint"]["zh"].present
    known = graph["link"].train_mask
    assert present[~known].all()
    assert 0 < int(present[known].sum()) < int(known.sum())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    losses = []
    for _ in range(30):
        torch.manual_seed(0)
        loss = objective(model, graph)["total"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 0.02
    assert all(gain.grad.isfinite().all() for gain in model.gains.values())
    fixed = aligner(schema, learned=False)
    assert not any(parameter.requires_grad for parameter in fixed.parameters())


def test_pairs_join_at_their_step_and_are_kept():
    graph, schema = two_graphs()
    model = aligner(schema, joins=(2,)).train()
    model(graph)
    assert (model.found == -1).all()
    model(graph)
    assert model.training
    found = (model.found >= 0).nonzero().flatten()
    assert len(found) > 20
    assert len(model.found[found].unique()) == len(found)
    owner = {side: graph[side, "of", "link"].edge_index[0] for side in SIDES}
    known = graph["link"].train_mask
    assert not torch.isin(found, owner["zh"][known]).any()
    assert not torch.isin(model.found[found], owner["en"][known]).any()
    assert (model.found[owner["zh"][~known]] == owner["en"][~known]).float().mean() > 0.6
    again = aligner(schema)
    again.load_state_dict(model.state_dict())
    torch.testing.assert_close(again.eval()(graph)["en"], model.eval()(graph)["en"])


def test_answers_are_the_same_each_time_and_chance_is_left_alone():
    graph, schema = two_graphs()
    model = aligner(schema).eval()
    state = torch.get_rng_state()
    assert torch.equal(model(graph)["zh"], model(graph)["zh"])
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"facts": "says"}, "joined to itself by 'says' edges of 1 channel"),
        ({"entities": {"zh": 80}}, r"must count those of \['zh', 'en'\], got \{'zh': 80\}"),
        ({"hops": 1}, "got 1, 64, 256 and 0.5"),
        ({"hidden": 1.0}, "got 3, 64, 256 and 1.0"),
        ({"offsets": "all"}, "'balance', 'csls' or None, got 'all'"),
    ],
)
def test_what_it_refuses(options, said):
    _, schema = two_graphs()
    with pytest.raises(ConfigError, match=said):
        aligner(schema, **options)
