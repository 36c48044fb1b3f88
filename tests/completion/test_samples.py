import pytest
import torch

from mmgraph.completion.samples import nearest, parts_of, paths_of, reached, samples_of, ways_of
from mmgraph.completion.targets import target_of
from mmgraph.errors import ConfigError


def samples(built, modality="sound", seed=0):
    paths = paths_of(built, modality)
    ways = ways_of(built, paths)
    node, owner = built.graph[modality, "of", "bead"].edge_index
    has = torch.zeros(built.graph["bead"].num_nodes, dtype=torch.bool)
    has[owner] = True
    parts = parts_of(built, modality, has & reached(ways, len(has)), seed=seed)
    known = torch.zeros(len(node), dtype=torch.bool)
    known[node[parts.train[owner]]] = True
    return samples_of(
        built, modality, target_of(built, modality, known, payloads=True, size=4, length=16), paths, ways, parts
    )


def test_parts_are_disjoint_and_have_both(build):
    parts = samples(build(lacks={"sound": (0, 1), "photo": (2,)}, columns=("photo", "sound"))).parts
    together = parts.train.int() + parts.val.int() + parts.test.int()
    assert together[:3].tolist() == [0, 0, 0]
    assert together[3:].tolist() == [1] * 77
    assert (int(parts.test.sum()), int(parts.val.sum())) == (15, 6)
    other = samples(build(lacks={"sound": (0, 1), "photo": (2,)}, columns=("photo", "sound")), seed=1).parts
    assert not torch.equal(other.test, parts.test)


def test_a_test_part_without_the_modality_is_made_up_from_training(build):
    split = {"by": "column", "column": "part"}
    tested = [row for row in range(80) if row % 10 == 9]
    parts = samples(build(lacks={"sound": tested}, columns=("photo", "sound", "part"), split=split)).parts
    assert int(parts.test.sum()) == 13  # a fifth of 64
    assert int(parts.val.sum()) == 8
    assert int(parts.train.sum()) == 51


def test_sources_are_standardised_on_training(build):
    found = samples(build(lacks={"sound": (0, 1), "mass": (3,)}, columns=("photo", "sound", "mass")))
    assert found.sources == ("photo", "table")
    for name in found.sources:
        row, anchor = found.ways[name]
        x = found.graph[name].x[row[found.parts.train[anchor]]]
        torch.testing.assert_close(x.mean(dim=0), torch.zeros(x.shape[1]), atol=1e-5, rtol=0)
        assert x.std().item() == pytest.approx(1, abs=1e-4)
    found.schema.check(found.graph)


def test_a_source_without_x_is_encoded_anew(build):
    encoders = {"pix": {"kind": "pixels", "size": 5}}
    override = {"photo": {"modality": "image", "encoder": "pix"}}
    found = samples(build(lacks={"sound": (0,)}, columns=("photo", "sound"), override=override, encoders=encoders))
    assert found.graph["photo"].x.shape[0] == 80


def test_the_nearest_has_the_most_alike_sources(build):
    found = samples(build(lacks={"sound": (0,), "mass": (5, 6)}, columns=("photo", "sound", "mass")))
    rows, among = found.parts.test.nonzero().flatten(), found.parts.train.nonzero().flatten()
    for row, other in zip(rows.tolist(), nearest(found, rows, among).tolist(), strict=True):
        values = []
        for candidate in among.tolist():
            total = 0.0
            for name, (node, anchor) in found.ways.items():
                one, two = (found.graph[name].x[node[anchor == which]] for which in (row, candidate))
                if len(one) and len(two):
                    total += float(torch.cosine_similarity(one[0], two[0], dim=0))
            values.append(total)
        assert values[among.tolist().index(other)] == pytest.approx(max(values), abs=1e-5)


def test_the_numbers_of_an_anchor_are_a_source(build):
    built = build(lacks={"sound": (0,)}, columns=("photo", "sound"))
    built.graph["bead"].x = torch.randn(80, 3)
    bead = built.schema.nodes["bead"].model_copy(update={"channels": 3})
    built.schema.nodes["bead"] = bead
    found = samples(built)
    assert found.sources == ("photo", "bead")
    assert found.schema.nodes["bead"].channels == 3


def test_what_can_not_be_read_is_said(build):
    built = build(lacks={"sound": (0,)}, columns=("photo", "sound"))
    del built.graph["photo"]["x"]
    built.graph["photo"].num_nodes = 80
    built.payloads.clear()
    built.payloads["sound"] = build(lacks={"sound": (0,)}, columns=("photo", "sound")).payloads["sound"]
    with pytest.raises(ConfigError, match=r"No source of 'sound' can be read, of \['photo'\]; build the graph with"):
        samples(built)
