import itertools

import pytest
import torch
from torch import nn
from torch_geometric.data import HeteroData

from mmgraph.decoders import LSTMDecoder, TextDecoder
from mmgraph.encoders import Raw
from mmgraph.errors import ConfigError, DataError
from mmgraph.functional.captions import CiderReferences, cider_d
from mmgraph.objectives import SelfCritical, Translate
from mmgraph.schema import EdgeSpec, NodeSpec, Schema
from mmgraph.testing import check_objective
from mmgraph.translator import Translator

PIECES = ("", "", "Ġred", "Ġcat", "Ġdog")
NAMES = [[2, 3, 1], [4, 1, 0], [3, 3, 1], [2, 4, 1]]


class Markov(TextDecoder):
    """Each piece, given the one before it and the mean of the sources."""

    def __init__(self, channels, *, vocabulary, length, dropout=0.0):
        super().__init__(channels, vocabulary=vocabulary, length=length)
        self.after, self.shown = nn.Embedding(vocabulary, vocabulary), nn.Linear(channels, vocabulary, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, sources, tokens):
        before = torch.cat([torch.zeros_like(tokens[:, :1]), tokens[:, :-1]], dim=1)
        return self.dropout(self.after(before)) + self.shown(sources.mean())[:, None]

    def begin(self, sources):
        return self.shown(sources.mean())

    def step(self, state, tokens):
        return self.dropout(self.after(tokens)) + state, state

    def reorder(self, state, rows):
        return state[rows]


def made(owner=(0, 1, 2, 3), *, samples=4, train=None):
    generator = torch.Generator().manual_seed(0)
    graph = HeteroData()
    graph["sample"].num_nodes = samples
    graph["sample"].train_mask = torch.ones(samples, dtype=torch.bool) if train is None else torch.tensor(train)
    graph["picture"].x = torch.randn(samples, 4, generator=generator)
    graph["picture", "of", "sample"].edge_index = torch.arange(samples).repeat(2, 1)
    graph["name"].tokens = torch.tensor(NAMES)[: len(owner)]
    graph["name"].num_nodes = len(owner)
    graph["name", "of", "sample"].edge_index = torch.stack([torch.arange(len(owner)), torch.tensor(owner).long()])
    return graph


def schema(vocabulary=PIECES):
    nodes = {
        "sample": NodeSpec(),
        "picture": NodeSpec(channels=4),
        "name": NodeSpec(attributes=("tokens",), vocabulary=vocabulary),
    }
    edges = {(name, "of", "sample"): EdgeSpec() for name in ("picture", "name")}
    return Schema(nodes=nodes, edges=edges, anchor="sample")


def translator(decoder=None, **options):
    torch.manual_seed(0)
    decoder = decoder or Markov(4, vocabulary=5, length=2, **options)
    return Translator(schema=schema(), target="name", encoder=Raw(["picture"]), decoder=decoder)


def every_text(length=2):
    """All texts of a vocabulary of 1 (the end) and the pieces 2, 3, 4."""
    found = [[1] + [0] * (length - 1)]
    for size in range(1, length + 1):
        for pieces in itertools.product([2, 3, 4], repeat=size):
            found.append(([*pieces, 1] + [0] * length)[:length])
    return torch.tensor(found)


def expected_reward(model, graph, references, known):
    """The exact mean of CIDEr-D over all texts that can be drawn, 0 left out."""
    texts = every_text()
    spelt = [tuple(PIECES[number][1:] for number in row if number > 1) for row in texts.tolist()]
    total = 0
    for row, some in enumerate(references):
        sources = model.sources(graph).take(torch.tensor([row] * len(texts)))
        said = model.decoder(sources, texts)[:, :, 1:].log_softmax(2)
        likely = said.gather(2, (texts - 1).clamp_min(0)[:, :, None])[:, :, 0].masked_fill(texts == 0, 0).sum(1).exp()
        assert float(likely.detach().sum()) == pytest.approx(1, abs=1e-5)
        total = total + (likely * cider_d(spelt, [some] * len(texts), known).float()).sum()
    return total / len(references)


def gradients(total, model):
    return torch.cat([g.flatten() for g in torch.autograd.grad(total, list(model.decoder.parameters()))])


@pytest.mark.parametrize("baseline", ["greedy", "others"])
def test_the_gradient_is_that_of_the_expected_reward(baseline):
    """Against the exact expectation over all texts."""
    graph, model = made(owner=(0, 1)), translator()
    references = [[("red", "cat")], [("dog",)]]
    known = CiderReferences([*references, [("fish",)]])
    exact = -gradients(expected_reward(model, graph, references, known), model)
    objective = SelfCritical(schema(), "name", weight=1.0, samples=200, baseline=baseline, known=known)
    found = torch.stack([gradients(objective(model, graph)["total"], model) for _ in range(40)])
    error = found.std(dim=0) / 40**0.5
    assert ((found.mean(dim=0) - exact).abs() <= 4.5 * error + 1e-6).all()
    assert float((found.mean(dim=0) - exact).norm() / exact.norm()) < 0.1


def test_the_loss_by_hand(monkeypatch):
    """Two texts are drawn of the one sample: the right one and another."""
    graph, model = made(owner=(0,), samples=1), translator()
    drawn = torch.tensor([[2, 3], [4, 1]])
    monkeypatch.setattr("mmgraph.objectives.self_critical.nucleus", lambda *args, **options: drawn)
    known = CiderReferences([[("red", "cat")], [("dog",)]])
    right = float(cider_d([("red", "cat")], [[("red", "cat")]], known))
    sources = model.sources(graph).take(torch.tensor([0, 0]))
    said = model.decoder(sources, drawn)[:, :, 1:].log_softmax(2).detach()
    one, other = said[0, 0, 1] + said[0, 1, 2], said[1, 0, 3] + said[1, 1, 0]
    options = {"weight": 1.0, "samples": 2, "known": known}
    terms = SelfCritical(schema(), "name", baseline="others", **options)(model, graph)
    assert float(terms["total"].detach()) == pytest.approx(float(-(right * one - right * other) / 2), rel=1e-5)
    assert float(terms["reward"]) == pytest.approx(right / 2)
    monkeypatch.setattr("mmgraph.objectives.self_critical.greedy", lambda *args, **options: torch.tensor([[2, 3]]))
    terms = SelfCritical(schema(), "name", baseline="greedy", **options)(model, graph)
    assert float(terms["total"].detach()) == pytest.approx(float(right * other / 2), rel=1e-5)


def test_cross_entropy_is_mixed_in():
    graph, model = made(), translator()
    torch.manual_seed(1)
    terms = SelfCritical(schema(), "name", weight=0.25)(model, graph)
    wanted = 0.25 * terms["self_critical"] + 0.75 * terms["cross_entropy"]
    assert float(terms["total"].detach()) == pytest.approx(float(wanted.detach()))
    assert float(terms["cross_entropy"].detach()) == pytest.approx(
        float(Translate(schema(), "name")(model, graph)["total"].detach())
    )


def test_references_are_those_of_training_alone_and_each_counts_once():
    graph, model = made(owner=(0, 0, 1, 3), train=[True, True, True, False]), translator()
    objective = SelfCritical(schema(), "name", samples=2)
    objective.eval()(model, graph)
    assert objective._known is None  # only training counts
    objective.train()
    for _ in range(3):
        objective(model, graph)
    assert objective._known.samples == 2
    assert objective._known.frequency[("red",)] == 1
    assert ("red", "dog") not in objective._known.frequency
    objective(model, made(owner=(0, 1), samples=2))
    assert objective._known.samples == 4


def test_given_references_stay():
    known = CiderReferences([[("fish",)]])
    objective = SelfCritical(schema(), "name", known=known)
    objective(translator(), made())
    assert known.samples == 1


def test_dropout_is_left_out_and_comes_back():
    model = translator(Markov(4, vocabulary=5, length=2, dropout=0.9)).train()
    model.decoder.shown.eval()
    modes = []
    model.decoder.after.register_forward_hook(lambda *args: modes.append(model.decoder.dropout.training))
    terms = SelfCritical(schema(), "name", samples=2)(model, made())
    assert modes[0]  # cross entropy
    assert not any(modes[1:])
    assert model.decoder.dropout.training
    assert not model.decoder.shown.training
    assert terms["total"].requires_grad


def test_recurrent_networks_stay_in_training():
    model = translator(LSTMDecoder(4, vocabulary=5, length=3)).train()
    modes = []
    model.decoder.lstm.register_forward_hook(lambda *args: modes.append(model.decoder.lstm.training))
    SelfCritical(schema(), "name", samples=2, baseline="greedy")(model, made())["total"].backward()
    assert all(modes)


def test_training_raises_the_reward():
    graph, model = made(), translator(Markov(4, vocabulary=5, length=3))
    objective = SelfCritical(schema(), "name", weight=1.0, samples=20)
    optimiser = torch.optim.Adam(model.parameters(), 0.05)
    rewards = []
    for _ in range(60):
        optimiser.zero_grad()
        terms = objective(model, graph)
        terms["total"].backward()
        optimiser.step()
        rewards.append(float(terms["reward"]))
    assert sum(rewards[-5:]) > 2 * sum(rewards[:5])


def test_texts_may_be_read_by_another():
    read = []
    objective = SelfCritical(schema(()), "name", samples=2, spell=lambda rows: read.append(rows) or ["a"] * len(rows))
    assert float(objective(translator(), made())["self_critical"].detach()) == 0  # all texts are alike
    assert {tuple(rows.shape) for rows in read} == {(4, 3), (8, 2)}


def test_the_contract():
    for baseline in ("greedy", "others"):
        objective = SelfCritical(schema(), "name", baseline=baseline, samples=4)
        check_objective(objective, translator(), made(), made(train=[False] * 4))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "sound"}, r"one of \['picture', 'name'\], got 'sound'"),
        ({"weight": 0.0}, "weight must be above 0 and at most 1, got 0.0"),
        ({"weight": 1.1}, "weight must be above 0 and at most 1, got 1.1"),
        ({"samples": 1}, "samples must be at least 2 to be compared with the others, got 1"),
        ({"samples": 0, "baseline": "greedy"}, "samples must be at least 1, got 0"),
        ({"baseline": "none"}, r"baseline must be one of \['greedy', 'others'\], got 'none'"),
        ({"target": "picture"}, "'picture' must have a vocabulary to be read, got none"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        SelfCritical(schema(), **{"target": "name", **options})


def test_other_models_and_graphs_are_refused():
    with pytest.raises(ConfigError, match="needs a Translator of a decoder of texts, got Linear"):
        SelfCritical(schema(), "name")(nn.Linear(1, 1), made())
    graph = made()
    del graph["name"].tokens
    with pytest.raises(DataError, match="Nodes of 'name' must have 'tokens' to be learned from, got"):
        SelfCritical(schema(), "name")(translator(), graph)
