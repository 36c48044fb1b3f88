"""CoDEx-S, the small knowledge graphs, and UMLS with texts."""

import json
import math
from itertools import permutations

import pytest

from mmgraph.builders import KnowledgeGraph
from mmgraph.data import load_dataset
from mmgraph.schema import Modality


def write(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def edges(knowledge, *edge):
    names = {node: [] for node in knowledge.graph.node_types}
    for node in ("entity", "class"):
        if node in names:
            first = 0 if node == "entity" else knowledge.graph["entity"].num_nodes
            names[node] = knowledge.entities[first : first + knowledge.graph[node].num_nodes]
    index = knowledge.graph[edge].edge_index.T.tolist()
    return {(names[edge[0]][head], names[edge[2]][tail]) for head, tail in index}


@pytest.fixture
def codex(tmp_path):
    """Three entities; Q1 is the type of another, too."""
    facts = {
        "train.txt": "Q1\tP1\tQ2\nQ3\tP2\tQ1\n",
        "valid.txt": "Q2\tP1\tQ3\n",
        "test.txt": "Q1\tP2\tQ3\n",
        "valid_negatives.txt": "Q2\tP1\tQ1\n",
        "test_negatives.txt": "Q1\tP2\tQ2\n",
        "entity2types.json": json.dumps({"Q1": ["Q5"], "Q2": ["Q1", "Q5"], "Q3": ["Q6"], "Q9": ["Q6"]}),
        "types.json": json.dumps(
            {
                "Q1": {"label": "one", "description": "", "wiki": ""},
                "Q5": {"label": "human", "description": "a person", "wiki": ""},
                "Q6": {"label": "town", "description": "a place", "wiki": ""},
            }
        ),
        "relations.json": json.dumps({"P1": {"label": "knows", "description": "is known to"}}),
    }
    return {name: write(tmp_path, name, text) for name, text in facts.items()}


def test_codex_is_its_facts(builder, codex):
    knowledge = builder("codex_s").build(codex)
    assert isinstance(knowledge, KnowledgeGraph)
    assert knowledge.entities == ("Q1", "Q2", "Q3")
    assert {part: list(facts) for part, facts in knowledge.triples().items()} == {
        "train": [("Q1", "P1", "Q2"), ("Q3", "P2", "Q1")],
        "val": [("Q2", "P1", "Q3")],
        "test": [("Q1", "P2", "Q3")],
    }
    assert not knowledge.schema.modalities


def test_codex_gives_what_is_false_and_what_names_mean(builder, codex):
    build = builder("codex_s").build
    negatives = build(codex, give="negatives")
    assert {part: list(facts) for part, facts in negatives.items()} == {
        "val": [("Q2", "P1", "Q1")],
        "test": [("Q1", "P2", "Q2")],
    }
    assert build(codex, give="texts") == {
        "P1": "knows: is known to",
        "type:Q1": "one",
        "type:Q5": "human: a person",
        "type:Q6": "town: a place",
    }
    with pytest.raises(ValueError, match="give must be 'graph', 'negatives' or 'texts', got 'labels'"):
        build(codex, give="labels")


@pytest.mark.parametrize("texts", [None, "hashed_text"])
def test_types_of_codex_are_edges(builder, codex, texts, monkeypatch, tmp_path):
    monkeypatch.setenv("MMGRAPH_CACHE", str(tmp_path / "cache"))
    knowledge = builder("codex_s").build(codex, types=True, texts=texts)
    assert edges(knowledge, "entity", "type", "class") == {
        ("Q1", "type:Q5"),
        ("Q2", "type:Q1"),
        ("Q2", "type:Q5"),
        ("Q3", "type:Q6"),
    }
    assert knowledge.entities[:3] == ("Q1", "Q2", "Q3")
    assert ("text" in knowledge.schema.nodes) == bool(texts)
    if texts:
        assert knowledge.graph["text", "of", "class"].edge_index.tolist() == [[0, 1, 2], [0, 1, 2]]


def test_types_of_codex_are_facts_of_training(builder, codex):
    knowledge = builder("codex_s").build(codex, types="facts")
    assert knowledge.entities == ("Q1", "Q2", "Q3", "type:Q1", "type:Q5", "type:Q6")
    assert knowledge.relations == ("P1", "P2", "type")
    parts = {part: list(facts) for part, facts in knowledge.triples().items()}
    assert parts["train"][2:] == [
        ("Q1", "type", "type:Q5"),
        ("Q2", "type", "type:Q1"),
        ("Q2", "type", "type:Q5"),
        ("Q3", "type", "type:Q6"),
    ]
    assert [len(parts[part]) for part in ("val", "test")] == [1, 1]


@pytest.mark.parametrize("types", [False, "facts"])
def test_symmetric_relations_of_codex_are_learned_both_ways(builder, codex, types):
    known = [f"{one}\tP1\t{other}" for one, other in permutations(("Q1", "Q2", "Q3", "Q4"), 2)]
    codex["train.txt"].write_text("\n".join([*known[:-1], "Q1\tP2\tQ2", ""]))
    codex["entity2types.json"].write_text(json.dumps({f"Q{number}": ["Q5"] for number in range(1, 5)}))
    plain, marked = (builder("codex_s").build(codex, symmetric=one, types=types) for one in (False, True))
    assert plain.report.derived["symmetric"] == 0
    assert marked.report.derived["symmetric"] == 1  # (Q4, P1, Q3), and nothing of P2


def test_types_of_codex_are_texts(builder, codex, monkeypatch, tmp_path):
    monkeypatch.setenv("MMGRAPH_CACHE", str(tmp_path / "cache"))
    build = builder("codex_s").build
    knowledge = build(codex, texts="hashed_text")
    assert knowledge.entities == ("Q1", "Q2", "Q3")
    assert knowledge.graph["text", "of", "entity"].edge_index.tolist() == [[0, 1, 2], [0, 1, 2]]
    codex["entity2types.json"].write_text(json.dumps({"Q1": ["Q5"], "Q2": ["Q1", "Q5"], "Q3": ["Q5"]}))
    first, second, third = build(codex, texts="hashed_text").graph["text"].x
    assert first.equal(third)
    assert not first.equal(second)


def test_relations_come_first_in_two_of_the_small_graphs(builder, tmp_path):
    files = {}
    for graph, text in (("nations", "knows\ta\tb\n"), ("umls", "a\tknows\tb\n")):
        for name in ("train.txt", "valid.txt", "test.txt"):
            files[f"raw/other/{graph}/{name}"] = write(tmp_path, f"{graph}/{name}", text)
    for graph in ("nations", "umls"):
        knowledge = builder("kgs").build(files, graph=graph)
        assert list(knowledge.triples()["test"]) == [("a", "knows", "b")]
    with pytest.raises(ValueError, match=r"graph must be one of \['nations', .*'countries_s3'\], got 'wordnet'"):
        builder("kgs").build(files, graph="wordnet")


def test_literals_of_nations_hang_on_countries(builder, tmp_path):
    module = builder("kgs")
    lines = module.LITERALS.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "head\trelation\ttail\tkind\tdatatype\tlanguage\tunit"
    assert "Indonesia\tun_member_since\t1950\tliteral\txsd:gYear\t\t" in lines
    units = {(cells[1], cells[6]) for cells in (line.split("\t") for line in lines[1:])}
    degrees = {("capital_latitude", "°"), ("capital_longitude", "°")}
    assert units == {("area", "km²"), ("un_member_since", "")} | degrees
    files = {
        f"raw/other/nations/{name}": write(tmp_path, f"nations/{name}", f"knows\t{text}\n")
        for name, text in (("train.txt", "USSR\tUSA"), ("valid.txt", "USA\tUSSR"), ("test.txt", "USA\tUSA"))
    }
    knowledge = module.build(files, literals=True)
    assert len(knowledge.entities) == 14
    assert knowledge.graph["table", "of", "entity"].edge_index.tolist() == [[*range(14)]] * 2
    store, spec = knowledge.graph["table"], knowledge.schema.nodes["table"]
    assert spec.modality is Modality.TABULAR
    kept = [name for name in spec.names if not name.endswith(" unknown")]
    assert kept == ["log10_area", "capital_latitude", "capital_longitude", "un_member_since"]
    area, latitude, longitude, year = store.x[:, [spec.names.index(name) for name in kept]].T
    row = {name: number for number, name in enumerate(knowledge.entities)}
    assert store.x.mean(dim=0).abs().max() < 1e-5
    assert area.argsort()[[0, 1, -1]].tolist() == [row["Israel"], row["Netherlands"], row["USSR"]]
    assert latitude.argmax() == row["USSR"]
    assert latitude.argmin() == row["Brazil"]
    assert longitude.argmax() == row["China"]
    assert longitude.argmin() == row["Cuba"]
    assert year.argsort(descending=True)[:4].tolist() == [row[n] for n in ("Jordan", "Indonesia", "Israel", "Burma")]
    assert (area[row["USSR"]] - area[row["USA"]]) / (area[row["USA"]] - area[row["Israel"]]) == pytest.approx(
        (math.log(22402) - math.log(9834)) / (math.log(9834) - math.log(20.8)), rel=1e-4
    )
    assert not module.build(files).schema.modalities
    with pytest.raises(ValueError, match="literals are known of 'nations' alone, got graph='umls'; leave them out"):
        module.build(files, graph="umls", literals=True)


@pytest.fixture
def umls(tmp_path):
    texts = {
        "train.tsv": "b_c\tcauses\ta\na\taffects\tb_c\n",
        "dev.tsv": "a\tcauses\tb_c\n",
        "test.tsv": "b_c\taffects\ta\n",
        "entity2text.txt": "b_c\tb c\na\ta\n",
        "entity2textlong.txt": "a\tThe first letter.\nb_c\tTwo letters.\n",
        "relation2text.txt": "causes\tcauses\naffects\tdoes affect\n",
    }
    return {name: write(tmp_path, name, text) for name, text in texts.items()}


def test_texts_of_umls_hang_on_their_concepts(builder, umls, monkeypatch, tmp_path):
    monkeypatch.setenv("MMGRAPH_CACHE", str(tmp_path / "cache"))
    build = builder("umls_text").build
    knowledge = build(umls)
    assert knowledge.entities == ("a", "b_c")
    assert {node: spec.modality for node, spec in knowledge.schema.nodes.items() if spec.modality} == dict.fromkeys(
        ["name", "description"], Modality.TEXT
    )
    alone = build(umls, columns=("name",))
    assert (alone.graph["name"].x == knowledge.graph["name"].x).all()
    assert "description" not in alone.graph.node_types
    assert not alone.graph["name"].x[0].equal(alone.graph["name"].x[1])
    assert alone.graph["name", "of", "entity"].edge_index.tolist() == [[0, 1], [0, 1]]
    umls["entity2text.txt"].write_text("b_c\tsame\na\tsame\n")
    same = build(umls).graph
    assert same["name"].x[0].equal(same["name"].x[1])
    assert not same["description"].x[0].equal(same["description"].x[1])
    assert not build(umls, texts=None).schema.modalities
    assert build(umls, relation_names=True) == {"causes": "causes", "affects": "does affect"}
    with pytest.raises(
        ValueError, match=r"columns must be among \['name', 'description'\], at least one, got \['key'\]"
    ):
        build(umls, columns=("key",))


@pytest.mark.data
def test_codex_s(load_or_skip):
    knowledge = load_or_skip("codex_s")
    assert (len(knowledge.entities), len(knowledge.relations)) == (2034, 42)
    parts = {part: list(facts) for part, facts in knowledge.triples().items()}
    assert {part: len(facts) for part, facts in parts.items()} == {"train": 32888, "val": 1827, "test": 1828}
    every = {fact for facts in parts.values() for fact in facts}
    assert len(every) == 36543
    train = set(parts["train"])
    assert len({(head, relation) for head, relation, _ in train}) == 10465
    assert len({(relation, tail) for _, relation, tail in train}) == 1402
    assert sum((tail, relation, head) in train for head, relation, tail in parts["test"]) == 254
    negatives = load_dataset("codex_s", give="negatives")
    assert {part: len(facts) for part, facts in negatives.items()} == {"val": 1827, "test": 1828}
    assert not every & {fact for facts in negatives.values() for fact in facts}
    assert all(set(facts.entities) <= set(knowledge.entities) for facts in negatives.values())
    texts = load_dataset("codex_s", give="texts")
    assert set(knowledge.relations) <= set(texts)
    assert texts["P27"].startswith("country of citizenship: ")
    typed = load_dataset("codex_s", types=True)
    assert typed.graph["entity", "type", "class"].edge_index.shape == (2, 3280)
    assert typed.graph["class"].num_nodes == 502
    facts = load_dataset("codex_s", types="facts", symmetric=True)
    assert len(facts.entities) == 2034 + 502
    assert len(facts.triples()["train"]) == 32888 + 3280
    assert facts.report.implied == {"val": 283, "test": 254}
    assert len({name.removeprefix("type:") for name in typed.entities[2034:]} & set(knowledge.entities)) == 51


@pytest.mark.data
@pytest.mark.parametrize(
    ("graph", "entities", "relations", "sizes"),
    [
        ("nations", 14, 56, (1619, 202, 203)),
        ("kinship", 104, 25, (8548, 1069, 1069)),
        ("umls", 135, 46, (5216, 652, 661)),
        ("countries_s1", 271, 2, (1110, 24, 24)),
        ("countries_s2", 271, 2, (1062, 24, 24)),
        ("countries_s3", 271, 2, (984, 24, 24)),
    ],
)
def test_kgs(load_or_skip, graph, entities, relations, sizes):
    load_or_skip("kgs")
    knowledge = load_dataset("kgs", graph=graph)
    assert (len(knowledge.entities), len(knowledge.relations)) == (entities, relations)
    assert tuple(len(knowledge.facts[part]) for part in ("train", "val", "test")) == sizes
    facts = [{tuple(fact) for fact in knowledge.facts[part].tolist()} for part in ("train", "val", "test")]
    assert len(set().union(*facts)) == sum(sizes)


@pytest.mark.data
def test_nations_are_the_same_with_literals(load_or_skip):
    load_or_skip("kgs")
    plain, told = (load_dataset("kgs", graph="nations", literals=literals) for literals in (False, True))
    assert told.entities == plain.entities
    assert all(told.facts[part].equal(plain.facts[part]) for part in ("train", "val", "test"))


@pytest.mark.data
def test_umls_text(load_or_skip):
    load_or_skip("kgs")
    load_or_skip("umls_text")
    knowledge = load_dataset("umls_text", texts=None)
    plain = load_dataset("kgs", graph="umls")
    assert knowledge.entities == plain.entities
    assert {part: set(facts) for part, facts in knowledge.triples().items()} == {
        part: set(facts) for part, facts in plain.triples().items()
    }
    told = load_dataset("umls_text")
    assert told.entities == plain.entities
    assert {node: told.graph[node].num_nodes for node in ("name", "description")} == {"name": 135, "description": 135}
    names = load_dataset("umls_text", relation_names=True)
    assert set(names) == set(plain.relations)
    assert names["interacts_with"] == "interacts with"
