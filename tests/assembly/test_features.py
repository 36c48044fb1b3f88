"""Modality nodes: read, encoded once by content, set aside where they are bad, learnt from training rows alone."""

import io
import wave

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from pyarrow import parquet

from mmgraph.assembly.cells import payload_of
from mmgraph.assembly.features import digest_of
from mmgraph.encoders import FeatureCache, Frozen, Function
from mmgraph.errors import ConfigError, DataError
from mmgraph.media.files import read_payload
from mmgraph.schema import Identity, Modality


class Letters(Frozen[str, str]):
    """Counts a, b and c; can't take texts with an x; remembers what it was asked for."""

    identity = Identity(name="letters", revision="1")
    modality = Modality.TEXT
    shape = (3,)
    chunk = 4

    def __init__(self):
        self.asked = []

    def content(self, payload):
        return payload.encode()

    def prepare(self, payload):
        if "x" in payload:
            raise DataError(f"a text must have no x, got {payload!r}")
        return payload

    def encode(self, prepared):
        self.asked += prepared
        return torch.tensor([[text.count(letter) for letter in "abc"] for text in prepared]).float()


def texts(columns, **fields):
    return {"nodes": {"film": {"table": "films", "columns": columns}}, "limits": {"rejected": 1}, **fields}


def test_cells_become_nodes_in_order_and_empty_ones_none(build):
    table = {"a": ["a", None, "b", " ", "x", "a"], "b": [None, "b", "c", "", "ab", None]}
    columns = {"a": {"modality": "text", "node": "word"}, "b": {"modality": "text", "node": "word"}}
    letters = Letters()
    built = build(texts(columns), {"films": table}, encoders={"word": letters})
    assert built.graph["word", "of", "film"].edge_index.tolist() == [[0, 1, 2, 3, 4, 5], [0, 1, 2, 2, 4, 5]]
    assert built.graph["word"].x.tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 0]]
    assert letters.asked == ["a", "b", "c", "ab"]
    assert [(one.row, one.column, one.key, one.value, one.reason) for one in built.rejected] == [
        (4, "a", "4", "x", "a text must have no x, got 'x'")
    ]
    assert list(built.payloads["word"]()) == ["a", "b", "b", "c", "ab", "a"]
    assert built.schema.nodes["word"].encoder == letters.identity
    assert built.encoder("word") is letters


def test_a_changed_cell_is_encoded_alone(build, tmp_path):
    cache = FeatureCache(tmp_path / "kept")
    words = [f"a{row}" for row in range(20)]
    letters = Letters()
    before = build(texts({"t": "text"}), {"films": {"t": words}}, encoders={"t": letters}, cache=cache)
    assert len(letters.asked) == 20
    words[7] = "abc"
    letters = Letters()
    after = build(texts({"t": "text"}), {"films": {"t": words}}, encoders={"t": letters}, cache=cache)
    assert letters.asked == ["abc"]
    assert (before.graph["t"].x != after.graph["t"].x).any(dim=1).nonzero().tolist() == [[7]]


def test_what_a_killed_build_has_encoded_is_kept(build, tmp_path):
    class Killed(FeatureCache):
        puts = 0

        def put(self, identity, features):
            if self.puts == 3:
                raise KeyboardInterrupt
            self.puts += 1
            super().put(identity, features)

    words = [f"{'a' * (row % 3)}{row}" for row in range(20)]
    whole = build(texts({"t": "text"}), {"films": {"t": words}}, encoders={"t": Letters()})
    with pytest.raises(KeyboardInterrupt):
        build(texts({"t": "text"}), {"films": {"t": words}}, encoders={"t": Letters()}, cache=Killed(tmp_path / "k"))
    letters = Letters()
    again = build(
        texts({"t": "text"}), {"films": {"t": words}}, encoders={"t": letters}, cache=FeatureCache(tmp_path / "k")
    )
    assert letters.asked == words[12:]  # three chunks of four were kept
    assert torch.equal(again.graph["t"].x, whole.graph["t"].x)


def test_a_file_that_many_rows_name_is_read_and_encoded_once(build, tmp_path, png, monkeypatch):
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(png(number))
    (tmp_path / "copy.png").write_bytes(png(0))
    read = []

    def counted(root, name, **options):
        read.append(name)
        return read_payload(root, name, **options)

    monkeypatch.setattr("mmgraph.assembly.cells.read_payload", counted)
    sizes = []

    def encode(pictures):
        sizes.append(len(pictures))
        return [[len(picture)] for picture in pictures]

    encoder = Function(encode, name="length", revision="1", modality="image", channels=1)
    paths = [f"{row % 3}.png" for row in range(30)] + ["copy.png"]
    built = build(texts({"p": "image"}), {"films": {"p": paths}}, root=tmp_path, encoders={"p": encoder})
    assert sizes == [3]
    assert sorted(read) == ["0.png", "1.png", "2.png", "copy.png"]
    assert list(built.payloads["p"]()) == [png(row % 3) for row in range(30)] + [png(0)]
    monkeypatch.setattr("mmgraph.assembly.features._HELD", 2 * len(png(0)))
    read.clear()
    assert list(built.payloads["p"]()) == [png(row % 3) for row in range(30)] + [png(0)]
    assert len(read) == 31  # no more than two are held


def test_at_most_a_chunk_is_held(build, monkeypatch):
    alive, most = set(), 0

    class Text(str):
        def __del__(self):
            alive.discard(id(self))

    def tracked(*arguments):
        value = Text(payload_of(*arguments))
        alive.add(id(value))
        return value

    class Watching(Letters):
        def prepare(self, payload):
            nonlocal most
            most = max(most, len(alive))
            return str(payload + "")

    monkeypatch.setattr("mmgraph.assembly.features.payload_of", tracked)
    words = [f"a{row}" for row in range(100)]
    build(texts({"t": "text"}), {"films": {"t": words}}, encoders={"t": Watching()})
    assert Watching.chunk <= most <= 2 * Watching.chunk + 2


@pytest.mark.parametrize("part", ["val", "test"])
@pytest.mark.parametrize("kind", ["hashed_text", "tokens"])
def test_nothing_is_learnt_from_val_or_test_rows(build, part, kind):
    parts = ["train"] * 8 + ["val"] * 4 + ["test"] * 4
    words = [f"owl cat word{row % 8}" for row in range(16)]
    fields = texts(
        {
            "t": {"modality": "text", "encoder": kind},
            "n": "numeric",
            "c": "category",
            "d": "datetime",
            "s": "symbol",
        },
        split={"by": "column", "column": "part"},
    )

    def identities(changed=None):
        table = {
            "t": list(words),
            "n": [float(row) for row in range(16)],
            "c": [f"c{row % 3}" for row in range(16)],
            "d": [f"2024-01-{row + 1:02}" for row in range(16)],
            "s": [f"s{row % 4}" for row in range(16)],
            "part": parts,
        }
        if changed is not None:
            table["t"][changed], table["n"][changed], table["c"][changed] = "another another", 1e6, "new"
            table["d"][changed], table["s"][changed] = "1999-01-01", "another"
        schema = build(fields, {"films": table}).schema
        return {node: schema.nodes[node].encoder for node in ("t", "table", "s")}

    before = identities()
    assert identities(parts.index(part)) == before
    learnt = identities(0)
    assert all(learnt[node] != before[node] for node in before)


def test_rows_of_other_tables_are_all_learnt_from(build):
    fields = {
        "nodes": {
            "film": {"table": "films", "key": "id"},
            "review": {"table": "reviews", "columns": {"text": "text"}},
        },
        "anchor": "film",
        "edges": [{"type": ["review", "about", "film"], "column": "film"}],
        "split": {"by": "random", "test": 0.3, "val": 0.3},
    }
    films = {"id": [f"f{row}" for row in range(10)]}
    one = {"text": [f"word{row}" for row in range(10)], "film": films["id"]}
    other = {"text": ["other", *one["text"][1:]], "film": films["id"]}
    first, second = (build(fields, {"films": films, "reviews": table}).schema.nodes["text"] for table in (one, other))
    assert first.encoder != second.encoder


def pictures(png):
    """Name → the bytes of a picture that can be read."""
    made = {}
    for name, mode in (("grey", "L"), ("deep", "I;16"), ("inks", "CMYK"), ("palette", "P"), ("alpha", "LA")):
        file = io.BytesIO()
        Image.new(mode, (9, 7), 77).save(file, "TIFF" if mode in ("I;16", "CMYK") else "PNG")
        made[name] = file.getvalue()
    file = io.BytesIO()
    frames = [Image.new("P", (8, 8), shade) for shade in (1, 2, 3)]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    made["animated"] = file.getvalue()
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (1, 2, 3)).save(file, "JPEG")
    made["jpeg"] = file.getvalue()
    return made


def test_pictures_of_all_kinds_and_those_that_are_none(build, tmp_path, png, wav):
    good = {**pictures(png), "wrong.wav": png(9)}
    bad = {
        "cut.png": png(5, 64)[:-40],
        "cut.jpg": good["jpeg"][: len(good["jpeg"]) // 2],
        "empty.png": b"",
        "text.png": b"no picture",
        "sound.png": wav(440),
    }
    for name, data in {**good, **bad}.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "link.png").symlink_to("/etc/hostname")
    lost = ["missing.png", "folder.png", "link.png", "../x.png", "/etc/hostname", "a\0b.png"]
    names = [*good, *bad, *lost]
    built = build(texts({"p": "image"}), {"films": {"p": names}}, root=tmp_path)
    wrong = {one.value: one for one in built.rejected}
    unread = {name for name in good if name in wrong}
    assert unread <= {"animated"}  # if it is refused, it is said
    assert set(wrong) - unread == {*bad, *lost}
    assert all(names[one.row] == one.value and one.column == "p" and one.reason for one in built.rejected)
    assert built.graph["p"].num_nodes == len(good) - len(unread)
    assert built.graph["p"].x.isfinite().all()


def test_sounds_of_all_kinds_and_those_that_are_none(build, tmp_path, wav, png):
    good = {
        "eight.wav": wav(440, width=1),
        "sixteen.png": wav(440),
        "deep.wav": wav(440, width=3),
        "stereo.wav": wav(440, channels=2),
        "many.wav": wav(440, channels=6),
    }
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((1, 2, 8000, 0, "NONE", ""))
        out.writeframes(b"")
    bad = {"none.wav": file.getvalue(), "zero.flac": b"", "cut.flac": b"fLaC\0\0", "text.wav": b"x", "p.wav": png(1)}
    for name, data in {**good, **bad}.items():
        (tmp_path / name).write_bytes(data)
    names = [*good, *bad, "missing.wav"]
    built = build(texts({"s": "audio"}), {"films": {"s": names}}, root=tmp_path)
    assert {one.value for one in built.rejected} == {*bad, "missing.wav"}
    assert built.graph["s"].num_nodes == len(good)
    assert built.graph["s"].x.isfinite().all()


def test_texts_that_are_none(build):
    cells = [b"caf\xe9", b"caf\xc3\xa9", b"", b"a" * 11, b"a\0b", b"plain", None, b" \n"]
    fields = texts({"t": "text"}, limits={"rejected": 1, "characters": 10})
    built = build(fields, {"films": {"t": pa.array(cells, pa.binary())}})
    assert list(built.payloads["t"]()) == ["café", "plain"]
    assert [(one.row, one.value) for one in built.rejected] == [(0, "4 bytes"), (3, "11 bytes"), (4, "3 bytes")]


def test_numbers_that_are_none_are_unknown_and_said(build):
    cells = ["1", "2.5", "nan", "inf", "n/a", None, "3"]
    table = {"n": cells, "c": ["a", None, "b", "a", None, None, "b"]}
    built = build(texts({"n": "numeric", "c": "category"}), {"films": table})
    assert [(one.row, one.column, one.value) for one in built.rejected] == [(3, "n", "inf"), (4, "n", "n/a")]
    assert built.graph["table", "of", "film"].edge_index[1].tolist() == [0, 1, 2, 3, 6]  # others have no cell
    unknown = built.schema.nodes["table"].names.index("n unknown")
    assert built.graph["table"].x[:, unknown].tolist() == [0, 0, 1, 1, 0]


def test_a_modality_without_a_cell_is_a_type_without_rows(build):
    table = {"t": pa.nulls(4, pa.string()), "p": pa.nulls(4, pa.string()), "y": ["a", "b", "a", "b"]}
    built = build(texts({"p": "image"}, targets={"y": {"column": "y"}}), {"films": table})
    assert built.graph["p"].x.shape == (0, built.schema.nodes["p"].channels)
    assert built.graph["p", "of", "film"].edge_index.shape == (2, 0)
    with pytest.raises(DataError, match="Encoder 'hashed_text' of 't' can't be fitted on its payloads: .*got 0; mend"):
        build(texts({"t": "text"}), {"films": table})
    with pytest.raises(DataError, match="'columns' of 'table' can't be fitted on its payloads: .*got 0"):
        build(texts({"t": "numeric"}), {"films": table})


def test_a_modality_without_a_cell_in_training_says_so(build):
    table = {"t": [None, None, "a", "b"], "part": ["train", "train", "val", "test"]}
    with pytest.raises(
        DataError, match="Encoder 'hashed_text' of 't' can't be fitted .* in the training part: .*got 0"
    ):
        build(texts({"t": "text"}, split={"by": "column", "column": "part"}), {"films": table})


@pytest.mark.parametrize(
    ("column", "encoder", "message"),
    [
        (
            {"modality": "text", "encoder": "gradients"},
            None,
            "encoder of 't' must encode 'text', got gradients, which en",
        ),
        (
            {"modality": "text", "encoder": "nonsense"},
            None,
            r"'t' must be one of \[encoders\], \[\], or a kind, .*'nonsense'",
        ),
        ("image", Letters(), "The encoder of 't' must encode 'image', got letters@1, which encodes text"),
        ("video", Letters(), "The encoder of 't' must encode 'image', got letters@1"),
    ],
)
def test_an_encoder_of_another_modality_is_refused_before_anything_is_read(build, column, encoder, message):
    with pytest.raises(ConfigError, match=message):
        build(texts({"t": column}), encoders={"t": encoder} if encoder else None)


def test_encoders_of_no_node_type_are_refused(build):
    with pytest.raises(ConfigError, match=r"encoders must be of \['t'\], got 'u'"):
        build(texts({"t": "text"}), encoders={"u": Letters()})


@pytest.mark.parametrize(
    "change",
    [
        lambda path, png: path.write_bytes(png(99)),
        lambda path, png: path.unlink(),
        lambda path, png: path.write_bytes(b"no picture"),
    ],
)
def test_a_file_that_changes_before_it_is_written_is_noticed(build, tmp_path, png, change):
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(png(number))
    built = build(texts({"p": "image"}), {"films": {"p": ["0.png", "1.png", "2.png"]}}, root=tmp_path)
    for number in range(3):
        before = (tmp_path / f"{number}.png").read_bytes()
        change(tmp_path / f"{number}.png", png)
        with pytest.raises(DataError, match="The files of 'p' must not change while they are read, but one has"):
            list(built.payloads["p"]())
        (tmp_path / f"{number}.png").write_bytes(before)
    assert list(built.payloads["p"]()) == [png(0), png(1), png(2)]


def test_a_part_of_a_parquet_file_that_is_damaged_is_said_where_it_is_read(build, tmp_path):
    words = [f"te{row * 7919 % 1000}" for row in range(900)]
    path = tmp_path / "films.parquet"
    table = pa.table({"id": [f"f{row}" for row in range(900)], "t": words})
    parquet.write_table(table, path, row_group_size=300, use_dictionary=False, write_page_checksum=True)
    column = parquet.read_metadata(path).row_group(1).column(1)
    data = bytearray(path.read_bytes())
    middle = column.data_page_offset + column.total_compressed_size // 2
    data[middle : middle + 30] = bytes(30)
    path.write_bytes(data)
    fields = texts({"t": "text"})
    fields["nodes"]["film"] |= {"table": "films.parquet", "key": "id"}
    built = build(fields, root=tmp_path, encoders={"t": Letters()})
    assert built.graph["film"].num_nodes == 900
    assert [one.row for one in built.rejected] == list(range(300, 600))
    assert {(one.column, one.key) for one in built.rejected} == {("t", "")}
    assert list(built.payloads["t"]()) == words[:300] + words[600:]


def test_videos_are_chains_of_pictures(build, tmp_path):
    av = pytest.importorskip("av")
    for name, shades in (("a.mp4", (10, 100, 200)), ("b.mp4", (50, 150))):
        with av.open(str(tmp_path / name), "w") as out:
            stream = out.add_stream("mpeg4", rate=1)
            stream.width = stream.height = 32
            for shade in shades:
                frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), shade, np.uint8), format="rgb24")
                for packet in stream.encode(frame):
                    out.mux(packet)
            for packet in stream.encode():
                out.mux(packet)
    (tmp_path / "bad.mp4").write_bytes(b"\0\0\0\x18ftypmp42 and no more")
    built = build(texts({"v": "video"}), {"films": {"v": ["a.mp4", None, "bad.mp4", "b.mp4"]}}, root=tmp_path)
    owner = built.graph["v", "of", "film"].edge_index[1].tolist()
    assert set(owner) == {0, 3}
    assert owner == sorted(owner)
    chain = [(a, a + 1) for a in range(len(owner) - 1) if owner[a] == owner[a + 1]]
    assert built.graph["v", "next", "v"].edge_index.T.tolist() == [list(pair) for pair in chain]
    assert [one.value for one in built.rejected] == ["bad.mp4"]
    assert all(frame.startswith(b"\x89PNG") for frame in built.payloads["v"]())


def test_a_frame_that_is_set_aside_breaks_the_chain(build, monkeypatch):
    class Frames(Letters):
        modality = Modality.IMAGE

        def content(self, payload):
            if b"x" in payload:
                raise DataError("a frame must have no x")
            return payload

        def prepare(self, payload):
            return payload

        def encode(self, prepared):
            return torch.zeros(len(prepared), 3)

    monkeypatch.setattr(
        "mmgraph.assembly.features._frames", lambda video: [video[row : row + 1] for row in range(len(video))]
    )
    table = {"v": pa.array([b"abxcd", b"ef", b"x"], pa.binary())}
    built = build(texts({"v": "video"}), {"films": table}, encoders={"v": Frames()})
    assert built.graph["v", "of", "film"].edge_index[1].tolist() == [0, 0, 0, 0, 1, 1]
    assert built.graph["v", "next", "v"].edge_index.T.tolist() == [[0, 1], [2, 3], [4, 5]]


def test_a_digest_tells_payloads_apart():
    values = ["a", b"b", [1, 2], [1.0, 2], {"a": 1}, "b"]
    assert len({digest_of(value) for value in values}) == 5  # bytes and the text of them are one
    assert len(digest_of("\ud800")) == 8


def test_texts_and_numbers_are_read_from_files(build, tmp_path):
    (tmp_path / "a.txt").write_text("a dög")
    (tmp_path / "bad.txt").write_bytes(b"\xff")
    (tmp_path / "a.json").write_text("[1, 2, 3]")
    table = pa.table(
        {"note": ["a.txt", None, "bad.txt", "../out.txt", "none.txt"], "course": ["a.json", "a.json", None, None, None]}
    )
    columns = {
        "note": {"modality": "text", "file": True},
        "course": {"modality": "series", "file": True},
    }
    fields = {"nodes": {"visit": {"table": "visits", "columns": columns}}, "limits": {"rejected": 1}}
    built = build(fields, {"visits": table}, root=tmp_path)
    assert list(built.payloads["note"]()) == ["a dög"]
    assert list(built.payloads["course"]()) == ["[1, 2, 3]"] * 2
    assert [(one.row, one.value) for one in built.rejected] == [(2, "bad.txt"), (3, "../out.txt"), (4, "none.txt")]


def test_files_are_named_for_texts_series_and_points_alone(build):
    with pytest.raises(ConfigError, match="file = true is for text, series and points, got 'image'"):
        build({"nodes": {"a": {"table": "a", "columns": {"p": {"modality": "image", "file": True}}}}}, {})
