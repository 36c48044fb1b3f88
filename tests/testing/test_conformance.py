"""Every public class of the five kinds keeps its contract; a class that is in no run here fails the last test."""

import importlib
import inspect
import pkgutil
import tempfile
from pathlib import Path

import pytest
import torch
from torch import nn
from torch_geometric.data import HeteroData

import mmgraph
from mmgraph import builders, decoders, encoders, fusion, layers, objectives, questions, scorers
from mmgraph.aligner import Aligner
from mmgraph.data import drop_modalities
from mmgraph.data.triples import Triples
from mmgraph.linker import Linker
from mmgraph.model import Model
from mmgraph.schema import EdgeSpec, NodeSpec, Schema, TargetSpec, view
from mmgraph.tasks import (
    Clustering,
    EdgePrediction,
    LinkPrediction,
    NodeClassification,
    PayloadGeneration,
    Retrieval,
    Task,
    TextGeneration,
    TripleGeneration,
)
from mmgraph.tasks.metrics import higher_is_better
from mmgraph.testing import (
    check_encoder,
    check_fusion,
    check_generation,
    check_generative,
    check_layer,
    check_no_leak,
    check_objective,
    check_scorer,
    check_task,
    fake_graph,
    fake_knowledge,
    fake_parts,
    fake_states,
)
from mmgraph.translator import Translator
from mmgraph.typing import EdgeSet

WIDTHS = {"scan": 3, "text": 5}
SHARED = {"scan": 4, "text": 4}
RELATIONS = [("subject", "near", "subject"), ("scan", "next", "scan"), ("scan", "of", "subject")]
KINDS = (
    encoders.Encoder,
    layers.Layer,
    fusion.Fusion,
    decoders.Generative,
    objectives.Objective,
    scorers.Scorer,
    Task,
)


def encoder(make):
    return lambda: check_encoder(make(), *fake_graph())


def carrying(make, name, value):
    """An encoder of ``scan`` and ``text`` nodes that carry a tensor besides their ``x``."""

    def run():
        graph, schema = fake_graph()
        nodes = dict(schema.nodes)
        for node in WIDTHS:
            graph[node][name] = value(graph[node].num_nodes)
            nodes[node] = nodes[node].model_copy(update={"attributes": (name,)})
        check_encoder(make(), graph, schema.model_copy(update={"nodes": nodes}))

    return run


def pictures(rows):
    return torch.randint(256, (rows, 1, 12, 12), dtype=torch.uint8)


def ragged(*shape):
    """Numbers of which each row has another count, and holds nothing (NaN) behind them."""

    def value(rows):
        numbers = torch.randn(rows, *shape)
        ends = torch.arange(rows) % shape[0] + 1
        numbers[torch.arange(shape[0]) >= ends[:, None]] = float("nan")
        return numbers

    return value


def spectrograms(rows):
    return ragged(30, 40)(rows).transpose(1, 2)


def codes(*shape, most=5):
    return lambda rows: torch.randint(1, most, (rows, *shape))


def layer(make):
    return lambda: check_layer(make(), *fake_states(4))


class Related(layers.Layer):
    """A layer that reads states of relations, which are learned here."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer
        self.states = nn.Parameter(torch.randn(2 * len(layer.names), layer.in_channels))

    def forward(self, features, edges):
        out = self.layer({**features, "relation": self.states}, edges)
        about = out.pop("relation").mean()
        return {node: state + about for node, state in out.items()}


def ordered(make):
    """A layer that needs edges without a cycle."""

    def run():
        features, edges = fake_states(4)
        for relation, (index, weight) in edges.items():
            if relation[0] == relation[2]:
                later = index[0] < index[1]
                edges[relation] = EdgeSet(index[:, later], None if weight is None else weight[later])
        check_layer(make(), features, edges)

    return run


def chains(make):
    index = torch.tensor([[0, 1, 4], [1, 2, 5]])
    return lambda: check_layer(make(), {"scan": torch.randn(7, 4)}, {("scan", "next", "scan"): EdgeSet(index)})


def views(make):
    """A layer that reads several views of the same steps, one of them with gaps."""

    def run():
        nan = float("nan")
        x = {name: torch.randn(8, 4) for name in SHARED}
        x["text"][2] = nan
        graph, _ = builders.aligned(x, sequence=[0, 0, 0, 0, 0, 1, 1, 1], across=True)
        features = {name: graph[name].x for name in ("step", *SHARED)}
        check_layer(make(), features, dict(layers.edge_sets(graph)))

    return run


def fused(make, widths=WIDTHS):
    return lambda: check_fusion(make(), *fake_parts(widths=widths))


def scoring(make):
    return lambda: check_scorer(make())


def supervised(kind, classes, **options):
    def run():
        graph, schema = fake_graph(classes=classes or ("a", "b"))
        target = TargetSpec(node="subject", kind=kind, classes=classes)
        if kind == "regression":
            y = graph["subject"].y
            graph["subject"].y = y.float().where(y >= 0, float("nan"))
            schema = schema.model_copy(update={"targets": {"diagnosis": target}})
        nobody = torch.zeros(40, dtype=torch.bool)
        nothing = view(graph, schema, labels={"diagnosis": nobody})
        objective = objectives.Supervised(target, **options)
        check_objective(objective, model(schema, outputs=len(classes) or 1), graph, nothing)

    return run


def late(**options):
    def run():
        graph, schema = fake_graph(classes=("a", "b", "c"))
        target = schema.target("diagnosis")
        nothing = view(graph, schema, labels={"diagnosis": torch.zeros(40, dtype=torch.bool)})
        by_part = Model(schema=schema, encoder=encoders.Table(WIDTHS, 3), fusion=fusion.Sum(), head=nn.Identity())
        check_objective(objectives.Late(target, **options), by_part, graph, nothing)

    return run


def known_labels():
    """The one encoder of labels: no answer may come from a label that is hidden, or is the node's own."""
    graph, schema = fake_graph(60, classes=("a", "b", "c"))
    near = layers.KernelRidge(relations=[("subject", "near", "subject")])
    machine = Model(
        schema=schema, encoder=encoders.Labels(schema.target("diagnosis")), between=near, head=nn.Linear(3, 3)
    )
    check_no_leak(machine, NodeClassification(schema), graph, schema)


def nodes_by_name():
    """The encoder that reads no payload: rows of the graph are all it knows."""
    graph, schema = fake_graph()
    made = encoders.Nodes({"subject": 40, "scan": graph["scan"].num_nodes}, 4)
    whole, kept = made(graph), torch.arange(40) < 20
    seen = view(graph, schema, keep={"subject": kept})
    assert torch.equal(made(seen)["subject"], whole["subject"][kept])
    assert made(view(graph, schema, hide=["scan"]))["scan"].shape == (0, 4)


def walking(**options):
    def run():
        graph, schema = fake_graph()
        nothing = view(graph, schema, drop_edges=[RELATIONS[0]])
        check_objective(objectives.SkipGram(schema, length=4, **options), model(schema, outputs=2), graph, nothing)

    return run


def translating():
    graph, schema = fake_graph()
    nobody = torch.zeros_like(graph["subject"].train_mask)
    nothing = view(graph, schema)
    nothing["subject"].train_mask = nobody
    decoder = decoders.Regression(decoders.Dense(8, (5,)))
    translator = Translator(schema=schema, target="text", encoder=encoders.Table({"scan": 3}, 8), decoder=decoder)
    check_objective(objectives.Translate(schema, "text"), translator, view(graph, schema), nothing)


def generating(make, payload):
    return lambda: check_generative(make(), payload)


def speaking(make):
    """A decoder around a frozen language model, of its own for this run."""

    def run():
        sizes = {"channels": 16, "depth": 2, "heads": 2, "length": 16, "vocabulary": 265}
        with tempfile.TemporaryDirectory() as folder:
            path = decoders.train_language_model(["a red cat", "a blue dog"], Path(folder) / "lm", epochs=1, **sizes)
            check_generative(make(decoders.LanguageModel(path)), TEXTS)

    return run


TEXTS = torch.tensor([[2, 3, 4, 1, 0], [5, 6, 7, 8, 2], [1, 0, 0, 0, 0], [8, 2, 1, 0, 0]])
WRITING = {"vocabulary": 9, "length": 6}
CELLS = decoders.column_groups(["age", "age unknown", "wing=left", "wing other", "wing unknown"])


def grey_squares():
    dense = decoders.Dense(4, (1, 2, 2), attribute="pixels", centre=127.5, scale=127.5)
    return decoders.Regression(dense, pooling="attention", dtype=torch.uint8)


def recordings():
    mel = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(0))
    mel[1, :, 2:] = torch.nan
    return mel


def small_diffusion(shape=(1, 6, 4), dtype=torch.uint8):
    """One whose last layer is not zero, so that all of it learns."""
    made = decoders.Diffusion(4, shape, widths=(8, 16), rounds=2, looks=2, guidance=2.0, dtype=dtype)
    nn.init.normal_(made.network.last[-1].weight, std=0.05)
    return made


def named():
    """Subjects with a scan and a name of two words each, and what they mean."""
    graph, rows = HeteroData(), torch.arange(12)
    for number, part in enumerate(("train", "val", "test")):
        graph["subject"][f"{part}_mask"] = rows % 3 == number
    graph["subject"].num_nodes = graph["text"].num_nodes = 12
    graph["scan"].x = torch.randn(12, 3)
    graph["text"].tokens = torch.stack([2 + rows % 4, 6 + rows // 4, torch.ones_like(rows)], dim=1)
    for name in WIDTHS:
        graph[name, "of", "subject"].edge_index = rows.repeat(2, 1)
    words = ("", "", *(f"Ġ{letter}" for letter in "abcdefg"))
    text = NodeSpec(attributes=("tokens",), vocabulary=words)
    nodes = {"subject": NodeSpec(), "scan": NodeSpec(channels=3), "text": text}
    edges = {(name, "of", "subject"): EdgeSpec() for name in WIDTHS}
    return graph, Schema(nodes=nodes, edges=edges, anchor="subject")


def self_critical(**options):
    def run():
        graph, schema = named()
        encoder, decoder = encoders.Table({"scan": 3}, 4), decoders.LSTMDecoder(4, **WRITING)
        translator = Translator(schema=schema, target="text", encoder=encoder, decoder=decoder)
        nothing = view(graph, schema, keep={"text": torch.zeros(12, dtype=torch.bool)})
        check_objective(objectives.SelfCritical(schema, "text", **options), translator, graph, nothing)

    return run


def text_generation():
    graph, schema = named()
    check_generation(TextGeneration(schema, "text"), graph, apart={"exact_match": 1, "retrieval@1": 1})


def triple_generation():
    graph, schema = named()
    words = ("", "", "Ġann", "Ġbob", "Ġ|", "Ġknows", "Ġsees", "Ġcid", "Ġdan")
    people, rows = torch.tensor([2, 3, 7, 8]), torch.arange(12)
    bar = torch.full_like(rows, 4)
    columns = [people[rows % 4], bar, 5 + rows // 6, bar, people[rows // 3], torch.ones_like(rows)]
    graph["text"].tokens = torch.stack(columns, dim=1)
    spec = schema.nodes["text"].model_copy(update={"vocabulary": words})
    schema = schema.model_copy(update={"nodes": {**schema.nodes, "text": spec}})
    check_generation(TripleGeneration(schema, "text"), graph, apart={"triple_f1": 1, "exact_match": 1})


def payload_generation():
    graph, schema = named()
    graph["subject"].y = torch.arange(12) % 2
    target = TargetSpec(node="subject", kind="binary", classes=("a", "b"))
    schema = schema.model_copy(update={"targets": {"diagnosis": target}})
    task = PayloadGeneration(schema, "scan", attribute="x", label="diagnosis", features=lambda values: values)
    check_generation(task, graph, noise=lambda x: 2 * x.roll(1, 0), apart={"error": 0, "diversity": 1, "frechet": 0})
    alone = PayloadGeneration(schema, "scan", attribute="x")
    check_generation(alone, graph, apart={"error": 0, "retrieval@1": 1, "retrieval@10": 1})


def edges_held_out():
    graph, schema = builders.hold_out(*fake_graph(300), RELATIONS[0], train=0.2, val=0.2, test=0.2)
    task = EdgePrediction(schema, RELATIONS[0])
    store = graph["pair"]
    check_task(
        task,
        graph,
        schema,
        target="joined",
        perfect=lambda part: store.joined[store[f"{part}_mask"]].float(),
        higher_is_better=dict.fromkeys(task.metrics, True),
        chance={"auroc": 0.5},
    )
    check_no_leak(model(schema, 2), task, graph, schema, target="joined")


def reconstruct(**options):
    def run():
        graph, schema = fake_graph()
        nothing = drop_modalities(graph, schema, dict.fromkeys(WIDTHS, torch.ones(40, dtype=torch.bool)))
        given = {name: decoders.Dense(4, (width,)) for name, width in WIDTHS.items()}
        objective = objectives.Reconstruct(schema, given, **options)
        check_objective(objective, model(schema, outputs=2), graph, nothing)

    return run


def latent(**options):
    def run():
        graph, schema = fake_graph()
        none = graph.clone()
        none["subject"].train_mask = torch.zeros(40, dtype=torch.bool)
        near = layers.Stack(*[layers.Mean(4, 4, relations=[("subject", "near", "subject")]) for _ in range(2)])
        made = Model(
            schema=schema,
            encoder=encoders.Table(WIDTHS, 4),
            fusion=fusion.Sum(mean=True),
            within=layers.Stack(layers.GCN(4, 4, relations=[("scan", "next", "scan")])),
            between=near,
            head=nn.Identity(),
        )
        check_objective(objectives.Latent(schema, made, 4, **options), made, graph, none)

    return run


def weighted():
    graph, schema = fake_graph()
    nobody = torch.zeros(40, dtype=torch.bool)
    nothing = view(graph, schema, labels={"diagnosis": nobody})
    nothing = drop_modalities(nothing, schema, dict.fromkeys(WIDTHS, ~nobody))
    labels, payloads = (
        objectives.Supervised(schema.target("diagnosis")),
        objectives.Reconstruct(schema, {"scan": decoders.Dense(4, (3,))}, noise=0.1),
    )
    objective = objectives.Weighted({"labels": labels, "payloads": payloads}, {"payloads": 0.1})
    check_objective(objective, model(schema, outputs=2), graph, nothing)


def aligning(make):
    """An objective over the views of an aligner; without any modality there is nothing to learn from."""

    def run():
        graph, schema = fake_graph()
        nothing = drop_modalities(graph, schema, dict.fromkeys(WIDTHS, torch.ones(40, dtype=torch.bool)))
        spaces = {"joint": {name: nn.Linear(4, 4) for name in WIDTHS}}
        made = Aligner(schema=schema, encoder=encoders.Table(WIDTHS, 4), spaces=spaces)
        check_objective(make(schema), made, graph, nothing)

    return run


def linking(**options):
    """An objective over the questions of a knowledge graph; without an answer there is nothing to learn from."""

    def run():
        graph, schema = fake_knowledge()
        known, nobody = graph["query"].train_mask, torch.zeros_like(graph["query"].train_mask)
        linker = Linker(schema=schema, scorer=scorers.ComplEx(4, std=1.0))
        seen, nothing = (view(graph, schema, labels={"answer": rows}) for rows in (known, nobody))
        check_objective(objectives.Links(**options), linker, seen, nothing)

    return run


def self_label(schema, **options):
    return objectives.SelfLabel(schema, anchors=40, views=list(WIDTHS), **options)


def changed(graph, generator):
    """The same graph, its features moved at random."""
    graph = graph.clone()
    for name in WIDTHS:
        graph[name].x = graph[name].x + 0.1 * torch.randn(graph[name].x.shape, generator=generator)
    return graph


def several(soft):
    def run():
        graph, schema = fake_graph()
        target = schema.target("diagnosis")
        nothing = view(graph, schema, labels={"diagnosis": torch.zeros(40, dtype=torch.bool)})
        made = model(schema, outputs=2)
        if soft:
            made = decoders.Heads({"one": made, "two": model(schema, outputs=2)})
        else:
            made.head = decoders.Heads({"one": nn.Linear(4, 2), "two": nn.Linear(4, 2)})
        ties = {("one", "two"): 0.5} if soft else None
        check_objective(objectives.Several({"one": target, "two": target}, ties=ties), made, graph, nothing)

    return run


def classification(classes, regime):
    def run():
        graph, schema = fake_graph(60, classes=classes, regime=regime)
        task = NodeClassification(schema)
        check_task(task, graph, schema)
        check_no_leak(model(schema, len(classes)), task, graph, schema)

    return run


def answering():
    entities = tuple("abcdefghijklmno")
    graph, schema = fake_graph(120, classes=entities)
    task = questions.Answers(schema, "diagnosis")
    check_task(task, graph, schema, chance={"accuracy": 1 / len(entities)})
    check_no_leak(model(schema, len(entities)), task, graph, schema)


def clustering(regime, views=(), by="logits"):
    def run():
        graph, schema = fake_graph(60, classes=("a", "b", "c"), regime=regime)
        y = graph["subject"].y

        def perfect(part):
            best = nn.functional.one_hot(y[graph["subject"][f"{part}_mask"]].clamp_min(0), 3).float()
            return best[:, None].expand(-1, len(views), -1) if views else best

        task = Clustering(schema, views=views, by=by)
        if by == "logits":
            check_task(
                task,
                graph,
                schema,
                perfect=perfect,
                higher_is_better=dict.fromkeys(task.metrics, True),
                chance={"ari": 0},
            )
        check_no_leak(model(schema, 3) if not views else clusters(schema), task, graph, schema)

    return run


def retrieval(regime, target=None, classes=None):
    def run():
        graph, schema = fake_graph(120, regime=regime)
        task = Retrieval(schema, target=target, classes=classes)

        def perfect(part):
            y = graph["subject"].y[graph["subject"][f"{part}_mask"]]
            own, asked = torch.eye(len(y)), y
            if classes is not None and part != "train":
                own, asked = torch.cat([own, torch.zeros(2, len(y))]), torch.cat([y, torch.arange(2)])
            shared = nn.functional.one_hot(asked + 1, 3).float()  # -1: not known
            return torch.cat([own, shared], dim=1)[:, None].expand(-1, 2, -1)

        directions = {name: higher_is_better(name) for name in task.metrics}
        check_task(task, graph, schema, perfect=perfect, higher_is_better=directions, chance={})
        check_no_leak(clusters(schema), task, graph, schema)

    return run


class Whole(nn.Module):
    """A linker whose scores are there at once."""

    def __init__(self, linker):
        super().__init__()
        self.linker = linker

    def forward(self, graph):
        return self.linker(graph)[:]


def link_prediction(candidates):
    """Facts of relations of all four categories among 30 entities, a third of which have a picture."""

    def run():
        generator, entities = torch.Generator().manual_seed(0), [f"e{number:02}" for number in range(30)]
        facts = torch.stack([torch.randint(size, (300,), generator=generator) for size in (30, 4, 30)], dim=1)
        head, kind, tail = facts.T
        tail = torch.where(kind == 0, (head + 1) % 30, torch.where(kind == 2, head // 5, tail))
        head = torch.where(kind == 1, tail // 5, head)
        facts = torch.stack([head, kind, tail], dim=1).unique(dim=0)
        facts = facts[torch.randperm(len(facts), generator=generator)].tolist()
        given = HeteroData()
        given["entity"].num_nodes, given["image"].x = 30, torch.randn(10, 4, generator=generator)
        given["image", "of", "entity"].edge_index = torch.stack([torch.arange(10), torch.arange(0, 30, 3)])
        parts = {
            part: Triples(*zip(*[(entities[h], f"r{r}", entities[t]) for h, r, t in rows], strict=True))
            for part, rows in {"train": facts[80:], "val": facts[:40], "test": facts[40:80]}.items()
        }
        known = builders.KnowledgeGraph.fit(parts, payloads=(given, Schema.infer(given), entities))
        graph, schema = known.graph, known.schema
        task = LinkPrediction(schema, candidates=candidates)
        directions = {name: higher_is_better(name) for name in task.metrics}
        chance = {"adjusted_mean_rank_index": 0.0, "adjusted_mean_rank_index head": 0.0}
        check_task(task, graph, schema, higher_is_better=directions, chance=chance)
        made = Linker(
            schema=schema,
            scorer=scorers.DistMult(4),
            encoder=encoders.Raw(["image"]),
            fusion=fusion.Sum(),
            between=layers.Mean(4, 4, relations=list(schema.relations("entity"))),
        )
        check_no_leak(Whole(made), task, graph, schema)

    return run


def clusters(schema):
    spaces = {"clusters": {name: nn.Linear(4, 3) for name in WIDTHS}}
    return Aligner(schema=schema, encoder=encoders.Table(WIDTHS, 4), spaces=spaces)


def model(schema, outputs):
    return Model(
        schema=schema,
        encoder=encoders.Table(WIDTHS, 4),
        within=layers.Gated(4, relations=[("scan", "next", "scan"), ("text", "next", "text")], rounds=1),
        fusion=fusion.Gated(SHARED, 4),
        between=layers.GCN(4, 4, relations=[("subject", "near", "subject")]),
        head=nn.Linear(4, outputs),
    )


CASES = [
    (encoders.Labels, "", known_labels),
    (encoders.Nodes, "", nodes_by_name),
    (encoders.Raw, "", encoder(lambda: encoders.Raw(["scan", "text"]))),
    (encoders.Raw, "dropout", encoder(lambda: encoders.Raw(["text"], dropout=0.5))),
    (encoders.Table, "linear", encoder(lambda: encoders.Table(WIDTHS, 4))),
    (encoders.Table, "deep", encoder(lambda: encoders.Table(WIDTHS, 4, hidden=[8, 8], dropout=0.5))),
    (encoders.Table, "norm", encoder(lambda: encoders.Table(WIDTHS, 4, norm=True))),
    (
        encoders.Joined,
        "",
        encoder(lambda: encoders.Joined(encoders.Table({"scan": 3}, 4), encoders.Table({"text": 5}, 4))),
    ),
    (encoders.Chunked, "", encoder(lambda: encoders.Chunked(encoders.Table(WIDTHS, 4, dropout=0.5), rows=7))),
    (encoders.ImageConv, "", carrying(lambda: encoders.ImageConv({"scan": 1, "text": 1}, 4), "pixels", pictures)),
    (encoders.AudioConv, "", carrying(lambda: encoders.AudioConv(WIDTHS, 4), "mel", spectrograms)),
    (
        encoders.SeriesGRU,
        "",
        carrying(lambda: encoders.SeriesGRU(dict.fromkeys(WIDTHS, 2), 4), "steps", ragged(6, 2)),
    ),
    (
        encoders.SeriesConv,
        "",
        carrying(lambda: encoders.SeriesConv(dict.fromkeys(WIDTHS, 2), 4), "steps", ragged(6, 2)),
    ),
    (
        encoders.PointNet,
        "",
        carrying(lambda: encoders.PointNet(dict.fromkeys(WIDTHS, 3), 4), "points", ragged(9, 3)),
    ),
    (
        encoders.SymbolEmbedding,
        "",
        carrying(lambda: encoders.SymbolEmbedding(dict.fromkeys(WIDTHS, 5), 4), "symbol", codes()),
    ),
    (
        encoders.TokenEncoder,
        "",
        carrying(lambda: encoders.TokenEncoder(WIDTHS, 4, vocabulary=9), "tokens", codes(7, most=9)),
    ),
    (
        encoders.LearnedToken,
        "",
        encoder(lambda: encoders.LearnedToken(encoders.Table(WIDTHS, 4), dict.fromkeys(WIDTHS, 4))),
    ),
    (
        encoders.Positions,
        "",
        carrying(
            lambda: encoders.Positions(encoders.Table(WIDTHS, 4), WIDTHS), "position", lambda rows: torch.randn(rows)
        ),
    ),
    (layers.Mean, "", layer(lambda: layers.Mean(4, 8, relations=RELATIONS))),
    (layers.Mean, "linear", layer(lambda: layers.Mean(4, 8, relations=RELATIONS[:1], activation=None, bias=False))),
    (layers.GCN, "", layer(lambda: layers.GCN(4, 8, relations=RELATIONS))),
    (layers.GCN, "bipartite", layer(lambda: layers.GCN(4, 4, relations=RELATIONS[2:], bias=False))),
    (layers.RGCN, "bases", layer(lambda: layers.RGCN(4, 8, relations=RELATIONS, bases=2))),
    (layers.RGCN, "blocks", layer(lambda: layers.RGCN(4, 8, relations=RELATIONS, blocks=2))),
    (layers.RGCN, "whole", layer(lambda: layers.RGCN(4, 4, relations=RELATIONS[2:], self_loop=False))),
    (layers.CompGCN, "sub", layer(lambda: Related(layers.CompGCN(4, 8, relations=RELATIONS, composition="sub")))),
    (layers.CompGCN, "mult", layer(lambda: Related(layers.CompGCN(4, 8, relations=RELATIONS, composition="mult")))),
    (layers.CompGCN, "corr", layer(lambda: Related(layers.CompGCN(4, 8, relations=RELATIONS)))),
    (layers.HAN, "", layer(lambda: layers.HAN(4, 8, relations=RELATIONS, heads=2))),
    (layers.HAN, "dropout", layer(lambda: layers.HAN(4, 4, relations=RELATIONS[:2], heads=1, dropout=0.5, hidden=3))),
    (layers.HGT, "", layer(lambda: layers.HGT(4, 4, relations=RELATIONS, heads=2))),
    (layers.HGT, "other width", layer(lambda: layers.HGT(4, 8, relations=RELATIONS, heads=1, dropout=0.5))),
    (layers.Gated, "sum", layer(lambda: layers.Gated(4, relations=RELATIONS, rounds=3))),
    (questions.Signed, "", layer(lambda: questions.Signed(4, relations=RELATIONS, rounds=2, denies={"next": "near"}))),
    (layers.Gated, "mean", layer(lambda: layers.Gated(4, relations=RELATIONS, rounds=1, reduce="mean", bias=False))),
    (layers.LSTM, "", ordered(lambda: layers.LSTM(4, 8, relations=RELATIONS))),
    (layers.LSTM, "chains", chains(lambda: layers.LSTM(4, 8, relations=[("scan", "next", "scan")]))),
    (layers.MultiViewLSTM, "", views(lambda: layers.MultiViewLSTM(SHARED, 4))),
    (layers.MultiViewLSTM, "view-specific", views(lambda: layers.MultiViewLSTM(SHARED, 4, beta=0))),
    (layers.MultiViewLSTM, "learned", views(lambda: layers.MultiViewLSTM(SHARED, 4, alpha=None, beta=None))),
    (layers.MultiViewLSTM, "steps", views(lambda: layers.MultiViewLSTM(SHARED, 4, steps="step"))),
    (layers.KernelRidge, "", layer(lambda: layers.KernelRidge(relations=RELATIONS[:2]))),
    (layers.KernelRidge, "learned", layer(lambda: layers.KernelRidge(relations=RELATIONS[:2], shares="learned"))),
    (layers.Readout, "", layer(lambda: layers.Readout(relations=RELATIONS[:2]))),
    (layers.Readout, "sum", layer(lambda: layers.Readout(relations=RELATIONS[:2], weights="sum", centre=False))),
    (layers.Smooth, "", layer(lambda: layers.Smooth(relations=RELATIONS[:2], rounds=3, alpha=0.7))),
    (layers.Smooth, "learned", layer(lambda: layers.Smooth(relations=RELATIONS[:2], alpha=None))),
    (layers.Attention, "", layer(lambda: layers.Attention(4, relations=RELATIONS, heads=2))),
    (layers.Attention, "type", layer(lambda: layers.Attention(4, relations=RELATIONS, share="type", norm_first=True))),
    (layers.Attention, "relation", layer(lambda: layers.Attention(4, relations=RELATIONS, share="relation", heads=1))),
    (layers.Attention, "bipartite", layer(lambda: layers.Attention(4, relations=RELATIONS[2:], dropout=0.5))),
    (layers.MemoryAttention, "", layer(lambda: layers.MemoryAttention(4, relations=RELATIONS, memories=3, heads=2))),
    (layers.MemoryAttention, "none", layer(lambda: layers.MemoryAttention(4, relations=RELATIONS, memories=0))),
    (layers.Stack, "empty", layer(layers.Stack)),
    (
        layers.Stack,
        "two",
        layer(
            lambda: layers.Stack(
                layers.Mean(4, 4, relations=RELATIONS), layers.GCN(4, 2, relations=RELATIONS), dropout=0.5
            )
        ),
    ),
    (fusion.Concat, "", fused(lambda: fusion.Concat(WIDTHS, 6))),
    (fusion.Sum, "", fused(fusion.Sum, SHARED)),
    (fusion.Sum, "mean", fused(lambda: fusion.Sum(mean=True), SHARED)),
    (fusion.Product, "", fused(fusion.Product, SHARED)),
    (fusion.Gated, "", fused(lambda: fusion.Gated(WIDTHS, 6))),
    (fusion.Tensor, "", fused(lambda: fusion.Tensor(WIDTHS, 6))),
    (fusion.Tensor, "three parts", fused(lambda: fusion.Tensor({**WIDTHS, "a": 2}, 6), {**WIDTHS, "a": 2})),
    (fusion.Tensor, "no one", fused(lambda: fusion.Tensor(WIDTHS, 6, append_one=False))),
    (fusion.LowRank, "", fused(lambda: fusion.LowRank(WIDTHS, 6))),
    (fusion.LowRank, "three parts", fused(lambda: fusion.LowRank({**WIDTHS, "a": 2}, 6, rank=1), {**WIDTHS, "a": 2})),
    (fusion.Bilinear, "", fused(lambda: fusion.Bilinear(WIDTHS, 6))),
    (
        fusion.Bilinear,
        "normalised",
        fused(lambda: fusion.Bilinear({**WIDTHS, "a": 2}, 6, normalise=True), {**WIDTHS, "a": 2}),
    ),
    (fusion.MLP, "", fused(lambda: fusion.MLP(WIDTHS, 6, hidden=[8, 8], dropout=0.5))),
    (fusion.Attention, "", fused(lambda: fusion.Attention(WIDTHS, 6))),
    (fusion.Experts, "", fused(lambda: fusion.Experts(WIDTHS, 6))),
    (fusion.Experts, "deep", fused(lambda: fusion.Experts(WIDTHS, 6, hidden=[8], dropout=0.5))),
    (fusion.Late, "sum", fused(lambda: fusion.Late(WIDTHS, 6, weights="sum"))),
    (fusion.Late, "mean", fused(lambda: fusion.Late(WIDTHS, 6, hidden=[8]))),
    (fusion.Late, "learned", fused(lambda: fusion.Late(WIDTHS, 6, weights="learned"))),
    (fusion.Hybrid, "", fused(lambda: fusion.Hybrid(fusion.Concat(WIDTHS, 6), fusion.Late(WIDTHS, 6)))),
    (decoders.TransformerDecoder, "", generating(lambda: decoders.TransformerDecoder(8, **WRITING), TEXTS)),
    (
        decoders.TransformerDecoder,
        "beam",
        generating(
            lambda: decoders.TransformerDecoder(8, tied=False, decoding=decoders.Decoding(method="beam"), **WRITING),
            TEXTS,
        ),
    ),
    (decoders.LSTMDecoder, "", generating(lambda: decoders.LSTMDecoder(4, **WRITING), TEXTS)),
    (decoders.LSTMDecoder, "attend", generating(lambda: decoders.LSTMDecoder(4, attend=True, **WRITING), TEXTS)),
    (decoders.MeshedDecoder, "", generating(lambda: decoders.MeshedDecoder(8, rounds=1, **WRITING), TEXTS)),
    (decoders.Prefix, "", speaking(lambda model: decoders.Prefix(6, model, length=6, prefix=3))),
    (decoders.Prefix, "attention", speaking(lambda model: decoders.Prefix(6, model, length=6, mapper="attention"))),
    (decoders.Flamingo, "", speaking(lambda model: decoders.Flamingo(8, model, length=6, latents=2))),
    (decoders.Diffusion, "", generating(small_diffusion, torch.randint(0, 256, (4, 1, 6, 4)).byte())),
    (decoders.Diffusion, "spectrum", generating(lambda: small_diffusion((6, 4), torch.float32), torch.rand(4, 6, 4))),
    (decoders.Regression, "", generating(lambda: decoders.Regression(decoders.Dense(4, (2, 3))), torch.randn(4, 2, 3))),
    (decoders.Regression, "attention", generating(grey_squares, torch.randint(0, 256, (4, 1, 2, 2)).byte())),
    (
        decoders.Variational,
        "",
        generating(lambda: decoders.Variational(4, (1, 2, 2)), torch.randint(0, 256, (4, 1, 2, 2)).byte()),
    ),
    (decoders.Mel, "", generating(lambda: decoders.Mel(decoders.Dense(4, (3, 5), attribute="mel")), recordings())),
    (decoders.Tabular, "", generating(lambda: decoders.Tabular(4, 3), torch.randn(4, 3))),
    (decoders.Tabular, "columns", generating(lambda: decoders.Tabular(4, CELLS, hidden=[6]), torch.eye(5)[:4])),
    (decoders.Tabular, "mean", generating(lambda: decoders.Tabular(4, CELLS, draw=False), torch.eye(5)[:4])),
    (scorers.TransE, "", scoring(lambda: scorers.TransE(6))),
    (scorers.TransE, "norm 2", scoring(lambda: scorers.TransE(6, norm=2, margin=3.0, normalise=True))),
    (scorers.RotatE, "", scoring(lambda: scorers.RotatE(6, margin=9.0))),
    (scorers.DistMult, "", scoring(lambda: scorers.DistMult(5))),
    (scorers.ComplEx, "", scoring(lambda: scorers.ComplEx(6))),
    (scorers.TuckER, "", scoring(lambda: scorers.TuckER(6, 4, dropouts=(0.2, 0.3, 0.4)))),
    (scorers.TuckER, "no norm", scoring(lambda: scorers.TuckER(4, 6, norm=False))),
    (scorers.ConvE, "", scoring(lambda: scorers.ConvE(13, height=3, filters=4))),
    (objectives.Supervised, "binary", supervised("binary", ("a", "b"))),
    (objectives.Supervised, "weights", supervised("multiclass", ("a", "b", "c"), class_weight=torch.arange(1.0, 4))),
    (objectives.Supervised, "regression", supervised("regression", ())),
    (objectives.Late, "", late()),
    (objectives.Late, "joint", late(joint=0.5)),
    (objectives.Reconstruct, "", reconstruct()),
    (objectives.Reconstruct, "denoising", reconstruct(noise=0.5, mask=0.1)),
    (objectives.Latent, "", latent()),
    (objectives.Latent, "two layers", latent(layers=2)),
    (objectives.Latent, "scans", latent(node="scan")),
    (objectives.Weighted, "", weighted),
    (objectives.Contrast, "", aligning(objectives.Contrast)),
    (objectives.Contrast, "sigmoid", aligning(lambda schema: objectives.Contrast(schema, loss="sigmoid"))),
    (
        objectives.Contrast,
        "hard",
        aligning(lambda schema: objectives.Contrast(schema, hard=RELATIONS[0], ignore="diagnosis")),
    ),
    (objectives.TwoViews, "", aligning(lambda schema: objectives.TwoViews(schema, changed))),
    (objectives.TwoViews, "relation", aligning(lambda schema: objectives.TwoViews(schema, positives=RELATIONS[0]))),
    (objectives.CoCLR, "", aligning(lambda schema: objectives.CoCLR(schema, changed, k=2))),
    (objectives.GDT, "", aligning(lambda schema: objectives.GDT(schema, {"move": (changed, "distinctive")}))),
    (objectives.Margin, "", aligning(objectives.Margin)),
    (objectives.Margin, "hardest", aligning(lambda schema: objectives.Margin(schema, negatives="hardest"))),
    (
        objectives.Margin,
        "structure",
        aligning(
            lambda schema: objectives.Margin(schema, alike="diagnosis", structure={"scan": 0.1}, metric="euclidean")
        ),
    ),
    (objectives.Grounded, "", aligning(lambda schema: objectives.Grounded(schema, "text", "scan", alike="diagnosis"))),
    (objectives.RegionWords, "", aligning(lambda schema: objectives.RegionWords(schema, "scan", "text", cost=0.5))),
    (objectives.Correlate, "", aligning(objectives.Correlate)),
    (objectives.Correlate, "two channels", aligning(lambda schema: objectives.Correlate(schema, channels=2))),
    (objectives.SelfLabel, "", aligning(lambda schema: self_label(schema, clusters=4))),
    (objectives.SelfLabel, "alone", aligning(lambda schema: self_label(schema, clusters=4, shared=False))),
    (
        objectives.SelfLabel,
        "heads",
        aligning(lambda schema: self_label(schema, clusters=2, heads=2, marginals="zipf", decorrelate=0.5)),
    ),
    (objectives.Links, "", linking(penalty=0.1)),
    (objectives.Links, "binary", linking(loss="binary")),
    (objectives.Links, "margin", linking(loss="margin", negatives=3, typed=True)),
    (objectives.Links, "self-adversarial", linking(loss="self_adversarial", negatives=3)),
    (objectives.SkipGram, "", walking()),
    (objectives.SkipGram, "node2vec", walking(p=0.5, q=2.0, walks=20)),
    (objectives.Translate, "", translating),
    (objectives.SelfCritical, "", self_critical()),
    (objectives.SelfCritical, "greedy", self_critical(baseline="greedy", weight=1.0)),
    (objectives.Several, "hard", several(soft=False)),
    (objectives.Several, "soft", several(soft=True)),
    (TextGeneration, "", text_generation),
    (TripleGeneration, "", triple_generation),
    (PayloadGeneration, "", payload_generation),
    (EdgePrediction, "", edges_held_out),
    (Clustering, "logits", clustering("transductive")),
    (Clustering, "views", clustering("cohort_hidden", views=tuple(WIDTHS))),
    (Clustering, "kmeans", clustering("transductive", by="kmeans")),
    (LinkPrediction, "", link_prediction("all")),
    (LinkPrediction, "typed", link_prediction("typed")),
    (Retrieval, "", retrieval("transductive")),
    (Retrieval, "classes", retrieval("cohort_hidden", target="diagnosis")),
    (Retrieval, "zero-shot", retrieval("transductive", target="diagnosis", classes={"text": torch.eye(2, 5)})),
    (questions.Answers, "", answering),
    (NodeClassification, "binary", classification(("a", "b"), "transductive")),
    (NodeClassification, "hidden", classification(("a", "b", "c"), "cohort_hidden")),
    (NodeClassification, "single", classification(("a", "b", "c", "d"), "single_query")),
]


@pytest.mark.parametrize("run", [pytest.param(run, id=f"{cls.__name__} {how}".strip()) for cls, how, run in CASES])
def test_conformance(run):
    torch.manual_seed(0)
    run()


def public_classes():
    names = [module.name for module in pkgutil.walk_packages(mmgraph.__path__, "mmgraph.") if "._" not in module.name]
    found = {one for name in names for one in vars(importlib.import_module(name)).values() if inspect.isclass(one)}
    ours = {one for one in found if issubclass(one, KINDS) and one.__module__.startswith("mmgraph.")}
    return {one for one in ours if not one.__name__.startswith("_") and not inspect.isabstract(one)}


def test_every_public_class_is_in_a_run():
    covered = {cls for cls, _, _ in CASES}
    assert public_classes() - covered == set()
    assert len(covered) >= 12
