"""To a folder and back: the same graph, payloads and encoders; killed, it goes on and gives the same bytes."""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from mmgraph.assembly import Built
from mmgraph.data import Collection, CollectionWriter
from mmgraph.encoders import FeatureCache, Function
from mmgraph.errors import ArtifactError, ConfigError, DataError
from mmgraph.index import Exact
from mmgraph.index import load as load_index

LENGTH = Function(
    lambda texts: [[len(text)] for text in texts], name="length", revision="1", modality="text", channels=1
)


@pytest.fixture
def shop(tmp_path, png, wav):
    """Fields of a declaration and tables, with payload files below the root."""
    root = tmp_path / "root"
    root.mkdir()
    for number in range(4):
        (root / f"{number}.png").write_bytes(png(60 * number))
        (root / f"{number}.wav").write_bytes(wav(300 * (number + 1)))
    rows = range(12)
    table = {
        "sku": [f"p{row}" for row in rows],
        "title": [None if row == 3 else f"title {row % 5} of a thing" for row in rows],
        "photo": [f"{row % 5}.png" if row % 3 else None for row in rows],  # 4.png is not there
        "sound": [[f"{row % 4}.wav", f"{(row + 1) % 4}.wav"] if row % 2 else [] for row in rows],
        "price": [str(row / 2) if row != 5 else "free" for row in rows],
        "beat": [[float(row), 1.0, 2.0 * row] for row in rows],
        "colour": [["red", "blue"][: row % 3] for row in rows],
        "note": [None if row % 2 else f"näte {row}" for row in rows],
        "maker": [f"m{row % 3}" for row in rows],
        "like": [f"p{(row * 5) % 12}" for row in rows],
        "kind": [["toy", "tool"][row % 2] for row in rows],
    }
    fields = {
        "name": "shop",
        "nodes": {
            "product": {
                "table": "products",
                "key": "sku",
                "columns": {
                    "title": {"modality": "text", "encoder": "words"},
                    "photo": "image",
                    "sound": "audio",
                    "price": "numeric",
                    "beat": "series",
                    "colour": "symbol",
                    "note": "keep",
                },
            }
        },
        "edges": [
            {"type": ["product", "by", "maker/brand"], "column": "maker", "inverse": "made"},
            {"type": ["product", "like", "product"], "column": "like", "symmetric": True},
        ],
        "targets": {"kind": {"column": "kind"}},
        "split": {"by": "random", "test": 0.25, "val": 0.25},
        "encoders": {"words": {"kind": "hashed_text", "channels": 8}},
        "limits": {"rejected": 0.5},
    }
    return fields, {"products": table}, root


def same(one, other):
    assert one.node_types == other.node_types
    assert one.edge_types == other.edge_types
    for store in [*one.node_types, *one.edge_types]:
        first, second = one[store].to_dict(), other[store].to_dict()
        assert first.keys() == second.keys()
        for name, value in first.items():
            if isinstance(value, torch.Tensor):
                assert value.dtype == second[name].dtype
                assert value.shape == second[name].shape
                assert torch.equal(value.nan_to_num(-7), second[name].nan_to_num(-7)), (store, name)
            else:
                assert value == second[name]


def digests(folder):
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def test_all_comes_back_from_the_folder(build, shop, tmp_path, png):
    fields, tables, root = shop
    built = build(fields, tables, root=root)
    collection = built.write(tmp_path / "out")
    assert isinstance(collection, Collection)
    again = Built.open(tmp_path / "out")
    same(built.graph, again.graph)
    assert again.schema == built.schema
    assert again.config == built.config
    assert again.keys == built.keys
    assert again.ids == [f"p{row}" for row in range(12)]
    assert again.notes == built.notes
    assert again.anchor == "product"
    assert sorted(again.rejected, key=str) == sorted(built.rejected, key=str)
    assert len(again.rejected) == 2  # a photo and a price
    for node, read in built.payloads.items():
        assert list(read()) == list(again.payloads[node]()), node
    for node, payload in {
        "title": "title 9",
        "photo": png(33),
        "price": None,
        "beat": [5.0, 1.0, 2.0],
        "colour": "red",
    }.items():
        if payload is not None:
            assert torch.equal(built.encoder(node)([payload]), again.encoder(node)([payload])), node
    assert again.encoder("title") is again.encoder("title")
    assert again.encoder("table")([{"price": 3.0}]).tolist() == built.encoder("table")([{"price": 3.0}]).tolist()


def test_two_writes_and_a_copy_have_the_same_bytes(build, shop, tmp_path):
    fields, tables, root = shop
    built = build(fields, tables, root=root)
    built.write(tmp_path / "one")
    build(fields, tables, root=root, cache=FeatureCache(tmp_path / "another")).write(tmp_path / "two")
    Built.open(tmp_path / "one").write(tmp_path / "three")
    assert digests(tmp_path / "one") == digests(tmp_path / "two") == digests(tmp_path / "three")


def test_a_build_that_stops_goes_on_to_the_same_bytes(build, shop, tmp_path, monkeypatch):
    fields, tables, root = shop
    build(fields, tables, root=root).write(tmp_path / "whole")
    monkeypatch.setattr("mmgraph.encoders.frozen.Frozen.chunk", 2)

    class Killed(FeatureCache):
        def __init__(self, folder, puts):
            super().__init__(folder)
            self.puts = puts

        def put(self, identity, features):
            if not self.puts:
                raise KeyboardInterrupt
            self.puts -= 1
            super().put(identity, features)

    for puts in (1, 2, 3):
        with pytest.raises(KeyboardInterrupt):
            build(fields, tables, root=root, cache=Killed(tmp_path / "kept", puts)).write(tmp_path / "out")
        assert not (tmp_path / "out").exists()
    build(fields, tables, root=root, cache=FeatureCache(tmp_path / "kept")).write(tmp_path / "out")
    assert digests(tmp_path / "out") == digests(tmp_path / "whole")


def test_an_older_folder_stays_until_the_new_one_is_complete(build, shop, tmp_path, png):
    fields, tables, root = shop
    build(fields, tables, root=root).write(tmp_path / "out")
    before = digests(tmp_path / "out")
    built = build(fields, tables, root=root)
    (root / "2.png").write_bytes(png(1))
    with pytest.raises(DataError, match="The files of 'photo' must not change while they are read"):
        built.write(tmp_path / "out")
    assert digests(tmp_path / "out") == before
    assert sorted(one.name for one in tmp_path.iterdir()) == ["cache", "out", "root"]  # no draft is left
    build(fields, tables, root=root).write(tmp_path / "out")
    assert digests(tmp_path / "out") != before


def test_nothing_else_is_written_over(build, shop, tmp_path):
    fields, tables, root = shop
    built = build(fields, tables, root=root)
    (tmp_path / "mine").mkdir()
    built.write(tmp_path / "mine")  # an empty folder is as good as none
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("dear")
    (tmp_path / "other" / "about").mkdir(parents=True)
    (tmp_path / "other" / "about" / "graph.json").write_text("{}")
    for name in ("letters", "letters/dear.txt", "other"):
        with pytest.raises(ConfigError, match=f"{name}' must be a new folder, or that of a graph, got something else"):
            built.write(tmp_path / name)
    assert (tmp_path / "letters" / "dear.txt").read_text() == "dear"


def test_an_encoder_that_was_given_is_not_kept(build, tmp_path):
    fields = {"nodes": {"film": {"table": "films", "columns": {"t": "text"}}}}
    build(fields, {"films": {"t": ["a", "bb"]}}, encoders={"t": LENGTH}).write(tmp_path / "out")
    again = Built.open(tmp_path / "out")
    assert again.graph["t"].x.tolist() == [[1], [2]]
    with pytest.raises(ArtifactError, match="The encoder of 't' was given as an object .*declare it in"):
        again.encoder("t")
    with pytest.raises(ConfigError, match=r"A modality node type must be one of \['t'\], got 'u'"):
        again.encoder("u")


def test_damage_is_noticed(build, shop, tmp_path):
    fields, tables, root = shop
    build(fields, tables, root=root).write(tmp_path / "out")
    for name in ("about/graph.json", "about/rejected.parquet", "about/encoders/title/state.safetensors"):
        shutil.copytree(tmp_path / "out", tmp_path / "copy")
        data = bytearray((tmp_path / "copy" / name).read_bytes())
        data[len(data) // 2] ^= 1
        (tmp_path / "copy" / name).write_bytes(data)
        with pytest.raises(ArtifactError, match="is damaged"):
            Built.open(tmp_path / "copy")
        shutil.rmtree(tmp_path / "copy")
    with pytest.raises(ArtifactError, match="must exist; it does not"):
        Built.open(tmp_path / "nowhere")


def test_encoders_of_another_graph_are_refused(build, shop, tmp_path):
    fields, tables, root = shop
    build(fields, tables, root=root).write(tmp_path / "one")
    tables["products"]["title"][0] = "learnt from something else" * 3
    fields["split"]["seed"] = 5
    build(fields, tables, root=root).write(tmp_path / "two")
    shutil.rmtree(tmp_path / "one" / "about")
    shutil.copytree(tmp_path / "two" / "about", tmp_path / "one" / "about")
    with pytest.raises(
        ArtifactError, match="encoder of 'title' must be hashed_text@.*, by which its features were made"
    ):
        Built.open(tmp_path / "one").encoder("title")


def test_features_of_another_encoder_are_not_appended(build, shop, tmp_path):
    fields, tables, root = shop
    built = build(fields, tables, root=root)
    built.write(tmp_path / "out")
    tables["products"]["title"][4:8] = ["new words here"] * 4
    fields["split"]["seed"] = 3
    other = build(fields, tables, root=root)
    assert other.schema.nodes["title"].encoder != built.schema.nodes["title"].encoder
    with pytest.raises(ArtifactError, match="has another schema"):
        CollectionWriter(tmp_path / "out", other.schema, append=True)
    index = Exact(built.graph["title"].x, [str(row) for row in range(11)], fingerprint=built.schema.fingerprint)
    index.save(tmp_path / "index")
    assert len(load_index(tmp_path / "index", fingerprint=built.schema.fingerprint)) == 11
    with pytest.raises(ArtifactError, match="Index of another schema"):
        load_index(tmp_path / "index", fingerprint=other.schema.fingerprint)


def test_a_kept_column_must_not_be_called_key(build, tmp_path):
    fields = {"nodes": {"film": {"table": "films", "columns": {"key": "keep"}}}}
    with pytest.raises(DataError, match="A column that is kept must not be called 'key'; rename it"):
        build(fields, {"films": {"key": ["a"]}}).write(tmp_path / "out")


BUILD = """
import sys
from pathlib import Path
from mmgraph.assembly import build_graph
from mmgraph.encoders import FeatureCache
from mmgraph.encoders.frozen import Frozen
Frozen.chunk = 20
put = FeatureCache.put
def told(self, *words):
    put(self, *words)
    print("put", flush=True)
FeatureCache.put = told
build_graph(Path(sys.argv[1]), cache=FeatureCache(sys.argv[2])).write(sys.argv[3])
"""


def test_a_process_that_is_killed_twice_goes_on_to_the_same_bytes(tmp_path, png):
    root = tmp_path / "data"
    (root / "photos").mkdir(parents=True)
    for number in range(200):
        (root / f"photos/{number}.png").write_bytes(png(number))
    chance = random.Random(0)
    lines = [f"p{row},title {row % 90},photos/{chance.randrange(200)}.png" for row in range(600)]
    (root / "products.csv").write_text("id,title,photo\n" + "\n".join(lines))
    (root / "graph.toml").write_text(
        '[nodes.product]\ntable = "products.csv"\nkey = "id"\ncolumns = { title = "text", photo = "image" }\n'
    )

    def start(cache, out):
        env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
        words = [sys.executable, "-c", textwrap.dedent(BUILD), root / "graph.toml", tmp_path / cache, tmp_path / out]
        return subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=env)

    def puts(process, most):
        """Waits until so many chunks are kept, or the process ends."""
        found = 0
        while found < most and process.stdout.readline():
            found += 1
        return found

    with start("one", "whole") as process:
        total = puts(process, 1000)
    assert process.returncode == 0
    assert total > 10
    counted = 0
    for _ in range(2):
        with start("two", "killed") as process:
            counted += puts(process, 4)
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        assert not (tmp_path / "killed").exists()
    with start("two", "killed") as process:
        rest = puts(process, 1000)
    assert process.returncode == 0
    assert 0 < rest <= total - counted  # it went on, and did not begin anew
    assert digests(tmp_path / "killed") == digests(tmp_path / "whole")


def test_a_payload_is_found_by_its_row(build, tmp_path):
    import pyarrow as pa

    fields = {"nodes": {"film": {"table": "films", "columns": {"plot": "text"}}}}
    built = build(fields, {"films": pa.table({"plot": ["a dog", None, "a cat"]})})
    built.write(tmp_path / "films")
    for one in (built, Built.open(tmp_path / "films")):
        assert [one.payload("plot", row) for row in (1, 0)] == ["a cat", "a dog"]
        with pytest.raises(DataError, match="A row of 'plot' must be between 0 and 1, got 2"):
            one.payload("plot", 2)
        with pytest.raises(ConfigError, match=r"must be one of \['plot'\], got 'title'"):
            one.payload("title", 0)
