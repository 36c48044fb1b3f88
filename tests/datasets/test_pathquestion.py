import pytest

from mmgraph.assembly import build_graph
from mmgraph.data import load_dataset
from mmgraph.encoders import FeatureCache
from mmgraph.questions import Facts, Names, path


def test_an_unknown_split_is_named(builder):
    with pytest.raises(ValueError, match=r"split must be one of \['path', 'random'\], got 'time'"):
        builder("pathquestion").build({}, split="time")


@pytest.fixture
def source(load_or_skip):
    return load_or_skip("pathquestion")


@pytest.mark.data
def test_pathquestion(source, tmp_path):
    rows, names = source.tables["questions"].to_pylist(), source.tables["entities"]["name"].to_pylist()
    assert (len(rows), len(names), len({row["path"] for row in rows})) == (1908, 1056, 636)
    built = build_graph(source.with_encoders(text={"kind": "hashed_text", "channels": 8}), cache=FeatureCache(tmp_path))
    facts = Facts.of(built.graph, built.schema, among=["entity"])
    assert (len(facts.triples), len(facts.relations), facts.num_entities) == (1211, 13, 1056)
    assert {tuple(row["path"].split("#"))[1::2] for row in rows if row["path"].count("#") == 4} == {
        tuple(row["path"].split("#"))[1::2] for row in rows
    }
    number = {name: row for row, name in enumerate(names)}
    first = [row["path"].split("#")[0] for row in rows]
    asked = [path(number[one], *row["path"].split("#")[1::2]) for one, row in zip(first, rows, strict=True)]
    reached = facts.reached(asked)  # the oracle: following the gold path gives the gold answers
    for row, found in zip(rows, reached, strict=True):
        assert sorted(names[one] for one in found.nonzero()[:, 0].tolist()) == sorted(row["answers"])
    linker = Names(names)
    linked = [[names[mention.entity] for mention in linker.link(row["text"])] for row in rows]
    assert all(one in found for one, found in zip(first, linked, strict=True))


@pytest.mark.data
def test_a_path_is_in_one_part(source):
    assert source.config.split.by == "random"
    config = load_dataset("pathquestion", split="path").config
    assert (config.split.by, config.split.column) == ("group", "path")
