"""Pieces hold what they must, books know it, and whatever is missing, mixed up or damaged is named."""

import json

import numpy as np
import pytest
import torch
from torch_geometric.data import HeteroData

from mmgraph.data import Collection, CollectionWriter
from mmgraph.data.partitions import Book, GraphParts, partition_graph
from mmgraph.errors import ArtifactError, ConfigError, DataError
from mmgraph.testing import fake_graph

IN = ("word", "in", "text")


def test_a_piece_has_its_nodes_and_the_edges_that_point_at_them(graph, owner, folder):
    book = Book(folder)
    seen = 0
    for part in range(3):
        piece = book.piece(part)
        for number, name in enumerate(graph.node_types):
            mine = np.flatnonzero(owner[name].numpy() == part)
            assert piece[f"node{number}.id"].array.tolist() == mine.tolist()
            assert torch.equal(piece[f"node{number}.row.bits"].read(0, len(mine)), graph[name].bits[mine])
            places = book.place(name, mine)
            assert places.tolist() == list(range(*book.nodes[name].bounds[part : part + 2]))
        index = graph[IN].edge_index
        columns = piece["edge0.edge"].array.copy()
        assert (owner["text"][index[1, columns]] == part).all()
        assert torch.equal(piece["edge0.source"].read(0, len(columns)).long(), index[0, columns])
        assert torch.equal(piece["edge0.row.edge_attr"].read(0, len(columns)), graph[IN].edge_attr[columns])
        for row, node in enumerate(np.flatnonzero(owner["text"].numpy() == part)):
            start, stop = piece["edge0.indptr"].array[row : row + 2]
            assert columns[start:stop].tolist() == np.flatnonzero(index[1].numpy() == node).tolist()
        seen += len(columns)
    assert seen == index.shape[1]


def test_cut_and_balance_are_counted(graph, owner, folder):
    book = Book(folder)
    crossing = {
        name: int((owner[name[0]][graph[name].edge_index[0]] != owner[name[2]][graph[name].edge_index[1]]).sum())
        for name in graph.edge_types
    }
    assert {name: edge.cut for name, edge in book.edges.items()} == crossing
    assert book.cut == sum(crossing.values()) / sum(graph[name].num_edges for name in graph.edge_types)
    assert book.balance["text"] == owner["text"].bincount(minlength=3).max().item() * 3 / 25
    assert book.balance["image"] == 1.0
    assert repr(book) == f"Book({str(folder)!r}, parts=3, nodes=69, edges=470)"


def test_what_most_edges_come_from_is_first(graph, owner, folder):
    piece = Book(folder).piece(2)
    hot = piece["node0.hot"].array.copy()
    into = owner["text"][graph[IN].edge_index[1]] == 2  # no other edge type leads from words
    count = graph[IN].edge_index[0, into & (owner["word"][graph[IN].edge_index[0]] != 2)].bincount(minlength=40)
    assert (np.diff(count[hot]) <= 0).all()
    assert sorted(hot) == np.flatnonzero(count.numpy()).tolist()


def test_metis_cuts_few_edges_and_balances_types_and_seeds(tmp_path, capfd):
    """Two communities, with one edge between them."""
    graph = HeteroData()
    generator = torch.Generator().manual_seed(0)
    graph["paper"].x = torch.rand(200, 2, generator=generator)
    graph["author"].x = torch.rand(100, 2, generator=generator)
    halves = []
    for half in range(2):
        papers = torch.randint(100 * half, 100 * (half + 1), (900,), generator=generator)
        authors = torch.randint(50 * half, 50 * (half + 1), (900,), generator=generator)
        halves.append(torch.stack([authors, papers]))
    graph["author", "writes", "paper"].edge_index = torch.cat([*halves, torch.tensor([[0], [150]])], dim=1)
    train = torch.zeros(200, dtype=torch.bool)
    train[::4] = True
    book = partition_graph(graph, tmp_path / "parts", parts=2, balance={"paper": train})
    assert book.cut < 0.01
    assert book.balance["paper"] < 1.1
    assert book.balance["author"] < 1.1
    parts = np.searchsorted(book.nodes["paper"].bounds[1:], book.place("paper", np.flatnonzero(train)), side="right")
    assert 20 <= parts.sum() <= 30
    assert capfd.readouterr().out == ""
    assert book.cut < partition_graph(graph, tmp_path / "random", parts=2, method="random").cut


def test_one_part_and_no_edges_can_be_cut(graph, tmp_path):
    assert partition_graph(graph, tmp_path / "one", parts=1).cut == 0
    empty = HeteroData()
    empty["paper"].x = torch.empty(0, 2)
    assert partition_graph(empty, tmp_path / "none", parts=1).cut == 0
    lonely = HeteroData()
    lonely["paper"].x = torch.ones(4, 2)
    assert partition_graph(lonely, tmp_path / "lonely", parts=2).balance == {"paper": 1.0}


def test_random_parts_depend_on_the_seed_alone(graph, tmp_path):
    books = [
        partition_graph(graph, tmp_path / f"{name}", parts=3, method="random", seed=seed)
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    assert books[0].digest == books[1].digest != books[2].digest


def test_large_attributes_are_copied_in_chunks(graph, owner, folder, tmp_path, monkeypatch):
    from mmgraph.data.partitions import write

    monkeypatch.setattr(write, "CHUNK_BYTES", 20)
    assert partition_graph(graph, tmp_path / "parts", parts=3, method=owner).digest == Book(folder).digest


def test_the_schema_goes_along(tmp_path):
    graph, schema = fake_graph()
    with CollectionWriter(tmp_path / "whole", schema=schema) as writer:
        writer.add(graph)
    partition_graph(Collection(tmp_path / "whole"), tmp_path / "a", parts=2, method="random")
    partition_graph(graph, tmp_path / "b", parts=2, method="random", schema=schema)
    assert GraphParts(tmp_path / "a").book.schema == GraphParts(tmp_path / "b").book.schema == schema


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"parts": 0}, ConfigError, "at most one a node, 69, got 0"),
        ({"parts": 70}, ConfigError, "at most one a node, 69, got 70"),
        ({"method": "metes"}, ConfigError, "'metis', 'random', or the part of each node, got 'metes'"),
        (
            {"method": {"word": torch.zeros(40)}},
            ConfigError,
            r"of \['word', 'text', 'alone', 'image'\], got \['word'\]",
        ),
        ({"time": "when"}, DataError, "must have times in an attribute 'when'"),
        ({"balance": {"wrod": torch.ones(3)}}, DataError, "balance must name node types.*got 'wrod'"),
        ({"balance": {"word": torch.ones(40)}}, DataError, r"must be a mask \[40\], got \[40\] of float32"),
    ],
)
def test_what_can_not_be_cut_is_said(graph, tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        partition_graph(graph, tmp_path / "parts", **{"parts": 2, **options})
    assert list(tmp_path.iterdir()) == []


def test_given_parts_are_checked(graph, owner, tmp_path):
    with pytest.raises(DataError, match=r"method\['text'\] must be one integer a node, \[25\], got \[24\] of int64"):
        partition_graph(graph, tmp_path / "a", parts=3, method={**owner, "text": owner["text"][1:]})
    with pytest.raises(ConfigError, match=r"method\['text'\] must be parts in \[0, 2\), got 1 to 2"):
        partition_graph(graph, tmp_path / "a", parts=2, method=owner)


def test_a_folder_that_holds_something_is_left_alone(graph, folder, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for taken in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(ArtifactError, match="must be empty or not there"):
            partition_graph(graph, taken, parts=2, method="random")
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.fixture
def broken(graph, owner, tmp_path):
    partition_graph(graph, tmp_path / "parts", parts=3, method=owner)
    return tmp_path / "parts"


def test_a_missing_piece_and_a_missing_book_are_named(broken):
    (broken / "parts" / "1").rename(broken / "away")
    with pytest.raises(ArtifactError, match=r"parts/1' must exist"):
        GraphParts(broken)
    (broken / "book.json").unlink()
    with pytest.raises(ArtifactError, match=r"book.json.*can't be read|book.json.*must exist"):
        Book(broken)


def test_a_piece_of_another_graph_is_refused(graph, broken, tmp_path):
    partition_graph(graph, tmp_path / "other", parts=3, method="random")
    (broken / "parts" / "1").rename(broken / "away")
    (tmp_path / "other" / "parts" / "1").rename(broken / "parts" / "1")
    with pytest.raises(ArtifactError, match="must be the piece that its book names.*copy book and pieces from one"):
        GraphParts(broken)
    with pytest.raises(ConfigError, match=r"part must be in \[0, 3\), got 3"):
        Book(broken).piece(3)


@pytest.mark.parametrize("name", ["edge0.source", "edge0.indptr", "node0.row.x"])
def test_damaged_bytes_are_found_before_they_are_used(broken, name):
    path = broken / "parts" / "0" / "columns" / name
    if not path.stat().st_size:
        path = broken / "parts" / "1" / "columns" / name
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match=f"{name}.*is damaged"):
        GraphParts(broken).node_rows("word", "x", range(40))


@pytest.mark.parametrize("spoil", [{"parts": 2}, {"nodes": 3}, {"pieces": []}])
def test_a_book_that_contradicts_itself_is_refused(broken, spoil):
    from mmgraph.data.format import Head, read_head, write_head

    fields = read_head(broken, "book").model_dump()
    write_head(broken, "book", Head(**{**fields, "meta": {**fields["meta"], **spoil}}))
    with pytest.raises(ArtifactError, match="must be a book of parts, but .*partition the graph again"):
        Book(broken)


def test_pieces_that_contradict_the_book_are_refused(broken):
    """A head that was sealed anew, as no accident does it."""
    from mmgraph.data.format import Head, read_head, write_head

    fields = read_head(broken, "book").model_dump()
    meta = json.loads(json.dumps(fields["meta"]))
    meta["edges"][0]["bounds"][1:] = [bound + 1 for bound in meta["edges"][0]["bounds"][1:]]
    write_head(broken, "book", Head(**{**fields, "meta": meta}))
    with pytest.raises(ArtifactError, match=r"Part 0 in .* disagrees with itself: the edges .*'in'.* are not as many"):
        GraphParts(broken)
