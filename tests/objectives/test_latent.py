"""The student guesses, of the masked nodes alone, what the teacher says of them who sees all; the teacher follows."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import mmgraph as mg
from mmgraph.encoders import Raw, Table
from mmgraph.errors import ConfigError, DataError
from mmgraph.fusion import Sum
from mmgraph.layers import GCN, Mean, Stack
from mmgraph.model import Model
from mmgraph.objectives import Latent
from mmgraph.testing import fake_graph

WIDTHS = {"scan": 3, "text": 5}
NEAR = [("subject", "near", "subject")]


def make_model(schema, *, rounds=2, within=None, dropout=0.0, seed=0):
    torch.manual_seed(seed)
    between = Stack(*[Mean(8, 8, relations=NEAR) for _ in range(rounds)], dropout=dropout)
    encoder = Table(WIDTHS, 8)
    return Model(
        schema=schema, encoder=encoder, fusion=Sum(mean=True), within=within, between=between, head=nn.Linear(8, 2)
    )


@pytest.fixture
def case():
    graph, schema = fake_graph()
    return graph, schema, make_model(schema)


def drawn(objective, model, graph, seed=7):
    """The terms, and the nodes that were masked for them."""
    torch.manual_seed(seed)
    terms = objective(model, graph)
    torch.manual_seed(seed)
    return terms, objective.chosen(graph)


def smooth(difference, beta):
    size = abs(difference)
    return 0.5 * size**2 / beta if size < beta else size - 0.5 * beta


@pytest.mark.parametrize("layers", [1, 2])
def test_equals_a_slow_loop(case, layers):
    graph, schema, model = case
    teacher = make_model(schema, seed=1)
    objective = Latent(schema, teacher, 8, layers=layers, beta=0.3).eval()
    with torch.no_grad():
        objective.tokens["[scan]"].normal_()
    terms, chosen = drawn(objective, model, graph)
    seen = graph.clone()
    for name in WIDTHS:
        for row, anchor in graph[name, "of", "subject"].edge_index.T.tolist():
            if chosen[anchor]:
                seen[name].x[row] = objective.tokens[f"[{name}]"].detach()
    guess = objective.predictor(model.embed(seen))
    heads = [teacher.embed(graph)]
    if layers == 2:
        shorter = copy.deepcopy(teacher)
        shorter.between = Stack(teacher.between.layers[0])
        heads.append(shorter.embed(graph))
    errors, targets = [], []
    for row in chosen.nonzero().flatten().tolist():
        states = [(one[row] - one[row].mean()) / (one[row].var(correction=0) + 1e-5).sqrt() for one in heads]
        targets.append(sum(states) / layers)
        errors += [smooth(d, 0.3) for d in (guess[row] - targets[-1]).tolist()]
    assert terms["total"].item() == pytest.approx(sum(errors) / len(errors), rel=1e-4)
    spread = torch.stack(targets).var(dim=0, correction=0).sqrt().mean()
    assert terms["target_std"].item() == pytest.approx(spread.item(), rel=1e-4)


def test_each_channel_is_normalised_over_all_nodes(case):
    graph, schema, model = case
    objective = Latent(schema, make_model(schema, seed=1), 8, norm="instance").eval()
    terms, chosen = drawn(objective, model, graph)
    guess = objective.predictor(model.embed(objective.hidden(graph, chosen)))[chosen]
    target = F.instance_norm(objective.teacher.embed(graph).T[None])[0].T[chosen]  # [masked, channels]
    torch.testing.assert_close(terms["total"], F.smooth_l1_loss(guess, target))


def test_the_teacher_follows_by_its_formula(case):
    graph, schema, model = case
    objective = Latent(schema, make_model(schema, seed=1), 8, decay=(0.5, 0.9), decay_steps=4)
    expected = {}
    for step in range(7):
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(torch.randn_like(weight))
        student = {name: value.clone() for name, value in model.state_dict().items()}
        tau = 0.0 if step == 0 else 0.5 + 0.4 * min(1, step / 4)
        for name, value in student.items():
            expected[name] = value if step == 0 else tau * expected[name] + (1 - tau) * value
        if step:
            assert objective.tau == pytest.approx(tau)
        objective.train()(model, graph)
        assert int(objective.steps) == step + 1
        for name, value in objective.teacher.state_dict().items():
            torch.testing.assert_close(value, expected[name])
            assert torch.equal(model.state_dict()[name], student[name])
    before = copy.deepcopy(objective.teacher.state_dict())
    objective.eval()(model, graph)
    assert all(torch.equal(value, before[name]) for name, value in objective.teacher.state_dict().items())
    assert int(objective.steps) == 7


def test_whole_numbers_are_taken_over(case):
    _, schema, model = case
    model.register_buffer("seen", torch.tensor(3))
    objective = Latent(schema, model, 8)
    for count in (5, 9):
        model.seen.fill_(count)
        objective.follow(model)
        assert int(objective.teacher.seen) == count
    assert int(objective.steps) == 2


def test_the_teacher_sees_all_and_the_student_nothing_of_the_masked(case):
    graph, schema, model = case
    objective = Latent(schema, model, 8).eval()
    _, chosen = drawn(objective, model, graph)
    row, owner = graph["scan", "of", "subject"].edge_index
    hidden = objective.hidden(graph, chosen)
    assert bool((hidden["scan"].x[row[chosen[owner]]] == 0).all())
    assert torch.equal(hidden["scan"].x[row[~chosen[owner]]], graph["scan"].x[row[~chosen[owner]]])
    other = graph.clone()
    other["scan"].x[row[chosen[owner]]] += 1
    student = [objective.states(model, objective.hidden(one, chosen))[-1] for one in (graph, other)]
    assert torch.equal(*student)
    teacher = [objective.states(objective.teacher, one)[-1] for one in (graph, other)]
    assert not torch.equal(teacher[0][chosen], teacher[1][chosen])
    assert bool((graph["scan"].x != hidden["scan"].x).any())


def test_only_masked_nodes_count(case):
    graph, schema, _ = case
    model = make_model(schema, rounds=0)  # states without messages: what others have changes none
    objective = Latent(schema, model, 8).eval()
    terms, chosen = drawn(objective, model, graph)
    row, owner = graph["text", "of", "subject"].edge_index
    for masked, same in ((False, True), (True, False)):
        other = graph.clone()
        other["text"].x[row[chosen[owner] == masked]] += torch.randn(5)
        assert (drawn(objective, model, other)[0]["total"] == terms["total"]) == same


def test_anchors_outside_training_count_only_if_asked_for(case):
    graph, schema, model = case
    train = graph["subject"].train_mask
    for unlabelled in (False, True):
        chosen = Latent(schema, model, 8, mask=1.0, unlabelled=unlabelled).chosen(graph)
        assert torch.equal(chosen, torch.ones_like(train) if unlabelled else train)
    row, owner = graph["scan", "of", "subject"].edge_index
    chosen = Latent(schema, model, 8, node="scan", mask=1.0).chosen(graph)
    assert chosen[row].tolist() == train[owner].tolist()
    del graph["subject"].train_mask
    assert bool(Latent(schema, model, 8, mask=1.0).chosen(graph).all())


def test_the_share_of_the_masked():
    graph, schema = fake_graph(2000)
    chosen = Latent(schema, make_model(schema), 8, mask=0.3, unlabelled=True).chosen(graph)
    assert 0.26 < chosen.float().mean() < 0.34


def test_nodes_of_a_modality_are_predicted_from_messages_within(case):
    graph, schema, _ = case
    layer = GCN(8, 8, relations=[("scan", "next", "scan")])
    model = make_model(schema, within=Stack(layer))
    objective = Latent(schema, model, 8, node="scan").eval()
    terms, chosen = drawn(objective, model, graph)
    assert chosen.shape == (graph["scan"].num_nodes,)
    edges = {("scan", "next", "scan"): mg.layers.edge_sets(graph)["scan", "next", "scan"]}
    hidden = objective.hidden(graph, chosen)
    assert torch.equal(hidden["text"].x, graph["text"].x)
    guess = objective.predictor(layer(model.encoder(hidden), edges)["scan"])[chosen]
    target = F.layer_norm(layer(model.encoder(graph), edges)["scan"], (8,))[chosen]
    torch.testing.assert_close(terms["total"], F.smooth_l1_loss(guess, target))


def test_an_anchors_own_features_are_masked_too():
    graph, schema = fake_graph()
    graph["subject"].x = torch.randn(40, 8)
    nodes = {**schema.nodes, "subject": schema.nodes["subject"].model_copy(update={"channels": 8})}
    schema = schema.model_copy(update={"nodes": nodes})
    model = Model(
        schema=schema, encoder=Raw(["subject"]), between=Stack(Mean(8, 8, relations=NEAR)), head=nn.Identity()
    )
    objective = Latent(schema, model, 8)
    chosen = objective.chosen(graph)
    hidden = objective.hidden(graph, chosen)
    assert set(objective.masked) == {"subject", "scan", "text"}
    assert torch.equal((hidden["subject"].x == 0).all(dim=1), chosen)


@pytest.mark.parametrize("mode", [True, False])
def test_nothing_masked_is_0_with_a_gradient(case, mode):
    graph, schema, model = case
    terms = Latent(schema, model, 8, mask=0.0).train(mode)(model, graph)
    terms["total"].backward()
    assert terms["total"] == terms["target_std"] == 0
    assert all(bool((weight.grad == 0).all()) for weight in model.between.parameters())


def test_the_teacher_has_no_gradient_no_optimizer_and_no_dropout(case):
    graph, schema, _ = case
    model = make_model(schema, dropout=0.5)
    objective = Latent(schema, model, 8).train()
    assert not any(weight.requires_grad for weight in objective.teacher.parameters())
    assert not any(module.training for module in objective.teacher.modules())
    assert objective.predictor.training
    objective(model.train(), graph)["total"].backward()
    assert all(weight.grad is None for weight in objective.teacher.parameters())
    moved = [*model.encoder.parameters(), *model.between.parameters(), *objective.predictor.parameters()]
    assert all(weight.grad is not None for weight in [*moved, *objective.tokens.parameters()])
    assert all(name in objective.state_dict() for name in ("steps", "teacher.head.weight"))


def test_a_model_that_says_the_same_of_all_is_seen(case):
    graph, schema, model = case
    objective = Latent(schema, model, 8).eval()
    assert objective(model, graph)["target_std"] > 0.3
    with torch.no_grad():
        for weight in objective.teacher.between.parameters():
            weight.zero_()
        objective.teacher.between.layers[-1].root["[subject]"].bias.copy_(torch.arange(8.0))
    assert objective(model, graph)["target_std"] < 1e-4


def fit(schema, graph, epochs, folder):
    model = make_model(schema, dropout=0.2)
    task = mg.NodeClassification(schema)
    latent = Latent(schema, make_model(schema, seed=1), 8, unlabelled=True, decay_steps=5)
    both = mg.objectives.Weighted({"labels": mg.Supervised(task.target), "latent": latent})
    config = mg.FitConfig(epochs=epochs, patience=None, checkpoint_every=4)
    return mg.fit(model, both, task, graph, config, folder=folder), latent


def test_a_resumed_fit_equals_one_left_alone(case, tmp_path):
    graph, schema, _ = case
    alone, once = fit(schema, graph, 8, tmp_path / "alone")
    fit(schema, graph, 4, tmp_path / "stopped")
    resumed, again = fit(schema, graph, 8, tmp_path / "stopped")
    assert resumed.history == alone.history
    assert int(once.steps) == int(again.steps) == alone.best_epoch + 1
    for name, value in once.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    assert alone.history[-1]["train_latent"] < alone.history[0]["train_latent"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"node": "sound"}, r"one of \['scan', 'text'\], got 'sound'"),
        ({"mask": 1.1}, "got 1.1"),
        ({"decay": (0.9, 0.8)}, r"got 0.5, \(0.9, 0.8\)"),
        ({"beta": 0.0}, "and 0.0"),
        ({"norm": "batch"}, "got 'batch'"),
        ({"layers": 0}, "got 8, 0 and 100"),
        ({"decay_steps": 0}, "got 8, 1 and 0"),
    ],
)
def test_what_is_out_of_range_is_refused(case, options, message):
    with pytest.raises(ConfigError, match=message):
        Latent(case[1], case[2], 8, **options)


def test_a_schema_without_an_anchor_or_features_is_refused(case):
    _, schema, model = case
    with pytest.raises(ConfigError, match="schema with an anchor, got none"):
        Latent(schema.model_copy(update={"anchor": None}), model, 8)
    nodes = {name: spec.model_copy(update={"channels": None}) for name, spec in schema.nodes.items()}
    with pytest.raises(ConfigError, match=r"features to mask.*got 'subject'"):
        Latent(schema.model_copy(update={"nodes": nodes}), model, 8)


def test_another_model_than_the_teacher_is_refused(case):
    graph, schema, model = case
    with pytest.raises(ConfigError, match="differ in 'between.layers.1"):
        Latent(schema, make_model(schema, rounds=1), 8)(model, graph)
    wide = copy.deepcopy(model)
    wide.head = nn.Linear(8, 3)
    with pytest.raises(ConfigError, match="differ in 'head.weight'"):
        Latent(schema, wide, 8)(model, graph)
    with pytest.raises(ConfigError, match="must have 3 layers that give states of 'subject', got 2"):
        Latent(schema, model, 8, layers=3)(model, graph)
    with pytest.raises(ConfigError, match="must have 1 layers that give states of 'scan', got 0"):
        Latent(schema, model, 8, node="scan")(model, graph)


def test_features_that_cannot_be_masked_are_refused(case):
    graph, schema, model = case
    whole = graph.clone()
    whole["scan"].x = whole["scan"].x.long()
    with pytest.raises(DataError, match=r"'scan' must have 'x' of floats to be masked, got torch.int64"):
        Latent(schema, model, 8)(model, whole)
    del graph["text"].x
    with pytest.raises(DataError, match=r"'text' must have 'x' of floats to be masked, got \[\]"):
        Latent(schema, model, 8)(model, graph)
