import pytest
import torch

import mmgraph as mg
from mmgraph.builders import pair

SIDES = ("zh", "en")


@pytest.fixture
def files(tmp_path):
    """Two small graphs whose entities are numbered with gaps, as in the real files; 10,502 links."""
    count = 10502
    for name, text in {
        "ent_ids_1": "".join(f"{2 * i}\thttp://zh.dbpedia.org/resource/名_{i}\n" for i in reversed(range(count + 1))),
        "ent_ids_2": "".join(f"{2 * i + 1}\thttp://dbpedia.org/resource/Name_{i}\n" for i in range(count)),
        "ref_ent_ids": "".join(f"{2 * i}\t{2 * (count - 1 - i) + 1}\n" for i in range(count)),
        "triples_1": "0\t7\t4\n0\t9\t4\n4\t7\t21004\n0\t7\t4\n",
        "triples_2": "1\t20\t3\n",
    }.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return {f"raw/{path.name}": path for path in tmp_path.iterdir()}


def test_rows_relations_and_links_of_files(builder, files):
    graph, schema = builder("dbp15k_zh_en").build(files, val=1)
    schema.check(graph)
    assert (graph["zh"].num_nodes, graph["en"].num_nodes, graph["link"].num_nodes) == (10503, 10502, 10502)
    zh = graph["zh", "fact", "zh"]
    facts = sorted(zip(*zh.edge_index.tolist(), zh.edge_attr.flatten().tolist(), strict=True))
    assert facts == [(0, 2, 0.0), (0, 2, 1.0), (2, 10502, 0.0)]  # a fact that stands twice is one
    assert graph["en", "fact", "en"].edge_index.tolist() == [[0], [1]]
    assert graph["en", "fact", "en"].edge_attr.tolist() == [[0.0]]
    entity, link = graph["en", "of", "link"].edge_index
    assert torch.equal(link, torch.arange(10502))
    assert torch.equal(entity, torch.arange(10502).flip(0))
    masks = graph["link"]
    assert masks.train_mask.nonzero().flatten().tolist() == [10500]
    assert masks.val_mask.nonzero().flatten().tolist() == [10501]
    assert torch.equal(masks.test_mask, torch.arange(10502) < 10500)


def test_a_seed_deals_out_the_links(builder, files):
    build = builder("dbp15k_zh_en").build
    graphs = [build(files, seed=seed, val=1)[0]["link"] for seed in (0, 0, 1)]
    assert torch.equal(graphs[0].test_mask, graphs[1].test_mask)
    assert not torch.equal(graphs[0].test_mask, graphs[2].test_mask)
    for link in graphs:
        parts = torch.stack([link.train_mask, link.val_mask, link.test_mask])
        assert parts.sum(dim=1).tolist() == [1, 1, 10500]
        assert parts.sum(dim=0).eq(1).all()


def test_names_are_vectors_of_what_the_uri_says(builder, files):
    pytest.importorskip("sklearn")
    graph, schema = builder("dbp15k_zh_en").build(files, val=1, names=True)
    schema.check(graph)
    assert schema.nodes["zh"].channels == graph["zh"].x.shape[1] == 256
    assert schema.nodes["zh"].encoder == schema.nodes["en"].encoder
    assert "http" not in builder("dbp15k_zh_en")._entities(files["raw/ent_ids_2"])[1][3]
    assert builder("dbp15k_zh_en")._entities(files["raw/ent_ids_1"])[1][3] == "名 3"


@pytest.mark.parametrize("val", [0, 2, -1])
def test_some_known_links_must_be_left(builder, files, val):
    with pytest.raises(ValueError, match=f"leave some of the 2 known links, got {val}"):
        builder("dbp15k_zh_en").build(files, val=val)


def test_an_entity_without_a_line_is_refused(builder, files):
    files["raw/triples_2"].write_text("1\t20\t99999\n")
    with pytest.raises(ValueError, match="got 99999, which is not"):
        builder("dbp15k_zh_en").build(files, val=1)


@pytest.mark.data
def test_dbp15k_zh_en(load_or_skip):
    graph, schema = load_or_skip("dbp15k_zh_en")
    schema.check(graph)
    assert [graph[side].num_nodes for side in SIDES] == [19388, 19572]
    assert [graph[side, "fact", side].edge_index.shape[1] for side in SIDES] == [70414, 95142]
    assert [int(graph[side, "fact", side].edge_attr.max()) + 1 for side in SIDES] == [1701, 1323]
    link = graph["link"]
    assert [int(link[f"{part}_mask"].sum()) for part in ("train", "val", "test")] == [4050, 450, 10500]
    assert not link.test_mask[-4500:].any()
    for side in SIDES:
        entity, _ = graph[side, "of", "link"].edge_index
        assert len(entity.unique()) == 15000
        assert graph[side, "fact", side].edge_index.unique().numel() == graph[side].num_nodes  # none is alone


@pytest.mark.data
def test_two_knowledge_graphs_and_their_links_give_the_same_graph(load_or_skip):
    """The builder reads numbered files; by names, and in another order of the links, it is what ``pair`` makes."""
    graph, schema = load_or_skip("dbp15k_zh_en")
    named, link = [], graph["link"]
    for side in SIDES:
        fact = graph[side, "fact", side]
        rows = torch.stack([fact.edge_index[0], fact.edge_attr[:, 0].long(), fact.edge_index[1]])
        named.append(mg.KnowledgeGraph.fit(mg.Triples(*([f"{number:05d}" for number in row] for row in rows.tolist()))))
    order = torch.cat([link[f"{part}_mask"].nonzero().flatten() for part in ("train", "val", "test")])
    entities = torch.stack([graph[side, "of", "link"].edge_index[0] for side in SIDES], dim=1)
    links = {
        part: [(f"{a:05d}", f"{b:05d}") for a, b in entities[link[f"{part}_mask"]].tolist()]
        for part in ("train", "val", "test")
    }
    found, its_schema = pair(*named, links, names=SIDES)
    assert its_schema == schema
    for side in SIDES:
        assert torch.equal(found[side, "fact", side].edge_index, graph[side, "fact", side].edge_index)
        assert torch.equal(found[side, "fact", side].edge_attr, graph[side, "fact", side].edge_attr)
        entity, anchor = found[side, "of", "link"].edge_index
        assert torch.equal(entity, graph[side, "of", "link"].edge_index[0][order])
        assert torch.equal(anchor, torch.arange(15000))
    for part in ("train", "val", "test"):
        assert torch.equal(found["link"][f"{part}_mask"], link[f"{part}_mask"][order])
