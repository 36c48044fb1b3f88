"""OGB: its folders are read as OGB reads them, what is written is read by it, and its judges agree with ours."""

import gzip
import importlib
import sys
import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import HeteroData

from mmgraph.errors import ConfigError, DataError, MissingPackageError
from mmgraph.functional.ranking import filtered_ranks
from mmgraph.interop import ogb_evaluator, read_ogb, write_ogb
from mmgraph.interop.ogb import import_ogb
from mmgraph.interop.ogb_files import load
from mmgraph.schema import EdgeSpec, NodeSpec, Schema, TargetSpec
from mmgraph.testing import fake_graph
from mmgraph.testing.expect import difference

ogb = pytest.importorskip("ogb")
EDGE = ("node", "to", "node")


def table(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt") as file:
        file.writelines(",".join(str(one) for one in row) + "\n" for row in rows)


def meta(root, **changes):
    """What OGB's own list says of a dataset, beside its folder."""
    about = {"download_name": root.name, "is hetero": "False", "split": "time", "add_inverse_edge": "False"}
    about |= {"task type": "multiclass classification", "num classes": 3} | changes
    torch.save(about, root.parent / "meta_dict.pt")


@pytest.fixture
def molecules(tmp_path):
    """Three graphs, the last without edges, each edge written once, as ogbg-mol has them."""
    root = tmp_path / "mol"
    table(root / "raw/num-node-list.csv.gz", [[3], [2], [1]])
    table(root / "raw/num-edge-list.csv.gz", [[2], [1], [0]])
    table(root / "raw/edge.csv.gz", [[0, 1], [1, 2], [1, 0]])
    table(root / "raw/node-feat.csv.gz", [[row, 7] for row in range(6)])
    table(root / "raw/edge-feat.csv.gz", [[0.5], [1], [2.5]])
    table(root / "raw/node_depth.csv.gz", [[row] for row in range(6)])
    table(root / "raw/graph-label.csv.gz", [[0, ""], [1, 1], ["nan", 0]])
    for part, rows in (("train", [0]), ("valid", [2]), ("test", [1])):
        table(root / f"split/scaffold/{part}.csv.gz", [[row] for row in rows])
    about = {"task type": "binary classification", "num classes": 2, "split": "scaffold", "add_inverse_edge": "True"}
    meta(root, **about)
    return root


@pytest.fixture
def library(tmp_path):
    """Papers and authors, as ogbn-mag has them."""
    root = tmp_path / "mag"
    table(root / "raw/num-node-dict.csv.gz", [["author", "paper"], [2, 3]])
    table(root / "raw/triplet-type-list.csv.gz", [["paper", "cites", "paper"], ["author", "writes", "paper"]])
    for edge, rows in (("paper___cites___paper", [[0, 1]]), ("author___writes___paper", [[0, 0], [1, 2]])):
        table(root / f"raw/relations/{edge}/edge.csv.gz", rows)
        table(root / f"raw/relations/{edge}/num-edge-list.csv.gz", [[len(rows)]])
        table(root / f"raw/relations/{edge}/edge_reltype.csv.gz", [[len(edge)]] * len(rows))
    table(root / "raw/node-feat/paper/node-feat.csv.gz", [[0.5, 1], [1.5, 2], [2.5, 3]])
    table(root / "raw/node-feat/paper/node_year.csv.gz", [[2010], [2011], [2012]])
    table(root / "raw/nodetype-has-label.csv.gz", [["author", "paper"], ["False", "True"]])
    table(root / "raw/node-label/paper/node-label.csv.gz", [[2], [0], [1]])
    table(root / "split/time/nodetype-has-split.csv.gz", [["author", "paper"], ["False", "True"]])
    for row, part in enumerate(("train", "valid", "test")):
        table(root / f"split/time/paper/{part}.csv.gz", [[row]])
    meta(root, **{"is hetero": "True"})
    return root


def test_molecules_are_read_as_ogb_reads_them(molecules, capsys):
    dataset = read_ogb(molecules, "ogbg-mol")
    theirs = import_ogb("io.read_graph_raw").read_csv_graph_raw(
        str(molecules / "raw"), add_inverse_edge=True, additional_node_files=["node_depth"]
    )
    assert len(dataset.graphs) == len(theirs) == 3
    for ours, one in zip(dataset.graphs, theirs, strict=True):
        assert ours[EDGE].edge_index.tolist() == one["edge_index"].tolist()
        assert ours[EDGE].edge_attr.tolist() == one["edge_feat"].tolist()
        assert ours["node"].feat.tolist() == one["node_feat"].tolist()
        assert ours["node"].depth.tolist() == one["node_depth"].tolist()
        assert ours["node"].num_nodes == one["num_nodes"]
        dataset.schema.check(ours)
    assert [graph["graph"].y_0.tolist() for graph in dataset.graphs] == [[0], [1], [-1]]
    assert [graph["graph"].y_1.tolist() for graph in dataset.graphs] == [[-1], [1], [0]]
    assert dataset.graphs[-3]["node", "of", "graph"].edge_index.tolist() == [[0, 1, 2], [0, 0, 0]]
    assert {part: one.tolist() for part, one in dataset.split.items()} == {"train": [0], "valid": [2], "test": [1]}
    assert [graph["node"].num_nodes for graph in dataset.graphs[1:]] == [2, 1]
    with pytest.raises(IndexError):
        dataset.graphs[3]
    with pytest.raises(DataError, match="ogbg-mol has 3 graphs"):
        _ = dataset.graph


def test_a_library_is_read_as_ogb_reads_it(library):
    dataset = read_ogb(library.parent, "ogbn-mag")
    (theirs,) = import_ogb("io.read_graph_raw").read_csv_heterograph_raw(
        str(library / "raw"), additional_node_files=["node_year"], additional_edge_files=["edge_reltype"]
    )
    graph = dataset.graph
    assert {node: graph[node].num_nodes for node in graph.node_types} == theirs["num_nodes_dict"]
    assert graph["paper"].x.tolist() == theirs["node_feat_dict"]["paper"].tolist()
    assert graph["paper"].year.tolist() == theirs["node_year"]["paper"].tolist()
    for edge, index in theirs["edge_index_dict"].items():
        assert graph[edge].edge_index.tolist() == index.tolist()
        assert graph[edge].reltype.tolist() == theirs["edge_reltype"][edge].tolist()
    assert graph["paper"].y.tolist() == [2, 0, 1]
    assert [graph["paper"][f"{part}_mask"].tolist().index(True) for part in ("train", "val", "test")] == [0, 1, 2]
    assert dataset.split["valid"].tolist() == [1]
    assert dataset.schema.anchor == "paper"
    assert dataset.schema.targets["label"].classes == ("0", "1", "2")
    dataset.schema.check(graph)


def test_links_are_read(tmp_path):
    root = tmp_path / "collab"
    table(root / "raw/num-node-list.csv.gz", [[4]])
    table(root / "raw/num-edge-list.csv.gz", [[2]])
    table(root / "raw/edge.csv.gz", [[0, 1], [1, 2]])
    table(root / "raw/edge_weight.csv.gz", [[1], [3]])
    facts = {"edge": np.array([[2, 3]]), "weight": np.float64(0.5), "head_type": ["a", "b"], "year": torch.tensor([1])}
    for part in ("train", "valid", "test"):
        (root / "split/time").mkdir(parents=True, exist_ok=True)
        torch.save(facts, root / f"split/time/{part}.pt")
    meta(root)
    dataset = read_ogb(root, "ogbl-collab")
    assert dataset.graph[EDGE].weight.tolist() == [[1], [3]]
    assert dataset.split["test"]["edge"].tolist() == [[2, 3]]
    assert dataset.split["test"]["head_type"] == ["a", "b"]
    assert (dataset.split["test"]["weight"], dataset.schema.targets) == (0.5, {})


def test_the_names_of_ogb_s_own_datasets_are_known(library):
    """Without meta_dict.pt, OGB's list says what is in the files."""
    (library.parent / "meta_dict.pt").unlink()
    dataset = read_ogb(library, "ogbn-mag")
    assert len(dataset.schema.targets["label"].classes) == 349
    with pytest.raises(
        DataError, match=r"must be one of \['ogbn-arxiv', .*\], or have a meta_dict.pt, got 'ogbn-mine'"
    ):
        read_ogb(library, "ogbn-mine")


class Trap:
    def __reduce__(self):
        return sys.exit, (3,)


def test_no_pickle_runs(library, tmp_path):
    place = library / "split/time/split_dict.pt"
    torch.save({"train": Trap(), "valid": [], "test": []}, place)
    with pytest.raises(DataError, match="alone, but .*; if you trust it, load it with torch.load"):
        read_ogb(library, "ogbn-mag")
    torch.save({"train": []}, place)
    with pytest.raises(DataError, match=r"must be of \['train', 'valid', 'test'\], got dict"):
        read_ogb(library, "ogbn-mag")
    np.savez(library / "raw/edge_index_dict.npz", a___b___c=np.array([Trap()], dtype=object))
    with pytest.raises(DataError, match="must be an archive of arrays, but Object arrays cannot be loaded"):
        read_ogb(library, "ogbn-mag")


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "?"])
def test_arrays_of_numbers_are_taken(tmp_path, dtype):
    values = np.arange(4).astype(dtype)
    torch.save({"a": values, "b": (values[1], [values])}, tmp_path / "a.pt")
    found = load(tmp_path / "a.pt")
    assert found["a"].tolist() == found["b"][1][0].tolist() == values.tolist()
    assert found["b"][0] == values[1]


@pytest.mark.parametrize(
    ("file", "rows", "message"),
    [
        ("raw/node-feat/paper/node-feat.csv.gz", [["a"]], "must be a table of numbers, got object"),
        ("raw/node-feat/paper/node-feat.csv.gz", [[1], [1, 2]], "must be a table of numbers, but CSV parse error"),
        ("raw/node-feat/paper/node-feat.csv.gz", [[1.5]], "'x' of 'paper' in .* must have 3 rows, got 1"),
        (
            "raw/relations/paper___cites___paper/edge.csv.gz",
            [],
            r"'index' of \('paper', 'cites', 'paper'\) .* 1 rows, got 0",
        ),
    ],
)
def test_files_that_contradict_each_other_are_refused(library, file, rows, message):
    table(library / file, rows)
    with pytest.raises(DataError, match=message):
        read_ogb(library, "ogbn-mag")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"edge_index": [[0], [1]]}, r"must hold 'num_edges_list', got \['edge_index'\]"),
        ({"num_edges_list": [2]}, r"'index' of \('node', 'to', 'node'\) in .* must have 2 rows, got 1"),
        ({"num_edges_list": [1, 0]}, "must be counted in the same graphs; the files contradict each other"),
        ({"face": [[1.0], [2.0]]}, "must be called node_… or edge_…, got 'face'"),
        ({"node_name": ["a", "b"]}, "'node_name' in .* must be numbers, got <U1"),
    ],
)
def test_archives_that_contradict_themselves_are_refused(tmp_path, arrays, message):
    root = tmp_path / "odd"
    (root / "raw").mkdir(parents=True)
    meta(root)
    whole = {"edge_index": [[0], [1]], "num_nodes_list": [2], "num_edges_list": [1]}
    given = arrays if "edge_index" in arrays else {**whole, **arrays}
    np.savez(root / "raw/data.npz", **{key: np.array(one) for key, one in given.items()})
    with pytest.raises(DataError, match=message):
        read_ogb(root, "ogbn-odd")


def test_types_must_be_said_as_ogb_says_them(library):
    meta(library, **{"is hetero": "True", "add_inverse_edge": "True"})
    with pytest.raises(DataError, match="must have no inverse edges to add"):
        read_ogb(library, "ogbn-mag")
    np.savez(library / "raw/edge_index_dict.npz", cites=np.zeros((2, 1), dtype=int))
    with pytest.raises(DataError, match="must be source___relation___target, got 'cites'"):
        read_ogb(library, "ogbn-mag")


def test_missing_and_damaged_files_are_named(library, tmp_path):
    (library / "raw/relations/paper___cites___paper/edge.csv.gz").unlink()
    with pytest.raises(DataError, match="edge.csv.gz' must be there, and is not; fetch the dataset again"):
        read_ogb(library, "ogbn-mag")
    (library / "raw/edge_index_dict.npz").write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(DataError, match="must be an archive of arrays, but"):
        read_ogb(library, "ogbn-mag")
    with pytest.raises(DataError, match="must be the folder of ogbn-arxiv, with 'raw' and 'split' in it"):
        read_ogb(tmp_path, "ogbn-arxiv")
    with pytest.raises(DataError, match="must be called ogbn-…, ogbl-… or ogbg-…, got 'arxiv'"):
        read_ogb(tmp_path, "arxiv")


# ---- writing ----


@st.composite
def graphs(draw):
    """What OGB can hold: any types, features of floats, others of integers or floats, edges of every kind."""
    graph, nodes, edges = HeteroData(), {}, {}
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    plain = draw(st.booleans())
    for name in ["node"] if plain else draw(st.lists(st.sampled_from(["a", "b c", "é"]), min_size=1, unique=True)):
        rows, channels = draw(st.integers(1, 3)), draw(st.none() | st.integers(0, 2))
        if channels is None:
            graph[name].num_nodes = rows
        else:
            graph[name].x = torch.randn(rows, channels, generator=generator)
        keys = draw(st.lists(st.sampled_from(["year", "weight", *(["feat"] if channels is None else [])]), unique=True))
        for key in keys:
            shape = draw(st.lists(st.integers(0, 2), max_size=2))
            graph[name][key] = torch.randint(0, 9, (rows, *shape), generator=generator)
        nodes[name] = NodeSpec(channels=channels, attributes=tuple(keys))
    names = list(nodes)
    for number in range(1 if plain else draw(st.integers(1, 3))):
        edge = EDGE if plain else (draw(st.sampled_from(names)), f"r{number}", draw(st.sampled_from(names)))
        count = draw(st.integers(0, 3))
        ends = [torch.randint(0, graph[end].num_nodes, (count,), generator=generator) for end in (edge[0], edge[2])]
        graph[edge].edge_index = torch.stack(ends)
        weighted, channels = draw(st.booleans()), draw(st.none() | st.integers(0, 2))
        if weighted:
            graph[edge].edge_weight = torch.rand(count, generator=generator)
        elif draw(st.booleans()):
            graph[edge].weight = torch.randint(0, 9, (count, 1), generator=generator)
        if channels is not None:
            graph[edge].edge_attr = torch.randn(count, channels, generator=generator)
        graph[edge].time = torch.randint(0, 9, (count,), generator=generator)
        edges[edge] = EdgeSpec(weighted=weighted, channels=channels, multiple=True)
    owner, kind = names[-1], draw(st.sampled_from(["binary", "regression"]))
    rows = graph[owner].num_nodes
    values = torch.randint(-1, 2, (2, rows), generator=generator) if kind == "binary" else torch.rand(2, rows)
    classes = ("no", "yes") if kind == "binary" else ()
    targets = {}
    for number in range(draw(st.integers(1, 2))):
        graph[owner][f"y{number}"] = values[number]
        targets[f"t{number}"] = TargetSpec(node=owner, attribute=f"y{number}", kind=kind, classes=classes)
    for part in ("train", "val", "test"):
        graph[owner][f"{part}_mask"] = torch.randint(0, 2, (rows,), generator=generator).bool()
    return graph, Schema(nodes=nodes, edges=edges, targets=targets, anchor=owner)


@settings(max_examples=30)
@given(graphs())
def test_any_graph_comes_back(tmp_path_factory, same, made):
    graph, schema = made
    folder = write_ogb(graph, schema, tmp_path_factory.mktemp("ogb") / "new", name="ogbn-fake")
    dataset = read_ogb(folder, "ogbn-fake")
    same(graph, dataset.graph)
    assert dataset.schema == schema


def test_links_come_back(tmp_path):
    graph, _ = fake_graph()
    for key in ("y", "train_mask", "val_mask", "test_mask"):
        del graph["subject"][key]
    schema = Schema.infer(graph)
    split = {
        part: {"edge": torch.tensor([[0, 1]]), "edge_neg": torch.tensor([[2, 3]])}
        for part in ("train", "valid", "test")
    }
    dataset = read_ogb(write_ogb(graph, schema, tmp_path / "new", name="ogbl-fake", split=split), "ogbl-fake")
    assert dataset.split["valid"]["edge_neg"].tolist() == [[2, 3]]
    assert dataset.graph["scan", "of", "subject"].edge_index.equal(graph["scan", "of", "subject"].edge_index)
    assert dataset.schema == schema


def small_graphs():
    made = []
    for rows in (2, 3, 1):
        graph = HeteroData()
        graph["node"].feat = torch.arange(rows)[:, None]
        graph["node"].num_nodes = rows
        graph["graph"].x, graph["graph"].y = torch.empty(1, 0), torch.tensor([rows / 2])
        graph[EDGE].edge_index = torch.stack([torch.arange(rows - 1), torch.arange(1, rows)])
        graph["node", "of", "graph"].edge_index = torch.stack([torch.arange(rows), torch.zeros(rows).long()])
        made.append(graph)
    target = {"size": TargetSpec(node="graph", kind="regression")}
    nodes = {"node": NodeSpec(attributes=("feat",)), "graph": NodeSpec(channels=0)}
    edges = {EDGE: EdgeSpec(), ("node", "of", "graph"): EdgeSpec()}
    return made, Schema(nodes=nodes, edges=edges, targets=target, anchor="graph")


def test_graphs_come_back(tmp_path):
    made, schema = small_graphs()
    split = {"train": [0], "valid": [2], "test": [1]}
    dataset = read_ogb(write_ogb(made, schema, tmp_path / "new", name="ogbg-small", split=split), "ogbg-small")
    assert [difference(one, other) for one, other in zip(made, dataset.graphs, strict=True)] == [None] * 3
    assert {part: one.tolist() for part, one in dataset.split.items()} == split


def test_ogb_reads_what_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a question was asked"))
    graph, schema = fake_graph()
    folder = write_ogb(graph, schema, tmp_path / "new", name="ogbn-fake")
    assert capsys.readouterr().out == ""
    about = torch.load(folder / "meta_dict.pt", weights_only=True)
    theirs = import_ogb("nodeproppred").NodePropPredDataset("ogbn-fake", meta_dict=about)
    found, labels = theirs[0]
    assert found["node_feat_dict"]["scan"].tolist() == graph["scan"].x.tolist()
    near = ("subject", "near", "subject")
    assert found["edge_weight"][near][:, 0].tolist() == graph[near].edge_weight.tolist()
    assert np.nan_to_num(labels["subject"][:, 0], nan=-1).tolist() == graph["subject"].y.tolist()
    split = theirs.get_idx_split()
    assert split["valid"]["subject"].tolist() == graph["subject"].val_mask.nonzero()[:, 0].tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda g: setattr(g, "note", 1), "OGB keeps what is on node and edge types, got 'note' on the graph"),
        (lambda g: setattr(g["scan"], "more", g["scan"].x.double()), "'more' of 'scan' must be int64 or float32"),
        (
            lambda g: setattr(g["scan"], "feat", g["scan"].x),
            "can't keep 'feat' of 'scan', .* of torch.float32; rename it",
        ),
        (lambda g: setattr(g["scan"], "a.b", g["scan"].x), "can't keep 'a.b' of 'scan'"),
        (lambda g: setattr(g["scan"], "node_x", g["scan"].x), "can't keep 'node_x' of 'scan'"),
        (lambda g: setattr(g["scan"], "more", [1]), "'more' of 'scan' must be a tensor with a row for each of 61"),
        (lambda g: g["subject"].pop("val_mask"), "'subject' must have 'val_mask', which says what is in that part"),
        (
            lambda g: setattr(g["scan", "of", "subject"], "weight", torch.ones(61)),
            r"can't keep 'weight' of \('scan', 'of', 'subject'\)",
        ),
    ],
)
def test_what_would_be_lost_is_refused(tmp_path, change, message):
    graph, schema = fake_graph()
    change(graph)
    with pytest.raises(DataError, match=message):
        write_ogb(graph, schema, tmp_path / "new", name="ogbn-fake")
    assert list(tmp_path.iterdir()) == []


def test_other_datasets_are_refused(tmp_path):
    graph, schema = fake_graph()
    bare = Schema(nodes=schema.nodes, edges=schema.edges, anchor=schema.anchor)
    for name, one, meaning, message in (
        ("ogbn-fake", [graph, graph], schema, "ogbn-fake must be of one graph, got 2"),
        ("ogbn-fake", graph, bare, r"ogbn must ask about one node type, got targets of \[\]"),
        ("ogbl-fake", graph, schema, r"keeps no answers of nodes, got targets of \['subject'\]"),
        ("ogbg-fake", graph, schema, "Graphs of OGB must have nodes 'node' and 'graph'"),
        ("ogbl-fake", graph, bare, r"split must be of \['train', 'valid', 'test'\], got None"),
    ):
        with pytest.raises(DataError, match=message):
            write_ogb(one, meaning, tmp_path / "new", name=name)
    for name in ("fake", "ogbn-Fake", "ogbn-a_b", "ogbn-../x"):
        with pytest.raises(ConfigError, match="small letters and figures, got"):
            write_ogb(graph, schema, tmp_path / "new", name=name)
    (tmp_path / "mine.txt").write_text("")
    with pytest.raises(ConfigError, match="must be a new folder"):
        write_ogb(graph, schema, tmp_path, name="ogbn-fake")


def test_graphs_of_other_kinds_are_refused(tmp_path):
    split = {"train": [0], "valid": [2], "test": [1]}

    def refused(change, message):
        made, schema = small_graphs()
        schema = change(made[1], schema) or schema
        with pytest.raises(DataError, match=message):
            write_ogb(made, schema, tmp_path / "new", name="ogbg-small", split=split)

    of = ("node", "of", "graph")
    refused(lambda g, _: setattr(g[of], "edge_index", g[of].edge_index.flip(1)), "in order, got others in graph 1")
    refused(
        lambda g, _: setattr(g["graph"], "more", torch.ones(1)), "nothing but targets, got 'more' in graph 1; remove"
    )
    refused(lambda g, _: setattr(g[of], "time", torch.ones(3)), "nothing but targets, got 'time' in graph 1; remove it")
    wide = {"node": NodeSpec(attributes=("feat",)), "graph": NodeSpec()}
    refused(lambda _, schema: schema.model_copy(update={"nodes": wide}), "x of 0 channels, got None")
    lonely = HeteroData()
    lonely["node"].x, lonely["node"].y = torch.ones(2, 1), torch.tensor([0, 1])
    schema = Schema.infer(lonely)
    with pytest.raises(DataError, match="OGB has no graph without an edge type"):
        write_ogb(lonely, schema, tmp_path / "new", name="ogbn-fake")
    lonely["a/b"].x = torch.ones(1, 1)
    lonely["a/b", "to", "node"].edge_index = torch.tensor([[0], [1]])
    with pytest.raises(DataError, match="must not have '___' or '/' in their names, got 'a/b'"):
        write_ogb(lonely, Schema.infer(lonely), tmp_path / "new", name="ogbn-fake")


# ---- judges ----


def test_our_scores_are_those_of_ogb():
    from mmgraph.tasks import NodeClassification
    from mmgraph.tasks.edge_prediction import METRICS

    generator = torch.Generator().manual_seed(0)
    graph, schema = fake_graph(200, classes=("a", "b", "c"))
    rows = graph["subject"].test_mask & (graph["subject"].y >= 0)
    scores = torch.rand(200, 3, generator=generator)
    ours = NodeClassification(schema).evaluate(
        scores[graph["subject"].test_mask].softmax(1), graph, metrics=["accuracy"]
    )
    theirs = ogb_evaluator("ogbn-arxiv")(y_true=graph["subject"].y[rows], y_pred=scores[rows].argmax(1))
    assert ours == pytest.approx(theirs)
    joined, others = torch.rand(300, generator=generator), torch.rand(500, generator=generator)
    pairs, labels = torch.cat([joined, others]), torch.cat([torch.ones(300), torch.zeros(500)]).long()
    for name in ("ogbl-vessel", "ogbl-ddi", "ogbl-collab", "ogbl-ppa"):
        ((metric, value),) = ogb_evaluator(name)(y_pred_pos=joined, y_pred_neg=others).items()
        assert float(METRICS[metric](pairs, labels)) == pytest.approx(value)


@pytest.mark.parametrize("ties", [False, True])
def test_our_ranks_are_those_of_ogb(ties):
    """The score of the answer among all others; equal scores share the mean of their places."""
    from mmgraph.tasks.link_prediction import METRICS

    generator = torch.Generator().manual_seed(1)
    scores = torch.rand(50, 30, generator=generator)
    if ties:
        scores = (scores * 6).floor()
    answer = torch.randint(0, 30, (50,), generator=generator)
    place = filtered_ranks(scores, answer, (torch.arange(50), answer), None)
    others = scores[~torch.nn.functional.one_hot(answer, 30).bool()].view(50, 29)
    theirs = ogb_evaluator("ogbl-wikikg2")(
        y_pred_pos=scores[torch.arange(50), answer].numpy(), y_pred_neg=others.numpy()
    )
    assert {name: float(METRICS[name](*place.T)) for name in theirs} == pytest.approx(theirs)
    assert set(theirs) == {"mrr", "hits@1", "hits@3", "hits@10"}


def test_judges_of_graphs_and_of_several_answers():
    generator = torch.Generator().manual_seed(2)
    true, scores = torch.randint(0, 2, (90, 1), generator=generator), torch.rand(90, 1, generator=generator)
    from sklearn.metrics import roc_auc_score

    assert ogb_evaluator("ogbg-molhiv")(y_true=true, y_pred=scores)["auroc"] == pytest.approx(
        roc_auc_score(true, scores)
    )
    found = ogb_evaluator("ogbg-molesol")(y_true=true.float(), y_pred=scores)
    assert found["rmse"] == pytest.approx(float((true - scores).square().mean().sqrt()))
    with pytest.raises(DataError, match="must be one of .* got 'ogbn-none'"):
        ogb_evaluator("ogbn-none")


def test_nothing_is_looked_up_on_the_net(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] in ("ogb", "outdated")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(threading.Thread, "start", lambda _: pytest.fail("a thread was started"))
    import_ogb("")
    assert "outdated" not in sys.modules
    marker = object()
    monkeypatch.setitem(sys.modules, "outdated", marker)
    import_ogb("")
    assert sys.modules["outdated"] is marker


def test_without_ogb_it_is_said_what_to_install(monkeypatch):
    def refused(name, *args):
        raise ModuleNotFoundError("no ogb", name=name.split(".")[0])

    monkeypatch.setattr(importlib, "import_module", refused)
    with pytest.raises(MissingPackageError, match=r"pip install 'mmgraph\[ogb\]'"):
        ogb_evaluator("ogbn-arxiv")
