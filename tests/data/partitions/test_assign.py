"""Parts by chance are even; METIS is asked for what it can do."""

import sys

import numpy as np
import pytest

from mmgraph.data.partitions import partition_graph
from mmgraph.data.partitions.assign import by_chance
from mmgraph.errors import ConfigError, MissingPackageError


def test_parts_by_chance_are_even_and_differ_between_types():
    found = by_chance({"a": 30_000, "b": 30_000}, 3, seed=0)
    for owner in found.values():
        assert np.abs(np.bincount(owner) - 10_000).max() < 400
    assert 0.3 < (found["a"] == found["b"]).mean() < 0.37
    assert not np.array_equal(found["a"], by_chance({"a": 30_000}, 3, seed=1)["a"])


def test_without_dgl_it_is_named(graph, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "dgl", None)
    with pytest.raises(MissingPackageError, match=r"'dgl'.*mmgraph\[dgl\]"):
        partition_graph(graph, tmp_path / "parts", parts=2)
    assert partition_graph(graph, tmp_path / "parts", parts=2, method="random").parts == 2


def test_a_metis_that_is_ended_by_chance_is_started_again(graph, tmp_path, monkeypatch):
    from mmgraph.data.partitions import assign

    once = f"""
import os, pathlib, sys
if not (seen := pathlib.Path({str(tmp_path / "seen")!r})).exists():
    seen.touch()
    os.abort()
import numpy
numpy.save(sys.argv[1] + "/found.npy", numpy.arange(69) % 2)
"""
    monkeypatch.setattr(assign, "_METIS", once)
    assert partition_graph(graph, tmp_path / "parts", parts=2).nodes["word"].bounds.tolist() == [0, 20, 40]


def test_a_metis_that_fails_is_reported_and_leaves_nothing(graph, tmp_path, monkeypatch):
    """It does not fail on request, so another program fails in its place."""
    from mmgraph.data.partitions import assign

    monkeypatch.setattr(assign, "_METIS", "import os; os.abort()")
    with pytest.raises(ConfigError, match=r"METIS must end well, it has ended with -6.*give method='random'"):
        partition_graph(graph, tmp_path / "parts", parts=2)
    assert list(tmp_path.iterdir()) == []
