"""Every option against one slow loop over anchors, and CLIP on a true aligner."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmgraph.aligner import Aligner
from mmgraph.data import drop_modalities
from mmgraph.encoders import Table
from mmgraph.errors import ConfigError, DataError
from mmgraph.objectives import Contrast, Weighted
from mmgraph.testing import fake_graph

NEAR = ("subject", "near", "subject")
WIDTHS = {"scan": 3, "text": 5}


class Views(nn.Module):
    """Vectors of their own for each view of each anchor; some are missing."""

    def __init__(self, anchors=40, names=("scan", "text"), spaces=("joint",)):
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.states = nn.ParameterDict(
            {
                f"{space} {name}": torch.randn(anchors, 4, generator=generator, dtype=torch.float64)
                for space in spaces
                for name in names
            }
        )
        self.present = {name: torch.rand(anchors, generator=generator) < 0.8 for name in names}
        self.names, self.spaces = names, spaces

    def project(self, graph):
        return {
            space: {
                name: (self.states[f"{space} {name}"] * self.present[name][:, None], self.present[name])
                for name in self.names
            }
            for space in self.spaces
        }


def tied_by(graph, what):
    if what is None:
        return lambda i, j: False
    if what == "diagnosis":
        y = graph["subject"].y.tolist()
        return lambda i, j: y[i] == y[j] >= 0
    edges = set(map(tuple, graph[NEAR].edge_index.T.tolist()))
    return lambda i, j: (i, j) in edges or (j, i) in edges


def one_way(x, y, asking, there, positive, weight, tau, inside, loss):
    losses = []
    for i in asking:
        right = [j for j in there if positive(i, j)]
        if not right:
            continue
        cosine = {j: float(F.cosine_similarity(x[i], y[j], dim=0)) for j in there}
        if loss == "sigmoid":
            signs = {j: 1 if j in right else -1 for j in there if j in right or weight(i, j)}
            losses.append(sum(math.log1p(math.exp(-z * (cosine[j] / tau - 10))) for j, z in signs.items()))
            continue
        grown = {j: math.exp(cosine[j] / tau) for j in there}
        below = sum(grown[j] * (1 if j in right else weight(i, j)) for j in there)
        shares = [grown[j] / below for j in right]
        losses.append(-math.log(sum(shares)) if inside else -sum(map(math.log, shares)) / len(right))
    return sum(losses) / len(losses)


def slow(model, graph, a, b, *, positives=None, ignore=None, hard=None, easy=0.0, tau=0.1, inside=True, loss="nce"):
    counts = graph["subject"].train_mask
    x, y = (model.states[f"joint {name}"].detach() for name in (a, b))
    here, there = ((model.present[name] & counts).nonzero().flatten().tolist() for name in (a, b))
    tied, ignored, near = (tied_by(graph, what) for what in (positives, ignore, hard))

    def positive(i, j):
        return i != j and tied(i, j) if a == b else i == j or tied(i, j)

    def weight(i, j):
        if (a == b and i == j) or ignored(i, j):
            return 0
        return 1 if hard is None or near(i, j) else easy

    ways = [one_way(x, y, here, there, positive, weight, tau, inside, loss)]
    if a != b:
        ways.append(one_way(y, x, there, here, positive, weight, tau, inside, loss))
    return sum(ways) / len(ways)


OPTIONS = {
    "CLIP": {},
    "temperature": {"temperature": 0.5},
    "MIL-NCE": {"positives": NEAR},
    "supervised": {"positives": "diagnosis", "inside": False},
    "false negatives": {"ignore": [NEAR]},
    "false negatives of a class": {"ignore": "diagnosis"},
    "positives that are ignored too": {"positives": NEAR, "ignore": ["diagnosis"]},
    "hard": {"hard": NEAR},
    "hard and ignored": {"hard": NEAR, "ignore": "diagnosis", "temperature": 0.3},
    "hard, several positives": {"hard": NEAR, "positives": "diagnosis", "inside": False},
    "hard and easy": {"hard": NEAR, "easy": 0.2, "ignore": "diagnosis"},
    "SigLIP": {"loss": "sigmoid"},
    "SigLIP of several": {"loss": "sigmoid", "positives": NEAR, "ignore": "diagnosis"},
    "neighbours alike": {"pairs": [("scan", "scan")], "positives": NEAR},
    "neighbours alike, hard": {"pairs": [("text", "text")], "positives": "diagnosis", "hard": NEAR},
    "supervised, one view": {"pairs": [("text", "text")], "positives": "diagnosis", "inside": False},
    "neighbours alike, sigmoid": {"pairs": [("scan", "scan")], "positives": NEAR, "loss": "sigmoid"},
    "turned": {"pairs": [("text", "scan")], "hard": NEAR, "easy": 0.5},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_equals_a_slow_loop(options):
    graph, schema = fake_graph()
    model, objective = Views(), Contrast(schema, **options)
    terms = objective(model, graph)
    a, b = options.get("pairs", [("scan", "text")])[0]
    known = {name: value for name, value in options.items() if name not in ("pairs", "temperature")}
    known |= {"ignore": known["ignore"][0]} if isinstance(known.get("ignore"), list) else {}
    expected = slow(model, graph, a, b, tau=options.get("temperature", 0.1), **known)
    assert terms[f"{a}_{b}"].item() == pytest.approx(expected, rel=1e-6)
    assert terms["total"] == terms[f"{a}_{b}"]
    terms["total"].backward()
    for name in {a, b}:
        grad = model.states[f"joint {name}"].grad
        out = ~(model.present[name] & graph["subject"].train_mask)
        assert bool(grad.isfinite().all())
        assert grad[out].abs().sum() == 0
        assert grad[~out].abs().sum() > 0


def test_on_an_aligner_it_is_the_cross_entropy_of_clip():
    graph, schema = fake_graph()
    torch.manual_seed(0)
    spaces = {"joint": {name: nn.Linear(6, 4) for name in WIDTHS}}
    model = Aligner(schema=schema, encoder=Table(WIDTHS, 6), spaces=spaces)
    del graph["subject"].train_mask
    vectors = model(graph)
    both = ~vectors["scan"].isnan().any(dim=1) & ~vectors["text"].isnan().any(dim=1)
    only = {}
    for name in WIDTHS:  # anchors with one view alone would be candidates of the others
        only[name] = ~both
    graph = drop_modalities(graph, schema, only)
    logits = vectors["scan"][both] @ vectors["text"][both].T / 0.07
    place = torch.arange(int(both.sum()))
    expected = (F.cross_entropy(logits, place) + F.cross_entropy(logits.T, place)) / 2
    terms = Contrast(schema, temperature=0.07)(model, graph)
    torch.testing.assert_close(terms["total"], expected, rtol=1e-5, atol=1e-5)


def test_pairs_spaces_and_weights():
    graph, schema = fake_graph()
    model = Views(names=("scan", "text", "sound"), spaces=("fine", "coarse"))
    each = {
        (space, pair): Contrast(schema, pairs=[pair], space=space)(model, graph)["total"]
        for space in ("fine", "coarse")
        for pair in (("scan", "text"), ("scan", "sound"), ("text", "sound"))
    }
    terms = Contrast(schema)(model, graph)
    assert list(terms) == ["total", "scan_text", "scan_sound", "text_sound"]
    torch.testing.assert_close(terms["total"], sum(each["coarse", pair] for _, pair in list(each)[3:]))
    weights = {("scan", "text"): 0.25, ("text", "sound"): 0.0}
    total = Contrast(schema, weights=weights, space="fine")(model, graph)["total"]
    torch.testing.assert_close(total, 0.25 * each["fine", ("scan", "text")] + each["fine", ("scan", "sound")])
    spaces = {("scan", "text"): "fine", ("scan", "sound"): "coarse"}
    mixed = Contrast(schema, pairs=list(spaces), space=spaces)(model, graph)
    torch.testing.assert_close(mixed["scan_text"], each["fine", ("scan", "text")])
    torch.testing.assert_close(mixed["scan_sound"], each["coarse", ("scan", "sound")])
    two = {name: Contrast(schema, pairs=[pair], space=space) for pair, space in spaces.items() for name in (space,)}
    torch.testing.assert_close(Weighted(two)(model, graph)["total"], mixed["total"])


def test_the_temperature_is_learned_and_bounded():
    graph, schema = fake_graph()
    model = Views()
    assert not list(Contrast(schema, learned=False).parameters())
    assert all(not p.requires_grad for p in Contrast(schema, learned=False, loss="sigmoid").parameters())
    objective = Contrast(schema, temperature=0.02)
    optimizer = torch.optim.SGD(objective.parameters(), lr=1.0)
    same = {name: (model.states["joint scan"].detach(), torch.ones(40, dtype=torch.bool)) for name in ("scan", "text")}
    perfect = nn.Module()
    perfect.project = lambda graph: {"joint": same}
    for _ in range(200):
        optimizer.zero_grad()
        objective(perfect, graph)["total"].backward()
        objective.scale.log.grad.mul_(1e6)
        optimizer.step()
    assert objective.scale().item() == pytest.approx(100)
    before = objective.scale.log.item()
    objective.zero_grad()
    objective(model, graph)["total"].backward()  # of views that do not agree, the scale falls again
    assert objective.scale.log.grad > 0
    assert objective.scale.log.item() == before
    sigmoid = Contrast(schema, loss="sigmoid")
    sigmoid(model, graph)["total"].backward()
    assert sigmoid.bias.item() == -10
    assert sigmoid.bias.grad.abs() > 0
    assert sigmoid.scale.log.grad.abs() > 0


def test_an_aligner_learns_to_find_the_other_view():
    graph, schema = fake_graph(80, signal=6.0)
    torch.manual_seed(0)
    spaces = {"joint": {name: nn.Linear(8, 8) for name in WIDTHS}}
    model = Aligner(schema=schema, encoder=Table(WIDTHS, 8), spaces=spaces)
    objective = Contrast(schema)
    optimizer = torch.optim.Adam([*model.parameters(), *objective.parameters()], lr=0.02)
    first = objective(model, graph)["total"].item()
    for _ in range(60):
        optimizer.zero_grad()
        total = objective(model, graph)["total"]
        total.backward()
        optimizer.step()
    assert total.item() < 0.6 * first


@pytest.mark.parametrize("options", [{}, {"hard": NEAR}, {"hard": NEAR, "easy": 0.5}, {"loss": "sigmoid"}])
def test_nothing_to_learn_from_is_nothing(options):
    graph, schema = fake_graph()
    for gone in (("scan",), ("scan", "text")):
        model = Views()
        for name in gone:
            model.present[name][:] = False
        total = Contrast(schema, **options)(model, graph)["total"]
        total.backward()
        assert total == 0
        assert all(states.grad.abs().sum() == 0 for states in model.states.values())


def test_what_does_not_fit_is_refused():
    graph, schema = fake_graph()
    for options, message in (
        ({"loss": "hinge"}, "loss must be 'nce' or 'sigmoid', .*, got 'hinge'"),
        ({"easy": 2.0}, "easy from 0 to 1, got 'nce', hard=None and 2.0"),
        ({"hard": NEAR, "loss": "sigmoid"}, "the latter without hard negatives"),
        ({"pairs": [("scan", "scan")]}, r"other positives than itself, got \('scan', 'scan'\)"),
        ({"weights": {("scan", "text"): -1.0}}, "weights must be at least 0, got .*-1.0"),
        ({"temperature": 0.0}, "temperature must be above 0, and at least 0.01 if learned, got 0.0"),
        ({"temperature": 0.001}, "got 0.001"),
        ({"positives": "age"}, r"one of the targets \['diagnosis'\], got 'age'"),
        ({"hard": ("scan", "of", "subject")}, r"one of the relations .*'near'.*, got \('scan', 'of', 'subject'\)"),
    ):
        with pytest.raises(ConfigError, match=message):
            Contrast(schema, **options)
    with pytest.raises(ConfigError, match="Contrast needs a schema with an anchor, got none"):
        Contrast(schema.model_copy(update={"anchor": None}))
    with pytest.raises(ConfigError, match=r"space must be one of the model's, \['joint'\], got 'fine'"):
        Contrast(schema, space="fine")(Views(), graph)
    with pytest.raises(ConfigError, match=r"views of the space, \['scan', 'text'\], got \('scan', 'sound'\)"):
        Contrast(schema, pairs=[("scan", "sound")])(Views(), graph)
    with pytest.raises(ConfigError, match=r"pairs of views, and weights of them, got \(\)"):
        Contrast(schema)(Views(names=("scan",)), graph)
    with pytest.raises(ConfigError, match=r"got \(\('scan', 'text'\),\) and {\('text', 'scan'\): 2.0}"):
        Contrast(schema, weights={("text", "scan"): 2.0})(Views(), graph)
    del graph["subject"].y
    with pytest.raises(DataError, match="must have the labels 'y' of 'diagnosis' on 'subject', got"):
        Contrast(schema, positives="diagnosis")(Views(), graph)
