import pytest
import torch
from sklearn.metrics import normalized_mutual_info_score as nmi
from torch import nn

import mmgraph as mg
from mmgraph.aligner import Aligner
from mmgraph.encoders import Raw
from mmgraph.errors import ConfigError, DataError
from mmgraph.functional import marginal, sinkhorn
from mmgraph.objectives import SelfLabel
from mmgraph.tasks import Clustering
from mmgraph.testing import fake_graph
from mmgraph.typing import Seen

VIEWS = ("scan", "text")


class Given(nn.Module):
    """A model that has computed already."""

    def __init__(self, views):
        super().__init__()
        self.views = views

    def project(self, graph):
        return {"clusters": self.views}


@pytest.fixture
def case():
    """All anchors count, a few lack a view, one lacks both."""
    graph, schema = fake_graph()
    graph["subject"].train_mask[:] = True
    generator = torch.Generator().manual_seed(0)
    views = {
        name: Seen(torch.randn(40, 8, generator=generator, dtype=torch.float64).requires_grad_(), torch.arange(40) > at)
        for at, name in enumerate(VIEWS)
    }
    return graph, schema, views


def make(schema, **options):
    return SelfLabel(schema, **{"anchors": 40, "clusters": 4, "views": VIEWS, "heads": 2, **options})


def given(log_p, sizes=None):
    """Labels of rows by Sinkhorn, the greatest size to the cluster that is said most."""
    sizes = torch.full((log_p.shape[1],), 1 / log_p.shape[1]) if sizes is None else sizes
    placed = torch.empty_like(sizes)
    placed[log_p.exp().sum(0).argsort(descending=True)] = sizes
    return sinkhorn(log_p, columns=placed, sharpness=25.0, rounds=50).argmax(1)


def log_ps(views):
    return {name: seen.states.detach().reshape(40, 2, 4).log_softmax(2) for name, seen in views.items()}


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("marginals", ["uniform", "zipf"])
def test_equals_a_slow_loop(case, mode, marginals):
    graph, schema, views = case
    objective = make(schema, marginals=marginals)
    terms = getattr(objective, mode)()(Given(views), graph)
    p, total = log_ps(views), 0
    labels = torch.full((40, 2), -1)
    for head in range(2):
        mean = torch.stack(
            [p["scan"][i, head] if i == 1 else (p["scan"] + p["text"])[i, head] / 2 for i in range(1, 40)]
        )
        labels[1:, head] = given(mean, marginal(marginals, 4).double())
    for name, first in (("scan", 1), ("text", 2)):
        each = [-p[name][i, head, labels[i, head]] for i in range(first, 40) for head in range(2)]
        torch.testing.assert_close(terms[f"label_{name}"], sum(each) / len(each))
        total += sum(each) / len(each) / 2
    torch.testing.assert_close(terms["total"], total)
    assert int(objective.steps) == (mode == "train")
    assert torch.equal(objective.labels[0], labels if mode == "train" else torch.full((40, 2), -1))


def test_views_that_do_not_share_label_for_themselves(case):
    graph, schema, views = case
    objective = make(schema, shared=False)
    objective(Given(views), graph)
    p = log_ps(views)
    for at, name in enumerate(VIEWS):
        assert (objective.labels[at, : at + 1] == -1).all()
        for head in range(2):
            assert torch.equal(objective.labels[at, at + 1 :, head], given(p[name][at + 1 :, head]))


@pytest.mark.parametrize("marginals", ["uniform", "zipf", "gaussian"])
def test_clusters_have_the_sizes_that_were_asked_for(marginals):
    graph, schema = fake_graph(600)
    graph["subject"].train_mask[:] = True
    states = torch.randn(600, 4, generator=torch.Generator().manual_seed(0)) + torch.tensor([3.0, 0, 0, 0])
    objective = make(schema, anchors=600, heads=1, marginals=marginals, views=["scan"], rounds=500)
    objective(Given({"scan": Seen(states, torch.ones(600, dtype=torch.bool))}), graph)
    sizes = objective.labels.flatten().bincount(minlength=4) / 600
    torch.testing.assert_close(sizes.sort(descending=True).values, marginal(marginals, 4), atol=0.02, rtol=0)
    if marginals == "zipf":
        assert sizes.argmax() == 0  # the one that the model says most


def test_labels_stay_between_two_labellings(case):
    graph, schema, views = case
    objective = make(schema, every=3)
    seen, other = Given(views), Given({name: Seen(-seen.states, seen.present) for name, seen in views.items()})
    labels = []
    for model in (seen, other, other, other):
        objective(model, graph)
        labels.append(objective.labels.clone())
    assert torch.equal(labels[0], labels[1])
    assert torch.equal(labels[0], labels[2])
    assert not torch.equal(labels[0], labels[3])


def test_batches_are_labelled_together_with_all_that_came_before(case):
    graph, schema, views = case
    whole, parts = make(schema, every=99), make(schema, every=99)
    whole(Given(views), graph)
    for rows in (torch.arange(25, 40), torch.arange(0, 25)):
        batch, _ = fake_graph(len(rows))
        batch["subject"].n_id = rows
        batch["subject"].train_mask[:] = True
        parts(Given({name: Seen(seen.states[rows], seen.present[rows]) for name, seen in views.items()}), batch)
    assert torch.equal(parts.labels, whole.labels)
    torch.testing.assert_close(parts.answers, whole.answers, equal_nan=True)


def test_decorrelated_heads_say_less_of_each_other():
    graph, schema = fake_graph(300)
    graph["subject"].train_mask[:] = True
    generator = torch.Generator().manual_seed(0)
    one, two = (torch.randn(300, 4, generator=generator) for _ in range(2))
    seen = {"scan": Seen(torch.cat([2 * one, 2 * one + two], dim=1), torch.ones(300, dtype=torch.bool))}
    found = []
    for decorrelate in (0.0, 1.0):
        objective = make(schema, anchors=300, views=["scan"], decorrelate=decorrelate)
        objective(Given(seen), graph)
        found.append(objective.labels[0])
    assert torch.equal(found[0][:, 0], found[1][:, 0])
    assert nmi(*found[1].T) < 0.5 * nmi(*found[0].T)
    p = seen["scan"].states[:, 4:].softmax(1).double()
    told = torch.stack([(p[found[1][:, 0] == label].mean(0) / p.mean(0)).log() for label in range(4)])
    scores = p.log() - told[found[1][:, 0]]
    placed = sinkhorn(scores, sharpness=25.0, rounds=50)
    assert torch.equal(found[1][:, 1], placed.argmax(1))


def population():
    """Three groups of anchors, each with its own scan and text."""
    graph, schema = fake_graph(90, classes=("a", "b", "c"))
    generator = torch.Generator().manual_seed(0)
    for name, width in (("scan", 3), ("text", 5)):
        owner = graph[name, "of", "subject"].edge_index[1]
        noise = torch.randn(len(owner), width, generator=generator)
        graph[name].x = 3 * torch.eye(width)[owner % 3] + 0.5 * noise
    graph["subject"].y = torch.arange(90) % 3
    return graph, schema


def fit(folder=None, *, epochs=12, batch_size=None, **options):
    graph, schema = population()
    torch.manual_seed(0)
    spaces = {"clusters": {"scan": nn.Linear(3, 6), "text": nn.Linear(5, 6)}}
    model = Aligner(schema=schema, encoder=Raw(VIEWS), spaces=spaces)
    objective = make(schema, anchors=90, clusters=3, every=5)
    config = mg.FitConfig(
        epochs=epochs, patience=None, checkpoint_every=1, monitor="nmi", learning_rate=0.05, batch_size=batch_size
    )
    task = Clustering(schema, views=VIEWS)
    return mg.fit(model, objective, task, graph, config, folder=folder, **options), objective


def test_groups_are_found_without_a_label():
    fitted, objective = fit(epochs=60)
    scores = fitted.evaluate("test")
    assert scores["nmi"] > 0.9
    assert scores["cluster_accuracy scan"] > 0.95
    train = fitted.graph["subject"].train_mask
    assert (objective.labels[0, ~train] == -1).all()  # nothing is learnt from those that are asked for


class KilledError(Exception):
    pass


@pytest.mark.parametrize("batch_size", [None, 13])
def test_a_fit_killed_and_resumed_equals_one_left_alone(tmp_path, batch_size):
    whole, remembered = fit(tmp_path / "whole", batch_size=batch_size)
    steps = iter(range(999))

    def kill(view, generator):
        if next(steps) == 7:
            raise KilledError
        return view

    with pytest.raises(KilledError):
        fit(tmp_path / "killed", transform=kill, batch_size=batch_size)
    resumed, again = fit(tmp_path / "killed", batch_size=batch_size)
    assert whole.history == resumed.history
    assert int(again.steps) == int(remembered.steps) > 0
    for one, other in ((whole.model, resumed.model), (remembered, again)):
        for name, value in one.state_dict().items():
            torch.testing.assert_close(value, other.state_dict()[name], rtol=0, atol=0, equal_nan=True)


def test_options_and_models_that_can_not_work_are_refused(case):
    graph, schema, views = case
    for options, message in [
        ({"clusters": 1}, "clusters must be at least 2, got 1"),
        ({"heads": 0}, "heads must be at least 1, got 0"),
        ({"every": 0}, "every must be at least 1, got 0"),
        ({"anchors": 0}, "anchors must be at least 1, got 0"),
        ({"rounds": 0}, "rounds must be at least 1, got 0"),
        ({"marginals": "normal"}, "or 'gaussian', got 'normal'"),
        ({"decorrelate": -1}, r"got -1, 25.0 and \['scan', 'text'\]"),
        ({"sharpness": 0}, "got 0.0, 0 and"),
        ({"views": []}, r"25.0 and \[\]"),
    ]:
        with pytest.raises(ConfigError, match=message):
            make(schema, **options)
    with pytest.raises(ConfigError, match="SelfLabel needs a schema with an anchor"):
        make(schema.model_copy(update={"anchor": None}))
    with pytest.raises(ConfigError, match="12 wide, 4 clusters for each of 3 heads, got 8 of view 'scan'"):
        make(schema, heads=3)(Given(views), graph)
    with pytest.raises(ConfigError, match="got 'smell'"):
        make(schema, views=["smell"])(Given(views), graph)
    with pytest.raises(DataError, match="at most the 39 anchors that SelfLabel was told of, got row 39"):
        make(schema, anchors=39)(Given(views), graph)
