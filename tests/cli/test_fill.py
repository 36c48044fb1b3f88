import io
import json

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from mmgraph.assembly import Built, GraphConfig, Source, build_graph
from mmgraph.cli import main
from mmgraph.encoders import FeatureCache


def png(shade):
    file = io.BytesIO()
    Image.fromarray(np.full((6, 6), shade, dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def folder(tmp_path):
    """A graph of tiles, of which one has no mass, and one nothing at all."""
    shade = [(20 * row) % 200 for row in range(60)]
    tiles = {
        "photo": [None if row == 1 else png(one) for row, one in enumerate(shade)],
        "mass": [None if row < 2 else one / 10 for row, one in enumerate(shade)],
    }
    config = GraphConfig(nodes={"tile": {"table": "tiles", "columns": {"photo": "image", "mass": "numeric"}}})
    built = build_graph(Source(config, {"tiles": pa.table(tiles)}), cache=FeatureCache(tmp_path / "cache"))
    built.write(tmp_path / "tiles")
    return tmp_path / "tiles"


def test_a_graph_is_filled_and_the_errors_are_shown(folder, capsys):
    out = folder.with_name("filled")
    words = ["fill", str(folder), "--modality", "table", "--out", str(out), "--epochs", "5", "--channels", "8"]
    assert main(words) == 0
    said = capsys.readouterr().out
    for part in ("what is generated", "the mean of training", "the nearest training sample", "1.000"):
        assert part in said
    assert "1 of 60 filled as 'table_generated'; 1 more have nothing to make it from" in said
    facts = json.loads((out / "fill-table.json").read_text())
    assert (facts["lacked"], facts["filled"], facts["judged"]) == (2, 1, 12)
    assert facts["error"].keys() == {"generated", "mean", "nearest"}
    filled = Built.open(out)
    assert sorted(json.loads(filled.payload("table_generated", 0))) == ["mass"]
    assert "table_generated" not in Built.open(folder).schema.nodes


def test_a_killed_command_changes_nothing_and_the_next_makes_the_same(folder, monkeypatch):
    words = ["fill", str(folder), "--modality", "photo", "--epochs", "2", "--channels", "8", "--pixels", "4"]
    out = folder.with_name("whole")
    assert main([*words, "--out", str(out)]) == 0
    with monkeypatch.context() as patch:
        patch.setattr("mmgraph.assembly.built.write_rejected", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert main(words) == 130
    assert "photo_generated" not in Built.open(folder).schema.nodes
    for _ in range(2):  # in the graph's own folder; of what is filled already, too
        assert main(words) == 0
        one, other = Built.open(out), Built.open(folder)
        assert one.schema == other.schema
        assert list(one.payloads["photo_generated"]()) == list(other.payloads["photo_generated"]())
        assert torch.equal(one.graph["photo_generated"].x, other.graph["photo_generated"].x)
    assert (folder / "fill-photo.json").read_text() == (out / "fill-photo.json").read_text()
    assert main(["describe", str(folder)]) == 0


def test_features_alone_are_made(folder, capsys):
    assert main(["fill", str(folder), "--modality", "photo", "--features", "--epochs", "1"]) == 0
    assert "x of 'photo' from table" in capsys.readouterr().out
    assert "photo_generated" not in Built.open(folder).payloads


def test_what_is_kept_beside_a_graph_is_not_lost(folder, capsys):
    assert main(["index", str(folder), "--text-weight", "0.5"]) == 0
    assert main(["fill", str(folder), "--modality", "photo", "--epochs", "1"]) == 2
    assert "has an index, and what was added to it, which would be lost; give another folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--modality", "smell"], 2, "one of ['photo', 'table'], got 'smell'"),
        (["--modality", "photo", "--epochs", "0"], 2, "epochs must be at least 1"),
        (["--modality", "photo", "--out", "."], 2, "must be a new folder, or that of a graph"),
    ],
)
def test_what_can_not_be_done_is_one_line(folder, capsys, monkeypatch, words, code, said):
    monkeypatch.chdir(folder.parent)
    assert main(["fill", str(folder), *words]) == code
    assert said in capsys.readouterr().err
