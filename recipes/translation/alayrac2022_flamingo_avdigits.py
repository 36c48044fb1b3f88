"""What a picture is called is told by a few others: digits that were never seen in training, by words of the moment.

An episode has three digits, and each gets a word at random that holds in this episode alone. Some pictures are shown
with their words, and the word of a last one is asked for: nothing but the examples tells it. "full" is shown four of
each digit, the rivals ``shots_2``, ``shots_1`` and ``shots_0`` as many as they say. Validation and test ask for the
digits 6 to 9; training has shown 0 to 5. The language model is frozen. It has read texts alone, in which words follow
words by a rule of each text ("cat red dog blue cat red"); gated blocks teach the pictures to be such words.

Source: Alayrac et al. 2022, Flamingo: a visual language model for few-shot learning, arXiv:2204.14198.
Command: mmgraph run alayrac2022_flamingo_avdigits
Cost: ?
Expected: ?
Differs from the paper: a small language model of texts that are made up, oriented gradients in place of a vision model;
a word of an example is one vector; each number of shots is trained for itself.
"""

import random
from dataclasses import dataclass
from functools import cache, partial

import torch
from torch_geometric.data import HeteroData

import mmgraph as mg
from mmgraph import decoders, encoders, layers, objectives, tasks

DATA, METRIC = "mnist20k", "exact_match"
CONTROLS = ("no_source", "shuffled_sources", "most_common")
SHOTS = {"first": 1, "second": 1, "more": 2}  # relation → examples of each digit
WAYS, OLD, NEW = 3, range(6), range(6, 10)
SAID = "cat dog red blue tree fish book moon star rain snow wind fire gold iron salt milk rice corn bean lamp door wall"
WORDS = SAID.split()


@dataclass(frozen=True)
class Config:
    """How to run.

    Args:
        runs: Seeds, each with other episodes.
        limit: Episodes of training, and texts of the language model; validation has a tenth, the test a fifth.
        fit: How to train.
    """

    runs: int = 3
    limit: int = 4000
    fit: mg.FitConfig = mg.FitConfig(
        epochs=15, learning_rate=3e-3, schedule="one_cycle", patience=None, batch_size=50, hops=2, monitor="log_loss"
    )


@cache
def language_model(texts: int) -> str:
    """A language model that has read texts in which each word of a few is followed by its own."""
    chance, told = random.Random(0), []
    for _ in range(texts):
        keys, values = chance.sample(WORDS, 3), chance.sample(WORDS, 3)
        told.append("".join(f" {keys[pair]} {values[pair]}" for pair in chance.choices(range(3), k=18)))
    how = {"epochs": 16, "batch_size": 64, "warm_up": 0.3, "dropout": 0.0}  # it rises slowly, or nothing is looked up
    return str(decoders.train_language_model(told, channels=64, heads=2, length=38, **how))


def build(config: Config, run: int, fold: int) -> tuple[HeteroData, mg.Schema]:
    shapes = {"kind": "gradients", "size": 28, "cell": 7, "thumbnail": 7}
    built = mg.build_graph(mg.load_dataset(DATA).with_encoders(image=shapes))
    drawn, chance, folder = built.graph["picture"], random.Random(run), language_model(config.limit)
    pieces = encoders.Subwords.fit([], model=folder, length=3)
    tokens = pieces([f" {word}" for word in WORDS])
    parts = [("train", config.limit, OLD), ("val", config.limit // 10, NEW), ("test", config.limit // 5, NEW)]
    there = {(part, d): drawn[f"{part}_mask"] & (drawn.y == d) for part, _, some in parts for d in some}
    pool = {key: mask.nonzero()[:, 0].tolist() for key, mask in there.items()}
    owner = [part for part, number, _ in parts for _ in range(number)]
    shown: dict[str, list[tuple[int, int, int]]] = {name: [] for name in [*SHOTS, "of"]}  # picture, word, episode
    for episode, part in enumerate(owner):
        digits, names = chance.sample(OLD if part == "train" else NEW, WAYS), chance.sample(range(len(WORDS)), WAYS)
        called = [*zip(digits, names, strict=True)]
        for name, number in SHOTS.items():
            examples = [(chance.choice(pool[part, digit]), word, episode) for digit, word in called * number]
            shown[name] += chance.sample(examples, len(examples))
        digit, word = chance.choice(called)
        shown["of"].append((chance.choice(pool[part, digit]), word, episode))
    graph, rows = HeteroData(), torch.tensor([one for name in shown for one in shown[name]])  # [pictures, 3]
    told = torch.arange(len(rows) - len(owner))  # the last ones are asked for
    embedded = decoders.LanguageModel(folder).embed(tokens[:, 0]).detach()
    graph["episode"].num_nodes, graph["answer"].num_nodes = len(owner), len(owner)
    graph["picture"].x = built.graph["image"].x[rows[:, 0]]
    graph["word"].x, graph["answer"].tokens = embedded[rows[told, 1]], tokens[rows[len(told) :, 1]]
    for part, _, _ in parts:
        graph["episode"][f"{part}_mask"] = torch.tensor([one == part for one in owner])
    graph["word", "names", "picture"].edge_index = told.repeat(2, 1)
    graph["answer", "of", "episode"].edge_index = torch.arange(len(owner)).repeat(2, 1)
    for name, which in zip(shown, torch.arange(len(rows)).split([len(some) for some in shown.values()]), strict=True):
        graph["picture", name, "episode"].edge_index = torch.stack([which, rows[which, 2]])
    nodes = {name: mg.NodeSpec(channels=graph[name].x.shape[1]) for name in ("picture", "word")}
    nodes |= {"answer": mg.NodeSpec(attributes=("tokens",), vocabulary=pieces.pieces), "episode": mg.NodeSpec()}
    return graph, mg.Schema(nodes=nodes, edges=dict.fromkeys(graph.edge_types, mg.EdgeSpec()), anchor="episode")


def make_model(config: Config, schema: mg.Schema, *, paths: int = len(SHOTS)) -> mg.Translator:
    model, width = decoders.LanguageModel(language_model(config.limit)), 64
    widths = {name: schema.nodes[name].channels for name in ("picture", "word")}
    return mg.Translator(
        schema=schema,
        target="answer",
        encoder=encoders.Table(widths, width, norm=True),
        within=layers.RGCN(width, width, relations=[("word", "names", "picture")], activation=None),
        sources={name: [("picture", name, "episode")] for name in [*list(SHOTS)[:paths], "of"]},
        decoder=decoders.Flamingo(width, model, length=3, latents=2, nodes=1, context=True),
    )


def make_objective(config: Config, schema: mg.Schema) -> objectives.Translate:
    return objectives.Translate(schema, "answer")


def make_task(config: Config, schema: mg.Schema) -> tasks.TextGeneration:
    return tasks.TextGeneration(schema, "answer")


RIVALS = {f"shots_{paths}": partial(make_model, paths=paths) for paths in (2, 1, 0)}
