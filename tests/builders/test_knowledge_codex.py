"""The facts of CoDEx-S: all come back, and the report sees what its relations give away."""

import numpy as np
import pytest

import mmgraph as mg
from mmgraph.builders import Mark
from mmgraph.data.manifest import data_roots
from mmgraph.data.triples import Triples

FILES = {"train": "train.txt", "val": "valid.txt", "test": "test.txt"}


@pytest.fixture(scope="module")
def parts():
    folders = [root / "codex_s/raw/tsafavi+codex/data/triples/codex-s" for root in data_roots()]
    folder = next((folder for folder in folders if folder.is_dir()), None)
    if folder is None:
        pytest.skip("CoDEx-S is not on this machine")
    found = {}
    for part, name in FILES.items():
        rows = np.array([line.split("\t") for line in (folder / name).read_text().splitlines()], dtype=object)
        found[part] = Triples(*rows.T)
    return found


@pytest.mark.data
def test_codex_comes_back_and_its_symmetric_relations_are_seen(parts):
    knowledge = mg.KnowledgeGraph.fit(parts)
    assert knowledge.triples() == parts
    assert (len(knowledge.entities), len(knowledge.relations)) == (2034, 42)
    report = knowledge.report
    assert report.facts == {"train": 32888, "val": 1827, "test": 1828}
    assert report.unknown == {"train": 0, "val": 0, "test": 0}
    assert [(leak.relation, leak.kind) for leak in report.leaks] == [
        ("P26", "symmetric"),
        ("P3373", "symmetric"),
        ("P530", "symmetric"),
    ]
    turned = {(t, r, h) for h, r, t in parts["train"]}
    expected = sum(fact in turned and fact[1] in ("P26", "P3373", "P530") for fact in parts["test"])
    assert expected == 254
    few = {(one.relation, one.other, one.count) for one in report.exposed if one.part == "test" and one.count < 3}
    assert ("P1050", "P509", 2) in few  # a medical condition, of which someone died
    assert report.leaked["test"] == expected + 5
    marks = {name: Mark(symmetric=True) for name in ("P26", "P3373", "P530")}
    assert mg.KnowledgeGraph.fit(parts, marks=marks).report.implied["test"] == expected
