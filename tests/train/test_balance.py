"""What each modality learns: measured without a trace, and slowed down by the factor that the paper gives."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import mmgraph as mg
from mmgraph.data import drop_modalities
from mmgraph.decoders import Dense
from mmgraph.encoders import Raw, Table
from mmgraph.errors import ConfigError
from mmgraph.fusion import Concat, Sum
from mmgraph.layers import Smooth
from mmgraph.model import Model
from mmgraph.objectives import Reconstruct, Weighted
from mmgraph.testing import fake_graph
from mmgraph.train.balance import Balance, alone, encoder_weights, starved

WIDTHS = {"scan": 3, "text": 5}
KEYS = {f"{what}_{name}" for what in ("alone", "gradient") for name in WIDTHS}


def make_model(schema, dropout=0.3):
    torch.manual_seed(0)
    return Model(
        schema=schema,
        encoder=Table(WIDTHS, 4, dropout=dropout),
        fusion=Concat(dict.fromkeys(WIDTHS, 4), 8),
        between=Smooth(relations=[("subject", "near", "subject")]),
        head=nn.Linear(8, 2),
    )


@pytest.fixture
def case():
    graph, schema = fake_graph()
    return graph, schema, mg.NodeClassification(schema)


def train(case, **options):
    graph, schema, task = case
    config = mg.FitConfig(**{"epochs": 6, "patience": None, **options})
    return mg.fit(make_model(schema), mg.Supervised(task.target), task, graph, config)


def test_alone_is_the_probability_of_the_true_class_where_the_others_are_taken_away(case):
    graph, schema, task = case
    model, view = make_model(schema).train(), task.view(graph, "train")
    model.head.eval()
    found = alone(model, task, schema, view)
    assert model.training
    assert model.encoder.training
    assert not model.head.training
    model.eval()
    for name, other in (("scan", "text"), ("text", "scan")):
        left = drop_modalities(view, schema, {other: torch.ones(40, dtype=torch.bool)})
        probabilities, y = model(left).softmax(dim=1), view["subject"].y.tolist()
        has = set(view[name, "of", "subject"].edge_index[1].tolist())
        chosen = [probabilities[row, y[row]].item() for row in range(40) if y[row] >= 0 and row in has]
        assert found[name] == pytest.approx(sum(chosen) / len(chosen), rel=1e-5)


def test_a_modality_that_no_labelled_anchor_has_is_left_out(case):
    graph, schema, task = case
    graph = drop_modalities(graph, schema, {"scan": torch.ones(40, dtype=torch.bool)})
    assert set(alone(make_model(schema), task, schema, task.view(graph, "train"))) == {"text"}
    fitted = train((graph, schema, task), balance=0.5, epochs=2)
    assert fitted.history[0]["gradient_scan"] == 0
    assert "alone_scan" not in fitted.history[0]


@pytest.mark.parametrize("batch_size", [None, 8])
@pytest.mark.filterwarnings("ignore:.*may starve")
def test_measuring_changes_no_weight_and_is_in_the_history(case, batch_size):
    options = {"batch_size": batch_size, "hops": 10}
    plain, measured = train(case, **options), train(case, balance=0.0, **options)
    for one, other in zip(plain.model.parameters(), measured.model.parameters(), strict=True):
        assert torch.equal(one, other)
    for before, entry in zip(plain.history, measured.history, strict=True):
        assert set(entry) - set(before) == KEYS
        assert all(entry[key] == before[key] for key in before)
        assert all(0 < entry[key] < 1 for key in KEYS if key.startswith("alone"))


def test_the_norm_is_that_of_the_encoders_gradient(case):
    graph, schema, task = case
    fitted = train(case, balance=0.0, epochs=1)
    model, view = make_model(schema, dropout=0.0), task.view(graph, "train")
    plain = mg.fit(model, mg.Supervised(task.target), task, graph, mg.FitConfig(epochs=1, balance=0.0))
    model = make_model(schema, dropout=0.0)
    mg.Supervised(task.target)(model, view)["total"].backward()
    for name in WIDTHS:
        squares = sum(float(weight.grad.square().sum()) for weight in encoder_weights(model, name))
        assert plain.history[0][f"gradient_{name}"] == pytest.approx(math.sqrt(squares), rel=1e-4)
    assert fitted.history[0]["gradient_scan"] != plain.history[0]["gradient_scan"]


def test_the_step_of_the_one_that_leads_is_shortened_and_no_other(case):
    graph, schema, task = case
    start = make_model(schema, dropout=0.0)
    ends = {}
    for alpha in (0.0, 0.8):
        model = make_model(schema, dropout=0.0)
        config = mg.FitConfig(epochs=1, balance=alpha)
        fitted = mg.fit(model, mg.Supervised(task.target), task, graph, config)
        ends[alpha] = model, fitted.history[0]
    (whole, _), (short, history) = ends[0.0], ends[0.8]
    scores = {name: history[f"alone_{name}"] for name in WIDTHS}
    leader, other = sorted(scores, key=scores.get, reverse=True)
    k = 1 - math.tanh(0.8 * scores[leader] / scores[other])
    assert history[f"step_{leader}"] == pytest.approx(k, rel=1e-5)
    assert history[f"step_{other}"] == 1
    for name, factor in ((leader, k), (other, 1.0)):
        for old, full, now in zip(*(encoder_weights(m, name) for m in (start, whole, short)), strict=True):
            torch.testing.assert_close(now - old, factor * (full - old), atol=1e-7, rtol=1e-4)
    assert torch.equal(short.head.weight, whole.head.weight)


def test_one_modality_that_starves_the_other_is_named():
    graph, schema = fake_graph(60)
    task = mg.NodeClassification(schema)
    y = graph["subject"].y.clamp_min(0)
    owner = graph["scan", "of", "subject"].edge_index[1]
    graph["scan"].x = torch.nn.functional.one_hot(y[owner], 3).float() * 9  # says all
    graph["text"].x = torch.zeros_like(graph["text"].x)  # says nothing
    model = Model(schema=schema, encoder=Table(WIDTHS, 4), fusion=Sum(), head=nn.Linear(4, 2, bias=False))
    with torch.no_grad():
        for name in WIDTHS:
            encoder_weights(model, name)[1].zero_()
    config = mg.FitConfig(epochs=40, balance=0.0, patience=None)
    fitted = mg.fit(model, mg.Supervised(task.target), task, graph, config)  # 1.0 against 0.5 is a ratio below 2
    entry = dict(fitted.history[-1])
    assert entry["alone_scan"] / entry["alone_text"] > 1.8
    assert starved(entry) == ""
    said = starved(entry | {"alone_scan": 0.9, "alone_text": 0.3})
    assert said.startswith(
        "'scan' may starve the other modalities: alone it gives the true class a probability of 0.900"
    )
    assert "3.0 times that of the others, {'text': 0.3}" in said


def test_fit_warns(case, monkeypatch):
    monkeypatch.setattr("mmgraph.train.balance.STARVES", 0.1)
    with pytest.warns(UserWarning, match=r"may starve the other modalities: .* from 0\.1 times on"):
        train(case, balance=0.0, epochs=1)


def test_without_classes_gradients_alone_are_measured(case):
    _, schema, task = case
    regression = SimpleNamespace(target=task.target.model_copy(update={"kind": "regression", "classes": ()}))
    regression.schema = schema
    assert Balance(regression, 0.0).alpha == 0
    with pytest.raises(ConfigError, match="0 for a regression, got 0.5; 0 measures alone"):
        Balance(regression, 0.5)


def test_a_task_with_one_modality_is_refused(case):
    _, schema = fake_graph(widths={"scan": 3})
    with pytest.raises(ConfigError, match=r"2 modalities or more, got \['scan'\]"):
        Balance(mg.NodeClassification(schema), 0.0)


def test_a_negative_strength_is_refused():
    with pytest.raises(ConfigError, match="balance must be at least 0, or None, got -0.5"):
        mg.FitConfig(balance=-0.5)


def test_an_encoder_without_weights_has_none(case):
    assert encoder_weights(Model(schema=case[1], encoder=Raw(WIDTHS), fusion=Sum(), head=nn.Identity()), "scan") == []


class KilledError(Exception):
    pass


def start(folder, epochs, killed_after=None):
    """A fit with chance in every part: dropout, hidden modalities, noise, batches; ended in the middle of an epoch."""
    graph, schema = fake_graph()
    torch.manual_seed(0)
    model = Model(schema=schema, encoder=Table(WIDTHS, 4, dropout=0.3), fusion=Sum(mean=True), head=nn.Linear(4, 2))
    task = mg.NodeClassification(schema)
    decoders = {name: Dense(4, (width,)) for name, width in WIDTHS.items()}
    hide = mg.ModalityDropout(schema, rate=0.5)
    payloads = Reconstruct(schema, decoders, hide=hide, noise=0.1, mask=0.1)
    objective = Weighted({"labels": mg.Supervised(task.target), "payloads": payloads})
    steps = iter(range(10_000))

    def transform(view, generator):
        if next(steps) == killed_after:
            raise KilledError
        return view

    config = mg.FitConfig(epochs=epochs, patience=None, checkpoint_every=1, batch_size=9, balance=0.5)
    fitted = mg.fit(model, objective, task, graph, config, transform=transform, folder=folder)
    return fitted.model.state_dict(), objective.state_dict(), fitted.history


@pytest.mark.filterwarnings("ignore:.*may starve")
def test_a_kill_changes_no_bit_of_model_decoders_or_history(tmp_path):
    whole = start(tmp_path / "whole", 6)
    with pytest.raises(KilledError):
        start(tmp_path / "killed", 6, killed_after=10)
    resumed = start(tmp_path / "killed", 6)
    for one, other in zip(whole[:2], resumed[:2], strict=True):
        assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert len(whole[2]) == 6
    assert whole[2] == resumed[2]
