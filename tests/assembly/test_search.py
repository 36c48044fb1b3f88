"""Search by payloads: equal to a loop, with modalities that are absent, alone and together."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmgraph.encoders import Function
from mmgraph.errors import ArtifactError, ConfigError, DataError


def counts(letters):
    def count(texts):
        return [[text.count(letter) - 0.5 for letter in letters] for text in texts]

    return Function(count, name=letters, revision="1", modality="text", channels=len(letters))


ONE, TWO = counts("abc"), counts("xy")
text = st.text("abcxy", min_size=1, max_size=6)
FIELDS = {
    "nodes": {"film": {"table": "films", "key": "id", "columns": {"one": "text", "two": "text", "name": "keep"}}},
    "edges": [{"type": ["film", "before", "film"], "column": "next"}],
}


def cosine(a, b):
    norm = np.linalg.norm(a) * np.linalg.norm(b)
    return a @ b / norm if norm > 1e-9 else 0.0


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.lists(text, max_size=3), st.none() | text), min_size=1, max_size=8),
    st.dictionaries(st.sampled_from(["one", "two"]), text, min_size=1),
    st.integers(1, 9),
)
def test_hits_are_those_of_a_loop(build, rows, query, k):
    ids = [f"f{row}" for row in range(len(rows))]
    import pyarrow as pa

    table = pa.table(
        {
            "id": ids,
            "one": pa.array([one for one, _ in rows], pa.list_(pa.string())),
            "two": pa.array([two for _, two in rows], pa.string()),
            "name": ids,
            "next": ids,
        }
    )
    encoders = {"one": ONE, "two": TWO}
    hits = build(FIELDS, {"films": table}, encoders=encoders).search(query, k=k)
    every = {"one": [other for one, _ in rows for other in one], "two": [two for _, two in rows if two]}
    centres = {node: encoders[node](found).double().numpy().mean(axis=0) for node, found in every.items() if found}
    scores = {}
    for name, (one, two) in zip(ids, rows, strict=True):
        texts = {"one": one, "two": [two] if two else []}
        parts = {}
        for node, payload in query.items():
            wanted = encoders[node]([payload])[0].numpy() - centres.get(node, 0)
            found = [cosine(wanted, encoders[node]([other])[0].numpy() - centres[node]) for other in texts[node]]
            parts[node] = max(found) if found else None
        if any(part is not None for part in parts.values()):
            scores[name] = sum(part or 0 for part in parts.values()) / len(parts), parts
    assert len(hits) == min(k, len(scores))
    assert [hit.score for hit in hits] == pytest.approx(
        sorted((score for score, _ in scores.values()), reverse=True)[:k], abs=1e-5
    )
    for hit in hits:
        score, parts = scores[hit.id]
        assert hit.score == pytest.approx(score, abs=1e-5)
        assert hit.metadata["name"] == hit.id == ids[hit.position]
        for node, part in parts.items():
            assert hit.metadata[node] == (None if part is None else pytest.approx(part, abs=1e-3))


@pytest.fixture
def built(build):
    table = {
        "id": ["f0", "f1", "f2", "f3"],
        "one": ["aab", "abb", None, "aab"],
        "two": [None, "x", None, "y"],
        "name": ["n0", None, "n2", "n3"],
        "next": ["f1", "f2", "f3", None],
    }
    return build(FIELDS, {"films": table}, encoders={"one": ONE, "two": TWO})


def test_nodes_that_are_all_alike_tell_nothing(build):
    fields = {"nodes": {"film": {"table": "films", "columns": {"one": "text"}}}}
    same = Function(lambda texts: [[0.1, 0.7]] * len(texts), name="same", revision="1", modality="text", channels=2)
    hits = build(fields, {"films": {"one": ["a", "b", "c"]}}, encoders={"one": same}).search({"one": "d"})
    assert [(hit.id, hit.score) for hit in hits] == [("0", 0.0), ("1", 0.0), ("2", 0.0)]


def test_an_anchor_without_the_modality_is_not_found(built):
    assert [hit.id for hit in built.search({"one": "aab"})] == ["f0", "f3", "f1"]  # equal ones in their order
    assert [hit.id for hit in built.search({"two": "y"})] == ["f3", "f1"]
    both = built.search({"one": "aab", "two": "y"})
    assert [hit.id for hit in both] == ["f3", "f0", "f1"]
    assert both[1].metadata == {"name": "n0", "one": 1.0, "two": None}


def test_a_hit_carries_its_subgraph(built):
    near = built.search({"two": "x"}, k=1)[0].subgraph  # f1, which f0 is before
    assert near["film"].n_id.tolist() == [0, 1]
    assert built.search({"two": "x"}, k=1, hops=0)[0].subgraph["film"].n_id.tolist() == [1]


def test_no_node_of_a_modality_is_no_hit(build):
    fields = {"nodes": {"film": {"table": "films", "columns": {"one": "text"}}}}
    import pyarrow as pa

    built = build(fields, {"films": {"id": ["a"], "one": pa.nulls(1, pa.string())}}, encoders={"one": ONE})
    assert built.search({"one": "abc"}) == []


@pytest.mark.parametrize(
    ("query", "options", "kind", "message"),
    [
        ({}, {}, ConfigError, r"must have a payload of at least one of \['one', 'two'\], got none"),
        ({"three": "a"}, {}, ConfigError, r"must be one of \['one', 'two'\], or of \['text'\] .*, got 'three'"),
        ({"one": "a"}, {"k": 0}, ConfigError, "Option 'k' must be a whole number at least 1, got 0"),
        ({"one": object()}, {}, DataError, "The query's 'one' can't be read: a object has no bytes"),
    ],
)
def test_queries_that_can_not_be_are_refused_by_value(built, query, options, kind, message):
    with pytest.raises(kind, match=message):
        built.search(query, **options)


def test_pictures_are_found_by_their_bytes_and_a_broken_one_is_refused(build, png, tmp_path):
    (tmp_path / "a.png").write_bytes(png(0))
    (tmp_path / "b.png").write_bytes(png(200, 16, "L"))
    fields = {"nodes": {"film": {"table": "films", "key": "id", "columns": {"p": "image"}}}}
    built = build(fields, {"films": {"id": ["a", "b"], "p": ["a.png", "b.png"]}}, root=tmp_path)
    assert built.search({"p": png(0)}, k=1)[0].id == "a"
    assert built.search({"p": tmp_path / "b.png"}, k=1)[0].id == "b"
    built.write(tmp_path / "out")
    assert type(built).open(tmp_path / "out").search({"p": png(0)}, k=1)[0].id == "a"
    with pytest.raises(DataError, match="The query's 'p' can't be read: "):
        built.search({"p": b"no picture"})


def test_what_has_no_vectors_or_hangs_elsewhere_is_not_searched_by(build):
    fields = {
        "nodes": {
            "film": {"table": "films", "columns": {"t": {"modality": "text", "encoder": "tokens"}}},
            "review": {"table": "reviews", "columns": {"r": "text"}},
        },
        "anchor": "film",
    }
    built = build(fields, {"films": {"t": ["a b", "a c"]}, "reviews": {"r": ["x", "y"]}}, encoders={"r": TWO})
    for query in ({"t": "a"}, {"r": "x"}):
        with pytest.raises(ConfigError, match="can't be searched by: it must have x, and hang on what is searched"):
            built.search(query)


def test_encoders_that_are_gone_can_not_search(built, tmp_path):
    built.write(tmp_path / "out")
    with pytest.raises(ArtifactError, match="was given as an object"):
        type(built).open(tmp_path / "out").search({"one": "a"})
    assert torch.is_tensor(built.graph["one"].x)
