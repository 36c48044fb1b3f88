import math

import pytest
import torch
from torch import nn
from torch_geometric.data import HeteroData

from mmgraph.decoders import TextDecoder, Translation
from mmgraph.encoders import Subwords
from mmgraph.errors import DataError, SchemaError
from mmgraph.functional.captions import CiderReferences, bleu, cider, cider_d, meteor, rouge_l, words
from mmgraph.schema import EdgeSpec, NodeSpec, Schema
from mmgraph.tasks import TextGeneration
from mmgraph.tasks.metrics import HIGHER_IS_BETTER
from mmgraph.tasks.text_generation import _places
from mmgraph.testing import check_generation
from mmgraph.typing import Sources

TEXTS = [
    "A red cat on a mat.",
    "a blue dog in the snow",
    "two old men at sea",
    "Seven Samurai!",
    "the green apple tree",
    "a dog on the red mat",
]
LENGTH = 30


class Unigrams(TextDecoder):
    """Each piece with the same probability, whatever is around; what it makes is given."""

    def __init__(self, logits, made=None):
        super().__init__(2, vocabulary=len(logits), length=LENGTH)
        self.logits, self.made, self.asked = nn.Parameter(logits), made, 0

    def forward(self, sources, tokens):
        return self.logits.expand(*tokens.shape, -1)

    def begin(self, sources):
        return None

    def step(self, state, tokens):
        return self.logits.expand(len(tokens), -1), state

    def reorder(self, state, rows):
        return state

    def generate(self, sources, **options):
        self.asked += 1
        return self.made[sources.states[:, 0, 0].long()]


@pytest.fixture(scope="module")
def subwords():
    return Subwords.fit(TEXTS, length=LENGTH, vocabulary=300)


def graph_of(subwords, owner=None):
    """A text a sample, or those of the owners; two samples a part."""
    samples = len(TEXTS)
    graph = HeteroData()
    owner = list(range(samples)) if owner is None else owner
    graph["sample"].num_nodes = samples
    for number, part in enumerate(("train", "val", "test")):
        graph["sample"][f"{part}_mask"] = torch.arange(samples) % 3 == number
    graph["picture"].x = torch.randn(samples, 4)
    graph["picture", "of", "sample"].edge_index = torch.arange(samples).repeat(2, 1)
    graph["text"].tokens = subwords(TEXTS[: len(owner)])
    graph["text"].num_nodes = len(owner)
    graph["text", "of", "sample"].edge_index = torch.stack([torch.arange(len(owner)), torch.tensor(owner)])
    return graph


def schema_of(subwords, regime="transductive"):
    text = NodeSpec(attributes=("tokens",), vocabulary=() if subwords is None else subwords.pieces)
    nodes = {"sample": NodeSpec(), "picture": NodeSpec(channels=4), "text": text}
    edges = {(name, "of", "sample"): EdgeSpec() for name in ("picture", "text")}
    return Schema(nodes=nodes, edges=edges, anchor="sample", regime=regime)


def whole(subwords, owner=None):
    """A graph all of whose samples are for testing, and its task."""
    graph = graph_of(subwords, owner)
    graph["sample"].test_mask = torch.ones(len(TEXTS), dtype=torch.bool)
    return graph, TextGeneration(schema_of(subwords), "text")


def said(rows, logits, made=None):
    sources = Sources(torch.arange(rows).float()[:, None, None].expand(-1, -1, 2), torch.ones(rows, 1).bool())
    return Translation(Unigrams(logits, made), sources)


@pytest.mark.parametrize("regime", ["transductive", "cohort_hidden"])
def test_the_contract(subwords, regime):
    task = TextGeneration(schema_of(subwords, regime), "text")
    check_generation(task, graph_of(subwords), apart={"exact_match": 1, "bleu": 1, "rouge_l": 1, "retrieval@1": 1})


def test_every_metric_has_a_direction(subwords):
    task = TextGeneration(schema_of(subwords), "text")
    assert set(task.metrics) <= set(HIGHER_IS_BETTER)
    assert task.controls == ("no_source", "shuffled_sources", "nearest", "most_common")


def test_texts_are_compared_by_their_words(subwords):
    graph, task = whole(subwords)
    made = ["a RED cat on a mat", "a blue cat", "", "Seven Samurai!", "the apple", "on the red mat: a dog"]
    found = task.evaluate(subwords(made), graph)
    assert set(found) == set(task.metrics) - {"log_loss", "perplexity"}
    candidates, references = [words(text) for text in made], [[words(text)] for text in TEXTS]
    assert found["exact_match"] == pytest.approx(1 / 6)  # case and full stops count here
    assert found["bleu"] == pytest.approx(bleu(candidates, references))
    assert found["bleu@1"] == pytest.approx(bleu(candidates, references, order=1))
    assert 0 < found["bleu"] < found["bleu@1"]
    for name, score in (("rouge_l", rouge_l), ("cider", cider_d), ("meteor", meteor)):
        assert found[name] == pytest.approx(float(score(candidates, references).mean()))
    # "" is as near to one as to another
    assert found["retrieval@1"] == pytest.approx(5 / 6)
    assert found["retrieval@10"] == 1


def test_several_references_and_rows_without(subwords):
    graph, task = whole(subwords, owner=[0, 0, 2, 4])
    made = [TEXTS[1], "nothing at all", TEXTS[2], "zzz", "the apple", "mat"]
    found = task.evaluate(subwords(made), graph)
    candidates = [words(made[row]) for row in (0, 2, 4)]
    references = [[words(text) for text in some] for some in (TEXTS[:2], TEXTS[2:3], TEXTS[3:4])]
    assert found["exact_match"] == pytest.approx(2 / 3)
    assert found["bleu"] == pytest.approx(bleu(candidates, references))
    assert found["cider"] == pytest.approx(float(cider_d(candidates, references).mean()))
    assert found["retrieval@1"] == pytest.approx(2 / 3)


def test_exact_matches_are_told_apart_by_groups(subwords):
    graph, task = whole(subwords)[0], TextGeneration(schema_of(subwords), "text", groups={"shots": (0, 4)})
    graph["sample"].shots = torch.tensor([0, 4, 4, 0, 4, 7])  # 7 is in none
    made = [TEXTS[0], TEXTS[1], "wrong", "wrong", "wrong", "wrong"]
    found = task.evaluate(subwords(made), graph)
    assert found["exact_match 0 shots"] == 1 / 2
    assert found["exact_match 4 shots"] == pytest.approx(1 / 3)
    assert "exact_match 7 shots" not in found
    asked = task.evaluate(subwords(made), graph, metrics=["exact_match 0 shots"])
    assert asked == {"exact_match 0 shots": 1 / 2}
    graph["sample"].shots = torch.full((6,), 4)
    with pytest.raises(DataError, match="must have 'shots' 0, got none"):
        task.evaluate(subwords(made), graph)
    del graph["sample"].shots
    with pytest.raises(DataError, match="must have the tensor 'shots', by which 'exact_match 0 shots' is told apart"):
        task.evaluate(subwords(made), graph)


def slow_place(candidate, row, references):
    """The place of the nearest own reference; equal ones share the mean of their places."""
    known = CiderReferences(references)
    texts = {tuple(one) for some in references for one in some}
    near = {text: round(float(cider([candidate], [[list(text)]], known)), 9) for text in texts}
    own = {tuple(one) for one in references[row]}
    best = max(near[text] for text in own)
    others = [near[text] for text in texts - own]
    return 1 + sum(one > best for one in others) + sum(one == best for one in others) / 2


def test_retrieval_is_among_different_texts(subwords, monkeypatch):
    graph, task = whole(subwords)
    graph["text"].tokens = subwords([TEXTS[0], TEXTS[0], *TEXTS[2:]])  # two of the same name are one
    made = [TEXTS[0], "a red mat", "", TEXTS[2], "green dog", "a dog"]
    references = [[words(text)] for text in [TEXTS[0], TEXTS[0], *TEXTS[2:]]]
    places = [slow_place(words(text), row, references) for row, text in enumerate(made)]
    assert places[0] == 1
    assert places[2] == 3  # of five, all as near as any
    assert _places([words(text) for text in made], references).tolist() == places
    for cells in (1 << 24, 1):
        monkeypatch.setattr("mmgraph.tasks.text_generation.CELLS", cells)
        found = task.evaluate(subwords(made), graph, metrics=["retrieval@1", "retrieval@10"])
        assert found["retrieval@1"] == pytest.approx(sum(place <= 1 for place in places) / 6)
        assert found["retrieval@10"] == 1


def test_likelihoods_need_no_texts(subwords):
    graph, task = whole(subwords)
    logits = torch.randn(len(subwords.pieces), generator=torch.Generator().manual_seed(0))
    answers = said(len(TEXTS), logits)
    numbers = [number for row in subwords(TEXTS).tolist() for number in row if number]
    loss = -sum(float(logits.log_softmax(0)[number]) for number in numbers) / len(numbers)
    found = task.evaluate(answers, graph, metrics=["perplexity", "log_loss"])
    assert list(found) == ["perplexity", "log_loss"]
    assert found["log_loss"] == pytest.approx(loss, rel=1e-5)
    assert found["perplexity"] == pytest.approx(math.exp(loss), rel=1e-5)
    assert answers.decoder.asked == 0


def test_a_translation_is_judged_by_all(subwords):
    graph, task = whole(subwords)
    answers = said(len(TEXTS), torch.zeros(len(subwords.pieces)), subwords(TEXTS))
    found = task.evaluate(answers, graph)
    assert tuple(found) == task.metrics
    assert found["exact_match"] == 1
    assert answers.decoder.asked == 1
    task.evaluate(answers, graph, metrics=["bleu"])
    assert answers.decoder.asked == 1  # texts are kept


def test_a_hopeless_loss_is_no_overflow(subwords):
    graph, task = whole(subwords)
    logits = torch.zeros(len(subwords.pieces))
    logits[0] = 1e4
    found = task.evaluate(said(len(TEXTS), logits), graph, metrics=["log_loss", "perplexity"])
    assert found["log_loss"] > 9000
    assert math.isfinite(found["perplexity"])


def test_texts_may_be_read_by_another(subwords):
    graph, _ = whole(subwords)
    task = TextGeneration(schema_of(None), "text", spell=subwords.decode)
    assert task.evaluate(subwords(TEXTS), graph, metrics=["exact_match"]) == {"exact_match": 1}
    assert task.texts(subwords(TEXTS[:1])) == TEXTS[:1]


def test_a_sheet_shows_what_was_made(subwords, tmp_path):
    graph = graph_of(subwords, owner=[0, 2, 2, 1])
    task = TextGeneration(schema_of(subwords), "text")
    (path,) = task.sheet(subwords(["one\ttwo\n three", "x"]), graph, "test", tmp_path)
    assert path == tmp_path / "samples.tsv"
    assert path.read_text().splitlines() == [
        "row\tmade\treferences",
        f"2\tone two three\t{TEXTS[1]}\t{TEXTS[2]}",
        "5\tx",
    ]


def test_what_can_not_be_judged_is_refused(subwords):
    graph, task = whole(subwords)
    with pytest.raises(DataError, match="Predictions for test must have 6 rows, got 2"):
        task.evaluate(subwords(TEXTS[:2]), graph)
    with pytest.raises(SchemaError, match=r"Metrics must be among \['log_loss', .* got \['accuracy'\]"):
        task.evaluate(subwords(TEXTS), graph, metrics=["bleu", "accuracy"])
    with pytest.raises(DataError, match="no likelihood"):
        task.evaluate(subwords(TEXTS), graph, metrics=["perplexity"])
    empty = graph_of(subwords, owner=[0])
    with pytest.raises(DataError, match="At least 1 'sample' of test must have a 'text' to judge by, got none"):
        task.evaluate(subwords(TEXTS[:2]), empty)
    with pytest.raises(SchemaError, match="'text' must have a vocabulary to be read, got none"):
        TextGeneration(schema_of(None), "text")
