"""Learning from walks: what is drawn, what is learned, and that a fit goes on where it stopped."""

import itertools

import networkx as nx
import pytest
import torch
from scipy.stats import chisquare
from sklearn.cluster import KMeans
from torch import nn
from torch_geometric.data import HeteroData

from mmgraph import FitConfig, Model, fit
from mmgraph.builders import hold_out
from mmgraph.encoders import Nodes, Raw
from mmgraph.errors import ConfigError
from mmgraph.functional.skip_gram import skip_gram
from mmgraph.layers import Mean
from mmgraph.objectives import SkipGram
from mmgraph.objectives import skip_gram as room
from mmgraph.schema import EdgeSpec, NodeSpec, Schema, TargetSpec
from mmgraph.tasks import Clustering, EdgePrediction
from mmgraph.testing import fake_graph

NEAR = ("subject", "near", "subject")
KNOWS = ("member", "knows", "member")


class Vectors(nn.Module):
    """Vectors of several types."""

    def __init__(self, sizes, channels=4):
        super().__init__()
        self.nodes = Nodes(sizes, channels)

    def embed(self, graph):
        return self.nodes(graph)


def by_name(schema, size=40, channels=8):
    return Model(schema=schema, encoder=Nodes({schema.anchor: size}, channels), head=nn.Identity())


@pytest.fixture
def seen(monkeypatch):
    """What the loss is asked for."""
    calls = []

    def spy(states, walks, negatives, *, window, kinds):
        calls.append((states.detach(), walks, negatives, kinds))
        return skip_gram(states, walks, negatives, window=window, kinds=kinds)

    monkeypatch.setattr(room, "skip_gram", spy)
    return calls


def test_the_loss_is_that_of_walks_from_each_node(seen):
    graph, schema = fake_graph()
    model = by_name(schema)
    objective = SkipGram(schema, length=6, window=2, negatives=3)
    terms = objective(model, graph)
    (states, walks, negatives, kinds) = seen[0]
    assert torch.equal(states, model.embed(graph))
    assert walks[:, 0].tolist() == list(range(40))
    assert negatives.shape == (40, 7, 1, 3)
    assert not kinds.any()
    edges = {tuple(pair) for pair in graph[NEAR].edge_index.T.tolist()}
    for walk in walks.tolist():
        assert all((a, b) in edges for a, b in itertools.pairwise(walk) if b >= 0)
    positive, negative = skip_gram(states, walks, negatives, window=2)
    assert terms["positive"] == positive
    assert terms["negative"] == negative
    assert terms["total"] == positive + negative


def test_negatives_are_drawn_by_degree_to_three_quarters(seen):
    graph, schema = fake_graph()
    SkipGram(schema, length=20, negatives=40)(by_name(schema), graph)
    counts = torch.bincount(seen[0][2].flatten(), minlength=40).double()
    degree = torch.bincount(graph[NEAR].edge_index.flatten(), minlength=40).double()
    assert counts[degree == 0].sum() == 0
    some = degree > 0
    expected = degree[some].pow(0.75) / degree[some].pow(0.75).sum() * counts.sum()
    assert chisquare(counts[some], expected).pvalue > 1e-4


def test_in_training_walks_are_new_each_step_and_in_evaluation_the_same(seen):
    graph, schema = fake_graph()
    objective, model = SkipGram(schema, walks=10), by_name(schema)
    torch.manual_seed(5)
    objective.train()
    objective(model, graph), objective(model, graph)
    objective.eval()
    state = torch.get_rng_state()
    objective(model, graph), objective(model, graph)
    assert torch.equal(torch.get_rng_state(), state)
    walks = [walks for _, walks, *_ in seen]
    assert [len(one) for one in walks] == [10] * 4
    assert len(set(walks[0][:, 0].tolist())) == 10
    assert not torch.equal(walks[0], walks[1])
    assert torch.equal(walks[2], walks[3])
    torch.manual_seed(5)
    objective.train()(model, graph)
    assert torch.equal(seen[-1][1], walks[0])


def test_edges_that_change_are_sorted_anew(seen):
    graph, schema = fake_graph()
    objective, model = SkipGram(schema, length=1), by_name(schema)
    objective(model, graph)
    kept = objective._sorted
    objective(model, graph)
    assert objective._sorted is kept
    graph[NEAR].edge_index = graph[NEAR].edge_index.flip(0)
    objective(model, graph)
    edges = {tuple(pair) for pair in graph[NEAR].edge_index.T.tolist()}
    assert all((a, b) in edges for a, b in seen[-1][1].tolist() if b >= 0)


def academic():
    graph = HeteroData()
    graph["author"].num_nodes, graph["paper"].num_nodes = 5, 9
    chance = torch.Generator().manual_seed(0)
    index = torch.stack([torch.randint(0, 5, (20,), generator=chance), torch.randint(0, 9, (20,), generator=chance)])
    graph["author", "writes", "paper"].edge_index = index
    graph["paper", "by", "author"].edge_index = index.flip(0)
    turn = [("paper", "by", "author"), ("author", "writes", "paper")]
    schema = Schema(
        nodes={"author": NodeSpec(), "paper": NodeSpec()},
        edges=dict.fromkeys(turn, EdgeSpec(multiple=True)),
        anchor="paper",
    )
    return graph, schema, turn


def test_negatives_are_of_the_type_of_the_positive(seen):
    graph, schema, turn = academic()
    model = Vectors({"author": 5, "paper": 9})
    SkipGram(schema, turn, in_turn=True, length=4, window=2, negatives=6)(model, graph)
    states, walks, negatives, kinds = seen[0]
    vectors = model.embed(graph)
    assert torch.equal(states, torch.cat([vectors["paper"], vectors["author"]]))
    assert kinds.tolist() == [0, 1, 0, 1, 0]
    for place, author in enumerate([False, True, False, True, False]):
        there = walks[walks[:, place] >= 0, place]
        assert (there >= 9).all() if author else (there < 9).all()
    assert (negatives[:, :, 0] < 9).all()
    assert ((negatives[:, :, 1] >= 9) & (negatives[:, :, 1] < 14)).all()


def test_types_without_vectors_are_walked_through(seen):
    graph, schema, turn = academic()
    SkipGram(schema, turn, in_turn=True, length=4, window=2)(by_name(schema, 9), graph)
    _, walks, negatives, _ = seen[0]
    assert (walks[:, [1, 3]] == -1).all()
    assert (walks[:, 2] >= 0).any()
    assert negatives.shape == (9, 5, 1, 1)


def test_steps_of_one_edge_say_what_is_joined_to_what():
    """With length=1 this is the unsupervised similarity of any encoder, edges as positives."""
    graph, schema = fake_graph()
    graph["subject"].x = torch.eye(40)
    schema = schema.model_copy(update={"nodes": {**schema.nodes, "subject": NodeSpec(channels=40)}})
    torch.manual_seed(0)
    model = Model(
        schema=schema,
        encoder=Raw(["subject"]),
        between=Mean(40, 8, relations=[NEAR], activation=None),
        head=nn.Identity(),
    )
    objective = SkipGram(schema, length=1, window=1, negatives=2)
    optimizer = torch.optim.Adam(model.parameters(), 0.05)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        total = objective(model, graph)["total"]
        total.backward()
        losses.append(float(total.detach()))
        optimizer.step()
    assert sum(losses[-5:]) / 5 < 0.9 * losses[0]


def karate():
    club = nx.karate_club_graph()
    graph = HeteroData()
    graph["member"].num_nodes = len(club)
    graph["member"].side = torch.tensor([int(club.nodes[n]["club"] != "Mr. Hi") for n in club])
    pairs = torch.tensor(list(club.edges)).T
    graph[KNOWS].edge_index = torch.cat([pairs, pairs.flip(0)], dim=1)
    for part in ("train", "val", "test"):
        graph["member"][f"{part}_mask"] = torch.ones(len(club), dtype=torch.bool)
    target = TargetSpec(node="member", attribute="side", kind="binary", classes=("Mr. Hi", "Officer"))
    schema = Schema(nodes={"member": NodeSpec()}, edges={KNOWS: EdgeSpec()}, targets={"side": target}, anchor="member")
    return graph, schema


def test_the_karate_club_separates_by_k_means():
    """Zachary 1977: all but one or two members are on the side that the walks put them on."""
    graph, schema = karate()
    torch.manual_seed(0)
    model = Model(schema=schema, encoder=Nodes({"member": 34}, 16), head=nn.Identity())
    task = Clustering(schema, by="kmeans")
    config = FitConfig(epochs=150, learning_rate=0.05, weight_decay=0.0, patience=None, monitor="nmi")
    objective = SkipGram(schema, length=10, window=3, negatives=2)
    fitted = fit(model, objective, task, graph, config)
    with torch.no_grad():  # the last epoch's vectors would do as well: no label is read
        vectors = fitted.model.embed(task.view(graph, "test"))
    sides = KMeans(2, n_init=10, random_state=0).fit_predict(vectors.numpy())
    right = (torch.from_numpy(sides) == graph["member"].side).sum()
    assert max(int(right), 34 - int(right)) >= 32
    assert fitted.evaluate("test")["nmi"] > 0.65


def test_a_fit_that_is_resumed_goes_on_with_the_walks_it_would_have_drawn(tmp_path):
    graph, schema = hold_out(*fake_graph(), NEAR, val=0.1, test=0.1)

    def run(epochs, folder):
        torch.manual_seed(0)
        model = by_name(schema)
        config = FitConfig(epochs=epochs, checkpoint_every=2, patience=None, monitor="auroc", weight_decay=0.0)
        fit(model, SkipGram(schema, walks=20), EdgePrediction(schema, NEAR), graph, config, folder=folder)
        return model.state_dict()

    alone = run(8, tmp_path / "alone")
    run(4, tmp_path / "stopped")
    resumed = run(8, tmp_path / "stopped")
    assert all(torch.equal(alone[name], resumed[name]) for name in alone)


def test_nothing_to_walk_along_is_nothing_to_learn():
    graph, schema = fake_graph()
    graph[NEAR].edge_index = graph[NEAR].edge_index[:, :0]
    graph[NEAR].edge_weight = graph[NEAR].edge_weight[:0]
    model = by_name(schema)
    terms = SkipGram(schema)(model, graph)
    terms["total"].backward()
    assert terms["total"] == 0
    assert not next(model.parameters()).grad.any()


def test_weights_are_what_edges_are_drawn_by(seen):
    graph, schema = fake_graph()
    index = graph[NEAR].edge_index
    graph[NEAR].edge_weight = (index[0] % 2 == 0).float()
    SkipGram(schema, length=1, weighted=True)(by_name(schema), graph)
    _, walks, *_ = seen[0]
    assert (walks[1::2, 1] == -1).all()
    assert (walks[::2, 1] >= 0).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 0}, "got 0, 5, 1 and None"),
        ({"window": 0}, "got 20, 0, 1 and None"),
        ({"negatives": 0}, "got 20, 5, 0 and None"),
        ({"walks": 0}, "got 20, 5, 1 and 0"),
        ({"relations": [("subject", "far", "subject")]}, r"got \('subject', 'far', 'subject'\)"),
        ({"relations": []}, "needs a relation"),
    ],
)
def test_what_is_refused(options, message):
    _, schema = fake_graph()
    with pytest.raises(ConfigError, match=message):
        SkipGram(schema, **options)


def test_models_that_are_refused():
    graph, schema = fake_graph()
    with pytest.raises(ConfigError, match="got Identity without it"):
        SkipGram(schema)(nn.Identity(), graph)
    with pytest.raises(ConfigError, match=r"\['subject'.*got \['scan'\]"):
        SkipGram(schema, length=1)(Vectors({"scan": graph["scan"].num_nodes}), graph)
