"""Whatever is hidden is counted, whatever is lacking is not; and the decoders learn."""

import copy

import pytest
import torch
from torch import nn

import mmgraph as mg
from mmgraph.data import ModalityDropout, drop_modalities
from mmgraph.decoders import Dense
from mmgraph.encoders import Table
from mmgraph.errors import ConfigError, DataError
from mmgraph.fusion import Sum
from mmgraph.model import Model
from mmgraph.objectives import Reconstruct
from mmgraph.testing import fake_graph

WIDTHS = {"scan": 3, "text": 5}


def make_model(schema):
    torch.manual_seed(0)
    return Model(schema=schema, encoder=Table(WIDTHS, 8), fusion=Sum(mean=True), head=nn.Linear(8, 2))


def decoders(**options):
    return {name: Dense(8, (width,), **options) for name, width in WIDTHS.items()}


def everyone(graph, *names):
    return dict.fromkeys(names, torch.ones(graph["subject"].num_nodes, dtype=torch.bool))


@pytest.fixture
def case():
    graph, schema = fake_graph()
    return graph, schema, make_model(schema)


def slow(model, objective, seen, graph, name):
    """The error of one modality, value by value."""
    states, decoder = model.embed(seen), objective.decoder(name)
    errors = []
    for row, anchor in graph[name, "of", "subject"].edge_index.T.tolist():
        if graph["subject"].train_mask[anchor]:
            errors += ((decoder(states[[anchor]])[0] - decoder.scaled(graph[name].x[row])) ** 2).tolist()
    return sum(errors) / len(errors)


def test_equals_a_slow_loop(case):
    graph, schema, model = case
    objective = Reconstruct(schema, decoders(centre=0.5, scale=2.0), weights={"text": 0.3}).eval()
    terms = objective(model, graph)
    scan, text = (slow(model, objective, graph, graph, name) for name in ("scan", "text"))
    assert terms["error_scan"].item() == pytest.approx(scan, rel=1e-5)
    assert terms["error_text"].item() == pytest.approx(text, rel=1e-5)
    assert terms["total"].item() == pytest.approx(scan + 0.3 * text, rel=1e-5)


def test_what_is_hidden_is_not_read_and_still_counts(case):
    graph, schema, model = case
    objective = Reconstruct(schema, decoders(), hide=ModalityDropout(schema, rate={"scan": 1.0}, keep_one=False))
    left = drop_modalities(graph, schema, everyone(graph, "scan"))
    terms = objective(model, graph)
    assert terms["error_scan"].item() == pytest.approx(slow(model, objective, left, graph, "scan"), rel=1e-5)
    assert terms["error_scan"] > 0
    other = graph.clone()
    other["scan"].x = other["scan"].x + 1
    assert torch.equal(objective(model, other)["error_text"], terms["error_text"])
    assert objective(model, other)["error_scan"] != terms["error_scan"]


def test_a_modality_that_nobody_has_never_counts(case):
    graph, schema, model = case
    objective = Reconstruct(schema, decoders())
    without = drop_modalities(graph, schema, everyone(graph, "scan"))
    terms = objective(model, without)
    assert terms["error_scan"] == 0
    assert terms["total"] == terms["error_text"]
    nothing = drop_modalities(graph, schema, everyone(graph, "scan", "text"))
    total = objective(model, nothing)["total"]
    total.backward()
    assert total == 0
    assert all(bool(weight.grad.isfinite().all()) for weight in objective.parameters())


def test_evaluation_hides_nothing_and_draws_nothing(case):
    graph, schema, model = case
    plain = Reconstruct(schema, decoders())
    objective = Reconstruct(schema, decoders(), hide=ModalityDropout(schema, rate=0.9), noise=1.0, mask=0.5)
    objective.load_state_dict(plain.state_dict())
    state = torch.get_rng_state()
    assert torch.equal(objective.eval()(model, graph)["total"], plain(model, graph)["total"])
    assert torch.equal(torch.get_rng_state(), state)
    assert objective.train()(model, graph)["total"] != plain(model, graph)["total"]


def test_noise_and_mask_change_what_is_read_and_not_what_is_asked_for(case):
    graph, schema, _ = case
    before = copy.deepcopy(graph)
    torch.manual_seed(0)
    seen = Reconstruct(schema, decoders(scale=2.0), noise=0.5).corrupted(graph)
    added = torch.cat([(seen[name].x - graph[name].x).flatten() for name in WIDTHS])
    assert 0.85 < added.std() < 1.15  # 0.5 scaled values of 2 each
    seen = Reconstruct(schema, decoders(centre=7.0), mask=0.25).corrupted(graph)
    masked = torch.cat([(seen[name].x == 7).flatten() for name in WIDTHS]).float().mean()
    assert 0.18 < masked < 0.32
    kept = seen["scan"].x != 7
    torch.testing.assert_close(seen["scan"].x[kept], graph["scan"].x[kept], atol=1e-5, rtol=0)
    assert all(torch.equal(graph[name].x, before[name].x) for name in WIDTHS)
    assert torch.equal(seen["scan", "of", "subject"].edge_index, graph["scan", "of", "subject"].edge_index)


def test_pixels_stay_pixels_and_gaps_stay_gaps():
    graph, schema = fake_graph()
    rows = graph["scan"].num_nodes
    graph["scan"].pixels = torch.randint(256, (rows, 1, 4, 4), dtype=torch.uint8)
    graph["text"].mel = torch.randn(graph["text"].num_nodes, 2, 6).half()
    graph["text"].mel[:, :, 4:] = torch.nan
    objective = Reconstruct(
        schema,
        {
            "scan": Dense(8, (1, 4, 4), attribute="pixels", centre=127.5, scale=127.5),
            "text": Dense(8, (2, 6), attribute="mel"),
        },
        noise=2.0,
        mask=0.2,
    )
    seen = objective.corrupted(graph)
    assert seen["scan"].pixels.dtype == torch.uint8
    assert {0, 255} <= set(seen["scan"].pixels.flatten().tolist())
    assert seen["text"].mel.dtype == torch.float16
    assert torch.equal(seen["text"].mel.isnan(), graph["text"].mel.isnan())
    total = objective(make_model(schema), graph)["total"]
    assert total.isfinite()


@pytest.mark.parametrize("constant", [0.0, 5.0])
def test_constant_features_and_one_anchor_without_anything_give_no_nan(constant):
    graph, schema = fake_graph()  # subject 0 has no modality at all
    for name in WIDTHS:
        graph[name].x = torch.full_like(graph[name].x, constant)
    model = make_model(schema)
    objective = Reconstruct(schema, decoders(), hide=ModalityDropout(schema, rate=0.5), noise=0.1, mask=0.1)
    total = objective(model, graph)["total"]
    total.backward()
    assert total.isfinite()
    assert all(bool(w.grad.isfinite().all()) for w in [*objective.parameters(), *model.encoder.parameters()])


def test_an_objectives_own_parameters_are_trained_and_end_at_the_best_epoch(case):
    graph, schema, model = case
    objective = Reconstruct(schema, decoders(), hide=ModalityDropout(schema, rate=0.5))
    before = copy.deepcopy(objective.state_dict())
    task = mg.NodeClassification(schema)
    joint = mg.objectives.Weighted({"labels": mg.Supervised(task.target), "payloads": objective}, {"payloads": 0.5})
    fitted = mg.fit(model, joint, task, graph, mg.FitConfig(epochs=30, patience=None, learning_rate=0.05))
    assert all(not torch.equal(objective.state_dict()[name], value) for name, value in before.items())
    errors = [entry["train_payloads"] for entry in fitted.history]
    assert errors[-1] < 0.8 * errors[0]
    again, once = make_model(schema), Reconstruct(schema, decoders(), hide=ModalityDropout(schema, rate=0.5))
    once.load_state_dict(before)
    joint = mg.objectives.Weighted({"labels": mg.Supervised(task.target), "payloads": once}, {"payloads": 0.5})
    best = fitted.best_epoch
    mg.fit(again, joint, task, graph, mg.FitConfig(epochs=best + 1, patience=None, learning_rate=0.05))
    assert all(torch.equal(once.state_dict()[name], value) for name, value in objective.state_dict().items())


def test_batches_hold_the_anchors_without_a_label_too(case):
    graph, schema, model = case
    graph["subject"].y[graph["subject"].train_mask] = -1
    graph["subject"].y[0] = 0
    task, objective = mg.NodeClassification(schema), Reconstruct(schema, decoders())
    seen = []
    hook = model.encoder.register_forward_pre_hook(lambda _, given: seen.append(given[0]["subject"].train_mask.sum()))
    config = mg.FitConfig(epochs=1, patience=None, batch_size=10)
    mg.fit(model, objective, task, graph, config)
    hook.remove()
    assert sum(map(int, seen)) == int(graph["subject"].train_mask.sum())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decoders": {}}, r"some of \['scan', 'text'\], got \[\]"),
        ({"decoders": {"sound": Dense(8, (3,))}}, r"got \['sound'\]"),
        ({"noise": -0.1}, r"got -0.1, 0.0"),
        ({"mask": 1.1}, r"got 0.0, 1.1"),
        ({"weights": {"sound": 1.0}}, r"weights of \['scan', 'text'\], got .*'sound'"),
        ({"weights": {"scan": -1.0}}, r"'scan': -1.0"),
    ],
)
def test_what_is_out_of_range_is_refused(case, options, message):
    with pytest.raises(ConfigError, match=message):
        Reconstruct(case[1], **{"decoders": decoders(), **options})


def test_a_payload_that_is_not_there_or_of_another_shape_is_refused(case):
    graph, schema, model = case
    with pytest.raises(DataError, match=r"'scan' must have 'pixels' to be decoded, got \['x'\]"):
        Reconstruct(schema, {"scan": Dense(8, (3,), attribute="pixels")})(model, graph)
    with pytest.raises(DataError, match=r"decoder of 'scan' must give its x, \[3\], got \[4\]"):
        Reconstruct(schema, {"scan": Dense(8, (4,))})(model, graph)
