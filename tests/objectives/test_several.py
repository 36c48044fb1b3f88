"""Hard sharing is one model with a head a target; soft sharing goes from models apart to that."""

import copy

import pytest
import torch
from torch import nn

import mmgraph as mg
from mmgraph.decoders import Heads
from mmgraph.encoders import Table
from mmgraph.errors import ConfigError, SchemaError
from mmgraph.fusion import Sum
from mmgraph.model import Model
from mmgraph.objectives import Several, Supervised
from mmgraph.schema import TargetSpec
from mmgraph.testing import fake_graph

WIDTHS = {"scan": 3, "text": 5}


def two_targets():
    """A graph with a second target of three classes, of which every fourth is not known."""
    graph, schema = fake_graph()
    rows = torch.arange(40)
    graph["subject"].site = (rows % 3).where(rows % 4 > 0, -1)
    site = TargetSpec(node="subject", attribute="site", kind="multiclass", classes=("a", "b", "c"))
    return graph, schema.model_copy(update={"targets": {**schema.targets, "site": site}})


def make_model(schema, head):
    return Model(schema=schema, encoder=Table(WIDTHS, 4), fusion=Sum(mean=True), head=head)


def apart(schema):
    torch.manual_seed(0)
    heads = {"diagnosis": nn.Linear(4, 2), "site": nn.Linear(4, 3)}
    return Heads({name: make_model(schema, head) for name, head in heads.items()})


TIE = ("diagnosis", "site")


def test_hard_sharing_is_the_weighted_sum_of_the_losses_of_one_models_heads():
    graph, schema = two_targets()
    torch.manual_seed(0)
    heads = Heads({"diagnosis": nn.Linear(4, 2), "site": nn.Linear(4, 3)})
    model = make_model(schema, heads)
    terms = Several(schema.targets, weights={"site": 0.3})(model, graph)
    states = model.embed(graph)
    for name, target in schema.targets.items():
        alone = Supervised(target)(lambda _, name=name: heads[name](states), graph)["total"]
        torch.testing.assert_close(terms[name], alone)
    torch.testing.assert_close(terms["total"], terms["diagnosis"] + 0.3 * terms["site"])
    terms["total"].backward()
    assert all(bool((weight.grad != 0).any()) for weight in model.parameters())


def test_ties_of_0_leave_every_gradient_as_if_each_were_alone():
    graph, schema = two_targets()
    models, lone = apart(schema), apart(schema)
    Several(schema.targets, ties={TIE: 0.0})(models, graph)["total"].backward()
    for name, target in schema.targets.items():
        Supervised(target)(lone[name], graph)["total"].backward()
    for one, other in zip(models.parameters(), lone.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)


def test_models_that_start_as_one_stay_one_under_a_strong_tie_and_learn_as_hard_sharing_does():
    """Many small steps on a stiff problem, against those of one encoder under both heads."""
    graph, schema = two_targets()
    soft = apart(schema).double()
    soft["site"].encoder.load_state_dict(soft["diagnosis"].encoder.state_dict())
    heads = {name: copy.deepcopy(soft[name].head) for name in schema.targets}
    hard = make_model(schema, Heads(heads)).double()
    hard.encoder.load_state_dict(soft["diagnosis"].encoder.state_dict())
    for name in WIDTHS:
        graph[name].x = graph[name].x.double()
    for model, ties, rates in ((soft, {TIE: 50.0}, (0.004, 0.002)), (hard, {}, (0.002, 0.002))):
        objective = Several(schema.targets, ties=ties)
        for _ in range(300):
            model.zero_grad()
            objective(model, graph)["total"].backward()
            with torch.no_grad():  # the shared step is half of what each model's own gradient asks for
                for name, weight in model.named_parameters():
                    weight -= rates[0 if "encoder" in name else 1] * weight.grad
    for one, other, shared in zip(
        soft["diagnosis"].encoder.parameters(),
        soft["site"].encoder.parameters(),
        hard.encoder.parameters(),
        strict=True,
    ):
        torch.testing.assert_close(one, other, atol=0.02, rtol=0)
        torch.testing.assert_close((one + other) / 2, shared, atol=0.02, rtol=0)


@pytest.mark.parametrize("ties", [(0.0, 0.1), (0.1, 10.0)])
def test_a_stronger_tie_brings_models_nearer(ties):
    graph, schema = two_targets()
    gaps = []
    for strength in ties:
        models, objective = apart(schema), Several(schema.targets, ties={TIE: strength})
        optimizer = torch.optim.Adam(models.parameters(), 0.01)
        for _ in range(60):
            optimizer.zero_grad()
            objective(models, graph)["total"].backward()
            optimizer.step()
        pairs = zip(models["diagnosis"].encoder.parameters(), models["site"].encoder.parameters(), strict=True)
        gaps.append(sum(float((one - other).detach().square().sum()) for one, other in pairs))
    assert gaps[1] < 0.7 * gaps[0]


@pytest.mark.parametrize("batch_size", [None, 8])
def test_one_fit_answers_for_each_target(batch_size):
    graph, schema = two_targets()
    torch.manual_seed(0)
    model = make_model(schema, Heads({"diagnosis": nn.Linear(4, 2), "site": nn.Linear(4, 3)}))
    task = mg.NodeClassification(schema, "diagnosis", beside=["site"])
    config = mg.FitConfig(epochs=3, patience=None, batch_size=batch_size)
    fitted = mg.fit(model, Several(schema.targets), task, graph, config)
    assert fitted.predict("test").shape == (8, 2)
    assert all(entry["train_site"] > 0 for entry in fitted.history)
    other = mg.NodeClassification(schema, "site")
    answers = other.answers(model(other.view(graph, "test")), other.view(graph, "test"), "test")
    assert 0 <= other.evaluate(answers, graph)["accuracy"] <= 1


def test_only_labels_of_training_are_beside_a_target():
    graph, schema = two_targets()
    train = graph["subject"].train_mask
    for part in ("train", "val", "test"):
        view = mg.NodeClassification(schema, "diagnosis", beside=["site"]).view(graph, part)
        assert torch.equal(view["subject"].site, graph["subject"].site.where(train, -1))
    assert "site" not in mg.NodeClassification(schema, "diagnosis").view(graph, "train")["subject"]
    other = TargetSpec(node="scan", kind="binary", classes=("a", "b"))
    schema = schema.model_copy(update={"targets": {**schema.targets, "sharp": other}})
    with pytest.raises(SchemaError, match=r"beside 'diagnosis' must be of 'subject' as it is, got \['sharp'\]"):
        mg.NodeClassification(schema, "diagnosis", beside=["sharp"])


def test_one_class_in_a_batch_and_no_label_at_all_give_no_nan():
    graph, schema = two_targets()
    graph["subject"].y = torch.zeros(40, dtype=torch.long)
    models, objective = apart(schema), Several(schema.targets, ties={TIE: 1.0})
    assert objective(models, graph)["total"].isfinite()
    graph["subject"].y[:], graph["subject"].site[:] = -1, -1
    terms = objective(models, graph)
    terms["total"].backward()
    assert terms["total"] == terms["ties"] == 0
    assert all(bool((weight.grad == 0).all()) for weight in models.parameters() if weight.grad is not None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ties": {("diagnosis", "diagnosis"): 1.0}}, r"each between two of \['diagnosis', 'site'\]"),
        ({"ties": {("diagnosis", "age"): 1.0}}, r"got {\('diagnosis', 'age'\): 1.0}"),
        ({"ties": {TIE: -1.0}}, r"ties must be at least 0, .*-1.0"),
        ({"weights": {"age": 1.0}}, r"some of \['diagnosis', 'site'\], got {'age': 1.0}"),
    ],
)
def test_what_is_out_of_range_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Several(two_targets()[1].targets, **options)


def test_a_model_that_does_not_answer_by_target_or_has_nothing_to_tie_is_refused():
    graph, schema = two_targets()
    with pytest.raises(ConfigError, match=r"each of \['diagnosis', 'site'\], got Tensor"):
        Several(schema.targets)(make_model(schema, nn.Linear(4, 2)), graph)
    with pytest.raises(ConfigError, match=r"got \['site'\]; give it Heads"):
        Several(schema.targets)(make_model(schema, Heads({"site": nn.Linear(4, 3)})), graph)
    models = apart(schema)
    models["site"].encoder = Table(WIDTHS, 8)
    models["site"].head = nn.Linear(8, 3)
    with pytest.raises(ConfigError, match="got none in 'diagnosis' and 'site'"):
        Several(schema.targets, ties={TIE: 1.0})(models, graph)
    hard = make_model(schema, Heads({"diagnosis": nn.Linear(4, 2), "site": nn.Linear(4, 3)}))
    with pytest.raises(ConfigError, match="ties need Heads of models, a model a target, got a Model"):
        Several(schema.targets, ties={TIE: 1.0})(hard, graph)
