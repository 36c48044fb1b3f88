from collections import Counter

import numpy as np
import pytest

from mmgraph import load_dataset
from mmgraph.assembly import build_graph
from mmgraph.encoders import FeatureCache


@pytest.mark.data
def test_mosi(load_or_skip):
    source = load_or_skip("mosi")
    columns = source.tables["utterances"]
    table = columns.select(["name", "said", "video_id", "order", "opinion", "part"]).to_pylist()
    assert len(table) == 2199
    assert Counter(row["part"] for row in table) == {"train": 1206, "val": 241, "test": 752}
    assert Counter(row["opinion"] for row in table) == {"positive": 1176, "negative": 1023}
    videos = {}
    for row in table:
        assert videos.setdefault(row["video_id"], row["part"]) == row["part"]  # a video is in one part
        assert row["name"] == f"{row['video_id']}_{row['order']}"
    assert Counter(videos.values()) == {"train": 51, "val": 11, "test": 31}
    assert np.mean([row["opinion"] == "positive" for row in table if row["part"] == "test"]) == pytest.approx(
        0.621, abs=1e-3
    )
    assert table[0]["said"] == "ANYHOW IT WAS REALLY GOOD"
    nodes = source.config.modality_nodes
    assert {name: len(channels) for name, (_, channels) in nodes.items()} == {"text": 100, "audio": 73, "video": 100}
    for _, channels in nodes.values():
        for channel in channels:
            assert np.isfinite(columns[channel].to_numpy()).all()
    (edge,) = source.config.edges
    assert (edge.order, edge.by, edge.inverse) == ("order", "video_id", "previous")
    assert len({(row["video_id"], row["order"]) for row in table}) == 2199
    assert source.config.targets["opinion"].classes == ("negative", "positive")


@pytest.mark.data
def test_transcripts_are_a_text_of_their_own_where_they_are_asked_for(load_or_skip):
    load_or_skip("mosi")
    source = load_dataset("mosi", transcripts=True)
    built = build_graph(source.with_encoders(transcript={"kind": "hashed_text", "channels": 8}))
    assert built.schema.nodes["transcript"].modality == "text"
    assert built.graph["transcript"].x.shape == (2199, 8)
    assert next(iter(built.payloads["transcript"]())) == "ANYHOW IT WAS REALLY GOOD"
    assert set(built.schema.modalities) == {"text", "audio", "video", "transcript"}


@pytest.mark.data
def test_text_sound_and_picture_are_of_the_same_utterance(load_or_skip):
    """The three files of a part end with the label: they are in one order, that of the text's row numbers."""
    from mmgraph.data import Manifest
    from mmgraph.data.manifest import bundled

    source = load_or_skip("mosi")
    files = {
        path.name: path for path in Manifest.read(bundled("datasets") / "mosi" / "manifest.toml").locate().values()
    }
    opinions = np.array(source.tables["utterances"]["opinion"].to_pylist())
    for part in ("train", "test"):
        text = np.loadtxt(files[f"text_{part}.csv"], delimiter=",", quotechar='"', usecols=(0, 1, 100))
        rows = text[:, 0].astype(int)
        for column, name in [(1, "text_000"), (2, "text_099")]:
            ours = source.tables["utterances"][name].to_numpy()[rows]
            np.testing.assert_array_equal(ours, text[:, column].astype(np.float32))
        for node in ("audio", "video"):
            theirs = np.loadtxt(files[f"{node}_{part}0.csv"], delimiter=",", quotechar='"')
            assert ((theirs[:, -1] == 1) == (opinions[rows] == "positive")).all()
            ours = source.tables["utterances"][f"{node}_003"].to_numpy()[rows]
            np.testing.assert_array_equal(ours, theirs[:, 3].astype(np.float32))


@pytest.mark.data
def test_mosi_is_a_graph_of_videos(load_or_skip, tmp_path):
    built = build_graph(load_or_skip("mosi"), cache=FeatureCache(tmp_path))
    assert len(built.rejected) == 0
    index = built.graph["utterance", "next", "utterance"].edge_index
    assert index.shape[1] == 2199 - 93
    part = sum(
        built.graph["utterance"][f"{name}_mask"].int() * place for place, name in enumerate(("train", "val", "test"))
    )
    assert (part[index[0]] == part[index[1]]).all()  # a video is in one part
