"""Margins over views: which anchors count, who means the same, and each term against a loop."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from mmgraph.aligner import Aligner
from mmgraph.encoders import Raw
from mmgraph.errors import ConfigError, DataError
from mmgraph.objectives import Grounded, Margin
from mmgraph.schema import EdgeSpec, NodeSpec, Schema, TargetSpec
from mmgraph.testing import fake_graph
from mmgraph.typing import Seen


class Given(nn.Module):
    """A model that says what it is told."""

    def __init__(self, **views):
        super().__init__()
        self.views = views

    def project(self, graph):
        return {"first": {}, "joint": self.views}


def said(rows, channels=4, absent=(), seed=0):
    generator = torch.Generator().manual_seed(seed)
    states = torch.randn(rows, channels, generator=generator, dtype=torch.float64)
    present = torch.ones(rows, dtype=torch.bool)
    present[list(absent)] = False
    return Seen((states * present[:, None]).requires_grad_(), present)


@pytest.fixture
def case():
    """Eight anchors, the last not for training; anchor 1 has no scan, anchor 2 no text; the class of 3 is unknown."""
    schema = Schema(
        nodes={"subject": NodeSpec(channels=0), "photo": NodeSpec(channels=1)},
        edges={("subject", "near", "subject"): EdgeSpec(), ("photo", "shows", "subject"): EdgeSpec()},
        targets={"kind": TargetSpec(node="subject", kind="multiclass", classes=("a", "b", "c"))},
        anchor="subject",
    )
    graph, _ = fake_graph()
    graph = type(graph)()
    graph["subject"].x, graph["photo"].x = torch.empty(8, 0), torch.zeros(3, 1)
    graph["subject"].y = torch.tensor([0, 0, 1, -1, 0, 1, 2, 0])
    graph["subject"].train_mask = torch.arange(8) < 7
    graph["subject", "near", "subject"].edge_index = torch.tensor([[0, 5, 7, 1], [4, 6, 0, 2]])
    graph["photo", "shows", "subject"].edge_index = torch.tensor([[0, 0, 1, 1, 2, 0], [0, 3, 5, 4, 6, 7]])
    return graph, schema, Given(scan=said(8, absent=[1]), text=said(8, absent=[2], seed=1))


def cosine(x, y):
    return float(x @ y / (x.norm() * y.norm()))


def distance(x, y):
    return float((x / x.norm() - y / y.norm()).norm())


def hinge(x, y, rows, same, different, margin=0.2, hardest=False, score=cosine):
    """Mean over the positives of the sum (or maximum) of the hinges, triplet by triplet."""
    terms = []
    for i in rows:
        for p in [p for p in rows if same(i, p)]:
            found = [max(0.0, margin - score(x[i], y[p]) + score(x[i], y[n])) for n in rows if different(i, n)]
            terms.append((max(found, default=0.0)) if hardest else sum(found))
    return sum(terms) / len(terms)


@pytest.mark.parametrize("negatives", ["all", "hardest"])
def test_bidirectional_ranking_over_what_both_views_have_and_training_may_use(case, negatives):
    graph, schema, model = case
    x, y = (model.views[name].states.detach() for name in ("scan", "text"))
    rows, hardest = [0, 3, 4, 5, 6], negatives == "hardest"
    there = hinge(x, y, rows, lambda i, p: i == p, lambda i, n: i != n, hardest=hardest)
    back = hinge(y, x, rows, lambda i, p: i == p, lambda i, n: i != n, hardest=hardest)
    terms = Margin(schema, negatives=negatives)(model, graph)
    assert list(terms) == ["total", "ranking_scan_text"]
    assert terms["total"].item() == pytest.approx(there + back)
    one_way = Margin(schema, [("text", "scan")], negatives=negatives, bidirectional=False)(model, graph)
    assert one_way["ranking_text_scan"].item() == pytest.approx(back)
    terms["total"].backward()
    for name, absent in (("scan", [1, 2, 7]), ("text", [1, 2, 7])):
        gradient = model.views[name].states.grad
        assert (gradient[absent] == 0).all()
        assert (gradient[rows] != 0).any(dim=1).all()


def test_without_a_train_mask_all_anchors_count(case):
    graph, schema, model = case
    before = Margin(schema)(model, graph)["total"]
    del graph["subject"].train_mask
    assert Margin(schema)(model, graph)["total"] != before


def test_structure_preserving_by_classes_equals_the_papers_four_sums(case):
    graph, schema, model = case
    x, y = (model.views[name].states.detach() for name in ("scan", "text"))
    label = graph["subject"].y.tolist()
    options = {"margin": 0.3, "score": distance_score}

    def known(i, j):
        return label[i] >= 0 and label[j] >= 0

    def same(i, j):
        return i == j or (known(i, j) and label[i] == label[j])

    def different(i, j):
        return known(i, j) and label[i] != label[j]

    def neighbour(i, j):
        return i != j and same(i, j)

    rows = [0, 3, 4, 5, 6]
    ranking = hinge(x, y, rows, same, different, **options) + hinge(y, x, rows, same, different, **options)
    scan = hinge(x, x, [0, 2, 3, 4, 5, 6], neighbour, different, **options)
    text = hinge(y, y, [0, 1, 3, 4, 5, 6], neighbour, different, **options)
    given = {"margin": 0.3, "alike": "kind", "metric": "euclidean"}
    terms = Margin(schema, structure={"scan": 0.1, "text": 0.7}, **given)(model, graph)
    assert terms["ranking_scan_text"].item() == pytest.approx(ranking)
    assert terms["structure_scan"].item() == pytest.approx(scan)
    assert terms["structure_text"].item() == pytest.approx(text)
    assert terms["total"].item() == pytest.approx(ranking + 0.1 * scan + 0.7 * text)
    assert Margin(schema, **given)(model, graph)["total"].item() == pytest.approx(ranking)


def distance_score(x, y):
    return -distance(x, y)


@pytest.mark.parametrize(
    ("alike", "pairs"),
    [
        (("subject", "near", "subject"), {(0, 4), (5, 6)}),
        (("photo", "shows", "subject"), {(0, 3), (4, 5)}),
    ],
)
def test_who_is_joined_or_shares_a_node_means_the_same(case, alike, pairs):
    graph, schema, model = case
    x, y = (model.views[name].states.detach() for name in ("scan", "text"))

    def same(i, j):
        return i == j or (i, j) in pairs or (j, i) in pairs

    def different(i, j):
        return not same(i, j)

    rows = [0, 3, 4, 5, 6]
    expected = hinge(x, y, rows, same, different) + hinge(y, x, rows, same, different)
    assert Margin(schema, alike=alike)(model, graph)["total"].item() == pytest.approx(expected)


@pytest.mark.parametrize("negatives", ["all", "hardest"])
def test_neighbours_may_be_others_than_the_positives(case, negatives):
    graph, schema, model = case
    x = model.views["scan"].states.detach()
    label = graph["subject"].y.tolist()
    terms = Margin(schema, structure={"scan": 1.0}, neighbours="kind", negatives=negatives)(model, graph)
    plain = Margin(schema, negatives=negatives)(model, graph)["total"]
    expected = hinge(
        x,
        x,
        [0, 2, 4, 5, 6],
        lambda i, j: i != j and label[i] == label[j],
        lambda i, j: label[i] != label[j],
        hardest=negatives == "hardest",
    )
    assert terms["ranking_scan_text"].item() == pytest.approx(plain.item())
    assert terms["structure_scan"].item() == pytest.approx(expected)


def test_every_two_views_are_a_pair_and_a_space_can_be_named(case):
    graph, schema, model = case
    model.views["sound"] = said(8, seed=2)
    terms = Margin(schema)(model, graph)
    assert list(terms)[1:] == ["ranking_scan_text", "ranking_scan_sound", "ranking_text_sound"]
    assert terms["total"].item() == pytest.approx(sum(value.item() for name, value in terms.items() if name != "total"))
    model.project = lambda graph: {"first": model.views, "joint": {}}
    assert Margin(schema, space="first")(model, graph)["total"] == terms["total"]


def test_the_grounded_space_equals_its_formula(case):
    graph, schema, model = case
    text, scan = (model.views[name].states.detach() for name in ("text", "scan"))
    shares = {(0, 3), (3, 0), (4, 5), (5, 4)}
    rows = [0, 1, 3, 4, 5, 6]
    cluster = hinge(text, text, rows, lambda i, j: (i, j) in shares, lambda i, j: i != j and (i, j) not in shares, 0.5)
    pairs = [(i, j) for i in [0, 3, 4, 5, 6] for j in [0, 3, 4, 5, 6] if i < j]
    sides = [[cosine(z[i], z[j]) for i, j in pairs] for z in (text, scan)]
    correlation = float(torch.corrcoef(torch.tensor(sides, dtype=torch.float64))[0, 1])
    given = {"alike": ("photo", "shows", "subject"), "cluster": 0.4, "perceptual": 3.0}
    terms = Grounded(schema, "text", "scan", **given)(model, graph)
    assert terms["cluster"].item() == pytest.approx(cluster)
    assert terms["correlation"].item() == pytest.approx(correlation)
    assert terms["total"].item() == pytest.approx(0.4 * cluster - 3 * correlation)
    terms["total"].backward()
    assert model.views["scan"].states.grad is None
    assert model.views["text"].states.grad.abs().sum() > 0
    alone = Grounded(schema, "text", "scan", cluster=0)(model, graph)
    assert list(alone) == ["total", "correlation"]
    assert list(Grounded(schema, "text", "scan", perceptual=0, alike="kind")(model, graph)) == ["total", "cluster"]


def test_the_grounded_space_takes_a_vision_of_another_width(case):
    graph, schema, model = case
    model.views["scan"] = said(8, channels=11)
    assert Grounded(schema, "text", "scan", cluster=0)(model, graph)["total"].isfinite()


def test_training_brings_the_views_of_an_anchor_together():
    graph, schema = fake_graph(signal=6.0)
    torch.manual_seed(0)
    model = Aligner(
        schema=schema,
        encoder=Raw(["scan", "text"]),
        spaces={"joint": {"scan": nn.Linear(3, 4), "text": nn.Linear(5, 4)}},
    )
    objective = Margin(schema, alike="diagnosis", structure={"scan": 0.1, "text": 0.1})
    optimiser = torch.optim.Adam(model.parameters(), 0.05)
    first = None
    for _ in range(60):
        loss = objective(model, graph)["total"]
        first = loss.item() if first is None else first
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.1 * first


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"margin": 0.0}, r"above 0, got 0.0"),
        ({"structure": {"scan": 0.0}, "alike": "kind"}, r"got 0.2, {'scan': 0.0}"),
        ({"structure": {"scan": 1.0}}, "structure needs neighbours"),
        ({"negatives": "some"}, "'all' or 'hardest', got 'some'"),
        ({"metric": "dot"}, "'cosine' or 'euclidean', got 'dot'"),
        ({"pairs": []}, r"at least 1, each of two different views, got \[\]"),
        ({"pairs": [("scan", "scan")]}, r"got \[\('scan', 'scan'\)\]"),
        ({"alike": "colour"}, r"a target of 'subject' with classes, \['kind'\], or an edge type, got 'colour'"),
        ({"neighbours": ("subject", "shows", "photo")}, r"an edge type to 'subject', one of .*'near'"),
    ],
)
def test_what_can_not_work_is_refused_when_it_is_made(case, options, message):
    with pytest.raises(ConfigError, match=message):
        Margin(case[1], **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"margin": 0.0}, "got 0.0, 1.0, 1.0"),
        ({"cluster": -1.0}, "got 0.5, -1.0, 1.0"),
        ({"cluster": 0.0, "perceptual": 0.0}, "not both 0, got 0.5, 0.0, 0.0"),
        ({}, "cluster needs alike"),
    ],
)
def test_a_grounded_space_needs_weights_and_who_shares_a_picture(case, options, message):
    with pytest.raises(ConfigError, match=message):
        Grounded(case[1], "text", "scan", **options)


def test_a_model_without_such_views_and_a_graph_without_labels_are_refused(case):
    graph, schema, model = case
    with pytest.raises(ConfigError, match=r"views by project\(graph\), as Aligner does, got a? ?Linear"):
        Margin(schema)(nn.Linear(1, 1), graph)
    with pytest.raises(ConfigError, match=r"among the model's in that space, \['scan', 'text'\], got 'sound'"):
        Margin(schema, [("scan", "sound")])(model, graph)
    with pytest.raises(ConfigError, match=r"got 'sound'"):
        Margin(schema, structure={"sound": 1.0}, alike="kind")(model, graph)
    with pytest.raises(ConfigError, match=r"got 'sound'"):
        Grounded(schema, "sound", "scan", cluster=0)(model, graph)
    with pytest.raises(ConfigError, match=r"one of the model's, \['first', 'joint'\], got 'last'"):
        Margin(schema, space="last")(model, graph)
    with pytest.raises(ConfigError, match=r"at least 2 views, got \['scan'\]"):
        Margin(schema)(Given(scan=model.views["scan"]), graph)
    del graph["subject"].y
    with pytest.raises(DataError, match=r"by 'kind' need its labels, 'y' of 'subject', got none in view"):
        Margin(schema, alike="kind")(model, graph)


WORKER = """
import sys
import torch
from torch import distributed, nn
from torch_geometric.data import HeteroData
from mmgraph.objectives import Margin
from mmgraph.schema import Schema
from mmgraph.typing import Seen

rank, folder = int(sys.argv[1]), sys.argv[2]
distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
given = torch.load(f"{folder}/{rank}-given.pt", weights_only=True)
graph = HeteroData()
graph["subject"].num_nodes, graph["photo"].num_nodes = len(given["y"]), 2
graph["subject"].y = given["y"]
graph["subject", "near", "subject"].edge_index = given["near"]
graph["photo", "shows", "subject"].edge_index = given["shows"]
model = nn.Module()
model.project = lambda _: {"joint": {name: Seen(given[name], given[name][:, 0] != 0) for name in ("scan", "text")}}
schema = Schema.from_json(open(f"{folder}/schema.json").read())
ways = ("kind", ("subject", "near", "subject"), ("photo", "shows", "subject"))
found = [Margin(schema, alike=by, structure={"scan": 0.5})(model, graph)["total"] for by in ways]
torch.save(torch.stack(found), f"{folder}/{rank}.pt")
distributed.destroy_process_group()
"""


def test_two_processes_rank_the_anchors_of_both(case, tmp_path):
    graph, schema, model = case
    del graph["subject"].train_mask
    states = {name: model.views[name].states.detach() for name in ("scan", "text")}
    near, shows = torch.tensor([[0, 1], [1, 2]]), torch.tensor([[0, 0, 1], [0, 2, 1]])
    for rank, rows in enumerate((slice(0, 3), slice(3, 8))):
        mine = {name: x[rows].clone() for name, x in states.items()}
        torch.save({**mine, "y": graph["subject"].y[rows], "near": near, "shows": shows}, tmp_path / f"{rank}-given.pt")
    (tmp_path / "schema.json").write_text(schema.to_json())
    (tmp_path / "worker.py").write_text(WORKER)
    command = [sys.executable, str(tmp_path / "worker.py")]
    workers = [
        subprocess.Popen([*command, str(rank), str(tmp_path)], stderr=subprocess.PIPE, text=True) for rank in (0, 1)
    ]
    for worker in workers:
        _, errors = worker.communicate(timeout=200)
        assert worker.returncode == 0, errors
    graph["photo"].x = torch.zeros(4, 1)
    graph["subject", "near", "subject"].edge_index = torch.cat([near, near + 3], dim=1)
    graph["photo", "shows", "subject"].edge_index = torch.cat([shows, shows + torch.tensor([[2], [3]])], dim=1)
    ways = ("kind", ("subject", "near", "subject"), ("photo", "shows", "subject"))
    alone = [Margin(schema, alike=by, structure={"scan": 0.5})(model, graph)["total"].detach() for by in ways]
    for rank in (0, 1):
        torch.testing.assert_close(torch.load(tmp_path / f"{rank}.pt", weights_only=True), torch.stack(alone))
