"""Versions of a graph: each objective against its formula in a slow loop, and the identities between them."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmgraph.data import FeatureNoise
from mmgraph.errors import ConfigError
from mmgraph.objectives import GDT, CoCLR, Contrast, TwoViews
from mmgraph.testing import fake_graph

NEAR = ("subject", "near", "subject")


class Views(nn.Module):
    """What an anchor carries, seen through a matrix for each view; the last eight anchors lack the first view."""

    def __init__(self, *names):
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.weights = nn.ParameterDict(
            {name: torch.randn(6, 4, generator=generator, dtype=torch.float64) for name in names}
        )
        self.asked = 0

    def project(self, graph):
        self.asked += 1
        x = graph["subject"].payload
        found = {}
        for place, (name, weight) in enumerate(self.weights.items()):
            present = (torch.arange(40) < 32) if place == 0 else torch.ones(40, dtype=torch.bool)
            found[name] = (x @ weight * present[:, None], present)
        return {"joint": found}


@pytest.fixture
def case():
    graph, schema = fake_graph()
    graph["subject"].payload = torch.randn(40, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return graph, schema


def moved(by):
    def change(graph, generator):
        graph = graph.clone()
        payload = graph["subject"].payload
        graph["subject"].payload = payload + by * torch.randn(payload.shape, generator=generator, dtype=payload.dtype)
        return graph

    return change


def flipped(graph, generator):
    graph = graph.clone()
    graph["subject"].payload = graph["subject"].payload.flip(1)
    return graph


def rows_of(graph, model, view):
    return (model.project(graph)["joint"][view][1] & graph["subject"].train_mask).nonzero().flatten().tolist()


def cosines(model, graph, view):
    return F.normalize(model.project(graph)["joint"][view][0].detach(), dim=1)


def versions_of(graph, change):
    """The two versions that evaluation reads."""
    generator = torch.Generator().manual_seed(0)
    return [change(graph, generator), change(graph, generator)]


def slow(table, positive, candidate, tau, inside=True):
    """The loss over rows (anchor, ..., vector)."""
    losses = []
    for i, one in enumerate(table):
        below = sum(math.exp(float(one[-1] @ o[-1]) / tau) for j, o in enumerate(table) if j != i and candidate(one, o))
        shares = [
            math.exp(float(one[-1] @ o[-1]) / tau) / below for j, o in enumerate(table) if j != i and positive(one, o)
        ]
        if shares:
            losses.append(-math.log(sum(shares)) if inside else -sum(map(math.log, shares)) / len(shares))
    return sum(losses) / len(losses)


def always(one, other):
    return True


def same_anchor(one, other):
    return one[0] == other[0]


@pytest.mark.parametrize("tau", [0.1, 0.5])
def test_two_views_are_the_nt_xent_loop(case, tau):
    graph, schema = case
    model, change = Views("scan", "text"), moved(0.3)
    terms = TwoViews(schema, change, temperature=tau).eval()(model, graph)
    for view in ("scan", "text"):
        table = [
            (row, cosines(model, one, view)[row])
            for one in versions_of(graph, change)
            for row in rows_of(graph, model, view)
        ]
        assert terms[view].item() == pytest.approx(slow(table, same_anchor, always, tau), rel=1e-6)
    torch.testing.assert_close(terms["total"], terms["scan"] + terms["text"])


def test_two_views_with_a_target_are_supervised_contrastive(case):
    graph, schema = case
    model, change, y = Views("scan"), moved(0.3), graph["subject"].y
    objective = TwoViews(schema, change, positives="diagnosis", inside=False).eval()
    table = [
        (row, cosines(model, one, "scan")[row])
        for one in versions_of(graph, change)
        for row in rows_of(graph, model, "scan")
    ]
    expected = slow(table, lambda a, b: a[0] == b[0] or y[a[0]] == y[b[0]] >= 0, always, 0.1, inside=False)
    assert objective(model, graph)["total"].item() == pytest.approx(expected, rel=1e-6)
    edges = set(map(tuple, graph[NEAR].edge_index.T.tolist()))
    expected = slow(table, lambda a, b: a[0] == b[0] or (a[0], b[0]) in edges or (b[0], a[0]) in edges, always, 0.1)
    found = TwoViews(schema, change, positives=NEAR).eval()(model, graph)["total"]
    assert found.item() == pytest.approx(expected, rel=1e-6)


def nearest_in(states, rows, k):
    """Each row's nearest, by a loop."""
    found = {}
    for i in rows:
        others = sorted((j for j in rows if j != i), key=lambda j: -float(states[i] @ states[j]))
        found[i] = {j for j in others[:k] if states[i] @ states[j] > 0}
    return found


@pytest.mark.parametrize("k", [0, 1, 3])
def test_coclr_takes_neighbours_in_the_other_view(case, k):
    graph, schema = case
    model, change = Views("scan", "text"), moved(0.2)
    terms = CoCLR(schema, change, k=k).eval()(model, graph)
    versions = versions_of(graph, change)
    for view, other in (("scan", "text"), ("text", "scan")):
        rows = rows_of(graph, model, view)
        states = torch.cat([cosines(model, one, other) for one in versions], dim=1)  # the mean of the two cosines
        near = nearest_in(states / states.norm(dim=1, keepdim=True).clamp_min(1e-9), rows, k)
        table = [(row, cosines(model, one, view)[row]) for one in versions for row in rows]
        expected = slow(table, lambda a, b, near=near: a[0] == b[0] or b[0] in near[a[0]], always, 0.1)
        assert terms[view].item() == pytest.approx(expected, rel=1e-6)
    torch.testing.assert_close(terms["total"], terms["scan"] + terms["text"])


@pytest.mark.parametrize("k", [0, 3])
def test_neighbours_are_judged_by_a_target_and_nothing_is_learned_from_it(case, k):
    graph, schema = case
    model, change, y = Views("scan", "text"), moved(0.2), graph["subject"].y
    terms = CoCLR(schema, change, k=k, judge="diagnosis").eval()(model, graph)
    versions = versions_of(graph, change)
    for view, other in (("scan", "text"), ("text", "scan")):
        rows = rows_of(graph, model, view)
        states = torch.cat([cosines(model, one, other) for one in versions], dim=1)
        near = nearest_in(states / states.norm(dim=1, keepdim=True).clamp_min(1e-9), rows, k)
        right = [bool(y[i] == y[j] >= 0) for i in rows for j in near[i]]
        assert terms[f"precision_{view}"].item() == pytest.approx(sum(right) / max(len(right), 1), rel=1e-6)
        assert not terms[f"precision_{view}"].requires_grad
    torch.testing.assert_close(terms["total"], terms["scan"] + terms["text"])


def test_coclr_without_neighbours_is_two_views(case):
    graph, schema = case
    model, change = Views("scan", "text"), moved(0.2)
    expected = TwoViews(schema, change).eval()(model, graph)
    assert CoCLR(schema, change, k=0).eval()(model, graph) == expected
    warm = CoCLR(schema, change, k=5, warm_up=1)
    torch.manual_seed(0)
    first = warm(model, graph)
    torch.manual_seed(0)
    assert first == TwoViews(schema, change)(model, graph)
    torch.manual_seed(0)
    assert warm(model, graph)["total"] < first["total"]


def moving(model, total):
    gradients = torch.autograd.grad(total, list(model.weights.values()), allow_unused=True)
    return [name for name, g in zip(model.weights, gradients, strict=True) if g is not None and bool((g != 0).any())]


def test_coclr_learns_by_turns(case):
    graph, schema = case
    model = Views("scan", "text", "sound")
    objective = CoCLR(schema, moved(0.2), k=2, warm_up=1, every=2)
    found = [moving(model, objective(model, graph)["total"]) for _ in range(8)]
    every = list(model.weights)
    assert found == [every, *([every[turn]] for turn in (0, 0, 1, 1, 2, 2, 0))]
    assert moving(model, objective.eval()(model, graph)["total"]) == every
    assert objective.steps == 8  # evaluation does not count


def test_no_gradient_flows_into_the_view_that_says_who_is_near(case):
    graph, schema = case
    model = Views("scan", "text")
    terms = CoCLR(schema, moved(0.2), k=3)(model, graph)
    assert moving(model, terms["scan"]) == ["scan"]
    assert moving(model, terms["text"]) == ["text"]


def gdt_rows(model, graph, views, changes):
    """(anchor, view, applied, vector) of each version of each view."""
    generator, table = torch.Generator().manual_seed(0), []
    for applied in ((False, False), (False, True), (True, False), (True, True)):
        changed = graph
        for change, on in zip(changes, applied, strict=True):
            changed = change(changed, generator) if on else changed
        for view in views:
            vectors = cosines(model, changed, view)
            table += [(row, view, applied, vectors[row]) for row in rows_of(graph, model, view)]
    return table


@pytest.mark.parametrize("views", [("scan",), ("scan", "text")])
@pytest.mark.parametrize("distinctive", [(0,), (1,), (), (0, 1)])
def test_gdt_is_the_formula_of_the_paper(case, views, distinctive):
    graph, schema = case
    model, changes = Views(*views), (flipped, moved(0.3))
    kinds = ["distinctive" if place in distinctive else "invariant" for place in (0, 1)]
    transforms = dict(zip(("flip", "move"), zip(changes, kinds, strict=True), strict=True))
    terms = GDT(schema, transforms, temperature=0.2).eval()(model, graph)
    table = gdt_rows(model, graph, views, changes)
    across = len(views) > 1

    def candidate(a, b):
        return not across or a[1] != b[1]

    def positive(a, b):
        return candidate(a, b) and a[0] == b[0] and all(a[2][place] == b[2][place] for place in distinctive)

    if distinctive == (0, 1) and not across:  # no two versions belong together
        assert terms["total"] == 0
        return
    expected = {}
    for view in views:
        expected[view] = slow(table, lambda a, b, view=view: a[1] == view and positive(a, b), candidate, 0.2, False)
        assert terms[view].item() == pytest.approx(expected[view], rel=1e-6)
    assert terms["total"].item() == pytest.approx(sum(expected.values()) / len(views), rel=1e-6)


def test_gdt_without_transformations_is_clip(case):
    graph, schema = case
    model = Views("scan", "text")
    expected = Contrast(schema, learned=False)(model, graph)["total"]
    torch.testing.assert_close(GDT(schema, {})(model, graph)["total"], expected)


def test_gdt_with_one_view_and_an_invariance_is_simclr(case):
    graph, schema = case
    model = Views("scan")
    found = GDT(schema, {"same": (lambda graph, _: graph, "invariant")})(model, graph)["total"]
    torch.testing.assert_close(found, TwoViews(schema)(model, graph)["total"])
    augmented = GDT(schema, {"same": (lambda graph, _: graph, "invariant")}, augment=moved(0.3)).eval()(model, graph)
    torch.testing.assert_close(augmented["total"], TwoViews(schema, moved(0.3)).eval()(model, graph)["total"])


MAKES = {
    "two views": lambda schema: TwoViews(schema, moved(0.3)),
    "coclr": lambda schema: CoCLR(schema, moved(0.3)),
    "gdt": lambda schema: GDT(schema, {"move": (moved(0.3), "invariant")}),
}


@pytest.mark.parametrize("make", MAKES.values(), ids=MAKES.keys())
def test_chance_is_torchs_own_in_training_and_fixed_in_evaluation(case, make):
    graph, schema = case
    model, objective = Views("scan", "text"), make(schema)
    torch.manual_seed(0)
    first, second = (objective(model, graph)["total"] for _ in range(2))
    torch.manual_seed(0)
    assert first == objective(model, graph)["total"] != second
    state = torch.get_rng_state()
    objective.eval()
    assert objective(model, graph)["total"] == objective(model, graph)["total"]
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("make", MAKES.values(), ids=MAKES.keys())
def test_anchors_outside_of_training_do_not_count(case, make):
    graph, schema = case
    model, objective = Views("scan", "text"), make(schema).eval()
    expected = objective(model, graph)["total"]
    graph["subject"].payload[~graph["subject"].train_mask] = 7.0
    changed = FeatureNoise({})(graph, torch.default_generator)
    assert objective(model, changed)["total"] == expected
    graph["subject"].train_mask[:] = False
    total = objective(model, graph)["total"]
    total.backward()
    assert total == 0
    assert all(weight.grad.abs().sum() == 0 for weight in model.weights.values())


def test_what_does_not_fit_is_refused(case):
    graph, schema = case
    with pytest.raises(ConfigError, match=r"one of \['invariant', 'distinctive'\], got {'flip': 'both'}"):
        GDT(schema, {"flip": (flipped, "both")})
    with pytest.raises(ConfigError, match="got 'age'"):
        CoCLR(schema, judge="age")
    with pytest.raises(ConfigError, match="every at least 1, got 5, 0 and 0"):
        CoCLR(schema, every=0)
    with pytest.raises(ConfigError, match="k and warm_up must be at least 0 and every at least 1, got -1"):
        CoCLR(schema, k=-1)
    with pytest.raises(ConfigError, match=r"CoCLR needs two views, got \['scan'\]; take TwoViews"):
        CoCLR(schema)(Views("scan"), graph)
    with pytest.raises(ConfigError, match=r"space must be one of the model's, \['joint'\], got 'fine'"):
        TwoViews(schema, space="fine")(Views("scan"), graph)
