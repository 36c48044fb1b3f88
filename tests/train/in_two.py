"""What each of two processes does in the tests of several; they import it from here, so it holds no test."""

import copy
import os
import signal
import time
from pathlib import Path

import torch
from torch import distributed, nn
from torch_geometric.data import HeteroData

import mmgraph as mg
from mmgraph import objectives
from mmgraph.data import ModalityDropout
from mmgraph.decoders import Dense, Heads, Regression
from mmgraph.encoders import Encoder, Raw, Table
from mmgraph.errors import DataError
from mmgraph.functional.distributed import sum_over
from mmgraph.fusion import Concat, Sum
from mmgraph.layers import Mean
from mmgraph.schema import TargetSpec
from mmgraph.scorers import DistMult
from mmgraph.tasks import LinkPrediction, Retrieval
from mmgraph.testing import fake_graph, fake_knowledge
from mmgraph.train import Place, ProcessError
from mmgraph.train.batched import training_batches
from mmgraph.train.fit import CHECKPOINT
from mmgraph.train.processes import ALONE, averaged, gathered, join, watched

NEAR = ("subject", "near", "subject")
BATCH = 8
WIDTHS = {"scan": 3, "text": 5}


def sample():
    """35 labelled subjects for training: the last step of 8 has 3, of those without a label, too, 5 of 37."""
    return fake_graph(61, seed=3)


def classifier(schema, *, dropout=0.0, head=2):
    return mg.Model(
        schema=schema,
        encoder=Table(WIDTHS, 4, dropout=dropout),
        fusion=Concat(dict.fromkeys(WIDTHS, 4), 4),
        between=Mean(4, 4, relations=[NEAR]),
        head=nn.Linear(4, head),
    )


def aligner(schema, width=4):
    spaces = {"joint": {name: nn.Linear(channels, width) for name, channels in WIDTHS.items()}}
    return mg.Aligner(schema=schema, encoder=Raw(list(WIDTHS)), spaces=spaces)


def flipped(graph, generator):
    """A change that nothing is drawn for."""
    graph = copy.copy(graph)
    for name in WIDTHS:
        graph[name].x = graph[name].x.flip(1)
    return graph


def steps_of():
    """Name → model, objective, task, graph, and how many rows a step has."""
    graph, schema = sample()
    target, task = schema.target("diagnosis"), mg.NodeClassification(schema)
    found = {}

    def add(name, model, objective, of=task, what=graph, batch=BATCH):
        found[name] = (model, objective, of, what, batch)

    add("supervised", classifier(schema), objectives.Supervised(target))
    add("alone in the last step", classifier(schema), objectives.Supervised(target), batch=34)
    add(
        "class weights",
        classifier(schema),
        objectives.Supervised(target, class_weight=torch.tensor([0.5, 3.0]), label_smoothing=0.1),
    )
    ages = graph.clone()
    ages["subject"].y = ages["subject"].y.float().masked_fill(ages["subject"].y < 0, torch.nan)
    age = TargetSpec(node="subject", kind="regression")
    add("regression", classifier(schema, head=1), objectives.Supervised(age), task, ages)
    late = mg.Model(schema=schema, encoder=Table(WIDTHS, 2), fusion=Sum(), head=nn.Identity())
    add("late", late, objectives.Late(target, joint=0.3))
    heads = Heads({"one": classifier(schema), "two": classifier(schema)})
    add("several", heads, objectives.Several({"one": target, "two": target}, ties={("one", "two"): 0.2}))
    autoencoder = mg.Model(schema=schema, encoder=Table(WIDTHS, 4), fusion=Sum(mean=True), head=nn.Identity())
    decoders = {name: Dense(4, (width,)) for name, width in WIDTHS.items()}
    reconstruct = objectives.Reconstruct(schema, decoders, weights={"text": 0.3})
    add("reconstruct", autoencoder, reconstruct)
    both = {
        "labels": objectives.Supervised(target),
        "payloads": objectives.Reconstruct(schema, {"scan": Dense(4, (3,))}),
    }
    add("weighted", classifier(schema), objectives.Weighted(both, {"payloads": 0.5}))
    decoder = Regression(Dense(8, (5,)))
    translator = mg.Translator(schema=schema, target="text", encoder=Table({"scan": 3}, 8), decoder=decoder)
    add("translate", translator, objectives.Translate(schema, "text"))
    known, meaning = fake_knowledge(40, facts=90)
    for name, options in {
        "1-vs-all": {"penalty": 0.1},
        "K-vs-all": {"loss": "binary", "label_smoothing": 0.1, "penalty": 0.1},
    }.items():
        linker = mg.Linker(schema=meaning, scorer=DistMult(4))
        add(name, linker, objectives.Links(**options), LinkPrediction(meaning), known, 16)
    for name, options in {
        "clip": {},
        "siglip": {"loss": "sigmoid"},
        "neighbours": {"positives": NEAR},
        "same class": {"ignore": "diagnosis"},
        "hard": {"hard": NEAR},
        "easy": {"hard": NEAR, "easy": 0.3, "ignore": [NEAR]},
    }.items():
        add(name, aligner(schema), objectives.Contrast(schema, **options))
    structure = {"text": 0.5}
    for name, by in {
        "margin": NEAR,
        "margin by class": "diagnosis",
        "margin by scan": ("scan", "of", "subject"),
    }.items():
        add(name, aligner(schema), objectives.Margin(schema, alike=by, structure=structure))
    add("grounded", aligner(schema), objectives.Grounded(schema, "text", "scan", alike="diagnosis"))
    add("region words", aligner(schema), objectives.RegionWords(schema, "scan", "text", cost=0.5))
    add("correlate", aligner(schema, 2), objectives.Correlate(schema))
    add("two views", aligner(schema), objectives.TwoViews(schema, flipped, positives=NEAR))
    add("GDT", aligner(schema), objectives.GDT(schema, {"flip": (flipped, "invariant")}))
    add("CoCLR", aligner(schema), objectives.CoCLR(schema, flipped, k=2, judge="diagnosis"))
    own = objectives.SelfLabel(schema, anchors=61, clusters=3, views=list(WIDTHS), every=2)
    add("self label", aligner(schema, 3), own)
    return found


def losses_and_gradients(place):
    """Name → of each step the terms, and the gradients of all weights."""
    found = {}
    torch.manual_seed(0)
    for name, (model, objective, task, graph, batch) in steps_of().items():
        config = mg.FitConfig(batch_size=batch, hops=1)
        view = task.view(graph, "train")
        found[name] = []
        for step in training_batches(task, view, config, labelled=objective.labelled, place=place):
            learners = nn.ModuleList([model, objective])
            learners.zero_grad()
            terms = objective(model, step)
            terms["total"].backward()
            gradients = {
                key: torch.zeros_like(weight) if weight.grad is None else weight.grad.clone()
                for key, weight in learners.named_parameters()
                if weight.requires_grad
            }
            if place.world > 1:
                terms = averaged(terms)
                gradients = {key: sum_over(value) / place.world for key, value in gradients.items()}
            terms = {key: term.detach().double() for key, term in terms.items()}
            rows = torch.tensor(
                step[task.node].num_nodes if task.node == "query" else int(step[task.node].train_mask.sum())
            )
            found[name].append(
                {"terms": terms, "gradients": gradients, "rows": gathered([rows]) if place.world > 1 else [rows]}
            )
    return found


class Skipping(Encoder):
    """Doesn't touch the weights of a modality that nobody in the batch has."""

    def __init__(self):
        super().__init__()
        self.inner = nn.ModuleDict({name: nn.Linear(width, 4) for name, width in WIDTHS.items()})

    def forward(self, graph: HeteroData):
        return {name: self.inner[name](graph[name].x) if len(graph[name].x) else torch.zeros(0, 4) for name in WIDTHS}


def rare():
    """Two subjects have a scan: in most steps one process, or both, have none."""
    graph, schema = sample()
    graph = graph.clone()
    owner = graph["scan", "of", "subject"].edge_index[1]
    few = owner[graph["subject"].train_mask[owner]].unique()[[2, 9]]
    kept = torch.isin(owner, few)
    graph["scan"].x = graph["scan"].x[kept]
    graph["scan", "of", "subject"].edge_index = torch.stack([torch.arange(int(kept.sum())), owner[kept]])
    graph["scan", "next", "scan"].edge_index = torch.empty(2, 0, dtype=torch.long)
    return graph, schema


def fits(folder=None, names=("supervised", "contrast", "facts", "rare", "sampled", "drawn")):
    """Name → history, best weights and scores on test of some fits."""
    found = {}
    for name in names:
        torch.manual_seed(0)
        transform, graph, schema = None, *sample()
        task = mg.NodeClassification(schema)
        objective = objectives.Supervised(task.target)
        options = {"batch_size": BATCH, "hops": 1, "epochs": 4, "patience": None, "weight_decay": 0.01}
        if name == "supervised":
            model = classifier(schema)
            options |= {
                "optimizer": "adamw",
                "schedule": "one_cycle",
                "epochs": 20,
                "patience": 2,
                "learning_rate": 0.1,
            }
        elif name == "contrast":
            task, model = Retrieval(schema), aligner(schema)
            objective = objectives.Contrast(schema, positives=NEAR)
            options |= {"monitor": "recall@1"}
        elif name == "facts":
            graph, schema = fake_knowledge(40, facts=90)
            task, model, objective = (
                LinkPrediction(schema),
                mg.Linker(schema=schema, scorer=DistMult(4)),
                objectives.Links(),
            )
            options |= {"monitor": "mrr", "batch_size": 16}
        elif name == "sampled":
            graph, schema = fake_knowledge(40, facts=90)
            between = Mean(4, 4, relations=[edge for edge in schema.edges if edge[1] != "of"])
            task, objective = LinkPrediction(schema), objectives.Links()
            model = mg.Linker(schema=schema, scorer=DistMult(4), between=between)
            options |= {"monitor": "mrr", "batch_size": 16, "fan_out": (2,), "candidates": 8}
        elif name == "rare":
            graph, schema = rare()
            task = mg.NodeClassification(schema)
            fused = Concat(dict.fromkeys(WIDTHS, 4), 4)
            model = mg.Model(schema=schema, encoder=Skipping(), fusion=fused, head=nn.Linear(4, 2))
            options |= {"hops": 0}
        else:
            model = classifier(schema, dropout=0.3)
            transform = ModalityDropout(schema, rate=0.3)
            options |= {"balance": 0.5, "epochs": 6, "checkpoint_every": 1}
        if Place.here().rank:  # whose first weights count for nothing
            for weight in model.parameters():
                nn.init.zeros_(weight)
        fitted = mg.fit(
            model, objective, task, graph, mg.FitConfig(**options),
            transform=Killing(transform, folder) if name == "drawn" and folder else transform,
            folder=folder if name == "drawn" else None,
        )  # fmt: skip
        found[name] = {
            "history": list(fitted.history),
            "best": fitted.best_epoch,
            "weights": fitted.model.state_dict(),
            "test": fitted.evaluate("test"),
        }
    return found


class Killing:
    """A transform in which the second process is killed, once, when there is a checkpoint."""

    def __init__(self, transform, folder):
        self.transform, self.folder, self.steps = transform, folder, 0

    def __call__(self, graph, generator):
        self.steps += 1
        here, dead = Place.here(), self.folder / "dead"
        if here.rank == 1 and (self.folder / CHECKPOINT).exists() and self.steps % 5 == 3 and not dead.exists():
            dead.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.transform(graph, generator)


def all_of_it(folder: Path):
    """All steps and fits, and one fit more, in the middle of which the second process is killed."""
    here = join(60.0)
    (folder / f"pid-{here.rank}").write_text(str(os.getpid()))
    torch.set_num_threads(1)
    steps, fitted = losses_and_gradients(here), fits()
    torch.save({"steps": steps, "fits": fitted}, folder / f"{here.rank}.pt")
    (folder / "killed").mkdir(exist_ok=True)
    distributed.barrier()
    fits(folder / "killed", ["drawn"])


def the_rest(folder: Path):
    """The killed fit again; then the first process waits for one that doesn't come. Gives what each was told."""
    here = join(60.0)
    fitted = fits(folder / "killed", ["drawn"])
    group = distributed.new_group(timeout=distributed.constants.timedelta(seconds=1))
    if here.rank == 1:
        time.sleep(2)
        return None
    try:
        with watched(here, 1.0):
            distributed.barrier(group)
    except ProcessError as error:
        return {**fitted, "said": str(error)}
    return fitted


def one_fails(rank: int):
    """One process has an error of ours; the other waits for it."""
    if Place.here().rank == rank:
        raise DataError(f"only process {rank} has met this")
    join(60.0)


def alone():
    """The same as :func:`all_of_it` in one process."""
    return {"steps": losses_and_gradients(ALONE), "fits": fits()}
