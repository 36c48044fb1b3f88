import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmgraph.data import ColumnsWriter, Csc, open_csc, save_csc
from mmgraph.errors import ArtifactError, DataError


def edges_of(csc):
    """Position → (source, target, column), by a slow loop."""
    return [
        (int(csc.source[at]), target, int(csc.edge[at]))
        for target in range(csc.num_targets)
        for at in range(csc.indptr[target], csc.indptr[target + 1])
    ]


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6), st.integers(-9, 9))), st.booleans())
def test_edges_are_sorted_by_target_then_time_then_column(edges, timed):
    source, target, time = torch.tensor(edges, dtype=torch.int64).reshape(-1, 3).T
    csc = Csc.from_edges(
        torch.stack([source, target]), num_sources=5, num_targets=7, time=time.int() if timed else None
    )
    order = sorted(range(len(edges)), key=lambda i: (edges[i][1], edges[i][2] if timed else 0, i))
    assert edges_of(csc) == [(edges[i][0], edges[i][1], i) for i in order]
    assert len(csc) == len(edges)
    assert (csc.time is None) == (not timed)
    assert not timed or csc.time.tolist() == [edges[i][2] for i in order]
    assert not any(array.flags.writeable for array in (csc.indptr, csc.source, csc.edge))


@pytest.mark.parametrize(
    ("index", "words"),
    [
        (torch.tensor([[0, 5], [0, 0]]), r"source must be in \[0, 5\), got 0 to 5"),
        (torch.tensor([[0], [-1]]), r"target must be in \[0, 3\), got -1 to -1"),
        (torch.tensor([[0.5], [0.0]]), "float32"),
        (torch.tensor([0, 1]), r"\[2\]"),
        (torch.zeros(3, 2, dtype=torch.long), r"\[3, 2\]"),
    ],
)
def test_edges_to_nowhere_are_named(index, words):
    with pytest.raises(DataError, match=words):
        Csc.from_edges(index, num_sources=5, num_targets=3)


@pytest.mark.parametrize("time", [torch.tensor([0.5, 1.0]), torch.tensor([1]), torch.tensor([True, False])])
def test_times_must_be_integers_one_an_edge(time):
    with pytest.raises(DataError, match=rf"integers \[2\], got {re.escape(str(list(time.shape)))} of {time.dtype}"):
        Csc.from_edges(torch.zeros(2, 2, dtype=torch.long), num_sources=1, num_targets=1, time=time)


def two_types():
    generator = torch.Generator().manual_seed(0)
    index = torch.randint(0, 50, (2, 400), generator=generator)
    timed = Csc.from_edges(index, num_sources=50, num_targets=60, time=torch.arange(400).flip(0))
    return {("a", "to", "b"): timed, ("b", "of", "b"): Csc.from_edges(index[:, :0], num_sources=60, num_targets=60)}


def test_a_folder_gives_back_what_was_saved(tmp_path):
    saved = two_types()
    save_csc(tmp_path / "edges", saved)
    opened = open_csc(tmp_path / "edges")
    assert list(opened) == list(saved)
    for edge_type, csc in opened.items():
        for part in ("indptr", "source", "edge", "time"):
            one, other = getattr(csc, part), getattr(saved[edge_type], part)
            assert (one is None) == (other is None)
            assert one is None or (one.dtype == other.dtype and np.array_equal(one, other))
        assert csc.num_sources == saved[edge_type].num_sources
    assert not opened["a", "to", "b"].source.flags.owndata  # it is the file


@pytest.mark.parametrize("part", ["indptr", "source", "edge", "time"])
def test_a_flipped_bit_is_named(tmp_path, part):
    save_csc(tmp_path, two_types())
    file = tmp_path / "columns" / f"0.{part}"
    data = bytearray(file.read_bytes())
    data[17] ^= 4
    file.write_bytes(data)
    with pytest.raises(ArtifactError, match=rf"0\.{part}.*sha256"):
        open_csc(tmp_path)


def test_a_folder_that_lies_is_refused(tmp_path):
    def refused(words, **parts):
        good = {"indptr": np.array([0, 1, 2]), "source": np.array([0, 1]), "edge": np.array([0, 1])}
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        save_csc(folder, {("a", "to", "b"): Csc(2, **{**good, **parts})})
        with pytest.raises(ArtifactError, match=words):
            open_csc(folder)

    refused(r"rise from 0 to 2", indptr=np.array([0, 3, 2]))
    refused(r"rise from 0 to 2", indptr=np.array([0, 1, 1]))
    refused(r"'source'.*\[0, 2\), got 2", source=np.array([0, 2]))
    refused(r"'edge'.*\[0, 2\), got 7", edge=np.array([0, 7]))
    refused("agreeing lengths", edge=np.array([0]))
    refused("agreeing lengths", time=np.array([0]))
    refused("agreeing lengths", source=np.array([0.0, 1.0]))
    refused("agreeing lengths", indptr=np.array([], dtype=np.int64))


def test_a_folder_of_something_else_is_named(tmp_path):
    with pytest.raises(ArtifactError, match="nowhere"):
        open_csc(tmp_path / "nowhere")
    save_csc(tmp_path / "edges", two_types())
    with pytest.raises(ArtifactError, match="holds a csc already"):
        save_csc(tmp_path / "edges", two_types())
    for meta in ({}, {"edge_types": [["a", "b"]], "num_sources": [1]}, {"edge_types": [], "num_sources": [1]}):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        with ColumnsWriter(folder, kind="csc") as writer:
            writer.commit(meta)
        with pytest.raises(ArtifactError, match="edge types and counts"):
            open_csc(folder)
    with ColumnsWriter(tmp_path / "none", kind="csc") as writer:
        writer.commit({"edge_types": [["a", "to", "b"]], "num_sources": [1]})
    with pytest.raises(ArtifactError, match=r"0\.indptr"):
        open_csc(tmp_path / "none")
