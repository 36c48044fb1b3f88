import copy
import warnings
import weakref
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import mmgraph as mg
from mmgraph.builders import align
from mmgraph.errors import DataError, SchemaError
from mmgraph.functional import ranking
from mmgraph.functional.ranking import BLOCK_ELEMENTS, Scores
from mmgraph.functional.relations import CATEGORIES
from mmgraph.schema import NodeSpec, Schema
from mmgraph.tasks import LinkPrediction
from mmgraph.tasks.link_prediction import METRICS
from mmgraph.tasks.metrics import higher_is_better
from mmgraph.testing.expect import difference


def rows_of(graph, part):
    store = graph["query"]
    mask = store[f"{part}_mask"]
    return [tuple(row) for row in torch.stack([store.source, store.relation, store.answer], dim=1)[mask].tolist()]


def places_by_hand(scores, graph, part, *, allowed=None):
    """Place and number of rivals of each answer, by dictionaries and sorting."""
    known = {}
    for source, relation, answer in [row for one in ("train", "val", "test") for row in rows_of(graph, one)]:
        known.setdefault((source, relation), set()).add(answer)
    found = []
    for line, (source, relation, answer) in zip(scores.tolist(), rows_of(graph, part), strict=True):
        rivals = [
            value
            for entity, value in enumerate(line)
            if entity not in known[source, relation] and (allowed is None or entity in allowed[relation])
        ]
        better, equal = sum(v > line[answer] for v in rivals), sum(v == line[answer] for v in rivals)
        found.append((1 + better + equal / 2, len(rivals)))
    return np.array(found)


def scored(places):
    place, rivals = places.T
    chance = (rivals / 2).sum()
    return {
        "mrr": (1 / place).mean(),
        "hits@1": (place <= 1).mean(),
        "hits@3": (place <= 3).mean(),
        "hits@10": (place <= 10).mean(),
        "mean_rank": place.mean(),
        "adjusted_mean_rank_index": 1 - (place - 1).sum() / chance if chance else np.nan,
    }


@pytest.mark.parametrize("part", ["train", "val", "test"])
@pytest.mark.parametrize("levels", [3, 10_000])
def test_all_metrics_and_groups_are_those_of_a_slow_loop(make_drawn_knowledge, part, levels):
    graph, schema = make_drawn_knowledge(1)
    task, asked = LinkPrediction(schema), rows_of(graph, part)
    scores = torch.randint(levels, (len(asked), 30)).float()
    places = places_by_hand(scores, graph, part)
    found = task.evaluate(scores, graph, part)
    groups = {
        "": [True] * len(asked),
        "tail": [relation < 4 for _, relation, _ in asked],
        "head": [relation >= 4 for _, relation, _ in asked],
        **{name: [relation % 4 == r for _, relation, _ in asked] for r, name in enumerate(CATEGORIES)},
        "with image": [answer < 10 for _, _, answer in asked],
        "without image": [answer >= 10 for _, _, answer in asked],
    }
    expected = {
        f"{name} {group}".strip(): value
        for group, rows in groups.items()
        for name, value in scored(places[np.array(rows)]).items()
    }
    assert tuple(found) == task.metrics == tuple(expected)
    assert found == pytest.approx(expected)


def test_a_worked_example(make_knowledge):
    parts = {"train": [(0, 0, 1), (0, 0, 2)], "test": [(0, 0, 3)]}
    graph, schema = make_knowledge(parts, entities=5, relations=1)
    scores = torch.tensor([[0.9, 0.8, 0.7, 0.5, 0.5], [0.1, 0.2, 0.3, 0.4, 0.0]])
    found = LinkPrediction(schema).evaluate(scores, graph)
    # (0, r0, ?): 1 and 2 are left out, behind 0 and level with 4: 2.5. (3, ^r0, ?): behind 1, 2 and 3: 4.
    assert found["mean_rank tail"] == 2.5
    assert found["mean_rank head"] == 4.0
    assert found["mrr"] == pytest.approx((1 / 2.5 + 1 / 4) / 2)
    assert found["adjusted_mean_rank_index"] == pytest.approx(1 - (1.5 + 3) / (1 + 2))
    assert (found["hits@1"], found["hits@3"], found["hits@10"]) == (0.0, 0.5, 1.0)


@given(st.integers(0, 10_000), st.integers(2, 9), st.integers(1, 3), st.integers(1, 25), st.booleans())
@settings(max_examples=60)
def test_any_facts_are_ranked_as_by_the_slow_loop(make_knowledge, seed, entities, relations, count, typed):
    """Facts given twice and in several parts, loops, relations that training lacks, or that one fact has."""
    generator = torch.Generator().manual_seed(seed)
    sizes = (entities, relations, entities)
    facts = torch.stack([torch.randint(n, (count + 2,), generator=generator) for n in sizes], dim=1).tolist()
    cut = max(1, count // 2)
    parts = {"train": facts[1:cut], "val": facts[cut:-1], "test": facts[:1] + facts[-1:]}
    graph, schema = make_knowledge(parts, entities=entities, relations=relations)
    allowed = None
    if typed:
        seen = {kind: {a for _, r, a in rows_of(graph, "train") if r == kind} for kind in range(2 * relations)}
        allowed = {kind: some or set(range(entities)) for kind, some in seen.items()}
    task = LinkPrediction(schema, candidates="typed" if typed else "all")
    for part in ("val", "test"):
        scores = torch.randint(4, (len(rows_of(graph, part)), entities), generator=generator).float()
        expected = places_by_hand(scores, graph, part, allowed=allowed)
        found = task.evaluate(scores, graph, part, metrics=["mrr", "mean_rank", "adjusted_mean_rank_index"])
        wanted = scored(expected)
        assert found == pytest.approx({name: wanted[name] for name in found}, nan_ok=True)


def ogb_evaluator(monkeypatch):
    pytest.importorskip("pandas", reason="ogb needs pandas")
    monkeypatch.setenv("OUTDATED_IGNORE", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evaluate = pytest.importorskip("ogb.linkproppred", reason="compared with ogb, the extra 'ogb'")
        return evaluate.Evaluator(name="ogbl-wikikg2")


@pytest.mark.parametrize("levels", [5, 1 << 24])
def test_the_numbers_are_those_of_ogb(make_drawn_knowledge, monkeypatch, levels):
    evaluator = ogb_evaluator(monkeypatch)
    graph, schema = make_drawn_knowledge(2)
    asked = torch.tensor(rows_of(graph, "test"))
    scores = torch.randint(levels, (len(asked), 30)).float()
    known = {}
    for source, relation, answer in [row for part in ("train", "val", "test") for row in rows_of(graph, part)]:
        known.setdefault((source, relation), set()).add(answer)
    negative = torch.full_like(scores, -torch.inf)  # below every answer: where no negative is
    for row, (source, relation, _) in enumerate(asked.tolist()):
        free = [entity for entity in range(30) if entity not in known[source, relation]]
        negative[row, : len(free)] = scores[row, free]
    theirs = evaluator.eval({"y_pred_pos": scores.gather(1, asked[:, 2:])[:, 0], "y_pred_neg": negative})
    ours = LinkPrediction(schema).evaluate(scores, graph)
    for name in ("mrr", "hits@1", "hits@3", "hits@10"):
        assert ours[name] == pytest.approx(float(theirs[f"{name}_list"].double().mean()), abs=1e-6)


def test_equal_scores_are_at_chance_and_the_answers_themselves_are_best(make_drawn_knowledge):
    graph, schema = make_drawn_knowledge()
    task, asked = LinkPrediction(schema), rows_of(graph, "test")
    alike = task.evaluate(torch.zeros(len(asked), 30), graph)
    perfect = task.evaluate(torch.eye(30)[[answer for _, _, answer in asked]], graph)
    assert all(value == 1.0 for value in perfect.values())
    for name, value in alike.items():
        if name.startswith(("adjusted", "hits@1 ")) or name == "hits@1":
            assert value == pytest.approx(0.0)
        assert higher_is_better(name) == (not name.startswith("mean_rank"))


class Read:
    """A matrix of scores that is never there as a whole; it remembers the largest block that was read."""

    def __init__(self, queries, entities):
        self.shape, self.largest, self.read = (queries, entities), 0, 0

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        start, stop, _ = rows.indices(self.shape[0])
        self.largest, self.read = max(self.largest, (stop - start) * self.shape[1]), self.read + stop - start
        return torch.arange(self.shape[1], dtype=torch.float32).expand(stop - start, -1) * -1.0


class Peak(TorchDispatchMode):
    """How many bytes of tensors that were made since are there at once, at most."""

    def __init__(self):
        super().__init__()
        self.owners, self.now, self.peak = Counter(), 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                key, size = storage.data_ptr(), storage.nbytes()
                self.now += size * (not self.owners[key])
                self.owners[key] += 1
                weakref.finalize(tensor, self.leave, key, size)
        self.peak = max(self.peak, self.now)
        return out

    def leave(self, key, size):
        self.owners[key] -= 1
        self.now -= size * (not self.owners[key])


def test_memory_does_not_grow_with_the_questions_of_a_hundred_thousand_entities(make_knowledge):
    """At the size of the benchmark's blocks and entities: four times as many questions need no more at once."""
    peaks, targets = [], torch.randn(100_000, 4)
    for count in (50, 200):
        facts = [(number % 7, 0, number) for number in range(count)]
        graph, schema = make_knowledge({"train": facts[:1], "test": facts}, entities=100_000, relations=1)
        sources = torch.randn(2 * count, 4)
        scores = Scores(lambda rows, sources=sources: sources[rows] @ targets.T, 2 * count, 100_000)
        with Peak() as peak:
            LinkPrediction(schema).evaluate(scores, graph, metrics=["mrr"])
        peaks.append(peak.peak)
    block, every = 4 * BLOCK_ELEMENTS, 4 * scores.shape[0] * scores.shape[1]  # bytes
    assert 0.9 * block < peaks[0] < 1.25 * block < every / 7
    assert peaks[1] < 1.05 * peaks[0]


def test_four_hundred_questions_are_read_in_blocks(make_knowledge, monkeypatch):
    monkeypatch.setattr(ranking, "BLOCK_ELEMENTS", BLOCK_ELEMENTS // 10_000)
    facts = [(number % 7, 0, number) for number in range(200)]
    graph, schema = make_knowledge({"train": facts[:1], "test": facts}, entities=1000, relations=1)
    scores = Read(400, 1000)
    found = LinkPrediction(schema).evaluate(scores, graph, metrics=["mean_rank head", "mrr"])
    assert scores.largest <= max(1000, BLOCK_ELEMENTS // 10_000)
    assert scores.read == 400
    assert found["mean_rank head"] == pytest.approx(np.mean([head + 1 for head, _, _ in facts]))


def test_no_block_is_larger_than_some_megabytes():
    assert BLOCK_ELEMENTS * 4 <= 32 << 20


def test_scores_computed_when_read_are_ranked_as_those_that_are_there(make_drawn_knowledge, monkeypatch):
    monkeypatch.setattr(ranking, "BLOCK_ELEMENTS", 100)
    graph, schema = make_drawn_knowledge(3)
    task = LinkPrediction(schema)
    view = task.view(graph, "val")
    table = torch.randn(view["query"].num_nodes, 30)
    lazy = task.answers(Scores(lambda rows: table[rows], len(table), 30), view, "val")
    there = task.answers(table, view, "val")
    assert isinstance(lazy, Scores)
    assert lazy.shape == there.shape == (int(graph["query"].val_mask.sum()), 30)
    assert torch.equal(there, table[view["query"].val_mask])
    assert task.evaluate(lazy, graph, "val") == task.evaluate(there, graph, "val")


def test_the_view_has_the_questions_of_the_part_and_of_training_with_its_answers_alone(make_drawn_knowledge):
    graph, schema = make_drawn_knowledge()
    store, task = graph["query"], LinkPrediction(schema)
    for part in ("train", "val", "test"):
        seen = task.view(graph, part)["query"]
        mask = store.train_mask | store[f"{part}_mask"]
        assert torch.equal(seen.n_id, mask.nonzero()[:, 0])
        assert torch.equal(seen.source, store.source[mask])
        assert torch.equal(seen.answer, torch.where(store.train_mask, store.answer, -1)[mask])
        half = len(seen.n_id) // 2  # the two questions of a fact go on standing half a view apart
        assert torch.equal(seen.n_id[:half] + store.num_nodes // 2, seen.n_id[half:])


def test_no_view_tells_the_facts_of_another_part(make_drawn_knowledge):
    graph, schema = make_drawn_knowledge()
    task, other = LinkPrediction(schema), graph.clone()
    test = other["query"].test_mask
    for name in ("source", "relation", "answer"):
        other["query"][name][test] = other["query"][name][test].roll(1)
    for part in ("train", "val"):
        assert difference(task.view(graph, part), task.view(other, part)) is None


def test_what_is_known_is_put_together_once_and_anew_where_it_has_changed(make_drawn_knowledge):
    graph, schema = make_drawn_knowledge()
    task = LinkPrediction(schema)
    scores = torch.randn(int(graph["query"].test_mask.sum()), 30)

    def mrr(task, graph):
        return task.evaluate(scores, graph, metrics=["mrr"])["mrr"]

    first, kept = mrr(task, graph), task._kept
    changed = copy.copy(graph)
    changed["entity", "r0", "entity"].edge_index = changed["entity", "r0", "entity"].edge_index[:, :0]
    assert mrr(task, changed) == first
    assert task._kept is kept
    extra = graph.clone()
    assert mrr(task, extra) == first
    assert task._kept is not kept
    train = extra["query"].train_mask.nonzero()[:, 0]
    extra["query"].answer[train] = extra["query"].answer[train].roll(1)  # in place
    assert mrr(task, extra) == mrr(LinkPrediction(schema), extra) != first


def test_an_answer_that_is_not_known_is_not_judged(make_knowledge):
    parts = {"train": [(0, 0, 1)], "test": [(0, 0, 2), (1, 0, 0)]}
    graph, schema = make_knowledge(parts, entities=3, relations=1)
    task = LinkPrediction(schema)
    graph["query"].answer[1] = -1  # of the first question of the test
    scores = torch.tensor([[torch.nan] * 3, [3.0, 2.0, 1.0], [1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])
    # (1, r0, ?): 0 is first of 3; (2, ^r0, ?): 0 is last of 3; (0, ^r0, ?): 1 is second of 3
    assert task.evaluate(scores, graph, metrics=["mean_rank"]) == {"mean_rank": 2.0}
    graph["query"].answer[:] = -1
    with pytest.raises(DataError, match="Part 'test' must have at least 1 question with a known answer, got 4 without"):
        task.evaluate(scores, graph)


def test_a_group_without_questions_is_not_a_number(make_knowledge):
    graph, schema = make_knowledge({"train": [(0, 0, 1)], "test": [(1, 0, 2)]}, entities=3, relations=2)
    found = LinkPrediction(schema).evaluate(torch.randn(2, 3), graph)
    assert tuple(found) == LinkPrediction(schema).metrics
    assert {name.partition(" ")[2] for name, value in found.items() if np.isnan(value)} == {"1-n", "n-1", "n-n"}


def test_a_relation_that_training_lacks_has_no_category_and_all_candidates(make_knowledge):
    graph, schema = make_knowledge({"train": [(0, 0, 1)], "test": [(1, 1, 2)]}, entities=5, relations=2)
    scores = torch.tensor([[9.0, 8.0, 1.0, 0.0, 0.0], [9.0, 0.0, 1.0, 2.0, 0.0]])
    found = LinkPrediction(schema, candidates="typed").evaluate(scores, graph)
    assert found["mean_rank tail"] == 3.0
    assert found["mean_rank head"] == 4.5
    assert np.isnan(found["mrr 1-1"])


def test_typed_candidates_are_those_seen_on_that_side_in_training(make_knowledge):
    parts = {"train": [(0, 0, 1), (2, 0, 3), (4, 0, 1)], "test": [(0, 0, 4)]}
    graph, schema = make_knowledge(parts, entities=6, relations=1)
    scores = torch.tensor([[9.0, 9.0, 9.0, 8.0, 1.0, 9.0], [1.0, 9.0, 2.0, 9.0, 0.0, 9.0]])
    found = LinkPrediction(schema, candidates="typed").evaluate(scores, graph)
    assert found["mean_rank tail"] == 2.0  # 3 alone is before 4: 1 is another answer, and no one else was ever a tail
    assert found["mean_rank head"] == 2.0  # 2 is before 0, and 4 behind


@pytest.mark.parametrize("inverse", [True, False])
def test_a_link_between_two_graphs_is_sought_in_the_other_graph(inverse):
    given = [(f"e{a}", "r", f"e{b}") for a, b in [(0, 1), (1, 2), (2, 3)]]
    one, other = (
        mg.KnowledgeGraph.fit(mg.Triples(*zip(*rows, strict=True)), inverse=inverse) for rows in (given[:2], given)
    )
    links = {"train": [("e0", "e0")], "test": [("e1", "e1"), ("e2", "e3")]}
    both = align(one, other, links)
    graph, generator = both.graph, torch.Generator().manual_seed(0)
    asked, ours, theirs = rows_of(graph, "test"), set(range(3)), set(range(3, 7))
    scores = torch.randint(5, (len(asked), 7), generator=generator).float()
    number = both.relations.index("same")
    allowed = {0: ours | theirs, number: theirs, 2: ours | theirs, number + 2: ours}
    task = LinkPrediction(both.schema, candidates="nodes")
    places = places_by_hand(scores, graph, "test", allowed=allowed)
    assert places[:, 1].tolist() == [3, 3, 2, 2]
    wanted = scored(places)
    assert task.evaluate(scores, graph, metrics=list(wanted)) == pytest.approx(wanted)


def test_several_types_of_entities_are_numbered_through(make_knowledge):
    graph, schema = make_knowledge({"train": [(0, 0, 1)], "test": [(1, 0, 2)]}, entities=3, relations=1)
    graph["town"].num_nodes = 2
    graph["flag"].x = torch.ones(1, 2)
    graph["flag", "of", "town"].edge_index = torch.tensor([[0], [1]])
    graph["entity", "in", "town"].edge_index = torch.tensor([[0], [1]])
    nodes = {**schema.nodes, "town": NodeSpec(), "flag": NodeSpec(channels=2)}
    edges = {**schema.edges, ("flag", "of", "town"): {}, ("entity", "in", "town"): {}}
    target = schema.target("answer").model_copy(update={"classes": tuple("abcde")})
    schema = Schema(nodes=nodes, edges=edges, targets={"answer": target}, anchor="entity")
    graph["query"].answer[1] = 4  # the second town, which has a flag
    graph["query"].relation = torch.tensor([0, 0, 2, 2])
    found = LinkPrediction(schema).evaluate(torch.eye(5)[[4, 1]] * torch.tensor([[1.0], [0.0]]), graph)
    assert (found["mean_rank with flag"], found["mean_rank without flag"]) == (1.0, 3.0)
    assert LinkPrediction(schema).payloads == ("flag",)


def test_one_metric_is_what_it_is_among_all(make_drawn_knowledge):
    graph, schema = make_drawn_knowledge()
    task = LinkPrediction(schema)
    scores = torch.randn(int(graph["query"].val_mask.sum()), 30)
    for name, score in task.evaluate(scores, graph, "val").items():
        assert task.evaluate(scores, graph, "val", metrics=[name]) == {name: score}


def test_the_metrics_are_named_in_the_docstring():
    for name in METRICS:
        assert f"``{name}``" in LinkPrediction.__doc__


def test_odd_predictions_are_refused(make_drawn_knowledge):
    graph, schema = make_drawn_knowledge()
    task, rows = LinkPrediction(schema), int(graph["query"].test_mask.sum())
    with pytest.raises(DataError, match=rf"Predictions for test must be \[{rows}, 30\], a row .* got \[{rows}, 29\]"):
        task.evaluate(torch.zeros(rows, 29), graph)
    with pytest.raises(SchemaError, match=r"Metrics must be among \['mrr', .* got \['hits@5'\]"):
        task.evaluate(torch.zeros(rows, 30), graph, metrics=["hits@5"])
    scores = torch.zeros(rows, 30)
    scores[[2, 5], [7, 0]] = torch.nan
    with pytest.raises(DataError, match=f"Scores for test must be numbers, got NaN in 2 of {rows} rows"):
        task.evaluate(scores, graph)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("source", 30, "'source' of 'query' must be from 0 to 29, got 30 in row 3; leave facts out"),
        ("relation", -1, "'relation' of 'query' must be from 0 to 7, got -1 in row 3"),
        ("answer", 31, "'answer' of 'query' must be from -1 to 29, got 31 in row 3"),
    ],
)
def test_unknown_entities_and_relations_are_refused(make_drawn_knowledge, field, value, message):
    graph, schema = make_drawn_knowledge()
    graph = graph.clone()
    graph["query"][field][3] = value
    with pytest.raises(DataError, match=message):
        LinkPrediction(schema).evaluate(torch.zeros(int(graph["query"].test_mask.sum()), 30), graph)


def test_odd_schemas_are_refused(make_drawn_knowledge):
    _, schema = make_drawn_knowledge()
    with pytest.raises(SchemaError, match="needs a target 'answer' of nodes 'query' .* got None; make the graph with"):
        LinkPrediction(schema.model_copy(update={"targets": {}}))
    with pytest.raises(SchemaError, match="candidates must be 'all', 'typed' or 'nodes', got 'some'"):
        LinkPrediction(schema, candidates="some")
