"""Scores, hits and reasons equal those of a slow loop, at every level, with filters, words and several payloads."""

import math
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmgraph.assembly import GraphConfig, Source, build_graph
from mmgraph.encoders import FeatureCache, Function
from mmgraph.engine import Engine


def counts(letters):
    def count(texts):
        return [[text.count(letter) - 0.5 for letter in letters] for text in texts]

    return Function(count, name=letters, revision="1", modality="text", channels=len(letters))


ENCODERS = {"one": counts("abc"), "two": counts("xy"), "about": counts("ab")}
FIELDS = {
    "nodes": {
        "film": {"table": "films", "key": "id", "columns": {"one": "text", "two": "text", "tag": "keep"}},
        "studio": {"table": "studios", "key": "name", "columns": {"about": "text"}},
    },
    "edges": [
        {"type": ["film", "before", "film"], "column": "next"},
        {"type": ["film", "by", "studio"], "column": "studio"},
    ],
    "anchor": "film",
}
STUDIOS = {"name": ["s0", "s1"], "about": ["a b b", "a"]}
word = st.sampled_from(["a", "bb", "abc", "xx", "y", "cab"])
text = st.lists(word, min_size=1, max_size=3).map(" ".join)
film = st.tuples(
    st.lists(text, max_size=2),
    st.none() | text,
    st.sampled_from(["red", "blue"]),
    st.integers(0, 5),
    st.none() | st.sampled_from(["s0", "s1"]),
)
asked = st.dictionaries(st.sampled_from(["one", "two"]), text | st.lists(text, min_size=1, max_size=2), min_size=1)


def cosine(a, b):
    norm = np.linalg.norm(a) * np.linalg.norm(b)
    return float(a @ b / norm) if norm > 1e-9 else 0.0


def words_of(texts, query, k1=1.5, b=0.75):
    """BM25 by a loop, the best text having 1."""
    lengths = [len(one.split()) for one in texts]
    scores = []
    for one in texts:
        total = 0.0
        for token in query.split():
            holds = sum(token in other.split() for other in texts)
            often = Counter(one.split())[token]
            rarity = math.log(1 + (len(texts) - holds + 0.5) / (holds + 0.5))
            total += rarity * often / (often + k1 * (1 - b + b * len(one.split()) / np.mean(lengths))) if often else 0
        scores.append(total)
    best = max(scores)
    return [score / best if best > 0 else 0.0 for score in scores]


def near(graph, row, hops):
    """(type, row) → edges away, by walking one edge at a time."""
    found = {("film", row): 0}
    for step in range(1, hops + 1):
        for node, place in [one for one, far in found.items() if far == step - 1]:
            for kind in (("film", "before", "film"), ("film", "by", "studio")):
                for source, target in graph[kind].edge_index.T.tolist():
                    if (node, place) == (kind[2], target):
                        found.setdefault((kind[0], source), step)
                    if (node, place) == (kind[0], source) and kind[0] != kind[2]:
                        found.setdefault((kind[2], target), step)
    return found


def reference(built, query, *, hops, weight, decay=0.5):
    """Row → (score, query node → what it gave), by a loop."""
    graph, scores = built.graph, {}
    many = {node: given if isinstance(given, list) else [given] for node, given in query.items()}
    for row in range(graph["film"].num_nodes):
        found, parts = near(graph, row, hops), {}
        for node, payloads in many.items():
            x = graph[node].x.double().numpy()
            texts = list(built.payloads[node]())
            for number, payload in enumerate(payloads):
                vector = ENCODERS[node]([payload])[0].double().numpy()
                agree = words_of(texts, payload) if texts else []
                values = []
                for place, owner in graph[node, "of", "film"].edge_index.T.tolist():
                    if ("film", owner) in found:
                        like = cosine(x[place] - x.mean(axis=0), vector - x.mean(axis=0))
                        value = (1 - weight) * like + weight * agree[place] if weight else like
                        values.append(min(value, value * decay ** found["film", owner]))
                if values:
                    name = node if len(payloads) == 1 else f"{node} {number}"
                    parts[name] = max(values) / len(payloads) / len(many)
        if parts:
            scores[row] = sum(parts.values()), parts
    return scores


def make(rows, folder):
    ids = [f"f{row}" for row in range(len(rows))]
    table = pa.table(
        {
            "id": ids,
            "one": pa.array([one for one, *_ in rows], pa.list_(pa.string())),
            "two": pa.array([two for _, two, *_ in rows], pa.string()),
            "tag": [tag for _, _, tag, *_ in rows],
            "next": [f"f{number % len(rows)}" for *_, number, _ in rows],
            "studio": pa.array([studio for *_, studio in rows], pa.string()),
        }
    )
    source = Source(GraphConfig(**FIELDS), {"films": table, "studios": pa.table(STUDIOS)})
    return build_graph(source, encoders=ENCODERS, cache=FeatureCache(folder))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(film, min_size=1, max_size=7),
    asked,
    st.integers(1, 8),
    st.integers(0, 2),
    st.sampled_from([0.0, 0.3, 1.0]),
)
def test_hits_and_reasons_are_those_of_a_loop(tmp_path, rows, query, k, hops, weight):
    built = make(rows, tmp_path)
    engine = Engine(built, text_weight=weight)
    level = "subgraph" if hops else "sample"
    hits = engine.search(query, k=k, level=level, hops=hops)
    expected = reference(built, query, hops=hops, weight=weight)
    assert [hit.score for hit in hits] == pytest.approx(
        sorted((score for score, _ in expected.values()), reverse=True)[:k], abs=1e-6
    )
    for hit in hits:
        score, parts = expected[hit.position]
        assert hit.score == pytest.approx(score, abs=1e-6)
        assert sum(reason.contribution for reason in hit.reasons) == pytest.approx(hit.score, abs=1e-12)
        assert {reason.query: reason.contribution for reason in hit.reasons} == pytest.approx(parts, abs=1e-6)
        for reason in hit.reasons:
            walk_is_whole(built.graph, hit.position, reason)
        assert hit.metadata == {"tag": rows[hit.position][2]}
    order = [(-hit.score, hit.position) for hit in hits]
    assert order == sorted(order)  # equal ones in their order


def walk_is_whole(graph, row, reason):
    """The edges lead from the hit to what the match hangs on, and are edges of the graph."""
    here = ("film", row)
    for edge, source, target in reason.walk:
        assert [source, target] in graph[edge].edge_index.T.tolist()
        ends = [(edge[0], source), (edge[2], target)]
        assert here in ends
        here = ends[1] if here == ends[0] else ends[0]
    (matched,) = reason.matched
    assert [matched.row, here[1]] in graph[matched.type, "of", here[0]].edge_index.T.tolist()


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(film, min_size=2, max_size=7), asked, st.sampled_from(["red", "blue"]))
def test_filters_leave_the_same_hits_in_the_same_order(tmp_path, rows, query, tag):
    engine = Engine(make(rows, tmp_path))
    every = engine.search(query, k=99)
    wanted = [(hit.id, hit.score) for hit in every if hit.metadata["tag"] == tag]
    assert [(hit.id, hit.score) for hit in engine.search(query, k=99, where={"tag": tag})] == wanted
    assert [(hit.id, hit.score) for hit in engine.search(query, k=99, where={"tag": [tag, "green"]})] == wanted
    assert engine.search(query, where={"tag": set()}) == []


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(film, min_size=1, max_size=7), asked, st.integers(1, 9))
def test_single_nodes_are_ranked_by_what_they_give(tmp_path, rows, query, k):
    built = make(rows, tmp_path)
    hits = Engine(built).search(query, k=k, level="node")
    many = {node: given if isinstance(given, list) else [given] for node, given in query.items()}
    values = {}
    for node, payloads in many.items():
        x = built.graph[node].x.double().numpy()
        for row in range(len(x)):
            like = [
                cosine(x[row] - x.mean(0), ENCODERS[node]([one])[0].double().numpy() - x.mean(0)) for one in payloads
            ]
            values[node, row] = sum(like) / len(like) / len(many)
    assert [hit.score for hit in hits] == pytest.approx(sorted(values.values(), reverse=True)[:k], abs=1e-6)
    for hit in hits:
        assert hit.score == pytest.approx(values[hit.node, hit.position], abs=1e-6)
        assert {reason.matched for reason in hit.reasons} == {((hit.node, hit.position),)}


def test_what_hangs_elsewhere_is_found_over_an_edge(tmp_path):
    rows = [(["a"], None, "red", 0, "s0"), (["bb"], None, "red", 0, "s1"), (["abc"], None, "blue", 0, None)]
    engine = Engine(make(rows, tmp_path))
    first, second = engine.search({"about": "a"}, level="subgraph", k=3)[:2]
    assert (first.id, first.reasons[0].walk) == ("f1", ((("film", "by", "studio"), 1, 1),))
    assert first.score == pytest.approx(0.5)
    assert second.score == pytest.approx(-1.0)  # what is unlike is no better for being far away
    assert [hit.node for hit in engine.search({"about": "a"}, level="node")] == ["about", "about"]
